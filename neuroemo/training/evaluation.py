"""A network's answers to a set of clips, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.models.emotion import EmotionSpec, stacked_frames
from neuroemo.training.metrics import Score, StepCurve, running_rates, score, step_curve

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuroemo.datasets.store import ClipStore

CLIPS_AT_ONCE = 32
VALUES_AT_ONCE = 2**28
"""Values of the widest layer that are held at once while clips are scored (1 GiB in float32)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A network's answers to N clips.

    ``votes`` float32 [T, N, classes] (T = 1 for the ANN), ``rates`` float64 [N, classes] their mean over the steps,
    ``predicted`` and ``labels`` int64 [N], the score, and the curves along the steps. ``voting`` is the number of
    neurons per class, None for the ANN. The answer is the class of the highest rate; of equal rates, counted in whole
    spikes, the lowest class index.
    """

    votes: Array
    rates: Array
    predicted: Array
    labels: Array
    score: Score
    steps: StepCurve
    voting: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return score and curves as a JSON-ready dictionary."""
        return self.score.to_dict() | {"steps": self.steps.to_dict()}


def evaluate(
    network: nn.Module,
    spec: EmotionSpec,
    store: ClipStore,
    indices: Array,
    labels: Array | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run the clips of a store at ``indices`` through the network and score its answers.

    ``labels`` replace the store's own where its classes are not the network's. ``progress(done, total)`` is called
    with numbers of clips.

    Raises:
        InputError: no clips, labels that are no classes of the network, or votes that are NaN or infinite.
    """
    indices = np.asarray(indices)
    labels = np.asarray(store.labels)[indices] if labels is None else np.asarray(labels)
    check_labels(labels, len(indices), spec)
    parts = []
    done = 0
    for part in in_parts(indices, clips_at_once(spec)):
        parts.append(votes_of(network, spec, store.batch(part)))
        done += len(part)
        if progress is not None:
            progress(done, len(indices))
    votes = np.concatenate(parts, axis=1)
    check_votes(votes, spec, [str(store.names[int(index)]) for index in indices])
    voting = None if spec.neuron == "relu" else spec.voting
    rates = running_rates(votes, voting)[-1]
    predicted = rates.argmax(axis=1)
    return Evaluation(
        votes, rates, predicted, labels, score(predicted, labels), step_curve(votes, labels, voting), voting
    )


def check_labels(labels: Array, clips: int, spec: EmotionSpec) -> None:
    """Raise unless there is one label from 0 to classes - 1 for each of at least one clip."""
    if clips == 0:
        fix = "choose another split, or other data"
        raise InputError(Finding("E920", "error", spec.name, "no clips to score", "at least 1", fix=fix))
    if labels.shape != (clips,):
        found = f"labels of shape {list(labels.shape)} for {clips} clips"
        raise InputError(Finding("E921", "error", "labels", found, f"[{clips}]"))
    wrong = sorted({int(label) for label in labels if not 0 <= label < spec.classes})
    if wrong:
        count = int(np.count_nonzero((labels < 0) | (labels >= spec.classes)))
        found = f"{count} of {clips} labels are no class of the network: {', '.join(map(str, wrong[:5]))}"
        fix = "use data with the classes that the network was trained on"
        raise InputError(Finding("E921", "error", "labels", found, f"0..{spec.classes - 1}", fix=fix))


def check_votes(votes: Array, spec: EmotionSpec, names: list[str]) -> None:
    """Raise where a clip, one name each, has votes that are NaN or infinite: such a clip has no answer."""
    broken = np.flatnonzero(~np.isfinite(votes).all(axis=(0, 2)))
    if len(broken):
        found = f"{len(broken)} of {len(names)} clips have votes that are NaN or infinite, first {names[broken[0]]}"
        fix = "the weights are damaged or the training diverged: train again with a lower learning rate"
        raise InputError(Finding("E922", "error", spec.name, found, "0", str(len(broken)), fix))


def clips_at_once(spec: EmotionSpec) -> int:
    """Return how many clips are run together: at most 32, fewer where the widest layer would take more than 1 GiB.

    >>> small = EmotionSpec("small", size=48, steps=16, channels=(12, 16, 16))
    >>> clips_at_once(small), clips_at_once(EmotionSpec("full"))
    (32, 7)
    """
    steps = 1 if spec.neuron == "relu" else spec.steps
    sizes = [(spec.size / 2**stage) ** 2 * width for stage, width in enumerate(spec.channels)]
    widest = max([2.0 * spec.size**2, *sizes]) * steps
    return max(1, min(CLIPS_AT_ONCE, int(VALUES_AT_ONCE / widest)))


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
