"""A spiking network that computes, in torch and with gradients, exactly what the chip computes with its integers.

Per layer, with the scale s, the payload L and the threshold mantissa M that the target's quantiser chose::

    W_q = clip(round(W s))          b_q = clip(round(b s L))          x: integers, spikes or round(gray L)
    u <- trunc(u (4096 - current_decay) / 4096) + 64 (W_q * x)
    v <- clip(trunc(v (4096 - voltage_decay) / 4096) + u + 64 b_q, -2^23 + 1, 2^23 - 1)
    s  = v > 64 M ;  v <- 0 where s

The float *master* weights W and biases b are what training moves. Rounding and truncation pass gradients through
unchanged (straight-through estimator, Bengio et al., arXiv:1308.3432); the step of the neuron has SpikingJelly's ATan
derivative in the unit of the float network, and the reset is not differentiated, as in the float network.

Sums are exact in float32: no partial sum passes 131071. The states are float64, because the product of a 24-bit
potential with a 12-bit decay has 35 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from export.frontends.spikingjelly import capture
from export.passes import lower
from hw_targets.finding import CapacityError, Finding, InputError, refuse
from hw_targets.graph import LIF, Array, Conv2d, Graph, Linear, Node, Synapse
from hw_targets.registry import DeployTarget, deploy_target
from neuroemo.models.emotion import build_network
from neuroemo.training.checkpoint import Description, LayerGrid, Quantization, load_weights

V_MAX = 2**23 - 1
WRAP = 2**24
SURROGATE_WIDTH = 2.0
"""SpikingJelly's default alpha of ATan, with which the float networks are trained."""
LEAST_THRESHOLD = 1.5
"""Synaptic units that a threshold is given at least: with fewer its mantissa could not tell one spike from two."""


