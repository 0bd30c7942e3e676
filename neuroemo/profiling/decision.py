"""Energy and accuracy along the steps: what is spent until the answer is final, and by rules that a chip could use.

``answers[t, s]`` is the class that sample s would be given after step t + 1, e.g. by its votes so far. A sample's
answer is final from the first step after which it never changes: knowing that step takes the future, so the oracle
is a bound. A rule stops a sample at the first step at which the last k answers are the same, else at step T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.counts import OpCounts
from neuroemo.profiling.counting.fanout import Counts
from neuroemo.profiling.priced import EnergyModel
from neuroemo.profiling.prices import PriceList
from neuroemo.profiling.twin import step_curve

SAME_ANSWERS = (2, 3, 5, 8)


@dataclass(frozen=True, slots=True)
class DecisionStep:
    """After one step: accuracy, the share of samples whose answer is final, and the mean energy so far in pJ."""

    step: int
    accuracy: float
    stable: float
    energy_pj: float


@dataclass(frozen=True, slots=True)
class Stop:
    """What stopping early gives: mean steps, mean energy in pJ and accuracy; ``same_answer`` is k, None the oracle."""

    same_answer: int | None
    steps: float
    energy_pj: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Accuracy and energy after every step, the oracle that stops when the answer is final, and the rules."""

    steps: tuple[DecisionStep, ...]
    oracle: Stop
    rules: tuple[Stop, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the decision as a JSON-ready dictionary."""
        oracle = asdict(self.oracle)
        del oracle["same_answer"]
        return {
            "steps": [asdict(row) for row in self.steps],
            "oracle": oracle,
            "rules": [asdict(r) for r in self.rules],
        }


def decision(
    counts: OpCounts,
    answers: npt.ArrayLike,
    labels: npt.ArrayLike,
    model: EnergyModel,
    prices: PriceList,
    precision: str,
    *,
    same_answers: Sequence[int] = SAME_ANSWERS,
) -> Decision:
    """Return accuracy and energy of an SNN along its steps; ``answers`` int [T, S], ``labels`` int [S].

    The energy of a sample that stops is that of a run that ended there, by ``model``.

    Raises:
        InputError: answers or labels that are no integers or do not fit the counts, a rule of no step, samples that
            were not kept apart or could not be told apart; whatever the model refuses.
    """
    given, wanted = _checked(counts, answers, labels, same_answers)
    final, rows = stable_steps(given), np.arange(counts.samples)
    curve = step_curve(counts, model, prices, precision)

    def stop(steps: Counts, same_answer: int | None = None) -> Stop:
        right = given[steps - 1, rows] == wanted
        energy = energy_until(counts, steps, model, prices, precision)
        return Stop(same_answer, float(steps.mean()), energy, float(right.mean()))

    return Decision(
        steps=tuple(
            DecisionStep(step, float((given[step - 1] == wanted).mean()), float((final <= step).mean()), energy)
            for step, energy in enumerate(curve, start=1)
        ),
        oracle=stop(final),
        rules=tuple(stop(rule_steps(given, number), number) for number in same_answers),
    )


def stable_steps(answers: npt.NDArray[np.integer[Any]]) -> Counts:
    """Return for every sample the first step (from 1) from which its answer never changes, int64 [S].

    >>> stable_steps(np.array([[0, 1], [1, 1], [1, 1]]))
    array([2, 1])
    """
    differs = answers != answers[-1]
    last = len(answers) - differs[::-1].argmax(axis=0)
    return np.where(differs.any(axis=0), last + 1, 1).astype(np.int64)


def rule_steps(answers: npt.NDArray[np.integer[Any]], same_answer: int) -> Counts:
    """Return for every sample the first step (from 1) at which the last k answers are the same, else T; int64 [S].

    >>> rule_steps(np.array([[0, 1], [1, 1], [1, 0]]), 2)
    array([3, 2])
    """
    steps = len(answers)
    run = np.ones_like(answers, dtype=np.int64)
    for step in range(1, steps):
        run[step] = np.where(answers[step] == answers[step - 1], run[step - 1] + 1, 1)
    reached = run >= same_answer
    return np.where(reached.any(axis=0), reached.argmax(axis=0) + 1, steps).astype(np.int64)


def energy_until(counts: OpCounts, steps: Counts, model: EnergyModel, prices: PriceList, precision: str) -> float:
    """Return the mean energy in pJ when every sample stops after a number of steps of its own, int [S].

    Samples that stop together are priced together, so that a model sees the number of steps they ran.

    Raises:
        InputError: samples that were not kept apart, steps that do not fit, or whatever the model refuses.
    """
    total = 0.0
    for step in np.unique(steps):
        group = np.flatnonzero(steps == step)
        cut = counts.of_samples(group.tolist()).first_steps(int(step))
        total += group.size * model.price(cut, prices, precision, "snn").total_pj
    return total / counts.samples


def _checked(
    counts: OpCounts, answers: npt.ArrayLike, labels: npt.ArrayLike, same_answers: Sequence[int]
) -> tuple[Counts, Counts]:
    given, wanted = np.asarray(answers), np.asarray(labels)
    findings = [
        finding
        for name, values, shape in (
            ("answers", given, (counts.steps, counts.samples)),
            ("labels", wanted, (counts.samples,)),
        )
        for finding in _check_classes(name, values, shape)
    ]
    wrong = [number for number in same_answers if isinstance(number, bool) or int(number) != number or number < 1]
    if wrong:
        findings.append(Finding("E839", "error", "stopping rule", f"{wrong} same answers", "whole numbers from 1"))
    if not counts.kept or counts.unplaced:
        fix = "count with keep_samples=True a model whose calls are one per step"
        findings.append(Finding("E839", "error", "samples", "not told apart", "counts of every sample", fix=fix))
    if findings:
        raise InputError(findings)
    return given.astype(np.int64), wanted.astype(np.int64)


def _check_classes(name: str, values: npt.NDArray[Any], shape: tuple[int, ...]) -> list[Finding]:
    findings = []
    if values.shape != shape:
        findings.append(Finding("E838", "error", name, f"shape {values.shape}", f"{shape}, as counted"))
    if not np.issubdtype(values.dtype, np.integer):
        findings.append(Finding("E838", "error", name, f"{values.dtype} values", "class numbers, integers"))
    return findings
