"""Training a network of valence and arousal on event frames, by AdamW, as in section 4.2 of the paper.

Berlincioni et al. 2024 give the optimiser (AdamW, 1e-4, halved every 50 epochs); loss, number of epochs, batch and
augmentation are ours (docs/affect.md). The network that is kept is that of the epoch with the highest mean CCC on the
validation frames, of equal ones that with the lower mean RMSE. A killed run continues with the same bits on the CPU:
it is saved after every epoch, and every ``save_every_s`` seconds within one (``neuroemo.training.resume``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.storage import write_json
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.affect.inputs import FrameStore
from neuroemo.affect.log import write_log
from neuroemo.affect.loss import loss_of
from neuroemo.affect.material import Material, digest
from neuroemo.affect.metrics import OUTPUTS, scores
from neuroemo.affect.predict import chunks_at_once, of_chunks
from neuroemo.affect.run import AffectDescription, save_affect
from neuroemo.affect.settings import AffectSettings
from neuroemo.models.affect.spec import AffectSpec
from neuroemo.training.checkpoint import TRAINING
from neuroemo.training.loop import StoppedError, TrainingError
from neuroemo.training.resume import CONTINUE, Run, Unfinished, remember, restore, writing
from neuroemo.training.steps import gradient_norm, limit_gradient

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["AffectSettings", "StoppedError", "TrainingError", "out_of_patience", "rank", "train_affect"]

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and a remark."""
Stop = Callable[[], int]
"""Asked after every step: the number of the signal that asks the run to stop, 0 to go on."""
Say = Callable[[str], None]
SAVE_EVERY_S = 600.0


def train_affect(
    spec: AffectSpec,
    data: FrameStore,
    out: Path,
    settings: AffectSettings,
    *,
    split: dict[str, Array] | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    say: Say | None = None,
    backbone_weights: Path | None = None,
    told: dict[str, Any] | None = None,
    save_every_s: float = SAVE_EVERY_S,
) -> list[dict[str, Any]]:
    """Train a network on the event frames of a store and leave the best one in ``out``, to be read by ``open_affect``.

    ``split``: frames under "train" and "val" (None: the store's own splits). ``backbone_weights``: a file of ImageNet
    weights for the ResNet inside. ``told`` is kept in ``model.json`` under ``trained_on`` (the number of a fold, say).
    ``say`` gets remarks for people. A run that was interrupted continues after its last save.

    Returns the history: one entry per epoch with loss, gradient norm, learning rate and validation scores.

    Raises:
        InputError: the store does not fit the network, has no labels, ``out`` holds another run or cannot be written.
        TrainingError: the loss or its gradient became NaN or infinite.
        StoppedError: ``stop`` asked for it; the run is saved.
    """
    material = Material(spec, data, settings, split)
    training = _Training(material, out, backbone_weights, told or {}, say or _silent, save_every_s)
    try:
        return training.run_all(progress or _no_progress, stop or _never)
    finally:
        material.close()


def _never() -> int:
    return 0


def _silent(text: str) -> None:
    """Say nothing."""


def _no_progress(done: int, total: int, note: str) -> None:
    """Draw nothing."""


