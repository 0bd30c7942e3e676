"""Graphs to be written as NIR, and readers of what was written."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from hw_targets.graph import LIF, AvgPool2d, Conv2d, Flatten, Graph, Linear

nir = pytest.importorskip("nir")
torch.set_num_threads(1)


STEPS = 6


def lattice(rng, *shape):
    """Weights in sixteenths: sums are exact in float32, so that every framework sees the same potentials."""
    return rng.integers(-12, 16, shape) / 16


def small(dt_us=1000.0, inclusive=True, seed=0, gain=1.0, **neuron):
    """A graph in the form that ``lower`` makes: synapses, each followed by its neurons."""
    rng = np.random.default_rng(seed)
    neuron = {"threshold": 0.75, "inclusive": inclusive, "gain": gain, "decay": 0.5, **neuron}
    nodes = (
        Conv2d("features.0", lattice(rng, 3, 2, 3, 3), lattice(rng, 3), stride=(2, 2), padding=(1, 1)),
        LIF("features.1", **neuron),
        Flatten("flatten"),
        Linear("fc.0", lattice(rng, 6, 48), lattice(rng, 6)),
        LIF("fc.1", **neuron),
        Linear("fc.2", lattice(rng, 4, 6)),
        LIF("fc.3", **neuron),
    )
    return Graph(nodes, (2, 8, 8), STEPS, dt_us, voting=2)


def pooled(**neuron):
    """A graph as it is captured, with an average pool between neurons and synapses."""
    rng = np.random.default_rng(3)
    neuron = {"threshold": 0.75, "gain": 1.0, "decay": 0.5, **neuron}
    nodes = (
        Conv2d("c", lattice(rng, 3, 2, 3, 3), None, padding=(1, 1)),
        LIF("a", **neuron),
        AvgPool2d("p", (2, 2), (2, 2)),
        Flatten("f"),
        Linear("l", lattice(rng, 5, 48)),
        LIF("b", **neuron),
    )
    return Graph(nodes, (2, 8, 8), STEPS, 1000.0)


def clips_for(graph, count=3, seed=1, rate=0.4):
    rng = np.random.default_rng(seed)
    return (rng.random((graph.steps, count, *graph.input_shape)) < rate).astype(np.float32)


def assert_same_graph(found, wanted):
    plain = [f.name for f in fields(Graph) if f.name not in ("nodes", "shapes")]
    assert [getattr(found, name) for name in plain] == [getattr(wanted, name) for name in plain]
    assert [type(node) for node in found.nodes] == [type(node) for node in wanted.nodes]
    for ours, theirs in zip(found.nodes, wanted.nodes, strict=True):
        for field in fields(theirs):
            np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name)


def assert_busy(spikes):
    for name, fired in spikes.items():
        assert 0.001 < fired.mean() < 0.999, f"{name} is silent or saturated: nothing is shown"
