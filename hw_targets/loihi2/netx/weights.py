"""The dense weights that Lava multiplies with, which are not always those of the file.

netx shifts a dense matrix left until it fills the field of 8 bits and hands the shift s on as a weight exponent; Lava's
model then clips the field, drops the bits below its own idea of the number of weight bits, and shifts every sum back,
rounding down::

    low, high = least, greatest weight of the layer      (weight and weight_rec together)
    mixed     = high >= 0 > low
    s         = floor(log2(room)) + mixed      room: the smaller of 127 / high, 128 / -low; 256 / -low; or 255 / high
    zeros     = trailing zero bits that all weights share, 8 at most
    drop      = s + zeros - mixed + (the matrix has both signs)
    field     = |w| << s, at most 255 (both signs: w << s, in -256..255), its lowest ``drop`` bits cleared
    sum       = (field @ messages) >> s

Matrices of both signs within [-256, 254] come through exactly. The rest may not: netx calls [0, -128] mixed while Lava
calls it inhibitory, and -256 does not fit the field.

Source: lava-dl 0.6.0 ``netx/utils.py`` (optimize_weight_bits), lava-nc 0.10.0 ``utils/weightutils.py`` (clip_weights,
truncate_weights, determine_sign_mode) and ``proc/dense/models.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hw_targets.graph import Array


def effective_weights(matrices: Sequence[Array]) -> tuple[list[Array], int]:
    """Return the fields of int64 ``matrices`` that share one shift, and the shift s: a sum is (field @ x) >> s.

    Raises:
        ValueError: all weights are 0; netx then divides by zero and stops.

    >>> effective_weights([np.array([[3, -5]])])
    ([array([[  96, -160]])], 5)
    >>> effective_weights([np.array([[-64, -128]])])  # -128 becomes -64
    ([array([[-128, -128]])], 1)
    """
    low = min(int(matrix.min()) for matrix in matrices)
    high = max(int(matrix.max()) for matrix in matrices)
    if low == high == 0:
        raise ValueError("all weights are 0")
    if (high > 254 and low < 0) or (low < -256 and high > 0):
        matrices = [np.clip(matrix, -256, 254) for matrix in matrices]
        low, high = max(low, -256), min(high, 254)
    mixed = low < 0 <= high
    shift = _shift(low, high, mixed)
    if shift < 0:  # a shift by a negative number of bits gives 0 in numpy
        return [np.zeros_like(matrix) for matrix in matrices], 0
    zeros = _trailing_zeros(matrices)
    return [_field(matrix << shift, shift + zeros - mixed) for matrix in matrices], shift


def unchanged(matrices: Sequence[Array]) -> bool:
    """Whether every matrix comes through exactly for certain: both signs, within -255 to 254.

    >>> unchanged([np.array([[3, -5]])]), unchanged([np.array([[3, 5]])])
    (True, False)
    """
    return all(-256 < int(matrix.min()) < 0 < int(matrix.max()) <= 254 for matrix in matrices)


def shift_of(matrices: Sequence[Array]) -> int:
    """Return the shift s of ``effective_weights`` alone; 0 for weights that are all 0.

    >>> shift_of([np.array([[3, -5]])]), shift_of([np.array([[0, 0]])])
    (5, 0)
    """
    low = max(min(int(matrix.min()) for matrix in matrices), -256)
    high = min(max(int(matrix.max()) for matrix in matrices), 255)
    return 0 if low == high == 0 else max(_shift(low, high, low < 0 <= high), 0)


def shifted_back(matrices: Sequence[Array], shift: int) -> tuple[list[Array], int]:
    """Return the matrices divided by 2^shift and exponent 0 where no bit is lost, else the matrices and -shift.

    >>> shifted_back([np.array([[96, -160]])], 5)
    ([array([[ 3, -5]])], 0)
    >>> shifted_back([np.array([[-255]])], 1)
    ([array([[-255]])], -1)
    """
    if any((matrix & ((1 << shift) - 1)).any() for matrix in matrices):
        return list(matrices), -shift
    return [matrix >> shift for matrix in matrices], 0


def _shift(low: int, high: int, mixed: bool) -> int:
    rooms = [(127, high), (128, -low)] if mixed else [(256, -low)] if high < 0 else [(255, high)]
    return min(_floor_log2(room, size) for room, size in rooms if size > 0) + mixed


def _floor_log2(room: int, size: int) -> int:
    """Return the largest k with size 2^k <= room, in integers.

    >>> _floor_log2(255, 3), _floor_log2(128, 200)
    (6, -1)
    """
    if size <= room:
        return (room // size).bit_length() - 1
    return -(-(-size // room) - 1).bit_length()


def _trailing_zeros(matrices: Sequence[Array]) -> int:
    bits = 0
    for matrix in matrices:
        bits |= int(np.bitwise_or.reduce(np.abs(matrix), axis=None))
    return min(8, (bits & -bits).bit_length() - 1)


def _field(weight: Array, drop: int) -> Array:
    """Clip to the field and clear the lowest bits, by the signs of this matrix alone."""
    lowest, highest = int(weight.min()), int(weight.max())
    mixed = lowest < 0 < highest
    sign = -1 if highest <= 0 and lowest < 0 else 1
    kept = np.clip(sign * weight, -256 if mixed else 0, 255)
    drop += mixed
    return np.zeros_like(weight) if drop < 0 else sign * ((kept >> drop) << drop)
