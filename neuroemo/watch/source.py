"""What is watched: a stream of event frames with the picture of their time, from a video or from a recording.

A video goes through the simulated camera, frame by frame; nothing is kept but the frame before. A recording of an event
camera is read whole, 13 bytes per event, because its formats are checked as a whole (``events.readers``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.watch.binary_stream import BinaryFrame, BinaryStream

if TYPE_CHECKING:
    from neuroemo.datasets.event_frame_settings import EventFrameSettings
    from neuroemo.events.readers import EventFile

Picture = npt.NDArray[np.uint8]

MAX_FRAMES = 10_000_000
"""Event frames of one recording: 111 hours at 25 per second; damaged times make more, nearly all empty."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event frame and what is shown beside it.

    ``picture`` RGB uint8 [h, w, 3] is the video's last one before the frame's end, None for a recording. Times of
    ``frame`` are on the clock of the source, in microseconds.
    """

    frame: BinaryFrame
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class Span:
    """The part to watch: from ``start_s``, ``seconds`` long (None: to the end), on the source's own clock.

    Raises ``InputError`` (E980) for a start below 0 or a length of 0 or less.
    """

    start_s: float = 0.0
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Check both."""
        findings = []
        if not 0 <= self.start_s < 1e9:
            findings.append(Finding("E980", "error", "start", f"{self.start_s} s", "0 or more seconds"))
        if self.seconds is not None and not 0 < self.seconds < 1e9:
            findings.append(Finding("E980", "error", "seconds", f"{self.seconds} s", "above 0 seconds"))
        if findings:
            raise InputError(findings)

    @property
    def start_us(self) -> int:
        """Begin in microseconds."""
        return round(self.start_s * 1e6)

    @property
    def length_us(self) -> int | None:
        """Length in microseconds."""
        return None if self.seconds is None else round(self.seconds * 1e6)


class Source(Protocol):
    """Anything that is watched: its name, its ``sensor`` (width, height), the length of its event frames.

    ``origin_us`` is the time on its clock at which the film's clock shows 0; ``expected`` how many event frames it will
    give, about, None where nobody knows.
    """

    name: str
    kind: str
    sensor: tuple[int, int]
    frame_us: int
    origin_us: int
    expected: int | None

    def moments(self) -> Iterator[Moment]:
        """Yield the event frames in order of time."""
        ...


class VideoSource:
    """A video before the simulated camera of ``settings`` (model "pixel").

    Event frame k covers the (k N slice_us, (k + 1) N slice_us] after the first picture of the span: a simulated event
    carries a time after the last picture and up to this one. A last frame that the video does not fill is left out.
    ``clip`` names the noise of the camera (None: the file's name), ``side`` is the longer side of the pictures.

    Raises ``InputError`` as ``stream_frames`` and the camera do, while reading.
    """

    kind = "video"
    origin_us = 0

    def __init__(
        self, path: Path, settings: EventFrameSettings, span: Span, *, side: int = 384, clip: str | None = None
    ) -> None:
        from neuroemo.watch.pictures import video_facts

        self.name, self._path, self._settings, self._span, self._side = path.name, path, settings, span, side
        self._clip = path.name if clip is None else clip
        self.facts = video_facts(path)
        self.sensor = (settings.size, settings.size)
        self.frame_us = settings.frame_us
        self.expected = _expected(self.facts.seconds, span, self.frame_us)

    def moments(self) -> Iterator[Moment]:
        """Yield the event frames in order of time, those of the last pictures included."""
        from neuroemo.watch.pictures import stream_pictures

        settings, begin = self._settings, self._span.start_us
        stream = BinaryStream(settings, self.sensor, 0, "right")
        see = _camera(settings, self._clip)
        first: int | None = None
        before: tuple[int, Picture] = (0, np.zeros((1, 1, 3), np.uint8))
        for shown in stream_pictures(self._path, settings.size, self._side):
            if shown.time_us < begin:
                continue
            first = shown.time_us if first is None else first
            now = shown.time_us - first
            for events, until in see(shown.gray, now):
                for frame in stream.feed(events, until):
                    if self._past(frame):
                        return
                    yield Moment(_shifted(frame, first), before[1])
            before = now, shown.picture
        if first is None:
            found = f"begins at {self._span.start_s:g} s, after the last picture"
            raise InputError(Finding("E980", "error", "start", found, fix="give an earlier --start"))
        for frame in stream.finish(before[0]):
            if not self._past(frame):
                yield Moment(_shifted(frame, first), before[1])

    def _past(self, frame: BinaryFrame) -> bool:
        return self._span.length_us is not None and frame.end_us > self._span.length_us


