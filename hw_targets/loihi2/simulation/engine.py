"""The simulator: a chip planned once, then run on as many clips as there are, a stretch of time at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Shape
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.simulation.dense_sums import exact_products
from hw_targets.loihi2.simulation.encode import check_shape, encode_input
from hw_targets.loihi2.simulation.lif_population import LifPopulation
from hw_targets.loihi2.simulation.on_device import DevicePopulation, open_device
from hw_targets.loihi2.simulation.plan import Plan, channels_last, to_channels_last
from hw_targets.loihi2.simulation.population import Population, State, Stretch
from hw_targets.loihi2.simulation.record import ChipRun, Probe, Record, Recorder, chosen_neurons
from hw_targets.loihi2.simulation.reset import Reset
from hw_targets.loihi2.simulation.sigma_delta_population import SigmaDeltaPopulation
from hw_targets.loihi2.simulation.synapses import Path, Synapses

Mode = Literal["aligned", "pipeline"]
Overflow = Literal["refuse", "wrap"]
UNITS = 2**22
"""Neurons times steps times samples of a layer that are worked on at once: sums of 32 bits stay near the cache."""
WINDOW = 2**25
"""Neurons times steps times samples of the largest layer that go through the whole network together: bounds memory.

Small layers then take many steps at once, so that a large dense matrix behind a large map is read less often.
"""


class Simulator:
    """A chip ready to run.

    ``mode`` "aligned" lets all layers work on the same frame; "pipeline" keeps Lava's clock, in which every synapse
    hands its sum on one step later. ``path`` fixes how sums are taken ("auto": the faster one, measured layer by
    layer). ``threads`` share the clips of a batch. ``device`` is "cpu", or a torch device such as "cuda", on which
    ``path`` means nothing. With ``overflow`` "wrap" a sum beyond the 24-bit current is taken as Lava takes it, instead
    of being refused. ``reset`` puts the neurons to rest as netx does when it is told to; in Lava's clock only, since in
    frame time every clip begins at rest.

    Raises:
        InputError: an option that is none of these.
        MissingDependencyError: no such device here.
        UnsupportedError: a layer that runs on the processor only.
    """

    def __init__(
        self,
        chip: ChipGraph,
        *,
        mode: Mode = "aligned",
        path: Path = "auto",
        threads: int = 1,
        device: str = "cpu",
        overflow: Overflow = "refuse",
        reset: Reset | None = None,
    ) -> None:
        _check_options(mode=mode, path=path, overflow=overflow, threads=threads)
        if reset is not None and (mode != "pipeline" or device != "cpu"):
            found = f"a reset in {mode} mode on {device}"
            raise InputError(Finding("E235", "error", "reset", found, "pipeline mode on the processor"))
        self.chip, self.mode, self.threads = chip, mode, threads
        self.populations: list[Population | DevicePopulation] = []
        plans, late = _plans(chip, overflow == "wrap"), mode == "pipeline"
        if device == "cpu":
            for index, plan in enumerate(plans):
                resets = None if reset is None else partial(reset.steps, index)
                self.populations.append(_KINDS[plan.layer.neuron](plan, path, late=late, resets=resets))
        else:
            opened = open_device(device)
            self.populations += [DevicePopulation(plan, opened, late=late) for plan in plans]

    def run(
        self,
        clips: Array,
        *,
        record: Record = "all",
        probe: Probe = (),
        teacher: Mapping[str, Array] | None = None,
        keep_state: bool = False,
    ) -> ChipRun:
        """Run clips [T, N, ...] and return what was to be recorded.

        Raises:
            InputError: see ``encode_input``; also a probe that names no layer or neuron, or a teacher in Lava's clock.
            CapacityError: a synaptic sum that the chip, or Lava, cannot hold.
        """
        if teacher is not None and self.mode == "pipeline":
            raise InputError(Finding("E056", "error", "teacher", "a teacher in pipeline mode", "aligned mode"))
        check_shape(self.chip, clips)
        recorder = Recorder(
            self.chip, clips.shape[0], clips.shape[1], record, chosen_neurons(self.chip, probe), keep_state
        )
        groups = list(self._groups(clips.shape[0], clips.shape[1]))
        work = lambda samples: self._run_group(clips, samples, teacher, recorder)  # noqa: E731
        with exact_products():
            if self.threads > 1 and len(groups) > 1:
                with ThreadPoolExecutor(self.threads, initializer=_one_thread) as pool:
                    list(pool.map(work, groups))
            else:
                for samples in groups:
                    work(samples)
        return recorder.result()

    def paths(self) -> list[dict[str, Any]]:
        """Return, layer by layer, how many frames took which path, and the density at which they cost the same."""
        return [
            _path_of(each.layer.name, each.synapses) for each in self.populations if isinstance(each.synapses, Synapses)
        ]

    def _groups(self, steps: int, samples: int) -> Iterator[slice]:
        """Yield slices of the samples, each small enough for a few steps at a time, and one for every thread."""
        together = max(1, UNITS // (self._largest() * max(1, min(steps, 8))))
        together = min(together, -(-samples // self.threads))
        for start in range(0, samples, max(together, 1)):
            yield slice(start, min(start + together, samples))

    def _largest(self) -> int:
        return max(*(population.plan.neurons for population in self.populations), int(np.prod(self.chip.input_shape)))

    def _run_group(self, clips: Array, samples: slice, teacher: Mapping[str, Array] | None, recorder: Recorder) -> None:
        steps, count = clips.shape[0], samples.stop - samples.start
        states = [population.begin(count) for population in self.populations]
        window_units = WINDOW if all(map(_can_be_cut, self.populations)) else UNITS
        together, rooms = max(1, window_units // (self._largest() * count)), dict[int, Array]()
        for start in range(0, steps, together):
            window = slice(start, min(start + together, steps))
            fed = self._input(clips[window, samples], start, samples)
            for population, state in zip(self.populations, states, strict=True):
                fed = _advance(population, state, fed, recorder, rooms)
                if teacher is not None:
                    fed = _taught(teacher[population.layer.name][window, samples], fed)
        for population, state in zip(self.populations, states, strict=True):
            recorder.take_state(population.layer, samples, population.final(state))

    def _input(self, clips: Array, start: int, samples: slice) -> Stretch:
        values = encode_input(self.chip, clips, first=start)
        first = self.populations[0]
        if first.layer.kind == "dense" or first.layer.kind == "dense_rec":
            values = values.reshape(*values.shape[:2], -1)
        counts = np.count_nonzero(values.reshape(*values.shape[:2], -1), axis=2)
        return Stretch(start, samples, to_channels_last(values), counts)


def _advance(
    population: Population | DevicePopulation, state: State, fed: Stretch, recorder: Recorder, rooms: dict[int, Array]
) -> Stretch:
    """Take a window through one population, as many steps at a time as suit its size.

    ``rooms`` keeps the memory for spikes from one window to the next: new memory costs more than what is done in it.
    """
    steps, count = fed.counts.shape
    plan = population.plan
    together = max(1, UNITS // (max(plan.neurons, int(np.prod(plan.source_shape))) * count))
    if together >= steps or not _can_be_cut(population):
        return population.advance(state, fed, recorder)
    if id(population) not in rooms:
        rooms[id(population)] = np.empty((steps, count, plan.neurons), dtype=np.uint8)
    state.room = room = rooms[id(population)]
    counts = []
    for begin in range(0, steps, together):
        part = slice(begin, begin + together)
        stretch = Stretch(fed.start + begin, fed.samples, fed.messages[part], fed.counts[part])
        counts.append(population.advance(state, stretch, recorder).counts)
    state.room = None
    messages = room[:steps].reshape(steps, count, *channels_last(plan.layer.output_shape))
    return Stretch(fed.start, fed.samples, messages, np.concatenate(counts))


def _can_be_cut(population: Population | DevicePopulation) -> bool:
    """Whether a window goes through it in parts: spikes of one byte fit where wide sums of a whole window would not."""
    return isinstance(population, LifPopulation) and population.recurrence is None


_KINDS: dict[str, type[Population]] = {
    "lif": LifPopulation,
    "delta": SigmaDeltaPopulation,
    "sigma_delta": SigmaDeltaPopulation,
    "sigma": SigmaDeltaPopulation,
}


def _plans(chip: ChipGraph, wraps: bool) -> list[Plan]:
    source: Shape = chip.input_shape
    plans: list[Plan] = []
    for layer in chip.layers:
        plans.append(Plan(layer, source if plans else _seen(source, layer.kind), wraps))
        source = layer.output_shape
    return plans


def _check_options(*, mode: str, path: str, overflow: str, threads: int) -> None:
    allowed = {"mode": ("aligned", "pipeline"), "path": ("auto", "dense", "event"), "overflow": ("refuse", "wrap")}
    given = {"mode": mode, "path": path, "overflow": overflow}
    findings = [
        Finding("E235", "error", name, repr(value), " or ".join(allowed[name]))
        for name, value in given.items()
        if value not in allowed[name]
    ]
    if threads < 1:
        findings.append(Finding("E235", "error", "threads", str(threads), "at least 1"))
    if findings:
        raise InputError(findings)


def _seen(shape: tuple[int, ...], kind: str) -> tuple[int, ...]:
    """Return the shape in which the first layer takes the input: a dense layer takes it flat, in C, H, W order."""
    return shape if kind in ("conv", "input") else (int(np.prod(shape)),)


def _taught(spikes: Array, fed: Stretch) -> Stretch:
    messages = to_channels_last(np.asarray(spikes)).astype(fed.messages.dtype, copy=False)
    return Stretch(
        fed.start, fed.samples, messages, np.count_nonzero(messages.reshape(*messages.shape[:2], -1), axis=2)
    )


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _path_of(name: str, synapses: Synapses) -> dict[str, Any]:
    inputs = int(np.prod(synapses.plan.source_shape))
    density = None if synapses.crossover is None else synapses.crossover.density(inputs)
    return {"layer": name, "frames": dict(synapses.frames), "crossover_density": density}
