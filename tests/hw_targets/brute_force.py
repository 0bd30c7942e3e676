"""A netx file in plain Python integers: every loop written out, nothing shared with the simulator or with Lava.

It reads the file itself (h5py only) and computes, neuron by neuron and step by step, what Lava 0.10 computes, with
Lava's integer types where they can be noticed: 24-bit wrap of convolutions, 32-bit wrap of everything else, one wrap
of the current, 16-bit bias, and the re-scaling of dense weights. Slow on purpose: for small networks only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

V_MAX = 2**23 - 1
Shape = tuple[int, ...]


def wrap(value: int, bits: int = 32) -> int:
    """Two's complement.

    >>> wrap(2**31), wrap(-(2**23) - 1, 24)
    (-2147483648, 8388607)
    """
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def toward_zero(value: int, keep: int) -> int:
    """``value * keep / 4096`` rounded toward zero.

    >>> toward_zero(-3, 2048), toward_zero(3, 2048)
    (-1, 1)
    """
    size = abs(value) * keep >> 12
    return size if value >= 0 else -size


@dataclass
class Trace:
    """One population: what it received, held and sent, lists over [step][neuron], neurons in C, H, W order.

    ``sum_wraps`` and ``current_wraps`` count the convolution sums that left 24 bits and the currents that wrapped.
    """

    shape: Shape
    drive: list[list[int]] = field(default_factory=list)
    messages: list[list[int]] = field(default_factory=list)
    state: dict[str, list[list[int]]] = field(default_factory=dict)
    sum_wraps: int = 0
    current_wraps: int = 0


@dataclass
class Population:
    """One block of the file that has neurons."""

    kind: str
    entry: dict[str, Any]
    shape: Shape
    source: Shape
    multiplies: bool
    weights: list[list[int]] = field(default_factory=list)
    recurrent: list[list[int]] = field(default_factory=list)
    delays: list[list[int]] = field(default_factory=list)
    exponent: int = 0
    sum_wraps: int = 0

    @property
    def neuron(self) -> str:
        """lif, delta, sigma_delta or sigma."""
        constants = self.entry.get("neuron", {"type": "CUBA"})
        if constants["type"] != "SDNN":
            return "lif"
        if self.kind == "input":
            return "delta"
        return "sigma" if "sigma_output" in constants else "sigma_delta"

    def constant(self, key: str, neuron: int) -> int:
        """A constant of the neuron: one for all, or one per channel."""
        default = {"iDecay": 0, "vDecay": 4096, "vThMant": 1 << 17}  # a dense block without neurons
        values = np.atleast_1d(self.entry.get("neuron", default)[key])
        channels = self.shape[0]
        return int(values[neuron // (int(np.prod(self.shape)) // channels)] if values.size > 1 else values[0])

    def bias(self, neuron: int) -> int:
        """The bias of one neuron: per channel, or an array in W, H, C order, or one for all."""
        values = np.atleast_1d(self.entry.get("bias", 0)).astype(int)
        if values.ndim == 3:
            channel, row, column = np.unravel_index(neuron, self.shape)
            return int(values[column, row, channel])
        return int(values[0] if values.size == 1 else values[neuron // int(np.prod(self.shape[1:]))])


def read(group: Any) -> dict[str, Any]:
    """Turn a group of the file into a dictionary."""
    found: dict[str, Any] = {}
    for key, item in group.items():
        value = read(item) if isinstance(item, h5py.Group) else item[()]
        if key == "type":
            first = np.atleast_1d(value)[0]
            value = first.decode() if isinstance(first, bytes) else str(first)
        found[key] = value
    return found


def populations(path: Path, graded: bool) -> list[Population]:
    """Read all populations of a file; ``graded`` tells whether the first one multiplies the clip's values."""
    with h5py.File(path, "r") as file:
        entries = [read(file["layer"][str(i)]) for i in range(len(file["layer"]))]
    found: list[Population] = []
    shape: Shape = ()
    multiplies = graded
    for entry in entries:
        kind = entry["type"]
        if kind == "flatten":
            shape = (int(np.prod(shape)),)
            continue
        out = tuple(int(n) for n in np.atleast_1d(entry["shape"]))
        if kind == "input" and "neuron" not in entry:
            shape = out
            continue
        if kind in ("dense", "dense_rec"):
            out, shape = (int(np.prod(out)),), (int(np.prod(shape)),)
        found.append(Population(kind, entry, out, shape, multiplies))
        if kind in ("dense", "dense_rec"):
            _dense_weights(found[-1])
        shape = out
        multiplies = found[-1].neuron != "lif"
    return found


