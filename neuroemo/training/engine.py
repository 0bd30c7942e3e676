"""How a network computes its votes in training: SpikingJelly's own modules, or the fused ones; on many processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from neuroemo.models.emotion import EmotionSpec
from neuroemo.training.evaluation import forward
from neuroemo.training.settings import Engine, Precision, TrainSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuroemo.training.distributed import World

Votes = Callable[["torch.Tensor"], "torch.Tensor"]
"""From clips [T, N, 2, H, W] to votes [T, N, classes], in training mode, from reset state."""


def default_engine(spec: EmotionSpec, precision: Precision = "float32", operations_penalty: float = 0.0) -> Engine:
    """Return the engine of a run that names none: the fused one where it can, else SpikingJelly."""
    plain = spec.stride == 1 and spec.pool != "none" and spec.pool_place == "after neuron"
    able = plain and spec.neuron != "relu" and precision == "float32" and not operations_penalty
    return "fused" if able else "spikingjelly"


def training_votes(network: nn.Module, spec: EmotionSpec, settings: TrainSettings, world: World) -> Votes:
    """Return how ``network`` votes in training; batch normalisation sees the clips of all processes.

    Raises:
        UnsupportedError: the fused engine, or the normalisation over processes, does not know a layer.
    """
    if settings.engine == "fused":
        from neuroemo.training.fast import fast_network

        together = world.sum_ if world.size > 1 else None
        fused = fast_network(network, spec, sum_over_processes=together)

        def fused_votes(clips: torch.Tensor) -> torch.Tensor:
            fused.train()
            return fused(clips)

        return fused_votes
    if world.size > 1:
        from neuroemo.training.synchronised_norm import synchronise_batch_norm

        synchronise_batch_norm(network, world.sum_)
    precision = _autocast(settings)

    def votes(clips: torch.Tensor) -> torch.Tensor:
        network.train()
        with precision():
            return forward(network, spec, clips).float()

    return votes


def _autocast(settings: TrainSettings) -> Callable[[], AbstractContextManager[None]]:
    """Return the context in which convolutions and products are computed: torch's autocast, or none."""
    if settings.precision == "float32":
        return nullcontext
    import torch

    return lambda: torch.autocast("cpu", dtype=torch.bfloat16)
