"""Which constant flips the verdict: the ratio with each constant halved and doubled, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from export.page import svg
from export.page.letters import fitted
from export.page.svg import Scale
from neuroemo.energy.page.words import factor

WIDTH = 480.0
ROOM = 112.0
"""Right of the bars, for what flips the verdict."""


def tornado(scenario: Mapping[str, Any], names: Mapping[str, str]) -> str | None:
    """Draw one bar per constant from its halved to its doubled ratio, closest to a flip on top; None without rows."""
    rows = [row for row in scenario["sensitivity"] if _positive(row["halved"]) and _positive(row["doubled"])]
    ratio = scenario["ratio"]
    if not rows or not _positive(ratio):
        return None
    values = [value for row in rows for value in (row["halved"], row["doubled"])] + [1.0, ratio]
    low, high = math.log10(min(values)), math.log10(max(values))
    air = max(0.06 * (high - low), 0.03)
    scale = Scale(low - air, high + air, 10, WIDTH - ROOM)
    bottom = 26 + 44.0 * len(rows)
    parts = [svg.text(0, 12, "ratio of energies, ANN over SNN", "axis-title")]
    for value in _log_ticks(low - air, high + air):
        x = scale(math.log10(value))
        parts.append(svg.line(x, 20, x, bottom, "grid"))
        parts.append(svg.text(x, bottom + 16, f"{value:g}", "tick", "middle"))
    for value, css in ((1.0, "equal"), (ratio, "now")):
        x = scale(math.log10(value))
        parts.append(svg.line(x, 18, x, bottom, css))
    for index, row in enumerate(rows):
        parts += _row(row, names.get(row["constant"], row["constant"]), scale, 26 + 44.0 * index)
    parts.append(_ends(scale, bottom))
    label = "Ratio of energies with each constant halved and doubled. " + "; ".join(
        f"{names.get(row['constant'], row['constant'])}: {factor(row['halved'])} to {factor(row['doubled'])}, "
        + flip_words(row)
        for row in rows
    )
    return svg.drawing(WIDTH, bottom + 36, label, parts)


def flip_words(row: Mapping[str, Any]) -> str:
    """Say at which factor the constant flips the verdict.

    >>> flip_words({"flips_at": 0.8}).replace(chr(160), " "), flip_words({"flips_at": None})
    ('flips at 0.800 ×', 'never within 1/100 to 100')
    """
    at = row["flips_at"]
    return "never within 1/100 to 100" if at is None else f"flips at {factor(at)}"


def _positive(value: float | None) -> bool:
    return value is not None and value > 0


def _row(row: Mapping[str, Any], name: str, scale: Scale, y: float) -> list[str]:
    halved, doubled = (scale(math.log10(row[key])) for key in ("halved", "doubled"))
    left, right = min(halved, doubled), max(halved, doubled)
    title = f"{name}: {factor(row['halved'])} when halved, {factor(row['doubled'])} when doubled"
    return [
        svg.text(0, y + 12, fitted(name, WIDTH, 12.5), "halo"),
        svg.text(WIDTH, y + 29, flip_words(row), "strong", "end")
        if row["flips_at"] is not None
        else svg.text(WIDTH, y + 29, "never flips", "tick", "end"),
        svg.rect(left, y + 19, max(right - left, 2.0), 12, "swing", title=title),
        svg.circle(halved, y + 25, 4, "halved", f"halved: {factor(row['halved'])}"),
        svg.circle(doubled, y + 25, 4, "doubled", f"doubled: {factor(row['doubled'])}"),
    ]


def _ends(scale: Scale, bottom: float) -> str:
    one = scale(0.0)
    words = []
    if one - scale.start > 60:
        words.append(svg.text(one - 6, bottom + 32, "← ANN needs less", "tick", "end"))
    if scale.stop - one > 60:
        words.append(svg.text(one + 6, bottom + 32, "SNN needs less →", "tick"))
    return "".join(words)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return round values between 10^low and 10^high, at most about six.

    >>> _log_ticks(-0.1, 1.1), _log_ticks(-0.02, 0.1)
    ([1.0, 2.0, 5.0, 10.0], [1.0, 1.1, 1.2])
    """
    for leads in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        powers = range(math.floor(low), math.ceil(high) + 1)
        found = [lead * 10.0**power for power in powers for lead in leads if low <= math.log10(lead) + power <= high]
        if len(found) >= 3:
            stride = math.ceil(len(found) / 7)
            return [float(f"{value:.6g}") for value in found[::stride]]
    return svg.ticks(10**low, 10**high, 4)
