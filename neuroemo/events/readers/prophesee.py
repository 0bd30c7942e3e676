"""Prophesee RAW (EVT 2.0, 2.1, 3.0) and DAT: decoded by faery, with the time words checked beside it.

faery takes a time that falls for a wrap, or passes over it, without a word; a damaged file then reads as a
recording of hours. The words that carry time are therefore checked here first. faery does not read EVT 2.1,
the few lines for it are ours. Source of the bit fields: https://docs.prophesee.ai/stable/data/encoding_formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.readers.child import decode
from neuroemo.events.readers.event_file import (
    MAX_EVENTS,
    EventFile,
    Events,
    agreed_size,
    check_file,
    checked,
    problem,
    warning,
)
from neuroemo.events.readers.prophesee_header import Header, endianness, read_header
from neuroemo.events.readers.prophesee_words import TimeCheck, check_dat, check_evt2, check_evt3

Words = npt.NDArray[np.uint64]
CHUNK = 1 << 20
_CHUNK_EVT21 = 1 << 14  # each word becomes up to 32 events
_WORD: dict[str, np.dtype[Any]] = {"evt2": np.dtype("<u4"), "evt2.1": np.dtype("<u8"), "evt3": np.dtype("<u2")}
_CHECK: dict[str, Callable[[Path, Iterator[Any], int], TimeCheck]] = {"evt2": check_evt2, "evt3": check_evt3}
_TIME_HIGH = 8
_KNOWN_EVT21 = (0, 1, 8, 10, 14, 15)


def read_raw(path: Path, sensor_size: tuple[int, int] | None, *, sort: bool) -> EventFile:
    """Read a RAW file. Events in front of the first time word have no time: they are dropped and counted.

    Raises ``InputError``: E767/E768 sensor size, E769 damaged or truncated, E773 time words that contradict
    each other, E778 version unknown, and what ``decode`` and ``checked`` refuse.
    """
    total = check_file(path)
    header = read_header(path)
    if header.version is None or header.version not in _WORD:
        found = f"RAW version {header.version}" if header.version else "the header states no version"
        raise problem("E778", path, found, "EVT 2.0, EVT 2.1 or EVT 3.0", "export it again with Metavision")
    size = agreed_size(path, header.size, sensor_size)
    word = _WORD[header.version]
    _whole(path, total - header.start, word.itemsize)
    meta = {"format": header.version.upper().replace("EVT", "EVT "), "header": dict(header.fields)}
    if header.version == "evt2.1":
        events, findings = _read_evt21(path, header)
    else:
        check = _CHECK[header.version](path, _chunks(path, header.start, word), size[0])
        events, _ = decode(path, "evt", version=header.version, sensor=list(size))
        events, findings = events[check.leading :], _notes(path, check.leading, check.unknown, check.held)
    return checked(path, events, size, sort=sort, meta=meta, findings=findings)


def read_dat(path: Path, sensor_size: tuple[int, int] | None, *, sort: bool) -> EventFile:
    """Read a DAT file of change-detection events (types CD and the older 2D).

    Raises ``InputError``: as ``read_raw``; E773 when a time falls, which the decoder would hide.
    """
    total = check_file(path)
    header = read_header(path)
    if header.version is None or header.version not in ("dat1", "dat2"):
        found = f"DAT version {header.version}" if header.version else "the header states no version"
        raise problem("E778", path, found, "1 or 2", "export it again with Metavision")
    if total < header.start + 2:
        raise problem("E769", path, "truncated: the header is not followed by type and size of the events")
    size = agreed_size(path, header.size, sensor_size)
    _whole(path, total - header.start - 2, 8)
    check_dat(path, _chunks(path, header.start + 2, np.dtype("<u8")))
    events, _ = decode(path, "dat", version=header.version, sensor=list(size))
    meta = {"format": f"DAT {header.version[-1]}", "header": dict(header.fields)}
    return checked(path, events, size, sort=sort, meta=meta)


def _whole(path: Path, data: int, word: int) -> None:
    if data % word:
        found = f"truncated: {data} bytes of data, {data % word} too many"
        raise problem("E769", path, found, f"a multiple of {word} bytes")


def _notes(path: Path, leading: int, unknown: int, held: int) -> tuple[Finding, ...]:
    notes = []
    if leading:
        notes.append(warning("W773", path, f"{leading} events in front of the first time and row words dropped"))
    if unknown:
        notes.append(warning("W769", path, f"{unknown} words of a kind the format does not define left out"))
    if held:
        found = f"{held} times fall within a time word; the events there carry the time before the fall"
        notes.append(warning("W770", path, found))
    return tuple(notes)


def _chunks(path: Path, start: int, word: np.dtype[Any], count: int = CHUNK) -> Iterator[Any]:
    with path.open("rb") as file:
        file.seek(start)
        while (chunk := np.fromfile(file, dtype=word, count=count)).size:
            yield chunk


def _read_evt21(path: Path, header: Header) -> tuple[Events, tuple[Finding, ...]]:
    """Decode EVT 2.1: 64-bit words, each up to 32 pixels of one row, time and polarity.

    Bits 63-60 kind (0 OFF, 1 ON, 8 high time bits), 59-54 low time bits, 53-43 x, 42-32 y, 31-0 which of
    x..x+31; in a time word 59-32 are time bits 33-6. The header's ``endianness`` tells the order of the two
    32-bit halves: ``little`` low half first (GenX320), ``legacy`` high half first (IMX636).
    """
    order = endianness(header.fields)
    if order not in ("little", "legacy"):
        found = f"EVT 2.1 with endianness {order!r}" if order else "EVT 2.1 without endianness in the header"
        fix = "add ;endianness=little (GenX320) or ;endianness=legacy (IMX636) to the '% format EVT21' line"
        raise problem("E778", path, found, "little or legacy", fix)
    parts, base, leading, unknown, count = [], -1, 0, 0, 0
    for raw in _chunks(path, header.start, np.dtype("<u8"), _CHUNK_EVT21):
        words = raw if order == "little" else (raw << np.uint64(32)) | (raw >> np.uint64(32))
        events, base, early = _decode_evt21(path, words, base)
        unknown += int(np.count_nonzero(~np.isin(words >> np.uint64(60), _KNOWN_EVT21)))
        leading += early
        count += len(events)
        if count > MAX_EVENTS:
            raise problem("E775", path, f"more than {MAX_EVENTS} events", fix="cut the recording into parts")
        parts.append(events)
    events = np.concatenate(parts) if parts else np.empty(0, EVENT_DTYPE)
    return events, _notes(path, leading, unknown, 0)


def _decode_evt21(path: Path, words: Words, base: int) -> tuple[Events, int, int]:
    """Return the events of some words, the time base behind them (-1: none yet), and how many came too early."""
    kind = (words >> np.uint64(60)).astype(np.int64)
    is_time = kind == _TIME_HIGH
    highs = ((words[is_time] >> np.uint64(32)) & np.uint64(0xFFFFFFF)).astype(np.int64) << 6
    bases = np.concatenate([[base], highs])
    falls = np.flatnonzero(np.diff(bases) < 0)
    if falls.size:
        found = f"the time falls from {bases[falls[0]]} to {bases[falls[0] + 1]} us"
        raise problem("E773", path, found, "rising time words (4.8 hours at most)")
    is_event = kind <= 1
    chosen = words[is_event]
    high = bases[np.cumsum(is_time)[is_event]]
    mask = (chosen[:, None] >> np.arange(32, dtype=np.uint64)[None, :]) & np.uint64(1)
    row, lane = np.nonzero(mask)
    keep = high[row] >= 0
    early = int(np.count_nonzero(~keep))
    row, lane = row[keep], lane[keep]
    picked = chosen[row]
    events = np.empty(len(row), EVENT_DTYPE)
    events["t"] = high[row] + ((picked >> np.uint64(54)) & np.uint64(63)).astype(np.int64)
    events["x"] = ((picked >> np.uint64(43)) & np.uint64(2047)).astype(np.int64) + lane
    events["y"] = ((picked >> np.uint64(32)) & np.uint64(2047)).astype(np.int64)
    events["p"] = (picked >> np.uint64(60)) == 1
    return events, int(bases[-1]), early
