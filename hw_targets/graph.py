"""The deployable graph: a feed-forward spiking network as plain arrays, in discrete time.

It is the only thing a target is given and the only thing a pass rewrites. Nodes are listed in data-flow
order; one time step of the network applies them in turn to one frame. A spiking neuron is a node of its
own, so that what stands between a synapse and its neuron (batch normalisation, pooling) stays visible
until a pass has folded it away.

The neuron, for one step with input x (spike order: charge, fire, reset, all in the same step)::

    u <- (1 - current_decay) * u + x          (current_decay = 1: no synaptic memory, u = x)
    v <- v - decay * (v - rest) + gain * u
    s  = v >= threshold    (inclusive)    or    v > threshold
    v <- rest where s      (reset "zero")  or    v - (threshold - rest) where s   (reset "subtract")
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Conv2d:
    """Two-dimensional cross-correlation, weight [C_out, C_in/groups, kH, kW], pairs in (H, W) order."""

    name: str
    weight: Array
    bias: Array | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Dense synapses, weight [N_out, N_in]; inputs are counted in C, H, W order."""

    name: str
    weight: Array
    bias: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm:
    """Inference-time normalisation per channel: y = gamma (x - mean) / sqrt(variance + eps) + beta."""

    name: str
    mean: Array
    variance: Array
    gamma: Array
    beta: Array
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class AvgPool2d:
    """Mean over windows; windows that do not fit are dropped, padding counts as zeros."""

    name: str
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool2d:
    """Maximum over windows; windows that do not fit are dropped."""

    name: str
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Flatten:
    """[C, H, W] to [C*H*W], C slowest."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class LIF:
    """Leaky integrate-and-fire neurons with one set of constants per layer (see the module's equations)."""

    name: str
    decay: float
    threshold: float
    gain: float = 1.0
    rest: float = 0.0
    inclusive: bool = True
    reset: Literal["zero", "subtract"] = "zero"
    current_decay: float = 1.0


Node: TypeAlias = Conv2d | Linear | BatchNorm | AvgPool2d | MaxPool2d | Flatten | LIF
Synapse: TypeAlias = Conv2d | Linear
NODE_TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (Conv2d, Linear, BatchNorm, AvgPool2d, MaxPool2d, Flatten, LIF)
}


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A sequential spiking network with everything a target must know and must not guess.

    ``input_shape`` is (C, H, W) or (N,); ``steps`` the number of time steps of one sample; ``dt_us`` the
    length of a step in microseconds, None where a network counts in steps and nobody said; ``first_frame``
    says whether step 0 carries gray values in [0, 1] instead of spikes; ``voting`` is the number of output
    neurons that vote for each class.
    """

    nodes: tuple[Node, ...]
    input_shape: Shape
    steps: int
    dt_us: float | None
    first_frame: Literal["float", "spikes"] = "spikes"
    voting: int = 1
    spike_order: Literal["charge-fire-reset"] = "charge-fire-reset"
    shapes: tuple[Shape, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        """Work out the output shape of every node once; a mismatch is a bug of whoever built the graph."""
        shapes: list[Shape] = []
        shape = self.input_shape
        for node in self.nodes:
            shape = output_shape(node, shape)
            shapes.append(shape)
        object.__setattr__(self, "shapes", tuple(shapes))

    def layers(self) -> Iterator[tuple[Node, Shape, Shape]]:
        """Yield (node, input shape, output shape) in data-flow order."""
        yield from zip(self.nodes, (self.input_shape, *self.shapes)[: len(self.nodes)], self.shapes, strict=True)

    def neurons(self) -> tuple[LIF, ...]:
        """Return the spiking layers in data-flow order."""
        return tuple(node for node in self.nodes if isinstance(node, LIF))

    def replace_nodes(self, nodes: tuple[Node, ...]) -> Graph:
        """Return the same graph with other nodes."""
        keep = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name != "nodes"}
        return Graph(nodes=nodes, **keep)


def window_count(size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1) -> int:
    """Return how many windows fit: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    >>> window_count(63, 2, 2), window_count(128, 3, 1)
    (31, 126)
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def output_shape(node: Node, shape: Shape) -> Shape:
    """Return the shape that ``node`` makes of ``shape``.

    >>> output_shape(Conv2d("c", np.zeros((4, 2, 3, 3))), (2, 8, 8))
    (4, 6, 6)

    Raises:
        ValueError: the node cannot take this shape.
    """
    match node:
        case Conv2d():
            return _conv_shape(node, shape)
        case AvgPool2d() | MaxPool2d():
            _need(len(shape) == 3, node, shape, "(C, H, W)")
            height, width = (
                window_count(n, k, s, p)
                for n, k, s, p in zip(shape[1:], node.kernel, node.stride, node.padding, strict=True)
            )
            _need(height > 0 and width > 0, node, shape, f"windows of {node.kernel}")
            return (shape[0], height, width)
        case Linear():
            _need(shape == (node.weight.shape[1],), node, shape, f"({node.weight.shape[1]},)")
            return (node.weight.shape[0],)
        case BatchNorm():
            _need(shape[0] == node.mean.size, node, shape, f"{node.mean.size} channels")
            return shape
        case Flatten():
            return (int(np.prod(shape)),)
        case LIF():
            return shape
    raise TypeError(f"not a graph node: {type(node).__name__}")


def _conv_shape(node: Conv2d, shape: Shape) -> Shape:
    channels = node.weight.shape[1] * node.groups
    _need(len(shape) == 3 and shape[0] == channels, node, shape, f"({channels}, H, W)")
    height, width = (
        window_count(n, k, s, p, d)
        for n, k, s, p, d in zip(
            shape[1:], node.weight.shape[2:], node.stride, node.padding, node.dilation, strict=True
        )
    )
    _need(height > 0 and width > 0, node, shape, f"windows of {node.weight.shape[2:]}")
    return (node.weight.shape[0], height, width)


def _need(condition: bool, node: Node, shape: Shape, wanted: str) -> None:
    if not condition:
        raise ValueError(f"{node.name} ({type(node).__name__}) needs {wanted}, got {shape}")
