"""The scores of a table drawn: where every mark of every panel stands; the template only writes it down.

A panel shows one score of all rows: the value, its 95 % interval, a circle for each run, the paper's figure where it
compares, and lines of reference (the mean of the training frames, no agreement, chance).
"""

from __future__ import annotations

import math
from typing import Any

from neuroemo.reproduce.affect_blocks import ORDER, number, shown_rows, title_of
from neuroemo.reproduce.table1_text import percent

Report = dict[str, Any]
LEFT, RIGHT, ROW, TOP, MARGIN = 216, 480, 34, 12, 62
"""The axis from and to, height of a row, what is above the first, and room for the value, in pixels of a drawing."""
STEPS = (1, 2, 2.5, 5, 10)


def panels(report: Report) -> list[Report]:
    """Return the panels of a report: accuracy (Table 5), then RMSE and CCC of both outputs."""
    told = [_accuracy(report)] if report["emotions"] is not None else []
    for output in ORDER:
        told += [_score(report, output, "rmse"), _score(report, output, "ccc")]
    return told


def _score(report: Report, output: str, name: str) -> Report:
    rows, beside = [], report["data"]["comparable"]
    for row in shown_rows(report):
        score = row["outputs"][output]["pooled"][name]
        printed = (row["outputs"][output]["printed"] or {}).get(name) if beside else None
        points = [run["scores"][output][name] for run in row["runs"]]
        rows.append((title_of(report, row), score["value"], score["interval_95"], points, printed))
    lines = [("no agreement", 0.0)]
    if name == "rmse":
        constants = {row["outputs"][output]["pooled"]["constant"]["rmse"] for row in shown_rows(report)}
        lines = [("mean of the training frames", value) for value in sorted(v for v in constants if v is not None)]
    words = {"rmse": "root mean square error, lower is better", "ccc": "concordance correlation, higher is better"}
    return panel(f"{output.capitalize()}: {words[name]}", rows, lines, number)


def _accuracy(report: Report) -> Report:
    told = report["emotions"]
    rows = [
        (
            f"Ours ({row['family'].capitalize()}): {row['title']}",
            row["mean"],
            row["wilson_95"],
            [run["accuracy"] for run in row["runs"]],
            row["printed_percent"] / 100 if told["comparable"] else None,
        )
        for row in told["rows"]
    ]
    lines = [("chance", told["chance"]), ("largest class", told["largest_class"]["share"])]
    return panel("Emotions: accuracy in per cent with its Wilson interval", rows, lines, percent)


def panel(title: str, rows: list[Any], lines: list[tuple[str, float]], form: Any) -> Report:
    """Return one panel; ``rows`` are (title, value, interval, points, printed), any but the title None."""
    values = [value for _, value in lines]
    for _, value, interval, points, printed in rows:
        values += [v for v in (value, printed, *points, *(interval or ())) if v is not None]
    ticks = nice_ticks(min(values), max(values)) if values else [0.0, 1.0]

    def x(value: float | None) -> float | None:
        share = 0.0 if value is None else (value - ticks[0]) / (ticks[-1] - ticks[0])
        return None if value is None else round(LEFT + (RIGHT - LEFT) * share, 1)

    bottom = TOP + ROW * len(rows)
    return {
        "title": title,
        "width": RIGHT + MARGIN,
        "height": bottom + 30 + 16 * len(lines),
        "top": TOP,
        "bottom": bottom,
        "right": RIGHT,
        "ticks": [{"x": x(tick), "text": form(tick)} for tick in ticks],
        "lines": [
            {"x": x(value), "name": name, "y": bottom + 38 + 16 * at, "left": (x(value) or 0) < (LEFT + RIGHT) / 2}
            for at, (name, value) in enumerate(lines)
        ],
        "rows": [
            {
                "y": TOP + ROW * at + ROW / 2,
                "title": name,
                "value": x(value),
                "low": x(interval[0]) if interval else None,
                "high": x(interval[1]) if interval else None,
                "points": [x(point) for point in points if point is not None],
                "printed": x(printed),
                "text": form(value) if value is not None else "–",
            }
            for at, (name, value, interval, points, printed) in enumerate(rows)
        ],
    }


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers that enclose ``low`` and ``high``, at most ``most`` of them.

    >>> nice_ticks(0.12, 0.31)
    [0.1, 0.15, 0.2, 0.25, 0.3, 0.35]
    >>> nice_ticks(0.2, 0.2), nice_ticks(-0.1, 0.9)
    ([0.0, 1.0], [-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    """
    if not high > low:
        return [float(math.floor(low)), float(math.floor(low) + 1)]
    power = 10 ** math.floor(math.log10(high - low))
    for step in (factor * power / 10 for factor in (*STEPS, *(10 * s for s in STEPS))):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            return [round(step * at, 10) + 0.0 for at in range(first, last + 1)]
    raise AssertionError("some step is as wide as the whole range")
