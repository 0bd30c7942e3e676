"""The drawings of a simulated clip, one pure function per figure: numbers in, an SVG string out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from export.page import svg
from export.page.letters import fitted, width
from export.page.svg import Scale, fixed
from export.page.words import count, number, plural
from hw_targets.graph import Array

WIDTH = 360.0
LEFT, RIGHT = 54.0, 44.0
COLOURS = 6
"""Colours k0 … k5 of the style sheet, which differ for every kind of colour vision."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The horizontal axis that all figures of a clip share: steps counted from 1, and their time where known."""

    steps: int
    dt_us: float | None

    @property
    def x(self) -> Scale:
        """Map a step; half a step of air on both sides."""
        return Scale(0.5, self.steps + 0.5, LEFT, WIDTH - RIGHT)

    @property
    def cell(self) -> float:
        """Width of one step in the drawing."""
        return (WIDTH - RIGHT - LEFT) / self.steps

    @property
    def room(self) -> float:
        """Height of the axis."""
        return 20.0 if self.dt_us is None else 34.0

    def axis(self, y: float) -> list[str]:
        """Draw the axis below y: steps, and below them the time at which each ends."""
        marks = step_marks(self.steps)
        unit, factor = ("s", 1e-6) if (self.dt_us or 0) * self.steps >= 1e6 else ("ms", 1e-3)
        parts = [svg.line(LEFT, y, WIDTH - RIGHT, y, "axis"), svg.text(LEFT - 8, y + 15, "step", "tick", "end")]
        if self.dt_us is not None:
            parts.append(svg.text(LEFT - 8, y + 29, unit, "tick", "end"))
        for step in marks:
            parts.append(svg.line(self.x(step), y, self.x(step), y + 4, "axis"))
            parts.append(svg.text(self.x(step), y + 15, f"{step}", "tick", "middle"))
            if self.dt_us is not None:
                passed = step * self.dt_us * factor
                words = number(float(f"{passed:.3g}"))
                parts.append(svg.text(self.x(step), y + 29, words, "tick", "middle"))
        return parts


@dataclass(frozen=True, slots=True)
class Group:
    """The voting neurons of one class in one clip: ``spikes`` [T, K], ``membrane`` [T, K] or None, ``thresholds`` [K].

    No thresholds means sigma-delta neurons, which are not reset when they send. ``first`` is the index of its first
    neuron, ``traced`` the places of those whose potentials are drawn, ``votes`` its sum, ``answer`` whether it wins.
    """

    name: str
    first: int
    spikes: Array
    membrane: Array | None
    traced: Array
    thresholds: Array | None
    votes: int
    answer: bool


def step_marks(steps: int) -> list[int]:
    """Return the steps to label, at most seven, the last one among them.

    >>> step_marks(68), step_marks(5), step_marks(2000)
    ([20, 40, 68], [1, 2, 3, 4, 5], [500, 1000, 1500, 2000])
    """
    if steps <= 600:
        return svg.step_ticks(steps, 6)
    rounds = [int(value) for value in svg.ticks(0, steps, 4) if 0 < value < steps]
    gap = rounds[0] / 2
    return [*(step for step in rounds if steps - step > gap), steps]


def picture(height: float, title: str, description: str, parts: Sequence[str]) -> str:
    """Wrap a drawing with what a screen reader says: its title, and the numbers in words."""
    described = f"<desc>{escape(description)}</desc>"
    return svg.drawing(WIDTH, height, title, [described, *parts])


def voting_figure(groups: Sequence[Group], time: Timeline, title: str) -> str:
    """Figure 3 of Wang et al. (2022): potentials and spike trains of the voting neurons, class by class."""
    parts: list[str] = []
    y = 12.0
    recorded = [group for group in groups if group.membrane is not None]
    if recorded:
        parts.append(svg.text(0, y, "membrane potential v before reset, chip units", "axis-title"))
        thresholds = _distinct([group.thresholds for group in groups])
        low, high = _span([group.membrane for group in recorded], thresholds)
        y += 10
        for index, group in enumerate(groups):
            y = _potentials(parts, group, index, time, (low, high), y)
        parts += time.axis(y)
        y += time.room + 22
    parts.append(svg.text(0, y, "spike trains", "axis-title"))
    y += 8
    row = min(9.0, 230.0 / sum(group.spikes.shape[1] for group in groups))
    for index, group in enumerate(groups):
        y = _trains(parts, group, index, time, row, y)
    parts += time.axis(y)
    said = "; ".join(f"{g.name}: {plural(g.votes, 'vote')}{', the answer' if g.answer else ''}" for g in groups)
    subject = "Membrane potentials and spike trains" if recorded else "Spike trains"
    return picture(
        y + time.room, title, f"{subject} of the voting neurons over {plural(time.steps, 'step')}. {said}.", parts
    )


