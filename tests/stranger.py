"""Networks as strangers write them, made by factories: ``tests.stranger:good`` and many that cannot be exported."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

SHAPE, STEPS = "2,8,8", "6"


def lif(**more):
    return neuron.LIFNode(**({"tau": 2.0, "v_threshold": 0.4} | more))


def made(*parts, seed: int = 0):
    torch.manual_seed(seed)
    net = nn.Sequential(*parts)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.05, 0.4)
    functional.set_step_mode(net, "m")
    return net


def good():
    return made(
        layer.Conv2d(2, 4, 3, padding=1), layer.BatchNorm2d(4), lif(), layer.AvgPool2d(2),
        layer.Flatten(), layer.Linear(64, 6, bias=False), lif(), layer.VotingLayer(3),
    )  # fmt: skip


def conv_only():
    return made(layer.Conv2d(2, 4, 3), lif(), layer.Conv2d(4, 3, 3), lif())


def soft_reset():
    return made(layer.Conv2d(2, 4, 3), lif(v_reset=None), layer.Conv2d(4, 3, 3), lif())


def max_pool_of_currents():
    return made(layer.Conv2d(2, 4, 3), layer.MaxPool2d(2), lif())


def odd_pool():
    return made(layer.Conv2d(2, 4, 2), lif(), layer.AvgPool2d(2), layer.Conv2d(4, 3, 3, padding=1), lif())


def no_neuron_at_the_end():
    return made(layer.Conv2d(2, 4, 3), lif(), layer.Conv2d(4, 3, 3))


def two_synapses():
    return made(layer.Conv2d(2, 4, 3), layer.Conv2d(4, 3, 3), lif())


def unknown_layer():
    return made(layer.Conv2d(2, 4, 3), nn.Tanh(), lif())


def low_threshold():
    return made(layer.Conv2d(2, 4, 3), lif(v_threshold=-0.5))


def huge_threshold():
    return made(layer.Conv2d(2, 4, 3), lif(v_threshold=1e9))


def silent():
    return made(layer.Conv2d(2, 4, 3), lif(v_threshold=50.0))


def nan_weight():
    net = conv_only()
    net[0].weight.data[0, 0, 0, 0] = float("nan")
    return net


def dead_layer():
    net = conv_only()
    net[2].weight.data.zero_()
    return net


def wrong_size():
    return made(layer.Conv2d(3, 4, 3), lif())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = made(layer.Conv2d(2, 4, 3, padding=1), lif())
        self.b = made(layer.Conv2d(4, 4, 3, padding=1), lif())

    def forward(self, x):
        h = self.a(x)
        return self.b(h) + h


def residual():
    return Residual()


def many_faults():
    return made(layer.Conv2d(2, 4, 3), nn.Tanh(), lif(v_reset=None), nn.Softmax(dim=-1), layer.Conv2d(4, 3, 3), lif())


def raises():
    raise RuntimeError("the disk is on fire")


def not_a_module():
    return 42


ready_made = conv_only()
