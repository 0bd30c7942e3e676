"""The drawn figures: what a layer looks like, and Figure 3, the voting neurons of one clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from export.page import svg
from export.page.svg import Scale
from neuroemo.report.words import number, rate

# Sixteen samples of cividis (Nuñez et al. 2018), which reads the same with and without colour vision.
CIVIDIS = (
    "#00224e", "#002f6c", "#1b3c6d", "#32486c", "#43546c", "#53606d", "#626c70", "#707975", "#7f8678", "#8e9478",
    "#9fa276", "#b0b070", "#c2bf67", "#d5ce5b", "#e9de4b", "#fee838",
)  # fmt: skip

MAP_LEFT, MAP_WIDTH, CELL = 76.0, 288.0, 9.0


def layer_picture(shape: Sequence[float], largest_side: float) -> str:
    """One layer drawn to scale: a sheet per channel, its area that of the map; or a dot per neuron of a dense layer."""
    label = f"layer of {number([int(size) for size in shape])} neurons"
    parts = _sheets(shape, largest_side) if len(shape) == 3 else _dots(int(shape[0]) if shape else 0)
    return svg.drawing(132, 96, label, parts, "layer-picture")


def _sheets(shape: Sequence[float], largest_side: float) -> list[str]:
    channels, height, width = (int(size) for size in shape)
    unit = 54.0 / max(largest_side, 1)
    w, h = max(width * unit, 2.0), max(height * unit, 2.0)
    shift = min(6.0, 36.0 / max(channels - 1, 1))
    # Each sheet is drawn; thousands would only thicken the last line.
    drawn = min(channels, 72)
    x, y = 66 - (w + shift * (drawn - 1)) / 2, 48 - (h - shift * (drawn - 1)) / 2
    return [svg.rect(x + shift * i, y - shift * i, w, h, "sheet") for i in reversed(range(drawn))]


def _dots(neurons: int) -> list[str]:
    drawn = min(neurons, 1024)
    rows = max(1, min(10, drawn)) if drawn <= 128 else 22
    pitch = 8.0 if drawn <= 128 else 4.0
    columns = -(-drawn // rows)
    pitch = min(pitch, 126 / max(columns, 1))
    x, y = 66 - pitch * (columns - 1) / 2, 48 - pitch * (rows - 1) / 2
    return [svg.circle(x + pitch * (i // rows), y + pitch * (i % rows), pitch * 0.36, "dot") for i in range(drawn)]


def voting_figure(vote: dict[str, Any], classes: Sequence[str], title: str) -> str:
    """Figure 3 of the paper for one clip: membrane before reset (heat map) above the spikes (raster).

    ``vote["membrane"]`` and ``vote["spikes"]`` are [steps][neurons]; neurons come in equal groups, one per class.
    """
    steps, neurons = len(vote["spikes"]), len(vote["spikes"][0])
    group = neurons // len(classes)
    height = neurons * CELL
    tops = (22.0, 22.0 + height + 34)
    parts = [svg.text(0, 11, "membrane potential before reset", "axis-title")]
    parts += _heat_map(vote, tops[0])
    parts += _colour_bar(vote, tops[0], height)
    parts.append(svg.text(0, tops[1] - 11, "spikes", "axis-title"))
    parts += _raster(vote["spikes"], tops[1], group)
    for top in tops:
        parts += _groups(classes, group, top)
    parts += _rates(vote, classes, group, tops[1])
    parts += _step_axis(steps, tops[1] + height)
    rates = ", ".join(f"{name} {rate(mean)}" for name, mean in zip(classes, vote["rates"], strict=True))
    label = (
        f"{title}: membrane potentials and spikes of {neurons} voting neurons over {steps} steps; "
        f"label {vote['label']}, predicted {vote['predicted']}; firing rates {rates}"
    )
    return svg.drawing(440, tops[1] + height + 36, label, parts)


def membrane_range(vote: dict[str, Any]) -> tuple[float, float]:
    """Return the lowest and the highest membrane potential of a clip."""
    values = [value for row in vote["membrane"] for value in row]
    return min(values), max(values)


def _level(value: float, low: float, high: float) -> int:
    share = (value - low) / (high - low) if high > low else 0.0
    return min(len(CIVIDIS) - 1, int(share * len(CIVIDIS)))


def _heat_map(vote: dict[str, Any], top: float) -> list[str]:
    low, high = membrane_range(vote)
    x = Scale(0, len(vote["membrane"]), MAP_LEFT, MAP_LEFT + MAP_WIDTH)
    parts = []
    for neuron in range(len(vote["membrane"][0])):
        levels = [_level(row[neuron], low, high) for row in vote["membrane"]]
        for start, stop, level in _runs(levels):
            # A hair of overlap hides the seams that antialiasing leaves between cells.
            parts.append(
                f'<rect x="{svg.fixed(x(start))}" y="{svg.fixed(top + neuron * CELL)}" '
                f'width="{svg.fixed(x(stop) - x(start) + 0.3)}" height="{svg.fixed(CELL + 0.3)}" '
                f'fill="{CIVIDIS[level]}"/>'
            )
    return parts


def _runs(levels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Join neighbours of one colour: (start, stop, level)."""
    start = 0
    for index in range(1, len(levels) + 1):
        if index == len(levels) or levels[index] != levels[start]:
            yield start, index, levels[start]
            start = index


