"""What every reader returns, and the checks that every reader's events pass: bounds, order, positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.files import MAX_SIDE

Events = npt.NDArray[Any]
SensorSize = tuple[int, int, int]

MAX_EVENTS = 1 << 28
"""Bound on the events of one file in memory (3.5 GB)."""
MAX_FILE_BYTES = 16 << 30
MAX_TIME = 1 << 53
"""Microseconds; 285 years, and exact as a float64."""

COPY_AGAIN = "copy or download the file again; if it is the original, export it with the camera maker's tool"
SORT = "sort it where it was made, or read it with sort=True (the order of equal times is kept)"


@dataclass(frozen=True, slots=True)
class EventFile:
    """One recording: ``events`` (``EVENT_DTYPE``, times ascending), ``sensor_size`` (W, H, 2), ``meta``.

    ``meta`` says what was read and how: ``format``, ``path`` and what the format knows. ``findings`` are the
    warnings, for example events dropped in front of the first time word.
    """

    events: Events
    sensor_size: SensorSize
    meta: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def problem(code: str, path: Path, found: str, limit: str = "", fix: str = COPY_AGAIN) -> InputError:
    """Return one finding about a file as the error that carries it."""
    return InputError(Finding(code, "error", str(path), found, limit, fix=fix))


def warning(code: str, path: Path, found: str, fix: str = "") -> Finding:
    """Return a finding that does not stop the reading."""
    return Finding(code, "warning", str(path), found, fix=fix)


def check_file(path: Path) -> int:
    """Return the size of a regular, non-empty file in bytes; a named pipe or a device would hang a reader.

    Raises ``InputError`` E765 for anything else.
    """
    try:
        if not path.exists():
            raise problem("E765", path, "no such file", fix="check the path")
        if not path.is_file():
            raise problem("E765", path, "not a regular file", fix="give the path of one event file")
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise problem("E765", path, f"cannot be read: {error}", fix="check the path and its rights") from error
    if size == 0:
        raise problem("E765", path, "empty file (0 bytes)")
    if size > MAX_FILE_BYTES:
        raise problem("E775", path, f"{size} bytes", f"{MAX_FILE_BYTES} bytes", "cut the recording into parts")
    return size


def agreed_size(path: Path, stated: tuple[int, int] | None, given: tuple[int, int] | None) -> tuple[int, int]:
    """Return the sensor's (width, height): what the file states, or else what the user gave.

    Raises ``InputError`` E767 when nobody says it, E768 when they disagree or a side is out of range.
    """
    for origin, size in (("the file states", stated), ("given", given)):
        if size is not None and not (1 <= size[0] <= MAX_SIDE and 1 <= size[1] <= MAX_SIDE):
            raise problem("E768", path, f"sensor size {origin}: {size[0]}x{size[1]}", f"1..{MAX_SIDE} each")
    if stated is None and given is None:
        fix = "give the size of the camera in pixels: --sensor W,H"
        raise problem("E767", path, "the file does not say how large the sensor is", fix=fix)
    if stated is not None and given is not None and stated != given:
        found = f"sensor size given {given[0]}x{given[1]}"
        raise problem("E768", path, found, f"the file states {stated[0]}x{stated[1]}", "leave --sensor out")
    size = stated if stated is not None else given
    assert size is not None
    return int(size[0]), int(size[1])


def checked(
    path: Path,
    events: Events,
    size: tuple[int, int],
    *,
    sort: bool,
    meta: Mapping[str, Any],
    findings: tuple[Finding, ...] = (),
) -> EventFile:
    """Return the events as an ``EventFile`` after the checks that hold for every format.

    Raises ``InputError``: E772 positions outside the sensor, E771 times negative, absurd or out of order
    (unless ``sort``, which sorts them and says so); all of them at once.
    """
    width, height = size
    errors: list[Finding] = []
    if len(events):
        for name, side in (("x", width), ("y", height)):
            low, high = int(events[name].min()), int(events[name].max())
            if low < 0 or high >= side:
                fix = COPY_AGAIN + "; or the sensor size is wrong"
                errors.append(
                    Finding("E772", "error", str(path), f"{name} in {low}..{high}", f"0..{side - 1}", fix=fix)
                )
        low, high = int(events["t"].min()), int(events["t"].max())
        if low < 0 or high > MAX_TIME:
            found = f"times from {low} to {high} us"
            errors.append(Finding("E771", "error", str(path), found, f"0..{MAX_TIME} us", fix=COPY_AGAIN))
        events, notes = _ordered(path, events, sort)
        errors += [note for note in notes if note.severity == "error"]
        findings += tuple(note for note in notes if note.severity == "warning")
    if errors:
        raise InputError(errors)
    return EventFile(events, (width, height, 2), {"path": str(path), **meta}, findings)


def _ordered(path: Path, events: Events, sort: bool) -> tuple[Events, list[Finding]]:
    backward = np.flatnonzero(events["t"][1:] < events["t"][:-1])
    if not backward.size:
        return events, []
    first = int(backward[0])
    found = (
        f"{backward.size} times run backwards, first at event {first + 1}: "
        f"{int(events['t'][first])} us, then {int(events['t'][first + 1])} us"
    )
    if not sort:
        return events, [Finding("E771", "error", str(path), found, "ascending times", fix=SORT)]
    return events[np.argsort(events["t"], kind="stable")], [warning("W771", path, f"{found}; sorted by time")]
