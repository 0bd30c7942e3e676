"""The first stage, computed from its events: a convolution of mostly empty frames, in machine code.

Of a frame of events nineteen values in twenty are zero, so the 3x3 convolution z of a row is made by adding, for
every value that is not zero, its kernel to three neighbouring outputs; rows are made when they are needed and never
kept. The additions are in the order kernel row, kernel column, polarity, each rounded once with its product: the
same float32 sums as torch's convolution makes on a processor with fused multiply-add.

Kernels are float32 [3, 2, 3 C]: kernel row, polarity, and the three outputs that an input at column x reaches, from
column x - 2 + padding to x + padding, the channels of each beside each other. A row in the making is [(P + 4) C]: two
columns on either side catch what falls outside.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from neuroemo.training.fast.rows import charge, collect, discharge, pixels_at_once, pool, unpool


@numba.njit(cache=True, nogil=True, error_model="numpy")
def count_events(clips: Any, counts: Any, first: int, last: int) -> None:
    """Write how many values of each row of clips [T, N, 2, H, W] are not zero to ``counts`` [N, T, H]."""
    steps, _, polarities, height, width = clips.shape
    for n in range(first, last):
        for t in range(steps):
            for y in range(height):
                found = 0
                for c in range(polarities):
                    row = clips[t, n, c, y]
                    for x in range(width):
                        found += 1 if row[x] != 0 else 0
                counts[n, t, y] = found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def list_events(clips: Any, starts: Any, places: Any, values: Any, first: int, last: int) -> None:
    """List the values that are not zero: ``places`` is 2 x + polarity, ascending from ``starts[n, t, y]`` on."""
    steps, _, _, height, width = clips.shape
    for n in range(first, last):
        for t in range(steps):
            for y in range(height):
                at = starts[n, t, y]
                on, off = clips[t, n, 0, y], clips[t, n, 1, y]
                for x in range(width):
                    if on[x] != 0:
                        places[at], values[at] = 2 * x, on[x]
                        at += 1
                    if off[x] != 0:
                        places[at], values[at] = 2 * x + 1, off[x]
                        at += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _span(places: Any, begin: int, end: int, low: int, high: int) -> Any:
    """Return the range of events of a row, ``begin`` to ``end - 1``, whose columns are ``low`` to ``high - 1``."""
    bounds = (2 * low, 2 * high)
    found = (begin, end)
    for side in range(2):
        left, right = begin, end
        while left < right:
            middle = (left + right) // 2
            if places[middle] < bounds[side]:
                left = middle + 1
            else:
                right = middle
        found = (left, found[1]) if side == 0 else (found[0], left)
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _convolve(
    events: Any, n: int, t: int, y: int, kernels: Any, padding: int, low: int, high: int, channels: int, out: Any
) -> None:
    """Write the convolution at row ``y``, columns ``low`` to ``high - 1``, to ``out`` [(P + 4) C]."""
    starts, places, values = events
    height = starts.shape[2] - 1
    out[:] = np.float32(0)
    for k in range(3):
        row = y + k - padding
        if 0 <= row < height:
            begin, end = _span(places, starts[n, t, row], starts[n, t, row + 1], low - padding, high + 2 - padding)
            for e in range(begin, end):
                value, taps = values[e], kernels[k, places[e] & 1]
                at = ((places[e] >> 1) + padding - low) * channels
                reached = out[at : at + 3 * channels]
                for j in range(3 * channels):
                    reached[j] += value * taps[j]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _correlate(
    events: Any, n: int, t: int, y: int, given: Any, padding: int, low: int, high: int, channels: int, out: Any
) -> None:
    """Add to ``out`` [3, 2, 3 C] the products of the inputs and ``given`` [(P + 4) C], whose outer columns are zero."""
    starts, places, values = events
    height = starts.shape[2] - 1
    for k in range(3):
        row = y + k - padding
        if 0 <= row < height:
            begin, end = _span(places, starts[n, t, row], starts[n, t, row + 1], low - padding, high + 2 - padding)
            for e in range(begin, end):
                value, sums = values[e], out[k, places[e] & 1]
                at = ((places[e] >> 1) + padding - low) * channels
                reached = given[at : at + 3 * channels]
                for j in range(3 * channels):
                    sums[j] += value * reached[j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(part: Any, total: Any) -> None:
    """Move float32 sums into float64 ones, [3, 2, M]."""
    for k in range(3):
        for c in range(2):
            for j in range(part.shape[2]):
                total[k, c, j] += np.float64(part[k, c, j])
                part[k, c, j] = np.float32(0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def statistics(
    events: Any, kernels: Any, padding: int, width: int, sums: Any, inputs: Any, products: Any, first: int, last: int
) -> None:
    """Write sum(z) and sum(z^2) of every clip and channel to ``sums`` [N, 2, C], in float64.

    ``inputs`` [N, 3, 2, 3] receives the sums of the input at every place of the kernel, ``products`` [N, 3, 2, 3 C]
    those of the input times z; nothing is computed for these where ``products`` is empty.
    """
    starts = events[0]
    steps, height = starts.shape[1], starts.shape[2] - 1
    channels = sums.shape[2]
    row = np.empty((width + 4) * channels, np.float32)
    ones = np.zeros(width + 4, np.float32)
    ones[2 : 2 + width] = np.float32(1)
    part, count = np.zeros((3, 2, 3 * channels), np.float32), np.zeros((3, 2, 3), np.float32)
    total, squares = np.zeros(width * channels), np.zeros(width * channels)
    for n in range(first, last):
        total[:] = 0.0
        squares[:] = 0.0
        for y in range(height + 2 * padding - 2):
            for t in range(steps):
                _convolve(events, n, t, y, kernels, padding, 0, width, channels, row)
                inner = row[2 * channels : (width + 2) * channels]
                for j in range(width * channels):
                    value = np.float64(inner[j])
                    total[j] += value
                    squares[j] += value * value
                if products.size:
                    row[: 2 * channels] = np.float32(0)
                    row[(width + 2) * channels :] = np.float32(0)
                    _correlate(events, n, t, y, row, padding, 0, width, channels, part)
                    _correlate(events, n, t, y, ones, padding, 0, width, 1, count)
            if products.size:
                _add(part, products[n])
                _add(count, inputs[n])
        for j in range(width * channels):
            sums[n, 0, j % channels] += total[j]
            sums[n, 1, j % channels] += squares[j]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def forward(
    events: Any, kernels: Any, padding: int, scale: Any, shift: Any, cell: Any, average: bool, pooled: Any, first: int,
    last: int,
) -> None:  # fmt: skip
    """Write the pooled spikes to ``pooled`` [T, N, H // 2, W // 2, C]; ``scale`` and ``shift`` as in stage_kernels."""
    steps, _, rows, columns, channels = pooled.shape
    together = pixels_at_once(channels)
    z = np.empty((together + 4) * channels, np.float32)
    v, h = np.empty((2, together * channels), np.float32), np.empty((2, together * channels), np.float32)
    for n in range(first, last):
        for y in range(rows):
            for start in range(0, 2 * columns, together):
                stop = min(start + together, 2 * columns)
                low, high, size = start * channels, stop * channels, (stop - start) * channels
                v[:] = np.float32(0)
                made = z[: size + 4 * channels]
                row = z[2 * channels : 2 * channels + size]
                for t in range(steps):
                    for r in range(2):
                        _convolve(events, n, t, 2 * y + r, kernels, padding, start, stop, channels, made)
                        charge(row, scale[low:high], shift[low:high], v[r, :size], cell, h[r, :size])
                    out = pooled[t, n, y].reshape(columns * channels)[low // 2 : high // 2]
                    pool(h[0, :size], h[1, :size], cell.threshold, average, channels, out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def backward(
    events: Any, kernels: Any, padding: int, scale: Any, shift: Any, mean: Any, cell: Any, average: bool, gradient: Any,
    per_channel: Any, to_rate: Any, products: Any, first: int, last: int,
) -> None:  # fmt: skip
    """Sum what the parameters' gradients are made of, from that of the pooled spikes [T, N, H // 2, W // 2, C].

    ``per_channel`` [N, 2, C] receives the sums of dL/dx and dL/dx (z - mean), ``to_rate`` [N] those of dL/ds, and
    ``products`` [N, 3, 2, 3 C] those of the input times dL/dx at every place of the kernel.
    """
    steps, _, rows, columns, channels = gradient.shape
    together = pixels_at_once(channels)
    block, edge = together * channels, 2 * channels
    h, z = np.zeros((steps + 1, 2, block), np.float32), np.empty((steps, 2, block + 2 * edge), np.float32)
    v, carried = np.empty((2, block), np.float32), np.empty((2, block), np.float32)
    to_spikes, to_x = np.empty((2, block), np.float32), np.empty(block + 2 * edge, np.float32)
    sums, part = np.empty((3, block), np.float32), np.zeros((3, 2, 3 * channels), np.float32)
    for n in range(first, last):
        for y in range(rows):
            for start in range(0, 2 * columns, together):
                stop = min(start + together, 2 * columns)
                low, high, size = start * channels, stop * channels, (stop - start) * channels
                a, b, m = scale[low:high], shift[low:high], mean[low:high]
                v[:] = np.float32(0)
                carried[:] = np.float32(0)
                sums[:] = np.float32(0)
                to_x[:] = np.float32(0)
                for t in range(steps):
                    for r in range(2):
                        made = z[t, r, : size + 2 * edge]
                        _convolve(events, n, t, 2 * y + r, kernels, padding, start, stop, channels, made)
                        charge(made[edge : edge + size], a, b, v[r, :size], cell, h[t + 1, r, :size])
                for t in range(steps - 1, -1, -1):
                    given = gradient[t, n, y].reshape(columns * channels)[low // 2 : high // 2]
                    upper, lower = h[t + 1, 0, :size], h[t + 1, 1, :size]
                    unpool(given, upper, lower, cell.threshold, average, channels, to_spikes)
                    for r in range(2):
                        row, out = z[t, r, edge : edge + size], to_x[edge : edge + size]
                        now, before, back = h[t + 1, r, :size], h[t, r, :size], carried[r, :size]
                        discharge(row, now, before, to_spikes[r, :size], a, b, m, cell, back, out, sums[:, :size])
                        made = to_x[: size + 2 * edge]
                        _correlate(events, n, t, 2 * y + r, made, padding, start, stop, channels, part)
                to_rate[n] += collect(sums[:, :size], per_channel[n])
                _add(part, products[n])
