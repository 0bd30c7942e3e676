"""From a folded float graph to the chip's integers.

One scale s per layer, in synaptic units per 1.0: weights round(w s), bias round(b s L), threshold mantissa
ceil(threshold s L) - 1 for a source neuron that fires at v >= threshold (the chip fires at v > mantissa << 6),
floor(threshold s L) for one that fires at v > threshold. L is the payload of one input spike: 1 for spikes, more
in the first layer when step 0 carries gray values. s is the largest scale that keeps weight, threshold
and bias inside their fields, lowered until no possible input can overflow the 24-bit current, or, with
``drive_max`` measured on data, until none that was seen can, with a margin (``scale.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hw_targets.finding import CapacityError, Finding
from hw_targets.graph import LIF, Conv2d, Graph, Linear, Synapse
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.limits import DECAY_MAX, WEIGHT_MAX
from hw_targets.loihi2.scale import integer_weights, layer_scale, worst_sum

__all__ = ["GRAY_LEVELS", "chip_threshold", "quantize", "worst_sum"]

GRAY_LEVELS = 63
"""Payload of a spike beside a gray first frame: the best trade between gray levels and bias range (measured)."""


def quantize(
    graph: Graph,
    *,
    weight_bits: int = 8,
    gray_levels: int = GRAY_LEVELS,
    drive_max: Mapping[str, float] | None = None,
) -> ChipGraph:
    """Return the chip form of a lowered graph.

    ``drive_max`` holds, by neuron layer, the largest magnitude of synaptic drive that was seen on data (float units).

    Raises:
        CapacityError: a layer for which no scale keeps every field in range.
    """
    layers: list[ChipLayer] = []
    findings: list[Finding] = []
    waiting: tuple[Synapse, tuple[int, ...], tuple[int, ...]] | None = None
    weight_max = min(WEIGHT_MAX.value, 2 ** (weight_bits - 1) - 1)
    for node, shape_in, shape_out in graph.layers():
        if isinstance(node, Conv2d | Linear):
            waiting = (node, shape_in, shape_out)
        elif isinstance(node, LIF) and waiting is not None:
            payload = gray_levels if not layers and graph.first_frame == "float" else 1
            seen = None if drive_max is None else drive_max.get(node.name)
            made = _layer(*waiting, node, payload, weight_max, seen)
            if isinstance(made, Finding):
                findings.append(made)
            else:
                layers.append(made)
            waiting = None
    if findings:
        raise CapacityError(findings)
    return ChipGraph(tuple(layers), graph.input_shape, graph.steps, graph.dt_us, graph.first_frame, graph.voting)


def _layer(
    synapse: Synapse,
    shape_in: tuple[int, ...],
    shape_out: tuple[int, ...],
    neuron: LIF,
    payload: int,
    weight_max: int,
    drive_max: float | None,
) -> ChipLayer | Finding:
    bias = np.zeros(synapse.weight.shape[0]) if synapse.bias is None else synapse.bias
    scale = layer_scale(synapse, neuron.threshold, payload, weight_max, drive_max)
    weight = integer_weights(synapse.weight, scale, weight_max)
    threshold = chip_threshold(neuron, scale * payload)
    if not weight.any():
        return Finding(
            "E210",
            "error",
            synapse.name,
            f"every weight rounds to zero at scale {scale:.3g}",
            fix="the largest weight is tiny beside bias or threshold: retrain, or drop the layer",
        )
    if threshold < (0 if neuron.threshold == 0 else 1):
        return Finding(
            "E211",
            "error",
            neuron.name,
            f"threshold mantissa {threshold} at scale {scale:.3g}",
            "at least 1",
            fix="the threshold is tiny beside the largest weight: fine-tune with --qat, or rescale the layer",
        )
    where = (
        {
            "stride": synapse.stride,
            "padding": synapse.padding,
            "dilation": synapse.dilation,
            "groups": synapse.groups,
        }
        if isinstance(synapse, Conv2d)
        else {}
    )
    return ChipLayer(
        name=neuron.name,
        kind="conv" if isinstance(synapse, Conv2d) else "dense",
        weight=weight,
        bias=np.rint(bias * scale * payload).astype(np.int64),
        threshold=threshold,
        voltage_decay=min(round(4096 * neuron.decay), DECAY_MAX.value),
        current_decay=round(4096 * neuron.current_decay),
        input_shape=shape_in,
        output_shape=shape_out,
        scale=scale,
        payload=payload,
        clipped=int((np.abs(synapse.weight) * scale > weight_max + 0.5).sum()),
        **where,  # type: ignore[arg-type]
    )


def chip_threshold(neuron: LIF, unit: float) -> int:
    """Return the mantissa M so that v > M << 6 says the same as the source's comparison, in units of 1/unit.

    >>> chip_threshold(LIF("n", 0.5, 1.0), 100.0), chip_threshold(LIF("n", 0.5, 1.0, inclusive=False), 100.0)
    (99, 100)
    """
    exact = neuron.threshold * unit
    return math.ceil(exact - 1e-9) - 1 if neuron.inclusive else math.floor(exact + 1e-9)
