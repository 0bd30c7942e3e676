"""Small networks on the chip's grid, their graphs and integers."""

from __future__ import annotations

import numpy as np
import torch

from hw_targets.registry import get_target
from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.training.checkpoint import Description

TARGET = get_target("loihi2")


EVENTS = FrameDiffSettings(size=32, steps=8)


def describe(spec):
    return Description(spec, EVENTS, ("left", "right"), 66666.7)


def assert_is_the_chip(network, clips):
    """Compare every spike with the integer simulator's; return the firing rates."""
    run = TARGET.simulate(network.to_chip(), clips)
    ours = network.layer_spikes(clips)
    assert list(ours) == list(run.spikes)
    for name, spikes in run.spikes.items():
        np.testing.assert_array_equal(ours[name], spikes, err_msg=name)
    return [float(spikes.mean()) for spikes in run.spikes.values()]


def train_a_little(network, clips, rate, steps=3):
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=rate)
    for _ in range(steps):
        votes = network(torch.from_numpy(clips)).mean(dim=0)
        optimiser.zero_grad()
        (votes - torch.eye(votes.shape[1])[np.arange(len(votes)) % votes.shape[1]]).square().mean().backward()
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad /= parameter.grad.norm().clamp_min(1e-9) / parameter.detach().norm().clamp_min(0.1)
        optimiser.step()
        network.project()
