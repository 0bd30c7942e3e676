"""SpikingJelly's neurons as the constants of the fused loops, and a layer of them behind a linear layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from hw_targets.graph import Array
from neuroemo.training.fast import dense_kernels
from neuroemo.training.fast.clips_in_parallel import over_clips
from neuroemo.training.fast.rows import Cell


def cell_of(neuron: Any) -> Cell:
    """Return the constants of a LIFNode or ParametricLIFNode; 1 / tau of the latter is sigmoid(w)."""
    fixed = not hasattr(neuron, "w")
    rate = 1.0 / neuron.tau if fixed else float(neuron.w.detach().sigmoid())
    tau = neuron.tau if fixed else 1.0 / rate
    alpha = neuron.surrogate_function.alpha
    numbers = (neuron.v_threshold, rate, tau, math.pi / 2 * alpha, alpha / 2)
    threshold, rate, tau, steep, half = (np.float32(number) for number in numbers)
    return Cell(threshold, rate, tau, fixed, steep, half)


def rate_gradient(neuron: Any, to_rate: Array) -> torch.Tensor | None:
    """Return dL/dw of a ParametricLIFNode from the sums of dL/d(1/tau) of every clip; None for fixed tau.

    1/tau = sigmoid(w), so dL/dw = dL/d(1/tau) sigmoid(w) (1 - sigmoid(w)).
    """
    if not hasattr(neuron, "w"):
        return None
    rate = neuron.w.detach().double().sigmoid()
    return (float(to_rate.sum()) * rate * (1 - rate)).float()


class DenseCells(torch.autograd.Function):
    """Spikes float32 [T, N, F] of the neurons behind a linear layer, from its output z [T, N, F]."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, w: torch.Tensor | None, neuron: Any) -> torch.Tensor:
        """Integrate and fire; ``w`` is the neuron's own parameter, given for its gradient."""
        z = z.contiguous()
        spikes = torch.empty_like(z)
        ctx.cell, ctx.neuron = cell_of(neuron), neuron
        inputs, out = z.detach().numpy(), spikes.numpy()
        over_clips(lambda first, last: dense_kernels.forward(inputs, ctx.cell, out, first, last), z.shape[1])
        ctx.save_for_backward(z)
        return spikes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Go back through time; potentials are computed once more."""
        (z,) = ctx.saved_tensors
        to_z, to_rate = torch.empty_like(z), np.zeros(z.shape[1])
        arrays = (z.detach().numpy(), ctx.cell, gradient.contiguous().numpy(), to_z.numpy(), to_rate)
        over_clips(lambda first, last: dense_kernels.backward(*arrays, first, last), z.shape[1])
        return to_z, rate_gradient(ctx.neuron, to_rate), None