def _heading(parts: list[str], group: Group, index: int, y: float) -> float:
    votes = plural(group.votes, "vote")
    tail = f"{votes} · the answer" if group.answer else votes
    room = WIDTH - LEFT - RIGHT - width(tail, 11.5) - 12
    parts.append(svg.text(LEFT, y + 11, fitted(group.name, room, 12.5, bold=True), f"strong t-k{index % COLOURS}"))
    parts.append(svg.text(WIDTH - RIGHT, y + 11, tail, "strong" if group.answer else "tick", "end"))
    return y + 17


def _potentials(
    parts: list[str], group: Group, index: int, time: Timeline, span: tuple[float, float], top: float
) -> float:
    y = _heading(parts, group, index, top)
    scale = Scale(*span, y + 84, y)
    if group.answer:
        parts.append(svg.rect(LEFT, y, WIDTH - RIGHT - LEFT, 84, "wins"))
    if group.membrane is None:
        parts.append(svg.text(LEFT + 6, y + 20, "not recorded", "tick"))
    else:
        parts += _threshold_axes(group.thresholds, scale, y)
        traces, resets = [], []
        for neuron in group.traced.tolist():
            fired = (group.spikes[:, neuron] != 0) & (group.thresholds is not None)
            drawn, fallen = trace_paths(group.membrane[:, neuron], fired, time.x, scale)
            traces.append(drawn)
            resets.append(fallen)
        parts.append(drawn_path("".join(resets), f"reset s-k{index % COLOURS}"))
        parts.append(drawn_path("".join(traces), f"trace s-k{index % COLOURS}"))
    return y + 84 + 12


def trace_paths(potential: Array, fired: Array, x: Scale, y: Scale) -> tuple[str, str]:
    """Return SVG path data of one membrane potential [T], and of its resets: the falls to 0 at each spike."""
    drawn, fallen, begun = [], [], False
    for step, (value, spike) in enumerate(zip(potential.tolist(), fired.tolist(), strict=True), start=1):
        place = f"{fixed(x(step))} {fixed(y(value))}"
        # The stroke of no length is a dot: the only step of a run would not show otherwise.
        drawn.append(f"L{place}" if begun else f"M{place}h0")
        begun = True
        if spike:
            fallen.append(f"M{place}V{fixed(y(0))}")
            drawn.append(f"M{fixed(x(step))} {fixed(y(0))}")
    return "".join(drawn), "".join(fallen)


def _threshold_axes(thresholds: Array | None, scale: Scale, top: float) -> list[str]:
    """Draw ticks in chip units on the left, and the threshold; where there is one, thresholds on the right."""
    left, right = LEFT, WIDTH - RIGHT
    distinct = _distinct([thresholds])
    parts = [svg.line(left, scale(0), right, scale(0), "axis")] if scale.lo <= 0 <= scale.hi else []
    wanted = 3 if abs(scale.stop - scale.start) > 70 else 2
    for value in svg.ticks(scale.lo, scale.hi, wanted):
        parts.append(svg.line(left, scale(value), right, scale(value), "grid"))
        parts.append(svg.text(left - 6, scale(value) + 4, compact(value), "tick", "end"))
    crowded = len(distinct) > 3
    for value in (distinct[0], distinct[-1]) if crowded else distinct:
        parts.append(svg.line(left, scale(value), right, scale(value), "threshold"))
        if crowded:
            words = "θ max" if value == distinct[-1] else "θ min"
            parts.append(svg.text(right + 5, scale(value) + 4, words, "tick"))
    if len(distinct) == 1 and distinct[0]:
        unit = distinct[0]
        parts.append(svg.text(right + 5, scale(unit) + 4, "1 θ", "tick strong"))
        for share in svg.ticks(scale.lo / unit, scale.hi / unit, wanted):
            if share != 1 and abs(scale(share * unit) - scale(unit)) >= 12:
                parts.append(svg.text(right + 5, scale(share * unit) + 4, f"{share:g} θ".replace("-", "−"), "tick"))
    return parts


def compact(value: float) -> str:
    """Write a tick of chip units in little room.

    >>> compact(448), compact(-8388607), compact(131072)
    ('448', '−8.39M', '131k')
    """
    for letter, unit in (("M", 1e6), ("k", 1e4)):
        if abs(value) >= unit:
            return f"{value / (1e6 if letter == 'M' else 1e3):.3g}{letter}".replace("-", "−")
    return count(value) if float(value).is_integer() else number(value)


def _distinct(thresholds: Sequence[Array | None]) -> list[int]:
    return sorted({int(value) for each in thresholds if each is not None for value in each})


def _span(traces: Sequence[Array | None], thresholds: Sequence[int]) -> tuple[float, float]:
    values = [0.0, *map(float, thresholds)]
    for trace in traces:
        if trace is not None and trace.size:
            values += [float(trace.min()), float(trace.max())]
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or 1.0
    return low - (air if low < 0 else 0), high + air


