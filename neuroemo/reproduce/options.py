"""The options of `neuroemo reproduce`: each table and figure has its own, and no other takes them."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroemo.deployment.options import positive
from neuroemo.energy import options as energy
from neuroemo.reproduce import affect_options, figure2, figure3

NAMED_DATA = ("mosi", "faces", "folder")
SIZES = (128, 48, 32)


def reproduce(parser: argparse.ArgumentParser) -> None:
    """Add a parser for each table and figure; which one was chosen is ``args.what``."""
    whats = parser.add_subparsers(dest="what", metavar="WHAT", required=True)

    def what(name: str, text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = whats.add_parser(name, help=text, description=text)
        # The verb has these three already; without a default of their own they do not overwrite what it read.
        quiet = argparse.SUPPRESS
        sub.add_argument("--json", action="store_true", default=quiet, help="print one JSON object, also on failure")
        sub.add_argument("-q", "--quiet", action="store_true", default=quiet, help="no progress, no remarks")
        sub.add_argument("-v", "--verbose", action="store_true", default=quiet, help="show tracebacks")
        return sub

    table1(what("table1", "train the eight networks of Table I over several seeds, beside the paper's accuracies"))
    energy.table2(what("table2", "the paper's energy table, each digit beside the exact number"))
    figure2.add_options(what("figure2", "accuracy and loss along the steps: before, during and after training"))
    figure3.add_options(what("figure3", "potentials and spikes of the voting neurons for a right and a wrong clip"))
    affect_options.add_tables(what)


def names(text: str) -> tuple[str, ...]:
    """Read names of networks that are separated by commas.

    >>> names("plif,0.4snn")
    ('plif', '0.4snn')
    """
    return energy.names(text)


def table1(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo reproduce table1`; what is None takes the default of the data."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        required=True,
        metavar="NAME|FILE.h5",
        help="mosi (the paper's), faces (rendered here), folder (LABEL/*.mp4), or prepared events of your own",
    )
    data.add_argument("--root", type=Path, metavar="DIR", help="folder of mosi, of your videos, or of rendered faces")
    data.add_argument(
        "--pure-data", type=Path, metavar="FILE.h5", help="with FILE.h5: the same clips without a gray first frame"
    )
    data.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the data set, e.g. zero=non0 (mosi)"
    )
    data.add_argument("--skip-broken", action="store_true", help="leave broken clips out, and list them")
    data.add_argument(
        "--size",
        type=int,
        choices=SIZES,
        help="pixels: 128 is the paper's, 48 and 32 are its small presets (default 128; faces and --quick 32)",
    )
    runs = parser.add_argument_group("runs")
    runs.add_argument("--models", type=names, metavar="A,B,...", help="rows of the table (default all eight)")
    runs.add_argument("--seeds", type=positive, help="trainings per network, with seeds 0, 1, ... (default 3)")
    runs.add_argument("--epochs", type=positive, help="(default 12; faces 16)")
    runs.add_argument("--batch", type=positive, help="clips per step (default 8, the paper's)")
    runs.add_argument("--learning-rate", type=float, help="(default 0.01, the paper's)")
    runs.add_argument("--plain-sgd", action="store_true", help="do not scale gradients to the length of each layer")
    runs.add_argument("--quick", action="store_true", help="tiny data, 2 epochs, 2 seeds: shows that everything runs")
    machines = parser.add_argument_group("machines")
    machines.add_argument("--workers", type=positive, help="processes of this machine, one run each (default 2)")
    machines.add_argument(
        "--scheduler", metavar="ADDRESS", help="share the runs among a Dask cluster, e.g. tcp://host:8786"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("runs/table1"), metavar="DIR", help="folder (default runs/table1)"
    )
