"""Figure 2 drawn: accuracy above loss in every panel, with the interval of the accuracy and the lowest loss marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuroemo.training import figure_style as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4


def draw_figure2(document: dict[str, Any]) -> Figure:
    """Return the figure of ``figure2_document`` or ``document_of_models``; all panels share their axes."""
    with look.style():
        panels, steps = document["panels"], document["steps"]
        columns = min(COLUMNS, len(panels))
        rows = -(-len(panels) // columns)
        width = 0.85 + 2.3 * columns
        figure = look.new_figure(max(width, 3.6), 0.75 + 3.55 * rows)
        grid = figure.add_gridspec(
            3 * rows,
            columns,
            height_ratios=[3, 2, 0.55] * rows,
            left=0.74 / max(width, 3.6),
            right=1 - 0.12 / max(width, 3.6),
            top=1 - 0.5 / (0.75 + 3.55 * rows),
            bottom=0.02,
            hspace=0.14,
            wspace=0.1,
        )
        span = _loss_span(panels)
        for place, panel in enumerate(panels):
            row, column = divmod(place, columns)
            above = figure.add_subplot(grid[3 * row, column])
            below = figure.add_subplot(grid[3 * row + 1, column], sharex=above)
            _accuracy(above, panel, steps, document["largest_class"], first=place == 0)
            _loss(below, panel, steps, span)
            for axes in (above, below):
                axes.tick_params(labelleft=column == 0)
            if column == 0:
                above.set_ylabel("accuracy")
                below.set_ylabel("loss")
                figure.align_ylabels([above, below])
    return figure


def _loss_span(panels: list[dict[str, Any]]) -> tuple[float, float]:
    values = [value for panel in panels for value in panel["loss"]]
    low, high = min(values), max(values)
    room = 0.12 * (high - low) or 0.05 * high or 0.01
    return max(0.0, low - room), high + room


def _accuracy(axes: Axes, panel: dict[str, Any], steps: list[int], chance: float | None, *, first: bool) -> None:
    low, high = zip(*panel["interval_95"], strict=True)
    axes.set_title(_title(panel), pad=7, linespacing=1.25)
    axes.fill_between(steps, low, high, color=look.BLUE, alpha=0.17, linewidth=0, label="95 % interval")
    if chance is not None:
        axes.axhline(chance, color=look.SOFT, linewidth=0.9, linestyle=(0, (4, 3)), label="largest class")
    axes.plot(steps, panel["accuracy"], color=look.BLUE, linewidth=1.6)
    axes.annotate(
        f"{100 * panel['accuracy'][-1]:.1f} %",
        (steps[-1], panel["accuracy"][-1]),
        xytext=(-1, -9 if panel["accuracy"][-1] > 0.9 else 6),
        textcoords="offset points",
        ha="right",
        va="top" if panel["accuracy"][-1] > 0.9 else "bottom",
        color=look.BLUE,
        fontweight="bold",
        fontsize=8.5,
    )
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.tick_params(labelbottom=False)
    axes.grid(axis="y")
    if first:
        axes.legend(loc="lower left", borderpad=0.1, handlelength=1.6, labelspacing=0.3)


def _loss(axes: Axes, panel: dict[str, Any], steps: list[int], span: tuple[float, float]) -> None:
    best = panel["lowest_loss"]
    axes.plot(steps, panel["loss"], color=look.ORANGE, linewidth=1.6)
    axes.set_ylim(*span)
    axes.set_xlim(steps[0] - 0.02 * len(steps), steps[-1] + 0.02 * len(steps))
    axes.set_xticks(look.step_ticks(len(steps)))
    axes.set_xlabel("simulating step")
    axes.grid(axis="y")
    if min(panel["loss"]) == max(panel["loss"]):
        words, step = f"{best['loss']:.3f} at every step", steps[len(steps) // 2]
    else:
        words, step = f"lowest {best['loss']:.3f}\nat step {best['step']}", best["step"]
        axes.plot([step], [best["loss"]], marker="o", markersize=5, color="white", markeredgecolor=look.ORANGE, mew=1.6)
    share = (best["loss"] - span[0]) / (span[1] - span[0])
    place = (step - steps[0]) / max(1, steps[-1] - steps[0])
    side = "left" if place < 0.25 else "right" if place > 0.75 else "center"
    axes.annotate(
        words,
        (step, best["loss"]),
        xytext=(0, -8 if share > 0.5 else 9),
        textcoords="offset points",
        ha=side,
        va="top" if share > 0.5 else "bottom",
        color=look.ORANGE,
        fontsize=8,
        linespacing=1.15,
    )


def _title(panel: dict[str, Any]) -> str:
    r"""Return the panel's letter and title on two lines, broken at the comma.

    >>> _title({"panel": "c", "title": "After training, pure spike trains", "network": "puresnn"})
    '(c) After training,\n     pure spike trains'
    """
    head, comma, rest = panel["title"].partition(", ")
    text = f"({panel['panel']}) {head}".replace("$", r"\$")
    return f"{text}{comma.strip()}\n     {rest}" if rest else text
