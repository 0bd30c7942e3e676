"""Table I as one page: report in, a self-contained HTML file out, no script, nothing fetched and nothing recomputed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.page.letters import harmless
from neuroemo.energy.page.embedded import policy
from neuroemo.reproduce.table1_text import (
    HEAD,
    baseline_rows,
    caption,
    cells,
    comparable,
    mean_text,
    notes,
    order_lines,
    percent,
)

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LEFT, RIGHT, ROW, TOP = 130, 760, 40, 26
"""The drawing's axis from and to, the height of a row and of what is above the first, in pixels of the drawing."""


def render_table1(report: dict[str, Any]) -> str:
    """Return the page as the text of a whole HTML document; the same report, the same text."""
    from markupsafe import Markup

    clean = harmless(report)
    style = (TEMPLATES / "table1.css").read_text(encoding="utf-8")
    template = _environment().get_template("table1.html.j2")
    return template.render(
        report=clean,
        style=Markup(style),
        security=policy(style, ""),
        caption=caption(clean),
        comparable=comparable(clean),
        head=HEAD,
        rows=[cells(row) for row in clean["rows"]],
        baselines=baseline_rows(clean),
        order=order_lines(clean),
        notes=notes(clean),
        drawing=drawing(clean),
        runs=[_run_cells(row, run) for row in clean["rows"] for run in row["runs"]],
    )


def drawing(report: dict[str, Any]) -> dict[str, Any]:
    """Return where everything of the drawing stands: rows with their marks, the axis, the lines of reference."""
    axis = _axis(report)
    rows = [_drawn_row(row, index, axis, report["data"]["comparable"]) for index, row in enumerate(report["rows"])]
    bottom = TOP + ROW * len(rows)
    named = (("chance", report["chance"]), ("mean frame", report["baselines"]["mean_frame"]["accuracy"]),
             ("summed events", report["baselines"]["summed_events"]["accuracy"]))  # fmt: skip
    return {
        "width": RIGHT + 110,
        "height": bottom + 44 + 16 * len(named),
        "bottom": bottom,
        "ticks": [{"x": axis(tick / 100), "text": str(tick)} for tick in _ticks(report)],
        "lines": [
            {"x": axis(share), "name": name, "y": bottom + 40 + 16 * place} for place, (name, share) in enumerate(named)
        ],
        "rows": rows,
        "left": LEFT,
        "right": RIGHT,
        "top": TOP,
    }


def _drawn_row(row: dict[str, Any], index: int, axis: Any, with_paper: bool) -> dict[str, Any]:
    low, high = row["interval_95"]
    return {
        "y": TOP + ROW * index + ROW / 2,
        "title": row["title"],
        "seeds": [axis(run["accuracy"]) for run in row["runs"]],
        "mean": axis(row["mean"]),
        "low": axis(low),
        "high": axis(high),
        "paper": axis(row["paper_percent"] / 100) if with_paper else None,
        "text": mean_text(row),
    }


def _lowest(report: dict[str, Any]) -> int:
    """Return where the axis begins, in per cent: the next ten below everything that is drawn."""
    shares = [report["chance"], *(told["accuracy"] for told in report["baselines"].values())]
    for row in report["rows"]:
        shares += [row["interval_95"][0], *(run["accuracy"] for run in row["runs"])]
    return int(10 * (100 * min(shares) // 10))


def _ticks(report: dict[str, Any]) -> range:
    return range(_lowest(report), 101, 10)


def _axis(report: dict[str, Any]) -> Any:
    low = _lowest(report) / 100

    def place(share: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (share - low) / (1 - low), 1)

    return place


def _run_cells(row: dict[str, Any], run: dict[str, Any]) -> list[str]:
    ends = run["interval_95"]
    return [
        row["title"],
        str(run["seed"]),
        f"{run['correct']} of {run['clips']}",
        percent(run["accuracy"]),
        f"{percent(ends[0])} to {percent(ends[1])}",
        f"{run['best_epoch']} of {run['epochs']}",
        percent(run["validation_accuracy"]),
    ]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment
