"""Event files built by hand from the formats' public descriptions, word by word, and the events they hold."""

from __future__ import annotations

import struct

import numpy as np

from neuroemo.events.clip import EVENT_DTYPE

SENSOR = (346, 260, 2)


def array(*rows) -> np.ndarray:
    return np.array([tuple(row) for row in rows], dtype=EVENT_DTYPE)


def random_events(count=2000, sensor=SENSOR, seed=0, last_us=9_000_000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, last_us, count))
    events["x"] = rng.integers(0, sensor[0], count)
    events["y"] = rng.integers(0, sensor[1], count)
    events["p"] = rng.integers(0, 2, count)
    return events


RAW_HEADER = (
    "% date 2024-01-01 10:00:00\n% evt {evt}\n% format {form};height=260;width=346\n% geometry 346x260\n% end\n"
)
HEADERS = {
    "evt2": RAW_HEADER.format(evt="2.0", form="EVT2").encode(),
    "evt3": RAW_HEADER.format(evt="3.0", form="EVT3").encode(),
    "little": RAW_HEADER.format(evt="2.1", form="EVT21;endianness=little").encode(),
    "legacy": RAW_HEADER.format(evt="2.1", form="EVT21;endianness=legacy").encode(),
}
DAT_HEADER = b"% Data file containing CD events.\n% Version 2\n% Date 2024-01-01 10:00:00\n% Height 260\n% Width 346\n"

EVT3_WORDS = (
    0x8001,  # time high 1: 4096 us
    0x6005,  # time low 5: 4101 us
    0x000A,  # row 10
    0x2814,  # column 20, ON
    0x3064,  # vector base column 100, OFF
    0x4A01,  # 12 pixels: bits 0, 9, 11
    0x5003,  # 8 pixels from 112: bits 0, 1
    0x8002,  # time high 2: 8192 us
    0x2001,  # column 1, OFF
)
EVT3_EVENTS = array(
    (4101, 20, 10, 1), (4101, 100, 10, 0), (4101, 109, 10, 0), (4101, 111, 10, 0),
    (4101, 112, 10, 0), (4101, 113, 10, 0), (8192, 1, 10, 0),
)  # fmt: skip


def evt3(words=EVT3_WORDS) -> bytes:
    return HEADERS["evt3"] + struct.pack(f"<{len(words)}H", *words)


def evt2_event(low, x, y, p) -> int:
    return (p << 28) | (low << 22) | (x << 11) | y


EVT2_WORDS = (
    0x80000002,  # time high 2: 128 us
    evt2_event(3, 345, 259, 1),
    evt2_event(63, 0, 0, 0),
    0xA0000000,  # a trigger: no event
    0x80000005,  # 320 us
    evt2_event(0, 7, 8, 1),
)
EVT2_EVENTS = array((131, 345, 259, 1), (191, 0, 0, 0), (320, 7, 8, 1))


def evt2(words=EVT2_WORDS) -> bytes:
    return HEADERS["evt2"] + struct.pack(f"<{len(words)}I", *words)


def evt21_event(low, x, y, p, mask) -> int:
    return (p << 60) | (low << 54) | (x << 43) | (y << 32) | mask


EVT21_WORDS = (
    (8 << 60) | (1 << 32),  # time high 1: 64 us
    evt21_event(5, 32, 200, 1, 0b1001),
    evt21_event(5, 64, 201, 0, 1 << 31),
    (8 << 60) | (2 << 32),
    evt21_event(0, 0, 0, 0, 1),
)
EVT21_EVENTS = array((69, 32, 200, 1), (69, 35, 200, 1), (69, 95, 201, 0), (128, 0, 0, 0))


def evt21(order, words=EVT21_WORDS) -> bytes:
    if order == "little":
        return HEADERS[order] + struct.pack(f"<{len(words)}Q", *words)
    halves = [half for word in words for half in (word >> 32, word & 0xFFFFFFFF)]
    return HEADERS[order] + struct.pack(f"<{len(halves)}I", *halves)


DAT_EVENTS = array((10, 1, 2, 1), (10, 345, 259, 0), (70000, 3, 4, 1))


def dat(events=DAT_EVENTS, kind=0x0C, header=DAT_HEADER) -> bytes:
    data = b"".join(
        struct.pack("<II", int(e["t"]) & 0xFFFFFFFF, int(e["x"]) | int(e["y"]) << 14 | int(e["p"]) << 28)
        for e in events
    )
    return header + bytes([kind, 8]) + data


def aedat2(pairs, chip="eu.seebetter.ini.chips.davis.Davis346blue") -> bytes:
    head = "#!AER-DAT2.0\r\n# This is a raw AE data file\r\n" + (f"# AEChip: {chip}\r\n" if chip else "")
    return head.encode() + b"".join(struct.pack(">II", address, t) for address, t in pairs)


def davis(x, y, p, width=346, height=260) -> int:
    """The address that jAER gives a pixel: both axes turned, ON is 1."""
    return (height - 1 - y) << 22 | (width - 1 - x) << 12 | p << 11
