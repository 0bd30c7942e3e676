"""Slow motion before the pixel model: frames between the frames, so that no edge moves by more than one pixel per step.

Between frames A at time 0 and B at time 1, with optical flow F01 (A to B) and F10 (B to A), the frame at time t is::

    linear   (1 - t) A + t B
    dis      (1 - t) A(x + F0) + t B(x + F1)
             F0 = -(1 - t) t F01 + t^2 F10,   F1 = (1 - t)^2 F01 - t (1 - t) F10

with the flow of Kroeger et al., "Fast optical flow using dense inverse search" (ECCV 2016), as OpenCV computes it
in its ultrafast preset, and the intermediate flow of Jiang et al., "Super SloMo" (CVPR 2018), equation 4; their
trained network, for which the user has the weights, is in ``slow_motion_network``.
The number of frames follows the fastest pixel, the adaptive sampling of ESIM (Rebecq et al., CoRL 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.slow_motion_weights import NetworkWeights, find_weights
from neuroemo.events.stream import CHUNK_BYTES, FrameChunk, check_times

if TYPE_CHECKING:
    from neuroemo.events.slow_motion_network import FramePair

Gray = npt.NDArray[np.uint8]
Times = npt.NDArray[np.int64]
Flow = npt.NDArray[np.float32]
Interpolator = Callable[[Gray, Gray, int], Gray]
"""A user's own: two frames uint8 [H, W] and a factor n -> the n - 1 frames between, uint8 [n - 1, H, W]."""

SMALLEST_SIDE = 12
"""Least picture side for the optical flow: its patches are 8 pixels wide."""

MAX_FACTOR = 256


@dataclass(frozen=True, slots=True)
class UpsampleSettings:
    """How many frames are put between two, and how they are made; the default suits the pixel model.

    ``method``: "none", "linear" (a blend), "dis" (optical flow), the path of a network's weights (kept as
    ``NetworkWeights``), or an ``Interpolator``. ``factor``: the steps from one frame to the next, either one number
    for all, or "flow" for ``ceil(largest flow in pixels)``, 1 where that is under ``least_flow`` pixels (flow pays
    only above), or "brightness" for ``ceil(largest change of log intensity / brightness_step)``. Both are at most
    ``largest_factor`` and at most one step per microsecond. A network's frames follow its own flow, all others DIS.

    Raises ``InputError`` with one finding per value out of range, or for weights as ``find_weights`` does.
    """

    method: Literal["none", "linear", "dis"] | NetworkWeights | Path | Interpolator = "dis"
    factor: Literal["flow", "brightness"] | int = "flow"
    largest_factor: int = 32
    least_flow: float = 1.5
    brightness_step: float = 0.1

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = []

        def wrong(name: str, limit: str) -> None:
            findings.append(Finding("E763", "error", name, repr(getattr(self, name)), limit))

        known = isinstance(self.method, (NetworkWeights, Path)) or self.method in ("none", "linear", "dis")
        if not known and not callable(self.method):
            wrong(
                "method",
                "'none', 'linear', 'dis' or a function (frame, frame, factor) -> frames, or a network's weights",
            )
        if self.factor not in ("flow", "brightness") and not _whole(self.factor):
            wrong("factor", f"'flow', 'brightness' or 1..{MAX_FACTOR}")
        if not _whole(self.largest_factor):
            wrong("largest_factor", f"1..{MAX_FACTOR}")
        for name, low, high in (("least_flow", 0.0, 1e4), ("brightness_step", 1e-3, 10.0)):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                wrong(name, f"{low:g}..{high:g}")
        if findings:
            raise InputError(findings)
        if isinstance(self.method, Path):
            object.__setattr__(self, "method", find_weights(self.method))

    @property
    def follows_flow(self) -> bool:
        """Whether optical flow is needed: for the frames between, or for their number."""
        made_by_flow = self.method == "dis" or isinstance(self.method, NetworkWeights)
        return made_by_flow or (self.method != "none" and self.factor == "flow")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary; of a network's weights, name and SHA-256."""
        method = self.method.to_dict() if isinstance(self.method, NetworkWeights) else self.method
        return asdict(self) | {"method": method}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_FACTOR


@dataclass(frozen=True, slots=True)
class UpsampleReport:
    """What was done so far: pairs of frames, the largest factor, and how many pairs wanted more than was allowed."""

    pairs: int
    largest_factor: int
    limited_pairs: int


