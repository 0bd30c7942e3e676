"""Which of the two ways to sum is faster here: measured on the first messages, layer by layer, then chosen by count.

The dense path costs the same whatever arrives; the event-driven one costs ``base + per_message * messages``. Both give
the same integers (the measurement itself compares them), so the choice changes the time alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw_targets.graph import Array

FRAMES = 4
"""Frames on which the two paths are timed."""
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Crossover:
    """Seconds per frame of the dense path, and of the event-driven path with and without a message."""

    dense_s: float
    event_base_s: float
    event_s_per_message: float

    def events_win(self, messages: int, frames: int) -> bool:
        """Whether ``messages`` in ``frames`` cost less one by one."""
        return self.event_base_s * frames + self.event_s_per_message * messages < self.dense_s * frames

    def density(self, inputs: int) -> float:
        """Return the share of ``inputs`` sending at which both cost the same, within 0 and 1.

        >>> Crossover(3e-3, 1e-3, 1e-6).density(10_000)
        0.2
        """
        if self.event_s_per_message <= 0:
            return 1.0 if self.event_base_s < self.dense_s else 0.0
        return float(np.clip((self.dense_s - self.event_base_s) / self.event_s_per_message / inputs, 0.0, 1.0))


def measure(dense: Callable[[Array], Array], event: Callable[[Array], Array], messages: Array) -> Crossover:
    """Time both paths on a few frames of ``messages`` [B, ...] and compare what they give.

    Raises:
        ArithmeticError: the two paths differ, so one of them is not exact on this machine.
    """
    frames = messages[:: max(1, len(messages) // FRAMES)][:FRAMES]
    if not np.array_equal(dense(frames), event(frames)):
        raise ArithmeticError("the dense and the event-driven sums differ: a product here is not exact")
    silent = np.zeros_like(frames)
    dense_s, base_s, event_s = (
        _seconds(path, each) for path, each in ((dense, frames), (event, silent), (event, frames))
    )
    count = max(int(np.count_nonzero(frames)), 1)
    each_frame = 1.0 / len(frames)
    return Crossover(dense_s * each_frame, base_s * each_frame, max(event_s - base_s, 0.0) / count)


def _seconds(path: Callable[[Array], Array], frames: Array) -> float:
    """Return the shortest of a few runs: everything that disturbs a run makes it longer."""
    best = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        path(frames)
        best = min(best, time.perf_counter() - started)
    return best
