"""Clips streamed through a chip's file, batch by batch, in memory that does not depend on how many there are."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from hw_targets.readout import group_rates
from neuroemo.deployment.clips import ClipSet
from neuroemo.pipeline import Log, Progress, quiet_progress, spread
from neuroemo.simulation.answers import FILES, Answers, write_answers
from neuroemo.simulation.backends import BatchRun, FastBackend, LavaBackend, Record
from neuroemo.simulation.compare import Comparison
from neuroemo.simulation.estimates import tell_values
from neuroemo.simulation.network import SimulatedNetwork, probes_of
from neuroemo.simulation.opening import Opened, open_both
from neuroemo.simulation.save import SpikeArchive, archive_arrays
from neuroemo.simulation.settings import SimulationSettings

FAST_NEURON_STEPS = 4 * 10**7
LAVA_NEURON_STEPS = 10**8
FAST_CLIPS, LAVA_CLIPS = 32, 256
FIGURE_CLIPS = 3


def simulate_clips(
    source: Path,
    data: Path,
    settings: SimulationSettings | None = None,
    *,
    progress: Progress = quiet_progress,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Run clips through a bundle, or through any netx file, and return the answers as a JSON-ready dictionary.

    ``accuracy`` and ``layers`` (messages and mean rate) are those of our simulator (of Lava, when it runs alone);
    ``lava`` holds Lava's own accuracy and, for both, how many messages differ in every layer and the first one.

    Raises:
        InputError: the network, the clips or an option cannot be used, or an output exists.
        UnsupportedError, CapacityError: the network does something that the simulator does not do.
        VerificationError, MissingDependencyError: Lava failed, or is not installed.
    """
    settings = settings or SimulationSettings()
    _refuse_outputs(settings)
    opened = open_both(source, data, settings, progress)
    for remark in (*opened.remarks, *map(str, opened.network.findings)):
        log(f"neuroemo: {remark}")
    total = len(opened.clips.names)
    if not total:
        raise InputError(Finding("E693", "error", str(data), "no clips", "at least 1"))
    return _Simulation(opened, settings, spread(np.arange(total), settings.limit), progress).run()


def _refuse_outputs(settings: SimulationSettings) -> None:
    findings = []
    if settings.save is not None and settings.save.suffix != ".npz":
        findings.append(Finding("E694", "error", str(settings.save), f"suffix {settings.save.suffix!r}", ".npz"))
    if settings.output is not None and settings.output.exists() and not settings.output.is_dir():
        findings.append(Finding("E695", "error", str(settings.output), "a file", "a folder", fix="another --output"))
    there = [settings.save] if settings.save is not None and settings.save.exists() else []
    there += [] if settings.output is None else [p for name in FILES if (p := settings.output / name).exists()]
    if there and not settings.force:
        fix = "choose another name, or --force"
        findings += [Finding("E696", "error", str(path), "already exists", fix=fix) for path in there]
    if findings:
        raise InputError(findings)


@dataclass(slots=True)
class _Tally:
    """What the batches add up to."""

    answers: Answers
    comparison: Comparison
    states: Comparison
    lava_rates: list[Array]
    values: list[Array] = field(default_factory=list)


