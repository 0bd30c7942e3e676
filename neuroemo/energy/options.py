"""The options of `neuroemo energy`, `energy diff`, `energy tradeoff` and `neuroemo reproduce table2`."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroemo.deployment.options import positive, seconds, shape

MODEL = "checkpoint folder or file of ours, bundle folder, FILE.net, FILE.nir, or package.module:factory"
DATA = (
    "clips to count on: prepared events, a folder LABEL/*.mp4, CLIPS.npy [N, T, ...] or CLIPS.npz with labels "
    "(default: what a checkpoint was trained on)"
)
ALL = "all"


def names(text: str) -> tuple[str, ...]:
    """Read names that are separated by commas.

    >>> names("cmos45, loihi1")
    ('cmos45', 'loihi1')
    """
    chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not chosen:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return chosen


def printable(text: str) -> str:
    r"""Return a text that can be written as UTF-8: bytes of a file name that are none become question marks.

    >>> printable("clips-\udcff.npy"), printable("悲しみ.npy")
    ('clips-?.npy', '悲しみ.npy')
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def energy(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo energy`."""
    parser.add_argument("model", metavar="MODEL", help=MODEL + " (a folder that is called diff or tradeoff: ./diff)")
    clips(parser)
    _prices(parser.add_argument_group("what an operation costs"))
    counting = parser.add_argument_group("what counts as an operation")
    counting.add_argument(
        "--pooling",
        choices=("event", "spike_unit", "folded"),
        default="event",
        help="average pools of a live network: graded values where they arrive, spikes summed as a routing chip does, "
        "or part of the next weights (default event; on the chip they are folded)",
    )
    counting.add_argument("--skip-zero-weights", action="store_true", help="a zero weight costs nothing")
    module(parser.add_argument_group("what a model file cannot say"))
    output = parser.add_argument_group("what to keep")
    output.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="write report.json, tables as CSV and report.html"
    )
    output.add_argument("--force", action="store_true", help="replace what is already there")


def clips(parser: argparse.ArgumentParser) -> None:
    """Add which clips to count on."""
    parser.add_argument("--data", type=Path, help=DATA)
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        help="which clips (default: test of prepared events, all of a folder of videos)",
    )
    parser.add_argument("--limit", type=positive, help="at most this many clips, evenly spread")


def _prices(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--targets",
        type=names,
        default=("cmos45",),
        metavar="A,B,...",
        help="price lists by name, or FILE.toml of your own (default cmos45; docs/prices.md lists them)",
    )
    group.add_argument("--precision", help="number format on top of the report; all others are in it (default fp32)")
    group.add_argument(
        "--energy-model",
        default=ALL,
        metavar="NAME",
        help="arithmetic (the paper's), arithmetic+neurons, lemaire, yan, davidson, or all of them (default all)",
    )
    group.add_argument(
        "--nodes", type=names, default=(), metavar="NODE,...", help="also scale arithmetic to: 14HP-0.80V, 7HP-0.70V"
    )


def module(group: argparse._ArgumentGroup) -> None:
    """Add what a network of a user's own does not say itself."""
    group.add_argument("--weights", type=Path, help="FILE.safetensors with the weights of module:factory")
    group.add_argument("--input-shape", type=shape, metavar="C,H,W", help="shape of one frame")
    group.add_argument("--steps", type=positive, help="time steps of one clip")
    group.add_argument("--dt", type=seconds, metavar="SECONDS", help="length of a time step")
    group.add_argument("--first-frame", choices=("float", "spikes"), help="what step 0 carries (default spikes)")
    group.add_argument("--spike-comparison", choices=(">=", ">"), help="whether reaching the threshold fires (NIR)")
    group.add_argument("--voting", type=positive, help="output neurons per class (NIR; default 1)")


def diff(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo energy diff`."""
    parser.add_argument("first", type=Path, metavar="A", help="folder of an energy report, or its report.json")
    parser.add_argument("second", type=Path, metavar="B", help="the other")


def tradeoff(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo energy tradeoff`."""
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="folder of an energy report")
    parser.add_argument(
        "--ann",
        action="append",
        metavar="REPORT=EVALUATION",
        help="also draw the ANN twin of that report: its energy is in it, its accuracy in the folder that "
        "`neuroemo evaluate RUN-OF-THE-ANN -o EVALUATION` wrote (may be given for several reports)",
    )
    parser.add_argument("--scenario", metavar="ID", help="account to compare in (default: on top of the first report)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write report.json and report.html")
    parser.add_argument("--force", action="store_true", help="replace what is already there")


def table2(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo reproduce table2`."""
    parser.add_argument("--model", metavar="MODEL", help="also fill the table from this network's measured spikes")
    clips(parser)
