"""What `reproduce table1` leaves behind: report.json, report.html, table1.tex and table1.csv."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from export.storage import write_json
from hw_targets.finding import Finding, InputError
from neuroemo.energy.latex import escaped
from neuroemo.reproduce.table1_document import SCHEMA
from neuroemo.reproduce.table1_text import MINUS, caption, notes, percent, points, printed

Report = dict[str, Any]
FILES = ("report.json", "report.html", "table1.tex", "table1.csv")


def write_table1(report: Report, folder: Path) -> list[Path]:
    """Write the four files, each whole before it has its name, report.json last."""
    from neuroemo.reproduce.table1_page import render_table1

    texts = {"report.html": render_table1(report), "table1.tex": table_latex(report), "table1.csv": table_csv(report)}
    for name, text in texts.items():
        aside = folder / f".{name}.{os.getpid()}.part"
        aside.write_text(text, encoding="utf-8", newline="")
        os.replace(aside, folder / name)
    write_json(folder / "report.json", report)
    return [folder / name for name in FILES]


def write_table1_anew(report: Report, path: Path) -> list[Path]:
    """Write page, table and lines again from a report that was read from ``path``.

    Raises:
        InputError: the report is damaged, or of another version.
    """
    try:
        if report.get("schema") != SCHEMA:
            raise ValueError(f"schema {report.get('schema')!r}, this version reads {SCHEMA}")
        return write_table1(report, path.parent)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        fix = "make it again: neuroemo reproduce table1 continues in its folder and trains nothing that is there"
        found = f"not a report of Table I: {error!r}"
        raise InputError(Finding("E936", "error", str(path), found, fix=fix)) from error


def table_csv(report: Report) -> str:
    """Return one line per run, shares as numbers: for whoever computes something else from them."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["model", "seed", "paper_percent", "correct", "clips", "accuracy", "low_95", "high_95",
                     "best_epoch", "epochs", "validation_accuracy"])  # fmt: skip
    for row in report["rows"]:
        for run in row["runs"]:
            ends = run["interval_95"]
            writer.writerow([row["model"], run["seed"], row["paper_percent"], run["correct"], run["clips"],
                             run["accuracy"], *ends, run["best_epoch"], run["epochs"],
                             run["validation_accuracy"]])  # fmt: skip
    return text.getvalue()


def table_latex(report: Report) -> str:
    """Return the table to paste: booktabs, every condition in the caption and the notes."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{escaped(caption(report))}}}",
        "  \\label{tab:table1}",
        "  \\begin{tabular}{lrrrlrr}",
        "    \\toprule",
        "    & & \\multicolumn{2}{c}{Ours} & \\multicolumn{3}{c}{Difference in points} \\\\",
        "    \\cmidrule(lr){3-4} \\cmidrule(lr){5-7}",
        "    Network & Paper & Mean & 95\\,\\% & to & Paper & Ours (95\\,\\%) \\\\",
        "    \\midrule",
        *(f"    {' & '.join(_latex_cells(row))} \\\\" for row in report["rows"]),
        "    \\midrule",
        f"    Chance & & {percent(report['chance'])} & & & & \\\\",
        *(_baseline_line(report, key, name) for key, name in _BASELINES.items()),
        "    \\bottomrule",
        "  \\end{tabular}",
        "  \\par\\smallskip",
        f"  {{\\footnotesize {escaped(' '.join(notes(report)))}\\par}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


_BASELINES = {
    "majority": "Majority class",
    "mean_frame": "Mean frame, linear",
    "summed_events": "Events summed, linear",
}


def _latex_cells(row: Report) -> list[str]:
    spread = "" if row["sd"] is None else f" $\\pm$ {percent(row['sd'])}"
    cells = [escaped(row["title"]), f"{row['paper_percent']:.2f}", percent(row["mean"]) + spread, _range(row)]
    told = row["against"]
    if told is None:
        return [*cells, "", "", ""]
    ends = " to ".join(_signed(end) for end in told["interval_95"])
    ours = f"{_signed(told['difference'])} ({ends})"
    return [*cells, escaped(told["model"]), f"${printed(told['paper_points'])}$".replace(MINUS, "-"), ours]


def _baseline_line(report: Report, key: str, name: str) -> str:
    told = report["baselines"][key]
    return f"    {name} & & {percent(told['accuracy'])} & {_range(told)} & & & \\\\"


def _range(told: Report) -> str:
    return "--".join(percent(end) for end in told["interval_95"])


def _signed(share: float) -> str:
    return f"${points(share)}$".replace(MINUS, "-")
