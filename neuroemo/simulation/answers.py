"""What the clips were taken for: rates, labels and spikes per clip, kept small, and written as CSV and JSON."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from export.storage import write_json
from hw_targets.graph import Array
from neuroemo.simulation.backends import BatchRun

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
PREDICTIONS_CSV, PREDICTIONS_JSON, COUNTS_CSV = "predictions.csv", "predictions.json", "counts.csv"
FILES = (PREDICTIONS_CSV, PREDICTIONS_JSON, COUNTS_CSV)


@dataclass(slots=True)
class Answers:
    """Adds up batches: rates [N, classes], messages per clip and layer [N, L], per layer and step [L, T]."""

    neurons: dict[str, int]
    rates: list[Array] = field(default_factory=list)
    per_clip: list[Array] = field(default_factory=list)
    per_step: Array | None = None

    def add(self, rates: Array, run: BatchRun) -> None:
        """Add the rates [n, classes] and the counts of one batch."""
        counts = np.stack([run.counts[name] for name in self.neurons])
        self.rates.append(rates)
        self.per_clip.append(counts.sum(axis=1).T)
        steps = counts.sum(axis=2)
        self.per_step = steps if self.per_step is None else self.per_step + steps

    def all_rates(self) -> Array:
        """Return the rates [N, classes]."""
        return np.concatenate(self.rates)

    def layers(self) -> list[dict[str, Any]]:
        """Return name, neurons, messages and mean firing rate (messages per neuron and step) of every layer."""
        per_clip = np.concatenate(self.per_clip)
        steps = 0 if self.per_step is None else self.per_step.shape[1]
        totals = per_clip.sum(axis=0).tolist()
        return [
            {"name": name, "neurons": count, "spikes": total, "rate": total / max(1, len(per_clip) * steps * count)}
            for (name, count), total in zip(self.neurons.items(), totals, strict=True)
        ]

    def told(self, names: list[str], labels: list[str | None], classes: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return one entry per clip; a tie of rates goes to the lower class."""
        rows = zip(names, labels, self.all_rates(), np.concatenate(self.per_clip), strict=True)
        return [
            {
                "clip": name,
                "label": label,
                "predicted": classes[int(rates.argmax())],
                "rates": [float(rate) for rate in rates],
                "spikes": dict(zip(self.neurons, spikes.tolist(), strict=True)),
            }
            for name, label, rates, spikes in rows
        ]


def safe_cell(text: object) -> str:
    """Return a CSV cell that no spreadsheet takes for a formula.

    >>> safe_cell("=1+1"), safe_cell("clip 3"), safe_cell(-0.5)
    ("'=1+1", 'clip 3', '-0.5')
    """
    shown = str(text)
    return f"'{shown}" if isinstance(text, str) and shown.startswith(FORMULA) else shown


def write_answers(folder: Path, result: dict[str, Any], answers: Answers) -> list[Path]:
    """Write predictions.csv, predictions.json and counts.csv (messages per layer and step, all clips together)."""
    folder.mkdir(parents=True, exist_ok=True)
    classes, layers = result["classes"], list(answers.neurons)
    heads = ["clip", "label", "predicted", *(f"rate {name}" for name in classes), *(f"spikes {n}" for n in layers)]
    rows = (
        [a["clip"], "" if a["label"] is None else a["label"], a["predicted"], *a["rates"], *a["spikes"].values()]
        for a in result["answers"]
    )
    _write_csv(folder / PREDICTIONS_CSV, heads, rows)
    steps = [] if answers.per_step is None else answers.per_step.tolist()
    counts = ([name, step, count] for name, line in zip(layers, steps, strict=True) for step, count in enumerate(line))
    _write_csv(folder / COUNTS_CSV, ["layer", "step", "spikes"], counts)
    write_json(folder / PREDICTIONS_JSON, result)
    return [folder / name for name in FILES]


def _write_csv(path: Path, heads: list[str], rows: Any) -> None:
    aside = path.with_name(path.name + ".partial")
    try:
        with aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([safe_cell(head) for head in heads])
            writer.writerows([safe_cell(cell) for cell in row] for row in rows)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
