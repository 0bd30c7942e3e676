"""The options of ``neuroemo data frames``."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroemo.data_options import NAMES
from neuroemo.deployment.options import positive
from neuroemo.events.options import METHOD, SLOW_MOTION, sensor, slow_motion

MODELS = ("pixel", "recorded", "codes")


def frames(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``data frames``."""
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=f"data set: {', '.join(NAMES)}")
    parser.add_argument("--root", type=Path, required=True, help="its folder (faces: where they are rendered)")
    parser.add_argument("--out", "-o", type=Path, required=True, help="FILE.h5; FILE.manifest.json comes beside it")
    parser.add_argument("--size", type=int, default=224, help="height and width in pixels (default 224)")
    parser.add_argument("--bits", type=int, default=8, help="slices of a frame, 1 to 16 (default 8)")
    parser.add_argument("--slice-us", type=int, default=5000, help="length of a slice in microseconds (default 5000)")
    parser.add_argument(
        "--msb", choices=("newest", "oldest"), default="newest", help="the slice that weighs most (default newest)"
    )
    parser.add_argument(
        "--model",
        choices=MODELS,
        help="simulated camera, recorded events, or pictures that are codes already (default: as the data set is)",
    )
    parser.add_argument("--preset", choices=("ideal", "clean", "noisy"), help="pixel: the camera (default clean)")
    parser.add_argument("--threshold", type=float, help="pixel: change of log intensity that makes an event (0.2)")
    parser.add_argument("--timing", choices=("linear", "slots"), help="pixel: times by lines (default), or as v2e's")
    parser.add_argument("--noise-seed", type=int, help="pixel: seed of the camera's noise (default 0)")
    parser.add_argument("--slow-motion", type=slow_motion, metavar=METHOD, help=f"pixel: {SLOW_MOTION}")
    parser.add_argument("--sensor", type=sensor, metavar="W,H", help="recorded: pixels, where the files do not say")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the data set, e.g. recording=event_frames (nefer), fps=25 (afew-va), subjects=10 (faces)",
    )
    parser.add_argument("--skip-broken", action="store_true", help="leave broken clips out, and list them")
    parser.add_argument("--workers", type=positive, default=2, help="processes of this machine (default 2)")
    parser.add_argument("--force", action="store_true", help="replace what is already there")
