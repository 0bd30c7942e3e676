"""One network of a report: its counts by layer, as JSON, with the spread over clips."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from neuroemo.profiling.counting.counts import (
    ACS,
    MACS,
    SPIKES_IN,
    SPIKES_OUT,
    LayerCounts,
    OpCounts,
    squares_of,
)
from neuroemo.profiling.statistics import summarise_operations

COLUMNS = {"acs": ACS, "macs": MACS, "spikes_in": SPIKES_IN, "spikes_out": SPIKES_OUT}


def network_entry(counts: OpCounts, title: str) -> dict[str, Any]:
    """Return a network's counts as the report holds them: integers are sums over all clips."""
    return {
        "title": title,
        "samples": counts.samples,
        "steps": counts.steps,
        "partial": dict(counts.partial),
        "covered": {name: asdict(module) for name, module in counts.covered.items()},
        "notes": dict(counts.notes),
        "total": layer_entry("total", counts.total, counts.samples) | {"weights": _weights(counts)},
        "layers": [layer_entry(name, layer, counts.samples) for name, layer in counts.layers.items()],
    }


def layer_entry(name: str, layer: LayerCounts, samples: int) -> dict[str, Any]:
    """Return one layer; ``low`` and ``high`` bound the mean per clip at 95 %, null for a single clip."""
    steps = layer.table.sum(axis=1)
    squared = replace(layer, squares=squares_of(layer.table))
    spread = {
        "acs": summarise_operations(squared, samples, 1.0, 0.0),
        "macs": summarise_operations(squared, samples, 0.0, 1.0),
    }
    known = samples > 1
    events = layer.acs + layer.macs
    geometry = layer.geometry
    return {
        "name": name,
        "kind": layer.kind,
        "type": layer.type,
        "input_shape": None if geometry is None else list(geometry.input_shape),
        "output_shape": None if geometry is None else list(geometry.output_shape),
        "acs": layer.acs,
        "macs": layer.macs,
        "dense_macs": layer.dense_macs,
        "spikes_in": layer.spikes_in,
        "spikes_out": layer.spikes_out,
        "neuron_updates": layer.neuron_updates,
        "synapses": layer.synapses,
        "weights": 0 if geometry is None else geometry.weights,
        "density": layer.density,
        "events_per_synapse": events / samples / layer.synapses if layer.synapses else None,
        "rule": None if layer.rule is None else layer.rule.text,
        "per_step": {key: steps[:, column].tolist() for key, column in COLUMNS.items()},
        "mean": {key: summary.mean for key, summary in spread.items()},
        "low": {key: summary.low for key, summary in spread.items()} if known else None,
        "high": {key: summary.high for key, summary in spread.items()} if known else None,
    }


def charged_dense(counts: OpCounts) -> OpCounts:
    """Return an ANN's counts as it is charged: every connection of its one pass a multiply-accumulate.

    Which of its inputs are 0 depends on weights that a twin made from an architecture does not have.
    """
    layers = {name: _dense(layer, counts.samples) for name, layer in counts.layers.items()}
    dense = replace(counts, layers=layers)
    return replace(dense, squares=squares_of(dense.total.table))


def _dense(layer: LayerCounts, samples: int) -> LayerCounts:
    each, rest = divmod(layer.dense_macs, samples)
    if rest:
        raise ValueError(f"{layer.dense_macs} dense operations are not alike for {samples} samples")
    table = np.zeros_like(layer.table)
    table[0, :, MACS] = each
    table[0, :, SPIKES_IN] = layer.elements // samples
    return replace(layer, table=table, squares=squares_of(table))


def _weights(counts: OpCounts) -> int:
    return sum(layer.geometry.weights for layer in counts.layers.values() if layer.geometry is not None)
