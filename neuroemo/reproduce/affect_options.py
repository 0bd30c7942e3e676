"""The options of `neuroemo reproduce affect-table1` to `affect-table5`: the same for all five but for two of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from neuroemo.deployment.options import positive
from neuroemo.reproduce.affect_paper import CAPTIONS

TABLES = tuple(CAPTIONS)
OUT = Path("runs/affect-tables")
HELP = {
    "affect-table1": "valence and arousal by ResNet18 and ViT, beside the second paper's Table 1",
    "affect-table2": "valence and arousal by the four video networks, beside the second paper's Table 2",
    "affect-table3": "the best frame-based and video-based network, beside published methods on the film",
    "affect-table4": "event frames of 8 and of 16 bits, beside the second paper's Table 4",
    "affect-table5": "emotions of NEFER by the nearest prototype, beside the second paper's Table 5",
}


def names(text: str) -> tuple[str, ...]:
    """Read names that are separated by commas.

    >>> names("vit, ic3d")
    ('vit', 'ic3d')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def folds(text: str) -> tuple[int, ...]:
    """Read the numbers of folds.

    >>> folds("0,3")
    (0, 3)
    """
    chosen = tuple(int(part) for part in names(text))
    if not chosen or min(chosen) < 0:
        raise ValueError("numbers from 0, separated by commas")
    return chosen


def add_tables(what: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add a parser for each of the five tables; ``what`` makes one from its name and its help."""
    for table, text in HELP.items():
        _options(what(table, text), table)


def _options(parser: argparse.ArgumentParser, table: str) -> None:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="NAME|FILE.h5",
        help="afew-va (the paper's), faces (rendered here), or event frames of your own (`neuroemo data frames`)",
    )
    data.add_argument("--root", type=Path, metavar="DIR", help="folder of afew-va, or of rendered faces")
    if table == "affect-table4":
        data.add_argument(
            "--data-16", type=Path, metavar="FILE.h5", help="with FILE.h5 of 8 bits: the same clips with 16 bits"
        )
    if table == "affect-table5":
        data.add_argument("--nefer-root", type=Path, metavar="DIR", help="folder of NEFER, whose emotions are told")
        data.add_argument(
            "--nefer-data", type=Path, metavar="FILE.h5", help="instead of --nefer-root: NEFER as event frames"
        )
        data.add_argument(
            "--nefer-option",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="of NEFER, e.g. recording=event_frames or labels=reported",
        )
    data.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the data set, e.g. fps=25 (afew-va)"
    )
    data.add_argument("--skip-broken", action="store_true", help="leave broken clips out, and list them")
    data.add_argument("--threshold", type=float, help="of the simulated camera: change of log intensity (default 0.2)")
    data.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        help="224 is the paper's; 32, 48, ... 208 take small networks (default 224; faces 64; --quick 32)",
    )
    runs = parser.add_argument_group("runs")
    runs.add_argument("--models", type=names, metavar="A,B,...", help="networks (default all of the table)")
    runs.add_argument("--folds", type=folds, metavar="0,1,...", help="test folds (default all; data in splits: none)")
    runs.add_argument("--seeds", type=positive, help="trainings per network and fold, seeds 0, 1, ... (default 1)")
    runs.add_argument("--epochs", type=positive, help="(default 100; faces 30)")
    runs.add_argument("--batch", type=positive, help="frames per step")
    runs.add_argument("--learning-rate", type=float, help="of AdamW (default 1e-4, the paper's; faces 1e-3)")
    runs.add_argument("--loss", choices=("mse", "ccc", "mse+ccc"), help="(default mse)")
    runs.add_argument("--frames-per-epoch", type=positive, metavar="N", help="(default all; faces 5000)")
    runs.add_argument("--no-augment", action="store_true", help="neither mirror nor move the training frames")
    runs.add_argument(
        "--backbone-weights",
        type=Path,
        metavar="FILE",
        help="ImageNet weights of ResNet18; without them every network begins at random, and the table says so",
    )
    runs.add_argument("--quick", action="store_true", help="tiny faces or networks, 1 epoch: shows that all runs")
    parser.add_argument("--workers", type=positive, help="processes of this machine, one run each (default 2)")
    parser.add_argument(
        "-o", "--output", type=Path, default=OUT, metavar="DIR", help=f"folder of all five tables (default {OUT})"
    )
