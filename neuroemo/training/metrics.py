"""What a classifier's answers are worth: accuracy with its interval, and how the answer forms over the steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_targets.graph import Array


@dataclass(frozen=True, slots=True)
class Score:
    """Correct answers out of a number of clips, with the 95 % Wilson interval."""

    correct: int
    clips: int

    @property
    def accuracy(self) -> float:
        """Share of correct answers."""
        return self.correct / self.clips if self.clips else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the accuracy (Wilson 1927)."""
        return wilson_interval(self.correct, self.clips)

    def to_dict(self) -> dict[str, Any]:
        """Return the score as a JSON-ready dictionary."""
        low, high = self.interval
        return {
            "accuracy": self.accuracy,
            "correct": self.correct,
            "clips": self.clips,
            "interval_95": [low, high],
        }


def wilson_interval(correct: int, clips: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    >>> [round(bound, 4) for bound in wilson_interval(26, 125)]
    [0.1461, 0.2873]
    """
    if clips == 0:
        return (0.0, 1.0)
    p = correct / clips
    centre = p + z * z / (2 * clips)
    spread = z * math.sqrt(p * (1 - p) / clips + z * z / (4 * clips * clips))
    scale = 1 + z * z / clips
    return (max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


@dataclass(frozen=True, slots=True)
class StepCurve:
    """Accuracy and mean squared error when only the first 1, 2, ... T steps are counted, each a list of T."""

    accuracy: list[float]
    loss: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return both curves as a JSON-ready dictionary."""
        return {"accuracy": self.accuracy, "loss": self.loss}


def score(predicted: Array, labels: Array) -> Score:
    """Count correct answers.

    >>> score(np.array([0, 1, 1]), np.array([0, 1, 0]))
    Score(correct=2, clips=3)
    """
    return Score(int(np.sum(predicted == labels)), len(labels))


def vote_counts(votes: Array, voting: int) -> Array:
    """Return how many neurons of each group fire, int64, from the shares that fire (float32 [T, N, classes]).

    Shares of a tenth have no exact binary value: two groups that fired equally often can differ in the last bit of
    their mean share. Whole numbers of spikes make a tie a tie, as on a chip.

    >>> vote_counts(np.array([[[0.1, 0.3]]], dtype=np.float32), 10).tolist()
    [[[1, 3]]]
    """
    return np.rint(np.asarray(votes, dtype=np.float64) * voting).astype(np.int64)


def running_rates(votes: Array, voting: int | None = None) -> Array:
    """Return the mean of the first t votes for t = 1 ... T, float64 [T, N, classes].

    With ``voting`` neurons per group, votes are counted as whole spikes (``vote_counts``) before they are divided.
    """
    steps = np.arange(1, len(votes) + 1).reshape(-1, 1, 1)
    if voting is None:
        return np.cumsum(votes, axis=0, dtype=np.float64) / steps
    return np.cumsum(vote_counts(votes, voting), axis=0) / (steps * voting)


def step_curve(votes: Array, labels: Array, voting: int | None = None) -> StepCurve:
    """Return accuracy and loss along the steps from votes [T, N, classes] (the share of a group that fires).

    After t steps the rate is the mean of the first t votes; the loss is its mean squared distance from
    the one-hot label, as in training. Of groups with equal rates the one with the lowest index is the answer.
    ``voting`` as in ``running_rates``.
    """
    rates = running_rates(votes, voting)
    wanted = np.eye(votes.shape[2])[labels]
    return StepCurve(
        accuracy=[float(x) for x in (rates.argmax(axis=2) == labels).mean(axis=1)],
        loss=[float(x) for x in ((rates - wanted) ** 2).mean(axis=(1, 2))],
    )
