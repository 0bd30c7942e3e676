"""The options of `neuroemo train`.

Those that decide the numbers of a run have no default here: what was not given is None, and takes the default
of ``TrainSettings``, or what a resumed run was started with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

MODELS = "a network of the paper's Table I (default 0.4snn); NAME@48 and NAME@32 are small, NAME-ann is its twin"


def train(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo train`."""
    parser.add_argument("--data", type=Path, help="prepared events (`neuroemo data prepare`, `neuroemo events DIR`)")
    parser.add_argument("--model", help=MODELS)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="checkpoint folder; a run in it continues")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue the run in DIR, with its own settings")
    _optimiser(parser.add_argument_group("optimiser"))
    _clips(parser.add_argument_group("clips and their augmentation"))
    _machine(parser.add_argument_group("machine"))
    _kept(parser.add_argument_group("what is kept"))
    _quantised(parser.add_argument_group("fine-tuning for a chip"))


def _optimiser(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=int, help="(default 12; 3 with --qat)")
    group.add_argument("--batch", type=int, help="clips per step, over all processes (default 8)")
    group.add_argument("--optimiser", choices=("sgd", "adamw"), help="(default sgd)")
    group.add_argument("--learning-rate", type=float, help="(default 0.01; 0.001 with adamw; 0.003 with --qat)")
    group.add_argument("--momentum", type=float, help="of SGD; of adamw its first decay rate (default 0.9)")
    group.add_argument("--weight-decay", type=float, help="of weight matrices and kernels (default 0)")
    group.add_argument("--schedule", choices=("cosine", "constant"), help="of the learning rate (default cosine)")
    group.add_argument(
        "--plain-sgd", action="store_const", const=True, help="do not scale gradients to the length of each layer"
    )
    group.add_argument(
        "--clip-gradient", type=float, metavar="NORM", help="largest norm of the gradient (default none)"
    )
    group.add_argument(
        "--patience", type=int, metavar="EPOCHS", help="stop after so many without a better one (default never)"
    )
    group.add_argument(
        "--operations-penalty", type=float, metavar="WEIGHT", help="of the share of synaptic operations (default 0)"
    )
    group.add_argument(
        "--penalty-warmup", type=int, metavar="EPOCHS", help="epochs that do not pay that penalty yet (default 0)"
    )
    group.add_argument("--seed", type=int, help="of weights, order, augmentation and dropout (default 0)")


def _clips(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--balanced", action="store_const", const=True, help="every class as often as the largest one in an epoch"
    )
    group.add_argument("--no-augment", action="store_const", const=True, help="show the clips as they are")
    group.add_argument("--no-mirror", action="store_const", const=True, help="never exchange left and right")
    group.add_argument("--shift", type=int, metavar="PIXELS", help="move pictures up to so far (default 2)")
    group.add_argument("--drop-events", type=float, metavar="SHARE", help="lose that share of the events (default 0)")
    group.add_argument(
        "--shift-steps", type=int, metavar="N", help="move events up to N time steps; a gray frame stays (default 0)"
    )


def _machine(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--engine",
        choices=("fused", "spikingjelly"),
        help="what computes the network in training (default fused for spiking networks)",
    )
    group.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="of convolutions and products (default float32)"
    )
    group.add_argument("--threads", type=int, help="threads of torch (default 1: reproducible anywhere)")


def _kept(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--save-every", type=float, metavar="MINUTES", help="save within an epoch too (default 10; 0: after each batch)"
    )
    group.add_argument(
        "--tensorboard", action="store_const", const=True, help="also write DIR/tensorboard (log.csv is always written)"
    )


def _quantised(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--qat",
        type=int,
        choices=range(3, 9),
        metavar="BITS",
        help="fine-tune with weights of 3..8 bits, in the chip's own arithmetic",
    )
    group.add_argument(
        "--start", type=Path, help="trained checkpoint to fine-tune (default: train --model first, in OUTPUT/float)"
    )
