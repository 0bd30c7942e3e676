"""The demo over several seeds: faces, splits, initialisation and order all change; the recipe does not.

``python benchmarks/seeds.py [--seeds 0 1 2] [--runs DIR]`` runs ``neuroemo demo`` for each seed (a finished run is
reused) and writes ``benchmarks/results/seeds.json`` and the table in ``docs/results.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NAMES = ("float", "quantised", "lava", "ann", "linear_events", "trivial", "chance")
MARKS = ("<!-- seeds: begin -->", "<!-- seeds: end -->")


def main() -> None:
    """Run, collect, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/seeds"))
    args = parser.parse_args()
    rows = [collect(args.runs / f"seed{seed}", seed) for seed in args.seeds]
    result = {"rows": rows, "mean": summary(rows, statistics.mean), "spread": summary(rows, statistics.pstdev)}
    (HERE / "results" / "seeds.json").write_text(json.dumps(result, indent=1) + "\n")
    write_table(HERE.parent / "docs" / "results.md", result)


def collect(run: Path, seed: int) -> dict[str, Any]:
    """Run one seed and return what its report says."""
    command = [sys.executable, "-m", "neuroemo", "demo", "-o", str(run), "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report = json.loads((run / "report.json").read_text())
    return {
        "seed": seed,
        "accuracy": report["accuracy"],
        "clips": report["accuracy_clips"],
        "density": report["events"]["density"],
        "label_agreement": report["export"]["label_agreement"],
        "lava": {key: report["lava"].get(key) for key in ("clips", "compared_spikes", "mismatched_spikes")},
        "energy": {key: report["energy"][key] for key in ("snn_mj", "neuron_mj", "ann_mj")},
        "seconds": sum(seconds for stage, seconds in report["timings"].items() if stage != "video"),
    }


def summary(rows: list[dict[str, Any]], function: Any) -> dict[str, float]:
    """Return a statistic of each accuracy over the seeds."""
    return {name: function([row["accuracy"][name] for row in rows]) for name in NAMES}


def write_table(path: Path, result: dict[str, Any]) -> None:
    """Replace the table between the marks of a Markdown file."""
    lines = [
        "| seed | float | 8-bit | Lava (clips) | ANN twin | linear, summed events | linear, mean frame | chance "
        "| labels kept "
        "| spikes compared with Lava | differ | SNN / with neurons / ANN, µJ | s |",
        "| --- " * 13 + "|",
    ]
    for row in result["rows"]:
        share = {name: f"{100 * row['accuracy'][name]:.1f} %" for name in NAMES}
        energy = " / ".join(
            f"{1000 * joules:.2f}"
            for joules in (
                row["energy"]["snn_mj"],
                row["energy"]["snn_mj"] + row["energy"]["neuron_mj"],
                row["energy"]["ann_mj"],
            )
        )
        lines.append(
            f"| {row['seed']} | {share['float']} | {share['quantised']} | {share['lava']} ({row['clips']['lava']}) "
            f"| {share['ann']} | {share['linear_events']} | {share['trivial']} | {share['chance']} "
            f"| {100 * row['label_agreement']:.1f} % "
            f"| {row['lava']['compared_spikes']:,} | {row['lava']['mismatched_spikes']} | {energy} "
            f"| {row['seconds']:.0f} |"
        )
    means = [f"{100 * result['mean'][name]:.1f} ± {100 * result['spread'][name]:.1f} %" for name in NAMES]
    lines.append(f"| mean ± sd | {' | '.join(means)} | | | | | |")
    text = path.read_text()
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n" + "\n".join(lines) + f"\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
