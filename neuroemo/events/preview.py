"""The preview: a video, its events and their rate side by side, as an mp4 that plays in a browser.

Frame n of the preview shows frame n of the video beside all events of ``t[n-1] < t <= t[n]``, where ``t[n]`` is the
time of the frame in microseconds; nothing is drawn twice and nothing is left out. A pixel has the colour of the
polarity that it sent more of, and a third colour where both are equal. Below runs the event rate of either
polarity over the whole recording, drawn up to a cursor that moves with the picture.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), told apart by the colour-blind. One frame is
in memory at a time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.video import FPS_RANGE

Picture = npt.NDArray[np.uint8]
Events = npt.NDArray[Any]

ON_COLOUR = (0, 114, 178)
"""Blue, RGB."""
OFF_COLOUR = (213, 94, 0)
"""Vermilion, RGB."""
BOTH_COLOUR = (204, 121, 167)
"""Reddish purple, RGB: as many ON as OFF events in one frame."""
BACKGROUND = (245, 245, 245)

PANEL_SIDES = (256, 640)
"""Smallest and largest longer side of the picture of the events, in pixels."""
STRIP_HEIGHT = 96

_CLOCK = 90_000
_TICK = Fraction(1, _CLOCK)
_BLOCK = 1 << 20
_INK = (40, 40, 40)
_PALE = (205, 205, 205)
_MARGIN = 8
_HEADER = 20
_WIDEST_VIDEO = 960
_SMALLEST = 16
# One thread and no macroblock tree: the same pictures give the same bytes.
_CODEC = {"crf": "20", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
_CONTAINER = {"fflags": "+bitexact", "movflags": "+faststart"}


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Event rates over time: ``on`` and ``off`` in events per second [B], ``edges_us`` [B + 1] in microseconds.

    Bin b counts the events of ``edges_us[b] < t <= edges_us[b + 1]``; the first also those at and before time 0.
    """

    edges_us: npt.NDArray[np.int64]
    on: npt.NDArray[np.float64]
    off: npt.NDArray[np.float64]


def frame_time_us(number: int, fps: float) -> int:
    """Return the time of a frame in microseconds, ``round(n 1e6 / fps)``, as ``to_event_array`` stamps its events.

    >>> frame_time_us(2, 30.0)
    66667
    """
    return int(np.rint(number * (1e6 / fps)))


def rate_curve(events: Events, fps: float, most_bins: int = 400) -> RateCurve:
    """Return the event rates in bins of a whole number of frames, at most ``most_bins`` of them.

    Whole frames, because a simulator may stamp all events of a frame with one time: finer bins would show a comb.

    >>> events = np.array([(500_000, 0, 0, True), (500_000, 1, 0, True), (1_000_000, 0, 0, False)], EVENT_DTYPE)
    >>> curve = rate_curve(events, fps=2.0)
    >>> curve.edges_us.tolist(), curve.on.tolist(), curve.off.tolist()
    ([0, 500000, 1000000], [4.0, 0.0], [0.0, 2.0])
    """
    last = int(events["t"][-1]) if events.size else 0
    frames = max(1, math.ceil(last * fps / 1e6 - 1e-4))
    group = -(-frames // most_bins)
    edges = np.array([frame_time_us(n, fps) for n in range(0, frames + group, group)], dtype=np.int64)
    places = np.searchsorted(events["t"], edges[1:], side="right")
    starts = np.concatenate([[0], places[:-1]])
    on = np.array([np.count_nonzero(events["p"][a:b]) for a, b in zip(starts, places, strict=True)], dtype=np.float64)
    seconds = np.diff(edges) / 1e6
    return RateCurve(edges, on / seconds, (places - starts - on) / seconds)


def draw_events(events: Events, sensor_size: tuple[int, int, int], width: int, height: int) -> Picture:
    """Return a picture uint8 [height, width, 3] of events: blue where ON prevails, vermilion OFF, purple neither.

    A sensor larger than the picture is binned, one that is smaller is enlarged without smoothing.

    >>> one = np.array([(0, 1, 0, True)], EVENT_DTYPE)
    >>> draw_events(one, (2, 1, 2), 2, 1).tolist()
    [[[245, 245, 245], [0, 114, 178]]]
    """
    import cv2

    columns, rows = min(sensor_size[0], width), min(sensor_size[1], height)
    x = events["x"].astype(np.int64) * columns // sensor_size[0]
    y = events["y"].astype(np.int64) * rows // sensor_size[1]
    place = y * columns + x
    on = np.bincount(place[events["p"]], minlength=rows * columns)
    off = np.bincount(place[~events["p"]], minlength=rows * columns)
    picture = np.empty((rows * columns, 3), dtype=np.uint8)
    picture[:] = BACKGROUND
    picture[on > off] = ON_COLOUR
    picture[off > on] = OFF_COLOUR
    picture[(on == off) & (on > 0)] = BOTH_COLOUR
    small = picture.reshape(rows, columns, 3)
    return cast(Picture, cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))


