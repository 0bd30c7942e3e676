"""Events as text: CSV with commas, or columns between blanks as v2e and others write them.

Columns are t, x, y, p in this order unless a header line names them. Times are microseconds when every one is
an integer and seconds when any has a decimal point or an exponent; ``time_unit`` overrides this reading. The
polarity is 0 or 1, or -1 and 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.readers.event_file import (
    MAX_EVENTS,
    EventFile,
    Events,
    agreed_size,
    check_file,
    checked,
    problem,
)

TimeUnit = Literal["auto", "us", "s"]
MAX_LINE = 1024
LINES = 1 << 17
_NAMES = {
    "t": ("t", "time", "timestamp", "ts", "timestamp [us]", "t_us"),
    "x": ("x",),
    "y": ("y",),
    "p": ("p", "polarity", "on", "pol"),
}
_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FIX = "four columns t, x, y, p, or a first line that names them"


@dataclass(frozen=True, slots=True)
class TextLayout:
    """How a text file is laid out: separator (None is blanks), columns t, x, y, p, lines in front of the data.

    ``sensor`` is (width, height) where the header line states it as faery writes it: ``t,x@346,y@260,on``.
    """

    separator: str | None
    columns: tuple[int, int, int, int]
    width: int
    first_line: int
    sensor: tuple[int, int] | None = None


def text_layout(path: Path) -> TextLayout | None:
    """Return the layout if the file's first line (behind comments with ``#`` or ``%``) fits, else None."""
    with path.open("rb") as file:
        number = 0
        while number < 1000:
            line = file.readline(MAX_LINE)
            if not line:
                return None
            if line.strip() and not line.lstrip().startswith((b"#", b"%")):
                return _layout(line, number)
            number += 1
    return None


def _layout(line: bytes, number: int) -> TextLayout | None:
    try:
        words = line.decode("ascii").strip()
    except UnicodeDecodeError:
        return None
    separator = next((mark for mark in (",", ";", "\t") if mark in words), None)
    cells = [cell.strip().strip('"') for cell in words.split(separator)]
    if len(cells) >= 4 and all(_NUMBER.fullmatch(cell.encode()) for cell in cells):
        return TextLayout(separator, (0, 1, 2, 3), len(cells), number) if len(cells) == 4 else None
    places = []
    bare = [re.sub(r"@\d{1,5}$", "", cell.lower()) for cell in cells]
    for names in _NAMES.values():
        found = [index for index, cell in enumerate(bare) if cell in names]
        if len(found) != 1:
            return None
        places.append(found[0])
    sides = [re.search(r"@(\d{1,5})$", cells[place]) for place in places[1:3]]
    sensor = (int(sides[0][1]), int(sides[1][1])) if sides[0] and sides[1] else None
    return TextLayout(separator, (places[0], places[1], places[2], places[3]), len(cells), number + 1, sensor)


def read_text(
    path: Path, sensor_size: tuple[int, int] | None, *, sort: bool, time_unit: TimeUnit = "auto"
) -> EventFile:
    """Read events from text; the sensor size has to be given unless the header line states it.

    Raises ``InputError``: E776 a line that is no event (with its number), E767 the sensor size missing, E775
    too many events, and what ``checked`` refuses.
    """
    check_file(path)
    if time_unit not in ("auto", "us", "s"):
        raise problem("E776", path, f"time unit {time_unit!r}", "auto, us or s", "correct the argument")
    layout = text_layout(path)
    if layout is None:
        raise problem("E776", path, "the first line is not an event and does not name the columns", fix=_FIX)
    size = agreed_size(path, layout.sensor, sensor_size)
    parts, exact = _parse(path, layout)
    unit = time_unit if time_unit != "auto" else ("us" if exact else "s")
    if unit == "us" and not exact:
        raise problem("E776", path, "times with decimals", "whole microseconds", "read it with time_unit='s'")
    events = np.concatenate([_events(part, unit) for part in parts]) if parts else np.empty(0, EVENT_DTYPE)
    meta = {"format": "text", "time_unit": unit, "separator": layout.separator or "blank"}
    return checked(path, events, size, sort=sort, meta=meta)


