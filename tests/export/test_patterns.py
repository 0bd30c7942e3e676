"""Every layer pattern that the compiler accepts or refuses, run by SpikingJelly itself and by its folded graph.

Everything is computed in float64, where no potential lands within rounding of its threshold by chance: the
folded graph must then give SpikingJelly's own spikes, end to end, without one exception.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from export.frontends.spikingjelly import capture
from export.passes import lower
from export.passes.fold_batchnorm import scaled_inputs
from export.passes.fold_pool import conv_then_pool, pool_then_conv
from export.reference import run_graph
from hw_targets.finding import UnsupportedError
from hw_targets.graph import LIF, AvgPool2d, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool2d
from hw_targets.registry import get_target

STEPS, CLIPS = 6, 3


def plif(threshold=0.3, **more):
    return neuron.ParametricLIFNode(init_tau=2.5, v_threshold=threshold, **more)


def lif(**more):
    return neuron.LIFNode(tau=2.0, v_threshold=0.3, **more)


def conv(inputs=2, outputs=4, kernel=3, **more):
    return layer.Conv2d(inputs, outputs, kernel, **more)


def linear(inputs, outputs=6):
    return layer.Linear(inputs, outputs)


def stage(size=3):
    return [conv(kernel=size), plif()]


class WithFunction(nn.Module):
    """Two stages with a function between them, applied to frames [T*N, C, H, W]."""

    def __init__(self, function, *rest):
        super().__init__()
        self.first, self.function, self.rest = nn.Sequential(*stage()), function, nn.Sequential(*rest)

    def forward(self, x):
        h = self.first(x)
        return self.rest(self.function(h.flatten(0, 1)).unflatten(0, h.shape[:2]))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(conv(), plif()), nn.Sequential(conv(4, 4, padding=1), plif())

    def forward(self, x):
        h = self.a(x)
        return self.b(h) + h


def batch_norm(channels=4, **more):
    return layer.BatchNorm2d(channels, **more)


# name: (layers, frame height and width); the names are the rows of the research table of folding rules
EXACT = {
    "conv, bias, BN": (lambda: [conv(), batch_norm(), plif()], 8),
    "conv, bias, BN without affine": (lambda: [conv(), batch_norm(affine=False), plif()], 8),
    "conv, BN": (lambda: [conv(bias=False), batch_norm(), plif()], 8),
    "conv, BN without affine": (lambda: [conv(bias=False), batch_norm(affine=False), plif()], 8),
    "linear, BN1d": (
        lambda: [layer.Flatten(), layer.SeqToANNContainer(nn.Linear(128, 9), nn.BatchNorm1d(9)), plif()],
        8,
    ),
    "conv, BN, pool, neuron": (lambda: [conv(), batch_norm(), layer.AvgPool2d(2), plif()], 8),
    "conv, pool, BN, neuron": (lambda: [conv(), layer.AvgPool2d(2), batch_norm(), plif()], 8),
    "conv, pool, pool, neuron": (lambda: [conv(), layer.AvgPool2d(2), layer.AvgPool2d(2), plif(0.2)], 12),
    "neuron, pool, conv": (lambda: [*stage(), layer.AvgPool2d(2), conv(4, 3), plif()], 10),
    "neuron, pool, padded conv": (lambda: [*stage(), layer.AvgPool2d(2), conv(4, 3, padding=1), plif()], 10),
    "neuron, pool, padded strided conv": (
        lambda: [*stage(), layer.AvgPool2d(2), conv(4, 3, padding=1, stride=2), plif()],
        10,
    ),
    "odd leftover, conv": (lambda: [*stage(2), layer.AvgPool2d(2), conv(4, 3), plif()], 12),
    "overlapping pool 3 stride 2 on 15x15, conv": (lambda: [*stage(2), layer.AvgPool2d(3, 2), conv(4, 3), plif()], 16),
    "gapped pool 2 stride 3, conv": (lambda: [*stage(), layer.AvgPool2d(2, 3), conv(4, 3), plif()], 13),
    "padded pool, conv": (lambda: [*stage(), layer.AvgPool2d(3, 2, 1), conv(4, 3), plif()], 10),
    "pool, flatten, linear": (lambda: [*stage(), layer.AvgPool2d(2), layer.Flatten(), linear(64), plif()], 10),
    "odd pool, flatten, linear": (lambda: [*stage(), layer.AvgPool2d(2), layer.Flatten(), linear(64), plif()], 11),
    "padded pool, flatten, linear": (
        lambda: [*stage(), layer.AvgPool2d(3, 2, 1), layer.Flatten(), linear(100), plif()],
        11,
    ),
    "global pool, flatten, linear": (lambda: [*stage(), layer.AvgPool2d(8), layer.Flatten(), linear(4), plif()], 10),
    "two pools, padded conv": (
        lambda: [*stage(), layer.AvgPool2d(2), layer.AvgPool2d(2), conv(4, 3, padding=1), plif()],
        10,
    ),
    "two pools, flatten, linear": (
        lambda: [*stage(), layer.AvgPool2d(2), layer.AvgPool2d(2), layer.Flatten(), linear(16), plif()],
        11,
    ),
    "dilated conv after pool": (lambda: [*stage(), layer.AvgPool2d(2), conv(4, 3, 2, dilation=2), plif()], 10),
    "grouped conv after pool": (lambda: [*stage(), layer.AvgPool2d(2), conv(4, 6, groups=2), plif()], 10),
    "depthwise dilated conv after pool": (
        lambda: [*stage(), layer.AvgPool2d(2), conv(4, 4, 2, groups=4, dilation=(2, 1), padding=(2, 0)), plif()],
        10,
    ),
    "oblong everything": (
        lambda: [
            conv(2, 4, (3, 1), stride=(1, 2)),
            plif(),
            layer.AvgPool2d((2, 1)),
            conv(4, 3, (1, 3), padding=(0, 1)),
            plif(),
        ],
        10,
    ),
    "pool on the raw input": (lambda: [layer.AvgPool2d(2), conv(), plif()], 12),
    "max pool": (lambda: [*stage(), layer.MaxPool2d(2), conv(4, 3), plif()], 10),
    "max pool 3 stride 2 padding 1": (lambda: [conv(), plif(1.0), layer.MaxPool2d(3, 2, 1), conv(4, 3), plif()], 11),
    "max pool, odd leftover, padded conv": (
        lambda: [conv(), plif(1.0), layer.MaxPool2d(2), conv(4, 3, padding=1), plif()],
        11,
    ),
    "max pool, flatten, linear": (lambda: [*stage(), layer.MaxPool2d(2), layer.Flatten(), linear(64), plif()], 10),
    "two max pools": (lambda: [conv(), plif(1.5), layer.MaxPool2d(2), layer.MaxPool2d(2), conv(4, 3, 2), plif()], 14),
    "max pool, average pool": (
        lambda: [conv(), plif(1.0), layer.MaxPool2d(2), layer.AvgPool2d(2), conv(4, 3, 2), plif()],
        14,
    ),
    "BN before unpadded conv": (lambda: [*stage(), batch_norm(), conv(4, 3), plif()], 8),
    "BN before pool and unpadded conv": (lambda: [*stage(), batch_norm(), layer.AvgPool2d(2), conv(4, 3), plif()], 10),
    "BN on the raw input": (lambda: [batch_norm(2), conv(), plif()], 8),
    "BN, flatten, linear": (lambda: [*stage(), batch_norm(), layer.Flatten(), linear(144), plif()], 8),
    "BN, BN before conv": (lambda: [*stage(), batch_norm(), batch_norm(), conv(4, 3), plif()], 8),
    "BN, max pool, neuron apart": (
        lambda: [conv(), batch_norm(), plif(0.8), layer.MaxPool2d(2), batch_norm(), conv(4, 3), plif()],
        10,
    ),
    "pool alone before a neuron": (
        lambda: [*stage(), layer.AvgPool2d(2), plif(0.2), layer.Flatten(), linear(64), plif()],
        10,
    ),
    "padded pool alone before a neuron": (lambda: [*stage(), layer.AvgPool2d(3, 2, 1), plif(0.2)], 10),
    "pool, BN, neuron": (lambda: [*stage(), layer.AvgPool2d(2), batch_norm(), plif(0.2)], 10),
    "decay_input": (lambda: [conv(), lif(decay_input=True)], 8),
    "no decay_input": (lambda: [conv(), lif(decay_input=False)], 8),
    "parametric, no decay_input": (lambda: [conv(), plif(decay_input=False)], 8),
    "integrate and fire": (lambda: [conv(), neuron.IFNode(v_threshold=0.7)], 8),
    "reset above zero": (lambda: [conv(), lif(v_reset=0.1), layer.AvgPool2d(2), conv(4, 3), plif(v_reset=0.2)], 10),
    "reset below zero": (lambda: [conv(), lif(v_reset=-0.3)], 8),
    "reset, no decay_input": (lambda: [conv(), lif(v_reset=0.1, decay_input=False)], 8),
    "dropout anywhere": (
        lambda: [
            conv(),
            layer.Dropout2d(0.5),
            plif(),
            layer.Dropout(0.5),
            layer.AvgPool2d(2),
            layer.Flatten(),
            layer.Dropout(0.2),
            linear(36),
            plif(),
        ],
        8,
    ),
    "flatten at the end": (lambda: [*stage(), layer.Flatten()], 8),
    "voting": (lambda: [*stage(), layer.Flatten(), linear(144, 10), plif(), layer.VotingLayer(5)], 8),
}

SPIKES_ONLY = {
    "max pool on the binary input": (lambda: [layer.MaxPool2d(2), conv(), plif()], 12),
    "max pools on the binary input, then averages": (
        lambda: [layer.MaxPool2d(2), layer.MaxPool2d((1, 2)), layer.AvgPool2d(2), conv(kernel=2), plif()],
        16,
    ),
}

# What people write as a function between layers.
FUNCTIONAL = {
    "F.avg_pool2d": (lambda: WithFunction(lambda h: F.avg_pool2d(h, 2), conv(4, 3), plif()), 10, set()),
    "F.max_pool2d": (lambda: WithFunction(lambda h: F.max_pool2d(h, 2), conv(4, 3), plif()), 10, set()),
    "F.adaptive_avg_pool2d": (
        lambda: WithFunction(lambda h: F.adaptive_avg_pool2d(h, 1).flatten(1), linear(4), plif()),
        10,
        set(),
    ),
    "AdaptiveAvgPool2d(1)": (
        lambda: nn.Sequential(*stage(), layer.AdaptiveAvgPool2d(1), layer.Flatten(), linear(4), plif()),
        10,
        set(),
    ),
    "F.max_pool2d with all arguments": (
        lambda: WithFunction(lambda h: F.max_pool2d(h, kernel_size=3, stride=2, padding=1), conv(4, 3), plif()),
        10,
        set(),
    ),
    "AdaptiveAvgPool2d to two sizes": (
        lambda: nn.Sequential(*stage(), layer.AdaptiveAvgPool2d((2, 4)), layer.Flatten(), linear(32), plif()),
        10,
        set(),
    ),
    "AvgPool2d that would not count padding, unpadded": (
        lambda: nn.Sequential(*stage(), layer.AvgPool2d(2, count_include_pad=False), conv(4, 3), plif()),
        10,
        set(),
    ),
    "adaptive pool of uneven windows": (
        lambda: nn.Sequential(*stage(), layer.AdaptiveAvgPool2d(3), layer.Flatten(), linear(36), plif()),
        10,
        {"E117"},
    ),
    "flatten": (lambda: WithFunction(lambda h: h.flatten(1), linear(144), plif()), 8, set()),
    "torch.flatten, pool before": (
        lambda: WithFunction(lambda h: torch.flatten(h, 1), layer.SeqToANNContainer(nn.Linear(144, 6)), plif()),
        8,
        set(),
    ),
}


def prepared(model):
    """Random weights and statistics, float64, multi-step: nothing at its default, nothing silent."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, 0.2 / fan_in**0.5, 2.0 / fan_in**0.5, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.1, 0.3, generator=generator)
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.3, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            if module.affine:
                nn.init.uniform_(module.weight, 0.6, 1.6, generator=generator)
                nn.init.uniform_(module.bias, -0.1, 0.4, generator=generator)
    functional.set_step_mode(model, "m")
    return model.double().eval()


