"""The measured cost of events as tables: ``python benchmarks/events_tables.py`` writes them into docs/event-camera.md.

They replace what stands between two marks; the numbers are those of ``benchmarks/results/events.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MARKS = ("<!-- events: begin -->", "<!-- events: end -->")
NAMES = {"ideal": "no noise", "clean": "`clean`", "bandwidth": "bandwidth 300 Hz", "noisy": "`noisy`"}


def main() -> None:
    """Write the tables of the measured results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=HERE / "results" / "events.json")
    parser.add_argument("--docs", type=Path, default=HERE.parent / "docs" / "event-camera.md")
    args = parser.parse_args()
    write_tables(args.docs, tables(json.loads(args.results.read_text(encoding="utf-8"))))
    sys.stdout.write(f"{args.docs}\n")


def write_tables(page: Path, text: str) -> None:
    """Replace what is between the marks of a Markdown file."""
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    aside = page.with_name(f"{page.name}.part")
    aside.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}", encoding="utf-8")
    aside.replace(page)


def tables(found: dict[str, Any]) -> str:
    """Return the table of the pixel model and the sentences on frame differences and reading."""
    machine, differences, reading = found["machine"], found["framediff"], found["reading"]
    step, slow = (reading[name] / 1000 for name in ("training_step_ms", "spikingjelly_step_ms"))
    share = 100 * reading["share_of_step_spent_reading"]
    lines = [
        f"{machine['processor']}, Python {machine['python']}, numpy {machine['numpy']}, torch {machine['torch']}; "
        f"medians of {found['rounds']} rounds, a frame every {found['step_us'] / 1000:g} ms.",
        "",
        "| frames | settings | ours, µs per frame | events per frame | v2e, µs per frame | v2e / ours "
        "| a frame each in turns |",
        "| --- " * 7 + "|",
        *(_row(name, cost) for name, cost in found["pixels"].items()),
        "",
        f"Frame differences of a clip of 68 frames, 128×128: {differences['ours_us_per_clip']:.0f} µs, "
        f"{differences['framediff_over_memcpy']:.1f} times a copy of the frames, of which they write twice "
        "the bytes.",
        "",
        f"A prepared store of {reading['clips']} clips of {reading['steps']} steps, "
        f"{reading['size']}×{reading['size']} ({reading['stored_bytes_per_clip'] / 1000:.0f} kB "
        f"each), gives {reading['clips_per_s']:.0f} clips per second "
        f"in random batches of {reading['batch']}: {reading['read_ms_per_batch']:.0f} ms per batch. One step of "
        f"training on it (the spiking network of the paper, forward, backward, optimiser, one thread) "
        f"takes {step:.1f} s "
        f"({slow:.1f} s with SpikingJelly's modules): {share:.2g} % of the time goes into reading.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, cost: dict[str, Any]) -> str:
    size, setting = name.split()
    frames = "128×128" if size == "128" else size.replace("x", "×")
    ours = f"| {frames} | {NAMES[setting]} | {cost['ours_us_per_frame']:.0f} | {cost['events_per_frame']:,.0f} "
    if "v2e_over_ours" not in cost:
        return f"{ours}| | | |"
    both = f"{cost['v2e_over_ours']:.1f} | {cost['v2e_over_ours_frame_by_frame']:.1f}"
    return f"{ours}| {cost['v2e_us_per_frame']:.0f} | {both} |"


if __name__ == "__main__":
    main()
