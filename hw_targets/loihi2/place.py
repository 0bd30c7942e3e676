"""How many cores a network needs, from neurons and synaptic memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hw_targets.finding import Finding
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.limits import CORES, NEURONS_PER_CORE, SYNAPSE_BYTES_PER_CORE


@dataclass(frozen=True, slots=True)
class LayerPlacement:
    """Cores one layer needs: the larger of what its neurons and what its weights (8 bit each) ask for."""

    name: str
    neurons: int
    weight_bytes: int
    cores: int


def place(chip: ChipGraph) -> tuple[list[LayerPlacement], list[Finding]]:
    """Return the placement of each layer and a finding if one chip does not hold them all.

    cores = max(ceil(neurons / 8192), ceil(weight bytes / 128 KiB)), a convolution's kernel being shared.
    A lower bound: axon routing, whose limits are not public, is not counted.
    """
    layers = []
    for layer in chip.layers:
        cores = max(
            math.ceil(layer.neurons / NEURONS_PER_CORE.value),
            math.ceil(layer.synapses / SYNAPSE_BYTES_PER_CORE.value),
        )
        layers.append(LayerPlacement(layer.name, layer.neurons, layer.synapses, cores))
    total = sum(layer.cores for layer in layers)
    findings = []
    if total > CORES.value:
        findings.append(
            Finding(
                "W301",
                "warning",
                "network",
                f"needs at least {total} cores",
                f"{CORES.value} per chip",
                str(total - CORES.value),
                f"plan {math.ceil(total / CORES.value)} chips, or use smaller frames",
            )
        )
    return layers, findings
