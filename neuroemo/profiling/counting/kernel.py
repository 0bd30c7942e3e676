"""The inner loop of every count, in machine code: one pass over the inputs of a layer, exact in any order.

A fan-out map repeats for every input channel as a rule, so the loop holds one plane of it in the fastest cache. Sums
run in float32, in which integers up to 2^24 are exact whatever the order of summation; the plane is cut
into stretches whose sum cannot exceed that (Higham, Accuracy and Stability of Numerical Algorithms, section 2).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

# The compiler may reorder sums (they are exact) and nothing else: NaN must stay NaN.
_REORDER = {"reassoc"}


@numba.njit(cache=True, fastmath=_REORDER, nogil=True, error_model="numpy")
def _count_strange(values: Any) -> int:
    """Return how many values are NaN or infinite."""
    zero, one, infinity = np.float32(0), np.float32(1), np.float32(np.inf)
    strange = 0
    for start in range(0, values.size, 1 << 20):
        count, part = zero, values[start : start + (1 << 20)]
        for index in range(part.size):
            count += zero if abs(part[index]) < infinity else one
        strange += int(count)
    return strange


@numba.njit(cache=True, fastmath=_REORDER, nogil=True, error_model="numpy")
def count_rows(rows: Any, plane: Any, stretch: int, result: Any) -> int:
    """Count every row of ``rows`` [R, channels * P] with ``plane`` float32 [P] into ``result`` int64 [4, R].

    The rows of ``result`` are accumulates (|v| = 1), all events (v != 0) in operations, events in
    elements, and elements that are NaN or infinite, whose number is returned.
    """
    strange = 0
    size = plane.size
    channels = rows.shape[1] // size
    zero, one = np.float32(0), np.float32(1)
    nothing = plane[0] - plane[0]
    for row in range(rows.shape[0]):
        units, events, elements = 0, 0, 0
        for channel in range(channels):
            values = rows[row, channel * size : (channel + 1) * size]
            for start in range(0, size, stretch):
                stop = min(size, start + stretch)
                a, b, c = nothing, nothing, zero
                part, fan_outs = values[start:stop], plane[start:stop]
                for index in range(part.size):
                    value, fan_out = part[index], fan_outs[index]
                    event = value != zero
                    a += fan_out if abs(value) == one else nothing
                    b += fan_out if event else nothing
                    c += one if event else zero
                units += int(a)
                events += int(b)
                elements += int(c)
        result[0, row] = units
        result[1, row] = events
        result[2, row] = elements
        # Spikes alone are finite: only rows with other values are looked at again.
        result[3, row] = 0 if units == events else _count_strange(rows[row])
        strange += result[3, row]
    return strange


@numba.njit(cache=True, fastmath=_REORDER, nogil=True, error_model="numpy")
def count_nonzero(rows: Any, result: Any) -> None:
    """Count the non-zero elements of every row of ``rows`` [R, M] into ``result`` int64 [R]."""
    zero, one = np.float32(0), np.float32(1)
    for row in range(rows.shape[0]):
        elements = 0
        for start in range(0, rows.shape[1], 1 << 20):
            stop = min(rows.shape[1], start + (1 << 20))
            count, part = zero, rows[row, start:stop]
            for index in range(part.size):
                count += one if part[index] != zero else zero
            elements += int(count)
        result[row] = elements