class _Round(torch.autograd.Function):
    """Round half to even; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.round()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return gradient


class _Integrate(torch.autograd.Function):
    """Integer neurons over time: synaptic sums [T, N, ...] and biases [...] to spikes [T, N, ...].

    ``neuron`` holds the numbers of the layer: what stays of current and potential (in 1/4096), the threshold
    mantissa, and ``unit``, how many units of the potential make 1.0 of the float network.
    """

    @staticmethod
    def forward(ctx: Any, sums: torch.Tensor, bias: torch.Tensor, neuron: tuple[int, int, int, float]) -> torch.Tensor:
        keep_current, keep_potential, mantissa, _ = neuron
        threshold = float(mantissa << 6)
        shifted = bias.double() * 64
        potential = torch.zeros_like(sums[0], dtype=torch.float64)
        current = torch.zeros_like(potential)
        membrane = torch.empty_like(sums)
        for step, arriving in enumerate(sums):
            arriving = arriving.double().mul_(64)
            current = _wrapped((current * (keep_current / 4096)).trunc_() + arriving) if keep_current else arriving
            potential.mul_(keep_potential / 4096).trunc_().add_(current).add_(shifted).clamp_(-V_MAX, V_MAX)
            membrane[step] = potential  # 24 bits: exact in float32
            potential.masked_fill_(potential > threshold, 0.0)
        ctx.save_for_backward(membrane)
        ctx.neuron, ctx.bias_shape = neuron, bias.shape
        return (membrane > threshold).to(sums.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (membrane,) = ctx.saved_tensors
        keep_current, keep_potential, mantissa, unit = ctx.neuron
        threshold = float(mantissa << 6)
        slope = ((membrane - threshold) * (torch.pi / 2 * SURROGATE_WIDTH / unit)).square_().add_(1.0).reciprocal_()
        to_potential = slope.mul_(SURROGATE_WIDTH / 2 / unit).mul_(gradient)
        stays = (membrane <= threshold) * (keep_potential / 4096)
        inside = membrane.abs() < V_MAX
        to_sums = torch.empty_like(gradient)
        later = torch.zeros_like(gradient[0])
        current = torch.zeros_like(later)
        to_bias = torch.zeros_like(later)
        for step in range(len(gradient) - 1, -1, -1):
            later = (to_potential[step] + stays[step] * later) * inside[step]
            to_bias += later
            current = later + current * (keep_current / 4096) if keep_current else later
            to_sums[step] = current
        return to_sums.mul_(64), to_bias.mul_(64).sum_to_size(ctx.bias_shape), None


def _wrapped(current: torch.Tensor) -> torch.Tensor:
    """Wrap a current that left 24 bits, once, as Lava does."""
    above, below = current > V_MAX + 1, current <= -(V_MAX + 1)
    return current - WRAP * above.double() + WRAP * below.double()


class QuantizedLayer(nn.Module):
    """One population: float master weights on the grid of one chip layer, and that layer's integer neurons."""

    def __init__(self, synapse: Synapse, chip: Any, weight_max: int, limits: Mapping[str, int]) -> None:
        super().__init__()
        self.chip, self.weight_max = chip, weight_max
        self.bias_max, self.sum_max = limits["bias mantissa"], limits["synaptic sum"]
        trained = not _is_maximum(synapse, chip)
        weight = torch.from_numpy(np.asarray(synapse.weight, dtype=np.float32).copy())
        self.weight = nn.Parameter(weight, requires_grad=trained)
        self.bias = None
        if synapse.bias is not None:
            bias = torch.from_numpy(np.asarray(synapse.bias, dtype=np.float32).copy())
            self.bias = nn.Parameter(bias, requires_grad=trained)
        self._start_on(chip)

    def _start_on(self, chip: Any) -> None:
        """Move masters that float32 rounds to another integer than the quantiser's float64 onto the grid."""
        with torch.no_grad():
            weight, bias = self.integers()
            wanted = torch.from_numpy(chip.weight.astype(np.float32))
            self.weight.copy_(torch.where(weight == wanted, self.weight, wanted / chip.scale))
            if self.bias is not None:
                wanted = torch.from_numpy(chip.bias.astype(np.float32))
                self.bias.copy_(torch.where(bias == wanted, self.bias, wanted / (chip.scale * chip.payload)))

    def integers(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the chip's weights and biases as whole numbers in float32, differentiable."""
        weight = _Round.apply(self.weight * self.chip.scale).clamp(-self.weight_max, self.weight_max)
        if self.bias is None:
            return weight, weight.new_zeros(len(weight))
        bias = _Round.apply(self.bias * (self.chip.scale * self.chip.payload)).clamp(-self.bias_max, self.bias_max)
        return weight, bias

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the spikes [T, N, ...] for the integers [T, N, ...] that arrive."""
        chip = self.chip
        weight, bias = self.integers()
        frames = value.reshape(-1, *chip.input_shape)
        if chip.kind == "conv":
            sums = F.conv2d(frames, weight, None, chip.stride, chip.padding, chip.dilation, chip.groups)
        else:
            sums = F.linear(frames.flatten(1), weight)
        neuron = (
            4096 - chip.current_decay,
            4096 - chip.voltage_decay,
            chip.threshold,
            64.0 * chip.scale * chip.payload,
        )
        per_neuron = bias.reshape(-1, *([1] * (len(chip.output_shape) - 1)))
        return _Integrate.apply(sums.reshape(*value.shape[:2], *chip.output_shape), per_neuron, neuron)

    @torch.no_grad()
    def project(self) -> None:
        """Pull the masters back to where every field of the chip holds them and no synaptic sum can overflow.

        Weights and biases are clipped to the grid; an output channel whose positive (or negative) weights together
        pass the largest sum is shortened.
        """
        grid = self.chip.scale * self.chip.payload
        self.weight.clamp_(-self.weight_max / self.chip.scale, self.weight_max / self.chip.scale)
        if self.bias is not None:
            self.bias.clamp_(-self.bias_max / grid, self.bias_max / grid)
        while bool(((worst := self.worst_sums()) > self.sum_max).any()):
            factor = torch.where(worst > self.sum_max, self.sum_max / worst * 0.999, torch.ones_like(worst))
            self.weight.mul_(factor.float().reshape(-1, *([1] * (self.weight.ndim - 1))))

    @torch.no_grad()
    def worst_sums(self) -> torch.Tensor:
        """Return the largest magnitude that each output channel's synaptic sum can reach, float64 [C_out]."""
        rows = self.integers()[0].double().flatten(1)
        return torch.maximum(rows.clamp(min=0).sum(1), -rows.clamp(max=0).sum(1)) * self.chip.payload

    def to_chip(self) -> Any:
        """Return the chip layer with the integers of now."""
        with torch.no_grad():
            weight, bias = (value.double().numpy().astype(np.int64) for value in self.integers())
        return replace(self.chip, weight=weight, bias=bias)


def _is_maximum(synapse: Synapse, chip: Any) -> bool:
    """Whether a layer is a maximum over spikes (export/passes/spike_maximum.py), whose ones are not for training."""
    return chip.threshold == 0 and chip.kind == "conv" and chip.groups == len(synapse.weight) and synapse.bias is None


class QuantizedNetwork(nn.Module):
    """The network on the chip's grid: clips [T, N, C, H, W] to votes [T, N, classes], like ``build_network``.

    ``graph`` is a lowered graph whose float weights become the masters, ``chip`` its form by the target's quantiser,
    whose scales, payloads, thresholds and decays stay. At the start ``to_chip()`` equals ``chip``; at any time the
    spikes of every layer equal those of the target's simulator for ``to_chip()``, bit for bit.
    """

    def __init__(self, graph: Graph, chip: Any, target: DeployTarget, bits: int) -> None:
        super().__init__()
        self.graph, self.chip, self.target, self.bits = graph, chip, target, bits
        limits = {limit.name: int(limit.value) for limit in target.limits}
        weight_max = min(limits["weight"], 2 ** (bits - 1) - 1)
        self.layers = nn.ModuleList(
            QuantizedLayer(synapse, layer, weight_max, limits)
            for synapse, layer in zip(_synapses(graph), chip.layers, strict=True)
        )

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Run clips [T, N, C, H, W] from reset state; return the share of each group that fires [T, N, classes]."""
        *_, spikes = self.run(clips).values()
        return spikes.unflatten(2, (-1, self.chip.voting)).mean(-1)

    def run(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the spikes [T, N, ...] of every layer."""
        value = (clips * self.chip.payload).round()
        spikes = {}
        for layer in self.layers:
            value = spikes[layer.chip.name] = layer(value)
        return spikes

    def layer_spikes(self, clips: Array) -> dict[str, Array]:
        """Return the spikes of every layer for numpy clips, uint8 [T, N, ...], without gradients."""
        with torch.no_grad():
            return {name: value.to(torch.uint8).numpy() for name, value in self.run(torch.from_numpy(clips)).items()}

    def project(self) -> None:
        """Pull every layer back into the chip's fields (``QuantizedLayer.project``); to call after each step."""
        for layer in self.layers:
            layer.project()

    def refuse_overflow(self) -> None:
        """Raise a CapacityError that names every layer whose integers a field or the current cannot hold."""
        findings = [finding for finding in self.target.check_chip(self.to_chip()) if finding.severity == "error"]
        for layer in self.layers:
            worst = int(layer.worst_sums().max())
            if worst > layer.sum_max:
                found, over = f"synaptic sum up to {worst}", str(worst - layer.sum_max)
                fix = "the 24-bit current would wrap: fine-tune again"
                findings.append(Finding("E087", "error", layer.chip.name, found, str(layer.sum_max), over, fix))
        if findings:
            raise CapacityError(findings)

    def to_chip(self) -> Any:
        """Return the chip graph with the integers of now."""
        return replace(self.chip, layers=tuple(layer.to_chip() for layer in self.layers))

    def to_graph(self) -> Graph:
        """Return the float graph on the grid: weights W_q / s, biases b_q / (s L), thresholds (M + 1/128) / (s L).

        The 1/128 puts the threshold between the last potential that is silent, M, and the next, M + 1/64, where no
        rounding can turn it. The graph says what the chip computes but for its truncation: potentials differ by
        less than 1 / (64 s L decay).
        """
        nodes: list[Node] = []
        layers = iter(self.to_chip().layers)
        for node in self.graph.nodes:
            match node:
                case Conv2d() | Linear():
                    layer = next(layers)
                    grid = layer.scale * layer.payload
                    bias = None if node.bias is None else layer.bias / grid
                    nodes.append(replace(node, weight=layer.weight / layer.scale, bias=bias))
                case LIF():
                    nodes.append(
                        replace(
                            node,
                            decay=layer.voltage_decay / 4096,
                            current_decay=layer.current_decay / 4096,
                            threshold=(layer.threshold + 1 / 128) / grid,
                            inclusive=False,
                        )
                    )
                case _:
                    nodes.append(node)
        return self.graph.replace_nodes(tuple(nodes))


def _synapses(graph: Graph) -> list[Synapse]:
    return [node for node in graph.nodes if isinstance(node, Conv2d | Linear)]


def with_resolved_thresholds(graph: Graph, bits: int) -> Graph:
    """Return a lowered graph whose largest weights leave its thresholds at least 1.5 units at that many bits.

    The quantiser's scale makes the largest weight 2^(bits-1) - 1 units, so a weight w beside a threshold th leaves
    it th (2^(bits-1) - 1) / w units. Weights beyond th (2^(bits-1) - 1) / 1.5 are clipped; fine-tuning makes up for
    them. A first layer behind gray values needs none of it: its payload resolves its threshold.
    """
    nodes = list(graph.nodes)
    at, first = 0, True
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Conv2d | Linear):
            at = index
        elif isinstance(node, LIF):
            synapse = nodes[at]
            bound = node.threshold * (2 ** (bits - 1) - 1) / LEAST_THRESHOLD
            coarse = bound > 0 and not (first and graph.first_frame == "float")
            if coarse and isinstance(synapse, Conv2d | Linear):
                nodes[at] = replace(synapse, weight=np.clip(synapse.weight, -bound, bound))
            first = False
    return graph.replace_nodes(tuple(nodes))


