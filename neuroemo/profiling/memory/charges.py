"""How often an SNN and an ANN compute, read, write and address under Lemaire et al. (ICONIP 2022), in counts.

One ``Charge`` per layer and part; ``lemaire.py`` prices them. Equation numbers are those of the paper. An SNN
layer is its synapses and the neurons behind them, and each is charged under its own name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hw_targets.finding import Finding, InputError, UnsupportedError
from neuroemo.profiling.counting.counts import Geometry, LayerCounts, OpCounts
from neuroemo.profiling.memory.rows import evaluations

Unit = Literal["add", "mac", "address_add", "address_mac", "access", "message"]


@dataclass(frozen=True, slots=True)
class Charge:
    """``count`` operations or accesses of one layer, over all steps and samples.

    ``words`` is the size of the memory that an "access" goes to; a "message" goes to a queue of spikes.
    Counts are integers, except in the approximation by the paper's own formulas.
    """

    layer: str
    part: str
    unit: Unit
    count: float
    words: int = 0


def spiking_charges(counts: OpCounts, *, approximate: bool) -> list[Charge]:
    """Return what an SNN is charged: equations 1.3, 1.4, 2.3, 2.4, 5, 7 to 10, 13 to 15, 16 and 17.

    With ``approximate`` the fan-out of a convolution is the paper's ``ceil(K/S)`` (operations) and ``K``
    (memory and addressing) per axis instead of the counted one.

    Raises:
        UnsupportedError: ``approximate`` for a transposed convolution, whose fan-out the formula does not describe.
    """
    if approximate:
        _check_approximation(counts)
    listed = list(counts.layers.items())
    last_neurons = max((index for index, (_, layer) in enumerate(listed) if layer.kind == "neuron"), default=-1)
    charges: list[Charge] = []
    # Neurons of one evaluation: both numbers shrink alike when samples stop early, so that memories do not.
    calls = next((evaluations(counts, layer) for _, layer in listed if layer.kind == "synapse"), 0)
    for index, (name, layer) in enumerate(listed):
        if layer.kind == "synapse" and layer.geometry is not None:
            calls = evaluations(counts, layer) or calls
            charges += _spiking_synapses(counts, name, layer, layer.geometry, approximate)
            if index > last_neurons:
                outputs = evaluations(counts, layer) * math.prod(layer.geometry.output_shape)
                charges.append(Charge(name, "output writes", "access", outputs, _outputs(layer.geometry)))
        elif layer.kind == "neuron":
            charges += _neurons(name, layer, -(-layer.neuron_updates // max(1, calls)))
    return charges


def dense_charges(counts: OpCounts, *, approximate: bool, reuse: float) -> list[Charge]:
    """Return what an ANN is charged: equations 1.1, 1.2, 2.1, 2.2, 3, 4, 6, 11, 12, 16.1 and 17.1.

    Every connection is one multiply-accumulate with one weight read; a convolution reads its input as often, a
    dense layer each input once. ``reuse`` divides reads of inputs and weights by how often a fetched value is
    used; the paper has none. With ``approximate`` taps on padding are counted too.
    """
    if approximate:
        _check_approximation(counts)
    charges: list[Charge] = []
    for name, layer in counts.layers.items():
        if layer.kind == "synapse" and layer.geometry is not None:
            charges += _dense_synapses(counts, name, layer, layer.geometry, approximate, reuse)
    return charges


def _spiking_synapses(
    counts: OpCounts, name: str, layer: LayerCounts, shape: Geometry, approximate: bool
) -> Iterator[Charge]:
    operations: float = layer.acs + layer.macs
    accesses: float = operations
    graded = layer.macs / operations if operations else 0.0
    if approximate and shape.kind == "conv":
        windows = [math.ceil(kernel / stride) for kernel, stride in zip(shape.kernel, shape.stride, strict=True)]
        channels = shape.output_shape[0] // shape.groups
        operations = layer.spikes_in * math.prod(windows) * channels
        accesses = layer.spikes_in * math.prod(shape.kernel) * channels
        yield Charge(name, "accumulates", "add", operations * (1 - graded))
        yield Charge(name, "multiply-accumulates", "mac", operations * graded)
    else:
        yield Charge(name, "accumulates", "add", layer.acs)
        yield Charge(name, "multiply-accumulates", "mac", layer.macs)
    yield from _biases(counts, name, layer, shape)
    yield Charge(name, "spike queue reads", "message", layer.spikes_in)
    yield Charge(name, "weight reads", "access", accesses, shape.weights)
    yield Charge(name, "potential reads", "access", accesses, _outputs(shape))
    yield Charge(name, "potential writes", "access", accesses, _outputs(shape))
    # A spike is turned into the first position that it reaches: one multiplication per space axis.
    yield Charge(name, "addressing", "address_mac", layer.spikes_in * len(shape.kernel))
    yield Charge(name, "addressing", "address_add", accesses)


def _neurons(name: str, layer: LayerCounts, neurons: int) -> Iterator[Charge]:
    decays = layer.rule.macs if layer.rule else 0
    states = max(1, decays)
    yield Charge(name, "neuron updates", "mac", layer.neuron_updates * decays)
    yield Charge(name, "resets", "add", layer.spikes_out)
    yield Charge(name, "potential reads", "access", layer.neuron_updates * states, neurons * states)
    yield Charge(name, "potential writes", "access", layer.neuron_updates * states, neurons * states)
    yield Charge(name, "spike queue writes", "message", layer.spikes_out)


def _dense_synapses(
    counts: OpCounts, name: str, layer: LayerCounts, shape: Geometry, approximate: bool, reuse: float
) -> Iterator[Charge]:
    calls = evaluations(counts, layer)
    inputs, outputs = math.prod(shape.input_shape), math.prod(shape.output_shape)
    macs = layer.dense_macs
    if approximate and shape.kind == "conv":
        macs = calls * outputs * (shape.input_shape[0] // shape.groups) * math.prod(shape.kernel)
    yield Charge(name, "multiply-accumulates", "mac", macs)
    yield from _biases(counts, name, layer, shape)
    read = macs if shape.kernel else calls * inputs
    yield Charge(name, "input reads", "access", read / reuse, inputs)
    yield Charge(name, "weight reads", "access", macs / reuse, shape.weights)
    yield Charge(name, "output writes", "access", calls * outputs, outputs)
    if shape.kernel:
        tap_addresses = shape.output_shape[0] * math.prod(shape.kernel)
        yield Charge(name, "addressing", "address_add", calls * (inputs + outputs + tap_addresses))
    else:
        yield Charge(name, "addressing", "address_add", macs)


def _biases(counts: OpCounts, name: str, layer: LayerCounts, shape: Geometry) -> Iterator[Charge]:
    if shape.biases:
        outputs = evaluations(counts, layer) * _outputs(shape)
        yield Charge(name, "bias additions", "add", outputs)
        yield Charge(name, "bias reads", "access", outputs, shape.biases)


def _outputs(shape: Geometry) -> int:
    return math.prod(shape.output_shape)


def _check_approximation(counts: OpCounts) -> None:
    findings = [
        Finding(
            "E834",
            "error",
            name,
            "a transposed convolution, which the paper's approximation does not describe",
            "convolutions and dense layers",
            fix="price with approximate=False: the counted fan-out is exact for it",
        )
        for name, layer in counts.layers.items()
        if layer.geometry is not None and layer.geometry.kind == "transposed"
    ]
    if findings:
        raise UnsupportedError(findings)


def check_samples(counts: OpCounts) -> None:
    """Refuse counts of nothing.

    Raises:
        InputError: no sample or no layer with synapses.
    """
    if counts.samples < 1 or not any(layer.kind == "synapse" for layer in counts.layers.values()):
        found = f"{counts.samples} samples, {len(counts.layers)} layers"
        raise InputError(Finding("E832", "error", "counts", found, "1 sample, 1 layer with synapses"))
