"""Continuous values that output spikes say: those of the chip beside those of the trained network, and the truth.

Labels cannot be compared where a network estimates numbers. What is compared instead are the numbers themselves, read
from the output spikes of every world by the same readout (``hw_targets.readout.ValueReadout``), end to end::

    difference = mean over clips, values and outputs of |chip - network|

and, where the truth is known, how far each world is from it: root mean squared error, Pearson's correlation, and
Lin's concordance 2 cov / (var + var + (difference of means)^2), with variances divided by the number of values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import Array
from hw_targets.readout import ValueReadout

WORLDS = ("float", "folded", "chip")
"""The network as it was trained, its folded graph, and the chip."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueAgreement:
    """Values [N, F, outputs] of every world; ``truth`` likewise, NaN where a value is not to be scored, or None.

    ``constant`` is the guess for each output that knows nothing of the clip (the mean in training), where it is known.
    """

    readout: ValueReadout
    values: dict[str, Array]
    truth: Array | None = None
    constant: tuple[float, ...] | None = None

    @property
    def difference(self) -> float:
        """Mean |chip - network| over all values."""
        return float(np.abs(self.values["chip"] - self.values["float"]).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary; what is undefined is None."""
        apart = np.abs(self.values["chip"] - self.values["float"])
        told: dict[str, Any] = {
            "outputs": list(self.readout.outputs),
            "values": int(apart.shape[0] * apart.shape[1]),
            "difference_mean": self.difference,
            "difference_max": float(apart.max()),
            "scored": 0,
            "scores": None,
        }
        if self.truth is None or not np.isfinite(self.truth).any():
            return told
        guesses = dict(self.values)
        if self.constant is not None:
            guesses["constant"] = np.broadcast_to(np.asarray(self.constant, np.float64), self.truth.shape)
        scores = []
        for place, output in enumerate(self.readout.outputs):
            truth = self.truth[:, :, place]
            known = np.isfinite(truth)
            entry: dict[str, Any] = {"output": output}
            scores.append(entry | {world: score(truth[known], guess[known, place]) for world, guess in guesses.items()})
        return told | {"scored": int(np.isfinite(self.truth).all(axis=2).sum()), "scores": scores}

    def findings(self, limit: float) -> Iterator[Finding]:
        """Yield an error where the chip's values are further from the network's than ``limit`` on average."""
        if self.difference > limit:
            yield Finding(
                "E994",
                "error",
                "values",
                f"the chip's values differ from the network's by {self.difference:.4f} on average",
                f"{limit:g}",
                f"{self.difference - limit:.4f}",
                "more bits per weight, a longer readout window or more neurons per value; or train with quantisation",
            )


def score(truth: Array, guess: Array) -> dict[str, float | None]:
    """Return RMSE, PCC and CCC of one output's values; a correlation with a constant is None.

    >>> score(np.array([0.0, 1.0]), np.array([0.5, 1.0]))
    {'rmse': 0.3535533905932738, 'pcc': 1.0, 'ccc': 0.6666666666666666}
    """
    if not len(truth):
        return {"rmse": None, "pcc": None, "ccc": None}
    truth, guess = truth.astype(np.float64), guess.astype(np.float64)
    # Spread of numbers that are all alike is zero, not what rounding leaves of it.
    one, other = (0.0 if np.ptp(x) == 0 else float(x.var()) for x in (truth, guess))
    both = float(((truth - truth.mean()) * (guess - guess.mean())).mean()) if one and other else 0.0
    spread = one + other + float(truth.mean() - guess.mean()) ** 2
    return {
        "rmse": float(np.sqrt(((truth - guess) ** 2).mean())),
        "pcc": both / float(np.sqrt(one * other)) if one and other else None,
        "ccc": 2 * both / spread if spread else None,
    }


def joined(
    readout: ValueReadout,
    outputs: list[tuple[Array, Array, Array]],
    truth: Array | None,
    constant: tuple[float, ...] | None,
) -> ValueAgreement:
    """Return the agreement of all batches, from the output spikes [T, N, ...] of the three ``WORLDS`` in each."""
    worlds = zip(WORLDS, zip(*outputs, strict=True), strict=True)
    values = {world: np.concatenate([readout.values(spikes) for spikes in batches]) for world, batches in worlds}
    return ValueAgreement(readout, values, truth, constant)
