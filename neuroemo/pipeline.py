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
    from torch import nn

    from neuroemo.datasets.clip_settings import ClipSettings
    from neuroemo.datasets.store import ClipStore
    from neuroemo.training.checkpoint import Description
    from neuroemo.training.distributed import World
    from neuroemo.training.loop import TrainSettings
    from neuroemo.training.resume import Keeping

Progress = Callable[[int, int, str], None]
Log = Callable[[str], None]


def quiet_progress(done: int, total: int, note: str = "") -> None:
    """Show nothing."""


def open_data(path: Path, settings: ClipSettings, progress: Progress = quiet_progress) -> ClipStore:
    """Open a prepared store, or turn videos (a folder, or one) into one that is kept and used again (``cache_of``).

    Raises:
        InputError: the data cannot be read, or were prepared with other settings.
    """
    from neuroemo.datasets.store import open_clips

    return open_clips(path, settings, cache_of(path), progress=lambda done, total: progress(done, total, ""))


def cache_of(videos: Path) -> Path:
    """Return where the events of videos are kept: in their folder, or with the temporary files if it is read-only."""
    folder = videos.parent if videos.is_file() else videos
    if os.access(folder, os.W_OK):
        return folder / ".neuroemo"
    return Path(tempfile.gettempdir()) / f"neuroemo-{getpass.getuser()}"


