"""The network behind Table II of "Spiking Emotions", inferred: its layers, its sizes, and what it would count.

The paper prints neither the number of layers nor their widths. Of the plain stacks this is the one whose other
layers come out as 47.9M.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hw_targets.graph import window_count
from neuroemo.profiling.counting.counts import ACS, MACS, SPIKES_IN, SPIKES_OUT, Geometry, LayerCounts, OpCounts
from neuroemo.profiling.counting.fanout import conv_fan_out, dense_macs, linear_fan_out
from neuroemo.profiling.counting.policy import NeuronRule
from neuroemo.profiling.omissions import Dimensions

ARCHITECTURE_TEXT = (
    "2x128x128 - {32C3 (no padding) - BN - PLIF - AvgPool2} x 3 - FC 6272->1024 - PLIF - FC 1024->20 - "
    "PLIF - voting 10 per class; ANN twin: 68 frames as channels, FC 1024->2. Inferred, not printed in the "
    "paper: chosen because its other layers cost 47.9M; other stacks fit as well."
)

PLIF = NeuronRule("parametric leaky integrate and fire", macs=1, acs=1)
"""At inference the learned decay is a constant: one multiply-accumulate, and one comparison."""


@dataclass(frozen=True, slots=True)
class PaperArchitecture:
    """The inferred network: stages of {convolution without padding, pool}, a hidden and a voting layer."""

    size: int = 128
    polarities: int = 2
    steps: int = 68
    channels: tuple[int, ...] = (32, 32, 32)
    kernel: int = 3
    pool: int = 2
    hidden: int = 1024
    voting_neurons: int = 20
    classes: int = 2

    def layer_macs(self, inputs: int, outputs: int) -> list[tuple[str, int]]:
        """Return (name, dense MACs of one pass) of every layer with synapses, counted by its fan-out map.

        >>> [macs for _, macs in PaperArchitecture().layer_macs(inputs=2, outputs=20)]
        [9144576, 34292736, 7225344, 6422528, 20480]
        """
        rows: list[tuple[str, int]] = []
        side = self.size
        for index, width in enumerate(self.channels):
            fan_out = conv_fan_out((inputs, side, side), width, (self.kernel, self.kernel))
            rows.append((f"conv{index + 1}", dense_macs(fan_out)))
            side = window_count(window_count(side, self.kernel, 1), self.pool, self.pool)
            inputs = width
        widths = (inputs * side * side, self.hidden, outputs)
        for index, pair in enumerate(pairwise(widths)):
            rows.append((f"fc{index + 1}", dense_macs(linear_fan_out(*pair))))
        return rows

    def dimensions(self) -> Dimensions:
        """Return the sizes that the analysis of omissions needs: neurons, normalised and pooled elements."""
        side, normalised, pooled = self.size, 0, 0
        for width in self.channels:
            side = window_count(side, self.kernel, 1)
            normalised += width * side * side
            side = window_count(side, self.pool, self.pool)
            pooled += width * side * side
        first, *middle, last = (macs for _, macs in self.layer_macs(self.polarities, self.voting_neurons))
        return Dimensions(
            steps=self.steps,
            positions=self.polarities * self.size * self.size,
            first=first,
            pooled_inputs=sum(middle),
            binary_inputs=last,
            hidden_weights=middle[-1],
            neurons=normalised + self.hidden + self.voting_neurons,
            normalised=normalised,
            pooled=pooled,
            window=self.pool * self.pool,
        )

    def geometries(self, inputs: int, outputs: int) -> list[Geometry]:
        """Return the shape of every layer with synapses; convolutions have the bias that normalisation folds into."""
        found: list[Geometry] = []
        side = self.size
        for width in self.channels:
            inner = window_count(side, self.kernel, 1)
            kernel = (self.kernel, self.kernel)
            shapes = (inputs, side, side), (width, inner, inner)
            found.append(
                Geometry("conv", *shapes, kernel, (1, 1), weights=inputs * width * self.kernel**2, biases=width)
            )
            side, inputs = window_count(inner, self.pool, self.pool), width
        for wide, narrow in pairwise((inputs * side * side, self.hidden, outputs)):
            found.append(Geometry("dense", (wide,), (narrow,), weights=wide * narrow))
        return found

    def spiking_counts(self, share: float) -> OpCounts:
        """Return what one clip would count if a share of input positions, and of neurons, spiked at every step.

        The first frame is gray: every input a multiply-accumulate. A pool passes on each spike of its window, so
        that pool x pool times as many reach the layer behind it as one neuron sends.
        """
        layers: dict[str, LayerCounts] = {}
        macs = self.layer_macs(self.polarities, self.voting_neurons)
        stages = zip(macs, self.geometries(self.polarities, self.voting_neurons), strict=True)
        for index, ((name, dense), shape) in enumerate(stages):
            pooled = 0 < index <= len(self.channels)
            rate = share * (self.pool**2 if pooled else 1)
            inputs, neurons = math.prod(shape.input_shape), math.prod(shape.output_shape)
            table = np.zeros((self.steps, 1, 4), dtype=np.int64)
            table[:, 0, ACS], table[:, 0, SPIKES_IN] = round(rate * dense), round(rate * inputs)
            if index == 0:
                table[0, 0] = 0
                table[0, 0, MACS], table[0, 0, SPIKES_IN] = dense, inputs
            layers[name] = _synapses(table, dense, shape)
            fired = np.zeros((self.steps, 1, 4), dtype=np.int64)
            fired[:, 0, SPIKES_OUT] = round(share * neurons)
            layers[f"{name}.neurons"] = LayerCounts(
                "neuron", "PLIF", fired, neuron_updates=neurons * self.steps, calls=self.steps, rule=PLIF
            )
        return OpCounts(layers, samples=1, steps=self.steps)

    def dense_counts(self) -> OpCounts:
        """Return what one clip counts on the ANN, whose frames are channels of one pass, every input non-zero."""
        layers = {}
        macs = self.layer_macs(self.steps, self.classes)
        for (name, dense), shape in zip(macs, self.geometries(self.steps, self.classes), strict=True):
            table = np.zeros((1, 1, 4), dtype=np.int64)
            table[0, 0, MACS], table[0, 0, SPIKES_IN] = dense, math.prod(shape.input_shape)
            layers[name] = _synapses(table, dense, shape)
        return OpCounts(layers, samples=1, steps=1)


def _synapses(table: np.ndarray[tuple[int, ...], np.dtype[np.int64]], dense: int, shape: Geometry) -> LayerCounts:
    steps = table.shape[0]
    return LayerCounts(
        "synapse",
        shape.kind,
        table,
        dense_macs=dense * steps,
        synapses=dense,
        elements=math.prod(shape.input_shape) * steps,
        calls=steps,
        geometry=shape,
    )
