"""How early an answer stands: the step from which it never changes, and what stopping at a lead would cost.

With S_c(t), the spikes of the voting neurons of class c up to and with step t, the answer at step t is the class with
most spikes, the lowest index of several; before the first spike there is none. The lead is S of the first class less S
of the second.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hw_targets.graph import Array
from neuroemo.training.metrics import Score

MARGINS = 33
"""At most so many margins are tried, evenly spread from 0 to the largest lead of any clip."""
NO_ANSWER = -1


@dataclass(frozen=True, slots=True)
class MarginExit:
    """Answering as soon as the lead exceeds ``margin`` spikes, at the last step if it never does.

    ``mean_steps`` over all clips, ``stopped`` how many clips were answered before the last step.
    """

    margin: int
    score: Score
    mean_steps: float
    stopped: int

    def to_dict(self) -> dict[str, Any]:
        """Return the exit as a JSON-ready dictionary."""
        return {
            "margin": self.margin,
            **self.score.to_dict(),
            "mean_steps": self.mean_steps,
            "stopped_early": self.stopped,
        }


@dataclass(frozen=True, slots=True)
class DecisionSteps:
    """From which step on answers stand, over the clips that have one: quartiles, 90 %, and the share at each step.

    ``clips`` have an answer, ``silent`` never spiked; ``share`` is the share of all clips whose answer stands by step
    1 ... T.
    """

    clips: int
    silent: int
    mean: float | None
    quartiles: tuple[float, float, float] | None
    ninety_percent: float | None
    share: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the distribution as a JSON-ready dictionary."""
        return asdict(self)


def running_answers(counts: Array) -> Array:
    """Return the answer at each step, int64 [T, N], from spikes [T, N, classes]; -1 before the first spike.

    >>> running_answers(np.array([[[0, 0]], [[0, 1]], [[1, 0]], [[1, 0]]]))[:, 0].tolist()
    [-1, 1, 0, 0]
    """
    total = np.cumsum(counts, axis=0)
    return np.where(total.any(axis=2), total.argmax(axis=2), NO_ANSWER)


def decision_steps(answers: Array) -> Array:
    """Return the earliest step, from 1, from which each answer never changes, int64 [N]; 0 for clips without answer.

    >>> decision_steps(np.array([[-1, 0, -1], [1, 0, -1], [0, 0, -1], [0, 0, -1]])).tolist()
    [3, 1, 0]
    """
    steps = len(answers)
    differs = answers != answers[-1]
    last = steps - np.argmax(differs[::-1], axis=0)
    decided = np.where(differs.any(axis=0), last + 1, 1)
    return np.where(answers[-1] == NO_ANSWER, 0, decided)


def decision_distribution(decided: Array, steps: int) -> DecisionSteps:
    """Return the distribution of ``decision_steps`` over clips of so many steps."""
    answered = decided[decided > 0]
    share = tuple(float(np.count_nonzero(answered <= step) / len(decided)) for step in range(1, steps + 1))
    if not len(answered):
        return DecisionSteps(0, len(decided), None, None, None, share)
    low, middle, high, late = (float(value) for value in np.quantile(answered, (0.25, 0.5, 0.75, 0.9)))
    silent = len(decided) - len(answered)
    return DecisionSteps(len(answered), silent, float(answered.mean()), (low, middle, high), late, share)


def leads(counts: Array) -> Array:
    """Return the spikes of the first class less those of the second at each step, int64 [T, N]."""
    ordered = np.sort(np.cumsum(counts, axis=0), axis=2)
    second = ordered[:, :, -2] if ordered.shape[2] > 1 else 0
    return ordered[:, :, -1] - second


def margin_exits(counts: Array, labels: Array) -> tuple[MarginExit, ...]:
    """Return accuracy and mean steps of an early exit for margins from 0 to the largest lead (then nobody stops).

    >>> counts = np.array([[[2, 0]], [[0, 1]], [[0, 3]]])
    >>> [(one.margin, one.score.correct, one.mean_steps) for one in margin_exits(counts, np.array([1]))]
    [(0, 0, 1.0), (1, 0, 1.0), (2, 1, 3.0)]
    """
    lead, total = leads(counts), np.cumsum(counts, axis=0)
    highest = int(lead.max())
    margins = np.unique(np.rint(np.linspace(0, highest, min(MARGINS, highest + 1))).astype(int))
    return tuple(_exit(int(margin), lead, total, labels) for margin in margins)


def _exit(margin: int, lead: Array, total: Array, labels: Array) -> MarginExit:
    steps = len(lead)
    ready = lead > margin
    ready[-1] = True
    stop = ready.argmax(axis=0)
    answers = total[stop, np.arange(len(labels))].argmax(axis=1)
    score = Score(int(np.count_nonzero(answers == labels)), len(labels))
    return MarginExit(margin, score, float((stop + 1).mean()), int(np.count_nonzero(stop < steps - 1)))
