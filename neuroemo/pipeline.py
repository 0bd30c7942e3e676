"""What the verbs do, as functions: each takes paths and settings and returns a JSON-ready dictionary."""

from __future__ import annotations

import getpass
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.bundle import write_json
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array

if TYPE_CHECKING:
    from neuroemo.datasets.clip_settings import ClipSettings
    from neuroemo.datasets.store import ClipStore
    from neuroemo.training.loop import TrainSettings

Progress = Callable[[int, int, str], None]
Log = Callable[[str], None]


def quiet_progress(done: int, total: int, note: str = "") -> None:
    """Show nothing."""


def open_data(path: Path, settings: ClipSettings, progress: Progress = quiet_progress) -> ClipStore:
    """Open a prepared store, or turn a folder of videos into one that is kept and used again (``cache_of``).

    Raises:
        InputError: the data cannot be read, or were prepared with other settings.
    """
    from neuroemo.datasets.store import open_clips

    return open_clips(path, settings, cache_of(path), progress=lambda done, total: progress(done, total, ""))


def cache_of(folder: Path) -> Path:
    """Return where the events of a folder of videos are kept: in it, or with the temporary files if it is read-only."""
    if os.access(folder, os.W_OK):
        return folder / ".neuroemo"
    return Path(tempfile.gettempdir()) / f"neuroemo-{getpass.getuser()}"


def train_network(
    model: str, data: Path, out: Path, settings: TrainSettings, progress: Progress = quiet_progress
) -> dict[str, Any]:
    """Train a named network on a store and score it on the test split, beside chance and the mean-frame baseline."""
    from neuroemo.datasets.store import ClipStore
    from neuroemo.models.emotion import spec_by_name
    from neuroemo.training import loop
    from neuroemo.training.checkpoint import TRAINING, load_model
    from neuroemo.training.evaluation import evaluate

    if data.is_dir():
        raise InputError(
            Finding(
                "E082",
                "error",
                str(data),
                "a folder",
                "a file of prepared events",
                fix=f"prepare it first: neuroemo events {data} -o clips.h5",
            )
        )
    store = ClipStore.open(data)
    spec = spec_by_name(
        model,
        size=store.settings.size,
        steps=store.settings.steps,
        first_frame=store.settings.first_frame,
        classes=len(store.classes),
    )
    started = time.monotonic()
    history = loop.train(
        spec,
        store,
        out,
        settings,
        progress=lambda done, total, loss: progress(done, total, f"loss {loss:.4f}"),
    )
    network, description = load_model(out)
    result = {
        "ok": True,
        "checkpoint": str(out),
        "data": str(data.resolve()),
        "settings": asdict(settings),
        "seconds": time.monotonic() - started,
        "history": history,
        "test": evaluate(network, description.spec, store, store.indices("test")).to_dict(),
        **_baselines(store),
    }
    write_json(out / TRAINING, result)
    return result


def fine_tune_network(
    start: Path | None,
    model: str,
    data: Path | None,
    out: Path,
    bits: int,
    common: dict[str, Any],
    asked: dict[str, Any],
    progress: Progress = quiet_progress,
) -> dict[str, Any]:
    """Fine-tune a checkpoint with ``bits`` per weight and score it beside the float network it came from.

    Without ``start`` the float network ``model`` is trained first, in ``out``/float. ``common`` and ``asked`` are
    entries of ``TrainSettings``; ``asked`` (epochs, learning rate) goes to the fine-tuning alone.
    """
    from neuroemo.datasets.store import ClipStore
    from neuroemo.training import fine_tune
    from neuroemo.training.checkpoint import TRAINING, load_model, trained_on
    from neuroemo.training.evaluation import evaluate
    from neuroemo.training.loop import TrainSettings

    if start is None:
        if data is None:
            fix = "say which events to train on, or which checkpoint to fine-tune: --data FILE.h5 or --start DIR"
            raise InputError(Finding("E080", "error", "--data", "is missing", fix=fix))
        start = out / "float"
        train_network(model, data, start, TrainSettings(**common), progress)
    store = ClipStore.open(data or trained_on(start))
    chosen = {"epochs": fine_tune.EPOCHS, "learning_rate": fine_tune.LEARNING_RATE} | asked
    settings = TrainSettings(**common, **chosen)
    started = time.monotonic()
    history = fine_tune.fine_tune(
        start, store, out, bits, settings, lambda done, total, loss: progress(done, total, f"loss {loss:.4f}")
    )
    network, description = load_model(out)
    before, _ = load_model(start)
    indices = store.indices("test")
    result = {
        "ok": True,
        "checkpoint": str(out),
        "start": str(start),
        "bits": bits,
        "data": str((data or trained_on(start)).resolve()),
        "settings": asdict(settings),
        "seconds": time.monotonic() - started,
        "history": history,
        "test": evaluate(network, description.spec, store, indices).to_dict(),
        "float": evaluate(before, description.spec, store, indices).to_dict(),
        **_baselines(store),
    }
    write_json(out / TRAINING, result)
    return result


