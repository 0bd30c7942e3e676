"""Norse 1.1 networks to graphs, by watching a forward pass of the live model on real data.

Norse's own ``to_nir`` is not used: it scales time constants by dt, and loses pools and reset potentials.

How a model is run. Some take one step and hand out their state, others take all steps at once:

1. A model that holds a module over time (LIF, IAF, Lift) is called once, with the whole example [T, N, ...].
2. SequentialState and single cells are called once per step, frame [N, ...] and state, from state None.
3. A module whose ``forward`` has a parameter named like ``state`` is tried on one frame: if every layer ran
   exactly once and (output, state) came back, it is run step by step, else as in 1 (it loops over time itself).
4. Any other module is called once, with the whole example.

However it ran, each cell must have run once per step on [N, ...], from its resting state, and at every later
step from the state that it returned before. A model that keeps state elsewhere is refused, not guessed at.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch

from export.frontends.leaves import (
    build_graph,
    check_example,
    copy_for_watching,
    follow_chain,
    leaf_nodes,
    stacked,
    unused,
)
from export.frontends.norse_neurons import (
    CONTAINERS,
    OVER_TIME,
    SUPPORTED,
    from_norse,
    neuron_kind,
    translate_neuron,
    unsupported_classes,
)
from export.frontends.trace import LeafCall, Trace, watch_forward
from hw_targets.finding import Finding, InputError, NeuroEmoError, UnsupportedError
from hw_targets.graph import LIF, Array, Graph, Node, Shape

if TYPE_CHECKING:
    from torch import nn

SAME_DT = 1e-6
"""How far two lengths of a step may differ, relatively, and still be one: dt is often kept in float32."""


@dataclass(slots=True)
class StateUse:
    """The states that one call of a neuron was given and gave back."""

    given: Any
    returned: Any


@dataclass(slots=True)
class Run:
    """One watched run: who fed whom, and the states by the identity of the neuron call's input tensor."""

    trace: Trace
    states: dict[int, StateUse] = field(default_factory=dict)


def is_norse(model: nn.Module) -> bool:
    """Return whether any part of ``model`` is of a class from Norse, or derived from one.

    >>> is_norse(torch.nn.Sequential(torch.nn.Linear(2, 2)))
    False
    """
    return any(from_norse(base) for module in model.modules() for base in type(module).__mro__)


def capture(
    model: nn.Module,
    example: torch.Tensor,
    *,
    first_frame: Literal["float", "spikes"] = "spikes",
    dt_us: float | None = None,
) -> tuple[Graph, dict[str, Array]]:
    """Return the graph of ``model`` and the spikes [T, N, ...] its neuron layers gave on ``example`` [T, N, C, H, W].

    The model is not changed: a copy runs, in evaluation mode, from resting state. The graph's ``dt_us`` is the
    neurons' own dt; passing another is an error.

    Raises:
        UnsupportedError: with every layer, neuron parameter or join that a graph cannot hold.
        InputError: the example is not [T, N, ...] or not finite, or the model does not run on it.
    """
    check_example(example)
    unsupported = list(unsupported_classes(model))
    if unsupported:
        raise UnsupportedError(unsupported)
    run = _run_model(model, example)
    chain, findings = follow_chain(run.trace)
    steps = int(example.shape[0])
    names: set[str] = set()
    nodes: list[Node] = []
    placed: list[tuple[LeafCall, Node]] = []
    for call in chain:
        made, found = _node(call, unused(call.name, names))
        findings += found
        nodes += made
        placed += [(call, node) for node in made]
        if neuron_kind(call.module):
            findings += _state_findings(call, run, steps, made)
    step_us, found = _step_length([call for call in chain if neuron_kind(call.module)], dt_us)
    findings += found
    if findings:
        raise UnsupportedError(findings)
    graph = build_graph(nodes, example, step_us, first_frame)
    findings += _axis_findings(placed, graph, example)
    if findings:
        raise UnsupportedError(findings)
    return graph, {node.name: stacked(call.outputs, example) for call, node in placed if isinstance(node, LIF)}


def _run_model(model: nn.Module, example: torch.Tensor) -> Run:
    """Run a copy of the model in the way that suits it (see the module's list), and watch."""
    stepwise, refusal = _takes_one_step(model, example)
    try:
        return _watched(model, example, stepwise)
    except NeuroEmoError:
        raise
    except Exception as error:  # whatever the user's own forward may raise
        way = "step by step" if stepwise else "with the whole example at once"
        also = f"; run on one frame before that, {refusal}" if refusal else ""
        raise InputError(
            Finding(
                "E147",
                "error",
                type(model).__name__,
                f"run {way}, the model raises {type(error).__name__}: {error}{also}",
                f"a forward that takes {list(example.shape)}, or (frame, state) with frames {list(example.shape[1:])}",
                fix="give an example of the shape the model takes; name the state's parameter `state`",
            )
        ) from error


