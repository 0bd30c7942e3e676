"""The sums over frames that RMSE, PCC, SAGR and CCC are made of: what groups of frames add up to, a score follows.

With them the score of any resample of subjects is a product of two matrices instead of a pass over all frames.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from hw_targets.graph import Array

Zeros = Literal["leave-out", "count"]
SUMS = ("frames", "y", "p", "yy", "pp", "yp", "errors", "signed", "agreed")
"""Columns: n, sums of y, p, y^2, p^2, yp and (p - y)^2, frames whose sign counts, and those of them that agree."""
TINY = 1e-13
"""A variance below this share of the mean square is the rounding error of a constant."""


def sums_of(truth: Array, predicted: Array, groups: Array | None = None, *, zeros: Zeros = "leave-out") -> Array:
    """Return the sums [G, 9] over the frames of each group 0..G-1, or [9] over all frames; float64.

    >>> dict(zip(SUMS, sums_of(np.array([1.0, -1.0]), np.array([0.5, 1.0])).tolist()))["errors"]
    4.25
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    signed = (y != 0) if zeros == "leave-out" else np.ones(len(y), bool)
    agreed = signed & (np.sign(y) == np.sign(p))
    columns = (np.ones(len(y)), y, p, y * y, p * p, y * p, (p - y) ** 2, signed, agreed)
    if groups is None:
        return np.array([column.sum(dtype=np.float64) for column in columns])
    size = int(groups.max()) + 1 if len(groups) else 0
    return np.stack([np.bincount(groups, weights=column, minlength=size) for column in columns], axis=1)


def from_sums(sums: Array) -> dict[str, Array]:
    """Return rmse, pcc, sagr and ccc [...] of sums [..., 9]; what is undefined is NaN."""
    n, y, p, yy, pp, yp, errors, signed, agreed = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_y, mean_p = y / n, p / n
        var_y, var_p = (_positive(square / n, mean) for square, mean in ((yy, mean_y), (pp, mean_p)))
        covariance = np.where((var_y > 0) & (var_p > 0), yp / n - mean_y * mean_p, 0.0)
        spread = var_y + var_p + (mean_y - mean_p) ** 2
        return {
            "rmse": np.sqrt(errors / n),
            "pcc": np.clip(covariance / np.sqrt(var_y * var_p), -1.0, 1.0),
            "sagr": agreed / signed,
            "ccc": 2.0 * covariance / spread,
        }


def _positive(mean_square: Array, mean: Array) -> Array:
    variance: Array = mean_square - mean * mean
    return np.where(variance > TINY * mean_square, variance, 0.0)
