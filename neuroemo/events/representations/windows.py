"""Time windows of equal length: where they begin, which events fall into each, and which into none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding
from neuroemo.events.representations.checks import MAX_TIME_US, check_bytes, choice, integer, number, raise_any

Closed = Literal["left", "right"]
MAX_COUNT = 2**31 - 1
MAX_DT_US = 1e12
BORDER_BYTES = 32
"""What the borders of one window take while they are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """How a recording is cut in time: border k lies at ``start_us + round(k * dt_us)`` microseconds.

    ``dt_us`` is the length of a window (a fraction such as 1e6 / 30 is fine: only the borders are rounded, so
    nothing drifts). ``start_us`` None starts at the first event; give it where the clock of a video counts.
    ``count`` windows are made, None: as many as it takes to hold every event, the last one perhaps not full.
    ``closed="left"`` puts an event on a border into the window that begins there, ``[a, b)``; "right" into the
    one that ends there, ``(a, b]``, which is where a simulator of events puts those of a video frame.

    Raises ``InputError`` (E782) with one finding per value out of range.
    """

    dt_us: float = 5000
    count: int | None = None
    start_us: int | None = None
    closed: Closed = "left"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        raise_any(self.window_findings())

    def window_findings(self) -> list[Finding]:
        """Return what is wrong with the fields of this class."""
        return [
            *number("dt_us", self.dt_us, 1, MAX_DT_US),
            *integer("count", self.count, 0, MAX_COUNT, optional=True),
            *integer("start_us", self.start_us, -MAX_TIME_US, MAX_TIME_US, optional=True),
            *choice("closed", self.closed, ("left", "right")),
        ]


@dataclass(frozen=True, slots=True)
class Windows:
    """The cut: borders int64 ``[n + 1]`` in microseconds; window k holds events ``bounds[k]:bounds[k + 1]``."""

    edges: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]
    left_out: int

    @property
    def start_us(self) -> int:
        """Where the first window begins."""
        return int(self.edges[0])

    def mean_times(self, t: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the mean time of the events of each window, float64 [n]; of an empty one, its centre.

        >>> t = np.array([0, 10, 50])
        >>> cut(t, WindowSettings(dt_us=20, start_us=0)).mean_times(t).tolist()
        [5.0, 30.0, 50.0]
        """
        begin = self.edges[:-1]
        inside = t[self.bounds[0] : self.bounds[-1]]
        counts = np.diff(self.bounds)
        # Sums of times since the start stay exact where sums of times since 1970 would not.
        totals = np.concatenate([np.zeros(1, np.int64), np.cumsum(inside - self.edges[0])])
        sums = np.diff(totals[self.bounds - self.bounds[0]])
        centres = (begin + self.edges[1:]) / 2
        return np.where(counts > 0, self.edges[0] + sums / np.maximum(counts, 1), centres)


def cut(t: npt.NDArray[np.int64], settings: WindowSettings, *, group: int = 1, plane_bytes: int = 1) -> Windows:
    """Cut sorted times int64 [E] into windows, in whole groups of ``group`` (``count`` counts groups).

    ``plane_bytes`` is what the caller will make for each group; with the borders it may not pass 4 GiB.

    Without events, ``count`` None gives no window and ``start_us`` None starts at 0.
    Raises ``InputError``: E783 over 4 GiB, E782 for windows that reach over 2^54 us (570 years).

    >>> cut(np.array([0, 4, 5, 9]), WindowSettings(dt_us=5, start_us=0)).bounds.tolist()
    [0, 2, 4]
    >>> cut(np.array([0, 4, 5, 9]), WindowSettings(dt_us=5, start_us=0, closed="right")).bounds.tolist()
    [1, 3, 4]
    """
    start = first_border(t, settings)
    count = settings.count
    if count is None:
        last = start if t.size == 0 else int(t[-1]) + (settings.closed == "left")
        count = -(-windows_until(last, start, settings.dt_us) // group)
    check_bytes("windows", int(count), plane_bytes + int(group) * BORDER_BYTES)
    edges = borders(start, int(count) * int(group), settings.dt_us)
    bounds = np.searchsorted(t, edges, side=settings.closed).astype(np.int64)
    return Windows(edges, bounds, int(t.size - (bounds[-1] - bounds[0])))


def first_border(t: npt.NDArray[np.int64], settings: WindowSettings) -> int:
    """Return ``start_us``, or the border that just takes the first event in."""
    if settings.start_us is not None:
        return int(settings.start_us)
    return 0 if t.size == 0 else int(t[0]) - (settings.closed == "right")


def borders(start: int, count: int, dt_us: float) -> npt.NDArray[np.int64]:
    """Return the ``count + 1`` borders ``start + round(k * dt_us)``."""
    if count * dt_us > 2 * MAX_TIME_US:
        found, limit = f"{count} windows of {dt_us:g} us", f"{2 * MAX_TIME_US} us in all"
        raise_any([Finding("E782", "error", "dt_us", found, limit, fix="take fewer or shorter windows")])
    return start + np.rint(np.arange(count + 1) * float(dt_us)).astype(np.int64)


def windows_until(time_us: int, start: int, dt_us: float) -> int:
    """Return the least n >= 0 with ``start + round(n * dt_us) >= time_us``.

    >>> windows_until(100, 0, 33.3), windows_until(101, 0, 33.3), windows_until(-5, 0, 10)
    (3, 4, 0)
    """
    distance = time_us - start
    if distance <= 0:
        return 0
    count = max(0, math.floor(distance / dt_us) - 1)
    while round(count * dt_us) < distance:
        count += 1
    return count
