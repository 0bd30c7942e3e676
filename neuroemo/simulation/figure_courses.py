"""What a clip does over time, drawn: votes, events and firing rates, one pure function per figure."""

from __future__ import annotations

from collections.abc import Sequence

from export.page import svg
from export.page.letters import fitted, width
from export.page.svg import Scale, fixed
from export.page.words import count, percent, plural
from hw_targets.graph import Array
from neuroemo.simulation.figure_data import InputCourse, VoteCourse
from neuroemo.simulation.figure_drawings import COLOURS, LEFT, RIGHT, WIDTH, Timeline, compact, drawn_path, picture


def vote_figure(course: VoteCourse, classes: Sequence[str], shown: Sequence[int], time: Timeline, title: str) -> str:
    """Draw cumulative votes of the shown classes, named at the ends, and the step that decided."""
    counts = course.cumulative[:, list(shown)]
    low, high = min(0, int(counts.min())), max(1, int(counts.max()))
    scale = Scale(low, high * 1.04, 150, 22)
    parts = [svg.text(0, 10, "votes so far", "axis-title")]
    for value in svg.ticks(low, high, 4):
        if value == int(value):
            parts.append(svg.line(LEFT, scale(value), WIDTH - RIGHT, scale(value), "grid"))
            parts.append(svg.text(LEFT - 6, scale(value) + 4, compact(value), "tick", "end"))
    if course.decided is not None and course.decided <= time.steps:
        at = time.x(course.decided - 0.5)
        parts.append(svg.line(at, 18, at, 150, "reference"))
        anchor = "end" if at > 0.6 * WIDTH else ""
        parts.append(
            svg.text(at + (-4 if anchor else 4), 24, f"final from step {course.decided}", "tick strong halo", anchor)
        )
    # The winner's thick curve goes below the others, which would vanish under it.
    for place, index in sorted(enumerate(shown), key=lambda entry: entry[1] != course.predicted):
        winner = " winner" if index == course.predicted else f" dash{place % 3}"
        points = [(time.x(step + 1), scale(value)) for step, value in enumerate(counts[:, place].tolist())]
        parts.append(svg.path(points, f"curve s-k{place % COLOURS}{winner}"))
        if len(points) == 1:
            parts.append(svg.circle(*points[0], 3, f"f-k{place % COLOURS}"))
    parts += _vote_ends(course, shown, scale)
    parts += time.axis(150)
    y = 150 + time.room + 12
    y = _legend(parts, [(classes[i], i == course.predicted) for i in shown], y)
    said = "; ".join(f"{classes[index]} {count(int(course.cumulative[-1, index]))}" for index in shown)
    return picture(y, title, f"Votes after step {time.steps}: {said}. {decided_words(course)}", parts)


def _vote_ends(course: VoteCourse, shown: Sequence[int], scale: Scale) -> list[str]:
    """Write the final votes at the ends of their curves, pushed apart where they would overlap."""
    ends = sorted((scale(int(course.cumulative[-1, index])) + 4, place) for place, index in enumerate(shown))
    parts, free = [], -1e9
    for y, place in ends:
        y = max(y, free)
        free = y + 12
        value = count(int(course.cumulative[-1, shown[place]]))
        strong = " strong" if shown[place] == course.predicted else ""
        parts.append(svg.text(WIDTH - RIGHT + 5, y, value, f"tick{strong} t-k{place % COLOURS}"))
    return parts


def _legend(parts: list[str], names: Sequence[tuple[str, bool]], y: float) -> float:
    x = LEFT
    for place, (name, wins) in enumerate(names):
        words = fitted(f"{name} (the answer)" if wins else name, WIDTH - LEFT - 30, 11, bold=wins)
        length = width(words, 11, bold=wins) + 42
        if x > LEFT and x + length > WIDTH:
            x, y = LEFT, y + 16
        css = "winner" if wins else f"dash{place % 3}"
        parts.append(svg.line(x, y - 4, x + 20, y - 4, f"curve s-k{place % COLOURS} {css}"))
        parts.append(svg.text(x + 25, y, words, "tick strong" if wins else "tick"))
        x += length
    return y + 6


