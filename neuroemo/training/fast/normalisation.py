"""Batch normalisation as a scale and a shift per channel, its statistics rounded as torch rounds them.

With the mean m and the biased variance q of all values z of a channel, M of them (steps x clips x height x width, in
all processes):

    x = a z + b,  a = gamma / sqrt(q + eps),  b = beta - m a

and backward, with g = dL/dx:  dL/dz = a (g - sum(g) / M - (z - m) sum(g (z - m)) / (M (q + eps))),
dL/dgamma = sum(g (z - m)) / sqrt(q + eps),  dL/dbeta = sum(g)   (Ioffe and Szegedy, arXiv:1502.03167).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hw_targets.graph import Array

SumOverProcesses = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Scaling:
    """What normalises a layer: ``scale`` a, ``shift`` b, ``mean`` m and ``inverse`` 1 / sqrt(q + eps), float32 [C].

    ``count`` is M, 0 where running statistics are used, through which no gradient flows.
    """

    scale: Array
    shift: Array
    mean: Array
    inverse: Array
    count: float


def batch_scaling(
    norm: Any, sums: Array, count: int, sum_over_processes: SumOverProcesses | None, *, update: bool
) -> Scaling:
    """Return the scaling by the statistics of a batch, from sum(z) and sum(z^2), float64 [2, C], of ``count`` values.

    ``update`` lets the running statistics of ``norm`` move, as torch's BatchNorm2d does.
    """
    total = torch.from_numpy(np.append(sums.reshape(-1), float(count)))
    if sum_over_processes is not None:
        sum_over_processes(total)
    everything = total.numpy()
    values = everything[-1]
    first, second = everything[:-1].reshape(2, -1)
    exact = first / values
    squares = np.maximum(second - first * exact, 0.0).astype(np.float32)
    mean = exact.astype(np.float32)
    inverse = (1.0 / np.sqrt((squares / np.float32(values)).astype(np.float64) + norm.eps)).astype(np.float32)
    if update:
        _move(norm, mean, squares / np.float32(values - 1))
    return _scaling(norm, mean, inverse, float(values))


def running_scaling(norm: Any) -> Scaling:
    """Return the scaling by the running statistics of ``norm``."""
    inverse = 1 / torch.sqrt(norm.running_var + norm.eps)
    return _scaling(norm, norm.running_mean.numpy().copy(), inverse.numpy(), 0.0)


def _scaling(norm: Any, mean: Array, inverse: Array, count: float) -> Scaling:
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    scale = inverse * weight
    shift = (bias - mean.astype(np.float64) * scale.astype(np.float64)).astype(np.float32)
    return Scaling(scale, shift, mean, inverse, count)


def _move(norm: Any, mean: Array, unbiased: Array) -> None:
    """Let the running statistics move by the share ``momentum`` towards a batch."""
    norm.num_batches_tracked += 1
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    for running, new in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running.mul_(1 - share).add_(torch.from_numpy(np.asarray(new, np.float32)), alpha=share)


@dataclass(frozen=True, slots=True)
class NormGradient:
    """Gradients of a normalisation: ``weight`` and ``bias`` of this process's clips, float32 [C].

    ``average`` and ``slope``, float64 [C], take dL/dx to dL/dz = scale (dL/dx - average - slope (z - mean)).
    """

    weight: Array
    bias: Array
    average: Array
    slope: Array


def norm_gradient(scaling: Scaling, sums: Array, sum_over_processes: SumOverProcesses | None) -> NormGradient:
    """Return the gradients from sum(dL/dx) and sum(dL/dx (z - mean)), float64 [2, C], of this process's clips."""
    inverse = scaling.inverse.astype(np.float64)
    weight, bias = (sums[1] * inverse).astype(np.float32), sums[0].astype(np.float32)
    if not scaling.count:
        return NormGradient(weight, bias, np.zeros_like(inverse), np.zeros_like(inverse))
    total = torch.from_numpy(sums.copy())
    if sum_over_processes is not None:
        sum_over_processes(total)
    average, slope = total.numpy() / scaling.count
    return NormGradient(weight, bias, average, slope * inverse * inverse)
