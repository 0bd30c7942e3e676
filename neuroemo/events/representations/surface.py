"""Time surface: how long ago every pixel last fired, as an exponential decay.

Source: X. Lagorce, G. Orchard, F. Galluppi, B. E. Shi, R. B. Benosman, "HOTS: A Hierarchy of Event-Based
Time-Surfaces for Pattern Recognition", IEEE TPAMI 39(7), 2017; here of the whole sensor at the end of each window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroemo.events.representations.checks import (
    Polarity,
    SensorSize,
    choice,
    event_columns,
    number,
    plain,
    raise_any,
)
from neuroemo.events.representations.windows import WindowSettings, cut


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceSettings(WindowSettings):
    """The windows, at whose ends the surface is read; ``tau_us`` the time constant; polarity "split" or "merge".

    Raises ``InputError`` (E782) with one finding per value out of range.
    """

    tau_us: float = 50_000
    polarity: Polarity = "split"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        own = [*number("tau_us", self.tau_us, 1e-3, 1e15), *choice("polarity", self.polarity, ("split", "merge"))]
        raise_any([*self.window_findings(), *own])


@dataclass(frozen=True, slots=True)
class TimeSurface:
    """Surfaces float32 ``[T, C, H, W]`` in [0, 1], read at ``times_us`` int64 [T].

    ``left_out`` events come after the last surface. Those before ``start_us`` do count: the pixel did fire.
    """

    surfaces: npt.NDArray[np.float32]
    settings: SurfaceSettings
    times_us: npt.NDArray[np.int64]
    left_out: int

    def metadata(self) -> dict[str, Any]:
        """Return what has to be stored beside the surfaces to read them, ready for JSON."""
        facts = {"representation": "time surface", "times_us": self.times_us.tolist(), "left_out": self.left_out}
        shape = list(self.surfaces.shape)
        return {**plain(self.settings), **facts, "type": str(self.surfaces.dtype), "shape": shape}


def time_surface(
    events: npt.NDArray[Any], sensor_size: SensorSize, settings: SurfaceSettings | None = None
) -> TimeSurface:
    """Return ``S[k, c, y, x] = exp(-(t_k - t_last) / tau)``, t_k the end of window k; 0 where nothing fired yet.

    An event at exactly ``t_k`` counts in surface k with ``closed="right"`` (value 1), in k + 1 with "left".
    Raises ``InputError``: E780 for the events, E781 for the sensor size, E783 over 4 GiB.

    >>> kind = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")]
    >>> events = np.array([(0, 0, 0, 1), (10, 0, 0, 0)], kind)
    >>> once = SurfaceSettings(dt_us=20, tau_us=10, start_us=0)
    >>> [round(value, 4) for value in time_surface(events, (1, 1, 2), once).surfaces.ravel().tolist()]
    [0.1353, 0.3679]
    """
    from neuroemo.events.representations.kernels import decay_surfaces

    chosen = settings or SurfaceSettings()
    columns = event_columns(events, sensor_size, chosen.polarity)
    windows = cut(columns.t, chosen, plane_bytes=4 * columns.plane)
    count = windows.edges.size - 1
    surfaces = np.zeros((count, columns.plane), np.float32)
    decay_surfaces(windows.edges, windows.bounds, columns.t, columns.cell, float(chosen.tau_us), surfaces)
    after = int(columns.t.size - windows.bounds[-1])
    return TimeSurface(surfaces.reshape(count, *columns.shape), chosen, windows.edges[1:], after)
