"""Writing events: NPZ, HDF5 in our columns and AEDAT 4.0, each written aside and renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError, MissingDependencyError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.files import save_events
from neuroemo.events.readers.event_file import Events, SensorSize, checked, problem

CHUNK_ROWS = 1 << 16
_PACKET = 1 << 16


def write_events(path: str | Path, events: Events, sensor_size: SensorSize) -> None:
    """Write events (``EVENT_DTYPE``, sorted) with their sensor size (W, H, 2); the suffix picks the format.

    ``.npz``; ``.h5`` or ``.hdf5`` with data sets ``t x y p sensor_size``, chunked and compressed; ``.aedat4``.
    ``open_events`` gives the same events back.

    Raises ``InputError``: E779 a suffix that is not written or a folder that cannot be written, E771/E772
    events out of order or off the sensor; ``MissingDependencyError`` E774 without faery for AEDAT 4.0.
    """
    file = Path(path)
    if events.dtype != EVENT_DTYPE or events.ndim != 1 or len(sensor_size) != 3 or sensor_size[2] != 2:
        found = f"events {events.dtype} {list(events.shape)}, sensor {sensor_size}"
        raise problem("E779", file, found, "structured t, x, y, p and (width, height, 2)", "pass EVENT_DTYPE")
    if not file.parent.is_dir():
        raise problem("E779", file, f"no folder {file.parent}", fix="make the folder first")
    suffix = file.suffix.lower()
    writers: dict[str, Callable[[Path, Events, SensorSize], None]] = {
        ".h5": _write_hdf5,
        ".hdf5": _write_hdf5,
        ".aedat4": _write_aedat4,
    }
    if suffix == ".npz":
        save_events(file, events, sensor_size)
        return
    if suffix not in writers:
        raise problem("E779", file, f"suffix {suffix!r} is not written", ".npz, .h5, .hdf5, .aedat4", "choose one")
    checked(file, events, (sensor_size[0], sensor_size[1]), sort=False, meta={})
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.tmp{suffix}")
    try:
        writers[suffix](temporary, events, sensor_size)
        os.replace(temporary, file)
    except (OSError, RuntimeError) as error:
        raise problem("E779", file, f"cannot be written: {error}", fix="check the folder and its rights") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_hdf5(path: Path, events: Events, sensor_size: SensorSize) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name in ("t", "x", "y", "p"):
            column = events[name].astype(np.uint8) if name == "p" else events[name]
            options: dict[str, Any] = {}
            if len(events):
                options = {"chunks": (min(CHUNK_ROWS, len(events)),), "compression": "gzip", "shuffle": True}
            # Without time stamps of its own, the same events give the same bytes.
            file.create_dataset(name, data=column, track_times=False, **options)
        file.create_dataset("sensor_size", data=np.array(sensor_size, np.int64), track_times=False)


def _write_aedat4(path: Path, events: Events, sensor_size: SensorSize) -> None:
    try:
        import faery
        from faery.file_encoder import events_to_file
    except ImportError as error:
        fix = "pip install faery"
        raise MissingDependencyError(Finding("E774", "error", "faery", str(error), fix=fix)) from error
    theirs = np.empty(len(events), faery.EVENTS_DTYPE)
    for ours, name in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        theirs[name] = events[ours]
    packets = (theirs[start : start + _PACKET] for start in range(0, len(theirs), _PACKET))
    try:
        events_to_file(packets, path, (sensor_size[0], sensor_size[1]), use_write_suffix=False)
    except (KeyboardInterrupt, SystemExit, OSError):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        raise InputError(Finding("E779", "error", str(path), f"faery cannot write it: {error}")) from error
