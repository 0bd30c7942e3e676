"""The few SVG elements that the figures are made of: strings in, strings out, every text escaped.

Colours are classes, defined in the page's style sheet, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from [lo, hi] to [start, stop] in drawing units; an empty range maps to its start.

    >>> Scale(0, 10, 100, 200)(2.5)
    125.0
    """

    lo: float
    hi: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Map one value."""
        span = self.hi - self.lo
        return self.start + ((value - self.lo) / span * (self.stop - self.start) if span else 0.0)


def fixed(value: float) -> str:
    """Write a coordinate with at most two decimals.

    >>> fixed(1.0), fixed(0.126), fixed(-0.0)
    ('1', '0.13', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def drawing(width: float, height: float, label: str, parts: Iterable[str], css: str = "figure") -> str:
    """Wrap elements into one accessible picture; ``label`` is what a screen reader says."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {fixed(width)} {fixed(height)}" class="{css}" '
        f'role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, css: str = "", anchor: str = "") -> str:
    """Write words with their baseline at y; ``anchor`` is "middle" or "end"."""
    place = f' text-anchor="{anchor}"' if anchor else ""
    style = f' class="{css}"' if css else ""
    return f'<text x="{fixed(x)}" y="{fixed(y)}"{place}{style}>{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, css: str, *, title: str = "", radius: float = 0) -> str:
    """Draw a rectangle; ``title`` shows on hover."""
    corner = f' rx="{fixed(radius)}"' if radius else ""
    head = f'<rect x="{fixed(x)}" y="{fixed(y)}" width="{fixed(width)}" height="{fixed(height)}"{corner} class="{css}"'
    return f"{head}><title>{escape(title)}</title></rect>" if title else f"{head}/>"


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Draw a straight line."""
    return f'<line x1="{fixed(x1)}" y1="{fixed(y1)}" x2="{fixed(x2)}" y2="{fixed(y2)}" class="{css}"/>'


def circle(x: float, y: float, radius: float, css: str, title: str = "") -> str:
    """Draw a dot; ``title`` shows on hover."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{fixed(x)}" cy="{fixed(y)}" r="{fixed(radius)}" class="{css}">{inner}</circle>'


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """Join points by straight lines."""
    joined = "L".join(f"{fixed(x)} {fixed(y)}" for x, y in points)
    return f'<path d="M{joined}" class="{css}"/>' if points else ""


def shortened(words: str, limit: int) -> str:
    """Cut words that would run out of their place; the full text stands in the caption.

    >>> shortened("negative", 12), shortened("very surprised", 8)
    ('negative', 'very su…')
    """
    return words if len(words) <= limit else words[: limit - 1] + "…"


def ticks(lo: float, hi: float, wanted: int = 4) -> list[float]:
    """Return round values within [lo, hi], about as many as wanted.

    >>> ticks(0, 1), ticks(0.0, 0.37)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.1, 0.2, 0.3])
    """
    if not hi > lo:
        return [lo]
    raw = (hi - lo) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 2.5, 5, 10)), key=lambda size: abs(size - raw))
    first, last = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def step_ticks(count: int, wanted: int = 8) -> list[int]:
    """Return whole time steps 1 … count to label, the last one always among them.

    >>> step_ticks(16), step_ticks(3), step_ticks(68)
    ([2, 4, 6, 8, 10, 12, 14, 16], [1, 2, 3], [10, 20, 30, 40, 50, 60, 68])
    """
    stride = next((size for size in (1, 2, 5, 10, 20, 50, 100) if count / size <= wanted), math.ceil(count / wanted))
    # A round step too near the last one would print over it.
    rounds = [step for step in range(stride, count, stride) if count - step > stride / 2]
    return [*rounds, count]
