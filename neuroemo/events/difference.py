"""When a pixel of the frame-difference simulator sends an event: the rule, its exact tables, the simulator itself.

Brightness ``L`` of a gray level g in 0..255 is ``g`` itself ("linear") or ``ln(1 + g)`` rounded to 1e-9 ("log", so
that every machine sees the same ties); the threshold ``S`` is ``255 * sens`` or ``sens``.
A pixel sends ON when ``L - reference > S`` and OFF when ``L - reference < -S``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import EVENT_DTYPE, EventDensity, density_from_counts

GRAY_LEVELS = 255
LOG_UNITS = 1e9
MOST_PER_STEP = 254
"""Most events of one pixel in one step: counts are bytes."""

Intensity = Literal["linear", "log"]
Reference = Literal["previous", "event"]
EventsPerStep = Literal["one", "several"]
Gray = npt.NDArray[np.uint8]
Events = npt.NDArray[Any]
SensorSize = tuple[int, int, int]

_LEVELS_IN_UNIT = np.arange(GRAY_LEVELS + 1) / GRAY_LEVELS
_OPTIONS = {"intensity": Intensity, "reference": Reference, "events_per_step": EventsPerStep}


@dataclass(frozen=True, slots=True)
class DifferenceRule:
    """When a change of brightness is an event; the defaults are our reading of the paper (section 2.1).

    ``sens`` in [0, 1) is a fraction of full scale ("linear") or a change of ``ln(1 + g)`` ("log").
    ``reference``: "previous" compares with the frame before, "event" with the level of the pixel's last event
    (frame 0 before any). ``events_per_step``: "one" sends at most one event per pixel and step, and
    the level of the last event is the brightness of the frame that caused it; "several" sends one for each
    whole threshold that is exceeded, ``n = max{n: |L - reference| > n S}``, and the level of the last
    event is the reference moved by ``n S``, so that the remainder is kept, as in ESIM and v2e.

    Raises ``InputError`` with one finding per value out of range.
    """

    sens: float = 0.001
    intensity: Intensity = "linear"
    reference: Reference = "previous"
    events_per_step: EventsPerStep = "one"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = rule_findings(self)
        if findings:
            raise InputError(findings)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def rule_findings(rule: Any) -> list[Finding]:
    """Return what is wrong with the four fields of a rule, or of anything that has them."""
    findings = []
    right_sens = _is_number(rule.sens) and 0.0 <= rule.sens < 1.0
    if not right_sens:
        fix = "give the threshold as a fraction of full scale, e.g. 0.001 (any change) or 0.02"
        findings.append(Finding("E712", "error", "sens", repr(rule.sens), "0 <= sens < 1", fix=fix))
    for name, kind in _OPTIONS.items():
        value, allowed = getattr(rule, name), get_args(kind)
        if value not in allowed:
            limit = " or ".join(repr(choice) for choice in allowed)
            findings.append(Finding("E718", "error", name, repr(value), limit))
    if not findings and rule.events_per_step == "several" and rule.sens < smallest_sens(rule.intensity):
        limit = f"at least {smallest_sens(rule.intensity):.6f} for several events per step"
        fix = f"raise sens (a step holds at most {MOST_PER_STEP} events), or events_per_step='one'"
        findings.append(Finding("E719", "error", "sens", repr(rule.sens), limit, fix=fix))
    return findings


def smallest_sens(intensity: Intensity) -> float:
    """Return the smallest threshold with several events per step: black to white sends 254 of them.

    >>> round(smallest_sens("linear"), 6), round(smallest_sens("log"), 6)
    (0.003937, 0.021831)
    """
    return (1.0 if intensity == "linear" else math.log(GRAY_LEVELS + 1)) / MOST_PER_STEP


def threshold_level(sens: float) -> int:
    """Return the largest difference of 8-bit gray that is *not* an event: max d with d / 255 <= sens.

    The comparison is strict (an event needs d / 255 > sens), with d / 255 rounded once to float64, so a
    sensitivity written as ``5 / 255`` does not fire on a difference of 5.

    >>> threshold_level(0.001), threshold_level(5 / 255), threshold_level(0.02)
    (0, 5, 5)
    """
    return int(np.searchsorted(_LEVELS_IN_UNIT, sens, side="right")) - 1


def brightness_levels(intensity: Intensity) -> npt.NDArray[np.float64]:
    """Return the brightness of the gray levels 0..255 as whole numbers, float64 [256]; logarithms in units of 1e-9.

    >>> brightness_levels("log")[[0, 1, 255]].tolist()
    [0.0, 693147181.0, 5545177444.0]
    """
    levels = np.arange(GRAY_LEVELS + 1, dtype=np.float64)
    return levels if intensity == "linear" else np.rint(np.log1p(levels) * LOG_UNITS)


def threshold(rule: DifferenceRule) -> float:
    """Return the threshold in the units of ``brightness_levels``.

    On the linear scale it lies on the same side of every whole gray level as ``d / 255 > sens`` does.
    """
    if rule.intensity == "log":
        return rule.sens * LOG_UNITS
    level = threshold_level(rule.sens)
    return min(max(rule.sens * GRAY_LEVELS, float(level)), math.nextafter(level + 1.0, 0.0))


def count_table(rule: DifferenceRule) -> npt.NDArray[np.int16]:
    """Return the events of a change from gray level r to g, int16 ``[256, 256]``, negative for OFF.

    >>> count_table(DifferenceRule(10 / 255, events_per_step="several"))[100, [89, 90, 110, 111, 121]].tolist()
    [-1, 0, 0, 1, 2]
    """
    levels, size = brightness_levels(rule.intensity), threshold(rule)
    change = levels[None, :] - levels[:, None]
    extent = np.abs(change)
    if rule.events_per_step == "one":
        counts = (extent > size).astype(np.int16)
    else:
        counts = np.ceil(extent / size).astype(np.int16) + 1
        # A quotient is rounded; the product decides.
        while (over := (counts > 0) & ~(extent > counts * size)).any():
            counts[over] -= 1
    return (counts * np.sign(change)).astype(np.int16)


class FrameDifference:
    """The frame-difference simulator of ``height`` x ``width`` pixels, fed piece by piece.

    Pieces of any length give the same events as all frames at once.

    >>> camera = FrameDifference(DifferenceRule(), 1, 2)
    >>> frames = np.array([[[5, 5]], [[6, 5]], [[6, 4]]], np.uint8)
    >>> camera.feed(frames[:1], np.array([0])).size
    0
    >>> [event.tolist() for event in camera.feed(frames[1:], np.array([1000, 2000]))]
    [(1000, 0, 0, True), (2000, 1, 0, False)]
    """

    def __init__(self, rule: DifferenceRule, height: int, width: int) -> None:
        self.rule, self.shape = rule, (height, width)
        self._started = False
        self._time_us: int | None = None
        self._memory = np.empty(height * width, dtype=np.uint8)
        self._sent = np.zeros(0, dtype=np.int32)
        self._level = np.uint8(threshold_level(rule.sens))
        self._on, self._off, self._positions = 0, 0, 0
        self._default = _is_default(rule)
        if self._default:
            return
        self._levels, self._threshold = brightness_levels(rule.intensity), threshold(rule)
        self._table = count_table(rule)
        self._up = (256 - np.count_nonzero(self._table > 0, axis=1)).astype(np.int16)
        self._down = (np.count_nonzero(self._table < 0, axis=1) - 1).astype(np.int16)
        self._renew = np.uint8(rule.reference == "previous")

    @property
    def density(self) -> EventDensity:
        """Share of positions with an event in all that ``feed`` has seen so far."""
        return density_from_counts(self._on, self._off, self._positions)

    def steps(self, frames: Gray) -> Gray:
        """Return the events per step, uint8 ``[n, 2, H, W]``, channel 0 ON; the very first frame gives no step.

        Raises:
            InputError: other than uint8 ``[n, H, W]``.
        """
        self._check(frames)
        count = len(frames) - (not self._started and len(frames) > 0)
        steps = np.empty((count, 2, *self.shape), dtype=np.uint8)
        self.write_steps(frames, steps)
        return steps

    def write_steps(self, frames: Gray, steps: Gray) -> None:
        """Write what ``steps`` returns into a contiguous array; frames and array are not checked."""
        flat = np.ascontiguousarray(frames).reshape(len(frames), self._memory.size)
        if not self._started and len(flat):
            self._memory[:] = flat[0]
            self._started = True
            flat = flat[1:]
        if len(flat):
            self._compare(flat, steps.reshape(len(flat), 2, self._memory.size))

    def _compare(self, flat: Gray, steps: Gray) -> None:
        from neuroemo.events import framediff_kernel as kernel

        rule, memory = self.rule, self._memory
        if self._default:
            kernel.fire_beyond(memory, flat, self._level, steps)
            memory[:] = flat[-1]
            return
        for frame, (on, off) in zip(flat, steps, strict=True):
            if rule.events_per_step == "one":
                kernel.fire_by_table(memory, frame, self._up, self._down, self._renew, on, off)
            elif rule.reference == "previous":
                kernel.count_by_table(memory, frame, self._table, on, off)
            else:
                if not self._sent.size:
                    self._sent = np.zeros(memory.size, dtype=np.int32)
                kernel.count_since_event(memory, self._sent, frame, self._levels, self._threshold, on, off)

    def feed(self, frames: Gray, times_us: npt.NDArray[np.int64]) -> Events:
        """Return the events of the next frames, uint8 ``[n, H, W]``, shown at ``times_us`` (microseconds, ascending).

        All events of a step carry the time of its later frame, ON before OFF, then row by row;
        several events of a pixel follow each other.

        Raises:
            InputError: frames of another shape or type, or times that do not ascend.
        """
        from neuroemo.events.stream import check_times

        self._check(frames)
        times = check_times(times_us, len(frames), self._time_us)
        if not len(frames):
            return np.empty(0, dtype=EVENT_DTYPE)
        steps = self.steps(frames)
        self._time_us = int(times[-1])
        return self._events(steps, times[len(times) - len(steps) :])

    def _events(self, steps: Gray, times: npt.NDArray[np.int64]) -> Events:
        from neuroemo.events.framediff_kernel import write_events

        on, off = (int(np.count_nonzero(steps[:, channel])) for channel in (0, 1))
        self._on, self._off, self._positions = self._on + on, self._off + off, self._positions + steps[:, 0].size
        total = on + off if self.rule.events_per_step == "one" else int(steps.sum(dtype=np.int64))
        events = np.empty(total, dtype=EVENT_DTYPE)
        write_events(steps, times, events)
        return events

    def _check(self, frames: Gray) -> None:
        right = isinstance(frames, np.ndarray) and frames.dtype == np.uint8
        if not right or frames.ndim != 3 or frames.shape[1:] != self.shape:
            found = f"{getattr(frames, 'dtype', type(frames).__name__)} {list(getattr(frames, 'shape', []))}"
            raise InputError(Finding("E714", "error", "frames", found, f"uint8 [n, {self.shape[0]}, {self.shape[1]}]"))


def _is_default(rule: DifferenceRule) -> bool:
    return (rule.intensity, rule.reference, rule.events_per_step) == ("linear", "previous", "one")


def write_all_steps(rule: DifferenceRule, frames: Gray, steps: Gray) -> None:
    """Write the steps of a whole clip, uint8 ``[F - 1, 2, H, W]`` contiguous; the arguments are not checked."""
    if not _is_default(rule):
        FrameDifference(rule, *frames.shape[1:]).write_steps(frames, steps)
        return
    from neuroemo.events.framediff_kernel import fire_beyond

    flat = np.ascontiguousarray(frames).reshape(len(frames), -1)
    fire_beyond(flat[0], flat[1:], np.uint8(threshold_level(rule.sens)), steps.reshape(len(flat) - 1, 2, -1))


@dataclass(frozen=True, slots=True)
class EventChunk:
    """Events of a piece of a video, sorted by time; ``sensor_size`` is (W, H, 2), ``density`` that of all so far."""

    events: Events
    sensor_size: SensorSize
    density: EventDensity


def stream_events(
    path: str | Path,
    rule: DifferenceRule,
    *,
    size: int | tuple[int, int] | None = None,
    chunk: int = 64,
    max_frames: int | None = None,
) -> Iterator[EventChunk]:
    """Yield the frame-difference events of a video, piece by piece, in constant memory.

    Times are those of the video's own time stamps, from 0 at the first frame; the rest as ``stream_frames``.

    Raises:
        InputError: as ``stream_frames`` does.
    """
    from neuroemo.events.stream import stream_frames

    pieces = stream_frames(path, size=size, chunk=chunk, max_frames=max_frames)
    return _stream_events(pieces, rule)


def _stream_events(pieces: Iterator[Any], rule: DifferenceRule) -> Iterator[EventChunk]:
    camera: FrameDifference | None = None
    for piece in pieces:
        height, width = piece.frames.shape[1:]
        camera = camera or FrameDifference(rule, height, width)
        events = camera.feed(piece.frames, piece.times_us)
        yield EventChunk(events, (width, height, 2), camera.density)
