"""Figure 3 drawn: potentials as a heat map and spikes as a raster, a row of two panels per clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroemo.training import figure_style as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW = 7.4, 3.5


def draw_figure3(document: dict[str, Any]) -> Figure:
    """Return the figure of a document of ``figure3_document``; all clips share one scale of potentials."""
    examples = document["examples"]
    with look.style():
        from matplotlib.colors import Normalize

        height = ROW * len(examples) + 0.35
        figure = look.new_figure(WIDTH, height)
        values = np.array([one["potentials"] for one in examples])
        low, high = (float(np.quantile(values, share)) for share in (0.01, 0.99))
        norm = Normalize(min(low, 0.0), max(high, document["threshold"] * 1.25))
        for row, one in enumerate(examples):
            top = 1 - (row * ROW + 0.62) / height
            box = {"bottom": top - 1.85 / height, "height": 1.85 / height}
            left = figure.add_axes((0.1, box["bottom"], 0.355, box["height"]))
            right = figure.add_axes((0.63, box["bottom"], 0.355, box["height"]))
            bar = figure.add_axes((0.465, box["bottom"], 0.012, box["height"]))
            _potentials(left, bar, one, document, norm)
            _spikes(right, one, document)
            for axes, letter, words in (
                (left, 2 * row, "membrane potentials, before reset"),
                (right, 2 * row + 1, "spike trains"),
            ):
                axes.set_title(f"({chr(ord('a') + letter)}) {words}", pad=5)
            figure.text(0.1, top + 0.36 / height, _headline(one), fontsize=9, fontweight="bold", va="center")
            _rates(figure, right, one, document["classes"])
            caption = f"Below the spike trains: mean firing rate of each group.\nChosen: {one['reason']}."
            figure.text(0.1, box["bottom"] - 0.78 / height, caption, fontsize=7.5, color=look.SOFT, va="center")
    return figure


def _headline(one: dict[str, Any]) -> str:
    verdict = "right" if one["correct"] else "wrong"
    tie = ", by a tie" if one["tied"] else ""
    name = one["clip"] if len(one["clip"]) <= 40 else "…" + one["clip"][-39:]
    text = f"{name}: label {one['label']}, answer {one['answer']} ({verdict}{tie})"
    return text.replace("$", r"\$")


def _potentials(axes: Axes, bar: Axes, one: dict[str, Any], document: dict[str, Any], norm: Any) -> None:
    values = np.array(one["potentials"])
    neurons, steps = values.shape
    picture = axes.pcolormesh(
        np.arange(steps + 1) + 0.5, np.arange(neurons + 1) - 0.5, values, cmap="cividis", norm=norm, edgecolors="face",
        linewidth=0.1,
    )  # fmt: skip
    _neuron_axes(axes, neurons, steps, document)
    scale = axes.figure.colorbar(picture, cax=bar, extend="both", extendfrac=0.03)
    threshold = document["threshold"]
    ticks = [value for value in (norm.vmin, 0.0, norm.vmax) if abs(value - threshold) > 0.12 * (norm.vmax - norm.vmin)]
    ticks = [tick for tick in ticks if tick == 0 or abs(tick) > 0.12 * (norm.vmax - norm.vmin)]
    scale.set_ticks(
        [*ticks, threshold], labels=[*(f"{tick:.2g}".replace("-", "−") for tick in ticks), f"{threshold:g}\nthreshold"]
    )
    bar.axhline(threshold, color="white", linewidth=1.2)
    bar.spines["outline"].set_visible(False)
    bar.tick_params(length=2, labelsize=7, pad=2)


def _spikes(axes: Axes, one: dict[str, Any], document: dict[str, Any]) -> None:
    spikes = np.array(one["spikes"])
    neurons, steps = spikes.shape
    for group in range(len(document["classes"])):
        first = group * document["voting"]
        trains = [np.flatnonzero(train) + 1 for train in spikes[first : first + document["voting"]]]
        colour = look.GROUPS[group % len(look.GROUPS)]
        places = [float(first + place) for place in range(len(trains))]
        axes.eventplot(trains, lineoffsets=places, linelengths=0.75, linewidths=max(0.8, 90 / steps / 2), colors=colour)
    axes.set_xlim(0.5, steps + 0.5)
    axes.set_ylim(-0.5, neurons - 0.5)
    _neuron_axes(axes, neurons, steps, document)


def _neuron_axes(axes: Axes, neurons: int, steps: int, document: dict[str, Any]) -> None:
    """Label the groups of voting neurons, separate them, and mark the steps."""
    size, classes = document["voting"], document["classes"]
    for group, name in enumerate(classes):
        if group:
            axes.axhline(group * size - 0.5, color=look.SOFT, linewidth=0.8)
        words = name if len(name) <= 12 else name[:11] + "…"
        axes.text(
            -0.13, (group + 0.5) * size - 0.5, words.replace("$", r"\$"), transform=axes.get_yaxis_transform(),
            rotation=90, ha="center", va="center", color=look.GROUPS[group % len(look.GROUPS)], fontsize=8,
            fontweight="bold",
        )  # fmt: skip
    parts = (0, size // 2) if size >= 6 else (0,)
    axes.set_yticks(sorted({neurons - 1, *(group * size + part for group in range(len(classes)) for part in parts)}))
    axes.set_xticks(look.step_ticks(steps))
    axes.set_xlabel("simulating step", labelpad=2)
    axes.tick_params(length=2, labelsize=7.5)


def _rates(figure: Figure, axes: Axes, one: dict[str, Any], classes: list[str]) -> None:
    """Print the firing rate of each group below the raster, as the paper's text gives them."""
    box = axes.get_position()
    height = figure.get_size_inches()[1]
    shown = classes[:4]
    for place, name in enumerate(shown):
        words = f"{name[:14]} {one['rates'][name]:.4f}".replace("$", r"\$")
        figure.text(
            box.x0 + (place + 0.5) * box.width / len(shown), box.y0 - 0.5 / height, words, ha="center", va="center",
            color=look.GROUPS[place % len(look.GROUPS)], fontsize=8.5,
            fontweight="bold" if name == one["answer"] else "normal",
        )  # fmt: skip