def _takes_one_step(model: nn.Module, example: torch.Tensor) -> tuple[bool, str]:
    """Return whether the model takes one frame and its state, and what a failed attempt raised."""
    kinds = {type(module).__name__ for module in model.modules() if from_norse(type(module))}
    if kinds & {*OVER_TIME, "Lift"}:
        return False, ""
    if (type(model).__name__ in CONTAINERS and from_norse(type(model))) or neuron_kind(model):
        return True, ""
    if _state_parameter(model) is None:
        return False, ""
    # Two frames at least: a model that loops over time takes the batch for time, and its layers run twice.
    frames = torch.cat([example[:1], example[:1]], dim=1)
    try:
        calls = _watched(model, frames, True).trace.calls.values()
    except Exception as error:  # it does not take a frame: then it must take all of them
        return False, f"it raises {type(error).__name__}: {error}"
    return all(len(call.inputs) == 1 for call in calls), ""


def _state_parameter(model: nn.Module) -> str | None:
    """Return the name of the forward's state parameter, if it has one."""
    return next((name for name in inspect.signature(model.forward).parameters if "state" in name), None)


def _watched(model: nn.Module, example: torch.Tensor, stepwise: bool) -> Run:
    """Run a fresh copy of the model in evaluation mode and record calls and states."""
    model = copy_for_watching(model)
    states: dict[int, StateUse] = {}

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not args:
            raise TypeError(f"{type(module).__name__} is given its input by keyword: pass it first, unnamed")
        given = args[1] if len(args) > 1 else kwargs.get("state")
        states[id(args[0])] = StateUse(given, output[1])

    for module in model.modules():
        if neuron_kind(module):
            module.register_forward_hook(note, with_kwargs=True)
    driver: Any = _Driver(model, stepwise)
    return Run(watch_forward(driver, example, _is_leaf), states)


@dataclass(frozen=True, slots=True)
class _Driver:
    """Calls a model on [T, N, ...], step by step or at once; looks like the model to whoever lists its modules."""

    model: nn.Module
    stepwise: bool

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Return the model's modules under the model's own names."""
        return iter(self.model.named_modules())

    def __call__(self, example: torch.Tensor) -> torch.Tensor:
        """Return the model's output, [T, N, ...] unless the model itself makes a readout."""
        if not self.stepwise:
            output = self.model(example)
            while isinstance(output, tuple) and output:  # (output, state), and a Lift within SequentialState nests it
                output = output[0]
            return self._tensor(output)
        outputs, state = [], None
        keyword = _state_parameter(self.model) or "state"
        for frame in example:
            result = self.model(frame, **{keyword: state})
            if not isinstance(result, tuple) or len(result) != 2:  # a tensor would unpack, too
                raise TypeError(f"a model of single steps returns (output, state), not a {type(result).__name__}")
            state = result[1]
            outputs.append(self._tensor(result[0]))
        return torch.stack(outputs)

    def _tensor(self, output: Any) -> torch.Tensor:
        if isinstance(output, torch.Tensor):
            return output
        raise UnsupportedError(
            Finding(
                "E148",
                "error",
                type(self.model).__name__,
                f"the model returns a {type(output).__name__}, not one tensor",
                fix="return the last layer's spikes alone (SequentialState: return_hidden=False)",
            )
        )


def _is_leaf(module: nn.Module) -> bool:
    kind = type(module).__name__
    empty = not any(True for _ in module.children())
    return neuron_kind(module) is not None or (empty and kind not in {"Sequential", "ModuleList", *CONTAINERS})


def _node(call: LeafCall, name: str) -> tuple[list[Node], list[Finding]]:
    """Translate one leaf call, or say why it cannot be."""
    kind = neuron_kind(call.module)
    if kind is not None:
        neuron = translate_neuron(call.module, kind, name)
        return ([neuron], []) if isinstance(neuron, LIF) else ([], neuron)
    made = leaf_nodes(call, name)
    if made is None:
        found = f"{type(call.module).__name__} has no place in a deployable graph"
        fix = f"use Conv2d, Linear, BatchNorm, AvgPool2d, MaxPool2d, Flatten, Dropout and Norse's {SUPPORTED}"
        return [], [Finding("E100", "error", name, found, fix=fix)]
    return ([], [made]) if isinstance(made, Finding) else (made, [])


