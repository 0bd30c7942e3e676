"""The clip: what the frame-difference simulator makes and what the network reads.

A clip keeps the spikes as {0, 1} bytes and the gray first frame apart, because the two are different
things: the spikes are events of a simulated sensor, the first frame is a picture of an ordinary camera
(Wang et al., "Spiking Emotions", section 2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError

EVENT_DTYPE = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.bool_)])
"""The event record: time in microseconds, column, row, polarity (True is ON)."""

Spikes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """One simulated recording.

    ``spikes`` is uint8 {0, 1} ``[T, 2, H, W]``, channel 0 ON and 1 OFF. ``first_frame`` is float32
    ``[H, W]`` in [0, 1], or None when every step is a spike step; with it, ``spikes[0]`` is all zero.
    ``valid_steps`` of the ``T`` steps are real (the first frame counts as one), the rest is padding.
    ``fps`` is in frames per second; one step lasts ``1 / fps``.

    Raises ``InputError`` when the shapes do not agree.
    """

    spikes: Spikes
    first_frame: Floats | None
    valid_steps: int
    fps: float

    def __post_init__(self) -> None:
        """Check the shapes, so that no later function has to."""
        shape = self.spikes.shape
        problem = ""
        if self.spikes.dtype != np.uint8 or len(shape) != 4 or shape[1] != 2:
            problem = f"spikes {self.spikes.dtype} {list(shape)}, expected uint8 [T, 2, H, W]"
        elif self.first_frame is not None and self.first_frame.shape != shape[2:]:
            problem = f"first frame {list(self.first_frame.shape)}, expected {list(shape[2:])}"
        elif not 0 <= self.valid_steps <= shape[0]:
            problem = f"valid_steps {self.valid_steps}, expected 0..{shape[0]}"
        elif not 0.0 < self.fps < float("inf"):
            problem = f"fps {self.fps}, expected a positive number"
        if problem:
            raise InputError(Finding("E715", "error", "clip", problem))

    @property
    def steps(self) -> int:
        """Number of time steps T, padding included."""
        return int(self.spikes.shape[0])

    @property
    def spike_start(self) -> int:
        """Index of the first spike step: 1 behind a gray first frame, else 0."""
        return 0 if self.first_frame is None else 1


@dataclass(frozen=True, slots=True)
class EventDensity:
    """Share of positions that carry an event, in [0, 1].

    ``on`` and ``off`` are per pixel and step; ``per_channel = (on + off) / 2`` is the share of nonzero
    input elements; ``any_polarity`` the share of pixels: ``on + off`` for frame differences, where ON and OFF
    exclude each other. A step of a recording may hold both at one pixel, which then counts once.
    """

    per_channel: float
    any_polarity: float
    on: float
    off: float


def network_input(clip: Clip) -> Floats:
    """Return the clip as the network reads it, float32 ``[T, 2, H, W]``.

    The gray first frame is copied into both channels at t = 0. The paper does not say how one gray frame
    fills two channels; the copy treats the polarities alike.
    """
    values = clip.spikes.astype(np.float32)
    if clip.first_frame is not None:
        values[0] = clip.first_frame
    return values


def event_counts(clip: Clip) -> tuple[int, int, int]:
    """Return (ON events, OFF events, positions) over the real spike steps, positions per channel."""
    real = clip.spikes[clip.spike_start : clip.valid_steps]
    on = int(np.count_nonzero(real[:, 0]))
    off = int(np.count_nonzero(real[:, 1]))
    return on, off, int(real.shape[0] * real.shape[2] * real.shape[3])


def density_from_counts(on: int, off: int, positions: int, both: int = 0) -> EventDensity:
    """Return the density for event counts over ``positions`` pixels times steps, ``both`` of them with ON and OFF.

    >>> density_from_counts(on=3, off=1, positions=10)
    EventDensity(per_channel=0.2, any_polarity=0.4, on=0.3, off=0.1)
    """
    if positions == 0:
        return EventDensity(0.0, 0.0, 0.0, 0.0)
    share = (on + off - both) / positions
    return EventDensity((on + off) / (2 * positions), share, on / positions, off / positions)


def event_density(clip: Clip) -> EventDensity:
    """Return the event density over the real spike steps only.

    The gray first frame and the zero padding are left out: the first is no event, the second would make
    short clips look sparse. A clip without spike steps has density 0. The paper prints 10.79 % without
    saying whether it counts pixels or channels, hence both.
    """
    real = clip.spikes[clip.spike_start : clip.valid_steps]
    return density_from_counts(*event_counts(clip), both=int(np.count_nonzero(real[:, 0] & real[:, 1])))


def to_event_array(clip: Clip) -> tuple[npt.NDArray[Any], tuple[int, int, int]]:
    """Return the spikes as a structured array ``t x y p`` sorted by ``t``, and the sensor size (W, H, 2).

    The event of a difference between frames ``n - 1`` and ``n`` is stamped with the time of frame ``n``,
    ``t = round(n * 1e6 / fps)`` microseconds; within one time, ON comes before OFF, then row by row.
    The gray first frame is not an event and is left out, as is the padding.
    """
    step, channel, row, column = np.nonzero(clip.spikes[: clip.valid_steps])
    # Without a gray first frame, step s is the difference to frame s + 1.
    frame = step + (1 - clip.spike_start)
    events = np.empty(step.size, dtype=EVENT_DTYPE)
    events["t"] = np.rint(frame * (1e6 / clip.fps)).astype(np.int64)
    events["x"] = column
    events["y"] = row
    events["p"] = channel == 0
    height, width = clip.spikes.shape[2:]
    return events, (int(width), int(height), 2)