def write_preview(
    video_frames: Iterable[Picture],
    events: Events,
    sensor_size: tuple[int, int, int],
    path: str | Path,
    fps: float,
    *,
    times_us: Iterable[int] | None = None,
) -> int:
    """Write the preview of a video and its events as H.264 in mp4 (yuv420p, index first); return the frames written.

    ``video_frames`` are uint8 [H, W] or RGB [H, W, 3] of any size, one after the other; ``events`` are sorted by
    ``t`` and lie within ``sensor_size`` (W, H, 2). ``fps`` is the rate of the frames in 1/s; ``times_us`` are their
    times where they are not evenly spaced. The file is written beside its place and moved there when complete,
    so an interrupt leaves no file, and the same input gives the same bytes with the same libraries.

    Raises ``InputError`` for events of another kind, unsorted or outside the sensor, no frames or frames that change
    their size, events later than the last frame, a rate out of range, times that do not ascend, and a path that
    cannot be written.
    """
    file = Path(path)
    _check_arguments(events, sensor_size, file, fps)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        pages = _pages(video_frames, events, sensor_size, fps, times_us)
        count = _encode(temporary, pages, fps)
        with _writing(file):
            os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _refusal(code: str, node: str, found: str, limit: str = "", fix: str = "") -> InputError:
    return InputError(Finding(code, "error", node, found, limit, fix=fix))


def _check_arguments(events: Events, sensor_size: tuple[int, int, int], file: Path, fps: float) -> None:
    low, high = FPS_RANGE
    if not low <= fps <= high:
        raise _refusal("E788", "fps", f"{fps}", f"{low:g}..{high:g} frames per second", "give the rate of the video")
    if file.suffix.lower() != ".mp4":
        raise _refusal("E789", str(file), f"suffix {file.suffix!r}", "'.mp4'", "name the preview something.mp4")
    if not isinstance(events, np.ndarray) or events.dtype != EVENT_DTYPE or events.ndim != 1:
        found = f"{getattr(events, 'dtype', type(events).__name__)}"
        raise _refusal("E785", "events", found, f"one array of {EVENT_DTYPE}", "read them with load_events")
    if len(sensor_size) != 3 or min(sensor_size) < 1:
        raise _refusal("E785", "sensor_size", repr(sensor_size), "(width, height, 2)")
    for start in range(0, events.size, _BLOCK):
        _check_block(events, start, sensor_size)


def _check_block(events: Events, start: int, sensor_size: tuple[int, int, int]) -> None:
    """Check one block, overlapping the next by one event, so that all neighbours are compared."""
    block = events[start : start + _BLOCK + 1]
    steps = np.diff(block["t"])
    if steps.size and steps.min() < 0:
        number = start + int(np.argmax(steps < 0)) + 1
        found = f"event {number} is earlier than the one before"
        raise _refusal("E785", "events", found, "sorted by t", "sort them: events[np.argsort(events['t'])]")
    for name, limit in (("x", sensor_size[0]), ("y", sensor_size[1])):
        low, high = int(block[name].min()), int(block[name].max())
        if low < 0 or high >= limit:
            fix = "give the sensor_size that belongs to the events"
            raise _refusal("E785", "events", f"{name} in {low}..{high}", f"0..{limit - 1}", fix)


