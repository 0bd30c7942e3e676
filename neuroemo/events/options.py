"""The options of `neuroemo events` and `neuroemo events show`; nothing heavy is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

SENSOR = "sensor size in pixels, as 346,260 or 346x260"
SLOW_MOTION = (
    "frames put between frames first, where things move fast: none, linear (a blend), dis (optical flow, default), "
    "or FILE.safetensors with the weights of a network (docs/event-camera.md)"
)
METHODS = ("none", "linear", "dis")
METHOD = "none|linear|dis|FILE"


def events(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo events`."""
    parser.add_argument("input", type=Path, help="a video file, or a folder LABEL/*.mp4 (a folder called show: ./show)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True,
        help="FILE.npz, FILE.h5 or FILE.aedat4 for one video; FILE.h5 of prepared clips for a folder",
    )  # fmt: skip
    parser.add_argument(
        "--model", choices=("framediff", "pixel"), default="framediff",
        help="the simulated camera: differences of frames (the paper's, default), or the physics of a pixel",
    )  # fmt: skip
    parser.add_argument(
        "--preview", type=Path, metavar="FILE.mp4", help="also write the video and its events side by side"
    )
    _framediff(parser.add_argument_group("framediff"))
    _pixel(parser.add_argument_group("pixel"))
    parser.add_argument("--force", action="store_true", help="replace what is already there")


def _framediff(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--sens", type=float, help="least change of gray in [0, 1] that makes an event (default 0.001)")
    group.add_argument("--size", type=int, help="frame height and width in pixels (default 128)")
    group.add_argument("--steps", type=int, help="time steps, one per frame (default 68)")
    group.add_argument(
        "--first-frame",
        choices=("float", "spikes"),
        help="keep the first frame as gray (default), or start with events",
    )
    readings(group)


def readings(group: argparse._ActionsContainer, of: str = "") -> None:
    """Add the other readings of the paper's text; help begins with ``of``."""
    group.add_argument(
        "--density", type=float, metavar="D",
        help=f"{of}choose --sens so that a share D of the pixels carries an event in a step, e.g. 0.1079",
    )  # fmt: skip
    group.add_argument("--intensity", choices=("linear", "log"), help=f"{of}of gray, or of its logarithm (linear)")
    group.add_argument(
        "--reference", choices=("previous", "event"),
        help=f"{of}differences to the previous frame, or to the level of the last event (previous)",
    )  # fmt: skip
    group.add_argument(
        "--events-per-step", choices=("one", "several"),
        help=f"{of}at most one event per pixel and step, or one for each threshold (one)",
    )  # fmt: skip


def _pixel(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--preset", choices=("ideal", "clean", "noisy"), help="kind of sensor (default clean)")
    group.add_argument("--sensor", type=sensor, metavar="W,H", help=SENSOR + " (default: the video's)")
    group.add_argument("--threshold", type=float, help="change of log intensity that makes an event (default 0.2)")
    group.add_argument("--timing", choices=("linear", "slots"), help="times by straight lines (default), or as v2e's")
    group.add_argument("--slow-motion", type=slow_motion, metavar=METHOD, help=SLOW_MOTION)
    group.add_argument("--seed", type=int, help="seed of the sensor's noise (default 0)")


def show(parser: argparse.ArgumentParser) -> None:
    """Add the options of `neuroemo events show`."""
    parser.add_argument("input", type=Path, help="RAW, DAT, AEDAT 4 or 2, HDF5, NPZ, CSV or text")
    parser.add_argument("--sensor", type=sensor, metavar="W,H", help=SENSOR + ", where the file does not say")
    parser.add_argument(
        "--time-unit",
        choices=("auto", "us", "s"),
        default="auto",
        help="of the times in a text file (default: told apart)",
    )
    parser.add_argument("--sort", action="store_true", help="sort events whose times run backwards (refused otherwise)")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw the events and their rate")


def slow_motion(text: str) -> str | Path:
    """Read a method by its name, or the file with a network's weights.

    >>> slow_motion("dis"), slow_motion("a.safetensors").name
    ('dis', 'a.safetensors')
    """
    return text if text in METHODS else Path(text)


def sensor(text: str) -> tuple[int, int]:
    """Read width and height of a camera in pixels.

    >>> sensor("346,260"), sensor("1280x720")
    ((346, 260), (1280, 720))
    """
    try:
        width, height = (int(part) for part in text.lower().replace("x", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not W,H") from None
    return width, height
