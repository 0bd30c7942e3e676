"""Counts of a float graph against enumeration of every tap, on inputs that a literal second run gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from export.reference import run_graph
from hw_targets.finding import InputError, UnsupportedError
from hw_targets.graph import LIF, AvgPool2d, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool2d
from neuroemo.profiling.counting import graph as graph_door
from neuroemo.profiling.counting.counts import Geometry
from neuroemo.profiling.counting.graph import count_graph, state_rule
from tests.profiling.brute_force import enumerate_conv, enumerate_spikes


def inputs_of(graph: Graph, clips: np.ndarray) -> dict[str, np.ndarray]:
    """The input [T, N, ...] of every node, by a loop over steps that knows nothing of ``run_graph``; float64."""
    state: dict[str, torch.Tensor] = {}
    given: dict[str, list[np.ndarray]] = {node.name: [] for node in graph.nodes}
    for frame in torch.from_numpy(np.asarray(clips, dtype=np.float64)):
        value = frame
        for node in graph.nodes:
            given[node.name].append(value.numpy().copy())
            value = one_step(node, value, state)
    return {name: np.stack(values) for name, values in given.items()}


def one_step(node, value, state):
    if isinstance(node, Conv2d):
        weight, bias = torch.from_numpy(node.weight), None if node.bias is None else torch.from_numpy(node.bias)
        return F.conv2d(value, weight, bias, node.stride, node.padding, node.dilation, node.groups)
    if isinstance(node, Linear):
        return value @ torch.from_numpy(node.weight).T + (0 if node.bias is None else torch.from_numpy(node.bias))
    if isinstance(node, AvgPool2d):
        return F.avg_pool2d(value, node.kernel, node.stride, node.padding)
    if isinstance(node, MaxPool2d):
        return F.max_pool2d(value, node.kernel, node.stride, node.padding)
    if isinstance(node, Flatten):
        return value.flatten(1)
    if isinstance(node, BatchNorm):
        axes = (1, -1, 1, 1)
        mean, scale = torch.from_numpy(node.mean), torch.from_numpy(node.gamma / np.sqrt(node.variance + node.eps))
        return (value - mean.reshape(axes)) * scale.reshape(axes) + torch.from_numpy(node.beta).reshape(axes)
    current, v = state.get(node.name, (torch.zeros_like(value), torch.full_like(value, node.rest)))
    current = (1 - node.current_decay) * current + value
    v = v - node.decay * (v - node.rest) + node.gain * current
    fired = (v >= node.threshold if node.inclusive else v > node.threshold).double()
    v = torch.where(fired > 0, node.rest, v) if node.reset == "zero" else v - (node.threshold - node.rest) * fired
    state[node.name] = current, v
    return fired


def reads_of(node, shape, shape_out) -> np.ndarray:
    """Fan-out map of a node by enumeration."""
    if isinstance(node, Linear):
        reads = np.zeros(shape, dtype=np.int64)
        for _ in range(len(node.weight)):
            reads += 1
        return reads
    kernel = node.weight.shape[2:]
    return enumerate_conv(shape, shape_out, kernel, node.stride, node.padding, node.dilation, node.groups)


def tables(values: np.ndarray, reads: np.ndarray) -> np.ndarray:
    """AC, MAC and events [T, N, 3] of inputs [T, N, ...], element by element."""
    steps, samples = values.shape[:2]
    return np.array([[enumerate_spikes(values[t, n], reads) for n in range(samples)] for t in range(steps)])


def drawn_graph(seed: int) -> tuple[Graph, np.ndarray]:
    """A network whose numbers are halves and integers, so that float32 holds every potential of the first steps."""
    rng = np.random.default_rng(seed)
    size, groups = int(rng.integers(9, 12)), int(rng.choice([1, 2]))

    def weights(*shape):
        drawn = rng.integers(-2, 5, shape) * 0.5
        drawn[rng.random(shape) < 0.25] = 0
        return drawn

    def cells(name, height):
        kind = int(rng.integers(0, 4))
        more = [{"decay": 0.5}, {"decay": 0.0}, {"decay": 0.5, "current_decay": 0.5}, {"decay": 0.25, "gain": 0.5}][
            kind
        ]
        reset = str(rng.choice(["zero", "subtract"]))
        return LIF(name, threshold=height, inclusive=bool(rng.integers(0, 2)), reset=reset, **more)

    first = Conv2d(
        "conv1", weights(4, 2 // groups, 3, 2), weights(4), (int(rng.integers(1, 3)), 1), (int(rng.integers(0, 3)), 1),
        (1, int(rng.integers(1, 3))), groups,
    )  # fmt: skip
    norm = BatchNorm(
        "norm", rng.integers(-1, 2, 4) * 0.5, np.ones(4), np.full(4, 2.0), rng.integers(-1, 2, 4) * 0.5, 0.0
    )
    pool = [
        AvgPool2d("pool", (2, 2), (2, 2)),
        AvgPool2d("pool", (2, 2), (1, 1), (1, 1)),
        MaxPool2d("pool", (2, 2), (2, 2)),
    ]
    nodes = [first, *([norm] if seed % 2 else []), cells("lif1", 2.0), pool[seed % 3]]
    nodes += [Conv2d("conv2", weights(3, 4, 2, 2)), cells("lif2", 1.0), Flatten("flat")]
    width = int(np.prod(Graph(tuple(nodes), (2, size, size), 5, None).shapes[-1]))
    nodes += [Linear("fc", weights(4, width), weights(4)), cells("lif3", 1.0)]
    clips = (rng.random((5, 3, 2, size, size)) < 0.3).astype(np.float32)
    clips[0] = rng.integers(0, 5, clips[0].shape) / 4
    return Graph(tuple(nodes), (2, size, size), 5, None, "float"), clips


@pytest.mark.parametrize("seed", range(18))
def test_every_node_of_a_random_graph_is_counted_as_enumerated(seed):
    graph, clips = drawn_graph(seed)
    counts, given = count_graph(graph, clips), inputs_of(graph, clips)
    after = dict(zip(list(given)[:-1], list(given.values())[1:], strict=True))
    assert not counts.partial
    assert not counts.notes
    for node, shape, shape_out in graph.layers():
        if isinstance(node, Conv2d | Linear):
            layer, reads = counts.layers[node.name], reads_of(node, shape, shape_out)
            np.testing.assert_array_equal(layer.table[..., :3], tables(given[node.name], reads), node.name)
            assert (layer.synapses, layer.dense_macs) == (reads.sum(), reads.sum() * 15)
            assert layer.elements == given[node.name].size
        elif isinstance(node, LIF):
            assert counts.layers[node.name].neuron_updates == given[node.name].size
            if node.name in after:
                fired = after[node.name].reshape(5, 3, -1).sum(axis=2)
                assert fired.any()
                np.testing.assert_array_equal(counts.layers[node.name].table[..., 3], fired)
        else:
            assert counts.covered[node.name].elements == given[node.name].size
    assert list(counts.layers) == [node.name for node in graph.nodes if node.name in counts.layers]


@pytest.mark.parametrize("seed", range(6))
def test_zero_weights_are_skipped_one_by_one(seed):
    graph, clips = drawn_graph(seed)
    counts, given = count_graph(graph, clips, skip_zero_weights=True), inputs_of(graph, clips)
    dense = count_graph(graph, clips)
    for node, shape, _ in graph.layers():
        if not isinstance(node, Conv2d | Linear):
            continue
        # The gradient of the sum of all outputs, with every weight that is not zero put to one, is the fan-out.
        probe = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
        ones = torch.from_numpy((node.weight != 0).astype(float))
        out = probe @ ones.T if isinstance(node, Linear) else F.conv2d(
            probe, ones, None, node.stride, node.padding, node.dilation, node.groups
        )  # fmt: skip
        out.sum().backward()
        reads = probe.grad[0].numpy().round().astype(np.int64)
        np.testing.assert_array_equal(counts.layers[node.name].table[..., :3], tables(given[node.name], reads))
        assert counts.layers[node.name].dense_macs == dense.layers[node.name].dense_macs
    assert counts.policy.zeros == "zero inputs cost nothing; zero weights are skipped"
    assert counts.total.acs + counts.total.macs < dense.total.acs + dense.total.macs


def pooled_graph(pool: AvgPool2d, *behind, size: int = 6, neuron: LIF | None = None) -> Graph:
    first = neuron or LIF("first", 0.0, 1.0)
    return Graph((first, pool, *behind), (1, size, size), 2, None)


def spikes(size: int = 6, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((2, 3, 1, size, size)) < 0.5).astype(np.float32)


def test_pools_by_hand():
    # One spike in a 2 x 2 window before a 3 x 3 map that a 1 x 1 kernel of 5 channels reads.
    conv, out = Conv2d("conv", np.full((5, 1, 1, 1), 4.0)), LIF("out", 0.0, 100.0)
    graph = pooled_graph(AvgPool2d("pool", (2, 2), (2, 2)), conv, out)
    clips = np.zeros((2, 1, 1, 6, 6), np.float32)
    clips[0, 0, 0, 0, 0] = 1  # alone: the mean is 1/4
    clips[1, 0, 0, :2, :2] = 1  # four: the mean is 1
    event = count_graph(graph, clips).layers["conv"].table[:, 0, :3].tolist()
    assert event == [[0, 5, 1], [5, 0, 1]]
    for pooling in ("spike_unit", "folded"):
        counts = count_graph(graph, clips, pooling=pooling)
        assert counts.layers["conv"].table[:, 0, :3].tolist() == [[5, 0, 1], [20, 0, 4]]
        assert not counts.notes
    assert count_graph(graph, clips, pooling="spike_unit").layers["conv"].synapses == 9 * 5
    assert count_graph(graph, clips, pooling="folded").layers["conv"].synapses == 36 * 5


def routed(clips: np.ndarray, pool: AvgPool2d, conv: Conv2d) -> tuple[np.ndarray, np.ndarray]:
    """Per sample and step, what every spike reaches: (window, tap) pairs, and synapses of different ends."""
    size = clips.shape[-1]
    pooled = (size + 2 * pool.padding[0] - pool.kernel[0]) // pool.stride[0] + 1
    kernel = conv.weight.shape[2]
    outputs = (pooled + 2 * conv.padding[0] - kernel) // conv.stride[0] + 1
    pairs, ends = np.zeros(clips.shape[:2], int), np.zeros(clips.shape[:2], int)
    for t, n, _, y, x in np.argwhere(clips):
        met = []
        for oy, ox, i, j in np.ndindex(outputs, outputs, kernel, kernel):
            row, column = oy * conv.stride[0] - conv.padding[0] + i, ox * conv.stride[0] - conv.padding[0] + j
            if not (0 <= row < pooled and 0 <= column < pooled):
                continue
            top, left = row * pool.stride[0] - pool.padding[0], column * pool.stride[0] - pool.padding[0]
            if top <= y < top + pool.kernel[0] and left <= x < left + pool.kernel[1]:
                met.append((oy, ox))
        pairs[t, n] += len(met) * len(conv.weight)
        ends[t, n] += len(set(met)) * len(conv.weight)
    return pairs, ends


@pytest.mark.parametrize(
    ("window", "step", "edge", "kernel", "stride", "padding"),
    [
        (2, 2, 0, 3, 1, 1),
        (3, 2, 0, 2, 1, 0),
        (2, 1, 1, 2, 2, 0),
        (3, 3, 0, 2, 1, 0),
        (2, 2, 0, 1, 1, 0),
        (3, 1, 0, 3, 1, 0),
    ],
)
def test_spikes_through_a_pool_one_by_one(window, step, edge, kernel, stride, padding):
    """Routed, a spike is added at each synapse of each window; folded, once wherever the merged kernel has a weight."""
    pool = AvgPool2d("pool", (window, window), (step, step), (edge, edge))
    conv = Conv2d("conv", np.full((3, 1, kernel, kernel), 9.0), None, (stride, stride), (padding, padding))
    clips = spikes()
    pairs, ends = routed(clips, pool, conv)
    graph = pooled_graph(pool, conv, LIF("out", 0.0, 1e6), neuron=LIF("first", 0.0, 1.0))
    unit = count_graph(graph, clips, pooling="spike_unit").layers["conv"]
    np.testing.assert_array_equal(unit.table[..., 0], pairs)
    assert unit.macs == 0
    if window <= step or not padding:
        folded = count_graph(graph, clips, pooling="folded", skip_zero_weights=True).layers["conv"]
        np.testing.assert_array_equal(folded.table[..., 0], ends)
        assert folded.macs == 0
    assert (pairs == ends).all() == (window <= step)


def test_pools_in_a_row_before_a_flattened_linear_layer():
    """6 x 6, pooled to 3 x 3 and, by windows that share a row, to 2 x 2, then 4 to 5 dense synapses: by hand."""
    pools = AvgPool2d("near", (2, 2), (2, 2)), AvgPool2d("far", (2, 2), (1, 1))
    graph = pooled_graph(*pools, Flatten("flat"), Linear("fc", np.ones((5, 4))), LIF("out", 0.0, 1e6))
    clips = np.zeros((2, 1, 1, 6, 6), np.float32)
    clips[0, 0, 0, 0, 0] = 1  # in one window, which lies in one window
    clips[1, 0, 0, 2, 3] = 1  # in the middle window of 3 x 3, which lies in all four
    for pooling, acs in (("spike_unit", [5, 20]), ("folded", [5, 5])):
        counts = count_graph(graph, clips, pooling=pooling)
        assert counts.layers["fc"].table[:, 0, :3].tolist() == [[acs[0], 0, 1], [acs[1], 0, 1]]
        assert counts.layers["fc"].elements == 72
        assert not counts.notes
    assert count_graph(graph, clips).layers["fc"].table[:, 0, :3].tolist() == [[0, 5, 1], [0, 20, 4]]


def test_a_pool_behind_synapses_is_part_of_them_when_folded():
    conv = Conv2d("conv", np.ones((2, 1, 3, 3)))
    norm = BatchNorm("norm", np.zeros(2), np.ones(2), np.full(2, 2.0), np.ones(2), 0.0)
    pool, out = AvgPool2d("pool", (2, 2), (2, 2)), LIF("out", 0.0, 1e6)
    graph = Graph((conv, norm, pool, out), (1, 6, 6), 2, None)
    clips = spikes()
    merged = Conv2d("conv", np.ones((2, 1, 4, 4)), None, (2, 2))
    expected = count_graph(Graph((merged, out), (1, 6, 6), 2, None), clips).layers["conv"]
    folded = count_graph(graph, clips, pooling="folded")
    np.testing.assert_array_equal(folded.layers["conv"].table, expected.table)
    assert list(folded.layers) == ["conv", "out"]
    unit = count_graph(graph, clips, pooling="spike_unit")
    assert unit.notes == {"pool": "its output meets no synapses directly: counted under the policy 'event'"}


def test_a_pool_alone_before_neurons_is_a_layer_of_synapses_when_folded():
    graph = pooled_graph(AvgPool2d("pool", (3, 3), (1, 1)), LIF("out", 0.0, 1e6))
    clips = np.zeros((2, 1, 1, 6, 6), np.float32)
    clips[0, 0, 0, 2, 2] = clips[1, 0, 0, 0, 0] = 1  # nine windows hold the one pixel, one the other
    folded = count_graph(graph, clips, pooling="folded")
    assert folded.layers["pool"].table[:, 0, 0].tolist() == [9, 1]
    assert "pool" not in folded.covered
    assert "pool" in count_graph(graph, clips).covered


def test_a_pool_that_cannot_be_folded_is_refused_where_it_should_be():
    graph = pooled_graph(AvgPool2d("pool", (3, 3), (1, 1)), Conv2d("conv", np.ones((1, 1, 3, 3)), None, (1, 1), (1, 1)))
    with pytest.raises(UnsupportedError, match="E131 pool: padded convolution conv"):
        count_graph(graph, spikes(), pooling="folded")
    assert count_graph(graph, spikes(), pooling="spike_unit").total.acs > 0


def test_a_normalisation_between_synapses_and_a_pool_feeds_the_pool_not_its_own_input():
    """Folded into the first synapses, it leaves the second ones with its output as their input."""
    first, second = Conv2d("first", np.ones((1, 1, 1, 1))), Conv2d("second", np.ones((1, 1, 1, 1)))
    norm = BatchNorm("norm", np.ones(1), np.ones(1), np.ones(1), np.zeros(1), 0.0)  # x - 1: spikes become 0
    graph = Graph((first, norm, AvgPool2d("pool", (1, 1), (1, 1)), second, LIF("out", 0.0, 9.0)), (1, 6, 6), 2, None)
    clips = spikes()
    silent = (clips == 0).reshape(2, 3, -1).sum(axis=2)  # 0 - 1 = -1: an accumulate
    np.testing.assert_array_equal(count_graph(graph, clips, pooling="folded").layers["second"].table[..., 0], silent)


def test_normalisation_is_counted_where_the_policy_says_so():
    graph, clips = drawn_graph(1)
    counts = count_graph(graph, clips, batch_norm="counted")
    norm = counts.layers["norm"]
    assert norm.kind == "element"
    assert (norm.table[..., 1] == np.prod(graph.shapes[0])).all()
    assert (norm.acs, norm.spikes_in, norm.macs) == (0, 0, np.prod(graph.shapes[0]) * 15)
    free = count_graph(graph, clips)
    assert counts.total.macs == free.total.macs + norm.macs
    assert "norm" not in free.layers
    assert list(counts.layers)[:3] == ["conv1", "norm", "lif1"]


@pytest.mark.parametrize(
    ("node", "cost"),
    [
        (LIF("n", 0.0, 1.0), (0, 1, 0)),
        (LIF("n", 0.5, 1.0), (1, 1, 0)),
        (LIF("n", 0.5, 1.0, gain=0.5, rest=0.2), (1, 1, 0)),
        (LIF("n", 0.5, 1.0, reset="subtract"), (1, 1, 1)),
        (LIF("n", 0.5, 1.0, current_decay=0.25), (2, 1, 0)),
        (LIF("n", 0.0, 1.0, current_decay=0.25), (1, 2, 0)),
        (LIF("n", 1.0, 1.0), (0, 1, 0)),
    ],
)
def test_rules_of_neurons(node, cost):
    counts = count_graph(Graph((Linear("fc", np.ones((2, 3))), node), (3,), 1, None), np.ones((1, 1, 3)))
    rule = counts.layers["n"].rule
    assert (rule.macs, rule.acs, rule.reset_acs) == cost
    assert state_rule(node.decay, node.current_decay, soft_reset=node.reset == "subtract") == rule


def test_pieces_kept_samples_and_number_types_change_no_count(monkeypatch):
    graph, clips = drawn_graph(2)
    whole, seen = count_graph(graph, clips), []
    monkeypatch.setattr(graph_door, "ELEMENTS", 1)
    parts = count_graph(graph, clips, progress=lambda *at: seen.append(at), precision="float64")
    assert seen == [(1, 3), (2, 3), (3, 3)]
    summed = count_graph(graph, clips.astype(np.float64), keep_samples=False)
    for name, layer in whole.layers.items():
        np.testing.assert_array_equal(parts.layers[name].table, layer.table)
        np.testing.assert_array_equal(summed.layers[name].table, layer.table.sum(axis=1, keepdims=True))
        assert parts.layers[name].neuron_updates == summed.layers[name].neuron_updates == layer.neuron_updates
    assert summed.squares == whole.squares
    binary = (clips == 1).astype(bool)
    assert count_graph(graph, binary).to_json() == count_graph(graph, binary.astype(np.float32)).to_json()


def test_a_watcher_sees_the_input_of_every_node():
    graph, clips = drawn_graph(3)
    seen = {}
    run = run_graph(graph, clips, watch=lambda node, value: seen.update({node.name: value.numpy().copy()}))
    given = inputs_of(graph, clips)
    assert list(seen) == list(given)
    for name, value in seen.items():
        np.testing.assert_array_equal(value, given[name])
    np.testing.assert_array_equal(run.output, run_graph(graph, clips).output)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda clips: clips[:, :, :1], "E840", "limit [T, N, 2, 9, 9], real numbers"),
        (lambda clips: clips[0], "E840", "shape (3, 2, 9, 9)"),
        (lambda clips: clips.astype(str), "E840", "<U32"),
        (lambda clips: clips[:, :0], "E841", "no step or no clip"),
        (lambda clips: clips * np.inf, "E842", "values are NaN or infinite; limit 0"),
    ],
)
def test_clips_that_are_no_clips(spoil, code, words):
    graph = Graph(drawn_graph(0)[0].nodes[:1], (2, 9, 9), 5, None)
    with np.errstate(invalid="ignore"), pytest.raises(InputError) as caught:
        count_graph(graph, spoil(np.ones((5, 3, 2, 9, 9), np.float32)))
    assert caught.value.findings[0].code == code
    assert words in str(caught.value)
    assert count_graph(graph, np.ones((5, 3, 2, 9, 9), np.float32)).samples == 3


def test_a_network_that_computes_nan_is_refused_by_the_node_that_is_given_it():
    weight = np.ones((2, 3))
    weight[1, 1] = np.nan
    fine = Graph((Linear("fc", np.ones((2, 3))), LIF("n", 0.5, 1.0)), (3,), 1, None)
    bad = fine.replace_nodes((Linear("fc", weight), LIF("n", 0.5, 1.0)))
    assert count_graph(fine, np.ones((1, 1, 3))).total.acs == 6
    with pytest.raises(InputError, match="E842 n: 1 values are NaN or infinite"):
        count_graph(bad, np.ones((1, 1, 3)))


def test_unknown_nodes_and_policies_are_refused():
    class Attention:
        name = "attention"

    graph = Graph((Linear("fc", np.ones((2, 3))),), (3,), 1, None)
    for option, value in (("pooling", "free"), ("batch_norm", "both")):
        with pytest.raises(InputError, match=f"E843 {option}: '{value}'"):
            count_graph(graph, np.ones((1, 1, 3)), **{option: value})
    object.__setattr__(graph, "nodes", (*graph.nodes, Attention()))
    with pytest.raises(InputError, match="E844 attention: no rule for Attention; limit Conv2d, Linear, LIF, AvgPool2d"):
        count_graph(graph, np.ones((1, 1, 3)))


def test_geometry_is_that_of_the_synapses_that_are_counted():
    conv = Conv2d("conv", np.ones((4, 1, 3, 3)), np.ones(4), (1, 1), (0, 0))
    graph = pooled_graph(AvgPool2d("pool", (2, 2), (2, 2)), conv, Flatten("flat"), Linear("fc", np.ones((5, 4))))
    event = count_graph(graph, spikes()).layers
    assert event["conv"].geometry == Geometry("conv", (1, 3, 3), (4, 1, 1), (3, 3), (1, 1), 1, 36, 4)
    assert event["fc"].geometry == Geometry("dense", (4,), (5,), weights=20)
    folded = count_graph(graph, spikes(), pooling="folded").layers
    assert folded["conv"].geometry == Geometry("conv", (1, 6, 6), (4, 1, 1), (6, 6), (2, 2), 1, 144, 4)
