"""The entry ``energy`` of a demo's report.json: one network on its clips, arithmetic prices, beside its ANN twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuroemo.profiling.counting.counts import OpCounts
from neuroemo.profiling.priced import MJ_PER_PJ, Priced

NOTE = (
    "Arithmetic only, at the same precision on both sides, as in the paper. Counted on the network that goes on the "
    "chip: pooling and normalisation folded away, every spike an accumulate at each synapse it reaches, a gray first "
    "frame multiply-accumulates. The ANN twin is counted dense, one pass. Neuron updates, memory and routing are "
    "not in the two totals."
)


def measure_energy(
    checkpoint: Path,
    data: Path,
    *,
    limit: int | None = None,
    precision: str = "fp32",
    split: str | None = None,
) -> dict[str, Any]:
    """Count the operations of a checkpoint on clips and price them at 45 nm; every energy and count is per clip.

    ``acs``, ``macs``: the network on the chip; ``trained``: the network as trained, where average pools make
    graded inputs; ``ann_macs``: the ANN twin, dense. ``run`` holds the integer totals over all clips.

    Raises:
        InputError: the checkpoint or its clips cannot be used.
        UnsupportedError, CapacityError: the chip cannot hold the network.
    """
    from neuroemo.energy.measure import measure
    from neuroemo.energy.sources import open_source
    from neuroemo.profiling.energy import MODELS
    from neuroemo.profiling.paper import reproduce_table2
    from neuroemo.profiling.prices import load_prices
    from neuroemo.profiling.twin import compare

    counts = measure(open_source(str(checkpoint), data, split=split, limit=limit))
    deployed, twin = counts.priced, counts.ann
    assert twin is not None, "a checkpoint has a twin"
    trained = deployed if counts.trained is None else counts.trained
    prices, bare, whole = load_prices("cmos45"), MODELS["arithmetic"], MODELS["arithmetic+neurons"]
    comparison = compare(deployed, twin, bare, prices, precision)
    snn, ann = comparison.snn, comparison.ann
    with_neurons = whole.price(deployed, prices, precision, "snn")
    samples = deployed.samples
    return {
        "ok": True,
        "clips": samples,
        "snn_mj": snn.total_mj,
        "ann_mj": ann.total_mj,
        "acs": deployed.total.acs / samples,
        "macs": deployed.total.macs / samples,
        "ann_macs": twin.total.dense_macs / samples,
        "run": {
            "acs": deployed.total.acs,
            "macs": deployed.total.macs,
            "ann_macs": twin.total.dense_macs,
            "neuron_updates": deployed.total.neuron_updates,
        },
        "precision": precision,
        "ac_pj": prices.accumulate(precision).value,
        "mac_pj": prices.multiply_accumulate(precision).value,
        "neuron_updates": deployed.total.neuron_updates / samples,
        "neuron_mj": with_neurons.total_mj - snn.total_mj,
        "break_even_steps": comparison.break_even_steps,
        "spikes_per_synapse": comparison.spikes_per_synapse,
        "snn_wins_with_neurons": with_neurons.total_pj < ann.total_pj,
        "layers": _layers(deployed, snn),
        "ann_layers": _ann_layers(twin, ann),
        "trained": {
            "acs": trained.total.acs / samples,
            "macs": trained.total.macs / samples,
            "snn_mj": bare.price(trained, prices, precision, "snn").total_mj,
            "partial": dict(trained.partial),
        },
        "partial": dict(deployed.partial) | dict(twin.partial),
        "note": NOTE,
        "table2": reproduce_table2(),
    }


def _layers(counts: OpCounts, priced: Priced) -> list[dict[str, Any]]:
    energies = priced.by_layer()
    return [
        {
            "name": name,
            "acs": layer.acs / counts.samples,
            "macs": layer.macs / counts.samples,
            "dense_macs": layer.dense_macs / counts.samples,
            "spikes_in": layer.spikes_in / counts.samples,
            "snn_mj": energies[name] * MJ_PER_PJ,
        }
        for name, layer in counts.layers.items()
        if layer.kind == "synapse"
    ]


def _ann_layers(counts: OpCounts, priced: Priced) -> list[dict[str, Any]]:
    energies = priced.by_layer()
    return [
        {"name": name, "macs": layer.dense_macs / counts.samples, "ann_mj": energies[name] * MJ_PER_PJ}
        for name, layer in counts.layers.items()
        if layer.kind == "synapse"
    ]
