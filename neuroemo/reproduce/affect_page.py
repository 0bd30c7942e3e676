"""A table of valence and arousal as one page: report in, a self-contained HTML file out, no script, nothing fetched."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.page.letters import harmless
from neuroemo.energy.page.embedded import policy
from neuroemo.reproduce.affect_blocks import all_notes, blocks, caption
from neuroemo.reproduce.affect_drawing import panels

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def render_affect_table(report: dict[str, Any]) -> str:
    """Return the page as the text of a whole HTML document; the same report, the same text."""
    from markupsafe import Markup

    clean = harmless(report)
    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("table1.css", "affect.css"))
    template = _environment().get_template("affect.html.j2")
    return template.render(
        report=clean,
        style=Markup(style),
        security=policy(style, ""),
        caption=caption(clean),
        blocks=[block for block in blocks(clean) if block.rows],
        panels=panels(clean),
        notes=all_notes(clean),
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment
