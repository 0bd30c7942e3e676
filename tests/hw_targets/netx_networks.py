"""Random netx files of everything the format can hold, written with plain h5py: seed -> file, clips, description.

Thresholds are drawn near the expected size of the drive, so that most layers fire. Nothing here uses our writer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tests.hw_targets.netx_sketch import Shape, Sketch, mixed


@dataclass(frozen=True)
class NetxNetwork:
    """A file, clips for it (integers [T, N, ...] in C, H, W order) and what is in it.

    ``graded``: the first synapses multiply the clip's values (``input_message_bits`` above 0); ``direct``: the file
    begins with neurons that take the clip themselves.
    """

    path: Path
    clips: np.ndarray
    graded: bool
    direct: bool
    family: str
    features: frozenset[str]
    layers: tuple[str, ...]

    @property
    def payload(self) -> int:
        """Largest magnitude of an input value, at least 1."""
        return max(1, int(np.abs(self.clips).max()))

    @property
    def integers(self) -> bool:
        """Whether the clip's values count as they are, not only as 0 and not 0."""
        return self.graded or self.direct

    @property
    def restartable(self) -> bool:
        """Whether Lava's reset starts a sample afresh: LIF neurons only, and nothing left inside synapses."""
        return not self.features & {"recurrent", "delay", "sigma-delta"}


def make(rng: np.random.Generator, path: Path, family: str | None = None) -> NetxNetwork:
    """Write one random network of a family (drawn if not given) and draw its clips."""
    names = list(FAMILIES)
    family = family or str(rng.choice(names, p=np.array([3, 1, 1.5, 2, 1, 0.5, 1.5]) / 10.5))
    with h5py.File(path, "w") as file:
        sketch = Sketch(rng, file.create_group("layer"))
        FAMILIES[family](sketch)
    steps = int(rng.integers(len(sketch.layers) + 2, len(sketch.layers) + 8))
    clips = sketch.draw_clips(steps, int(rng.integers(1, 3)))
    return NetxNetwork(
        path, clips, sketch.graded, sketch.direct, family, frozenset(sketch.features), tuple(sketch.layers)
    )


# -- families -----------------------------------------------------------------------------------------------------


def spiking(sketch: Sketch) -> None:
    """Convolutions and dense layers of LIF neurons; binary or graded, signed input."""
    if sketch.chance(0.7):
        sketch.image()
    else:
        sketch.vector()
    if sketch.chance(0.4):
        sketch.graded = True
        sketch.grade(-int(sketch.rng.choice([0, 20, 128])), int(sketch.rng.choice([1, 63, 255])))
        sketch.features.add("graded input")
    sketch.input_entry()
    if len(sketch.shape) == 3:
        for _ in range(sketch.integer(1, 3)):
            sketch.conv()
    for _ in range(sketch.integer(0 if sketch.layers else 1, 2)):
        sketch.dense()
    if sketch.chance(0.05):
        sketch.dense(bare=True)


def recurrent(sketch: Sketch) -> None:
    """A dense layer that feeds itself, first, in the middle or last."""
    (sketch.image if sketch.chance(0.5) else sketch.vector)()
    if sketch.chance(0.4):
        sketch.graded = True
        sketch.grade(-10, 30)
        sketch.features.add("graded input")
    sketch.input_entry()
    if len(sketch.shape) == 3 and sketch.chance(0.6):
        sketch.conv()
    for number in range(sketch.integer(1, 3)):
        sketch.dense(recurrent=number == 0 or sketch.chance(0.5))


def delayed(sketch: Sketch) -> None:
    """Dense layers whose synapses wait, by all four shapes of ``delay``."""
    (sketch.image if sketch.chance(0.3) else sketch.vector)()
    if sketch.chance(0.4):
        sketch.graded = True
        sketch.grade(-50, 60)
        sketch.features.add("graded input")
    sketch.input_entry()
    if len(sketch.shape) == 3 and sketch.chance(0.5):
        sketch.conv()
    for number in range(sketch.integer(1, 3)):
        sketch.dense(delay=number == 0 or sketch.chance(0.6))


