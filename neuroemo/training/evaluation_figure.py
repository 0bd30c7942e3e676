"""An evaluation drawn: the answer along the steps, the early exit, the confusion matrix, the subjects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from neuroemo.training import figure_style as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUBJECTS, NAME = 40, 14
"""At most so many subjects are drawn, the worst first, and so many letters of a name."""
WIDTH, HEIGHT = 3.3, 2.9


def draw_evaluation(told: dict[str, Any]) -> Figure:
    """Return the figure of an evaluation document; what a network does not have (steps, subjects) has no panel."""
    draws: list[Callable[[Axes, dict[str, Any]], None]] = []
    if told["early_decision"] is not None:
        draws += [_along_steps, _early_exit]
    draws.append(_confusion)
    if told["subjects"] is not None:
        draws.append(_subjects)
    columns = min(2, len(draws))
    rows = -(-len(draws) // columns)
    with look.style():
        figure = look.new_figure(WIDTH * columns, HEIGHT * rows)
        for place, draw in enumerate(draws):
            draw(figure.add_subplot(rows, columns, place + 1), told)
        figure.tight_layout(w_pad=2.0, h_pad=2.0)
    return figure


def _shares(axes: Axes, label: str) -> None:
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_ylabel(label)
    axes.grid(axis="y")


def _along_steps(axes: Axes, told: dict[str, Any]) -> None:
    steps = list(range(1, len(told["steps"]["accuracy"]) + 1))
    low, high = zip(*told["steps"]["interval_95"], strict=True)
    axes.set_title("Stopped at a step")
    axes.fill_between(steps, low, high, color=look.BLUE, alpha=0.17, linewidth=0)
    axes.plot(steps, told["steps"]["accuracy"], color=look.BLUE, linewidth=1.6, label="accuracy, 95 % interval")
    stands = told["early_decision"]["stable_from"]["share"]
    axes.step(steps, stands, where="post", color=look.ORANGE, linewidth=1.3, label="answer never changes again")
    axes.axhline(told["largest_class"], color=look.SOFT, linewidth=0.9, linestyle=(0, (4, 3)), label="largest class")
    axes.set_xticks(look.step_ticks(len(steps)))
    axes.set_xlabel("simulating step")
    _shares(axes, "share of clips")
    axes.legend(loc="lower right", borderpad=0.1, handlelength=1.6, labelspacing=0.3, fontsize=7.5)


def _early_exit(axes: Axes, told: dict[str, Any]) -> None:
    exits = told["early_decision"]["margin_exit"]
    steps = [one["mean_steps"] for one in exits]
    low, high = zip(*(one["interval_95"] for one in exits), strict=True)
    axes.set_title("Stopped at a lead")
    axes.fill_between(steps, low, high, color=look.GREEN, alpha=0.17, linewidth=0)
    axes.plot(steps, [one["accuracy"] for one in exits], color=look.GREEN, linewidth=1.4, marker="o", markersize=3)
    last = steps[-1]
    room = (len(told["steps"]["accuracy"]) + 1) / 6  # what a label takes, in steps
    inner = (place for place in (len(exits) // 4, len(exits) // 2) if room < steps[place] < last - 1.5 * room)
    for place in sorted({0, len(exits) - 1, *inner}):
        one = exits[place]
        above = one["accuracy"] < 0.85
        axes.annotate(
            f"> {one['margin']}",
            (one["mean_steps"], one["accuracy"]),
            xytext=(0, 7 if above else -7),
            textcoords="offset points",
            ha="left" if place == 0 else "right" if place == len(exits) - 1 else "center",
            va="bottom" if above else "top",
            color=look.GREEN,
            fontsize=7.5,
        )
    axes.set_xlim(0.5, len(told["steps"]["accuracy"]) + 0.5)
    axes.set_xticks(look.step_ticks(len(told["steps"]["accuracy"])))
    axes.set_xlabel("mean steps (at the dots: lead, spikes)")
    _shares(axes, "accuracy, 95 % interval")


def _confusion(axes: Axes, told: dict[str, Any]) -> None:
    names = [_short(name) for name in told["classes"]]
    counts = told["confusion"]
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.set_title("Answers")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    if len(names) <= 8:
        for row, answered in enumerate(counts):
            for column, count in enumerate(answered):
                share = shares[row][column]
                colour = "white" if share > 0.6 else look.INK
                axes.text(column, row, f"{count}\n{100 * share:.0f} %", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=0 if len(names) <= 3 else 45)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    axes.tick_params(length=0)


def _subjects(axes: Axes, told: dict[str, Any]) -> None:
    ordered = sorted(told["subjects"]["scores"].items(), key=lambda item: (item[1]["accuracy"], item[0]))
    drawn = ordered[:SUBJECTS]
    places = range(len(drawn))
    values = [one["accuracy"] for _, one in drawn]
    low = [max(0.0, one["accuracy"] - one["interval_95"][0]) for _, one in drawn]
    high = [max(0.0, one["interval_95"][1] - one["accuracy"]) for _, one in drawn]
    more = "" if len(drawn) == len(ordered) else f", the {len(drawn)} lowest of {len(ordered)}"
    axes.set_title(f"Subjects{more}")
    axes.errorbar(places, values, [low, high], fmt="o", color=look.BLUE, markersize=4, linewidth=1, capsize=2)
    axes.axhline(told["accuracy"], color=look.SOFT, linewidth=0.9, linestyle=(0, (4, 3)), label="all clips")
    labelled = list(places)[:: max(1, len(drawn) // 12)]
    axes.set_xticks(labelled, [_short(drawn[place][0]) for place in labelled], rotation=45 if len(drawn) > 6 else 0)
    axes.set_xlim(-0.6, len(drawn) - 0.4)
    _shares(axes, "accuracy, 95 % interval")
    axes.legend(loc="lower right", borderpad=0.1)


def _short(name: str) -> str:
    r"""Shorten a name for an axis; dollar signs are letters, not formulas.

    >>> _short("a very long name of somebody"), _short("$x$")
    ('a very long n…', '\\$x\\$')
    """
    text = name if len(name) <= NAME else name[: NAME - 1] + "…"
    return text.replace("$", r"\$")
