"""The text header of Prophesee RAW and DAT files: lines ``% keyword value`` in front of the binary data.

Source: https://docs.prophesee.ai/stable/data/file_formats/raw.html and dat.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neuroemo.events.readers.event_file import problem

MAX_HEADER = 1 << 16


@dataclass(frozen=True, slots=True)
class Header:
    """``version`` as ``evt2``, ``evt2.1``, ``evt3``, ``dat1`` or ``dat2``, or None; ``size`` (W, H) or None.

    ``start`` is the byte where the data begins; ``fields`` are the header's own words.
    """

    version: str | None
    size: tuple[int, int] | None
    start: int
    fields: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Parse the header of a RAW or DAT file.

    Raises ``InputError``: E768 when it states two sensor sizes, E769 when it does not end, E778 when it states
    two versions.
    """
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
    fields: dict[str, str] = {}
    start = 0
    while head[start : start + 2] == b"% ":
        end = head.find(b"\n", start)
        if end < 0:
            raise problem("E769", path, f"a header line does not end within {MAX_HEADER} bytes")
        key, _, value = head[start + 2 : end].decode("latin-1").strip().partition(" ")
        start = end + 1
        if key.lower() == "end":
            break
        if key:
            fields[key.lower()] = value.strip()
    if head[start : start + 1] == b"%" and _reads_as_text(head[start:]):
        # The decoder takes a first data byte "%" for one more header line if the bytes behind it are text.
        raise problem("E769", path, f"text at byte {start}, where the data should begin")
    return Header(_version(path, fields), _size(path, fields), start, fields)


def _reads_as_text(data: bytes) -> bool:
    try:
        data.split(b"\n", 1)[0].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _format(fields: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    name, *pairs = fields.get("format", "").split(";")
    return name.strip().upper(), dict(pair.strip().split("=", 1) for pair in pairs if "=" in pair)


def endianness(fields: Mapping[str, str]) -> str | None:
    """Return what the header says about the order of bytes in EVT 2.1, in lower case."""
    return (_format(fields)[1].get("endianness") or fields.get("endianness", "")).lower() or None


def _version(path: Path, fields: Mapping[str, str]) -> str | None:
    names = {"EVT2": "evt2", "EVT21": "evt2.1", "EVT2.1": "evt2.1", "EVT3": "evt3", "EVT2.0": "evt2", "EVT3.0": "evt3"}
    numbers = {"2.0": "evt2", "2": "evt2", "2.1": "evt2.1", "3.0": "evt3", "3": "evt3"}
    stated = set()
    if "format" in fields:
        stated.add(names.get(_format(fields)[0], fields["format"][:30]))
    if "evt" in fields:
        stated.add(numbers.get(fields["evt"], fields["evt"][:30]))
    if "version" in fields and not stated:
        stated.add({"1": "dat1", "2": "dat2"}.get(fields["version"], fields["version"][:30]))
    if len(stated) > 1:
        raise problem("E778", path, f"the header states {' and '.join(sorted(stated))}", "one version")
    return stated.pop() if stated else None


def _size(path: Path, fields: Mapping[str, str]) -> tuple[int, int] | None:
    stated: set[tuple[int, int]] = set()
    if "geometry" in fields:
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", fields["geometry"])
        if match is None:
            raise problem("E768", path, f"geometry {fields['geometry'][:30]!r}", "WIDTHxHEIGHT")
        stated.add((int(match[1]), int(match[2])))
    for words in (_format(fields)[1], fields):
        width, height = words.get("width"), words.get("height")
        if width is None and height is None:
            continue
        sides = [int(side) if side is not None and re.fullmatch(r"\d{1,5}", side) else 0 for side in (width, height)]
        if 0 in sides:
            raise problem("E768", path, f"the header states width {width!r} and height {height!r}", "two numbers")
        stated.add((sides[0], sides[1]))
    if len(stated) > 1:
        raise problem("E768", path, f"the header states {len(stated)} sensor sizes: {sorted(stated)}", "one")
    return stated.pop() if stated else None
