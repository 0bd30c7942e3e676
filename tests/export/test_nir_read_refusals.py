"""NIR files that a graph cannot hold: all findings by name and in data-flow order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError, UnsupportedError

nir = pytest.importorskip("nir")
torch.set_num_threads(1)
from tests.export.nir_read_parts import chain, codes, conv, flatten, in_memory, lif, linear, pool, refused, usual  # noqa: E402


def with_edges(graph, edges, **more):
    return nir.NIRGraph({**graph.nodes, **more}, edges, type_check=False)


def test_all_that_a_graph_cannot_hold_is_told_at_once_in_data_flow_order():
    uneven = lif(3, 8, 8)
    uneven.v_threshold[0, 0, 0] = 0.5
    delay = nir.Delay(np.ones((3, 8, 8)))
    nodes = (conv(), uneven, delay, flatten(3, 8, 8, start=1), linear(4, 192), lif(4, leak=0.1))
    findings = refused(chain(*nodes), UnsupportedError)
    assert codes(findings) == [("E171", "b"), ("E166", "c"), ("E173", "d"), ("E170", "f")]
    assert findings[0].found == "v_threshold has 2 distinct values from 0.3 to 0.5"
    assert "a Delay has no place" in findings[1].found
    assert findings[2].found == "flattens dimensions 1 to -1 of 3"
    assert findings[3].found == "v_leak 0.1 differs from v_reset 0"


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (lambda: nir.LI(*(np.ones((3, 8, 8)),) * 3), "a LI has"),
        (lambda: nir.Threshold(np.ones((3, 8, 8))), "a Threshold has"),
        (lambda: None, "an empty node (None) has"),
        (lambda: chain(lif(3, 8, 8), shape=(3, 8, 8), output=(3, 8, 8)), "a graph within the graph has"),
        (lambda: nir.I(np.ones((3, 8, 8))), "a I has"),
    ],
)
def test_other_nodes_are_refused_by_name(node, words):
    findings = refused(chain(conv(), node(), lif(3, 8, 8), output=(3, 8, 8)), UnsupportedError)
    assert codes(findings) == [("E166", "b")]
    assert words in findings[0].found


def test_branches_joins_and_loops_are_refused_by_name():
    graph = usual()
    skip = with_edges(graph, [*graph.edges, ("a", "e")])
    findings = refused(skip, UnsupportedError)
    assert codes(findings) == [("E167", "a"), ("E167", "e")]
    assert findings[0].found == "feeds 2 nodes: b, e"
    assert findings[1].found == "is fed by 2 nodes: a, d"
    loop = with_edges(graph, [*graph.edges, ("e", "d")])
    findings = refused(loop, UnsupportedError)
    assert [f.found for f in findings if f.node == "e"] == [
        "is part of a loop (recurrence)",
        "feeds 2 nodes: d, output",
    ]
    assert ("E167", "d") in codes(findings)
    alone = with_edges(graph, [*graph.edges, ("b", "b")])
    assert {"b"} == {f.node for f in refused(alone, UnsupportedError)}
    second = with_edges(graph, [*graph.edges, ("a", "out")], out=nir.Output(np.array([3, 8, 8])))
    assert ("E167", "out") in codes(refused(second, UnsupportedError))


def test_edges_that_lead_nowhere_are_damage():
    graph = usual()
    cases = {
        "no node 'ghost'": [*graph.edges, ("a", "ghost")],
        "a second time": [*graph.edges, graph.edges[0]],
        "is fed by nothing": graph.edges[:2] + graph.edges[3:],
        "is an Input node, and something feeds it": [
            ("e", "input") if t == "output" else (s, t) for s, t in graph.edges
        ],
    }
    for words, edges in cases.items():
        with pytest.raises(InputError, match="E168") as caught:
            in_memory(with_edges(graph, edges))
        assert words in str(caught.value)
    for lost in ("input", "output"):
        nodes = {name: node for name, node in graph.nodes.items() if name != lost}
        edges = [edge for edge in graph.edges if lost not in edge]
        assert f"no {lost.title()} node" in str(refused(nir.NIRGraph(nodes, edges, type_check=False), InputError))


@pytest.mark.parametrize(
    ("nodes", "kind", "code"),
    [
        ((lambda: conv(padding="same", stride=2)), UnsupportedError, "E172"),
        ((lambda: conv(padding="same", kernel=(2, 3))), UnsupportedError, "E172"),
        ((lambda: conv(stride=0, size=None)), InputError, "E165"),
        ((lambda: conv(dilation=-1, size=None)), InputError, "E165"),
        ((lambda: conv(padding=np.array([1.5, 1.0]), size=None)), InputError, "E165"),
        ((lambda: conv(padding=np.array([1, 1, 1]), size=None)), InputError, "E165"),
        ((lambda: conv(groups=1, outputs=3, inputs=3)), InputError, "E175"),
        ((lambda: conv(kernel=(99, 99))), InputError, "E175"),
        ((lambda: conv(padding=2**30)), InputError, "E175"),
        ((lambda: conv(size=(9, 9))), InputError, "E175"),
        ((lambda: pool(nir.AvgPool2d, (2, 3), (1, 1), (1, 2))), UnsupportedError, "E172"),
        ((lambda: pool(nir.AvgPool2d, (0, 2), (1, 1))), InputError, "E165"),
        ((lambda: pool(nir.SumPool2d, (2, 2), (0, 1))), InputError, "E165"),
        ((lambda: linear(4, 7)), InputError, "E175"),
        ((lambda: nir.Linear(np.ones((2, 3, 4)))), InputError, "E175"),
        ((lambda: nir.Affine(np.ones((4, 128)), np.ones(3))), InputError, "E175"),
        ((lambda: lif(9)), InputError, "E175"),
        ((lambda: flatten(2, 9, 9)), InputError, "E175"),
        ((lambda: flatten(2, 8, 8, end=1)), UnsupportedError, "E173"),
        ((lambda: nir.Scale(np.arange(128.0).reshape(2, 8, 8))), UnsupportedError, "E171"),
    ],
)
def test_layers_with_impossible_numbers_are_refused(nodes, kind, code):
    findings = refused(chain(nodes(), lif()), kind)
    assert codes(findings) == [(code, "a")]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    spoiled = conv()
    spoiled.weight[0, 0, 1, 1] = bad
    neurons = lif(3, 8, 8)
    neurons.tau[2, 2, 2] = bad
    findings = refused(chain(spoiled, neurons, output=(3, 8, 8)), InputError)
    assert codes(findings) == [("E165", "a"), ("E165", "b")]
    assert "weight holds 1 values that are not finite" in findings[0].found


def test_input_and_output_shapes_are_checked():
    assert codes(refused(chain(lif(), shape=(8, 8), output=(8, 8)), UnsupportedError)) == [("E172", "input")]
    assert codes(refused(chain(lif(), shape=(1, 99999, 99999), output=(4,)), UnsupportedError))[0] == ("E172", "input")
    assert codes(refused(chain(conv(), lif(), output=(3, 9, 9)), InputError)) == [("E175", "output")]


def test_a_factor_at_the_end_and_a_network_without_neurons_are_refused():
    ending = chain(lif(2, 8, 8), pool(nir.SumPool2d, (2, 2), (2, 2)), output=(2, 4, 4))
    assert codes(refused(ending, UnsupportedError)) == [("E174", "b")]
    assert codes(refused(chain(conv(), output=(3, 8, 8)), UnsupportedError)) == [("E166", "nodes")]


def test_two_mistakes_of_different_kinds_are_one_error():
    findings = refused(
        chain(conv(stride=0, size=None), lif(3, 8, 8, leak=0.5), output=(3, 8, 8)), InputError, dt_us=None
    )
    assert codes(findings) == [("E161", "--dt"), ("E165", "a"), ("E170", "b")]
