"""A network's answers to a set of clips, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.graph import Array
from neuroemo.models.emotion import EmotionSpec, stacked_frames
from neuroemo.training.metrics import Score, StepCurve, score, step_curve

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuroemo.datasets.store import ClipStore


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A network's answers: votes [T, N, classes] (T = 1 for the ANN), predictions, score and step curve."""

    votes: Array
    predicted: Array
    labels: Array
    score: Score
    steps: StepCurve

    def to_dict(self) -> dict[str, Any]:
        """Return score and curves as a JSON-ready dictionary."""
        return self.score.to_dict() | {"steps": self.steps.to_dict()}


def evaluate(
    network: nn.Module, spec: EmotionSpec, store: ClipStore, indices: Array, labels: Array | None = None
) -> Evaluation:
    """Run the clips of a store at ``indices`` through the network and score its answers.

    ``labels`` replace the store's own where its classes are not the network's.
    """
    votes = np.concatenate([votes_of(network, spec, store.batch(part)) for part in in_parts(indices, 32)], axis=1)
    labels = np.asarray(store.labels)[indices] if labels is None else labels
    predicted = votes.mean(axis=0).argmax(axis=1)
    return Evaluation(votes, predicted, labels, score(predicted, labels), step_curve(votes, labels))


def votes_of(network: nn.Module, spec: EmotionSpec, clips: Array) -> Array:
    """Return the votes [T, N, classes] of a network for clips [T, N, 2, H, W], in evaluation mode."""
    import torch

    network.eval()
    with torch.no_grad():
        return forward(network, spec, torch.from_numpy(clips)).numpy()  # type: ignore[no-any-return]


def forward(network: nn.Module, spec: EmotionSpec, clips: torch.Tensor) -> torch.Tensor:
    """Run clips [T, N, 2, H, W] through an SNN or its twin from reset state; return votes [T, N, classes]."""
    if spec.neuron == "relu":
        return network(stacked_frames(clips, spec.first_frame)).unsqueeze(0)  # type: ignore[no-any-return]
    for module in network.modules():
        if hasattr(module, "reset"):
            module.reset()
    return network(clips)  # type: ignore[no-any-return]


def in_parts(indices: Array, size: int) -> Iterator[Array]:
    """Yield an index array in parts of at most ``size``."""
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
