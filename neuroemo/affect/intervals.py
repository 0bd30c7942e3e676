"""Scores of clips and of subjects, and 95 % intervals by resampling whole subjects.

Frames of one clip resemble each other, and clips of one face do, so frames are no independent evidence: the
bootstrap draws S subjects of S with replacement, with all their frames, and scores each draw anew. The interval is
that of the percentiles; with few subjects (below about 10) it is too narrow, whatever the number of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.affect.metrics import METRICS, OUTPUTS, checked
from neuroemo.affect.sums import Zeros, from_sums, sums_of

LEVEL = 0.95


def bootstrap(
    truth: Array,
    predicted: Array,
    subjects: Sequence[str] | Array,
    *,
    constant: Sequence[float] | None = None,
    zeros: Zeros = "leave-out",
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return the 95 % interval of every score of each output, over draws of the ``subjects`` [n] of the frames.

    ``rmse_gain`` is the RMSE of the predictor that says ``constant`` less that of the network, over the same draws:
    an interval above 0 means that the network beats it. An interval is None where there are fewer than two subjects
    or no draw has the score; ``undefined`` counts the draws that do not have it.

    Raises:
        InputError: as ``scores``, a subject is missing, or fewer than 1 resample.
    """
    truth, predicted = checked(truth, predicted, zeros=zeros)
    if len(subjects) != len(truth) or resamples < 1:
        found = f"{len(subjects)} subjects for {len(truth)} frames, {resamples} resamples"
        raise InputError(Finding("E952", "error", "bootstrap", found, "one subject for each frame, 1 resample"))
    names, groups = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / max(1, len(names))), size=resamples)
    told: dict[str, dict[str, Any]] = {}
    for column, output in enumerate(OUTPUTS):
        known = np.isfinite(truth[:, column])
        wanted, said = truth[known, column], predicted[known, column]
        here = np.unique(groups[known])  # a subject without a label adds nothing, and is no subject of this output
        own = np.searchsorted(here, groups[known])
        draws = drawn if len(here) == len(names) else _redrawn(random, len(here), resamples)
        sums = draws @ sums_of(wanted, said, own, zeros=zeros)
        results = from_sums(sums)
        if constant is not None:
            plain = draws @ sums_of(wanted, np.full(len(wanted), float(constant[column])), own, zeros=zeros)
            results["rmse_gain"] = from_sums(plain)["rmse"] - results["rmse"]
        enough = len(here) >= 2
        told[output] = {
            "subjects": len(here),
            "resamples": resamples,
            **{name: _interval(values) if enough else None for name, values in results.items()},
            "undefined": {name: int((~np.isfinite(values)).sum()) for name, values in results.items()},
        }
    return told


def _redrawn(random: np.random.Generator, subjects: int, resamples: int) -> Array:
    return random.multinomial(subjects, np.full(subjects, 1 / max(1, subjects)), size=resamples)


def _interval(values: Array) -> list[float] | None:
    there = values[np.isfinite(values)]
    if not len(there):
        return None
    low, high = np.percentile(there, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return [float(low), float(high)]


def by_group(
    truth: Array, predicted: Array, groups: Sequence[str] | Array, *, zeros: Zeros = "leave-out"
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Return, for each output, the scores of every group (a clip, a subject) by name, with its number of frames."""
    truth, predicted = checked(truth, predicted, zeros=zeros)
    names, places = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    told: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for column, output in enumerate(OUTPUTS):
        known = np.isfinite(truth[:, column])
        sums = np.zeros((len(names), 9))
        if known.any():
            part = sums_of(truth[known, column], predicted[known, column], places[known], zeros=zeros)
            sums[: len(part)] = part
        results = from_sums(sums)
        told[output] = {
            str(name): {"frames": int(sums[place, 0])} | {metric: _one(results[metric][place]) for metric in METRICS}
            for place, name in enumerate(names)
        }
    return told


def _one(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def spread(scores: dict[str, dict[str, float | int | None]]) -> dict[str, dict[str, float | int | None]]:
    """Return mean and standard deviation (n - 1) of each score over groups, and how many groups have it.

    >>> spread({"a": {"frames": 5, "rmse": 0.1, "pcc": None, "sagr": 1.0, "ccc": 0.5},
    ...         "b": {"frames": 5, "rmse": 0.3, "pcc": 0.4, "sagr": 0.5, "ccc": 0.5}})["pcc"]
    {'mean': 0.4, 'sd': None, 'defined': 1, 'of': 2}
    """
    told: dict[str, dict[str, float | int | None]] = {}
    for metric in METRICS:
        there = [float(value) for one in scores.values() if (value := one[metric]) is not None]
        told[metric] = {
            "mean": float(np.mean(there)) if there else None,
            "sd": float(np.std(there, ddof=1)) if len(there) > 1 else None,
            "defined": len(there),
            "of": len(scores),
        }
    return told
