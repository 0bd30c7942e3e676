"""Count the operations of a live torch model, exactly and by the code that also counts a simulator's spikes.

Every layer is watched as it is called; ``tally.Tally`` turns its input into integers. Products outside the
layers of torch and of the spiking libraries are seen by ``products.Products``. What cannot be counted is named in
``OpCounts.partial``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.counts import OpCounts, merge_counts
from neuroemo.profiling.counting.layers import call_input, plan_model
from neuroemo.profiling.counting.neurons import descends
from neuroemo.profiling.counting.policy import BatchNormPolicy, Pooling, counting_policy
from neuroemo.profiling.counting.products import Products
from neuroemo.profiling.counting.recorder import Plan, Recorder
from neuroemo.profiling.counting.tally import steps_and_samples

if TYPE_CHECKING:
    from torch import Tensor, nn

    from neuroemo.profiling.counting.layers import PlannedModule

Progress: TypeAlias = Callable[[int, int | None], None]


def count_operations(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    time_first: bool = True,
    loop_steps: bool = False,
    pooling: Pooling = "event",
    batch_norm: BatchNormPolicy = "folded",
    skip_zero_weights: bool = False,
    keep_samples: bool = True,
    progress: Progress | None = None,
) -> OpCounts:
    """Run a model on batches and return what every layer cost: AC, MAC, dense MAC, spikes, neuron updates.

    ``batches`` yields [T, N, ...] (``time_first``) or, for an ANN, [N, ...]; of a tuple, as data loaders
    give, the first entry. With ``loop_steps`` the model is called once per step on [N, ...]; else once per
    batch. It runs in eval mode without gradients, its neurons are reset before and after each batch, and
    its train/eval modes are put back. One batch is held at a time; without ``keep_samples`` the samples of
    a batch are summed at once. ``progress(samples so far, all samples or None)`` is called after every batch.

    Where the model loops over time itself, its calls are taken to be time-outermost; if the number of calls
    is not a multiple of T they are attributed to the last step and named in ``notes`` (totals stay exact).

    >>> import torch
    >>> spikes = torch.tensor([[[1.0, 0.0, -1.0, 0.5]]])  # T = 1, N = 1: two spikes and a gray value
    >>> total = count_operations(torch.nn.Linear(4, 10), [spikes]).total
    >>> total.acs, total.macs, total.dense_macs
    (20, 10, 40)

    Raises:
        InputError: no batch, something that is no batch, unequal numbers of steps, an unknown policy, or NaN
            inside the model.
    """
    from torch import Tensor

    if isinstance(batches, Tensor):
        raise InputError(Finding("E802", "error", "batches", "a tensor", "an iterable of tensors", fix="pass [tensor]"))
    if loop_steps and not time_first:
        raise InputError(Finding("E803", "error", "loop_steps", "batches without a time axis", "[T, N, ...]"))
    counting_policy(pooling, batch_norm, skip_zero_weights)
    plan = Plan(plan_model(model), pooling, batch_norm, skip_zero_weights)

    total = _samples_of(batches)

    def counted() -> Iterator[OpCounts]:
        done = 0
        for batch in batches:
            counts = _count_batch(model, plan, _tensor_of(batch), time_first, loop_steps)
            done += counts.samples
            yield counts
            if progress is not None:
                progress(done, total)

    with _inference(model):
        return merge_counts(counted(), keep_samples=keep_samples)


def _samples_of(batches: Any) -> int | None:
    """Return how many samples a data loader will give, None for other iterables."""
    try:
        return len(batches.dataset)
    except (AttributeError, TypeError):
        return None


def _tensor_of(batch: Any) -> Tensor:
    from torch import Tensor

    inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if not isinstance(inputs, Tensor):
        raise InputError(
            Finding("E802", "error", "batches", f"a {type(inputs).__name__}", "a tensor, or a tuple with one first")
        )
    return inputs


def _count_batch(model: nn.Module, plan: Plan, batch: Tensor, time_first: bool, loop_steps: bool) -> OpCounts:
    lead = tuple(batch.shape) if time_first else (1, *batch.shape)
    recorder = Recorder(plan, *steps_and_samples(lead, "batch"))
    plan.foreseen.forget()
    _reset(model)
    try:
        with _watched(recorder), Products(recorder):
            if loop_steps:
                for recorder.step in range(len(batch)):
                    model(batch[recorder.step])
            else:
                model(batch)
    finally:
        _reset(model)
    return recorder.result()


@contextmanager
def _watched(recorder: Recorder) -> Iterator[None]:
    """Let every planned module tell the recorder when it is called, then put all of them back.

    A forward of the instance is what torch calls after the user's own pre-hooks; a registered hook
    would send every call down torch's slow path, 5 % of a small network's time.
    """
    before = [(item.module, item.module.__dict__.get("forward")) for item in recorder.plan.modules]
    try:
        for item in recorder.plan.modules:
            item.module.__dict__["forward"] = _teller(recorder, item)
        yield
    finally:
        for module, own in before:
            module.__dict__.pop("forward", None)
            if own is not None:
                module.__dict__["forward"] = own


def _teller(recorder: Recorder, item: PlannedModule) -> Callable[..., Any]:
    """Return a forward that tells the recorder what goes into a module and what comes out of it."""
    import torch

    forward = item.module.forward
    unwatched = torch._C.DisableTorchFunction
    before, after = recorder.before(item), recorder.after(item)
    stack = recorder.open

    def watched(*inputs: Any, **kwargs: Any) -> Any:
        value = call_input(inputs, kwargs)
        stack.append(item)
        try:
            # The products of these synapses are counted one by one, as they are computed.
            if item.role.kind != "synapse":
                before(item, value)
            output = forward(*inputs, **kwargs)
            after(item, value, output)
        finally:
            stack.pop()
        return output

    def known(*inputs: Any, **kwargs: Any) -> Any:
        # What a known layer does with one input is known; what it does with more is watched.
        if len(inputs) != 1 or kwargs:
            return watched(*inputs, **kwargs)
        value = inputs[0]
        with unwatched():
            before(item, value)
            output = forward(value)
            after(item, value, output)
        return output

    return known if item.role.opaque else watched


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


def _reset(model: nn.Module) -> None:
    """Reset the neurons of a SpikingJelly model; a model without any does not import the library."""
    if any(descends(module, "spikingjelly", frozenset({"MemoryModule"})) for module in model.modules()):
        from spikingjelly.activation_based import functional

        functional.reset_net(model)
