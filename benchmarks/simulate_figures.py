"""Cost against work, drawn: time and memory of the simulator over input size, steps, batch, density, number of clips.

``python benchmarks/simulate_figures.py`` reads ``benchmarks/results/simulate.json`` (key ``scaling``, written by
``benchmarks/simulate.py``) and writes ``docs/simulate-cost.svg``: time above memory, one column per axis, log-log.

The dashed line of slope 1 starts at the last measured point; a curve along it costs in proportion to the work. Work is
pixels for the size, and time is that of the whole clip or batch where steps or batch grow.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from export.page import svg
from export.page.svg import Scale
from neuroemo.simulation.figure import standalone

HERE = Path(__file__).resolve().parent
MEMORY_LIMIT_MIB = 1.5e9 / 2**20
"""1.5 GB: what the simulator may need, for any number of clips."""
PANEL, LEFT, TOP, HEIGHT, GAP = 214.0, 46.0, 62.0, 150.0, 78.0
PATHS = (("ms_per_step", "chosen per layer", 0), ("dense_ms", "dense", 1), ("event_ms", "event-driven", 2))
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Axis:
    """One column: its key in the file, how x is called and written, and the work and time that belong to a row."""

    key: str
    name: str
    time: str
    label: Callable[[float], str]
    work: Callable[[float], float] = float
    times: Callable[[float], float] = lambda x: 1.0


def plain(x: float) -> str:
    """Write a count.

    >>> plain(2000), plain(16)
    ('2,000', '16')
    """
    return f"{x:,g}" if x < 1e6 else f"{x:.3g}"


AXES = (
    Axis("size", "input size, pixels", "ms per step", lambda x: f"{x:g}²", work=lambda x: x * x),
    Axis("steps", "steps", "ms per clip", plain, times=lambda x: x),
    Axis("batch", "clips in a batch", "ms per step of the batch", plain, times=lambda x: x),
    Axis("density", "input density", "ms per step", lambda x: f"{100 * x:g} %"),
    Axis("clips", "clips streamed", "ms per step of all clips", plain, times=lambda x: x),
)


def main() -> None:
    """Draw the measured results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "simulate.json")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "simulate-cost.svg")
    args = parser.parse_args()
    text = cost_figure(read_scaling(args.results))
    aside = args.out.with_name(f"{args.out.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(args.out)
    print(args.out)


def read_scaling(path: Path) -> dict[str, list[Row]]:
    """Return the measured rows by axis, sorted by x; ends the program with a word where there are none."""
    try:
        scaling = json.loads(path.read_text(encoding="utf-8"))["scaling"]
        rows = {axis.key: sorted(scaling[axis.key], key=lambda row: row["x"]) for axis in AXES if scaling.get(axis.key)}
        if not rows or not all(row["x"] > 0 for each in rows.values() for row in each):
            raise ValueError("no points, or one at 0")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SystemExit(f"{path}: no scaling results ({error}); run benchmarks/simulate.py first") from error
    return rows


def cost_figure(rows: dict[str, list[Row]]) -> str:
    """Return the figure as the text of an SVG file; axes that were not measured have no column."""
    columns = [axis for axis in AXES if axis.key in rows]
    total = PANEL * len(columns) + 12
    parts, said = _legend(), []
    for index, axis in enumerate(columns):
        left = index * PANEL
        parts += _times(axis, rows[axis.key], left)
        parts += _memory(axis, rows[axis.key], left)
        said.append(_said(axis, rows[axis.key]))
    height = TOP + 2 * HEIGHT + GAP + 46
    described = f"<desc>{escape(' '.join(said))}</desc>"
    return standalone(svg.drawing(total, height, "What a simulation costs: time and memory", [described, *parts]))


def _legend() -> list[str]:
    parts, x = [], LEFT
    for _, name, colour in PATHS:
        parts.append(svg.line(x, 14, x + 24, 14, _css(colour)))
        parts.append(svg.text(x + 30, 18, name, "tick"))
        x += 52 + 7 * len(name)
    parts.append(svg.line(x, 14, x + 24, 14, "reference"))
    parts.append(svg.text(x + 30, 18, "slope 1: in proportion to the work", "tick"))
    return parts


def _css(colour: int) -> str:
    return f"curve s-k{colour}" + (" winner" if colour == 0 else f" dash{colour - 1}")


def _times(axis: Axis, rows: Sequence[Row], left: float) -> list[str]:
    """Draw the time of every path against the work, both logarithmic, and the line of slope 1."""
    series = {
        key: [(axis.work(row["x"]), row[key] * axis.times(row["x"])) for row in rows if row.get(key)]
        for key, _, _ in PATHS
    }
    values = [y for points in series.values() for _, y in points]
    if not values:
        return [svg.text(left + LEFT, TOP + 20, "not measured", "tick")]
    xs = [axis.work(row["x"]) for row in rows]
    span = _padded(values)
    x, y = _log_scales(xs, span, left, TOP)
    parts = _frame(axis, rows, x, TOP, left, axis.time)
    for value in _decades(*span):
        parts += _y_tick(left, _log(y, value), plain(value))
    anchor = series["ms_per_step"] or next(points for points in series.values() if points)
    # The thick curve of the chosen path goes below the other two.
    for key, _, colour in PATHS:
        placed = [(_log(x, work), _log(y, value)) for work, value in series[key]]
        parts.append(svg.path(placed, _css(colour)))
        for (px, py), (work, value) in zip(placed, series[key], strict=True):
            parts.append(
                svg.circle(px, py, 3.2 if colour == 0 else 2.2, f"f-k{colour}", f"{plain(work)}: {value:.4g} ms")
            )
    # Last, so that its fine dashes show on a curve that follows it.
    parts += _slope(anchor[-1], xs, span, x, y)
    return parts


def _slope(end: tuple[float, float], xs: Sequence[float], span: tuple[float, float], x: Scale, y: Scale) -> list[str]:
    """Draw the line of slope 1 that ends in a measured point, as far as the panel goes."""
    work, value = end
    start = max(min(xs), work * span[0] / value)
    if not start < work:
        return []
    return [svg.line(_log(x, start), _log(y, value * start / work), _log(x, work), _log(y, value), "reference")]


def _memory(axis: Axis, rows: Sequence[Row], left: float) -> list[str]:
    """Draw the peak memory, linear from 0, with the limit."""
    points = [(axis.work(row["x"]), row["peak_mb"]) for row in rows if row.get("peak_mb")]
    if not points:
        return []
    top = TOP + HEIGHT + GAP
    x, _ = _log_scales([axis.work(row["x"]) for row in rows], (1.0, 10.0), left, top)
    high = 1.08 * max(MEMORY_LIMIT_MIB, *(value for _, value in points))
    y = Scale(0, high, top + HEIGHT, top)
    parts = _frame(axis, rows, x, top, left, "peak memory, MiB")
    for value in svg.ticks(0, high, 4):
        parts += _y_tick(left, y(value), plain(value))
    limit = y(MEMORY_LIMIT_MIB)
    parts.append(svg.line(left + LEFT, limit, left + PANEL - 8, limit, "threshold"))
    parts.append(svg.text(left + PANEL - 8, limit - 4, "1.5 GB", "tick strong halo", "end"))
    placed = [(_log(x, work), y(value)) for work, value in points]
    parts.append(svg.path(placed, _css(0)))
    parts += [
        svg.circle(px, py, 3.2, "f-k0", f"{value:.0f} MiB") for (px, py), (_, value) in zip(placed, points, strict=True)
    ]
    return parts


def _frame(axis: Axis, rows: Sequence[Row], x: Scale, top: float, left: float, title: str) -> list[str]:
    """Draw titles, the baseline, and the measured x as ticks, as many as have room."""
    bottom = top + HEIGHT
    parts = [
        svg.text(left + LEFT - 38, top - 12, title, "strong"),
        svg.line(left + LEFT, bottom, left + PANEL - 8, bottom, "axis"),
        svg.text(left + PANEL - 8, bottom + 32, axis.name, "axis-title", "end"),
    ]
    free = math.inf
    for row in reversed(rows):
        at, words = _log(x, axis.work(row["x"])), axis.label(row["x"])
        half = 3.4 * len(words)
        parts.append(svg.line(at, bottom, at, bottom + 4, "axis"))
        if at + half < free:
            parts.append(svg.text(at, bottom + 16, words, "tick", "middle"))
            free = at - half - 4
    return parts


def _y_tick(left: float, y: float, words: str) -> list[str]:
    return [
        svg.line(left + LEFT, y, left + PANEL - 8, y, "grid"),
        svg.text(left + LEFT - 6, y + 4, words, "tick", "end"),
    ]


def _log_scales(xs: Sequence[float], span: tuple[float, float], left: float, top: float) -> tuple[Scale, Scale]:
    low, high = math.log10(min(xs)), math.log10(max(xs))
    air = 0.06 * (high - low) or 0.5
    x = Scale(low - air, high + air, left + LEFT, left + PANEL - 8)
    return x, Scale(math.log10(span[0]), math.log10(span[1]), top + HEIGHT, top)


def _log(scale: Scale, value: float) -> float:
    return scale(math.log10(value))


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Return a range with air around all values, a factor of four at least.

    >>> low, high = _padded([1.0, 1.0]); round(high / low, 3)
    4.0
    """
    low, high = min(values) / 1.3, max(values) * 1.3
    widen = max(1.0, math.sqrt(4 * low / high))
    return low / widen, high * widen


def _decades(low: float, high: float) -> list[float]:
    """Return round values within the range: powers of ten, with 2 and 5 times them where the range is short.

    >>> _decades(0.5, 700), _decades(3, 30)
    ([1, 10, 100], [5, 10, 20])
    """
    factors = (1,) if high / low > 60 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for factor in factors if low <= (value := factor * 10**power) <= high]


def _said(axis: Axis, rows: Sequence[Row]) -> str:
    first, last = rows[0], rows[-1]
    ends = [f"{axis.label(row['x'])}: {row['ms_per_step'] * axis.times(row['x']):.4g}" for row in (first, last)]
    peak = max((row["peak_mb"] for row in rows if row.get("peak_mb")), default=0)
    return f"{axis.name}, {axis.time}: {ends[0]} to {ends[1]}; at most {peak:.0f} MiB."


if __name__ == "__main__":
    main()
