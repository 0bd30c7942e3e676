"""What a layer asks of a Speck core, and which core takes which layer.

A core holds one layer: a convolution, its neurons and the pool behind them. A dense layer is a convolution
whose kernel is as large as the map it reads. Addresses are made of bit fields, so each factor is rounded up to a
power of two (sinabs, ``DynapcnnLayer.memory_summary``)::

    kernel words = C 2^(ceil log2(kx ky) + ceil log2(F))
    neuron words = F 2^(ceil log2(fx)    + ceil log2(fy))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hw_targets.graph import LIF, AvgPool2d, Conv2d, Flatten, Graph, Linear, MaxPool2d, Pair, Shape
from hw_targets.speck.limits import BIAS_WORDS, KERNEL_WORDS, NEURON_WORDS


@dataclass(frozen=True, slots=True)
class CoreLayer:
    """One synapse layer as a Speck core sees it, with the threshold of its neurons; pairs in (H, W) order.

    ``weight_max`` is the largest weight, divided by the window of the average pool before it: the chip sums.
    """

    name: str
    channels: int
    features: int
    input_map: Pair
    output_map: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    weight_max: float
    has_bias: bool
    threshold: float

    @property
    def kernel_words(self) -> int:
        """Words of kernel memory."""
        return self.channels << (bits(self.kernel[0] * self.kernel[1]) + bits(self.features))

    @property
    def neuron_words(self) -> int:
        """Words of neuron memory."""
        return self.features << (bits(self.output_map[0]) + bits(self.output_map[1]))

    @property
    def bias_words(self) -> int:
        """Words of bias memory."""
        return self.features if self.has_bias else 0

    def fits(self, core: int) -> bool:
        """Whether the core of that number has enough of each memory."""
        return (
            self.kernel_words <= KERNEL_WORDS[core]
            and self.neuron_words <= NEURON_WORDS[core]
            and self.bias_words <= BIAS_WORDS.value
        )


def bits(size: int) -> int:
    """Return how many bits address ``size`` things: ceil(log2(size)).

    >>> [bits(size) for size in (1, 2, 3, 4, 9, 16)]
    [0, 1, 2, 2, 4, 4]
    """
    return (size - 1).bit_length()


def core_layers(graph: Graph) -> list[CoreLayer]:
    """Return the layers of ``graph``, one for each convolution or dense layer, in data-flow order."""
    layers: list[CoreLayer] = []
    area, flattened_from = 1, None
    nodes = list(graph.layers())
    for index, (node, shape_in, shape_out) in enumerate(nodes):
        match node:
            case AvgPool2d():
                area *= node.kernel[0] * node.kernel[1]
            case Flatten():
                flattened_from = shape_in
            case Conv2d() | Linear():
                neuron = next((after for after, *_ in nodes[index + 1 :] if isinstance(after, LIF)), None)
                seen = shape_in if isinstance(node, Conv2d) else (flattened_from or shape_in)
                layers.append(_core_layer(node, seen, shape_out, area, neuron))
                area, flattened_from = 1, None
            case LIF() | MaxPool2d():
                flattened_from = None
            case _:
                pass
    return layers


def _core_layer(node: Conv2d | Linear, seen: Shape, made: Shape, area: int, neuron: LIF | None) -> CoreLayer:
    channels, *map_in = seen
    features, *map_out = made
    input_map = (map_in[0], map_in[1]) if map_in else (1, 1)
    convolution = isinstance(node, Conv2d)
    return CoreLayer(
        name=node.name,
        channels=channels,
        features=features,
        input_map=input_map,
        output_map=(map_out[0], map_out[1]) if map_out else (1, 1),
        kernel=(node.weight.shape[2], node.weight.shape[3]) if convolution else input_map,
        stride=node.stride if isinstance(node, Conv2d) else (1, 1),
        padding=node.padding if isinstance(node, Conv2d) else (0, 0),
        weight_max=float(np.abs(node.weight).max(initial=0.0)) / area,
        has_bias=node.bias is not None and bool(np.any(node.bias)),
        threshold=0.0 if neuron is None else neuron.threshold - neuron.rest,
    )


@dataclass(frozen=True, slots=True)
class Crowd:
    """A layer without a core: ``layers``, itself among them, share the ``cores`` that are one too few."""

    layer: str
    layers: tuple[str, ...]
    cores: tuple[int, ...]


def assign_cores(layers: Sequence[CoreLayer]) -> tuple[dict[str, int], list[Crowd]]:
    """Give each layer a core of its own, as many layers as possible (bipartite matching by augmenting paths).

    A layer whose search fails has visited a set of layers that all fit the same, smaller set of cores: by Hall's
    theorem no assignment whatever serves them all. Layers that fit no core at all are left out.
    """
    owner: dict[int, int] = {}
    crowds: list[Crowd] = []
    able = [[core for core in range(len(KERNEL_WORDS)) if layer.fits(core)] for layer in layers]

    def settle(layer: int, seen: set[int]) -> bool:
        for core in able[layer]:
            if core not in seen:
                seen.add(core)
                if core not in owner or settle(owner[core], seen):
                    owner[core] = layer
                    return True
        return False

    for index, layer in enumerate(layers):
        seen: set[int] = set()
        if able[index] and not settle(index, seen):
            crowd = sorted({index, *(owner[core] for core in seen)})
            crowds.append(Crowd(layer.name, tuple(layers[at].name for at in crowd), tuple(sorted(seen))))
    return {layers[index].name: core for core, index in owner.items()}, crowds
