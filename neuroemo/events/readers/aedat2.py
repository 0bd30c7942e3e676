"""AEDAT 2.0 of jAER and v2e: text lines with ``#``, then pairs of big-endian 32-bit address and time (us).

No maintained Python library reads this format, hence these lines. The bits of an address depend on the camera
(https://docs.inivation.com, "AEDAT file formats"; jAER's chip classes), which the header names or the sensor
size tells. jAER puts the origin at the lower right, we put it at the upper left, so both axes are turned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.readers.event_file import (
    MAX_EVENTS,
    EventFile,
    agreed_size,
    check_file,
    checked,
    problem,
    warning,
)

MAX_HEADER = 1 << 16
_PAIR = np.dtype([("address", ">u4"), ("t", ">u4")])


@dataclass(frozen=True, slots=True)
class AddressBits:
    """Where an address holds x, y and polarity: the lowest bit of each, the widths, and the value that is ON.

    An address with any bit of ``other`` set is no polarity event (a frame, motion sensor or trigger sample).
    """

    x: int
    y: int
    polarity: int
    x_bits: int
    y_bits: int
    on: int
    other: int


DAVIS = AddressBits(x=12, y=22, polarity=11, x_bits=10, y_bits=9, on=1, other=(1 << 31) | (1 << 10))
DVS128 = AddressBits(x=1, y=8, polarity=0, x_bits=7, y_bits=7, on=0, other=1 << 15)
DVS640 = AddressBits(x=1, y=11, polarity=0, x_bits=10, y_bits=10, on=1, other=1 << 31)
CAMERAS = {
    (346, 260): DAVIS,
    (240, 180): DAVIS,
    (128, 128): DVS128,
    (640, 480): DVS640,
}
_NAMES = {"DAVIS346": (346, 260), "DAVIS240": (240, 180), "DVS128": (128, 128), "DVS640": (640, 480)}


def read_aedat2(path: Path, sensor_size: tuple[int, int] | None, *, sort: bool) -> EventFile:
    """Read a recording of a DAVIS346, DAVIS240, DVS128 or DVS640; times that pass 2^32 us continue.

    Raises ``InputError``: E767 camera unknown, E769 truncated, E778 other version or camera, and what
    ``checked`` refuses.
    """
    bytes_total = check_file(path)
    lines, start = _header(path)
    size = agreed_size(path, _camera(path, lines), sensor_size)
    bits = CAMERAS.get(size)
    if bits is None:
        known = ", ".join(f"{width}x{height}" for width, height in CAMERAS)
        raise problem("E778", path, f"AEDAT 2.0 of a camera with {size[0]}x{size[1]} pixels", known, "export as AEDAT4")
    if (bytes_total - start) % _PAIR.itemsize:
        raise problem("E769", path, f"truncated: {bytes_total - start} bytes of events", "a multiple of 8")
    if (bytes_total - start) // _PAIR.itemsize > MAX_EVENTS:
        raise problem("E775", path, f"more than {MAX_EVENTS} events", fix="cut the recording into parts")
    pairs = np.fromfile(path, dtype=_PAIR, offset=start)
    address, times = pairs["address"].astype(np.uint32), unwrapped(pairs["t"].astype(np.int64))
    polarity = (address & np.uint32(bits.other)) == 0
    findings: tuple[Finding, ...] = ()
    if not polarity.all():
        count = int(np.count_nonzero(~polarity))
        findings = (warning("W778", path, f"{count} samples of frames, motion sensor or triggers left out"),)
    address = address[polarity]
    events = np.empty(len(address), EVENT_DTYPE)
    events["t"] = times[polarity]
    events["x"] = size[0] - 1 - _field(address, bits.x, bits.x_bits)
    events["y"] = size[1] - 1 - _field(address, bits.y, bits.y_bits)
    events["p"] = _field(address, bits.polarity, 1) == bits.on
    return checked(path, events, size, sort=sort, meta={"format": "AEDAT 2.0"}, findings=findings)


def _field(address: npt.NDArray[np.uint32], low: int, width: int) -> npt.NDArray[np.int64]:
    return ((address >> np.uint32(low)) & np.uint32((1 << width) - 1)).astype(np.int64)


def unwrapped(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 32-bit times as a running count: a fall by more than half the range is a wrap.

    >>> unwrapped(np.array([4294967290, 4, 9])).tolist()
    [4294967290, 4294967300, 4294967305]
    """
    wraps = np.concatenate([[0], np.cumsum(np.diff(times) < -(1 << 31))]) if times.size else np.zeros(0, np.int64)
    return times + (wraps.astype(np.int64) << 32)


def _header(path: Path) -> tuple[list[str], int]:
    """Return the comment lines and where the events begin."""
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
    lines, start = [], 0
    while head[start : start + 1] == b"#":
        end = head.find(b"\n", start)
        if end < 0:
            raise problem("E769", path, f"a header line does not end within {MAX_HEADER} bytes")
        lines.append(head[start:end].decode("latin-1").strip())
        start = end + 1
        if "END-HEADER" in lines[-1].upper():
            break
    if not lines or not lines[0].upper().startswith("#!AER-DAT2"):
        found = f"header begins {lines[0][:20]!r}" if lines else "no header"
        raise problem("E778", path, found, "#!AER-DAT2.0", "convert it to AEDAT4 with the camera maker's tool")
    return lines, start


def _camera(path: Path, lines: list[str]) -> tuple[int, int] | None:
    """Return the size of the camera that the header names, or None."""
    for line in lines:
        if re.match(r"#\s*(AEChip|HardwareInterface)", line, re.IGNORECASE):
            for name, size in _NAMES.items():
                if name in line.upper():
                    return size
    return None
