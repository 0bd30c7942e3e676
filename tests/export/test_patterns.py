"""Layer patterns that the compiler accepts, run by SpikingJelly itself and by the folded graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from export.frontends.spikingjelly import capture
from export.passes import lower
from export.reference import run_graph
from hw_targets.graph import LIF, Conv2d, Flatten, Linear
from hw_targets.registry import get_target
from tests.export.pattern_models import batch_norm, clips_of, conv, lif, linear, plif, prepared, refusal_of, stage


class WithFunction(nn.Module):
    """Two stages with a function between them, applied to frames [T*N, C, H, W]."""

    def __init__(self, function, *rest):
        super().__init__()
        self.first, self.function, self.rest = nn.Sequential(*stage()), function, nn.Sequential(*rest)

    def forward(self, x):
        h = self.first(x)
        return self.rest(self.function(h.flatten(0, 1)).unflatten(0, h.shape[:2]))


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
