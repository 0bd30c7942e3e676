"""Recurrent layers: what a neuron sends reaches the layer itself one step later.

For feed-forward sums ff and recurrent weights R [M, M] (with delays D, where there are any)::

    a[t] = ff[t] + (R m[t - 1] >> shift)              m: spikes 0 and 1, or integer messages
    a_i[t] = ff_i[t] + sum over j of R_ij m_j[t - 1 - D_ij]

and a drives LIF neurons or sigma-delta neurons. In Lava both synapse processes hold their sum back by one step, so that
its clock shows the same a, one step later. netx hands the one delay matrix of a layer to both synapses: Lava builds
that only where the layer has as many inputs as neurons, and the recurrent messages are then late by the same matrix.

Messages are sparse, so each one adds its column of R to the sums to come; the neuron update follows in the same pass.

Source: lava-dl 0.6.0 ``netx/blocks/process.py`` (RecurrentDense), lava-nc 0.10.0 ``proc/dense/models.py``,
``proc/lif/models.py`` (PyLifModelBitAcc), ``proc/sdn/models.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from hw_targets.graph import Array
from hw_targets.loihi2.simulation.delays import DELAY_MAX
from hw_targets.loihi2.simulation.lif import integrate_bounded, integrate_exact
from hw_targets.loihi2.simulation.sigma_delta import (
    IN_RECURRENT,
    KINDS,
    LIMIT,
    Overflow,
    SigmaDeltaNeurons,
    SigmaDeltaState,
    found_overflow,
    no_overflow,
    update,
)


class Recurrence:
    """The recurrent synapses of a layer of M neurons, arranged once for any number of chunks.

    Args:
        weight: integers [M, M], as Lava holds them.
        delay: integers [M, M], 0 to 62 steps on top of the one that every message takes.
        weight_exponent: the sum is shifted left by this many bits, or right (rounding down) if negative.
        payload: largest magnitude of a message (1: spikes); without it messages may be anything that fits 32 bits.
        binary: whether a message counts as 1 whatever it carries (Lava, when the layer's *input* is spikes).

    ``largest`` is the largest magnitude that a sum can reach, for the payload.

    Raises:
        ValueError: shapes that differ, a delay outside 0 to 62, or a delay with a weight exponent, which netx
            never passes on.
    """

    def __init__(
        self,
        weight: Array,
        *,
        delay: Array | None = None,
        weight_exponent: int = 0,
        payload: int | None = None,
        binary: bool = False,
    ) -> None:
        weight = np.asarray(weight, dtype=np.int64)
        if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
            raise ValueError(f"recurrent weights {weight.shape} are not one row and one column per neuron")
        _check_delay(weight, delay, weight_exponent)
        self.neurons = len(weight)
        self.shift = max(0, -weight_exponent)
        self.binary = binary
        weight = weight << max(0, weight_exponent)
        self.largest = int(np.abs(weight).sum(axis=1).max(initial=0)) * (1 if binary else payload or 2**31)
        # Narrow sums are twice as fast to add up, and exact where none can reach 2^31.
        self.dtype = np.int32 if self.largest < LIMIT else np.int64
        self.columns = np.ascontiguousarray(weight.T, dtype=self.dtype)
        self.largest >>= self.shift
        self.targets = np.empty((0, 0), dtype=np.int64)
        self.span = 1
        if delay is not None and np.any(delay):
            self.span = int(np.max(delay)) + 1
            late = np.ascontiguousarray(np.asarray(delay, dtype=np.int64).T)
            order = np.argsort(late, axis=1, kind="stable")  # each column in the order in which it arrives
            self.columns = np.take_along_axis(self.columns, order, axis=1)
            self.targets = np.take_along_axis(late, order, axis=1) * self.neurons + order

    def pending(self, samples: int) -> Array:
        """Return the recurrent sums of the steps to come before the first one, [N, span, M], all zero."""
        return np.zeros((samples, self.span, self.neurons), dtype=self.dtype)


def _check_delay(weight: Array, delay: Array | None, weight_exponent: int) -> None:
    if delay is None:
        return
    if np.shape(delay) != weight.shape:
        raise ValueError(f"recurrent weights {weight.shape} with delays {np.shape(delay)}")
    if weight_exponent:
        raise ValueError("recurrent delays with a weight exponent; Lava knows no such layer")
    if np.size(delay) and not 0 <= np.min(delay) <= np.max(delay) <= DELAY_MAX:
        raise ValueError(f"delays of {np.min(delay)} to {np.max(delay)} steps; 0 to {DELAY_MAX} are possible")


@dataclass(frozen=True, slots=True)
class LifConstants:
    """Constants of M LIF neurons, int32 [M] each: bias and threshold shifted left by 6, and 4096 - decay."""

    bias: Array
    keep_current: Array
    keep_potential: Array
    threshold: Array

    @classmethod
    def spread(
        cls,
        neurons: int,
        *,
        bias: int | Array,
        current_decay: int | Array,
        voltage_decay: int | Array,
        threshold: int | Array,
    ) -> LifConstants:
        """Return them from the integers of a ``ChipLayer``, one or one per neuron."""
        values = (np.left_shift(bias, 6), np.subtract(4096, current_decay), np.subtract(4096, voltage_decay))
        spread = (np.broadcast_to(value, neurons) for value in (*values, np.left_shift(threshold, 6)))
        return cls(*(np.ascontiguousarray(value, dtype=np.int32) for value in spread))


@dataclass(frozen=True, slots=True)
class Traces:
    """Arrays [T, N, M] to record a (int64), u or sigma, and v before the reset or act (int32) in, unless empty."""

    drive: Array
    current: Array
    membrane: Array

    @classmethod
    def of(cls, shape: tuple[int, ...] = (0, 0, 0)) -> Traces:
        """Return arrays for a run of that shape; without one, none that record."""
        return cls(np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int32))


def run_recurrent_lif(
    sums: Array,
    recurrence: Recurrence,
    constants: LifConstants,
    u: Array,
    v: Array,
    pending: Array,
    *,
    counts: Array | None = None,
    bounded: bool = False,
    traces: Traces | None = None,
) -> tuple[Array, int]:
    """Run T steps of feed-forward sums [T, N, M]; return spikes uint8 [T, N, M] and the largest magnitude of a.

    ``sums`` are exact integers of any dtype. ``u`` and ``v`` int32 [N, M] and ``pending`` (``Recurrence.pending``) are
    carried on in place, ``counts`` int64 [T, N] gets the number of spikes added. ``bounded`` promises that no a can
    leave +-2^17 and that every decay is within 0 to 4096: a faster kernel, and the largest magnitude is returned as 0.

    >>> recurrence = Recurrence(np.array([[0, 3], [9, 0]]), payload=1)  # neuron 0 sends 9 to 1, which sends back 3
    >>> constants = LifConstants.spread(2, bias=0, current_decay=4096, voltage_decay=0, threshold=8)
    >>> u, v = np.zeros((1, 2), np.int32), np.zeros((1, 2), np.int32)
    >>> sums = np.array([[[9, 0]], [[0, 0]], [[0, 0]], [[0, 0]]])
    >>> spikes, largest = run_recurrent_lif(sums, recurrence, constants, u, v, recurrence.pending(1))
    >>> spikes[:, 0].tolist(), largest, v.tolist()
    ([[1, 0], [0, 1], [0, 0], [0, 0]], 9, [[192, 0]])
    """
    spikes = np.empty(sums.shape, dtype=np.uint8)
    traces = traces or Traces.of()
    largest = _run_lif(
        sums,
        recurrence.columns,
        recurrence.targets,
        recurrence.shift,
        constants.bias,
        constants.keep_current,
        constants.keep_potential,
        constants.threshold,
        bool(constants.keep_current.any()),
        bounded and traces.drive.size == 0,
        u,
        v,
        pending,
        spikes,
        np.zeros(sums.shape[:2], dtype=np.int64) if counts is None else counts,
        traces.drive,
        traces.current,
        traces.membrane,
    )
    return spikes, int(largest)


def run_recurrent_sigma_delta(
    sums: Array,
    recurrence: Recurrence,
    neurons: SigmaDeltaNeurons,
    state: SigmaDeltaState,
    pending: Array,
    *,
    traces: Traces | None = None,
) -> tuple[Array, Overflow | None]:
    """Run T steps of feed-forward sums [T, N, M]; return messages int32 [T, N, M] and the first overflow, if any.

    ``state`` and ``pending`` (``Recurrence.pending``) are carried on in place. After an overflow nothing is of use.

    >>> recurrence = Recurrence(np.array([[-64]]))
    >>> sums = np.array([128, 0, 0, 0]).reshape(4, 1, 1)
    >>> neurons = SigmaDeltaNeurons("sigma_delta", 1, threshold=1, spike_exponent=0)
    >>> state, pending = SigmaDeltaState.zeros(1, 1), recurrence.pending(1)
    >>> messages, _ = run_recurrent_sigma_delta(sums, recurrence, neurons, state, pending)
    >>> messages.ravel().tolist()  # sigma 128, 128 - 64 x 2, 0 + 64 x 2, 128 - 64 x 2
    [2, -2, 2, -2]
    """
    messages = np.zeros(sums.shape, dtype=np.int32)
    constant = neurons.constant_overflow()
    if constant is not None:
        return messages, constant
    traces = traces or Traces.of()
    first = no_overflow()
    _run_sigma_delta(
        KINDS[neurons.kind],
        sums,
        recurrence.columns,
        recurrence.targets,
        recurrence.shift,
        recurrence.binary,
        neurons.scaled_bias(),
        neurons.threshold * neurons.unit,
        neurons.unit,
        state.sigma,
        state.act,
        state.residue,
        pending,
        messages,
        traces.drive,
        traces.current,
        traces.membrane,
        first,
    )
    return messages, found_overflow(first)


@numba.njit(cache=True, nogil=True)
def _run_lif(
    sums: Array,
    columns: Array,
    targets: Array,
    shift: int,
    bias: Array,
    keep_u: Array,
    keep_v: Array,
    threshold: Array,
    memory: bool,
    bounded: bool,
    u: Array,
    v: Array,
    pending: Array,
    spikes: Array,
    counts: Array,
    drive_trace: Array,
    current_trace: Array,
    membrane_trace: Array,
) -> int:
    steps, samples, neurons = sums.shape
    span = pending.shape[1]
    recording = drive_trace.size > 0
    narrow = np.empty((1, 1, neurons), dtype=np.int32)
    wide = np.empty((1, 1, neurons), dtype=np.int64)
    future = np.empty((steps + span, neurons), dtype=pending.dtype)
    largest = 0
    for n in range(samples):
        future[:span], future[span:] = pending[n], 0
        one = slice(n, n + 1)
        for t in range(steps):
            now = slice(t, t + 1)
            sent = spikes[now, one]
            if bounded:
                _add_narrow(sums[t, n], future[t], shift, narrow[0, 0])
                integrate_bounded(
                    narrow, bias, keep_u, keep_v, threshold, memory, u[one], v[one], sent, counts[now, one]
                )
            else:
                largest = max(largest, _add_wide(sums[t, n], future[t], shift, wide[0, 0]))
                at = now if recording else slice(0, 0)
                integrate_exact(
                    wide,
                    bias,
                    keep_u,
                    keep_v,
                    threshold,
                    u[one],
                    v[one],
                    sent,
                    counts[now, one],
                    current_trace[at, one],
                    membrane_trace[at, one],
                )
                if recording:
                    drive_trace[t, n] = wide[0, 0]
            fired = sent[0, 0]
            coming = future[t + 1 :].reshape(-1)
            for j in range(neurons):
                if fired[j]:
                    if targets.size == 0:
                        _add_column(columns[j], coming)
                    else:
                        _add_late(columns[j], targets[j], 1, coming)
        pending[n] = future[steps:]
    return largest


@numba.njit(cache=True, nogil=True)
def _add_narrow(received: Array, arrived: Array, shift: int, drive: Array) -> None:
    for m in range(drive.size):
        drive[m] = np.int32(received[m]) + np.int32(arrived[m] >> shift)


@numba.njit(cache=True, nogil=True)
def _add_wide(received: Array, arrived: Array, shift: int, drive: Array) -> int:
    largest = 0
    for m in range(drive.size):
        drive[m] = int(received[m]) + int(arrived[m] >> shift)
        largest = max(largest, abs(int(drive[m])))
    return largest


@numba.njit(cache=True, nogil=True)
def _add_column(column: Array, coming: Array) -> None:
    for m in range(column.size):
        coming[m] += column[m]


@numba.njit(cache=True, nogil=True)
def _add_late(column: Array, target: Array, message: int, coming: Array) -> None:
    for k in range(column.size):
        coming[target[k]] += column[k] * message


@numba.njit(cache=True, nogil=True)
def _run_sigma_delta(
    kind: int,
    sums: Array,
    columns: Array,
    targets: Array,
    shift: int,
    binary: bool,
    bias: Array,
    threshold: int,
    unit: int,
    sigma: Array,
    act: Array,
    residue: Array,
    pending: Array,
    messages: Array,
    drive_trace: Array,
    current_trace: Array,
    membrane_trace: Array,
    first: Array,
) -> None:
    steps, samples, neurons = sums.shape
    span = pending.shape[1]
    drive = np.empty(neurons, dtype=np.int64)
    sent = np.empty(neurons, dtype=np.int64)
    future = np.empty((steps + span, neurons), dtype=pending.dtype)
    for n in range(samples):
        future[:span], future[span:] = pending[n], 0
        for t in range(min(steps, first[0])):
            for m in range(neurons):
                recurrent = int(future[t, m])
                drive[m] = int(sums[t, n, m]) + (recurrent >> shift)
                sigma[n, m], act[n, m], residue[n, m], sent[m], quantity, value = update(
                    kind, drive[m], sigma[n, m], act[n, m], residue[n, m], bias[m], threshold, unit
                )
                if abs(recurrent) >= LIMIT:
                    quantity, value = IN_RECURRENT, recurrent
                if quantity >= 0 and t < first[0]:
                    first[:] = np.array([t, n, m, quantity, value])
                messages[t, n, m] = np.int32(sent[m])
            coming = future[t + 1 :].reshape(-1)
            for j in range(neurons):
                if sent[j] != 0:
                    message = 1 if binary else int(sent[j])
                    if targets.size == 0:
                        _add_product(columns[j], message, coming)
                    else:
                        _add_late(columns[j], targets[j], message, coming)
            if drive_trace.size > 0:
                drive_trace[t, n] = drive
                current_trace[t, n] = sigma[n]
                membrane_trace[t, n] = act[n]
        pending[n] = future[steps:]


@numba.njit(cache=True, nogil=True)
def _add_product(column: Array, message: int, coming: Array) -> None:
    for m in range(column.size):
        coming[m] += column[m] * message