def lowered_graph(network: nn.Module, description: Description, target: DeployTarget) -> Graph:
    """Return a float network as the folded graph that the target is given.

    Raises:
        InputError: the ANN twin.
        UnsupportedError, CapacityError: the target cannot express, or cannot hold, the network.
    """
    spec = description.spec
    if spec.neuron == "relu":
        fix = "give the checkpoint of the spiking network"
        raise InputError(Finding("E085", "error", spec.name, "an ANN has no spikes", "a spiking network", fix=fix))
    example = torch.zeros(1, 1, 2, spec.size, spec.size)
    graph, _ = capture(network, example, dt_us=description.dt_us, first_frame=spec.first_frame)
    graph, found = lower(replace(graph, steps=spec.steps))
    refuse([*found, *target.check(graph)])
    return graph


def load_quantized(description: Description, tensors: dict[str, torch.Tensor], where: str) -> QuantizedNetwork:
    """Rebuild a fine-tuned network: layers and shapes from the spec, its grid from ``qat``, its masters from tensors.

    Raises:
        InputError: the grid does not fit the spec, or the tensors do not fit the network.
        CapacityError: the integers overflow a field or a sum.
    """
    grid = description.qat
    if grid is None:
        raise ValueError("a float checkpoint has no grid")
    target = deploy_target(grid.target)
    graph = with_resolved_thresholds(lowered_graph(build_network(description.spec), description, target), grid.bits)
    chip = target.quantize(graph, weight_bits=grid.bits)
    names = [layer.name for layer in chip.layers]
    if [layer.name for layer in grid.layers] != names:
        found = "grid of " + ", ".join(layer.name for layer in grid.layers)
        raise InputError(Finding("E086", "error", where, found, ", ".join(names)))
    layers = tuple(replace(made, **asdict(said)) for made, said in zip(chip.layers, grid.layers, strict=True))
    network = QuantizedNetwork(graph, replace(chip, layers=layers), target, grid.bits)
    load_weights(network, tensors, where)
    network.refuse_overflow()
    return network


def grid_of(network: QuantizedNetwork) -> Quantization:
    """Return what ``model.json`` says about a quantised network."""
    fields = ("name", "scale", "payload", "threshold", "voltage_decay", "current_decay")
    layers = tuple(LayerGrid(*(getattr(layer, field) for field in fields)) for layer in network.chip.layers)
    return Quantization(network.bits, network.target.name, layers)


def chip_of(network: nn.Module) -> Any | None:
    """Return the chip graph that an export must use as it is; None for a float network, which has no integers yet."""
    return network.to_chip() if isinstance(network, QuantizedNetwork) else None


class QuantizedSource:
    """A fine-tuned network as ``export.sources.Source``: its integers are the model, its graph their float view."""

    framework = "neuroemo"

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network

    def graph(self, example: Array) -> Graph:
        """Return the float graph on the grid; it is lowered already."""
        return self.network.to_graph()

    def spikes(self, clips: Array) -> dict[str, Array]:
        """Return the network's own spikes, uint8 [T, N, ...] by neuron layer."""
        return self.network.layer_spikes(clips)

    def chip(self) -> Any:
        """Return the integers that training chose."""
        return self.network.to_chip()
