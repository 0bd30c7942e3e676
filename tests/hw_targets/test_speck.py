"""Every rule of Speck: one graph that trips it and one that just passes; cores against every assignment."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from export.passes.fold_batchnorm import fold_batchnorm
from hw_targets.finding import refusal_code
from hw_targets.graph import LIF, AvgPool2d, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool2d
from hw_targets.registry import get_target
from hw_targets.speck.cores import CoreLayer, assign_cores, core_layers
from hw_targets.speck.limits import KERNEL_WORDS, NEURON_WORDS

SPECK = get_target("speck")


def neuron(name, **settings):
    return LIF(name, **({"decay": 0.0, "threshold": 1.0, "reset": "subtract"} | settings))


def conv(features, channels, kernel=3, name="conv", bias=None, value=0.1, **more):
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return Conv2d(name, np.full((features, channels // more.get("groups", 1), *sides), value), bias, **more)


def one(synapse, shape=(2, 10, 10), first_frame="spikes", **settings):
    return Graph((synapse, neuron("n", **settings)), shape, 4, 1000.0, first_frame)


def pooled(*pools, size=16):
    """Conv, neurons, pools, dense, neurons."""
    side = size
    for pool in pools:
        side = (side - pool.kernel[0]) // pool.stride[0] + 1
    dense = Linear("fc", np.full((3, 4 * side * side), 0.1))
    nodes = (conv(4, 2, 1), neuron("n1"), *pools, Flatten("flat"), dense, neuron("n2"))
    return Graph(nodes, (2, size, size), 4, 1000.0)


def pool(side, name="pool", **more):
    return AvgPool2d(name, (side, side), more.pop("stride", (side, side)), **more)


def chain(count):
    nodes = []
    for index in range(count):
        nodes += [conv(2, 2, 1, f"conv{index}"), neuron(f"n{index}")]
    return Graph(tuple(nodes), (2, 4, 4), 4, 1000.0)


def without(graph, name):
    return graph.replace_nodes(tuple(node for node in graph.nodes if node.name != name))


RECTANGLE = Graph((Flatten("flat"), Linear("fc", np.full((3, 24), 0.1)), neuron("n")), (2, 3, 4), 4, 1000.0)
SQUARE = Graph((Flatten("flat"), Linear("fc", np.full((3, 32), 0.1)), neuron("n")), (2, 4, 4), 4, 1000.0)
WIDE = Graph((Flatten("flat"), Linear("fc", np.full((2, 17 * 17), 0.1)), neuron("n")), (1, 17, 17), 4, 1000.0)
NORMALISED = Graph(
    (conv(4, 2), BatchNorm("bn", np.zeros(4), np.ones(4), np.ones(4), np.zeros(4), 1e-5), neuron("n")),
    (2, 8, 8),
    4,
    1000.0,
)
MAXIMUM = pooled(pool(2)).replace_nodes(
    tuple(MaxPool2d("pool", (2, 2), (2, 2)) if n.name == "pool" else n for n in pooled(pool(2)).nodes)
)


@pytest.mark.parametrize(
    ("code", "node", "trips", "passes"),
    [
        ("E260", "bn", NORMALISED, without(NORMALISED, "bn")),
        ("E260", "conv2", Graph((conv(4, 2), conv(4, 4, name="conv2"), neuron("n")), (2, 8, 8), 4, None), chain(2)),
        ("E260", "n", Graph((neuron("n"), conv(4, 2), neuron("n2")), (2, 8, 8), 4, None), one(conv(4, 2))),
        ("E260", "conv", Graph((conv(4, 2),), (2, 8, 8), 4, None), one(conv(4, 2))),
        ("E261", "pool", MAXIMUM, pooled(pool(2))),
        ("E262", "pool", pooled(pool(3), size=15), pooled(pool(4))),
        ("E262", "pool", pooled(pool(2, stride=(1, 1)), size=15), pooled(pool(2))),
        ("E262", "pool2", pooled(pool(2), pool(4, "pool2")), pooled(pool(2), pool(2, "pool2"))),
        ("E263", "n", one(conv(4, 2), decay=0.5), one(conv(4, 2), decay=0.0)),
        ("E263", "n", one(conv(4, 2), current_decay=0.5), one(conv(4, 2), current_decay=1.0)),
        ("E264", "conv", one(conv(4, 2, stride=(3, 3))), one(conv(4, 2, stride=(4, 8)))),
        ("E265", "conv", one(conv(4, 2, dilation=(2, 2))), one(conv(4, 2, dilation=(1, 1)))),
        ("E265", "conv", one(conv(4, 2, groups=2)), one(conv(4, 2, groups=1))),
        ("E266", "conv", one(conv(4, 2, (3, 2))), one(conv(4, 2, (3, 3)))),
        ("E266", "fc", RECTANGLE, SQUARE),
        ("E267", "input", one(conv(4, 2), first_frame="float"), one(conv(4, 2))),
        ("E268", "n", one(conv(4, 2), threshold=0.0), one(conv(4, 2), threshold=0.1)),
        ("E269", "conv", one(conv(4, 2, value=np.nan)), one(conv(4, 2))),
        ("W260", "conv", one(conv(4, 2, bias=np.ones(4))), one(conv(4, 2, bias=np.zeros(4)))),
        ("W261", "conv", one(conv(4, 2, value=1.0), threshold=258.1), one(conv(4, 2, value=1.0), threshold=258.0)),
        ("E310", "conv", one(conv(2, 1, 17), (1, 20, 20)), one(conv(2, 1, 16), (1, 20, 20))),
        ("E310", "fc", WIDE, SQUARE),
        ("E311", "conv", one(conv(4, 1025, 1), (1025, 1, 1)), one(conv(4, 1024, 1), (1024, 1, 1))),
        (
            "E312",
            "conv",
            one(conv(2, 1, 1, stride=(4, 4)), (1, 129, 4)),
            one(conv(2, 1, 1, stride=(4, 4)), (1, 128, 4)),
        ),
        ("E313", "conv", one(conv(2, 1, 1), (1, 65, 4)), one(conv(2, 1, 1), (1, 64, 4))),
        ("E314", "conv", one(conv(4, 2, padding=(8, 1))), one(conv(4, 2, padding=(7, 1)))),
        # 16 channels: 16 * 64 * 64 neurons are the 64 Ki of core 0; 64 * 16 * 16 kernel words its 16 Ki
        ("E315", "conv", one(conv(17, 1, 1), (1, 64, 64)), one(conv(16, 1, 1), (1, 64, 64))),
        ("E315", "conv", one(conv(16, 65, 4), (65, 64, 64)), one(conv(16, 64, 4), (64, 64, 64))),
        ("E316", "conv9", chain(10), chain(9)),
    ],
)
def test_rule(code, node, trips, passes):
    found = SPECK.check(trips)
    assert (code, node) in [(f.code, f.node) for f in found]
    also = {"E262": {"W261"}, "E310": {"E315"}, "E311": {"E315"}, "E312": {"E315"}, "E313": {"E315"}}.get(code, set())
    assert {f.code for f in found} <= {code} | also
    assert all(f.found and f.fix for f in found)
    assert SPECK.check(passes) == []


def test_findings_say_by_how_much():
    def told(graph):
        return [(f.code, f.limit, f.over) for f in SPECK.check(graph)]

    assert told(one(conv(2, 1, 17), (1, 20, 20))) == [("E310", "16", "1")]
    assert told(chain(11)) == [("E316", "9 cores", "2")]
    found = SPECK.check(one(conv(17, 1, 1), (1, 64, 64)))[0]
    assert "17 * 4096" not in found.found
    assert str(17 * 64 * 64) in found.found
    assert found.over == f"{64 * 64} neuron words"
    assert refusal_code([found]) == 4
    assert refusal_code(SPECK.check(one(conv(4, 2), decay=0.5))) == 3


def test_the_memory_of_the_worked_example_in_the_documents():
    """sinabs docs/speck/overview.md: 16 to 32 channels, 3x3, padding 1, on 64x64: 8 Ki and 128 Ki, no core."""
    graph = one(conv(32, 16, padding=(1, 1)), (16, 64, 64))
    layer = core_layers(graph)[0]
    assert (layer.kernel_words, layer.neuron_words) == (8 * 1024, 128 * 1024)
    assert [f.code for f in SPECK.check(graph)] == ["E315"]


def test_a_dense_layer_is_a_convolution_over_its_map():
    layers = core_layers(pooled(pool(2)))
    # 4 channels of 8x8 to 3 features: 4 * 2^(6 + 2) words, 3 neurons; each weight counts for a pool of 4.
    assert (layers[1].kernel, layers[1].channels, layers[1].kernel_words, layers[1].neuron_words) == (
        (8, 8),
        4,
        1024,
        3,
    )
    assert layers[1].weight_max == pytest.approx(0.1 / 4)


def layer(name, kernel, neurons):
    """A 1x1 layer of exactly so many kernel and neuron words (powers of two)."""
    side = int(neurons).bit_length() - 1
    return CoreLayer(
        name, kernel, 1, (1, 1), (2 ** (side // 2), 2 ** (side - side // 2)), (1, 1), (1, 1), (0, 0), 1.0, False, 1.0
    )


@pytest.mark.parametrize("seed", range(40))
def test_as_many_layers_find_a_core_as_in_the_best_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    layers = [
        layer(f"l{i}", *(int(n) for n in 2 ** rng.integers([10, 10], [17, 17]))) for i in range(int(rng.integers(4, 7)))
    ]
    able = [
        [k >= la.kernel_words and n >= la.neuron_words for k, n in zip(KERNEL_WORDS, NEURON_WORDS, strict=True)]
        for la in layers
    ]
    best = max(
        sum(able[index][core] for index, core in enumerate(order)) for order in permutations(range(9), len(layers))
    )
    cores, crowds = assign_cores(layers)
    assert len(cores) == len(set(cores.values())) == best
    assert all(able[index][cores[la.name]] for index, la in enumerate(layers) if la.name in cores)
    without_core = {la.name for index, la in enumerate(layers) if any(able[index])} - set(cores)
    assert {crowd.layer for crowd in crowds} == without_core
    for crowd in crowds:
        fitting = {core for name in crowd.layers for core in range(9) if able[int(name[1:])][core]}
        assert fitting == set(crowd.cores)
        assert len(crowd.layers) == len(crowd.cores) + 1


def big_maps(count):
    """Layers of 64 Ki neurons each: only cores 0, 1 and 2 hold them."""
    nodes = []
    for index in range(count):
        nodes += [conv(16, 1 if index == 0 else 16, 1, f"conv{index}"), neuron(f"n{index}")]
    return Graph(tuple(nodes), (1, 64, 64), 4, 1000.0)


def test_the_layer_without_a_core_is_named_with_those_it_competes_with():
    assert SPECK.check(big_maps(3)) == []
    found = SPECK.check(big_maps(4))
    assert [(f.code, f.node, f.over) for f in found] == [("E317", "conv3", "1")]
    assert "conv0, conv1, conv2, conv3 fit only cores 0, 1, 2" in found[0].found


def test_a_network_of_the_documents_fits_after_folding():
    """The gesture network of sinabs docs/speck/visualizer.md, on 128x128 events: its nine layers take nine cores."""
    plan = [
        (16, 2, 2, 0, 1),
        (16, 3, 1, 1, 2),
        (32, 3, 1, 1, 2),
        (32, 3, 1, 1, 2),
        (64, 3, 1, 1, 2),
        (64, 3, 1, 1, 2),
        (256, 2, 1, 0, 1),
    ]
    nodes, channels = [], 2
    for index, (features, kernel, step, pad, window) in enumerate(plan):
        more = {"stride": (step, step), "padding": (pad, pad)}
        nodes += [conv(features, channels, kernel, f"conv{index}", **more), neuron(f"n{index}")]
        nodes += [pool(window, f"pool{index}")] if window > 1 else []
        channels = features
    nodes += [Flatten("flat"), Linear("fc1", np.full((128, 256), 0.1)), neuron("n7")]
    nodes += [Linear("fc2", np.full((11, 128), 0.1)), neuron("n8")]
    graph = Graph(tuple(nodes), (2, 128, 128), 4, 1000.0)
    assert SPECK.check(graph) == []
    cores, crowds = assign_cores(core_layers(graph))
    assert (len(cores), crowds) == (9, [])


def test_an_empty_network_is_a_finding_and_no_traceback():
    assert [f.code for f in SPECK.check(Graph((), (2, 4, 4), 4, None))] == ["E260"]


def test_batch_normalisation_is_folded_first_and_leaves_a_bias():
    assert "batchnorm" in SPECK.folds
    shifted = replace(NORMALISED.nodes[1], beta=np.ones(4))
    folded, findings = fold_batchnorm(NORMALISED.replace_nodes((NORMALISED.nodes[0], shifted, NORMALISED.nodes[2])))
    assert findings == []
    assert [(f.code, f.severity) for f in SPECK.check(folded)] == [("W260", "warning")]
