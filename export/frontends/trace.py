"""Watching one forward pass: which leaf module was fed by which, found from the tensors themselves.

Symbolic tracing fails on time loops and on shape branches, and once returned a truncated network without
a word; a walk over the modules misses reuse and joins. Watching a real run sees what happened. Every
tensor that derives from the input carries a *source*: the leaf call it came out of. A leaf call is
identified by its module and by its own source, so a time loop that calls the same layer T times is one
node, and one pooling module used behind two layers is two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

Key = tuple[Any, ...]
INPUT: Key = ("input",)

# Operations that only move values about, or that nothing spiking depends on.
MOVES = frozenset(
    """getitem __getitem__ unbind stack cat concat concatenate permute transpose view reshape flatten unflatten
    unsqueeze squeeze contiguous clone detach to float double chunk split select narrow expand movedim swapaxes
    type_as requires_grad_ view_as expand_as hstack vstack zeros_like ones_like""".split()  # noqa: SIM905
)
READOUTS = frozenset(
    """mean sum argmax max softmax log_softmax add add_ iadd __iadd__ __add__ __radd__ div truediv div_
    __truediv__""".split()  # noqa: SIM905
)


@dataclass(slots=True)
class LeafCall:
    """One leaf module in its place in the data flow, with what went in and out at every call."""

    name: str
    module: nn.Module
    source: Key
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """All leaf calls by key, and the key the model's output derives from."""

    calls: dict[Key, LeafCall]
    output: Key


class _Watch(TorchFunctionMode):
    """Follow sources through torch functions that are called between leaf modules."""

    def __init__(self, example: torch.Tensor, calls: dict[Key, LeafCall]) -> None:
        super().__init__()
        self.calls = calls
        self.keys: dict[int, Key] = {}
        self.storages: dict[int, Key] = {}
        self.keep: list[torch.Tensor] = []  # ids and addresses are only unique while the tensors live
        self.depth = 0  # inside a leaf module its own arithmetic is nobody's business
        self.remember(example, INPUT)

    def remember(self, tensor: torch.Tensor, key: Key) -> None:
        """Note where a tensor comes from."""
        self.keys[id(tensor)] = key
        self.storages[tensor.untyped_storage().data_ptr()] = key
        self.keep.append(tensor)

    def source(self, tensor: torch.Tensor) -> Key | None:
        """Return where a tensor comes from; a plain index makes a view that no mode gets to see."""
        return self.keys.get(id(tensor)) or self.storages.get(tensor.untyped_storage().data_ptr())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.depth:
            return result
        sources = {source for t in _tensors((args, kwargs)) if (source := self.source(t)) is not None}
        if sources:
            name = getattr(func, "__name__", str(func))
            pool = pool_module(name, args, kwargs or {}) if len(sources) == 1 else None
            key = self._merged(name, sources) if pool is None else self._called(name, pool, sources.pop(), args)
            for tensor in _tensors(result):
                if id(tensor) not in self.keys or name not in MOVES:
                    self.remember(tensor, key)
        return result

    def _called(self, name: str, module: nn.Module, source: Key, args: Any) -> Key:
        """Note a pool that was written as a function as if it were a module, and return its key."""
        key = (name, source)
        call = self.calls.setdefault(key, LeafCall(name, module, source))
        call.inputs.append(next(_tensors(args)))
        return key

    @staticmethod
    def _merged(name: str, sources: set[Key]) -> Key:
        """Return the source of a function's result from the sources of its arguments."""
        bare = {_without_readouts(source) for source in sources}
        if name in READOUTS and len(bare) == 1:  # a running sum over a time loop is still one readout
            return ("function", name, bare.pop())
        key = next(iter(sources)) if len(sources) == 1 else ("join", name, *sorted(sources, key=str))
        return key if name in MOVES or name == "__get__" else ("function", name, key)


def pool_module(name: str, args: Any, kwargs: dict[str, Any]) -> nn.Module | None:
    """Return the module that does what a pooling function was called to do; None for any other function.

    >>> pool_module("avg_pool2d", (torch.zeros(1, 1, 4, 4), 2), {})
    AvgPool2d(kernel_size=2, stride=2, padding=0)
    """
    if name not in POOLS:
        return None
    names, module = POOLS[name]
    said = dict(zip(names, args[1:], strict=False)) | {key: value for key, value in kwargs.items() if key in names}
    if said.get("stride") in ((), []):  # how torch itself writes "as large as the kernel"
        del said["stride"]
    return module(**said)


POOLS: dict[str, tuple[tuple[str, ...], type[torch.nn.Module]]] = {
    "avg_pool2d": (
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
        torch.nn.AvgPool2d,
    ),
    "max_pool2d": (("kernel_size", "stride", "padding", "dilation", "ceil_mode"), torch.nn.MaxPool2d),
    "adaptive_avg_pool2d": (("output_size",), torch.nn.AdaptiveAvgPool2d),
}


def _without_readouts(key: Key) -> Key:
    while key[0] == "function" and key[1] in READOUTS:
        key = key[2]
    return key


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def watch_forward(model: Any, example: torch.Tensor, is_leaf: Any) -> Trace:
    """Run ``model(example)`` once without gradients and return who fed whom.

    ``model`` is a module, or whatever can be called and lists the modules it calls.

    ``is_leaf(module)`` names the modules to treat as one operation. Hooks are removed in any case.
    """
    calls: dict[Key, LeafCall] = {}
    watch = _Watch(example, calls)

    def before(module: nn.Module, args: Any) -> None:
        watch.depth += 1

    def after(name: str) -> Any:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            watch.depth -= 1
            if watch.depth:
                return
            value = next(_tensors(args))
            source = watch.source(value) or ("unknown",)
            key = (name, source)
            call = calls.setdefault(key, LeafCall(name, module, source))
            call.inputs.append(value)
            result = next(_tensors(output))
            if result is value:  # an identity must not overwrite its own source
                return
            call.outputs.append(result)
            watch.remember(result, key)

        return record

    handles: list[Any] = []
    for name, module in model.named_modules():
        if is_leaf(module):
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after(name or type(module).__name__)))
    try:
        with torch.no_grad(), watch:
            output = next(_tensors(model(example)))
    finally:
        for handle in handles:
            handle.remove()
    return Trace(calls, watch.source(output) or ("unknown",))
