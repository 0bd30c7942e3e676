"""Cost of simulating events, drawn: time per frame over pixels, speed, frame rate and the share of pixels that move.

``python benchmarks/events_figures.py`` reads ``benchmarks/results/events.json`` (key ``scaling``, written by
``benchmarks/events.py``) and writes ``docs/events-cost.svg``: one panel per axis, both scales logarithmic. The panel
of frame rates shows the time for one second of video.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from export.page import svg
from export.page.svg import Scale
from neuroemo.simulation.figure import standalone

HERE = Path(__file__).resolve().parent
PANEL, LEFT, RIGHT, TOP, HEIGHT, GAP = 372.0, 62.0, 14.0, 84.0, 196.0, 96.0
CURVES = (
    ("framediff_us", "frame differences", "s-k0", 0),
    ("clean_us", "pixel model, clean", "s-k1", 1),
    ("noisy_us", "pixel model, noisy", "s-k2", 2),
    ("v2e_clean_us", "v2e, clean", "s-k1 dash0", 1),
    ("v2e_noisy_us", "v2e, noisy", "s-k2 dash0", 2),
)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Axis:
    """One panel: its key in the file, how x and the time are called, how x is written, and what a time is worth."""

    key: str
    name: str
    time: str
    label: Callable[[Row], str]
    worth: Callable[[Row], float] = lambda row: 1e-3


def count(value: float) -> str:
    """Write a number in few letters.

    >>> count(921600), count(4096), count(0.3), count(1000)
    ('922k', '4.1k', '0.3', '1k')
    """
    if value < 1000:
        return f"{value:.3g}"
    thousands = value / 1000
    return f"{thousands:.0f}k" if thousands >= 10 else f"{thousands:.1f}".removesuffix(".0") + "k"


AXES = (
    Axis("resolution", "pixels", "ms per frame", lambda row: count(row["x"])),
    Axis("speed", "motion, pixels per frame (346×260)", "ms per frame", lambda row: f"{row['x']:g}"),
    Axis(
        "rate", "frames per second (346×260, 350 pixels/s)", "ms per second of video",
        lambda row: f"{row['x']:.0f}", lambda row: row["x"] * 1e-3,
    ),
    Axis("density", "share of pixels that move (346×260)", "ms per frame", lambda row: f"{100 * row['x']:g} %"),
)  # fmt: skip


def main() -> None:
    """Draw the measured results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results" / "events.json")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "events-cost.svg")
    args = parser.parse_args()
    text = cost_figure(read_scaling(args.results))
    aside = args.out.with_name(f"{args.out.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(args.out)
    sys.stdout.write(f"{args.out}\n")


def read_scaling(path: Path) -> dict[str, list[Row]]:
    """Return the measured rows by axis, sorted by x; ends the program with a word where there are none."""
    try:
        scaling = json.loads(path.read_text(encoding="utf-8"))["scaling"]
        rows = {axis.key: sorted(scaling[axis.key], key=lambda row: row["x"]) for axis in AXES}
        if not all(row["x"] > 0 and row["clean_us"] > 0 for each in rows.values() for row in each):
            raise ValueError("a point at 0")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SystemExit(f"{path}: no scaling results ({error}); run benchmarks/events.py first") from error
    return rows


def cost_figure(rows: dict[str, list[Row]]) -> str:
    """Return the figure as the text of an SVG file."""
    parts, said = _legend(rows), []
    for index, axis in enumerate(AXES):
        left, top = PANEL * (index % 2), TOP + (HEIGHT + GAP) * (index // 2)
        parts += _panel(axis, rows[axis.key], left, top)
        said.append(_said(axis, rows[axis.key]))
    described = f"<desc>{escape(' '.join(said))}</desc>"
    height = TOP + 2 * HEIGHT + GAP + 64
    return standalone(svg.drawing(2 * PANEL, height, "What simulating events costs", [described, *parts]))


def _legend(rows: dict[str, list[Row]]) -> list[str]:
    parts, x, y = [], LEFT - 40, 16.0
    for key, name, css, colour in CURVES:
        if not any(row.get(key) for each in rows.values() for row in each):
            continue
        parts.append(svg.line(x, y, x + 26, y, f"curve {css}"))
        parts.append(_mark(x + 13, y, key, colour, ""))
        parts.append(svg.text(x + 33, y + 4, name, "tick"))
        x += 62 + 6.6 * len(name)
        if x > 2 * PANEL - 160:
            x, y = LEFT - 40, y + 20
    return parts


def _mark(x: float, y: float, key: str, colour: int, title: str) -> str:
    return svg.circle(x, y, 2.2 if key.startswith("v2e") else 3.2, f"f-k{colour}", title)


def _panel(axis: Axis, rows: Sequence[Row], left: float, top: float) -> list[str]:
    times = {key: [(row["x"], row[key] * axis.worth(row)) for row in rows if row.get(key)] for key, *_ in CURVES}
    values = [value for points in times.values() for _, value in points]
    low, high = min(values) / 1.5, max(values) * 1.5
    edges = [math.log10(row["x"]) for row in rows]
    air = 0.06 * (edges[-1] - edges[0]) or 0.5
    x = Scale(edges[0] - air, edges[-1] + air, left + LEFT, left + PANEL - RIGHT)
    y = Scale(math.log10(low), math.log10(high), top + HEIGHT, top)
    parts = [
        svg.text(left + LEFT - 40, top - 12, axis.time, "strong"),
        svg.line(left + LEFT, top + HEIGHT, left + PANEL - RIGHT, top + HEIGHT, "axis"),
        svg.text(left + PANEL - RIGHT, top + HEIGHT + 46, axis.name, "axis-title", "end"),
    ]
    for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1):
        parts.append(svg.line(left + LEFT, y(power), left + PANEL - RIGHT, y(power), "grid"))
        parts.append(svg.text(left + LEFT - 6, y(power) + 4, f"{10.0**power:,g}", "tick", "end"))
    parts += _ticks(axis, rows, x, top + HEIGHT)
    for key, name, css, colour in CURVES:
        placed = [(x(math.log10(at)), y(math.log10(value))) for at, value in times[key]]
        parts.append(svg.path(placed, f"curve {css}"))
        for (px, py), (at, value) in zip(placed, times[key], strict=True):
            parts.append(_mark(px, py, key, colour, f"{name}, {count(at)}: {value:.3g} {axis.time}"))
    return parts


def _ticks(axis: Axis, rows: Sequence[Row], x: Scale, bottom: float) -> list[str]:
    """Draw the measured x with the events per frame below, as many as have room."""
    parts, free = [], math.inf
    for row in reversed(rows):
        at = x(math.log10(row["x"]))
        words, events = axis.label(row), f"{count(row['clean_events'])} ev."
        half = 3.4 * max(len(words), len(events))
        parts.append(svg.line(at, bottom, at, bottom + 4, "axis"))
        if at + half < free:
            parts.append(svg.text(at, bottom + 16, words, "tick", "middle"))
            parts.append(svg.text(at, bottom + 30, events, "tick", "middle"))
            free = at - half - 4
    return parts


def _said(axis: Axis, rows: Sequence[Row]) -> str:
    ends = " to ".join(f"{row['clean_us'] * axis.worth(row):.3g}" for row in (rows[0], rows[-1]))
    return f"{axis.name}, {axis.label(rows[0])} to {axis.label(rows[-1])}: pixel model, clean, {ends} {axis.time}."


if __name__ == "__main__":
    main()
