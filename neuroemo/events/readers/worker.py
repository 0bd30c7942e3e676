"""The child process that decodes: it alone loads the native libraries, and may crash without harm.

It runs as a script, apart from the package. A request is one JSON line on standard input; the answer is a
sequence of frames on standard output: a letter, the length as a little-endian uint64, and that many bytes.
``E`` is events (packed ``t`` int64, ``x`` int16, ``y`` int16, ``p`` bool), ``D`` the end with facts as JSON,
``X`` the reason why not as JSON. Memory is bounded by the operating system where it can.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

RECORD = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.bool_)])
BATCH = 1 << 17
ROWS = 1 << 19
MEMORY_BYTES = 6 << 30


class Refused(Exception):
    """A file that this process understands well enough to say what is wrong: (kind, text)."""


def limit_memory() -> None:
    """Bound the address space and forbid core dumps; Windows has no such call."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def packed(t: Any, x: Any, y: Any, p: Any) -> Any:
    """Return the columns as records; a value that does not fit becomes -1, which the checks refuse."""
    events = np.empty(len(t), RECORD)
    events["t"] = bounded(t, (1 << 63) - 1)
    events["x"] = bounded(x, 32767)
    events["y"] = bounded(y, 32767)
    events["p"] = p
    return events


def bounded(values: Any, high: int) -> Any:
    """Return integers with everything outside 0..high replaced by -1."""
    if values.dtype.kind == "u":
        if np.iinfo(values.dtype).max <= high:
            return values
        return np.where(values > high, np.int64(-1), np.minimum(values, values.dtype.type(high)).astype(np.int64))
    return np.where((values < 0) | (values > high), np.int64(-1), values)


def evt(request: dict[str, Any], facts: dict[str, Any]) -> Iterator[Any]:
    """Decode Prophesee RAW, EVT2 or EVT3."""
    from faery.extension import evt as native

    sensor = tuple(request["sensor"])
    with native.Decoder(request["path"], sensor, request["version"]) as decoder:
        _same(decoder.version, request["version"], decoder.dimensions, sensor)
        for packet in decoder:
            events = packet.get("events")
            if events is not None and len(events):
                yield packed(events["t"], events["x"], events["y"], events["on"])


def dat(request: dict[str, Any], facts: dict[str, Any]) -> Iterator[Any]:
    """Decode Prophesee DAT; the polarity is the lowest bit of what follows the position."""
    from faery.extension import dat as native

    sensor = tuple(request["sensor"])
    with native.Decoder(request["path"], sensor, request["version"]) as decoder:
        if decoder.event_type not in ("cd", "2d"):
            raise Refused("unsupported", f"DAT events of type {decoder.event_type!r}, only 'cd' and '2d' are read")
        _same(decoder.version, request["version"], decoder.dimensions, sensor)
        for events in decoder:
            yield packed(events["t"], events["x"], events["y"], (events["payload"] & 1) == 1)


def _same(version: str, wanted: str, size: Any, sensor: Any) -> None:
    if version != wanted or tuple(size) != sensor:
        raise Refused("damaged", f"the header reads as {version} {size} to the decoder, {wanted} {sensor} to us")


def aedat4(request: dict[str, Any], facts: dict[str, Any]) -> Iterator[Any]:
    """Decode AEDAT4: the first event stream of the file; the facts name the others."""
    from faery.extension import aedat as native

    with native.Decoder(request["path"]) as decoder:
        tracks = [track for track in decoder.tracks() if track.data_type == "events"]
        if not tracks:
            raise Refused("unsupported", "no event stream in the file")
        wanted = min(track.id for track in tracks)
        facts["streams"] = sorted(track.id for track in tracks)
        facts["sensor"] = [int(side) for side in next(t.dimensions for t in tracks if t.id == wanted)]
        for track, events in decoder:
            if track.id == wanted and len(events):
                yield packed(events["t"], events["x"], events["y"], events["on"])


def hdf5(request: dict[str, Any], facts: dict[str, Any]) -> Iterator[Any]:
    """Read HDF5 in one of the layouts of ``find_columns``, a slice of rows at a time."""
    import h5py

    with h5py.File(request["path"], "r") as file:
        columns, offset = find_columns(file, facts, h5py)
        rows = len(columns[0])
        for start in range(0, rows, ROWS):
            t, x, y, p = (integers(column[start : start + ROWS]) for column in columns)
            if not np.isin(p, (0, 1) if p.dtype.kind in "ub" else (-1, 0, 1)).all():
                raise Refused("damaged", "polarities other than 0 and 1 (or -1 and 1)")
            yield packed(bounded(t, 1 << 53) + np.int64(offset), x, y, p == 1)


def integers(values: Any) -> Any:
    """Return a column read from a file as integers."""
    array = np.asarray(values)
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


class Column:
    """One column of a two-dimensional data set."""

    def __init__(self, table: Any, index: int) -> None:
        self.table, self.index = table, index

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.shape[0])

    def __getitem__(self, rows: slice) -> Any:
        """Read some rows."""
        return self.table[rows, self.index]


