"""Every rule of the target: one graph that trips it and one that just passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hw_targets.finding import InputError
from hw_targets.graph import LIF, AvgPool2d, Flatten, Graph, Linear
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.limits import LIMITS
from hw_targets.loihi2.place import place
from hw_targets.loihi2.rules import RULES, check, check_chip
from hw_targets.registry import get_target


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


def test_every_rule_says_what_it_means():
    assert all(rule.__doc__ and rule.__doc__.strip().endswith(".") for rule in RULES)


def chip(weight, **changes):
    weight = np.asarray(weight)
    layer = ChipLayer("n", "dense", weight, np.zeros(len(weight), int), 100, 2048, weight.shape[1:], weight.shape[:1])
    return ChipGraph((replace(layer, **changes),), weight.shape[1:], 4, 1.0, "spikes")


@pytest.mark.parametrize(
    ("code", "trips", "passes"),
    [
        ("E220", chip([[1, 2]]), chip([[1, -2]])),
        ("E220", chip([[-1, 0]]), chip([[-1, 1]])),
        ("E223", chip([[128, -2]]), chip([[127, -2]])),
        ("E223", chip([[1, -128]]), chip([[1, -127]])),
        ("E223", chip([[1, -2]], bias=np.array([-4096])), chip([[1, -2]], bias=np.array([-4095]))),
        ("E223", chip([[1, -2]], threshold=131072), chip([[1, -2]], threshold=131071)),
        ("E223", chip([[1, -2]], voltage_decay=4096), chip([[1, -2]], voltage_decay=4095)),
        ("E223", chip([[1, -2]], current_decay=4097), chip([[1, -2]], current_decay=4096)),
        ("W221", chip([[1, -2]], threshold=29), chip([[1, -2]], threshold=30)),
        ("W222", chip([[1, -2, 0, 0, 0]]), chip([[1, -2, 0, 0]])),
    ],
)
def test_chip_rule(code, trips, passes):
    assert [finding.code for finding in check_chip(trips)] == [code]
    assert check_chip(passes) == []


def test_placement_counts_neurons_and_memory():
    wide = np.ones((3, 50_000))
    layers, findings = place(chip(wide))
    assert (layers[0].neurons, layers[0].weight_bytes, layers[0].cores) == (3, 150_000, 2)  # 150000 B > 128 KiB
    assert findings == []
    big = replace(chip([[1, -1]]).layers[0], output_shape=(128, 91, 91))
    layers, findings = place(ChipGraph((big,), (2,), 4, 1.0, "spikes"))
    assert layers[0].cores == 130  # 128 * 91 * 91 / 8192 = 129.4
    assert [(f.code, f.over) for f in findings] == [("W301", "2")]


def test_every_limit_has_a_source():
    assert all(limit.source and limit.unit and limit.value > 0 for limit in LIMITS)
    assert get_target("loihi2").limits is LIMITS


def test_unknown_target_names_those_there_are():
    with pytest.raises(InputError, match="no such target; limit one of loihi2"):
        get_target("loihi9")
