"""Synaptic delays of a dense layer: the exact sums of messages that arrive d steps late.

For weights w [M_out, M_in] and delays d of the same shape, in steps of 0 to 62::

    a_i[t] = sum over j of w_ij x_j[t - d_ij]          x is 0 before the first step

Three ways give the same integers, and the cheapest is chosen for each chunk:

- rows: one matrix product with a row for each pair (output, delay) that has a synapse, its results added d steps later
  (one delay per output neuron: a plain product);
- columns: one product with a column for each pair (input, delay), the inputs shifted first (one delay per input);
- events: each message adds its synapses to the steps in which they arrive (delays of every kind at once).

What is still under way at the end of a chunk is handed to the next one as ``pending``.

Source: lava-nc 0.10.0 ``proc/dense/models.py`` (PyDelayDenseModelBitAcc), which shifts the sum of each delay on its
own by the weight exponent, rounding down.
"""

from __future__ import annotations

from typing import Literal

import numba
import numpy as np

from hw_targets.graph import Array

DELAY_MAX = 62
"""Steps: netx clamps longer delays, with a printed warning."""

Way = Literal["auto", "rows", "columns", "events"]

PRODUCT_COST = 0.015
"""Time of one multiplication in a float32 matrix product over that of one message at one synapse (measured)."""
SHIFT_COST = 1.0
"""Time to move one number to the step it belongs to, in the same unit (measured)."""


class DelayedDense:
    """The synapses of a dense layer with delays, arranged once for any number of chunks.

    Args:
        weight: integers [M_out, M_in], as Lava holds them.
        delay: integers [M_out, M_in], 0 to 62.
        weight_exponent: the sum of each delay is shifted left by this many bits, or right (rounding down) if negative.
        payload: largest magnitude of a message; without it messages may be anything that fits 32 bits.

    Raises:
        ValueError: shapes that differ, or a delay outside 0 to 62.

    >>> layer = DelayedDense(np.array([[5, 7]]), np.array([[0, 2]]), payload=1)
    >>> sums, pending = layer.sums(np.array([[[1, 1]], [[0, 0]]]))
    >>> sums.ravel().tolist()
    [5.0, 0.0]
    >>> layer.sums(np.array([[[0, 1]]]), pending)[0].ravel().tolist()
    [7.0]
    """

    def __init__(self, weight: Array, delay: Array, *, weight_exponent: int = 0, payload: int | None = None) -> None:
        weight, delay = np.asarray(weight, dtype=np.int64), np.asarray(delay, dtype=np.int64)
        if weight.ndim != 2 or weight.shape != delay.shape:
            raise ValueError(f"weight {weight.shape} and delay {delay.shape} are not one matrix each of the same shape")
        if delay.size and not 0 <= delay.min() <= delay.max() <= DELAY_MAX:
            raise ValueError(f"delays of {delay.min()} to {delay.max()} steps; 0 to {DELAY_MAX} are possible")
        self.outputs, self.inputs = weight.shape
        # A shift to the right loses nothing where the weights end in zeros, as netx's own shift makes them.
        lossless = weight_exponent >= 0 or not (weight % (1 << -weight_exponent)).any()
        self.shift = 0 if lossless else -weight_exponent
        if lossless:
            weight = weight << weight_exponent if weight_exponent >= 0 else weight >> -weight_exponent
        self.payload = payload
        self.dtype = _exact_dtype(int(np.abs(weight).sum(axis=1).max(initial=0)), payload)
        present = weight != 0
        self.synapses = int(present.sum())
        self.span = int(delay[present].max(initial=0))
        self._arrange(weight, delay, present)

    def _arrange(self, weight: Array, delay: Array, present: Array) -> None:
        row, column = np.nonzero(present)
        weights, delays = weight[row, column], delay[row, column]
        self.row_pairs, place = np.unique(delays * self.outputs + row, return_inverse=True)
        self.column_pairs, where = np.unique(delays * self.inputs + column, return_inverse=True)
        product = PRODUCT_COST * np.dtype(self.dtype).itemsize / 4
        costs = {
            "rows": len(self.row_pairs) * (SHIFT_COST + product * self.inputs),
            "columns": len(self.column_pairs) * (SHIFT_COST + product * self.outputs),
        }
        # Lava rounds the sum of each delay, which sums over mixed delays cannot do.
        allowed: tuple[Way, ...] = ("rows",) if self.shift else ("rows", "columns")
        self.dense_way: Way = min(allowed, key=costs.__getitem__)
        self.dense_cost = costs[self.dense_way] if self.dtype != np.int64 else np.inf
        if self.dense_way == "rows":
            self.matrix: Array = np.zeros((len(self.row_pairs), self.inputs), dtype=self.dtype)
            self.matrix[place.ravel(), column] = weights
        else:
            self.matrix = np.zeros((self.outputs, len(self.column_pairs)), dtype=self.dtype)
            self.matrix[row, where.ravel()] = weights
        order = np.lexsort((row, delays, column))  # by input, then in the order of the steps they arrive in
        self.first_synapse = np.concatenate(([0], np.cumsum(np.bincount(column, minlength=self.inputs))))
        self.target = (delays * self.outputs + row)[order]
        self.strength = weights[order].astype(self.dtype)

    def way(self, messages: Array) -> Way:
        """Return the cheapest way for these messages, by their density."""
        if self.shift:
            return "rows" if self.dense_cost < np.inf else "events"
        density = np.count_nonzero(messages) / max(1, messages.size)
        return "events" if self.synapses * density < self.dense_cost else self.dense_way

    def sums(self, messages: Array, pending: Array | None = None, *, way: Way = "auto") -> tuple[Array, Array]:
        """Return the sums [T, N, M_out] of messages [T, N, M_in], and what is pending after them.

        Sums are exact integers: float32 where no partial sum can reach 2^24, float64 below 2^53, else int64.
        ``pending`` [span, N, M_out] is what the chunk before returned; None at the start of a clip.

        Raises:
            ValueError: a message larger than the payload that the layer was arranged for.
        """
        if self.payload is not None and messages.size and (peak := int(np.abs(messages).max())) > self.payload:
            raise ValueError(f"a message of {peak} in a layer arranged for {self.payload}")
        steps, samples = messages.shape[:2]
        out: Array = np.zeros((steps + self.span, samples, self.outputs), dtype=self.dtype)
        if pending is not None:
            out[: self.span] = pending
        chosen = self.way(messages) if way == "auto" else way
        if chosen == "events":
            self._add_events(messages, out)
        elif chosen != self.dense_way:
            raise ValueError(f"the layer is arranged for {self.dense_way}, not for {chosen}")
        elif chosen == "rows":
            self._add_rows(messages, out)
        else:
            self._add_columns(messages, out)
        return out[:steps], out[steps:]

    def _add_rows(self, messages: Array, out: Array) -> None:
        samples = messages.shape[1]
        results = _product(messages.reshape(-1, self.inputs).astype(self.dtype, copy=False), self.matrix)
        if self.shift:
            results = np.floor(results / (1 << self.shift))
        step, output = np.divmod(self.row_pairs, self.outputs)
        _move_rows(results, step * (samples * self.outputs) + output, out.reshape(-1), self.outputs)

    def _add_columns(self, messages: Array, out: Array) -> None:
        steps, samples = messages.shape[:2]
        step, source = np.divmod(self.column_pairs, self.inputs)
        shifted: Array = np.empty((steps + self.span, samples, len(step)), dtype=self.dtype)
        _shift_columns(np.ascontiguousarray(messages), step, source, shifted)
        out += _product(shifted.reshape(-1, len(step)), self.matrix).reshape(out.shape)

    def _add_events(self, messages: Array, out: Array) -> None:
        arguments = (np.ascontiguousarray(messages), self.first_synapse, self.target, self.strength)
        if self.shift:
            _scatter_shifted(*arguments, self.shift, out)
        else:
            _scatter(*arguments, out)


