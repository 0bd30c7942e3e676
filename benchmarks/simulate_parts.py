"""What benchmarks/simulate.py compares: the paper's network, its float forward pass, a matrix product, the machine.

The network has random weights. Each layer is scaled, input side first, until its neurons fire as often as asked, so
that an event-driven simulator has the work that it would have on a trained network.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from export.exporter import compile_model
from hw_targets.graph import LIF, Array, Conv2d, Graph, Linear
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.limits import THRESHOLD_MAX
from hw_targets.loihi2.simulation.engine import Simulator
from hw_targets.registry import deploy_target
from neuroemo.models.emotion import EmotionSpec, build_network

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SEARCH_STEPS = 14
CALIBRATION_STEPS = 16


@dataclass(frozen=True, slots=True)
class Subject:
    """One network in its forms: the folded float graph and the chip's integers made from it."""

    graph: Graph
    chip: ChipGraph


def random_clips(spec: EmotionSpec, samples: int, density: float, *, seed: int = 0, steps: int | None = None) -> Array:
    """Return clips float32 [T, N, 2, H, W]: events of ``density`` per pixel and step, a gray first frame if asked."""
    rng = np.random.default_rng(seed)
    shape = (steps or spec.steps, samples, 2, spec.size, spec.size)
    clips = (rng.random(shape, dtype=np.float32) < density).astype(np.float32)
    if spec.first_frame == "float":
        clips[0] = rng.integers(0, 256, (samples, 1, spec.size, spec.size)) / 255
    return clips


def build_subject(spec: EmotionSpec, density: float, rates: Sequence[float]) -> Subject:
    """Return the network of ``spec`` whose layers fire at ``rates`` on clips of ``density``, folded and quantised."""
    torch.manual_seed(0)
    network = build_network(spec).eval()
    clips = random_clips(spec, 1, density, seed=1, steps=min(spec.steps, CALIBRATION_STEPS))
    with torch.no_grad():
        _scale_layers(network, torch.from_numpy(clips), list(rates))
    example = random_clips(spec, 1, density, seed=1)
    compiled = compile_model(network, example, deploy_target("loihi2"), dt_us=33333.0, first_frame=spec.first_frame)
    return Subject(compiled.folded, compiled.chip)


def _scale_layers(network: Any, value: torch.Tensor, rates: list[float]) -> None:
    """Give each normalisation the statistics of its own input, and each layer the gain at which it fires as asked."""
    scaled: list[torch.Tensor] = []
    for module in (*network.features, *network.voting_neurons):
        kind = type(module).__name__
        if kind == "BatchNorm2d":
            frames = value.flatten(0, 1)
            module.running_mean.copy_(frames.mean((0, 2, 3)))
            module.running_var.copy_(frames.var((0, 2, 3)))
            module.bias.uniform_(-0.3, 0.3)
            scaled = [module.weight, module.bias]
        elif kind == "Linear":
            scaled = [module.weight]
        elif kind.endswith("LIFNode"):
            gain = _gain(module, value, rates.pop(0))
            for parameter in scaled:
                parameter.mul_(gain)
            value = value * gain
        value = module(value)


def _gain(neuron: Any, drive: torch.Tensor, rate: float) -> float:
    """Return the factor on ``drive`` [T, N, ...] at which ``neuron`` fires at ``rate``, by bisection in logarithms."""
    from spikingjelly.activation_based import functional

    low, high = 1e-3 / float(drive.std()), 1e3 / float(drive.std())
    for _ in range(SEARCH_STEPS):
        middle = (low * high) ** 0.5
        fired = float(neuron(drive * middle).mean())
        functional.reset_net(neuron)
        low, high = (middle, high) if fired < rate else (low, middle)
    return (low * high) ** 0.5


