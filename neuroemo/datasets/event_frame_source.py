"""From one recording to the event frames of one clip: a video, a folder of pictures, a real recording, or codes.

Frames stream: what is held is the events of the frame under way (of a real recording all its events, as its reader
gives them) and the frames made so far, compressed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.chunks import deflate
from neuroemo.datasets.clip_source import ClipSource, Kind, kind_of
from neuroemo.datasets.event_frame_settings import EventFrameSettings, camera_for_clip
from neuroemo.datasets.folder_content import VIDEO_SUFFIXES
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.representations import TbrSettings, nearest_labels, tbr
from neuroemo.events.representations.windows import Closed
from neuroemo.events.stream import FrameChunk

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
NO_COUNT = -1
"""Events of a frame that came as a code: it does not say how many there were."""


@dataclass(frozen=True, slots=True)
class EventFrame:
    """One frame: ``codes`` [size, size], ``time_us`` the mean time of its events (its centre without), their number."""

    codes: Codes
    time_us: float
    events: int


@dataclass(slots=True)
class ClipFrames:
    """The event frames of one clip, compressed: one chunk per frame, as it lies in a store.

    ``times_us`` and ``events`` as in ``EventFrame``; ``nearest`` is the number of the video frame nearest to each
    in time, whose label it takes (-1 for a recording without a video), out of ``video_frames``. ``left_out``
    counts the events behind the last whole frame.
    """

    chunks: list[bytes] = field(default_factory=list)
    times_us: list[float] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    nearest: list[int] = field(default_factory=list)
    video_frames: int = 0
    left_out: int = 0
    sha256: str = ""


class FrameStream:
    """Cuts a stream of events into frames: frame k holds ``start + k L < t <= start + (k + 1) L`` (closed "right").

    ``shape`` is the sensor's (height, width); with closed "left" a frame takes the event at its begin and not the
    one at its end. Each frame is made as soon as it is complete; how the events come in pieces changes nothing.

    >>> own = EventFrameSettings(size=8, n_bits=2, slice_us=10, slow_motion=None)
    >>> stream = FrameStream(own, (8, 8), start_us=0, closed="right")
    >>> events = np.array([(5, 0, 0, 1), (20, 1, 0, 0), (21, 2, 0, 1)], EVENT_DTYPE)
    >>> [(frame.codes[0, :3].tolist(), frame.time_us, frame.events) for frame in stream.feed(events, 30)]
    [([1, 2, 0], 12.5, 2)]
    >>> list(stream.finish(30)), stream.waiting
    ([], 1)
    """

    def __init__(self, settings: EventFrameSettings, shape: tuple[int, int], *, start_us: int, closed: Closed) -> None:
        self.settings, self._closed, self._begin = settings, closed, start_us
        self._sensor = (shape[1], shape[0], 2)
        self._pieces: list[npt.NDArray[Any]] = []

    @property
    def waiting(self) -> int:
        """Events that no frame has taken so far."""
        return sum(map(len, self._pieces))

    def feed(self, events: npt.NDArray[Any], until_us: int) -> Iterator[EventFrame]:
        """Yield the frames that end before ``until_us``; events from then on may still come, earlier ones do not.

        Raises ``InputError`` as ``tbr`` does: for events that are not sorted, or outside of the sensor.
        """
        if len(events):
            self._pieces.append(events)
        # A simulated event right behind a video frame may be stamped, rounded, with the time of that frame.
        yield from self._complete(until_us - 1)

    def finish(self, until_us: int) -> Iterator[EventFrame]:
        """Yield the frames that end at ``until_us``, the end of the recording, or before; no event is to come."""
        yield from self._complete(until_us)

    def _complete(self, last_us: int) -> Iterator[EventFrame]:
        while (end := self._begin + self.settings.frame_us) <= last_us:
            held = self._held()
            taken = int(np.searchsorted(held["t"], end, side=self._closed))
            self._pieces = [held[taken:]] if taken < len(held) else []
            yield self._frame(held[:taken])
            self._begin = end

    def _held(self) -> npt.NDArray[Any]:
        """Return the waiting events; one piece is not copied, so a whole recording is not, once per frame."""
        if len(self._pieces) == 1:
            return self._pieces[0]
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, EVENT_DTYPE)

    def _frame(self, events: npt.NDArray[Any]) -> EventFrame:
        own = self.settings
        window = TbrSettings(
            n_bits=own.n_bits, dt_us=own.slice_us, start_us=self._begin, count=1, closed=self._closed, msb=own.msb
        )
        made = tbr(events, self._sensor, window)
        if made.left_out:
            found = f"{made.left_out} event(s) before the frame that begins at {self._begin} us"
            raise InputError(Finding("E864", "error", "events", found, "sorted by time"))
        return EventFrame(resize_codes(made.codes[0, 0], own.size), float(made.mean_times_us[0]), len(events))


def resize_codes(codes: Codes, size: int) -> Codes:
    """Return codes [H, W] as [size, size]; pixel (x, y) goes to ``floor(x size / W)``, ``floor(y size / H)``.

    Codes that meet in one pixel are joined bit by bit (OR): a bit says that there was an event, so this is exactly
    the frame of the events at the smaller size. Where ``size`` is larger, a pixel takes the nearest code. No code is
    averaged: the mean of two codes is the code of other slices.

    >>> resize_codes(np.array([[1, 2], [4, 0]], np.uint8), 1).tolist()
    [[7]]
    """
    resized: Any = codes
    for axis in (0, 1):
        side = codes.shape[axis]
        if size < side:
            starts = -(-np.arange(size) * side // size)
            resized = np.bitwise_or.reduceat(resized, starts, axis=axis)
        elif size > side:
            resized = np.take(resized, np.arange(size) * side // size, axis=axis)
    made: Codes = resized
    return made


def frame_source_findings(source: ClipSource, settings: EventFrameSettings) -> list[Finding]:
    """Return why a source cannot become event frames of these settings, without opening it."""
    path, name = Path(source.path), source.name
    if not path.exists():
        return [Finding("E864", "error", name, f"no such file: {path}", fix="check the folder of the data set")]
    kind = kind_of(path)
    wanted: dict[str, tuple[Kind, ...]] = {"pixel": ("video", "images"), "recorded": ("events",), "codes": ("images",)}
    if kind is None or kind not in wanted[settings.model]:
        found = f"{kind or 'unknown suffix ' + path.suffix} with --model {settings.model}"
        fix = "--model recorded" if kind == "events" else "--model pixel"
        limit = f"folders of pictures, and {' '.join(VIDEO_SUFFIXES)}" if settings.model == "pixel" else ""
        return [Finding("E866", "error", name, found, limit, fix=fix)]
    if kind == "images" and settings.model == "pixel" and source.image_fps is None:
        fix = "--option fps=N, in frames per second"
        return [Finding("E866", "error", name, "a folder of pictures has no frame rate", fix=fix)]
    if kind == "events" and source.span_s is not None:
        return [Finding("E866", "error", name, "a segment of an event recording", "whole recordings")]
    return []


def make_frames(source: ClipSource, settings: EventFrameSettings, labels: int = 0) -> ClipFrames:
    """Return the event frames of one recording.

    ``labels`` is the number of labels that come with it, one per frame of its video; 0 where they are not per frame.

    Raises ``InputError`` with the clip's name for whatever is wrong: a file that cannot be read, a recording that is
    shorter than one frame, another number of labels than frames.
    """
    clip, digest = ClipFrames(), hashlib.sha256()
    try:
        makers = {"pixel": _simulated, "recorded": _recorded, "codes": _coded}
        video_times: list[int] = []
        for frame in makers[settings.model](source, settings, clip, video_times):
            codes = frame.codes.astype(np.dtype(settings.code_type).newbyteorder("<"))
            digest.update(codes.tobytes())
            clip.chunks.append(deflate(codes))
            clip.times_us.append(frame.time_us)
            clip.events.append(frame.events)
        _check_clip(source, settings, clip, labels)
    except InputError as error:
        raise InputError([_named(finding, source) for finding in error.findings]) from error
    times = np.array(clip.times_us)
    numbers = nearest_labels(times, np.array(video_times)) if video_times else np.full(len(times), -1)
    clip.nearest = numbers.tolist()
    clip.sha256 = _with_columns(digest, times, clip.events, clip.nearest)
    return clip


def frames_digest(
    codes: Iterable[Codes], times_us: npt.ArrayLike, events: npt.ArrayLike, video_frames: npt.ArrayLike
) -> str:
    """Return sha256 over the codes of a clip (in pieces [n, H, W]) and its columns, all little-endian, 8 bytes each."""
    digest = hashlib.sha256()
    for piece in codes:
        digest.update(piece.astype(piece.dtype.newbyteorder("<")).tobytes())
    return _with_columns(digest, times_us, events, video_frames)


def _with_columns(digest: Any, times_us: npt.ArrayLike, *integers: npt.ArrayLike) -> str:
    digest.update(np.asarray(times_us, "<f8").tobytes())
    for column in integers:
        digest.update(np.asarray(column, "<i8").tobytes())
    return str(digest.hexdigest())


def _check_clip(source: ClipSource, settings: EventFrameSettings, clip: ClipFrames, labels: int) -> None:
    findings = []
    if labels and labels != clip.video_frames:
        fix = "give one label per frame, or one for the whole clip"
        found, limit = f"{labels} labels", f"{clip.video_frames} frames of the video"
        findings.append(Finding("E864", "error", source.name, found, limit, fix=fix))
    if not clip.chunks:
        fix = "a longer recording, or fewer or shorter slices"
        limit = f"{settings.n_bits} slices of {settings.slice_us} us: {settings.frame_us} us"
        findings.append(Finding("E864", "error", source.name, "shorter than one event frame", limit, fix=fix))
    if findings:
        raise InputError(findings)


def _named(finding: Finding, source: ClipSource) -> Finding:
    """Say the name in the data set, not where the data set lies."""
    own = finding.node == source.path
    return replace(finding, node=source.name if own else finding.node, found=finding.found.replace(source.path, "."))


def _simulated(
    source: ClipSource, settings: EventFrameSettings, clip: ClipFrames, video_times: list[int]
) -> Iterator[EventFrame]:
    """Yield the frames of the simulated camera, whose clock starts at the first frame of the video."""
    from neuroemo.events.pixel.simulator import PixelSimulator
    from neuroemo.events.upsample import Upsampler, UpsampleSettings

    size = settings.size
    simulator = PixelSimulator(camera_for_clip(settings, source.name), size, size)
    upsampler = Upsampler(settings.slow_motion or UpsampleSettings(method="none"))
    stream = FrameStream(settings, (size, size), start_us=0, closed="right")
    start: int | None = None
    for chunk in _pictures(source, size):
        kept = _within(chunk, source.span_s)
        if not kept.any():
            continue
        start = int(chunk.times_us[kept][0]) if start is None else start
        times = chunk.times_us[kept] - start
        video_times += times.tolist()
        for picture, time_us in upsampler.feed(chunk.frames[kept], times):
            yield from stream.feed(simulator.feed(picture, time_us), time_us)
    if video_times:
        yield from stream.finish(video_times[-1])
    clip.video_frames, clip.left_out = len(video_times), stream.waiting


def _within(chunk: FrameChunk, span_s: tuple[float, float] | None) -> npt.NDArray[np.bool_]:
    low, high = span_s or (-np.inf, np.inf)
    inside: npt.NDArray[np.bool_] = (chunk.times_us >= low * 1e6) & (chunk.times_us < high * 1e6)
    return inside


def _pictures(source: ClipSource, size: int) -> Iterator[FrameChunk]:
    path = Path(source.path)
    if kind_of(path) == "images":
        from neuroemo.datasets.image_frames import list_frames, raise_all, stream_images

        pictures, findings = list_frames(path)
        raise_all(findings, path)
        yield from stream_images(pictures, fps=float(source.image_fps or 0), size=size)
        return
    from neuroemo.events.stream import stream_frames

    for chunk in stream_frames(path, size=size):
        yield chunk
        if source.span_s is not None and chunk.times_us[-1] >= source.span_s[1] * 1e6:
            return


def _recorded(
    source: ClipSource, settings: EventFrameSettings, clip: ClipFrames, video_times: list[int]
) -> Iterator[EventFrame]:
    """Yield the frames of a real recording, from its first event on."""
    from neuroemo.events.readers import open_events

    opened = open_events(source.path, sensor_size=settings.sensor)
    if not len(opened.events):
        raise InputError(Finding("E864", "error", source.name, "no events in the recording", fix="leave it out"))
    width, height, _ = opened.sensor_size
    first, last = int(opened.events["t"][0]), int(opened.events["t"][-1])
    stream = FrameStream(settings, (height, width), start_us=first, closed="left")
    for frame in chain(stream.feed(opened.events, first), stream.finish(last + 1)):
        yield replace(frame, time_us=frame.time_us - first)
    clip.left_out = stream.waiting


def _coded(
    source: ClipSource, settings: EventFrameSettings, clip: ClipFrames, video_times: list[int]
) -> Iterator[EventFrame]:
    """Yield pictures that are codes already; number k covers ``(k - k_0) L`` to ``(k - k_0 + 1) L``, k_0 the first."""
    from neuroemo.datasets.event_frame_pictures import read_code_picture
    from neuroemo.datasets.image_frames import list_frames, raise_all

    path = Path(source.path)
    pictures, findings = list_frames(path)
    raise_all(findings, path)
    first, shape = min(pictures, default=0), None
    for number, picture in pictures.items():
        codes = read_code_picture(picture)
        shape = shape or codes.shape
        if codes.shape != shape:
            found, limit = f"{codes.shape[1]}x{codes.shape[0]} pixels", f"{shape[1]}x{shape[0]}, as the first"
            raise InputError(Finding("E792", "error", str(picture), found, limit))
        centre = (number - first + 0.5) * settings.frame_us
        yield EventFrame(resize_codes(codes, settings.size), centre, NO_COUNT)
