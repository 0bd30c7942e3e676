"""One video to one file of events, by either camera; frames are read a piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.upsample import UpsampleSettings

Progress = Callable[[int], None]


def frame_difference_events(
    video: Path, output: Path, settings: FrameDiffSettings, *, density: float | None = None
) -> dict[str, Any]:
    """Write the events of the frame-difference camera; return what the file holds.

    ``density`` chooses the sensitivity at which that share of pixels, in (0, 1], carries an event in a step. With
    several events per step the file holds each of them, one after the other.

    Raises:
        InputError: whatever ``video_to_clip``, ``sens_for_density`` and ``write_events`` refuse.
    """
    from neuroemo.events.clip import Clip, event_density, to_event_array
    from neuroemo.events.framediff import frame_difference_counts, sens_for_density
    from neuroemo.events.rate import read_at_rate
    from neuroemo.events.readers import write_events

    read = read_at_rate(video, size=settings.size, max_frames=settings.frames_needed, fps=settings.fps)
    chosen: dict[str, Any] = {}
    if density is not None:
        choice = sens_for_density(read.frames, density, rule=settings.rule)
        chosen = {"chosen_sens": {"wanted": density, **asdict(choice), "clips": 1, "split": "all"}}
        settings = replace(settings, sens=choice.sens)
    counted = frame_difference_counts(read.frames, settings, fps=read.fps)
    clip = Clip(np.minimum(counted.counts, 1), counted.first_frame, counted.valid_steps, counted.fps)
    events, sensor_size = to_event_array(clip)
    if settings.events_per_step == "several":
        events = np.repeat(events, counted.counts[np.nonzero(clip.spikes[: clip.valid_steps])])
    write_events(output, events, sensor_size)
    return {
        "model": "framediff",
        "clips": 1,
        "events": len(events),
        "sensor_size": list(sensor_size),
        "density": asdict(event_density(clip)),
        **chosen,
        "settings": settings.to_dict(),
    }


def pixel_events(
    video: Path,
    output: Path,
    settings: PixelSettings,
    *,
    sensor: tuple[int, int] | None = None,
    slow_motion: UpsampleSettings | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the events of the pixel model; return what the file holds. The sensor has the video's size, or (W, H).

    Frames stream; what grows with the length of the video is the events. ``progress(frames so far)``.

    Raises:
        InputError: whatever ``stream_frames`` and ``write_events`` refuse.
    """
    from neuroemo.events.pixel.simulator import PixelSimulator
    from neuroemo.events.readers import write_events
    from neuroemo.events.slow_motion_weights import NetworkWeights
    from neuroemo.events.stream import stream_frames
    from neuroemo.events.upsample import Upsampler, upsample_stream

    size = None if sensor is None else (sensor[1], sensor[0])
    camera: PixelSimulator | None = None
    pieces, frames = [], 0
    between = slow_motion or UpsampleSettings()
    upsampler = Upsampler(between)
    last_us = 0
    for chunk in upsample_stream(stream_frames(video, size=size), upsampler):
        camera = camera or PixelSimulator(settings, *chunk.frames.shape[1:])
        for frame, time_us in zip(chunk.frames, chunk.times_us, strict=True):
            pieces.append(camera.feed(frame, int(time_us)))
            last_us = int(time_us)
        frames += len(chunk.frames)
        if progress is not None:
            progress(frames)
    if camera is None:  # stream_frames refuses a video without frames
        raise RuntimeError(f"no frame came of {video}")
    height, width = camera.shape
    events = np.concatenate(pieces)
    write_events(output, events, (width, height, 2))
    report = asdict(upsampler.report)
    if isinstance(between.method, NetworkWeights):
        report["network"] = between.method.to_dict()
    seconds = last_us * 1e-6
    return {
        "model": "pixel",
        "clips": 1,
        "events": len(events),
        "sensor_size": [width, height, 2],
        "seconds": seconds,
        "events_per_pixel_and_second": len(events) / (width * height * seconds) if seconds else 0.0,
        "settings": settings.to_dict(),
        "slow_motion": report,
    }


def preview(video: Path, recording: Path, output: Path, frames: int | None = None) -> int:
    """Write video and events side by side; return the frames written.

    Raises:
        InputError: whatever ``stream_frames``, ``open_events`` and ``write_preview`` refuse.
    """
    from neuroemo.events.preview import write_preview
    from neuroemo.events.readers import open_events
    from neuroemo.events.stream import stream_frames

    file = open_events(recording)
    first = next(iter(stream_frames(video, chunk=2, max_frames=2)))

    def chunks() -> Iterator[Any]:
        return stream_frames(video, max_frames=frames)

    return write_preview(
        (frame for chunk in chunks() for frame in chunk.frames), file.events, file.sensor_size, output, first.fps,
        times_us=(int(time) for chunk in chunks() for time in chunk.times_us),
    )  # fmt: skip
