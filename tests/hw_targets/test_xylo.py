"""Every rule of Xylo: one graph that trips it and one that just passes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hw_targets.finding import refusal_code
from hw_targets.graph import LIF, AvgPool2d, Conv2d, Flatten, Graph, Linear
from hw_targets.registry import get_target

XYLO = get_target("xylo")
SETTINGS = {"decay": 0.25, "threshold": 1.0, "reset": "subtract", "current_decay": 0.5}


def neuron(name, **changes):
    return LIF(name, **(SETTINGS | changes))


def dense(*sizes, first_frame="spikes", bias=None, value=0.1, **changes):
    """Linear layers fc1, fc2, ... of these sizes, each followed by neurons n1, n2, ...; changes go to n1."""
    nodes = []
    for index, (n_in, n_out) in enumerate(pairwise(sizes), 1):
        more = (bias, changes) if index == 1 else (None, {})
        nodes += [Linear(f"fc{index}", np.full((n_out, n_in), value), more[0]), neuron(f"n{index}", **more[1])]
    return Graph(tuple(nodes), (sizes[0],), 4, 1000.0, first_frame)


def sparse(n_out, n_in, fan_out):
    """A dense layer whose every input has so many weights that are not zero."""
    weight = np.zeros((n_out, n_in))
    for column in range(n_in):
        weight[(column + np.arange(fan_out)) % n_out, column] = 0.1
    return weight


def with_weight(graph, name, weight):
    return graph.replace_nodes(tuple(replace(n, weight=weight) if n.name == name else n for n in graph.nodes))


SMALL = dense(4, 6, 3)
CONVOLUTION = Graph(
    (Conv2d("conv", np.ones((2, 1, 2, 2))), neuron("n0"), Flatten("flat"), Linear("fc", np.ones((3, 2))), neuron("n1")),
    (1, 2, 2),
    4,
    1000.0,
)
POOL = AvgPool2d("pool", (2, 2), (2, 2))
POOLED = Graph((POOL, Flatten("flat"), Linear("fc1", np.ones((3, 4))), *dense(4, 3, 2).nodes[1:]), (1, 4, 4), 4, None)
FLAT = Graph((Flatten("flat"), *SMALL.nodes), (1, 2, 2), 4, None)
LATE_POOL = SMALL.replace_nodes((*SMALL.nodes, Linear("fc3", np.ones((2, 3)))))
TWO_IN_A_ROW = SMALL.replace_nodes((SMALL.nodes[0], Linear("fcx", np.ones((6, 6))), *SMALL.nodes[1:]))
NO_WEIGHTS = SMALL.replace_nodes((neuron("n0"), *SMALL.nodes))


@pytest.mark.parametrize(
    ("code", "node", "trips", "passes"),
    [
        ("E280", "conv", CONVOLUTION, SMALL),
        ("E280", "pool", POOLED, FLAT),
        ("E281", "fc3", LATE_POOL, SMALL),
        ("E281", "fcx", TWO_IN_A_ROW, SMALL),
        ("E281", "n0", NO_WEIGHTS, SMALL),
        ("E282", "n1", dense(4, 6, 3, reset="zero"), dense(4, 6, 3, reset="subtract")),
        ("E283", "n1", dense(4, 6, 3, decay=0.0), dense(4, 6, 3, decay=2.0**-15)),
        ("E283", "n1", dense(4, 6, 3, decay=2.0**-16), dense(4, 6, 3, decay=2.0**-15)),
        ("E283", "n1", dense(4, 6, 3, decay=1.0), dense(4, 6, 3, decay=0.5)),
        ("E284", "n1", dense(4, 6, 3, current_decay=1.0), dense(4, 6, 3, current_decay=0.5)),
        ("E285", "network", dense(4, 3), dense(4, 3, 3)),
        ("E286", "input", dense(4, 6, 3, first_frame="float"), SMALL),
        ("E287", "fc1", dense(4, 6, 3, bias=np.ones(6)), dense(4, 6, 3, bias=np.zeros(6))),
        ("E288", "n1", dense(4, 6, 3, threshold=0.0), dense(4, 6, 3, threshold=0.01)),
        ("E289", "fc1", with_weight(SMALL, "fc1", np.full((6, 4), np.inf)), SMALL),
        ("W280", "n1", dense(4, 6, 3, decay=0.3), dense(4, 6, 3, decay=0.25)),
        ("W280", "n1", dense(4, 6, 3, current_decay=0.2), dense(4, 6, 3, current_decay=0.125)),
        ("W281", "fc1", dense(4, 6, 3, value=1.0, threshold=258.1), dense(4, 6, 3, value=1.0, threshold=258.0)),
        ("E320", "input", dense(17, 6, 3), dense(16, 6, 3)),
        ("E321", "n1", dense(4, 1001, 3), dense(4, 1000, 3)),
        ("E321", "n2", dense(4, 60, 941, 3), dense(4, 970, 30, 3)),
        ("E322", "n2", dense(4, 6, 9), dense(4, 6, 8)),
        ("E323", "fc2", dense(4, 60, 65, 3), dense(4, 60, 64, 3)),
        (
            "E324",
            "fc2",
            with_weight(dense(4, 500, 500, 3), "fc2", sparse(500, 500, 64) + 0.1 * np.eye(500, k=64)),
            with_weight(dense(4, 500, 500, 3), "fc2", sparse(500, 500, 64)),
        ),
    ],
)
def test_rule(code, node, trips, passes):
    found = XYLO.check(trips)
    assert (code, node) in [(f.code, f.node) for f in found]
    also = {"E321": {"E323", "E324"}, "E324": {"E323"}, "E280": {"E320", "E284"}}.get(code, set())
    assert {f.code for f in found} <= {code} | also
    assert all(f.found and f.fix for f in found)
    assert XYLO.check(passes) == []


def test_findings_say_by_how_much():
    def told(graph):
        return [(f.code, f.found, f.limit, f.over) for f in XYLO.check(graph)]

    assert told(dense(20, 6, 3)) == [("E320", "20 channels", "16", "4")]
    assert told(dense(4, 600, 600, 3))[0] == ("E323", "fan-out 600", "64", "536")
    assert told(dense(4, 6, 12)) == [("E322", "12 neurons", "8", "4")]
    rounded = XYLO.check(dense(4, 6, 3, decay=0.3))[0]
    assert (rounded.found, rounded.over) == ("decay 0.3 per step becomes 2^-2", "20% of the time constant")
    assert refusal_code(XYLO.check(dense(20, 6, 3))) == 4
    assert refusal_code(XYLO.check(dense(20, 6, 3, reset="zero"))) == 3


def test_a_rounded_decay_is_the_nearest_bit_shift():
    """The chip's own arithmetic, in integers: v - (v >> k) for every k, compared with the wanted decay."""
    for decay in (0.45, 0.3, 0.1, 0.04, 0.01):
        kept = {k: ((1 << 20) - ((1 << 20) >> k)) / (1 << 20) for k in range(1, 16)}
        nearest = min(kept, key=lambda k: abs(np.log(1 - kept[k]) - np.log(decay)))
        assert f"becomes 2^-{nearest}" in XYLO.check(dense(4, 6, 3, decay=decay))[0].found


def test_the_networks_of_this_project_are_refused_with_every_reason():
    nodes = (
        Conv2d("conv", np.ones((4, 2, 3, 3)), np.ones(4)),
        LIF("n1", 0.5, 1.0),
        Flatten("flat"),
        Linear("fc", np.ones((3, 16))),
        LIF("n2", 0.5, 1.0),
    )
    codes = {f.code for f in XYLO.check(Graph(nodes, (2, 4, 4), 4, 1000.0, "float"))}
    assert codes == {"E280", "E282", "E284", "E286", "E287", "E320"}


def test_an_empty_network_is_a_finding_and_no_traceback():
    assert [f.code for f in XYLO.check(Graph((), (2,), 4, None))] == ["E285"]
