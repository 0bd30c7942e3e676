"""The options of ``neuroemo data prepare`` and ``neuroemo data check``."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroemo.deployment.options import positive
from neuroemo.events.options import METHOD, SLOW_MOTION, readings, sensor, slow_motion

NAMES = ("folder", "faces", "mosi", "afew-va", "nefer")
MODELS = ("framediff", "pixel", "recorded")


def prepare(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``data prepare``."""
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=f"data set: {', '.join(NAMES)}")
    parser.add_argument("--root", type=Path, required=True, help="its folder (faces: where they are rendered)")
    parser.add_argument("--out", "-o", type=Path, required=True, help="FILE.h5; FILE.manifest.json comes beside it")
    parser.add_argument("--model", choices=MODELS, default="framediff", help="how events are made (default framediff)")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (default 128)")
    parser.add_argument("--steps", type=int, default=68, help="time steps (default 68)")
    parser.add_argument("--sens", type=float, help="framediff: least change of gray that makes an event (0.001)")
    parser.add_argument("--fps", type=float, help="bring videos to one frame rate, by nearest frame (default: as is)")
    parser.add_argument(
        "--first-frame", choices=("float", "spikes"), help="gray first frame, or events (default float)"
    )
    readings(parser, "framediff: ")
    parser.add_argument("--preset", choices=("clean", "noisy"), help="pixel: the camera (default clean)")
    parser.add_argument("--noise-seed", type=int, help="pixel: seed of the camera's noise (default 0)")
    parser.add_argument("--slow-motion", type=slow_motion, metavar=METHOD, help=f"pixel: {SLOW_MOTION}")
    parser.add_argument("--step-us", type=int, help="recorded: length of one step in microseconds")
    parser.add_argument("--sensor", type=sensor, metavar="W,H", help="recorded: pixels, where the files do not say")
    parser.add_argument("--fold", type=int, help="which fold is the test, for a data set that comes in folds")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the data set, e.g. zero=non0 (mosi), labels=reported (nefer), subjects=10 (faces)",
    )
    parser.add_argument("--skip-broken", action="store_true", help="leave broken clips out, and list them")
    parser.add_argument("--workers", type=positive, help="processes of this machine (default 2)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="run on a Dask cluster, e.g. tcp://host:8786")
    parser.add_argument("--force", action="store_true", help="replace what is already there")


def check(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``data check``."""
    parser.add_argument("store", type=Path, help="a prepared store of clips or of event frames, FILE.h5")
