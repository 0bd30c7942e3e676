"""SpikingJelly networks (0.0.0.0.14 and 2.x) to graphs, by watching one forward pass on real data.

Neuron equations, from ``spikingjelly.activation_based.neuron``: with ``decay_input``
v += (x - (v - v_reset)) / tau, else v = v - (v - v_reset) / tau + x; IF: v += x; a spike when v >= v_threshold;
hard reset to v_reset within the step. ParametricLIF: 1/tau = sigmoid(w).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from export.frontends.trace import INPUT, READOUTS, Key, LeafCall, Trace, watch_forward
from hw_targets.finding import Finding, InputError, UnsupportedError
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
    Shape,
    output_shape,
)

if TYPE_CHECKING:
    from torch import nn

# Leaves are recognised by class name, so that one code base serves both releases and torch's own layers.
NEURONS = frozenset({"LIFNode", "ParametricLIFNode", "IFNode"})
CONTAINERS = frozenset({"Sequential", "ModuleList", "SeqToANNContainer", "MultiStepContainer", "StepModeContainer"})
NOTHING_AT_INFERENCE = frozenset({"Dropout", "Dropout2d", "Identity"})


def capture(
    model: nn.Module,
    example: torch.Tensor,
    *,
    dt_us: float,
    first_frame: Literal["float", "spikes"] = "spikes",
) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of ``model`` and the spikes [T, N, ...] its neuron layers gave on ``example`` [T, N, C, H, W].

    The model is not changed: a copy runs, in evaluation mode, from reset state.

    Raises:
        UnsupportedError: with every layer or join that a graph cannot hold.
        InputError: the example is not [T, N, ...] or not finite.
    """
    if example.ndim not in (3, 5) or not bool(torch.isfinite(example).all()):
        raise InputError(
            Finding(
                "E030",
                "error",
                "example input",
                f"shape {tuple(example.shape)}",
                "finite values [T, N, C, H, W] or [T, N, F]",
            )
        )
    model = copy.deepcopy(model).eval()
    _reset(model)
    trace = watch_forward(model, example, _is_leaf)
    chain, findings = _chain(trace)
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
        made = _nodes(call, _unused(call.name, names))
        if isinstance(made, Finding):
            findings.append(made)
            continue
        nodes += made
        if isinstance(nodes[-1] if made else None, LIF):
            spikes[nodes[-1].name] = _stacked(call.outputs, example)
    if findings:
        raise UnsupportedError(findings)
    shape = tuple(int(n) for n in example.shape[2:])
    try:
        graph = Graph(_with_flattens(nodes, shape), shape, int(example.shape[0]), dt_us, first_frame, voting)
    except ValueError as error:
        found = f"layers that do not fit each other: {error}"
        fix = "something between them (a permute, a reshape) is not a layer: write it as one, or leave it out"
        raise UnsupportedError(Finding("E114", "error", str(error).split(" ")[0], found, fix=fix)) from error
    return graph, spikes


def _reset(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "reset") and callable(module.reset):
            module.reset()


def _is_leaf(module: nn.Module) -> bool:
    kind = type(module).__name__
    return kind not in CONTAINERS and (not any(True for _ in module.children()) or kind in NEURONS)


def _unused(name: str, names: set[str]) -> str:
    """Return ``name``, numbered when a shared module stands in several places."""
    unique, count = name, 1
    while unique in names:
        count += 1
        unique = f"{name}#{count}"
    names.add(unique)
    return unique


def _chain(trace: Trace) -> tuple[list[LeafCall], list[Finding]]:
    """Follow the sources from the output back to the input."""
    findings: list[Finding] = []
    chain: list[LeafCall] = []
    key: Key = trace.output
    while key != INPUT:
        if key in trace.calls:
            call = trace.calls[key]
            chain.append(call)
            key = call.source
        elif key[0] == "function":
            if chain or key[1] not in READOUTS:
                where = chain[-1].name if chain else "output"
                findings.append(
                    Finding(
                        "E101",
                        "error",
                        where,
                        f"function {key[1]}() between layers",
                        fix="use the module of the same name, or apply it outside the network",
                    )
                )
            key = key[2]
        elif key[0] == "join":
            where = chain[-1].name if chain else "output"
            findings.append(
                Finding(
                    "E102",
                    "error",
                    where,
                    f"its input joins {len(key) - 2} branches ({key[1]})",
                    fix="netx holds sequential networks only: remove the skip connection or branch",
                )
            )
            break
        else:
            where = chain[-1].name if chain else "output"
            findings.append(
                Finding(
                    "E103",
                    "error",
                    where,
                    "its input does not derive from the network's input",
                    fix="compute it from the input with modules, not with numpy or constants",
                )
            )
            break
    chain.reverse()
    findings.reverse()
    return chain, findings


