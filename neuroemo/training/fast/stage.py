"""A whole stage as one step of automatic differentiation: convolution, batch normalisation, neurons, pool.

Kept for the backward pass are the input and the convolution's output, nothing else: SpikingJelly keeps about ten
arrays of the latter's size. Forward, the convolution is the one that SpikingJelly computes (contiguous images), so
that its sums have the same bits; backward it runs on channels beside each other, where it is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import conv2d

from hw_targets.graph import Array
from neuroemo.training.fast import stage_kernels
from neuroemo.training.fast.cells import cell_of, rate_gradient
from neuroemo.training.fast.clips_in_parallel import over_clips
from neuroemo.training.fast.normalisation import (
    Scaling,
    SumOverProcesses,
    batch_scaling,
    norm_gradient,
    running_scaling,
)
from neuroemo.training.fast.rows import Cell


@dataclass(frozen=True, slots=True)
class StageParts:
    """The modules of one stage; ``average`` pools by the mean of 2x2, otherwise by the maximum."""

    convolution: Any
    norm: Any
    neuron: Any
    average: bool
    sum_over_processes: SumOverProcesses | None

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Weights of the convolution, scale and shift of the normalisation, and w of the neurons or None."""
        w = getattr(self.neuron, "w", None)
        return self.convolution.weight, self.norm.weight, self.norm.bias, w


class Stage(torch.autograd.Function):
    """Pooled spikes [T N, C, H', W'] of a stage, from its input [T N, channels, H, W]; in memory channels come last."""

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor,
        norm_weight: torch.Tensor,
        norm_bias: torch.Tensor,
        w: torch.Tensor | None,
        parts: StageParts,
        steps: int,
    ) -> torch.Tensor:
        """Compute the stage; the parameters are those of ``parts``, given for their gradients."""
        padding = parts.convolution.padding
        z = conv2d(images.contiguous(), weight, padding=padding).contiguous(memory_format=torch.channels_last)
        ctx.parts, ctx.cell, ctx.steps, ctx.padding = parts, cell_of(parts.neuron), steps, padding
        rows = rows_of(z, steps)
        ctx.scaling = _scaling(parts, rows, z.shape[1])
        ctx.save_for_backward(images, weight, z)
        return pooled_spikes(rows, z.shape[1], ctx.scaling, ctx.cell, parts.average)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the input and of the four parameters."""
        images, weight, z = ctx.saved_tensors
        parts, scaling, cell = ctx.parts, ctx.scaling, ctx.cell
        channels, clips = z.shape[1], z.shape[0] // ctx.steps
        rows, to_z = rows_of(z, ctx.steps), torch.empty_like(z)
        to_rows = rows_of(to_z, ctx.steps)
        given = rows_of(gradient.contiguous(memory_format=torch.channels_last), ctx.steps)
        given = given.reshape(*given.shape[:3], gradient.shape[3], channels)
        per_clip, to_rate = np.zeros((clips, 2, channels)), np.zeros(clips)
        scale, shift, mean = _along(rows, scaling.scale, scaling.shift, scaling.mean)
        arrays = (rows, scale, shift, mean, cell, parts.average, given, to_rows, per_clip, to_rate)
        over_clips(lambda first, last: stage_kernels.backward(*arrays, first, last), clips)
        norm = norm_gradient(scaling, per_clip.sum(axis=0), parts.sum_over_processes)
        average, slope = _along(rows, norm.average, norm.slope)
        further = (to_rows, rows, scale, mean, average, slope)
        over_clips(lambda first, last: stage_kernels.through_normalisation(*further, first, last), clips)
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        to_images, to_weight, _ = torch.ops.aten.convolution_backward(  # type: ignore[attr-defined]
            to_z, _channels_last(images), _channels_last(weight), None, [1, 1], ctx.padding, [1, 1], False, [0, 0], 1,
            wanted,
        )  # fmt: skip
        to_norm = (torch.from_numpy(norm.weight), torch.from_numpy(norm.bias))
        return to_images, to_weight, *to_norm, rate_gradient(parts.neuron, to_rate), None, None


def rows_of(images: torch.Tensor, steps: int) -> Array:
    """Return images [T N, C, H, W], channels last in memory, as an array [T, N, H, W C] of the same memory."""
    both, channels, height, width = images.shape
    flat = images.detach().permute(0, 2, 3, 1).numpy()
    return flat.reshape(steps, both // steps, height, width * channels)


def pooled_spikes(rows: Array, channels: int, scaling: Scaling, cell: Cell, average: bool) -> torch.Tensor:
    """Return the pooled spikes [T N, C, H // 2, W // 2] of convolution outputs [T, N, H, W C]."""
    steps, clips, height, width = rows.shape
    pooled = np.empty((steps, clips, height // 2, width // channels // 2, channels), np.float32)
    scale, shift = _along(rows, scaling.scale, scaling.shift)
    arrays = (rows, scale, shift, cell, average, pooled)
    over_clips(lambda first, last: stage_kernels.forward(*arrays, first, last), clips)
    return torch.from_numpy(pooled.reshape(steps * clips, *pooled.shape[2:])).permute(0, 3, 1, 2)


def _scaling(parts: StageParts, rows: Array, channels: int) -> Scaling:
    if not parts.norm.training:
        return running_scaling(parts.norm)
    clips = rows.shape[1]
    sums = np.zeros((clips, 2, channels))
    over_clips(lambda first, last: stage_kernels.statistics(rows, sums, first, last), clips)
    count = rows.size // channels
    return batch_scaling(parts.norm, sums.sum(axis=0), count, parts.sum_over_processes, update=True)


def _along(rows: Array, *values: Array) -> tuple[Array, ...]:
    """Return values per channel, [C], repeated for every pixel of a row, float32 [W C]."""
    return tuple(np.tile(value, rows.shape[-1] // len(value)).astype(np.float32) for value in values)


def _channels_last(images: torch.Tensor) -> torch.Tensor:
    return images.detach().contiguous(memory_format=torch.channels_last)
