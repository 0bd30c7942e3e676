"""What simulating events costs: the pixel model beside v2e's emulator, frame differences beside a copy of the frames.

    python benchmarks/events.py [--v2e FOLDER] [--rounds N] [--results FILE]

One thread, processor time. ``--v2e`` is a checkout of SensorsINI/v2e, whose emulator is called frame by frame on the
same frames with the same settings, in turns with ours within every round; without it those ratios are left out and
named. A ratio is the median over rounds. Packages that v2e imports and this does not need (windows, other file
formats) are replaced by empty ones. Writes benchmarks/results/events.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

HERE = Path(__file__).resolve().parent
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
SIZES = {"346x260": (260, 346), "128": (128, 128)}


def texture(height: int, width: int, frames: int, speed: float = 0.7) -> np.ndarray:
    """Return a smooth random texture that moves ``speed`` pixels per frame, uint8 [frames, height, width]."""
    import cv2

    noise = np.random.default_rng(0).random((height, width + int(frames * speed) + 8), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    scaled = (smooth - smooth.min()) / np.ptp(smooth) * 255
    shifts = (np.array([[1, 0, -index * speed], [0, 1, 0]], np.float32) for index in range(frames))
    return np.stack([cv2.warpAffine(scaled, shift, (width, height)).astype(np.uint8) for shift in shifts])


def load_v2e(folder: Path) -> Callable[..., Any]:
    """Return a maker of v2e emulators from a checkout."""
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


def pixel_round(v2e: Callable[..., Any] | None, frames: np.ndarray, name: str, step_us: int) -> dict[str, float]:
    """Feed the frames to both, in turns, and return the seconds of each and the events."""
    from neuroemo.events.pixel.settings import PixelSettings
    from neuroemo.events.pixel.simulator import PixelSimulator

    changes = SETTINGS[name]
    ours = PixelSimulator(
        PixelSettings(timing="slots", **{OURS[key]: value for key, value in changes.items()}), *frames.shape[1:]
    )
    theirs = None if v2e is None else v2e(**changes)
    spent = {"ours": 0.0, "v2e": 0.0}
    events = {"ours": 0, "v2e": 0}
    for index, frame in enumerate(frames):
        start = time.process_time()
        events["ours"] += len(ours.feed(frame, index * step_us))
        spent["ours"] += time.process_time() - start
        if theirs is not None:
            start = time.process_time()
            made = theirs.generate_events(frame, index * step_us * 1e-6)
            spent["v2e"] += time.process_time() - start
            events["v2e"] += 0 if made is None else len(made)
    return spent | {f"events_{key}": float(value) for key, value in events.items()}


def measure_pixels(v2e: Callable[..., Any] | None, rounds: int, step_us: int) -> dict[str, Any]:
    """Return seconds per frame, events and ratios of every size and setting."""
    found: dict[str, Any] = {}
    for size, shape in SIZES.items():
        frames = texture(*shape, 60)
        for name in SETTINGS:
            pixel_round(v2e, frames[:4], name, step_us)
            made = [pixel_round(v2e, frames, name, step_us) for _ in range(rounds)]
            seconds = statistics.median(row["ours"] for row in made) / len(frames)
            found[f"{size} {name}"] = {
                "ours_us_per_frame": seconds * 1e6,
                "events_per_frame": made[-1]["events_ours"] / len(frames),
                "v2e_events_per_frame": made[-1]["events_v2e"] / len(frames) if v2e else None,
                "v2e_over_ours": statistics.median(row["v2e"] / row["ours"] for row in made) if v2e else None,
            }
    return found


def measure_differences(rounds: int) -> float:
    """Return the time of frame differences over that of copying the same frames, median over rounds."""
    from neuroemo.events.framediff import FrameDiffSettings, frame_difference

    frames = texture(128, 128, 68)
    settings, target, ratios = FrameDiffSettings(), np.empty_like(frames), []
    frame_difference(frames, settings)
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(20):
            frame_difference(frames, settings)
        middle = time.process_time()
        for _ in range(20):
            np.copyto(target, frames)
        ratios.append((middle - start) / (time.process_time() - middle))
    return statistics.median(ratios)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--v2e", type=Path, help="a checkout of SensorsINI/v2e")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--step-us", type=int, default=2000, help="time between frames")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "events.json")
    args = parser.parse_args()
    import torch
    from simulate_parts import machine

    torch.set_num_threads(1)
    v2e = None if args.v2e is None else load_v2e(args.v2e)
    pixels = measure_pixels(v2e, args.rounds, args.step_us)
    ratios = {"framediff_over_memcpy": measure_differences(args.rounds)}
    if v2e is not None:
        ratios |= {f"v2e_over_pixel_{size}": pixels[f"{size} clean"]["v2e_over_ours"] for size in SIZES}
    found = {
        "machine": machine(),
        "rounds": args.rounds,
        "step_us": args.step_us,
        "ratios": ratios,
        "pixels": pixels,
        "not_measured": [] if v2e else ["v2e: give --v2e FOLDER"],
    }
    args.results.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    sys.stdout.write(json.dumps(ratios, indent=1) + "\n")


if __name__ == "__main__":
    main()
