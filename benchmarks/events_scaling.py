"""How the cost of simulating events grows: with pixels, speed of motion, frame rate, and the share that moves."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from events_parts import Gray, V2e, measure_pixel, spent, texture

STEP_US = 2000
SIDES = ((64, 64), (128, 128), (256, 256), (480, 640), (720, 1280))
SPEEDS = (0.1, 0.3, 1.0, 3.0, 10.0)
STEPS_US = (500, 1000, 2000, 5000, 10000, 33333)
MOVING = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
REPEATS = 7
PIXELS_PER_SECOND = 350.0
"""Speed of the texture where the frame rate changes: 0.7 pixels in 2 ms."""

Row = dict[str, Any]


def measure_scaling(v2e: V2e | None, rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, list[Row]]:
    """Return one row per point of each axis: microseconds per frame of every simulator, and events per frame.

    ``resolution``: pixels; ``speed``: pixels per frame at 346x260; ``rate``: frames per second of one motion;
    ``density``: share of the rows that move.
    """
    frames = 4 if quick else 24
    sides, middle = (SIDES[:2], (48, 64)) if quick else (SIDES, (260, 346))
    few = slice(None, 2) if quick else slice(None)

    def row(x: float, made: Gray, step_us: int = STEP_US) -> Row:
        say(f"scaling: {made.shape[2]}x{made.shape[1]}, {x:g}")
        return {"x": x, **_row(v2e, made, rounds, step_us)}

    return {
        "resolution": [row(h * w, texture(h, w, frames)) for h, w in sides],
        "speed": [row(speed, texture(*middle, frames, speed)) for speed in SPEEDS[few]],
        "rate": [
            row(1e6 / step, texture(*middle, frames, PIXELS_PER_SECOND * step * 1e-6), step) for step in STEPS_US[few]
        ],
        "density": [row(share, texture(*middle, frames, 0.7, share)) for share in MOVING[few]],
    }


def _row(v2e: V2e | None, frames: Gray, rounds: int, step_us: int) -> Row:
    found: Row = {"pixels": int(frames[0].size), "framediff_us": _differences(frames, rounds)}
    for name in ("clean", "noisy"):
        cost = measure_pixel(v2e, frames, name, rounds, step_us, mixed=False)
        found[f"{name}_us"], found[f"{name}_events"] = cost["ours_us_per_frame"], cost["events_per_frame"]
        if v2e is not None:
            found[f"v2e_{name}_us"] = cost["v2e_us_per_frame"]
    return found


def _differences(frames: Gray, rounds: int) -> float:
    """Return the microseconds that frame differences take per frame, median over rounds."""
    from neuroemo.events.difference import DifferenceRule, FrameDifference

    def feed(_: int, all_frames: Gray) -> int:
        return len(FrameDifference(DifferenceRule(), *all_frames.shape[1:]).steps(all_frames))

    times = [spent(feed, frames[None], [0])[0] for _ in range(REPEATS * rounds + 1)]
    return statistics.median(times[1:]) / (len(frames) - 1) * 1e6
