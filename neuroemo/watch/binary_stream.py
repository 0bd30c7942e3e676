"""Event frames of a stream, each with the events it was made of, so that both can be shown.

The codes are those of a prepared store (``datasets.event_frame_source.FrameStream``, whose numbers are those of
``representations.tbr`` on the whole recording). What is kept are the events of the frame that is not complete yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroemo.events.clip import EVENT_DTYPE

if TYPE_CHECKING:
    from neuroemo.datasets.event_frame_settings import EventFrameSettings
    from neuroemo.datasets.event_frame_source import Codes, EventFrame
    from neuroemo.events.representations.windows import Closed

Events = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class BinaryFrame:
    """One event frame: ``codes`` [size, size], its ``events`` (``EVENT_DTYPE``), and where it lies in time.

    ``start_us`` and ``end_us`` are its borders in microseconds on the clock of the events; ``number`` counts from 0.
    """

    number: int
    start_us: int
    end_us: int
    codes: Codes
    events: Events


class BinaryStream:
    """Cuts a stream of events, which begins at ``start_us``, into event frames of ``settings``.

    ``sensor`` is the (width, height) of the events in pixels. With ``closed`` "right" frame k of length L holds
    ``start + k L < t <= start + (k + 1) L``, as a simulator stamps the events of an interval; with "left" the event at
    its begin and not the one at its end.

    >>> from neuroemo.datasets.event_frame_settings import EventFrameSettings
    >>> stream = BinaryStream(EventFrameSettings(size=8, n_bits=2, slice_us=10, slow_motion=None), (8, 8), 0, "right")
    >>> events = np.array([(5, 0, 0, 1), (20, 1, 0, 0), (21, 2, 0, 1)], EVENT_DTYPE)
    >>> [(frame.codes[0, :3].tolist(), frame.end_us, len(frame.events)) for frame in stream.feed(events, 40)]
    [([1, 2, 0], 20, 2)]
    >>> [(frame.codes[0, :3].tolist(), frame.end_us, len(frame.events)) for frame in stream.finish(40)]
    [([0, 0, 1], 40, 1)]
    """

    def __init__(self, settings: EventFrameSettings, sensor: tuple[int, int], start_us: int, closed: Closed) -> None:
        from neuroemo.datasets.event_frame_source import FrameStream

        self._frames = FrameStream(settings, (sensor[1], sensor[0]), start_us=start_us, closed=closed)
        self._length, self._begin, self._closed = settings.frame_us, start_us, closed
        self._number = 0
        self._held: list[Events] = []

    def feed(self, events: Events, until_us: int) -> Iterator[BinaryFrame]:
        """Yield the frames that end before ``until_us``; events from then on may still come, earlier ones do not.

        Events are sorted by time. Take all of one call before the next. Raises ``InputError`` as ``tbr`` does.
        """
        if len(events):
            self._held.append(events)
        yield from self._with_events(self._frames.feed(events, until_us))

    def finish(self, until_us: int) -> Iterator[BinaryFrame]:
        """Yield the frames that end at ``until_us``, the end of the recording, or before; no event is to come."""
        yield from self._with_events(self._frames.finish(until_us))

    def _with_events(self, frames: Iterator[EventFrame]) -> Iterator[BinaryFrame]:
        for made in frames:
            end = self._begin + self._length
            held = np.concatenate(self._held) if self._held else np.empty(0, EVENT_DTYPE)
            taken = int(np.searchsorted(held["t"], end, side=self._closed))
            # A copy, because a view would keep everything that came with it.
            self._held = [held[taken:].copy()] if taken < len(held) else []
            yield BinaryFrame(self._number, self._begin, end, made.codes, held[:taken])
            self._number, self._begin = self._number + 1, end
