"""Where the simulator's time goes: synaptic sums, neurons and recording of each layer, in milliseconds per step."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any
from unittest import mock

from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipLayer
from hw_targets.loihi2.simulation.engine import Simulator
from hw_targets.loihi2.simulation.record import Recorder

REPEATS = 5
PARTS = ("sums", "neurons", "recording")
Clock = dict[tuple[str, str], float]


def profile(simulator: Simulator, clips: Array) -> dict[str, Any]:
    """Return ms per step and clip of each part of each layer, of preparing the input, and of all the rest.

    Medians of a few runs on ``clips`` [T, N, ...] that record the output only; the clocks themselves cost a few
    microseconds per layer and stretch of time.
    """
    runs = [_one(simulator, clips) for _ in range(REPEATS)]
    frames = clips.shape[0] * clips.shape[1]

    def ms(layer: str, part: str) -> float:
        return median(clock.get((layer, part), 0.0) for clock in runs) * 1e3 / frames

    layers = [
        {"layer": layer.name} | {f"{part}_ms": ms(layer.name, part) for part in PARTS}
        for layer in simulator.chip.layers
    ]
    known = ms("", "input") + sum(value for row in layers for value in row.values() if isinstance(value, float))
    total = ms("", "run")
    return {"layers": layers, "input_ms": ms("", "input"), "rest_ms": total - known, "total_ms": total}


def _one(simulator: Simulator, clips: Array) -> Clock:
    clock: Clock = defaultdict(float)
    with ExitStack() as stack:
        for owner, method, layer, part in _places(simulator):
            clocked = _timed(getattr(owner, method), clock, layer, part)
            stack.enter_context(mock.patch.object(owner, method, clocked))
        kept = _timed_recording(Recorder.take_messages, clock)
        stack.enter_context(mock.patch.object(Recorder, "take_messages", kept))
        started = time.perf_counter()
        simulator.run(clips, record="output")
        clock["", "run"] = time.perf_counter() - started
    return clock


def _places(simulator: Simulator) -> Iterator[tuple[Any, str, str, str]]:
    """Yield what is timed: the object, its method, the layer and the part that the time belongs to."""
    yield simulator, "_input", "", "input"
    for population in simulator.populations:
        name = population.layer.name
        if population.synapses is not None:
            yield population.synapses, "sums", name, "sums"
        yield population, "integrate", name, "neurons"


def _timed(original: Callable[..., Any], clock: Clock, layer: str, part: str) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            clock[layer, part] += time.perf_counter() - started

    return call


def _timed_recording(original: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    def call(recorder: Recorder, layer: ChipLayer, *arguments: Any) -> None:
        _timed(original, clock, layer.name, "recording")(recorder, layer, *arguments)

    return call
