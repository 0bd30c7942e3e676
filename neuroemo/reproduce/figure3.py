"""Figure 3 of the paper: membrane potentials and spike trains of the voting neurons, on a right and a wrong answer.

(a) potentials and (b) spikes of a clip that is answered rightly, (c) and (d) of one that is answered wrongly.
"""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroemo.console import Console
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

MODEL = "draw this trained network, on the data it was trained on or --data (default: train 0.4snn in OUTPUT)"


@dataclass(frozen=True, slots=True)
class Figure3Settings:
    """What to draw: at most two clips by name, else a typical right and a typical wrong one; ``data`` None: faces."""

    out: Path = OUT
    data: FigureData | None = None
    recipe: Recipe = field(default_factory=Recipe)
    clips: tuple[str, ...] = ()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo reproduce figure3`."""
    add_common(parser, MODEL, several=False)
    parser.add_argument(
        "--clip", action="append", metavar="NAME", help="draw this clip (twice: two clips), whatever its answer"
    )


def run(args: Namespace, console: Console) -> int:
    """Train what is not trained yet, draw Figure 3, and show its numbers."""
    from neuroemo.reproduce.figure3_document import document_of_model, figure3_document, figure3_text, write_figure3

    clips = tuple(args.clip or ())
    if args.model is not None:
        refuse_training_options(args)
        data = None if args.data is None else Path(args.data)
        document = document_of_model(args.model, data, clips, console.progress)
    else:
        settings = Figure3Settings(args.output, chosen_data(args), chosen_recipe(args), clips)
        document = figure3_document(settings, console.progress)
    written = write_figure3(document, args.output)
    told: dict[str, Any] = {"ok": True, "exit_code": 0} | document | {"written": [str(path) for path in written]}
    console.show(told, f"{figure3_text(document)}\nlook at {', '.join(str(path) for path in written)}")
    return 0
