"""Counts made by hand for the tests of the memory models: totals only, spread over steps and samples in no way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neuroemo.profiling.counting.counts import Geometry, LayerCounts, OpCounts
from neuroemo.profiling.counting.policy import NeuronRule

IF = NeuronRule("integrate and fire", macs=0, acs=1, reset_acs=1)
LIF = NeuronRule("leaky integrate and fire", macs=1, acs=1)


def table(acs: int = 0, macs: int = 0, spikes_in: int = 0, spikes_out: int = 0) -> Any:
    return np.array([[[acs, macs, spikes_in, spikes_out]]], dtype=np.int64)


def synapses(
    geometry: Geometry, *, dense: int, runs: int = 1, acs: int = 0, macs: int = 0, spikes: int = 0
) -> LayerCounts:
    """A layer evaluated ``runs`` times, with ``dense`` connections."""
    elements = runs * math.prod(geometry.input_shape)
    return LayerCounts(
        kind="synapse",
        type=geometry.kind,
        table=table(acs, macs, spikes),
        dense_macs=dense * runs,
        synapses=dense,
        elements=elements,
        geometry=geometry,
    )


def neurons(updates: int, spikes: int, rule: NeuronRule | None = IF) -> LayerCounts:
    return LayerCounts("neuron", "neurons", table(spikes_out=spikes), neuron_updates=updates, rule=rule)


def of(layers: dict[str, LayerCounts], *, samples: int = 1, steps: int = 1) -> OpCounts:
    return OpCounts(layers, samples, steps)


# Input 1x4x4, kernel 3x3 without padding, 2 output channels of 2x2: every output reads 9 inputs, 72 connections.
CONV = Geometry("conv", (1, 4, 4), (2, 2, 2), (3, 3), (1, 1), weights=18, biases=2)
# 2 steps, 3 spikes: a corner reaches 1 window, an edge 2, an inner pixel 4, each in 2 channels: 2 + 4 + 8 = 14.
CONV_COUNTS = of({"conv": synapses(CONV, dense=72, runs=2, acs=14, spikes=3), "lif": neurons(16, 5, LIF)}, steps=2)
# 10 inputs to 4 outputs without bias, 3 steps, 6 spikes: 24 events.
DENSE = Geometry("dense", (10,), (4,), weights=40)
DENSE_COUNTS = of({"fc": synapses(DENSE, dense=40, runs=3, acs=24, spikes=6), "if": neurons(12, 2)}, steps=3)
