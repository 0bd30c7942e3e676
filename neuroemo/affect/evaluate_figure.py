"""An evaluation drawn: truth and prediction over time for three clips, and all frames of both outputs in a scatter.

The clips are those with the lowest, the median and the highest RMSE (mean square over both outputs) of those with at
least two labelled frames, so that the figure does not flatter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hw_targets.graph import Array
from neuroemo.affect.evaluate import AffectEvaluation
from neuroemo.affect.evaluate_text import number
from neuroemo.affect.inputs import FrameStore
from neuroemo.models.affect.spec import OUTPUTS
from neuroemo.training import figure_style as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (look.BLUE, look.ORANGE)
DOTS = 4000
"""At most so many frames are drawn as dots, evenly chosen."""
NAME = 34


def draw_evaluation(evaluation: AffectEvaluation, data: FrameStore) -> Figure:
    """Return the figure of an evaluation."""
    chosen = shown_clips(data.clip[evaluation.frames], evaluation.truth, evaluation.predicted)
    rows = 2 if chosen else 1
    with look.style():
        figure = look.new_figure(9.6, 2.9 * rows)
        grid = figure.add_gridspec(rows, 6)
        for place, (clip, words) in enumerate(chosen):
            _course(
                figure.add_subplot(grid[0, 2 * place : 2 * place + 2]), evaluation, data, clip, words, first=not place
            )
        for column in range(len(OUTPUTS)):
            _scatter(figure.add_subplot(grid[rows - 1, 3 * column : 3 * column + 3]), evaluation, column)
        figure.tight_layout(w_pad=1.5, h_pad=1.8)
    return figure


def shown_clips(clips: Array, truth: Array, predicted: Array) -> list[tuple[int, str]]:
    """Return up to three clips, by rising RMSE, with words for what they are.

    >>> truth = np.zeros((6, 2))
    >>> said = np.repeat([[0.2], [0.0], [0.1]], 2, axis=0) * np.ones((1, 2))
    >>> shown_clips(np.array([7, 7, 8, 8, 9, 9]), truth, said)
    [(8, 'lowest RMSE'), (9, 'median RMSE'), (7, 'highest RMSE')]
    """
    errors = np.square(predicted - truth, dtype=np.float64)
    known = np.isfinite(errors).all(axis=1)
    ranked = []
    for clip in np.unique(clips[known]).tolist():
        here = errors[known & (clips == clip)]
        if len(here) >= 2:
            ranked.append((float(here.mean()), clip))
    ranked.sort()
    if not ranked:
        return []
    places = {0: "lowest RMSE", len(ranked) - 1: "highest RMSE"}
    places |= {(len(ranked) - 1) // 2: "median RMSE"} if len(ranked) > 2 else {}
    return [
        (ranked[place][1], words if len(ranked) > 1 else "the only clip") for place, words in sorted(places.items())
    ]


def _course(axes: Axes, evaluation: AffectEvaluation, data: FrameStore, clip: int, words: str, *, first: bool) -> None:
    here = data.clip[evaluation.frames] == clip
    seconds = data.times_us[evaluation.frames[here]] / 1e6
    for column, output in enumerate(OUTPUTS):
        axes.plot(seconds, evaluation.truth[here, column], color=COLOURS[column], linewidth=1.0, alpha=0.55)
        axes.plot(
            seconds, evaluation.predicted[here, column], color=COLOURS[column], linewidth=1.6, linestyle=(0, (3, 1.5))
        )
        if first:
            axes.plot([], [], color=COLOURS[column], linewidth=1.6, label=output)
    name = data.clip_names[clip]
    axes.set_title(f"{words}\n{name if len(name) <= NAME else '…' + name[1 - NAME :]}")
    axes.set_ylim(-1.05, 1.05)
    axes.set_xlabel("time (s)")
    axes.grid(axis="y")
    if first:
        axes.plot([], [], color=look.SOFT, linewidth=1.0, label="truth")
        axes.plot([], [], color=look.SOFT, linewidth=1.6, linestyle=(0, (3, 1.5)), label="network")
        axes.legend(loc="best", ncols=2, fontsize=7, handlelength=1.6, labelspacing=0.2, columnspacing=0.8)


def _scatter(axes: Axes, evaluation: AffectEvaluation, column: int) -> None:
    output, told = OUTPUTS[column], evaluation.document["outputs"][OUTPUTS[column]]
    known = np.flatnonzero(np.isfinite(evaluation.truth[:, column]))
    kept = known[np.unique(np.linspace(0, len(known) - 1, min(DOTS, len(known))).round().astype(int))]
    truth, said = evaluation.truth[kept, column], evaluation.predicted[kept, column]
    axes.scatter(truth, said, s=3, color=COLOURS[column], alpha=0.25, linewidths=0, rasterized=True)
    axes.plot([-1, 1], [-1, 1], color=look.SOFT, linewidth=0.8)
    value = told["constant"]["value"]
    axes.axhline(value, color=look.SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(1.05, value, "constant", color=look.SOFT, fontsize=7, va="bottom", ha="right")
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-1.05, 1.05)
    axes.set_aspect("equal")
    axes.set_xlabel(f"true {output}")
    axes.set_ylabel("network")
    against = f"RMSE {told['rmse']:.3f} (constant {told['constant']['rmse']:.3f})"
    axes.set_title(f"{output}: {against}\nPCC {number(told['pcc'])}, CCC {number(told['ccc'])}")