class _Simulation:
    """One run of the verb over the clips at ``positions``."""

    def __init__(self, opened: Opened, settings: SimulationSettings, positions: Array, progress: Progress) -> None:
        self.opened, self.settings, self.positions, self.progress = opened, settings, positions, progress
        self.network: SimulatedNetwork = opened.network
        self.clips: ClipSet = opened.clips
        self.probes = probes_of(self.network, settings.probe)
        self.fast = None if settings.backend == "lava" else FastBackend(self.network, settings)
        self.lava = None if settings.backend == "fast" else LavaBackend(self.network, settings)
        everything = settings.backend == "both" or settings.save is not None
        self.record: Record = "all" if everything else "output"
        # Lava tells of the layers on the chip alone.
        names = self.network.layer_names if self.fast is None else list(self.network.neurons)
        neurons = {name: self.network.neurons[name] for name in names}
        self.tally = _Tally(Answers(neurons), Comparison(), Comparison(), [])
        self.clips_per_s: float | None = None
        self.steps = 0

    def run(self) -> dict[str, Any]:
        """Run everything and return the result."""
        saved: list[str] = []
        with ExitStack() as stack:
            archive = None
            if self.settings.save is not None:
                archive = stack.enter_context(SpikeArchive(self.settings.save, len(self.positions)))
                archive.same["out"] = f"layer{len(self.network.layer_names) - 1}"
            self._stream(archive)
            if archive is not None:
                saved = archive.finish(self.progress)
        result = self._result() | {"saved": saved}
        if self.settings.output is not None:
            written = write_answers(self.settings.output, result, self.tally.answers)
            written += self._figures(self.settings.output)
            result["written"] = [str(path) for path in written]
        return result

    def _stream(self, archive: SpikeArchive | None) -> None:
        size = self.settings.batch or self._batch_size()
        total = len(self.positions)
        started, before = time.perf_counter(), 0
        for start in range(0, total, size):
            chosen = self.positions[start : start + size]
            shown = self.clips.batch(chosen)
            self.steps = len(shown)
            run = self._run_batch(shown, start)
            if archive is not None:
                archive.append(archive_arrays(self.network, run))
            done = start + len(chosen)
            elapsed = time.perf_counter() - started
            self.clips_per_s = (done - before) / max(elapsed, 1e-9)
            self.progress(done, total, f"{self.clips_per_s:.3g} clips/s")
            if not before and done < total:
                # The first batch also plans and compiles, which says nothing about the speed of the others.
                started, before = time.perf_counter(), done

    def _batch_size(self) -> int:
        steps = self.clips.batch(self.positions[:1]).shape[0]
        per_clip = max(1, steps * sum(self.network.neurons.values()))
        if self.lava is not None:
            return int(np.clip(LAVA_NEURON_STEPS // per_clip, 1, LAVA_CLIPS))
        return int(np.clip(FAST_NEURON_STEPS // per_clip, 1, FAST_CLIPS))

    def _run_batch(self, shown: Array, done: int) -> BatchRun:
        def steps(now: int, total: int, note: str) -> None:
            self.progress(done, len(self.positions), f"{note} {now}/{total}")

        voting = self.network.chip.voting
        ours = None if self.fast is None else self.fast.run(shown, self.record, self.probes)
        theirs = None if self.lava is None else self.lava.run(shown, self.probes, steps)
        if ours is not None and theirs is not None:
            self.tally.comparison.add(ours.spikes, theirs.spikes)
            self.tally.states.add(_states(ours), _states(theirs))
        if theirs is not None:
            self.tally.lava_rates.append(group_rates(theirs.answer, voting))
        kept = ours if ours is not None else theirs
        assert kept is not None, "one of the two backends always runs"
        self.tally.answers.add(group_rates(kept.answer, voting), kept)
        if self.network.readout is not None:
            self.tally.values.append(self.network.readout.values(kept.answer))
        return kept

    def _result(self) -> dict[str, Any]:
        rates = self.tally.answers.all_rates()
        classes = self.network.classes or tuple(str(number) for number in range(rates.shape[1]))
        truth = self.clips.labels(self.positions)
        labels = truth if self.network.readout is None else None
        result: dict[str, Any] = {
            "ok": True,
            "exit_code": 0,
            "network": str(self.network.source),
            "backend": self.settings.backend,
            "mode": self.settings.mode,
            "clips": len(self.positions),
            "steps": self.steps,
            "input_message_bits": self.opened.message_bits,
            "classes": list(classes),
            "layers": self.tally.answers.layers(),
            "findings": [finding.to_dict() for finding in self.network.findings],
            "answers": self.tally.answers.told(self._names(), self._labels(), classes),
        }
        if self.fast is not None:
            result |= {"seconds": self.fast.seconds, "clips_per_s": self.clips_per_s}
        result |= accuracy(rates, labels)
        if self.lava is not None:
            lava_rates = np.concatenate(self.tally.lava_rates)
            result["lava"] = {"seconds_per_step": self.lava.seconds_per_step} | accuracy(lava_rates, labels)
        if self.settings.backend == "both":
            self._verdict(result)
        if self.network.readout is not None:
            rated = truth if truth is not None and truth.ndim > 1 else None
            tell_values(result, self.network.readout, np.concatenate(self.tally.values), rated)
        return result

    def _verdict(self, result: dict[str, Any]) -> None:
        result["lava"] |= self.tally.comparison.to_dict()
        if self.tally.states.layers:
            result["lava"]["states"] = self.tally.states.to_dict()
        differ = [*self.tally.comparison.findings(self._names()), *self.tally.states.findings(self._names())]
        if differ:
            result["findings"] += [finding.to_dict() for finding in differ]
            result |= {"ok": False, "exit_code": 5}

    def _names(self) -> list[str]:
        names = self.clips.names
        return [names[position] for position in self.positions.tolist()]

    def _labels(self) -> list[str | None]:
        return [self.clips.label_of(position) for position in self.positions.tolist()]

    def _figures(self, folder: Path) -> list[Path]:
        """Draw the first clips, with the potentials of the probed layers, or of the output."""
        if self.fast is None:
            return []
        from neuroemo.simulation.figure import write_figures

        chosen = self.positions[:FIGURE_CLIPS]
        chip, names = self.network.chip, self._names()[: len(chosen)]
        probes = {self.network.layer_names[-1]: None} | (self.probes or {})
        run, received = self.fast.run_chip(self.clips.batch(chosen), probes)
        probed = {name: neurons.tolist() for name, neurons in probes.items() if neurons is not None}
        more: dict[str, Any] = {"probed": probed, "mode": self.settings.mode}
        return list(write_figures(run, chip, folder, names, self.network.classes, received, **more))


def _states(run: BatchRun) -> dict[str, Array]:
    """Return sums, currents and potentials of the probed layers, each under a name of its own."""
    kinds = {"a": run.drive, "u": run.current, "v": run.membrane}
    return {f"{layer} {kind}": each[layer] for layer in run.drive for kind, each in kinds.items()}


def accuracy(rates: Array, labels: Array | None) -> dict[str, float]:
    """Return the share of right answers as an entry, or no entry for clips without labels.

    >>> accuracy(np.array([[0.2, 0.4], [0.1, 0.1]]), np.array([1, 1]))
    {'accuracy': 0.5}
    """
    return {} if labels is None else {"accuracy": float((rates.argmax(axis=1) == labels).mean())}
