"""What few bits cost, and what fine-tuning wins back: test accuracy, labels and rates against the float network.

``python benchmarks/qat.py [--runs RUN ...] [--bits 8 5 4 3] [--work DIR]`` takes finished runs of ``neuroemo demo``
(their ``snn`` and ``clips.h5``), quantises each network as an export does (post-training) and fine-tunes it, and writes
``benchmarks/results/qat.json`` and a table to the console. A fine-tuning that was finished before is not repeated.

``post_training`` is what ``neuroemo export --weight-bits`` would put on the chip (a refusal is listed with its
findings), ``start`` the network that fine-tuning begins with, whose thresholds are resolved.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.exporter import compile_model
from hw_targets.finding import NeuroEmoError
from hw_targets.readout import group_rates
from hw_targets.registry import deploy_target
from neuroemo.datasets.store import ClipStore
from neuroemo.training.checkpoint import load_model
from neuroemo.training.evaluation import votes_of
from neuroemo.training.fine_tune import DISTILLATION, EPOCHS, LEARNING_RATE, fine_tune, quantize_network
from neuroemo.training.loop import TrainSettings
from neuroemo.training.metrics import wilson_interval
from neuroemo.training.quantized import chip_of

HERE = Path(__file__).resolve().parent
BATCH = 32


def main() -> None:
    """Measure every run at every number of bits, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, nargs="+", default=[Path("runs/demo")])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 5, 4, 3])
    parser.add_argument("--work", type=Path, default=Path("runs/qat"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for run in args.runs for row in measure(run, args.bits, args.work / run.name)]
    settings = {"epochs": EPOCHS, "learning_rate": LEARNING_RATE, "distillation": DISTILLATION}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "qat.json").write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")
    print(table(rows))


def measure(run: Path, all_bits: list[int], work: Path) -> list[dict[str, Any]]:
    """Return one row per number of bits of one demo run."""
    network, description = load_model(run / "snn")
    store = ClipStore.open(run / "clips.h5")
    indices = store.indices("test")
    labels = np.asarray(store.labels)[indices]
    batches = [store.batch(indices[start : start + BATCH]) for start in range(0, len(indices), BATCH)]
    rates = np.concatenate([votes_of(network, description.spec, clips).mean(axis=0) for clips in batches])
    target = deploy_target("loihi2")

    def judged(chip: Any) -> dict[str, Any]:
        found = np.concatenate([group_rates(target.simulate(chip, clips).output, chip.voting) for clips in batches])
        return compare(found, rates, labels)

    rows = []
    for bits in all_bits:
        row: dict[str, Any] = {"run": run.name, "bits": bits, "clips": len(indices)}
        row["float"] = compare(rates, rates, labels)
        try:
            row["post_training"] = judged(
                compile_model(
                    network,
                    batches[0],
                    target,
                    dt_us=description.dt_us,
                    first_frame=description.spec.first_frame,
                    weight_bits=bits,
                ).chip
            )
        except NeuroEmoError as error:
            row["post_training"] = {"refused": [finding.to_dict() for finding in error.findings]}
        row["start"] = judged(quantize_network(network, description, bits).to_chip())
        settings = TrainSettings(epochs=EPOCHS, learning_rate=LEARNING_RATE)
        started = time.monotonic()
        history = fine_tune(run / "snn", store, work / f"{bits}bit", bits, settings)
        row["seconds"] = time.monotonic() - started
        row["validation"] = [entry["validation"]["accuracy"] for entry in history]
        row["fine_tuned"] = judged(chip_of(load_model(work / f"{bits}bit")[0]))
        rows.append(row)
    return rows


def compare(rates: Any, wanted: Any, labels: Any) -> dict[str, Any]:
    """Return accuracy with its interval, label agreement and mean rate difference against the float network."""
    correct = int((rates.argmax(axis=1) == labels).sum())
    return {
        "accuracy": correct / len(labels),
        "interval_95": list(wilson_interval(correct, len(labels))),
        "label_agreement": float((rates.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        "rate_difference": float(np.abs(rates - wanted).mean()),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| run | bits | float | post-training | labels kept | rate difference "
        "| fine-tuned | labels kept | rate difference | s |",
        "| --- " * 10 + "|",
    ]
    for row in rows:
        cells = [row["run"], str(row["bits"]), f"{row['float']['accuracy']:.1%}"]
        for name in ("post_training", "fine_tuned"):
            entry = row[name]
            if "refused" in entry:
                cells += ["refused: " + ", ".join(finding["code"] for finding in entry["refused"]), "", ""]
            else:
                cells += [
                    f"{entry['accuracy']:.1%}",
                    f"{entry['label_agreement']:.1%}",
                    f"{entry['rate_difference']:.3f}",
                ]
        lines.append("| " + " | ".join([*cells, f"{row['seconds']:.0f}"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
