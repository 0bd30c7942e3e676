"""Batch normalisation over the clips of all processes, on a processor as on a GPU (torch's own needs a GPU).

With x the inputs of one channel, M their number in ALL processes (steps x clips x height x width):

    m = sum(x) / M,  v = sum((x - m)^2) / M,  y = gamma (x - m) / sqrt(v + eps) + beta

and backward, with g = dL/dy:  dL/dx = gamma / sqrt(v + eps) (g - sum(g) / M - (x - m) sum(g (x - m)) / (M (v + eps))).

Each of the sums is taken in float64 and exchanged once (Ioffe and Szegedy, arXiv:1502.03167): the mean first, then
the centred squares, so that a channel far from zero loses no digits. Running statistics move as in one process that
has the whole batch, with the unbiased variance v M / (M - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.functional import batch_norm

from hw_targets.finding import Finding, UnsupportedError

SumOverProcesses = Callable[[torch.Tensor], torch.Tensor]
CHUNK = 2**20
"""How many inputs are widened to float64 at a time."""


def synchronise_batch_norm(network: nn.Module, sum_over_processes: SumOverProcesses) -> None:
    """Let every BatchNorm2d of ``network`` (torch's or SpikingJelly's) normalise over the clips of all processes.

    Parameters, buffers and their names stay the same objects; only the modules that hold them are others.

    Raises:
        UnsupportedError: for each layer that normalises over the batch in a way that is not known here.
    """
    from torch.nn.modules.batchnorm import _NormBase

    found = [(name, module) for name, module in network.named_modules() if isinstance(module, _NormBase)]
    findings = [_refusal(name, module) for name, module in found if not _known(module)]
    if findings:
        raise UnsupportedError(findings)
    for name, module in found:
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, SynchronisedBatchNorm(module, sum_over_processes))


def _known(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.track_running_stats


def _refusal(name: str, module: nn.Module) -> Finding:
    return Finding(
        "E914",
        "error",
        name or "the network",
        f"{type(module).__name__} cannot be normalised over several processes",
        "BatchNorm2d with running statistics",
        fix="train in one process",
    )


class SynchronisedBatchNorm(nn.Module):
    """A BatchNorm2d whose batch is that of all processes: [..., C, H, W] with one or two leading axes."""

    def __init__(self, original: nn.Module, sum_over_processes: SumOverProcesses) -> None:
        super().__init__()
        self.eps: float = original.eps  # type: ignore[assignment]
        self.momentum: float | None = original.momentum  # type: ignore[assignment]
        self.weight, self.bias = original.weight, original.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(original, name))
        self.sum_over_processes = sum_over_processes
        self.train(original.training)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalise; in training mode with the statistics of all processes, which then move the running ones."""
        images = inputs.flatten(0, -4)
        if not self.training:
            result = batch_norm(images, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return result.view_as(inputs)
        count, mean, variance = global_statistics(images.detach(), self.sum_over_processes)
        self._move(count, mean, variance)
        result = _Normalise.apply(
            images, self.weight, self.bias, count, mean, variance, self.eps, self.sum_over_processes
        )
        return result.view_as(inputs)

    @torch.no_grad()
    def _move(self, count: float, mean: torch.Tensor, variance: torch.Tensor) -> None:
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.copy_((1 - share) * running.double() + share * new)


class _Normalise(torch.autograd.Function):
    """Normalisation with given statistics, and the gradient through the statistics of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        count: float,
        mean: torch.Tensor,
        variance: torch.Tensor,
        eps: float,
        sum_over_processes: SumOverProcesses,
    ) -> torch.Tensor:
        ctx.save_for_backward(images, weight, mean, (variance + eps).rsqrt())
        ctx.count, ctx.sum_over_processes = count, sum_over_processes
        return batch_norm(images, mean.float(), variance.float(), weight, bias, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, weight, mean, inverse = ctx.saved_tensors
        own = torch.zeros(2, len(mean), dtype=torch.float64, device=images.device)
        for part, part_gradient in zip(_chunks(images), _chunks(gradient), strict=True):
            wide = part_gradient.double()
            own[0] += wide.sum(dim=(0, 2, 3))
            own[1] += (wide * (part.double() - _channels(mean))).sum(dim=(0, 2, 3))
        both = ctx.sum_over_processes(own.clone()) / ctx.count
        scale = inverse if weight is None else inverse * weight.double()
        result = images.float() - _channels(mean.float())
        result.mul_(_channels((-both[1] * inverse.square()).float())).add_(gradient)
        result.sub_(_channels(both[0].float())).mul_(_channels(scale.float()))
        to_weight = None if weight is None else (own[1] * inverse).to(weight.dtype)
        to_bias = None if weight is None else own[0].to(weight.dtype)
        return result.to(images.dtype), to_weight, to_bias, None, None, None, None, None


def global_statistics(
    images: torch.Tensor, sum_over_processes: SumOverProcesses
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Return the inputs per channel of [M, C, H, W] in all processes, their mean and biased variance [C], in float64.

    >>> count, mean, variance = global_statistics(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), lambda sums: sums)
    >>> count, mean.item(), variance.item()
    (2.0, 2.0, 1.0)
    """
    channels = images.shape[1]
    sums = torch.zeros(channels + 1, dtype=torch.float64, device=images.device)
    sums[-1] = images.numel() // max(channels, 1)
    for part in _chunks(images):
        sums[:-1] += part.double().sum(dim=(0, 2, 3))
    sum_over_processes(sums)
    count, mean = float(sums[-1]), sums[:-1] / sums[-1]
    squares = torch.zeros(channels, dtype=torch.float64, device=images.device)
    for part in _chunks(images):
        squares += (part.double() - _channels(mean)).square_().sum(dim=(0, 2, 3))
    return count, mean, sum_over_processes(squares) / count


def _chunks(images: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield [m, C, H, W] pieces of about ``CHUNK`` numbers; none for an empty share."""
    if images.numel():
        yield from images.split(max(1, CHUNK // images[0].numel()))


def _channels(values: torch.Tensor) -> torch.Tensor:
    """Return values [C] shaped to go with [M, C, H, W]."""
    return values.view(1, -1, 1, 1)
