"""An evaluation as files: evaluation.json, one row per frame in predictions.csv, and the curves in evaluation.svg."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from export.storage import write_json
from hw_targets.finding import Finding, InputError
from neuroemo.affect.evaluate import AffectEvaluation
from neuroemo.affect.inputs import FrameStore
from neuroemo.models.affect.spec import OUTPUTS

DOCUMENT, PREDICTIONS, FIGURE = "evaluation.json", "predictions.csv", "evaluation.svg"


def refuse_output(folder: Path, *, force: bool) -> None:
    """Raise unless an evaluation can be written to ``folder``: one that is there needs ``force``, other files stay."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(Finding("E959", "error", str(folder), "not a folder of its own", fix="choose another name"))
    there = [name for name in (DOCUMENT, PREDICTIONS, FIGURE) if (folder / name).exists()]
    if there and not force:
        found = f"already holds {', '.join(there)}"
        raise InputError(Finding("E959", "error", str(folder), found, fix="choose another folder, or --force"))


def write_evaluation(
    evaluation: AffectEvaluation, data: FrameStore, folder: Path, *, force: bool = False
) -> list[Path]:
    """Write the three files, each aside first and then renamed; return their paths.

    Raises:
        InputError: files of that name are there and ``force`` is not given, or the folder cannot be written.
    """
    from neuroemo.affect.evaluate_figure import draw_evaluation
    from neuroemo.training.figure_style import save

    refuse_output(folder, force=force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_predictions(folder / PREDICTIONS, evaluation, data)
        save(draw_evaluation(evaluation, data), folder / FIGURE)
        write_json(folder / DOCUMENT, evaluation.document)
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        fix = "check the path, its rights and the free space"
        raise InputError(Finding("E959", "error", str(folder), found, fix=fix)) from error
    return [folder / name for name in (DOCUMENT, PREDICTIONS, FIGURE)]


def write_predictions(path: Path, evaluation: AffectEvaluation, data: FrameStore) -> None:
    """Write a row per frame: clip, subject, time in microseconds, truth (empty where unknown) and prediction."""
    aside = path.with_name(path.name + ".partial")
    with aside.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["clip", "subject", "time_us", *OUTPUTS, *(f"predicted_{output}" for output in OUTPUTS)])
        for frame, truth, said in zip(evaluation.frames, evaluation.truth, evaluation.predicted, strict=True):
            clip = int(data.clip[frame])
            known = ["" if value != value else repr(float(value)) for value in truth]
            answers = [repr(float(value)) for value in said]
            where = [data.clip_names[clip], data.subjects[clip], repr(float(data.times_us[frame]))]
            rows.writerow([*where, *known, *answers])
    os.replace(aside, path)
