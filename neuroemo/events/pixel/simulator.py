"""A simulated event camera that follows the physics of its pixels: the model of v2e (Hu et al., CVPRW 2021).

For every frame, with x in 0..255, natural logarithms, and memory m of each pixel::

    brightness  y = x ln(20) / 20  for x <= 20,  ln(x)  above             (rounded to 1e-8)
    low-pass    l <- (1 - e) l + e y,  e = min(1, (x + 20) / 275 * 2 pi f dt)
    leak        m <- m - dt * leak rate * threshold
    events      n = floor((l - m) / threshold),  m <- m + n * threshold   (and likewise OFF)

It is written anew from these equations; with noise off it gives v2e's own events (tests/events/pixel).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.pixel.settings import PixelSettings

if TYPE_CHECKING:
    from neuroemo.events.pixel.noise import ShotNoise

Events = npt.NDArray[Any]

LINEAR_BELOW = 20.0
MAX_SIDE = 16384
LONGEST_US = 2**31 - 1
"""Longest time between two frames, 35 minutes: the times within one are kept in 32 bits."""
_LEVELS = np.arange(256, dtype=np.float64)


def brightness(gray: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the brightness of gray values 0..255: linear in the dark, logarithmic above 20.

    >>> [round(float(value), 4) for value in brightness(np.array([0.0, 20.0, 255.0]))]
    [0.0, 2.9957, 5.5413]
    """
    values = np.asarray(gray, dtype=np.float64)
    linear = values * (math.log(LINEAR_BELOW) / LINEAR_BELOW)
    logarithm = np.log(np.maximum(values, LINEAR_BELOW))
    # Rounded as in v2e: adding a threshold and taking it away again must give the same number.
    return (np.round(np.where(values <= LINEAR_BELOW, linear, logarithm) * 1e8) / 1e8).astype(np.float32)


