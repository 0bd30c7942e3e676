"""How the figures look: one palette that colour-blind readers can tell apart, sizes that survive a journal column.

Colours are those of the reports. Text is drawn as outlines in SVG and embedded as TrueType in PDF, so a file looks the
same everywhere; dates and random identifiers are left out, so the same numbers give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError, MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#1c2127", "#5a646e", "#e3e0d9"
BLUE, ORANGE, GREEN, RED = "#0b5f96", "#c2570c", "#0a7d62", "#b3261e"
GROUPS = (BLUE, ORANGE, GREEN, "#8d5a97", "#8a5a05", "#3c4f76")
"""Colours of the groups of voting neurons, by class index."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "svg.fonttype": "path",
    "svg.hashsalt": "neuroemo",
    "pdf.fonttype": 42,
    "pdf.use14corefonts": False,
    "path.simplify": False,
}


@contextmanager
def style() -> Iterator[Any]:
    """Apply the style for a block, and yield matplotlib without any window.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        fix = "pip install matplotlib"
        raise MissingDependencyError(Finding("E924", "error", "matplotlib", "is not installed", fix=fix)) from error
    with matplotlib.rc_context(_STYLE):
        yield matplotlib


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as its suffix says (svg, pdf or png), aside first and then renamed.

    Raises:
        InputError: the place cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    kind = path.suffix.lstrip(".")
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}
    try:
        with style():
            figure.savefig(aside, format=kind, metadata=dates.get(kind), dpi=160)
        os.replace(aside, path)
    except OSError as error:
        fix = "check the folder, its rights and the free space"
        found = f"cannot be written: {error.strerror or error}"
        raise InputError(Finding("E924", "error", str(path), found, fix=fix)) from error
    finally:
        aside.unlink(missing_ok=True)
    return path


def step_ticks(steps: int) -> list[int]:
    """Return steps to be labelled: the first, the last, and round ones between that leave room for both.

    >>> step_ticks(16), step_ticks(68)
    ([1, 5, 10, 16], [1, 20, 40, 68])
    """
    if steps <= 8:
        return list(range(1, steps + 1))
    apart = next(size for size in (5, 10, 20, 50, 100, 200, 500, 1000, 5000) if steps / size <= 4 or size == 5000)
    inner = [step for step in range(apart, steps, apart) if steps - step > 0.6 * apart and step > 0.3 * apart]
    return [1, *inner, steps]
