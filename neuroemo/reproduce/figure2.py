"""Figure 2 of the paper: accuracy and loss on the test clips along the steps, before, during and after training.

(a) before, (b) during, (c) after training with pure spike trains, (d) after training with a gray first frame. After t
steps the answer is the group with the most spikes so far, and the loss the mean squared distance of the groups' rates
from the one-hot label, as in training.
"""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroemo.console import Console
from neuroemo.deployment.options import positive
from neuroemo.reproduce.figure_options import (
    OUT,
    Recipe,
    add_common,
    chosen_data,
    chosen_recipe,
    refuse_training_options,
)

if TYPE_CHECKING:
    from neuroemo.reproduce.figure_data import FigureData

MODELS = "draw trained networks of yours instead, one panel each, on the data they were trained on or --data"


@dataclass(frozen=True, slots=True)
class Figure2Settings:
    """What to draw. ``during`` is the epoch that panel (b) shows; ``data`` None means faces at 48 pixels."""

    out: Path = OUT
    data: FigureData | None = None
    recipe: Recipe = field(default_factory=Recipe)
    during: int = 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo reproduce figure2`."""
    add_common(parser, MODELS, several=True)
    parser.add_argument("--during", type=positive, metavar="EPOCH", help="epoch of panel (b) (default 1)")


def run(args: Namespace, console: Console) -> int:
    """Train what is not trained yet, draw Figure 2, and show its numbers."""
    from neuroemo.reproduce.figure2_document import document_of_models, figure2_document, figure2_text, write_figure2

    if args.model is not None:
        refuse_training_options(args, "during")
        document = document_of_models(args.model, None if args.data is None else Path(args.data), console.progress)
    else:
        settings = Figure2Settings(args.output, chosen_data(args), chosen_recipe(args), args.during or 1)
        document = figure2_document(settings, console.progress)
    written = write_figure2(document, args.output)
    told: dict[str, Any] = {"ok": True, "exit_code": 0} | document | {"written": [str(path) for path in written]}
    console.show(told, f"{figure2_text(document)}\nlook at {', '.join(str(path) for path in written)}")
    return 0
