"""One step of the optimiser: which one, at which learning rate, and what is done to the gradient before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuroemo.training.settings import TrainSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

SECOND_DECAY = 0.999
"""Decay rate of AdamW's mean of squared gradients, torch's default; the first one is the setting ``momentum``."""


def make_optimiser(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return SGD with momentum, or AdamW (Loshchilov and Hutter, arXiv:1711.05101), over a network's parameters.

    Weight decay acts on weight matrices and kernels alone, not on biases, normalisation and time constants.
    """
    import torch

    groups: Any = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if settings.weight_decay:
        kernels = [parameter for parameter in groups if parameter.ndim > 1]
        others = [parameter for parameter in groups if parameter.ndim <= 1]
        groups = [
            {"params": kernels, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
    if settings.optimiser == "adamw":
        rates = (settings.momentum, SECOND_DECAY)
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=rates, weight_decay=0.0)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)


def make_schedule(optimiser: torch.optim.Optimizer, settings: TrainSettings) -> Any:
    """Return what sets the learning rate after each epoch e of E: r (1 + cos(pi e / E)) / 2, or always r."""
    from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR

    if settings.schedule == "constant":
        return ConstantLR(optimiser, factor=1.0, total_iters=1)
    return CosineAnnealingLR(optimiser, settings.epochs)


def scale_by_layer(network: nn.Module) -> None:
    """Scale the gradient g of every weight matrix or kernel w to g ||w|| / ||g|| (You et al., arXiv:1708.03888).

    A step of learning rate r then changes each layer by the share r of its length, however weak the gradient
    that reached it. Biases, normalisation parameters and time constants keep their gradients.
    """
    for weight in network.parameters():
        if weight.ndim > 1 and weight.grad is not None:
            weight.grad.mul_(weight.detach().norm() / weight.grad.norm().clamp_min(1e-12))


def gradient_norm(network: nn.Module) -> float:
    """Return the Euclidean norm of all gradients together; NaN or infinite if one of them is."""
    import torch

    norms = [parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]
    return float(torch.stack(norms).double().norm())


def limit_gradient(network: nn.Module, norm: float) -> None:
    """Scale all gradients by one factor so that their norm together is at most ``norm`` (Pascanu et al. 2013)."""
    found = gradient_norm(network)
    if found > norm:
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(norm / found)
