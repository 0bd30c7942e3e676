"""How sure the scores of a table are: folds or seeds for training, a bootstrap over subjects for the people.

A run answers the frames of its test fold; the folds together answer every frame once, and that is pooled. The spread
over runs (mean and sample standard deviation) says what another training, or another fifth of the people, does. The
interval says what other people do: whole subjects are drawn with replacement, with all their frames, since neither
frames nor clips of one person are independent; where there are several seeds, they are drawn too, independently
(the pigeonhole bootstrap: Owen 2007, doi:10.1214/07-AOAS122). Every quantity of a draw follows from sums over the
frames of each subject (``affect.sums``), so differences are paired: same subjects, same seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_targets.graph import Array
from neuroemo.affect.metrics import METRICS, OUTPUTS
from neuroemo.affect.sums import from_sums, sums_of

DRAWS = 2000
METHOD = (
    f"95 % percentile interval of a bootstrap that draws test subjects, and seeds where there are several, "
    f"independently and with replacement, {DRAWS:,} times, and scores the pooled frames of each draw anew"
)
CONSTANT = ("rmse", "sagr")
"""Scores that a constant answer has; its correlations are undefined, or 0 by definition."""


@dataclass(frozen=True)
class Pooled:
    """The answers of all folds to all their test frames.

    ``truth`` [n, 2]; ``predicted`` [S, n, 2], one per seed; ``constant`` [n, 2], for each frame the mean of the
    training frames of its fold; ``subjects`` [n].
    """

    truth: Array
    predicted: Array
    constant: Array
    subjects: tuple[str, ...]

    def scores(self) -> dict[str, dict[str, Any]]:
        """Return, for each output, the mean score over seeds, its interval, and the same of the constant answer."""
        return {output: self._output(column) for column, output in enumerate(OUTPUTS)}

    def _output(self, column: int) -> dict[str, Any]:
        sums, plain = self.sums(column), self._sums(column, self.constant[:, column])
        if not plain[:, 0].any():
            return {"frames": 0, "subjects": 0, "constant": dict.fromkeys(CONSTANT)} | {
                name: {"value": None, "interval_95": None} for name in (*METRICS, "rmse_gain")
            }
        whole, constant = _mean_scores(sums.sum(axis=1)), from_sums(plain.sum(axis=0))
        groups, seeds = draws(len(self.names), len(sums))
        drawn, base = _drawn(sums, groups, seeds), from_sums(groups @ plain)
        people = int((plain[:, 0] > 0).sum())
        ends = {name: interval(drawn[name]) if people > 1 else None for name in METRICS}
        found = {name: {"value": whole[name], "interval_95": ends[name]} for name in METRICS}
        gain = {
            "value": float(constant["rmse"]) - (whole["rmse"] or 0.0),
            "interval_95": interval(base["rmse"] - drawn["rmse"]) if people > 1 else None,
        }
        return {
            "frames": int(plain[:, 0].sum()),
            "subjects": people,
            **found,
            "rmse_gain": gain,
            "constant": {name: _number(constant[name]) for name in CONSTANT},
        }

    @property
    def names(self) -> list[str]:
        """The subjects, ascending."""
        return sorted(set(self.subjects))

    def sums(self, column: int) -> Array:
        """Return the sums of one output over the frames of each subject, [S, G, 9]."""
        return np.stack([self._sums(column, answer[:, column]) for answer in self.predicted])

    def _sums(self, column: int, answer: Array) -> Array:
        known = np.isfinite(self.truth[:, column])
        places = np.searchsorted(self.names, np.asarray(self.subjects))
        sums = np.zeros((len(self.names), 9))
        if known.any():
            part = sums_of(self.truth[known, column], answer[known], places[known])
            sums[: len(part)] = part
        return sums


def paired_rmse(first: Pooled, second: Pooled) -> dict[str, dict[str, Any]] | None:
    """Return by how much the RMSE of ``first`` is larger, for each output, over draws of the same subjects and seeds.

    None where the two were not scored on the same subjects with as many seeds.
    """
    if first.names != second.names or len(first.predicted) != len(second.predicted):
        return None
    told = {}
    for column, output in enumerate(OUTPUTS):
        one, other = first.sums(column), second.sums(column)
        if not one[..., 0].any() or not other[..., 0].any():
            return None
        groups, seeds = draws(len(first.names), len(one))
        apart = _drawn(one, groups, seeds)["rmse"] - _drawn(other, groups, seeds)["rmse"]
        ends = interval(apart) if len(first.names) > 1 else None
        value = (_mean_scores(one.sum(axis=1))["rmse"] or 0.0) - (_mean_scores(other.sum(axis=1))["rmse"] or 0.0)
        told[output] = {"value": value, "interval_95": ends}
    return told


def draws(subjects: int, seeds: int) -> tuple[Array, Array]:
    """Return how often each subject and each seed is drawn, [draws, subjects] and [draws, seeds]; always the same."""
    random = np.random.default_rng(0)
    groups = random.multinomial(subjects, np.full(subjects, 1 / subjects), size=DRAWS)
    return groups, random.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)


def over_runs(runs: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return mean and sample standard deviation over runs of each score of each output, and how many have it.

    >>> told = over_runs([{output: {"rmse": rmse, "pcc": None, "sagr": 0.5, "ccc": 0.0} for output in OUTPUTS}
    ...                   for rmse in (0.1, 0.3)])
    >>> {name: one["mean"] for name, one in told["arousal"].items()}
    {'rmse': 0.2, 'pcc': None, 'sagr': 0.5, 'ccc': 0.0}
    """
    told: dict[str, dict[str, Any]] = {}
    for output in OUTPUTS:
        values = {name: [run[output][name] for run in runs if run[output][name] is not None] for name in METRICS}
        told[output] = {
            name: {
                "mean": float(np.mean(there)) if there else None,
                "sd": float(np.std(there, ddof=1)) if len(there) > 1 else None,
                "runs": len(there),
            }
            for name, there in values.items()
        }
    return told


def interval(values: Array) -> list[float] | None:
    """Return the 95 % percentile interval of the draws that are defined; None where fewer than half of them are.

    >>> interval(np.arange(101.0)), interval(np.array([np.nan, np.nan, 1.0]))
    ([2.5, 97.5], None)
    """
    there = values[np.isfinite(values)]
    if 2 * len(there) < len(values) or len(there) < 2:
        return None
    low, high = np.percentile(there, (2.5, 97.5))
    return [float(low), float(high)]


def _drawn(sums: Array, groups: Array, seeds: Array) -> dict[str, Array]:
    """Return every score of every draw: that of its subjects, averaged over its seeds."""
    by_seed = [from_sums(groups @ of_seed) for of_seed in sums]
    weights = seeds.T / seeds.sum(axis=1)
    return {
        name: sum(np.where(weight > 0, one[name], 0.0) * weight for weight, one in zip(weights, by_seed, strict=True))
        for name in METRICS
    }


def _mean_scores(sums: Array) -> dict[str, float | None]:
    """Return the mean over seeds of each score of the sums [S, 9]; None where a seed has none."""
    scores = from_sums(sums)
    return {name: _number(scores[name].mean()) for name in METRICS}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
