"""What every PyTorch front end shares: the layers without state, the order they stand in, the graph they make.

A front end watches one forward pass (``trace.py``), follows the chain of leaf calls from the output back to
the input, translates the neurons of its own framework, and leaves every other layer to this file. Layers are
recognised by class name, because frameworks wrap torch's own (``spikingjelly...layer.Conv2d`` is a Conv2d).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from export.frontends.trace import INPUT, READOUTS, Key, LeafCall, Trace
from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import (
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

NOTHING_AT_INFERENCE = frozenset({"Dropout", "Dropout2d", "Identity"})


class PartlyCaptured(UnsupportedError):
    """Some layers have no place in a graph; ``nodes`` are those that have, so that they can be judged all the same.

    ``order`` holds the names of all layers in data-flow order.
    """

    def __init__(self, findings: list[Finding], nodes: list[Node], order: list[str]) -> None:
        super().__init__(findings)
        self.nodes = tuple(nodes)
        self.order = tuple(order)


def copy_for_watching(model: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of ``model`` on the CPU, in evaluation mode; the model itself is not touched.

    State that a training step left behind belongs to a graph of gradients, which no deep copy can follow: the copy
    gets its values alone. A neuron's GPU kernel is replaced by plain torch.
    """
    left: dict[int, Any] = {}
    for module in model.modules():
        for value in (*vars(module).values(), *getattr(module, "_memories", {}).values()):
            if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                left[id(value)] = value.detach().clone()
    copied = copy.deepcopy(model, left).eval().cpu()
    for module in copied.modules():
        if isinstance(getattr(module, "backend", None), str):
            module.backend = "torch"  # type: ignore[assignment]
    return copied


def check_example(example: torch.Tensor) -> None:
    """Raise InputError unless the example is finite and [T, N, C, H, W] or [T, N, F]."""
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


def build_graph(
    nodes: list[Node],
    example: torch.Tensor,
    dt_us: float | None,
    first_frame: Literal["float", "spikes"],
    voting: int = 1,
) -> Graph:
    """Return the graph of ``nodes`` for frames like the example's [T, N, ...].

    Raises:
        UnsupportedError: the layers do not fit each other, so something between them was not a layer.
    """
    shape = tuple(int(n) for n in example.shape[2:])
    try:
        return Graph(with_flattens(nodes, shape), shape, int(example.shape[0]), dt_us, first_frame, voting)
    except ValueError as error:
        found = f"layers that do not fit each other: {error}"
        fix = "something between them (a permute, a reshape) is not a layer: write it as one, or leave it out"
        raise UnsupportedError(Finding("E114", "error", str(error).split(" ")[0], found, fix=fix)) from error


def unused(name: str, names: set[str]) -> str:
    """Return ``name``, numbered when a shared module stands in several places."""
    unique, count = name, 1
    while unique in names:
        count += 1
        unique = f"{name}#{count}"
    names.add(unique)
    return unique


def follow_chain(trace: Trace) -> tuple[list[LeafCall], list[Finding]]:
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


def stacked(outputs: list[torch.Tensor], example: torch.Tensor) -> Array:
    """Return a layer's recorded spikes as uint8 [T, N, ...], whether it ran multi-step or step by step."""
    values = outputs[0] if len(outputs) == 1 else torch.stack(outputs)
    if values.shape[:2] != example.shape[:2]:
        values = values.unflatten(0, example.shape[:2])
    return values.to(torch.uint8).numpy()


def leaf_nodes(call: LeafCall, name: str) -> list[Node] | Finding | None:
    """Translate a layer without state into graph nodes, or say why it cannot be; None for a class unknown here.

    >>> leaf_nodes(LeafCall("drop", torch.nn.Dropout(0.5), INPUT), "drop")
    []
    >>> leaf_nodes(LeafCall("act", torch.nn.Tanh(), INPUT), "act") is None
    True
    """
    module, kind = call.module, type(call.module).__name__
    if kind in NOTHING_AT_INFERENCE:
        return []
    match kind:
        case "Conv2d":
            return _conv(module, name)
        case "Linear":
            return [Linear(name, array(module.weight), array(module.bias))]
        case "BatchNorm2d" | "BatchNorm1d":
            return _norm(module, name)
        case "AvgPool2d" | "MaxPool2d":
            return _pool(module, kind, name)
        case "AdaptiveAvgPool2d":
            return _adaptive_pool(module, call.inputs[0].shape[-2:], name)
        case "Flatten":
            return [Flatten(name)]
    return None


def array(value: torch.Tensor | None) -> Any:
    """Return a tensor's numbers as float64, or None for None."""
    return None if value is None else value.detach().cpu().numpy().astype(np.float64)


def pair(value: Any) -> tuple[int, int]:
    """Return (height, width) of a number or a pair."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def with_flattens(nodes: list[Node], shape: Shape) -> tuple[Node, ...]:
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
            array(module.weight),
            array(module.bias),
            pair(module.stride),
            pair(module.padding),
            pair(module.dilation),
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
    gamma = np.ones(count) if module.weight is None else array(module.weight)
    beta = np.zeros(count) if module.bias is None else array(module.bias)
    return [BatchNorm(name, array(module.running_mean), array(module.running_var), gamma, beta, float(module.eps))]


def _adaptive_pool(module: Any, size: Sequence[int], name: str) -> list[Node] | Finding:
    """Return the plain average pool that an adaptive one is where its output divides its input."""
    wanted = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    out = tuple(int(n) if o is None else int(o) for n, o in zip(size, wanted, strict=True))
    if any(n % o for n, o in zip(size, out, strict=True)):
        found = f"adaptive average pool of {tuple(size)} to {out}: its windows differ in size"
        return Finding("E117", "error", name, found, "windows of one size", fix="use AvgPool2d")
    kernel = (size[0] // out[0], size[1] // out[1])
    return [AvgPool2d(name, kernel, kernel)]


def _pool(module: Any, kind: str, name: str) -> list[Node] | Finding:
    uncounted = kind == "AvgPool2d" and not module.count_include_pad and any(pair(module.padding))
    odd = module.ceil_mode or uncounted or (kind == "AvgPool2d" and module.divisor_override)
    if odd or (kind == "MaxPool2d" and pair(module.dilation) != (1, 1)):
        return Finding(
            "E106",
            "error",
            name,
            "pooling with ceil_mode, divisor_override, dilation or uncounted padding",
            fix="use the plain pool: windows that fit, padding counted",
        )
    kernel = pair(module.kernel_size)
    stride = kernel if module.stride is None else pair(module.stride)
    cls = AvgPool2d if kind == "AvgPool2d" else MaxPool2d
    return [cls(name, kernel, stride, pair(module.padding))]
