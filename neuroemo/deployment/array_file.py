"""Clips in numpy files: ``CLIPS.npy`` [N, T, ...] is mapped from disk, never read whole and never unpickled.

``CLIPS.npz`` holds ``clips`` and perhaps ``labels`` [N]; its clips are unpacked to a temporary file and mapped as well,
so that the memory needed does not depend on the number of clips.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Literal, Protocol

import numpy as np

from export.storage import DAMAGE
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Shape

WANTED = "clips [N, T, C, H, W] or [N, T, F] of numbers"
HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
BLOCK_BYTES = 1 << 24


class Rows(Protocol):
    """Clips in a file: ``shape`` [N, T, ...], read a few at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Clips, steps, and the shape of a frame."""

    @property
    def dtype(self) -> Any:
        """Type of the values as they are stored."""

    def read(self, positions: Array) -> Array:
        """Return the clips at ``positions``, [n, T, ...]."""

    def blocks(self) -> Iterator[tuple[int, int, Array]]:
        """Yield (first clip, first step, values [n, t, ...]) over everything, in pieces of bounded size."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array in an open file or at a path, mapped anew for every look at it.

    A mapping that lives on keeps every page in memory that was ever read, until the system wants it back.
    """

    source: Path | IO[bytes]
    dtype: Any
    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]

    def map(self) -> Array:
        """Return the array, still on disk."""
        if not prod(self.shape):
            return np.zeros(self.shape, self.dtype)
        return np.memmap(self.source, self.dtype, "r", self.offset, self.shape, self.order)

    def read(self, positions: Array) -> Array:
        """Return what is at ``positions`` of the first axis: still on disk where they lie side by side."""
        first, last = int(positions[0]), int(positions[-1])
        side_by_side = bool((np.asarray(positions) == np.arange(first, first + len(positions))).all())
        return self.map()[first : last + 1] if side_by_side else np.asarray(self.map()[positions])

    def blocks(self) -> Iterator[tuple[int, int, Array]]:
        """Yield (first clip, first step, values [n, t, ...]) in pieces of about ``BLOCK_BYTES``."""
        clips, steps, *frame = self.shape
        per_step = max(1, prod(frame) * self.dtype.itemsize)
        many_steps = max(1, min(steps, BLOCK_BYTES // per_step))
        many_clips = max(1, BLOCK_BYTES // (per_step * steps))
        for clip in range(0, clips, many_clips):
            for step in range(0, steps, many_steps):
                yield clip, step, np.asarray(self.map()[clip : clip + many_clips, step : step + many_steps])


def open_array_file(path: Path) -> tuple[StoredArray, Array | None]:
    """Open ``CLIPS.npy``, or the ``clips`` of ``CLIPS.npz``, and return them with the labels [N] if there are any.

    Raises:
        InputError: no such file, not a numpy file, cut off, not numbers, no clips, no steps, or wrong labels.
    """
    array, labels = find_array(path), None
    if path.suffix == ".npz":
        labels = _labels(path)
    refuse_empty(path, array.shape)
    if labels is not None and (labels.shape != (array.shape[0],) or labels.dtype.kind not in "iu"):
        found = f"labels of shape {labels.shape}, {labels.dtype}"
        raise InputError(Finding("E657", "error", str(path), found, f"{array.shape[0]} integers"))
    return array, labels


def find_array(path: Path) -> StoredArray:
    """Find the array in a ``.npy`` file, or ``clips`` in a ``.npz`` file, whatever its shape.

    Raises:
        InputError: no such file, not a numpy file, cut off, or not numbers.
    """
    try:
        if path.suffix == ".npz":
            return _unpacked(path)
        with path.open("rb") as file:
            return _described(file, path, path, path.stat().st_size)
    except FileNotFoundError as error:
        raise InputError(Finding("E653", "error", str(path), "no such file", WANTED)) from error
    except (*DAMAGE, SyntaxError, TokenError) as error:
        found = f"not a readable array file: {type(error).__name__}: {error}"
        fix = "write it with numpy.save(FILE, clips)"
        raise InputError(Finding("E654", "error", str(path), found, WANTED, fix=fix)) from error


def _described(file: IO[bytes], source: Path | IO[bytes], path: Path, size: int) -> StoredArray:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"format version {version}")
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.kind not in "fiub":
        fix = "save numbers or booleans; nothing is ever unpickled"
        raise InputError(Finding("E656", "error", str(path), f"values of type {dtype}", "numbers", fix=fix))
    if any(n < 0 for n in shape):
        raise ValueError(f"shape {shape}")
    offset, promised = file.tell(), prod(shape) * dtype.itemsize
    if size - offset < promised:
        found = f"cut off: the header promises {promised} bytes of values, the file holds {size - offset}"
        short = f"{promised - (size - offset)} bytes short"
        raise InputError(Finding("E670", "error", str(path), found, f"{promised} bytes", short, "copy the file again"))
    return StoredArray(source, dtype, offset, shape, "F" if fortran else "C")


def _unpacked(path: Path) -> StoredArray:
    """Unpack ``clips`` to a temporary file that vanishes with the array."""
    with zipfile.ZipFile(path) as archive:
        packed = archive.getinfo("clips.npy")
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if packed.file_size > free:
            found = f"clips of {packed.file_size} bytes once unpacked"
            over, fix = str(packed.file_size - free), "save the clips alone as .npy, which is read in place"
            raise InputError(Finding("E671", "error", str(path), found, f"{free} bytes of free disk", over, fix))
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the array)
        with archive.open(packed) as source:
            shutil.copyfileobj(source, unpacked, BLOCK_BYTES)
        unpacked.seek(0)
        return _described(unpacked, unpacked, path, packed.file_size)


def _labels(path: Path) -> Array | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive["labels"]) if "labels" in archive.files else None
    except (*DAMAGE, SyntaxError, TokenError) as error:
        found = f"labels that cannot be read: {type(error).__name__}: {error}"
        raise InputError(Finding("E657", "error", str(path), found, "one integer per clip")) from error


def refuse_empty(path: Path, shape: tuple[int, ...]) -> None:
    """Raise for an array that is no clips [N, T, ...], or holds none.

    Raises:
        InputError: fewer than three axes, no clips, no steps, or frames of nothing.
    """
    if len(shape) < 3:
        fix = "one clip is [1, T, ...]: numpy.save(FILE, clip[None])"
        raise InputError(Finding("E655", "error", str(path), f"shape {shape}", WANTED, fix=fix))
    empty = ("clips", "steps")
    for axis, size in enumerate(shape):
        if not size:
            what = empty[axis] if axis < 2 else f"values: axis {axis} has length 0"
            found = f"shape {shape}: no {what}"
            raise InputError(Finding("E672", "error", str(path), found, "at least 1", fix="save at least one clip"))


def check_shape(path: Path, shape: tuple[int, ...], frame: Shape, steps: int | None, *, as_vector: bool) -> None:
    """Raise unless clips [N, T, ...] fit a network of ``frame``; ``as_vector`` lets the frame be flattened or not.

    Raises:
        InputError: another frame, another number of steps, or the first two axes exchanged.
    """
    wanted = f"[N, {'T' if steps is None else steps}, {', '.join(map(str, frame))}]"
    # A vector has its values in one order; an image with its axes exchanged has as many, in another.
    flat = min(sum(size > 1 for size in axes) for axes in (shape[2:], frame)) <= 1
    fits = shape[2:] == frame or (as_vector and flat and prod(shape[2:]) == prod(frame))
    if fits and steps is not None and shape[1] != steps and shape[0] == steps:
        found = f"shape {shape} looks like [T, N, ...]: the first axis has the {steps} steps of the network"
        fix = "files hold one clip after the other: numpy.save(FILE, clips.swapaxes(0, 1))"
        raise InputError(Finding("E673", "error", str(path), found, wanted, fix=fix))
    if not fits or (steps is not None and shape[1] != steps):
        raise InputError(Finding("E655", "error", str(path), f"shape {shape}", wanted, fix="N clips of T steps each"))
