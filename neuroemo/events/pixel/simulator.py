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
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.pixel.settings import PixelSettings

Events = npt.NDArray[Any]

LINEAR_BELOW = 20.0
MAX_SIDE = 16384
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
        self._active = np.empty(pixels + 1, dtype=np.int32)
        self._counts = np.empty(pixels + 1, dtype=np.int32)
        self._before = np.empty(pixels if settings.timing == "linear" else 0, dtype=self._kind)
        self._light: npt.NDArray[Any] | None = None
        self._base = np.empty(0, dtype=self._kind)
        self._time_us = 0
        self._noise: tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None

    def feed(self, frame: npt.NDArray[np.uint8], time_us: int) -> Events:
        """Return the events from the last frame to this one, sorted by time; none for the first frame.

        ``frame`` is uint8 [height, width]; times are microseconds and ascend.

        Raises:
            InputError: another shape or type, or a time that is not later than the last one.
        """
        self._check(frame, time_us)
        flat = np.ascontiguousarray(frame).reshape(-1)
        if self._light is None:
            self._light = self._table[flat].astype(self._kind)
            self._base = self._light.copy()
            self._time_us = time_us
            return np.empty(0, dtype=EVENT_DTYPE)
        seconds = time_us * 1e-6 - self._time_us * 1e-6
        self._leak(seconds)
        events = self._signal(flat, self._slowness(seconds), time_us)
        noise = self._shot_noise(flat, time_us)
        self._time_us = time_us
        return events if noise is None else np.concatenate([events, noise])

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
            np.ascontiguousarray(values, dtype=np.float32).astype(self._kind).reshape(-1)
            for values in (positive, negative)
        )
        self._noise = None

    def _check(self, frame: npt.NDArray[np.uint8], time_us: int) -> None:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape != self.shape:
            found = f"{getattr(frame, 'dtype', type(frame).__name__)} {list(getattr(frame, 'shape', []))}"
            raise InputError(Finding("E852", "error", "frame", found, f"uint8 {list(self.shape)}"))
        if time_us < 0 or (self._light is not None and time_us <= self._time_us):
            found = f"{time_us} us after {self._time_us} us"
            raise InputError(Finding("E853", "error", "frame times", found, "ascending microseconds from 0"))

    def _thresholds(self, pixels: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        sigma = self.settings.threshold_sigma
        nominal = (self.settings.positive_threshold, self.settings.negative_threshold)
        if sigma == 0:
            positive, negative = (np.full(pixels, value, dtype=self._kind) for value in nominal)
            return positive, negative
        drawn = (self._random.normal(value, sigma, pixels).clip(min=0.01).astype(np.float32) for value in nominal)
        positive, negative = (values.astype(self._kind) for values in drawn)
        return positive, negative

    def _leak_spread(self, pixels: int) -> npt.NDArray[np.float32]:
        spread = self.settings.leak_spread_decades
        if self.settings.leak_rate_hz == 0 or spread == 0:
            return np.ones(pixels, dtype=np.float32)
        drawn = self._random.standard_normal(pixels, dtype=np.float32)
        return np.exp(np.float32(math.log(10) * spread) * drawn)

    def _slowness(self, seconds: float) -> npt.NDArray[np.float64]:
        """Return the share of a step that the low-pass makes in one frame, for each gray level."""
        cutoff = self.settings.cutoff_hz
        if cutoff <= 0:
            return np.empty(0)
        tau = 1 / (math.pi * 2 * cutoff)
        return np.minimum((_LEVELS + 20) / 275.0 * (seconds / tau), 1.0)

    def _leak(self, seconds: float) -> None:
        rate, jitter = self.settings.leak_rate_hz, self.settings.leak_jitter
        if rate == 0:
            return
        amount = np.float32(seconds) * np.float32(rate)
        if not jitter:
            self._base = self._base - amount * self._spread * self._positive
            return
        from neuroemo.events.pixel.kernel import leak

        # Only the sum over frames matters: a uniform number of the same variance does as well as a normal one.
        width = np.float32(jitter * math.sqrt(12))
        leak(self._base, self._positive, self._spread, amount, width, int(self._random.integers(2**32)))

    def _signal(self, gray: npt.NDArray[np.uint8], slow: npt.NDArray[np.float64], time_us: int) -> Events:
        from neuroemo.events.pixel.kernel import advance, in_order, send

        light, before = self._light, self._before
        thresholds = (self._positive, self._negative)
        found, total, most = advance(
            gray, self._table, slow, light, before, self._base, *thresholds, self._active, self._counts
        )
        active, counts = self._active[:found], self._counts
        length = time_us - self._time_us
        times = np.empty(total, dtype=np.int32)
        pixels, polarity = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.bool_)
        slots = self._slots(most, time_us)
        refractory = self._refractory(most, length)
        sent = send(
            active, counts, light, before, self._base, self._positive, self._negative, self._last, refractory, slots,
            float(self._time_us), float(length), times, pixels, polarity,
        )  # fmt: skip
        events = np.empty(sent, dtype=EVENT_DTYPE)
        stamps = np.rint(slots.astype(np.float64) * 1e6).astype(np.int64)
        bins = np.empty((slots.size or length + 1) + 1, dtype=np.int32)
        in_order(times[:sent], pixels[:sent], polarity[:sent], self.shape[1], stamps, self._time_us, bins, events)
        return events

    def _slots(self, most: int, time_us: int) -> npt.NDArray[np.float32]:
        if self.settings.timing == "linear":
            return np.empty(0, dtype=np.float32)
        start, stop, slots = self._time_us * 1e-6, time_us * 1e-6, max(most, 1)
        first, last = np.float32(start + (stop - start) / slots), np.float32(stop)
        if slots == 1:
            return np.array([first])
        # Single precision from both ends, each with one rounding, as torch spaces numbers and v2e its slots.
        step = np.float64((last - first) / np.float32(slots - 1))
        count = np.arange(slots)
        times = np.where(count < slots // 2, first + step * count, last - step * (slots - 1 - count))
        return times.astype(np.float32)

    def _refractory(self, most: int, length_us: int) -> np.float32:
        """Return the refractory period in seconds; v2e drops it where slots are further apart anyway."""
        period = self.settings.refractory_us
        if self.settings.timing == "slots" and not period > length_us / max(most, 1):
            return np.float32(0)
        return np.float32(period * 1e-6)

    def _shot_noise(self, gray: npt.NDArray[np.uint8], time_us: int) -> Events | None:
        """Draw the noise of one frame where it falls: how many events, then where, then by brightness."""
        if self.settings.shot_noise_rate_hz == 0:
            return None
        pieces = []
        for polarity, rates in zip((True, False), self._noise_rates(time_us - self._time_us), strict=True):
            number = self._random.poisson(rates[-1])
            pixels = np.searchsorted(rates, self._random.random(number) * rates[-1], side="right")
            # A quarter of the rate is left at white (v2e: SHOT_NOISE_INTEN_FACTOR).
            kept = self._random.random(number) < 1 - 0.75 * (gray[pixels] + 20.0) / 275.0
            fired = np.unique(pixels[kept])  # one event of each kind per pixel and frame, as in v2e
            events = np.empty(fired.size, dtype=EVENT_DTYPE)
            events["t"], events["p"] = time_us, polarity
            events["y"], events["x"] = np.divmod(fired, self.shape[1])
            if self._light is not None:
                self._base[fired] = self._light[fired]
            pieces.append(events)
        return np.concatenate(pieces)

    def _noise_rates(self, length_us: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the summed rates of noise in the dark over pixels, ON and OFF, for a frame of this length.

        A pixel of threshold c fires with probability p = rate / 2 * dt * nominal / c; events that come at the rate
        -ln(1 - p) hit it at least once with just that probability.
        """
        if self._noise is None or self._noise[0] != length_us:
            settings = self.settings
            chances = (
                settings.shot_noise_rate_hz / 2 * length_us * 1e-6 * nominal / threshold
                for threshold, nominal in (
                    (self._positive, settings.positive_threshold),
                    (self._negative, settings.negative_threshold),
                )
            )
            on, off = (np.cumsum(-np.log1p(-np.minimum(chance, 0.999))) for chance in chances)
            self._noise = (length_us, on, off)
        return self._noise[1], self._noise[2]


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
