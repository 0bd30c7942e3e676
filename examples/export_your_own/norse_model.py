"""The same task for a Norse network; Norse neurons carry the length of a step (``dt``), so the command needs none."""

from __future__ import annotations

import norse.torch as norse
import torch
from torch import nn

CLASSES = ("left", "right", "up", "down")


def spiking() -> nn.Module:
    """Return leaky neurons without synaptic memory: half of the potential is left after a step of 1 ms."""
    return norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=500.0, v_th=0.5, alpha=torch.tensor(5.0)), dt=0.001)


def factory() -> nn.Module:
    """Return the network with random weights: frames [N, 2, 16, 16] and a state to spikes [N, 4] and a state."""
    return norse.SequentialState(
        nn.Conv2d(2, 8, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        spiking(),
        nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        spiking(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, len(CLASSES)),
        spiking(),
    )
