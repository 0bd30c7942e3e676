"""One point of the cost of simulation, in a process of its own: ``python simulate_point.py JOB.json``.

The job names a netx file, a file of clips uint8 [N, T, C, H, W], how many clips make a batch, the ways to sum that are
compared, and for how many seconds. Prints one JSON object: seconds per step and clip of every repetition, mean rates,
and the largest resident memory of the process when the first way ("auto") had run and no other had begun.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.simulation.engine import Simulator
from hw_targets.registry import deploy_target

LEAST_RUNS = 4
"""Of the first way; the others run once less, because it is the one whose memory is looked at first."""


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job in this process."""
    torch.set_num_threads(1)
    if job["network"] is None:
        return {"peak_mb": peak_mb()}
    chip = _chip(job)
    first, *others = job["paths"]
    simulators = {first: Simulator(chip, path=first, threads=1)}
    seconds: dict[str, list[float]] = {path: [] for path in job["paths"]}
    run_file(simulators[first], job, limit=1)  # compiles, and measures where the two ways cost the same
    elapsed, rates = run_file(simulators[first], job)
    seconds[first].append(elapsed)
    peak = peak_mb()
    for path in others:
        simulators[path] = Simulator(chip, path=path, threads=1)
        run_file(simulators[path], job, limit=1)
    started = time.perf_counter()
    while job["budget_s"] and (len(seconds[first]) < LEAST_RUNS or time.perf_counter() - started < job["budget_s"]):
        for path, simulator in simulators.items():
            seconds[path].append(run_file(simulator, job)[0])
    return {"seconds_per_step": seconds, "rates": rates, "peak_mb": peak}


def _chip(job: dict[str, Any]) -> ChipGraph:
    steps = np.load(job["clips"], mmap_mode="r").shape[1]
    chip = deploy_target("loihi2").read(Path(job["network"]), steps=steps, first_frame="spikes", payload=1)
    if job["threshold"] is None:
        return chip
    return replace(chip, layers=(replace(chip.layers[0], threshold=job["threshold"]), *chip.layers[1:]))


def run_file(simulator: Simulator, job: dict[str, Any], limit: int | None = None) -> tuple[float, dict[str, float]]:
    """Stream the clips of a file through a simulator; return seconds per step and clip, and the mean rates."""
    total, frames = 0.0, 0
    sent: dict[str, int] = {}
    for clips in batches(Path(job["clips"]), job["batch"], limit):
        started = time.perf_counter()
        run = simulator.run(clips, record="counts")
        total += time.perf_counter() - started
        frames += clips.shape[0] * clips.shape[1]
        for name, count in run.counts.items():
            sent[name] = sent.get(name, 0) + int(count.sum())
    neurons = {layer.name: layer.neurons for layer in simulator.chip.layers}
    return total / frames, {name: count / frames / neurons[name] for name, count in sent.items()}


def batches(path: Path, size: int, limit: int | None = None) -> Iterator[Array]:
    """Yield clips [T, N, ...] of a file [N, T, ...]; no page of the file stays mapped between two batches."""
    count = len(np.load(path, mmap_mode="r"))
    count = count if limit is None else min(count, limit)
    for start in range(0, count, size):
        yield np.ascontiguousarray(np.load(path, mmap_mode="r")[start : min(start + size, count)].swapaxes(0, 1))


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))) + "\n")
