"""The HDF5 layout of a prepared data set: how it is written, and how an untrusted one is checked.

Attributes of the file: ``format``, ``schema`` and the JSON texts ``classes``, ``settings``, ``events``.
Datasets, N clips long: ``spikes`` (bits packed big-endian, one chunk per clip), ``first_frame`` (only with
a gray first frame), ``mean_frame`` (gray x 256), ``label``, ``split``, ``subject``, ``name``,
``valid_steps``, ``fps``; and where there are any, ``values`` (numeric labels, one row per step, NaN where
there is none, named by the attribute ``value_names``) and ``manifest`` (see ``manifest.py``). Pictures carry
zlib's checksum and columns Fletcher-32, so damage is noticed on reading.
A clip of 128 x 128 x 68 takes less than 300,000 bytes up to a density of 0.4 per channel; beyond that the
spikes are noise that nothing compresses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.chunks import COMPRESSION_LEVEL, EncodedClip, PackedClip
from neuroemo.datasets.clip_settings import ClipSettings, model_of, settings_from_dict
from neuroemo.datasets.folder import SPLITS
from neuroemo.events.clip import Clip, event_counts

FORMAT = "neuroemo-clips"
SCHEMA = 1
MEAN_SCALE = 256
MAX_CLIPS = 1_000_000
MAX_NAME_BYTES = 4096
MAX_MANIFEST_BYTES = 2 << 30

_REMAKE = "prepare the data set again"
_TEXTS = ("subject", "name")


@dataclass(frozen=True, slots=True)
class StoreIndex:
    """Everything of a store but the pictures: one entry per clip, plus the attributes."""

    settings: ClipSettings
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    splits: tuple[str, ...]
    subjects: tuple[str, ...]
    names: tuple[str, ...]
    valid_steps: npt.NDArray[np.int64]
    fps: npt.NDArray[np.float64]
    events: tuple[int, int, int]
    values: npt.NDArray[np.float32] | None = None
    value_names: tuple[str, ...] = ()


def packed_length(settings: ClipSettings) -> int:
    """Return the bytes of one clip's packed spikes, ``ceil(T * 2 * size**2 / 8)``.

    >>> from neuroemo.events.framediff import FrameDiffSettings
    >>> packed_length(FrameDiffSettings())
    278528
    """
    return -(-settings.steps * 2 * settings.size**2 // 8)


def mean_frame(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Return ``round(256 * mean over time)`` of gray frames uint8 ``[F, H, W]``, halves up, in integers."""
    count = len(frames)
    total = frames.sum(axis=0, dtype=np.int64) * MEAN_SCALE
    mean: npt.NDArray[np.uint16] = ((2 * total + count) // (2 * count)).astype(np.uint16)
    return mean


def pack_clip(clip: Clip, frames: npt.NDArray[np.uint8]) -> PackedClip:
    """Return a clip and the gray frames it was made of, ready to be stored."""
    first = None if clip.first_frame is None else frames[0].copy()
    spikes = np.packbits(clip.spikes.reshape(-1))
    return PackedClip(spikes, first, mean_frame(frames), clip.valid_steps, clip.fps, event_counts(clip))


def unpack_spikes(packed: npt.NDArray[np.uint8], settings: ClipSettings) -> npt.NDArray[np.uint8]:
    """Return packed spikes ``[..., bytes]`` as uint8 {0, 1} ``[..., T, 2, H, W]``."""
    size = settings.size
    count = settings.steps * 2 * size * size
    bits = np.unpackbits(packed, axis=-1, count=count)
    return bits.reshape(*packed.shape[:-1], settings.steps, 2, size, size)


def write_store(
    path: Path,
    clips: Iterable[EncodedClip],
    *,
    settings: ClipSettings,
    classes: Sequence[str],
    labels: Sequence[int],
    splits: Sequence[str],
    subjects: Sequence[str],
    names: Sequence[str],
    values: npt.NDArray[np.float32] | None = None,
    value_names: Sequence[str] = (),
    manifest: bytes = b"",
) -> None:
    """Write a store; ``clips`` is consumed one by one, so only one clip is in memory.

    The bytes of the file depend on the arguments alone.
    """
    import h5py

    count = len(labels)
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        pictures = _create_pictures(file, count, settings)
        steps, rates, total = np.zeros(count, np.int32), np.zeros(count, np.float64), [0, 0, 0]
        for index, clip in enumerate(clips):
            for name, chunk in clip.pictures.items():
                data = pictures[name]
                data.id.write_direct_chunk((index, *(0,) * (data.ndim - 1)), chunk)
            steps[index], rates[index] = clip.valid_steps, clip.fps
            total = [a + b for a, b in zip(total, clip.events, strict=True)]
        _write_column(file, "label", np.asarray(labels, np.int32))
        _write_column(file, "split", np.array([SPLITS.index(split) for split in splits], np.uint8))
        _write_column(file, "valid_steps", steps)
        _write_column(file, "fps", rates)
        for name, texts in zip(_TEXTS, (subjects, names), strict=True):
            _write_column(file, name, np.array([text.encode() or b"\0" for text in texts], dtype=np.bytes_))
        if values is not None:
            file.create_dataset("values", data=values.astype("<f4"), chunks=(1, *values.shape[1:]), fletcher32=True)
            file.attrs["value_names"] = json.dumps(list(value_names))
        if manifest:
            _write_column(file, "manifest", np.frombuffer(manifest, np.uint8))
            file.attrs["manifest_sha256"] = hashlib.sha256(manifest).hexdigest()
        file.attrs["format"] = FORMAT
        file.attrs["schema"] = SCHEMA
        file.attrs["classes"] = json.dumps(list(classes))
        file.attrs["settings"] = json.dumps(settings.to_dict(), sort_keys=True)
        file.attrs["events"] = json.dumps(dict(zip(("on", "off", "positions"), total, strict=True)))


def _create_pictures(file: Any, count: int, settings: ClipSettings) -> dict[str, Any]:
    square = (settings.size, settings.size)
    kinds: dict[str, tuple[tuple[int, ...], str]] = {
        "spikes": ((packed_length(settings),), "u1"),
        "mean_frame": (square, "<u2"),
    }
    if settings.first_frame == "float":
        kinds["first_frame"] = (square, "u1")
    options = {"compression": "gzip", "compression_opts": COMPRESSION_LEVEL, "shuffle": True}
    return {
        name: file.create_dataset(name, (count, *shape), dtype, chunks=(1, *shape), **options)
        for name, (shape, dtype) in kinds.items()
    }


def _write_column(file: Any, name: str, values: npt.NDArray[Any]) -> None:
    file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def store_error(path: Path, found: str, limit: str = "") -> InputError:
    """Return the error for a store file that cannot be used."""
    return InputError(Finding("E740", "error", str(path), found, limit, fix=_REMAKE))


def read_index(file: Any, path: Path) -> StoreIndex:
    """Read and check everything but the pictures of an open, untrusted file.

    Raises ``InputError`` for any departure from the layout; other errors of the HDF5 library pass.
    """
    settings, classes, events = _read_attributes(file, path)
    count = _check_layout(file, path, settings)
    labels = _read_column(file, path, "label", "iu", count).astype(np.int64)
    codes = _read_column(file, path, "split", "iu", count).astype(np.int64)
    steps = _read_column(file, path, "valid_steps", "iu", count).astype(np.int64)
    rates = _read_column(file, path, "fps", "f", count).astype(np.float64)
    least = 2 if settings.first_frame == "float" else 1
    for name, values, low, high in (
        ("label", labels, 0, len(classes) - 1),
        ("split", codes, 0, len(SPLITS) - 1),
        ("valid_steps", steps, least, settings.steps),
    ):
        if values.min() < low or values.max() > high:
            raise store_error(path, f"{name} in {values.min()}..{values.max()}", f"{low}..{high}")
    if not (np.isfinite(rates).all() and (rates > 0).all()):
        raise store_error(path, "fps not finite and positive")
    subjects, names = (_read_texts(file, path, name, count) for name in _TEXTS)
    if len(set(names)) != count:
        raise store_error(path, "names are not unique")
    splits = tuple(SPLITS[code] for code in codes)
    numbers, number_names = _read_values(file, path, count, settings)
    return StoreIndex(settings, classes, labels, splits, subjects, names, steps, rates, events, numbers, number_names)


def _read_values(
    file: Any, path: Path, count: int, settings: ClipSettings
) -> tuple[npt.NDArray[np.float32] | None, tuple[str, ...]]:
    """Read the numeric labels, float32 [N, T, V], and their names; (None, ()) where there are none."""
    if "values" not in file:
        return None, ()
    names = _json(file, path, "value_names", list)
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise store_error(path, "value names are not distinct names")
    data = _dataset(file, path, "values")
    shape = (count, settings.steps, len(names))
    if data.shape != shape or data.dtype != np.float32:
        raise store_error(path, f"values: {data.dtype} {list(data.shape or ())}", f"float32 {list(shape)}")
    values: npt.NDArray[np.float32] = data[:]
    if np.isinf(values).any():
        raise store_error(path, "values are infinite")
    return values, tuple(names)


def read_manifest_text(file: Any, path: Path) -> bytes:
    """Return the manifest of an open, untrusted file, b"" where it has none."""
    if "manifest" not in file:
        return b""
    data = _dataset(file, path, "manifest")
    if data.ndim != 1 or data.dtype != np.uint8 or data.shape[0] > MAX_MANIFEST_BYTES:
        raise store_error(path, f"manifest: {data.dtype} {list(data.shape or ())}", f"{MAX_MANIFEST_BYTES} bytes")
    text = bytes(data[:].tobytes())
    if _text(file.attrs.get("manifest_sha256")) != hashlib.sha256(text).hexdigest():
        raise store_error(path, "the manifest does not have its checksum")
    return text


def _read_attributes(file: Any, path: Path) -> tuple[ClipSettings, tuple[str, ...], tuple[int, int, int]]:
    """Read format, schema, settings, classes and event counts."""
    if _text(file.attrs.get("format")) != FORMAT:
        raise store_error(path, "not a prepared data set", f"attribute format = {FORMAT!r}")
    schema = file.attrs.get("schema")
    if not isinstance(schema, (int, np.integer)) or schema != SCHEMA:
        raise store_error(path, f"schema version {schema!r}", str(SCHEMA))
    fields = _json(file, path, "settings", dict)
    try:
        settings = settings_from_dict(fields)
    except InputError as error:
        raise store_error(path, f"settings: {error.findings[0].node} {error.findings[0].found}") from error
    classes = _json(file, path, "classes", list)
    if not classes or not all(isinstance(c, str) and c for c in classes) or classes != sorted(set(classes)):
        raise store_error(path, "classes are not sorted, distinct names")
    counts = _json(file, path, "events", dict)
    values = tuple(counts.get(name) for name in ("on", "off", "positions"))
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values):
        raise store_error(path, "event counts are not integers")
    on, off, positions = (int(value or 0) for value in values)
    # One pixel may send both within a step, unless steps are differences of two frames.
    least = on + off if model_of(settings) == "framediff" else max(on, off)
    if least > positions or positions > 1 << 62:
        raise store_error(path, f"{on} ON and {off} OFF events", f"{positions} positions")
    return settings, tuple(classes), (on, off, positions)


