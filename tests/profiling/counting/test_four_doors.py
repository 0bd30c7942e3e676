"""One network through every front door of the counter: the same integers, layer by layer, step by step, clip by clip.

Weights are whole numbers and thresholds lie between two of them, so that SpikingJelly, Norse, the float graph and the
fixed-point simulator compute the same potentials without rounding, and every spike is the same.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from export.passes import lower
from export.sources import ModuleSource
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, Linear
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from neuroemo.profiling.counting.chip import count_chip
from neuroemo.profiling.counting.counter import count_operations
from neuroemo.profiling.counting.counts import OpCounts
from neuroemo.profiling.counting.graph import count_graph
from tests.profiling.brute_force import enumerate_conv
from tests.profiling.counting.test_graph_door import inputs_of, tables

functional = pytest.importorskip("spikingjelly.activation_based.functional")
from spikingjelly.activation_based import layer, neuron  # noqa: E402

STEPS, CLIPS, PAYLOAD = 6, 3, 4
SEEDS = range(24)
USUAL = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, "bias": None}


@dataclass
class Drawn:
    """The modules of a network in their order, with the neurons still to be chosen by the library, and its clips."""

    parts: list[nn.Module | tuple[str, float]]
    clips: np.ndarray
    first_frame: str
    pooled: bool


def drawn(seed: int) -> Drawn:
    """Two convolutions and a linear layer, IF or LIF neurons behind each, perhaps normalisation and average pools."""
    rng = np.random.default_rng(seed)
    channels, size = int(rng.integers(1, 3)), int(rng.integers(9, 12))
    parts: list[nn.Module | tuple[str, float]] = []
    space, width, pooled = (size, size + 1), channels, False
    for number in range(2):
        tiled = bool(parts) and pooled and isinstance(parts[-1], nn.AvgPool2d)
        padding, dilation = (0, 1) if tiled else (int(rng.integers(0, 3)), int(rng.integers(1, 3)))
        stride, kernel = int(rng.integers(1, 3)) if number == 0 else 1, int(rng.integers(1, 4)) if number == 0 else 2
        groups, outputs = int(rng.choice([1, width])), 4
        conv = layer.Conv2d(width, outputs, kernel, stride, padding, dilation, groups, bias=bool(rng.integers(0, 2)))
        parts += [whole(conv, rng)]
        space = tuple((n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for n in space)
        if rng.integers(0, 2):
            parts += [normalisation(outputs, rng)]
        parts += [neurons(rng)]
        # A pool that drops rows before a linear layer leaves stored zeros there: see the last test.
        if rng.integers(0, 2) and min(space) >= 4 and (number == 0 or not any(n % 2 for n in space)):
            space, pooled = tuple(n // 2 for n in space), True
            parts += [layer.AvgPool2d(2)]
        width = outputs
    parts += [layer.Flatten(), whole(layer.Linear(width * math.prod(space), 5, bias=False), rng), neurons(rng)]
    clips = (rng.random((STEPS, CLIPS, channels, size, size + 1)) < 0.3).astype(np.float32)
    gray = bool(rng.integers(0, 2))
    if gray:
        clips[0] = rng.integers(0, PAYLOAD + 1, clips[0].shape) / PAYLOAD
    return Drawn(parts, clips, "float" if gray else "spikes", pooled)


def whole(module: nn.Module, rng) -> nn.Module:
    """Multiples of eight: a mean over four and a gain of a half leave whole numbers."""
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(8.0 * rng.integers(-1, 5, tuple(module.weight.shape))))
        if module.bias is not None:
            module.bias.copy_(torch.from_numpy(8.0 * rng.integers(-1, 3, tuple(module.bias.shape))))
    return module


def normalisation(channels: int, rng) -> nn.Module:
    norm = layer.BatchNorm2d(channels, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(rng.integers(1, 3, channels).astype(np.float32)))
        norm.bias.copy_(torch.from_numpy(8.0 * rng.integers(-1, 2, channels)))
    return norm


def neurons(rng) -> tuple[str, float]:
    """A kind and a threshold that no potential ever meets."""
    return str(rng.choice(["if", "lif"])), float(rng.integers(8, 25)) + 1 / 128


def spikingjelly_network(network: Drawn, mode: str) -> nn.Sequential:
    def made(part):
        if not isinstance(part, tuple):
            return part
        kind, threshold = part
        return neuron.IFNode(v_threshold=threshold) if kind == "if" else neuron.LIFNode(tau=2.0, v_threshold=threshold)

    net = nn.Sequential(*map(made, network.parts))
    functional.set_step_mode(net, mode)
    return net.eval()


class OverTime(nn.Module):
    """Runs a Norse network step by step and carries its state."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        state, outputs = None, []
        for frame in clips:
            output, state = self.net(frame, state)
            outputs.append(output)
        return torch.stack(outputs)


