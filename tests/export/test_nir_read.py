"""NIR files of other writers and of nobody: what is read spikes as its equations do, all else is told and refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from export.frontends import nir_guard
from export.frontends.nir_file import Options, read_network, read_nir
from export.frontends.nir_guard import Network
from export.frontends.nir_replay import interpret, replay_check
from export.nir_writer import write_nir
from export.reference import run_graph
from hw_targets.finding import InputError, MissingDependencyError, UnsupportedError
from hw_targets.graph import LIF, AvgPool2d, Conv2d, Flatten, Graph, Linear

nir = pytest.importorskip("nir")
torch.set_num_threads(1)

DT = 1e-3
SAID = {"steps": 5, "dt_us": 1000.0, "inclusive": True}


def lif(*shape, tau=2e-3, r=1.0, leak=0.0, threshold=0.3, reset=0.0):
    return nir.LIF(*(np.full(shape, float(value)) for value in (tau, r, leak, threshold, reset)))


def conv(outputs=3, inputs=2, size=(8, 8), kernel=(3, 3), stride=1, padding=1, dilation=1, groups=1, seed=0):
    rng = np.random.default_rng(seed)
    weight = rng.normal(0.1, 0.4, (outputs, inputs // groups, *kernel))
    return nir.Conv2d(size, weight, stride, padding, dilation, groups, np.full(outputs, 0.05))


def linear(outputs, inputs, seed=1):
    return nir.Linear(np.random.default_rng(seed).normal(0.05, 0.3, (outputs, inputs)))


def flatten(*shape, start=0, end=-1):
    return nir.Flatten({"input": np.array(shape)}, start, end)


def chain(*nodes, shape=(2, 8, 8), output=(4,), **more):
    """A NIR graph of the nodes in a row, named a, b, c, ..."""
    named = {"input": nir.Input(np.array(shape))}
    named |= {chr(97 + at): node for at, node in enumerate(nodes)}
    named["output"] = nir.Output(np.array(output))
    names = list(named)
    return nir.NIRGraph(named, list(pairwise(names)), type_check=False, **more)


def usual():
    return chain(conv(), lif(3, 8, 8), flatten(3, 8, 8), linear(4, 192), lif(4))


def in_memory(graph, **said):
    return read_network(Network(graph.nodes, graph.edges, graph.metadata), Options(**{**SAID, **said}))


def written(graph, tmp_path):
    nir.write(tmp_path / "x.nir", graph)
    return tmp_path / "x.nir"


def clips_of(shape, count=3, steps=5, seed=2, rate=0.4):
    return (np.random.default_rng(seed).random((steps, count, *shape)) < rate).astype(np.float32)


def refused(graph, kind, **said):
    with pytest.raises(kind) as caught:
        in_memory(graph, **said)
    return caught.value.findings


def codes(findings):
    return [(finding.code, finding.node) for finding in findings]


def by_hand(network, clips, dt, inclusive=True):
    """The spikes of the last layer, neuron by neuron and tap by tap: no array arithmetic, float64."""
    layers = [network.nodes[name] for name in sorted(network.nodes) if name not in ("input", "output")]
    memory: dict[int, dict] = {}
    result = []
    for frame in clips:
        rows = []
        for at_clip, value in enumerate(frame.astype(np.float64)):
            for at, node in enumerate(layers):
                value = one_layer(node, value, memory.setdefault((at_clip, at), {}), dt, inclusive)
            rows.append(value)
        result.append(rows)
    return np.array(result, dtype=np.uint8)


def one_layer(node, x, memory, dt, inclusive):
    kind = type(node).__name__
    if kind in ("Linear", "Affine"):
        bias = getattr(node, "bias", np.zeros(len(node.weight)))
        return np.array([sum(w * v for w, v in zip(row, x, strict=True)) for row in node.weight]) + bias
    if kind == "Flatten":
        return x.flatten()
    if kind == "Scale":
        return np.array([s * v for s, v in zip(node.scale.flat, x.flat, strict=True)]).reshape(x.shape)
    if kind in ("Conv2d", "AvgPool2d", "SumPool2d"):
        return windows_by_hand(node, kind, x)
    out = np.zeros(x.shape)
    keys = {"tau", "tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset"} & set(vars(node))
    node = SimpleNamespace(**{key: np.broadcast_to(getattr(node, key), x.shape) for key in keys})
    for at in np.ndindex(x.shape):
        v, i = memory.get(at, (node.v_reset[at] if kind == "IF" else node.v_leak[at], 0.0))
        if kind == "IF":
            v += dt * node.r[at] * x[at]
        elif kind == "LIF":
            v += dt / node.tau[at] * (node.v_leak[at] - v + node.r[at] * x[at])
        else:
            i += dt / node.tau_syn[at] * (node.w_in[at] * x[at] - i)
            v += dt / node.tau_mem[at] * (node.v_leak[at] - v + node.r[at] * i)
        out[at] = v >= node.v_threshold[at] if inclusive else v > node.v_threshold[at]
        memory[at] = (node.v_reset[at] if out[at] else v, i)
    return out


def windows_by_hand(node, kind, x):
    if kind == "Conv2d":
        weight, groups = node.weight, node.groups
        kernel, dilation = weight.shape[2:], np.broadcast_to(node.dilation, 2)
    else:
        kernel, dilation, groups = node.kernel_size, (1, 1), len(x)
        weight = np.full((len(x), 1, *kernel), 1.0 / np.prod(kernel) if kind == "AvgPool2d" else 1.0)
    padding = {"same": (1, 1), "valid": (0, 0)}.get(str(node.padding), node.padding)
    stride, padding = np.broadcast_to(node.stride, 2), np.broadcast_to(padding, 2)
    rows, columns = (
        (x.shape[1 + a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)
    )
    out = np.zeros((len(weight), rows, columns))
    for o, row, column in np.ndindex(out.shape):
        first = o // (len(weight) // groups) * weight.shape[1]
        for c, i, j in np.ndindex(weight.shape[1:]):
            y = row * stride[0] + i * dilation[0] - padding[0]
            z = column * stride[1] + j * dilation[1] - padding[1]
            if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                out[o, row, column] += weight[o, c, i, j] * x[first + c, y, z]
        out[o, row, column] += node.bias[o] if kind == "Conv2d" else 0.0
    return out


def pool(kind, size, stride, padding=(0, 0)):
    return kind(np.array(size), np.array(stride), np.array(padding))


def affine(outputs, inputs):
    return nir.Affine(linear(outputs, inputs).weight, np.linspace(-0.1, 0.2, outputs))


def cuba(*shape, syn=4e-3, mem=2e-3, r=1.0, w_in=1.0, threshold=0.1):
    values = (syn, mem, r, 0.0, threshold, 0.0, w_in)
    return nir.CubaLIF(*(np.full(shape, value) for value in values))


NETWORKS = {
    "convolution": lambda: chain(conv(), lif(3, 8, 8), output=(3, 8, 8)),
    "every number of a pair is its own": lambda: chain(
        conv(4, 2, kernel=(3, 2), stride=np.array([2, 1]), padding=np.array([1, 2]), dilation=np.array([1, 2])),
        lif(4, 4, 10),
        output=(4, 4, 10),
    ),
    "groups": lambda: chain(conv(4, 2, groups=2, padding=0), lif(4, 6, 6), output=(4, 6, 6)),
    "padding same": lambda: chain(conv(padding="same"), lif(3, 8, 8), output=(3, 8, 8)),
    "padding valid": lambda: chain(conv(padding="valid"), lif(3, 6, 6), output=(3, 6, 6)),
    "one value for all neurons": lambda: chain(conv(), lif(1), output=(3, 8, 8)),
    "flatten and linear": lambda: chain(flatten(2, 8, 8), linear(6, 128), lif(6), linear(4, 6), lif(4)),
    "flatten to the last dimension": lambda: chain(flatten(2, 8, 8, end=2), affine(4, 128), lif(4)),
    "average pool, padded": lambda: chain(
        pool(nir.AvgPool2d, (3, 2), (2, 2), (1, 0)), conv(3, 2, (4, 4)), lif(3, 4, 4), output=(3, 4, 4)
    ),
    "sum pool before synapses": lambda: chain(
        pool(nir.SumPool2d, (3, 3), (2, 2)), flatten(2, 3, 3), affine(4, 18), lif(4, threshold=0.6)
    ),
    "sum pool before neurons": lambda: chain(
        conv(), pool(nir.SumPool2d, (2, 2), (2, 2)), lif(3, 4, 4, threshold=1.1), output=(3, 4, 4)
    ),
    "scale": lambda: chain(nir.Scale(np.full((2, 8, 8), 0.5)), conv(), lif(3, 8, 8), output=(3, 8, 8)),
    "integrate and fire": lambda: chain(
        conv(), nir.IF(*(np.full((3, 8, 8), v) for v in (700.0, 0.5, 0.1))), output=(3, 8, 8)
    ),
    "leak and reset above zero": lambda: chain(conv(), lif(3, 8, 8, leak=0.1, reset=0.1, r=1.7), output=(3, 8, 8)),
    "synaptic memory": lambda: chain(conv(), cuba(3, 8, 8, r=1.5, w_in=2.5), output=(3, 8, 8)),
}


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_graph_interpreter_and_hand_give_the_same_spikes(name, inclusive, tmp_path):
    graph = NETWORKS[name]()
    source = read_nir(written(graph, tmp_path), **{**SAID, "inclusive": inclusive})
    clips = clips_of((2, 8, 8), count=1)
    wanted = by_hand(graph, clips, DT, inclusive)
    assert 0.005 < wanted.mean() < 0.995, "silent or saturated: nothing is shown"
    np.testing.assert_array_equal(list(source.spikes(clips, precision="float64").values())[-1], wanted)
    np.testing.assert_array_equal(run_graph(source.graph, clips, precision="float64").output, wanted)
    assert replay_check(source, clips) == []


def test_a_tie_at_the_threshold_is_decided_as_the_caller_says():
    """By hand: tau = 2 dt and r = 2 make v = x = 0.5 after one spike, which is the threshold."""
    graph = chain(nir.Linear(np.array([[0.5]])), lif(1, r=2.0, threshold=0.5), shape=(1,), output=(1,))
    one = np.ones((1, 1, 1), dtype=np.float32)
    for inclusive, fired in ((True, 1), (False, 0)):
        source = in_memory(graph, inclusive=inclusive)
        assert source.spikes(one)["b"].item() == fired
        assert run_graph(source.graph, one).spikes["b"].item() == fired


def test_the_reset_happens_in_the_same_step():
    """By hand, decay 1/2, gain 1, threshold 1, inputs 0.75: 0.75, then 1.125 fires, and 0.75 again from zero."""
    graph = chain(nir.Linear(np.array([[0.75]])), lif(1, r=2.0, threshold=1.0), shape=(1,), output=(1,))
    source = in_memory(graph)
    ones = np.ones((5, 1, 1), dtype=np.float32)
    assert source.spikes(ones)["b"].ravel().tolist() == [0, 1, 0, 1, 0]
    assert run_graph(source.graph, ones).spikes["b"].ravel().tolist() == [0, 1, 0, 1, 0]


def test_options_become_the_graph():
    source = in_memory(usual(), first_frame="float", voting=2)
    graph = source.graph
    assert (graph.steps, graph.dt_us, graph.first_frame, graph.voting) == (5, 1000.0, "float", 2)
    assert graph.input_shape == (2, 8, 8)
    assert [type(node) for node in graph.nodes] == [Conv2d, LIF, Flatten, Linear, LIF]
    assert graph.neurons()[0].decay == 0.5
    assert list(source.spikes(clips_of((2, 8, 8)))) == [node.name for node in graph.neurons()] == ["b", "e"]
    assert source.findings == ()


def test_missing_options_are_named_all_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        read_nir(written(usual(), tmp_path))
    assert [f.node for f in caught.value.findings] == ["x.nir: --dt", "x.nir: --spike-comparison", "x.nir: --steps"]
    assert {f.code for f in caught.value.findings} == {"E161"}
    text = str(caught.value)
    assert "--dt SECONDS" in text
    assert "--spike-comparison '>=' (SpikingJelly) or '>' (Norse, snnTorch)" in text
    for name in SAID:
        with pytest.raises(InputError) as one:
            read_nir(tmp_path / "x.nir", **{key: said for key, said in SAID.items() if key != name})
        assert len(one.value.findings) == 1


@pytest.mark.parametrize(
    ("said", "node"),
    [
        ({"dt_us": 0.0}, "--dt"),
        ({"dt_us": float("nan")}, "--dt"),
        ({"steps": 0}, "--steps"),
        ({"voting": 0}, "--voting"),
        ({"first_frame": "grey"}, "--first-frame"),
    ],
)
def test_options_that_no_network_has_are_refused(said, node):
    assert ("E164", node) in codes(refused(usual(), InputError, **said))


def test_a_wrong_dt_is_told_with_the_likely_one():
    graph = chain(conv(), lif(3, 8, 8, tau=2.5e-4, r=2.5), output=(3, 8, 8))
    (finding,) = refused(graph, InputError)
    assert (finding.code, finding.node, finding.over) == ("E169", "b", "3")
    assert finding.found == "dt/tau = 0.001 s / 0.00025 s = 4"
    assert "--dt 0.0001" in finding.fix
    assert "r is its tau divided by that" in finding.fix
    assert in_memory(graph, dt_us=100.0).graph.neurons()[0].decay == pytest.approx(0.4)
    norse = chain(conv(), lif(3, 8, 8, tau=5e-3), output=(3, 8, 8))
    assert "--dt 0.001 (Norse's default)" in refused(norse, InputError, dt_us=1e6)[0].fix
    weak = chain(conv(), lif(3, 8, 8, tau=5e-3, r=0.5), output=(3, 8, 8))
    assert "--dt 0.001 (Norse's default)" in refused(weak, InputError, dt_us=1e6)[0].fix


def test_dt_may_equal_the_time_constant_and_not_exceed_it():
    for tau, good in ((1e-3, True), (0.999e-3, False)):
        graph = chain(conv(), lif(3, 8, 8, tau=tau), output=(3, 8, 8))
        if good:
            assert in_memory(graph).graph.neurons()[0].decay == 1.0
        else:
            assert codes(refused(graph, InputError)) == [("E169", "b")]
    negative = chain(conv(), lif(3, 8, 8, tau=-1.0), output=(3, 8, 8))
    assert codes(refused(negative, InputError)) == [("E169", "b")]
    synapse = chain(conv(), cuba(3, 8, 8, syn=5e-4), output=(3, 8, 8))
    assert "dt/tau_syn" in refused(synapse, InputError)[0].found


def test_a_dt_that_the_resistances_speak_against_is_doubted():
    graph = chain(conv(), lif(3, 8, 8, tau=2e-2, r=20.0), output=(3, 8, 8))
    assert in_memory(graph).findings == ()
    (finding,) = in_memory(graph, dt_us=100.0).findings
    assert (finding.code, finding.severity) == ("W160", "warning")
    assert "0.001 s" in finding.limit
    assert in_memory(chain(conv(), lif(3, 8, 8, r=1.0), output=(3, 8, 8)), dt_us=100.0).findings == ()


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


def ours(tmp_path, dt_us=1000.0):
    rng = np.random.default_rng(0)
    nodes = (
        Conv2d("c", rng.normal(0.1, 0.4, (3, 2, 3, 3)), None, padding=(1, 1)),
        LIF("n", 0.3, 0.5),
        AvgPool2d("p", (2, 2), (2, 2)),
        Flatten("f"),
        Linear("l", rng.normal(0.05, 0.3, (4, 48))),
        LIF("o", 0.3, 0.3),
    )
    write_nir(Graph(nodes, (2, 8, 8), 5, dt_us, "float", 2), tmp_path / "a.nir")
    return tmp_path / "a.nir"


def test_a_file_of_ours_needs_no_options_and_takes_those_that_agree(tmp_path):
    path = ours(tmp_path)
    for said in ({}, SAID, {"voting": 2, "first_frame": "float"}):
        graph = read_nir(path, **said).graph
        assert (graph.dt_us, graph.steps, graph.first_frame, graph.voting) == (1000.0, 5, "float", 2)
    (finding,) = read_nir(path, steps=7).findings
    assert (finding.code, finding.limit) == ("W162", "5")


def test_options_against_the_file_are_refused_all_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        read_nir(ours(tmp_path), dt_us=100.0, inclusive=False, first_frame="spikes", voting=1)
    names = [f.node.removeprefix("a.nir: ") for f in caught.value.findings]
    assert names == ["--dt", "--first-frame", "--voting", "n", "o"]
    assert {f.code for f in caught.value.findings} == {"E162"}
    assert "0.0001 s; limit 0.001 s, as the file says" in str(caught.value)


def test_a_nominal_dt_stays_nominal_until_the_caller_says_it(tmp_path):
    path = ours(tmp_path, dt_us=None)
    assert read_nir(path).graph.dt_us is None
    assert read_nir(path, dt_us=100.0).graph.dt_us == 100.0
    with pytest.raises(InputError, match="E162"):
        read_nir(path, dt_us=1000.0)


def set_note(where, key, value):
    def spoil(file):
        group = file[f"{where}/metadata/neuroemo"]
        del group[key]
        if value is not None:
            group[key] = value

    return spoil


@pytest.mark.parametrize(
    ("where", "key", "value", "words"),
    [
        ("node", "schema", 2, "notes of version"),
        ("node", "dt_us", "soon", "dt_us is 'soon'"),
        ("node", "dt_us", -1.0, "dt_us is"),
        ("node", "dt_us", np.ones(3), "dt_us is"),
        ("node", "steps", 2.5, "steps is"),
        ("node", "voting", None, "voting is None"),
        ("node", "first_frame", "grey", "first_frame is 'grey'"),
        ("node", "spike_comparison", 1, "spike_comparison is"),
        ("node", "reset", "by subtraction", "reset is 'by subtraction'"),
        ("node/nodes/n", "spike_comparison", "=>", "spike_comparison is '=>'"),
        ("node/nodes/n", "decay", 0.31, "decay is noted as"),
        ("node/nodes/n", "name", "o", "a second layer of the name o"),
    ],
)
def test_notes_that_were_changed_are_refused(where, key, value, words, tmp_path):
    path = ours(tmp_path)
    with h5py.File(path, "r+") as file:
        set_note(where, key, value)(file)
    with pytest.raises(InputError, match="E163") as caught:
        read_nir(path)
    assert words in str(caught.value)


def test_metadata_of_others_is_passed_over(tmp_path):
    graph = chain(conv(), lif(3, 8, 8), output=(3, 8, 8), metadata={"dt_us": 5.0, "author": "me"})
    with pytest.raises(InputError, match="E161"):
        read_nir(written(graph, tmp_path))


def edit(change):
    """Damage done to the HDF5 tree of a sound file."""

    def spoil(path):
        with h5py.File(path, "r+") as file:
            change(file)

    return spoil


def cut(share):
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def replace_data(name, **made):
    def change(file):
        del file[name]
        file.create_dataset(name, **made)

    return edit(change)


def many_links(file):
    """A tree of 40 levels in 40 groups, each linked twice from the one above: 2**40 paths."""
    group = file["node/nodes"].create_group("deep")
    for _ in range(20):
        below = group.create_group("left")
        group["right"] = below
        group = below


def texts_without_end(file):
    del file["node/edges"]
    file.create_dataset("node/edges", (10**9, 2), dtype=h5py.string_dtype(), chunks=(1000, 2))


def link_out(file):
    del file["node/nodes/a"]
    file["node/nodes/a"] = h5py.ExternalLink("/etc/hostname", "/")


def one_huge_text(file):
    del file["version"]
    file["version"] = "x" * 1000
    del file["node/edges"]
    file.create_dataset("node/edges", data=np.array([["input", "a"]], dtype=object), dtype=h5py.string_dtype())


LOST = "E160"
DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), LOST),
    "text": (lambda path: path.write_text("not a network"), LOST),
    "garbage behind the signature": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 9), LOST),
    "cut to a half": (cut(0.5), LOST),
    "cut to a tenth": (cut(0.1), LOST),
    "cut by a byte": (lambda path: os.truncate(path, path.stat().st_size - 1), LOST),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."), LOST),
    "no node": (edit(lambda file: file.pop("node")), LOST),
    "no nodes": (edit(lambda file: file.pop("node/nodes")), LOST),
    "no edges": (edit(lambda file: file.pop("node/edges")), LOST),
    "no type of the graph": (edit(lambda file: file.pop("node/type")), LOST),
    "type of the graph": (replace_data("node/type", data="LIF"), LOST),
    "node is an array": (replace_data("node", data=[1, 2]), LOST),
    "no type of a node": (edit(lambda file: file.pop("node/nodes/a/type")), "E166"),
    "unknown type of a node": (replace_data("node/nodes/a/type", data="os.system"), "E166"),
    "type is a number": (replace_data("node/nodes/a/type", data=5), "E166"),
    "no weight": (edit(lambda file: file.pop("node/nodes/a/weight")), "E165"),
    "a field too many": (edit(lambda file: file["node/nodes/a"].create_dataset("size", data=1)), "E165"),
    "weights are text": (replace_data("node/nodes/a/weight", data="abc"), "E165"),
    "weights are complex": (replace_data("node/nodes/a/weight", data=np.ones((3, 2, 3, 3), complex)), LOST),
    "weights are empty": (replace_data("node/nodes/a/weight", data=np.ones((3, 0, 3, 3))), "E165"),
    "weights are flat": (replace_data("node/nodes/d/weight", data=np.ones((4, 192, 1))), "E175"),
    "weights of NaN": (replace_data("node/nodes/d/weight", data=np.full((4, 192), np.nan)), "E165"),
    "terabytes of weights": (
        replace_data("node/nodes/d/weight", shape=(10**6, 10**6), dtype="f8", chunks=(10, 10)),
        LOST,
    ),
    "neurons of different shapes": (replace_data("node/nodes/b/tau", data=np.ones(3)), "E165"),
    "padding of words": (replace_data("node/nodes/a/padding", data="reflect"), "E165"),
    "shape of text": (replace_data("node/nodes/input/shape", data="wide"), "E172"),
    "shape of minus one": (replace_data("node/nodes/input/shape", data=[-1, 8, 8]), "E172"),
    "edges are numbers": (replace_data("node/edges", data=np.ones((3, 2))), LOST),
    "edges of three": (replace_data("node/edges", data=np.array([[b"a", b"b", b"c"]])), LOST),
    "edges in a loop": (replace_data("node/edges", data=np.array([[b"a", b"b"], [b"b", b"a"]])), "E168"),
    "edges to nobody": (replace_data("node/edges", data=np.array([[b"input", b"zz"]])), "E168"),
    "texts without end": (edit(texts_without_end), LOST),
    "links without end": (edit(many_links), LOST),
    "a loop of links": (edit(lambda file: file["node/nodes"].__setitem__("self", file["node"])), LOST),
    "a soft link": (edit(lambda file: file["node"].__setitem__("x", h5py.SoftLink("/node"))), LOST),
    "a link to another file": (edit(link_out), LOST),
    "a type of its own": (edit(lambda file: file["node"].__setitem__("x", np.dtype("f8"))), LOST),
    "edges of one pair": (edit(one_huge_text), "E168"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_refused_with_their_name(name, tmp_path):
    path = written(usual(), tmp_path)
    spoil, code = DAMAGE[name]
    spoil(path)
    with pytest.raises((InputError, UnsupportedError)) as caught:
        read_nir(path, **SAID)
    found = caught.value.findings
    assert code in {finding.code for finding in found}, str(caught.value)
    assert all("x.nir" in finding.node for finding in found)
    assert isinstance(caught.value, UnsupportedError) == all(f.code in ("E166", "E172") for f in found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.nir"], "nothing was run or written"


def test_every_bad_node_is_named_at_once(tmp_path):
    path = written(usual(), tmp_path)
    with h5py.File(path, "r+") as file:
        file["node/nodes/a/type"][()] = "Conv9d"
        del file["node/nodes/d/weight"]
    with pytest.raises(InputError) as caught:
        read_nir(path, **SAID)
    assert codes(caught.value.findings) == [("E166", "x.nir: a"), ("E165", "x.nir: d")]
    assert "a Conv9d has no place" in str(caught.value)


def test_a_file_is_read_up_to_the_limit_of_declared_bytes(tmp_path, monkeypatch):
    path = written(usual(), tmp_path)
    with h5py.File(path) as file:
        sizes = []
        file.visititems(lambda _, item: sizes.append(item.nbytes if getattr(item, "dtype", "O") != "O" else 0))
        texts = []
        file.visititems(lambda _, item: texts.append(item) if getattr(item, "dtype", "") == "O" else None)
        total = sum(sizes) + sum(len(text) for item in texts for text in np.ravel(item[()]))
    monkeypatch.setattr(nir_guard, "MAX_BYTES", total)
    read_nir(path, **SAID)
    monkeypatch.setattr(nir_guard, "MAX_BYTES", total - 1)
    with pytest.raises(InputError, match=f"{total} declared bytes, at most {total - 1} are read"):
        read_nir(path, **SAID)


def test_missing_files_and_folders_are_told(tmp_path):
    for path in (tmp_path / "none.nir", tmp_path):
        with pytest.raises(InputError, match=r"E160.*no such file"):
            read_nir(path, **SAID)


def test_without_nir_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(MissingDependencyError, match="pip install nir") as caught:
        read_nir(tmp_path / "a.nir", **SAID)
    assert caught.value.exit_code == 6


def test_a_flipped_byte_is_read_or_refused_and_never_a_traceback(tmp_path):
    sound = written(usual(), tmp_path)
    data = sound.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for at in rng.integers(0, len(data), 60):
        spoiled = bytearray(data)
        spoiled[at] ^= 1 << int(rng.integers(8))
        sound.write_bytes(spoiled)
        try:
            read_nir(sound, **SAID)
            outcomes["read"] += 1
        except (InputError, UnsupportedError):
            outcomes["refused"] += 1
    assert outcomes["refused"] > 5
    assert outcomes["read"] > 5


@pytest.mark.parametrize(
    "clips",
    [np.zeros((5, 2, 2, 9, 9)), np.zeros((5, 2)), np.full((5, 1, 2, 8, 8), np.nan)],
    ids=["size", "axes", "NaN"],
)
def test_clips_that_do_not_suit_are_refused(clips):
    with pytest.raises(InputError, match="E164"):
        in_memory(usual()).spikes(clips)


def test_the_replay_finds_a_graph_that_differs_and_layers_that_say_nothing():
    source = in_memory(usual())
    clips = clips_of((2, 8, 8))
    assert replay_check(source, clips) == []
    nodes = list(source.graph.nodes)
    nodes[1] = LIF("b", 0.5, 0.3, gain=0.6)
    object.__setattr__(source, "graph", source.graph.replace_nodes(tuple(nodes)))
    (finding,) = replay_check(source, clips)
    assert (finding.code, finding.node) == ("E176", "b")
    quiet = replay_check(in_memory(usual()), np.zeros_like(clips))
    assert ("W161", "e") in codes(quiet)
    assert {f.severity for f in quiet} == {"warning"}


def test_the_interpreter_keeps_an_array_per_neuron():
    """By hand: with dt/tau 1/2 and 1, input 1 and threshold 0.6, the potentials are 0.5, 0.75 and 1.0, 1.0."""
    node = nir.LIF(np.array([2e-3, 1e-3]), np.ones(2), np.zeros(2), np.full(2, 0.6), np.zeros(2))
    graph = chain(node, shape=(2,), output=(2,))
    network = Network(graph.nodes, graph.edges, {})
    fired = interpret(network, np.ones((3, 1, 2)), dt_s=DT, inclusive={"a": True})
    assert fired["a"][:, 0].tolist() == [[0, 1], [1, 1], [0, 1]]


def spikingjelly_model(kind):
    from spikingjelly.activation_based import functional, layer, neuron
    from torch import nn

    torch.manual_seed(0)

    def spiking():
        return {
            "lif": lambda: neuron.LIFNode(tau=2.5, v_threshold=0.3),
            "no input decay": lambda: neuron.LIFNode(tau=2.5, v_threshold=0.8, decay_input=False),
            "if": lambda: neuron.IFNode(v_threshold=0.7),
            "plif": lambda: neuron.ParametricLIFNode(init_tau=3.0, v_threshold=0.2),
            "reset": lambda: neuron.LIFNode(tau=2.0, v_threshold=0.3, v_reset=0.1),
            "cuba": lambda: neuron.CUBALIFNode(c_decay=0.4, v_decay=0.7, v_threshold=0.9),
        }[kind]()

    parts = [layer.Conv2d(2, 3, 3, padding=1, bias=False), spiking(), layer.AvgPool2d(2)]
    model = nn.Sequential(*parts, layer.Flatten(), layer.Linear(48, 6), spiking())
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.1, 0.4)
    functional.set_step_mode(model, "s")
    return model.eval()


@pytest.mark.parametrize("kind", ["lif", "no input decay", "if", "plif", "reset", "cuba"])
def test_files_of_spikingjelly_give_its_own_spikes(kind, tmp_path):
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    from spikingjelly.activation_based import functional

    model = spikingjelly_model(kind)
    clips = clips_of((2, 8, 8), steps=12)
    exchange.export_to_nir(model, torch.from_numpy(clips[0]), save_path=tmp_path / "sj.nir", dt=1e-3)
    functional.reset_net(model)
    seen = {1: [], 5: []}
    with torch.no_grad():
        for frame in clips:
            value = torch.from_numpy(frame)
            for at, module in enumerate(model):
                value = module(value)
                if at in seen:
                    seen[at].append(value.numpy().astype(np.uint8))
    source = read_nir(tmp_path / "sj.nir", steps=12, dt_us=1000.0, inclusive=True)
    run = run_graph(source.graph, clips)
    literal = source.spikes(clips)
    assert source.findings == ()
    for name, wanted in zip(run.spikes, seen.values(), strict=True):
        wanted = np.stack(wanted)
        assert 0.005 < wanted.mean() < 0.995, "silent or saturated: nothing is shown"
        np.testing.assert_array_equal(run.spikes[name], wanted)
        np.testing.assert_array_equal(literal[name], wanted)
    if kind == "no input decay":
        with pytest.raises(InputError, match=r"probably --dt 0\.001"):
            read_nir(tmp_path / "sj.nir", steps=12, dt_us=10_000.0, inclusive=True)
        assert read_nir(tmp_path / "sj.nir", steps=12, dt_us=100.0, inclusive=True).findings[0].code == "W160"


def norse_file(tmp_path, dt):
    """A file as Norse 1.1 writes it: one value per layer, which nir only stores without compression."""
    norse = pytest.importorskip("norse.torch")
    torch.manual_seed(0)
    model = norse.SequentialState(
        torch.nn.Linear(16, 8), norse.LIFBoxCell(dt=1e-3), torch.nn.Linear(8, 4), norse.LIFBoxCell(dt=1e-3)
    )
    for module in model:
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, 2.0, 4.0)
    graph = norse.to_nir(model, torch.rand(1, 16), dt=dt)
    graph.nodes["input"], graph.nodes["output"] = nir.Input(np.array([16])), nir.Output(np.array([4]))
    nir.write(tmp_path / "norse.nir", graph, compression=None)
    return model, tmp_path / "norse.nir"


def test_files_of_norse_give_its_own_spikes(tmp_path):
    """Norse writes tau = dt / tau_mem_inv, which is the time constant only for dt = 1."""
    model, path = norse_file(tmp_path, dt=1.0)
    clips = clips_of((16,), steps=12)
    state, wanted = None, []
    with torch.no_grad():
        for frame in clips:
            spikes, state = model(torch.from_numpy(frame), state)
            wanted.append(spikes.numpy().astype(np.uint8))
    source = read_nir(path, steps=12, dt_us=1000.0, inclusive=False)
    assert 0.005 < np.mean(wanted) < 0.995, "silent or saturated: nothing is shown"
    np.testing.assert_array_equal(run_graph(source.graph, clips).output, wanted)
    np.testing.assert_array_equal(list(source.spikes(clips).values())[-1], wanted)


def test_the_scaled_time_constants_of_norse_are_noticed(tmp_path):
    _, path = norse_file(tmp_path, dt=1e-3)
    with pytest.raises(InputError, match="E169") as caught:
        read_nir(path, steps=12, dt_us=1000.0, inclusive=False)
    assert "dt/tau = 0.001 s / 1e-05 s = 100" in str(caught.value)


def test_the_library_loads_without_nir():
    """nir is imported late: the module must load where it is missing."""
    code = "import sys; sys.modules['nir'] = None; import export.frontends.nir_file, export.nir_writer"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_a_copy_under_another_name_is_the_same_network(tmp_path):
    path = ours(tmp_path)
    shutil.copy(path, tmp_path / "b.h5")
    assert read_nir(tmp_path / "b.h5").graph.steps == 5
