"""Looking at an export: drawings, the page, the Markdown report and the model card, all from one JSON report."""

from __future__ import annotations

from export.page.card import model_card
from export.page.html import page_html
from export.page.markdown import report_markdown
from export.page.schema import check_report

__all__ = ["check_report", "model_card", "page_html", "report_markdown"]
