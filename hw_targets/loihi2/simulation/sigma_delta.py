"""Sigma-delta neurons: they keep a running sum and send how much it changed, as integers.

Per step and neuron, all in integers, with ``unit`` 2^(spike_exponent + 6) and a: what the neuron receives::

    delta        act = a unit                                   (an input population: a is the message itself)
    sigma_delta  sigma <- sigma + a ;  act = max(sigma + bias unit, 0)
    both         delta = act - act of the step before + residue
                 sent = delta where |delta| >= threshold unit, else 0
                 message = sent >> 6  (rounding down) ;  residue = delta - sent
    sigma        sigma <- sigma + a ;  message = sigma          (an output layer, no bias, no threshold)

Lava keeps every one of these values in 32 bits and wraps without a word. Whether one of them reaches 2^31 in
magnitude is found out exactly and reported as an ``Overflow``; up to there the messages are Lava's, bit for bit.

Values are held in float64 while a block of neurons runs through time, which is exact below 2^53.

Source: lava-nc 0.10.0 ``proc/sdn/process.py`` and ``models.py`` (the fixed_pt models; cumulative error is off), as
``lava.lib.dl.netx.hdf5.Network`` of lava-dl 0.6.0 sets them up: ReLU, state exponent 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np

from hw_targets.graph import Array

Kind = Literal["delta", "sigma_delta", "sigma"]

STATE_EXPONENT = 6
"""Bits that the state of a sigma-delta neuron has beyond its messages; netx sets it and no file can change it."""

LIMIT = 2**31
"""Magnitude that does not fit Lava's 32-bit variables."""

DELTA, SIGMA_DELTA, SIGMA = 0, 1, 2
KINDS: dict[str, int] = {"delta": DELTA, "sigma_delta": SIGMA_DELTA, "sigma": SIGMA}
QUANTITIES = ("sigma", "act", "delta", "recurrent sum", "bias", "threshold")
IN_SIGMA, IN_ACT, IN_DELTA, IN_RECURRENT = 0, 1, 2, 3
BLOCK = 512


@dataclass(frozen=True, slots=True)
class Overflow:
    """The first value of a run that does not fit 32 bits.

    ``quantity`` is "sigma", "act", "delta", "recurrent sum", "bias" or "threshold", ``value`` what it would be;
    ``step`` counts from the start of the chunk, and is -1 for the two constants, which no step changes.
    """

    quantity: str
    step: int
    sample: int
    neuron: int
    value: int


@dataclass(frozen=True, slots=True)
class SigmaDeltaState:
    """What a population remembers between steps, int64 [N, M] each; updated in place."""

    sigma: Array
    act: Array
    residue: Array

    @classmethod
    def zeros(cls, samples: int, neurons: int) -> SigmaDeltaState:
        """Return the state before the first step."""
        return cls(*(np.zeros((samples, neurons), dtype=np.int64) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class SigmaDeltaNeurons:
    """The constants of a population of M neurons, as the netx file states them.

    ``threshold`` vThMant, one integer (Lava builds no sigma-delta neurons with one per channel); ``bias`` int64 [M].
    """

    kind: Kind
    neurons: int
    threshold: int = 0
    bias: Array | None = None
    spike_exponent: int = 6

    @property
    def unit(self) -> int:
        """State units per message of 1."""
        return 1 << (self.spike_exponent + STATE_EXPONENT)

    def scaled_bias(self) -> Array:
        """Return the bias in state units, int64 [M]."""
        if self.bias is None:
            return np.zeros(self.neurons, dtype=np.int64)
        return np.ascontiguousarray(np.broadcast_to(self.bias, self.neurons), dtype=np.int64) * self.unit

    def constant_overflow(self) -> Overflow | None:
        """Return the constant that Lava would wrap when it builds the neurons, if there is one."""
        bias = self.scaled_bias()
        if self.kind == "sigma_delta" and (np.abs(bias) >= LIMIT).any():
            place = int(np.argmax(np.abs(bias) >= LIMIT))
            return Overflow("bias", -1, 0, place, int(bias[place]))
        if self.kind != "sigma" and abs(self.threshold * self.unit) >= LIMIT:
            return Overflow("threshold", -1, 0, 0, self.threshold * self.unit)
        return None


def run_sigma_delta(
    neurons: SigmaDeltaNeurons,
    sums: Array,
    state: SigmaDeltaState,
    *,
    current: Array | None = None,
    membrane: Array | None = None,
) -> tuple[Array, Overflow | None]:
    """Run T steps of sums [T, N, M] and return the messages int32 [T, N, M], and the first overflow if there is one.

    ``sums`` are exact integers of any dtype. ``state`` is carried on in place, so that a long clip can be cut into
    chunks. ``current`` and ``membrane``, int32 [T, N, M], are filled with sigma and act where given (a quantity that
    the kind does not have is 0). After an overflow messages and state are of no use.

    >>> neurons = SigmaDeltaNeurons("sigma_delta", 1, threshold=2, bias=np.array([1]), spike_exponent=0)
    >>> sums = np.array([100, 0, 60, -400]).reshape(4, 1, 1)
    >>> messages, overflow = run_sigma_delta(neurons, sums, SigmaDeltaState.zeros(1, 1))
    >>> messages.ravel().tolist(), overflow  # act 164, 164, 224, 0; 60 is below 2 x 64 and stays behind: -224 + 60
    ([2, 0, 0, -3], None)
    """
    messages = np.empty(sums.shape, dtype=np.int32)
    constant = neurons.constant_overflow()
    if constant is not None:
        messages.fill(0)
        return messages, constant
    none = np.empty((0, 0, 0), dtype=np.int32)
    first = no_overflow()
    _run(
        KINDS[neurons.kind],
        sums,
        state.sigma,
        state.act,
        state.residue,
        neurons.scaled_bias(),
        neurons.threshold * neurons.unit,
        neurons.unit,
        messages,
        none if current is None else current,
        none if membrane is None else membrane,
        first,
    )
    return messages, found_overflow(first)


def no_overflow() -> Array:
    """Return the place that the kernels write the first overflow to: step, sample, neuron, quantity, value."""
    return np.array([np.iinfo(np.int64).max, 0, 0, 0, 0], dtype=np.int64)


def found_overflow(first: Array) -> Overflow | None:
    """Return what the kernels have written there."""
    step, sample, neuron, quantity, value = (int(number) for number in first)
    return None if value == 0 else Overflow(QUANTITIES[quantity], step, sample, neuron, value)


@numba.njit(cache=True, nogil=True)
def _run(
    kind: int,
    sums: Array,
    sigma: Array,
    act: Array,
    residue: Array,
    bias: Array,
    threshold: int,
    unit: int,
    messages: Array,
    current: Array,
    membrane: Array,
    first: Array,
) -> None:
    """Run blocks of neurons through all steps, their state in the first-level cache."""
    steps, samples, neurons = sums.shape
    keep = np.empty((3, BLOCK), dtype=np.float64)  # sigma, act and residue while the block runs
    new = np.empty(BLOCK, dtype=np.float64)
    peak = np.empty(BLOCK, dtype=np.float64)
    offset = np.empty(BLOCK, dtype=np.float64)
    for n in range(samples):
        for start in range(0, neurons, BLOCK):
            size = min(BLOCK, neurons - start)
            for m in range(size):
                keep[0, m] = sigma[n, start + m]
                keep[1, m] = act[n, start + m]
                keep[2, m] = residue[n, start + m]
                offset[m] = bias[start + m]
                peak[m] = 0.0
            for t in range(steps):
                if kind == DELTA:
                    _input_act(sums[t, n, start : start + size], float(unit), new, peak)
                else:
                    _sigma_act(sums[t, n, start : start + size], keep[0], offset, kind == SIGMA_DELTA, new, peak)
                if kind == SIGMA:
                    for m in range(size):
                        messages[t, n, start + m] = np.int32(keep[0, m])
                else:
                    _send(new, keep[1], keep[2], float(threshold), messages[t, n, start : start + size], peak)
                if current.size > 0:
                    for m in range(size):
                        current[t, n, start + m] = np.int32(keep[0, m])
                if membrane.size > 0:
                    for m in range(size):
                        membrane[t, n, start + m] = np.int32(keep[1, m])
            if peak[:size].max() >= LIMIT:
                _locate(kind, sums, sigma, act, residue, bias, threshold, unit, n, start, size, first)
            for m in range(size):
                sigma[n, start + m] = np.int64(keep[0, m])
                act[n, start + m] = np.int64(keep[1, m])
                residue[n, start + m] = np.int64(keep[2, m])


@numba.njit(cache=True, nogil=True)
def _input_act(received: Array, unit: float, new: Array, peak: Array) -> None:
    for m in range(received.size):
        new[m] = float(received[m]) * unit
        peak[m] = max(peak[m], abs(new[m]))


@numba.njit(cache=True, nogil=True)
def _sigma_act(received: Array, sigma: Array, bias: Array, activated: bool, new: Array, peak: Array) -> None:
    for m in range(received.size):
        total = sigma[m] + float(received[m])
        sigma[m] = total
        peak[m] = max(peak[m], abs(total))
    if activated:
        for m in range(received.size):
            raw = sigma[m] + bias[m]
            new[m] = max(raw, 0.0)
            peak[m] = max(peak[m], abs(raw))


@numba.njit(cache=True, nogil=True)
def _send(new: Array, act: Array, residue: Array, threshold: float, messages: Array, peak: Array) -> None:
    for m in range(messages.size):
        delta = new[m] - act[m] + residue[m]
        sent = delta if abs(delta) >= threshold else 0.0
        residue[m] = delta - sent
        act[m] = new[m]
        peak[m] = max(peak[m], abs(delta))
        messages[m] = np.int32(np.floor(sent * (1.0 / (1 << STATE_EXPONENT))))


@numba.njit(cache=True, nogil=True)
def _locate(
    kind: int,
    sums: Array,
    sigma: Array,
    act: Array,
    residue: Array,
    bias: Array,
    threshold: int,
    unit: int,
    n: int,
    start: int,
    size: int,
    first: Array,
) -> None:
    """Repeat a block from its old state and note its earliest value that does not fit, if none is known before it."""
    for m in range(start, start + size):
        total, old, rest = sigma[n, m], act[n, m], residue[n, m]
        for t in range(min(sums.shape[0], first[0])):
            total, old, rest, _, quantity, value = update(
                kind, int(sums[t, n, m]), total, old, rest, bias[m], threshold, unit
            )
            if quantity >= 0:
                first[:] = np.array([t, n, m, quantity, value])
                break


@numba.njit(cache=True, nogil=True, inline="always")
def update(
    kind: int, received: int, sigma: int, act: int, residue: int, bias: int, threshold: int, unit: int
) -> tuple[int, int, int, int, int, int]:
    """Update one neuron by one step, in int64.

    Returns:
        The new sigma, act and residue, the message, which quantity does not fit 32 bits (-1: all fit), and its value.
    """
    quantity, value = -1, 0
    if kind == DELTA:
        new = received * unit
    else:
        sigma += received
        if abs(sigma) >= LIMIT:
            quantity, value = IN_SIGMA, sigma
        new = sigma + bias
    if kind == SIGMA:
        return sigma, act, residue, sigma, quantity, value
    if quantity < 0 and abs(new) >= LIMIT:
        quantity, value = IN_ACT, new
    if kind == SIGMA_DELTA:
        new = max(new, 0)
    delta = new - act + residue
    if quantity < 0 and abs(delta) >= LIMIT:
        quantity, value = IN_DELTA, delta
    sent = delta if abs(delta) >= threshold else 0
    return sigma, new, delta - sent, sent >> STATE_EXPONENT, quantity, value
