"""The inner loops of the representations, in machine code: one pass over the events of each window.

All take ``cell`` int64 [E], the index of each event in a plane, and write planes ``[windows, C * H * W]``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def set_bits(bounds: Any, cell: Any, bits: Any, codes: Any) -> None:
    """Set bit ``bits[k mod N]`` of plane ``k div N`` wherever window ``k`` has an event."""
    for window in range(bounds.size - 1):
        frame, bit = window // bits.size, bits[window % bits.size]
        for event in range(bounds[window], bounds[window + 1]):
            codes[frame, cell[event]] |= bit


@numba.njit(cache=True, nogil=True)
def count_events(bounds: Any, cell: Any, counts: Any) -> None:
    """Add one per event."""
    for window in range(bounds.size - 1):
        for event in range(bounds[window], bounds[window + 1]):
            counts[window, cell[event]] += 1


@numba.njit(cache=True, nogil=True)
def decay_surfaces(edges: Any, bounds: Any, t: Any, cell: Any, tau_us: float, surfaces: Any) -> None:
    """Write ``exp(-(end of window - last event) / tau)`` after every window, 0 where there was none yet."""
    last = np.zeros(surfaces.shape[1], np.int64)
    seen = np.zeros(surfaces.shape[1], np.bool_)
    done = 0
    for window in range(bounds.size - 1):
        for event in range(done, bounds[window + 1]):
            last[cell[event]] = t[event]
            seen[cell[event]] = True
        done = bounds[window + 1]
        for index in range(last.size):
            if seen[index]:
                surfaces[window, index] = np.exp(-np.float64(edges[window + 1] - last[index]) / tau_us)


@numba.njit(cache=True, nogil=True)
def spread_in_time(position: Any, cell: Any, weight: Any, grid: Any) -> None:
    """Share every event between the two bins around its position, by the distance to each."""
    top = grid.shape[0] - 1
    for event in range(position.size):
        low = int(position[event])
        part = position[event] - low
        grid[low, cell[event]] += weight[event] * (1.0 - part)
        if low < top:
            grid[low + 1, cell[event]] += weight[event] * part
