"""Fan-out of synapses whose zero weights are skipped: a hardware that does not store them does not add them.

With ``n[c, k] `` the non-zero weights that input channel c has at tap k, and R which tap reads which position::

    F[c, y, x] = sum over ky, kx of n[c, ky, kx] * Ry[y, ky] * Rx[x, kx]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroemo.profiling.counting.fanout import Counts, Padding, axis_reads, per_axis, transposed_axis_reads


def weighted_fan_out(
    nonzero: npt.NDArray[np.bool_],
    shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[Padding] = 0,
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    transposed: bool = False,
) -> Counts:
    """Return the fan-out map int64 [C, *space] of weights that are marked as not zero.

    ``nonzero`` is [C_out, C_in / groups, *K], or [C_in, C_out / groups, *K] of a transposed convolution.

    >>> weighted_fan_out(np.array([[[True, False, True]]]), (1, 4), padding=1).tolist()  # the middle tap is 0
    [[1, 2, 2, 1]]
    >>> weighted_fan_out(np.array([[[True, True, True]]]), (1, 4), padding=1).tolist()
    [[2, 3, 3, 2]]

    Raises:
        InputError: see ``conv_fan_out``.
    """
    through: npt.NDArray[Any] = _per_input_channel(nonzero, groups, transposed)
    axes = nonzero.ndim - 2
    strides, paddings, dilations, extras = (
        per_axis(value, axes) for value in (stride, padding, dilation, output_padding)
    )
    for axis, (size, taps) in enumerate(zip(shape[1:], nonzero.shape[2:], strict=True)):
        if transposed:
            reads = transposed_axis_reads(size, taps, strides[axis], paddings[axis], dilations[axis], extras[axis])
        else:
            reads = axis_reads(size, taps, strides[axis], paddings[axis], dilations[axis])
        through = np.moveaxis(np.tensordot(through, reads.astype(np.int64), axes=([axis + 1], [1])), -1, axis + 1)
    return np.ascontiguousarray(through)


def _per_input_channel(nonzero: npt.NDArray[np.bool_], groups: int, transposed: bool) -> Counts:
    """Count the non-zero weights of every input channel and tap over the outputs they lead to, [C_in, *K]."""
    if transposed:
        return nonzero.sum(axis=1, dtype=np.int64)
    grouped = nonzero.reshape(groups, nonzero.shape[0] // groups, *nonzero.shape[1:]).sum(axis=1, dtype=np.int64)
    return grouped.reshape(groups * nonzero.shape[1], *nonzero.shape[2:])