def _state_findings(call: LeafCall, run: Run, steps: int, made: list[Node]) -> Iterator[Finding]:
    """Yield what is wrong with how often a neuron ran, and with the states it ran from."""
    kind = neuron_kind(call.module)
    wanted = 1 if kind in OVER_TIME else steps
    if len(call.inputs) != wanted:
        yield Finding(
            "E145",
            "error",
            call.name,
            f"{kind} ran {len(call.inputs)} times on an example of {steps} steps",
            f"{wanted}",
            fix="run a cell once per step on [N, ...] and pass its state on, or LIF and IAF once on [T, N, ...]; "
            "SequentialState does it for you",
        )
        return
    uses = [run.states[id(value)] for value in call.inputs]
    rest = made[0].rest if made and isinstance(made[0], LIF) else None
    if rest is not None and not _is_fresh(uses[0].given, rest):
        yield Finding(
            "E146",
            "error",
            call.name,
            f"{kind} does not start from rest: its first state is left over, or another layer's",
            "state None",
            fix="pass state None at the first step, and each layer's state to that layer alone",
        )
    for step, (before, now) in enumerate(pairwise(uses), start=1):
        if not _same_state(before.returned, now.given):
            yield Finding(
                "E146",
                "error",
                call.name,
                f"at step {step}, {kind} does not go on from the state that it returned at step {step - 1}",
                fix="pass each layer the state that it returned, unchanged",
            )
            return


def _is_fresh(state: Any, rest: float) -> bool:
    """Return whether a state is None, or at rest without current."""
    if state is None:
        return True
    current = getattr(state, "i", None)
    at_rest = bool((state.v.double() == rest).all())
    return at_rest and (current is None or not bool(current.any()))


def _same_state(one: Any, other: Any) -> bool:
    """Return whether two states hold the same potentials and currents."""
    if other is None or type(one) is not type(other):
        return False
    return all(a is b or torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _step_length(neurons: list[LeafCall], dt_us: float | None) -> tuple[float | None, list[Finding]]:
    """Return the neurons' step in microseconds, and where neurons or the caller disagree about it."""
    lengths = [(call.name, float(call.module.dt) * 1e6) for call in neurons]
    if not lengths:
        return dt_us, []
    first, length = lengths[0]
    findings = [
        Finding(
            "E144",
            "error",
            name,
            f"dt of {other:g} us, {first} has {length:g} us",
            "one dt for all neurons",
            fix="build every neuron with the same dt",
        )
        for name, other in lengths[1:]
        if not math.isclose(other, length, rel_tol=SAME_DT)
    ]
    if not (math.isfinite(length) and length > 0):
        findings.append(
            Finding("E144", "error", first, f"dt of {length:g} us", "a length above 0", fix="set dt, in seconds")
        )
    elif dt_us is not None and not math.isclose(dt_us, length, rel_tol=SAME_DT):
        findings.append(
            Finding(
                "E144",
                "error",
                first,
                f"dt of {length:g} us in the neurons, but {dt_us:g} us was asked for",
                "one dt",
                fix=f"leave dt_us out, or train with dt={dt_us * 1e-6:g} (seconds)",
            )
        )
    return length, findings


def _axis_findings(placed: list[tuple[LeafCall, Node]], graph: Graph, example: torch.Tensor) -> Iterator[Finding]:
    """Yield the layers that took other axes for time, batch and frame than the graph does."""
    shapes = {node.name: shape for node, _, shape in graph.layers()}
    for call, node in placed:
        wanted = shapes[node.name]
        seen = [tuple(output.shape) for output in call.outputs]
        if not all(_fits(shape, wanted, len(seen), call, example) for shape in seen):
            yield Finding(
                "E149",
                "error",
                node.name,
                f"its output is {list(seen[0])}, which is not the example's frames",
                f"{int(example.shape[0])} steps of {int(example.shape[1])} frames of {list(wanted)}",
                fix="keep [N, ...] at each step, [T, N, ...] over time: flatten frames only, permute nothing",
            )


def _fits(shape: Shape, wanted: Shape, calls: int, call: LeafCall, example: torch.Tensor) -> bool:
    """Return whether one output of a layer is whole frames, in the number that its calls call for."""
    lead = shape[: len(shape) - len(wanted)]
    if shape[len(lead) :] != wanted:
        return False
    steps, clips = int(example.shape[0]), int(example.shape[1])
    if neuron_kind(call.module) in OVER_TIME:
        return lead == (steps, clips)
    if neuron_kind(call.module):
        return lead == (clips,)
    return math.prod(lead) * calls == steps * clips
