"""The trainings behind the figures: resumable, with accuracy and loss on the test clips kept for every epoch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.storage import write_json
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.models.emotion import EmotionSpec, build_network, spec_by_name
from neuroemo.reproduce.figure_data import network_name
from neuroemo.training import loop
from neuroemo.training.checkpoint import TRAINING, load_model
from neuroemo.training.evaluation import evaluate

if TYPE_CHECKING:
    from torch import nn

    from neuroemo.datasets.store import ClipStore
    from neuroemo.training.loop import TrainSettings

CURVES = "test-curves.json"
Progress = Callable[[int, int, str], None]


def spec_for(row: str, store: ClipStore) -> EmotionSpec:
    """Return the network of a row of Table I for the clips of a store."""
    return spec_by_name(
        network_name(row, store.settings.size),
        size=store.settings.size,
        steps=store.settings.steps,
        first_frame=store.settings.first_frame,
        classes=len(store.classes),
    )


def train_for_figure(
    spec: EmotionSpec, store: ClipStore, folder: Path, settings: TrainSettings, progress: Progress
) -> dict[int, dict[str, Any]]:
    """Train a network, or go on where an earlier run stopped; return its curve on the test clips after each epoch.

    A curve is {"clips": N, "correct": [T], "loss": [T]}. It is written to ``folder``/test-curves.json before the
    loop saves the epoch, so a run that is killed misses none: an epoch that was not saved is trained again, to the
    same bits.

    Raises:
        InputError: as ``loop.train``; or a finished run lacks the curves.
    """
    path = folder / CURVES
    curves = _read(path, spec)

    def on_epoch(entry: dict[str, Any], network: nn.Module) -> None:
        curves[int(entry["epoch"])] = curve_on(network, spec, store)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {str(epoch): curve for epoch, curve in curves.items()})

    def report(done: int, total: int, loss: float) -> None:
        progress(done, total, f"loss {loss:.4f}")

    history = loop.train(spec, store, folder, settings, progress=report, on_epoch=on_epoch)
    missing = sorted(set(range(1, len(history) + 1)) - set(curves))
    if missing:
        found = f"no curves on the test clips of epochs {', '.join(map(str, missing))}"
        fix = "the run was begun elsewhere: choose another folder, or delete this one"
        raise InputError(Finding("E941", "error", str(path), found, "one per epoch", fix=fix))
    told = {"ok": True, "checkpoint": str(folder), "data": str(store.path.resolve()), "history": history}
    write_json(folder / TRAINING, told)
    return curves


def _read(path: Path, spec: EmotionSpec) -> dict[int, dict[str, Any]]:
    """Read the curves of an earlier run; {} where there is none."""
    if not path.exists():
        return {}
    try:
        curves = {int(epoch): curve for epoch, curve in json.loads(path.read_text()).items()}
        for curve in curves.values():
            numbers = np.array([curve["correct"], curve["loss"]], dtype=np.float64)
            sound = numbers.shape == (2, spec.steps) and np.isfinite(numbers).all()
            if not (
                sound and isinstance(curve["clips"], int) and 0 <= min(numbers[0]) <= max(numbers[0]) <= curve["clips"]
            ):
                raise ValueError("a curve that is none")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        fix = "delete the folder to train anew"
        raise InputError(Finding("E941", "error", str(path), f"not readable: {error!r}", fix=fix)) from error
    return curves


def built_aside(spec: EmotionSpec, seed: int | None = None) -> nn.Module:
    """Build a network without touching the random numbers of a training that goes on; with ``seed``, as it began."""
    import torch

    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return build_network(spec).eval()


def curve_on(network: nn.Module, spec: EmotionSpec, store: ClipStore, split: str = "test") -> dict[str, Any]:
    """Return right answers and loss on a split when the first 1 ... T steps are counted, and the number of clips."""
    return curve_of(network, spec, store, store.indices(split))


def curve_of(
    network: nn.Module, spec: EmotionSpec, store: ClipStore, indices: Array, labels: Array | None = None
) -> dict[str, Any]:
    """Return ``curve_on`` on chosen clips."""
    result = evaluate(network, spec, store, indices, labels)
    clips = len(indices)
    correct = [round(share * clips) for share in result.steps.accuracy]
    return {"correct": correct, "loss": result.steps.loss, "clips": clips}


def best_of(folder: Path) -> tuple[nn.Module, EmotionSpec]:
    """Return the best network of a run, evaluated, and its spec."""
    network, description = load_model(folder)
    return network, description.spec
