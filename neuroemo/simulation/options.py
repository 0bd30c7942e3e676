"""The options of `neuroemo simulate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroemo.deployment.options import positive, seconds


def message_bits(text: str) -> int | None:
    """Read how many bits an input message has: "auto", 0 (spikes), or 8 to 24.

    >>> message_bits("auto"), message_bits("0"), message_bits("16")
    (None, 0, 16)
    """
    if text == "auto":
        return None
    value = int(text)
    if value != 0 and not 8 <= value <= 24:
        raise argparse.ArgumentTypeError(f"{value} is not auto, 0 or 8..24")
    return value


def simulate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo simulate`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE|FILE.net", help="bundle folder, or any netx file")
    parser.add_argument(
        "--clips",
        type=Path,
        required=True,
        help="CLIPS.npy of integers [N, T, C, H, W] or [N, T, F], CLIPS.npz with clips and labels, a folder of .npy "
        "files with one clip each, prepared events, a video, or a folder LABEL/*.mp4",
    )
    parser.add_argument("--limit", type=positive, help="at most this many clips, evenly spread")
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        help="which clips (default: test of prepared events, all of a folder of videos)",
    )
    _how(parser.add_argument_group("how to run"))
    _what(parser.add_argument_group("what to keep"))


def _how(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--backend", choices=("fast", "lava", "both"), default="fast", help="(default fast)")
    group.add_argument(
        "--mode",
        choices=("aligned", "pipeline"),
        default="aligned",
        help="all layers on the same frame, or Lava's clock: one step later per layer (default aligned)",
    )
    group.add_argument("--reset-interval", type=positive, metavar="R", help="netx's reset_interval, in pipeline mode")
    group.add_argument("--reset-offset", type=int, default=0, metavar="O", help="netx's reset_offset (default 0)")
    group.add_argument("--timeout", type=seconds, default=600.0, help="seconds that Lava may take (default 600)")
    group.add_argument(
        "--input-message-bits",
        type=message_bits,
        metavar="auto|0|8..24",
        help="bits of an input message of a netx file, 0 for spikes (default auto: by the values of the clips)",
    )
    group.add_argument("--layers", type=positive, metavar="N", help="run only the first N entries of a netx file")
    group.add_argument("--batch", type=positive, help="clips at once (default: by the size of the network)")
    group.add_argument("--threads", type=positive, default=1, help="threads of the fast simulator (default 1)")
    group.add_argument(
        "--path",
        choices=("auto", "dense", "event"),
        default="auto",
        help="how the fast simulator takes sums; the answer is the same (default auto: the faster one per layer)",
    )
    group.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default cpu)")


def _what(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--probe",
        action="append",
        default=[],
        metavar="LAYER[:NEURONS]",
        help="record sums, currents and potentials of a layer, all or those neurons: layer1:0,5,10-19",
    )
    group.add_argument("--save", type=Path, metavar="OUT.npz", help="write the spikes of every layer, [N, T, ...]")
    group.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="write predictions as CSV and JSON, counts and raster plots"
    )
    group.add_argument("--force", action="store_true", help="replace what is already there")
