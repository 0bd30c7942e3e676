"""What an epoch is judged by: the answers on the validation clips, and how much each layer of neurons fires."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from neuroemo.models.emotion import EmotionSpec
from neuroemo.training.evaluation import evaluate
from neuroemo.training.sampling import share

if TYPE_CHECKING:
    from neuroemo.datasets.store import ClipStore
    from neuroemo.training.distributed import World


class SharedNetwork(nn.Module):
    """A network whose clips are shared among the processes in evaluation; every process gets all answers."""

    def __init__(self, network: nn.Module, world: World, clip_axis: int) -> None:
        super().__init__()
        self.network, self._world, self._axis = network, world, clip_axis

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the answers to all clips, of which this process computes its share."""
        clips = inputs.shape[self._axis]
        parts = [share(np.arange(clips), rank, self._world.size) for rank in range(self._world.size)]
        mine = torch.from_numpy(parts[self._world.rank])
        # A process without clips still has to know the shape of the answers: it computes the first one and adds zero.
        own = self.network(inputs.index_select(self._axis, mine if len(mine) else torch.zeros(1, dtype=torch.int64)))
        shape = list(own.shape)
        shape[self._axis] = clips
        answers = torch.zeros(shape, dtype=own.dtype)
        if len(mine):
            answers.index_copy_(self._axis, mine, own)
        return self._world.sum_(answers)


def validate(
    network: nn.Module, spec: EmotionSpec, store: ClipStore, world: World
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return score and curves on the validation clips, and the firing rate of every layer of spiking neurons.

    A firing rate is the mean number of spikes per neuron and step; an ANN has none.
    """
    with firing_rates(network, world) as rates:
        asked = SharedNetwork(network, world, 0 if spec.neuron == "relu" else 1) if world.size > 1 else network
        result = evaluate(asked, spec, store, store.indices("val")).to_dict()
    return result, rates


@contextmanager
def firing_rates(network: nn.Module, world: World) -> Iterator[dict[str, float]]:
    """Count what each layer of spiking neurons fires during a ``with``; its rates are in the dictionary after it."""
    layers = {name: module for name, module in network.named_modules() if hasattr(module, "v_threshold")}
    counts = {name: torch.zeros(2, dtype=torch.float64) for name in layers}
    rates: dict[str, float] = {}

    def counter(name: str) -> Any:
        def count(module: nn.Module, inputs: Any, spikes: torch.Tensor) -> None:
            counts[name] += torch.tensor([float(spikes.sum(dtype=torch.float64)), float(spikes.numel())])

        return count

    hooks = [module.register_forward_hook(counter(name)) for name, module in layers.items()]
    try:
        yield rates
    finally:
        for hook in hooks:
            hook.remove()
    for name, count in counts.items():
        spikes, places = world.sum_(count).tolist()
        rates[name] = spikes / places if places else 0.0
