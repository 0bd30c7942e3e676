"""A prepared data set: clips simulated once, kept in one HDF5 file, read as batches for a network."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.chunks import EncodedClip, MappedChunks, encode_clip
from neuroemo.datasets.clip_settings import ClipSettings
from neuroemo.datasets.folder import SPLITS, VideoFolder, scan_folder
from neuroemo.datasets.folder_content import is_visible_video
from neuroemo.datasets.folder_key import folder_key
from neuroemo.datasets.pool import parallel_map
from neuroemo.datasets.store_file import (
    MEAN_SCALE,
    StoreIndex,
    pack_clip,
    read_index,
    read_manifest_text,
    store_error,
    unpack_spikes,
    write_store,
)
from neuroemo.events.clip import Clip, EventDensity, density_from_counts
from neuroemo.events.framediff import GRAY_LEVELS, FrameDiffSettings, frame_difference

if TYPE_CHECKING:
    from neuroemo.datasets.manifest import Manifest

Progress = Callable[[int, int], None]
Floats = npt.NDArray[np.float32]
_Job = tuple[str, str, FrameDiffSettings]
_Outcome = Union[EncodedClip, "tuple[Finding, ...]"]

_CACHE_BYTES = 256 << 20
"""Packed spikes up to this size are kept in memory after the first read."""


@dataclass(slots=True)
class ClipStore:
    """An open store of N clips; open it with ``ClipStore.open`` and close it, or use ``with``.

    ``classes`` are the sorted class names; ``labels`` int64 ``[N]`` index them; ``splits``, ``subjects``
    and ``names`` hold one text per clip; ``settings`` are those of the simulation.
    """

    path: Path
    index: StoreIndex
    _file: Any = field(repr=False)
    _packed: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    _mapped: dict[str, MappedChunks | None] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> ClipStore:
        """Open a store and check it; raises ``InputError`` for any file that is not a sound store."""
        import h5py

        where = Path(path)
        if not where.is_file():
            fix = "check the path, or prepare the data set first"
            raise InputError(Finding("E741", "error", str(where), "no such file", fix=fix))
        file = None
        try:
            file = h5py.File(where, "r")
            index = read_index(file, where)
        except BaseException as error:
            if file is not None:
                file.close()
            # The HDF5 library raises many kinds on a damaged file; all mean the same to the user.
            if isinstance(error, InputError) or not isinstance(error, Exception):
                raise
            raise store_error(where, f"not a readable store: {_reason(error)}") from error
        return cls(where, index, file)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.index.names)

    def __enter__(self) -> ClipStore:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; the index stays readable."""
        for chunks in self._mapped.values():
            if chunks is not None:
                chunks.close()
        self._mapped.clear()
        self._file.close()

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted class names."""
        return self.index.classes

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class index of every clip, int64 ``[N]``."""
        return self.index.labels

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject of every clip, "" when unknown."""
        return self.index.subjects

    @property
    def splits(self) -> tuple[str, ...]:
        """Split of every clip: train, val or test."""
        return self.index.splits

    @property
    def names(self) -> tuple[str, ...]:
        """Path of every clip's video, relative to its data set."""
        return self.index.names

    @property
    def settings(self) -> ClipSettings:
        """The settings that the clips were made with."""
        return self.index.settings

    @property
    def values(self) -> Floats | None:
        """Numeric labels, float32 ``[N, T, V]``, NaN where a step has none; None where the store has none."""
        return self.index.values

    @property
    def value_names(self) -> tuple[str, ...]:
        """What the V values of a step are, e.g. valence and arousal."""
        return self.index.value_names

    def fingerprint(self) -> str:
        """Return a hash of what the store holds: settings, names, labels, subjects, splits, and its pictures.

        Of the pictures the checksums of the manifest go in, or without one the mean frame of every clip and the
        number of events: the spikes themselves are not read for it.
        """
        index = self.index
        columns = [index.classes, index.labels.tolist(), index.splits, index.subjects, index.names]
        content = [self.settings.to_dict(), *columns, index.valid_steps.tolist(), index.fps.tolist(), index.events]
        if index.values is not None:
            content += [list(index.value_names), hashlib.sha256(index.values.tobytes()).hexdigest()]
        listed = self._file.attrs.get("manifest_sha256")
        content.append(str(listed) if listed else hashlib.sha256(self._file["mean_frame"][:].tobytes()).hexdigest())
        return hashlib.sha256(json.dumps(content, default=list).encode()).hexdigest()

    def density(self) -> EventDensity:
        """Return the event density over the real spike steps of all clips (see ``event_density``).

        Steps longer than a frame may hold ON and OFF of one pixel: there the spikes are read to count these once.
        """
        both = 0
        if not isinstance(self.settings, FrameDiffSettings):
            for clip in map(self.clip, range(len(self))):
                both += int(np.count_nonzero(clip.spikes[clip.spike_start : clip.valid_steps].all(axis=1)))
        return density_from_counts(*self.index.events, both=both)

    def indices(self, split: str) -> npt.NDArray[np.int64]:
        """Return the indices of a split, ascending; raises ``InputError`` for an unknown or empty one."""
        if split not in SPLITS:
            raise InputError(Finding("E742", "error", "split", repr(split), " ".join(SPLITS)))
        found = np.flatnonzero(np.array([name == split for name in self.splits]))
        if not len(found):
            raise InputError(Finding("E742", "error", str(self.path), f"no clips in split {split!r}"))
        return found.astype(np.int64)

    def clip(self, index: int) -> Clip:
        """Return clip ``index``; raises ``InputError`` for an index out of range or damaged data."""
        position = int(self._positions([index])[0])
        spikes = unpack_spikes(self._read("spikes", np.array([position]))[0], self.settings)
        first = None
        if self.settings.first_frame == "float":
            first = _unit(self._read("first_frame", np.array([position]))[0])
        return Clip(spikes, first, int(self.index.valid_steps[position]), float(self.index.fps[position]))

    def batch(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Floats:
        """Return clips as the network reads them, float32 ``[T, N, 2, H, W]``, gray frame at t = 0."""
        positions = self._positions(indices)
        settings = self.settings
        values = np.empty((settings.steps, len(positions), 2, settings.size, settings.size), np.float32)
        # Clip by clip: the bits of one fit the processor's cache, those of a batch do not.
        for row, packed in enumerate(self._read("spikes", positions)):
            values[:, row] = unpack_spikes(packed, settings)
        if self.settings.first_frame == "float":
            values[0] = _unit(self._read("first_frame", positions))[:, None]
        return values

    def mean_frames(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Floats:
        """Return the per-pixel mean of the gray frames used, float32 ``[N, H, W]`` in [0, 1].

        Kept to 1/256 of a gray level; the trivial baseline that a network on events has to beat.
        """
        mean = self._read("mean_frame", self._positions(indices)).astype(np.float32)
        return mean / np.float32(MEAN_SCALE * GRAY_LEVELS)

    def manifest(self) -> Manifest | None:
        """Return what the store was made of, None when it was made without; raises ``InputError`` if damaged."""
        from neuroemo.datasets.manifest import read_manifest

        try:
            text = read_manifest_text(self._file, self.path)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise store_error(self.path, f"the manifest cannot be read: {_reason(error)}") from error
        return read_manifest(text, self.path) if text else None

    def pictures(self, index: int) -> dict[str, npt.NDArray[Any]]:
        """Return what is stored of clip ``index``, read from the file: packed spikes, mean and first frame."""
        position = self._positions([index])
        names = ("spikes", "mean_frame", *(("first_frame",) if self.settings.first_frame == "float" else ()))
        return {name: self._read(name, position, cached=False)[0] for name in names}

    def _positions(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        positions = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(positions) and (positions.min() < 0 or positions.max() >= len(self)):
            found = f"{positions.min()}..{positions.max()}"
            raise InputError(Finding("E743", "error", "clip index", found, f"0..{len(self) - 1}"))
        return positions

    def _read(self, name: str, positions: npt.NDArray[np.int64], *, cached: bool = True) -> npt.NDArray[Any]:
        """Read rows of a dataset in the order asked for."""
        try:
            if cached and name == "spikes" and self._spikes_fit():
                if self._packed is None:
                    self._packed = self._rows(name, np.arange(len(self)))
                return self._packed[positions]
            return self._rows(name, positions)
        except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
            raise store_error(self.path, f"{name} cannot be read: {_reason(error)}") from error

    def _rows(self, name: str, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        data = self._file[name]
        if name not in self._mapped:
            self._mapped[name] = MappedChunks.of(data, self.path)
        chunks = self._mapped[name]
        rows = np.empty((len(positions), *data.shape[1:]), dtype=data.dtype)
        for row, position in enumerate(positions):
            if chunks is not None:
                rows[row] = chunks.row(int(position))
            else:
                data.read_direct(rows, np.s_[int(position)], np.s_[row])
        return rows

    def _spikes_fit(self) -> bool:
        return bool(self._file["spikes"].nbytes <= _CACHE_BYTES)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__} {(str(error).splitlines() or [''])[0]}".strip()


def _unit(gray: npt.NDArray[np.uint8]) -> Floats:
    """Return 8-bit gray as float32 in [0, 1], as ``frame_difference`` does."""
    return gray.astype(np.float32) / np.float32(GRAY_LEVELS)


def prepare_store(
    root: str | Path,
    out: str | Path,
    settings: FrameDiffSettings,
    *,
    workers: int = 2,
    progress: Progress | None = None,
    force: bool = False,
    require_classes: bool = True,
) -> ClipStore:
    """Decode and simulate every video of a folder into one store file, and open it.

    The content depends on the videos, the labels and the settings alone, not on ``workers``. The file is
    written beside its place and moved there when complete. ``progress(done, total)`` is called per clip.
    ``require_classes`` as in ``scan_folder``: False for videos to be answered, not learnt from.

    Raises ``InputError`` for a folder that ``scan_folder`` refuses, for an existing ``out`` without
    ``force``, and for broken videos, all of them at once; then nothing is written.
    """
    target = Path(out)
    if target.exists() and not force:
        fix = "give another path, or force=True to replace it"
        raise InputError(Finding("E744", "error", str(target), "exists already", fix=fix))
    folder = scan_folder(root, require_classes=require_classes)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_folder(folder, temporary, settings, workers, progress)
        os.replace(temporary, target)
    except OSError as error:
        found = f"cannot be written: {_reason(error)}"
        fix = "check the path, its rights and the free space"
        raise InputError(Finding("E745", "error", str(target), found, fix=fix)) from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return ClipStore.open(target)


def _write_folder(
    folder: VideoFolder, path: Path, settings: FrameDiffSettings, workers: int, progress: Progress | None
) -> None:
    """Simulate all clips of a folder into ``path``."""
    entries = folder.entries
    jobs = [(str(entry.path), entry.name, settings) for entry in entries]
    write_store(
        path,
        _sound_clips(parallel_map(_simulate, jobs, workers=workers), len(jobs), progress),
        settings=settings,
        classes=folder.classes,
        labels=[folder.classes.index(entry.label) for entry in entries],
        splits=[entry.split for entry in entries],
        subjects=[entry.subject for entry in entries],
        names=[entry.name for entry in entries],
    )


def _sound_clips(outcomes: Iterator[_Outcome], total: int, progress: Progress | None) -> Iterator[EncodedClip]:
    """Pass on the clips; after the last one, raise for all broken ones together."""
    findings: list[Finding] = []
    for done, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, EncodedClip):
            if not findings:  # the file is thrown away anyway once a clip is broken
                yield outcome
        else:
            findings.extend(outcome)
        if progress is not None:
            progress(done, total)
    if findings:
        raise InputError(findings)


def _simulate(job: _Job) -> _Outcome:
    """Decode and simulate one video (runs in a worker process); a broken one gives its findings."""
    from neuroemo.events.rate import read_at_rate

    path, name, settings = job
    try:
        video = read_at_rate(path, size=settings.size, max_frames=settings.frames_needed, fps=settings.fps)
        clip = frame_difference(video.frames, settings, fps=video.fps)
    except InputError as error:
        return tuple(
            Finding(f.code, f.severity, name if f.node == path else f.node, f.found, f.limit, f.over, f.fix)
            for f in error.findings
        )
    return encode_clip(pack_clip(clip, video.frames))


def open_clips(
    path: str | Path,
    settings: ClipSettings | None = None,
    cache_dir: str | Path | None = None,
    *,
    workers: int = 2,
    progress: Progress | None = None,
) -> ClipStore:
    """Open a store file, or a folder of videos (or a single video) by preparing it once.

    Their store lies in ``cache_dir`` (default: ``.neuroemo`` in the folder) under a hash of names, sizes,
    modification times, ``labels.csv`` and settings, and is used again until one of them changes.

    Raises ``InputError`` when ``settings`` are given and the store file was made with others, and whatever
    ``ClipStore.open`` and ``prepare_store`` raise.
    """
    source = Path(path)
    if not source.is_dir() and not is_visible_video(source):
        store = ClipStore.open(source)
        if settings is not None and store.settings != settings:
            store.close()
            found = json.dumps(store.settings.to_dict())
            limit = json.dumps(settings.to_dict())
            fix = "prepare the data set with these settings"
            raise InputError(Finding("E746", "error", str(source), found, limit, fix=fix))
        return store
    wanted = settings or FrameDiffSettings()
    if not isinstance(wanted, FrameDiffSettings):
        fix = "prepare the folder with them first: neuroemo data prepare folder --help"
        found = "videos for a network of other events than frame differences"
        raise InputError(Finding("E746", "error", str(source), found, json.dumps(wanted.to_dict()), fix=fix))
    folder = scan_folder(source, require_classes=False)
    cache = Path(cache_dir) if cache_dir is not None else (source if source.is_dir() else source.parent) / ".neuroemo"
    target = cache / f"clips-{folder_key(folder, wanted)}.h5"
    if target.is_file():
        try:
            return ClipStore.open(target)
        except InputError:
            pass  # a damaged cache is made again
    return prepare_store(source, target, wanted, workers=workers, progress=progress, force=True, require_classes=False)
