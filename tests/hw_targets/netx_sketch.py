"""The pen with which random netx files are drawn: entries, weights, neurons and biases, each field of each drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass
class Sketch:
    """A network being drawn: the group it is written to, and how large the messages of the last layer are."""

    rng: np.random.Generator
    group: Any
    shape: Shape = ()
    first: Shape = ()
    graded: bool = False
    direct: bool = False
    amplitude: float = 1.0
    density: float = 0.4
    count: int = 0
    largest: int = 1
    lowest: int = 0
    layers: list[str] = field(default_factory=list)
    features: set[str] = field(default_factory=set)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.rng.integers(low, high + 1))

    # -- the input ------------------------------------------------------------------------------------------------

    def image(self) -> None:
        channels = int(self.rng.choice([1, 2, 4]))
        self.shape = self.first = (channels, self.integer(4, 8), self.integer(4, 8))

    def vector(self) -> None:
        self.shape = self.first = (self.integer(3, 14),)

    def grade(self, low: int, high: int) -> None:
        """Clips of integers low..high instead of 0 and 1."""
        self.lowest, self.largest = low, high
        self.amplitude = max(abs(low), high) / 2

    def input_entry(self) -> Any:
        entry = self.entry("input")
        put(self.rng, entry, "shape", np.array(self.first))
        return entry

    def draw_clips(self, steps: int, samples: int) -> np.ndarray:
        shape = (steps, samples, *self.first)
        there = self.rng.random(shape) < self.density
        if not (self.graded or self.direct):
            return there.astype(np.int64)
        return there * self.rng.integers(self.lowest, self.largest + 1, shape)

    # -- entries of the file --------------------------------------------------------------------------------------

    def entry(self, kind: str) -> Any:
        entry = self.group.create_group(str(self.count))
        self.count += 1
        style = self.integer(0, 2)
        entry["type"] = (np.bytes_(kind), kind, np.array([kind.encode()], dtype="S10"))[style]
        return entry

    def conv(self, weight: Callable[[Shape], np.ndarray] | None = None, **neuron: Any) -> None:
        """A convolution whose kernel, stride, padding and dilation differ between the axes, and fit."""
        rng, image = self.rng, self.shape
        while True:
            kernel, stride, dilation = (rng.integers(1, top, 2) for top in (5, 4, 3))
            padding = rng.integers(0, 3, 2)
            if self.chance(0.3):
                stride[:], padding[:], dilation[:] = stride[0], padding[0], 1
            out = (np.array(image[1:]) + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            if out.min() > 0:
                break
        groups = int(rng.choice([1, 1, image[0]]))
        channels = groups * self.integer(1, 2) if groups > 1 else self.integer(1, 5)
        values = (weight or self.weights)((channels, image[0] // groups, *(int(k) for k in kernel)))
        entry = self.entry("conv")
        self.shape = (channels, *(int(n) for n in out))
        put(rng, entry, "shape", np.array(self.shape))
        put(rng, entry, "weight", values[..., None] if self.chance(0.1) else values, whole=True)
        for key, pair in {"stride": stride, "padding": padding, "dilation": dilation}.items():
            put(rng, entry, key, pair[0] if pair[0] == pair[1] and self.chance(0.5) else pair)
        put(rng, entry, "groups", np.int64(groups))
        self.features |= {"conv"} | ({"groups"} if groups > 1 else set())
        self.neurons(entry, "conv", values, **neuron)

    def flatten(self) -> None:
        if len(self.shape) == 3 and self.layers:
            self.entry("flatten")
            self.features.add("flatten")
        self.shape = (int(np.prod(self.shape)),)

    def dense(
        self,
        weight: Callable[[Shape], np.ndarray] | None = None,
        *,
        recurrent: bool = False,
        delay: bool = False,
        outputs: int = 0,
        bare: bool = False,
        **neuron: Any,
    ) -> None:
        self.flatten()
        outputs, inputs = outputs or self.integer(2, 8), self.shape[0]
        values = (weight or self.weights)((outputs, inputs))
        kind = "dense_rec" if recurrent else "dense"
        entry = self.entry(kind)
        flat = not recurrent and self.chance(0.1)
        put(self.rng, entry, "shape", np.array([outputs, 1, 1] if self.chance(0.2) else [outputs]))
        put(self.rng, entry, "weight", values.reshape(-1) if flat else values, whole=True)
        if recurrent:
            back = self.rng.integers(-20, 30, (outputs, outputs))
            put(self.rng, entry, "weight_rec", back, whole=True)
            self.features.add("recurrent")
        if delay:
            self.delay(entry, outputs, inputs)
        self.shape = (outputs,)
        if bare:
            self.layers.append("dense")
            self.features.add("without neurons")
        else:
            self.neurons(entry, kind, values, **neuron)

    def delay(self, entry: Any, outputs: int, inputs: int) -> None:
        shape = [(), (outputs,), (inputs,), (outputs, inputs)][self.integer(0, 3)]
        delay = self.rng.integers(0, int(self.rng.choice([2, 4, 70], p=[0.5, 0.4, 0.1])), shape)
        entry["delay"] = delay.astype(float) if self.chance(0.2) and shape else delay
        self.features |= {"delay", f"delay of {len(shape)} axes"}

    # -- weights and neurons --------------------------------------------------------------------------------------

    def weights(self, shape: Shape) -> np.ndarray:
        """Mostly of both signs, of different spread; dense matrices stay inside what Lava keeps exactly."""
        low, high = [(-127, 128), (-20, 21), (-60, 128), (1, 128)][int(self.rng.choice(4, p=[0.4, 0.2, 0.3, 0.1]))]
        weight = self.rng.integers(low, high, shape)
        return mixed(weight * (self.rng.random(shape) < 0.5) if self.chance(0.2) else weight)

    def small_weights(self, shape: Shape) -> np.ndarray:
        """Gain about 1 for sigma-delta neurons: 64 stands for one."""
        fan = int(np.prod(shape[1:]))
        top = int(np.clip(self.rng.uniform(60, 130) / np.sqrt(fan), 2, 127))
        return mixed(self.rng.integers(-top, top + 1, shape))

    def neurons(self, entry: Any, kind: str, weight: np.ndarray, *, model: str = "lif", **more: Any) -> None:
        fan = weight[0].size
        spread = max(1.0, float(np.sqrt((weight.astype(float) ** 2).mean() * fan * self.density)) * self.amplitude)
        group = entry.create_group("neuron")
        if model == "lif":
            self.lif(entry, group, spread, **more)
        else:
            self.sigma_delta(entry, group, model, spread)
        self.layers.append(f"{kind} {model}")

    def lif(self, entry: Any, group: Any, spread: float, *, bias: float = 1.0, no_leak: bool = False) -> None:
        rng, channels = self.rng, self.shape[0]
        group["type"] = str(rng.choice(["CUBA", "LOIHI"]))
        constants = {
            "iDecay": lambda: 0 if no_leak else rng.choice([4096, 4096, rng.integers(1, 4096)]),
            "vDecay": lambda: rng.choice([0, 4095, 4096, rng.integers(0, 4096)]),
            "vThMant": lambda: int(rng.uniform(0, 0.8) * min(spread, 120000)),  # v ends at 131071
        }
        for key, draw in constants.items():
            if self.chance(0.15):
                group[key] = np.array([draw() for _ in range(channels)], dtype=rng.choice(["i8", "i4"]))
                self.features.add("constants per channel")
            else:
                put(rng, group, key, np.int64(draw()))
        if self.chance(0.7 * (bias > 0)):
            self.bias(entry, min(spread * bias, 32767))
        self.amplitude, self.density = 1.0, 0.3

    def bias(self, entry: Any, size: float) -> None:
        """One per channel, one per neuron in W, H, C order, or one for all of a dense layer; some beyond 16 bits."""
        style, top = self.rng.random(), max(1, int(size))
        shape: Shape = (self.shape[0],)
        if len(self.shape) == 3 and style < 0.3:
            shape = self.shape[::-1]
            self.features.add("bias per neuron")
        elif len(self.shape) == 1 and style < 0.1:
            shape = ()
        bias = self.rng.integers(-top // 2, top + 1, shape)
        if self.chance(0.1):
            bias = bias + int(self.rng.choice([-65536, 65536, 40000, -40000]))
            self.features.add("bias beyond 16 bits")
        put(self.rng, entry, "bias", bias, whole=True)
        self.features.add("bias")

    def sigma_delta(self, entry: Any, group: Any, model: str, spread: float) -> None:
        group["type"] = "SDNN"
        if model == "sigma":
            group["sigma_output"] = True
            self.amplitude = spread
        put(self.rng, group, "vThMant", np.int64(self.rng.choice([0, 1, int(self.rng.uniform(0, 0.5) * spread / 64)])))
        if model == "sigma_delta" and self.chance(0.7):
            top = max(1, int(spread / 64))
            bias = self.rng.integers(-top // 2, top + 1, self.shape[0])
            put(self.rng, entry, "bias", bias, whole=True)
        self.features |= {"sigma-delta", model}
        self.amplitude, self.density = max(1.0, spread / 64), 0.4


def mixed(weight: np.ndarray) -> np.ndarray:
    """Both signs in every matrix: Lava loses bits of dense matrices of one sign."""
    weight = weight.copy()
    weight.flat[0], weight.flat[-1] = (1, -1) if weight.size > 1 else (1, 1)
    return weight


def put(rng: np.random.Generator, group: Any, key: str, value: np.ndarray | np.int64, *, whole: bool = False) -> None:
    """Write integers in one of the types that Lava reads alike: 32 or 64 bits, weights also as floating point."""
    value = np.asarray(value)
    group[key] = value.astype(str(rng.choice(["i8", "i8", "i4", "f4", "f8"] if whole else ["i8", "i8", "i4"])))
