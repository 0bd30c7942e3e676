"""Products outside the known layers: attention, functional convolutions, a forward of the user's own.

Two watchers of torch stand one behind the other. ``Products`` sees every function of torch that the model calls, at a
cost of about a microsecond, and waves all but products through. A product runs under ``_Inside``, which sees the
operators that it is made of and counts them from their operands. Operators that fuse what they do into one
piece are named as not counted.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from neuroemo.profiling.counting.counts import Geometry
from neuroemo.profiling.counting.fanout import (
    EventCounts,
    FanOut,
    conv_fan_out,
    conv_transpose_fan_out,
    count_events,
    linear_fan_out,
    prepare_fan_out,
)
from neuroemo.profiling.counting.foreseen import array_of, storage_of
from neuroemo.profiling.counting.recorder import Recorder
from neuroemo.profiling.counting.tally import Tally

# A function whose name has one of these parts is looked into; looking into one that multiplies nothing is harmless.
_SUSPECTS = (
    "conv", "linear", "matmul", "mm", "mv", "dot", "einsum", "attention", "lstm", "gru", "rnn", "inner",
    "chain", "cdist", "addr", "product", "transformer", "multi_head",
)  # fmt: skip
_PAST_TORCH = "past torch"
_FUSED = ("attention", "transformer", "rnn", "lstm", "gru", "fbgemm", "mkldnn_linear", "_trilinear")


class Products(TorchFunctionMode):
    """Counts the products that a model computes outside its known layers into a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.suspect: dict[Any, str] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one function of torch, watched if it may multiply."""
        name = self.suspect.get(func)
        if name is None:
            name = self.suspect[func] = _suspicion(func)
        if not name:
            return func(*args, **(kwargs or {}))
        if name == _PAST_TORCH:
            self.recorder.foreseen.blind = True
            return func(*args, **(kwargs or {}))
        weight = _weight_argument(name, args, kwargs or {})
        with _unfused(name), _Inside(self.recorder, name, weight):
            return func(*args, **(kwargs or {}))


def _suspicion(func: Any) -> str:
    """Return the name of a function that may multiply, that of a way past torch to the memory, or nothing."""
    spelled = str(getattr(func, "__name__", func)).strip("_")
    if spelled in ("numpy", "array", "dlpack", "data_ptr", "set") or getattr(func, "__self__", None) is Tensor.data:
        return _PAST_TORCH
    return spelled if any(part in spelled for part in _SUSPECTS) else ""


def _weight_argument(name: str, args: Any, kwargs: Any) -> Any:
    """Return the operand that a convolution or linear function calls its weights, whatever it was made of."""
    if name not in ("linear", *(f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in (1, 2, 3))):
        return None
    return args[1] if len(args) > 1 else kwargs.get("weight")


def _unfused(name: str) -> Any:
    """Return a context in which attention, or an LSTM, is computed as the products that it is written with.

    On a processor torch hands a whole LSTM to oneDNN in one piece unless that is switched off.
    """
    from contextlib import nullcontext

    if "lstm" in name:
        return _without_onednn()
    if "attention" not in name and "multi_head" not in name:
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Hold oneDNN off; newer releases of torch warn about graphics cards when its switch is touched."""
    from torch.backends import mkldnn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mkldnn.flags(enabled=False):  # type: ignore[no-untyped-call]
            yield