def _pages(
    frames: Iterable[Picture],
    events: Events,
    sensor_size: tuple[int, int, int],
    fps: float,
    times_us: Iterable[int] | None,
) -> Iterator[tuple[Picture, int]]:
    """Yield the finished pictures with their times in microseconds."""
    layout: _Layout | None = None
    start, before = 0, -1
    shape: tuple[int, ...] = ()
    times = _times(fps) if times_us is None else iter(times_us)
    for number, frame in enumerate(frames):
        now = next(times, None)
        if now is None or int(now) <= before:
            found = f"frame {number} at {now} us after {before} us" if now is not None else f"{number} times"
            raise _refusal("E788", "times_us", found, "one ascending time for each frame, from 0")
        _check_frame(frame, number, shape)
        shape, before = frame.shape, int(now)
        if layout is None:
            layout = _Layout.of(frame.shape, sensor_size, rate_curve(events, fps))
        stop = int(np.searchsorted(events["t"], before, side="right"))
        yield layout.page(frame, events[start:stop], sensor_size, before, stop), before
        start = stop
    if layout is None:
        raise _refusal("E786", "video_frames", "no frame", "at least 1", "give the frames the events were made of")
    if start < events.size:
        found = f"{events.size - start} events up to {int(events['t'][-1])} us"
        fix = "give all frames the events were made of, and their rate"
        raise _refusal("E787", "events", found, f"{before} us, the last frame", fix)


def _times(fps: float) -> Iterator[int]:
    number = 0
    while True:
        yield frame_time_us(number, fps)
        number += 1


