"""One door for every event file: the format is told by the content, the suffix only settles what is left."""

from __future__ import annotations

from pathlib import Path

from hw_targets.finding import Finding
from neuroemo.events.files import load_events
from neuroemo.events.readers.aedat2 import read_aedat2
from neuroemo.events.readers.child import decode
from neuroemo.events.readers.event_file import EventFile, agreed_size, check_file, checked, problem, warning
from neuroemo.events.readers.prophesee import read_dat, read_raw
from neuroemo.events.readers.prophesee_header import read_header
from neuroemo.events.readers.text import TimeUnit, read_text, text_layout

FORMATS = "Prophesee RAW and DAT, AEDAT 4.0 and 2.0, HDF5, NPZ, CSV and text"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_SUFFIXES = {
    ".raw": ("raw",),
    ".dat": ("dat",),
    ".aedat4": ("aedat4",),
    ".aedat": ("aedat4", "aedat2"),
    ".h5": ("hdf5",),
    ".hdf5": ("hdf5",),
    ".npz": ("npz",),
    ".csv": ("text",),
    ".txt": ("text",),
}


def file_format(path: str | Path) -> str:
    """Return ``raw``, ``dat``, ``aedat4``, ``aedat2``, ``hdf5``, ``npz`` or ``text``, told by the content.

    Raises ``InputError``: E765 no such file, E766 no known format, or a suffix that says otherwise, E778 a known
    format that is not read.
    """
    file = Path(path)
    check_file(file)
    kind = _by_content(file)
    expected = _SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise problem("E766", file, "not an event file of a known format", FORMATS)
    if expected is not None and kind not in expected:
        fix = "rename it to the suffix of what it is, or get the right file"
        raise problem("E766", file, f"named {file.suffix} but its content is {kind}", fix=fix)
    return kind


def _by_content(file: Path) -> str | None:
    with file.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(_HDF5_MAGIC):
        return "hdf5"
    if head.startswith(b"PK\x03\x04"):
        return "npz"
    if head.upper().startswith(b"#!AER-DAT"):
        version = head[9:12].decode("latin-1")
        if version not in ("4.0", "2.0"):
            fix = "convert it to AEDAT 4.0 with the camera maker's tool (dv-gui)"
            raise problem("E778", file, f"AEDAT version {version!r}", "4.0 or 2.0", fix)
        return "aedat4" if version == "4.0" else "aedat2"
    if head.startswith(b"% "):
        words = read_header(file).fields
        if "evt" in words or "format" in words:
            return "raw"
        if "version" in words:
            return "dat"
        if file.suffix.lower() in (".raw", ".dat"):
            return file.suffix.lower()[1:]
    return "text" if text_layout(file) is not None else None


def open_events(
    path: str | Path,
    *,
    sensor_size: tuple[int, int] | None = None,
    sort: bool = False,
    time_unit: TimeUnit = "auto",
) -> EventFile:
    """Read the events of a recording, whatever its format, as one sorted array in microseconds.

    ``sensor_size`` is (width, height) in pixels, needed where the file does not state it and refused where it
    contradicts the file. ``sort`` orders events whose times run backwards, which is refused otherwise.
    ``time_unit`` (``us`` or ``s``) is for text only.

    Raises ``InputError`` (E765 to E778, and E720 of NPZ) naming what is wrong and where, and
    ``MissingDependencyError`` (E774) without faery for RAW, DAT and AEDAT 4.0.
    """
    file = Path(path)
    kind = file_format(file)
    if time_unit != "auto" and kind != "text":
        raise problem("E776", file, f"time unit given for {kind}", "text only", "leave it out: the format defines it")
    if kind == "raw":
        return read_raw(file, sensor_size, sort=sort)
    if kind == "dat":
        return read_dat(file, sensor_size, sort=sort)
    if kind == "aedat2":
        return read_aedat2(file, sensor_size, sort=sort)
    if kind == "text":
        return read_text(file, sensor_size, sort=sort, time_unit=time_unit)
    if kind == "npz":
        events, size = load_events(file)
        agreed_size(file, (size[0], size[1]), sensor_size)
        return EventFile(events, size, {"path": str(file), "format": "NPZ"})
    return _through_child(file, kind, sensor_size, sort)


def _through_child(file: Path, kind: str, sensor_size: tuple[int, int] | None, sort: bool) -> EventFile:
    events, facts = decode(file, kind)
    stated = facts.get("sensor")
    size = agreed_size(file, None if stated is None else (stated[0], stated[1]), sensor_size)
    name = "AEDAT 4.0" if kind == "aedat4" else f"HDF5 ({facts['layout']})"
    streams = facts.get("streams", [])
    notes: tuple[Finding, ...] = ()
    if len(streams) > 1:
        notes = (warning("W766", file, f"{len(streams)} event streams {streams}, only the first is read"),)
    return checked(file, events, size, sort=sort, meta={"format": name}, findings=notes)
