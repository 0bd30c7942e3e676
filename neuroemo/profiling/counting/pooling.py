"""Average pooling in front of synapses: the fan-out that an input of the pool has through its windows.

With ``A[o, y] = 1`` where window o covers position y, along each axis, and F the fan-out map behind the pool::

    F_pool[c, y, x] = sum over oy, ox of A[oy, y] * F[c, oy, ox] * A[ox, x]

It is what a spike costs on a chip that sums spikes instead of averaging them. Once the pool is folded into the
weights behind it (``export.passes.fold_pool``), windows that overlap share a synapse: with ``B[p, o] = 1`` where
output p of the convolution reads window o, a spike at y reaches along each axis::

    f[y] = number of p with  sum over o of B[p, o] A[o, y] > 0

Where windows do not overlap the two are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hw_targets.graph import window_count
from neuroemo.profiling.counting.fanout import Counts, Padding, zero_padding


def window_cover(size: int, outputs: int, module: Any, axis: int) -> Counts:
    """Return which positions each window of an average pool covers along one axis, 0 or 1 [outputs, size].

    >>> class Pool: kernel_size, stride, padding = 2, 2, 0
    >>> window_cover(5, 2, Pool, 0).tolist()
    [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]]
    """
    if not hasattr(module, "kernel_size"):  # an adaptive pool: windows as in torch's AdaptiveAveragePooling
        bounds = [(o * size // outputs, -(-((o + 1) * size) // outputs)) for o in range(outputs)]
    else:
        kernel, stride, padding = (_of_axis(getattr(module, key), axis) for key in ("kernel_size", "stride", "padding"))
        bounds = [(o * stride - padding, o * stride - padding + kernel) for o in range(outputs)]
    position = np.arange(size)
    cover = [(position >= first) & (position < last) for first, last in bounds]
    return np.asarray(cover, dtype=np.int64).reshape(outputs, size)


def fan_out_through_pool(
    fan_out: Counts, module: Any, input_shape: Sequence[int], output_shape: Sequence[int]
) -> Counts:
    """Return the fan-out map of the pool's inputs (C, *space) from the map behind it, of any shape in C order.

    >>> class Pool: kernel_size, stride, padding = 2, 2, 0
    >>> fan_out_through_pool(np.array([[3, 5]]), Pool, (1, 5), (1, 2)).tolist()
    [[3, 3, 5, 5, 0]]
    """
    through = fan_out.reshape(tuple(output_shape))
    for axis, (size, outputs) in enumerate(zip(input_shape[1:], output_shape[1:], strict=True)):
        cover = window_cover(size, outputs, module, axis)
        through = np.moveaxis(np.tensordot(through, cover, axes=([axis + 1], [0])), -1, axis + 1)
    return np.ascontiguousarray(through)


def fan_out_folded(module: Any, pool: Any, input_shape: Sequence[int], output_shape: Sequence[int]) -> Counts:
    """Return the fan-out map of the pool's inputs through the kernel that pool and convolution merge into.

    >>> class Pool: kernel_size, stride, padding = 3, 1, 0
    >>> class Conv: kernel_size, stride, padding, dilation, groups, out_channels = (2,), (1,), (0,), (1,), 1, 1
    >>> fan_out_folded(Conv, Pool, (1, 6), (1, 4)).tolist()  # a merged kernel of 4 taps
    [[1, 2, 3, 3, 2, 1]]
    """
    plane = np.asarray(module.out_channels // module.groups, dtype=np.int64)
    for axis, (size, windows) in enumerate(zip(input_shape[1:], output_shape[1:], strict=True)):
        cover = window_cover(size, windows, pool, axis)
        numbers = [getattr(module, key)[axis] for key in ("kernel_size", "stride", "dilation")]
        reads = _output_reads(windows, zero_padding(module)[axis], *numbers)
        plane = np.multiply.outer(plane, ((reads @ cover) > 0).sum(axis=0, dtype=np.int64))
    return np.tile(plane, (input_shape[0], *(1 for _ in input_shape[1:])))


def _output_reads(size: int, padding: Padding, kernel: int, stride: int, dilation: int) -> Counts:
    """Return which outputs of a convolution read which positions along one axis, 0 or 1 [outputs, size]."""
    before, after = (padding, padding) if isinstance(padding, int) else padding
    outputs = window_count(size + before + after, kernel, stride, 0, dilation)
    tap = np.arange(size)[None, :] + before - np.arange(outputs)[:, None] * stride
    return ((tap >= 0) & (tap % dilation == 0) & (tap < kernel * dilation)).astype(np.int64)


def _of_axis(value: Any, axis: int) -> int:
    return int(value) if isinstance(value, int) else int(value[axis])
