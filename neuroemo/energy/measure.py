"""One pass over the clips that counts every form of a network: on the chip, as trained, and its ANN twin.

A batch of clips is held at a time; what stays are the tables of counts, int64 [T, S, 4] per layer, and one
answer per clip and step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.energy.sources import EnergySource
from neuroemo.pipeline import Progress, quiet_progress
from neuroemo.profiling.counting.counts import OpCounts, merge_counts, squares_of
from neuroemo.profiling.counting.policy import Pooling

BATCH_NEURON_STEPS = 2 * 10**7
BATCH_CLIPS = 32

Counter = Callable[[Array], OpCounts]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Counts of every form that a source has; ``priced`` is the one that energy is told of.

    ``answers`` int64 [T, S] is the class after each step, from the votes so far, a tie to the lower class; None
    where a network's output was not seen, or is read as values. ``titles`` says what each form is. ``ann`` is of
    random weights: what it is charged is dense (``networks.charged_dense``).
    """

    priced: OpCounts
    titles: dict[str, str]
    trained: OpCounts | None = None
    ann: OpCounts | None = None
    answers: Array | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Forms:
    """What the batches add up to."""

    priced: list[OpCounts] = field(default_factory=list)
    trained: list[OpCounts] = field(default_factory=list)
    ann: list[OpCounts] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)


def measure(
    source: EnergySource,
    *,
    pooling: Pooling = "event",
    skip_zero_weights: bool = False,
    progress: Progress = quiet_progress,
) -> Measured:
    """Count a source on its clips, batch by batch.

    ``pooling`` is the convention for average pools of a live network; on the chip they are folded into weights.

    Raises:
        InputError: values that are NaN or infinite, or whatever a counter refuses.
    """
    options: dict[str, Any] = {"pooling": pooling, "skip_zero_weights": skip_zero_weights}
    deployed = None if source.deployment is None else _OnChip(source, skip_zero_weights)
    live = _live_counter(source, options)
    twin = None if source.spec is None else _twin_counter(source.spec, options)
    forms = _Forms()
    for clips in _batches(source, progress):
        if deployed is not None:
            counts, answers = deployed.count(clips)
            forms.priced.append(counts)
            forms.answers.append(answers)
        if live is not None:
            (forms.priced if deployed is None else forms.trained).append(live(clips))
        if twin is not None:
            forms.ann.append(twin(clips))
    return Measured(
        priced=merge_counts(forms.priced),
        titles=_titles(source),
        trained=merge_counts(forms.trained) if forms.trained else None,
        ann=merge_counts(forms.ann) if forms.ann else None,
        answers=np.concatenate(forms.answers, axis=1) if forms.answers and source.votes else None,
        findings=_findings(source),
    )


def _titles(source: EnergySource) -> dict[str, str]:
    live = "as it runs" if source.graph is None else "on its graph"
    return {
        "deployed": live if source.deployment is None else "on the chip",
        "trained": "as trained",
        "ann": "the ANN twin, one dense pass",
    }


def _findings(source: EnergySource) -> tuple[Finding, ...]:
    host = None if source.deployment is None else source.deployment.host
    if host is None:
        return ()
    names = ", ".join(node.name for node in host.nodes)
    found = f"{names} run on the host, in float: counted there, priced like the rest"
    return (Finding("W884", "warning", "host", found, fix="--input-encoding graded keeps them on the chip"),)


# --- clips ---------------------------------------------------------------------------------------------------------