def _stacked(outputs: list[torch.Tensor], example: torch.Tensor) -> Array:
    """Return a layer's recorded spikes as uint8 [T, N, ...], whether it ran multi-step or step by step."""
    values = outputs[0] if len(outputs) == 1 else torch.stack(outputs)
    if values.shape[:2] != example.shape[:2]:
        values = values.unflatten(0, example.shape[:2])
    return values.to(torch.uint8).numpy()


def _nodes(call: LeafCall, name: str) -> list[Node] | Finding:
    """Translate one leaf call into graph nodes, or say why it cannot be."""
    module, kind = call.module, type(call.module).__name__
    if kind in NOTHING_AT_INFERENCE:
        return []
    if kind in NEURONS:
        return _neuron(module, kind, name)
    match kind:
        case "Conv2d":
            return _conv(module, name)
        case "Linear":
            return [Linear(name, _array(module.weight), _array(module.bias))]
        case "BatchNorm2d" | "BatchNorm1d":
            return _norm(module, name)
        case "AvgPool2d" | "MaxPool2d":
            return _pool(module, kind, name)
        case "Flatten":
            return [Flatten(name)]
    return Finding(
        "E100",
        "error",
        name,
        f"{kind} has no place in a deployable graph",
        fix="use Conv2d, Linear, BatchNorm, AvgPool2d, MaxPool2d, Flatten, Dropout, LIF, ParametricLIF or IF",
    )


def _array(value: torch.Tensor | None) -> Any:
    return None if value is None else value.detach().cpu().numpy().astype(np.float64)


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _with_flattens(nodes: list[Node], shape: Shape) -> tuple[Node, ...]:
    """Insert the Flatten nodes that the model wrote as functions: wherever a linear layer meets an image."""
    complete: list[Node] = []
    for node in nodes:
        if isinstance(node, Linear) and len(shape) == 3:
            complete.append(Flatten(f"{node.name}.flatten"))
            shape = output_shape(complete[-1], shape)
        complete.append(node)
        shape = output_shape(node, shape)
    return tuple(complete)


def _conv(module: Any, name: str) -> list[Node] | Finding:
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return Finding(
            "E104",
            "error",
            name,
            f"padding {module.padding!r} in mode {module.padding_mode!r}",
            "numeric zero padding",
            fix="pad with zeros by a number of pixels",
        )
    return [
        Conv2d(
            name,
            _array(module.weight),
            _array(module.bias),
            _pair(module.stride),
            _pair(module.padding),
            _pair(module.dilation),
            int(module.groups),
        )
    ]


def _norm(module: Any, name: str) -> list[Node] | Finding:
    if module.running_mean is None:
        return Finding(
            "E105",
            "error",
            name,
            "batch normalisation without running statistics",
            fix="train with track_running_stats=True",
        )
    count = module.running_mean.numel()
    gamma = np.ones(count) if module.weight is None else _array(module.weight)
    beta = np.zeros(count) if module.bias is None else _array(module.bias)
    return [BatchNorm(name, _array(module.running_mean), _array(module.running_var), gamma, beta, float(module.eps))]


def _pool(module: Any, kind: str, name: str) -> list[Node] | Finding:
    odd = module.ceil_mode or (kind == "AvgPool2d" and (module.divisor_override or not module.count_include_pad))
    if odd or (kind == "MaxPool2d" and _pair(module.dilation) != (1, 1)):
        return Finding(
            "E106",
            "error",
            name,
            "pooling with ceil_mode, divisor_override, dilation or uncounted padding",
            fix="use the plain pool: windows that fit, padding counted",
        )
    kernel = _pair(module.kernel_size)
    stride = kernel if module.stride is None else _pair(module.stride)
    cls = AvgPool2d if kind == "AvgPool2d" else MaxPool2d
    return [cls(name, kernel, stride, _pair(module.padding))]


def _neuron(module: Any, kind: str, name: str) -> list[Node] | Finding:
    if not getattr(module.surrogate_function, "spiking", True):
        return Finding(
            "E107",
            "error",
            name,
            "surrogate with spiking=False: its outputs are not spikes",
            fix="set surrogate_function.spiking = True before exporting",
        )
    if module.v_reset is None:
        return Finding(
            "E108",
            "error",
            name,
            "soft reset (v_reset=None)",
            "hard reset",
            fix="the chip's neuron resets to a fixed value: retrain with v_reset=0.0",
        )
    if kind == "IFNode":
        decay, gain = 0.0, 1.0
    else:
        decay = float(module.w.detach().sigmoid()) if kind == "ParametricLIFNode" else 1.0 / float(module.tau)
        gain = decay if module.decay_input else 1.0
    return [LIF(name, decay, float(module.v_threshold), gain, float(module.v_reset))]