def clips_of(size, first_frame):
    generator = torch.Generator().manual_seed(4)
    clips = (torch.rand(STEPS, CLIPS, 2, size, size, generator=generator) < 0.3).double()
    if first_frame == "float":
        clips[0] = torch.rand(CLIPS, 2, size, size, generator=generator).double()
    return clips


def spikes_of(model, clips):
    """What SpikingJelly itself computes: the output of every neuron layer and of every max pool."""
    seen: dict[str, list[torch.Tensor]] = {}
    kinds = ("LIFNode", "ParametricLIFNode", "IFNode", "MaxPool2d")
    handles = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.setdefault(name, []).append(out))
        for name, module in model.named_modules()
        if type(module).__name__ in kinds
    ]
    functional.reset_net(model)
    with torch.no_grad():
        model(clips)
    functional.reset_net(model)
    for handle in handles:
        handle.remove()
    return {name: outputs[0].numpy() for name, outputs in seen.items()}


def assert_exact(model, clips, first_frame):
    wanted = spikes_of(model, clips)
    graph, _ = capture(model, clips, dt_us=1000.0, first_frame=first_frame)
    folded, findings = lower(graph)
    assert findings == []
    assert {type(node) for node in folded.nodes} <= {Conv2d, Linear, Flatten, LIF}
    assert get_target("loihi2").check(folded) == []
    ours = run_graph(folded, clips.numpy(), precision="float64").spikes
    assert {name.removesuffix(".or") for name in ours} >= set(wanted)
    for name, spikes in ours.items():
        golden = wanted.get(name, wanted.get(name.removesuffix(".or")))
        if golden is None:  # a max pool written as a function: what comes after it is compared
            continue
        assert 0.02 < golden.mean() < 0.98, f"{name} is silent or saturated: nothing is shown"
        np.testing.assert_array_equal(spikes, golden)


