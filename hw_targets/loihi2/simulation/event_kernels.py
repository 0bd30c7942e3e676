"""The compiled inner loops of the event-driven path: find the messages that are not 0, add their weights where they go.

LLVM does not vectorise runs as short as these well (ten times slower, measured), so the two inner operations are
written as vector instructions of 64 bytes. They are LLVM's portable ones: a processor without AVX-512 executes each as
two or four of its own.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hw_targets.graph import Array

vector_operation: Any = intrinsic
VECTOR_BYTES = 64
ROWS_AT_ONCE = 4
"""Rows of a dense weight matrix that are added in registers before the sums are written back."""


def _pointer(builder: Any, context: Any, kind: Any, array: Any, index: Any, vector: ir.VectorType) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _load(builder: Any, pointer: Any, element_bytes: int) -> Any:
    value = builder.load(pointer)
    value.align = element_bytes
    return value


@vector_operation
def _add_rows(_typing: Any, sums: Any, at: Any, weights: Any, rows: Any, factors: Any, vectors: Any) -> tuple[Any, Any]:
    """Add ``len(vectors)`` vectors of each row of ``weights`` to ``sums[at:]``, times its factor if there are any."""
    signature = types.void(sums, types.intp, weights, types.UniTuple(types.intp, rows.count), factors, vectors)
    bits = sums.dtype.bitwidth
    lanes = VECTOR_BYTES * 8 // bits
    wide, stored = ir.VectorType(ir.IntType(bits), lanes), ir.VectorType(ir.IntType(weights.dtype.bitwidth), lanes)

    def spread(builder: Any, number: Any, index: int) -> Any:
        scalar = builder.trunc(builder.extract_value(number, index), ir.IntType(bits))
        first = builder.insert_element(ir.Constant(wide, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
        return builder.shuffle_vector(first, ir.Constant(wide, ir.Undefined), zeros)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums_, at_, weights_, rows_, factors_, _ = arguments
        totals = []
        for block in range(vectors.count):
            offset = ir.Constant(ir.IntType(64), block * lanes)
            target = _pointer(builder, context, sums, sums_, builder.add(at_, offset), wide)
            total = _load(builder, target, bits // 8)
            for index in range(rows.count):
                start = builder.add(builder.extract_value(rows_, index), offset)
                row = _load(
                    builder, _pointer(builder, context, weights, weights_, start, stored), weights.dtype.bitwidth // 8
                )
                row = builder.sext(row, wide) if stored != wide else row
                if factors is not types.none:
                    row = builder.mul(row, spread(builder, factors_, index))
                total = builder.add(total, row)
            totals.append((target, total))
        for target, total in totals:
            builder.store(total, target).align = bits // 8
        return context.get_dummy_value()

    return signature, generate


@vector_operation
def _copy(_typing: Any, sums: Any, at: Any, out: Any, to: Any) -> tuple[Any, Any]:
    """Copy one vector from ``sums[at:]`` to ``out[to:]``, whose numbers may be wider, or narrower where all fit."""
    held, kept = sums.dtype.bitwidth, out.dtype.bitwidth
    lanes = VECTOR_BYTES * 8 // held
    source, target = (ir.VectorType(ir.IntType(bits), lanes) for bits in (held, kept))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums_, at_, out_, to_ = arguments
        values = _load(builder, _pointer(builder, context, sums, sums_, at_, source), held // 8)
        if held != kept:
            values = builder.sext(values, target) if held < kept else builder.trunc(values, target)
        builder.store(values, _pointer(builder, context, out, out_, to_, target)).align = kept // 8
        return context.get_dummy_value()

    return types.void(sums, types.intp, out, types.intp), generate


@vector_operation
def _active(_typing: Any, messages: Any, at: Any) -> tuple[Any, Any]:
    """Return as bits which of the next 64 bytes of ``messages`` hold a message that is not 0, lowest first."""
    bits = messages.dtype.bitwidth
    vector = ir.VectorType(ir.IntType(bits), VECTOR_BYTES * 8 // bits)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _load(builder, _pointer(builder, context, messages, arguments[0], arguments[1], vector), bits // 8)
        found = builder.icmp_unsigned("!=", values, ir.Constant(vector, None))
        mask = builder.bitcast(found, ir.IntType(vector.count))
        return mask if vector.count == 64 else builder.zext(mask, ir.IntType(64))

    return types.uint64(messages, types.intp), generate


@vector_operation
def _lowest(_typing: Any, _mask: Any) -> tuple[Any, Any]:
    """Return the number of the lowest bit that is set; at least one must be."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@numba.njit(cache=True, nogil=True, error_model="numpy")
