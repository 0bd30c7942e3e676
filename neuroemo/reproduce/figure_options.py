"""The options that the figures share, and what they say about data and training; nothing heavy is imported."""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hw_targets.finding import Finding, InputError
from neuroemo.deployment.options import positive

if TYPE_CHECKING:
    from neuroemo.reproduce.figure_data import FigureData
    from neuroemo.training.loop import TrainSettings

OUT = Path("runs/figures")
TRAINING_ONLY = (
    "root", "pure_data", "option", "skip_broken", "size", "quick", "epochs", "batch", "learning_rate", "plain_sgd",
    "seed", "threads", "workers",
)  # fmt: skip
"""Options that say how to make a network, and mean nothing where a trained one is named."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the networks of a figure are trained; ``epochs`` None is what the data set needs (``epochs_for``)."""

    epochs: int | None = None
    batch: int = 8
    learning_rate: float = 0.01
    layerwise: bool = True
    seed: int = 0
    threads: int = 1

    def settings(self, data: FigureData) -> TrainSettings:
        """Return the settings of the training loop."""
        from neuroemo.training.loop import TrainSettings

        return TrainSettings(
            epochs=self.epochs or epochs_for(data),
            batch=self.batch,
            learning_rate=self.learning_rate,
            layerwise=self.layerwise,
            seed=self.seed,
            threads=self.threads,
        )


def epochs_for(data: FigureData) -> int:
    """Return how many epochs are trained unless asked otherwise: as in the demo on faces, 12 on other data."""
    if data.quick:
        return 3
    return {48: 14, 32: 16}.get(data.frame_size, 12) if data.name == "faces" else 12


def add_common(parser: argparse.ArgumentParser, model_help: str, *, several: bool) -> None:
    """Add data, training and output; with ``several``, --model takes any number of trained networks."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="NAME|FILE.h5",
        help="faces (rendered here, the default), mosi (the paper's), folder (LABEL/*.mp4), or prepared events",
    )
    data.add_argument("--root", type=Path, metavar="DIR", help="folder of mosi, of your videos, or of rendered faces")
    data.add_argument(
        "--pure-data", type=Path, metavar="FILE.h5", help="with FILE.h5: the same clips without a gray first frame"
    )
    data.add_argument(
        "--option", action="append", metavar="KEY=VALUE", help="option of the data set, e.g. zero=non0 (mosi)"
    )
    data.add_argument("--skip-broken", action="store_true", help="leave broken clips out, and list them")
    data.add_argument(
        "--size", type=int, choices=(128, 48, 32), help="pixels of a frame (default 128, the paper's; faces 48)"
    )
    data.add_argument("--quick", action="store_true", help="few faces and epochs: shows that everything runs")
    runs = parser.add_argument_group("training")
    runs.add_argument("--model", type=Path, metavar="DIR", nargs="+" if several else None, help=model_help)
    runs.add_argument("--epochs", type=positive, help="(default 12; faces 14, 16 with --size 32)")
    runs.add_argument("--batch", type=positive, help="clips per step (default 8, the paper's)")
    runs.add_argument("--learning-rate", type=float, help="(default 0.01, the paper's)")
    runs.add_argument("--plain-sgd", action="store_true", help="do not scale gradients to the length of each layer")
    runs.add_argument("--seed", type=int, help="(default 0)")
    runs.add_argument("--threads", type=positive, help="threads of torch (default 1: reproducible anywhere)")
    runs.add_argument("--workers", type=positive, help="processes that prepare events (default 2)")
    parser.add_argument(
        "-o", "--output", type=Path, default=OUT, metavar="DIR", help=f"folder of runs and figures (default {OUT})"
    )


def chosen_data(args: Namespace) -> FigureData:
    """Return where the clips come from; raises InputError for options that contradict each other."""
    from neuroemo.reproduce.figure_data import figure_data

    return figure_data(
        args.data,
        root=args.root,
        pure_store=args.pure_data,
        size=args.size,
        options=tuple(args.option or ()),
        skip_broken=args.skip_broken,
        workers=args.workers or 2,
        quick=args.quick,
    )


def chosen_recipe(args: Namespace) -> Recipe:
    """Return how to train; what was not given keeps its default."""
    given = {
        name: value
        for name in ("epochs", "batch", "learning_rate", "seed", "threads")
        if (value := getattr(args, name)) is not None
    }
    return Recipe(layerwise=not args.plain_sgd, **given)


def refuse_training_options(args: Namespace, *more: str) -> None:
    """Raise, with all of them at once, for options of training beside a trained network (``--model``)."""
    findings = [
        Finding("E940", "error", f"--{name.replace('_', '-')}", "means nothing with --model", fix="leave it out")
        for name in (*TRAINING_ONLY, *more)
        if getattr(args, name) not in (None, False)
    ]
    if findings:
        raise InputError(findings)
