"""Which core holds what: how the layers of a network are split over neuro cores, and what that costs.

A core holds neurons and the weights of their synapses. A dense layer is split by output neurons: each core
holds the rows of its neurons, every weight is stored once. A convolution stores its kernel, not its synapses:
a core that holds f of its F filters at p of its P positions stores f filters, whatever p is. Splitting by
filter costs no memory; splitting by position stores every filter once per block of positions::

    cores = ceil(F / f) ceil(P / p)      f p <= neurons per core      f bytes_per_filter <= memory per core
    kernel_copies = ceil(P / p)

The split with the fewest cores is taken, and of those the one with the fewest copies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hw_targets.finding import Finding
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.limits import CORES, NEURONS_PER_CORE, SYNAPSE_BYTES_PER_CORE
from hw_targets.rule import Rule, Violation, apply, rule


@dataclass(frozen=True, slots=True)
class ChipSize:
    """Cores of one chip, and what one core holds; ``in_axons`` and ``out_axons`` are None where nothing is public."""

    cores: int
    neurons: int
    synapse_bytes: int
    in_axons: int | None = None
    out_axons: int | None = None


FEWER_INPUTS = "give the layer fewer inputs: pool, or convolve with a stride, before it"
LOIHI2 = ChipSize(CORES.value, NEURONS_PER_CORE.value, SYNAPSE_BYTES_PER_CORE.value)


@dataclass(frozen=True, slots=True)
class LayerPlacement:
    """One layer on its cores; everything "per core" is of the fullest core, at 8 bits per weight.

    ``weight_bytes`` is the layer's weights stored once, ``weight_bytes_total`` with all ``kernel_copies``.
    Shares are of what a core has, above 1 only beside an error that says so. The axons are None for a chip that
    publishes no number; ``unrolled_bytes`` is what a convolution would take with a weight of its own for each
    synapse, None where kernels are always shared.
    """

    name: str
    neurons: int
    weight_bytes: int
    cores: int
    neurons_per_core: int
    bytes_per_core: int
    neuron_share: float
    memory_share: float
    kernel_copies: int = 1
    in_axons_per_core: int | None = None
    out_axons_per_core: int | None = None
    axon_share: float | None = None
    unrolled_bytes: int | None = None
    remark: str = ""

    @property
    def weight_bytes_total(self) -> int:
        """Bytes of all copies of the weights."""
        return self.weight_bytes * self.kernel_copies

    @property
    def limited_by(self) -> str:
        """What a core runs out of first, "neurons", "memory" or "axons": the largest share."""
        shares = {"neurons": self.neuron_share, "memory": self.memory_share, "axons": self.axon_share or 0.0}
        return max(shares, key=lambda resource: shares[resource])

    def to_dict(self) -> dict[str, Any]:
        """Return the placement as a JSON-ready dictionary; what the chip does not publish is left out."""
        told = {key: value for key, value in asdict(self).items() if value is not None and value != ""}
        return told | {"weight_bytes_total": self.weight_bytes_total, "limited_by": self.limited_by}


@dataclass(frozen=True, slots=True)
class Layout:
    """All layers on the cores of one kind of chip: what the placement rules judge."""

    layers: tuple[LayerPlacement, ...]
    size: ChipSize


@rule("E302")
def neuron_fits_memory(layout: Layout) -> Iterator[Violation]:
    """The weights of one neuron lie in one core; they cannot be split."""
    for layer in layout.layers:
        if layer.memory_share > 1:
            yield Violation(
                layer.name,
                f"one neuron needs {layer.bytes_per_core} bytes of weights",
                f"{layout.size.synapse_bytes} bytes per core",
                str(layer.bytes_per_core - layout.size.synapse_bytes),
                FEWER_INPUTS,
            )


@rule("E303")
def neuron_fits_axons(layout: Layout) -> Iterator[Violation]:
    """A core has room for the axons of at least one neuron."""
    for layer in layout.layers:
        for kind, needed, most, fix in (
            ("input", layer.in_axons_per_core, layout.size.in_axons, FEWER_INPUTS),
            ("output", layer.out_axons_per_core, layout.size.out_axons, "make the next layer smaller"),
        ):
            if needed is not None and most is not None and needed > most:
                yield Violation(
                    layer.name,
                    f"{needed} {kind} axons for {layer.neurons_per_core} of its neurons",
                    f"{most} per core",
                    str(needed - most),
                    fix,
                )


@rule("W301")
def one_chip(layout: Layout) -> Iterator[Violation]:
    """A network should fit on one chip."""
    total = summarise(layout.layers, layout.size)
    if total["chips"] > 1:
        yield Violation(
            "network",
            f"needs at least {total['cores']} cores",
            f"{layout.size.cores} per chip",
            str(total["cores"] - layout.size.cores),
            f"plan {total['chips']} chips, or use smaller frames",
        )


PLACEMENT_RULES: tuple[Rule[Layout], ...] = (neuron_fits_memory, one_chip)
AXON_RULES: tuple[Rule[Layout], ...] = (neuron_fits_memory, neuron_fits_axons, one_chip)


def place(chip: ChipGraph) -> tuple[list[LayerPlacement], list[Finding]]:
    """Return the placement of each layer, and findings for what no core or not one chip can hold.

    A lower bound: axon routing, whose limits Intel does not publish for Loihi 2, is not counted.
    """
    layers = [_place_dense(layer) if layer.kind == "dense" else _place_conv(layer) for layer in chip.layers]
    return layers, check_placement(Layout(tuple(layers), LOIHI2))


def check_placement(layout: Layout, rules: Sequence[Rule[Layout]] = PLACEMENT_RULES) -> list[Finding]:
    """Return the findings of all placement rules, in data-flow order."""
    return apply(rules, layout, (layer.name for layer in layout.layers))


def summarise(placements: Sequence[LayerPlacement], size: ChipSize = LOIHI2) -> dict[str, int]:
    """Return the sums over all layers: cores, chips, cores_per_chip, neurons, weight_bytes, weight_bytes_total."""
    cores = sum(layer.cores for layer in placements)
    return {
        "cores": cores,
        "chips": math.ceil(cores / size.cores),
        "cores_per_chip": size.cores,
        "neurons": sum(layer.neurons for layer in placements),
        "weight_bytes": sum(layer.weight_bytes for layer in placements),
        "weight_bytes_total": sum(layer.weight_bytes_total for layer in placements),
    }


def even_parts(size: int, largest: int) -> tuple[int, int]:
    """Return how many parts of at most ``largest`` make up ``size``, and the largest of them when cut evenly.

    >>> even_parts(10, 4), even_parts(9, 4)
    ((3, 4), (3, 3))
    """
    parts = math.ceil(size / largest)
    return parts, math.ceil(size / parts)


def _place_dense(layer: ChipLayer) -> LayerPlacement:
    fan_in = layer.weight.shape[1]
    rows = max(1, min(LOIHI2.neurons, LOIHI2.synapse_bytes // fan_in))
    cores, rows = even_parts(layer.neurons, rows)
    return placed(layer, LOIHI2, cores, rows, rows * fan_in)


def _place_conv(layer: ChipLayer) -> LayerPlacement:
    filters = layer.output_shape[0]
    positions = layer.neurons // filters
    filter_bytes = layer.synapses // filters
    best: tuple[int, int, int, int] | None = None
    for block in np.unique(-(-positions // np.arange(1, positions + 1))).tolist():
        if block > LOIHI2.neurons:
            continue
        kept = max(1, min(filters, LOIHI2.neurons // block, LOIHI2.synapse_bytes // filter_bytes))
        groups, kept = even_parts(filters, kept)
        copies = math.ceil(positions / block)
        option = (groups * copies, copies, kept, block)
        best = option if best is None else min(best, option)
    if best is None:
        raise ValueError(f"{layer.name}: a convolution without positions")
    cores, copies, kept, block = best
    return placed(layer, LOIHI2, cores, kept * block, kept * filter_bytes, kernel_copies=copies)


def placed(
    layer: ChipLayer, size: ChipSize, cores: int, neurons: int, weight_bytes: int, **more: Any
) -> LayerPlacement:
    """Return the placement of ``layer`` from what its fullest core holds."""
    return LayerPlacement(
        name=layer.name,
        neurons=layer.neurons,
        weight_bytes=layer.synapses,
        cores=cores,
        neurons_per_core=neurons,
        bytes_per_core=weight_bytes,
        neuron_share=neurons / size.neurons,
        memory_share=weight_bytes / size.synapse_bytes,
        **more,
    )