def list_events(row: Array, positions: Array) -> int:
    """Write the position of every message of ``row`` that is not 0, in order, and return how many there are."""
    lanes = VECTOR_BYTES // row.itemsize
    found = 0
    whole = row.size // lanes * lanes
    for start in range(0, whole, lanes):
        mask = _active(row, start)
        while mask != 0:
            positions[found] = start + _lowest(mask)
            found += 1
            mask &= mask - np.uint64(1)
    for index in range(whole, row.size):
        if row[index] != 0:
            positions[found] = index
            found += 1
    return found


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scatter(
    positions: Array,
    factors: Array | None,
    found: int,
    sum_at: Array,
    weight_at: Array,
    runs: Array,
    run_count: int,
    sums: Array,
    weights: Array,
    vectors: tuple[int, ...],
) -> None:
    """Add every event's runs of weights; ``runs`` [2, ...] holds where each run starts in the sums and the weights."""
    for event in range(found):
        position = positions[event]
        sum_start = np.int64(sum_at[position])
        weight_start = np.int64(weight_at[position])
        for run in range(run_count):
            if factors is None:
                _add_rows(sums, sum_start + runs[0, run], weights, (weight_start + runs[1, run],), None, vectors)
            else:
                factor = (factors[event],)
                _add_rows(sums, sum_start + runs[0, run], weights, (weight_start + runs[1, run],), factor, vectors)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _aligned_zeros(size: int, like: Array) -> Array:
    lanes = VECTOR_BYTES // like.itemsize
    room = np.zeros(size + lanes, dtype=like.dtype)
    start = (-room.ctypes.data % VECTOR_BYTES) // like.itemsize
    return room[start : start + size]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _hand_out(sums: Array, start: int, size: int, plane: int, first: int, out: Array) -> None:
    """Copy one complete row of sums to ``out`` [G, W_out C_out / G] and clear its place for another."""
    lanes = VECTOR_BYTES // sums.itemsize
    for group in range(out.shape[0]):
        source = start + group * plane + first
        target = out[group]
        whole = target.size // lanes * lanes
        for index in range(0, whole, lanes):
            _copy(sums, source + index, target, index)
        for index in range(whole, target.size):
            target[index] = sums[source + index]
    sums[start : start + size] = 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def convolve(
    messages: Array,
    graded: Array | None,
    sum_at: Array,
    weight_at: Array,
    weights: Array,
    like: Array,
    vectors: tuple[int, ...],
    geometry: tuple[int, ...],
    out: Array,
) -> None:
    """Fill ``out`` [B, H_out, G, W_out C_out / G] from ``messages`` [B, H, W C]."""
    kernel, stride, padding, dilation, channels, first, plane, used, slot, slots, parts = geometry
    frames, height, width = messages.shape
    rows = out.shape[1]
    chunk = len(vectors) * (VECTOR_BYTES // like.itemsize)
    sums = _aligned_zeros(slots * slot, like)
    positions = np.empty(width, dtype=np.int32)
    values = np.empty(width, dtype=np.int64)
    runs = np.empty((2, kernel * parts), dtype=np.int64)
    for frame in range(frames):
        done = 0
        for y in range(height):
            while done < rows and done * stride - padding + (kernel - 1) * dilation < y:
                _hand_out(sums, done % slots * slot, used, plane, first * channels, out[frame, done])
                done += 1
            found = list_events(messages[frame, y], positions)
            count = 0
            for i in range(kernel):
                reach = y + padding - i * dilation
                if reach >= 0 and reach % stride == 0 and reach // stride < rows:
                    for part in range(parts):
                        runs[0, count] = (reach // stride) % slots * slot + part * chunk
                        runs[1, count] = (i * parts + part) * chunk
                        count += 1
            if graded is None:
                _scatter(positions, None, found, sum_at, weight_at, runs, count, sums, weights, vectors)
            else:
                for event in range(found):
                    values[event] = messages[frame, y, positions[event]]
                _scatter(positions, values, found, sum_at, weight_at, runs, count, sums, weights, vectors)
        while done < rows:
            _hand_out(sums, done % slots * slot, used, plane, first * channels, out[frame, done])
            done += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def multiply(
    messages: Array,
    graded: Array | None,
    weights: Array,
    row_size: int,
    like: Array,
    vectors: tuple[int, ...],
    out: Array,
) -> None:
    """Fill ``out`` [B, M_out] from ``messages`` [B, M_in]; the last row of ``weights`` is 0."""
    frames, inputs = messages.shape
    chunk = len(vectors) * (VECTOR_BYTES // like.itemsize)
    sums = _aligned_zeros(row_size, like)
    positions = np.empty(inputs + ROWS_AT_ONCE, dtype=np.int32)
    values = np.empty(inputs + ROWS_AT_ONCE, dtype=np.int64)
    for frame in range(frames):
        found = list_events(messages[frame], positions)
        for extra in range(ROWS_AT_ONCE):
            positions[found + extra] = inputs
        if graded is not None:
            for event in range(found):
                values[event] = messages[frame, positions[event]]
            values[found : found + ROWS_AT_ONCE] = 0
        for event in range(0, found, ROWS_AT_ONCE):
            for part in range(0, row_size, chunk):
                rows = (
                    np.int64(positions[event]) * row_size + part,
                    np.int64(positions[event + 1]) * row_size + part,
                    np.int64(positions[event + 2]) * row_size + part,
                    np.int64(positions[event + 3]) * row_size + part,
                )
                if graded is None:
                    _add_rows(sums, part, weights, rows, None, vectors)
                else:
                    factors = (values[event], values[event + 1], values[event + 2], values[event + 3])
                    _add_rows(sums, part, weights, rows, factors, vectors)
        for index in range(out.shape[1]):
            out[frame, index] = sums[index]
        sums[:] = 0