class _Inside(TorchDispatchMode):
    """Counts the operators that one product is made of."""

    def __init__(self, recorder: Recorder, name: str, weight: Any) -> None:
        super().__init__()
        self.recorder, self.name = recorder, name
        self.weights = set() if weight is None else {storage_of(weight)}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operator and run it."""
        operation = func._schema.name.split("::")[-1]
        if operation == "convolution":
            self._convolution(*args, **(kwargs or {}))
        elif operation in ("mm", "bmm", "mv", "dot", "vdot", "linear"):
            transposed = args[1].t() if operation == "linear" else args[1]
            self._multiply(args[0], transposed)
            if operation == "linear" and len(args) > 2 and args[2] is not None:
                self.recorder.used.add(storage_of(args[2]))
        elif operation in ("addmm", "baddbmm", "addbmm", "addmv"):
            self.recorder.used.add(storage_of(args[0]))
            self._multiply(args[1], args[2])
        elif any(part in operation for part in _FUSED):
            self.recorder.uncounted(f"{operation} does several products in one piece")
        return func(*args, **(kwargs or {}))

    def _is_weight(self, operand: Tensor) -> bool:
        storage = storage_of(operand)
        return storage in self.weights or storage in self.recorder.plan.owners

    def _tally(self, weight: Tensor | None, geometry: Geometry) -> tuple[str, Tally]:
        """Return the tally of a product: that of the layer whose weights it uses, or of the module it is in."""
        recorder = self.recorder
        inside = recorder.open[-1]
        owner = None if weight is None else recorder.plan.owners.get(storage_of(weight))
        if weight is not None:
            recorder.used.add(storage_of(weight))
        name = inside.name if inside.role.kind == "synapse" else owner or f"{inside.name}:{self.name}"
        tally = recorder.tally(name, "synapse", self.name)
        if tally.geometry is None:
            tally.geometry = geometry
        return name, tally

    def _convolution(
        self,
        value: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Any,
        padding: Any,
        dilation: Any,
        transposed: bool,
        output_padding: Any,
        groups: int,
    ) -> None:
        axes = weight.ndim - 2
        shape = tuple(value.shape[-axes - 1 :])
        settings = {"stride": stride, "padding": padding, "dilation": dilation}
        where: dict[str, Any] = {key: tuple(entry) * (axes // len(entry)) for key, entry in settings.items()}
        channels, kernel = weight.shape[1] * groups if transposed else weight.shape[0], tuple(weight.shape[2:])
        if transposed:
            extra = tuple(output_padding) * (axes // len(output_padding))
            fan_out = conv_transpose_fan_out(shape, channels, kernel, groups=groups, output_padding=extra, **where)
        else:
            fan_out = conv_fan_out(shape, channels, kernel, groups=groups, **where)
        biases = 0 if bias is None else bias.numel()
        if bias is not None:
            self.recorder.used.add(storage_of(bias))
        geometry = Geometry(
            "transposed" if transposed else "conv", shape, (channels,), kernel, where["stride"], groups,
            weight.numel(), biases,
        )  # fmt: skip
        self._events(value, weight, prepare_fan_out(fan_out), geometry)

    def _multiply(self, left: Tensor, right: Tensor) -> None:
        """Count left [B, M, K] times right [B, K, N], or fewer axes of either."""
        if left.ndim == right.ndim == 3 and left.shape[0] == 1:
            left, right = left[0], right[0]
        if self._is_weight(right) and left.ndim == 2 and right.ndim == 2:
            self._weighted(left, right, right.shape[1])
        elif self._is_weight(left) and left.ndim == 2 and right.ndim <= 2:
            columns = right.t() if right.ndim == 2 else right[None]
            self._weighted(columns, left, left.shape[0])
        else:
            self._activations(left, right)

    def _weighted(self, rows: Tensor, weight: Tensor, outputs: int) -> None:
        inputs = rows.shape[1]
        geometry = Geometry("dense", (inputs,), (outputs,), weights=weight.numel())
        self._events(rows, weight, prepare_fan_out(linear_fan_out(inputs, outputs)), geometry)

    def _events(self, value: Tensor, weight: Tensor, fan_out: FanOut, geometry: Geometry) -> None:
        name, tally = self._tally(weight, geometry)
        if self.recorder.plan.skip_zero_weights:
            self.recorder.notes.setdefault(name, "a product outside a known layer: its zero weights are not skipped")
        array = array_of(value)
        counts = count_events(array, fan_out, name=name)
        tally.add_counted(counts, fan_out.dense, self.recorder.step, grouped=True)
        tally.elements += array.size

    def _activations(self, left: Tensor, right: Tensor) -> None:
        """Count a product of two activations: a pair costs nothing, an AC or a MAC by both its factors."""
        a = left.reshape(-1, *left.shape[-2:]) if left.ndim > 1 else left.reshape(1, 1, -1)
        b = right.reshape(-1, *right.shape[-2:]) if right.ndim > 1 else right.reshape(1, -1, 1)
        shapes = tuple(a.shape[1:]), tuple(b.shape[1:])
        geometry = Geometry("product", (*shapes[0], *shapes[1]), (a.shape[1], b.shape[2]))
        name, tally = self._tally(None, geometry)
        counts = count_pairs(a, b, name)
        tally.add_counted(counts, math.prod(shapes[0]) * shapes[1][1], self.recorder.step, grouped=True)
        tally.elements += a.numel() + b.numel()


def count_pairs(left: Tensor, right: Tensor, name: str = "product") -> EventCounts:
    """Count the products of two activations, left [B, M, K] times right [B, K, N], for each of B.

    With a[k] the non-zero elements of column k of the left factor, b[k] those of row k of the right one, and
    g those that are neither 0 nor +-1::

        MAC = sum over k of g_left[k] * g_right[k]        AC = sum over k of a[k] * b[k] - MAC

    >>> import torch
    >>> counts = count_pairs(torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[2.0], [0.25]]]))
    >>> counts.acs.tolist(), counts.macs.tolist(), counts.spikes_in.tolist()
    ([1], [1], [4])

    Raises:
        InputError: NaN or infinite values.
    """
    import torch

    from hw_targets.finding import Finding, InputError

    strange = sum(int((~torch.isfinite(factor)).sum()) for factor in (left, right) if factor.is_floating_point())
    if strange:
        raise InputError(Finding("E848", "error", name, f"{strange} values are NaN or infinite", "0"))

    def per_index(marked: Tensor, axis: int) -> Tensor:
        return marked.sum(dim=axis, dtype=torch.int64)

    events = [(left != 0), (right != 0)]
    graded = [event & (factor.abs() != 1) for event, factor in zip(events, (left, right), strict=True)]
    pairs = per_index(events[0], 1) * per_index(events[1], 2)
    macs = (per_index(graded[0], 1) * per_index(graded[1], 2)).sum(dim=1)
    spikes = events[0].flatten(1).sum(dim=1) + events[1].flatten(1).sum(dim=1)
    acs = pairs.sum(dim=1) - macs
    return EventCounts(*(value.cpu().numpy() for value in (acs, macs, spikes)))