def norse_network(network: Drawn) -> nn.Module:
    import norse.torch as norse
    from norse.torch.functional.iaf import IAFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters

    def made(part):
        if not isinstance(part, tuple):
            functional.set_step_mode(part, "s")
            return part
        kind, threshold = part
        if kind == "if":
            return norse.IAFCell(IAFParameters(v_th=torch.tensor(threshold)), dt=2**-10)
        given = LIFBoxParameters(tau_mem_inv=torch.tensor(2.0**9), v_th=torch.tensor(threshold))
        return norse.LIFBoxCell(given, dt=2**-10)

    return norse.SequentialState(*map(made, network.parts)).eval()


def whole_chip(graph: Graph) -> ChipGraph:
    """The chip form of a lowered graph whose numbers are whole already: nothing is rounded but the thresholds."""
    layers, waiting = [], None
    for node, shape, shape_out in graph.layers():
        if isinstance(node, Conv2d | Linear):
            waiting = node, shape
        elif isinstance(node, LIF):
            synapse, shape = waiting
            payload = PAYLOAD if not layers and graph.first_frame == "float" else 1
            bias = np.zeros(len(synapse.weight)) if synapse.bias is None else synapse.bias * payload
            assert (synapse.weight == np.rint(synapse.weight)).all()
            assert (bias == np.rint(bias)).all()
            conv = isinstance(synapse, Conv2d)
            keys = ("stride", "padding", "dilation", "groups")
            layers.append(
                ChipLayer(
                    node.name, "conv" if conv else "dense", synapse.weight.astype(np.int64), bias.astype(np.int64),
                    math.floor(node.threshold * payload), round(4096 * node.decay), shape, shape_out, payload=payload,
                    **({key: getattr(synapse, key) for key in keys} if conv else {}),
                )
            )  # fmt: skip
        else:
            assert isinstance(node, Flatten)
    return ChipGraph(tuple(layers), graph.input_shape, graph.steps, None, graph.first_frame)


def integers(counts: OpCounts) -> list[tuple]:
    """Everything counted, without names."""
    assert not counts.partial
    assert not counts.notes
    listed = []
    for entry in counts.layers.values():
        rule = None if entry.rule is None else (entry.rule.macs, entry.rule.acs, entry.rule.reset_acs)
        sums = (entry.dense_macs, entry.synapses, entry.elements, entry.neuron_updates)
        listed.append((entry.kind, entry.table.tolist(), sums, rule))
    return listed


def doors(network: Drawn, pooling: str) -> dict[str, OpCounts]:
    """Count by every door that takes floats."""
    clips = torch.from_numpy(network.clips)
    counted = {"multi-step": count_operations(spikingjelly_network(network, "m"), [clips], pooling=pooling)}
    counted["graph"] = count_graph(captured(network), network.clips, pooling=pooling)
    single = spikingjelly_network(network, "s")
    counted["step by step"] = count_operations(single, [clips], loop_steps=True, pooling=pooling)
    if find_spec("norse"):
        counted["Norse"] = count_operations(OverTime(norse_network(network)), [clips], pooling=pooling)
    return counted


def captured(network: Drawn) -> Graph:
    return ModuleSource(spikingjelly_network(network, "m"), None, network.first_frame).graph(network.clips)


