"""Layer patterns that the compiler refuses: what is said, where, and the way out."""

from __future__ import annotations

import pytest
from spikingjelly.activation_based import layer
from torch import nn

from tests.export.pattern_models import batch_norm, clips_of, conv, lif, linear, plif, prepared, refusal_of, stage


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(conv(), plif()), nn.Sequential(conv(4, 4, padding=1), plif())

    def forward(self, x):
        h = self.a(x)
        return self.b(h) + h


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
