"""The words that carry time in EVT 2.0, EVT 3.0 and DAT, checked before a decoder makes sense of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroemo.events.readers.event_file import problem

MAX_LEADING = 1 << 20
_KNOWN_EVT2 = (0, 1, 8, 10, 14, 15)
_KNOWN_EVT3 = (0, 2, 3, 4, 5, 6, 7, 8, 10, 14, 15)
_EVT3_JUMP = 4094
"""The decoder passes over a rise of this many 4096 us, and takes a fall by more for a wrap."""


@dataclass(frozen=True, slots=True)
class TimeCheck:
    """``leading`` events in front of the first time word; ``unknown`` words of undefined kind.

    ``held`` counts low time bits that fall without a new time word: the decoder keeps the later time for them.
    """

    leading: int
    unknown: int
    held: int


def check_evt2(path: Path, chunks: Iterator[Any], width: int) -> TimeCheck:
    """Check 32-bit words: kind in bits 31-28, in a time word (8) bits 27-0 are time bits 33-6.

    Raises ``InputError`` E773 when the time falls by less than half its range (4.8 hours), or never appears.
    """
    previous, leading, unknown, held = -1, 0, 0, 0
    low = np.zeros(1, np.int64)
    for words in chunks:
        kind = words >> np.uint32(28)
        fields = np.where(kind == 8, 0, (words >> np.uint32(22)) & np.uint32(63)).astype(np.int64)
        timed = (kind <= 1) | (kind == 8)
        low, falls = _falls(low, fields[timed], kind[timed] == 8)
        held += falls
        unknown += int(np.count_nonzero(~np.isin(kind, _KNOWN_EVT2)))
        is_time = kind == 8
        if previous < 0:
            first = int(np.argmax(is_time)) if is_time.any() else len(words)
            leading += int(np.count_nonzero(kind[:first] <= 1))
        highs = (words[is_time] & np.uint32(0xFFFFFFF)).astype(np.int64)
        if not highs.size:
            continue
        steps = np.diff(np.concatenate([[previous if previous >= 0 else highs[0]], highs]))
        wrong = np.flatnonzero((steps < 0) & (steps >= -(1 << 27)))
        if wrong.size:
            found = f"the time falls by {-int(steps[wrong[0]]) << 6} us"
            raise problem("E773", path, found, "rising, or a wrap after 4.8 hours")
        previous = int(highs[-1])
    if previous < 0 and leading:
        raise problem("E773", path, f"{leading} events and no time word", "a time word in front of the events")
    return TimeCheck(leading, unknown, held)


def check_evt3(path: Path, chunks: Iterator[Any], width: int) -> TimeCheck:
    """Check 16-bit words: kind in bits 15-12, in a time word (8) bits 11-0 count 4096 us.

    The wrap after 16.8 s is 4095 -> 0 and nothing else: after any other fall nobody can tell how often the
    time wrapped. Raises ``InputError`` E773 for such a fall, a rise that the decoder passes over, a vector in
    front of its base, or events without any time word.
    """
    start = _Evt3Start(width)
    previous, unknown, held = 0, 0, 0
    low = np.zeros(1, np.int64)
    for words in chunks:
        kind = words >> np.uint16(12)
        timed = (kind == 6) | (kind == 8)
        is_high = kind[timed] == 8
        low, falls = _falls(low, np.where(is_high, 0, words[timed] & np.uint16(0xFFF)).astype(np.int64), is_high)
        held += falls
        unknown += int(np.count_nonzero(~np.isin(kind, _KNOWN_EVT3)))
        if not start.complete:
            start.walk(path, words)
        highs = (words[kind == 8] & np.uint16(0xFFF)).astype(np.int64)
        if not highs.size:
            continue
        levels = np.concatenate([[previous], highs])
        steps = np.diff(levels)
        wrong = np.flatnonzero((steps >= _EVT3_JUMP) | ((steps < 0) & (steps >= -_EVT3_JUMP)))
        if wrong.size:
            before, after = levels[wrong[0]], levels[wrong[0] + 1]
            found = f"the time jumps from {before * 4096} to {after * 4096} us"
            raise problem("E773", path, found, "rising by less than 16.7 s, or the wrap 4095 -> 0")
        previous = int(highs[-1])
    if start.events and not start.complete:
        found = f"{start.events} events, but no time word or no row word"
        raise problem("E773", path, found, "both in front of the events")
    return TimeCheck(start.events, unknown, held)


def _falls(before: Any, low: Any, is_high: Any) -> tuple[Any, int]:
    """Return the last low time bits and how often they fall without a time word, ``before`` in front."""
    if not len(low):
        return before, 0
    steps = np.diff(np.concatenate([before, low]))
    return low[-1:], int(np.count_nonzero((steps < 0) & ~is_high))


class _Evt3Start:
    """Follows the decoder until time and row are known, counting the events that it makes before."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.x = 0
        self.seen: set[int] = set()
        self.events = 0
        self.words = 0

    @property
    def complete(self) -> bool:
        return {0, 8} <= self.seen

    def walk(self, path: Path, words: Any) -> None:
        for word in words.tolist():
            if self.complete:
                return
            self.words += 1
            if self.words > MAX_LEADING:
                raise problem("E773", path, f"no time and row word among the first {MAX_LEADING} words")
            self._step(word)

    def _step(self, word: int) -> None:
        kind, low = word >> 12, word & 2047
        self.seen.add(kind)
        if kind == 2:
            self.x = low
            self.events += 1
        elif kind == 3:
            self.x = low
        elif kind in (4, 5):
            lanes = 12 if kind == 4 else 8
            self.events += (word & ((1 << max(0, min(lanes, self.width - self.x))) - 1)).bit_count()
            self.x = min(self.x + lanes, self.width - 1)


def check_dat(path: Path, chunks: Iterator[Any]) -> None:
    """Check that the times (the low 32 bits of each record, us) rise, or wrap after 71.6 minutes.

    Raises ``InputError`` E773: the decoder would replace a time that falls by the one before it.
    """
    previous = -1
    for words in chunks:
        times = (words & np.uint64(0xFFFFFFFF)).astype(np.int64)
        steps = np.diff(np.concatenate([[previous if previous >= 0 else times[0]], times]))
        wrong = np.flatnonzero((steps < 0) & (steps >= -(1 << 31)))
        if wrong.size:
            found = f"the time falls by {-int(steps[wrong[0]])} us"
            raise problem("E773", path, found, "rising, or a wrap after 71.6 minutes")
        previous = int(times[-1])
