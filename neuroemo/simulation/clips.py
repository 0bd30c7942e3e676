"""The clips to simulate: arrays in files, read a batch at a time, or a prepared store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Shape
from neuroemo.deployment.array_file import Rows, find_array, open_array_file


@dataclass(frozen=True, slots=True, eq=False)
class FileClips:
    """Clips of files with the network's ``frame``; ``known_labels`` [N] if there are any.

    Values come as ``dtype``, or as they are stored where that is None. ``label_names`` says what the labels are
    called where the files themselves do (folders).
    """

    rows: Rows
    names: list[str]
    words: str
    frame: Shape
    dtype: Any
    known_labels: Array | None = None
    label_names: tuple[str, ...] | None = None

    def batch(self, positions: Array) -> Array:
        """Return clips [T, N, ...]."""
        values = self.rows.read(positions)
        shaped = values.reshape(*values.shape[:2], *self.frame).swapaxes(0, 1)
        return shaped if self.dtype is None else np.ascontiguousarray(shaped, dtype=self.dtype)

    def labels(self, positions: Array) -> Array | None:
        """Return class indices [N], or None where they are not known."""
        return None if self.known_labels is None else self.known_labels[positions]

    def label_of(self, position: int) -> str | None:
        """Return what the data call a clip."""
        if self.label_names is not None:
            return self.label_names[position]
        return None if self.known_labels is None else str(self.known_labels[position])


@dataclass(frozen=True, slots=True, eq=False)
class FolderRows:
    """One clip [T, ...] per file, all of one shape; the files are opened when they are read."""

    paths: tuple[Path, ...]
    clip_shape: tuple[int, ...]
    dtype: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Clips, steps, and the shape of a frame."""
        return (len(self.paths), *self.clip_shape)

    def read(self, positions: Array) -> Array:
        """Return the clips at ``positions``, [n, T, ...]."""
        return np.stack([find_array(self.paths[position]).map() for position in np.asarray(positions).tolist()])

    def blocks(self) -> Iterator[tuple[int, int, Array]]:
        """Yield (clip, 0, values [1, T, ...]) file by file."""
        for clip, path in enumerate(self.paths):
            yield clip, 0, find_array(path).map()[None]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedFiles:
    """Arrays on disk before it is known which network they are for."""

    rows: Rows
    names: list[str]
    words: str
    labels: Array | None = None
    label_names: tuple[str, ...] | None = None

    def clips(self, frame: Shape, dtype: Any, classes: tuple[str, ...] | None) -> FileClips:
        """Return the clips for a network of ``frame``; names of folders become labels where they are classes."""
        labels = self.labels
        if self.label_names is not None and classes is not None and set(self.label_names) <= set(classes):
            labels = np.array([classes.index(name) for name in self.label_names])
        return FileClips(self.rows, self.names, self.words, frame, dtype, labels, self.label_names)


def holds_arrays(data: Path) -> bool:
    """Whether ``data`` is an array file, or a folder of them."""
    if data.suffix in (".npy", ".npz"):
        return True
    return data.is_dir() and bool(_array_files(data))


def open_arrays(data: Path) -> OpenedFiles:
    """Open an array file [N, T, ...], or a folder of ``.npy`` files with one clip [T, ...] each.

    Raises:
        InputError: a file that cannot be used, or files of different shapes.
    """
    if data.is_dir():
        return _open_folder(data)
    rows, labels = open_array_file(data)
    return OpenedFiles(rows, [f"clip {number}" for number in range(rows.shape[0])], data.name, labels)


def _array_files(folder: Path) -> list[Path]:
    return sorted(path for pattern in ("*.npy", "*/*.npy") for path in folder.glob(pattern) if path.is_file())


def _open_folder(folder: Path) -> OpenedFiles:
    paths = _array_files(folder)
    arrays = [find_array(path) for path in paths]
    shape = arrays[0].shape
    wrong = [
        Finding("E679", "error", str(path), f"a clip of shape {array.shape}", f"{shape} like {paths[0].name}")
        for path, array in zip(paths, arrays, strict=True)
        if array.shape != shape or len(shape) < 2 or not prod(shape)
    ]
    if wrong:
        raise InputError(wrong)
    rows = FolderRows(tuple(paths), shape, np.result_type(*{array.dtype for array in arrays}))
    nested = all(path.parent != folder for path in paths)
    labels = tuple(path.parent.name for path in paths) if nested else None
    return OpenedFiles(rows, [str(path.relative_to(folder)) for path in paths], folder.name, label_names=labels)
