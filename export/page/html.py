"""The report of an export as one page: a self-contained HTML file, nothing fetched and nothing recomputed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from export.page import figures, network, words
from export.page.letters import harmless
from export.page.schema import check_report, completed
from hw_targets.finding import InputError

if TYPE_CHECKING:
    from jinja2 import Environment

SECTIONS = (
    ("verdict", "Verdict"), ("findings", "Findings"), ("network", "Network"), ("agreement", "Agreement"),
    ("weights", "Weights"), ("traces", "Membrane potentials"), ("again", "Verify again"),
)  # fmt: skip
FILTERS = ("percent", "count", "number", "shape", "plural", "milliseconds", "framework_name")


def page_html(report: dict[str, Any]) -> str:
    """Return the page of one report as the text of a whole HTML document; the same report gives the same text.

    Raises:
        InputError: the report lacks required entries or holds unusable ones; all of them are named.
    """
    whole = checked(report)
    return _environment().get_template("page.html.j2").render(_context(whole))


def checked(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report ready to print: complete, with None for what is absent, and free of control characters.

    Raises:
        InputError: see ``page_html``.
    """
    findings = check_report(report)
    if findings:
        raise InputError(findings)
    cleaned: dict[str, Any] = harmless(completed(report))
    return cleaned


def title_of(report: dict[str, Any]) -> str:
    """Return the title: what was exported, and where to."""
    source = (report["model"] or {}).get("source")
    return f"Export of {source or 'a model'} to {words.chip_name(report['target'])}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("export.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(words, name) for name in FILTERS})
    return environment


def _context(report: dict[str, Any]) -> dict[str, Any]:
    layers = report["layers"] or []
    return report | {
        "report": report,
        "texts": words,
        "sections": SECTIONS,
        "title": title_of(report),
        "status": words.status(report),
        "headline": words.headline(report),
        "comparison": words.comparison(report),
        "chip_name": words.chip_name(report["target"]),
        "encoding": words.ENCODINGS.get(report["input_encoding"], report["input_encoding"]),
        "total": network.total_words(report),
        "captured_known": bool((report["network"] or {}).get("captured")),
        "rows": _rows(report),
        "compared": [layer for layer in layers if layer["verify"]],
        "uncompared": [layer["name"] for layer in layers if not layer["verify"]],
        "figures": _figures(report),
        "has_bundle": words.has_bundle(report),
        "commands": words.verify_commands(report),
    }


def _rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw the network, one row per layer; what a row lacks stays None, and the page says so."""
    from markupsafe import Markup

    chip = words.chip_name(report["target"])
    return [
        {
            "captured": Markup(network.nodes_picture(row.captured, "Captured")) if row.captured else None,
            "folded": Markup(network.nodes_picture(row.folded, "Folded")) if row.folded else None,
            "chip": Markup(network.chip_picture(row.chip, chip)) if row.chip else None,
        }
        for row in network.layer_rows(report)
    ]


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    """Draw all that there is data for."""
    from markupsafe import Markup

    layers = report["layers"] or []
    compared = [layer for layer in layers if layer["verify"]]
    return {
        "disagreement": Markup(figures.disagreement_bars(compared)),
        "rates": Markup(figures.rate_bars(compared)),
        "histograms": [(layer["name"], Markup(figures.histogram(layer))) for layer in layers if layer["histogram"]],
        "traces": [
            (trace, Markup(figures.trace_figure(trace)), figures.differing(trace)) for trace in report["traces"] or []
        ],
    }