def _baselines(store: ClipStore) -> dict[str, Any]:
    from neuroemo.training import baseline

    return {
        "trivial": baseline.mean_frame_baseline(store).to_dict(),
        "linear_events": baseline.summed_events_baseline(store).to_dict(),
        "chance": baseline.majority_baseline(store).to_dict(),
    }


def evaluate_checkpoint(
    checkpoint: Path, data: Path, split: str | None, progress: Progress = quiet_progress
) -> dict[str, Any]:
    """Score a checkpoint on a store or on a folder of videos; see ``chosen_clips`` for ``split``."""
    from neuroemo.training.checkpoint import load_model
    from neuroemo.training.evaluation import evaluate

    network, description = load_model(checkpoint)
    store = open_data(data, description.events, progress)
    indices = chosen_clips(store, data, split)
    labels = labels_of(store, indices, description.classes)
    if labels is None:
        raise InputError(
            Finding(
                "E081",
                "error",
                "classes",
                f"the data have {', '.join(store.classes)}",
                ", ".join(description.classes),
                fix="name the folders of the videos like the classes that the network was trained on",
            )
        )
    result = evaluate(network, description.spec, store, indices, labels)
    rates = result.votes.mean(axis=0)
    return {
        "ok": True,
        **result.to_dict(),
        "classes": list(description.classes),
        "clips_by_name": _answers(store, indices, rates, description.classes),
    }


def labels_of(store: ClipStore, indices: Array, classes: tuple[str, ...]) -> Array | None:
    """Return the labels of clips as indices into a network's classes; None if the data name others (or none)."""
    if not set(store.classes) <= set(classes):
        return None
    place = np.array([classes.index(name) for name in store.classes])
    return place[np.asarray(store.labels)[indices]]


def _answers(store: ClipStore, indices: Array, rates: Array, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "clip": str(store.names[index]),
            "label": str(store.classes[int(store.labels[index])]),
            "predicted": classes[int(row.argmax())],
            "rates": [float(rate) for rate in row],
        }
        for index, row in zip(indices, rates, strict=True)
    ]


def batches_of(store: ClipStore, indices: Array, size: int = 32) -> Iterator[Array]:
    """Yield clips [T, N, 2, H, W] of a store in batches."""
    for start in range(0, len(indices), size):
        yield store.batch(indices[start : start + size])


def chosen_clips(store: ClipStore, data: Path, split: str | None = None) -> Array:
    """Return which clips to use: a split, or "all"; by default the test split of a store, all of a folder.

    A folder of videos that somebody hands in is meant as a whole; a store that a network was trained on is not.
    """
    if split is None:
        split = "all" if data.is_dir() or "test" not in store.splits else "test"
    return np.arange(len(store)) if split == "all" else store.indices(split)


def spread(indices: Array, limit: int | None) -> Array:
    """Return at most ``limit`` of the indices, evenly spread over them.

    >>> spread(np.arange(10), 3)
    array([0, 4, 9])
    """
    if limit is None or limit >= len(indices):
        return indices
    return indices[np.rint(np.linspace(0, len(indices) - 1, limit)).astype(int)]
