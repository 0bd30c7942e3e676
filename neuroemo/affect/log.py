"""``log.csv`` of an affect run: a row per epoch, written anew from the history after each."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from neuroemo.affect.metrics import METRICS, OUTPUTS
from neuroemo.training.resume import writing

LOG = "log.csv"
COLUMNS = (
    *("epoch", "step", "learning_rate", "loss", "gradient_norm", "validation_frames", "validation_ccc"),
    *(f"{output}_{metric}" for output in OUTPUTS for metric in METRICS),
)


def log_rows(history: list[dict[str, Any]]) -> str:
    """Return the header and one row per epoch; a score that is undefined is empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for entry in history:
        told = entry["validation"]
        plain = [entry[name] for name in COLUMNS[:5]]
        rows.writerow([*plain, told["frames"], told["ccc"], *_scores(told)])
    return text.getvalue()


def _scores(told: dict[str, Any]) -> list[Any]:
    values = (told[output][metric] for output in OUTPUTS for metric in METRICS)
    return ["" if value is None else value for value in values]


def write_log(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write the log aside and rename it.

    Raises:
        InputError: it cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f"{LOG}.partial"
        aside.write_text(log_rows(history), encoding="utf-8", newline="")
        os.replace(aside, folder / LOG)
