"""Event frames with their labels, made once and kept in one HDF5 file: random access by frame, clip by clip in time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.chunks import MappedChunks
from neuroemo.datasets.event_frame_file import FrameIndex, read_frame_index, read_frames_manifest
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.folder import SPLITS
from neuroemo.datasets.store_file import store_error

if TYPE_CHECKING:
    from neuroemo.datasets.event_frame_manifest import FrameManifest

AFFECT = ("valence", "arousal")

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_CACHE_BYTES = 512 << 20
"""Codes up to this size in all are kept in memory, each frame from its first reading on."""


@dataclass(slots=True)
class EventFrames:
    """An open store of M event frames of C clips; open it with ``EventFrames.open`` and close it, or use ``with``."""

    path: Path
    index: FrameIndex
    _file: Any = field(repr=False)
    _chunks: MappedChunks | None = field(default=None, repr=False)
    _kept: Codes | None = field(default=None, repr=False)
    _known: npt.NDArray[np.bool_] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> EventFrames:
        """Open a store and check it; raises ``InputError`` (E740, E741) for any file that is not a sound store."""
        import h5py

        where = Path(path)
        if not where.is_file():
            fix = "check the path, or make it first: neuroemo data frames --help"
            raise InputError(Finding("E741", "error", str(where), "no such file", fix=fix))
        file = None
        try:
            file = h5py.File(where, "r")
            return cls(where, read_frame_index(file, where), file, MappedChunks.of(file["codes"], where))
        except BaseException as error:
            if file is not None:
                file.close()
            # The HDF5 library raises many kinds on a damaged file; all mean the same to the user.
            if isinstance(error, InputError) or not isinstance(error, Exception):
                raise
            raise store_error(where, f"not a readable store: {_reason(error)}") from error

    def __len__(self) -> int:
        """Return M, the number of frames."""
        return len(self.index.clip)

    def __enter__(self) -> EventFrames:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; everything but the codes stays readable."""
        if self._chunks is not None:
            self._chunks.close()
        self._chunks = self._kept = self._known = None
        self._file.close()

    @property
    def settings(self) -> EventFrameSettings:
        """How the frames were made."""
        return self.index.settings

    @property
    def clip_names(self) -> tuple[str, ...]:
        """Name of every clip in its data set, [C]."""
        return self.index.clip_names

    @property
    def subjects(self) -> tuple[str, ...]:
        """Person of every clip, [C]; "" when unknown."""
        return self.index.subjects

    @property
    def splits(self) -> tuple[str, ...]:
        """Split of every clip, [C]: train, val, test, or "" where the data set comes in folds."""
        return self.index.splits

    @property
    def folds(self) -> Indices:
        """Fold of every clip, int64 [C]; -1 where the data set comes in splits."""
        return self.index.folds

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted names of the classes; none where the data set rates and does not classify."""
        return self.index.classes

    @property
    def labels(self) -> Indices:
        """Class of every clip, int64 [C], an index into ``classes``; -1 where it has none."""
        return self.index.labels

    @property
    def clip(self) -> Indices:
        """Clip of every frame, int64 [M], ascending."""
        return self.index.clip

    @property
    def times_us(self) -> npt.NDArray[np.float64]:
        """Mean time of the events of every frame in microseconds of its clip, float64 [M]; of an empty one the centre.

        A clip begins with its first video frame, or its first event. Frames that came as codes have their centre.
        """
        return self.index.times_us

    @property
    def events(self) -> Indices:
        """Events of every frame, int64 [M]; -1 for frames that came as codes, which do not say it."""
        return self.index.events

    @property
    def video_frames(self) -> Indices:
        """Number of the video frame nearest in time to every frame, int64 [M]; -1 where there was no video."""
        return self.index.video_frames

    @property
    def value_names(self) -> tuple[str, ...]:
        """What the V values of a frame are, sorted, e.g. arousal and valence; none where there are none."""
        return self.index.value_names

    @property
    def values(self) -> Floats:
        """Numeric labels of every frame, float32 [M, V]: of the video frame nearest in time; NaN where it has none."""
        return self.index.values

    def affect(self, indices: npt.ArrayLike | None = None) -> Floats:
        """Return valence and arousal, in this order, float32 ``[n, 2]``; of all frames without ``indices``.

        Raises ``InputError``: E847 for a store without them, E743 for an index out of range.
        """
        missing = [name for name in AFFECT if name not in self.value_names]
        if missing:
            found = f"no {' and no '.join(missing)}; it has {', '.join(self.value_names) or 'no values'}"
            fix = "use a data set that rates valence and arousal: afew-va, or faces"
            raise InputError(Finding("E847", "error", str(self.path), found, " and ".join(AFFECT), fix=fix))
        columns = [self.value_names.index(name) for name in AFFECT]
        rows = self.values if indices is None else self.values[self._positions(indices)]
        return np.ascontiguousarray(rows[:, columns])

    def indices(self, split: str) -> Indices:
        """Return the frames of a split, int64 ascending; raises ``InputError`` (E742) for an unknown or empty one."""
        if split not in SPLITS:
            raise InputError(Finding("E742", "error", "split", repr(split), " ".join(SPLITS)))
        found = self._frames_of([name == split for name in self.splits])
        if not len(found):
            fix = "this data set comes in folds: use fold(k)" if "" in self.splits else ""
            raise InputError(Finding("E742", "error", str(self.path), f"no clips in split {split!r}", fix=fix))
        return found

    def fold(self, k: int) -> dict[str, Indices]:
        """Return the frames {"train", "val", "test"} where fold k tests, fold k + 1 (modulo their number) validates.

        Raises ``InputError`` (E849) for a store without folds, with fewer than 3, or k out of range.
        """
        count = int(self.folds.max()) + 1
        if count < 3 or bool((self.folds < 0).any()):
            fix = "this data set comes in splits: use indices(split)" if count == 0 else "prepare it with more folds"
            raise InputError(Finding("E849", "error", str(self.path), f"{count} folds", "at least 3", fix=fix))
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 0 <= k < count:
            raise InputError(Finding("E849", "error", "fold", repr(k), f"0..{count - 1}"))
        test, val = self.folds == k, self.folds == (k + 1) % count
        return {name: self._frames_of(part) for name, part in (("train", ~test & ~val), ("val", val), ("test", test))}

    def _frames_of(self, clips: npt.ArrayLike) -> Indices:
        return np.flatnonzero(np.asarray(clips, bool)[self.clip]).astype(np.int64)

    def codes(self, indices: npt.ArrayLike) -> Codes:
        """Return codes, uint8 (N <= 8) or uint16 ``[n, H, W]``, ``sum over k of b_k 2^k`` with the bits of a frame.

        Raises ``InputError``: E743 for an index out of range, E740 for damaged data.
        """
        positions = self._positions(indices)
        size, kind = self.settings.size, np.dtype(self.settings.code_type)
        if len(self) * size * size * kind.itemsize > _CACHE_BYTES:
            return self.read(positions)
        if self._kept is None or self._known is None:
            # Reserved, not touched: memory is taken as frames are read.
            self._kept, self._known = np.empty((len(self), size, size), kind), np.zeros(len(self), np.bool_)
        missing = np.unique(positions[~self._known[positions]])
        if len(missing):
            self._kept[missing] = self.read(missing)
            self._known[missing] = True
        taken: Codes = self._kept[positions]
        return taken

    def read(self, indices: npt.ArrayLike) -> Codes:
        """Return codes as ``codes`` does, from the file itself, and keep none of them in memory."""
        positions = self._positions(indices)
        size, largest = self.settings.size, (1 << self.settings.n_bits) - 1
        codes: Any = np.empty((len(positions), size, size), np.dtype(self.settings.code_type))
        try:
            data = self._file["codes"]
            for row, position in enumerate(positions.tolist()):
                codes[row] = data[position] if self._chunks is None else self._chunks.row(position)
                if self.settings.n_bits not in (8, 16) and int(codes[row].max()) > largest:
                    raise ValueError(f"frame {position} holds the code {int(codes[row].max())}, above {largest}")
        except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
            raise store_error(self.path, f"codes cannot be read: {_reason(error)}") from error
        made: Codes = codes
        return made

    def frames(self, indices: npt.ArrayLike) -> Floats:
        """Return frames as networks read them, float32 ``[n, 1, H, W]``: ``code / 2^N``, in [0, 1).

        Raises ``InputError`` as ``codes`` does.
        """
        return (self.codes(indices).astype(np.float32) / np.float32(1 << self.settings.n_bits))[:, None]

    def bits(self, indices: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Return the slices of frames, uint8 {0, 1} ``[n, N, 1, H, W]``, the oldest first.

        Raises ``InputError`` as ``codes`` does.
        """
        from neuroemo.events.representations.binary import bit_weights

        codes, settings = self.codes(indices), self.settings
        steps = np.empty((len(codes), settings.n_bits, 1, *codes.shape[1:]), np.bool_)
        for number, weight in enumerate(bit_weights(settings.n_bits, settings.msb)):
            np.not_equal(codes & weight, 0, out=steps[:, number, 0])
        return steps.view(np.uint8)

    def fingerprint(self) -> str:
        """Return a hash of what the store holds; of the codes the checksums of the manifest, they are not read."""
        index = self.index
        texts = [self.settings.to_dict(), self.clip_names, self.subjects, self.splits, self.classes, self.value_names]
        digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
        rows = (index.clip, index.times_us, index.events, index.video_frames, index.values)
        for column in (index.folds, index.labels, *rows):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(str(self._file.attrs["manifest_sha256"]).encode())
        return digest.hexdigest()

    def manifest(self) -> FrameManifest:
        """Return what the store was made of; raises ``InputError`` (E740, E862) if that is damaged."""
        from neuroemo.datasets.event_frame_manifest import read_frame_manifest

        try:
            text = read_frames_manifest(self._file, self.path)
        except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
            raise store_error(self.path, f"the manifest cannot be read: {_reason(error)}") from error
        return read_frame_manifest(text, self.path)

    def _positions(self, indices: npt.ArrayLike) -> Indices:
        positions = np.asarray(indices)
        if positions.size and positions.dtype.kind not in "iu":
            raise InputError(Finding("E743", "error", "frame index", f"{positions.dtype}", "integers"))
        positions = positions.astype(np.int64).reshape(-1)
        if len(positions) and (positions.min() < 0 or positions.max() >= len(self)):
            found = f"{positions.min()}..{positions.max()}"
            raise InputError(Finding("E743", "error", "frame index", found, f"0..{len(self) - 1}"))
        return positions


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__} {(str(error).splitlines() or [''])[0]}".strip()
