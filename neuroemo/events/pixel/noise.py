"""Shot noise, drawn where it falls: how many hits in a frame, then which pixels, then whether each counts.

A pixel of threshold c fires in a frame of length dt with the probability of v2e::

    q = rate / 2 * dt * nominal / c * (1 - 3/4 (x + 20) / 275)       (at most 0.999), for each polarity

Hits that come at the rate ``-ln(1 - q)`` strike it at least once with just that probability. They are thinned from hits
at the rate of a dark picture, for a frame about as long; a table of all pixels (Walker 1977; Vose 1991) says whom
they strike. It is made again only when the length of the frames changes much.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from neuroemo.events.pixel.settings import PixelSettings

WASTE = 1.3
LARGEST = 0.999
"""The largest probability of noise of one kind, in one pixel and frame."""


class Tables(NamedTuple):
    """An alias table of all pixels for ON, then for OFF; a bit for each, 0 between frames. Empty without noise."""

    chance: Any
    other: Any
    marked: Any


class FrameNoise(NamedTuple):
    """The noise of one frame.

    ``candidates``: hits to draw; ``chance``: q / (nominal / c) in the dark; ``built``: that which the table was
    made for, whose hits are enough if they come ``bound`` times as often; nominal thresholds.
    """

    candidates: int
    chance: float
    built: float
    bound: float
    positive: float
    negative: float


@numba.njit(cache=True, nogil=True)
def alias_table(weights: Any, chance: Any, other: Any) -> None:
    """Fill the table from which entries are drawn in proportion to ``weights`` (Vose): ``chance``, else ``other``."""
    count = weights.size
    mean = weights.sum() / count
    small, large = np.empty(count, np.int32), np.empty(count, np.int32)
    left = np.empty(count)
    smalls, larges = 0, 0
    for entry in range(count):
        left[entry] = weights[entry] / mean
        if left[entry] < 1:
            small[smalls] = entry
            smalls += 1
        else:
            large[larges] = entry
            larges += 1
    while smalls and larges:
        smalls -= 1
        poor, rich = small[smalls], large[larges - 1]
        chance[poor], other[poor] = left[poor], rich
        left[rich] -= 1 - left[poor]
        if left[rich] < 1:
            larges -= 1
            small[smalls] = rich
            smalls += 1
    # What is left is 1 but for rounding.
    for index in range(smalls):
        chance[small[index]], other[small[index]] = 1, small[index]
    for index in range(larges):
        chance[large[index]], other[large[index]] = 1, large[index]


@numba.njit(cache=True, nogil=True)
def mixed(state: Any) -> Any:
    """Return the output of SplitMix64 for a state (Steele, Lea and Flood 2014); states step by 0x9E3779B97F4A7C15."""
    bits = np.uint64(state)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def ones(word: Any) -> int:
    """Return the number of bits that are set in 64."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True, nogil=True)
def draw_noise(
    frame: Any, positive: Any, negative: Any, noise: Any, tables: Any, key: Any
) -> int:  # fmt: skip
    """Mark the pixels with noise, bit by bit: ON, then OFF; return how many bits are set. ``key`` fixes the draw."""
    step, unit = np.uint64(0x9E3779B97F4A7C15), 2.0**-53
    state, found = np.uint64(key), 0
    pixels, entries = frame.size, 2 * frame.size
    chance, other, marked = tables.chance, tables.other, tables.marked
    for _ in range(noise.candidates):
        state += step
        at = np.float64(mixed(state) >> np.uint64(11)) * unit * entries
        entry = min(int(at), entries - 1)
        if at - entry >= chance[entry]:
            entry = other[entry]
        pixel = entry if entry < pixels else entry - pixels
        weight = noise.positive / positive[pixel] if entry < pixels else noise.negative / negative[pixel]
        # A quarter of the rate is left at white (v2e: SHOT_NOISE_INTEN_FACTOR).
        share = 1 - 0.75 * (frame[pixel] + 20.0) / 275.0
        wanted = min(noise.chance * weight * share, LARGEST)
        state += step
        rate = -math.log1p(-min(noise.built * weight, LARGEST))
        drawn = np.float64(mixed(state) >> np.uint64(11)) * unit * noise.bound * rate
        # q <= -ln(1 - q) <= q / (1 - q): the logarithm is needed for few.
        if drawn >= wanted and (drawn * (1 - wanted) >= wanted or drawn >= -math.log1p(-wanted)):
            continue
        word, bit = entry >> 6, np.uint64(1) << np.uint64(entry & 63)
        found += (marked[word] & bit) == 0
        marked[word] |= bit
    return found