def _colour_bar(vote: dict[str, Any], top: float, height: float) -> list[str]:
    low, high = membrane_range(vote)
    left, y = MAP_LEFT + MAP_WIDTH + 10, Scale(0, len(CIVIDIS), top + height, top)
    parts = [
        f'<rect x="{svg.fixed(left)}" y="{svg.fixed(y(i + 1))}" width="9" height="{svg.fixed(y(i) - y(i + 1) + 0.3)}" '
        f'fill="{colour}"/>'
        for i, colour in enumerate(CIVIDIS)
    ]
    parts.append(svg.text(left + 14, top + 9, number(float(f"{high:.3g}")), "tick"))
    parts.append(svg.text(left + 14, top + height, number(float(f"{low:.3g}")), "tick"))
    at = Scale(low, high, top + height, top)(vote["threshold"])
    if low <= vote["threshold"] <= high:
        parts.append(svg.line(left - 3, at, left + 12, at, "threshold"))
        # The words keep clear of the two ends of the bar.
        words = min(max(at + 4, top + 24), top + height - 16)
        parts.append(svg.text(left + 14, words, f"θ {number(vote['threshold'])}", "tick strong"))
    return parts


def _raster(spikes: Sequence[Sequence[int]], top: float, group: int) -> list[str]:
    steps, neurons = len(spikes), len(spikes[0])
    x = Scale(0, steps, MAP_LEFT, MAP_LEFT + MAP_WIDTH)
    cell = MAP_WIDTH / steps
    width = max(1.2, min(cell * 0.55, 7.0))
    parts = [
        svg.rect(
            MAP_LEFT,
            top + start * CELL,
            MAP_WIDTH,
            min(group, neurons - start) * CELL,
            "stripe" if start // group % 2 else "ground",
        )
        for start in range(0, neurons, group)
    ]
    for step, row in enumerate(spikes):
        parts += [
            svg.rect(
                x(step) + (cell - width) / 2,
                top + neuron * CELL + 1.2,
                width,
                CELL - 2.4,
                f"f-class{neuron // group % 2}",
            )
            for neuron, fired in enumerate(row)
            if fired
        ]
    return parts


def _groups(classes: Sequence[str], group: int, top: float) -> list[str]:
    parts = []
    for index, name in enumerate(classes):
        first, last = index * group, (index + 1) * group - 1
        y = top + (first + last + 1) / 2 * CELL
        parts.append(svg.text(0, y, svg.shortened(name, 9), "row-label"))
        parts.append(svg.text(0, y + 14, f"{first}–{last}", "tick"))
        x = MAP_LEFT - 5
        parts.append(svg.line(x, top + first * CELL + 2, x, top + (last + 1) * CELL - 2, f"bracket s-class{index % 2}"))
    return parts


def _rates(vote: dict[str, Any], classes: Sequence[str], group: int, top: float) -> list[str]:
    parts, x = [], MAP_LEFT + MAP_WIDTH + 10
    for index, (name, mean) in enumerate(zip(classes, vote["rates"], strict=True)):
        y = top + (index + 0.5) * group * CELL
        css = "row-value" if name == vote["predicted"] else "row-label"
        parts.append(svg.text(x, y, rate(mean), css))
        parts.append(svg.text(x, y + 14, "predicted" if name == vote["predicted"] else "rate", "tick"))
    return parts


def _step_axis(steps: int, bottom: float) -> list[str]:
    x = Scale(0, steps, MAP_LEFT, MAP_LEFT + MAP_WIDTH)
    parts = [svg.text(x(step - 0.5), bottom + 15, str(step), "tick", "middle") for step in svg.step_ticks(steps)]
    return [*parts, svg.text(MAP_LEFT + MAP_WIDTH, bottom + 31, "time step", "axis-title", "end")]
