"""Exact synaptic fan-out in closed form, and the exact count of what a set of inputs triggers.

An event at an input position is multiplied into as many outputs as there are kernel taps that read it.
Along one axis of length ``size``, with H_out outputs and K taps::

    f[y] = #{(o, k) : o * stride - padding + k * dilation == y,  0 <= o < H_out,  0 <= k < K}

and for a whole convolution ``F[c, y, x] = (C_out / groups) * fy[y] * fx[x]``. Taps that fall on padding
read nothing and are not counted, so ``F.sum()`` is the border-aware number of dense multiply-accumulates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from hw_targets.graph import window_count

Counts: TypeAlias = npt.NDArray[np.int64]
Reads: TypeAlias = npt.NDArray[np.bool_]
Padding: TypeAlias = int | tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class EventCounts:
    """Operations triggered at each leading (time, sample, ...) index, int64 arrays of the leading shape.

    ``acs``: accumulates, from elements that are exactly 1 or -1. ``macs``: multiply-accumulates, from
    other non-zero elements. ``spikes_in``: non-zero elements, including those that reach no output.
    """

    acs: Counts
    macs: Counts
    spikes_in: Counts


def axis_fan_out(size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> Counts:
    """Return how many (output, tap) pairs read each of ``size`` input positions along one axis, int64 [size].

    ``f[y] = #{(o, k): o * stride - padding + k * dilation == y, 0 <= o < H_out, 0 <= k < K}``; a pair as
    ``padding`` is (before, after).

    >>> axis_fan_out(6, kernel=3).tolist()
    [1, 2, 3, 3, 2, 1]
    >>> axis_fan_out(6, kernel=3, stride=2, padding=1).tolist()
    [1, 2, 1, 2, 1, 1]

    Raises:
        InputError: a size, kernel, stride or dilation below 1, a negative padding, or no window fits.
    """
    return np.asarray(axis_reads(size, kernel, stride, padding, dilation).sum(axis=1, dtype=np.int64))


def axis_reads(size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> Reads:
    """Return which tap reads which input position along one axis, bool [size, K]: at most one output each.

    Raises:
        InputError: see ``axis_fan_out``.
    """
    before, after = (padding, padding) if isinstance(padding, int) else padding
    _positive(size=size, kernel=kernel, stride=stride, dilation=dilation)
    if min(before, after) < 0:
        raise InputError(Finding("E090", "error", "padding", f"{min(before, after)}", "0 or more"))
    outputs = window_count(size + before + after, kernel, stride, 0, dilation)
    if outputs < 1:
        raise InputError(
            Finding("E091", "error", "fan-out", f"no window of {kernel} taps fits {size} positions", "1 window")
        )
    origin = np.arange(size)[:, None] + before - np.arange(kernel)[None, :] * dilation
    return np.asarray((origin % stride == 0) & (origin >= 0) & (origin < outputs * stride))


def transposed_axis_fan_out(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> Counts:
    """Return how many outputs each input of a transposed convolution reaches along one axis, int64 [size].

    ``f[i] = #{k: 0 <= i * stride - padding + k * dilation < H_out, 0 <= k < K}`` with
    ``H_out = (size - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1`` (torch's ConvTranspose).

    >>> transposed_axis_fan_out(4, kernel=3, stride=2, padding=1).tolist()
    [2, 3, 3, 2]

    Raises:
        InputError: see ``axis_fan_out``.
    """
    reads = transposed_axis_reads(size, kernel, stride, padding, dilation, output_padding)
    return np.asarray(reads.sum(axis=1, dtype=np.int64))


def transposed_axis_reads(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> Reads:
    """Return which tap carries which input of a transposed convolution to an output, bool [size, K].

    Raises:
        InputError: see ``axis_fan_out``.
    """
    _positive(size=size, kernel=kernel, stride=stride, dilation=dilation)
    outputs = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
    if min(padding, output_padding) < 0 or outputs < 1:
        raise InputError(Finding("E091", "error", "fan-out", f"{outputs} outputs, padding {padding}", "1 output"))
    target = np.arange(size)[:, None] * stride - padding + np.arange(kernel)[None, :] * dilation
    return np.asarray((target >= 0) & (target < outputs))


def conv_fan_out(
    shape: Sequence[int],
    out_channels: int,
    kernel: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[Padding] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Counts:
    """Return the fan-out map int64 [C, *space] of a zero-padded convolution on inputs of ``shape``.

    ``F[c, y, x] = (C_out / groups) * fy[y] * fx[x]``, in any number of space axes.

    >>> int(conv_fan_out((2, 128, 128), 32, (3, 3)).sum())  # 126 * 126 * 9 * 2 * 32, the paper's "9.1M"
    9144576

    Raises:
        InputError: channels that ``groups`` does not divide, or see ``axis_fan_out``.
    """
    axes = len(kernel)
    settings = (
        shape[1:],
        kernel,
        per_axis(stride, axes),
        per_axis(padding, axes),
        per_axis(dilation, axes),
    )
    _same_length(shape, axes, settings)
    return _combine(shape[0], out_channels, groups, [axis_fan_out(*axis) for axis in zip(*settings, strict=True)])


def conv_transpose_fan_out(
    shape: Sequence[int],
    out_channels: int,
    kernel: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> Counts:
    """Return the fan-out map int64 [C, *space] of a transposed convolution on inputs of ``shape``.

    >>> conv_transpose_fan_out((1, 4), 5, (3,), stride=2, padding=1).tolist()
    [[10, 15, 15, 10]]

    Raises:
        InputError: see ``conv_fan_out``.
    """
    axes = len(kernel)
    settings = (
        shape[1:],
        kernel,
        *(per_axis(value, axes) for value in (stride, padding, dilation, output_padding)),
    )
    _same_length(shape, axes, settings)
    return _combine(
        shape[0],
        out_channels,
        groups,
        [transposed_axis_fan_out(*axis) for axis in zip(*settings, strict=True)],
    )


def linear_fan_out(inputs: int, outputs: int) -> Counts:
    """Return the fan-out of a dense layer: ``outputs`` at every one of its inputs, int64 [inputs].

    >>> linear_fan_out(3, 20).tolist()
    [20, 20, 20]

    Raises:
        InputError: fewer than one input or output.
    """
    _positive(inputs=inputs, outputs=outputs)
    return np.full(inputs, outputs, dtype=np.int64)


def weight_fan_out(
    weight_shape: Sequence[int],
    input_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[Padding] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Counts:
    """Return the fan-out map int64 [*input_shape] of stored weights, [N_out, N_in] or [C_out, C_in/groups, *K].

    For two axes the layer is dense and ``input_shape`` may be any shape of N_in elements.

    >>> int(weight_fan_out((20, 18), (2, 3, 3)).sum()), int(weight_fan_out((4, 2, 3, 3), (2, 5, 5)).sum())
    (360, 648)

    Raises:
        InputError: weights and inputs that do not belong together, or see ``conv_fan_out``.
    """
    outputs, inputs, *kernel = weight_shape
    expected = math.prod(input_shape) if not kernel else input_shape[0]
    if expected != inputs * groups or (not kernel and groups != 1):
        found = f"weights {tuple(weight_shape)} in {groups} groups for inputs {tuple(input_shape)}"
        raise InputError(Finding("E098", "error", "fan-out", found, "weights of that many inputs"))
    if not kernel:
        return linear_fan_out(inputs, outputs).reshape(tuple(input_shape))
    return conv_fan_out(input_shape, outputs, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


def dense_macs(fan_out: Counts) -> int:
    """Return the multiply-accumulates of one dense evaluation, those on padding excluded: sum of the map.

    >>> dense_macs(conv_fan_out((1, 4, 4), 1, (3, 3), padding=1))  # 10 * 10, and not 16 * 9
    100
    """
    return int(fan_out.sum(dtype=np.int64))


def zero_padding(module: Any) -> tuple[Padding, ...]:
    """Return the zeros around each axis of a torch convolution; ``same`` puts the odd one at the end (_ConvNd)."""
    if module.padding == "valid":
        return (0,) * len(module.kernel_size)
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple(module.padding)


@dataclass(frozen=True, slots=True, eq=False)
class FanOut:
    """A fan-out map made ready for counting: one plane of it as floats, and how long exact sums of it may run."""

    shape: tuple[int, ...]
    size: int
    dense: int
    plane: npt.NDArray[Any]
    stretch: int


def prepare_fan_out(fan_out: Counts, name: str = "values") -> FanOut:
    """Return a map ready for ``count_events``; worth keeping where one map counts many inputs.

    Raises:
        InputError: a map without entries or with negative ones.
    """
    if not fan_out.size or (fan_out < 0).any():
        raise InputError(Finding("E093", "error", name, f"a fan-out map of {fan_out.size} entries", "1, none negative"))
    channels = np.ascontiguousarray(fan_out).reshape(fan_out.shape[0], -1)
    repeats = channels.shape[1] > 1 and bool((channels == channels[0]).all())
    plane = channels[0] if repeats else channels.reshape(-1)
    largest = int(plane.max())
    # Integers up to 2^24 (2^53) are exact in float32 (float64), in any order of summation.
    kind, exact = next(
        (kind, bound)
        for kind, bound in ((np.float32, 1 << 24), (np.float64, 1 << 53), (np.int64, 1 << 63))
        if largest <= bound
    )
    stretch = max(1, min(exact // max(largest, 1), 1 << 20))
    return FanOut(fan_out.shape, fan_out.size, dense_macs(fan_out), plane.astype(kind), stretch)


def count_events(values: npt.ArrayLike, fan_out: Counts | FanOut, *, name: str = "values") -> EventCounts:
    """Count what inputs ``values`` [..., *fan_out.shape] trigger, per leading index and exactly.

    ``acs = sum F[|v| = 1]``, ``macs = sum F[v != 0, |v| != 1]``, decided element by element: one graded
    value makes that element's fan-out multiply-accumulates and leaves all others what they are.

    >>> counts = count_events([[0.0, 1.0, -1.0, 0.5]], linear_fan_out(4, 10))
    >>> counts.acs.tolist(), counts.macs.tolist(), counts.spikes_in.tolist()
    ([20], [10], [3])

    Raises:
        InputError: NaN or infinite values, values that are not real numbers, or a shape that does not fit.
    """
    ready = fan_out if isinstance(fan_out, FanOut) else prepare_fan_out(fan_out, name)
    rows, lead = _as_rows(values, ready, name)
    result = count_prepared(rows, ready, name)
    units, events, elements = (row.reshape(lead) for row in result[:3])
    return EventCounts(units, events - units, elements)


def count_prepared(rows: npt.NDArray[Any], fan_out: FanOut, name: str) -> Counts:
    """Count contiguous rows [R, M]: int64 [4, R], accumulates, all events, non-zero elements, zeros.

    Raises:
        InputError: NaN or infinite values.
    """
    from neuroemo.profiling.counting.kernel import count_rows

    result = np.empty((4, rows.shape[0]), dtype=np.int64)
    if strange := count_rows(rows, fan_out.plane, fan_out.stretch, result):
        raise InputError(Finding("E095", "error", name, f"{strange} values are NaN or infinite", "0"))
    return result


def _as_rows(values: npt.ArrayLike, fan_out: FanOut, name: str) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """Return values as contiguous rows [R, M] of a type that the kernel takes, and their leading shape."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InputError(Finding("E092", "error", name, f"values of type {array.dtype}", "real numbers"))
    space = len(fan_out.shape)
    if array.ndim < space or array.shape[array.ndim - space :] != fan_out.shape:
        wanted = ", ".join(map(str, fan_out.shape))
        raise InputError(Finding("E094", "error", name, f"shape {array.shape}", f"[..., {wanted}]"))
    lead = array.shape[: array.ndim - space]
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    elif array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        # Half precision becomes single without loss; what is longer than double keeps its zeros and ones.
        array = array.astype(np.float32 if array.dtype.itemsize == 2 else np.float64)
    return np.ascontiguousarray(array).reshape(math.prod(lead), fan_out.size), lead


def _combine(channels: int, out_channels: int, groups: int, axes: list[Counts]) -> Counts:
    _positive(channels=channels, out_channels=out_channels, groups=groups)
    if channels % groups or out_channels % groups:
        found = f"{channels} input and {out_channels} output channels in {groups} groups"
        raise InputError(Finding("E096", "error", "groups", found, "channels that divide"))
    plane = reduce(np.multiply.outer, axes) * (out_channels // groups)
    return np.tile(plane, (channels, *(1 for _ in axes)))


def per_axis(value: Any, axes: int) -> Sequence[Any]:
    """Return a setting as one value per space axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _same_length(shape: Sequence[int], axes: int, settings: tuple[Sequence[Any], ...]) -> None:
    if axes < 1 or any(len(setting) != axes for setting in settings):
        found = f"shape {tuple(shape)} with settings for {axes} axes"
        raise InputError(Finding("E097", "error", "fan-out", found, "one setting per space axis"))


def _positive(**values: int) -> None:
    findings = [Finding("E090", "error", name, f"{value}", "1 or more") for name, value in values.items() if value < 1]
    if findings:
        raise InputError(findings)