class Upsampler:
    """Puts frames between frames, pair by pair; only the last frame is kept.

    >>> settings = UpsampleSettings(method="linear", factor=2)
    >>> frames = np.array([[[10]], [[20]]], np.uint8)
    >>> [(frame.tolist(), time) for frame, time in Upsampler(settings).feed(frames, [0, 100])]
    [([[10]], 0), ([[15]], 50), ([[20]], 100)]
    """

    def __init__(self, settings: UpsampleSettings | None = None) -> None:
        self.settings = settings or UpsampleSettings()
        if isinstance(self.settings.method, NetworkWeights):
            self.settings.method.check_at_hand()
        self._last: Gray | None = None
        self._time_us: int | None = None
        self._flow: Any = None
        self._report = UpsampleReport(0, 1, 0)

    @property
    def report(self) -> UpsampleReport:
        """What was done so far."""
        return self._report

    def feed(self, frames: Gray, times_us: npt.ArrayLike) -> Iterator[tuple[Gray, int]]:
        """Yield (frame uint8 [H, W], time in microseconds): the given frames and those between, in order.

        ``frames`` is uint8 ``[n, H, W]``, ``times_us`` int ``[n]``, later than the last of the call before. Whole
        and in pieces give the same frames. Take all of one call before the next.

        Raises:
            InputError: frames of another shape or type, times that do not ascend, a picture too small for
                optical flow, or an interpolator that returns something else than it should.
        """
        self._check(frames)
        times = check_times(times_us, len(frames), self._time_us)
        return self._pairs(frames, times)

    def _pairs(self, frames: Gray, times: Times) -> Iterator[tuple[Gray, int]]:
        for frame, time in zip(frames, times.tolist(), strict=True):
            if self._last is not None and self._time_us is not None:
                yield from self._between(self._last, frame, self._time_us, time)
            self._last, self._time_us = frame.copy(), time
            yield frame, time

    def _between(self, before: Gray, after: Gray, start_us: int, stop_us: int) -> Iterator[tuple[Gray, int]]:
        settings = self.settings
        if settings.method == "none":
            self._count(1, 1)
            return
        moved = self._moved(before, after) if settings.factor == "flow" else None
        length = stop_us - start_us
        wanted = self._wanted(before, after, moved)
        allowed = settings.largest_factor if isinstance(settings.factor, str) else wanted
        factor = min(wanted, allowed, length)
        self._count(wanted, factor)
        if factor == 1:
            return
        pictures = self._pictures(before, after, factor, moved)
        for step, picture in enumerate(pictures, start=1):
            yield picture, start_us + (2 * step * length + factor) // (2 * factor)

    def _count(self, wanted: int, factor: int) -> None:
        report = self._report
        self._report = replace(
            report,
            pairs=report.pairs + 1,
            largest_factor=max(report.largest_factor, factor),
            limited_pairs=report.limited_pairs + (wanted > factor),
        )

    def _wanted(self, before: Gray, after: Gray, moved: FramePair | FlowPair | None) -> int:
        settings = self.settings
        if isinstance(settings.factor, int):
            return settings.factor
        if settings.factor == "brightness":
            return max(1, math.ceil(largest_change(before, after) / settings.brightness_step))
        largest = max(largest_flow(flow) for flow in moved.flows()) if moved else 0.0
        return 1 if largest < settings.least_flow else max(1, math.ceil(largest))

    def _pictures(self, before: Gray, after: Gray, factor: int, moved: FramePair | FlowPair | None) -> Iterable[Gray]:
        method = self.settings.method
        shares = [step / factor for step in range(1, factor)]
        if callable(method):
            return _checked(method(before.copy(), after.copy(), factor), factor, before.shape)
        if method == "linear":
            return (blend(before, after, share) for share in shares)
        known = moved or self._moved(before, after)
        return (known.at(share) for share in shares)

    def _moved(self, before: Gray, after: Gray) -> FramePair | FlowPair:
        """Return two frames and the flow between them, by the network if there is one."""
        method = self.settings.method
        if isinstance(method, NetworkWeights):
            from neuroemo.events.slow_motion_network import load_network

            return load_network(method, str(method.path)).pair(before, after)
        return FlowPair(before, after, *self._flows(before, after))

    def _flows(self, before: Gray, after: Gray) -> tuple[Flow, Flow]:
        import cv2

        if self._flow is None:
            opencv: Any = cv2  # its type stubs miss this class
            self._flow = opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        pair = np.ascontiguousarray(before), np.ascontiguousarray(after)
        return self._flow.calc(*pair, None), self._flow.calc(*pair[::-1], None)

    def _check(self, frames: Gray) -> None:
        shape: tuple[int, ...] = getattr(frames, "shape", ())
        right = isinstance(frames, np.ndarray) and frames.dtype == np.uint8 and len(shape) == 3
        wanted = "uint8 [n, H, W]" if self._last is None else f"uint8 [n, {self._last.shape[0]}, {self._last.shape[1]}]"
        if not right or (self._last is not None and shape[1:] != self._last.shape):
            found = f"{getattr(frames, 'dtype', type(frames).__name__)} {list(shape)}"
            raise InputError(Finding("E714", "error", "frames", found, wanted))
        if self.settings.follows_flow and min(shape[1:]) < SMALLEST_SIDE:
            found = f"{shape[2]}x{shape[1]} pixels"
            fix = "use method='linear' with a number as factor"
            limit = f"at least {SMALLEST_SIDE}x{SMALLEST_SIDE} for optical flow"
            raise InputError(Finding("E762", "error", "frames", found, limit, fix=fix))


