"""Lava as the judge: run a netx file in Lava's own CPU backend, safely.

An exception inside a Lava process hangs the run for ever, and killing only the parent leaves orphans. So Lava runs in
a process group of its own (``lava/group.py``), whose processes report what they raise, and which ends with the caller,
however that ends. How the clips are laid out in time is ``lava/plan.py``; what runs there is ``lava/worker.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.lava.group import LavaGroup, missing_lava
from hw_targets.loihi2.lava.plan import LavaPlan, Mode, plan_runs
from hw_targets.loihi2.simulation.encode import check_shape, encode_input
from hw_targets.loihi2.simulation.record import ChipRun, Probe, chosen_neurons
from hw_targets.loihi2.simulation.reset import Reset

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class LavaRun:
    """What Lava computed, in the form of our simulator's runs, and how long a step took (seconds)."""

    run: ChipRun
    seconds_per_step: float


def lava_available() -> bool:
    """Whether lava-dl can be imported, found without importing it."""
    from importlib.util import find_spec

    try:
        return find_spec("lava.lib.dl.netx") is not None
    except ModuleNotFoundError:
        return False


def run_lava(
    chip: ChipGraph,
    file: Path,
    clips: Array,
    *,
    timeout_s: float = 600.0,
    mode: Mode = "aligned",
    probe: Probe = (),
    progress: Progress | None = None,
    patch: Literal["", "convolution"] = "",
    reset: Reset | None = None,
) -> LavaRun:
    """Run clips [T, N, ...] through Lava's fixed-point models of the netx ``file`` and record every layer.

    ``chip`` is the same network as we read it; its populations are run, and what follows them in the file is not.
    ``mode`` "aligned" is frame time, all layers on the same frame, "pipeline" Lava's own clock (``lava/plan.py``).
    ``probe`` names the layers whose synaptic sum, u and v before the reset are recorded (of sigma-delta neurons: sum,
    sigma, activation); as a mapping it gives the neurons, numbered in C, H, W order, or None for all of them.
    ``progress`` is called with steps done, steps in all, and what is being done. ``patch`` "convolution" replaces
    Lava's convolution by a fast one with the same bits, for benchmarks. ``reset`` is handed to netx, in pipeline mode.

    Raises:
        InputError: clips that cannot be run (``encode_input``), or a probe that names no layer or neuron.
        UnsupportedError: E227, Lava cannot show the aligned answer of this network.
        MissingDependencyError: E601, Lava is not installed.
        VerificationError: E501, Lava failed, or did not finish in time.
    """
    if not lava_available():
        raise missing_lava("lava-dl is not installed")
    chosen = chosen_neurons(chip, probe)
    check_shape(chip, clips)
    plan = plan_runs(chip, int(clips.shape[0]), int(clips.shape[1]), mode, reset)
    values = encode_input(chip, clips)
    with LavaGroup() as group:
        np.save(group.folder / "input.npy", np.ascontiguousarray(values.swapaxes(0, 1), dtype=np.int32))
        (group.folder / "job.json").write_text(json.dumps(_job(chip, file, plan, chosen, patch)))
        group.run(timeout_s, _Counter(group.folder, chip, plan, progress))
        seconds = float(json.loads((group.folder / "result.json").read_text())["seconds_per_step"])
        return LavaRun(_collect(group.folder, chip, plan, chosen), seconds)


def _job(chip: ChipGraph, file: Path, plan: LavaPlan, chosen: Mapping[str, Array | None], patch: str) -> dict[str, Any]:
    """Return what the worker has to know, as JSON."""
    graded = chip.payload > 1 or chip.first_frame == "integers"
    return {
        "file": str(file.resolve()),
        "runs": plan.runs,
        "run_steps": plan.run_steps,
        "run_clips": plan.run_clips,
        "reset_interval": plan.reset_interval,
        "reset_offset": plan.reset_offset,
        "first_takes_input": chip.layers[0].kind == "input",
        # Any number of bits above 0 makes Lava multiply; it checks no width.
        "message_bits": max(chip.payload.bit_length(), 1) if graded else 0,
        "patch": patch,
        "layers": [
            {
                "name": layer.name,
                "neurons": layer.neurons,
                "packed": layer.sends_spikes,
                "probe": _indices(chosen[layer.name]) if layer.name in chosen else False,
            }
            for layer in chip.layers
        ],
    }


def _indices(neurons: Array | None) -> bool | list[int]:
    return True if neurons is None else [int(n) for n in neurons]


class _Counter:
    """Tells how many steps are done, by how long the last layer's record has become."""

    def __init__(self, folder: Path, chip: ChipGraph, plan: LavaPlan, progress: Progress | None) -> None:
        self.file = folder / f"layer{len(chip.layers) - 1}.bin"
        self.row, self.total, self.progress = _row_bytes(chip.layers[-1]), plan.total, progress
        self.told = -1

    def __call__(self) -> None:
        if self.progress is None:
            return
        done = self.file.stat().st_size // self.row if self.file.exists() else 0
        if done != self.told:
            self.told = done
            self.progress(done, self.total, "Lava steps" if done else "starting Lava")


def _row_bytes(layer: ChipLayer) -> int:
    return (layer.neurons + 7) // 8 if layer.sends_spikes else 4 * layer.neurons


def _collect(folder: Path, chip: ChipGraph, plan: LavaPlan, chosen: Mapping[str, Array | None]) -> ChipRun:
    """Read what the worker recorded, in frame time."""
    spikes = {
        layer.name: plan.frames(_messages(folder / f"layer{index}.bin", layer), index)
        for index, layer in enumerate(chip.layers)
    }
    probed: dict[str, dict[str, Array]] = {"drive": {}, "current": {}, "membrane": {}}
    for index, layer in enumerate(chip.layers):
        if layer.name in chosen:
            neurons = chosen[layer.name]
            shape = layer.output_shape if neurons is None else neurons.shape
            rows = np.fromfile(folder / f"probe{index}.bin", dtype=np.int32).reshape(-1, 3, *shape)
            for number, values in enumerate(probed.values()):
                values[layer.name] = plan.frames(rows[:, number], index)
    counts = {
        name: np.count_nonzero(values.reshape(*values.shape[:2], -1), axis=2).astype(np.int64)
        for name, values in spikes.items()
    }
    return ChipRun(spikes=spikes, counts=counts, **probed)


def _messages(file: Path, layer: ChipLayer) -> Array:
    """Read a recorder's file: uint8 spikes or int32 messages, [steps, ...] in C, H, W order."""
    if not layer.sends_spikes:
        return np.fromfile(file, dtype=np.int32).reshape(-1, *layer.output_shape)
    packed = np.fromfile(file, dtype=np.uint8).reshape(-1, _row_bytes(layer))
    return np.unpackbits(packed, axis=1, count=layer.neurons).reshape(-1, *layer.output_shape)
