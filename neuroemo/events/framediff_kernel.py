"""The inner loops of the frame-difference simulator, in machine code: one pass over the pixels of each frame.

Frames are flat, uint8 ``[P]``; ``on`` and ``off`` uint8 ``[P]`` are written. Which change is an event is read from
tables made in framediff.py, so that every loop is exact.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

BLOCK = 8192


@numba.njit(cache=True, nogil=True)
def _exceed(high: Any, low: Any, level: Any, over: Any) -> None:
    """Set ``over`` where ``high - low > level``, in bytes alone: a sum beyond 255 stops there."""
    room = np.uint8(np.uint8(255) - level)
    for pixel in range(high.size):
        over[pixel] = np.uint8(high[pixel] > np.uint8(min(low[pixel], room) + level))


@numba.njit(cache=True, nogil=True)
def fire_beyond(memory: Any, frames: Any, level: Any, steps: Any) -> None:
    """Compare each frame of ``frames`` [n, P] with the one before it: events where they differ by more than ``level``.

    ``memory`` holds the frame before the first; ``steps`` [n, 2, P] is written; ``level`` is uint8.
    """
    for step in range(frames.shape[0]):
        before = memory if step == 0 else frames[step - 1]
        # ON and OFF one after the other for pixels that stay in the first cache: two writes at once are slower.
        for start in range(0, memory.size, BLOCK):
            stop = min(start + BLOCK, memory.size)
            old, new = before[start:stop], frames[step, start:stop]
            _exceed(new, old, level, steps[step, 0, start:stop])
            _exceed(old, new, level, steps[step, 1, start:stop])


@numba.njit(cache=True, nogil=True)
def fire_by_table(memory: Any, frame: Any, up: Any, down: Any, renew: Any, on: Any, off: Any) -> None:
    """Send an event where ``frame >= up[memory]`` (ON) or ``frame <= down[memory]`` (OFF).

    The memory becomes the frame: everywhere with ``renew`` = 1, with 0 only where an event was sent.
    """
    for pixel in range(frame.size):
        gray, reference = frame[pixel], memory[pixel]
        rises, falls = np.uint8(gray >= up[reference]), np.uint8(gray <= down[reference])
        on[pixel], off[pixel] = rises, falls
        # A choice of two values costs no branch, which noise would mispredict.
        memory[pixel] = gray if (rises | falls | renew) else reference


@numba.njit(cache=True, nogil=True)
def count_by_table(memory: Any, frame: Any, table: Any, on: Any, off: Any) -> None:
    """Count ``table[memory, frame]`` thresholds, negative for OFF; the memory becomes the frame."""
    for pixel in range(frame.size):
        count = table[memory[pixel], frame[pixel]]
        on[pixel] = max(count, 0)
        off[pixel] = max(-count, 0)
        memory[pixel] = frame[pixel]


@numba.njit(cache=True, nogil=True)
def count_since_event(first: Any, sent: Any, frame: Any, table: Any, sens: float, on: Any, off: Any) -> None:
    """Count the thresholds between ``table[first] + sent * sens``, the level of the last event, and ``table[frame]``.

    ``sent`` int32 [P] is ON minus OFF events of each pixel so far; it is moved by those counted here.
    """
    for pixel in range(frame.size):
        level, start, before = table[frame[pixel]], table[first[pixel]], sent[pixel]
        # The estimate is within one of the answer; the comparisons decide, so rounding cannot.
        now = np.int64((level - start) / sens)
        if level > start + (before + 1) * sens:
            now = max(now - 1, before + 1)
            while level > start + (now + 1) * sens:
                now += 1
            while now > before and not level > start + now * sens:
                now -= 1
        elif level < start + (before - 1) * sens:
            now = min(now + 1, before - 1)
            while level < start + (now - 1) * sens:
                now -= 1
            while now < before and not level < start + now * sens:
                now += 1
        else:
            now = before
        on[pixel] = max(now - before, 0)
        off[pixel] = max(before - now, 0)
        sent[pixel] = now


@numba.njit(cache=True, nogil=True)
def write_events(steps: Any, times: Any, events: Any) -> None:
    """Write ``steps`` [n, 2, H, W] as event records in order of step, polarity (ON first), row, column."""
    place = 0
    for step in range(steps.shape[0]):
        for channel in range(2):
            for row in range(steps.shape[2]):
                for column in range(steps.shape[3]):
                    for _ in range(steps[step, channel, row, column]):
                        record = events[place]
                        record.t, record.x, record.y, record.p = times[step], column, row, channel == 0
                        place += 1
