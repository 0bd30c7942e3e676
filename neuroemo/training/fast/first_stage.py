"""The first stage as one step of automatic differentiation, from its events and with nothing kept but these.

Its convolution is computed when a row is needed, forward and again backward, and the gradient of its weights without
that of its output: with x = a z + b and dL/dz = a (dL/dx - average - slope (z - mean)) (``normalisation.py``),

    dL/dW = sum input dL/dz = a (sum input dL/dx - (average - slope mean) sum input - slope sum input z),

where the sums run over all steps, clips and places. All three are taken in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hw_targets.graph import Array
from neuroemo.training.fast import event_kernels
from neuroemo.training.fast.cells import cell_of, rate_gradient
from neuroemo.training.fast.clips_in_parallel import over_clips
from neuroemo.training.fast.normalisation import batch_scaling, norm_gradient, running_scaling
from neuroemo.training.fast.stage import StageParts

Events = tuple[Array, Array, Array]
"""Where each row's events begin, [N, T, H + 1]; their places 2 x + polarity; their values."""


class FirstStage(torch.autograd.Function):
    """Pooled spikes [T N, C, H', W'] of the first stage, from clips [T, N, 2, H, W]; in memory channels come last."""

    @staticmethod
    def forward(
        ctx: Any,
        clips: torch.Tensor,
        weight: torch.Tensor,
        norm_weight: torch.Tensor,
        norm_bias: torch.Tensor,
        w: torch.Tensor | None,
        parts: StageParts,
    ) -> torch.Tensor:
        """Compute the stage; the parameters are those of ``parts``, given for their gradients."""
        steps, samples, _, height, width = clips.shape
        channels, padding = len(weight), int(parts.convolution.padding[0])
        events, kernels = events_of(clips.contiguous().numpy()), _as_taps(weight.detach().numpy())
        rows, columns = height + 2 * padding - 2, width + 2 * padding - 2
        ctx.inputs, ctx.products = np.zeros((samples, 3, 2, 3)), np.zeros((samples, 3, 2, 3 * channels))
        if parts.norm.training:
            sums = np.zeros((samples, 2, channels))
            products = ctx.products if weight.requires_grad else ctx.products[:0]
            collected = (events, kernels, padding, columns, sums, ctx.inputs, products)
            over_clips(lambda first, last: event_kernels.statistics(*collected, first, last), samples)
            count = steps * samples * rows * columns
            scaling = batch_scaling(parts.norm, sums.sum(axis=0), count, parts.sum_over_processes, update=True)
        else:
            scaling = running_scaling(parts.norm)
        ctx.parts, ctx.cell, ctx.scaling, ctx.padding = parts, cell_of(parts.neuron), scaling, padding
        ctx.events, ctx.kernels, ctx.columns = events, kernels, columns
        pooled = np.empty((steps, samples, rows // 2, columns // 2, channels), np.float32)
        scale, shift = np.tile(scaling.scale, columns), np.tile(scaling.shift, columns)
        arrays = (events, kernels, padding, scale, shift, ctx.cell, parts.average, pooled)
        over_clips(lambda first, last: event_kernels.forward(*arrays, first, last), samples)
        return torch.from_numpy(pooled.reshape(steps * samples, *pooled.shape[2:])).permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of the four parameters; the clips have none."""
        scaling, channels = ctx.scaling, gradient.shape[1]
        starts = ctx.events[0]
        samples, steps = starts.shape[:2]
        given = gradient.permute(0, 2, 3, 1).contiguous().numpy()
        given = given.reshape(steps, samples, *given.shape[1:])
        per_clip, to_rate = np.zeros((samples, 2, channels)), np.zeros(samples)
        products = np.zeros((samples, 3, 2, 3 * channels))
        scale, shift, mean = (np.tile(value, ctx.columns) for value in (scaling.scale, scaling.shift, scaling.mean))
        read = (ctx.events, ctx.kernels, ctx.padding, scale, shift, mean, ctx.cell, ctx.parts.average, given)
        arrays = (*read, per_clip, to_rate, products)
        over_clips(lambda first, last: event_kernels.backward(*arrays, first, last), samples)
        norm = norm_gradient(scaling, per_clip.sum(axis=0), ctx.parts.sum_over_processes)
        of_x, of_z = products.sum(axis=0).reshape(3, 2, 3, -1), ctx.products.sum(axis=0).reshape(3, 2, 3, -1)
        inputs = ctx.inputs.sum(axis=0)[..., None]
        constant = norm.average - norm.slope * scaling.mean.astype(np.float64)
        # Values per place of the kernel, polarity and channel: [row, polarity, mirrored column, C].
        to_taps = scaling.scale * (of_x - constant * inputs - norm.slope * of_z)
        to_weight = torch.from_numpy(np.ascontiguousarray(to_taps[:, :, ::-1].transpose(3, 1, 0, 2), np.float32))
        to_norm = (torch.from_numpy(norm.weight), torch.from_numpy(norm.bias))
        wanted = to_weight if ctx.needs_input_grad[1] else None
        return None, wanted, *to_norm, rate_gradient(ctx.parts.neuron, to_rate), None


def events_of(clips: Array) -> Events:
    """List the values of clips [T, N, 2, H, W] that are not zero, row by row.

    >>> clips = np.zeros((1, 1, 2, 1, 4), np.float32)
    >>> clips[0, 0, :, 0, 2] = 1.0, 0.5
    >>> [part.tolist() for part in events_of(clips)]
    [[[[0, 2]]], [4, 5], [1.0, 0.5]]
    """
    steps, samples, _, height, _ = clips.shape
    counts = np.zeros((samples, steps, height), np.int64)
    over_clips(lambda first, last: event_kernels.count_events(clips, counts, first, last), samples)
    ends = np.cumsum(counts).reshape(counts.shape)
    starts = np.concatenate([ends - counts, ends[..., -1:]], axis=-1)
    places, values = np.empty(int(counts.sum()), np.int32), np.empty(int(counts.sum()), np.float32)
    over_clips(lambda first, last: event_kernels.list_events(clips, starts, places, values, first, last), samples)
    return starts, places, values


def _as_taps(weight: Array) -> Array:
    """Return weights [C, 2, 3, 3] as the kernels of ``event_kernels``, [3, 2, 3 C], columns mirrored."""
    mirrored = weight[:, :, :, ::-1].transpose(2, 1, 3, 0)
    return np.ascontiguousarray(mirrored).reshape(3, 2, -1)
