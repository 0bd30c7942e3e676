"""From one recording to one stored clip: a video, a folder of pictures, or the events of a real sensor."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.chunks import PackedClip
from neuroemo.datasets.clip_settings import (
    ClipSettings,
    PixelClipSettings,
    RecordedClipSettings,
    for_clip,
    model_of,
)
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.folder_content import VIDEO_SUFFIXES
from neuroemo.datasets.store_file import pack_clip
from neuroemo.events.clip import Clip
from neuroemo.events.framediff import GRAY_LEVELS, FrameDiffSettings, frame_difference
from neuroemo.events.rate import at_rate, read_at_rate

Kind = Literal["video", "images", "events"]
Gray = npt.NDArray[np.uint8]

EVENT_SUFFIXES = (".raw", ".dat", ".aedat4", ".aedat", ".h5", ".hdf5", ".npz", ".csv", ".txt")

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ClipSource:
    """Where one clip comes from: ``path``, its ``name`` in the data set, and the segment, if it is only that.

    ``image_fps`` is the frame rate of a folder of pictures, which holds none itself.
    """

    name: str
    path: str
    span_s: tuple[float, float] | None = None
    image_fps: float | None = None


def source_of(entry: DatasetEntry, options: Mapping[str, Any]) -> ClipSource:
    """Return where the clip of an entry comes from; ``options`` are those that its data set was scanned with."""
    fps = options.get("fps") if entry.path.is_dir() else None
    return ClipSource(entry.name, str(entry.path), entry.span_s, None if fps is None else float(fps))


def kind_of(path: Path) -> Kind | None:
    """Return what lies at a path by its name, or None when it is no recording."""
    if path.is_dir():
        return "images"
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "events" if suffix in EVENT_SUFFIXES else None


def source_findings(source: ClipSource, settings: ClipSettings) -> list[Finding]:
    """Return why a source cannot become a clip of these settings, without opening it."""
    path, name = Path(source.path), source.name
    if not path.exists():
        return [Finding("E864", "error", name, f"no such file: {path}", fix="check the folder of the data set")]
    kind, model = kind_of(path), model_of(settings)
    if kind is None:
        limit = " ".join((*VIDEO_SUFFIXES, *EVENT_SUFFIXES))
        return [Finding("E864", "error", name, f"unknown suffix {path.suffix!r}", limit)]
    if (kind == "events") != (model == "recorded"):
        fix = "--model recorded --step-us N" if kind == "events" else "--model framediff or pixel"
        return [Finding("E866", "error", name, f"{kind} with --model {model}", fix=fix)]
    if kind == "images" and source.image_fps is None:
        return [
            Finding(
                "E866",
                "error",
                name,
                "a folder of pictures has no frame rate",
                fix="--option fps=N, in frames per second",
            )
        ]
    if kind == "events" and source.span_s is not None:
        return [Finding("E866", "error", name, "a segment of an event recording", "whole recordings")]
    return []


def make_clip(source: ClipSource, settings: ClipSettings) -> PackedClip:
    """Read and simulate one recording; raises ``InputError`` with the clip's name for whatever is wrong."""
    try:
        if isinstance(settings, RecordedClipSettings):
            return _recorded(source, settings)
        frames, times_us, fps = _frames(source, settings)
        if isinstance(settings, FrameDiffSettings):
            return pack_clip(frame_difference(frames, settings, fps=fps), frames[: settings.frames_needed])
        return pack_clip(pixel_clip(frames, times_us, settings, source.name, fps), frames)
    except InputError as error:
        raise InputError([_named(finding, source) for finding in error.findings]) from error


def _named(finding: Finding, source: ClipSource) -> Finding:
    """Say the name in the data set, not where the data set lies."""
    own = finding.node == source.path
    return replace(finding, node=source.name if own else finding.node, found=finding.found.replace(source.path, "."))


def pixel_clip(
    frames: Gray, times_us: npt.NDArray[np.int64], settings: PixelClipSettings, name: str, fps: float
) -> Clip:
    """Return the clip of the simulated camera; frames uint8 ``[F, size, size]`` at ``times_us`` int64 ``[F]``.

    With slow motion the camera also sees the frames between, one at a time; their events belong to the step that
    ends with the next given frame.

    Raises ``InputError`` as the simulator does.
    """
    from neuroemo.events.pixel.simulator import PixelSimulator
    from neuroemo.events.upsample import Upsampler, UpsampleSettings

    start = 1 if settings.first_frame == "float" else 0
    spikes = np.zeros((settings.steps, 2, settings.size, settings.size), np.uint8)
    simulator = PixelSimulator(for_clip(settings, name), settings.size, settings.size)
    used = frames[: settings.frames_needed]
    times = np.asarray(times_us)[: len(used)]
    upsampler = Upsampler(settings.slow_motion or UpsampleSettings(method="none"))
    number = 0
    for frame, time_us in upsampler.feed(used, times):
        events = simulator.feed(frame, time_us)
        number += int(time_us > times[number])
        if number:
            spikes[number - 1 + start, np.where(events["p"], 0, 1), events["y"], events["x"]] = 1
    first = used[0].astype(np.float32) / np.float32(GRAY_LEVELS) if start else None
    return Clip(spikes, first, len(used) - 1 + start, fps)


