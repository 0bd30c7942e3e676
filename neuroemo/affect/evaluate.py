"""What an affect run is worth on a set of frames: a document of scores, intervals, and the constant predictor beside.

The same frames give: the scores pooled over frames, with 95 % intervals over subjects; the same for the predictor
that always says the mean of the training frames; mean and standard deviation over clips; and the scores by subject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.affect.inputs import FrameStore
from neuroemo.affect.intervals import bootstrap, by_group, spread
from neuroemo.affect.metrics import OUTPUTS, scores
from neuroemo.affect.predict import predict
from neuroemo.affect.run import AffectRun
from neuroemo.affect.sums import Zeros

FEW_SUBJECTS = 10
"""With fewer subjects, resampling them gives intervals that are too narrow, and a warning says so."""


@dataclass(frozen=True, slots=True)
class AffectEvaluation:
    """The frames int64 [n] that were scored, their truth and the answers, float32 [n, 2], and the document."""

    frames: Array
    truth: Array
    predicted: Array
    document: dict[str, Any]


def evaluate_affect(
    run: AffectRun,
    data: FrameStore,
    indices: Array,
    *,
    zeros: Zeros = "leave-out",
    resamples: int = 2000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Return the JSON-ready document of a run on the frames ``indices`` of a store (see ``evaluation_of``)."""
    return evaluation_of(run, data, indices, zeros=zeros, resamples=resamples, seed=seed, progress=progress).document


def evaluation_of(
    run: AffectRun,
    data: FrameStore,
    indices: Array,
    *,
    zeros: Zeros = "leave-out",
    resamples: int = 2000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> AffectEvaluation:
    """Let a run answer the frames ``indices`` of a store and score the answers.

    Frames without a label of an output are answered and do not count for it. ``zeros`` as in ``metrics``.

    Raises:
        InputError: no frames, frames that are not what the network reads, none with a label.
    """
    frames = np.unique(np.asarray(indices, dtype=np.int64))
    if not len(frames):
        fix = "choose another split, or other data"
        raise InputError(Finding("E958", "error", str(data.path), "no frames to score", "at least 1", fix=fix))
    truth = np.asarray(data.affect(frames), dtype=np.float32)
    predicted = predict(run.network, run.spec, data, frames, progress=progress)
    document = document_of(
        truth, predicted, data, frames, constant=run.train_mean, zeros=zeros, resamples=resamples, seed=seed
    )
    document |= {
        "model": run.spec.name,
        "initialisation": run.initialisation,
        "findings": [finding.to_dict() for finding in _findings(run, data, frames, document)],
    }
    return AffectEvaluation(frames, truth, predicted, document)


def document_of(
    truth: Array,
    predicted: Array,
    data: FrameStore,
    frames: Array,
    *,
    constant: tuple[float, float],
    zeros: Zeros = "leave-out",
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the document of any answers float32 [n, 2] to frames of a store, whoever gave them."""
    clips = data.clip[frames]
    names = np.array(data.clip_names, dtype=str)[clips]
    subjects = np.array([subject or data.clip_names[place] for place, subject in enumerate(data.subjects)])[clips]
    pooled = scores(truth, predicted, constant=constant, zeros=zeros)
    intervals = bootstrap(truth, predicted, subjects, constant=constant, zeros=zeros, resamples=resamples, seed=seed)
    by_clip = by_group(truth, predicted, names, zeros=zeros)
    by_subject = by_group(truth, predicted, subjects, zeros=zeros)
    outputs = {}
    for column, output in enumerate(OUTPUTS):
        wanted = truth[:, column][np.isfinite(truth[:, column])].astype(np.float64)
        outputs[output] = pooled[output] | {
            "mean_of_truth": float(wanted.mean()),
            "sd_of_truth": float(wanted.std()),
            "interval_95": intervals[output],
            "per_clip": spread(by_clip[output]),
            "per_subject": spread(by_subject[output]),
            "subjects": by_subject[output],
        }
    return {
        "kind": "affect evaluation",
        "data": data.fingerprint(),
        "frames": len(frames),
        "clips": len(np.unique(clips)),
        "subjects": len(np.unique(subjects)),
        "subjects_unknown": any(not data.subjects[int(clip)] for clip in np.unique(clips)),
        "zeros": zeros,
        "outputs": outputs,
    }


def _findings(run: AffectRun, data: FrameStore, frames: Array, told: dict[str, Any]) -> list[Finding]:
    """Return what a reader must know before believing the scores."""
    found = []
    there = {data.subjects[int(clip)] for clip in np.unique(data.clip[frames])} - {""}
    seen = {part: there & set(_subjects(run.trained_on, part)) for part in ("training", "validation")}
    if run.trained_on.get("fingerprint") == told["data"]:
        for part, words in (("training", "were trained on"), ("validation", "chose the epoch that was kept")):
            if seen[part]:
                text = f"{len(seen[part])} of {told['subjects']} subjects {words}"
                fix = "score subjects that the network has never seen"
                found.append(Finding("W950", "warning", "subjects", text, "0", fix=fix))
    if told["subjects_unknown"]:
        text = "some clips do not say whose face they show: each counts as a subject of its own"
        found.append(Finding("W951", "warning", "subjects", text, "a subject for each clip"))
    if told["subjects"] < FEW_SUBJECTS:
        text = f"{told['subjects']} subjects: the intervals are too narrow"
        found.append(Finding("W951", "warning", "subjects", text, f"at least {FEW_SUBJECTS}"))
    for output in OUTPUTS:
        one = told["outputs"][output]
        if one["rmse"] >= one["constant"]["rmse"]:
            text = f"RMSE {one['rmse']:.3f}, and always saying {one['constant']['value']:.3f} gives "
            text += f"{one['constant']['rmse']:.3f}"
            found.append(Finding("W952", "warning", output, text, "less than the constant predictor"))
    return found


def _subjects(trained_on: dict[str, Any], part: str) -> list[str]:
    told = trained_on.get(part)
    names = told.get("subjects") if isinstance(told, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