class _Training:
    """One run: what stays the same while it runs, and ``run``, which does not."""

    def __init__(
        self, material: Material, out: Path, weights: Path | None, told: dict[str, Any], say: Say, save_every_s: float
    ) -> None:
        import torch

        from neuroemo.models.affect.network import build_affect, initialisation_finding

        spec, settings = material.spec, material.settings
        self.material, self.spec, self.settings, self.out, self.say = material, spec, settings, out, say
        _refuse_device(settings.device)
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        network = build_affect(spec, backbone_weights=weights).to(settings.device)
        self.description = _describe(material, network, told)
        self.start = initialisation_finding(network)
        self.identity = {
            "network": spec.to_dict(),
            "training": settings.to_dict(),
            "data": {"fingerprint": material.data.fingerprint(), "split": digest(list(material.split.values()))},
            "initialisation": self.description.initialisation,
        }
        optimiser = _optimiser(network, settings)
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, settings.halve_every, settings.gamma)
        self.run = Run(network, optimiser, schedule, np.random.default_rng(settings.seed))
        restore(out, self.identity, self.run)
        self.chunks_per_step = max(1, settings.batch // spec.frames)
        self.steps = -(-material.chunks_per_epoch // self.chunks_per_step)
        self.saved_at, self.save_every_s = time.monotonic(), save_every_s

    @property
    def steps_done(self) -> int:
        """Steps that the run has done, over all its epochs."""
        return len(self.run.history) * self.steps + (self.run.epoch.done if self.run.epoch else 0)

    def run_all(self, progress: Progress, stop: Stop) -> list[dict[str, Any]]:
        """Train until the last epoch, or until patience is over, and return the history."""
        run, settings = self.run, self.settings
        if self.start is not None:
            self.say(str(self.start))
        if len(run.history) < settings.epochs and not out_of_patience(run.history, settings.patience):
            self._freeze(progress)
        while len(run.history) < settings.epochs and not out_of_patience(run.history, settings.patience):
            entry = self._epoch(progress, stop)
            run.history.append(entry)
            run.epoch = None
            if rank(entry) > max(map(rank, run.history[:-1]), default=(-math.inf, -math.inf)):
                with writing(self.out):
                    save_affect(self.out, run.network, self.description)
            write_log(self.out, run.history)
            self._save()
        self._conclude()
        return run.history

    def _freeze(self, progress: Progress) -> None:
        if not self.spec.frozen:
            return
        if self.settings.augment:
            self.say("the frozen backbone sees every augmented frame anew; without augmentation it sees each once")
            return
        self.say("the frozen backbone sees every frame once; what it says is kept")
        self.material.compute_features(
            self.run.network, self.out, lambda done, total: progress(done, total, "features of the frozen backbone")
        )

    def _conclude(self) -> None:
        """Write what a reader of the folder wants to know: settings, history, the best epoch."""
        history = self.run.history
        best = history.index(max(history, key=rank)) + 1
        document = {
            "data": str(Path(self.material.data.path).resolve()),
            "settings": self.settings.to_dict(),
            "best_epoch": best,
            "history": history,
        }
        with writing(self.out):
            write_json(self.out / TRAINING, document)

    def _save(self) -> None:
        remember(self.out, self.identity, self.run)
        self.saved_at = time.monotonic()

    def _epoch(self, progress: Progress, stop: Stop) -> dict[str, Any]:
        """Train the rest of an epoch and return its entry of the history."""
        run, material = self.run, self.material
        rate = float(run.optimiser.param_groups[0]["lr"])
        if run.epoch is None:
            run.epoch = Unfinished(run.random.permutation(len(material.windows))[: material.chunks_per_epoch])
        current, parts = run.epoch, np.array_split(run.epoch.order, self.steps)
        total = self.steps * self.settings.epochs
        for part in parts[current.done :]:
            loss, norm = self._step(material.windows[part])
            current.done += 1
            current.loss += loss * len(part)
            current.norm += norm
            progress(self.steps_done, total, f"loss {loss:.4f}{_best(run.history)}")
            if asked := stop():
                self._stop(asked)
            if current.done < len(parts) and time.monotonic() - self.saved_at >= self.save_every_s:
                self._save()
        run.schedule.step()
        return {
            "epoch": len(run.history) + 1,
            "step": self.steps_done,
            "learning_rate": rate,
            "loss": current.loss / len(current.order),
            "gradient_norm": current.norm / len(parts),
            "validation": self._validate(),
        }

    def _step(self, index: Array) -> tuple[float, float]:
        """Train on one batch of chunks [N, F]; return its loss and the norm of its gradient."""
        import torch

        run, device = self.run, self.settings.device
        run.network.train()
        inputs = torch.from_numpy(self.material.inputs(index, run.random)).to(device)
        truth = torch.from_numpy(self.material.labels[index]).to(device)
        loss = loss_of(self._answers(inputs), truth, self.settings.loss)
        value = float(loss.detach())
        self._refuse_nonsense("loss", value, index)
        run.optimiser.zero_grad()
        loss.backward()
        norm = gradient_norm(run.network)
        self._refuse_nonsense("gradient norm", norm, index)
        if self.settings.clip_gradient is not None:
            limit_gradient(run.network, self.settings.clip_gradient)
        run.optimiser.step()
        return value, norm

    def _answers(self, inputs: torch.Tensor) -> torch.Tensor:
        network: Any = self.run.network
        return network.head(inputs) if self.material.has_features else network(inputs)

    def _validate(self) -> dict[str, Any]:
        """Return the scores of the network on the validation frames, with the mean CCC and RMSE over the outputs."""
        import torch

        material, network = self.material, self.run.network
        network.eval()

        def compute(index: Array) -> Array:
            with torch.no_grad():
                answers = self._answers(torch.from_numpy(material.inputs(index)).to(self.settings.device))
            return answers.cpu().numpy()

        said = of_chunks(compute, material.validation, chunks_at_once(self.spec))
        frames = np.sort(material.validation.index[material.validation.fresh])
        told: dict[str, Any] = scores(material.labels[frames], said, constant=material.train_mean)
        ccc = [told[output]["ccc"] or 0.0 for output in OUTPUTS]
        return (
            told
            | {"ccc": sum(ccc) / 2, "rmse": sum(told[output]["rmse"] for output in OUTPUTS) / 2}
            | {"frames": len(frames)}
        )

    def _refuse_nonsense(self, what: str, value: float, index: Array) -> None:
        """Raise TrainingError if a loss or a norm is no number; the best network so far stays where it is."""
        if math.isfinite(value):
            return
        done = self.run.epoch.done if self.run.epoch else 0
        clips = sorted({self.material.data.clip_names[int(clip)] for clip in self.material.data.clip[index[:, 0]]})
        shown = ", ".join(clips[:3]) + (f" and {len(clips) - 3} more" if len(clips) > 3 else "")
        found = f"{what} {value} in batch {done + 1} of epoch {len(self.run.history) + 1} (clips {shown})"
        fix = f"lower the learning rate (now {self.settings.learning_rate:g}), or set a largest norm of the gradient"
        if self.run.history:
            fix += f"; the best network so far is in {self.out}"
        raise TrainingError(Finding("E957", "error", self.spec.name, found, "a finite number", fix=fix))

    def _stop(self, signal: int) -> None:
        """Save the run where it stands and raise StoppedError."""
        self._save()
        done = self.run.epoch.done if self.run.epoch else 0
        found = f"stopped after {done} of {self.steps} batches of epoch {len(self.run.history) + 1}; the run is saved"
        raise StoppedError(Finding("E957", "error", str(self.out), found, fix=CONTINUE), signal)


def _refuse_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        fix = "train on the processor: device cpu"
        raise InputError(Finding("E957", "error", "device", "cuda, but torch finds no GPU here", fix=fix))


def _describe(material: Material, network: nn.Module, told: dict[str, Any]) -> AffectDescription:
    words = str(getattr(network, "initialisation", "random"))
    valence, arousal = material.train_mean
    return AffectDescription(
        material.spec, material.data.settings, material.trained_on() | told, (valence, arousal), words
    )


def _optimiser(network: nn.Module, settings: AffectSettings) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019) over what is trained; weight decay acts on matrices and kernels."""
    import torch

    trained = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def _best(history: list[dict[str, Any]]) -> str:
    return f", best validation CCC {max(map(rank, history))[0]:.3f}" if history else ""


def rank(entry: dict[str, Any]) -> tuple[float, float]:
    """Return what makes an epoch better than another: mean validation CCC, then a lower mean RMSE."""
    return entry["validation"]["ccc"], -entry["validation"]["rmse"]


def out_of_patience(history: list[dict[str, Any]], patience: int | None) -> bool:
    """Say whether the last ``patience`` epochs brought nothing better than the best one before them."""
    if patience is None or not history:
        return False
    ranks = [rank(entry) for entry in history]
    return len(ranks) - 1 - ranks.index(max(ranks)) >= patience