def sigma_delta(sketch: Sketch) -> None:
    """Sigma-delta neurons: behind delta neurons, or fed by the clip; sometimes a sigma or a LIF layer at the end."""
    (sketch.image if sketch.chance(0.7) else sketch.vector)()
    sketch.grade(-64, 64)
    entry = sketch.input_entry()
    style = sketch.rng.random()
    if style < 0.7:
        sketch.direct = True
        sketch.neurons(entry, "input", np.ones((1, 1)), model="delta")
        sketch.amplitude, sketch.density = 32.0 * 64, 0.8
    elif style < 0.9:
        sketch.graded = True
        sketch.features.add("graded input")
    else:
        sketch.grade(0, 1)
    weights = sketch.small_weights
    if len(sketch.shape) == 3:
        for _ in range(sketch.integer(1, 2)):
            sketch.conv(weights, model="sigma_delta")
    for _ in range(sketch.integer(0 if len(sketch.layers) > sketch.direct else 1, 2)):
        sketch.dense(weights, model="sigma_delta", delay=sketch.chance(0.1))
    if sketch.chance(0.4):
        sketch.dense(weights, model="sigma")
    elif sketch.chance(0.3):
        sketch.dense(weights, bias=0.0)
        sketch.features.add("spikes after sigma-delta")


def lif_input(sketch: Sketch) -> None:
    """LIF neurons that take the clip themselves, without a weight."""
    (sketch.image if sketch.chance(0.6) else sketch.vector)()
    sketch.direct = True
    sketch.grade(-30, 200)
    sketch.features.add("lif input")
    sketch.neurons(sketch.input_entry(), "input", np.ones((1, 1)), bias=0.0)
    if len(sketch.shape) == 3:
        for _ in range(sketch.integer(0, 2)):
            sketch.conv()
    for _ in range(sketch.integer(0, 2)):
        sketch.dense()


def degenerate(sketch: Sketch) -> None:
    """Dense matrices of one sign, of one value, or out of range: Lava clips or truncates them."""
    sketch.vector()
    if sketch.chance(0.3):
        sketch.graded = True
        sketch.grade(-5, 20)
    sketch.input_entry()
    sketch.features.add("degenerate weights")
    for _ in range(sketch.integer(1, 3)):
        low, high = [(0, 256), (-256, 0), (-256, 1), (-400, 400), (-4, -1), (1, 64)][sketch.integer(0, 5)]

        def one_sign(shape: Shape, low: int = low, high: int = high) -> np.ndarray:
            weight = sketch.rng.integers(low, high, shape)
            if sketch.chance(0.3):
                weight = np.full(shape, low if low < 0 else high - 1)
            weight.flat[0] = weight.flat[0] or high - 1 or low
            return weight

        sketch.dense(one_sign, recurrent=sketch.chance(0.2), delay=False)


def wrapping(sketch: Sketch) -> None:
    """Sums up to just below 2^31: convolutions wrap to 24 bits, currents wrap, biases beyond 16 bits."""
    dense_first = sketch.chance(0.3)
    (sketch.vector if dense_first else sketch.image)()
    sketch.graded = True
    sketch.input_entry()
    sketch.features.add("wrap")
    if dense_first:
        sketch.grade(-(2 ** sketch.integer(8, 16)), 2 ** sketch.integer(8, 15))  # 255 x 14 x 2^16 < 2^28
        sketch.dense(no_leak=sketch.chance(0.3))
        sketch.dense(no_leak=True)
        return
    sketch.grade(-128, 255)
    for number in range(sketch.integer(1, 3)):
        payload = 255 if number == 0 else 1

        def heavy(shape: Shape, payload: int = payload) -> np.ndarray:
            weight = sketch.rng.integers(-127, 128, shape)
            worst = int(np.abs(weight).reshape(shape[0], -1).sum(axis=1).max()) * payload
            target = 2 ** sketch.rng.uniform(17, 30.9)
            return mixed(np.trunc(weight * (target / max(worst, 1))).astype(np.int64))

        sketch.conv(heavy, no_leak=sketch.chance(0.3))
    if sketch.chance(0.5):
        sketch.dense(no_leak=True)


FAMILIES: dict[str, Callable[[Sketch], None]] = {
    "spiking": spiking,
    "recurrent": recurrent,
    "delayed": delayed,
    "sigma_delta": sigma_delta,
    "lif_input": lif_input,
    "degenerate": degenerate,
    "wrapping": wrapping,
}
