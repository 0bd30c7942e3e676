"""What events cost: the pixel model beside v2e, frame differences beside a copy, reading clips beside training on them.

    python benchmarks/events.py [--v2e FOLDER] [--rounds N] [--results FILE] [--quick]

One thread, processor time. ``--v2e`` is a checkout of SensorsINI/v2e, whose emulator is called on the same
frames with the same settings, in turns with ours within every round; without it those ratios are left out and
named. A ratio is the median over rounds. Writes benchmarks/results/events.json, from which
benchmarks/events_figures.py draws docs/events-cost.svg. ``--quick`` measures little, to see that all of it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SIZES = {"346x260": (260, 346), "128": (128, 128)}


def main() -> None:
    """Measure and write the results."""
    args = _arguments()
    import torch
    from events_parts import SETTINGS, load_v2e, measure_differences, measure_pixel, texture
    from events_reading import measure_reading
    from events_scaling import measure_scaling
    from simulate_parts import machine

    torch.set_num_threads(1)
    rounds = 2 if args.quick else args.rounds
    v2e = None if args.v2e is None else load_v2e(args.v2e)
    pixels: dict[str, Any] = {}
    for size, shape in SIZES.items():
        frames = texture(*shape, 6 if args.quick else 60)
        for name in SETTINGS:
            _say(f"pixel model, {size}, {name}")
            pixels[f"{size} {name}"] = measure_pixel(v2e, frames, name, rounds, args.step_us)
    _say("frame differences")
    differences = measure_differences(rounds, 2 if args.quick else 20)
    reading = measure_reading(rounds, quick=args.quick, say=_say)
    scaling = measure_scaling(v2e, 1 if args.quick else min(rounds, 3), quick=args.quick, say=_say)
    ratios = {"framediff_over_memcpy": differences["framediff_over_memcpy"]}
    ratios["store_read_clips_per_s"] = reading["clips_per_s"]
    if v2e is not None:
        ratios |= {f"v2e_over_pixel_{size}": pixels[f"{size} clean"]["v2e_over_ours"] for size in SIZES}
        ratios |= {f"v2e_over_noisy_pixel_{size}": pixels[f"{size} noisy"]["v2e_over_ours"] for size in SIZES}
    found = {
        "machine": machine(),
        "rounds": rounds,
        "step_us": args.step_us,
        "ratios": ratios,
        "pixels": pixels,
        "framediff": differences,
        "reading": reading,
        "scaling": scaling,
        "not_measured": [] if v2e else ["v2e: give --v2e FOLDER"],
    }
    aside = args.results.with_name(f"{args.results.name}.part")
    aside.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    aside.replace(args.results)
    sys.stdout.write(json.dumps(ratios, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--v2e", type=Path, help="a checkout of SensorsINI/v2e")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--step-us", type=int, default=2000, help="time between frames")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "events.json")
    parser.add_argument("--quick", action="store_true", help="measure little: a test of the benchmark, not of the code")
    return parser.parse_args()


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