@pytest.mark.parametrize("first_frame", ["spikes", "float"])
@pytest.mark.parametrize("pattern", EXACT)
def test_accepted_pattern_gives_the_spikes_of_spikingjelly(pattern, first_frame):
    layers, size = EXACT[pattern]
    assert_exact(prepared(nn.Sequential(*layers())), clips_of(size, first_frame), first_frame)


@pytest.mark.parametrize("pattern", SPIKES_ONLY)
def test_accepted_pattern_on_spikes_alone(pattern):
    layers, size = SPIKES_ONLY[pattern]
    assert_exact(prepared(nn.Sequential(*layers())), clips_of(size, "spikes"), "spikes")


@pytest.mark.parametrize("pattern", FUNCTIONAL)
def test_functions_between_layers_are_exact_or_refused_by_name(pattern):
    build, size, codes = FUNCTIONAL[pattern]
    model, clips = prepared(build()), clips_of(size, "float")
    findings = refusal_of(model, clips) or []
    assert {finding.code for finding in findings} == codes
    assert all(finding.fix for finding in findings)
    if not codes:
        assert_exact(model, clips, "float")


# name: (layers, frame height and width, {code: part of what was found})
REFUSED = {
    "odd leftover, padded conv": (
        lambda: [*stage(), layer.AvgPool2d(2), conv(4, 3, padding=1), plif()],
        11,
        {"E131": "padded convolution 3 after a pool that does not tile its 9x9 input"},
    ),
    "overlapping pool, padded conv": (
        lambda: [*stage(2), layer.AvgPool2d(3, 2), conv(4, 3, padding=1), plif()],
        16,
        {"E131": "kernel 3x3, stride 2x2, padding 0x0"},
    ),
    "padded pool, padded conv": (
        lambda: [*stage(), layer.AvgPool2d(3, 2, 1), conv(4, 3, padding=1), plif()],
        10,
        {"E131": "does not tile its 8x8 input"},
    ),
    "padded pool between conv and neuron": (
        lambda: [conv(), layer.AvgPool2d(3, 2, 1), plif()],
        8,
        {"E132": "padded average pool"},
    ),
    "conv, max pool, neuron": (lambda: [conv(), layer.MaxPool2d(2), plif()], 8, {"E130": "not of spikes"}),
    "conv, BN, max pool, neuron": (
        lambda: [conv(), batch_norm(), layer.MaxPool2d(2), plif()],
        8,
        {"E130": "not of spikes"},
    ),
    "max pool of averages": (
        lambda: [*stage(), layer.AvgPool2d(2), layer.MaxPool2d(2), conv(4, 3, 1), plif()],
        10,
        {"E133": "average pool", "E130": "averages"},
    ),
    "max pool of gray values": (lambda: [layer.MaxPool2d(2), conv(), plif()], 8, {"E130": "gray values"}),
    "max pool at the end": (lambda: [*stage(), layer.MaxPool2d(2)], 8, {"E134": "after the last neuron"}),
    "average pool at the end": (lambda: [*stage(), layer.AvgPool2d(2)], 8, {"E133": "without a synapse layer"}),
    "BN before padded conv": (
        lambda: [*stage(), batch_norm(), conv(4, 3, padding=1), plif()],
        8,
        {"E121": "before 3, which pads with zeros"},
    ),
    "BN on the raw input, padded conv": (
        lambda: [batch_norm(2), conv(padding=1), plif()],
        8,
        {"E121": "before 1, which pads with zeros"},
    ),
    "BN at the end": (lambda: [*stage(), batch_norm()], 8, {"E120": "feeds none"}),
    "flatten before the neuron": (
        lambda: [conv(), layer.Flatten(), plif(), linear(144), plif()],
        8,
        {"E115": "flattening between 0 and its neuron"},
    ),
    "ends without neuron": (lambda: [*stage(), layer.Flatten(), linear(144)], 8, {"E113": "without a neuron"}),
    "two convolutions in a row": (lambda: [conv(), conv(4, 3), plif()], 8, {"E110": "two synapse layers in a row: 0"}),
    "two linear layers in a row": (
        lambda: [*stage(), layer.Flatten(), linear(144), linear(6), plif()],
        8,
        {"E110": "two synapse layers in a row: 3"},
    ),
    "conv, pool, conv": (
        lambda: [conv(), layer.AvgPool2d(2), conv(4, 3), plif()],
        10,
        {"E110": "two synapse layers in a row: 0"},
    ),
    "neuron without synapses": (lambda: [*stage(), lif()], 8, {"E111": "without synapses"}),
    "neuron on the raw input": (lambda: [lif(), conv(), plif()], 8, {"E111": "without synapses"}),
    "nothing but dropout": (lambda: [layer.Dropout(0.5)], 8, {"E116": "no layer of spiking neurons"}),
    "residual": (lambda: [Residual()], 8, {"E102": "joins 2 branches"}),
    "group normalisation": (
        lambda: [conv(), layer.SeqToANNContainer(nn.GroupNorm(2, 4)), plif()],
        8,
        {"E100": "GroupNorm"},
    ),
    "activation": (lambda: [conv(), nn.ReLU(), plif()], 8, {"E100": "ReLU"}),
    "transposed convolution": (
        lambda: [*stage(), layer.SeqToANNContainer(nn.ConvTranspose2d(4, 3, 3)), plif()],
        8,
        {"E100": "ConvTranspose2d"},
    ),
    "circular padding": (lambda: [conv(padding=1, padding_mode="circular"), plif()], 8, {"E104": "circular"}),
    "padding by name": (lambda: [conv(padding="same"), plif()], 8, {"E104": "same"}),
    "BN without statistics": (
        lambda: [conv(), batch_norm(track_running_stats=False), plif()],
        8,
        {"E105": "running statistics"},
    ),
    "ceil mode": (
        lambda: [*stage(), layer.AvgPool2d(2, ceil_mode=True), conv(4, 3), plif()],
        11,
        {"E106": "ceil_mode"},
    ),
    "uncounted padding": (
        lambda: [*stage(), layer.AvgPool2d(3, 2, 1, count_include_pad=False), conv(4, 3), plif()],
        10,
        {"E106": "uncounted padding"},
    ),
}


