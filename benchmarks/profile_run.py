"""The side-by-side run of benchmarks/profile.py: rounds, ratios, and the table of counts with its reasons."""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from profile_parts import DENSITY, Down, Mode, Size, Subject, Tool, Totals, build_subject, exact_counts, tools
from simulate_parts import ONE_THREAD, machine, summary

LIMITS = {"avgpool": 1.10, "stride": 1.20}
"""What our counter may cost at most, as a multiple of the plain forward pass."""
PEERS = ("neurobench", "sinabs", "spikingjelly", "snntorch")
TIMED: tuple[Down, ...] = ("avgpool", "stride")
QUICK = Size(side=16, channels=4, stages=2, steps=4, batch=2)
ROUNDS, QUICK_ROUNDS = 21, 3
NOT_MEASURED = {
    "syops": "0.0.5 imports nothing newer than SpikingJelly 0.0.0.0.12",
}
"""Counters that cannot be measured beside the others, and why."""

Seconds = dict[str, dict[str, list[float]]]


def main(description: str | None, here: Path) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path)
    args = parser.parse_args()
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds: 1 or more")
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        # The libraries read these when they are loaded, which they are by now.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    size = QUICK if args.quick else Size()
    found = measure(size, args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS))
    results = args.results or (None if args.quick else here / "results" / "profile.json")
    if results is not None:
        results.parent.mkdir(exist_ok=True)
        results.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


def log(line: str) -> None:
    """Say on the console what has been measured."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def measure(size: Size, rounds: int) -> dict[str, Any]:
    """Return everything: ratios and times of the timed networks in both modes, counts of all of them."""
    times: dict[Mode, dict[str, dict[str, Any]]] = {"s": {}, "m": {}}
    counts: dict[str, dict[str, Any]] = {}
    rates: dict[str, dict[str, float]] = {}
    missing: dict[str, str] = {}
    for mode in times:
        for down in TIMED:
            subject = build_subject(down, size, mode=mode)
            found, absent = tools(subject)
            if mode == "s":
                missing, rates[down] = absent, subject.rates
                counts[down] = compare(subject, found)
            log(f"{down}, step mode {mode}: {rounds} rounds of {', '.join(tool.name for tool in found)}")
            times[mode][down] = _timed(found, rounds)
    for name, down, gray in (("stride_gray_first_frame", "stride", True), ("maxpool", "maxpool", False)):
        subject = build_subject(down, size, gray=gray)  # type: ignore[arg-type]
        rates[name] = subject.rates
        counts[name] = compare(subject, tools(subject)[0])
    ratios = {mode: {net: found["ratios"] for net, found in nets.items()} for mode, nets in times.items()}
    return {
        "date": date.today().isoformat(),
        "machine": machine() | {name: _version(name) for name in PEERS},
        "conditions": conditions(size, rounds),
        "limits": LIMITS,
        "within_limits": {name: ratios["s"][name]["ours"] <= limit for name, limit in LIMITS.items()},
        "ratios": ratios["s"],
        "ratios_multi_step": ratios["m"],
        "measured": times["s"],
        "measured_multi_step": times["m"],
        "rates": rates,
        "counts": counts,
        "not_measured": NOT_MEASURED | missing,
    }


def conditions(size: Size, rounds: int) -> dict[str, Any]:
    """Return what was measured, in words and numbers."""
    return {
        "steps": size.steps,
        "batch": size.batch,
        "input": [2, size.side, size.side],
        "input_density": DENSITY,
        "network": f"{size.stages} x (Conv2d 3x3 to {size.channels}, BatchNorm2d, LIF tau 2), Linear to 10; "
        "avgpool: padding 1, then AvgPool2d(2); stride: padding 1, stride 2",
        "threads": 1,
        "rounds": rounds,
        "ratio": "median over rounds of CPU time over that of the plain pass in the same round",
        "left_out": "the first call of each counter, given apart as first_call_s",
        "plain": "the same model in eval mode without gradients, neurons reset before each batch, as for all",
    }


# --- time -------------------------------------------------------------------------------------------------------


def _timed(found: Sequence[Tool], rounds: int) -> dict[str, Any]:
    gc.collect()
    first = {tool.name: _once(tool)["cpu"] for tool in found}
    seconds = interleaved(found, rounds)
    clocks = {
        clock: {name: paired_ratios(values[clock], seconds["plain"][clock]) for name, values in seconds.items()}
        for clock in ("cpu", "wall")
    }
    counters = [tool.name for tool in found if tool.name != "plain"]
    for name in counters:
        row = summary(clocks["cpu"][name])
        log(f"  {name}: {row['median']:.3f} ({row['min']:.3f} to {row['max']:.3f})")
    return {
        "ratios": {name: round(statistics.median(clocks["cpu"][name]), 4) for name in counters},
        "cpu_ratios": {name: summary(clocks["cpu"][name]) for name in counters},
        "wall_ratios": {name: summary(clocks["wall"][name]) for name in counters},
        "cpu_ms": {name: summary(values["cpu"], 1e3) for name, values in seconds.items()},
        "first_call_s": first,
    }


def interleaved(found: Sequence[Tool], rounds: int) -> Seconds:
    """Return the CPU and wall seconds of every tool in every round; round r starts with tool r."""
    seconds: Seconds = {tool.name: {"cpu": [], "wall": []} for tool in found}
    gc.collect()
    gc.freeze()  # what the libraries have loaded is not looked through again between two calls
    try:
        for index in range(rounds):
            turn = index % len(found)
            for tool in (*found[turn:], *found[:turn]):
                for clock, value in _once(tool).items():
                    seconds[tool.name][clock].append(value)
    finally:
        gc.unfreeze()
    return seconds


def _once(tool: Tool) -> dict[str, float]:
    gc.collect(1)
    cpu, wall = time.process_time(), time.perf_counter()
    tool.run()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def paired_ratios(values: Sequence[float], plain: Sequence[float]) -> list[float]:
    """Return each round's value over the plain pass of the same round.

    >>> paired_ratios([3.0, 8.0], [2.0, 4.0])
    [1.5, 2.0]
    """
    return [value / base for value, base in zip(values, plain, strict=True)]


# --- counts -----------------------------------------------------------------------------------------------------


def compare(subject: Subject, found: Sequence[Tool]) -> dict[str, Any]:
    """Return the exact counts of the batch, and each counter's totals beside them with the reason of a difference."""
    exact = exact_counts(subject)
    rows: dict[str, Any] = {"exact": exact}
    for tool in found:
        if totals := tool.run():
            rows[tool.name] = compared(tool.name, totals, exact)
    return rows


