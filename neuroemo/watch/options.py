"""The options of `neuroemo watch`; nothing heavy is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from neuroemo.events.options import METHOD, SENSOR, sensor, slow_motion


def watch(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo watch`."""
    parser.add_argument(
        "input", type=Path, help="a video, or a recording of an event camera (RAW, DAT, AEDAT, HDF5, …)"
    )
    parser.add_argument("--model", type=Path, required=True, metavar="RUN", help="folder of `neuroemo affect train`")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT.mp4",
        help="the annotated film (default INPUT's name, .watch.mp4, here)",
    )
    parser.add_argument("--csv", type=Path, metavar="OUT.csv", help="the numbers (default: beside the film, .csv)")
    parser.add_argument(
        "--fps", type=float, metavar="N", help="pages per second of the film (default: one per event frame)"
    )
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="begin S seconds into it (default 0)")
    parser.add_argument("--seconds", type=float, metavar="S", help="watch S seconds (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--force", action="store_true", help="replace what is already there")
    camera = parser.add_argument_group("videos", "the simulated camera (default: that of the run's training frames)")
    camera.add_argument("--threshold", type=float, help="change of log intensity that makes an event")
    camera.add_argument(
        "--slow-motion",
        type=slow_motion,
        metavar=METHOD,
        help="frames put between frames first, where things move fast (docs/event-camera.md)",
    )
    camera.add_argument("--seed", type=int, help="seed of the camera's noise")
    recording = parser.add_argument_group("recordings of an event camera")
    recording.add_argument("--sensor", type=sensor, metavar="W,H", help=SENSOR + ", where the file does not say")
    recording.add_argument(
        "--time-unit", choices=("auto", "us", "s"), help="of the times in a text file (default: told apart)"
    )
    recording.add_argument(
        "--sort", action="store_true", help="sort events whose times run backwards (refused otherwise)"
    )