def _checked(made: Any, factor: int, shape: tuple[int, ...]) -> Gray:
    """Return what a user's interpolator made, if it is what it should be."""
    wanted = (factor - 1, *shape)
    if not isinstance(made, np.ndarray) or made.dtype != np.uint8 or made.shape != wanted:
        found = f"{getattr(made, 'dtype', type(made).__name__)} {list(getattr(made, 'shape', []))}"
        fix = "return the factor - 1 frames between the two, 0..255"
        raise InputError(Finding("E764", "error", "interpolator", found, f"uint8 {list(wanted)}", fix=fix))
    return made


@dataclass(frozen=True, slots=True)
class FlowPair:
    """Two frames uint8 ``[H, W]`` and the flow from the first to the second and back, float32 ``[H, W, 2]``."""

    before: Gray
    after: Gray
    forward: Flow
    backward: Flow

    def flows(self) -> tuple[Flow, Flow]:
        """Return both flows."""
        return self.forward, self.backward

    def at(self, share: float) -> Gray:
        """Return the frame at time ``share``, see ``warp_between``."""
        return warp_between(self.before, self.after, self.forward, self.backward, share)


def largest_flow(flow: Flow) -> float:
    """Return the length of the longest vector of a flow ``[H, W, 2]`` in pixels.

    >>> largest_flow(np.array([[[3.0, 4.0], [0.0, 1.0]]], np.float32))
    5.0
    """
    return float(np.hypot(flow[..., 0], flow[..., 1]).max())


def largest_change(before: Gray, after: Gray) -> float:
    """Return the largest change of log intensity, lin-log as in the pixel model.

    >>> round(largest_change(np.array([[50, 40]], np.uint8), np.array([[100, 40]], np.uint8)), 4)
    0.6931
    """
    from neuroemo.events.pixel.simulator import brightness

    return float(np.abs(brightness(after) - brightness(before)).max())


def blend(before: Gray, after: Gray, share: float) -> Gray:
    """Return ``(1 - t) A + t B``, rounded to the nearest gray level, halves up; ``share`` is t in 0..1."""
    mixed = (1 - share) * before.astype(np.float64) + share * after
    return np.floor(mixed + 0.5).astype(np.uint8)


def warp_between(before: Gray, after: Gray, forward: Flow, backward: Flow, share: float) -> Gray:
    """Return the frame at time ``share`` in 0..1 between two, by the flows float32 ``[H, W, 2]`` from A to B and back.

    Pictures are sampled bilinearly and continue beyond their border as their outermost pixels.
    """
    import cv2

    t = share
    height, width = before.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    mixed = np.zeros((height, width), dtype=np.float32)
    to_before = (t * t) * backward - ((1 - t) * t) * forward
    to_after = ((1 - t) * (1 - t)) * forward - (t * (1 - t)) * backward
    for picture, flow, weight in ((before, to_before, 1 - t), (after, to_after, t)):
        at_x, at_y = columns + flow[..., 0], rows + flow[..., 1]
        # As floats: the fixed-point remap of bytes knows only 1/32 of a pixel and rounds twice.
        sampled = cv2.remap(picture.astype(np.float32), at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mixed += np.float32(weight) * sampled
    return np.clip(np.floor(mixed + np.float32(0.5)), 0, 255).astype(np.uint8)


def upsample(frames: Gray, times_us: npt.ArrayLike, settings: UpsampleSettings | None = None) -> tuple[Gray, Times]:
    """Return all frames and those between, uint8 ``[m, H, W]``, and their times in microseconds, int64 ``[m]``.

    Raises:
        InputError: no frame, or see ``Upsampler.feed``.
    """
    if not len(frames):
        raise InputError(Finding("E714", "error", "frames", "none", "1 or more"))
    pictures, times = zip(*Upsampler(settings).feed(frames, times_us), strict=True)
    return np.stack(pictures), np.array(times, dtype=np.int64)


def upsample_stream(pieces: Iterable[FrameChunk], upsampler: Upsampler, *, chunk: int = 64) -> Iterator[FrameChunk]:
    """Yield a video with the frames between, in pieces of at most ``chunk`` frames and 64 MiB.

    ``fps`` stays that of the source.

    Raises:
        InputError: a chunk below 1, or see ``Upsampler.feed``.
    """
    if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
        raise InputError(Finding("E700", "error", "chunk", repr(chunk), "at least 1 frame"))
    return _upsample_stream(pieces, upsampler, chunk)


def _upsample_stream(pieces: Iterable[FrameChunk], upsampler: Upsampler, chunk: int) -> Iterator[FrameChunk]:
    for piece in pieces:
        frames: list[Gray] = []
        times: list[int] = []
        for frame, time in upsampler.feed(piece.frames, piece.times_us):
            frames.append(frame)
            times.append(time)
            if len(frames) == min(chunk, max(1, CHUNK_BYTES // frame.size)):
                yield replace(piece, frames=np.stack(frames), times_us=np.array(times, dtype=np.int64))
                frames, times = [], []
        if frames:
            yield replace(piece, frames=np.stack(frames), times_us=np.array(times, dtype=np.int64))
