"""How fast the fixed-point simulator is: beside Lava, beside the float forward pass, beside a bare matrix product.

    python benchmarks/simulate.py [--quick] [--only ratios|scaling] [--results FILE] [--docs FILE]

One process measures everything in turn, with one thread, on the paper's network (0.4snn, 2x128x128, 68 steps) with
random weights under which the hidden layers fire as rarely as ``RATES`` says. Writes benchmarks/results/simulate.json
and the tables of docs/results.md. ``--quick`` does all of it at a small size, in about a minute, and writes only what
``--results`` and ``--docs`` name. ``--only`` measures one part and keeps the other from the results file.

Seconds of Lava are those of its steps; starting it, and its first step, are left out. Seconds of everything else are
those of whole runs, from float32 clips to the output spikes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from simulate_parts import (
    ONE_THREAD,
    FloatForward,
    Subject,
    build_subject,
    interleaved,
    machine,
    matrix_product,
    multiplies,
    random_clips,
    summary,
    timed,
)
from simulate_profile import profile
from simulate_scaling import FULL, QUICK, Extent, measure_scaling
from simulate_tables import write_tables

from export.reference import run_graph
from hw_targets.graph import Array
from hw_targets.loihi2.lava import lava_available, run_lava
from hw_targets.loihi2.simulation.engine import Simulator
from hw_targets.registry import deploy_target
from neuroemo.models.emotion import EmotionSpec, spec_by_name

HERE = Path(__file__).resolve().parent
DENSITY = 0.1
RATES = (0.05, 0.05, 0.05, 0.05, 0.1)
"""How often each layer is made to fire, per neuron and step: a few per cent, and the voting neurons more often."""
DEMO_RATES = (0.10, 0.16, 0.16, 0.12, 0.3)
"""About the rates of the network that `neuroemo demo` trains (seed 1), for a second look at the two ways to sum."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: the network, how many steps Lava runs, how often, and clips per batch (the last counts)."""

    spec: EmotionSpec
    lava_steps: int
    rounds: int
    runs: int
    batches: tuple[int, ...]
    extent: Extent


PAPER = spec_by_name("0.4snn")
SIZES = {
    "full": Size(PAPER, 8, 3, 2, (1, 4), FULL),
    "quick": Size(replace(PAPER, size=32, steps=12, channels=(8, 8, 8), hidden=64), 4, 1, 2, (1, 2), QUICK),
}


