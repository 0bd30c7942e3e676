"""Pools, convolutions and normalisations of random geometry folded into one another, against torch in float64."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from export.passes import lower
from export.passes.fold_batchnorm import scaled_inputs
from export.passes.fold_pool import conv_then_pool, pool_then_conv
from export.reference import run_graph
from hw_targets.graph import LIF, AvgPool2d, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool2d

pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731


@st.composite
def pools(draw, kind=AvgPool2d, name="pool"):
    kernel = draw(pairs(1, 4))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    return kind(name, kernel, draw(pairs(1, 4)), padding)


@st.composite
def convolutions(draw, inputs=4):
    groups = draw(st.sampled_from([1, 2, 4]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = random.normal(size=(4, inputs // groups, *draw(pairs(1, 3))))
    bias = random.normal(size=4) if draw(st.booleans()) else None
    return Conv2d("conv", weight, bias, draw(pairs(1, 3)), draw(pairs(0, 2)), draw(pairs(1, 2)), groups)


SHAPES = st.tuples(st.just(4), st.integers(1, 12), st.integers(1, 12))


NEURON = LIF("neuron", 0.5, 1.0)


def graph_of(nodes, shape):
    """The graph, or None where a window does not fit."""
    try:
        return Graph((*nodes, NEURON), shape, 1, None)
    except ValueError:
        return None


def real_input(shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2, *shape)))


def applied(node, x):
    """One node by torch itself, on frames [N, C, H, W] in float64."""
    tensor = lambda a: None if a is None else torch.from_numpy(np.asarray(a, dtype=np.float64))  # noqa: E731
    match node:
        case Conv2d():
            weight, bias = tensor(node.weight), tensor(node.bias)
            return F.conv2d(x, weight, bias, node.stride, node.padding, node.dilation, node.groups)
        case Linear():
            return F.linear(x, tensor(node.weight), tensor(node.bias))
        case AvgPool2d():
            return F.avg_pool2d(x, node.kernel, node.stride, node.padding)
        case MaxPool2d():
            return F.max_pool2d(x, node.kernel, node.stride, node.padding)
        case BatchNorm():
            mean, variance, gamma, beta = (tensor(a) for a in (node.mean, node.variance, node.gamma, node.beta))
            return F.batch_norm(x, mean, variance, gamma, beta, eps=node.eps)
        case Flatten():
            return x.flatten(1)
    raise TypeError(node)


def through(nodes, x):
    for node in nodes:
        x = applied(node, x)
    return x


def assert_same_currents(nodes, shape):
    """The folded synapses give the currents of the unfolded layers, on real-valued input."""
    folded, findings = lower(Graph((*nodes, NEURON), shape, 1, None))
    assert findings == []
    x = real_input(shape)
    torch.testing.assert_close(through(folded.nodes[:-1], x), through(nodes, x), rtol=0, atol=1e-9)


def positive(node):
    return Conv2d(node.name, np.ones(node.weight.shape), None, node.stride, node.padding, node.dilation, node.groups)


def norm_of(channels, seed):
    random = np.random.default_rng(seed)
    columns = (random.uniform(low, high, channels) for low, high in ((-1, 1), (0.1, 2), (-2, 2), (-1, 1)))
    return BatchNorm("norm", *columns, 1e-5)


@settings(max_examples=300, deadline=None, database=None)
@given(pools(), convolutions(), SHAPES)
def test_pool_then_conv_is_exact_or_rightly_refused(pool, conv, shape):
    graph = graph_of((pool, conv), shape)
    if graph is None:
        return
    findings = lower(graph)[1]
    if not findings:
        assert_same_currents((pool, conv), shape)
        return
    assert [finding.code for finding in findings] == ["E131"]
    ones = torch.ones((1, *shape), dtype=torch.float64)
    naive = applied(pool_then_conv(pool, positive(conv)), ones)
    assert (naive - through((pool, positive(conv)), ones)).max() > 1e-3, "the refusal is gratuitous"


@settings(max_examples=150, deadline=None, database=None)
@given(pools(), pools(name="second"), convolutions(), SHAPES)
def test_two_pools_then_conv_are_exact_or_rightly_refused(pool, second, conv, shape):
    graph = graph_of((pool, second, conv), shape)
    if graph is None:
        return
    findings = lower(graph)[1]
    if not findings:
        assert_same_currents((pool, second, conv), shape)
        return
    assert "E131" in {finding.code for finding in findings}
    ones = torch.ones((1, *shape), dtype=torch.float64)
    naive = applied(pool_then_conv(pool, pool_then_conv(second, positive(conv))), ones)
    assert (naive - through((pool, second, positive(conv)), ones)).max() > 1e-3, "the refusal is gratuitous"


@settings(max_examples=150, deadline=None, database=None)
@given(convolutions(), pools(), SHAPES)
def test_conv_then_pool_is_exact_unless_the_pool_is_padded(conv, pool, shape):
    graph = graph_of((conv, pool), shape)
    if graph is None:
        return
    findings = lower(graph)[1]
    assert [finding.code for finding in findings] == (["E132"] if any(pool.padding) else [])
    if not findings:
        assert_same_currents((conv, pool), shape)


def test_a_padded_pool_of_currents_has_no_single_convolution():
    conv = Conv2d("conv", np.ones((4, 4, 3, 3)), padding=(1, 1))
    pool = AvgPool2d("pool", (3, 3), (2, 2), (1, 1))
    merged = conv_then_pool(conv, pool)
    naive = Conv2d("naive", merged.weight, None, merged.stride, (2, 2))  # the shape fits, the border does not
    x = real_input((4, 8, 8))
    wanted, got = through((conv, pool), x), applied(naive, x)
    assert not torch.allclose(got[..., 0, :], wanted[..., 0, :], atol=1e-3)
    biased = Conv2d("conv", np.zeros((4, 4, 1, 1)), np.ones(4))
    assert through((biased, pool), x).unique().numel() > 1, "the border sees less of the bias: no one bias per channel"


@settings(max_examples=150, deadline=None, database=None)
@given(pools(), SHAPES, st.integers(0, 2**32 - 1))
def test_pool_flatten_linear_is_always_exact(pool, shape, seed):
    graph = graph_of((pool,), shape)
    if graph is None:
        return
    random = np.random.default_rng(seed)
    linear = Linear("linear", random.normal(size=(5, int(np.prod(graph.shapes[0])))), random.normal(size=5))
    assert_same_currents((pool, Flatten("flatten"), linear), shape)


@settings(max_examples=100, deadline=None, database=None)
@given(pools(), SHAPES)
def test_a_pool_alone_is_a_depthwise_convolution(pool, shape):
    if graph_of((pool,), shape) is not None:
        assert_same_currents((pool,), shape)


@settings(max_examples=150, deadline=None, database=None)
@given(pools(kind=MaxPool2d), SHAPES, st.floats(0.05, 0.9), st.integers(0, 2**32 - 1))
def test_max_pool_is_the_or_of_its_window(pool, shape, share, seed):
    if graph_of((pool,), shape) is None:
        return
    nodes = (pool, Conv2d("conv", np.ones((1, 4, 1, 1))), NEURON)
    folded, findings = lower(Graph(nodes, shape, 1, None))
    assert findings == []
    assert folded.neurons()[0].name == "pool.or"
    x = (np.random.default_rng(seed).random((1, 2, *shape)) < share).astype(np.float64)
    wanted = applied(pool, torch.from_numpy(x[0])).numpy()
    np.testing.assert_array_equal(run_graph(folded, x, precision="float64").spikes["pool.or"][0], wanted)


@settings(max_examples=200, deadline=None, database=None)
@given(convolutions(), SHAPES, st.integers(0, 2**32 - 1), st.booleans())
def test_normalisation_before_a_conv_is_exact_or_rightly_refused(conv, shape, seed, pooled):
    norm = norm_of(4, seed)
    nodes = (norm, AvgPool2d("pool", (2, 1), (1, 2)), conv) if pooled else (norm, conv)
    graph = graph_of(nodes, shape)
    if graph is None:
        return
    findings = [finding for finding in lower(graph)[1] if finding.code != "E131"]
    if any(conv.padding):
        assert [finding.code for finding in findings] == ["E121"]
        x = real_input(shape)
        naive = through((*nodes[1:-1], scaled_inputs(conv, norm)), x)
        assert (naive - through(nodes, x)).abs().max() > 1e-9, "the refusal is gratuitous"
    else:
        assert_same_currents(nodes, shape)


@settings(max_examples=100, deadline=None, database=None)
@given(convolutions(), SHAPES, st.integers(0, 2**32 - 1), st.booleans())
def test_normalisation_after_a_conv_is_exact(conv, shape, seed, pooled):
    pool = (AvgPool2d("pool", (1, 2), (2, 1)),) if pooled else ()
    nodes = (conv, *pool, norm_of(4, seed))
    if graph_of(nodes, shape) is not None:
        assert_same_currents(nodes, shape)


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_normalisation_before_a_linear_layer_is_exact(height, width, seed, flattened_first):
    size = 4 * height * width
    random = np.random.default_rng(seed)
    linear = Linear("linear", random.normal(size=(5, size)), random.normal(size=5))
    norm, flatten = norm_of(size if flattened_first else 4, seed), Flatten("flatten")
    nodes = (flatten, norm, linear) if flattened_first else (norm, flatten, linear)
    assert_same_currents(nodes, (4, height, width))
