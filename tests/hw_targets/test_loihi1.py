"""Loihi 1: Loihi 2's integers with binary spikes, and cores with axons, against a search neuron by neuron."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from hw_targets.finding import refusal_code
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, Linear
from hw_targets.limit import Limit
from hw_targets.loihi1 import place as module
from hw_targets.loihi1.place import place, summarise, unrolled_synapses
from hw_targets.loihi2.place import ChipSize
from hw_targets.registry import get_target
from tests.hw_targets.test_place import conv, dense, network

LOIHI1 = get_target("loihi1")


def graph(first_frame="spikes"):
    rng = np.random.default_rng(0)
    nodes = (
        Conv2d("conv", rng.normal(size=(4, 2, 3, 3))),
        LIF("n1", 0.5, 0.5),
        Flatten("flat"),
        Linear("fc", rng.normal(size=(3, 64))),
        LIF("n2", 0.5, 0.5),
    )
    return Graph(nodes, (2, 6, 6), 4, 1000.0, first_frame)


def test_gray_values_cannot_be_sent_and_the_way_out_is_named():
    found = LOIHI1.check(graph("float"))
    assert [(f.code, f.node) for f in found] == [("E250", "input")]
    assert "gray values" in found[0].found
    assert "--input-encoding host" in found[0].fix
    assert refusal_code(found) == 3
    assert LOIHI1.check(graph()) == []
    assert get_target("loihi2").check(graph("float")) == []


def test_the_rules_of_loihi2_hold_here_too():
    nodes = graph().nodes
    soft = graph().replace_nodes((*nodes[:-1], replace(nodes[-1], reset="subtract")))
    assert [f.code for f in LOIHI1.check(soft)] == ["E201"]


def test_a_payload_above_one_is_refused():
    signed = replace(dense(2, 3), weight=np.array([[1, -2, 3], [-1, 2, 3]]))
    assert LOIHI1.check_chip(network(signed)) == []
    found = LOIHI1.check_chip(network(replace(signed, payload=63)))
    assert [(f.code, f.node, f.over) for f in found] == [("E251", "fc", "62")]


def test_it_computes_what_loihi2_computes():
    clips = np.random.default_rng(1).integers(0, 2, size=(4, 3, 2, 6, 6)).astype(np.float32)
    chips = [get_target(name).quantize(graph()) for name in ("loihi1", "loihi2")]
    runs = [get_target(name).simulate(chip, clips) for name, chip in zip(("loihi1", "loihi2"), chips, strict=True)]
    assert runs[0].output.sum() > 0
    np.testing.assert_array_equal(runs[0].output, runs[1].output)


def test_a_dense_layer_by_hand():
    # 3000 neurons of fan-in 40: 1024 neurons per core, so 3 cores of 1000; 40 input axons each.
    layer = place(network(dense(3000, 40)))[0][0]
    assert (layer.cores, layer.neurons_per_core, layer.bytes_per_core) == (3, 1000, 40_000)
    assert (layer.in_axons_per_core, layer.out_axons_per_core) == (40, 0)
    assert (layer.limited_by, layer.neuron_share) == ("neurons", 1000 / 1024)
    assert layer.unrolled_bytes is None


def test_a_neuron_needs_an_output_axon_for_each_core_it_sends_to():
    # The second layer: 2000 rows of 1000 bytes, 131 rows per core, 16 cores. A core of the first layer has 4096
    # output axons for 16 receivers: 256 neurons, so 1000 neurons take 4 cores of 250, not 1.
    first, second = place(network(dense(1000, 10, "a"), dense(2000, 1000, "b")))[0]
    assert (second.cores, second.neurons_per_core) == (16, 125)
    assert (first.cores, first.neurons_per_core, first.out_axons_per_core) == (4, 250, 4000)
    assert (first.limited_by, first.axon_share) == ("axons", 4000 / 4096)


def test_more_input_axons_than_a_core_has_are_refused():
    layers, findings = place(network(dense(2, 4097)))
    assert [(f.code, f.severity, f.node, f.over) for f in findings] == [("E303", "error", "fc", "1")]
    assert "4097 input axons" in findings[0].found
    assert layers[0].axon_share > 1
    assert refusal_code(findings) == 4
    assert place(network(dense(2, 4096)))[1] == []


def test_a_neuron_with_more_receivers_than_output_axons_is_refused(monkeypatch):
    shrink(monkeypatch, ChipSize(128, 8, 100, 100, 2))
    assert place(network(dense(4, 3, "a"), dense(16, 4, "b")))[1] == []
    findings = place(network(dense(4, 3, "a"), dense(17, 4, "b")))[1]
    assert [(f.code, f.node, f.over) for f in findings] == [("E303", "a", "1")]
    assert "3 output axons" in findings[0].found


def test_more_than_one_chip_is_counted_with_its_own_cores():
    layers, findings = place(network(conv(32, 2, 3, 126, 126)))
    assert [f.code for f in findings] == ["W301"]
    total = summarise(layers)
    assert total["cores"] >= 497  # 508032 neurons / 1024
    assert total["chips"] == -(-total["cores"] // 128)
    assert str(total["chips"]) in findings[0].fix
    assert LOIHI1.summarise(layers) == total


@pytest.mark.parametrize(
    "layer",
    [
        conv(3, 2, 3, 5, 4),
        conv(4, 4, 3, 5, 5, padding=(1, 1)),
        conv(4, 4, 5, 3, 4, stride=(2, 1), padding=(2, 2), groups=2),
    ],
)
def test_an_unrolled_convolution_has_a_weight_for_every_synapse(layer):
    """torch counts them: ones convolved with ones is the fan-in of each output."""
    ones = torch.ones(1, *layer.input_shape), torch.ones(layer.weight.shape)
    counted = torch.nn.functional.conv2d(*ones, stride=layer.stride, padding=layer.padding, groups=layer.groups)
    assert counted.shape[1:] == layer.output_shape
    assert unrolled_synapses(layer) == int(counted.sum())
    placed = place(network(layer))[0][0]
    assert placed.unrolled_bytes == int(counted.sum()) > placed.weight_bytes_total
    assert "population axons" in placed.remark
    assert "remark" in placed.to_dict()


def inputs_of(layer, row, column):
    """Input pixels (row, column) that one output position sees."""
    (height, width), kernel = layer.input_shape[1:], layer.weight.shape[2:]
    pixels = set()
    for i, j in product(range(kernel[0]), range(kernel[1])):
        y = row * layer.stride[0] - layer.padding[0] + i * layer.dilation[0]
        x = column * layer.stride[1] - layer.padding[1] + j * layer.dilation[1]
        if 0 <= y < height and 0 <= x < width:
            pixels.add((y, x))
    return pixels


def cores_of(layer, kept, high, wide):
    """Neurons of each core: {core: [(filter, row, column)]}."""
    cores = {}
    for neuron in product(*map(range, layer.output_shape)):
        cores.setdefault((neuron[0] // kept, neuron[1] // high, neuron[2] // wide), []).append(neuron)
    return cores


def every_split(layer, size, most):
    """Yield (cores, copies, most input axons, cores of the split) of every split that a core can hold."""
    filter_bytes = int(np.prod(layer.weight.shape[1:]))
    for kept, high, wide in product(*(range(1, n + 1) for n in layer.output_shape)):
        cores = cores_of(layer, kept, high, wide)
        axons = max(len(set().union(*(inputs_of(layer, r, c) for _, r, c in held))) for held in cores.values())
        fits = kept * filter_bytes <= size.synapse_bytes and axons <= size.in_axons
        if fits and max(map(len, cores.values())) <= most:
            yield len(cores), len({core[1:] for core in cores}), axons, cores


@pytest.mark.parametrize("seed", range(12))
def test_no_split_needs_fewer_cores(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    filters, channels = (int(n) for n in rng.integers(1, 5, size=2))
    layer = conv(filters, channels, int(rng.integers(1, 4)), *(int(n) for n in rng.integers(2, 6, size=2)))
    layer = replace(layer, stride=(1, 1))
    size = ChipSize(128, int(rng.integers(2, 20)), int(rng.integers(36, 80)), int(rng.integers(9, 30)), 100)
    shrink(monkeypatch, size)
    found = place(network(layer))[0][0]
    splits = every_split(layer, size, size.neurons)
    best = min((cores, most_receivers(layer, held), copies, axons) for cores, copies, axons, held in splits)
    assert (found.cores, found.kernel_copies, found.in_axons_per_core) == (best[0], *best[2:])
    assert max(found.neuron_share, found.memory_share, found.axon_share) <= 1


@pytest.mark.parametrize("seed", range(16))
def test_no_pair_of_splits_needs_fewer_cores_than_the_network_gets(seed, monkeypatch):
    """Every split of two convolutions, the receivers of each neuron counted core by core."""
    rng = np.random.default_rng(seed)
    second = conv(
        int(rng.integers(1, 4)), 2, int(rng.integers(1, 4)), 3, 3, "second", stride=(int(rng.integers(1, 3)), 1)
    )
    first = conv(2, 1, 1, *second.input_shape[1:], "first")
    size = ChipSize(128, int(rng.integers(2, 12)), 500, int(rng.integers(9, 40)), int(rng.integers(9, 30)))
    shrink(monkeypatch, size)
    placed, after = place(network(first, second))[0]
    totals = {}
    for cores, _, _, held in every_split(second, size, size.neurons):
        receivers = most_receivers(second, held)
        most = max(1, min(size.neurons, size.out_axons // receivers))
        before = [split[0] for split in every_split(first, size, most)]
        totals.setdefault(min(before) + cores, set()).add(receivers)
    assert placed.cores + after.cores == min(totals)
    assert placed.out_axons_per_core / placed.neurons_per_core in totals[min(totals)]
    assert max(placed.neuron_share, placed.axon_share, after.neuron_share, after.axon_share) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_receivers_of_groups_are_counted_core_by_core(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    second = conv(4, 2, int(rng.integers(1, 4)), 4, 5, "second", groups=2)
    first = conv(2, 1, 1, *second.input_shape[1:], "first")
    shrink(monkeypatch, ChipSize(128, int(rng.integers(2, 9)), 500, 500, 40))
    placed, after = place(network(first, second))[0]
    reached = set()
    for cores, copies, axons, split in every_split(second, ChipSize(128, 9, 500, 500, 40), after.neurons_per_core):
        if (cores, copies, axons) == (after.cores, after.kernel_copies, after.in_axons_per_core):
            reached.add(most_receivers(second, split))
    assert placed.out_axons_per_core / placed.neurons_per_core in reached


def most_receivers(layer, split):
    receivers = {}
    per_group = layer.output_shape[0] // layer.groups
    channels = layer.input_shape[0] // layer.groups
    for core, held in split.items():
        for made, row, column in held:
            group = made // per_group
            for channel in range(group * channels, (group + 1) * channels):
                for pixel in inputs_of(layer, row, column):
                    receivers.setdefault((channel, pixel), set()).add(core)
    return max(map(len, receivers.values()))


def shrink(monkeypatch, size):
    monkeypatch.setattr(module, "LOIHI1", size)
    monkeypatch.setattr(module, "IN_AXONS_PER_CORE", Limit("in", size.in_axons, "axons", "test"))
    monkeypatch.setattr(module, "OUT_AXONS_PER_CORE", Limit("out", size.out_axons, "axons", "test"))