class PixelSimulator:
    """An event camera of ``height`` x ``width`` pixels that is fed frame by frame.

    Raises:
        InputError: a size out of range.
    """

    def __init__(self, settings: PixelSettings, height: int, width: int) -> None:
        for name, side in (("height", height), ("width", width)):
            if not 1 <= side <= MAX_SIDE:
                raise InputError(Finding("E851", "error", name, f"{side} pixels", f"1..{MAX_SIDE}"))
        self.settings, self.shape = settings, (height, width)
        self._random = np.random.default_rng(settings.seed)
        pixels = height * width
        self._kind = np.float64 if settings.cutoff_hz > 0 else np.float32
        self._positive, self._negative = self._thresholds(pixels)
        self._table = brightness(_LEVELS)
        self._spread = self._leak_spread(pixels)
        # No pixel has fired yet, so none is refractory.
        self._last = np.full(pixels, -settings.refractory_us * 1e-6, dtype=np.float32)
        # The brightness at the last frame and at this one: the two change places with every frame.
        self._before, self._light = np.empty(pixels, dtype=self._kind), np.empty(pixels, dtype=self._kind)
        self._base = np.empty(pixels, dtype=self._kind)
        self._active, self._counts = np.empty(pixels + 1, dtype=np.int32), np.empty(pixels + 1, dtype=np.int32)
        self._leak = (
            np.float32(settings.leak_rate_hz),
            # Only the sum over frames matters: a uniform number of the same variance does as well as a normal one.
            np.float32(settings.leak_jitter * math.sqrt(12)),
        )
        self._draws = settings.shot_noise_rate_hz > 0 or (settings.leak_rate_hz > 0 and settings.leak_jitter > 0)
        self._noise: ShotNoise | None = None
        self._time_us: int | None = None

    def feed(self, frame: npt.NDArray[np.uint8], time_us: int) -> Events:
        """Return the events from the last frame to this one, sorted by time; none for the first frame.

        ``frame`` is uint8 [height, width]; times are microseconds and ascend.

        Raises:
            InputError: another shape or type, or a time that is not later than the last one.
        """
        self._check(frame, time_us)
        flat = np.ascontiguousarray(frame).reshape(-1)
        start_us, self._time_us = self._time_us, time_us
        if start_us is None:
            self._light[:] = self._table[flat]
            self._base[:] = self._light
            return np.empty(0, dtype=EVENT_DTYPE)
        from neuroemo.events.pixel.kernel import frame_events
        from neuroemo.events.pixel.noise import ShotNoise

        settings = self.settings
        if self._noise is None:
            self._noise = ShotNoise(settings, self._positive, self._negative)
        self._before, self._light = self._light, self._before
        key = np.uint64(self._random.bit_generator.random_raw() if self._draws else 0)
        events: Events = frame_events(
            flat, self.shape[1], self._table, self._before, self._light, self._base, self._positive, self._negative,
            self._spread, self._last, self._active, self._counts, start_us, time_us, float(settings.cutoff_hz),
            *self._leak, float(settings.refractory_us), settings.timing == "linear",
            self._noise.of_frame(time_us - start_us, self._random), self._noise.tables, key,
        )  # fmt: skip
        return events

    @property
    def thresholds(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Positive and negative thresholds of every pixel, [height, width]."""
        return self._positive.reshape(self.shape), self._negative.reshape(self.shape)

    def set_thresholds(self, positive: npt.NDArray[Any], negative: npt.NDArray[Any]) -> None:
        """Give every pixel thresholds of its own, as measured on a real sensor, [height, width] each.

        Raises:
            InputError: another shape, or a threshold that is not positive.
        """
        for name, values in (("positive", positive), ("negative", negative)):
            if values.shape != self.shape or not (np.isfinite(values).all() and (values > 0).all()):
                found = f"{list(values.shape)}, smallest {values.min(initial=np.inf):g}"
                raise InputError(Finding("E854", "error", f"{name} thresholds", found, f"above 0, {list(self.shape)}"))
        self._positive, self._negative = (
            np.ascontiguousarray(values, dtype=np.float32).reshape(-1) for values in (positive, negative)
        )
        self._noise = None

    def _check(self, frame: npt.NDArray[np.uint8], time_us: int) -> None:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape != self.shape:
            found = f"{getattr(frame, 'dtype', type(frame).__name__)} {list(getattr(frame, 'shape', []))}"
            raise InputError(Finding("E852", "error", "frame", found, f"uint8 {list(self.shape)}"))
        before = -1 if self._time_us is None else self._time_us
        if not before < time_us:
            found = f"{time_us} us after {self._time_us} us"
            raise InputError(Finding("E853", "error", "frame times", found, "ascending microseconds from 0"))
        if self._time_us is not None and time_us - before > LONGEST_US:
            limit = f"at most {LONGEST_US} us"
            fix = "feed the last frame again within the gap, or start a new simulator after it"
            raise InputError(Finding("E855", "error", "frame times", f"{time_us - before} us apart", limit, fix=fix))

    def _thresholds(self, pixels: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        sigma = self.settings.threshold_sigma
        nominal = (self.settings.positive_threshold, self.settings.negative_threshold)
        if sigma == 0:
            positive, negative = (np.full(pixels, value, dtype=self._kind) for value in nominal)
            return positive, negative
        positive, negative = (
            self._random.normal(value, sigma, pixels).clip(min=0.01).astype(np.float32) for value in nominal
        )
        return positive, negative

    def _leak_spread(self, pixels: int) -> npt.NDArray[np.float32]:
        spread = self.settings.leak_spread_decades
        if self.settings.leak_rate_hz == 0 or spread == 0:
            return np.ones(pixels, dtype=np.float32)
        drawn = self._random.standard_normal(pixels, dtype=np.float32)
        return np.exp(np.float32(math.log(10) * spread) * drawn)


def simulate_pixels(
    frames: Iterable[npt.NDArray[np.uint8]], times_us: Iterable[int], settings: PixelSettings
) -> tuple[Events, tuple[int, int, int]]:
    """Return the events of a whole sequence of frames, sorted by time, and the sensor size (W, H, 2).

    >>> from neuroemo.events.pixel.settings import PixelSettings
    >>> dark, bright = np.full((1, 2), 50, np.uint8), np.array([[50, 100]], np.uint8)
    >>> events, size = simulate_pixels([dark, bright], [0, 1000], PixelSettings())
    >>> events["t"].tolist(), events["x"].tolist(), size  # ln 2 is three thresholds and a bit
    ([289, 577, 866], [1, 1, 1], (2, 1, 2))

    Raises:
        InputError: no frame, as many times as frames, or see ``PixelSimulator.feed``.
    """
    camera: PixelSimulator | None = None
    pieces: list[Events] = []
    for frame, time_us in zip(frames, times_us, strict=True):
        if camera is None:
            camera = PixelSimulator(settings, *frame.shape)
        pieces.append(camera.feed(frame, int(time_us)))
    if camera is None:
        raise InputError(Finding("E852", "error", "frames", "none", "1 or more"))
    height, width = camera.shape
    return np.concatenate(pieces), (width, height, 2)
