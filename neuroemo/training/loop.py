"""Training: mean squared error between firing rates and one-hot labels, by surrogate gradients and SGD.

The settings of the paper (section 3.2): SGD, learning rate 0.01, batch 8, torch's initialisation, fixed
seed. One thing is added, and can be switched off: each layer's gradient is scaled to the length of its
weights, because at this learning rate the gradients that reach the convolutions through several spiking
layers are a thousand times too short to move them within the epochs a person waits for (docs/decisions.md).
Every epoch ends in a checkpoint from which a killed run continues with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError, NeuroEmoError
from hw_targets.graph import Array
from neuroemo.models.emotion import EmotionSpec, build_network
from neuroemo.training.checkpoint import Description, save_model
from neuroemo.training.evaluation import evaluate, forward, in_parts
from neuroemo.training.resume import remember, restore

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuroemo.datasets.store import ClipStore

Progress = Callable[[int, int, float], None]
"""Called after every batch with batches done, batches in all, and the running loss."""


class TrainingError(NeuroEmoError):
    """Training cannot go on (exit code 2): the loss is no number."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train. ``augment`` mirrors clips and shifts them by up to ``shift`` pixels.

    ``threads`` is how many processor threads torch uses: with one, the numbers are the same whatever the
    machine's number of cores. ``layerwise`` scales each layer's gradient to the length of its weights
    (``scale_by_layer``); without it the optimiser is plain SGD with momentum.
    """

    epochs: int = 12
    batch: int = 8
    learning_rate: float = 0.01
    momentum: float = 0.9
    seed: int = 0
    augment: bool = True
    shift: int = 2
    layerwise: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse settings that cannot train, all at once."""
        bad = [
            Finding("E023", "error", name, str(value), "> 0")
            for name, value in (
                ("epochs", self.epochs),
                ("batch", self.batch),
                ("learning_rate", self.learning_rate),
                ("threads", self.threads),
            )
            if not value > 0
        ]
        if bad:
            raise InputError(bad)


def train(
    spec: EmotionSpec,
    store: ClipStore,
    out: Path,
    settings: TrainSettings,
    *,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train a network on a store and leave the best one (validation accuracy, then loss) in ``out``.

    A run that was interrupted continues after its last complete epoch, with the same random numbers.
    Returns the history: one entry per epoch with losses, accuracies and the validation curve along the steps.

    Raises:
        InputError: the store does not fit the spec, or ``out`` holds a run with other settings.
        TrainingError: the loss became NaN or infinite.
    """
    import torch

    check_fit(spec, store)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    network = build_network(spec)
    optimiser = torch.optim.SGD(network.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    random = np.random.default_rng(settings.seed)
    identity = {"spec": spec.to_dict(), "settings": asdict(settings), "data": store.fingerprint()}
    history = restore(out, identity, network, optimiser, schedule, random)
    description = describe(spec, store)
    indices = store.indices("train")
    batches = -(-len(indices) // settings.batch) * settings.epochs
    for _ in range(len(history), settings.epochs):
        report = _epoch_report(progress, batches * len(history) // settings.epochs, batches)
        loss = _epoch(network, spec, store, settings, optimiser, random, report)
        schedule.step()
        validation = evaluate(network, spec, store, store.indices("val"))
        history.append({"epoch": len(history) + 1, "loss": loss, "validation": validation.to_dict()})
        if rank(history[-1]) == max(rank(entry) for entry in history):
            save_model(out, network, description)
        remember(out, identity, network, optimiser, schedule, random, history)
    return history


def _epoch_report(progress: Progress | None, done: int, batches: int) -> Callable[[int, float], None]:
    """Return what an epoch calls after each of its batches, when ``done`` batches came before it."""

    def report(batch: int, running: float) -> None:
        if progress is not None:
            progress(done + batch, batches, running)

    return report


def describe(spec: EmotionSpec, store: ClipStore) -> Description:
    """Return the description that goes with a network trained on ``store``."""
    return Description(spec, store.settings, tuple(store.classes), 1e6 / float(np.median(store.index.fps)))


def _epoch(
    network: nn.Module,
    spec: EmotionSpec,
    store: ClipStore,
    settings: TrainSettings,
    optimiser: torch.optim.Optimizer,
    random: np.random.Generator,
    report: Callable[[int, float], None],
) -> float:
    """Train one epoch and return its mean loss."""
    import torch
    from torch.nn.functional import mse_loss

    network.train()
    order = random.permutation(store.indices("train"))
    total = 0.0
    labels = np.asarray(store.labels)
    for number, part in enumerate(in_parts(order, settings.batch)):
        clips = store.batch(part)
        if settings.augment:
            clips = augment(clips, random, settings.shift)
        wanted = torch.from_numpy(np.eye(spec.classes, dtype=np.float32)[labels[part]])
        loss = mse_loss(forward(network, spec, torch.from_numpy(clips)).mean(dim=0), wanted)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                Finding(
                    "E025",
                    "error",
                    spec.name,
                    f"loss {float(loss)} in batch {number + 1}",
                    "a finite number",
                    fix=f"lower the learning rate (now {settings.learning_rate:g})",
                )
            )
        optimiser.zero_grad()
        loss.backward()
        if settings.layerwise:
            scale_by_layer(network)
        optimiser.step()
        total += float(loss.detach()) * len(part)
        report(number + 1, total / ((number + 1) * settings.batch))
    return total / len(order)


def scale_by_layer(network: nn.Module) -> None:
    """Scale the gradient g of every weight matrix or kernel w to g ||w|| / ||g|| (You et al., arXiv:1708.03888).

    A step of learning rate r then changes each layer by the share r of its length, however weak the gradient
    that reached it. Biases, normalisation parameters and time constants keep their gradients.
    """
    for weight in network.parameters():
        if weight.ndim > 1 and weight.grad is not None:
            weight.grad.mul_(weight.detach().norm() / weight.grad.norm().clamp_min(1e-12))


def augment(clips: Array, random: np.random.Generator, shift: int) -> Array:
    """Mirror and shift each clip of [T, N, 2, H, W] at random; what leaves the frame is lost, zeros enter."""
    result = np.zeros_like(clips)
    height, width = clips.shape[-2:]
    for n in range(clips.shape[1]):
        clip = clips[:, n, :, :, ::-1] if random.random() < 0.5 else clips[:, n]
        dy, dx = random.integers(-shift, shift + 1, size=2)
        result[:, n, :, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = clip[
            :, :, max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
        ]
    return result


def rank(entry: dict[str, Any]) -> tuple[float, float]:
    """Return what makes an epoch better than another: validation accuracy, then a lower loss."""
    return entry["validation"]["accuracy"], -entry["validation"]["steps"]["loss"][-1]


def check_fit(spec: EmotionSpec, store: ClipStore) -> None:
    """Raise InputError, with everything at once, unless the clips of ``store`` fit the network of ``spec``."""
    findings = []
    for name, wanted, found in (
        ("frame size", spec.size, store.settings.size),
        ("steps", spec.steps, store.settings.steps),
        ("first frame", spec.first_frame, store.settings.first_frame),
        ("classes", spec.classes, len(store.classes)),
    ):
        if wanted != found:
            findings.append(
                Finding("E026", "error", spec.name, f"{name} of the data is {found}", f"{wanted} in the network")
            )
    if findings:
        raise InputError(findings)
