"""The running counts of one layer, and the counter of recorded spikes; a live model is counted by the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.counts import (
    ACS,
    MACS,
    SPIKES_IN,
    SPIKES_OUT,
    Geometry,
    Kind,
    LayerCounts,
    OpCounts,
    squares_of,
)
from neuroemo.profiling.counting.fanout import Counts, EventCounts, FanOut, count_events, prepare_fan_out
from neuroemo.profiling.counting.policy import CountingPolicy, NeuronRule


@dataclass(frozen=True, slots=True, eq=False)
class SpikeLayer:
    """One layer of a recorded run: fan-out map [*shape], input ``spikes`` [T, N, *shape], neurons behind it.

    ``neurons`` is how many neurons the layer updates at every step, listed as ``<name>.neurons`` under
    ``rule``; 0 lists none. ``outputs`` [T, N, ...] are the spikes they fired, if known.
    """

    name: str
    fan_out: Counts
    spikes: npt.NDArray[Any]
    neurons: int = 0
    type: str = "simulated"
    outputs: npt.NDArray[Any] | None = None
    geometry: Geometry | None = None
    rule: NeuronRule | None = None


def count_spike_layers(layers: Iterable[SpikeLayer], policy: CountingPolicy | None = None) -> OpCounts:
    """Return the counts of a recorded run from the input spikes of each layer, counted as a live model is.

    >>> import numpy as np
    >>> from neuroemo.profiling.counting.fanout import linear_fan_out
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
    return whole_counts(counted, samples, steps, policy=policy or CountingPolicy())


def whole_counts(layers: dict[str, LayerCounts], samples: int, steps: int, **more: Any) -> OpCounts:
    """Return the result of one batch, with the squares of its totals filled in."""
    from dataclasses import replace

    counts = OpCounts(layers, samples, steps, **more)
    return replace(counts, squares=squares_of(counts.total.table))


def _spike_layer(layer: SpikeLayer, steps: int, samples: int) -> dict[str, LayerCounts]:
    tally = Tally("synapse", layer.type, steps, samples, geometry=layer.geometry)
    tally.add_events(layer.spikes, prepare_fan_out(layer.fan_out, layer.name), layer.name)
    counted = {layer.name: tally.finish()[0]}
    if layer.neurons:
        neurons = Tally("neuron", layer.type, steps, samples, rule=layer.rule)
        neurons.add_updates(layer.neurons * steps * samples)
        if layer.outputs is not None:
            fired = (np.asarray(layer.outputs) != 0).reshape(steps, samples, -1).sum(axis=2, dtype=np.int64)
            neurons.add_spikes_out(fired)
        counted[f"{layer.name}.neurons"] = neurons.finish()[0]
    return counted


