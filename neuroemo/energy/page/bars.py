"""Bars of the energy page: SNN against ANN, cut by part or by layer, on one scale from zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from export.page import svg
from export.page.letters import fitted, width
from export.page.svg import Scale
from neuroemo.energy.page.words import ONE_PASS, energy, interval

WIDTH = 440.0
SIDES = (("snn", "SNN"), ("ann", "ANN"))
MISSING = {"SNN": "no interval", "ANN": ONE_PASS}
SHADES = 16
"""Colours there are for parts; beyond them colours repeat, and the order of the table tells parts apart."""


def part_colours(scenarios: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give every part of every scenario its class: switching keeps colours, and no scenario has one twice if it can.

    >>> cuts = [{"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0}]
    >>> part_colours([{"snn": {"parts_pj": cut}, "ann": None} for cut in cuts])
    {'a': 'p0', 'b': 'p1', 'c': 'p1'}
    """
    together = [
        list(dict.fromkeys(part for side, _ in SIDES if scenario[side] for part in scenario[side]["parts_pj"]))
        for scenario in scenarios
    ]
    chosen: dict[str, int] = {}
    for part in dict.fromkeys(part for parts in together for part in parts):
        taken = {chosen.get(other) for parts in together if part in parts for other in parts}
        free = (shade for shade in range(SHADES) if shade not in taken)
        chosen[part] = next(free, len(chosen) % SHADES)
    return {part: f"p{shade}" for part, shade in chosen.items()}


def largest(scenario: Mapping[str, Any]) -> float:
    """Return the larger of the totals: its unit serves all energies of a scenario, in pJ."""
    return max(scenario[side]["total_pj"] for side, _ in SIDES if scenario[side])


def part_bars(scenario: Mapping[str, Any], colours: Mapping[str, str]) -> str:
    """Draw the total of each network, cut into parts, with the 95 % interval of its mean as a whisker."""
    shown = [(name, scenario[side]) for side, name in SIDES if scenario[side]]
    top = largest(scenario)
    ends = [value for _, side in shown for value in (side["total_pj"], side["high_pj"]) if value is not None]
    scale = Scale(0, max(ends) * 1.01 or 1.0, 0, WIDTH)
    parts: list[str] = []
    y = 0.0
    for name, side in shown:
        parts.append(svg.text(0, y + 13, name, "strong"))
        total = energy(side["total_pj"], top)
        parts.append(svg.text(38, y + 13, total, "row-value"))
        bounds = interval(side["low_pj"], side["high_pj"], lambda value: energy(value, top), missing=MISSING[name])
        parts.append(svg.text(46 + width(total, 12.5, bold=True), y + 13, bounds, "tick"))
        parts += _stack(name, side["parts_pj"], colours, scale, y + 21, top)
        parts += _whisker(side, scale, y + 34)
        y += 62
    parts.append(svg.line(0, 18, 0, y - 10, "axis"))
    spoken = "; ".join(
        f"{name} {energy(side['total_pj'], top)}, "
        + ", ".join(f"{part} {energy(value, top)}" for part, value in side["parts_pj"].items())
        for name, side in shown
    )
    return svg.drawing(WIDTH, y - 6, f"Energy per clip by part. {spoken}", parts)


def _stack(
    name: str, parts: Mapping[str, float], colours: Mapping[str, str], scale: Scale, y: float, top: float
) -> list[str]:
    drawn, start = [], 0.0
    for part, value in parts.items():
        if value > 0:
            left, right = scale(start), scale(start + value)
            title = f"{name}, {part}: {energy(value, top)}"
            drawn.append(svg.rect(left, y, max(right - left, 0.6), 26, f"piece {colours[part]}", title=title))
        start += value
    return drawn


def _whisker(side: Mapping[str, Any], scale: Scale, y: float) -> list[str]:
    low, high = side["low_pj"], side["high_pj"]
    if low is None or high is None or high <= low:
        return []
    left, right = scale(max(low, 0.0)), scale(high)
    ends = [svg.line(x, y - 6, x, y + 6, "whisker") for x in (left, right)]
    halo = svg.line(left, y, right, y, "whisker-halo")
    return [halo, svg.line(left, y, right, y, "whisker"), *ends]


def layer_bars(scenario: Mapping[str, Any]) -> str:
    """Draw the energy of every layer of both networks, input side on top; layers of one name stand together."""
    shown = [(css, name, layer_sums(scenario[css])) for css, name in SIDES if scenario[css]]
    names = list(dict.fromkeys(layer for _, _, sums in shown for layer in sums))
    top = largest(scenario)
    most = max((value for _, _, sums in shown for value in sums.values()), default=0.0)
    room = 74.0
    scale = Scale(0, most * 1.01 or 1.0, 34, WIDTH - room)
    parts: list[str] = []
    y = 0.0
    for layer in names:
        parts.append(svg.text(0, y + 12, fitted(layer, WIDTH, 12.5, bold=True), "strong"))
        y += 18
        for css, name, sums in shown:
            if layer not in sums:
                continue
            value = sums[layer]
            parts.append(svg.text(28, y + 10, name, "tick", "end"))
            parts.append(svg.text(WIDTH, y + 10, energy(value, top), "tick", "end"))
            if value > 0:
                title = f"{layer}, {name}: {energy(value, top)}"
                parts.append(svg.rect(34, y + 1, max(scale(value) - 34, 0.6), 10, f"f-{css}", title=title))
            y += 14
        y += 8
    spoken = "; ".join(
        f"{layer}: " + ", ".join(f"{name} {energy(sums[layer], top)}" for _, name, sums in shown if layer in sums)
        for layer in names
    )
    return svg.drawing(WIDTH, max(y - 4, 10), f"Energy per clip by layer. {spoken}", parts)


def layer_sums(side: Mapping[str, Any]) -> dict[str, float]:
    """Return the energy of every layer over all its parts, in pJ."""
    return {name: sum(parts.values()) for name, parts in side["layers_pj"].items()}
