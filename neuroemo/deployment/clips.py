"""The clips that an export is proved on: prepared events, videos, arrays, or random spikes when there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.deployment.array_file import check_shape, open_array_file
from neuroemo.pipeline import Progress, chosen_clips, labels_of, open_data, quiet_progress, spread

if TYPE_CHECKING:
    from neuroemo.deployment.model import LoadedModel

NEURON_STEPS = 2 * 10**8
"""Without --limit an export is proved on as many clips as make about so many decisions of neurons."""
BATCH_NEURON_STEPS = 4 * 10**7
MADE_CLIPS = 8


class ClipSet(Protocol):
    """Clips that can be read a few at a time."""

    @property
    def names(self) -> list[str]:
        """Names of the clips."""

    @property
    def words(self) -> str:
        """What the clips are, in words."""

    def batch(self, positions: Array) -> Array:
        """Return clips [T, N, ...], float32."""

    def labels(self, positions: Array) -> Array | None:
        """Return class indices [N], or None where they are not known."""

    def label_of(self, position: int) -> str | None:
        """Return what the data call a clip, whether or not the network knows that class."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredClips:
    """Clips of a prepared store, or of a folder of videos through its store."""

    store: Any
    indices: Array
    known_labels: Array | None
    words: str

    @property
    def names(self) -> list[str]:
        """Names of the clips."""
        return [str(self.store.names[index]) for index in self.indices]

    def batch(self, positions: Array) -> Array:
        """Return clips [T, N, 2, H, W]."""
        return np.asarray(self.store.batch(self.indices[positions]))

    def labels(self, positions: Array) -> Array | None:
        """Return class indices of the network."""
        return None if self.known_labels is None else self.known_labels[positions]

    def label_of(self, position: int) -> str:
        """Return the name of the folder a clip came from."""
        return str(self.store.classes[int(self.store.labels[self.indices[position]])])


@dataclass(frozen=True, slots=True, eq=False)
class ArrayClips:
    """Clips [T, N, ...] of an array, which may be mapped from a file, with labels [N] if there are any."""

    array: Array
    known_labels: Array | None
    words: str

    @property
    def names(self) -> list[str]:
        """Positions, as an array has no names."""
        return [f"clip {number}" for number in range(self.array.shape[1])]

    def batch(self, positions: Array) -> Array:
        """Return clips [T, N, ...]."""
        return np.ascontiguousarray(self.array[:, positions]).astype(np.float32)

    def labels(self, positions: Array) -> Array | None:
        """Return class indices as they were given."""
        return None if self.known_labels is None else self.known_labels[positions]

    def label_of(self, position: int) -> str | None:
        """Return the class index as a text."""
        return None if self.known_labels is None else str(self.known_labels[position])


def open_clips(
    model: LoadedModel, data: Path | None, split: str | None, progress: Progress = quiet_progress
) -> tuple[ClipSet, tuple[Finding, ...]]:
    """Open the clips to prove ``model`` on, and say what is worth knowing about them.

    Raises:
        InputError: the data cannot be read, or do not fit the network.
    """
    if data is None and model.checkpoint is not None:
        from neuroemo.training.checkpoint import trained_on

        data = trained_on(model.checkpoint)
    if data is None:
        noise = f"no --data were given: proved on {MADE_CLIPS} clips of random spikes"
        fix = "--data CLIPS.npy, prepared events or videos: agreement on noise says little about your data"
        return made_clips(model), (Finding("W650", "warning", "data", noise, fix=fix),)
    if data.suffix in (".npy", ".npz"):
        found = array_clips(data, model.input_shape, model.steps)
        if model.affect is not None and found.known_labels is not None:
            wrong, fix = "labels of classes, and the network estimates values", "leave them out, or give event frames"
            raise InputError(Finding("E999", "error", str(data), wrong, "clips alone", fix=fix))
        return found, ()
    if model.affect is not None:
        from neuroemo.deployment.affect import open_chunks

        return open_chunks(model.affect.spec, model.affect.frames_settings, data, split), ()
    return _stored(model, data, split, progress), ()


