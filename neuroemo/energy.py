"""What a trained network's answers cost: counted on the chip form, on the network as trained, and on its ANN twin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.graph import Array
from neuroemo import pipeline

if TYPE_CHECKING:
    from neuroemo.models.emotion import EmotionSpec
    from neuroemo.profiling import EnergyReport, OpCounts

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
    """
    from neuroemo.profiling import count_operations, load_prices, merge_counts, reproduce_table2
    from neuroemo.profiling.energy import compare_twins, energy_of
    from neuroemo.training.checkpoint import load_model
    from neuroemo.training.quantized import chip_of

    network, description = load_model(checkpoint)
    store = pipeline.open_data(data, description.events)
    indices = pipeline.spread(pipeline.chosen_clips(store, data, split), limit)
    batches = list(pipeline.batches_of(store, indices))
    prices = load_prices("cmos45")
    deployed = merge_counts(_deployed(network, description, batches))
    # A network that was fine-tuned on the chip's grid is what runs there; it has no other form to count.
    trained = deployed if chip_of(network) is not None else count_operations(network, _tensors(batches))
    twin = _twin_counts(description.spec, batches)
    snn, ann = energy_of(deployed, prices, precision), energy_of(twin, prices, precision)
    comparison = compare_twins(snn, ann)
    samples = deployed.samples
    return {
        "ok": True,
        "clips": samples,
        "snn_mj": comparison.snn_mj,
        "ann_mj": comparison.ann_mj,
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
        "ac_pj": snn.ac_price_pj,
        "mac_pj": snn.mac_price_pj,
        "neuron_updates": deployed.total.neuron_updates / samples,
        "neuron_mj": snn.neuron_mj,
        "break_even_steps": comparison.break_even_steps,
        "spikes_per_synapse": comparison.spikes_per_synapse,
        "snn_wins_with_neurons": comparison.snn_wins_with_neurons,
        "layers": _layers(deployed, snn),
        "ann_layers": [
            {
                "name": name,
                "macs": layer.dense_macs / samples,
                "ann_mj": ann.layers[name].dense_pj / samples * 1e-9,
            }
            for name, layer in twin.layers.items()
            if layer.kind == "synapse"
        ],
        "trained": {
            "acs": trained.total.acs / samples,
            "macs": trained.total.macs / samples,
            "snn_mj": energy_of(trained, prices, precision).synaptic_mj,
            "partial": dict(trained.partial),
        },
        "partial": dict(deployed.partial) | dict(twin.partial),
        "note": NOTE,
        "table2": reproduce_table2(),
    }


def _layers(counts: OpCounts, report: EnergyReport) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "acs": layer.acs / counts.samples,
            "macs": layer.macs / counts.samples,
            "dense_macs": layer.dense_macs / counts.samples,
            "spikes_in": layer.spikes_in / counts.samples,
            "snn_mj": report.layers[name].synaptic_pj / counts.samples * 1e-9,
        }
        for name, layer in counts.layers.items()
        if layer.kind == "synapse"
    ]


def _deployed(network: Any, description: Any, batches: list[Array]) -> Iterator[OpCounts]:
    """Yield the counts of each batch on the chip: the spikes of the fixed-point simulator times their fan-out."""
    from export.exporter import compile_model
    from hw_targets.registry import get_target
    from neuroemo.training.quantized import chip_of

    target = get_target("loihi2")
    chip = (
        chip_of(network)
        or compile_model(
            network, batches[0], target, dt_us=description.dt_us, first_frame=description.spec.first_frame
        ).chip
    )
    simulator = target.simulator(chip)
    for clips in batches:
        yield count_chip_run(chip, clips, simulator.run(clips).spikes)


def count_chip_run(chip: Any, clips: Array, spikes: dict[str, Array]) -> OpCounts:
    """Count one simulator run: input clips [T, N, C, H, W] and the spikes of every layer it gave.

    The first layer sees gray values as the chip does, rounded to its payload levels.
    """
    from neuroemo.profiling import SpikeLayer, count_spike_layers
    from neuroemo.profiling.fanout import weight_fan_out

    layers = []
    value = np.rint(clips * chip.payload) / chip.payload
    for layer in chip.layers:
        value = value.reshape(*value.shape[:2], *layer.input_shape)
        where = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
        fan_out = weight_fan_out(layer.weight.shape, layer.input_shape, **(where if layer.kind == "conv" else {}))
        fired = spikes[layer.name]
        layers.append(SpikeLayer(layer.name, fan_out, value, layer.neurons, layer.kind, fired))
        value = fired
    return count_spike_layers(layers)


def _twin_counts(spec: EmotionSpec, batches: list[Array]) -> OpCounts:
    """Count the ANN twin on the same clips; dense operations depend on shapes alone, so it needs no training."""
    import torch

    from neuroemo.models.emotion import build_network, stacked_frames, twin_of
    from neuroemo.profiling import count_operations

    twin = build_network(twin_of(spec))
    frames = (stacked_frames(torch.from_numpy(clips), spec.first_frame) for clips in batches)
    return count_operations(twin, frames, time_first=False)


def _tensors(batches: list[Array]) -> Iterator[Any]:
    import torch

    return (torch.from_numpy(clips) for clips in batches)


def energy_text(result: dict[str, Any]) -> str:
    """Return the console's view of ``measure_energy``."""
    heads = ("layer", "accumulates", "multiply-acc.", "spikes in", "mJ")
    lines = ["{:<22}{:>14}{:>15}{:>12}{:>11}".format(*heads) + f"   (per clip, {result['clips']} clips)"]
    lines += [
        f"{layer['name']:<22}{layer['acs']:>14,.0f}{layer['macs']:>15,.0f}{layer['spikes_in']:>12,.0f}"
        f"{layer['snn_mj']:>11.5f}"
        for layer in result["layers"]
    ]
    if result["partial"]:
        lines.append("PARTIAL, a lower bound; not counted: " + ", ".join(result["partial"]))
    prices = f"at {result['precision']}: {result['ac_pj']} pJ per AC, {result['mac_pj']} pJ per MAC"
    lines += [
        f"SNN {result['snn_mj']:.5f} mJ (its neuron updates {result['neuron_mj']:.5f} mJ more)",
        f"ANN twin {result['ann_mj']:.5f} mJ, {result['ann_macs']:,.0f} MAC, {prices}",
        result["note"],
    ]
    return "\n".join(lines)
