"""The charts of an export: one pure function per figure, from entries of a completed report to an SVG string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.page import svg
from export.page.charts import LEFT, RIGHT, Axes, Series, curves, frame, padded
from export.page.letters import fitted, width
from export.page.svg import Scale
from export.page.words import agreement, count, number, percent, plural

WIDTH = 360.0
LABEL, VALUE = 80.0, 62.0
"""Room left of the bars for their names, and right of them for their values."""

WORLDS = (
    ("captured", "captured"),
    ("folded", "folded"),
    ("chip", "chip"),
    ("free", "end to end"),
)
RATES = (("rate_float", "model", "model"), ("rate_chip", "chip", "chip"))


def disagreement_bars(layers: Sequence[dict[str, Any]]) -> str:
    """Share of spikes that differ from the model's, per layer, in the four comparisons; the axis starts at zero."""
    groups = []
    for layer in layers:
        shares = [(css, name, agreement(layer, css)) for css, name in WORLDS]
        groups.append((layer["name"], [(css, name, None if same is None else 1 - same) for css, name, same in shares]))
    return _grouped_bars(groups, "Spikes that differ from the model's", digits=2)


def rate_bars(layers: Sequence[dict[str, Any]]) -> str:
    """Firing rates of every layer: spikes per neuron and step, of the model and of the chip running free."""
    groups = [
        (layer["name"], [(css, name, (layer["verify"] or {}).get(key)) for key, css, name in RATES]) for layer in layers
    ]
    return _grouped_bars(groups, "Firing rate, spikes per neuron and step", digits=2)


def _grouped_bars(groups: Sequence[tuple[str, list[tuple[str, str, float | None]]]], title: str, digits: int) -> str:
    """Draw named bars under each group's name, all on one scale from zero."""
    values = [value for _, bars in groups for _, _, value in bars if value is not None]
    scale = Scale(0, max([*values, 1e-6]) * 1.02, LABEL, WIDTH - VALUE)
    parts: list[str] = []
    y = 4.0
    for name, bars in groups:
        parts.append(svg.text(0, y + 11, fitted(name, WIDTH, 12.5, bold=True), "strong"))
        y += 18
        parts.append(svg.line(LABEL, y - 1, LABEL, y - 1 + 14 * len(bars), "axis"))
        for css, label, value in bars:
            parts.append(svg.text(LABEL - 6, y + 9, label, "tick", "end"))
            parts.append(svg.text(WIDTH, y + 9, percent(value, digits), "tick", "end"))
            if value:
                title_of_bar = f"{name}, {label}: {percent(value, digits)}"
                parts.append(svg.rect(LABEL, y + 1, max(scale(value) - LABEL, 0.6), 9, f"f-{css}", title=title_of_bar))
            y += 14
        y += 10
    spoken = "; ".join(
        f"{name}: " + ", ".join(f"{label} {percent(v, digits)}" for _, label, v in bars) for name, bars in groups
    )
    return svg.drawing(WIDTH, max(y - 6, 10), f"{title}. {spoken}", parts)


def histogram(layer: dict[str, Any]) -> str:
    """Weights of one layer before (float, bars) and after (integers scaled back, outline), in the same bins."""
    data = layer["histogram"]
    edges, before, after = data["edges"], data["before"], data["after"]
    top = max([*before, *after]) or 1
    axes = Axes(300, 24, 96, (edges[0], edges[-1]), (0, 1.06 * top), "weight, float units", "weights per bin")
    parts = frame(axes, svg.ticks(edges[0], edges[-1], 4))
    floor = axes.y(0)
    for low, high, amount in zip(edges, edges[1:], before, strict=False):
        left, right = axes.x(low), axes.x(high)
        words = f"{number(low)} to {number(high)}: {count(amount)} before"
        parts.append(svg.rect(left, axes.y(amount), right - left, floor - axes.y(amount), "f-before", title=words))
    outline = [(axes.x(edges[0]), floor)]
    for low, high, amount in zip(edges, edges[1:], after, strict=False):
        outline += [(axes.x(low), axes.y(amount)), (axes.x(high), axes.y(amount))]
    outline.append((axes.x(edges[-1]), floor))
    parts.append(svg.path(outline, "curve s-chip"))
    moved = sum(abs(a - b) for a, b in zip(before, after, strict=True)) / 2
    label = (
        f"Weights of {layer['name']}: {count(sum(before))} in {plural(len(before), 'bin')} from {number(edges[0])} to "
        f"{number(edges[-1])}; after quantisation {count(moved)} of them stand in another bin"
    )
    return svg.drawing(300, 156, label, parts, "figure small")