def train_network(
    model: str,
    data: Path,
    out: Path,
    settings: TrainSettings,
    progress: Progress = quiet_progress,
    *,
    world: World | None = None,
    keeping: Keeping | None = None,
    stop: Callable[[], int] | None = None,
) -> dict[str, Any]:
    """Train a named network on a store and score it on the test split, beside chance and the mean-frame baseline.

    ``world``, ``keeping`` and ``stop`` as in ``loop.train``; only the first process scores, the others return {}.
    """
    from neuroemo.datasets.store import ClipStore
    from neuroemo.models.emotion import spec_by_name
    from neuroemo.training import loop
    from neuroemo.training.checkpoint import TRAINING, load_model
    from neuroemo.training.evaluation import evaluate
    from neuroemo.training.resume import writing
    from neuroemo.training.run_file import RunFile, write_run

    if data.is_dir():
        raise InputError(
            Finding(
                "E082",
                "error",
                str(data),
                "a folder",
                "a file of prepared events",
                fix=f"prepare it first: neuroemo data prepare folder --root {data} --out clips.h5",
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
    tested = store.indices("test")
    loop.check_training(spec, store, settings)
    if world is None or world.is_first:
        write_run(out, RunFile(model, data.resolve(), settings))
    started = time.monotonic()
    history = loop.train(
        spec,
        store,
        out,
        settings,
        progress=lambda done, total, loss: progress(done, total, f"loss {loss:.4f}"),
        world=world,
        keeping=keeping,
        stop=stop,
    )
    if world is not None and not world.is_first:
        return {}
    network, description = load_model(out)
    result = {
        "ok": True,
        "checkpoint": str(out),
        "data": str(data.resolve()),
        "settings": asdict(settings),
        "seconds": time.monotonic() - started,
        "history": history,
        "test": evaluate(network, description.spec, store, tested).to_dict(),
        **_baselines(store),
    }
    with writing(out):
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
    from neuroemo.training.resume import writing
    from neuroemo.training.run_file import RunFile, write_run

    if start is None and data is None:
        fix = "say which events to train on, or which checkpoint to fine-tune: --data FILE.h5 or --start DIR"
        raise InputError(Finding("E080", "error", "--data", "is missing", fix=fix))
    chosen = {"epochs": fine_tune.EPOCHS, "learning_rate": fine_tune.LEARNING_RATE} | asked
    settings = TrainSettings(**common, **chosen)
    if start is None or start.resolve() != out.resolve():  # fine_tune refuses the other case
        write_run(out, RunFile(model, None if data is None else data.resolve(), settings, bits, start))
    begin = start or out / "float"
    if start is None and data is not None:
        train_network(model, data, begin, TrainSettings(**common), progress)
    store = ClipStore.open(data or trained_on(begin))
    started = time.monotonic()
    history = fine_tune.fine_tune(
        begin, store, out, bits, settings, lambda done, total, loss: progress(done, total, f"loss {loss:.4f}")
    )
    network, description = load_model(out)
    before, _ = load_model(begin)
    indices = store.indices("test")
    result = {
        "ok": True,
        "checkpoint": str(out),
        "start": str(begin),
        "bits": bits,
        "data": str((data or trained_on(begin)).resolve()),
        "settings": asdict(settings),
        "seconds": time.monotonic() - started,
        "history": history,
        "test": evaluate(network, description.spec, store, indices).to_dict(),
        "float": evaluate(before, description.spec, store, indices).to_dict(),
        **_baselines(store),
    }
    with writing(out):
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
    """Score a checkpoint on a store or on a folder of videos (``evaluation_document``); see ``chosen_clips``."""
    from neuroemo.training.evaluation import evaluate
    from neuroemo.training.evaluation_document import AboutClips, evaluation_document

    network, description, store, indices, labels = opened_for_scoring(checkpoint, data, split, progress)
    with store:
        result = evaluate(
            network, description.spec, store, indices, labels, progress=lambda done, total: progress(done, total, "")
        )
        about = AboutClips(
            classes=description.classes,
            clips=tuple(str(store.names[index]) for index in indices),
            subjects=tuple(str(store.subjects[index]) for index in indices),
        )
    told = {"ok": True, "exit_code": 0, "checkpoint": str(checkpoint), "data": str(data)}
    asked = {"network": description.spec.name, "split": split_meant(store, data, split)}
    return told | asked | evaluation_document(result, about)


def opened_for_scoring(
    checkpoint: Path, data: Path, split: str | None, progress: Progress = quiet_progress
) -> tuple[nn.Module, Description, ClipStore, Array, Array]:
    """Return a checkpoint's network and description, an open store, and which clips to score with their labels.

    Raises:
        InputError: the checkpoint or the data cannot be used, or the data have classes that the network has not.
    """
    from neuroemo.training.checkpoint import load_model

    network, description = load_model(checkpoint)
    store = open_data(data, description.events, progress)
    try:
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
    except BaseException:
        store.close()
        raise
    return network, description, store, indices, labels


def labels_of(store: ClipStore, indices: Array, classes: tuple[str, ...]) -> Array | None:
    """Return the labels of clips as indices into a network's classes; None if the data name others (or none)."""
    if not set(store.classes) <= set(classes):
        return None
    place = np.array([classes.index(name) for name in store.classes])
    return place[np.asarray(store.labels)[indices]]


def batches_of(store: ClipStore, indices: Array, size: int = 32) -> Iterator[Array]:
    """Yield clips [T, N, 2, H, W] of a store in batches."""
    for start in range(0, len(indices), size):
        yield store.batch(indices[start : start + size])


def chosen_clips(store: ClipStore, data: Path, split: str | None = None) -> Array:
    """Return which clips to use: a split, or "all"; by default the test split of a store, all of a folder.

    A folder of videos that somebody hands in is meant as a whole; a store that a network was trained on is not.
    """
    chosen = split_meant(store, data, split)
    return np.arange(len(store)) if chosen == "all" else store.indices(chosen)


def split_meant(store: ClipStore, data: Path, split: str | None) -> str:
    """Return the split that is asked for, or the default of ``chosen_clips``."""
    return split or ("all" if data.is_dir() or "test" not in store.splits else "test")


def spread(indices: Array, limit: int | None) -> Array:
    """Return at most ``limit`` of the indices, evenly spread over them.

    >>> spread(np.arange(10), 3)
    array([0, 4, 9])
    """
    if limit is None or limit >= len(indices):
        return indices
    return indices[np.rint(np.linspace(0, len(indices) - 1, limit)).astype(int)]