class Tally:
    """The running counts of one layer during one batch."""

    def __init__(
        self,
        kind: Kind,
        type_name: str,
        steps: int,
        samples: int,
        *,
        geometry: Geometry | None = None,
        rule: NeuronRule | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.type = type_name
        self.geometry, self.rule = geometry, rule
        self.table = np.zeros((steps, samples, 4), dtype=np.int64)
        self.pending: list[Counts] = []
        self.loop: list[Counts] = []
        self.note = ""
        self.order = 1 << 30
        self.dense_macs = self.synapses = self.elements = self.neuron_updates = self.calls = 0

    def add_events(self, values: npt.ArrayLike, fan_out: FanOut, name: str, step: int | None = None) -> None:
        """Add one call with inputs [*lead, *fan_out.shape], at ``step`` if the caller knows it."""
        self.add_counted(count_events(values, fan_out, name=name), fan_out.dense, step)
        self.elements += int(np.size(values))

    def add_rows(self, rows: Counts, lead: tuple[int, ...], dense: int, elements: int, step: int | None) -> None:
        """Add one call as ``count_prepared`` counted it, int64 [4, rows] for leading axes [*lead]."""
        self.calls += 1
        self.dense_macs += dense * rows.shape[1]
        self.synapses = max(self.synapses, dense)
        self.elements += elements
        if step is None and lead == (self.table.shape[1],):
            self.loop.append(rows)
        else:
            self._place(_columns(rows).reshape(*lead, 4), step)

    def add_counted(self, counts: EventCounts, dense: int, step: int | None = None, *, grouped: bool = False) -> None:
        """Add what one call triggered, per leading index; ``dense`` is the cost of one dense evaluation."""
        self.dense_macs += dense * counts.acs.size
        self.synapses = max(self.synapses, dense)
        self.calls += 1
        columns = np.zeros((*counts.acs.shape, 4), dtype=np.int64)
        columns[..., ACS], columns[..., MACS], columns[..., SPIKES_IN] = counts.acs, counts.macs, counts.spikes_in
        self._place(columns, step, grouped)

    def add_updates(self, updates: int) -> None:
        """Add one call of a neuron layer that updated so many neurons."""
        self.calls += 1
        self.neuron_updates += updates
        self.elements += updates

    def add_fired(self, fired: Counts, lead: tuple[int, ...], step: int | None = None) -> None:
        """Add the spikes of one call of a neuron layer, int64 [rows] for leading axes [*lead]."""
        if step is None and lead == (self.table.shape[1],):
            self.loop.append(fired)
        else:
            self.add_spikes_out(fired.reshape(lead), step)

    def add_spikes_out(self, fired: Counts, step: int | None = None) -> None:
        """Add the spikes of one call, int64 [*lead]."""
        columns = np.zeros((*fired.shape, 4), dtype=np.int64)
        columns[..., SPIKES_OUT] = fired
        self._place(columns, step)

    def _place(self, counts: Counts, step: int | None, grouped: bool = False) -> None:
        """Attribute counts [*lead, 4] to steps and samples, from the lead shape alone.

        ``grouped``: the first axis may hold several rows of each sample (heads, tokens), sample-outermost.
        """
        steps, samples = self.table.shape[:2]
        lead = counts.shape[:-1]
        first, whole = (lead[0] if lead else 0), steps * samples
        several = grouped and first > 0
        if step is None and (lead[:2] == (steps, samples) or first == whole or (several and first % whole == 0)):
            self.table += counts.reshape(steps, samples, -1, 4).sum(axis=2)
        elif first == samples or (several and first % samples == 0):
            row = counts.reshape(samples, -1, 4).sum(axis=1)
            if step is None:
                self.pending.append(row)
            else:
                self.table[step] += row
        else:
            self.table[steps - 1 if step is None else step, 0] += counts.reshape(-1, 4).sum(axis=0)
            self.note = f"leading shape {lead} is not of {steps} steps and {samples} samples"

    def finish(self) -> tuple[LayerCounts, str]:
        """Attribute the calls of a loop over time to steps; return the counts and, if unclear, a note."""
        steps = self.table.shape[0]
        # Rows of calls with [N, ...] wait here until now: one conversion instead of one per call.
        for rows in self.loop:
            self.pending.append(_columns(rows))
        calls, rest = divmod(len(self.pending), steps)
        for index, row in enumerate(self.pending):
            self.table[steps - 1 if rest else index // calls] += row
        note = f"{len(self.pending)} calls for {steps} steps: attributed to the last" if rest else self.note
        layer = LayerCounts(
            self.kind,
            self.type,
            self.table,
            self.dense_macs,
            self.synapses,
            self.elements,
            self.neuron_updates,
            self.calls,
            squares_of(self.table),
            self.geometry,
            self.rule,
            not note,
        )
        return layer, note


def _columns(rows: Counts) -> Counts:
    """Return columns [rows, 4] of a table: of counted events [4, rows], or of spikes fired [rows]."""
    columns = np.zeros((rows.shape[-1], 4), dtype=np.int64)
    if rows.ndim == 1:
        columns[:, SPIKES_OUT] = rows
    else:
        columns[:, ACS], columns[:, MACS], columns[:, SPIKES_IN] = rows[0], rows[1] - rows[0], rows[2]
    return columns


def steps_and_samples(shape: Sequence[int], name: str) -> tuple[int, int]:
    """Return (T, N) of a shape [T, N, ...], or raise an InputError."""
    if len(shape) < 3 or min(shape[:2]) < 1:
        raise InputError(Finding("E806", "error", name, f"shape {tuple(shape)}", "[T, N, ...], T and N 1 or more"))
    return shape[0], shape[1]
