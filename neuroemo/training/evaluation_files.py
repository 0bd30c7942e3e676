"""An evaluation as files: evaluation.json, one row per clip in clips.csv, and the curves in evaluation.svg."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from export.storage import write_json
from hw_targets.finding import Finding, InputError

DOCUMENT, CLIPS, FIGURE = "evaluation.json", "clips.csv", "evaluation.svg"


def refuse_output(folder: Path, *, force: bool) -> None:
    """Raise unless an evaluation can be written to ``folder``: one that is there needs ``force``, other files stay."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(Finding("E923", "error", str(folder), "not a folder of its own", fix="choose another name"))
    there = [name for name in (DOCUMENT, CLIPS, FIGURE) if (folder / name).exists()]
    if there and not force:
        found = f"already holds {', '.join(there)}"
        raise InputError(Finding("E923", "error", str(folder), found, fix="choose another folder, or --force"))


def write_evaluation(told: dict[str, Any], folder: Path, *, force: bool = False) -> list[Path]:
    """Write the three files, each aside first and then renamed; return their paths.

    Raises:
        InputError: files of that name are there and ``force`` is not given, or the folder cannot be written.
    """
    from neuroemo.training.evaluation_figure import draw_evaluation
    from neuroemo.training.figure_style import save

    refuse_output(folder, force=force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / CLIPS, clips_csv(told))
        save(draw_evaluation(told), folder / FIGURE)
        write_json(folder / DOCUMENT, told)
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        fix = "check the path, its rights and the free space"
        raise InputError(Finding("E923", "error", str(folder), found, fix=fix)) from error
    return [folder / name for name in (DOCUMENT, CLIPS, FIGURE)]


def clips_csv(told: dict[str, Any]) -> str:
    """Return one row per clip: name, subject, label, answer, whether it is right or a tie, its step, the rates.

    Numbers have all digits that tell them apart from their neighbours.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rates = [f"rate_{name}" for name in told["classes"]]
    rows.writerow(["clip", "subject", "label", "predicted", "correct", "tied", "stable_from", *rates])
    for clip in told["clips_by_name"]:
        decided = "" if clip["stable_from"] is None else clip["stable_from"]
        flags = [int(clip["correct"]), int(clip["tied"])]
        known = [clip["clip"], clip["subject"] or "", clip["label"], clip["predicted"]]
        rows.writerow([*known, *flags, decided, *(repr(rate) for rate in clip["rates"])])
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".partial")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
