"""What a table of valence and arousal leaves behind: report.json, report.html, table.tex and table.csv."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from export.storage import write_json
from hw_targets.finding import Finding, InputError
from neuroemo.energy.latex import escaped
from neuroemo.reproduce.affect_blocks import METRICS, Block, all_notes, blocks, caption
from neuroemo.reproduce.affect_document import SCHEMA
from neuroemo.reproduce.affect_paper import CAPTIONS, OUTPUTS
from neuroemo.reproduce.table1_text import MINUS

Report = dict[str, Any]
FILES = ("report.json", "report.html", "table.tex", "table.csv")


def write_affect_table(report: Report, folder: Path) -> list[Path]:
    """Write the four files, each whole before it has its name, report.json last."""
    from neuroemo.reproduce.affect_page import render_affect_table

    texts = {
        "report.html": render_affect_table(report),
        "table.tex": table_latex(report),
        "table.csv": table_csv(report),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        aside = folder / f".{name}.{os.getpid()}.part"
        aside.write_text(text, encoding="utf-8", newline="")
        os.replace(aside, folder / name)
    write_json(folder / "report.json", report)
    return [folder / name for name in FILES]


def write_affect_table_anew(report: Report, path: Path) -> list[Path]:
    """Write page, table and lines again from a report that was read from ``path``.

    Raises:
        InputError: the report is damaged, or of another version.
    """
    try:
        if report.get("schema") != SCHEMA or report.get("table") not in CAPTIONS:
            raise ValueError(
                f"schema {report.get('schema')!r}, table {report.get('table')!r}; this version reads {SCHEMA}"
            )
        return write_affect_table(report, path.parent)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, StopIteration) as error:
        fix = "make it again: neuroemo reproduce affect-tableN continues in its folder and trains nothing that is there"
        found = f"not a report of a table of valence and arousal: {error!r}"
        raise InputError(Finding("E972", "error", str(path), found, fix=fix)) from error


def table_text(report: Report) -> str:
    """Return the report for a console."""
    parts = [report["title"], caption(report)]
    for block in blocks(report):
        if block.rows:
            parts.append(_text(block))
    return "\n\n".join([*parts, "\n".join(all_notes(report))])


def _text(block: Block) -> str:
    rows = [block.head, *block.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(block.head))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    remark = [block.remark] if block.remark else []
    return "\n".join([block.title, body[0], "-" * max(map(len, body)), *body[1:], *remark])


def table_csv(report: Report) -> str:
    """Return one line per run and output, scores as numbers: for whoever computes something else from them."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["network", "bits", "fold", "seed", "output", "frames", *METRICS, "constant_rmse", "constant_sagr",
                     "best_epoch", "epochs", "validation_ccc", "validation_rmse", "parameters"])  # fmt: skip
    for row in report["rows"]:
        for run in row["runs"]:
            for output in OUTPUTS:
                scores, constant = run["scores"][output], run["constant"][output]
                check = run["validation"]
                writer.writerow([row["network"], row["bits"], run["fold"], run["seed"], output, run["frames"],
                                 *(scores[name] for name in METRICS), constant["rmse"], constant["sagr"],
                                 run["best_epoch"], run["epochs"], check["ccc"], check["rmse"],
                                 row["parameters"]])  # fmt: skip
    return text.getvalue()


def table_latex(report: Report) -> str:
    """Return the table to paste: booktabs, one tabular per block, every condition in the caption and the notes."""
    told = blocks(report)
    shown = [block for block in told if block.rows and (block.main or block.title == "Published")]
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{escaped(report['title'])}. {escaped(caption(report))}}}",
        f"  \\label{{tab:{report['table']}}}",
    ]
    for block in shown:
        lines += [f"  {line}" for line in _tabular(block)]
    lines += [
        f"  {{\\footnotesize {escaped(' '.join([*(block.remark for block in shown), *all_notes(report)]))}\\par}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(block: Block) -> list[str]:
    return [
        f"\\par\\smallskip {escaped(block.title)}\\par",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{l{'r' * (len(block.head) - 1)}}}",
        "  \\toprule",
        f"  {' & '.join(escaped(name) for name in block.head)} \\\\",
        "  \\midrule",
        *(f"  {' & '.join(_cell(cell) for cell in row)} \\\\" for row in block.rows),
        "  \\bottomrule",
        "\\end{tabular}}",
    ]


def _cell(text: str) -> str:
    """Return a cell; a minus is one in mathematics, which is as wide as a plus.

    >>> _cell("−0.050 to +0.010")
    '$-$0.050 to +0.010'
    """
    return "$-$".join(escaped(part) if part.strip() else part for part in text.split(MINUS))
