"""From messages to exact synaptic sums: bounds first, then the faster of two paths, then Lava's own wrap."""

from __future__ import annotations

import threading
from typing import Literal

import numpy as np

from hw_targets.finding import CapacityError, Finding, UnsupportedError
from hw_targets.graph import Array
from hw_targets.loihi2.limits import ACTIVATION_MAX
from hw_targets.loihi2.simulation.crossover import Crossover, measure
from hw_targets.loihi2.simulation.dense_sums import DenseSums
from hw_targets.loihi2.simulation.event_path import EventSums
from hw_targets.loihi2.simulation.overflow import fitting
from hw_targets.loihi2.simulation.plan import CURRENT_RANGE, Plan

Path = Literal["auto", "dense", "event"]
INT32_SAFE = 2**31


class Synapses:
    """The feed-forward synapses of one population, without delays."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan = plan
        self.path = path
        self.dense = DenseSums(plan)
        self.event = EventSums(plan) if path != "dense" else None
        self.crossover: Crossover | None = None
        self.frames = {"dense": 0, "event": 0}
        self._lock = threading.Lock()

    def sums(self, messages: Array, count: int, pending: Array | None = None) -> tuple[Array, int, Array | None]:
        """Return sums [t, n, M] of messages [t, n, ...], ``count`` of which are not 0, and how large they are at most.

        The third value is what is still under way: nothing, without delays.

        Raises:
            CapacityError: a sum that leaves the 24-bit current and is not to wrap, or one that Lava does not define.
        """
        magnitude, signed = size_of(messages)
        largest = self.plan.bound(magnitude, signed)
        frames = messages.reshape(-1, *messages.shape[2:])
        if self.event is not None and largest < INT32_SAFE and self._events_win(frames, count, largest):
            self.frames["event"] += len(frames)
            found = self.event.sums(frames)
        else:
            self.frames["dense"] += len(frames)
            found = self.dense.sums(frames, largest)
        found = found.reshape(*messages.shape[:2], -1)
        exponent = self.plan.layer.weight_exponent
        if exponent:
            whole = found.astype(np.int64)
            found = whole << exponent if exponent > 0 else whole >> -exponent
            largest = largest << exponent if exponent > 0 else (largest >> -exponent) + 1
        return *self._as_current(found, largest, magnitude > 1), pending

    def _events_win(self, frames: Array, count: int, largest: int) -> bool:
        if self.path != "auto" or self.event is None:
            return self.path == "event"
        with self._lock:
            if self.crossover is None:
                if count == 0:
                    return False
                try:
                    self.crossover = measure(lambda each: self.dense.sums(each, largest), self.event.sums, frames)
                except ArithmeticError as error:
                    raise UnsupportedError(self._inexact(str(error))) from error
        return self.crossover.events_win(count, len(frames))

    def _inexact(self, found: str) -> Finding:
        return Finding("E237", "error", self.plan.layer.name, found, "equal sums", fix="simulate with --path event")

    def _as_current(self, sums: Array, largest: int, graded: bool) -> tuple[Array, int]:
        """Refuse or wrap what does not fit; return the sums and how large they are at most."""
        if largest <= ACTIVATION_MAX.value:
            return sums, largest
        seen = int(np.abs(sums).max(initial=0))
        findings = fitting(self.plan.layer, seen, self.plan.wraps, lava_shift=self.plan.lava_shift if graded else 0)
        if findings:
            raise CapacityError(findings)
        if self.plan.layer.kind == "conv" and seen >= CURRENT_RANGE:
            whole = sums.astype(np.int64)
            return (whole + CURRENT_RANGE) % (2 * CURRENT_RANGE) - CURRENT_RANGE, CURRENT_RANGE
        return sums, seen


def size_of(messages: Array) -> tuple[int, bool]:
    """Return the largest magnitude among messages, and whether any is negative; spikes are not looked at."""
    if messages.dtype == np.uint8:
        return 1, False
    lowest, highest = int(messages.min(initial=0)), int(messages.max(initial=0))
    return max(-lowest, highest), lowest < 0
