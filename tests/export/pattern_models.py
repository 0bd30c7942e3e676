"""Small layers that several tests of patterns use."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from export.frontends.spikingjelly import capture
from export.passes import lower
from hw_targets.finding import UnsupportedError
from hw_targets.registry import get_target

STEPS, CLIPS = 6, 3


def conv(inputs=2, outputs=4, kernel=3, **more):
    return layer.Conv2d(inputs, outputs, kernel, **more)


def linear(inputs, outputs=6):
    return layer.Linear(inputs, outputs)


def plif(threshold=0.3, **more):
    return neuron.ParametricLIFNode(init_tau=2.5, v_threshold=threshold, **more)


def lif(**more):
    return neuron.LIFNode(tau=2.0, v_threshold=0.3, **more)


def stage(size=3):
    return [conv(kernel=size), plif()]


def batch_norm(channels=4, **more):
    return layer.BatchNorm2d(channels, **more)


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


def refusal_of(model, clips):
    """Every finding that stands between this model and a chip, from whichever part finds it first."""
    try:
        graph, _ = capture(model, clips, dt_us=1000.0, first_frame="float")
    except UnsupportedError as error:
        return list(error.findings)
    folded, findings = lower(graph)
    return findings or get_target("loihi2").check(folded)
