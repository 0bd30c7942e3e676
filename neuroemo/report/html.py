"""The report as one page: report.json in, a self-contained HTML file out, nothing fetched and nothing recomputed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.report.schema import checked_report

if TYPE_CHECKING:
    from jinja2 import Environment

SECTIONS = (
    ("verdict", "Verdict"), ("clip", "Video and events"), ("network", "Network"), ("accuracy", "Accuracy"),
    ("training", "Training"), ("agreement", "Agreement"), ("voting", "Voting neurons"), ("steps", "Time steps"),
    ("energy", "Energy"), ("findings", "Findings"), ("reproduce", "Reproduce"),
)  # fmt: skip
STAGES = (("before", "Before training"), ("during", "During training"), ("after", "After training"))
TABLE2 = (
    ("ann_first_macs", "First layer of the ANN, MACs", "operations"),
    ("snn_first_acs", "First layer of the SNN, ACs per step", "operations"),
    ("other_ops", "Other layers of either, operations", "operations"),
    ("ann_mj", "ANN", "energy"),
    ("snn_mj_30", "SNN, 30 steps", "energy"),
    ("snn_mj_dataset", "SNN, on the dataset", "energy"),
    ("break_even_steps", "Break-even", "steps"),
)


def render_report(report: dict[str, Any]) -> str:
    """Return the page for one report, as text of a whole HTML document.

    Raises:
        InputError: the report lacks required entries or holds unusable ones; all of them are named.
    """
    checked = checked_report(report)
    return _environment().get_template("report.html.j2").render(_context(checked))


def write_report(report_json: Path, html: Path) -> None:
    """Read ``report_json`` and write its page to ``html``, whole or not at all.

    Raises:
        InputError: the file cannot be read, is no report, or the page cannot be written.
    """
    page = render_report(read_report(report_json))
    aside = html.with_name(f".{html.name}.{os.getpid()}.part")
    try:
        aside.write_text(page, encoding="utf-8")
        os.replace(aside, html)
    except OSError as error:
        aside.unlink(missing_ok=True)
        finding = Finding(
            "E184", "error", str(html), f"cannot be written: {error.strerror}", fix="choose another place"
        )
        raise InputError(finding) from error


def read_report(report_json: Path) -> dict[str, Any]:
    """Read a report and check it; absent optional entries come back as None.

    Raises:
        InputError: the file is missing, is no JSON, or lacks required entries.
    """
    remedy = "write the report again with `neuroemo demo`"
    try:
        data = json.loads(report_json.read_text(encoding="utf-8"))
    except OSError as error:
        finding = Finding("E183", "error", str(report_json), f"cannot be read: {error.strerror}", fix=remedy)
        raise InputError(finding) from error
    except ValueError as error:  # neither JSON nor text
        raise InputError(Finding("E183", "error", str(report_json), f"not JSON: {error}", fix=remedy)) from error
    return checked_report(data)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from neuroemo.report import words

    environment = Environment(
        loader=PackageLoader("neuroemo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = (
        "percent",
        "count",
        "number",
        "plural",
        "millijoules",
        "significant",
        "kilobytes",
        "seconds",
        "rate",
        "stride",
    )
    environment.filters.update({name: getattr(words, name) for name in names})
    return environment


def _context(report: dict[str, Any]) -> dict[str, Any]:
    from neuroemo.report import words
    from neuroemo.report.figures import accuracy_rows

    return report | {
        "report": report,
        "sections": SECTIONS,
        "stages": STAGES,
        "status": words.status(report),
        "sentences": words.verdict_sentences(report),
        "lava_claim": words.lava_claim(report),
        "synthetic_note": words.SYNTHETIC_NOTE,
        "chip_name": words.chip_name(report),
        "largest": words.largest_energy(report["energy"]),
        "accuracy_rows": accuracy_rows(report),
        "figures": _figures(report),
        "table2": _table2(report["energy"]["table2"]),
    }


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    """Draw everything that there is data for; what is absent stays absent, and its section says so."""
    from markupsafe import Markup

    from neuroemo.report import drawings, figures

    chance = report["accuracy"]["chance"]
    classes = report["data"]["classes"]
    drawn: dict[str, Any] = {
        "accuracy": figures.accuracy_bars(report),
        "agreement": figures.agreement_dots(report["export"]["layers"]),
        "energy": figures.energy_bars(report["energy"]),
        "layers": [Markup(picture) for picture in _layer_pictures(report)],
    }
    if report["events"]:
        drawn["density"] = figures.density_bars(report["events"])
    if report["training"] and (report["training"]["snn"] or report["training"]["ann"]):
        drawn["training_loss"] = figures.training_curves(report["training"], "loss")
        drawn["training_accuracy"] = figures.training_curves(report["training"], "accuracy", chance)
    for name, title in (("right", "Clip labelled right"), ("wrong", "Clip labelled wrong")):
        if report["voting"] and report["voting"][name]:
            drawn[f"voting_{name}"] = drawings.voting_figure(report["voting"][name], classes, title)
    for name, title in STAGES:
        if report["steps"] and report["steps"][name]:
            span = figures.loss_span(report["steps"])
            drawn[f"steps_{name}"] = figures.step_curves(report["steps"][name], title, span, chance)
    return {name: Markup(figure) if isinstance(figure, str) else figure for name, figure in drawn.items()}


def _layer_pictures(report: dict[str, Any]) -> list[str]:
    """Draw the input and every layer on the chip, all maps to one scale."""
    from neuroemo.report.drawings import layer_picture

    layers = report["export"]["layers"]
    shapes = [layer["output_shape"] for layer in layers]
    shapes = [layers[0]["input_shape"], *shapes] if layers else []
    largest = max((side for shape in shapes if len(shape) == 3 for side in shape[1:]), default=1)
    return [layer_picture(shape, largest) for shape in shapes]


def _table2(table: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Pair the paper's Table II with exact values, as shown."""
    if table is None:
        return []
    rows = []
    for key, name, kind in TABLE2:
        paper, exact = table["paper"][key], table["exact"][key]
        difference = None if not paper or exact is None else exact / paper - 1
        rows.append(
            {
                "name": name,
                "paper": _printed(paper, kind),
                "exact": _exact(exact, kind),
                "difference": "—" if difference is None else f"{100 * difference:+.2f}\u00a0%".replace("-", "−"),
            }
        )
    return rows


def _printed(value: float | None, kind: str) -> str:
    if value is None:
        return "not printed"
    if kind == "operations":
        return f"{value / 1e6:g}\u00a0M"
    return f"{value:g}\u00a0{'mJ' if kind == 'energy' else 'steps'}"


def _exact(value: float | None, kind: str) -> str:
    if value is None:
        return "—"
    if kind == "operations":
        return f"{value:,.0f}"
    return f"{value:.4f}\u00a0mJ" if kind == "energy" else f"{value:.2f}\u00a0steps"