def find_columns(file: Any, facts: dict[str, Any], h5py: Any) -> tuple[list[Any], int]:
    """Return the columns t, x, y, p and the time offset: v2e's table, or four arrays at the root or in ``events``."""
    top = member(file, "events", h5py)
    if isinstance(top, h5py.Dataset):
        table = dataset(file, "events", h5py)
        if table.ndim != 2 or table.shape[1] != 4:
            raise Refused("layout", f"'events' is {table.dtype} {list(table.shape)}, v2e writes [N, 4]")
        frames = dataset(file, "frame", h5py) if "frame" in file else None
        if frames is not None and frames.ndim == 3:
            facts["sensor"] = [int(frames.shape[2]), int(frames.shape[1])]
        facts["layout"] = "v2e"
        return [Column(table, index) for index in range(4)], 0
    group = file if top is None else top
    missing = [name for name in "txyp" if name not in group]
    if missing:
        known = ", ".join(sorted(str(name)[:40] for name in list(file)[:12])) or "nothing"
        hint = "Metavision's own compressed layout: convert it to RAW or CSV first; " if "CD" in file else ""
        raise Refused("layout", f"{hint}no {', '.join(missing)} beside the events; the file holds {known}")
    columns = [dataset(group, name, h5py) for name in "txyp"]
    if any(column.shape != (len(columns[0]),) for column in columns):
        shapes = ", ".join(f"{name} {list(column.shape)}" for name, column in zip("txyp", columns, strict=True))
        raise Refused("layout", f"columns of different length: {shapes}")
    facts["layout"] = "columns"
    size = stated_size(file, h5py)
    if size is not None:
        facts["sensor"] = size
    offset = dataset(file, "t_offset", h5py) if "t_offset" in file else None
    shift = 0 if offset is None else int(np.asarray(offset[()]).reshape(-1)[0])
    if not 0 <= shift <= 1 << 53:
        raise Refused("damaged", f"t_offset {shift}")
    return columns, shift


def stated_size(file: Any, h5py: Any) -> list[int] | None:
    """Return (width, height) from ``sensor_size``, a data set or an attribute of three integers (W, H, 2)."""
    if "sensor_size" in file:
        stored = dataset(file, "sensor_size", h5py)
        if stored.shape != (3,):
            raise Refused("layout", f"sensor_size {list(stored.shape)}, expected 3 integers")
        values = stored[()]
    elif "sensor_size" in file.attrs:
        values = np.asarray(file.attrs["sensor_size"])
    else:
        return None
    if values.shape != (3,) or values.dtype.kind not in "iu" or int(values[2]) != 2:
        raise Refused("layout", "sensor_size is not three integers (width, height, 2)")
    return [int(values[0]), int(values[1])]


def member(group: Any, name: str, h5py: Any) -> Any:
    """Return a member that lies in this file, or None; a link to another file is refused."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise Refused("layout", f"{name!r} is a link, not data")
    return group[name]


def dataset(group: Any, name: str, h5py: Any) -> Any:
    """Return a data set of integers whose bytes lie in this file."""
    found = member(group, name, h5py)
    if not isinstance(found, h5py.Dataset):
        raise Refused("layout", f"{name!r} is not a data set")
    if found.external or found.is_virtual:
        raise Refused("layout", f"{name!r} keeps its data in another file")
    if found.dtype.kind not in "iub" or found.dtype.itemsize > 8:
        raise Refused("layout", f"{name!r} is {found.dtype}, expected integers")
    if found.ndim and int(found.shape[0]) > 1 << 40:
        raise Refused("layout", f"{name!r} claims {found.shape[0]} rows")
    return found


READERS = {"evt": evt, "dat": dat, "aedat4": aedat4, "hdf5": hdf5}


def send(out: BinaryIO, letter: bytes, content: bytes) -> None:
    """Write one frame."""
    out.write(struct.pack("<cQ", letter, len(content)))
    out.write(content)
    out.flush()


def answer(request: dict[str, Any], out: BinaryIO) -> None:
    """Decode one file and stream its events; whatever the library raises becomes one ``X`` frame."""
    facts: dict[str, Any] = {}
    total, waiting, batch = 0, 0, []
    try:
        for events in READERS[request["kind"]](request, facts):
            total += len(events)
            if total > request["limit"]:
                raise Refused("many", f"more than {request['limit']} events")
            batch.append(events.tobytes())
            waiting += len(events)
            if waiting >= BATCH:
                send(out, b"E", b"".join(batch))
                batch, waiting = [], 0
        send(out, b"E", b"".join(batch))
        send(out, b"D", json.dumps(facts).encode())
    except (KeyboardInterrupt, SystemExit):
        raise
    except ImportError as error:
        send(out, b"X", json.dumps({"kind": "missing", "text": str(error)}).encode())
    except Refused as error:
        send(out, b"X", json.dumps({"kind": error.args[0], "text": error.args[1]}).encode())
    except BaseException as error:  # a Rust panic is no Exception
        text = f"{type(error).__name__}: {error}"[:300]
        send(out, b"X", json.dumps({"kind": "damaged", "text": text}).encode())


def main() -> None:
    """Answer requests until standard input ends."""
    limit_memory()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the frames
    for line in sys.stdin.buffer:
        answer(json.loads(line), out)


if __name__ == "__main__":
    main()