@numba.njit(cache=True, nogil=True)
def send_noise(marked: Any, columns: int, time_us: int, light: Any, base: Any, events: Any) -> None:
    """Write one event per marked bit, ON first, row by row, let those pixels forget, and clear the marks."""
    one, place = np.uint64(1), 0
    for word in range(marked.size):
        bits = marked[word]
        while bits:
            entry = 64 * word + ones((bits & (~bits + one)) - one)
            bits &= bits - one
            pixel = entry if entry < light.size else entry - light.size
            base[pixel] = light[pixel]
            record = events[place]
            place += 1
            row = pixel // columns
            record.t, record.x, record.y, record.p = time_us, pixel - row * columns, row, entry < light.size
        marked[word] = 0


def hits(chance: float) -> float:
    """Return the rate of hits that strike at least once with a probability, 0.999 at most.

    >>> round(hits(0.5), 6), round(hits(7.0), 6)
    (0.693147, 6.907755)
    """
    return -math.log1p(-min(chance, LARGEST))


def enough(chance: float, built: float, smallest: float, largest: float) -> float:
    """Return the most of hits(chance w) / hits(built w) over the weights w from ``smallest`` to ``largest``.

    The quotient rises or falls all the way between the weights at which one of the two is at its largest.

    >>> round(enough(0.02, 0.01, 0.5, 1.0), 4)  # ln(0.98) / ln(0.99)
    2.0102
    """
    turns = (min(max(LARGEST / value, smallest), largest) for value in (chance, built))
    return max(hits(chance * weight) / hits(built * weight) for weight in (smallest, largest, *turns))


class ShotNoise:
    """The noise of a camera with thresholds float [P], each polarity."""

    def __init__(self, settings: PixelSettings, positive: Any, negative: Any) -> None:
        self.settings, self._built = settings, 0.0
        entries = 2 * positive.size if settings.shot_noise_rate_hz > 0 else 0
        chance, other = np.empty(entries, np.float32), np.empty(entries, np.int32)
        self.tables = Tables(chance, other, np.zeros(entries // 64 + 1, np.uint64))
        if entries:
            nominal = ((settings.positive_threshold, positive), (settings.negative_threshold, negative))
            self._weights = np.concatenate([value / threshold.astype(np.float64) for value, threshold in nominal])
            self._range = float(self._weights.min()), float(self._weights.max())

    def of_frame(self, length_us: int, random: np.random.Generator) -> FrameNoise:
        """Draw the number of hits in a frame of this length."""
        settings = self.settings
        chance = settings.shot_noise_rate_hz / 2 * length_us * 1e-6
        if chance * (self._range[1] if settings.shot_noise_rate_hz else 0) < 1e-300:
            return FrameNoise(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        # Most pixels need chance / built times the hits; a table for another length may draw too many in vain.
        if not self._built or enough(chance, self._built, *self._range) > WASTE * chance / self._built:
            self._build(chance)
        bound = enough(chance, self._built, *self._range)
        candidates = int(random.poisson(bound * self._sum))
        nominal = float(settings.positive_threshold), float(settings.negative_threshold)
        return FrameNoise(candidates, chance, self._built, bound, *nominal)

    def _build(self, chance: float) -> None:
        self._built = chance
        rates = -np.log1p(-np.minimum(chance * self._weights, LARGEST))
        self._sum = float(rates.sum())
        alias_table(rates, self.tables.chance, self.tables.other)
