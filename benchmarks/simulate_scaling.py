"""Cost against work: milliseconds and memory of the simulator over input size, steps, batch, density and clips.

Every point is measured in a process of its own (simulate_point.py), so that the memory high-water mark is that of the
point. The network is Table I's ``puresnn``: 0.4snn without the gray first frame, which would hide the density.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from simulate_parts import ONE_THREAD, build_subject, random_clips, rate_threshold, summary

from hw_targets.loihi2.chip import ChipLayer
from hw_targets.registry import deploy_target
from neuroemo.models.emotion import EmotionSpec, spec_by_name

Log = Callable[[str], None]
PATHS = ("auto", "dense", "event")
CHILD = Path(__file__).resolve().parent / "simulate_point.py"


@dataclass(frozen=True, slots=True)
class Extent:
    """What is varied, one axis at a time, around ``size``, ``steps``, one clip and ``density``.

    Over the sizes the hidden layer has ``hidden_over_size`` neurons: at 256 pixels the folded weights of 1,024 would be
    118 million, and the network itself would be what fills the memory.
    """

    size: int
    steps: int
    density: float
    sizes: tuple[int, ...]
    step_counts: tuple[int, ...]
    batches: tuple[int, ...]
    densities: tuple[float, ...]
    clips: tuple[int, ...]
    clip_size: int
    clip_steps: int
    clip_batch: int
    budget_s: float
    channels: tuple[int, ...] = (32, 32, 32)
    hidden: int = 1024
    hidden_over_size: int = 256


FULL = Extent(
    size=128, steps=68, density=0.1, sizes=(32, 64, 128, 256), step_counts=(16, 32, 64, 128, 256),
    batches=(1, 2, 4, 8, 16, 32), densities=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0), clips=(20, 200, 2000),
    clip_size=32, clip_steps=16, clip_batch=16, budget_s=4.0,
)  # fmt: skip
QUICK = Extent(
    size=32, steps=8, density=0.1, sizes=(24, 32), step_counts=(4, 8), batches=(1, 2), densities=(0.05, 0.5),
    clips=(4, 12), clip_size=32, clip_steps=4, clip_batch=4, budget_s=0.2, channels=(8, 8, 8), hidden=64,
    hidden_over_size=16,
)  # fmt: skip


def measure_scaling(extent: Extent, rates: tuple[float, ...], folder: Path, log: Log) -> dict[str, Any]:
    """Return one list of points per axis: x, milliseconds per step and clip of each path, peak memory in MB."""
    bench = Bench(extent, rates, folder, log)
    base = {"size": extent.size, "steps": extent.steps, "batch": 1, "density": extent.density, "hidden": extent.hidden}
    narrow = base | {"hidden": extent.hidden_over_size}
    return {
        "size": [bench.point(x, narrow | {"size": x}) for x in extent.sizes],
        "steps": [bench.point(x, base | {"steps": x}) for x in extent.step_counts],
        "batch": [bench.point(x, base | {"batch": x}) for x in extent.batches],
        "density": [bench.point(x, base | {"density": x}) for x in extent.densities],
        "clips": [bench.many(x) for x in extent.clips],
        "base": base,
        "hidden_over_size": extent.hidden_over_size,
        "idle_mb": bench.idle_mb(),
    }


class Bench:
    """Builds networks and clips as files, and runs one child process per point."""

    def __init__(self, extent: Extent, rates: tuple[float, ...], folder: Path, log: Log) -> None:
        self.extent = extent
        self.rates = rates
        self.folder = folder
        self.log = log
        self.first_layers: dict[Path, ChipLayer] = {}

    def point(self, x: float, setting: dict[str, Any]) -> dict[str, Any]:
        """Return one point: ``batch`` clips in one call, all three paths in turn."""
        clips = self._clips(setting["size"], setting["batch"], setting["steps"], setting["density"])
        network = self._network(setting["size"], setting["hidden"])
        job = {
            "network": str(network),
            "clips": str(clips),
            "batch": setting["batch"],
            "threshold": self._threshold(network, setting["size"], setting["density"]),
            "paths": PATHS,
            "budget_s": self.extent.budget_s,
        }
        found = self._child(job)
        clips.unlink()
        row = {"x": x, **_row(found)}
        self.log(f"{setting}: " + ", ".join(f"{path} {row[key]:.2f} ms" for path, key in KEYS.items())
                 + f", {row['peak_mb']:.0f} MB")  # fmt: skip
        return row

    def many(self, count: int) -> dict[str, Any]:
        """Return one point with many small clips, streamed in batches: memory must not grow with their number."""
        extent = self.extent
        clips = self._clips(extent.clip_size, count, extent.clip_steps, extent.density)
        job = {
            "network": str(self._network(extent.clip_size, extent.hidden)),
            "clips": str(clips),
            "batch": extent.clip_batch,
            "threshold": None,
            "paths": ["auto"],
            "budget_s": 0.0,
        }
        row = {"x": count, **_row(self._child(job))}
        megabytes = clips.stat().st_size / 1e6
        clips.unlink()
        self.log(f"{count} clips of {extent.clip_size} pixels: {row['ms_per_step']:.3f} ms, {row['peak_mb']:.0f} MB")
        return row | {"clips_file_mb": megabytes}

    def idle_mb(self) -> float:
        """Return the memory of a process that has imported everything and simulated nothing."""
        return float(self._child({"network": None})["peak_mb"])

    def _child(self, job: dict[str, Any]) -> dict[str, Any]:
        path = self.folder / "job.json"
        path.write_text(json.dumps(job))
        command = [sys.executable, str(CHILD), str(path)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **ONE_THREAD})
        return json.loads(done.stdout.splitlines()[-1])

    def _spec(self, size: int, hidden: int) -> EmotionSpec:
        return spec_by_name("puresnn", size=size, steps=16, channels=self.extent.channels, hidden=hidden)

    def _network(self, size: int, hidden: int) -> Path:
        path = self.folder / f"{size}-{hidden}.net"
        if path not in self.first_layers:
            subject = build_subject(self._spec(size, hidden), self.extent.density, self.rates)
            deploy_target("loihi2").write(subject.chip, path)
            self.first_layers[path] = subject.chip.layers[0]
        return path

    def _threshold(self, network: Path, size: int, density: float) -> int | None:
        """Return the first layer's threshold at which it fires as often as at the usual density; None: as it is."""
        if density == self.extent.density:
            return None
        clips = random_clips(self._spec(size, self.extent.hidden), 1, density, seed=1)
        return rate_threshold(self.first_layers[network], clips, self.rates[0])

    def _clips(self, size: int, count: int, steps: int, density: float) -> Path:
        """Write clips uint8 [N, T, 2, H, W] one after the other and return the file."""
        path = self.folder / "clips.npy"
        rng = np.random.default_rng(2)
        shape = (count, steps, 2, size, size)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for clip in range(count):
            out[clip] = rng.random(shape[1:], dtype=np.float32) < density
        del out
        return path


KEYS = {"auto": "ms_per_step", "dense": "dense_ms", "event": "event_ms"}


def _row(found: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {key: None for key in KEYS.values()}
    for path, times in found["seconds_per_step"].items():
        row[KEYS[path]] = summary(times, 1e3)["median"]
    spread = {KEYS[path]: summary(times, 1e3) for path, times in found["seconds_per_step"].items()}
    return row | {"peak_mb": found["peak_mb"], "rates": found["rates"], "spread": spread}