def _check_frame(frame: Picture, number: int, shape: tuple[int, ...]) -> None:
    found = f"frame {number}: {getattr(frame, 'dtype', type(frame).__name__)} {list(getattr(frame, 'shape', []))}"
    picture = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and min(frame.shape, default=0) > 0
    if not picture or not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 3)):
        raise _refusal("E786", "video_frames", found, "uint8 [H, W] or [H, W, 3]")
    if shape and frame.shape != shape:
        raise _refusal("E786", "video_frames", found, f"{list(shape)}, as the frames before")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything stands on the page, and the rate curve as it will be when the cursor has passed."""

    video: tuple[int, int]
    sensor: tuple[int, int]
    size: tuple[int, int]
    curve: RateCurve
    drawn: Picture

    @classmethod
    def of(cls, frame_shape: tuple[int, ...], sensor_size: tuple[int, int, int], curve: RateCurve) -> _Layout:
        """Lay out a page for frames [H, W, ...] and a sensor (W, H, 2)."""
        width, height = _panel(sensor_size[0], sensor_size[1])
        wide = round(height * frame_shape[1] / frame_shape[0])
        video = (min(max(wide, _SMALLEST), _WIDEST_VIDEO), height)
        full = 3 * _MARGIN + video[0] + width
        # Even sides: yuv420p has one colour for 2 x 2 pixels.
        size = (full + full % 2, _HEADER + height + STRIP_HEIGHT + 2 * _MARGIN)
        size = (size[0], size[1] + size[1] % 2)
        return cls(video, (width, height), size, curve, _draw_curve(curve, size[0] - 2 * _MARGIN))

    def page(self, frame: Picture, events: Events, sensor_size: tuple[int, int, int], now: int, total: int) -> Picture:
        """Return one picture uint8 [H, W, 3]; ``total`` events have been shown including this frame's."""
        import cv2

        width, height = self.size
        page = np.full((height, width, 3), 255, dtype=np.uint8)
        shrinks = self.video[1] < frame.shape[0]
        small = cv2.resize(frame, self.video, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
        rows = slice(_HEADER, _HEADER + self.sensor[1])
        page[rows, _MARGIN : _MARGIN + self.video[0]] = small if small.ndim == 3 else small[:, :, None]
        left = 2 * _MARGIN + self.video[0]
        page[rows, left : left + self.sensor[0]] = draw_events(events, sensor_size, *self.sensor)
        _write(page, f"{now / 1e6:.2f} s", (_MARGIN, 14), _INK)
        _write(page, "ON", (left, 14), ON_COLOUR)
        _write(page, "OFF", (left + 28, 14), OFF_COLOUR)
        _write(page, f"{total:,} events", (left + 64, 14), _INK)
        self._strip(page, now)
        return page

    def _strip(self, page: Picture, now: int) -> None:
        """Draw the curve up to the cursor, which waits at the right end when the last event has passed."""
        top = _HEADER + self.sensor[1] + _MARGIN
        wide = self.drawn.shape[1]
        share = min(now / max(int(self.curve.edges_us[-1]), 1), 1.0)
        cursor = round(share * (wide - 1))
        strip = np.full_like(self.drawn, BACKGROUND)
        strip[:, : cursor + 1] = self.drawn[:, : cursor + 1]
        strip[:, cursor] = _INK
        highest = float(max(self.curve.on.max(), self.curve.off.max()))
        both = float((self.curve.on + self.curve.off).max())
        _write(strip, f"events/s, full height {_short(highest)}, both at most {_short(both)}", (4, 12))
        page[top : top + STRIP_HEIGHT, _MARGIN : _MARGIN + wide] = strip


def _panel(width: int, height: int) -> tuple[int, int]:
    """Return the size of the picture of the events: a whole multiple of a small sensor, a fraction of a large one.

    >>> _panel(128, 128), _panel(346, 260), _panel(1280, 720), _panel(48, 64)
    ((256, 256), (346, 260), (640, 360), (192, 256))
    """
    low, high = PANEL_SIDES
    longer = max(width, height)
    if longer < low:
        factor = -(-low // longer)
        return max(width * factor, _SMALLEST), max(height * factor, _SMALLEST)
    scale = min(1.0, high / longer)
    return max(round(width * scale), _SMALLEST), max(round(height * scale), _SMALLEST)


def _draw_curve(curve: RateCurve, wide: int) -> Picture:
    """Return the whole strip uint8 [STRIP_HEIGHT, wide, 3] with both rates as steps."""
    import cv2

    strip = np.full((STRIP_HEIGHT, wide, 3), BACKGROUND, dtype=np.uint8)
    base, room = STRIP_HEIGHT - 6, STRIP_HEIGHT - 26
    highest = max(float(curve.on.max()), float(curve.off.max()), 1e-9)
    cv2.line(strip, (0, base), (wide - 1, base), _PALE, 1)
    edges = np.rint(curve.edges_us / max(int(curve.edges_us[-1]), 1) * (wide - 1)).astype(int)
    for values, colour in ((curve.off, OFF_COLOUR), (curve.on, ON_COLOUR)):
        level = np.rint(base - values / highest * room).astype(int)
        points = np.stack([np.repeat(edges, 2)[1:-1], np.repeat(level, 2)], axis=1)
        cv2.polylines(strip, [points.astype(np.int32)], False, colour, 2, cv2.LINE_AA)
    return strip


def _short(rate: float) -> str:
    """Return a rate in three digits with its unit prefix.

    >>> _short(0.0), _short(950.4), _short(12_345.0), _short(2.5e6)
    ('0', '950', '12.3 k', '2.5 M')
    """
    for size, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if rate >= size:
            return f"{rate / size:.3g}{prefix}"
    return f"{rate:.3g}"


def _write(picture: Picture, text: str, place: tuple[int, int], colour: tuple[int, int, int] = _INK) -> None:
    import cv2

    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, 1, cv2.LINE_AA)


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Turn what the system or the encoder says about a path into one finding."""
    import av

    try:
        yield
    except (OSError, av.FFmpegError) as error:
        found = f"cannot be written: {error.strerror or error}"
        raise _refusal("E789", str(file), found, fix="check the path, its rights and the free space") from error


def _encode(file: Path, pages: Iterator[tuple[Picture, int]], fps: float) -> int:
    """Encode the pages one by one; return how many. The first page is made before the file is opened."""
    import av

    page, time_us = next(pages)
    with ExitStack() as stack:
        # What the source of the frames raises is no fault of the file: pages are made outside of _writing.
        with _writing(file):
            container = stack.enter_context(av.open(str(file), "w", format="mp4", options=_CONTAINER))
            rate = Fraction(fps).limit_denominator(1001)
            stream = cast(Any, container.add_stream("libx264", rate=rate, options=_CODEC))
            stream.codec_context.width, stream.codec_context.height = page.shape[1], page.shape[0]
            stream.codec_context.pix_fmt, stream.codec_context.time_base = "yuv420p", _TICK
        count, tick = 0, -1
        following: tuple[Picture, int] | None = (page, time_us)
        while following is not None:
            page, time_us = following
            # Two frames within one tick of the clock would be refused by the container.
            tick = max(round(time_us * _CLOCK / 1_000_000), tick + 1)
            with _writing(file):
                container.mux(stream.encode(_frame(page, tick)))
            count += 1
            following = next(pages, None)
        with _writing(file):
            container.mux(stream.encode())
            container.close()
    return count


def _frame(page: Picture, tick: int) -> Any:
    import av

    frame = av.VideoFrame.from_ndarray(page, format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = tick, _TICK
    return frame
