"""Every folding pass equals the unfolded graph to float64 rounding, or refuses by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.passes import lower
from export.reference import run_graph
from hw_targets.graph import LIF, AvgPool2d, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool2d

RNG = np.random.default_rng(7)


def conv(name, inputs, outputs, kernel=3, bias=True, **more):
    groups = more.get("groups", 1)
    weight = RNG.normal(0.1, 0.6, size=(outputs, inputs // groups, kernel, kernel))
    return Conv2d(name, weight, RNG.normal(size=outputs) * 0.3 if bias else None, **more)


def norm(name, channels):
    return BatchNorm(
        name,
        RNG.normal(size=channels),
        RNG.uniform(0.5, 2, channels),
        RNG.normal(1, 0.5, channels),
        RNG.normal(0.2, 0.3, channels),
        1e-5,
    )


def lif(name, decay=0.5, gain=0.5, **more):
    return LIF(name, decay, 0.25, gain, **more)


def high(name):
    return LIF(name, 0.5, 1.0, 0.5)


def pool(name="pool", kernel=2, stride=None, padding=0, kind=AvgPool2d):
    stride = stride or kernel
    return kind(name, (kernel, kernel), (stride, stride), (padding, padding))


def linear(name, inputs, outputs):
    return Linear(name, RNG.normal(size=(outputs, inputs)) * 0.4, RNG.normal(size=outputs) * 0.1)


PATTERNS = {
    "conv-bn": [conv("c", 2, 4), norm("b", 4), lif("n")],
    "conv-bn-pool-neuron": [conv("c", 2, 4), norm("b", 4), pool(), lif("n")],
    "conv-pool-bn-neuron": [conv("c", 2, 4), pool(), norm("b", 4), lif("n")],
    "strided conv-pool-neuron": [conv("c", 2, 4, stride=(2, 1), dilation=(1, 2)), pool(), lif("n")],
    "neuron-pool-padded conv": [
        conv("c", 2, 4, padding=(1, 1)),
        lif("n"),
        pool(),
        conv("d", 4, 3, padding=(1, 1)),
        lif("m"),
    ],
    "odd leftover, unpadded conv": [conv("c", 2, 4, 2), lif("n"), pool(), conv("d", 4, 3), lif("m")],
    "overlapping pool": [conv("c", 2, 4), lif("n"), pool(kernel=3, stride=2), conv("d", 4, 3, 2), lif("m")],
    "padded pool, unpadded conv": [
        conv("c", 2, 4),
        lif("n"),
        pool(kernel=3, stride=2, padding=1),
        conv("d", 4, 3),
        high("m"),
    ],
    "dilated grouped conv after pool": [
        conv("c", 2, 4),
        lif("n"),
        pool(),
        conv("d", 4, 4, 2, groups=2, dilation=(2, 2)),
        lif("m"),
    ],
    "pool-flatten-linear": [conv("c", 2, 4), lif("n"), pool(), Flatten("f"), linear("l", 100, 6), lif("m")],
    "padded overlapping pool-flatten-linear": [
        conv("c", 2, 4),
        lif("n"),
        pool(kernel=3, stride=2, padding=1),
        Flatten("f"),
        linear("l", 100, 6),
        lif("m"),
    ],
    "pool on the input": [pool(), conv("c", 2, 4), lif("n")],
    "max pool on spikes": [conv("c", 2, 4), lif("n"), pool(kind=MaxPool2d), conv("d", 4, 3), lif("m")],
    "rest and no input gain": [
        conv("c", 2, 4),
        norm("b", 4),
        lif("n", 0.3, 1.0, rest=-0.2),
        pool(),
        conv("d", 4, 3),
        lif("m"),
    ],
    "integrate and fire": [conv("c", 2, 4), lif("n", 0.0, 1.0), Flatten("f"), linear("l", 400, 5), lif("m")],
    "normalised input, unpadded conv": [norm("b", 2), conv("c", 2, 4), lif("n")],
    "normalised spikes, grouped dilated conv": [
        conv("c", 2, 4),
        lif("n"),
        norm("b", 4),
        conv("d", 4, 6, groups=2, dilation=(2, 1)),
        lif("m"),
    ],
    "normalised spikes, pool, two in a row": [
        conv("c", 2, 4),
        lif("n"),
        norm("b", 4),
        pool(),
        norm("b2", 4),
        conv("d", 4, 3),
        lif("m"),
    ],
    "normalised spikes, flatten, linear": [
        conv("c", 2, 4),
        lif("n"),
        norm("b", 4),
        pool(),
        Flatten("f"),
        linear("l", 100, 6),
        lif("m"),
    ],
    "normalised vector": [Flatten("f"), linear("k", 288, 9), lif("n"), norm("b", 9), linear("l", 9, 6), lif("m")],
    "scaling alone, padded conv": [
        conv("c", 2, 4),
        lif("n"),
        replace(norm("b", 4), mean=np.zeros(4), beta=np.zeros(4)),
        conv("d", 4, 3, padding=(1, 1)),
        lif("m"),
    ],
    "two pools, padded conv": [
        conv("c", 2, 4, padding=(1, 1)),
        lif("n"),
        pool("p"),
        pool("q", 3),
        conv("d", 4, 3, padding=(1, 1)),
        lif("m"),
    ],
    "two pools, odd leftovers, linear": [
        conv("c", 2, 4, 2),
        lif("n"),
        pool("p"),
        pool("q"),
        Flatten("f"),
        linear("l", 16, 6),
        lif("m"),
    ],
    "two pools between conv and neuron": [conv("c", 2, 4), pool("p"), pool("q"), lif("n")],
    "max pool, then average pool": [
        conv("c", 2, 4),
        lif("n"),
        pool("p", kind=MaxPool2d),
        pool("q"),
        conv("d", 4, 3, 2),
        lif("m"),
    ],
    "two max pools": [
        conv("c", 2, 4),
        high("n"),
        pool("p", 3, 2, 1, kind=MaxPool2d),
        pool("q", kind=MaxPool2d),
        conv("d", 4, 3, 2),
        lif("m"),
    ],
    "max pool of binary input": [pool(kind=MaxPool2d), conv("c", 2, 4), lif("n")],
    "pools alone before neurons": [
        conv("c", 2, 4, bias=False),
        high("n"),
        pool("p"),
        pool("q", 3, 2, 1),
        lif("m", 0.3, 1.0),
        Flatten("f"),
        linear("l", 36, 5),
        lif("o"),
    ],
    "flattened twice": [conv("c", 2, 4), lif("n"), Flatten("f"), Flatten("g"), linear("l", 400, 5), lif("m")],
}


@pytest.mark.parametrize("name", PATTERNS)
def test_folding_is_exact(name):
    graph = Graph(tuple(PATTERNS[name]), (2, 12, 12), 6, 1.0)
    clips = (RNG.random((6, 3, 2, 12, 12)) < 0.4).astype(np.float64)
    folded, findings = lower(graph)
    assert not findings
    assert {type(node) for node in folded.nodes} <= {Conv2d, Linear, Flatten, LIF}
    assert all(neuron.gain == 1.0 and neuron.rest == 0.0 for neuron in folded.neurons())
    before, after = (run_graph(g, clips, precision="float64").spikes for g in (graph, folded))
    for layer, spikes in before.items():
        assert 0.001 < spikes.mean() < 0.999, f"{layer} is silent or saturated: nothing is shown"
        np.testing.assert_array_equal(after[layer], spikes)


REFUSED = {
    "padded conv after odd pool": (
        [conv("c", 2, 4, 2), lif("n"), pool(), conv("d", 4, 3, padding=(1, 1)), lif("m")],
        "pool",
        "E131",
    ),
    "max of currents": ([conv("c", 2, 4), pool(kind=MaxPool2d), lif("n")], "pool", "E130"),
    "normalised input, padded conv": ([norm("b", 2), conv("c", 2, 4, padding=(1, 1)), lif("n")], "b", "E121"),
    "normalised spikes, padded pool": (
        [conv("c", 2, 4), lif("n"), norm("b", 4), pool(kernel=3, stride=2, padding=1), conv("d", 4, 3), lif("m")],
        "b",
        "E121",
    ),
    "normalised answer": ([conv("c", 2, 4), lif("n"), norm("b", 4)], "b", "E120"),
    "flattened currents": ([conv("c", 2, 4), Flatten("f"), lif("n"), linear("l", 400, 5), lif("m")], "f", "E115"),
    "no neurons": ([Flatten("f")], "network", "E116"),
    "max pool at the end": ([conv("c", 2, 4), lif("n"), pool(kind=MaxPool2d), Flatten("f")], "pool", "E134"),
    "neurons in a row": ([conv("c", 2, 4), lif("n"), lif("m")], "m", "E111"),
    "two synapses in a row": ([conv("c", 2, 4), conv("d", 4, 3), lif("n")], "d", "E110"),
    "ends without a neuron": ([conv("c", 2, 4), lif("n"), Flatten("f"), linear("l", 400, 5)], "l", "E113"),
    "padded pool before a neuron": ([conv("c", 2, 4), pool(kernel=3, padding=1), lif("n")], "pool", "E132"),
    "pool at the end": ([conv("c", 2, 4), lif("n"), pool()], "pool", "E133"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exact_is_refused_by_name(name):
    nodes, node, code = REFUSED[name]
    _, findings = lower(Graph(tuple(nodes), (2, 12, 12), 6, 1.0))
    assert [(finding.node, finding.code) for finding in findings] == [(node, code)]
    assert findings[0].fix


def test_all_findings_come_at_once_in_data_flow_order():
    nodes = (
        norm("first", 2),
        conv("c", 2, 4, padding=(1, 1)),
        pool("second", kind=MaxPool2d),
        lif("n"),
        pool("third"),
    )
    _, findings = lower(Graph(nodes, (2, 12, 12), 6, 1.0))
    assert [finding.node for finding in findings] == ["first", "second", "third"]


def test_gray_input_is_not_a_spike_to_pool():
    nodes = (pool(kind=MaxPool2d), conv("c", 2, 4), lif("n"))
    _, findings = lower(Graph(nodes, (2, 12, 12), 6, 1.0, first_frame="float"))
    assert [(finding.node, finding.code) for finding in findings] == [("pool", "E130")]
    assert lower(Graph(nodes, (2, 12, 12), 6, 1.0, first_frame="spikes"))[1] == []


def test_findings_of_different_passes_do_not_hide_each_other():
    nodes = (conv("c", 2, 4), lif("n"), norm("b", 4), conv("d", 4, 3, 2, padding=(1, 1)), conv("e", 3, 3), lif("m"))
    _, findings = lower(Graph(nodes, (2, 12, 12), 6, 1.0))
    assert [(finding.node, finding.code) for finding in findings] == [("b", "E121"), ("e", "E110")]
