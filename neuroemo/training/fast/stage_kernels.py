"""Batch normalisation, spiking neurons and 2x2 pool behind a convolution, in machine code, forward and backward.

The convolution's output z is float32 [T, N, H, W C], the channels of a pixel beside each other; ``scale``, ``shift``
and ``mean`` are repeated for every pixel of a row, [W C]. Each call works on the clips ``first`` to ``last - 1``, and
sums are kept per clip, so that they are the same however the clips are shared among threads. Potentials are not kept:
the backward pass follows a block of neurons through all steps once more and then goes back in time.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuroemo.training.fast.rows import charge, collect, discharge, pixels_at_once, pool, unpool


@numba.njit(cache=True, nogil=True, error_model="numpy")
def statistics(z: Any, sums: Any, first: int, last: int) -> None:
    """Write sum(z) and sum(z^2) of every clip and channel to ``sums`` [N, 2, C], in float64."""
    steps, _, height, width = z.shape
    channels = sums.shape[2]
    total, squares = np.zeros(width), np.zeros(width)
    for n in range(first, last):
        total[:] = 0.0
        squares[:] = 0.0
        for t in range(steps):
            for y in range(height):
                row = z[t, n, y]
                for j in range(width):
                    value = np.float64(row[j])
                    total[j] += value
                    squares[j] += value * value
        sums[n] = 0.0
        for j in range(width):
            sums[n, 0, j % channels] += total[j]
            sums[n, 1, j % channels] += squares[j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def forward(z: Any, scale: Any, shift: Any, cell: Any, average: bool, pooled: Any, first: int, last: int) -> None:
    """Write the pooled spikes to ``pooled`` [T, N, H // 2, W // 2, C]; rows and columns left over are not looked at."""
    steps, _, rows, columns, channels = pooled.shape
    together = pixels_at_once(channels)
    v = np.empty((2, together * channels), np.float32)
    h = np.empty((2, together * channels), np.float32)
    for n in range(first, last):
        for y in range(rows):
            for start in range(0, 2 * columns, together):
                stop = min(start + together, 2 * columns)
                low, high, size = start * channels, stop * channels, (stop - start) * channels
                v[:] = np.float32(0)
                for t in range(steps):
                    for r in range(2):
                        row = z[t, n, 2 * y + r, low:high]
                        charge(row, scale[low:high], shift[low:high], v[r, :size], cell, h[r, :size])
                    out = pooled[t, n, y].reshape(columns * channels)[low // 2 : high // 2]
                    pool(h[0, :size], h[1, :size], cell.threshold, average, channels, out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def backward(
    z: Any, scale: Any, shift: Any, mean: Any, cell: Any, average: bool, gradient: Any, to_x: Any, per_channel: Any,
    to_rate: Any, first: int, last: int,
) -> None:  # fmt: skip
    """Write dL/dx to ``to_x``, as z, from that of the pooled spikes, ``gradient`` [T, N, H // 2, W // 2, C].

    ``per_channel`` [N, 2, C] receives the sums of dL/dx and dL/dx (z - mean), ``to_rate`` [N] those of dL/ds.
    """
    steps, _, rows, columns, channels = gradient.shape
    together = pixels_at_once(channels)
    block = together * channels
    h = np.empty((steps + 1, 2, block), np.float32)
    v, carried = np.empty((2, block), np.float32), np.empty((2, block), np.float32)
    to_spikes = np.empty((2, block), np.float32)
    sums = np.empty((3, block), np.float32)
    h[0] = np.float32(0)
    for n in range(first, last):
        per_channel[n] = 0.0
        to_rate[n] = 0.0
        _clear_left_over(to_x, n, 2 * rows, 2 * columns * channels)
        for y in range(rows):
            for start in range(0, 2 * columns, together):
                stop = min(start + together, 2 * columns)
                low, high, size = start * channels, stop * channels, (stop - start) * channels
                a, b, m = scale[low:high], shift[low:high], mean[low:high]
                v[:] = np.float32(0)
                carried[:] = np.float32(0)
                sums[:] = np.float32(0)
                for t in range(steps):
                    for r in range(2):
                        charge(z[t, n, 2 * y + r, low:high], a, b, v[r, :size], cell, h[t + 1, r, :size])
                for t in range(steps - 1, -1, -1):
                    given = gradient[t, n, y].reshape(columns * channels)[low // 2 : high // 2]
                    upper, lower = h[t + 1, 0, :size], h[t + 1, 1, :size]
                    unpool(given, upper, lower, cell.threshold, average, channels, to_spikes)
                    for r in range(2):
                        row, out = z[t, n, 2 * y + r, low:high], to_x[t, n, 2 * y + r, low:high]
                        now, before, back = h[t + 1, r, :size], h[t, r, :size], carried[r, :size]
                        discharge(row, now, before, to_spikes[r, :size], a, b, m, cell, back, out, sums[:, :size])
                to_rate[n] += collect(sums[:, :size], per_channel[n])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _clear_left_over(to_x: Any, n: int, rows: int, columns: int) -> None:
    """Set dL/dx of the neurons that no pool window covers to zero."""
    to_x[:, n, rows:] = np.float32(0)
    to_x[:, n, :, columns:] = np.float32(0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def through_normalisation(
    to_x: Any, z: Any, scale: Any, mean: Any, average: Any, slope: Any, first: int, last: int
) -> None:
    """Turn dL/dx into dL/dz = scale (dL/dx - average - slope (z - mean)) in place."""
    steps, _, height, width = z.shape
    for t in range(steps):
        for n in range(first, last):
            for y in range(height):
                row, out = z[t, n, y], to_x[t, n, y]
                for j in range(width):
                    out[j] = scale[j] * (out[j] - average[j] - slope[j] * (row[j] - mean[j]))
