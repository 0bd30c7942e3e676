"""How far predicted valence and arousal are from the truth: RMSE, PCC, SAGR and CCC, and what a constant scores.

With truth y, prediction p, means over frames and variances divided by the number of frames:

- RMSE = sqrt(mean (p - y)^2), in units of the labels (-1 to 1);
- PCC = cov(y, p) / (sd(y) sd(p)), undefined (None) where truth or prediction is constant;
- CCC = 2 cov(y, p) / (var(y) + var(p) + (mean y - mean p)^2) (Lin 1989), 0 for a constant prediction of a truth that
  varies, undefined only where both are the same constant. torchmetrics divides its variances by n - 1, so that its
  figure is larger by less than one part in n; ours is the published formula;
- SAGR = share of frames where sign(p) = sign(y). A truth of exactly 0 has no sign that a real number can meet:
  such frames are left out and counted (``zeros="leave-out"``), or, to the letter of the definition, asked for
  sign 0 (``zeros="count"``).

RMSE alone misleads: RMSE^2 >= var(y) (1 - PCC^2) whatever the network, so a small RMSE may only say that the labels
vary little, and the mean of the labels, which knows nothing, already scores sd(y):

>>> y = np.array([0.05, -0.05, 0.05, -0.05])
>>> useless = np.zeros(4)
>>> good = np.array([0.20, 0.00, 0.20, 0.00])
>>> told = [measure(y, p) for p in (useless, good)]
>>> [(round(one["rmse"], 3), one["pcc"] and round(one["pcc"], 3), round(one["ccc"], 3)) for one in told]
[(0.05, None, 0.0), (0.112, 1.0, 0.444)]
>>> round(float(np.var(y) * (1 - told[1]["pcc"] ** 2)), 9) <= told[1]["rmse"] ** 2
True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.affect.sums import SUMS, Zeros, from_sums, sums_of
from neuroemo.models.affect.spec import OUTPUTS

METRICS = ("rmse", "pcc", "sagr", "ccc")
Unknown = Literal["leave-out", "refuse"]

__all__ = ["METRICS", "OUTPUTS", "SUMS", "Zeros", "checked", "measure", "scores"]


def scores(
    truth: Array,
    predicted: Array,
    *,
    constant: Sequence[float] | None = None,
    zeros: Zeros = "leave-out",
    unknown: Unknown = "leave-out",
) -> dict[str, dict[str, Any]]:
    """Score predictions [n, 2] (valence, arousal) against the truth [n, 2], pooled over frames.

    Returns, for each output, rmse, pcc, sagr, ccc, the number of frames scored, of frames whose truth is unknown
    (NaN: left out, or refused), of frames whose truth is 0, and the same of the predictor that always says
    ``constant``, the means of the training frames.

    Raises:
        InputError: shapes that do not fit, a prediction that is no number, no frame to score, or an unknown truth
            where that is to be refused.
    """
    truth, predicted = checked(truth, predicted, zeros=zeros, unknown=unknown)
    told: dict[str, dict[str, Any]] = {}
    for column, name in enumerate(OUTPUTS):
        known = np.isfinite(truth[:, column])
        wanted, said = truth[known, column], predicted[known, column]
        if not len(wanted):
            found = f"no frame has a known {name}"
            raise InputError(Finding("E951", "error", "truth", found, "at least 1", fix="use frames with labels"))
        told[name] = {
            **measure(wanted, said, zeros=zeros),
            "frames": len(wanted),
            "unknown": int((~known).sum()),
            "zero_targets": int((wanted == 0).sum()),
            "constant": None if constant is None else _constant(wanted, float(constant[column]), zeros),
        }
    return told


def measure(truth: Array, predicted: Array, *, zeros: Zeros = "leave-out") -> dict[str, float | None]:
    """Return rmse, pcc, sagr and ccc of one output: truth [n] and prediction [n], n >= 1 finite numbers each.

    RMSE and PCC are those of torchmetrics in float64; what is undefined is None.
    """
    import torch
    from torchmetrics.functional import mean_squared_error, pearson_corrcoef

    wanted, said = (np.ascontiguousarray(values, dtype=np.float64) for values in (truth, predicted))
    mine = from_sums(sums_of(wanted, said, zeros=zeros))
    told: dict[str, float | None] = {name: _number(float(mine[name])) for name in METRICS}
    pair = torch.from_numpy(said), torch.from_numpy(wanted)
    told["rmse"] = float(mean_squared_error(*pair, squared=False))
    if np.ptp(wanted) == 0 or np.ptp(said) == 0:  # torchmetrics would say NaN, or the correlation of rounding errors
        told["pcc"] = None
        told["ccc"] = None if np.ptp(wanted) == 0 and wanted[0] == said[0] and np.ptp(said) == 0 else 0.0
    else:
        told["pcc"] = _number(float(pearson_corrcoef(*pair)))
    return told


def _constant(truth: Array, value: float, zeros: Zeros) -> dict[str, float | None]:
    return {"value": value, **measure(truth, np.full(len(truth), value), zeros=zeros)}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def checked(
    truth: Array, predicted: Array, *, zeros: Zeros = "leave-out", unknown: Unknown = "leave-out"
) -> tuple[Array, Array]:
    """Return truth and prediction as float64 [n, 2], or raise InputError for what cannot be scored, all at once."""
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    bad: list[Finding] = []
    for name, value, kinds in (("zeros", zeros, Zeros), ("unknown", unknown, Unknown)):
        if value not in get_args(kinds):
            bad.append(Finding("E951", "error", name, str(value), f"one of {', '.join(get_args(kinds))}"))
    if truth.ndim != 2 or truth.shape[1] != len(OUTPUTS) or truth.shape != predicted.shape:
        found = f"truth of shape {list(truth.shape)}, predictions of shape {list(predicted.shape)}"
        bad.append(Finding("E951", "error", "predictions", found, "[frames, 2] both: valence, arousal"))
        raise InputError(bad)
    if broken := int((~np.isfinite(predicted)).any(axis=1).sum()):
        found = f"{broken} of {len(predicted)} predictions are NaN or infinite"
        fix = "the weights are damaged or the training diverged: train again with a lower learning rate"
        bad.append(Finding("E951", "error", "predictions", found, "0", str(broken), fix))
    missing = ~np.isfinite(truth)
    if unknown == "refuse" and missing.any():
        found = f"{int(missing.any(axis=1).sum())} of {len(truth)} frames have no label"
        bad.append(Finding("E951", "error", "truth", found, "0", fix="leave them out: unknown='leave-out'"))
    if bad:
        raise InputError(bad)
    return truth, predicted