def decided_words(course: VoteCourse) -> str:
    """Say when the answer was final."""
    if course.decided is None:
        return "No voting neuron fired: the answer is only the lower index."
    tie = " The votes are tied; the lower index wins." if course.tied else ""
    return f"The answer no longer changes from step {course.decided} on.{tie}"


def input_figure(course: InputCourse, time: Timeline, title: str) -> str:
    """Draw events per step as bars; the second row of two points down."""
    top = max(1, int(course.counts.max()))
    two = len(course.counts) == 2
    scale = Scale(-top if two else 0, top, 132, 22)
    parts = []
    for value in (top, 0, -top) if two else (top, 0):
        parts.append(svg.line(LEFT, scale(value), WIDTH - RIGHT, scale(value), "axis" if value == 0 else "grid"))
        parts.append(svg.text(LEFT - 6, scale(value) + 4, compact(abs(value)), "tick", "end"))
    half = max(0.25, 0.4 * time.cell)
    for index, (name, row) in enumerate(zip(course.names, course.counts, strict=True)):
        sign = -1 if index else 1
        base = fixed(scale(0))
        data = "".join(
            f"M{fixed(time.x(step) - half)} {base}V{fixed(scale(sign * value))}h{fixed(2 * half)}V{base}Z"
            for step, value in enumerate(row.tolist(), start=1)
            if value
        )
        parts.append(drawn_path(data, f"f-k{index}"))
        parts.append(svg.text(LEFT, 13 if not index else 147, f"{name}, per step", f"tick strong t-k{index}"))
    bottom = 156.0 if two else 136.0
    parts += time.axis(bottom)
    said = "; ".join(f"{name}: {count(int(row.sum()))}" for name, row in zip(course.names, course.counts, strict=True))
    first = " The first step is a gray frame and not counted." if course.gray else ""
    return picture(bottom + time.room, title, f"Events over {plural(time.steps, 'step')}. {said}.{first}", parts)


def rate_figure(rates: dict[str, Array], time: Timeline, title: str) -> str:
    """Draw the firing rate [T] of every layer in its own strip, from 0 to its own highest."""
    parts: list[str] = []
    y, said = 0.0, []
    for name, rate in rates.items():
        top = float(rate.max()) if rate.size else 0.0
        scale = Scale(0, top or 1.0, y + 54, y + 20)
        mean = percent(float(rate.mean()), 2)
        room = WIDTH - LEFT - RIGHT - width(f"mean {mean}", 11) - 10
        parts.append(svg.text(LEFT, y + 12, fitted(name, room, 12.5, bold=True), "strong"))
        parts.append(svg.text(WIDTH - RIGHT, y + 12, f"mean {mean}", "tick", "end"))
        parts.append(svg.line(LEFT, y + 20, WIDTH - RIGHT, y + 20, "grid"))
        parts.append(svg.text(LEFT - 6, y + 24, percent(top, 1) if top else "0", "tick", "end"))
        parts.append(svg.line(LEFT, y + 54, WIDTH - RIGHT, y + 54, "axis"))
        points = [(time.x(step), scale(value)) for step, value in enumerate(rate.tolist(), start=1)]
        parts.append(svg.path([(points[0][0], y + 54), *points, (points[-1][0], y + 54)], "area f-k0"))
        parts.append(svg.path(points, "curve s-k0") if len(points) > 1 else svg.circle(*points[0], 3, "f-k0"))
        said.append(f"{name} {mean}")
        y += 66
    parts += time.axis(y - 12)
    return picture(y - 12 + time.room, title, f"Mean share of neurons that send, per step: {'; '.join(said)}.", parts)
