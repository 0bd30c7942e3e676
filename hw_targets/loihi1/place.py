"""The placement of Loihi 2 with what Loihi 1 adds: axons, and memory for kernels that are not shared.

A core receives one input axon for each input neuron of a dense layer, and for each input pixel of a convolution
whose kernel is shared: population axons carry the channel along (nengo-loihi, ``conv2d_loihi_weights``). To keep
those few, a core holds f filters at one tile of th x tw positions. A neuron needs one output axon for each core
it sends to, its receivers, so how a layer is cut limits the layer before it::

    neurons per core = min(1024, floor(4096 / receivers))

Layers are therefore cut from the last to the first, and of each layer every cut is followed up that no other one
beats in cores and receivers both, so that the network as a whole gets the fewest cores. Filters and rows of a
dense layer are parted evenly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import Array
from hw_targets.loihi1.limits import (
    CORES,
    IN_AXONS_PER_CORE,
    NEURONS_PER_CORE,
    OUT_AXONS_PER_CORE,
    SYNAPSE_BITS_PER_CORE,
)
from hw_targets.loihi2 import place as loihi2
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.place import AXON_RULES, ChipSize, LayerPlacement, Layout, check_placement, even_parts, placed

LOIHI1 = ChipSize(
    CORES.value,
    NEURONS_PER_CORE.value,
    SYNAPSE_BITS_PER_CORE.value // 8,
    IN_AXONS_PER_CORE.value,
    OUT_AXONS_PER_CORE.value,
)
SHARED_KERNEL = (
    "shared kernels need the population axons of NxSDK (release 0.9.5: at most 32 input channels); "
    "without them every synapse has its own weight: unrolled_bytes"
)


@dataclass(frozen=True, slots=True)
class Cut:
    """One way to cut a layer: cores, most cores that one input neuron sends to, copies, and the fullest core."""

    layer: ChipLayer
    cores: int
    receivers: int
    copies: int
    neurons: int
    weight_bytes: int
    in_axons: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Cuts of the last layers of a network, the first of them sending to ``receivers`` cores at most."""

    cores: int
    receivers: int
    weight_bytes: int
    cuts: tuple[Cut, ...]


def place(chip: ChipGraph) -> tuple[list[LayerPlacement], list[Finding]]:
    """Return the placement of each layer, and findings for what no core or not one chip can hold."""
    plans = [Plan(0, 0, 0, ())]
    for layer in reversed(chip.layers):
        plans = _frontier([_before(cut, plan) for plan in plans for cut in _cuts(layer, _most_neurons(plan))])
    best = min(plans, key=lambda plan: (plan.cores, plan.weight_bytes))
    sends_to = [*(cut.receivers for cut in best.cuts[1:]), 0]
    layers = [_placed(cut, receivers) for cut, receivers in zip(best.cuts, sends_to, strict=True)]
    return layers, check_placement(Layout(tuple(layers), LOIHI1), AXON_RULES)


def summarise(placements: Sequence[LayerPlacement]) -> dict[str, int]:
    """Return the sums over all layers (``hw_targets.loihi2.place.summarise``)."""
    return loihi2.summarise(placements, LOIHI1)


def _most_neurons(after: Plan) -> int:
    """Return how many neurons a core may hold that send to what comes after; at least one, whatever its axons."""
    by_axons = OUT_AXONS_PER_CORE.value // after.receivers if after.receivers else LOIHI1.neurons
    return max(1, min(LOIHI1.neurons, by_axons))


def _before(cut: Cut, plan: Plan) -> Plan:
    weight_bytes = cut.copies * cut.layer.synapses + plan.weight_bytes
    return Plan(cut.cores + plan.cores, cut.receivers, weight_bytes, (cut, *plan.cuts))


def _frontier(plans: list[Plan]) -> list[Plan]:
    """Return the plans that no other one beats in cores and receivers both; of equal ones that with fewest bytes."""
    kept: list[Plan] = []
    for plan in sorted(plans, key=lambda plan: (plan.cores, plan.receivers, plan.weight_bytes)):
        if not kept or plan.receivers < kept[-1].receivers:
            kept.append(plan)
    return kept


