"""Curves of the energy page: energy along the steps against the ANN, and energy against accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from export.page import svg
from export.page.charts import LEFT, RIGHT, Axes, frame
from export.page.letters import width
from export.page.words import percent
from neuroemo.energy.page.words import cheaper, energy, unit_of
from neuroemo.report.words import significant

WIDTH = 480.0
FURTHEST = 3.0
"""A break-even beyond this many times the steps that were run is said in words, not drawn."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawing and where its points stand in it, step by step: the slider moves the cursor along them."""

    drawing: str
    points: list[tuple[float, float]]


def break_even_curve(scenario: Mapping[str, Any]) -> Curve | None:
    """Draw cumulative SNN energy over steps, the ANN as a line, and T* where they meet; None without a curve."""
    spent, ann = scenario["curve"]["snn_pj"], scenario["curve"]["ann_pj"]
    if not spent:
        return None
    meeting = scenario["break_even_steps"]
    drawn = meeting if ann is not None and meeting is not None and 0 < meeting <= FURTHEST * len(spent) else None
    unit, factor = unit_of(max(*spent, ann or 0.0))
    last = max(len(spent), math.ceil(drawn or 0), 2)
    top = max(*spent, ann or 0.0) / factor * 1.08 or 1.0
    axes = Axes(WIDTH, 34, 210, (0, last), (0, top), "time step", f"energy per clip so far, {unit}")
    parts = frame(axes, svg.step_ticks(last))
    points = [(axes.x(step), axes.y(value / factor)) for step, value in enumerate(spent, start=1)]
    if ann is not None:
        parts += _ann_line(axes, ann / factor, energy(ann))
    if drawn is not None and ann is not None:
        parts += _meeting(axes, points, drawn, ann / factor, len(spent))
    # No event, no energy: the curve starts at the origin.
    parts.append(svg.path([(axes.x(0), axes.y(0)), *points], "curve s-snn"))
    if len(points) <= 24:
        parts += [
            svg.circle(x, y, 2.2, "f-snn", f"step {i}: {energy(spent[i - 1])}") for i, (x, y) in _numbered(points)
        ]
    parts += _cursor(axes, points[-1])
    parts.append(svg.text(*_beside(axes, points), "SNN", "name-snn halo", "end"))
    return Curve(svg.drawing(WIDTH, 284, _spoken(scenario), parts, "figure curve-figure"), points)


def _numbered(points: Sequence[tuple[float, float]]) -> list[tuple[int, tuple[float, float]]]:
    return list(enumerate(points, start=1))


def _beside(axes: Axes, points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    x, y = points[len(points) * 2 // 3]
    return max(x - 6, LEFT + 30), max(y - 8, axes.top + 12)


def _ann_line(axes: Axes, value: float, words: str) -> list[str]:
    y = axes.y(value)
    return [
        svg.line(LEFT, y, WIDTH - RIGHT, y, "curve s-ann"),
        svg.text(LEFT + 8, y - 6, f"ANN, {words}", "name-ann halo"),
    ]


def _meeting(axes: Axes, points: Sequence[tuple[float, float]], steps: float, value: float, run: int) -> list[str]:
    x, bottom = axes.x(steps), axes.top + axes.height
    words = f"T* = {significant(steps)} steps"
    room = width(words, 12.5, bold=True)
    at_end = x + 6 + room > WIDTH - RIGHT
    parts = [svg.line(x, axes.top - 4, x, bottom, "meeting")]
    if steps > run:
        parts.append(svg.path([points[-1], (x, axes.y(value))], "curve s-snn dashed faint"))
    parts.append(svg.circle(x, axes.y(value), 4.2, "meeting-point", f"break-even at {words[5:]}"))
    parts.append(svg.text(x - 6 if at_end else x + 6, bottom - 8, words, "strong halo", "end" if at_end else ""))
    return parts


def _cursor(axes: Axes, point: tuple[float, float]) -> list[str]:
    x, y = point
    bottom = axes.top + axes.height
    return [svg.line(x, axes.top, x, bottom, "cursor cursor-line"), svg.circle(x, y, 5, "cursor cursor-point")]


def _spoken(scenario: Mapping[str, Any]) -> str:
    spent, ann = scenario["curve"]["snn_pj"], scenario["curve"]["ann_pj"]
    end = f"Energy of the SNN over {len(spent)} steps: {energy(spent[-1])} per clip at the end"
    against = "" if ann is None else f"; the ANN needs {energy(ann)}: {cheaper(spent[-1], ann)}"
    meeting = scenario["break_even_steps"]
    return f"{end}{against}" + ("" if meeting is None else f"; break-even at {significant(meeting)} steps")


def decision_curve(scenario: Mapping[str, Any], decision: Mapping[str, Any] | None) -> Curve | None:
    """Draw accuracy against the energy spent so far, one point per step; None where either is not known.

    The points of stopping rules are means over samples that stop at different steps: they are known for the one
    scenario that ``decision`` names, and drawn there only.
    """
    spent = scenario["curve"]["snn_pj"]
    if decision is None or not spent or len(decision["steps"]) != len(spent):
        return None
    accuracy = [row["accuracy"] for row in decision["steps"]]
    marks = _marks(decision) if decision["scenario"] == scenario["id"] else []
    most = max([*spent, *(energy_pj for _, _, energy_pj, _ in marks)])
    unit, factor = unit_of(most)
    label = f"energy per clip so far, {unit}"
    axes = Axes(WIDTH, 34, 210, (0, most / factor * 1.05 or 1.0), (0, 1), label, "accuracy", shares=True)
    points = [(axes.x(value / factor), axes.y(share)) for value, share in zip(spent, accuracy, strict=True)]
    parts = [*frame(axes, svg.ticks(*axes.xs)), svg.path(points, "curve s-snn")]
    radius = 2.2 if len(points) <= 40 else 1.5
    parts += [
        svg.circle(x, y, radius, "f-snn", f"step {i}: {energy(spent[i - 1])}, {percent(accuracy[i - 1])}")
        for i, (x, y) in _numbered(points)
    ]
    for css, name, spent_pj, share in marks:
        title = f"{name}: {energy(spent_pj)}, {percent(share)}"
        parts.append(svg.circle(axes.x(spent_pj / factor), axes.y(share), 5, css, title))
    parts += _cursor(axes, points[-1])
    spoken = f"Accuracy against energy: {percent(accuracy[0])} after step 1, {percent(accuracy[-1])} at the end"
    return Curve(svg.drawing(WIDTH, 284, spoken, parts, "figure decision-figure"), points)


def _marks(decision: Mapping[str, Any]) -> list[tuple[str, str, float, float]]:
    marks = []
    for rule in decision["rules"]:
        name = f"stop after {rule['same_answer']} equal answers"
        marks.append(("rule-point", name, rule["energy_pj"], rule["accuracy"]))
    oracle = decision["oracle"]
    if oracle:
        marks.append(("oracle-point", "answer final (oracle)", oracle["energy_pj"], oracle["accuracy"]))
    return marks