def refusal_of(model, clips):
    """Every finding that stands between this model and a chip, from whichever part finds it first."""
    try:
        graph, _ = capture(model, clips, dt_us=1000.0, first_frame="float")
    except UnsupportedError as error:
        return list(error.findings)
    folded, findings = lower(graph)
    return findings or get_target("loihi2").check(folded)


@pytest.mark.parametrize("pattern", REFUSED)
def test_refused_pattern_says_what_where_and_the_way_out(pattern):
    layers, size, wanted = REFUSED[pattern]
    findings = refusal_of(prepared(nn.Sequential(*layers())), clips_of(size, "float"))
    assert {finding.code for finding in findings} == set(wanted)
    for finding in findings:
        assert wanted[finding.code] in finding.found
        assert finding.node
        assert finding.fix
        assert finding.severity == "error"


def test_soft_reset_is_refused_by_front_end_or_target():
    findings = refusal_of(prepared(nn.Sequential(conv(), lif(v_reset=None))), clips_of(8, "float"))
    assert [finding.code for finding in findings] in (["E108"], ["E201"])
    assert "reset" in findings[0].found
    assert findings[0].fix


# --- geometry: random pools and convolutions against torch in float64 -----------------------------------------

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


def norm_of(channels, seed):
    random = np.random.default_rng(seed)
    columns = (random.uniform(low, high, channels) for low, high in ((-1, 1), (0.1, 2), (-2, 2), (-1, 1)))
    return BatchNorm("norm", *columns, 1e-5)


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
