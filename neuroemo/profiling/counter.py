"""Count the operations of a live torch model, exactly and by the code that also counts a simulator's spikes.

Hooks see the input of every layer as it is computed; ``tally.Tally`` turns it into integers. What
cannot be counted is named in ``OpCounts.partial``: unknown modules, parameters used outside a module, and
matrix products or convolutions that bypass the counted modules (seen by torch's dispatcher).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counts import CountingPolicy, CoveredModule, OpCounts, merge_counts
from neuroemo.profiling.fanout import Counts
from neuroemo.profiling.layers import (
    PlannedModule,
    call_input,
    descends,
    input_axes,
    module_fan_out,
    own_parameters,
    plan_model,
    why_uncountable,
)
from neuroemo.profiling.tally import Tally, steps_and_samples

if TYPE_CHECKING:
    from torch import Tensor, nn

# Names of torch's operators (aten) that multiply and accumulate; what is composed of them arrives as them.
_PRODUCTS = frozenset(
    (
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "addbmm",
        "mv",
        "addmv",
        "dot",
        "vdot",
        "addr",
        "linear",
        "matmul",
        "_trilinear",
    )
)
_PRODUCT_PARTS = ("convolution", "attention", "transformer", "rnn", "lstm", "gru")


def count_operations(
    model: nn.Module, batches: Iterable[Tensor], *, time_first: bool = True, loop_steps: bool = False
) -> OpCounts:
    """Run a model on batches and return what every layer cost: AC, MAC, dense MAC, spikes, neuron updates.

    ``batches`` yields [T, N, ...] (``time_first``) or, for an ANN, [N, ...]. With ``loop_steps`` the model is
    called once per step on [N, ...]; else once per batch. It runs in eval mode without gradients, its neurons
    are reset before and after each batch, and its train/eval modes are put back.

    Where the model loops over time itself, its calls are taken to be time-outermost; if the number of calls
    is not a multiple of T they are attributed to the last step and named in ``notes`` (totals stay exact).

    Raises:
        InputError: no batch, something that is no batch, unequal numbers of steps, or NaN inside the model.
    """
    from torch import Tensor

    if isinstance(batches, Tensor):
        raise InputError(Finding("E802", "error", "batches", "a tensor", "an iterable of tensors", fix="pass [tensor]"))
    if loop_steps and not time_first:
        raise InputError(Finding("E803", "error", "loop_steps", "batches without a time axis", "[T, N, ...]"))
    plan = plan_model(model)
    fan_outs: dict[tuple[str, tuple[int, ...]], Counts] = {}
    with _inference(model):
        return merge_counts(_count_batch(model, plan, fan_outs, batch, time_first, loop_steps) for batch in batches)


class _Recorder:
    """What the hooks of one batch write into."""

    def __init__(
        self,
        plan: Sequence[PlannedModule],
        fan_outs: dict[tuple[str, tuple[int, ...]], Counts],
        steps: int,
        samples: int,
    ) -> None:
        self.plan, self.fan_outs = plan, fan_outs
        self.size = (steps, samples)
        self.step: int | None = None
        self.open: list[PlannedModule] = []
        self.tallies = {
            item.name: Tally("synapse" if item.role.kind == "synapse" else "neuron", item.type, steps, samples)
            for item in plan
            if item.role.kind in ("synapse", "neuron")
        }
        self.covered: dict[str, CoveredModule] = {}
        self.partial = {
            item.name: f"{item.type}: holds parameters of its own, what they compute is not counted"
            for item in plan
            if item.role.kind in ("container", "unknown") and own_parameters(item.module)
        }

    def enter(self, item: PlannedModule, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count one call before it runs (pre-hook)."""
        self.open.append(item)
        if item.role.kind == "synapse":
            self._synapse(item, inputs, kwargs)
        elif item.role.kind == "neuron":
            sums = self.tallies[item.name].sums
            sums["calls"] += 1
            sums["neuron_updates"] += _numel(call_input(inputs, kwargs))
        elif item.role.kind == "covered":
            before = self.covered[item.name].elements if item.name in self.covered else 0
            elements = before + _numel(call_input(inputs, kwargs))
            self.covered[item.name] = CoveredModule(item.type, item.role.rule, elements)
        elif item.role.kind == "unknown":
            self.partial.setdefault(item.name, f"{item.type}: no rule for this type of module")

    def leave(self, item: PlannedModule, output: Any) -> None:
        """Count what comes out of a neuron (forward hook)."""
        self.open.pop()
        if item.role.kind == "neuron":
            self.tallies[item.name].sums["spikes_out"] += _nonzero(output[0] if isinstance(output, tuple) else output)

    def product(self, operation: str) -> None:
        """Note a matrix product or a convolution that no counted or listed module is responsible for."""
        if not self.open or self.open[-1].role.kind == "container":
            name = self.open[-1].name if self.open else self.plan[0].name
            self.partial.setdefault(name, f"calls {operation} outside any counted module")

    def _synapse(self, item: PlannedModule, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if reason := why_uncountable(item.module, inputs, kwargs):
            self.partial.setdefault(item.name, f"{item.type}: {reason}")
            return
        values = _array(call_input(inputs, kwargs))
        shape = values.shape[values.ndim - input_axes(item.module) :]
        key = (item.name, shape)
        if key not in self.fan_outs:
            self.fan_outs[key] = module_fan_out(item.module, shape)
        self.tallies[item.name].add_events(values, self.fan_outs[key], item.name, self.step)

    def result(self) -> OpCounts:
        """Return the counts of the batch."""
        finished = {name: tally.finish() for name, tally in self.tallies.items()}
        notes = {name: note for name, (_, note) in finished.items() if note}
        notes |= {
            name: "never called"
            for name, (layer, _) in finished.items()
            if not layer.calls and name not in self.partial
        }
        layers = {name: layer for name, (layer, _) in finished.items()}
        steps, samples = self.size
        return OpCounts(layers, samples, steps, self.partial, self.covered, notes, CountingPolicy())


def _count_batch(
    model: nn.Module,
    plan: Sequence[PlannedModule],
    fan_outs: dict[tuple[str, tuple[int, ...]], Counts],
    batch: Tensor,
    time_first: bool,
    loop_steps: bool,
) -> OpCounts:
    from torch import Tensor

    if not isinstance(batch, Tensor):
        raise InputError(Finding("E802", "error", "batches", f"a {type(batch).__name__}", "a tensor of inputs alone"))
    lead = tuple(batch.shape) if time_first else (1, *batch.shape)
    recorder = _Recorder(plan, fan_outs, *steps_and_samples(lead, "batch"))
    _reset(model)
    try:
        with _hooks(recorder), _dispatch_watch(recorder):
            if loop_steps:
                for recorder.step in range(len(batch)):
                    model(batch[recorder.step])
            else:
                model(batch)
    finally:
        _reset(model)
    return recorder.result()


@contextmanager
def _inference(model: nn.Module) -> Iterator[None]:
    """Hold a model in eval mode without gradients, then put each module's own mode back."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _hooks(recorder: _Recorder) -> Iterator[None]:
    handles: list[Any] = []

    def attach(item: PlannedModule) -> None:
        def before(_: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorder.enter(item, inputs, kwargs)

        def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            recorder.leave(item, output)

        handles.append(item.module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(item.module.register_forward_hook(after))

    try:
        for item in recorder.plan:
            attach(item)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _dispatch_watch(recorder: _Recorder) -> AbstractContextManager[Any]:
    """Return a mode that shows the recorder every matrix product and convolution that torch runs."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            operation = func._schema.name.split("::")[-1]
            if operation in _PRODUCTS or any(part in operation for part in _PRODUCT_PARTS):
                recorder.product(operation)
            return func(*args, **(kwargs or {}))

    return Watch()


def _reset(model: nn.Module) -> None:
    """Reset the neurons of a SpikingJelly model; a model without any does not import the library."""
    if any(descends(module, "spikingjelly", frozenset({"MemoryModule"})) for module in model.modules()):
        from spikingjelly.activation_based import functional

        functional.reset_net(model)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    import torch

    plain = tensor.detach()
    # numpy has no bfloat16; float32 holds every one of its values.
    plain = plain.float() if plain.dtype == torch.bfloat16 else plain
    return plain.cpu().numpy()  # type: ignore[no-any-return]


def _numel(value: Any) -> int:
    return int(value.numel()) if hasattr(value, "numel") else 0


def _nonzero(value: Any) -> int:
    return int(value.count_nonzero()) if hasattr(value, "count_nonzero") else 0
