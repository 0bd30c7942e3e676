"""Plain float execution of a graph: the yardstick of every pass and of every quantisation.

It follows the equations of ``hw_targets.graph`` literally, one torch operation per node, and knows no
folding and no integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hw_targets.graph import (
    LIF,
    Array,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    Graph,
    Linear,
    MaxPool2d,
    Node,
)

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "float64"]


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """Spikes of every neuron layer, uint8 [T, N, ...], and membrane potentials of the last one before reset."""

    spikes: dict[str, Array]
    membrane: Array

    @property
    def output(self) -> Array:
        """Spikes of the last neuron layer, [T, N, ...]."""
        return next(reversed(self.spikes.values()))


def run_graph(
    graph: Graph,
    clips: Array,
    *,
    precision: Precision = "float32",
    teacher: Mapping[str, Array] | None = None,
) -> ReferenceRun:
    """Run ``clips`` [T, N, C, H, W] through ``graph`` and record all spikes.

    With ``teacher`` (spikes by neuron layer name) every layer that it names hands on the teacher's spikes
    in place of its own, so that each layer is judged on correct inputs alone.

    Raises:
        ValueError: the clips do not have the graph's input shape.
    """
    import torch

    if tuple(clips.shape[2:]) != graph.input_shape:
        raise ValueError(f"clips are {clips.shape[2:]} per frame, the graph takes {graph.input_shape}")
    value = torch.from_numpy(np.ascontiguousarray(clips)).to(getattr(torch, precision))
    spikes: dict[str, Array] = {}
    membrane = np.zeros(0)
    with torch.no_grad():
        for node in graph.nodes:
            if isinstance(node, LIF):
                value, membrane = _integrate(node, value, keep_membrane=node is graph.neurons()[-1])
                spikes[node.name] = value.to(torch.uint8).numpy()
                if teacher is not None and node.name in teacher:
                    value = torch.from_numpy(teacher[node.name]).to(value.dtype)
            else:
                value = _apply(node, value)
    return ReferenceRun(spikes, membrane)


def _integrate(node: LIF, drive: torch.Tensor, *, keep_membrane: bool) -> tuple[torch.Tensor, Array]:
    """Integrate the drive [T, N, ...] of one neuron layer over time; return spikes and membrane."""
    import torch

    v = torch.full_like(drive[0], node.rest)
    u = torch.zeros_like(drive[0])
    spikes = torch.empty_like(drive)
    trace = np.zeros(drive.shape, dtype=np.float32) if keep_membrane else np.zeros(0)
    for step, x in enumerate(drive):
        u = x if node.current_decay == 1.0 else u * (1.0 - node.current_decay) + x
        v = v - (v - node.rest) * node.decay + u * node.gain
        if keep_membrane:
            trace[step] = v.numpy()
        fired = v >= node.threshold if node.inclusive else v > node.threshold
        spikes[step] = fired
        if node.reset == "zero":
            v = torch.where(fired, torch.full_like(v, node.rest), v)
        else:
            v = v - fired * (node.threshold - node.rest)
    return spikes, trace


def _apply(node: Node, value: torch.Tensor) -> torch.Tensor:
    """Apply one memoryless node to all frames [T, N, ...] at once."""
    import torch.nn.functional as F

    def array(x: Array | None) -> Any:
        import torch

        return None if x is None else torch.from_numpy(np.ascontiguousarray(x)).to(value.dtype)

    frames = value.flatten(0, 1)
    match node:
        case Conv2d():
            frames = F.conv2d(
                frames,
                array(node.weight),
                array(node.bias),
                node.stride,
                node.padding,
                node.dilation,
                node.groups,
            )
        case Linear():
            frames = F.linear(frames, array(node.weight), array(node.bias))
        case BatchNorm():
            frames = F.batch_norm(
                frames,
                array(node.mean),
                array(node.variance),
                array(node.gamma),
                array(node.beta),
                eps=node.eps,
            )
        case AvgPool2d():
            frames = F.avg_pool2d(frames, node.kernel, node.stride, node.padding)
        case MaxPool2d():
            frames = F.max_pool2d(frames, node.kernel, node.stride, node.padding)
        case Flatten():
            frames = frames.flatten(1)
        case _:
            raise TypeError(f"no float execution for {type(node).__name__} {node.name}")
    return frames.unflatten(0, value.shape[:2])