def _batches(source: EnergySource, progress: Progress) -> Iterator[Array]:
    """Yield clips [T, N, ...], float32, that are numbers; ``progress`` hears of each batch when it is done with."""
    total = len(source.positions)
    first = source.clips.batch(source.positions[:1])
    size = int(np.clip(BATCH_NEURON_STEPS // _neuron_steps(source, first), 1, BATCH_CLIPS))
    progress(0, total, "")
    for start in range(0, total, size):
        chosen = source.positions[start : start + size]
        clips = source.clips.batch(chosen)
        refuse_not_finite(clips, source.data, start)
        yield clips
        progress(min(start + size, total), total, "")


def _neuron_steps(source: EnergySource, clip: Array) -> int:
    """Return what one clip takes, in values: inputs, or neurons of the chip, whichever is more."""
    chip = None if source.deployment is None else source.deployment.chip
    neurons = 0 if chip is None else len(clip) * sum(int(layer.neurons) for layer in chip.layers)
    # A live network of unknown width is taken to be ten times as wide as its input.
    return max(1, neurons, 10 * clip.size)


def refuse_not_finite(clips: Array, where: str, first: int = 0) -> None:
    """Raise for clips [T, N, ...] that hold NaN or infinite values; ``first`` is the number of the first clip.

    Raises:
        InputError: how many there are, and where the first is.
    """
    if clips.dtype.kind != "f":
        return
    wrong = ~np.isfinite(clips)
    count = int(np.count_nonzero(wrong))
    if count:
        clip, step, *frame = (int(i) for i in np.argwhere(wrong.swapaxes(0, 1))[0])
        found = f"{count} values are NaN or infinite, the first in clip {first + clip}, step {step}, at {tuple(frame)}"
        fix = "replace them before saving: no count of them would mean anything"
        raise InputError(Finding("E882", "error", where, found, "finite numbers", str(count), fix))


# --- on the chip ---------------------------------------------------------------------------------------------------


class _OnChip:
    """Runs a deployment with its simulator, planned once, and counts what its spikes cause."""

    def __init__(self, source: EnergySource, skip_zero_weights: bool) -> None:
        assert source.deployment is not None, "only a deployment is counted on the chip"
        self.deployment = source.deployment
        overflow = "wrap" if source.wraps else "refuse"
        self.simulator = self.deployment.target.simulator(self.deployment.chip, overflow=overflow)
        self.skip_zero_weights = skip_zero_weights

    def count(self, clips: Array) -> tuple[OpCounts, Array]:
        """Return the counts of clips [T, N, ...], host and chip together, and the answers [T, N]."""
        from neuroemo.profiling.counting.chip import count_run

        received, _ = self.deployment.chip_input(clips)
        run = self.simulator.run(received, record="all")
        counts = count_run(self.deployment.chip, received, run, skip_zero_weights=self.skip_zero_weights)
        if self.deployment.host is not None:
            counts = _joined(self._host(clips), counts)
        return counts, answers_of(run.output, self.deployment.chip.voting)

    def _host(self, clips: Array) -> OpCounts:
        from neuroemo.profiling.counting.graph import count_graph

        assert self.deployment.host is not None, "asked for by the caller"
        return count_graph(self.deployment.host, clips, skip_zero_weights=self.skip_zero_weights)


def _joined(first: OpCounts, second: OpCounts) -> OpCounts:
    """Return the counts of two parts of one network, run on the same clips one behind the other."""
    joined = replace(
        second,
        layers=first.layers | second.layers,
        partial=first.partial | second.partial,
        covered=first.covered | second.covered,
        notes=first.notes | second.notes | dict.fromkeys(first.layers, "runs on the host, in float"),
    )
    return replace(joined, squares=squares_of(joined.total.table))


def answers_of(output: Array, voting: int) -> Array:
    """Return the class after each step, int64 [T, N], from output spikes [T, N, classes * voting] so far.

    >>> answers_of(np.array([[[0, 1]], [[1, 0]], [[1, 0]]]), voting=1).ravel()
    array([1, 0, 0])
    """
    steps, samples = output.shape[:2]
    votes = output.reshape(steps, samples, prod(output.shape[2:]) // voting, voting).sum(axis=3, dtype=np.int64)
    answers: Array = votes.cumsum(axis=0).argmax(axis=2)
    return answers


# --- live networks and twins ---------------------------------------------------------------------------------------


def _live_counter(source: EnergySource, options: dict[str, Any]) -> Counter | None:
    if source.graph is not None:
        from neuroemo.profiling.counting.graph import count_graph

        graph = source.graph
        return lambda clips: count_graph(graph, clips, **options)
    if source.module is None:
        return None
    from neuroemo.profiling import count_operations

    module, loop = source.module, _is_called_per_step(source)
    return lambda clips: count_operations(module, [_tensor(clips, module)], loop_steps=loop, **options)


def _is_called_per_step(source: EnergySource) -> bool:
    """Whether a SpikingJelly network takes one frame at a time.

    Its neurons are in single-step mode, and a whole clip fails or does not run each of them once per step.
    """
    from neuroemo.profiling import count_operations

    assert source.module is not None, "asked of live networks alone"
    modes = {module.step_mode for module in source.module.modules() if hasattr(module, "step_mode")}
    if modes != {"s"}:
        return False
    clip = source.clips.batch(source.positions[:1])
    try:
        counts = count_operations(source.module, [_tensor(clip, source.module)])
    except Exception:  # the user's own forward: that it fails on a whole clip is the answer
        return True
    return any(layer.calls != len(clip) for layer in counts.layers.values() if layer.kind == "neuron")


def _twin_counter(spec: Any, options: dict[str, Any]) -> Counter:
    """Count the ANN twin on the same clips.

    It is not trained: its dense operations follow from shapes, and the zeros of its input from the clips; how
    sparse its hidden layers are is that of seeded random weights and means nothing.
    """
    import torch

    from neuroemo.models.emotion import build_network, stacked_frames, twin_of
    from neuroemo.profiling import count_operations

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        twin = build_network(twin_of(spec))

    def count(clips: Array) -> OpCounts:
        frames = stacked_frames(torch.from_numpy(np.ascontiguousarray(clips, dtype=np.float32)), spec.first_frame)
        return count_operations(twin, [frames], time_first=False, **options)

    return count


def _tensor(clips: Array, module: Any) -> Any:
    import torch

    precision = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return torch.from_numpy(np.ascontiguousarray(clips)).to(precision)
