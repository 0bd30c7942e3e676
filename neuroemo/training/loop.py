"""Training: mean squared error between firing rates and one-hot labels, by surrogate gradients and SGD or AdamW.

The defaults are those of the paper (section 3.2): SGD, learning rate 0.01, batch 8, torch's initialisation,
fixed seed. One thing is added, and can be switched off: each layer's gradient is scaled to the length of its
weights, because at this learning rate the gradients that reach the convolutions through several spiking
layers are a thousand times too short to move them within the epochs a person waits for (docs/decisions.md).
A killed run continues with the same numbers (``resume.py``), and several processes train on the batches of
one (``distributed.py``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, NeuroEmoError
from neuroemo.models.emotion import EmotionSpec, build_network
from neuroemo.training.augmentation import Augmentation, apply, draw
from neuroemo.training.checkpoint import Description, save_model
from neuroemo.training.checks import check_fit, check_training
from neuroemo.training.distributed import World, sum_gradients
from neuroemo.training.engine import training_votes
from neuroemo.training.log import RunLog
from neuroemo.training.penalty import OperationsPenalty
from neuroemo.training.resume import CONTINUE, Keeping, Run, Unfinished, remember, restore, writing
from neuroemo.training.sampling import batches_of_epoch, epoch_order, global_batches, share
from neuroemo.training.settings import TrainSettings
from neuroemo.training.steps import gradient_norm, limit_gradient, make_optimiser, make_schedule, scale_by_layer
from neuroemo.training.validation import validate

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hw_targets.graph import Array
    from neuroemo.datasets.store import ClipStore

__all__ = [
    "Keeping",
    "Progress",
    "StoppedError",
    "TrainSettings",
    "TrainingError",
    "check_fit",
    "check_training",
    "describe",
    "rank",
    "scale_by_layer",
    "train",
]

Progress = Callable[[int, int, float], None]
"""Called after every batch with batches done, batches in all, and the running loss."""
Stop = Callable[[], int]
"""Asked after every batch: the number of the signal that asks the run to stop, 0 to go on."""
TERMINATED = 15
"""The signal that a process reports when another one was asked to stop."""
OnEpoch = Callable[[dict[str, Any], "nn.Module"], None]
"""Called after every epoch with its entry of the history and the network, before the epoch is saved."""


class TrainingError(NeuroEmoError):
    """Training cannot go on (exit code 2): the loss or its gradient is no number."""

    exit_code = 2


class StoppedError(NeuroEmoError):
    """The run was asked to stop, and was saved (exit code 128 + the number of the signal)."""

    def __init__(self, finding: Finding, signal: int) -> None:
        super().__init__(finding)
        self.exit_code = 128 + signal  # type: ignore[misc]


def train(
    spec: EmotionSpec,
    store: ClipStore,
    out: Path,
    settings: TrainSettings,
    *,
    progress: Progress | None = None,
    world: World | None = None,
    keeping: Keeping | None = None,
    stop: Stop | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[dict[str, Any]]:
    """Train a network on a store and leave the best one (validation accuracy, then loss) in ``out``.

    A run that was interrupted continues after its last save, with the same random numbers. Every process of
    ``world`` calls this with the same arguments; the first one writes. Returns the history: one entry per
    epoch with losses, gradient norm, learning rate, firing rates, accuracies and the curve along the steps.

    Raises:
        InputError: the store does not fit the spec or the settings, ``out`` holds another run or cannot be written.
        TrainingError: the loss or its gradient became NaN or infinite.
        StoppedError: ``stop`` asked for it.
    """
    check_training(spec, store, settings)
    training = _Training(spec, store, out, settings, world or World.alone(), keeping or Keeping())
    try:
        return training.run_all(progress, stop or _never, on_epoch)
    finally:
        training.close()


def _never() -> int:
    return 0


class _Training:
    """One run: what stays the same while it runs, and ``run``, which does not."""

    def __init__(
        self,
        spec: EmotionSpec,
        store: ClipStore,
        out: Path,
        settings: TrainSettings,
        world: World,
        keeping: Keeping,
    ) -> None:
        import torch

        self.spec, self.store, self.out, self.settings, self.world = spec, store, out, settings, world
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        network = build_network(spec)
        self.identity = {"spec": spec.to_dict(), "settings": settings.to_dict(), "data": store.fingerprint()}
        self.indices = store.indices("train")
        self.labels = np.asarray(store.labels)
        self.batches = batches_of_epoch(self.labels[self.indices], settings)
        self.targets = np.eye(spec.classes, dtype=np.float32)
        self.augmentation = Augmentation.of(settings)
        self.description = describe(spec, store)
        optimiser = make_optimiser(network, settings)
        schedule = make_schedule(optimiser, settings)
        self.run = Run(network, optimiser, schedule, np.random.default_rng(settings.seed))
        restore(out, self.identity, self.run)
        world.agree(self.identity | {"done": self.steps_done, "epochs": len(self.run.history)}, "training")
        self.votes = training_votes(network, spec, settings, world)
        self.penalty = OperationsPenalty(network) if settings.operations_penalty else None
        self.saved_at, self.save_every_s = time.monotonic(), keeping.save_every_s
        self.log: RunLog | None = None
        if world.is_first:
            self.log = RunLog(out, self.steps_done, self.run.history, tensorboard=keeping.tensorboard)

    @property
    def steps_done(self) -> int:
        """Batches that the run has done, over all its epochs."""
        return len(self.run.history) * self.batches + (self.run.epoch.done if self.run.epoch else 0)

    @property
    def price(self) -> float:
        """What the share of operations costs in the loss of the current epoch."""
        waits = len(self.run.history) < self.settings.penalty_warmup
        return 0.0 if waits else self.settings.operations_penalty

    def close(self) -> None:
        """Close the log."""
        if self.log is not None:
            self.log.close()

    def run_all(self, progress: Progress | None, stop: Stop, on_epoch: OnEpoch | None) -> list[dict[str, Any]]:
        """Train until the last epoch, or until patience is over, and return the history."""
        run = self.run
        while len(run.history) < self.settings.epochs and not out_of_patience(run.history, self.settings.patience):
            entry = self.epoch(progress, stop)
            run.history.append(entry)
            run.epoch = None
            if on_epoch is not None:
                on_epoch(entry, run.network)
            if self.log is not None:
                self.log.epoch(run.history)
            if self.world.is_first and rank(entry) == max(rank(earlier) for earlier in run.history):
                with writing(self.out):
                    save_model(self.out, run.network, self.description)
            self.save()
        return run.history

    def save(self) -> None:
        """Write what a resumed run needs; only the first process does."""
        if self.log is not None:
            self.log.flush()
            remember(self.out, self.identity, self.run)
        self.saved_at = time.monotonic()

    def epoch(self, progress: Progress | None, stop: Stop) -> dict[str, Any]:
        """Train the rest of an epoch and return its entry of the history."""
        run, settings = self.run, self.settings
        rate = float(run.optimiser.param_groups[0]["lr"])
        if run.epoch is None:
            labels = self.labels[self.indices]
            run.epoch = Unfinished(epoch_order(self.indices, labels, run.random, balanced=settings.balanced))
        current, parts = run.epoch, global_batches(run.epoch.order, settings.batch)
        for part in parts[current.done :]:
            loss, norm, asked = self.step(part, stop)
            current.done += 1
            current.loss += loss * len(part)
            current.norm += norm
            if self.log is not None:
                self.log.step(len(run.history) + 1, self.steps_done, len(part), rate, loss, norm)
            if progress is not None and self.world.is_first:
                running = current.loss / (current.done * settings.batch)
                progress(self.steps_done, len(parts) * settings.epochs, running)
            if asked:
                self.stop(asked)
            if current.done < len(parts) and time.monotonic() - self.saved_at >= self.save_every_s:
                self.save()
        run.schedule.step()
        validation, rates = validate(run.network, self.spec, self.store, self.world)
        return {
            "epoch": len(run.history) + 1,
            "step": self.steps_done,
            "learning_rate": rate,
            "loss": current.loss / len(current.order),
            "gradient_norm": current.norm / len(parts),
            "validation": validation,
            "firing_rates": rates,
        }

    def step(self, part: Array, stop: Stop) -> tuple[float, float, int]:
        """Train on one global batch; return its loss, the norm of its gradient, and a signal that asks to stop."""
        run = self.run
        loss, total, asked = self.loss(part, stop)
        self.refuse_nonsense("loss", total)
        run.optimiser.zero_grad()
        loss.backward()
        sum_gradients(run.network, self.world)
        norm = gradient_norm(run.network)
        self.refuse_nonsense("gradient norm", norm)
        if self.settings.layerwise:
            scale_by_layer(run.network)
        if self.settings.clip_gradient is not None:
            limit_gradient(run.network, self.settings.clip_gradient)
        run.optimiser.step()
        return total, norm, asked or (stop() if self.world.size == 1 else 0)

    def loss(self, part: Array, stop: Stop) -> tuple[torch.Tensor, float, int]:
        """Return this process's part of the loss of a global batch, the whole loss, and whether to stop.

        The parts are sums over the clips of a process, divided by the clips of the global batch.
        """
        import torch
        from torch.nn.functional import mse_loss

        world = self.world
        clips, labels = self.clips(part)
        if world.size > 1 and self.spec.dropout:
            # Each process has masks of its own, which a resumed run draws again.
            torch.manual_seed(_mixed(self.settings.seed, self.steps_done, world.rank))
        wanted = torch.from_numpy(self.targets[labels])
        rates = self.votes(torch.from_numpy(clips)).mean(dim=0)
        if world.size == 1:
            loss = mse_loss(rates, wanted)
            if self.penalty is not None:
                loss = loss + self.price * self.penalty.share()
            return loss, float(loss.detach()), 0
        loss = mse_loss(rates, wanted, reduction="sum") / (len(part) * self.spec.classes)
        if self.penalty is not None and len(labels):
            loss = loss + self.price * self.penalty.share() * (len(labels) / len(part))
        own = stop()
        told = world.sum_(torch.tensor([float(loss.detach()), float(own > 0)], dtype=torch.float64))
        return loss, float(told[0]), own or (TERMINATED if told[1] else 0)

    def clips(self, part: Array) -> tuple[Array, Array]:
        """Return this process's clips [T, N, 2, H, W] of a global batch, augmented, and their labels [N]."""
        mine = share(np.arange(len(part)), self.world.rank, self.world.size)
        changes = draw(len(part), self.run.random, self.augmentation) if self.settings.augment else []
        clips = self.store.batch(part[mine])
        if changes:
            gray = self.spec.first_frame == "float"
            clips = apply(clips, [changes[n] for n in mine], self.augmentation, gray_first=gray)
        return clips, self.labels[part[mine]]

    def refuse_nonsense(self, what: str, value: float) -> None:
        """Raise TrainingError if a loss or a norm is no number; the best network so far stays where it is."""
        if math.isfinite(value):
            return
        batch = self.run.epoch.done + 1 if self.run.epoch else 1
        fix = f"lower the learning rate (now {self.settings.learning_rate:g}), or look for NaN in the clips"
        if self.run.history:
            best = max(self.run.history, key=rank)["epoch"]
            fix += f"; the best network so far, of epoch {best}, is in {self.out}"
        found = f"{what} {value} in batch {batch}"
        raise TrainingError(Finding("E025", "error", self.spec.name, found, "a finite number", fix=fix))

    def stop(self, signal: int) -> None:
        """Save the run where it stands and raise StoppedError."""
        self.save()
        done = self.run.epoch.done if self.run.epoch else 0
        found = f"stopped after {done} of {self.batches} batches of epoch {len(self.run.history) + 1}; the run is saved"
        raise StoppedError(Finding("E906", "error", str(self.out), found, fix=CONTINUE), signal)


def _mixed(*numbers: int) -> int:
    """Return one seed of 63 bits from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def describe(spec: EmotionSpec, store: ClipStore) -> Description:
    """Return the description that goes with a network trained on ``store``."""
    return Description(spec, store.settings, tuple(store.classes), 1e6 / float(np.median(store.index.fps)))


def rank(entry: dict[str, Any]) -> tuple[float, float]:
    """Return what makes an epoch better than another: validation accuracy, then a lower loss."""
    return entry["validation"]["accuracy"], -entry["validation"]["steps"]["loss"][-1]


def out_of_patience(history: list[dict[str, Any]], patience: int | None) -> bool:
    """Say whether the last ``patience`` epochs brought nothing better than the best one before them."""
    if patience is None or not history:
        return False
    ranks = [rank(entry) for entry in history]
    return len(ranks) - 1 - ranks.index(max(ranks)) >= patience