def agree(counted: dict[str, OpCounts]) -> None:
    (first, expected), *others = ((door, integers(counts)) for door, counts in counted.items())
    for door, found in others:
        assert found == expected, f"{door} against {first}"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_door_counts_the_same_integers(seed):
    network = drawn(seed)
    event = doors(network, "event")
    agree(event)
    fired = [entry.spikes_out for entry in event["graph"].layers.values() if entry.kind == "neuron"]
    assert len(fired) == 3
    assert all(fired), "a silent layer proves nothing"
    lowered, findings = lower(captured(network))
    assert not findings
    chip = count_chip(whole_chip(lowered), [network.clips[:, :1], network.clips[:, 1:]])
    folded = doors(network, "folded") | {"lowered graph": count_graph(lowered, network.clips), "chip": chip}
    agree(folded)
    if not network.pooled:
        agree(event | folded)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_integers_are_those_of_an_enumeration(seed):
    """What all doors agree on is what a loop over taps, and a second run that knows none of them, gives."""
    network = drawn(seed)
    graph = captured(network)
    counts, given = count_graph(graph, network.clips), inputs_of(graph, network.clips)
    for node, shape, shape_out in graph.layers():
        if isinstance(node, Conv2d):
            reads = enumerate_conv(
                shape, shape_out, node.weight.shape[2:], node.stride, node.padding, node.dilation, node.groups
            )
        elif isinstance(node, Linear):
            reads = np.full(shape, len(node.weight))
        else:
            continue
        np.testing.assert_array_equal(counts.layers[node.name].table[..., :3], tables(given[node.name], reads))
    for node, follower in itertools.pairwise(graph.nodes):
        if isinstance(node, LIF):
            fired = np.count_nonzero(given[follower.name].reshape(STEPS, CLIPS, -1), axis=2)
            np.testing.assert_array_equal(counts.layers[node.name].table[..., 3], fired)
            assert counts.layers[node.name].neuron_updates == given[node.name].size


def test_rows_that_a_pool_drops_are_zeros_that_a_folded_linear_layer_stores():
    """Live, what no window holds costs nothing; on the chip it meets weights of zero, which a policy may skip."""
    rng = np.random.default_rng(0)
    parts = [whole(layer.Conv2d(1, 2, 2), rng), ("if", 8 + 1 / 128), layer.AvgPool2d(2), layer.Flatten()]
    linear = whole(layer.Linear(2 * 2 * 2, 3, bias=False), rng)
    with torch.no_grad():
        linear.weight[linear.weight == 0] = 8.0
    clips = (rng.random((STEPS, CLIPS, 1, 6, 6)) < 0.4).astype(np.float32)
    network = Drawn([*parts, linear, ("if", 8 + 1 / 128)], clips, "spikes", True)
    chip = whole_chip(lower(captured(network))[0])
    assert chip.layers[1].weight.shape == (3, 2 * 5 * 5)
    live = count_operations(spikingjelly_network(network, "m"), [torch.from_numpy(clips)], pooling="folded").layers["4"]
    stored, skipped = (
        count_chip(chip, [clips], skip_zero_weights=skip).layers[chip.layers[1].name] for skip in (False, True)
    )
    np.testing.assert_array_equal(skipped.table, live.table)
    np.testing.assert_array_equal(
        count_graph(captured(network), clips, pooling="folded").layers["4"].table, stored.table
    )
    np.testing.assert_array_equal(stored.table[..., 0], 3 * stored.table[..., 2])
    assert stored.acs > live.acs


def test_the_drawn_networks_are_of_every_kind():
    networks = [drawn(seed) for seed in SEEDS]
    assert {network.pooled for network in networks} == {True, False}
    assert {network.first_frame for network in networks} == {"float", "spikes"}
    parts = [part for network in networks for part in network.parts]
    assert {part[0] for part in parts if isinstance(part, tuple)} == {"if", "lif"}
    assert any(isinstance(part, nn.BatchNorm2d) for part in parts)
    convs = [part for part in parts if isinstance(part, nn.Conv2d)]
    assert all(any(getattr(conv, name) != usual for conv in convs) for name, usual in USUAL.items())
