"""A small SpikingJelly network that tells which way a bar moves, seen by an event camera of 16 x 16 pixels.

Nothing here knows of NeuroEmo. What ``neuroemo export`` needs is ``factory``: it returns the network, untrained.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

CLASSES = ("left", "right", "up", "down")
STEPS, FRAME = 12, (2, 16, 16)
VOTERS = 10
"""Output neurons per class: one neuron that fires or not in 12 steps gives coarse rates, ten give finer ones."""


def spiking() -> neuron.LIFNode:
    """Return leaky neurons with a hard reset (``v_reset=0.0``), the reset of the chip."""
    return neuron.LIFNode(tau=2.0, v_threshold=1.0, v_reset=0.0, detach_reset=True, surrogate_function=surrogate.ATan())


class DirectionNetwork(nn.Module):
    """Two convolutions and a dense layer, all spiking; clips [T, N, 2, 16, 16] to rates [N, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            layer.Conv2d(2, 8, kernel_size=3, padding=1, bias=False),
            layer.BatchNorm2d(8),
            spiking(),
            layer.AvgPool2d(2),
            layer.Conv2d(8, 16, kernel_size=3, padding=1, bias=False),
            layer.BatchNorm2d(16),
            spiking(),
            layer.AvgPool2d(2),
            layer.Flatten(),
            layer.Linear(16 * 4 * 4, len(CLASSES) * VOTERS, bias=False),
            spiking(),
            layer.VotingLayer(VOTERS),
        )
        functional.set_step_mode(self, "m")

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the mean rate of each class over all steps."""
        return self.layers(clips).mean(0)


def factory() -> nn.Module:
    """Return the network with random weights; ``--weights`` fills in the trained ones."""
    return DirectionNetwork()
