"""Histogram of events: how many fell on every pixel in every window of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroemo.events.representations.checks import Polarity, SensorSize, choice, event_columns, plain, raise_any
from neuroemo.events.representations.windows import WindowSettings, cut


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramSettings(WindowSettings):
    """The windows, and what happens to polarity: "split" keeps ON in channel 0 and OFF in 1, "merge" adds them.

    Raises ``InputError`` (E782) with one finding per value out of range.
    """

    polarity: Polarity = "split"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        raise_any([*self.window_findings(), *choice("polarity", self.polarity, ("split", "merge"))])


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts int32 ``[T, C, H, W]``; ``mean_times_us`` float64 [T] and ``left_out`` as in ``Tbr``."""

    counts: npt.NDArray[np.int32]
    settings: HistogramSettings
    start_us: int
    mean_times_us: npt.NDArray[np.float64]
    left_out: int

    def metadata(self) -> dict[str, Any]:
        """Return what has to be stored beside the counts to read them, ready for JSON."""
        facts = {"representation": "histogram", "start_us": self.start_us, "left_out": self.left_out}
        return {**plain(self.settings), **facts, "type": str(self.counts.dtype), "shape": list(self.counts.shape)}


def event_histogram(
    events: npt.NDArray[Any], sensor_size: SensorSize, settings: HistogramSettings | None = None
) -> Histogram:
    """Return ``count[k, c, y, x]``, the number of events of polarity c on pixel (x, y) in window k.

    Raises ``InputError``: E780 for the events, E781 for the sensor size, E783 over 4 GiB.

    >>> kind = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")]
    >>> events = np.array([(0, 0, 0, 1), (4999, 0, 0, 1), (5000, 0, 0, 0)], kind)
    >>> event_histogram(events, (1, 1, 2), HistogramSettings(start_us=0)).counts.tolist()
    [[[[2]], [[0]]], [[[0]], [[1]]]]
    """
    from neuroemo.events.representations.kernels import count_events

    chosen = settings or HistogramSettings()
    columns = event_columns(events, sensor_size, chosen.polarity)
    windows = cut(columns.t, chosen, plane_bytes=4 * columns.plane)
    count = windows.edges.size - 1
    counts = np.zeros((count, columns.plane), np.int32)
    count_events(windows.bounds, columns.cell, counts)
    times = windows.mean_times(columns.t)
    return Histogram(counts.reshape(count, *columns.shape), chosen, windows.start_us, times, windows.left_out)
