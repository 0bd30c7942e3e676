"""The running counts of one layer, and the counter of simulator runs; a live model is counted by the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counts import Kind, LayerCounts, OpCounts
from neuroemo.profiling.fanout import Counts, count_events, dense_macs


@dataclass(frozen=True, slots=True, eq=False)
class SpikeLayer:
    """One layer of a simulator run: fan-out map [*shape], input ``spikes`` [T, N, *shape], neurons behind it.

    ``neurons`` is how many neurons the layer updates at every step, listed as ``<name>.neurons``; 0 lists
    none. ``outputs`` [T, N, ...] are the spikes they fired, if known.
    """

    name: str
    fan_out: Counts
    spikes: npt.NDArray[Any]
    neurons: int = 0
    type: str = "simulated"
    outputs: npt.NDArray[Any] | None = None


def count_spike_layers(layers: Iterable[SpikeLayer]) -> OpCounts:
    """Return the counts of a simulator run from the input spikes of each layer, counted as a live model is.

    >>> import numpy as np
    >>> from neuroemo.profiling.fanout import linear_fan_out
    >>> spikes = np.array([[[1, 0, 1]], [[0, 0, 0.5]]])  # T = 2, N = 1
    >>> total = count_spike_layers([SpikeLayer("fc", linear_fan_out(3, 10), spikes, neurons=10)]).total
    >>> total.acs, total.macs, total.dense_macs, total.neuron_updates
    (20, 10, 60, 20)

    Raises:
        InputError: no layer, a name used twice, unequal T or N, or see ``count_events``.
    """
    counted: dict[str, LayerCounts] = {}
    sizes: set[tuple[int, ...]] = set()
    for layer in layers:
        if layer.name in counted:
            raise InputError(Finding("E804", "error", layer.name, "two layers of that name", "1"))
        steps, samples = steps_and_samples(layer.spikes.shape, layer.name)
        sizes.add((steps, samples))
        counted |= _spike_layer(layer, steps, samples)
    if len(sizes) != 1:
        found = ", ".join(f"T={steps} N={samples}" for steps, samples in sorted(sizes)) or "no layer"
        raise InputError(Finding("E805", "error", "layers", found, "the same T and N in every layer"))
    steps, samples = sizes.pop()
    return OpCounts(counted, samples, steps)


def _spike_layer(layer: SpikeLayer, steps: int, samples: int) -> dict[str, LayerCounts]:
    tally = Tally("synapse", layer.type, steps, samples)
    tally.add_events(layer.spikes, layer.fan_out, layer.name)
    counted = {layer.name: tally.finish()[0]}
    if layer.neurons:
        neurons = Tally("neuron", layer.type, steps, samples)
        neurons.sums["calls"], neurons.sums["neuron_updates"] = 1, layer.neurons * steps * samples
        neurons.sums["spikes_out"] = 0 if layer.outputs is None else int(np.count_nonzero(layer.outputs))
        counted[f"{layer.name}.neurons"] = neurons.finish()[0]
    return counted


class Tally:
    """The running counts of one layer during one batch."""

    def __init__(self, kind: Kind, type_name: str, steps: int, samples: int) -> None:
        self.kind: Kind = kind
        self.type = type_name
        self.table = np.zeros((steps, samples, 2), dtype=np.int64)
        self.pending: list[Counts] = []
        self.note = ""
        self.sums = dict.fromkeys(
            ("acs", "macs", "dense_macs", "spikes_in", "spikes_out", "synapses", "neuron_updates", "calls"), 0
        )

    def add_events(self, values: npt.ArrayLike, fan_out: Counts, name: str, step: int | None = None) -> None:
        """Add one call with inputs [*lead, *fan_out.shape], at ``step`` if the caller knows it."""
        counts = count_events(values, fan_out, name=name)
        dense = dense_macs(fan_out)
        self.sums["acs"] += int(counts.acs.sum())
        self.sums["macs"] += int(counts.macs.sum())
        self.sums["spikes_in"] += int(counts.spikes_in.sum())
        self.sums["dense_macs"] += dense * counts.acs.size
        self.sums["synapses"] = max(self.sums["synapses"], dense)
        self.sums["calls"] += 1
        self._place(np.stack((counts.acs, counts.macs), axis=-1), step)

    def _place(self, counts: Counts, step: int | None) -> None:
        """Attribute counts [*lead, 2] to steps and samples, from the lead shape alone."""
        steps, samples = self.table.shape[:2]
        lead = counts.shape[:-1]
        if step is None and (lead[:2] == (steps, samples) or lead[:1] == (steps * samples,)):
            self.table += counts.reshape(steps, samples, -1, 2).sum(axis=2)
        elif lead[:1] == (samples,):
            row = counts.reshape(samples, -1, 2).sum(axis=1)
            if step is None:
                self.pending.append(row)
            else:
                self.table[step] += row
        else:
            self.table[steps - 1 if step is None else step, 0] += counts.reshape(-1, 2).sum(axis=0)
            self.note = f"leading shape {lead} is not of {steps} steps and {samples} samples"

    def finish(self) -> tuple[LayerCounts, str]:
        """Attribute the calls of a loop over time to steps; return the counts and, if unclear, a note."""
        steps = self.table.shape[0]
        calls, rest = divmod(len(self.pending), steps)
        for index, row in enumerate(self.pending):
            self.table[steps - 1 if rest else index // calls] += row
        note = f"{len(self.pending)} calls for {steps} steps: attributed to the last" if rest else self.note
        per_step, per_sample = self.table.sum(axis=1), self.table.sum(axis=0)
        return LayerCounts(self.kind, self.type, per_step=per_step, per_sample=per_sample, **self.sums), note


def steps_and_samples(shape: Sequence[int], name: str) -> tuple[int, int]:
    """Return (T, N) of a shape [T, N, ...], or raise an InputError."""
    if len(shape) < 3 or min(shape[:2]) < 1:
        raise InputError(Finding("E806", "error", name, f"shape {tuple(shape)}", "[T, N, ...], T and N 1 or more"))
    return shape[0], shape[1]
