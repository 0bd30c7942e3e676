"""The options of the deployment verbs; what a value may be is said here, what it means in ``verbs.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

MODEL = "checkpoint folder or file of ours, package.module:factory, or FILE.nir"


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    >>> positive("3")
    3
    """
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def seconds(text: str) -> float:
    """Read a positive number of seconds.

    >>> seconds("1e-3")
    0.001
    """
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def shape(text: str) -> tuple[int, ...]:
    """Read the shape of one frame.

    >>> shape("2,32,32"), shape("700")
    ((2, 32, 32), (700,))
    """
    parts = tuple(positive(part) for part in text.split(","))
    if len(parts) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text} has {len(parts)} numbers; give C,H,W or F")
    return parts


def share(text: str) -> float:
    """Read a share between 0 and 1.

    >>> share("0.97")
    0.97
    """
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--target", default="loihi2", help="chip (default loihi2; see `neuroemo targets`)")
    group = parser.add_argument_group("what a model file cannot say")
    group.add_argument("--weights", type=Path, help="FILE.safetensors with the weights of module:factory")
    group.add_argument("--input-shape", type=shape, metavar="C,H,W", help="shape of one frame")
    group.add_argument("--steps", type=positive, help="time steps of one clip")
    group.add_argument("--dt", type=seconds, metavar="SECONDS", help="length of a time step")
    group.add_argument("--first-frame", choices=("float", "spikes"), help="what step 0 carries (default spikes)")
    group.add_argument("--spike-comparison", choices=(">=", ">"), help="whether reaching the threshold fires (NIR)")
    group.add_argument("--voting", type=positive, help="output neurons per class (NIR; default 1)")


def _compiling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weight-bits", type=int, choices=range(3, 9), metavar="3..8", help="(default 8)")
    parser.add_argument(
        "--input-encoding",
        choices=("graded", "host", "spikes"),
        help="how input reaches the chip: graded payloads (default with a gray first frame), spikes of a first layer "
        "that runs on the host, or plain spikes",
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="CODE", help="accept the loss that this finding names"
    )


def targets(parser: argparse.ArgumentParser) -> None:
    """Add nothing: targets takes no options of its own."""


def check(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo check`."""
    _model(parser)
    _compiling(parser)


def export(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo export`."""
    _model(parser)
    _compiling(parser)
    parser.add_argument("-o", "--output", type=Path, help="bundle folder (default exports/<model>-<target>)")
    parser.add_argument(
        "--data",
        type=Path,
        help="clips to prove the export on: prepared events, a folder of videos, CLIPS.npy [N, T, ...] or CLIPS.npz "
        "with labels (default: what a checkpoint was trained on, else random spikes)",
    )
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        help="which clips (default: test of prepared events, all of a folder of videos)",
    )
    parser.add_argument("--limit", type=positive, help="prove it on at most this many clips (default: by size)")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="bound synaptic sums by the first clips, with a margin of 2, instead of by the weights alone",
    )
    parser.add_argument("--min-agreement", type=share, default=0.97, help="least share of equal spikes per layer")
    parser.add_argument("--min-labels", type=share, default=0.97, help="least share of equal labels")
    parser.add_argument(
        "--max-value-difference",
        type=share,
        default=0.05,
        metavar="D",
        help="largest mean difference of valence and arousal, -1 to 1, of a network that estimates them",
    )
    parser.add_argument("--dry-run", action="store_true", help="do everything except writing")
    parser.add_argument("--force", action="store_true", help="replace what is already there")


def verify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo verify`."""
    parser.add_argument("bundle", type=Path, help="bundle folder")
    parser.add_argument("--against", choices=("lava",), help="also run the known-answer clips in Lava")
    parser.add_argument("--timeout", type=seconds, default=600.0, help="seconds that Lava may take (default 600)")


def diff(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo diff`."""
    parser.add_argument("first", type=Path, metavar="DIR_A", help="one bundle")
    parser.add_argument("second", type=Path, metavar="DIR_B", help="the other")


def doctor(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo doctor`."""
    parser.add_argument("--deep", action="store_true", help="also import every package, in a process of its own")
