"""Spiking neurons behind a linear layer, in machine code: z float32 [T, N, F] in, spikes [T, N, F] out, and back."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuroemo.training.fast.rows import BLOCK, charge, discharge


@numba.njit(cache=True, nogil=True, error_model="numpy")
def forward(z: Any, cell: Any, spikes: Any, first: int, last: int) -> None:
    """Write the spikes of the clips ``first`` to ``last - 1``, 1.0 or 0.0."""
    steps, _, neurons = z.shape
    one, zero = np.float32(1), np.float32(0)
    scale, shift = np.ones(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    v, h = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for n in range(first, last):
        for low in range(0, neurons, BLOCK):
            size = min(BLOCK, neurons - low)
            v[:] = zero
            for t in range(steps):
                charge(z[t, n, low : low + size], scale, shift, v, cell, h[:size])
                out = spikes[t, n, low : low + size]
                for j in range(size):
                    out[j] = one if h[j] >= cell.threshold else zero


@numba.njit(cache=True, nogil=True, error_model="numpy")
def backward(z: Any, cell: Any, gradient: Any, to_z: Any, to_rate: Any, first: int, last: int) -> None:
    """Write dL/dz to ``to_z`` from dL/dspike, ``gradient``, both as z; ``to_rate`` [N] receives the sums of dL/ds."""
    steps, _, neurons = z.shape
    zero = np.float32(0)
    scale, shift, mean = np.ones(BLOCK, np.float32), np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    h = np.zeros((steps + 1, BLOCK), np.float32)
    v, carried, sums = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty((3, BLOCK), np.float32)
    for n in range(first, last):
        to_rate[n] = 0.0
        for low in range(0, neurons, BLOCK):
            size = min(BLOCK, neurons - low)
            v[:] = zero
            carried[:] = zero
            sums[:] = zero
            for t in range(steps):
                charge(z[t, n, low : low + size], scale, shift, v, cell, h[t + 1, :size])
            for t in range(steps - 1, -1, -1):
                row, out, given = z[t, n, low : low + size], to_z[t, n, low : low + size], gradient[t, n, low:]
                discharge(row, h[t + 1, :size], h[t], given, scale, shift, mean, cell, carried, out, sums)
            for j in range(size):
                to_rate[n] += np.float64(sums[2, j])
