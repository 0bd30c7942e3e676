"""The two ways to run a batch: our simulator and the vendor's, with one form of answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hw_targets.finding import Finding, VerificationError
from hw_targets.graph import Array
from neuroemo.pipeline import Progress, quiet_progress
from neuroemo.simulation.network import SimulatedNetwork
from neuroemo.simulation.settings import SimulationSettings

Record = Literal["all", "output", "counts"]


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One batch in data-flow order: messages [T, N, ...] of the layers that were recorded, and counts of all.

    ``host`` holds the spikes of layers that run on the host, ``counts`` int64 [T, N] by layer name (messages that
    are not 0), ``output`` the messages of the last layer; ``drive``, ``current``, ``membrane`` are int32
    [T, N, ...], or [T, N, K] for K chosen neurons, of the probed layers. ``answer`` holds the T frames of ``output``
    that answer the T frames of the input: the same ones, or in pipeline mode those that come out one step later per
    synapse.
    """

    output: Array
    answer: Array
    spikes: dict[str, Array]
    counts: dict[str, Array]
    host: dict[str, Array] = field(default_factory=dict)
    drive: dict[str, Array] = field(default_factory=dict)
    current: dict[str, Array] = field(default_factory=dict)
    membrane: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Latency:
    """How many steps late the output is: none, or in pipeline mode one per layer of synapses."""

    steps: int

    @classmethod
    def of(cls, network: SimulatedNetwork, settings: SimulationSettings) -> Latency:
        """Return the latency of a network in the mode it is run in."""
        late = sum(layer.kind != "input" for layer in network.chip.layers)
        return cls(late if settings.mode == "pipeline" else 0)

    def waited_for(self, clips: Array) -> Array:
        """Return clips [T, N, ...] with as many silent steps behind them as the last answer needs to come out."""
        if not self.steps:
            return clips
        return np.concatenate([clips, np.zeros((self.steps, *clips.shape[1:]), dtype=clips.dtype)])

    def cut(self, run: Any, host: dict[str, Array] | None = None) -> BatchRun:
        """Return a run's first T steps, and the T frames of its output that answer the input."""
        steps = len(run.output) - self.steps

        def first(values: Mapping[str, Array]) -> dict[str, Array]:
            return {name: each[:steps] for name, each in values.items()}

        host = host or {}
        counts = {name: count_messages(spikes) for name, spikes in host.items()}
        counts |= {name: count_messages(spikes) for name, spikes in run.spikes.items()} | dict(run.counts)
        traces = (first(run.drive), first(run.current), first(run.membrane))
        return BatchRun(run.output[:steps], run.output[self.steps :], first(run.spikes), first(counts), host, *traces)


class FastBackend:
    """Our simulator, planned once for all batches; ``seconds`` is what its runs took."""

    def __init__(self, network: SimulatedNetwork, settings: SimulationSettings) -> None:
        self.deployment = network.deployment
        target: Any = self.deployment.target
        options: dict[str, Any] = {"mode": settings.mode, "path": settings.path, "threads": settings.threads}
        if settings.device != "cpu":
            options["device"] = settings.device
        if settings.reset is not None:
            options["reset"] = settings.reset
        options["overflow"] = "wrap" if network.wraps else "refuse"
        self.simulator = target.simulator(self.deployment.chip, **options)
        self.latency = Latency.of(network, settings)
        self.seconds = 0.0

    def run(self, clips: Array, record: Record, probes: Mapping[str, Array | None]) -> BatchRun:
        """Run clips [T, N, ...]."""
        started = time.perf_counter()
        received, host = self.deployment.chip_input(clips)
        run = self.simulator.run(self.latency.waited_for(received), record=record, probe=dict(probes))
        self.seconds += time.perf_counter() - started
        return self.latency.cut(run, host)

    def run_chip(self, clips: Array, probes: Mapping[str, Array | None]) -> tuple[Any, Array]:
        """Run clips [T, N, ...]; return the target's own run with the spikes of all layers, and what the chip got."""
        received, _ = self.deployment.chip_input(clips)
        return self.simulator.run(received, record="all", probe=dict(probes)), received


class LavaBackend:
    """The vendor's simulator, batch after batch, in ``timeout_s`` seconds all together."""

    def __init__(self, network: SimulatedNetwork, settings: SimulationSettings) -> None:
        self.network = network
        self.mode, self.reset = settings.mode, settings.reset
        self.latency = Latency.of(network, settings)
        self.timeout_s = settings.timeout_s
        self.seconds = 0.0
        self._step_seconds: list[float] = []

    @property
    def seconds_per_step(self) -> float:
        """Mean over the batches of what one time step took, without the start."""
        return float(np.mean(self._step_seconds)) if self._step_seconds else 0.0

    def run(
        self, clips: Array, probes: Mapping[str, Array | None] | None = None, progress: Progress = quiet_progress
    ) -> BatchRun:
        """Run clips [T, N, ...]; ``progress`` hears of every step.

        Raises:
            VerificationError: it failed, or the time is up.
        """
        deployment = self.network.deployment
        left = self.timeout_s - self.seconds
        if left <= 0:
            found = f"the time is up after {self.seconds:.0f} s"
            fix = "fewer clips (--limit), or a longer --timeout"
            raise VerificationError(Finding("E684", "error", "lava", found, f"{self.timeout_s:.0f} s", fix=fix))
        started = time.perf_counter()
        received, _ = deployment.chip_input(clips)
        received = self.latency.waited_for(received)
        said: dict[str, Any] = {"mode": self.mode, "probe": dict(probes or {}), "progress": progress}
        if self.reset is not None:
            said["reset"] = self.reset
        judged = deployment.target.judge(deployment.chip, self.network.file, received, timeout_s=left, **said)
        self.seconds += time.perf_counter() - started
        self._step_seconds.append(float(judged.seconds_per_step))
        return self.latency.cut(judged.run)


def count_messages(spikes: Array) -> Array:
    """Return how many messages are not 0, int64 [T, N], of spikes [T, N, ...].

    >>> count_messages(np.array([[[1, 0, -3]], [[0, 0, 0]]]))
    array([[2],
           [0]])
    """
    return np.count_nonzero(spikes.reshape(*spikes.shape[:2], -1), axis=2).astype(np.int64)
