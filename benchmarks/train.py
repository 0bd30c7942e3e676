"""How fast and in how much memory a network trains: the fused engine beside the plain SpikingJelly loop.

``python benchmarks/train.py [--repetitions 5] [--batch 8] [--quick]`` measures one training step (forward, backward,
optimiser) on one thread, both engines in turns in one process, and the peak memory of a process that trains with one
of them; it compares gradients with SpikingJelly's own in float32 and float64. Run it once with each environment: the
file ``benchmarks/results/train.json`` keeps one entry per version of torch, and ``ratios`` are the worst over these.

SpikingJelly's network is the one that ``build_network`` makes: multi-step mode, its torch backend, as it comes.
The weights are random and scaled so that all layers fire; 5 % of the pixels have an event at each step and polarity.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simulate_parts import ONE_THREAD, machine

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "train.json"
PAPER = "0.4snn"
LARGE = ("mpsnn", "baseline")
SMALL = ("0.4snn@48", "mpsnn@48", "baseline@48", "plif-fang@48")


def main() -> None:
    """Measure everything with this environment, write the file, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="only small frames; the file is not written")
    args = parser.parse_args()
    rows = {}
    for name, row in measure(args.batch, args.repetitions, quick=args.quick):
        rows[name] = row
        print(line(name, row), flush=True)
    if args.quick:
        return
    kept = json.loads(RESULT.read_text())["environments"] if RESULT.exists() else {}
    spikingjelly = version("spikingjelly")
    kept[f"torch {version('torch')}"] = {"machine": machine() | {"spikingjelly": spikingjelly}, "rows": rows}
    aside = RESULT.with_suffix(".partial")
    aside.write_text(json.dumps({"ratios": ratios(kept), "environments": kept}, indent=1) + "\n")
    os.replace(aside, RESULT)


def measure(batch: int, repetitions: int, *, quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield one row per network and batch; memory and what costs only at the paper's size.

    Gradients at the paper's size are compared for one clip: SpikingJelly in float64 needs twice its float32 memory.
    """
    for model in SMALL:
        timed = point("time", model, batch, repetitions)
        yield f"{model} batch {batch}", timed | {"gradients": point("gradients", model, batch)}
    if quick:
        return
    for model in LARGE:
        timed = point("time", model, 1, repetitions)
        yield f"{model} batch 1", timed | {"gradients": point("gradients", model, 1)}
    row = point("time", PAPER, batch, repetitions)
    for engine in ("fused", "spikingjelly"):
        row[f"memory_{engine}"] = point(f"memory-{engine}", PAPER, batch)
    row["gradients"] = point("gradients", PAPER, 1)
    row["parts"] = point("parts", PAPER, batch)
    yield f"{PAPER} batch {batch}", row


def point(what: str, model: str, batch: int, repetitions: int = 1) -> dict[str, Any]:
    """Run one measurement in a process of its own, on one thread."""
    command = [sys.executable, str(HERE / "train_point.py"), what, model, str(batch), str(repetitions)]
    run = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{what} of {model}, batch {batch}, ended with status {run.returncode}:\n{run.stderr[-2000:]}")
    return dict(json.loads(run.stdout.splitlines()[-1]))


def ratios(environments: dict[str, Any]) -> dict[str, float]:
    """Return the figures of the paper's network: of several environments the worst.

    ``max_gradient_error`` is against SpikingJelly's own network in float64, ``spikingjelly_gradient_error`` is that
    of SpikingJelly in float32: the two in float32 cannot agree better than both agree with the truth.
    """
    rows = [row for entry in environments.values() for name, row in entry["rows"].items() if "memory_fused" in row]
    gradients = [row["gradients"] for entry in environments.values() for row in entry["rows"].values()]
    return {
        "spikingjelly_over_ours": min(row["spikingjelly_over_ours"] for row in rows),
        "peak_memory_gib": max(row["memory_fused"]["peak_gib"] for row in rows),
        "spikingjelly_peak_memory_gib": max(row["memory_spikingjelly"]["peak_gib"] for row in rows),
        "max_gradient_error": max(found["fused against float64"]["largest_error"] for found in gradients),
        "max_gradient_difference": max(found["fused against spikingjelly"]["largest_error"] for found in gradients),
        "spikingjelly_gradient_error": max(
            found["spikingjelly against float64"]["largest_error"] for found in gradients
        ),
    }


def line(name: str, row: dict[str, Any]) -> str:
    """Return one row of the table."""
    seconds = row["seconds_per_clip"]
    memory = [f"{row[f'memory_{engine}']['peak_gib']:.1f}" for engine in ("spikingjelly", "fused") if "parts" in row]
    errors = [f"{key}: {value['largest_error']:.1e}" for key, value in row["gradients"].items() if key != "mean_vote"]
    return (
        f"{name:<22} spikingjelly {seconds['spikingjelly']:.3f} s, fused {seconds['fused']:.3f} s per clip, "
        f"{row['spikingjelly_over_ours']:.1f} times as fast; {'; '.join(errors)}"
        + (f"; peak {memory[0]} and {memory[1]} GiB" if memory else "")
    )


if __name__ == "__main__":
    main()
