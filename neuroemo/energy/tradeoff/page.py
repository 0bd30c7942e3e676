"""The curve as one page: a self-contained HTML file, no script, nothing fetched and nothing recomputed."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.page import svg
from export.page.letters import harmless, width
from neuroemo.energy.page.embedded import policy
from neuroemo.energy.page.words import energy, unit_of
from neuroemo.energy.tradeoff.text import HEAD, rows_of
from neuroemo.energy.words import share

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900.0, 430.0, 58.0, 30.0, 34.0, 52.0
FONT = 13.0


def render_tradeoff(document: dict[str, Any]) -> str:
    """Return the page as the text of a whole HTML document; the same document, the same text."""
    from markupsafe import Markup

    clean = harmless(document)
    style = (TEMPLATES / "tradeoff.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("tradeoff.html.j2")
        .render(
            document=clean,
            style=Markup(style),
            security=policy(style, ""),
            drawing=Markup(drawing(clean["points"])),
            head=HEAD,
            rows=rows_of(clean),
        )
    )


def drawing(points: list[dict[str, Any]]) -> str:
    """Draw every network: its energy on a logarithmic axis, its accuracy with the 95 % interval, the front as steps."""
    spent = [point["energy_pj"] for point in points]
    unit, factor = unit_of(max(spent))
    least = min((value for value in spent if value > 0), default=factor)
    x = svg.Scale(
        math.log10(least / factor) - 0.12, math.log10(max(*spent, least) / factor) + 0.18, LEFT, WIDTH - RIGHT
    )
    lowest = min(point["low"] for point in points)
    y = svg.Scale(max(0.0, math.floor(20 * lowest) / 20), 1.0, HEIGHT - BOTTOM, TOP)
    parts = _grid(x, y, unit)

    def place(point: dict[str, Any]) -> tuple[float, float]:
        return x(math.log10(max(point["energy_pj"], least) / factor)), y(point["accuracy"])

    front = sorted((place(point) for point in points if point["on_front"]), key=lambda pair: pair[0])
    stairs = [pair for (x0, y0), (x1, y1) in pairwise(front) for pair in ((x0, y0), (x1, y0))]
    if front:
        parts.append(svg.path([*stairs, front[-1]], "front"))
    for point in points:
        across, up = place(point)
        parts.append(svg.line(across, y(point["low"]), across, y(point["high"]), f"range {point['kind']}"))
        title = f"{point['name']}: {energy(point['energy_pj'])}, {share(point['accuracy'])}"
        parts.append(_mark(point["kind"], across, up, title))
    parts += _names(points, [place(point) for point in points])
    spoken = "Accuracy against energy: " + "; ".join(
        f"{point['name']} {share(point['accuracy'])} for {energy(point['energy_pj'])}" for point in points
    )
    return svg.drawing(WIDTH, HEIGHT, spoken, parts)


def _mark(kind: str, x: float, y: float, title: str) -> str:
    if kind == "ann":
        return svg.rect(x - 5, y - 5, 10, 10, "mark ann", title=title)
    return svg.circle(x, y, 6, "mark snn", title)


def _names(points: list[dict[str, Any]], places: list[tuple[float, float]]) -> list[str]:
    """Write every name beside its mark, lower where another name would be under it."""
    parts: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for point, (x, y) in sorted(zip(points, places, strict=True), key=lambda pair: pair[1][1]):
        room = width(point["name"], FONT)
        start = x + 11 if x + 11 + room < WIDTH else x - 11 - room
        height = y - 8
        while any(start < end and begin < start + room and abs(height - other) < FONT for begin, end, other in taken):
            height += FONT
        taken.append((start, start + room, height))
        parts.append(svg.text(start, height, point["name"], f"name {point['kind']}"))
    return parts


def _grid(x: svg.Scale, y: svg.Scale, unit: str) -> list[str]:
    parts = []
    for value in svg.ticks(y.lo, y.hi):
        parts.append(svg.line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid"))
        parts.append(svg.text(LEFT - 8, y(value) + 4, f"{100 * value:g} %", "quiet", "end"))
    for power in range(math.floor(x.lo) - 1, math.ceil(x.hi) + 1):
        for digit in (1, 2, 5):
            value = digit * 10.0**power
            if x.lo <= math.log10(value) <= x.hi:
                across = x(math.log10(value))
                parts.append(svg.line(across, TOP, across, HEIGHT - BOTTOM, "grid"))
                parts.append(svg.text(across, HEIGHT - BOTTOM + 18, f"{value:g}", "quiet", "middle"))
    parts.append(svg.text(0, 16, "accuracy", "quiet"))
    parts.append(svg.text(WIDTH - RIGHT, HEIGHT - 10, f"energy per clip, {unit}, logarithmic", "quiet", "end"))
    return parts


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment
