"""The options of `neuroemo affect train` and `neuroemo affect evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

MODELS = (
    "resnet18, vit, ic3d, resnet-lstm, resnet-transformer, resnet-fusion, or a spiking one; NAME@64 is the small "
    "preset of that family for frames of 64 pixels"
)
DATA = "event frames (`neuroemo data frames`)"


def train(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo affect train`."""
    parser.add_argument("--data", type=Path, required=True, help=DATA)
    parser.add_argument("--model", required=True, help=MODELS)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the run; a run in it continues"
    )
    parser.add_argument("--fold", type=int, metavar="K", help="test on fold K, validate on the next, train on the rest")
    parser.add_argument(
        "--backbone", type=Path, metavar="FILE", help="ImageNet weights of ResNet18 (default: torchvision's own cache)"
    )
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, help="(default 100)")
    group.add_argument("--batch", type=int, metavar="FRAMES", help="frames per step, in whole chunks (default 64)")
    group.add_argument("--learning-rate", type=float, help="of AdamW (default 0.0001)")
    group.add_argument("--weight-decay", type=float, help="of weight matrices and kernels (default 0.01)")
    group.add_argument("--halve-every", type=int, metavar="EPOCHS", help="halve the learning rate (default 50)")
    group.add_argument("--gamma", type=float, help="what the learning rate is multiplied by then (default 0.5)")
    group.add_argument("--loss", choices=("mse", "ccc", "mse+ccc"), help="(default mse)")
    group.add_argument(
        "--clip-gradient", type=float, metavar="NORM", help="largest norm of the gradient (default none)"
    )
    group.add_argument("--patience", type=int, metavar="EPOCHS", help="stop after so many without a better one")
    group.add_argument("--seed", type=int, help="of weights, order, augmentation and dropout (default 0)")
    group.add_argument(
        "--no-augment", action="store_const", const=False, dest="augment", help="show frames as they are"
    )
    group.add_argument("--no-mirror", action="store_const", const=False, dest="mirror", help="keep left and right")
    group.add_argument("--shift", type=int, metavar="PIXELS", help="move pictures up to so far (default size/32)")
    group.add_argument("--stride", type=int, metavar="FRAMES", help="between the starts of two chunks (default 1)")
    group.add_argument("--frames-per-epoch", type=int, metavar="N", help="shorter epochs (default: all frames)")
    group.add_argument("--validation-frames", type=int, metavar="N", help="shorter validation (default: all frames)")
    group.add_argument("--threads", type=int, help="threads of torch (default 1: reproducible anywhere)")
    group.add_argument("--device", choices=("cpu", "cuda"), help="(default cpu, which repeats a run bit for bit)")
    group.add_argument(
        "--save-every", type=float, default=10.0, metavar="MINUTES", help="save within an epoch too (default 10)"
    )


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo affect evaluate`."""
    parser.add_argument("model", type=Path, help="folder of a run of `neuroemo affect train`")
    parser.add_argument("--data", type=Path, help=f"{DATA} (default: those it was trained on)")
    parser.add_argument(
        "--split", choices=("train", "val", "test", "all"), default="test", help="which frames (default test)"
    )
    parser.add_argument("--fold", type=int, metavar="K", help="frames of fold K (default: the one it was trained for)")
    parser.add_argument(
        "--zeros",
        choices=("leave-out", "count"),
        default="leave-out",
        help="frames labelled exactly 0 in SAGR: leave them out (default), or ask for a 0",
    )
    parser.add_argument("--resamples", type=int, default=2000, help="of the subjects, for intervals (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (default 0)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="write evaluation.json, predictions.csv and evaluation.svg"
    )
    parser.add_argument("--force", action="store_true", help="replace the evaluation in DIR")
