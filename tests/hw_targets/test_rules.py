"""Every rule of the target: one graph that trips it and one that just passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hw_targets.graph import LIF, AvgPool2d, Conv2d, Flatten, Graph, Linear
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.rules import check, check_chip


def graph(weight=1.0, bias=None, **neuron):
    settings = {"decay": 0.5, "threshold": 1.0} | neuron
    synapse = Linear("fc", np.array([[weight, -1.0]]), None if bias is None else np.array([bias]))
    return Graph((synapse, LIF("n", **settings)), (2,), 4, 1.0)


@pytest.mark.parametrize(
    ("code", "trips", "passes"),
    [
        ("E201", graph(reset="subtract"), graph(reset="zero")),
        ("E202", graph(threshold=0.0), graph(threshold=1e-6)),
        ("E202", graph(threshold=0.5, rest=0.6), graph(threshold=0.5, rest=0.4)),
        ("E202", graph(threshold=-0.1, inclusive=False), graph(threshold=0.0, inclusive=False)),
        ("E203", graph(decay=1.01), graph(decay=1.0)),
        ("E203", graph(decay=-0.01), graph(decay=0.0)),
        ("E204", graph(weight=float("nan")), graph()),
        ("E204", graph(bias=float("inf")), graph(bias=1e30)),
        ("E205", graph(bias=0.1, current_decay=0.5), graph(bias=0.0, current_decay=0.5)),
    ],
)
def test_rule(code, trips, passes):
    found = check(trips)
    assert [finding.code for finding in found] == [code]
    assert found[0].found
    assert found[0].fix
    assert check(passes) == []


def test_pooling_that_was_not_folded_is_named():
    nodes = (AvgPool2d("pool", (2, 2), (2, 2)), Flatten("f"), Linear("fc", np.ones((1, 2))), LIF("n", 0.5, 1.0))
    assert [(f.code, f.node) for f in check(Graph(nodes, (2, 2, 2), 4, 1.0))] == [("E206", "pool")]


@pytest.mark.parametrize("make", [lambda zero: np.full((1, 2), zero), lambda zero: np.full((2, 1, 1, 1), zero)])
def test_a_layer_of_zeros_is_dead(make):
    def one_layer(zero):
        weight = make(zero)
        synapse = Linear("fc", weight) if weight.ndim == 2 else Conv2d("fc", weight)
        return Graph((synapse, LIF("n", 0.5, 1.0)), (2,) if weight.ndim == 2 else (1, 2, 2), 4, 1.0)

    found = check(one_layer(0.0))
    assert [(f.code, f.node) for f in found] == [("E207", "fc")]
    assert "all 2 weights are zero" in found[0].found
    assert check(one_layer(1e-9)) == []


@pytest.mark.parametrize("field", ["kernel", "stride", "padding", "dilation"])
def test_a_convolution_beyond_a_signed_byte_is_refused(field):
    """Where Lava keeps these numbers: 128 becomes -128."""

    def one_layer(size):
        kernel = (size, 1) if field == "kernel" else (1, 1)
        changes = {} if field == "kernel" else {field: (1, size)}
        synapse = Conv2d("wide", np.ones((1, 1, *kernel)), **changes)
        return Graph((synapse, LIF("n", 0.5, 1.0)), (1, 300, 300), 4, 1.0)

    found = check(one_layer(128))
    assert [(f.code, f.node, f.limit, f.over) for f in found] == [("E208", "wide", "127", "1")]
    assert found[0].found.startswith(f"{field} ")
    assert check(one_layer(127)) == []


def test_findings_come_in_data_flow_order_and_all_at_once():
    second = (Linear("fc2", np.array([[np.nan]])), LIF("n2", 2.0, -1.0, reset="subtract"))
    nodes = (*graph(reset="subtract", threshold=-1.0).nodes, *second)
    found = check(Graph(nodes, (2,), 4, 1.0))
    assert [(f.node, f.code) for f in found] == [
        ("n", "E201"),
        ("n", "E202"),
        ("fc2", "E204"),
        ("n2", "E201"),
        ("n2", "E202"),
        ("n2", "E203"),
    ]


def chip(weight, **changes):
    weight = np.asarray(weight)
    layer = ChipLayer("n", "dense", weight, np.zeros(len(weight), int), 100, 2048, weight.shape[1:], weight.shape[:1])
    return ChipGraph((replace(layer, **changes),), weight.shape[1:], 4, 1.0, "spikes")


@pytest.mark.parametrize(
    ("code", "trips", "passes"),
    [
        ("E220", chip([[-4, -3]]), chip([[-3, -2]])),
        ("E220", chip([[-64, 0]]), chip([[-64, 1]])),
        ("E223", chip([[128, -2]]), chip([[127, -2]])),
        ("E223", chip([[1, -128]]), chip([[1, -127]])),
        ("E223", chip([[1, -2]], bias=np.array([-4096])), chip([[1, -2]], bias=np.array([-4095]))),
        ("E223", chip([[1, -2]], threshold=131072), chip([[1, -2]], threshold=131071)),
        ("E223", chip([[1, -2]], voltage_decay=4096), chip([[1, -2]], voltage_decay=4095)),
        ("E223", chip([[1, -2]], current_decay=4097), chip([[1, -2]], current_decay=4096)),
        ("W221", chip([[1, -2]], threshold=29), chip([[1, -2]], threshold=30)),
        ("W223", chip([[1, -2]], clipped=1), chip([[1, -2]])),
        ("W222", chip([[1, -2, 0, 0, 0]]), chip([[1, -2, 0, 0]])),
    ],
)
def test_chip_rule(code, trips, passes):
    assert [finding.code for finding in check_chip(trips)] == [code]
    assert check_chip(passes) == []
