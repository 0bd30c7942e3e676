"""A spiking network for training, from SpikingJelly's own: same parameters, same votes, same gradients, less work.

Every stage {convolution, batch normalisation, neurons, pool} and every layer of neurons behind a linear layer is one
step of automatic differentiation; the other modules are the original's own and called as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neuroemo.models.emotion import EmotionSpec
from neuroemo.training.fast.cells import DenseCells
from neuroemo.training.fast.checks import check_clips, check_network
from neuroemo.training.fast.first_stage import FirstStage
from neuroemo.training.fast.normalisation import SumOverProcesses
from neuroemo.training.fast.stage import Stage, StageParts


class FastNetwork(nn.Module):
    """Clips float32 [T, N, 2, H, W] in, votes [T, N, classes] out, from reset state; ``network`` is the original."""

    def __init__(self, network: nn.Module, spec: EmotionSpec, sum_over_processes: SumOverProcesses | None) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.sum_over_processes = sum_over_processes
        self.train(network.training)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the votes [T, N, classes].

        Raises:
            InputError: clips of another shape or type than the network's.
            UnsupportedError: clips that want a gradient, or mixed precision.
        """
        check_clips(clips, self.spec)
        for module in self.network.modules():
            if hasattr(module, "reset"):
                module.reset()
        steps, samples = clips.shape[:2]
        features: Any = list(self.network.features)  # type: ignore[arg-type]
        stages = len(self.spec.channels)
        images = clips.detach().flatten(0, 1)
        for number in range(stages):
            parts = self._parts(features[4 * number : 4 * number + 4])
            if number == 0:
                images = FirstStage.apply(clips.detach(), *parts.parameters, parts)
            else:
                images = Stage.apply(images, *parts.parameters, parts, steps)
        values = images.contiguous().unflatten(0, (steps, samples))
        for module in (*features[4 * stages :], *self.network.voting_neurons):  # type: ignore[misc]
            values = DenseCells.apply(values, getattr(module, "w", None), module) if _spikes(module) else module(values)
        return self.network.emotional_mapping(values)  # type: ignore[no-any-return, operator]

    def _parts(self, modules: list[Any]) -> StageParts:
        convolution, norm, neuron, _ = modules
        return StageParts(convolution, norm, neuron, self.spec.pool == "average", self.sum_over_processes)


def fast_network(
    network: nn.Module, spec: EmotionSpec, *, sum_over_processes: SumOverProcesses | None = None
) -> FastNetwork:
    """Return a network that trains the parameters of ``network``, built by ``build_network(spec)``, in fused passes.

    It holds the original's own parameters and buffers: what one learns, the other has. ``sum_over_processes`` sums
    a tensor over processes in place; batch normalisation then sees the clips of all of them.

    Raises:
        UnsupportedError: an ANN, another device or type of number, or a layer that is not known here, by name.
    """
    check_network(network, spec)
    return FastNetwork(network, spec, sum_over_processes)


def _spikes(module: nn.Module) -> bool:
    return hasattr(module, "v_threshold")