def main() -> None:
    """Measure, write the results, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("ratios", "scaling"))
    parser.add_argument("--results", type=Path)
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    size = SIZES["quick" if args.quick else "full"]
    results = args.results or (None if args.quick else HERE / "results" / "simulate.json")
    docs = args.docs or (None if args.quick else HERE.parent / "docs" / "results.md")
    torch.set_num_threads(1)
    os.environ.update(ONE_THREAD)
    found: dict[str, Any] = json.loads(results.read_text()) if args.only and results and results.exists() else {}
    with tempfile.TemporaryDirectory(prefix="neuroemo-bench-") as name:
        if args.only != "scaling":
            found |= measure_ratios(size, Path(name))
            _save(found, results)
        if args.only != "ratios":
            found["scaling"] = measure_scaling(size.extent, RATES, Path(name), log)
            _save(found, results)
    if docs is not None:
        write_tables(docs, found)


def log(line: str) -> None:
    """Say on the console what has been measured."""
    print(line, file=sys.stderr, flush=True)


def _save(found: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")


# --- side by side ---------------------------------------------------------------------------------------------


def measure_ratios(size: Size, folder: Path) -> dict[str, Any]:
    """Return everything that is measured on one network, side by side, and the ratios."""
    started = time.perf_counter()
    subject = build_subject(size.spec, DENSITY, RATES)
    log(f"network built in {time.perf_counter() - started:.1f} s")
    bench = SideBySide(size, subject, folder)
    equal = bench.compare()
    log(f"equal: {equal}")
    times = bench.measure()
    counts = {kind: sum(layers.values()) for kind, layers in multiplies(subject.chip).items()}
    measured = {name: summary(values, 1e3) for name, values in times.items()}
    for name, row in measured.items():
        log(f"{name}: {row['median']:.3f} ms ({row['min']:.3f} to {row['max']:.3f}, {row['runs']} runs)")
    batch = size.batches[-1]
    return {
        "machine": machine(),
        "conditions": {
            "network": size.spec.to_dict(),
            "input_density": DENSITY,
            "first_frame": size.spec.first_frame,
            "rates": bench.rates(),
            "threads": 1,
            "batch": batch,
            "lava_steps_timed": size.lava_steps - 1,
            "multiplies_per_step": multiplies(subject.chip),
            "multiplies_per_step_all": counts,
        },
        "ratios": ratios({name: row["median"] for name, row in measured.items()}, batch),
        "measured_ms_per_step_and_clip": measured,
        "equal": equal | bench.lava_equal,
        "profile": profile(bench.simulators["auto"], bench.clips[batch]),
        "paths": bench.simulators["auto"].paths(),
        "at_rates_of_the_demo": demo_rates(size),
    }


def ratios(ms: dict[str, float], batch: int) -> dict[str, float | None]:
    """Return the headline figures from medians; None where something was not measured.

    "fast" is ours, choosing its way by itself; all are times per step and clip, ours and the float forward pass with
    ``batch`` clips at once, Lava with one (it has no batch), the matrix product without any.
    """

    def over(one: str, other: str) -> float | None:
        return ms[one] / ms[other] if one in ms and other in ms else None

    fast = f"auto_batch{batch}"
    return {
        "lava_over_fast": over("lava", fast),
        "patched_lava_over_fast": over("lava_patched", fast),
        "fast_over_float_forward": over(fast, f"float_forward_batch{batch}"),
        "fast_over_gemm_limit": over(fast, "matrix_product_folded"),
        "dense_over_event_at_10pct": over(f"dense_batch{batch}", f"event_batch{batch}"),
        "lava_one_core_over_fast": over("lava_one_core", fast),
        "fast_over_float_forward_channels_last": over(fast, f"float_forward_channels_last_batch{batch}"),
        "fast_over_gemm_limit_pooled": over(fast, "matrix_product_pooled"),
        "one_thread_over_two": over(fast, f"auto_two_threads_batch{batch}"),
        "lava_over_fast_batch1": over("lava", "auto_batch1"),
        "fast_over_float_forward_batch1": over("auto_batch1", "float_forward_batch1"),
    }


class SideBySide:
    """The things to be measured on one network, ready to be called in turn."""

    def __init__(self, size: Size, subject: Subject, folder: Path) -> None:
        self.size = size
        self.chip = subject.chip
        self.graph = subject.graph
        self.file = folder / "network.net"
        deploy_target("loihi2").write(subject.chip, self.file)
        self.clips = {batch: random_clips(size.spec, batch, DENSITY) for batch in size.batches}
        self.simulators = {path: Simulator(subject.chip, path=path, threads=1) for path in ("dense", "event", "auto")}
        self.two_threads = Simulator(subject.chip, threads=2)
        self.floats = {
            "float_forward": FloatForward(subject.graph),
            "float_forward_channels_last": FloatForward(subject.graph, channels_last=True),
        }
        self.lava_equal = {"lava_spikes_compared": 0, "lava_spikes_different": 0}

    def rates(self) -> dict[str, float]:
        """Return how often the neurons of each layer fire, and the share of input values that are not 0."""
        run = self.simulators["auto"].run(self.clips[self.size.batches[-1]], record="all")
        clips = self.clips[self.size.batches[-1]]
        return {"input": float((clips != 0).mean())} | {name: float(s.mean()) for name, s in run.spikes.items()}

    def compare(self) -> dict[str, int]:
        """Return how many spikes of the two ways, and of the float forward pass and its yardstick, differ."""
        compared = different = 0
        for clips in self.clips.values():
            runs = [simulator.run(clips, record="all").spikes for simulator in self.simulators.values()]
            for other in runs[1:]:
                different += sum(int((runs[0][name] != other[name]).sum()) for name in runs[0])
                compared += sum(spikes.size for spikes in other.values())
        yardstick = run_graph(self.graph, self.clips[1])
        spikes = self.floats["float_forward"].run(torch.from_numpy(self.clips[1]))
        return {
            "paths_spikes_compared": compared,
            "paths_spikes_different": different,
            "float_forward_spikes_compared": sum(each.numel() for each in spikes.values()),
            "float_forward_spikes_different": sum(
                int((each.numpy() != yardstick.spikes[name]).sum()) for name, each in spikes.items()
            ),
        }

    def measure(self) -> dict[str, list[float]]:
        """Return seconds per step and clip of everything, Lava once a round, the others several times."""
        found: dict[str, list[float]] = {}
        fast = dict(self._fast_calls())
        interleaved(fast, 1)  # compiles, and touches the memory
        for _ in range(self.size.rounds):
            for calls, runs in ((dict(self._lava_calls()), 1), (fast, self.size.runs)):
                for name, values in interleaved(calls, runs).items():
                    found.setdefault(name, []).extend(values)
        return found

    def _lava_calls(self) -> Iterator[tuple[str, Callable[[], float]]]:
        if not lava_available():
            log("Lava is not installed: not measured")
            return
        yield "lava", self._lava
        yield "lava_one_core", lambda: self._lava(cores=1)
        yield "lava_patched", lambda: self._lava(patch="convolution")

    def _lava(self, cores: int | None = None, **options: Any) -> float:
        clips = self.clips[1][: self.size.lava_steps]
        with on_cores(cores):
            judged = run_lava(self.chip, self.file, clips, **options)
        ours = self.simulators["auto"].run(clips, record="all").spikes
        for name, spikes in judged.run.spikes.items():
            self.lava_equal["lava_spikes_compared"] += spikes.size
            self.lava_equal["lava_spikes_different"] += int((spikes != ours[name]).sum())
        log(f"Lava {cores or 'all'} core(s), {options}: {judged.seconds_per_step:.3f} s per step")
        return judged.seconds_per_step

    def _fast_calls(self) -> Iterator[tuple[str, Callable[[], float]]]:
        for batch, clips in self.clips.items():
            units = clips.shape[0] * batch
            for name, simulator in self.simulators.items():
                yield f"{name}_batch{batch}", _per_step(partial(simulator.run, clips, record="output"), units)
            yield (
                f"auto_two_threads_batch{batch}",
                _per_step(partial(self.two_threads.run, clips, record="output"), units),
            )
            everything = partial(self.simulators["auto"].run, clips, record="all")
            yield f"auto_record_all_batch{batch}", _per_step(everything, units)
            frames = torch.from_numpy(clips)
            for name, forward in self.floats.items():
                yield f"{name}_batch{batch}", _per_step(partial(forward.output, frames), units)
        steps = self.size.spec.steps
        for kind, layers in multiplies(self.chip).items():
            yield f"matrix_product_{kind}", _per_step(matrix_product(sum(layers.values()) * steps), steps)


def _per_step(call: Callable[[], object], units: int) -> Callable[[], float]:
    return lambda: timed(call) / units


@contextmanager
def on_cores(count: int | None) -> Iterator[None]:
    """Confine this process, and those that it starts, to so many cores; None: as it is."""
    if count is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def demo_rates(size: Size) -> dict[str, Any]:
    """Return what the ways to sum cost when layers fire as often as in the network that the demo trains."""
    subject = build_subject(size.spec, DENSITY, DEMO_RATES)
    batch = size.batches[-1]
    clips: Array = random_clips(size.spec, batch, DENSITY)
    simulators = {path: Simulator(subject.chip, path=path, threads=1) for path in ("dense", "event", "auto")}
    calls = {
        path: _per_step(partial(simulator.run, clips, record="output"), batch * len(clips))
        for path, simulator in simulators.items()
    }
    interleaved(calls, 1)
    times = interleaved(calls, size.runs)
    spikes = simulators["auto"].run(clips, record="all").spikes
    ms = {path: summary(values, 1e3) for path, values in times.items()}
    return {
        "rates": {name: float(np.mean(values)) for name, values in spikes.items()},
        "measured_ms_per_step_and_clip": ms,
        "dense_over_event": ms["dense"]["median"] / ms["event"]["median"],
    }


if __name__ == "__main__":
    main()