def compared(name: str, totals: Totals, exact: Mapping[str, int]) -> dict[str, Any]:
    """Return a counter's totals, whether they are the exact ones, and if not by how much its synops differ, and why.

    >>> compared("ours", {"acs": 7, "macs": 3, "dense": 20}, {"events": 10, "graded": 3, "dense": 20})["equal"]
    True
    """
    accumulates = exact["events"] - exact["graded"]
    wanted = {"acs": accumulates, "macs": exact["graded"], "dense": exact["dense"], "synops": exact["events"]}
    # An accumulate counter that also counts neurons and normalisation is no count of synaptic events.
    synaptic = totals if name in ("ours", "neurobench") else {"synops": totals.get("synops", totals.get("synop", 0))}
    equal = all(value == wanted[key] for key, value in synaptic.items())
    events = synaptic["synops"] if "synops" in synaptic else synaptic["acs"] + synaptic["macs"]
    row: dict[str, Any] = {"totals": totals, "equal": equal, "events_off": events / exact["events"] - 1}
    if not equal:
        row["why"] = WHY.get(name, "a defect: these must be equal")
    return row


WHY = {
    "neurobench": "a call is MAC as a whole unless all its inputs are -1, 0 or 1; ours splits by element",
    "sinabs": "inputs count by their value, pooled ones times the window (spikes that entered the pool); sums in "
    "float32, so that large ones are rounded",
    "spikingjelly_synop": "a call counts only if all its inputs are 0 or 1; otherwise it is dense MACs elsewhere",
    "spikingjelly_synop_mac_ac": "a call is dense MACs, padding included, unless all its inputs are 0 or 1; MACs and "
    "ACs of normalisation, pooling and neurons are in the same totals",
    "spikingjelly_lemaire": "fan-out of a spike is ceil(kernel/stride)^2 x channels, without borders; a layer whose "
    "inputs are not all 0 or 1 is dense MACs",
    "spikingjelly_simple": "a call counts as synops only if all its inputs are 0 or 1; otherwise it is dense MACs",
}
"""Why a counter's totals are not the exact ones, where they are not."""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
