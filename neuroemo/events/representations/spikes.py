"""Binary spike clip: events of any source in the form that the spiking networks of this package read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding
from neuroemo.events.clip import Clip, Floats
from neuroemo.events.representations.checks import (
    MAX_TIME_US,
    EventColumns,
    SensorSize,
    check_bytes,
    choice,
    event_columns,
    integer,
    number,
    raise_any,
)
from neuroemo.events.representations.windows import (
    BORDER_BYTES,
    Closed,
    WindowSettings,
    cut,
    first_border,
    windows_until,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeClipSettings:
    """``fps`` steps per second; ``steps`` T of the clip, the gray first frame included (None: all that is needed).

    ``start_us`` is where the first spike step begins (None: at the first event); for events simulated from a video
    it is 0. ``end_us`` is where the recording ends, known to nobody but the caller (None: at the last event):
    steps behind it are padding. ``closed`` as in ``WindowSettings``; "right" gives the events of a video frame to the
    step of that frame.

    Raises ``InputError`` (E782) with one finding per value out of range.
    """

    fps: float = 25.0
    steps: int | None = None
    start_us: int | None = None
    end_us: int | None = None
    closed: Closed = "right"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        raise_any(
            [
                *number("fps", self.fps, 1e-3, 1e6),
                *integer("steps", self.steps, 1, 2**31 - 1, optional=True),
                *integer("start_us", self.start_us, -MAX_TIME_US, MAX_TIME_US, optional=True),
                *integer("end_us", self.end_us, -MAX_TIME_US, MAX_TIME_US, optional=True),
                *choice("closed", self.closed, ("left", "right")),
            ]
        )


@dataclass(frozen=True, slots=True)
class SpikeClip:
    """The clip, and what one bit per step could not hold.

    ``collapsed`` events fell on a spike that was there already, ``left_out`` lie before the first or after the
    last step. ``both`` counts pixels and steps with ON and OFF; the frame difference has none of these.
    """

    clip: Clip
    settings: SpikeClipSettings
    start_us: int
    collapsed: int
    left_out: int
    both: int


def spike_clip(
    events: npt.NDArray[Any],
    sensor_size: SensorSize,
    settings: SpikeClipSettings | None = None,
    first_frame: Floats | None = None,
) -> SpikeClip:
    """Return the clip whose ``spikes[k, c, y, x]`` is 1 if pixel (x, y) has an event of polarity c in step k.

    With ``first_frame`` (float32 [H, W] in [0, 1]) step 0 is that frame and spikes start in step 1. A clip of the
    frame-difference simulator comes back as it was from ``to_event_array``, with ``start_us=0``.
    Raises ``InputError``: E780 for the events, E781 for the sensor size, E782 for an event after ``end_us``,
    E783 over 4 GiB, E715 for a first frame of another size.

    >>> kind = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "?")]
    >>> events = np.array([(1, 0, 0, 1), (9, 0, 0, 1), (10, 0, 0, 0), (11, 0, 0, 0)], kind)
    >>> made = spike_clip(events, (1, 1, 2), SpikeClipSettings(fps=1e5, start_us=0))
    >>> made.clip.spikes[:, :, 0, 0].tolist(), made.collapsed, made.both
    ([[1, 1], [0, 1]], 1, 1)
    """
    from neuroemo.events.representations.kernels import count_events

    chosen = settings or SpikeClipSettings()
    columns = event_columns(events, sensor_size, "split")
    offset = 0 if first_frame is None else 1
    plan = WindowSettings(dt_us=1e6 / chosen.fps, start_us=chosen.start_us, closed=chosen.closed)
    needed = _needed(columns, chosen, plan)
    count = needed if chosen.steps is None else int(chosen.steps) - offset
    check_bytes("steps", count + offset, 5 * columns.plane + BORDER_BYTES)
    windows = cut(columns.t, replace(plan, count=count))
    counts = np.zeros((count, columns.plane), np.int32)
    count_events(windows.bounds, columns.cell, counts)
    spikes = np.zeros((count + offset, *columns.shape), np.uint8)
    spikes[offset:] = (counts > 0).reshape(count, *columns.shape)
    collapsed = int(counts.sum(dtype=np.int64) - np.count_nonzero(spikes))
    clip = Clip(spikes, first_frame, min(count, needed) + offset, float(chosen.fps))
    both = int(np.count_nonzero(spikes[:, 0] & spikes[:, 1]))
    return SpikeClip(clip, chosen, windows.start_us, collapsed, windows.left_out, both)


def _needed(columns: EventColumns, settings: SpikeClipSettings, plan: WindowSettings) -> int:
    """Return how many steps the recording lasts: until ``end_us``, or until its last event is in."""
    start = first_border(columns.t, plan)
    inclusive = settings.closed == "right"
    last = int(columns.t[-1]) if columns.t.size else None
    if settings.end_us is None:
        return 0 if last is None else windows_until(last + (not inclusive), start, plan.dt_us)
    if last is not None and (last > settings.end_us or (last == settings.end_us and not inclusive)):
        found, fix = f"an event at {last} us", "give the true end, or remove the events after it"
        over = str(last - settings.end_us)
        raise_any([Finding("E782", "error", "end_us", found, f"{settings.end_us} us", over, fix)])
    return windows_until(int(settings.end_us), start, plan.dt_us)
