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
from export.frontends.trace import LeafCall, watch_forward
from hw_targets.finding import Finding, InputError
from hw_targets.graph import LIF, Array, Graph, Node

if TYPE_CHECKING:
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
    _reset(model)
    try:
        trace = watch_forward(model, example, _is_leaf)
    except Exception as error:  # the user's own forward: whatever it raises is theirs to read
        found = f"the network itself fails on input {tuple(example.shape)}: {type(error).__name__}: {error}"
        fix = "check the shape of a frame and the number of steps; forward() must take [T, N, ...]"
        raise InputError(Finding("E032", "error", "example input", found, fix=fix)) from error
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