def _stored(model: LoadedModel, data: Path, split: str | None, progress: Progress) -> StoredClips:
    if model.description is not None:
        store = open_data(data, model.description.events, progress)
    else:
        store = _plain_store(model, data)
    indices = chosen_clips(store, data, split)
    labels = None if model.classes is None else labels_of(store, indices, model.classes)
    part = "all" if len(indices) == len(store) else split or "test"
    return StoredClips(store, indices, labels, f"clips of {data.name} ({part})")


def _plain_store(model: LoadedModel, data: Path) -> Any:
    from neuroemo.datasets.store import ClipStore

    if data.is_dir():
        fix = (
            f"prepare it first: neuroemo events {data} -o clips.h5 --size {model.input_shape[-1]} --steps {model.steps}"
        )
        raise InputError(Finding("E651", "error", str(data), "a folder", "a file of prepared events", fix=fix))
    store = ClipStore.open(data)
    made = ((2, store.settings.size, store.settings.size), store.settings.steps, store.settings.first_frame)
    wanted = (model.input_shape, model.steps, model.first_frame)
    names = ("frames", "steps", "first frame")
    wrong = [(name, has, want) for name, has, want in zip(names, made, wanted, strict=True) if has != want]
    if wrong:
        raise InputError([Finding("E652", "error", str(data), f"{name} {has}", str(want)) for name, has, want in wrong])
    return store


def array_clips(path: Path, input_shape: tuple[int, ...], steps: int) -> ArrayClips:
    """Open ``CLIPS.npy`` [N, T, ...], or ``CLIPS.npz`` with ``clips`` and perhaps ``labels`` [N]; nothing is unpickled.

    Raises:
        InputError: not readable, or not of the network's shape.
    """
    rows, labels = open_array_file(path)
    check_shape(path, rows.shape, input_shape, steps, as_vector=False)
    return ArrayClips(rows.map().swapaxes(0, 1), labels, f"clips of {path.name}")


def made_clips(model: LoadedModel, seed: int = 0) -> ArrayClips:
    """Make clips of independent random spikes, sparser and denser ones, with a random gray frame where one belongs."""
    rng = np.random.default_rng(seed)
    densities = np.geomspace(0.02, 0.5, MADE_CLIPS).reshape(1, -1, *([1] * len(model.input_shape)))
    clips = (rng.random((model.steps, MADE_CLIPS, *model.input_shape)) < densities).astype(np.float32)
    if model.first_frame == "float":
        clips[0] = rng.integers(0, 256, clips[0].shape) / 255.0
    return ArrayClips(clips, None, "clips of random spikes")


def batches_to_prove_on(
    model: LoadedModel, clips: ClipSet, limit: int | None
) -> tuple[Iterator[tuple[Array, Array | None]], str]:
    """Return batches (clips, labels) evenly spread over ``clips``, and how many there are, in words."""
    if limit is not None and limit < 1:
        raise InputError(Finding("E658", "error", "--limit", str(limit), "at least 1"))
    total = len(clips.names)
    if not total:
        raise InputError(Finding("E659", "error", clips.words, "no clips", "at least 1"))
    graph = model.source.graph(clips.batch(np.zeros(1, dtype=int)))
    shapes = [out for node, _, out in graph.layers() if type(node).__name__ == "LIF"]
    per_clip = max(graph.steps * sum(int(np.prod(shape)) for shape in shapes), 1)
    count = limit or max(1, NEURON_STEPS // per_clip)
    positions = spread(np.arange(total), min(count, total))
    size = max(1, min(32, BATCH_NEURON_STEPS // per_clip))

    def batches() -> Iterator[tuple[Array, Array | None]]:
        for start in range(0, len(positions), size):
            chosen = positions[start : start + size]
            yield clips.batch(chosen), clips.labels(chosen)

    return batches(), f"{len(positions)} of {total} {clips.words}"
