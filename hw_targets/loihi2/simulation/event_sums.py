"""Synaptic sums from the messages that are not 0: each one adds its weights where they go, silence costs nothing.

With messages x, channels last, and weights w (strides s, padding p, dilation d)::

    a[y, x, o] = sum over i, j, c of w[o, c, i, j] x[y s - p + i d, x s - p + j d, c]
    a[o]       = sum over i of w[o, i] x[i]                                              (dense)

One event of input column x reaches the output columns (x + p - j d) / s, which lie next to each other: for every
kernel row it adds *one* contiguous run of weights, stored in that order, to one contiguous run of sums. The sums of
the few output rows that are still open stay in the first-level cache and leave it once, when they are complete. Sums
are held in 16 bits where the weights prove that none can leave them, in 32 bits otherwise: exact either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hw_targets.graph import Array, Pair, Shape
from hw_targets.loihi2.simulation.event_kernels import VECTOR_BYTES, convolve, multiply

Number = type[np.int8] | type[np.int16] | type[np.int32]
NARROW_MAX = 2**15 - 1
WIDE_MAX = 2**31 - 1
MOST_VECTORS = 3
"""Vectors that one addition handles at once; longer runs are cut into several."""
PAGE_BYTES = 4096
SLOT_OFFSET_BYTES = 1344
"""Distance of two open rows within a page, so that a row's loads are not mistaken for another row's stores."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Weights arranged for sums of one width, that of ``like``; ``vectors`` are as many zeros as are added at once.

    An event at position [x, c] of a row adds runs that begin at ``weight_at`` to sums that begin at ``sum_at``, int64
    [W C_in]; ``geometry`` is what ``convolve`` unpacks.
    """

    weights: Array
    sum_at: Array
    weight_at: Array
    like: Array
    vectors: tuple[int, ...]
    geometry: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class EventConv:
    """A convolution that is summed event by event.

    ``weight`` integers [C_out, C_in/groups, kH, kW]; ``input_hw`` and ``output_hw`` (H, W).

    >>> kernel = np.array([[[[1, 2, 3]]]])
    >>> conv = EventConv(kernel, (1, 1), (0, 1), (1, 1), 1, (1, 4), (1, 4))
    >>> conv.sums(np.array([0, 0, 5, 0]).reshape(1, 1, 4, 1)).ravel()
    array([ 0, 15, 10,  5], dtype=int32)
    """

    weight: Array
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    input_hw: Pair
    output_hw: Pair

    def sums(self, messages: Array, out: Array | None = None, *, compact: bool = False) -> Array:
        """Return sums int32 [B, H_out, W_out, C_out] of integer messages [B, H, W, C_in].

        ``out`` int32 or int16, of that shape and contiguous, is filled instead of a new array; ``compact`` asks for
        int16 wherever the weights prove that every sum fits (half the memory to write and read).

        Raises:
            OverflowError: the weights do not prove that every sum fits 32 bits (or the 16 of ``out``).
        """
        messages, graded, largest = _prepared(self._sides, messages)
        shape = (len(messages), *self.output_hw, self.weight.shape[0])
        result = _result(shape, largest, out, compact)
        runs = self._narrow if _is_narrow(largest, messages) else self._wide
        rows = result if self.groups == 1 else np.empty(shape, dtype=result.dtype)
        convolve(
            messages.reshape(len(messages), messages.shape[1], -1),
            graded,
            runs.sum_at,
            runs.weight_at,
            runs.weights,
            runs.like,
            runs.vectors,
            runs.geometry,
            rows.reshape(len(messages), self.output_hw[0], self.groups, -1),
        )
        if self.groups > 1:
            by_group = rows.reshape(len(messages), self.output_hw[0], self.groups, self.output_hw[1], -1)
            result[...] = np.moveaxis(by_group, 2, 3).reshape(shape)
        return result

    def count(self, messages: Array) -> int:
        """Return how many synapses the messages [B, H, W, C_in] that are not 0 reach, those of weight 0 included."""
        active = np.count_nonzero(messages, axis=(0, 3))
        rows, columns = (
            _taps(self.input_hw[axis], self.output_hw[axis], self.weight.shape[2 + axis], *each)
            for axis, each in enumerate(zip(self.stride, self.padding, self.dilation, strict=True))
        )
        return int(rows @ active @ columns) * (self.weight.shape[0] // self.groups)

    @property
    def one_sided(self) -> int:
        """Largest sum of the weights of one sign into a neuron."""
        return self._sides[0]

    def of_channels(self, channels: slice) -> EventConv:
        """Return the convolution of some of the input channels."""
        return replace(self, weight=np.ascontiguousarray(self.weight[:, channels]))

    @cached_property
    def _sides(self) -> tuple[int, int]:
        return _largest_rows(self.weight)

    @cached_property
    def _narrow(self) -> Runs:
        return self._arranged(np.int16)

    @cached_property
    def _wide(self) -> Runs:
        return self._arranged(np.int32)

    def _arranged(self, number: Number) -> Runs:
        """Lay the weights out as runs [column phase, C_in, kH, run]; a run goes by output column, then by channel.

        An input column x has the phase (x + padding) % stride, and reaches outputs from (x + padding) // stride down.
        """
        height, stride, itemsize = self.weight.shape[2], self.stride[1], np.dtype(number).itemsize
        channels = self.weight.shape[0] // self.groups
        taps = -(-((self.weight.shape[3] - 1) * self.dilation[1] + 1) // stride)
        parts, vectors = _cut(taps * channels, VECTOR_BYTES // itemsize)
        run = parts * vectors * VECTOR_BYTES // itemsize
        last, phases = np.divmod(np.arange(self.input_hw[1])[:, None] + self.padding[1], stride)
        plane = max(int(last[-1, 0]) + taps, taps - 1 + self.output_hw[1]) * channels
        source = np.arange(self.weight.shape[1] * self.groups)[None, :]
        used = self.groups * plane + run
        slots = (height - 1) * self.dilation[0] // self.stride[0] + 1
        return Runs(
            self._run_weights(number, taps, run).reshape(-1),
            (last * channels + source // self.weight.shape[1] * plane).reshape(-1),
            ((phases * source.size + source) * height * run).reshape(-1),
            np.empty(0, dtype=number),
            (0,) * vectors,
            (
                *(height, self.stride[0], self.padding[0], self.dilation[0]),
                *(channels, taps - 1, plane, used, _slot(used, itemsize), slots, parts),
            ),
        )

    def _run_weights(self, number: Number, taps: int, run: int) -> Array:
        outputs, inputs, height, width = self.weight.shape
        channels = outputs // self.groups
        weights = aligned((self.stride[1], inputs * self.groups, height, run), number)
        for column in range(width):
            tap, phase = divmod(column * self.dilation[1], self.stride[1])
            start = (taps - 1 - tap) * channels
            each = self.weight[:, :, :, column].reshape(self.groups, channels, inputs, height)
            weights[phase, :, :, start : start + channels] = each.transpose(0, 2, 3, 1).reshape(-1, height, channels)
        return weights


@dataclass(frozen=True, eq=False)
class EventDense:
    """A matrix product that is summed event by event; ``weight`` integers [M_out, M_in].

    >>> EventDense(np.array([[10, -3], [1, 2]])).sums(np.array([[0, 7]]))
    array([[-21,  14]], dtype=int32)
    """

    weight: Array

    def sums(self, messages: Array, out: Array | None = None, *, compact: bool = False) -> Array:
        """Return sums int32 [B, M_out] of integer messages [B, M_in]; see ``EventConv.sums``."""
        messages, graded, largest = _prepared(self._sides, messages)
        result = _result((len(messages), len(self.weight)), largest, out, compact)
        like, weights, vectors = self._narrow if _is_narrow(largest, messages) else self._wide
        multiply(messages, graded, weights.reshape(-1), weights.shape[1], like, vectors, result)
        return result

    def count(self, messages: Array) -> int:
        """Return how many synapses the messages that are not 0 reach, those of weight 0 included."""
        return int(np.count_nonzero(messages)) * len(self.weight)

    @cached_property
    def _sides(self) -> tuple[int, int]:
        return _largest_rows(self.weight)

    @cached_property
    def _narrow(self) -> tuple[Array, Array, tuple[int, ...]]:
        return self._arranged(np.int16)

    @cached_property
    def _wide(self) -> tuple[Array, Array, tuple[int, ...]]:
        return self._arranged(np.int32)

    def _arranged(self, number: Number) -> tuple[Array, Array, tuple[int, ...]]:
        """Lay the weights out by input, with a last row of 0 for the events that fill up a group of rows."""
        outputs, inputs = self.weight.shape
        lanes = VECTOR_BYTES // np.dtype(number).itemsize
        parts, vectors = _cut(outputs, lanes)
        row = parts * vectors * lanes
        small: Number = np.int8 if np.abs(self.weight).max(initial=0) <= np.iinfo(np.int8).max else number
        weights = aligned((inputs + 1, row), small)
        weights[:inputs, :outputs] = self.weight.T
        return np.empty(0, dtype=number), weights, (0,) * vectors


def aligned(shape: Shape, number: Number) -> Array:
    """Return zeros whose memory begins at a vector's boundary."""
    itemsize = np.dtype(number).itemsize
    room = np.zeros(int(np.prod(shape)) + VECTOR_BYTES // itemsize, dtype=number)
    start = -room.ctypes.data % VECTOR_BYTES // itemsize
    return room[start : start + int(np.prod(shape))].reshape(shape)


def _cut(length: int, lanes: int) -> tuple[int, int]:
    """Return into how many parts a run is cut, and how many vectors each has.

    >>> _cut(96, 32), _cut(160, 32)
    ((1, 3), (2, 3))
    """
    needed = -(-length // lanes)
    parts = -(-needed // MOST_VECTORS)
    return parts, -(-needed // parts)


def _slot(size: int, itemsize: int) -> int:
    """Return the distance of two open rows, at least ``size`` numbers."""
    smallest = size * itemsize
    return (smallest + (SLOT_OFFSET_BYTES - smallest) % PAGE_BYTES) // itemsize


def _prepared(sides: tuple[int, int], messages: Array) -> tuple[Array, Array | None, int]:
    """Return the messages contiguous (in 8 bits if they fit), a mark if any is not 0 or 1, and the largest sum."""
    highest = int(messages.max(initial=0))
    lowest = 0 if messages.dtype == np.uint8 else int(messages.min(initial=0))
    number = np.uint8 if lowest >= 0 and highest <= np.iinfo(np.uint8).max else np.int32
    one_sided, two_sided = sides
    # At least 1, though all may be silent: the weights themselves have to fit the sums.
    largest = max(-lowest, highest, 1) * (two_sided if lowest < 0 else one_sided)
    graded = None if lowest >= 0 and highest <= 1 else np.empty(0, dtype=np.int64)
    return np.ascontiguousarray(messages, dtype=number), graded, largest


def _largest_rows(weight: Array) -> tuple[int, int]:
    """Return the largest sum of the weights of one sign into a neuron, and the largest of all magnitudes."""
    rows = weight.reshape(len(weight), -1).astype(np.int64, copy=False)
    above, below = rows.sum(axis=1, where=rows > 0), -rows.sum(axis=1, where=rows < 0)
    return int(max(above.max(initial=0), below.max(initial=0))), int((above + below).max(initial=0))


def _is_narrow(largest: int, messages: Array) -> bool:
    """Whether to sum in 16 bits; 32-bit messages are rare enough to go without a kernel of their own for that."""
    return largest <= NARROW_MAX and messages.dtype == np.uint8


def _result(shape: Shape, largest: int, out: Array | None, compact: bool) -> Array:
    """Return where the sums go; refuse what they might not fit."""
    number = np.dtype(np.int16 if compact and largest <= NARROW_MAX else np.int32) if out is None else out.dtype
    limit = NARROW_MAX if number == np.int16 else WIDE_MAX
    if largest > limit:
        raise OverflowError(f"a synaptic sum could reach {largest}; {limit} fits")
    return np.empty(shape, dtype=number) if out is None else out


def _taps(size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int) -> Array:
    """Return, for every input position of one axis, how many outputs it reaches."""
    reach = np.arange(size)[:, None] + padding - np.arange(kernel)[None, :] * dilation
    return ((reach >= 0) & (reach % stride == 0) & (reach // stride < outputs)).sum(axis=1)
