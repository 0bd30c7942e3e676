"""What one neuron of each layer does in the three worlds: model, folded graph and chip, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.compile import Compiled
from export.reference import run_graph
from hw_targets.graph import Array


def membrane_traces(compiled: Compiled, clip: Array, model: dict[str, Array], number: int = 0) -> list[dict[str, Any]]:
    """Return the potentials of one chosen neuron of every layer on one ``clip`` [T, 1, ...], in units of the model.

    Potentials are taken before the reset and measured from rest. Every world is fed the model's spikes, so that the
    curves of a layer differ by what happened in that layer alone; the chip's is v / (64 scale payload).
    """
    deployment = compiled.deployment
    chip_layers = {layer.name: layer for layer in deployment.chip.layers}
    names = tuple(node.name for node in compiled.captured.neurons() if node.name in chip_layers)
    shown = deployment.chip_input(clip)[0] if deployment.binarised else clip
    teacher = model | {
        name: spikes
        for name, spikes in run_graph(compiled.folded, shown, teacher=model).spikes.items()
        if name not in model
    }
    original = run_graph(compiled.captured, clip, teacher=model, probe=names)
    folded = run_graph(compiled.folded, shown, teacher=teacher, probe=names)
    chip = deployment.simulate(clip, teacher=teacher, probe=names)
    rest = {node.name: node.rest for node in compiled.captured.neurons()}
    threshold = {node.name: node.threshold for node in compiled.folded.neurons()}
    traces = []
    for name in names:
        at = choose_neuron(model[name][:, 0])
        where: Any = (slice(None), 0, *at)
        unit = 64.0 * chip_layers[name].scale * chip_layers[name].payload
        traces.append(
            {
                "layer": name,
                "neuron": [int(i) for i in at],
                "clip": number,
                "threshold": threshold[name],
                "model": _list(original.membrane[name][where] - rest[name]),
                "folded": _list(folded.membrane[name][where]),
                "chip": _list(chip.membrane[name][where] / unit),
                "spikes_model": [int(s) for s in model[name][where]],
                "spikes_chip": [int(s) for s in chip.spikes[name][where]],
            }
        )
    return traces


def choose_neuron(spikes: Array) -> tuple[int, ...]:
    """Return the index of a neuron of medium activity among those that fire, in spikes [T, ...].

    >>> choose_neuron(np.array([[0, 1, 1], [0, 0, 1], [0, 0, 1]]))
    (1,)
    """
    counts = spikes.sum(axis=0, dtype=np.int64)
    firing = np.flatnonzero(counts)
    if not firing.size:
        return tuple(int(i) for i in np.unravel_index(0, counts.shape))
    ranked = firing[np.argsort(counts.reshape(-1)[firing], kind="stable")]
    chosen = ranked[(len(ranked) - 1) // 2]
    return tuple(int(i) for i in np.unravel_index(int(chosen), counts.shape))


def _list(values: Array) -> list[float]:
    return [round(float(value), 6) for value in values]
