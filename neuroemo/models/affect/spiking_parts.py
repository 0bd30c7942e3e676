"""Layers of the spiking regressors: SpikingJelly's own, and parallel linear branches that fold into one convolution.

A residual network adds a skip to a block's output. netx files hold chains, so an addition of spikes cannot be written.
Branches that are all linear can be added *before* the neurons, and their sum is again one convolution (structural
re-parametrisation, Ding et al., RepVGG, CVPR 2021)::

    branches(x) = BN3(W3 * x) + BN1(W1 * x) + BN0(x)  =  W * x + b,    BN(y) = g y + h,  g = gamma / sqrt(var + eps)
    W = g3 W3 + pad(g1 W1) + pad(diag(g0)),    b = h3 + h1 + h0

with the 1x1 kernels in the middle of the 3x3 one. The identity is there where stride and widths allow it. While a
network learns, batch normalisation uses each batch's own statistics and the branches are computed one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from neuroemo.imports import import_quietly

if TYPE_CHECKING:
    from torch import Tensor


class Branches(nn.Module):
    """Parallel linear branches, images [M, C_in, H, W] to [M, C_out, H', W']; ``folded`` is their sum as one layer."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv3 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.norm0 = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None

    def forward(self, images: Tensor) -> Tensor:
        """Return the sum of the branches."""
        total: Tensor = self.norm3(self.conv3(images)) + self.norm1(self.conv1(images))
        return total if self.norm0 is None else total + self.norm0(images)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight [C_out, C_in, 3, 3] and bias [C_out] of the one convolution that the branches are at inference.

        The sums are taken in float64.
        """
        slope3, shift3 = slope_and_shift(self.norm3)
        slope1, shift1 = slope_and_shift(self.norm1)
        weight = slope3[:, None, None, None] * self.conv3.weight.detach().double()
        point = slope1[:, None] * self.conv1.weight.detach().double()[:, :, 0, 0]
        bias = shift3 + shift1
        if self.norm0 is not None:
            slope0, shift0 = slope_and_shift(self.norm0)
            point = point + torch.diag(slope0)
            bias = bias + shift0
        weight[:, :, 1, 1] += point
        return weight, bias


def slope_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return g and h, float64 [C], of the affine map y -> g y + h that batch normalisation is at inference.

    >>> norm = nn.BatchNorm2d(1, eps=0.0)
    >>> _ = norm.running_mean.fill_(3.0), norm.running_var.fill_(4.0)
    >>> [float(value) for value in slope_and_shift(norm)]
    [0.5, -1.5]
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("batch normalisation without running statistics is no fixed map")
    slope = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return slope, norm.bias.detach().double() - norm.running_mean.double() * slope


def as_convolution(branches: Branches) -> nn.Module:
    """Return the branches as one layer of SpikingJelly's, for clips [T, N, C, H, W]."""
    weight, bias = branches.folded()
    outputs, inputs = weight.shape[:2]
    made: nn.Module = layers().Conv2d(inputs, outputs, 3, stride=branches.stride, padding=1, bias=True)
    made.to(branches.conv3.weight.dtype)
    made.load_state_dict({"weight": weight, "bias": bias})
    return made


def as_clip_layer(norm: nn.BatchNorm1d) -> nn.Module:
    """Return batch normalisation of vectors as a layer for [T, N, features]; SpikingJelly's own wants a fourth axis."""
    made: nn.Module = layers().SeqToANNContainer(norm)
    return made


def neurons(tau: float, threshold: float) -> nn.Module:
    """Return a layer of PLIF neurons (Fang et al., ICCV 2021): one learned time constant, in steps, for the layer."""
    surrogate = import_quietly("spikingjelly.activation_based.surrogate")
    made: nn.Module = import_quietly("spikingjelly.activation_based.neuron").ParametricLIFNode(
        init_tau=float(tau), v_threshold=float(threshold), surrogate_function=surrogate.ATan(), detach_reset=True
    )
    return made


def layers() -> Any:
    """Return SpikingJelly's module of layers, imported late: it is slow to import and talks while it is."""
    return import_quietly("spikingjelly.activation_based.layer")


def fire(currents: Tensor, neuron: nn.Module) -> Tensor:
    """Return the spikes [T, N, ...] that neurons at rest give to input currents [T, N, ...].

    On a processor, in float32, all steps are one operation (``neuroemo.training.fast``) with SpikingJelly's own
    roundings and surrogate gradient; elsewhere SpikingJelly computes them.
    """
    if currents.device.type == "cpu" and currents.dtype == torch.float32:
        from neuroemo.training.fast.cells import DenseCells

        spikes: Tensor = DenseCells.apply(currents.flatten(2), neuron.w, neuron)  # type: ignore[no-untyped-call]
        return spikes.view_as(currents)
    neuron.reset()  # type: ignore[operator]
    neuron.step_mode = "m"  # type: ignore[assignment]
    fired: Tensor = neuron(currents)
    neuron.reset()  # type: ignore[operator]
    return fired
