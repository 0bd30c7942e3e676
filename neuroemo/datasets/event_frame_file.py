"""The HDF5 layout of a store of event frames: how it is written, and how an untrusted one is checked.

Attributes of the file: ``format``, ``schema`` and the JSON texts ``settings``, ``classes``, ``value_names``. M frames
of C clips, clip by clip in order of time:

    codes      uint8 (N <= 8) or uint16 [M, size, size], one chunk per frame, zlib(shuffle(codes))
    clip       int32 [M], number of the clip        time_us  float64 [M]        events  int64 [M], -1 unknown
    video_frame  int32 [M], the frame of the video whose label it takes, -1 where there is no video
    values     float32 [M, V], NaN where there is none; only with numeric labels
    name, subject  bytes [C], UTF-8                 split    uint8 [C], 255 none
    fold       int32 [C], -1 none                   label    int32 [C], -1 none
    manifest   uint8, the JSON text, with its sha256 in the attribute ``manifest_sha256``

Codes carry zlib's checksum and columns Fletcher-32, so damage is noticed on reading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import InputError
from neuroemo.datasets.chunks import COMPRESSION_LEVEL
from neuroemo.datasets.event_frame_settings import EventFrameSettings, event_frame_settings
from neuroemo.datasets.event_frame_source import NO_COUNT
from neuroemo.datasets.folder import SPLITS
from neuroemo.datasets.store_file import (
    MAX_CLIPS,
    MAX_MANIFEST_BYTES,
    MAX_NAME_BYTES,
    _dataset,
    _json,
    _text,
    store_error,
)

FORMAT = "neuroemo-event-frames"
SCHEMA = 1
MAX_FRAMES = 1 << 26
MAX_VALUES = 64
NONE = 255
"""A split that a clip has not, because the data set comes in folds."""

_FRAME_COLUMNS = {"clip": "<i4", "time_us": "<f8", "events": "<i8", "video_frame": "<i4"}
_CLIP_COLUMNS = {"fold": "<i4", "label": "<i4", "split": "u1"}
_TEXTS = ("name", "subject")


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Everything of a store but the codes: see ``EventFrames``."""

    settings: EventFrameSettings
    clip_names: tuple[str, ...]
    subjects: tuple[str, ...]
    splits: tuple[str, ...]
    folds: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    clip: npt.NDArray[np.int64]
    times_us: npt.NDArray[np.float64]
    events: npt.NDArray[np.int64]
    video_frames: npt.NDArray[np.int64]
    value_names: tuple[str, ...]
    values: npt.NDArray[np.float32]


def write_frames(path: Path, chunks: Iterable[bytes], index: FrameIndex, manifest: bytes) -> None:
    """Write a store; ``chunks`` (one per frame, in order) is consumed one by one. The bytes depend on the arguments."""
    import h5py

    settings, count = index.settings, len(index.clip)
    square = (settings.size, settings.size)
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        options = {"compression": "gzip", "compression_opts": COMPRESSION_LEVEL, "shuffle": True}
        kind = np.dtype(settings.code_type).newbyteorder("<")
        codes = file.create_dataset("codes", (count, *square), kind, chunks=(1, *square), **options)
        for number, chunk in enumerate(chunks):
            codes.id.write_direct_chunk((number, 0, 0), chunk)
        splits = [SPLITS.index(split) if split else NONE for split in index.splits]
        frame_columns = (index.clip, index.times_us, index.events, index.video_frames)
        columns = (*frame_columns, index.folds, index.labels, np.array(splits))
        for (name, column_kind), values in zip((_FRAME_COLUMNS | _CLIP_COLUMNS).items(), columns, strict=True):
            _write(file, name, values.astype(column_kind))
        for name, texts in zip(_TEXTS, (index.clip_names, index.subjects), strict=True):
            _write(file, name, np.array([text.encode() or b"\0" for text in texts], dtype=np.bytes_))
        if index.value_names:
            _write(file, "values", index.values.astype("<f4"))
        _write(file, "manifest", np.frombuffer(manifest, np.uint8))
        file.attrs["manifest_sha256"] = hashlib.sha256(manifest).hexdigest()
        file.attrs["format"] = FORMAT
        file.attrs["schema"] = SCHEMA
        for name, value in (
            ("settings", settings.to_dict()),
            ("classes", index.classes),
            ("value_names", index.value_names),
        ):
            file.attrs[name] = json.dumps(value, sort_keys=True)