def bin_events(events: npt.NDArray[Any], sensor_size: tuple[int, int, int], settings: RecordedClipSettings) -> Clip:
    """Return the clip of recorded events, see ``RecordedClipSettings``; padding begins after the last event.

    Raises ``InputError`` for a recording without events.
    """
    if not len(events):
        raise InputError(Finding("E864", "error", "events", "no events in the recording", fix="leave it out"))
    times = events["t"].astype(np.int64)
    step = (times - times[0]) // settings.step_us
    used = step < settings.steps
    width, height, _ = sensor_size
    column = events["x"][used].astype(np.int64) * settings.size // width
    row = events["y"][used].astype(np.int64) * settings.size // height
    spikes = np.zeros((settings.steps, 2, settings.size, settings.size), np.uint8)
    spikes[step[used], np.where(events["p"][used], 0, 1), row, column] = 1
    return Clip(spikes, None, min(settings.steps, int(step.max()) + 1), 1e6 / settings.step_us)


def _recorded(source: ClipSource, settings: RecordedClipSettings) -> PackedClip:
    from neuroemo.events.readers import open_events

    opened = open_events(source.path, sensor_size=settings.sensor)
    # There is no gray picture; a black one says nothing about the class, as it should.
    black = np.zeros((1, settings.size, settings.size), np.uint8)
    return pack_clip(bin_events(opened.events, opened.sensor_size, settings), black)


def read_frames(source: ClipSource, settings: FrameDiffSettings) -> Gray:
    """Return the gray frames of a clip, uint8 ``[F, size, size]``; raises ``InputError`` as ``make_clip`` does."""
    try:
        return _frames(source, settings)[0]
    except InputError as error:
        raise InputError([_named(finding, source) for finding in error.findings]) from error


def _frames(
    source: ClipSource, settings: FrameDiffSettings | PixelClipSettings
) -> tuple[Gray, npt.NDArray[np.int64], float]:
    """Return the gray frames that fill the steps, their times in microseconds, and the frame rate."""
    path, size, count = Path(source.path), settings.size, settings.frames_needed
    if kind_of(path) == "images":
        from neuroemo.datasets.image_frames import list_frames, raise_all, stream_images

        pictures, findings = list_frames(path)
        raise_all(findings, path)
        limit = count if source.span_s is None and settings.fps is None else None
        chunks = stream_images(pictures, fps=float(source.image_fps or 0), size=size, max_frames=limit)
        return _gathered(chunks, source, count, settings.fps)
    if source.span_s is None and (isinstance(settings, FrameDiffSettings) or settings.fps is not None):
        video = read_at_rate(path, size=size, max_frames=count, fps=settings.fps)
        times = np.rint(np.arange(len(video.frames)) * (1e6 / video.fps)).astype(np.int64)
        return video.frames, times, video.fps
    from neuroemo.events.stream import stream_frames

    # The pixel model sees each frame at the time that the file states, as for a single video.
    limit = count if source.span_s is None else None
    return _gathered(stream_frames(path, size=size, max_frames=limit), source, count, settings.fps)


def _gathered(
    chunks: Iterable[Any], source: ClipSource, count: int, fps: float | None
) -> tuple[Gray, npt.NDArray[np.int64], float]:
    """Return the first ``count`` frames whose time lies in the segment [start, end), brought to ``fps`` if it is given.

    The first frame in the segment is the first frame of the clip.
    """
    low, high = source.span_s or (-np.inf, np.inf)
    frames: list[Gray] = []
    times: list[int] = []
    declared = 0.0

    def within() -> Iterator[tuple[Gray, int]]:
        nonlocal declared
        for frame, time_us, rate in _single_frames(chunks):
            declared = rate
            if time_us >= high * 1e6:
                return
            if time_us >= low * 1e6:
                yield frame, time_us

    for frame, time_us in within() if fps is None else at_rate(within(), fps):
        if len(frames) == count:
            break
        frames.append(frame)
        times.append(time_us)
    if len(frames) < 2:
        found = f"{len(frames)} frame(s)" + ("" if source.span_s is None else f" from {low:g} s to {high:g} s")
        raise InputError(Finding("E864", "error", source.name, found, "at least 2 frames"))
    return np.stack(frames), np.array(times, np.int64), declared if fps is None else float(fps)


def _single_frames(chunks: Iterable[Any]) -> Iterator[tuple[Gray, int, float]]:
    for chunk in chunks:
        for frame, time_us in zip(chunk.frames, chunk.times_us.tolist(), strict=True):
            yield frame, time_us, float(chunk.fps)


def source_digest(path: Path) -> str:
    """Return sha256 of a file; of a folder, that of its visible files' names and digests; "" if unreadable."""
    try:
        if not path.is_dir():
            return _file_digest(path)
        files = sorted(item for item in path.iterdir() if item.is_file() and not item.name.startswith("."))
        listed = "".join(f"{item.name}\0{_file_digest(item)}\n" for item in files)
        return hashlib.sha256(listed.encode("utf-8", "surrogateescape")).hexdigest()
    except OSError:
        return ""


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def source_stamp(path: Path) -> list[list[Any]]:
    """Return names, sizes and modification times: what tells a changed source without reading it."""
    files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
    return [[item.name, item.stat().st_size, item.stat().st_mtime_ns] for item in files]
