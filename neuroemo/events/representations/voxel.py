"""Voxel grid: events shared between the two nearest bins of time, signed by polarity.

Source: A. Z. Zhu, L. Yuan, K. Chaney, K. Daniilidis, "Unsupervised Event-Based Learning of Optical Flow, Depth, and
Egomotion", CVPR 2019, arXiv 1812.08156, equations 1 to 3 (places are whole pixels, so that only time is shared).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding
from neuroemo.events.representations.checks import (
    MAX_TIME_US,
    EventColumns,
    SensorSize,
    check_bytes,
    choice,
    event_columns,
    integer,
    plain,
    raise_any,
)

MAX_BINS = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class VoxelSettings:
    """``bins`` B anchors, the first at ``start_us``, the last at ``end_us`` (None: the first and the last event).

    ``polarity="signed"`` adds +1 for ON and -1 for OFF in one channel (the source), so that an ON and an OFF event
    at one place cancel; "split" adds +1 in channel 0 for ON and in channel 1 for OFF.

    Raises ``InputError`` (E782) with one finding per value out of range.
    """

    bins: int = 5
    start_us: int | None = None
    end_us: int | None = None
    polarity: Literal["signed", "split"] = "signed"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = [
            *integer("bins", self.bins, 1, MAX_BINS),
            *integer("start_us", self.start_us, -MAX_TIME_US, MAX_TIME_US, optional=True),
            *integer("end_us", self.end_us, -MAX_TIME_US, MAX_TIME_US, optional=True),
            *choice("polarity", self.polarity, ("signed", "split")),
        ]
        raise_any(findings)
        if self.start_us is not None and self.end_us is not None and self.end_us < self.start_us:
            limit, over = f"at least start_us {self.start_us}", str(self.start_us - self.end_us)
            raise_any([Finding("E782", "error", "end_us", str(self.end_us), limit, over, "give the later time")])


@dataclass(frozen=True, slots=True)
class VoxelGrid:
    """The grid float32 ``[B, C, H, W]`` over ``[start_us, end_us]``; ``left_out`` events lie outside of it."""

    grid: npt.NDArray[np.float32]
    settings: VoxelSettings
    start_us: int
    end_us: int
    left_out: int

    @property
    def anchor_times_us(self) -> npt.NDArray[np.float64]:
        """Time of every bin, float64 [B]; an event at exactly this time counts in this bin alone."""
        return np.linspace(self.start_us, self.end_us, len(self.grid))

    def metadata(self) -> dict[str, Any]:
        """Return what has to be stored beside the grid to read it, ready for JSON."""
        facts = {"representation": "voxel grid", "start_us": self.start_us, "end_us": self.end_us}
        stored = {"left_out": self.left_out, "type": str(self.grid.dtype), "shape": list(self.grid.shape)}
        return {**plain(self.settings), **facts, **stored}


def voxel_grid(events: npt.NDArray[Any], sensor_size: SensorSize, settings: VoxelSettings | None = None) -> VoxelGrid:
    """Return ``V[b, y, x] = sum of p_i max(0, 1 - |b - t*_i|)``, ``t*_i = (B - 1) (t_i - start) / (end - start)``.

    The parts of every event add up to its polarity. When start and end coincide, t* is 0. Sums are made in float64
    and rounded once. Raises ``InputError``: E780 for the events, E781 for the sensor size, E782 for an end
    before the start, E783 over 4 GiB.

    >>> kind = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")]
    >>> events = np.array([(0, 0, 0, 1), (25, 0, 0, 0), (100, 0, 0, 1)], kind)
    >>> voxel_grid(events, (1, 1, 2), VoxelSettings(bins=3)).grid.ravel().tolist()
    [0.5, -0.5, 1.0]
    """
    from neuroemo.events.representations.kernels import spread_in_time

    chosen = settings or VoxelSettings()
    columns = event_columns(events, sensor_size, "split")
    start, end = _span(columns.t, chosen)
    inside = slice(*np.searchsorted(columns.t, [start], "left"), *np.searchsorted(columns.t, [end], "right"))
    channels, height, width = columns.shape
    cell, weight = _cells_and_weights(columns, chosen, inside)
    shape = (int(chosen.bins), channels if chosen.polarity == "split" else 1, height, width)
    check_bytes("bins", shape[0], shape[1] * height * width * 12)
    position = (chosen.bins - 1) * (columns.t[inside] - start).astype(np.float64) / max(end - start, 1)
    grid = np.zeros((shape[0], shape[1] * height * width), np.float64)
    spread_in_time(position, cell, weight, grid)
    rounded = grid.astype(np.float32).reshape(shape)
    return VoxelGrid(rounded, chosen, start, end, int(columns.t.size - cell.size))


def _span(t: npt.NDArray[np.int64], settings: VoxelSettings) -> tuple[int, int]:
    """Return start and end; a border that is not given comes from the events, or from the other one."""
    start, end = settings.start_us, settings.end_us
    first, last = (int(t[0]), int(t[-1])) if t.size else (None, None)
    low = next(value for value in (start, first, end, 0) if value is not None)
    high = next(value for value in (end, last, low) if value is not None)
    if high < low:
        found = f"the grid would run from {low} to {high} us"
        raise_any([Finding("E782", "error", "span", found, "start before end", str(low - high), "give both borders")])
    return int(low), int(high)


def _cells_and_weights(
    columns: EventColumns, settings: VoxelSettings, inside: slice
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return places and weights of the events inside: signed in one channel, or +1 in two."""
    cell = columns.cell[inside]
    if settings.polarity == "split":
        return cell, np.ones(cell.size)
    area = columns.shape[1] * columns.shape[2]
    return cell % area, np.where(cell < area, 1.0, -1.0)
