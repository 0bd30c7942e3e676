"""The table of docs/results.md about the counter, from what benchmarks/profile.py measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MARKS = ("<!-- profile: begin -->", "<!-- profile: end -->")
WORDS = {
    "ours": "**ours**",
    "sinabs": "sinabs, hooks",
    "spikingjelly_lemaire": "SpikingJelly, Lemaire",
    "spikingjelly_synop": "SpikingJelly, SynOpCounter",
    "neurobench": "NeuroBench, SynapticOperations",
    "spikingjelly_synop_mac_ac": "SpikingJelly, SynOp, MAC and AC",
    "spikingjelly_simple": "SpikingJelly, simple energy",
}
COUNTED = {"avgpool": "average pools", "stride_gray_first_frame": "strides, gray first frame"}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield the table: time over the plain pass, and how far each count is from the exact one."""
    heads = [
        "counter",
        "average pools",
        "strides",
        "one call, pools",
        "one call, strides",
        *(f"off: {n}" for n in COUNTED.values()),
    ]
    yield "| " + " | ".join(heads) + " |"
    yield "| --- " * len(heads) + "|"
    for name, words in WORDS.items():
        times = [_range(found["measured"][net]["cpu_ratios"][name]) for net in ("avgpool", "stride")]
        again = [found["ratios_multi_step"][net].get(name) for net in ("avgpool", "stride")]
        times += [f"{value:.2f}" if value else "" for value in again]
        off = [_off(found["counts"][net].get(name)) for net in COUNTED]
        yield "| " + " | ".join([words, *times, *off]) + " |"
    machine = found["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "spikingjelly", "neurobench", "sinabs"))
    yield ""
    rounds = found["conditions"]["rounds"]
    yield f"{rounds} rounds, median (range) of processor time; {machine['processor']}, {versions}."


def _range(measured: dict[str, Any]) -> str:
    return f"{measured['median']:.2f} ({measured['min']:.2f} to {measured['max']:.2f})"


def _off(counted: dict[str, Any] | None) -> str:
    if counted is None or counted.get("events_off") is None:
        return ""
    off = counted["events_off"]
    if counted["equal"]:
        return "exact"
    return f"{off:+.1%}" if abs(off) >= 5e-4 else "sum exact, split by call"


def main() -> None:
    """Replace what stands between the marks of docs/results.md."""
    found = json.loads((HERE / "results" / "profile.json").read_text())
    path = HERE.parent / "docs" / "results.md"
    text = path.read_text()
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n" + "\n".join(lines(found)) + f"\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
