"""Sum first, weigh once: a kernel that repeats every weight over p x p pixels is a smaller kernel on a smaller map.

An average pool that was folded into the convolution behind it leaves such a kernel (6 x 6 of stride 2 from 3 x 3 after
a 2 x 2 pool). Where stride and padding are multiples of p too, and the dilation is 1, the sums are the same integers::

    w[i, j] = w'[i // p, j // p]
    sum over i, j of w[i, j] x[y s - P + i, ...]  =  sum over i', j' of w'[i', j'] X[y s/p - P/p + i', ...]
    X[y', x'] = sum of x over the p x p pixels from (p y', p x')

with p² times fewer products. Rows left over at the far edge (where p does not divide the height) are in no X; the
trick is only used where no window reaches them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numba
import numpy as np

from hw_targets.graph import Array, Pair, Shape

BYTES_PER_WORD = 8


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """A convolution on sums over ``size`` (p_h, p_w) pixels; ``weight`` [C_out, C_in/groups, kH/p_h, kW/p_w]."""

    size: Pair
    weight: Array
    stride: Pair
    padding: Pair


@dataclass(frozen=True, slots=True, eq=False)
class PooledDense:
    """A dense layer on sums over ``size`` (p_h, p_w) pixels; ``weight`` [O, C H/p_h W/p_w], columns as they came."""

    size: Pair
    weight: Array


def pooled(weight: Array, stride: Pair, padding: Pair, dilation: Pair, input_hw: Shape) -> Pooled | None:
    """Return the smaller convolution with the same sums, p as large as it can be on each axis; None if there is none.

    ``weight`` [C_out, C_in/groups, kH, kW]; ``input_hw`` (H, W) of the map it is applied to.

    >>> kernel = np.arange(1, 10).reshape(1, 1, 3, 3).repeat(2, axis=2).repeat(2, axis=3)
    >>> small = pooled(kernel, (2, 2), (2, 2), (1, 1), (8, 8))
    >>> small.size, small.weight.shape, small.stride, small.padding
    ((2, 2), (1, 1, 3, 3), (1, 1), (1, 1))
    """
    high, wide = (
        _largest(weight, axis + 2, stride[axis], padding[axis], dilation[axis], input_hw[axis]) for axis in (0, 1)
    )
    if (high, wide) == (1, 1):
        return None
    return Pooled(
        (high, wide),
        np.ascontiguousarray(weight[:, :, ::high, ::wide]),
        (stride[0] // high, stride[1] // wide),
        (padding[0] // high, padding[1] // wide),
    )


def pooled_dense(weight: Array, shape: Shape, *, channels_last: bool = False) -> PooledDense | None:
    """Return the smaller dense layer with the same sums behind a flattened map of ``shape`` (C, H, W), or None.

    ``weight`` [O, C H W] has its columns in the order C, H, W, or H, W, C if ``channels_last``; so has the result.

    >>> pooled_dense(np.array([[3, 3, 5, 5]]), (1, 1, 4)).weight
    array([[3, 5]])
    """
    channels, height, width = shape
    order = (height, width, channels) if channels_last else shape
    axes = (1, 2) if channels_last else (2, 3)
    maps = weight.reshape(len(weight), *order)
    high, wide = (next(p for p in _divisors(maps.shape[axis]) if _repeats(maps, axis, p)) for axis in axes)
    if (high, wide) == (1, 1):
        return None
    kept = maps[:, ::high, ::wide] if channels_last else maps[:, :, ::high, ::wide]
    return PooledDense((high, wide), np.ascontiguousarray(kept).reshape(len(weight), -1))


def sum_pool(messages: Array, size: Pair) -> Array:
    """Return the sums of messages [B, H, W, C] over windows of ``size`` pixels, [B, H // p_h, W // p_w, C].

    Small sums of uint8 stay uint8; any others come as int32, or int64 where they need it.

    >>> sum_pool(np.array([[1, 1, 0], [0, 1, 1]], dtype=np.uint8).reshape(1, 2, 3, 1), (2, 2)).ravel()
    array([3], dtype=uint8)
    """
    high, wide = size
    frames, height, width, channels = messages.shape
    cut = messages[:, : height // high * high, : width // wide * wide]
    shape = (frames, height // high, width // wide, channels)
    if messages.dtype == np.uint8:
        sums = np.empty(shape, dtype=np.uint8)
        if _sum_bytes(cut, high, wide, sums) * high * wide <= np.iinfo(np.uint8).max:
            return sums
    peak = max(-int(cut.min(initial=0)), int(cut.max(initial=0))) * high * wide
    sums = np.empty(shape, dtype=np.int32 if peak <= np.iinfo(np.int32).max else np.int64)
    _sum_windows(cut, high, wide, sums)
    return sums


def _largest(weight: Array, axis: int, stride: int, padding: int, dilation: int, size: int) -> int:
    """Return the largest p of one axis."""
    kernel = weight.shape[axis]
    if dilation != 1:
        return 1
    for p in _divisors(gcd(gcd(kernel, stride), padding)):
        last = (size + 2 * padding - kernel) // stride * stride - padding + kernel  # the last window ends before
        if _repeats(weight, axis, p) and size >= p and (size % p == 0 or last <= size // p * p):
            return p
    return 1


def _divisors(number: int) -> list[int]:
    return [p for p in range(number, 0, -1) if number % p == 0]


def _repeats(weight: Array, axis: int, p: int) -> bool:
    """Whether the weights come in groups of p equal ones along ``axis``."""
    along = np.moveaxis(weight, axis, 0)
    return all(bool((along[offset::p] == along[::p]).all()) for offset in range(1, p))


def _sum_bytes(messages: Array, high: int, wide: int, sums: Array) -> int:
    """Sum uint8 windows and return a bound of the largest message; the sums are right if the bound says they fit."""
    if messages.shape[3] % BYTES_PER_WORD or not messages.shape[2]:
        return int(_sum_windows(messages, high, wide, sums))
    # Eight sums in one word: no byte runs over into its neighbour while every sum fits.
    words = messages.view(np.uint64) if messages.flags.c_contiguous else np.ascontiguousarray(messages).view(np.uint64)
    seen = int(_sum_words(words, high, wide, sums.view(np.uint64)))
    bound = 0
    for byte in seen.to_bytes(BYTES_PER_WORD, "little"):
        bound |= byte
    return bound


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sum_words(words: Array, high: int, wide: int, sums: Array) -> np.uint64:
    """Fill ``sums`` [B, H', W', C/8] from ``words`` [B, H, W, C/8] and return every word or-ed together."""
    frames, rows, columns, channels = sums.shape
    size = columns * wide * channels
    added = np.empty(size, dtype=np.uint64)
    seen = np.zeros(size, dtype=np.uint64)
    for frame in range(frames):
        for y in range(rows):
            added[:] = 0
            for i in range(high):
                row = words[frame, y * high + i].reshape(-1)
                for index in range(size):
                    added[index] += row[index]
                    seen[index] |= row[index]
            for x in range(columns):
                for c in range(channels):
                    total = np.uint64(0)
                    for j in range(wide):
                        total += added[(x * wide + j) * channels + c]
                    sums[frame, y, x, c] = total
    every = np.uint64(0)
    for index in range(size):
        every |= seen[index]
    return every


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sum_windows(messages: Array, high: int, wide: int, sums: Array) -> np.int64:
    """Do the same number by number; return the largest magnitude among the messages."""
    frames, rows, columns, channels = sums.shape
    largest = np.int64(0)
    total = np.zeros(channels, dtype=np.int64)
    for frame in range(frames):
        for y in range(rows):
            for x in range(columns):
                total[:] = 0
                for i in range(high):
                    for j in range(wide):
                        pixel = messages[frame, y * high + i, x * wide + j]
                        for c in range(channels):
                            value = np.int64(pixel[c])
                            total[c] += value
                            largest = max(largest, abs(value))
                for c in range(channels):
                    sums[frame, y, x, c] = total[c]
    return largest
