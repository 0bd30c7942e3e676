"""What every representation asks of its events and settings; all that is wrong is reported at once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError

Polarity = Literal["split", "merge"]
SensorSize = tuple[int, int, int]
MAX_SIDE = 32767
MAX_TIME_US = 2**53
"""Up to here (285 years) a time in microseconds is exact in float64 as well."""

MAX_BYTES = 4 << 30
FIELDS = ("t", "x", "y", "p")


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Checked events: times int64 [E] in microseconds, and the index of each in a plane [C, H, W], int64 [E].

    Channel 0 holds ON and 1 OFF, as in a ``Clip``; a merged plane has the one channel.
    """

    t: npt.NDArray[np.int64]
    cell: npt.NDArray[np.int64]
    shape: tuple[int, int, int]

    @property
    def plane(self) -> int:
        """Number of elements of one plane, C * H * W."""
        return math.prod(self.shape)


def event_columns(events: npt.NDArray[Any], sensor_size: SensorSize, polarity: Polarity) -> EventColumns:
    """Check the events and return their columns.

    The four fields may have any integer type; ``p`` is bool, {0, 1} or {-1, 1}, and positive means ON.
    Raises ``InputError`` (E780, E781) for other fields or types, for times that go back or are over 285
    years, for places outside of the sensor and for any other polarity.

    >>> events = np.array([(7, 2, 1, True)], [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")])
    >>> event_columns(events, (4, 3, 2), "split").cell
    array([6])
    """
    findings = [*_sensor_findings(sensor_size), *_field_findings(events)]
    if findings:
        raise InputError(findings)
    width, height = int(sensor_size[0]), int(sensor_size[1])
    findings = [
        *_time_findings(events["t"]),
        *_place_findings("x", events["x"], width),
        *_place_findings("y", events["y"], height),
        *_polarity_findings(events["p"]),
    ]
    if findings:
        raise InputError(findings)
    cell = events["y"].astype(np.int64) * width + events["x"]
    if polarity == "split":
        cell += np.where(events["p"] > 0, 0, height * width)
    channels = 2 if polarity == "split" else 1
    return EventColumns(np.ascontiguousarray(events["t"], np.int64), cell, (channels, height, width))


def _sensor_findings(sensor_size: SensorSize) -> list[Finding]:
    sides = tuple(sensor_size) if isinstance(sensor_size, (tuple, list, np.ndarray)) else ()
    good = len(sides) == 3 and all(is_integer(side, 1, MAX_SIDE) for side in sides) and sides[2] == 2
    limit = f"(width, height, 2), sides 1..{MAX_SIDE}"
    return [] if good else [Finding("E781", "error", "sensor_size", repr(sensor_size), limit)]


def _field_findings(events: npt.NDArray[Any]) -> list[Finding]:
    names = getattr(getattr(events, "dtype", None), "names", None)
    if not isinstance(events, np.ndarray) or events.ndim != 1 or not names or not set(FIELDS) <= set(names):
        found = f"{getattr(events, 'dtype', type(events).__name__)} {list(getattr(events, 'shape', []))}"
        return [Finding("E780", "error", "events", found, "a structured array [E] with fields t, x, y, p")]
    kinds = {"t": "iu", "x": "iu", "y": "iu", "p": "iub"}
    fixes = {"t": "convert to whole microseconds", "x": "", "y": "", "p": "convert to bool, True for ON"}
    return [
        Finding("E780", "error", f"events[{name!r}]", f"type {events.dtype[name]}", "integers", fix=fixes[name])
        for name in FIELDS
        if events.dtype[name].kind not in kinds[name]
    ]


def _time_findings(t: npt.NDArray[Any]) -> list[Finding]:
    if t.size == 0:
        return []
    where, findings = "events['t']", []
    back = np.flatnonzero(t[1:] < t[:-1])
    if back.size:
        first = int(back[0])
        found = f"event {first + 1} at {t[first + 1]} us after {t[first]} us, {back.size} such step(s) back"
        fix = "events = events[numpy.argsort(events['t'], kind='stable')]"
        findings.append(Finding("E780", "error", where, found, "sorted by time", fix=fix))
    worst = max(int(t.max()), -int(t.min()))
    if worst > MAX_TIME_US:
        limit, over = f"{MAX_TIME_US} us", str(worst - MAX_TIME_US)
        fix = "times are in microseconds; convert, or subtract the start of the recording"
        findings.append(Finding("E780", "error", where, f"{worst} us from zero", limit, over, fix))
    return findings


def _place_findings(name: str, values: npt.NDArray[Any], side: int) -> list[Finding]:
    outside = (values < 0) | (values >= side)
    if not outside.any():
        return []
    first = int(np.argmax(outside))
    found = f"{int(outside.sum())} event(s) outside of the sensor, the first is event {first} at {values[first]}"
    fix = "give the sensor size of the recording, or remove these events"
    return [Finding("E780", "error", f"events[{name!r}]", found, f"0..{side - 1}", fix=fix)]


def _polarity_findings(p: npt.NDArray[Any]) -> list[Finding]:
    if p.dtype == np.bool_ or p.size == 0:
        return []
    low, high = int(p.min()), int(p.max())
    signed, plain = bool(((p == -1) | (p == 1)).all()), low >= 0 and high <= 1
    if signed or plain:
        return []
    found, fix = f"values from {low} to {high}", "convert to bool, True for ON"
    return [Finding("E780", "error", "events['p']", found, "bool, {0, 1} or {-1, 1}", fix=fix)]


def is_integer(value: object, low: int, high: int) -> bool:
    """Say whether a value is an integer (of Python or numpy, no bool) within the bounds."""
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high


def integer(name: str, value: object, low: int, high: int, *, optional: bool = False) -> list[Finding]:
    """Return a finding unless ``value`` is an integer within the bounds, or None where that is allowed."""
    if (optional and value is None) or is_integer(value, low, high):
        return []
    limit = f"an integer in {low}..{high}{' or None' if optional else ''}"
    return [Finding("E782", "error", name, repr(value), limit)]


def number(name: str, value: object, low: float, high: float) -> list[Finding]:
    """Return a finding unless ``value`` is a number within the bounds; a NaN is within none."""
    if isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) <= high:
        return []
    return [Finding("E782", "error", name, repr(value), f"a number in {low:g}..{high:g}")]


def choice(name: str, value: object, allowed: Iterable[object]) -> list[Finding]:
    """Return a finding unless ``value`` is one of those allowed."""
    listed = tuple(allowed)
    if any(value is one or (isinstance(value, str) and value == one) for one in listed):
        return []
    return [Finding("E782", "error", name, repr(value), " or ".join(map(repr, listed)))]


def raise_any(findings: Iterable[Finding]) -> None:
    """Raise ``InputError`` with all findings, if there is one."""
    listed = tuple(findings)
    if listed:
        raise InputError(listed)


def plain(settings: Any) -> dict[str, Any]:
    """Return the fields of a settings class as Python's own values, ready for JSON."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in asdict(settings).items()}


def check_bytes(what: str, count: int, each: int) -> None:
    """Refuse a result of ``count`` times ``each`` bytes over 4 GiB before it is made: one wrong time can ask for it."""
    wanted = count * each
    if wanted > MAX_BYTES:
        fix = "limit their number, take longer windows, or cut the recording"
        found = f"{count} of {each} bytes, {wanted} in all"
        raise InputError(Finding("E783", "error", what, found, f"{MAX_BYTES} bytes", str(wanted - MAX_BYTES), fix))