def _exact_dtype(largest_row: int, payload: int | None) -> type:
    worst = largest_row * (2**31 if payload is None else payload)
    if worst < 2**24:
        return np.float32
    return np.float64 if worst < 2**53 else np.int64


def _product(rows: Array, matrix: Array) -> Array:
    """Return rows [B, K] times matrix [R, K] transposed."""
    import torch

    with torch.no_grad():
        return torch.mm(torch.from_numpy(rows), torch.from_numpy(matrix).T).numpy()  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)
def _move_rows(results: Array, jump: Array, out: Array, outputs: int) -> None:
    """Add each result [T N, R] to the step and output that it belongs to."""
    for row in range(results.shape[0]):
        now = out[row * outputs :]
        for r in range(jump.size):
            now[jump[r]] += results[row, r]


@numba.njit(cache=True, nogil=True)
def _shift_columns(messages: Array, late: Array, source: Array, shifted: Array) -> None:
    """Fill each column with the messages of its input, so many steps late, and zeros around them."""
    steps, samples, _ = messages.shape
    for t in range(shifted.shape[0]):
        for n in range(samples):
            for c in range(late.size):
                sent = t - late[c]
                shifted[t, n, c] = messages[sent, n, source[c]] if 0 <= sent < steps else 0


@numba.njit(cache=True, nogil=True)
def _scatter(messages: Array, first_synapse: Array, target: Array, strength: Array, out: Array) -> None:
    """Add each message's synapses to the steps in which they arrive."""
    steps, samples, inputs = messages.shape
    length, _, outputs = out.shape
    arriving = np.empty(length * outputs, dtype=out.dtype)  # one sample's steps side by side, for the cache
    for n in range(samples):
        arriving[:] = out[:, n].copy().reshape(-1)
        for t in range(steps):
            now = arriving[t * outputs :]
            for j in range(inputs):
                if messages[t, n, j] != 0:
                    message = strength.dtype.type(messages[t, n, j])
                    for k in range(first_synapse[j], first_synapse[j + 1]):
                        now[target[k]] += strength[k] * message
        out[:, n] = arriving.reshape(length, outputs)


@numba.njit(cache=True, nogil=True)
def _scatter_shifted(
    messages: Array, first_synapse: Array, target: Array, strength: Array, shift: int, out: Array
) -> None:
    """Do the same where the sum of each output and delay is rounded down on its own."""
    steps, samples, inputs = messages.shape
    length, _, outputs = out.shape
    for n in range(samples):
        for t in range(steps):
            part = np.zeros((length - steps + 1) * outputs, dtype=np.int64)
            for j in range(inputs):
                message = np.int64(messages[t, n, j])
                if message != 0:
                    for k in range(first_synapse[j], first_synapse[j + 1]):
                        part[target[k]] += np.int64(strength[k]) * message
            for k in range(part.size):
                late, i = divmod(k, outputs)
                out[t + late, n, i] += part[k] >> shift
