"""Everything that answers to labelled clips say, as one JSON-ready dictionary (docs/evaluate.md) and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import Array
from neuroemo.training import early_decision as early
from neuroemo.training import scores
from neuroemo.training.evaluation import Evaluation
from neuroemo.training.metrics import vote_counts, wilson_interval

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class AboutClips:
    """What is known of the clips that were answered: the network's classes, names and subjects ("" unknown)."""

    classes: tuple[str, ...]
    clips: tuple[str, ...]
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers clip by clip: spikes int64 [T, N, classes] (None for the ANN), step of decision, shared first place.

    ``decided`` is 0 for a clip without a spike.
    """

    counts: Array | None
    decided: Array | None
    tied: Array
    silent: Array


def evaluation_document(result: Evaluation, about: AboutClips) -> dict[str, Any]:
    """Return scores, confusion matrix, subjects, curves along the steps, early decisions, and every clip's answer."""
    answers = _answers(result)
    confusion = scores.confusion_matrix(result.labels, result.predicted, len(about.classes))
    per_class = scores.class_scores(confusion, about.classes)
    correct = result.predicted == result.labels
    per_subject = scores.subject_scores(about.subjects, correct)
    spread = scores.subject_spread(per_subject)
    findings = _findings(per_class, spread, about)
    return {
        "schema": SCHEMA,
        "kind": "evaluation",
        "classes": list(about.classes),
        **result.score.to_dict(),
        "loss": result.steps.loss[-1],
        "largest_class": max(one.clips for one in per_class) / len(correct),
        "balanced_accuracy": scores.balanced_accuracy(per_class),
        "macro_f1": scores.macro_f1(per_class),
        "per_class": [one.to_dict() for one in per_class],
        "confusion": confusion.tolist(),
        "subjects": None
        if spread is None
        else {
            "spread": spread.to_dict(),
            "scores": {name: one.to_dict() for name, one in per_subject.items() if name},
            "unknown": per_subject[""].to_dict() if "" in per_subject else None,
        },
        "ties": {
            "clips": int(answers.tied.sum()),
            "silent": int(answers.silent.sum()),
            "correct": int(np.count_nonzero(answers.tied & correct)),
        },
        "steps": _steps(result),
        "early_decision": _early(result, answers),
        "clips_by_name": _clips(result, about, answers),
        "findings": [finding.to_dict() for finding in findings],
    }


def _answers(result: Evaluation) -> _Answers:
    tied = np.count_nonzero(result.rates == result.rates.max(axis=1, keepdims=True), axis=1) > 1
    if result.voting is None:
        return _Answers(None, None, tied, np.zeros(len(tied), dtype=bool))
    counts = vote_counts(result.votes, result.voting)
    decided = early.decision_steps(early.running_answers(counts))
    return _Answers(counts, decided, tied, decided == 0)


def _steps(result: Evaluation) -> dict[str, Any]:
    """Return the curves along the steps, with the counts and intervals that belong to them."""
    clips = result.score.clips
    correct = [round(share * clips) for share in result.steps.accuracy]
    return result.steps.to_dict() | {
        "correct": correct,
        "interval_95": [list(wilson_interval(right, clips)) for right in correct],
        "lowest_loss_at": int(np.argmin(result.steps.loss)) + 1,
    }


def _early(result: Evaluation, answers: _Answers) -> dict[str, Any] | None:
    """Return when answers stand and what an early exit costs; None for a network that answers once."""
    if answers.counts is None or answers.decided is None:
        return None
    distribution = early.decision_distribution(answers.decided, len(answers.counts))
    exits = early.margin_exits(answers.counts, result.labels)
    return {"stable_from": distribution.to_dict(), "margin_exit": [one.to_dict() for one in exits]}


def _clips(result: Evaluation, about: AboutClips, answers: _Answers) -> list[dict[str, Any]]:
    rows = []
    for place, clip in enumerate(about.clips):
        label, predicted = int(result.labels[place]), int(result.predicted[place])
        decided = None if answers.decided is None else int(answers.decided[place]) or None
        rows.append(
            {
                "clip": clip,
                "subject": about.subjects[place] or None,
                "label": about.classes[label],
                "predicted": about.classes[predicted],
                "correct": label == predicted,
                "tied": bool(answers.tied[place]),
                "stable_from": decided,
                "rates": [float(rate) for rate in result.rates[place]],
            }
        )
    return rows


def _findings(
    per_class: Sequence[scores.ClassScore], spread: scores.SubjectSpread | None, about: AboutClips
) -> list[Finding]:
    findings = []
    absent = [one.name for one in per_class if not one.clips]
    if absent:
        found = f"no clip of {', '.join(absent)} among the {len(about.clips)} clips"
        fix = "accuracy says little about a network that was not asked about every class: choose other clips"
        findings.append(Finding("W920", "warning", "classes", found, "at least 1 of each class", fix=fix))
    unknown = sum(not subject for subject in about.subjects)
    if unknown:
        found = f"{unknown} of {len(about.clips)} clips do not say who is in them"
        fix = "per-subject scores leave them out" if spread is not None else "there are no per-subject scores"
        findings.append(Finding("W921", "warning", "subjects", found, "0", fix=fix))
    return findings