def _write(file: Any, name: str, values: npt.NDArray[Any]) -> None:
    file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def is_event_frames(path: Path) -> bool:
    """Say whether a file calls itself a store of event frames; whether it is one, opening it tells."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _text(file.attrs.get("format")) == FORMAT
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return False


def read_frame_index(file: Any, path: Path) -> FrameIndex:
    """Read and check everything but the codes of an open, untrusted file.

    Raises ``InputError`` for any departure from the layout; other errors of the HDF5 library pass.
    """
    settings, classes, value_names = _read_attributes(file, path)
    frames = _check_codes(file, path, settings)
    clips = _count(file, path, "name", MAX_CLIPS)
    columns = {name: _column(file, path, name, (frames,), kind) for name, kind in _FRAME_COLUMNS.items()}
    columns |= {name: _column(file, path, name, (clips,), kind) for name, kind in _CLIP_COLUMNS.items()}
    values = np.zeros((frames, 0), np.float32)
    if value_names:
        values = _column(file, path, "values", (frames, len(value_names)), "<f4").astype(np.float32)
    splits = columns.pop("split")
    known = (*SPLITS, *([""] * (NONE + 1 - len(SPLITS))))
    names, subjects = (_texts(file, path, name, clips) for name in _TEXTS)
    index = FrameIndex(
        settings,
        names,
        subjects,
        tuple(known[code] for code in splits),
        columns["fold"].astype(np.int64),
        classes,
        columns["label"].astype(np.int64),
        columns["clip"].astype(np.int64),
        columns["time_us"].astype(np.float64),
        columns["events"].astype(np.int64),
        columns["video_frame"].astype(np.int64),
        value_names,
        values,
    )
    odd = sorted({int(code) for code in splits if code >= len(SPLITS) and code != NONE})
    problem = f"split {odd}" if odd else _problem(index)
    if problem:
        raise store_error(path, problem)
    return index


def _read_attributes(file: Any, path: Path) -> tuple[EventFrameSettings, tuple[str, ...], tuple[str, ...]]:
    if _text(file.attrs.get("format")) != FORMAT:
        raise store_error(path, "not a store of event frames", f"attribute format = {FORMAT!r}")
    schema = file.attrs.get("schema")
    if not isinstance(schema, (int, np.integer)) or schema != SCHEMA:
        found = repr(schema.item() if isinstance(schema, np.generic) else schema)
        raise store_error(path, f"schema version {found}", str(SCHEMA))
    try:
        settings = event_frame_settings(_json(file, path, "settings", dict))
    except InputError as error:
        raise store_error(path, f"settings: {error.findings[0].node} {error.findings[0].found}") from error
    named = []
    for name in ("classes", "value_names"):
        texts = _json(file, path, name, list)
        if not all(isinstance(text, str) and text for text in texts) or texts != sorted(set(texts)):
            raise store_error(path, f"{name} are not sorted, distinct names")
        named.append(tuple(texts))
    if len(_text(file.attrs.get("manifest_sha256"))) != 64:
        raise store_error(path, "attribute 'manifest_sha256' missing or malformed")
    if len(named[1]) > MAX_VALUES:
        raise store_error(path, f"{len(named[1])} values per frame", str(MAX_VALUES))
    return settings, named[0], named[1]


def _check_codes(file: Any, path: Path, settings: EventFrameSettings) -> int:
    """Check shape and type of the codes without reading them; return the number of frames."""
    count = _count(file, path, "codes", MAX_FRAMES)
    data, square = _dataset(file, path, "codes"), (settings.size, settings.size)
    if data.shape != (count, *square) or data.dtype != settings.code_type or data.chunks != (1, *square):
        found = f"codes: {data.dtype} {list(data.shape or ())}, chunks {data.chunks}"
        raise store_error(path, found, f"{settings.code_type} {[count, *square]}, one chunk per frame")
    return count


def _count(file: Any, path: Path, name: str, most: int) -> int:
    shape = _dataset(file, path, name).shape
    count = int(shape[0]) if shape else 0
    if not 1 <= count <= most:
        raise store_error(path, f"{name}: {count} rows", f"1..{most}")
    return count


def _column(file: Any, path: Path, name: str, shape: tuple[int, ...], kind: str) -> npt.NDArray[Any]:
    """Read a column of known shape and type; one whose data are not all there claims more than it holds."""
    data = _dataset(file, path, name)
    if data.shape != shape or data.dtype != np.dtype(kind) or data.id.get_storage_size() < data.nbytes:
        raise store_error(path, f"{name}: {data.dtype} {list(data.shape or ())}", f"{np.dtype(kind)} {list(shape)}")
    values: npt.NDArray[Any] = data[:]
    return values


def _texts(file: Any, path: Path, name: str, count: int) -> tuple[str, ...]:
    kind = _dataset(file, path, name).dtype
    if kind.kind != "S" or kind.itemsize > MAX_NAME_BYTES:
        raise store_error(path, f"{name}: {kind}", f"texts of at most {MAX_NAME_BYTES} bytes")
    return tuple(text.decode("utf-8") for text in _column(file, path, name, (count,), kind.str).tolist())


def _problem(index: FrameIndex) -> str:
    """Return what is wrong with the content of the columns, "" if nothing is."""
    clips, clip = len(index.clip_names), index.clip
    begins = np.flatnonzero(np.diff(clip, prepend=-1))
    if not np.array_equal(clip[begins], np.arange(clips)):
        return "the frames are not sorted by clip, with one frame or more of each"
    inner = np.setdiff1d(np.arange(len(clip)), begins)
    finite = bool(np.isfinite(index.times_us).all())
    if not finite or not (index.times_us[inner] > index.times_us[inner - 1]).all():
        return "the times do not ascend within a clip"
    least = NO_COUNT if index.settings.model == "codes" else 0
    checks = {
        "names are not unique": len(set(index.clip_names)) != clips,
        "a label is no class": bool(((index.labels < -1) | (index.labels >= len(index.classes))).any()),
        "a fold is below -1": bool((index.folds < -1).any()),
        "a number of events is negative": bool((index.events < least).any()),
        "a number of a video frame is below -1": bool((index.video_frames < -1).any()),
        "values are infinite": bool(np.isinf(index.values).any()),
        "a clip has neither a split nor a fold": any(
            not split and fold < 0 for split, fold in zip(index.splits, index.folds.tolist(), strict=True)
        ),
    }
    return next((found for found, wrong in checks.items() if wrong), "")


def read_frames_manifest(file: Any, path: Path) -> bytes:
    """Return the text of the manifest of an open, untrusted file."""
    data = _dataset(file, path, "manifest")
    if data.ndim != 1 or data.dtype != np.uint8 or data.shape[0] > MAX_MANIFEST_BYTES:
        raise store_error(path, f"manifest: {data.dtype} {list(data.shape or ())}", f"{MAX_MANIFEST_BYTES} bytes")
    text = bytes(_column(file, path, "manifest", data.shape, "u1").tobytes())
    if _text(file.attrs.get("manifest_sha256")) != hashlib.sha256(text).hexdigest():
        raise store_error(path, "the manifest does not have its checksum")
    return text
