"""Spiking neurons and their pool on rows of values, in machine code: float32, rounded as SpikingJelly rounds it.

A row holds the neurons of some pixels of one feature map row, the channels of a pixel beside each other; all
arrays are float32 [B]. With z the convolution's output, a and b the scale and shift of batch normalisation, s = 1/tau:

    x[t] = a z[t] + b                        one rounding, as in torch
    h[t] = v[t-1] + (x[t] - v[t-1]) s        three roundings; a cell with fixed tau divides by it
    spike[t] = h[t] >= threshold,  v[t] = 0 where it spiked, else h[t]

and backward in time, with the ATan surrogate gradient (Fang et al., ICCV 2021) and the reset taken as a constant:

    dL/dh[t] = dL/dspike[t] (alpha/2) / (1 + (pi/2 alpha (h[t] - threshold))^2) + dL/dv[t] (1 - spike[t])
    dL/dx[t] = s dL/dh[t],  dL/dv[t-1] = dL/dh[t] - dL/dx[t],  dL/ds += dL/dh[t] (x[t] - v[t-1])
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

BLOCK = 512
"""How many neurons of a row are followed through all steps at a time, about: their potentials fit in the L2 cache."""


class Cell(NamedTuple):
    """The constants of a layer's neurons, all float32 but ``fixed``: whether tau is fixed (LIF) or learned (PLIF).

    ``rate`` is 1 / tau, ``steep`` is pi/2 alpha and ``half`` alpha/2 of the surrogate gradient.
    """

    threshold: Any
    rate: Any
    tau: Any
    fixed: bool
    steep: Any
    half: Any


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pixels_at_once(channels: int) -> int:
    """Return how many pixels are followed at a time: an even number, so that pool windows stay whole."""
    return 2 * max(1, BLOCK // (2 * channels))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def multiply_add(factor: Any, value: Any, addend: Any) -> Any:
    """Return factor * value + addend, rounded once where the processor can."""
    return factor * value + addend


@numba.njit(cache=True, nogil=True, error_model="numpy")
def charge(z: Any, scale: Any, shift: Any, v: Any, cell: Any, h: Any) -> None:
    """Advance the potentials ``v`` [B] by one step; ``h`` [B] receives them before the reset."""
    threshold, zero = cell.threshold, np.float32(0)
    for j in range(h.size):
        difference = multiply_add(z[j], scale[j], shift[j]) - v[j]
        after = v[j] + (difference / cell.tau if cell.fixed else difference * cell.rate)
        h[j] = after
        v[j] = zero if after >= threshold else after


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pool(upper: Any, lower: Any, threshold: Any, average: bool, channels: int, out: Any) -> None:
    """Write the 2x2 pool of the spikes of two rows of potentials [2 P C] to ``out`` [P C]."""
    one, zero, quarter = np.float32(1), np.float32(0), np.float32(0.25)
    for p in range(out.size // channels):
        left, right = 2 * p * channels, (2 * p + 1) * channels
        for c in range(channels):
            spikes = one if upper[left + c] >= threshold else zero
            spikes += one if upper[right + c] >= threshold else zero
            spikes += one if lower[left + c] >= threshold else zero
            spikes += one if lower[right + c] >= threshold else zero
            out[p * channels + c] = spikes * quarter if average else min(spikes, one)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def unpool(gradient: Any, upper: Any, lower: Any, threshold: Any, average: bool, channels: int, out: Any) -> None:
    """Hand the gradient [P C] of pooled spikes to the spikes of two rows, ``out`` [2, 2 P C].

    The maximum of a window is its first spike in reading order, or its first value where none spiked.
    """
    zero, quarter = np.float32(0), np.float32(0.25)
    for p in range(gradient.size // channels):
        given = gradient[p * channels : (p + 1) * channels]
        left, right = 2 * p * channels, (2 * p + 1) * channels
        a, b = upper[left : left + channels], upper[right : right + channels]
        c, d = lower[left : left + channels], lower[right : right + channels]
        for r in range(2):
            first, second = out[r, left : left + channels], out[r, right : right + channels]
            if average:
                for k in range(channels):
                    first[k] = second[k] = given[k] * quarter
            elif r == 0:
                for k in range(channels):
                    taken = b[k] >= threshold or c[k] >= threshold or d[k] >= threshold
                    first[k] = zero if taken and a[k] < threshold else given[k]
                for k in range(channels):
                    second[k] = given[k] if b[k] >= threshold and a[k] < threshold else zero
            else:
                for k in range(channels):
                    free = a[k] < threshold and b[k] < threshold
                    first[k] = given[k] if c[k] >= threshold and free else zero
                for k in range(channels):
                    free = a[k] < threshold and b[k] < threshold and c[k] < threshold
                    second[k] = given[k] if d[k] >= threshold and free else zero


@numba.njit(cache=True, nogil=True, error_model="numpy")
def discharge(
    z: Any, h: Any, before: Any, to_spikes: Any, scale: Any, shift: Any, mean: Any, cell: Any, carried: Any, to_x: Any,
    sums: Any,
) -> None:  # fmt: skip
    """Go back by one step: from dL/dspike to dL/dx; ``carried`` is dL/dv and becomes that of the step before.

    ``before`` holds h of the step before, zeros at the first step. ``sums`` [3, B] gains dL/dx, dL/dx (z - mean)
    and dL/ds.
    """
    # Few arrays in each loop: the compiler gives up on vector instructions where it must compare too many for overlap.
    threshold, half, zero, one = cell.threshold, cell.half, np.float32(0), np.float32(1)
    to_shift, to_scale, to_rate = sums[0], sums[1], sums[2]
    for j in range(h.size):
        distance = cell.steep * (h[j] - threshold)
        kept = carried[j]
        carried[j] = to_spikes[j] * (half / (one + distance * distance)) + (zero if h[j] >= threshold else kept)
    if not cell.fixed:
        for j in range(h.size):
            v = zero if before[j] >= threshold else before[j]
            to_rate[j] += carried[j] * (multiply_add(z[j], scale[j], shift[j]) - v)
    for j in range(h.size):
        to_x[j] = carried[j] / cell.tau if cell.fixed else carried[j] * cell.rate
        carried[j] -= to_x[j]
    for j in range(h.size):
        to_shift[j] += to_x[j]
        to_scale[j] += to_x[j] * (z[j] - mean[j])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def collect(sums: Any, per_channel: Any) -> Any:
    """Add the first two rows of ``sums`` [3, P C] to ``per_channel`` [2, C] in float64; return the sum of the third."""
    channels = per_channel.shape[1]
    total = np.float64(0)
    for p in range(sums.shape[1] // channels):
        for c in range(channels):
            per_channel[0, c] += np.float64(sums[0, p * channels + c])
            per_channel[1, c] += np.float64(sums[1, p * channels + c])
            total += np.float64(sums[2, p * channels + c])
    return total