class FloatForward:
    """The plain float32 forward pass of a folded graph in torch, time folded into the batch at every synapse.

    The neuron is written as SpikingJelly's torch backend writes it: charge, fire, reset, one elementwise operation
    after the other, step by step, the spikes stacked at the end.
    """

    def __init__(self, graph: Graph, *, channels_last: bool = False) -> None:
        self.nodes = graph.nodes
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.weights = {
            node.name: (self._tensor(node.weight), None if node.bias is None else self._tensor(node.bias))
            for node in graph.nodes
            if isinstance(node, Conv2d | Linear)
        }

    def _tensor(self, values: Array) -> torch.Tensor:
        made = torch.from_numpy(np.ascontiguousarray(values)).float()
        return made.contiguous(memory_format=self.format) if made.ndim == 4 else made

    def run(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the spikes of every neuron layer, float32 [T, N, ...], for clips [T, N, C, H, W]."""
        with torch.no_grad():
            return dict(self._layers(clips))

    def output(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the spikes of the last layer; those before it are let go as soon as they are used."""
        last = clips
        with torch.no_grad():
            for _, last in self._layers(clips):  # noqa: B007
                pass
        return last

    def _layers(self, clips: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        value, (steps, samples) = clips.flatten(0, 1), clips.shape[:2]
        for node in self.nodes:
            if isinstance(node, Conv2d):
                value = value.contiguous(memory_format=self.format)
                where = (node.stride, node.padding, node.dilation, node.groups)
                value = F.conv2d(value, *self.weights[node.name], *where)
            elif isinstance(node, Linear):
                value = F.linear(value.flatten(1), *self.weights[node.name])
            elif isinstance(node, LIF):
                fired = _integrate(node, value.unflatten(0, (steps, samples)))
                value = fired.flatten(0, 1)
                yield node.name, fired


def _integrate(node: LIF, drive: torch.Tensor) -> torch.Tensor:
    v = torch.zeros_like(drive[0])
    fired = []
    for x in drive:
        v = v * (1.0 - node.decay) + node.gain * x if node.gain != 1.0 else v * (1.0 - node.decay) + x
        spike = (v >= node.threshold).to(x)
        v = (1.0 - spike) * v
        fired.append(spike)
    return torch.stack(fired)


def multiplies(chip: ChipGraph) -> dict[str, dict[str, int]]:
    """Return the multiplications of one step by layer: with the kernels as folded, and with pooling done first."""
    maps = (chip.input_shape, *(layer.output_shape for layer in chip.layers))
    pairs = list(zip(chip.layers, maps, strict=False))
    folded = {layer.name: _folded_multiplies(layer) for layer in chip.layers}
    pooled = {layer.name: folded[layer.name] // (4 if _behind_pool(layer, before) else 1) for layer, before in pairs}
    return {"folded": folded, "pooled": pooled}


def _folded_multiplies(layer: ChipLayer) -> int:
    pixels = int(np.prod(layer.output_shape[1:])) if layer.kind == "conv" else 1
    return layer.weight.size * pixels


def _behind_pool(layer: ChipLayer, before: tuple[int, ...]) -> bool:
    """Whether each weight stands for a 2x2 window of the layer before, so that a pool may be taken first."""
    kernel = layer.weight
    if layer.kind == "dense":
        if len(before) != 3:
            return False
        kernel = kernel.reshape(len(kernel), *before)
    elif layer.stride != (2, 2):
        return False
    even = kernel[..., : kernel.shape[2] // 2 * 2, : kernel.shape[3] // 2 * 2]
    return bool((even[..., ::2, :] == even[..., 1::2, :]).all() and (even[..., ::2] == even[..., 1::2]).all())


def matrix_product(count: int) -> Callable[[], object]:
    """Return a call that multiplies two square float32 matrices with ``count`` multiplications in all."""
    side = max(1, round(count ** (1 / 3)))
    left, right, out = torch.rand(side, side), torch.rand(side, side), torch.empty(side, side)
    return lambda: torch.mm(left, right, out=out)


def rate_threshold(layer: ChipLayer, clips: Array, rate: float) -> int:
    """Return the threshold mantissa at which ``layer``, as the first of a chip, fires at ``rate`` on ``clips``."""
    low, high = 0, THRESHOLD_MAX.value
    while high - low > 1:
        middle = (low + high) // 2
        chip = ChipGraph((replace(layer, threshold=middle),), layer.input_shape, len(clips), None, "spikes")
        counts = Simulator(chip, threads=1).run(clips, record="counts").counts[layer.name]
        low, high = (middle, high) if counts.sum() > rate * layer.neurons * counts.size else (low, middle)
    return high


def timed(call: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def interleaved(calls: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """Return what each call measures, all of them in turn, so that a disturbance hits none of them alone."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            found[name].append(call())
    return found


def summary(values: Sequence[float], scale: float = 1.0) -> dict[str, Any]:
    """Return median, least, largest and number of the values, times ``scale``.

    >>> summary([3.0, 1.0, 2.0], 10.0)
    {'median': 20.0, 'min': 10.0, 'max': 30.0, 'runs': 3}
    """
    scaled = [value * scale for value in values]
    return {"median": statistics.median(scaled), "min": min(scaled), "max": max(scaled), "runs": len(scaled)}


def machine() -> dict[str, Any]:
    """Return the processor and the versions that the numbers belong to; nothing that names the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    packages = {}
    for name in ("numpy", "torch", "numba", "lava-nc", "lava-dl"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "processor": models[0] if models else platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **packages,
    }
