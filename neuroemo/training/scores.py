"""What answers are worth class by class and subject by subject: confusion, precision, recall, F1, spread.

With the confusion matrix C[label, answer], TP_c = C[c, c], FP_c = sum of column c less TP_c, FN_c = sum of row c less
TP_c::

    precision_c = TP / (TP + FP)      recall_c = TP / (TP + FN)      F1_c = 2 TP / (2 TP + FP + FN)

A quotient 0 / 0 is None, not 0: a class that is neither a label nor an answer has no F1. Macro F1 is the mean over the
classes that have one, balanced accuracy the mean recall over the classes that occur (both as scikit-learn).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hw_targets.graph import Array
from neuroemo.training.metrics import Score


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: its clips, how often it was answered and rightly so, precision, recall and F1 (None: undefined)."""

    name: str
    clips: int
    answered: int
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as a JSON-ready dictionary."""
        return {("class" if key == "name" else key): value for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class SubjectSpread:
    """Accuracy over subjects, each counted once: mean, standard deviation (n - 1; None for one), range, who is worst.

    ``worst`` has the lowest accuracy; of several, the one with most clips, then the first name.
    """

    subjects: int
    mean: float
    standard_deviation: float | None
    lowest: float
    highest: float
    worst: str

    def to_dict(self) -> dict[str, Any]:
        """Return the spread as a JSON-ready dictionary."""
        return asdict(self)


def confusion_matrix(labels: Array, predicted: Array, classes: int) -> Array:
    """Return the confusion matrix int64 [classes, classes]: row = label, column = answer.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = np.asarray(labels) * classes + np.asarray(predicted)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def class_scores(confusion: Array, names: Sequence[str]) -> tuple[ClassScore, ...]:
    """Return the scores of each class of a confusion matrix.

    >>> [one.f1 for one in class_scores(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0]]), ("a", "b", "c"))]
    [0.6666666666666666, 0.8, None]
    """
    scores = []
    for place, name in enumerate(names):
        right = int(confusion[place, place])
        clips, answered = int(confusion[place].sum()), int(confusion[:, place].sum())
        scores.append(
            ClassScore(
                name,
                clips,
                answered,
                right,
                _share(right, answered),
                _share(right, clips),
                _share(2 * right, clips + answered),
            )
        )
    return tuple(scores)


def macro_f1(scores: Sequence[ClassScore]) -> float:
    """Return the mean F1 of the classes that have one."""
    return _mean([one.f1 for one in scores if one.f1 is not None])


def balanced_accuracy(scores: Sequence[ClassScore]) -> float:
    """Return the mean recall of the classes that occur among the labels."""
    return _mean([one.recall for one in scores if one.recall is not None])


def subject_scores(subjects: Sequence[str], correct: Array) -> dict[str, Score]:
    """Return the score of each subject, by name in order; "" stands for clips whose subject is not known.

    >>> subject_scores(("b", "a", "b"), np.array([True, False, False]))
    {'a': Score(correct=0, clips=1), 'b': Score(correct=1, clips=2)}
    """
    found: dict[str, list[bool]] = {}
    for name, right in zip(subjects, np.asarray(correct, dtype=bool).tolist(), strict=True):
        found.setdefault(name, []).append(right)
    return {name: Score(sum(found[name]), len(found[name])) for name in sorted(found)}


def subject_spread(scores: dict[str, Score]) -> SubjectSpread | None:
    """Return how accuracy varies over subjects; None where no subject is known."""
    known = {name: score for name, score in scores.items() if name}
    if not known:
        return None
    values = [score.accuracy for score in known.values()]
    worst = min(known, key=lambda name: (known[name].accuracy, -known[name].clips, name))
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return SubjectSpread(len(known), _mean(values), deviation, min(values), max(values), worst)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
