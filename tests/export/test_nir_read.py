"""NIR files of other writers: what is read spikes as its equations do, options are never guessed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.frontends.nir_file import read_nir
from export.frontends.nir_replay import replay_check
from export.reference import run_graph
from hw_targets.finding import InputError
from hw_targets.graph import LIF, Conv2d, Flatten, Linear

nir = pytest.importorskip("nir")
torch.set_num_threads(1)
from tests.export.nir_read_parts import (  # noqa: E402
    DT,
    SAID,
    chain,
    clips_of,
    codes,
    conv,
    cuba,
    flatten,
    in_memory,
    lif,
    linear,
    pool,
    refused,
    usual,
    written,
)


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


def affine(outputs, inputs):
    return nir.Affine(linear(outputs, inputs).weight, np.linspace(-0.1, 0.2, outputs))


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
