"""SpikingJelly networks (0.0.0.0.14 and 2.x) to graphs, by watching one forward pass on real data.

Neuron equations, from ``spikingjelly.activation_based.neuron``: with ``decay_input``
v += (x - (v - v_reset)) / tau, else v = v - (v - v_reset) / tau + x; IF: v += x; a spike when v >= v_threshold;
hard reset to v_reset within the step, or v -= v_threshold where v_reset is None. ParametricLIF: 1/tau = sigmoid(w).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from export.frontends.leaves import (
    PartlyCaptured,
    build_graph,
    check_example,
    copy_for_watching,
    follow_chain,
    leaf_nodes,
    stacked,
    unused,
)
from export.frontends.trace import LeafCall, Trace, watch_forward
from hw_targets.finding import Finding, InputError
from hw_targets.graph import LIF, Array, Graph, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

# Leaves are recognised by class name, so that one code base serves both releases and torch's own layers.
NEURONS = frozenset({"LIFNode", "ParametricLIFNode", "IFNode"})
CONTAINERS = frozenset({"Sequential", "ModuleList", "SeqToANNContainer", "MultiStepContainer", "StepModeContainer"})


def capture(
    model: nn.Module,
    example: torch.Tensor,
    *,
    dt_us: float | None = None,
    first_frame: Literal["float", "spikes"] = "spikes",
) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of ``model`` and the spikes [T, N, ...] its neuron layers gave on ``example`` [T, N, C, H, W].

    The model is not changed: a copy runs, in evaluation mode, from reset state.

    Raises:
        UnsupportedError: with every layer or join that a graph cannot hold.
        InputError: the example is not [T, N, ...] or not finite, or the model itself fails on it.
    """
    check_example(example)
    model = copy_for_watching(model)
    trace = _watched(model, example)
    chain, findings = follow_chain(trace)
    nodes: list[Node] = []
    spikes: dict[str, Array] = {}
    voting = 1
    names: set[str] = set()
    for call in chain:
        if type(call.module).__name__ == "VotingLayer":
            voting = int(call.module.voting_size)
            if call is not chain[-1]:
                findings.append(
                    Finding("E109", "error", call.name, "layers after the voting layer", fix="vote at the very end")
                )
            continue
        made = _nodes(call, unused(call.name, names))
        if isinstance(made, Finding):
            findings.append(made)
            continue
        nodes += made
        if isinstance(nodes[-1] if made else None, LIF):
            spikes[nodes[-1].name] = stacked(call.outputs, example)
    if findings:
        raise PartlyCaptured(findings, nodes, [call.name for call in chain])
    return build_graph(nodes, example, dt_us, first_frame, voting), spikes


def _watched(model: nn.Module, example: torch.Tensor) -> Trace:
    """Run the model on all steps at once, or step by step if it is written for one step at a time.

    Networks whose neurons are all in single-step mode either loop over time themselves, or expect their caller to. In
    the second kind a whole clip fails, or, worse, time is taken for the batch: then a neuron does not run once
    per step, and the clip is fed frame by frame instead.
    """
    _reset(model)
    modes = [module.step_mode for module in model.modules() if type(module).__name__ in NEURONS]
    single = bool(modes) and all(mode == "s" for mode in modes)
    try:
        trace = watch_forward(model, example, _is_leaf)
        neurons = [call for call in trace.calls.values() if type(call.module).__name__ in NEURONS]
        if not single or all(len(call.outputs) == len(example) for call in neurons):
            return trace
    except Exception as error:  # the user's own forward: whatever it raises is theirs to read
        if not single:
            raise InputError(_failed(example.shape, error)) from error
    _reset(model)
    try:
        return watch_forward(_FrameByFrame(model), example, _is_leaf)
    except Exception as error:
        raise InputError(_failed(example.shape[1:], error)) from error


def _failed(shape: torch.Size, error: Exception) -> Finding:
    found = f"the network itself fails on input {tuple(shape)}: {type(error).__name__}: {error}"
    fix = "check the shape of a frame and the steps; forward() takes [T, N, ...], or [N, ...] in single-step mode"
    return Finding("E032", "error", "example input", found, fix=fix)


class _FrameByFrame:
    """Calls a model on each frame of [T, N, ...]; looks like the model to whoever lists its modules."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the model's own modules."""
        return self.model.named_modules()

    def __call__(self, example: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.model(frame) for frame in example])


def _reset(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "reset") and callable(module.reset):
            module.reset()


def _is_leaf(module: nn.Module) -> bool:
    kind = type(module).__name__
    # Any neuron is one operation, also one that nobody here knows: its insides are not layers.
    neuron = kind in NEURONS or (hasattr(module, "v_threshold") and hasattr(module, "surrogate_function"))
    return neuron or (kind not in CONTAINERS and not any(True for _ in module.children()))


def _nodes(call: LeafCall, name: str) -> list[Node] | Finding:
    """Translate one leaf call into graph nodes, or say why it cannot be."""
    module, kind = call.module, type(call.module).__name__
    if kind in NEURONS:
        return _neuron(module, kind, name)
    made = leaf_nodes(call, name)
    if made is not None:
        return made
    return Finding(
        "E100",
        "error",
        name,
        f"{kind} has no place in a deployable graph",
        fix="use Conv2d, Linear, BatchNorm, AvgPool2d, MaxPool2d, Flatten, Dropout, LIF, ParametricLIF or IF",
    )


def _neuron(module: Any, kind: str, name: str) -> list[Node] | Finding:
    if not getattr(module.surrogate_function, "spiking", True):
        return Finding(
            "E107",
            "error",
            name,
            "surrogate with spiking=False: its outputs are not spikes",
            fix="set surrogate_function.spiking = True before exporting",
        )
    if kind == "IFNode":
        decay, gain = 0.0, 1.0
    else:
        decay = float(module.w.detach().sigmoid()) if kind == "ParametricLIFNode" else 1.0 / float(module.tau)
        gain = decay if module.decay_input else 1.0
    if module.v_reset is None:  # soft reset: the potential leaks towards 0 and loses v_threshold at a spike
        return [LIF(name, decay, float(module.v_threshold), gain, 0.0, reset="subtract")]
    return [LIF(name, decay, float(module.v_threshold), gain, float(module.v_reset))]
