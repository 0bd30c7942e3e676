"""Event arrays on disk: one ``.npz`` with ``t x y p`` and ``sensor_size``, checked before it is read."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import EVENT_DTYPE

SensorSize = tuple[int, int, int]
MAX_BYTES = 4 << 30
MAX_SIDE = 32767
"""Coordinates are int16."""

_FIELDS: Mapping[str, np.dtype[Any]] = {name: EVENT_DTYPE[name] for name in ("t", "x", "y", "p")}
_REMEDY = "write it with save_events"


def _error(path: Path, found: str, limit: str = "") -> InputError:
    return InputError(Finding("E720", "error", str(path), found, limit, fix=_REMEDY))


def save_events(path: str | Path, events: npt.NDArray[Any], sensor_size: SensorSize) -> None:
    """Write a structured event array ``t x y p`` with its sensor size (W, H, 2) to ``.npz``, compressed.

    The same events give the same bytes. Raises ``InputError`` for what ``load_events`` would refuse.
    """
    file = Path(path)
    if events.dtype.names is None or set(events.dtype.names) != set(_FIELDS) or events.ndim != 1:
        raise _error(file, f"events {events.dtype} {list(events.shape)}", "structured t, x, y, p")
    if len(sensor_size) != 3:
        raise _error(file, f"sensor_size {sensor_size}", "(width, height, 2)")
    columns = {name: events[name].astype(kind) for name, kind in _FIELDS.items()}
    _check_values(file, columns, sensor_size)
    arrays = {**columns, "sensor_size": np.array(sensor_size, np.int64)}
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, values in arrays.items():
                archive.writestr(_member(name), _npy_bytes(values), zipfile.ZIP_DEFLATED)
        os.replace(temporary, file)
    except OSError as error:
        raise _error(file, f"cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _member(name: str) -> zipfile.ZipInfo:
    # The date of ZipInfo is constant (1980), numpy's own writer would stamp the time.
    return zipfile.ZipInfo(f"{name}.npy")


def _npy_bytes(values: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(values), allow_pickle=False)
    return buffer.getvalue()


def load_events(path: str | Path) -> tuple[npt.NDArray[Any], SensorSize]:
    """Read events written by ``save_events``; return the structured array and the sensor size (W, H, 2).

    The file is untrusted: no pickles, sizes are checked before memory is taken, and times must ascend and
    positions lie on the sensor. Raises ``InputError`` for anything else.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(Finding("E721", "error", str(file), "no such file", fix="check the path"))
    try:
        with zipfile.ZipFile(file) as archive:
            columns = {name: _read_member(archive, file, name) for name in (*_FIELDS, "sensor_size")}
    except InputError:
        raise
    except Exception as error:
        # zipfile, zlib, struct and numpy's header parser each raise their own kinds on damaged bytes.
        raise _error(file, f"not a readable event file: {type(error).__name__} {error}") from error
    size = columns.pop("sensor_size")
    if size.shape != (3,) or size.dtype.kind not in "iu":
        raise _error(file, f"sensor_size {size.dtype} {list(size.shape)}", "3 integers")
    sensor_size = cast(SensorSize, tuple(int(value) for value in size))
    _check_columns(file, columns)
    _check_values(file, columns, sensor_size)
    events = np.empty(len(columns["t"]), dtype=EVENT_DTYPE)
    for name, values in columns.items():
        events[name] = values
    return events, sensor_size


def _read_member(archive: zipfile.ZipFile, file: Path, name: str) -> npt.NDArray[Any]:
    """Read one array whose header agrees with the size of its member."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise _error(file, f"array {name!r} missing", ", ".join((*_FIELDS, "sensor_size"))) from None
    if info.file_size > MAX_BYTES:
        raise _error(file, f"array {name!r} of {info.file_size} bytes", str(MAX_BYTES))
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise _error(file, f"array {name!r} in npy version {version}", "1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype.hasobject or len(shape) != 1 or shape[0] * dtype.itemsize > info.file_size:
            raise _error(file, f"array {name!r}: {dtype} {list(shape)} in {info.file_size} bytes")
        data = member.read(shape[0] * dtype.itemsize + 1)
    if len(data) != shape[0] * dtype.itemsize:
        raise _error(file, f"array {name!r} has {len(data)} bytes", str(shape[0] * dtype.itemsize))
    return np.frombuffer(data, dtype=dtype)


def _check_columns(file: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    count = len(columns["t"])
    for name, kind in _FIELDS.items():
        values = columns[name]
        if values.dtype != kind or values.shape != (count,):
            raise _error(file, f"{name}: {values.dtype} {list(values.shape)}", f"{kind} [{count}]")


def _check_values(file: Path, columns: Mapping[str, npt.NDArray[Any]], sensor_size: SensorSize) -> None:
    """Check order of time and range of positions against a sensor size (W, H, 2)."""
    width, height, polarities = sensor_size
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and polarities == 2):
        raise _error(file, f"sensor_size {sensor_size}", f"(1..{MAX_SIDE}, 1..{MAX_SIDE}, 2)")
    if not len(columns["t"]):
        return
    if columns["t"][0] < 0 or (columns["t"][1:] < columns["t"][:-1]).any():
        raise _error(file, "times are negative or not sorted", "ascending microseconds from 0")
    for name, side in (("x", width), ("y", height)):
        low, high = int(columns[name].min()), int(columns[name].max())
        if low < 0 or high >= side:
            raise _error(file, f"{name} in {low}..{high}", f"0..{side - 1}")