def _dense_weights(population: Population) -> None:
    """Lava's re-scaling of dense weights: shift left to fill 8 bits, clip, drop low bits; undone after the sum."""
    outputs, inputs = population.shape[0], population.source[0]
    feed = population.entry["weight"].astype(int).reshape(outputs, inputs).tolist()
    back = [[] for _ in range(outputs)]
    if population.kind == "dense_rec":
        back = population.entry["weight_rec"].astype(int).reshape(outputs, outputs).tolist()
    both = [row + more for row, more in zip(feed, back, strict=True)]
    flat = [w for row in both for w in row]
    if (max(flat) > 254 and min(flat) < 0) or (min(flat) < -256 and max(flat) > 0):
        both = [[max(-256, min(254, w)) for w in row] for row in both]
        flat = [w for row in both for w in row]
    low, high = min(flat), max(flat)
    mixed = low < 0 <= high
    if mixed:
        shift = min(_doublings(high, 127), _doublings(-low, 128)) + 1
    else:
        shift = _doublings(high, 255) if low >= 0 else _doublings(-low, 256)
    zeros = next((n for n in range(8, 0, -1) if all(w % 2**n == 0 for w in flat)), 0) - mixed
    bits = 8 - shift - zeros
    population.exponent = -shift
    scaled = [[wrap(w << shift) if shift >= 0 else 0 for w in row] for row in both]
    population.weights = _clipped([row[:inputs] for row in scaled], bits)
    if population.kind == "dense_rec":
        population.recurrent = _clipped([row[inputs:] for row in scaled], bits)
    delay = np.minimum(np.atleast_1d(population.entry.get("delay", 0)).astype(int), 62)
    if delay.ndim == 1 and delay.size == outputs:
        delay = delay.reshape(-1, 1)
    population.delays = np.broadcast_to(delay, (outputs, inputs)).tolist()


def _doublings(value: int, limit: int) -> int:
    """How often ``value`` can be doubled without passing ``limit``; -1 where it must be halved once.

    >>> _doublings(5, 127), _doublings(128, 127), _doublings(0, 127)
    (4, -1, 99)
    """
    if value == 0:
        return 99
    count = 0
    while value << (count + 1) <= limit:
        count += 1
    return count if value <= limit else -1


def _clipped(weights: list[list[int]], bits: int) -> list[list[int]]:
    flat = [w for row in weights for w in row]
    if all(w < 0 for w in flat) or (all(w <= 0 for w in flat) and any(flat)):
        sign, mixed = -1, 0
    else:
        sign, mixed = 1, int(any(w < 0 for w in flat))
    drop = 8 - bits + mixed
    low = -256 if mixed else 0

    def one(weight: int) -> int:
        if drop < 0:  # numpy shifts by a negative number to 0: a matrix of one sign beside one of both, beyond 127
            return 0
        clipped = max(low, min(255, sign * weight))
        return sign * ((clipped >> drop) << drop)

    return [[one(w) for w in row] for row in weights]


def run(path: Path, clips: np.ndarray, *, graded: bool = False, aligned: bool = False) -> list[list[Trace]]:
    """Run clips [T, N, ...] (C, H, W); return the traces of every clip, population by population."""
    return [run_clip(path, clips[:, n], graded=graded, aligned=aligned) for n in range(clips.shape[1])]


def run_clip(path: Path, clip: np.ndarray, *, graded: bool = False, aligned: bool = False) -> list[Trace]:
    """Run one clip [T, ...] from zero; each synapse hands its sum on one step later unless ``aligned``."""
    frames = [[int(x) for x in frame.reshape(-1)] for frame in clip]
    traces = []
    for population in populations(path, graded):
        trace = Trace(population.shape)
        neurons = [_Neuron(population, index) for index in range(int(np.prod(population.shape)))]
        late = 0 if aligned or population.kind == "input" else 1
        for step in range(len(frames)):
            sums = _sums(population, frames, step - late, trace.messages[-1] if trace.messages else None)
            trace.drive.append(sums)
            trace.messages.append([neuron.step(a) for neuron, a in zip(neurons, sums, strict=True)])
            for key in neurons[0].state:
                trace.state.setdefault(key, []).append([neuron.state[key] for neuron in neurons])
        trace.sum_wraps = population.sum_wraps
        trace.current_wraps = sum(neuron.wraps for neuron in neurons)
        traces.append(trace)
        frames = trace.messages
    return traces


def arrays(traces: Sequence[Sequence[Trace]], index: int) -> dict[str, np.ndarray]:
    """Return "drive", "messages" and the states of one population as int64 [T, N, ...]."""
    shape = traces[0][index].shape
    found = {"drive": [t[index].drive for t in traces], "messages": [t[index].messages for t in traces]}
    for key in traces[0][index].state:
        found[key] = [t[index].state[key] for t in traces]
    return {
        key: np.array(values, dtype=np.int64).swapaxes(0, 1).reshape(-1, len(traces), *shape)
        for key, values in found.items()
    }