def _cuts(layer: ChipLayer, most: int) -> Iterator[Cut]:
    """Yield the cuts worth following up, at most ``most`` neurons per core."""
    if layer.kind == "conv":
        yield from _conv_cuts(layer, most)
        return
    fan_in = layer.weight.shape[1]
    cores, rows = even_parts(layer.neurons, max(1, min(most, LOIHI1.synapse_bytes // fan_in)))
    yield Cut(layer, cores, cores, 1, rows, rows * fan_in, fan_in)


def _conv_cuts(layer: ChipLayer, most: int) -> Iterator[Cut]:
    """Yield, of all tiles and numbers of filters, those with fewer receivers than every one of fewer cores."""
    filters, filter_bytes = layer.output_shape[0], layer.synapses // layer.output_shape[0]
    (tiles_h, view_h, touched_h), (tiles_w, view_w, touched_w) = (_axis(axis_reach(layer, axis)) for axis in (0, 1))
    area = np.outer(np.arange(1, tiles_h.size + 1), np.arange(1, tiles_w.size + 1))
    in_axons, copies, touched = np.outer(view_h, view_w), np.outer(tiles_h, tiles_w), np.outer(touched_h, touched_w)
    fits = (area <= most) & ((in_axons <= IN_AXONS_PER_CORE.value) | (area == 1))
    fit = max(1, min(filters, LOIHI1.synapse_bytes // filter_bytes))
    groups = -(-filters // np.clip(most // area, 1, fit))
    kept = -(-filters // groups)
    blocks = np.vectorize(lambda held: _filter_blocks(filters, layer.groups, held))(kept)
    columns = [values[fits] for values in (groups * copies, blocks * touched, copies, in_axons, kept, area)]
    fewest = None
    for at in np.lexsort(columns[3::-1]):
        cores, receivers, copied, axons, held, positions = (int(column[at]) for column in columns)
        if fewest is None or receivers < fewest:
            fewest = receivers
            yield Cut(layer, cores, receivers, copied, held * positions, held * filter_bytes, axons)


def _placed(cut: Cut, receivers: int) -> LayerPlacement:
    out_axons = cut.neurons * receivers
    convolution = cut.layer.kind == "conv"
    return placed(
        cut.layer,
        LOIHI1,
        cut.cores,
        cut.neurons,
        cut.weight_bytes,
        kernel_copies=cut.copies,
        in_axons_per_core=cut.in_axons,
        out_axons_per_core=out_axons,
        axon_share=max(cut.in_axons / IN_AXONS_PER_CORE.value, out_axons / OUT_AXONS_PER_CORE.value),
        unrolled_bytes=unrolled_synapses(cut.layer) if convolution else None,
        remark=SHARED_KERNEL if convolution else "",
    )


def axis_reach(layer: ChipLayer, axis: int) -> list[Array]:
    """Return, for each output position along H (0) or W (1), the input positions inside the frame that it sees."""
    size, positions = layer.input_shape[1 + axis], layer.output_shape[1 + axis]
    taps = np.arange(layer.weight.shape[2 + axis]) * layer.dilation[axis] - layer.padding[axis]
    reach = [position * layer.stride[axis] + taps for position in range(positions)]
    return [seen[(seen >= 0) & (seen < size)] for seen in reach]


def unrolled_synapses(layer: ChipLayer) -> int:
    """Return how many synapses a convolution has, border clipped: its bytes when each has its own 8-bit weight."""
    taps = [sum(seen.size for seen in axis_reach(layer, axis)) for axis in (0, 1)]
    return layer.output_shape[0] * layer.weight.shape[1] * taps[0] * taps[1]


def _axis(reach: list[Array]) -> tuple[Array, Array, Array]:
    """Return, for tiles of 1, 2, ... positions along an axis, three numbers each.

    They are: how many tiles there are, the most input positions that a tile sees, the most tiles that an input
    position sends to.
    """
    rows = []
    for part in range(1, len(reach) + 1):
        seen = [np.unique(np.concatenate(reach[at : at + part])) for at in range(0, len(reach), part)]
        rows.append((len(seen), max(view.size for view in seen), np.bincount(np.concatenate(seen)).max(initial=1)))
    tiles, view, touched = np.array(rows).T
    return tiles, view, touched


@cache
def _filter_blocks(filters: int, groups: int, kept: int) -> int:
    """Return the most blocks of ``kept`` filters that one input channel sends to: those its group's filters lie in.

    >>> _filter_blocks(8, 1, 2), _filter_blocks(8, 8, 2), _filter_blocks(9, 3, 2)
    (4, 1, 2)
    """
    own = filters // groups
    return max((first + own - 1) // kept - first // kept + 1 for first in range(0, filters, own))