def trace_figure(trace: dict[str, Any]) -> str:
    """Membrane potential of one neuron in the three worlds, its threshold, and its spikes above."""
    shown = [(name, trace[name]) for name in ("model", "folded", "chip") if trace[name] is not None]
    spikes = [(name, trace[f"spikes_{name}"]) for name in ("model", "chip") if trace[f"spikes_{name}"] is not None]
    steps = max([len(values) for _, values in [*shown, *spikes]] or [1])
    span = padded([*(value for _, values in shown for value in values), trace["threshold"], 0.0])
    axes = Axes(WIDTH, 58, 116, (1, max(steps, 2)), span, "time step", "membrane potential, float units")
    parts = _differing_steps(trace, axes)
    parts += frame(axes, svg.step_ticks(steps))
    y = axes.y(trace["threshold"])
    parts.append(svg.line(LEFT, y, WIDTH - RIGHT, y, "threshold"))
    words = f"threshold {number(trace['threshold'])}"
    parts.append(svg.text(WIDTH - RIGHT, axes.top - 9, words, "tick strong", "end"))
    dots = WIDTH - RIGHT - width(words, 11, bold=True) - 6
    parts.append(svg.line(dots - 18, axes.top - 13, dots, axes.top - 13, "threshold"))
    series = [
        Series(name, name, [(step + 1, value) for step, value in enumerate(values)], name == "folded")
        for name, values in shown
    ]
    parts += curves(axes, series)
    for index, (name, fired) in enumerate(spikes):
        parts += _spike_row(name, fired, axes, 4 + 16.0 * index)
    return svg.drawing(WIDTH, 212, _spoken_trace(trace, steps, spikes), parts)


def differing(trace: dict[str, Any]) -> int | None:
    """Return at how many steps model and chip do not do the same, None where one of them was not recorded."""
    ours, theirs = trace["spikes_chip"], trace["spikes_model"]
    return None if ours is None or theirs is None else sum(a != b for a, b in zip(ours, theirs, strict=True))


def _differing_steps(trace: dict[str, Any], axes: Axes) -> list[str]:
    if not differing(trace):
        return []
    half = min(7.0, (axes.x(2) - axes.x(1)) / 2)
    parts = []
    for step, (ours, theirs) in enumerate(zip(trace["spikes_model"], trace["spikes_chip"], strict=True), start=1):
        left, right = max(axes.x(step) - half, LEFT), min(axes.x(step) + half, WIDTH - RIGHT)
        if ours != theirs:
            title = f"step {step}: the spikes differ"
            parts.append(svg.rect(left, 2, right - left, axes.top + axes.height - 2, "differs", title=title))
    return parts


def _spike_row(name: str, fired: Sequence[int], axes: Axes, top: float) -> list[str]:
    parts = [
        svg.text(LEFT - 6, top + 10, name, "tick", "end"),
        svg.line(LEFT, top + 12, axes.width - RIGHT, top + 12, "grid"),
    ]
    half = max(0.6, min(1.6, (axes.x(2) - axes.x(1)) / 4))
    return parts + [
        svg.rect(axes.x(step) - half, top, 2 * half, 12, f"f-{name}", title=f"{name} fires at step {step}")
        for step, spike in enumerate(fired, start=1)
        if spike
    ]


def _spoken_trace(trace: dict[str, Any], steps: int, spikes: Sequence[tuple[str, Sequence[int]]]) -> str:
    fired = ", ".join(f"{name} fires {plural(sum(values), 'time')}" for name, values in spikes)
    apart = differing(trace)
    tail = "" if apart is None else f"; they differ at {plural(apart, 'step')}"
    subject = f"Membrane potential of a neuron of {trace['layer']} over {plural(steps, 'step')}"
    return f"{subject}: {fired or 'no spikes recorded'}{tail}"
