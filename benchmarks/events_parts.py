"""What benchmarks/events.py feeds and compares: moving textures, v2e's emulator, the two event cameras.

All times are processor time of one thread.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
V2e = Callable[..., Any]

SETTINGS: dict[str, dict[str, float]] = {
    "ideal": {},
    "clean": {"sigma_thres": 0.02},
    "bandwidth": {"sigma_thres": 0.03, "cutoff_hz": 300.0},
    "noisy": {
        "sigma_thres": 0.05, "cutoff_hz": 30.0, "leak_rate_hz": 0.1, "shot_noise_rate_hz": 5.0,
        "leak_jitter_fraction": 0.1, "noise_rate_cov_decades": 0.1,
    },
}  # fmt: skip
OURS = {
    "sigma_thres": "threshold_sigma", "cutoff_hz": "cutoff_hz", "leak_rate_hz": "leak_rate_hz",
    "shot_noise_rate_hz": "shot_noise_rate_hz", "leak_jitter_fraction": "leak_jitter",
    "noise_rate_cov_decades": "leak_spread_decades",
}  # fmt: skip


def texture(height: int, width: int, frames: int, speed: float = 0.7, moving: float = 1.0) -> Gray:
    """Return a smooth random texture that moves ``speed`` pixels per frame, uint8 [frames, height, width].

    Only the upper share ``moving`` of the rows moves; the rest is that of the first frame.
    """
    import cv2

    noise = np.random.default_rng(0).random((height, width + int(frames * speed) + 8), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    scaled = (smooth - smooth.min()) / np.ptp(smooth) * 255
    shifts = (np.array([[1, 0, -index * speed], [0, 1, 0]], np.float32) for index in range(frames))
    made = np.stack([cv2.warpAffine(scaled, shift, (width, height)).astype(np.uint8) for shift in shifts])
    made[:, round(moving * height) :] = made[0, round(moving * height) :]
    return made


def load_v2e(folder: Path) -> V2e:
    """Return a maker of v2e emulators from a checkout; packages for windows and other formats are replaced."""
    for name in ("screeninfo", "easygui", "dv_processing", "tkinter", "tkinter.filedialog", "argcomplete", "plyer"):
        sys.modules.setdefault(name, mock.MagicMock())
    notation = types.ModuleType("engineering_notation")
    notation.EngNumber = lambda value, *_: value  # type: ignore[attr-defined]
    sys.modules.setdefault("engineering_notation", notation)
    sys.path.insert(0, str(folder))
    logging.disable(logging.CRITICAL)
    from v2ecore.emulator import EventEmulator

    fixed = {
        "pos_thres": 0.2, "neg_thres": 0.2, "sigma_thres": 0.0, "cutoff_hz": 0, "leak_rate_hz": 0,
        "refractory_period_s": 0, "shot_noise_rate_hz": 0, "leak_jitter_fraction": 0.0, "noise_rate_cov_decades": 0.0,
        "seed": 1, "device": "cpu",
    }  # fmt: skip
    return lambda **changes: EventEmulator(**(fixed | changes))


def our_camera(shape: tuple[int, int], name: str, step_us: int) -> Callable[[int, Gray], int]:
    """Return what feeds a frame to a new pixel simulator and says how many events came."""
    from neuroemo.events.pixel.settings import PixelSettings
    from neuroemo.events.pixel.simulator import PixelSimulator

    changes = {OURS[key]: value for key, value in SETTINGS[name].items()}
    camera = PixelSimulator(PixelSettings(timing="slots", **changes), *shape)  # type: ignore[arg-type]
    return lambda index, frame: len(camera.feed(frame, index * step_us))


def their_camera(v2e: V2e, name: str, step_us: int) -> Callable[[int, Gray], int]:
    """Return what feeds a frame to a new v2e emulator and says how many events came."""
    emulator = v2e(**SETTINGS[name])

    def feed(index: int, frame: Gray) -> int:
        made = emulator.generate_events(frame, index * step_us * 1e-6)
        return 0 if made is None else len(made)

    return feed


def spent(feed: Callable[[int, Gray], int], frames: Gray, indices: Sequence[int]) -> tuple[float, int]:
    """Feed frames; return the seconds of processor time and the events."""
    events = 0
    start = time.process_time()
    for index in indices:
        events += feed(index, frames[index])
    return time.process_time() - start, events


def pixel_round(v2e: V2e | None, frames: Gray, name: str, step_us: int, group: int) -> dict[str, float]:
    """Feed the frames to both cameras in turns, ``group`` frames at a time; return seconds and events of each."""
    cameras = {"ours": our_camera((int(frames.shape[1]), int(frames.shape[2])), name, step_us)}
    if v2e is not None:
        cameras["v2e"] = their_camera(v2e, name, step_us)
    found = dict.fromkeys((f"{kind}{who}" for who in ("ours", "v2e") for kind in ("", "events_")), 0.0)
    for first in range(0, len(frames), group):
        indices = range(first, min(first + group, len(frames)))
        for who, feed in cameras.items():
            seconds, events = spent(feed, frames, indices)
            found[who] += seconds
            found[f"events_{who}"] += events
    return found


def measure_pixel(
    v2e: V2e | None, frames: Gray, name: str, rounds: int, step_us: int, *, mixed: bool = True
) -> dict[str, Any]:
    """Return microseconds and events per frame of one setting, medians over rounds, and ratios if there is a v2e.

    ``v2e_over_ours``: whole recordings in turns. ``v2e_over_ours_frame_by_frame``: a frame each in turns, where each
    pushes what the other needs out of the processor's caches; left out without ``mixed``.
    """
    pixel_round(v2e, frames[:4], name, step_us, 4)
    made = [pixel_round(v2e, frames, name, step_us, len(frames)) for _ in range(rounds)]
    count = len(frames)
    found: dict[str, Any] = {
        "ours_us_per_frame": statistics.median(row["ours"] for row in made) / count * 1e6,
        "events_per_frame": made[-1]["events_ours"] / count,
    }
    if v2e is None:
        return found
    found |= {
        "v2e_us_per_frame": statistics.median(row["v2e"] for row in made) / count * 1e6,
        "v2e_events_per_frame": made[-1]["events_v2e"] / count,
        "v2e_over_ours": statistics.median(row["v2e"] / row["ours"] for row in made),
    }
    if mixed:
        turns = [pixel_round(v2e, frames, name, step_us, 1) for _ in range(rounds)]
        found["v2e_over_ours_frame_by_frame"] = statistics.median(row["v2e"] / row["ours"] for row in turns)
    return found


def measure_differences(rounds: int, repeats: int = 20) -> dict[str, float]:
    """Return the time of frame differences of a 128x128 clip of 68 steps, and over that of copying its frames."""
    from neuroemo.events.framediff import FrameDiffSettings, frame_difference

    frames = texture(128, 128, 68)
    settings, target = FrameDiffSettings(), np.empty_like(frames)
    frame_difference(frames, settings)
    rows = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(repeats):
            frame_difference(frames, settings)
        middle = time.process_time()
        for _ in range(repeats):
            np.copyto(target, frames)
        rows.append((middle - start, time.process_time() - middle))
    return {
        "ours_us_per_clip": statistics.median(ours for ours, _ in rows) / repeats * 1e6,
        "copy_us_per_clip": statistics.median(copy for _, copy in rows) / repeats * 1e6,
        "framediff_over_memcpy": statistics.median(ours / copy for ours, copy in rows),
    }