def _text(value: object) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _json(file: Any, path: Path, name: str, kind: type) -> Any:
    value = json.loads(_text(file.attrs.get(name)) or "null")
    if not isinstance(value, kind):
        raise store_error(path, f"attribute {name!r} missing or malformed")
    return value


def _dataset(file: Any, path: Path, name: str) -> Any:
    """Return a dataset that lies in this very file; links and external storage could name other files."""
    import h5py

    if name not in file:
        raise store_error(path, f"dataset {name!r} missing")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise store_error(path, f"{name!r} is a link", "a dataset in the file itself")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise store_error(path, f"{name!r} is not an ordinary dataset")
    return dataset


def _check_layout(file: Any, path: Path, settings: ClipSettings) -> int:
    """Check shape and type of the pictures without reading them; return the number of clips."""
    square = (settings.size, settings.size)
    wanted: dict[str, tuple[tuple[int, ...], type]] = {
        "spikes": ((packed_length(settings),), np.uint8),
        "mean_frame": (square, np.uint16),
    }
    if settings.first_frame == "float":
        wanted["first_frame"] = (square, np.uint8)
    count = int(_dataset(file, path, "spikes").shape[0]) if _dataset(file, path, "spikes").shape else 0
    if not 1 <= count <= MAX_CLIPS:
        raise store_error(path, f"{count} clips", f"1..{MAX_CLIPS}")
    for name, (shape, kind) in wanted.items():
        data = _dataset(file, path, name)
        if data.shape != (count, *shape) or data.dtype != kind or data.chunks != (1, *shape):
            found = f"{name}: {data.dtype} {list(data.shape or ())}, chunks {data.chunks}"
            raise store_error(path, found, f"{np.dtype(kind)} {[count, *shape]}, one chunk per clip")
    return count


def _read_column(file: Any, path: Path, name: str, kinds: str, count: int) -> npt.NDArray[Any]:
    data = _dataset(file, path, name)
    longest = MAX_NAME_BYTES if kinds == "S" else 8
    if data.shape != (count,) or data.dtype.kind not in kinds or data.dtype.itemsize > longest:
        raise store_error(path, f"{name}: {data.dtype} {list(data.shape or ())}", f"[{count}]")
    values: npt.NDArray[Any] = data[:]
    return values


def _read_texts(file: Any, path: Path, name: str, count: int) -> tuple[str, ...]:
    return tuple(text.decode("utf-8") for text in _read_column(file, path, name, "S", count).tolist())
