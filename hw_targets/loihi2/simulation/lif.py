"""The integer LIF neuron, compiled: a stretch of time for a block of neurons, whose state stays in the cache.

Two kernels with the same answer. ``integrate_bounded`` is for populations whose synaptic sums are proven to stay within
+-2^17: then every intermediate fits 32 bits, because::

    |v| k >> 12  =  (|v| >> 12) k + ((|v| & 4095) k >> 12)        for |v| < 2^24 and 0 <= k <= 4096

``integrate_exact`` takes any sum and does what Lava's models do with it, including the wraps of 32-bit integers, and
records what happens inside.

Source: lava-nc 0.10.0 ``proc/lif/models.py`` (AbstractPyLifModelFixed.subthr_dynamics).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from hw_targets.graph import Array

V_MAX = 2**23 - 1
BLOCK = 2048
"""Neurons at a time: their state and constants, 5 x 8 KiB, stay in the first-level cache."""

_i32 = np.int32
_WRAP = np.int32(2**24)
_HALF = np.int32(2**23)
_V_MAX = np.int32(V_MAX)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _decayed(value: Any, keep: Any) -> Any:
    size = np.uint32(abs(value))
    factor = np.uint32(keep)
    high = np.uint32(np.uint32(size >> np.uint32(12)) * factor)
    low = np.uint32(np.uint32(np.uint32(size & np.uint32(4095)) * factor) >> np.uint32(12))
    kept = _i32(np.uint32(high + low))
    return _i32(-kept) if value < _i32(0) else kept


# Plain loops over contiguous rows, all in 32 bits, nothing else inside: that is what the compiler turns into vectors.
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _step_without_memory(sums: Array, bias: Array, keep_v: Array, threshold: Array, v: Array, spikes: Array) -> None:
    for m in range(spikes.shape[0]):
        potential = _i32(_i32(_decayed(v[m], keep_v[m]) + _i32(_i32(sums[m]) << _i32(6))) + bias[m])
        potential = _V_MAX if potential > _V_MAX else potential
        potential = _i32(-_V_MAX) if potential < _i32(-_V_MAX) else potential
        fired = potential > threshold[m]
        spikes[m] = np.uint8(fired)
        v[m] = _i32(0) if fired else potential


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _step_with_memory(
    sums: Array, bias: Array, keep_u: Array, keep_v: Array, threshold: Array, u: Array, v: Array, spikes: Array
) -> None:
    for m in range(spikes.shape[0]):
        current = _i32(_decayed(u[m], keep_u[m]) + _i32(_i32(sums[m]) << _i32(6)))
        current = _i32(current - _WRAP) if current > _HALF else current
        current = _i32(current + _WRAP) if current <= _i32(-_HALF) else current
        u[m] = current
        potential = _i32(_i32(_decayed(v[m], keep_v[m]) + current) + bias[m])
        potential = _V_MAX if potential > _V_MAX else potential
        potential = _i32(-_V_MAX) if potential < _i32(-_V_MAX) else potential
        fired = potential > threshold[m]
        spikes[m] = np.uint8(fired)
        v[m] = _i32(0) if fired else potential


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count(spikes: Array) -> Any:
    total = np.uint32(0)
    for m in range(spikes.shape[0]):
        total = np.uint32(total + np.uint32(spikes[m]))
    return np.int64(total)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def integrate_bounded(
    sums: Array,
    bias: Array,
    keep_u: Array,
    keep_v: Array,
    threshold: Array,
    memory: bool,
    u: Array,
    v: Array,
    spikes: Array,
    counts: Array,
) -> None:
    """Integrate ``sums`` [T, N, M] (whole numbers of any type, |a| <= 2^17) and write ``spikes`` uint8 [T, N, M].

    ``bias`` and ``threshold`` int32 [M], already shifted left by 6; ``keep_u``, ``keep_v`` int32 [M], 4096 - decay;
    ``memory`` is False where every ``keep_u`` is 0. ``u`` and ``v`` int32 [N, M] are carried on, ``counts`` int64
    [T, N] gets the number of spikes.
    """
    steps, samples, neurons = sums.shape
    for n in range(samples):
        for start in range(0, neurons, BLOCK):
            stop = min(start + BLOCK, neurons)
            for t in range(steps):
                fired = spikes[t, n, start:stop]
                if memory:
                    _step_with_memory(
                        sums[t, n, start:stop],
                        bias[start:stop],
                        keep_u[start:stop],
                        keep_v[start:stop],
                        threshold[start:stop],
                        u[n, start:stop],
                        v[n, start:stop],
                        fired,
                    )
                else:
                    _step_without_memory(
                        sums[t, n, start:stop],
                        bias[start:stop],
                        keep_v[start:stop],
                        threshold[start:stop],
                        v[n, start:stop],
                        fired,
                    )
                counts[t, n] += _count(fired)
            if not memory and steps > 0:
                for m in range(start, stop):
                    u[n, m] = _i32(sums[steps - 1, n, m]) << _i32(6)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _wrapped(value: Any) -> Any:
    """Return a 64-bit value as 32 bits hold it."""
    return np.int64(np.int32(np.int64(value)))


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _kept(value: Any, keep: Any) -> Any:
    size = (abs(value) * keep) >> 12
    return size if value >= 0 else -size


@numba.njit(nogil=True, cache=True, error_model="numpy")
def integrate_exact(
    sums: Array,
    bias: Array,
    keep_u: Array,
    keep_v: Array,
    threshold: Array,
    u: Array,
    v: Array,
    spikes: Array,
    counts: Array,
    current: Array,
    membrane: Array,
) -> None:
    """Do the same for any ``sums`` int64 [T, N, M], wrapping where 32 bits do.

    ``current`` and ``membrane`` int32 [T, N, M] receive u, and v before the reset, unless they are empty.
    """
    steps, samples, neurons = sums.shape
    recording = membrane.size > 0
    for n in range(samples):
        for t in range(steps):
            fired = 0
            for m in range(neurons):
                drive = _wrapped(np.int64(sums[t, n, m]) << 6)
                charge = _wrapped(_kept(np.int64(u[n, m]), np.int64(keep_u[m])) + drive)
                # Lava wraps the current once, not modulo: a second excess stays outside 24 bits.
                if charge > V_MAX + 1:
                    charge -= 2 * (V_MAX + 1)
                elif charge <= -(V_MAX + 1):
                    charge += 2 * (V_MAX + 1)
                u[n, m] = charge
                potential = _kept(np.int64(v[n, m]), np.int64(keep_v[m]))
                potential = _wrapped(_wrapped(potential + charge) + np.int64(bias[m]))
                potential = min(max(potential, -V_MAX), V_MAX)
                if recording:
                    current[t, n, m] = charge
                    membrane[t, n, m] = potential
                spike = potential > threshold[m]
                spikes[t, n, m] = spike
                v[n, m] = 0 if spike else potential
                fired += spike
            counts[t, n] += fired
