"""Counts made by hand: networks whose every integer is known because it was written down, not counted."""

from dataclasses import replace

import numpy as np

from neuroemo.profiling.counting.counts import Geometry, LayerCounts, OpCounts, squares_of
from neuroemo.profiling.counting.policy import NeuronRule

LIF = NeuronRule("LIF", macs=1, acs=1, reset_acs=1)
HARD_RESET = NeuronRule("IF, hard reset", macs=0, acs=1)


def table(acs, macs=0, spikes_in=0, spikes_out=0):
    """A table int64 [T, S, 4] from arrays [T, S] or numbers."""
    columns = np.broadcast_arrays(acs, macs, spikes_in, spikes_out)
    return np.stack(columns, axis=-1).astype(np.int64)


def synapse(counts, dense_per_step, *, geometry=None, elements_per_step=0):
    steps, samples = counts.shape[:2]
    return LayerCounts(
        "synapse",
        "Linear",
        counts,
        dense_macs=dense_per_step * steps * samples,
        synapses=dense_per_step,
        elements=elements_per_step * steps * samples,
        calls=steps,
        squares=squares_of(counts),
        geometry=geometry,
    )


def neurons(spikes_out, number, rule):
    fired = np.asarray(spikes_out)
    counts = table(np.zeros_like(fired), spikes_out=fired)
    return LayerCounts("neuron", "LIFNode", counts, neuron_updates=number * fired.size, calls=len(fired), rule=rule)


def network(layers, **other):
    steps, samples = next(iter(layers.values())).table.shape[:2]
    counts = OpCounts(layers, samples, steps, **other)
    return OpCounts(layers, samples, steps, squares=squares_of(counts.total.table), **other)


def tiny_snn(rule=LIF):
    """Two inputs, ten outputs, T = 3, one sample: a gray value, two spikes, one spike; the neurons fire 0, 2, 1."""
    events = table(acs=[[0], [20], [10]], macs=[[10], [0], [0]], spikes_in=[[1], [2], [1]])
    return network({"fc": synapse(events, 20), "fc.neurons": neurons([[0], [2], [1]], 10, rule)})


def tiny_ann(samples=1):
    """Six inputs, ten outputs, one pass: two values of 1 and two others are not zero."""
    events = table(np.full((1, samples), 20), np.full((1, samples), 20), np.full((1, samples), 4))
    return network({"fc": synapse(events, 60)})


def random_snn(seed, steps=5, samples=7, layers=2, rule=LIF, width=12):
    """Dense layers of random size with random events; integers only, nothing counted."""
    rng = np.random.default_rng(seed)
    made = {}
    for index in range(layers):
        inputs, outputs = (int(size) for size in rng.integers(3, width, 2))
        spikes = rng.integers(0, inputs + 1, (steps, samples))
        graded = rng.binomial(spikes, 0.3 if index == 0 else 0.0)
        events = table((spikes - graded) * outputs, graded * outputs, spikes)
        shape = Geometry("dense", (inputs,), (outputs,), weights=inputs * outputs)
        made[f"fc{index}"] = synapse(events, inputs * outputs, geometry=shape, elements_per_step=inputs)
        made[f"fc{index}.neurons"] = neurons(rng.integers(0, outputs + 1, (steps, samples)), outputs, rule)
    return network(made)


def random_ann(seed, samples=7, inputs=40, outputs=10):
    rng = np.random.default_rng(seed)
    active = rng.integers(0, inputs + 1, (1, samples))
    shape = Geometry("dense", (inputs,), (outputs,), weights=inputs * outputs)
    events = table(0, active * outputs, active)
    return network({"fc": synapse(events, inputs * outputs, geometry=shape, elements_per_step=inputs)})


def paper_snn(steps):
    """Table II with the printed numbers: 9.1M operations in the first layer, 47.9M behind it, a gray first frame."""
    first = np.arange(steps)[:, None] == 0
    one = table(np.where(first, 0, 9_100_000), np.where(first, 9_100_000, 0), 1)
    rest = table(np.full((steps, 1), 47_900_000), 0, 1)
    return network({"conv1": synapse(one, 9_100_000), "others": synapse(rest, 47_900_000)})


def paper_ann():
    """Table II: 310.9M and 47.9M multiply-accumulates of one pass over 68 stacked frames."""
    layers = {"conv1": 310_900_000, "others": 47_900_000}
    return network({name: synapse(table(np.zeros((1, 1)), size, 1), size) for name, size in layers.items()})


def unplaced(counts, name):
    """The same counts with one layer of which nobody knows when it ran."""
    return replace(counts, layers=counts.layers | {name: replace(counts.layers[name], placed=False)})
