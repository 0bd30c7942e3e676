"""The energy report as one page: self-contained, explorable without a server, complete without JavaScript."""

from __future__ import annotations

from neuroemo.energy.page.page import render_page

__all__ = ["render_page"]
