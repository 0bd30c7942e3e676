"""The energy report as one page: report.json in, a self-contained HTML file out, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.page.letters import harmless
from neuroemo.energy.page import heat, words
from neuroemo.energy.page.bars import part_colours
from neuroemo.energy.page.choices import choices, reasons, unpriced
from neuroemo.energy.page.embedded import json_text, policy
from neuroemo.energy.schema import checked_energy_report

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("tools.js", "state.js", "heat.js", "layers.js", "steps.js", "main.js")
SECTIONS = (
    ("verdict", "Verdict"), ("prices", "Prices"), ("energy", "Energy"), ("layers", "Layers"),
    ("over-time", "Over time"), ("break-even", "Break-even"), ("sensitivity", "What flips it"),
    ("scenarios", "Every scenario"), ("policy", "What was counted"), ("constants", "Constants"), ("cite", "Cite"),
)  # fmt: skip
FILTERS = ("energy", "count", "percent", "plural", "per_clip", "signed", "factor", "policy_name", "accuracy")
LINES_KEPT = ("latex", "citation")


def render_page(document: dict[str, Any]) -> str:
    """Return the page of one energy report as the text of a whole HTML document; the same report, the same text.

    The page works from a file address without a network: a policy inside it allows its own style and script by
    their hashes and nothing else. Without JavaScript it shows the default scenario whole.

    Raises:
        InputError: the report lacks required entries or holds unusable ones; all of them are named
            (``neuroemo.energy.schema.checked_energy_report``).
    """
    from markupsafe import Markup

    checked_energy_report(document)
    clean = harmless(document) | {key: _lines(document[key]) for key in LINES_KEPT}
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    style += f"#heat {{ --steps: {int(document['networks']['deployed']['steps'])}; }}\n"
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}\n}})();'
    context = _context(clean, document) | {
        "style": Markup(style),
        "script": Markup(script),
        "security": policy(style, script),
        "report_json": Markup(json_text(clean)),
    }
    return _environment().get_template("page.html.j2").render(context)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("neuroemo.energy.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(words, name) for name in FILTERS})
    return environment


def _context(document: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    from neuroemo.energy.page.view import constant_view, scenario_view, summary

    scenarios, network = document["scenarios"], document["networks"]["deployed"]
    colours = part_colours(scenarios)
    counted = {layer["name"] for layer in network["layers"]}
    extras = [
        name
        for name in dict.fromkeys(name for scenario in scenarios for name in scenario["snn"]["layers_pj"])
        if name not in counted
    ]
    views = [
        scenario_view(document, index, colours, extras, _latex(raw, raw["scenarios"][index]))
        for index in range(len(scenarios))
    ]
    default = next(index for index, item in enumerate(scenarios) if item["id"] == document["default_scenario"])
    return document | {
        "document": document,
        "sections": SECTIONS,
        "views": views,
        "shown": views[default] | {"index": "shown"},
        "choices": choices(document),
        "chosen": scenarios[default],
        "view_json": _view_json(document, network),
        "network": network,
        "extras": extras,
        "heat_rows": heat.rows(network),
        "heat_legend": heat.legend(network),
        "heat_marked": heat.marked_steps(network["steps"]),
        "levels": heat.LEVELS,
        "partial": _partial(document),
        "lower_bound": words.lower_bound,
        "summaries": [summary(document, scenario) for scenario in scenarios],
        "unpriced": unpriced(document),
        "constant_rows": [constant | constant_view(document, key) for key, constant in document["constants"].items()],
    }


def _view_json(document: Mapping[str, Any], network: Mapping[str, Any]) -> Any:
    from markupsafe import Markup

    return Markup(json_text({"heat": heat.data(network), "reasons": reasons(document)}))


def _partial(document: Mapping[str, Any]) -> list[tuple[str, str, dict[str, str]]]:
    """Return what was not counted, per network that has any."""
    return [
        (key, network["title"], network["partial"])
        for key, network in document["networks"].items()
        if network and network["partial"]
    ]


def _latex(document: dict[str, Any], scenario: dict[str, Any]) -> str:
    """Return the LaTeX table of a scenario; that of the default one is the report's own."""
    from neuroemo.energy.latex import latex_table

    default = scenario["id"] == document["default_scenario"]
    return _lines(document["latex"] if default else latex_table(document, scenario))


def _lines(text: str) -> str:
    """Return a text free of control characters, its lines kept."""
    return "\n".join(map(harmless, text.split("\n")))