def _sums(population: Population, frames: list[list[int]], step: int, own: list[int] | None) -> list[int]:
    """The synaptic sums that arrive; ``own`` are the population's messages of one step before."""
    if population.kind == "input":
        return [wrap(x) for x in frames[step]]
    size = int(np.prod(population.shape))
    if population.kind == "conv":
        if step < 0:
            return [0] * size
        return [_convolve(population, frames[step], place) for place in np.ndindex(*population.shape)]
    sums = [_dense_sum(population, frames, step, neuron) for neuron in range(size)]
    if population.recurrent and own is not None:
        for neuron in range(size):
            total = sum(w * _input(population, x) for w, x in zip(population.recurrent[neuron], own, strict=True))
            sums[neuron] = wrap(sums[neuron] + _descale(population, total, population.multiplies))
    return sums


def _input(population: Population, message: int) -> int:
    return message if population.multiplies else int(message != 0)


def _convolve(population: Population, frame: list[int], place: tuple[int, ...]) -> int:
    weight = population.entry["weight"]
    stride, padding, dilation = (
        np.broadcast_to(population.entry[key], 2).tolist() for key in ("stride", "padding", "dilation")
    )
    _, height, width = population.source
    outputs, per_group = weight.shape[:2]
    first = place[0] * int(np.ravel(population.entry["groups"])[0]) // outputs * per_group
    total = 0
    for c, i, j in product(range(per_group), range(weight.shape[2]), range(weight.shape[3])):
        y = place[1] * stride[0] - padding[0] + i * dilation[0]
        x = place[2] * stride[1] - padding[1] + j * dilation[1]
        if 0 <= y < height and 0 <= x < width:
            value = _input(population, frame[((first + c) * height + y) * width + x])
            total += int(weight[place[0], c, i, j].item()) * value
    if abs(total) >= 2**31:
        raise OverflowError(f"a convolution sums to {total}: undefined in Lava")
    population.sum_wraps += wrap(total, 24) != total
    return wrap(total, 24)


def _dense_sum(population: Population, frames: list[list[int]], step: int, neuron: int) -> int:
    total = 0
    weights, delays = population.weights[neuron], population.delays[neuron]
    delayed = "delay" in population.entry
    for delay in sorted(set(delays)):
        if step - delay < 0:
            continue
        frame = frames[step - delay]
        part = sum(w * _input(population, x) for w, x, d in zip(weights, frame, delays, strict=True) if d == delay)
        total += _descale(population, part, population.multiplies and not delayed)
    return wrap(total)


def _descale(population: Population, total: int, narrow: bool) -> int:
    """Undo the re-scaling, rounding down; graded sums without delays are accumulated in 32 bits."""
    total = wrap(total) if narrow else total
    return total << population.exponent if population.exponent > 0 else total >> -population.exponent


class _Neuron:
    """One neuron and its state."""

    def __init__(self, population: Population, index: int) -> None:
        self.kind = population.neuron
        self.bias = population.bias(index)
        self.wraps = 0
        if self.kind == "lif":
            keys = ("iDecay", "vDecay", "vThMant")
            self.current_decay, self.voltage_decay, self.threshold = (population.constant(k, index) for k in keys)
            self.state = {"u": 0, "v": 0}
        else:
            self.threshold = 0 if self.kind == "sigma" else wrap(population.constant("vThMant", index) << 12)
            names = {"delta": ("act", "residue"), "sigma": ("sigma",), "sigma_delta": ("sigma", "act", "residue")}
            self.state = dict.fromkeys(names[self.kind], 0)

    def step(self, drive: int) -> int:
        """Take one synaptic sum; return the message."""
        state = self.state
        if self.kind == "lif":
            return self._integrate(drive)
        if self.kind == "delta":
            return self._send(wrap(drive << 12))
        state["sigma"] = wrap(state["sigma"] + drive)
        if self.kind == "sigma":
            return state["sigma"]
        return self._send(max(0, wrap(state["sigma"] + wrap(self.bias << 12))))

    def _send(self, activation: int) -> int:
        change = wrap(wrap(activation - self.state["act"]) + self.state["residue"])
        sent = change if abs(change) >= self.threshold else 0
        self.state.update(act=activation, residue=change - sent)
        return sent >> 6

    def _integrate(self, drive: int) -> int:
        current = wrap(wrap(toward_zero(self.state["u"], 4096 - self.current_decay)) + wrap(drive << 6))
        before = current
        if current > 2**23:
            current -= 2**24
        elif current <= -(2**23):
            current += 2**24
        self.wraps += current != before
        potential = wrap(wrap(toward_zero(self.state["v"], 4096 - self.voltage_decay)) + current)
        potential = wrap(potential + (wrap(self.bias, 16) << 6))
        potential = max(-V_MAX, min(V_MAX, potential))
        fired = potential > wrap(self.threshold << 6)
        self.state.update(u=current, v=0 if fired else potential)
        return int(fired)