def _parse(path: Path, layout: TextLayout) -> tuple[list[npt.NDArray[np.float64]], bool]:
    """Return the columns t, x, y, p as float64 ``[N, 4]`` parts, and whether every time is an integer."""
    parts, exact, total = [], True, 0
    with path.open("rb") as file:
        for _ in range(layout.first_line):
            file.readline(MAX_LINE)
        for lines, numbers in _blocks(path, file, layout.first_line):
            values = _values(path, layout, lines, numbers)
            total += len(values)
            if total > MAX_EVENTS:
                raise problem("E775", path, f"more than {MAX_EVENTS} events", fix="cut the recording into parts")
            exact = exact and not any(_has_decimals(line, layout) for line in lines)
            parts.append(values)
    return parts, exact


def _cells(line: bytes, layout: TextLayout) -> list[bytes]:
    return line.split(layout.separator.encode() if layout.separator else None)


def _has_decimals(line: bytes, layout: TextLayout) -> bool:
    if b"." not in line and b"e" not in line and b"E" not in line:
        return False
    cell = _cells(line, layout)[layout.columns[0]]
    return b"." in cell or b"e" in cell or b"E" in cell


def _blocks(path: Path, file: IO[bytes], number: int) -> Iterator[tuple[list[bytes], list[int]]]:
    """Yield lists of lines with their numbers, counted from 1; empty lines and comments are left out."""
    lines: list[bytes] = []
    numbers: list[int] = []
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise problem("E776", path, f"line {number} is longer than {MAX_LINE} bytes", fix=_FIX)
        if not line.strip() or line.lstrip().startswith((b"#", b"%")):
            continue
        lines.append(line)
        numbers.append(number)
        if len(lines) == LINES:
            yield lines, numbers
            lines, numbers = [], []
    if lines:
        yield lines, numbers


def _values(path: Path, layout: TextLayout, lines: list[bytes], numbers: list[int]) -> npt.NDArray[np.float64]:
    """Return float64 ``[N, 4]``; the first line that is no event is named."""
    named = layout.columns if layout.width > 4 else None
    try:
        # latin-1: any byte decodes, and what is no number is then refused below.
        text = [line.decode("latin-1") for line in lines]
        options: dict[str, Any] = {"usecols": named} if named else {}
        table = np.loadtxt(text, np.float64, comments=None, delimiter=layout.separator, ndmin=2, **options)
    except (ValueError, OverflowError):
        raise _bad_line(path, layout, lines, numbers) from None
    if table.shape != (len(lines), 4):
        raise _bad_line(path, layout, lines, numbers)
    if named is None:
        table = table[:, list(layout.columns)]
    t, position, p = table[:, 0], table[:, 1:3], table[:, 3]
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(t) | (np.abs(t) > 2.0**53) | ~np.isin(p, (-1, 0, 1))
        bad |= ~((position == np.rint(position)) & (np.abs(position) < 32768)).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise _not_an_event(path, numbers[row], lines[row])
    return table


def _bad_line(path: Path, layout: TextLayout, lines: list[bytes], numbers: list[int]) -> Exception:
    for line, number in zip(lines, numbers, strict=True):
        cells = _cells(line, layout)
        if len(cells) != layout.width or not all(_NUMBER.fullmatch(cells[i].strip()) for i in layout.columns):
            return _not_an_event(path, number, line)
    return problem("E776", path, f"lines {numbers[0]} to {numbers[-1]} cannot be read as numbers", fix=_FIX)


def _not_an_event(path: Path, number: int, line: bytes) -> Exception:
    shown = line[:60].decode("ascii", "backslashreplace").strip()
    limit = "time, whole x and y below 32768, polarity 0 or 1"
    return problem("E776", path, f"line {number} is not an event: {shown!r}", limit, _FIX)


def _events(table: npt.NDArray[np.float64], unit: str) -> Events:
    events = np.empty(len(table), EVENT_DTYPE)
    scale = 1.0 if unit == "us" else 1e6
    events["t"] = np.rint(np.clip(table[:, 0] * scale, -1.0, 2.0**60)).astype(np.int64)
    events["x"], events["y"] = table[:, 1].astype(np.int16), table[:, 2].astype(np.int16)
    events["p"] = table[:, 3] == 1
    return events
