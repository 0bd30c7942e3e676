"""Plain float execution of a graph: the yardstick of every pass and of every quantisation.

It follows the equations of ``hw_targets.graph`` literally, one torch operation per node, and knows no
folding and no integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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

TIE = 1e-5
"""Distance from the threshold, relative to it (at least to 1), below which float32 rounding may decide."""


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """Spikes of every neuron layer, uint8 [T, N, ...].

    ``ties`` marks, bool [T, N, ...], where a potential came so close to its threshold that rounding decides;
    ``membrane`` holds the potential before the reset, float [T, N, ...], of the layers that were probed;
    ``drive`` the largest magnitude of synaptic drive (bias included) that reached a neuron of the layer.
    """

    spikes: dict[str, Array]
    ties: dict[str, Array]
    membrane: dict[str, Array] = field(default_factory=dict)
    drive: dict[str, float] = field(default_factory=dict)

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
    probe: tuple[str, ...] = (),
    watch: Callable[[Node, torch.Tensor], None] | None = None,
) -> ReferenceRun:
    """Run ``clips`` [T, N, C, H, W] through ``graph`` and record all spikes, and the potentials of ``probe``.

    With ``teacher`` (spikes by neuron layer name) every layer that it names hands on the teacher's spikes
    in place of its own, and is reset where the teacher fired: each decision of each neuron is then judged
    on its own, from the teacher's inputs and the teacher's past. ``watch`` is shown every node with its input
    [T, N, ...], before the node is applied.

    Raises:
        ValueError: the clips do not have the graph's input shape.
    """
    import torch

    if tuple(clips.shape[2:]) != graph.input_shape:
        raise ValueError(f"clips are {clips.shape[2:]} per frame, the graph takes {graph.input_shape}")
    value = torch.from_numpy(np.ascontiguousarray(clips)).to(getattr(torch, precision))
    run = ReferenceRun({}, {})
    with torch.no_grad():
        for node in graph.nodes:
            if watch is not None:
                watch(node, value)
            if isinstance(node, LIF):
                told = None if teacher is None or node.name not in teacher else torch.from_numpy(teacher[node.name])
                trace = torch.empty_like(value) if node.name in probe else None
                fired, near = _integrate(node, value, told, trace)
                run.spikes[node.name], run.ties[node.name] = fired.to(torch.uint8).numpy(), near.numpy()
                run.drive[node.name] = float(value.abs().max())
                if trace is not None:
                    run.membrane[node.name] = trace.numpy()
                value = (fired if told is None else told).to(value.dtype)
            else:
                value = _apply(node, value)
    return run


def _integrate(
    node: LIF, drive: torch.Tensor, told: torch.Tensor | None, trace: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Integrate the drive [T, N, ...] of one layer over time; return where it fired and where rounding decided."""
    import torch

    v = torch.full_like(drive[0], node.rest)
    u = torch.zeros_like(drive[0])
    spikes = torch.empty(drive.shape, dtype=torch.bool)
    ties = torch.empty(drive.shape, dtype=torch.bool)
    close = TIE * max(1.0, abs(node.threshold))
    for step, x in enumerate(drive):
        u = x if node.current_decay == 1.0 else u * (1.0 - node.current_decay) + x
        v = v - (v - node.rest) * node.decay + u * node.gain
        spikes[step] = v >= node.threshold if node.inclusive else v > node.threshold
        ties[step] = (v - node.threshold).abs() < close
        if trace is not None:
            trace[step] = v
        reset = spikes[step] if told is None else told[step].bool()
        if node.reset == "zero":
            v = torch.where(reset, torch.full_like(v, node.rest), v)
        else:
            v = v - reset * (node.threshold - node.rest)
    return spikes, ties


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