def _camera(
    settings: EventFrameSettings, clip: str
) -> Callable[[npt.NDArray[np.uint8], int], Iterator[tuple[npt.NDArray[Any], int]]]:
    """Return the simulated camera: (picture, time) to pieces of events, each with the time it reaches to."""
    from neuroemo.datasets.event_frame_settings import camera_for_clip
    from neuroemo.events.pixel.simulator import PixelSimulator
    from neuroemo.events.upsample import Upsampler, UpsampleSettings

    pixels = PixelSimulator(camera_for_clip(settings, clip), settings.size, settings.size)
    between = Upsampler(settings.slow_motion or UpsampleSettings(method="none"))

    def see(gray: npt.NDArray[np.uint8], now: int) -> Iterator[tuple[npt.NDArray[Any], int]]:
        for frame, time_us in between.feed(gray[None], [now]):
            yield pixels.feed(frame, time_us), time_us

    return see


class RecordingSource:
    """A recording of an event camera, cut as ``settings`` say from the first event of the span on.

    Event frame k covers [k N slice_us, (k + 1) N slice_us) after it. A last frame that the recording does not fill is
    left out. ``span`` counts from the first event, as a recording's clock may have begun days before.
    """

    kind = "recording"

    def __init__(self, recording: EventFile, settings: EventFrameSettings, span: Span) -> None:
        times = recording.events["t"]
        if not len(times):
            found, fix = "no events in the recording", "give a recording that holds some"
            raise InputError(Finding("E980", "error", str(recording.meta.get("path", "")), found, fix=fix))
        self._settings, self.origin_us = settings, int(times[0])
        low = int(np.searchsorted(times, self.origin_us + span.start_us))
        if low == len(times):
            found, last = f"begins at {span.start_s:g} s", (int(times[-1]) - self.origin_us) / 1e6
            raise InputError(Finding("E980", "error", "start", found, f"the recording lasts {last:.6f} s"))
        self._events, self._first = recording.events[low:], int(times[low])
        self.name = Path(str(recording.meta.get("path", "recording"))).name
        self.sensor = (recording.sensor_size[0], recording.sensor_size[1])
        self.frame_us = settings.frame_us
        until = int(times[-1]) + 1 - self._first
        count = min(until, span.length_us or until) // self.frame_us
        if count > MAX_FRAMES:
            found, fix = f"{count} event frames in {until / 1e6:.0f} s", "watch a part of it with --seconds"
            raise InputError(Finding("E980", "error", self.name, found, f"{MAX_FRAMES}", fix=fix))
        self._count = count
        self.expected: int | None = count

    def moments(self) -> Iterator[Moment]:
        """Yield the event frames in order of time."""
        stream = BinaryStream(self._settings, self.sensor, self._first, "left")
        begin = 0
        for number in range(self._count):
            end_us = self._first + (number + 1) * self.frame_us
            end = int(np.searchsorted(self._events["t"], end_us))
            for frame in stream.feed(self._events[begin:end], end_us):
                yield Moment(frame, None)
            begin = end
        for frame in stream.finish(self._first + self._count * self.frame_us):
            yield Moment(frame, None)


def _shifted(frame: BinaryFrame, by_us: int) -> BinaryFrame:
    """Return a frame on the clock of the source."""
    return replace(frame, start_us=frame.start_us + by_us, end_us=frame.end_us + by_us)


def _expected(seconds: float | None, span: Span, frame_us: int) -> int | None:
    """Return how many event frames a video of so many seconds gives, about."""
    left = None if seconds is None else seconds - span.start_s
    wanted = span.seconds if left is None else min(left, span.seconds or left)
    return None if wanted is None else max(1, int(wanted * 1e6 / frame_us))