def _trains(parts: list[str], group: Group, index: int, time: Timeline, row: float, top: float) -> float:
    y = _heading(parts, group, index, top)
    height = row * group.spikes.shape[1]
    parts.append(svg.rect(LEFT, y, WIDTH - RIGHT - LEFT, height, "wins" if group.answer else "ground"))
    last = group.first + group.spikes.shape[1] - 1
    parts.append(
        svg.text(
            LEFT - 8, y + height / 2 + 4, f"{group.first}–{last}" if last > group.first else f"{last}", "tick", "end"
        )
    )
    parts += marks(group.spikes, time, y, row, f"s-k{index % COLOURS}")
    return y + height + 10


def marks(messages: Array, time: Timeline, top: float, row: float, css: str) -> list[str]:
    """Draw messages [T, K] that are not 0 as strokes, neurons downward; negative ones of half the height."""
    gap = 0.16 * row if row >= 2 else 0.0
    stroke = max(0.5, min(0.6 * time.cell, 6.0))
    parts = []
    for sign, style, cut in ((1, css, 0.0), (-1, "s-minus", 0.5 * row)):
        data = "".join(
            f"M{fixed(time.x(step + 1))} {fixed(top + start * row + max(gap, cut))}V{fixed(top + stop * row - gap)}"
            for step, start, stop in _runs(np.sign(messages) == sign, join=row < 2)
        )
        if data:
            parts.append(f'<path d="{data}" class="mark {style}" stroke-width="{fixed(stroke)}"/>')
    return parts


def _runs(active: Array, *, join: bool) -> Iterator[tuple[int, int, int]]:
    """Yield (step, first neuron, one past the last) of active neurons; neighbours are joined where rows touch."""
    for step, row in enumerate(active):
        chosen = np.flatnonzero(row)
        if not len(chosen):
            continue
        breaks = np.flatnonzero(np.diff(chosen) > 1) + 1 if join else np.arange(1, len(chosen))
        for part in np.split(chosen, breaks):
            yield step, int(part[0]), int(part[-1]) + 1


def raster_figure(messages: Array, time: Timeline, title: str, neurons: int, distance: int) -> str:
    """Raster of one layer: messages [T, K] of every ``distance``-th of ``neurons`` neurons, index 0 on top."""
    shown = messages.shape[1]
    row = min(9.0, 260.0 / shown)
    height = row * shown
    parts: list[str] = [svg.rect(LEFT, 8, WIDTH - RIGHT - LEFT, height, "ground")]
    parts += [
        svg.text(LEFT - 8, 8 + max(9.0, row * (0.5 if shown == 1 else 0) + 9), "0", "tick", "end"),
        *([svg.text(LEFT - 8, 8 + height, count((shown - 1) * distance), "tick", "end")] if height > 22 else []),
    ]
    parts += marks(messages, time, 8, row, "s-k0")
    parts += time.axis(8 + height + 3)
    sent = int(np.count_nonzero(messages))
    words = (
        f"{plural(shown, 'neuron')} of {count(neurons)} over {plural(time.steps, 'step')}: {plural(sent, 'message')}."
    )
    return picture(8 + height + 3 + time.room, title, words, parts)


def trace_figure(
    names: Sequence[str], membrane: Array, fired: Array, thresholds: Array | None, time: Timeline, title: str
) -> str:
    """Draw membrane potentials [T, K] of single neurons under each other, spikes on top, threshold and resets."""
    parts: list[str] = []
    y, said = 0.0, []
    noun = "message" if thresholds is None else "spike"
    for index, name in enumerate(names):
        own = None if thresholds is None else thresholds[index : index + 1]
        scale = Scale(*_span([membrane[:, index]], _distinct([own])), y + 30 + 62, y + 30)
        spikes = int(np.count_nonzero(fired[:, index]))
        parts.append(svg.text(LEFT, y + 12, f"neuron {name}", "strong"))
        parts.append(svg.text(WIDTH - RIGHT, y + 12, plural(spikes, noun), "tick", "end"))
        parts += marks(fired[:, index : index + 1].astype(np.int8), time, y + 17, 9, "s-k0")
        parts += _threshold_axes(own, scale, y + 30)
        resets = fired[:, index] & (thresholds is not None)
        drawn, fallen = trace_paths(membrane[:, index], resets, time.x, scale)
        parts += [drawn_path(fallen, "reset s-k0"), drawn_path(drawn, "trace single s-k0")]
        said.append(f"neuron {name}: {plural(spikes, noun)}, highest potential {count(int(membrane[:, index].max()))}")
        y += 30 + 62 + 14
    parts += time.axis(y - 8)
    return picture(y - 8 + time.room, title, f"Membrane potentials before reset. {'; '.join(said)}.", parts)


def drawn_path(data: str, css: str) -> str:
    """Draw SVG path data; nothing where there is none."""
    return f'<path d="{data}" class="{css}"/>' if data else ""
