"""Line charts and bar rows, the two shapes that most figures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.page import svg
from export.page.svg import Scale

LEFT, RIGHT = 46.0, 10.0


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: points (x, y), the class that colours it, and whether it is dashed."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Axes:
    """Where a chart sits and what it spans; ``shares`` writes the y axis in per cent."""

    width: float
    top: float
    height: float
    xs: tuple[float, float]
    ys: tuple[float, float]
    x_label: str
    y_label: str
    shares: bool = False

    @property
    def x(self) -> Scale:
        """The horizontal scale."""
        return Scale(*self.xs, LEFT, self.width - RIGHT)

    @property
    def y(self) -> Scale:
        """The vertical scale; up is more."""
        return Scale(*self.ys, self.top + self.height, self.top)


def frame(axes: Axes, x_ticks: Sequence[float], reference: float | None = None, reference_name: str = "") -> list[str]:
    """Draw grid, tick labels and axis titles, and a dashed line at ``reference``."""
    bottom, right = axes.top + axes.height, axes.width - RIGHT
    parts = [svg.text(0, axes.top - 9, axes.y_label, "axis-title")]
    for value in svg.ticks(*axes.ys):
        label = f"{100 * value:g} %" if axes.shares else f"{value:g}"
        parts.append(svg.line(LEFT, axes.y(value), right, axes.y(value), "grid"))
        parts.append(svg.text(LEFT - 6, axes.y(value) + 4, label, "tick", "end"))
    for value in x_ticks:
        parts.append(svg.text(axes.x(value), bottom + 16, f"{value:g}", "tick", "middle"))
    parts.append(svg.text(right, bottom + 32, axes.x_label, "axis-title", "end"))
    if reference is not None:
        parts.append(svg.line(LEFT, axes.y(reference), right, axes.y(reference), "reference"))
        parts.append(svg.text(right, axes.y(reference) - 4, reference_name, "tick", "end"))
    return parts


def curves(axes: Axes, series: Sequence[Series]) -> list[str]:
    """Draw every curve; a curve of one point is a dot."""
    parts = []
    for entry in series:
        placed = [(axes.x(x), axes.y(y)) for x, y in entry.points]
        parts.append(svg.path(placed, f"curve s-{entry.css}" + (" dashed" if entry.dashed else "")))
        if len(placed) <= 24:
            parts += [svg.circle(x, y, 1.8, f"f-{entry.css}") for x, y in placed]
    return parts


def legend(series: Sequence[Series], y: float, start: float = LEFT) -> list[str]:
    """Name the curves in one row."""
    parts, x = [], start
    for entry in series:
        parts.append(svg.line(x, y - 4, x + 20, y - 4, f"curve s-{entry.css}" + (" dashed" if entry.dashed else "")))
        parts.append(svg.text(x + 25, y, entry.name, "tick"))
        x += 42 + 6.8 * len(entry.name)
    return parts


def padded(values: Sequence[float], *, floor: float | None = None) -> tuple[float, float]:
    """Return a range that holds all values with some air; never empty.

    >>> padded([0.0, 1.0], floor=0.0)
    (0.0, 1.05)
    """
    lo, hi = (min(values), max(values)) if values else (0.0, 1.0)
    air = 0.05 * (hi - lo) or 0.05 * abs(hi) or 0.05
    low = lo - air if floor is None else min(floor, lo)
    return low, hi + air
