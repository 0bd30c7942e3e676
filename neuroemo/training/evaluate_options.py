"""The options of `neuroemo evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo evaluate`."""
    parser.add_argument("model", type=Path, help="checkpoint folder, or its model.safetensors with --data")
    parser.add_argument(
        "--data",
        type=Path,
        help="clips to score: prepared events, or a folder of videos (default: what it was trained on)",
    )
    parser.add_argument(
        "--split",
        choices=("train", "val", "test", "all"),
        help="which clips (default: test of prepared events, all of a folder of videos)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="write evaluation.json, clips.csv and evaluation.svg"
    )
    parser.add_argument("--force", action="store_true", help="replace the evaluation in DIR")
