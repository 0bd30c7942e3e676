"""What netx on Loihi 2 cannot express: one small function per rule, whose docstring is the message."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import AvgPool2d, BatchNorm, Conv2d, Graph, Linear, MaxPool2d
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.limits import BIAS_MAX, DECAY_MAX, GEOMETRY_MAX, THRESHOLD_MAX, WEIGHT_MAX
from hw_targets.rule import (
    Rule,
    Violation,
    apply,
    firing_at_rest,
    followed_by_neurons,
    non_finite_parameters,
    rule,
)


@rule("E201")
def hard_reset(graph: Graph) -> Iterator[Violation]:
    """The chip's neuron resets to 0; it cannot subtract the threshold."""
    for node in graph.neurons():
        if node.reset != "zero":
            yield Violation(node.name, f"reset {node.reset!r}", "reset 'zero'", fix="retrain with a hard reset")


@rule("E202")
def positive_threshold(graph: Graph) -> Iterator[Violation]:
    """A neuron fires when its potential exceeds a positive threshold measured from rest."""
    yield from firing_at_rest(graph)


@rule("E203")
def decay_in_range(graph: Graph) -> Iterator[Violation]:
    """A membrane keeps between none and all of its potential from one step to the next."""
    for node in graph.neurons():
        if not 0.0 <= node.decay <= 1.0:
            yield Violation(
                node.name,
                f"decay {node.decay:g} per step",
                "0 to 1",
                fix="use a membrane time constant of at least one step",
            )


@rule("E204")
def finite_parameters(graph: Graph) -> Iterator[Violation]:
    """Every weight and bias is a finite number."""
    yield from non_finite_parameters(graph)


@rule("E205")
def filtered_bias(graph: Graph) -> Iterator[Violation]:
    """A bias enters the membrane directly; it cannot pass the synaptic filter."""
    for synapse, neuron in followed_by_neurons(graph):
        if neuron.current_decay < 1.0 and synapse.bias is not None and np.any(synapse.bias):
            yield Violation(
                synapse.name,
                "a bias before neurons with synaptic memory",
                fix="train this layer with bias=False and without batch normalisation",
            )


@rule("E206")
def only_foldable(graph: Graph) -> Iterator[Violation]:
    """A layer is a convolution or a dense layer with neurons; pooling and normalisation must have been folded."""
    for node in graph.nodes:
        if isinstance(node, AvgPool2d | MaxPool2d | BatchNorm):
            yield Violation(node.name, type(node).__name__, fix="fold it first (export does)")


@rule("E207")
def living_layer(graph: Graph) -> Iterator[Violation]:
    """A layer has at least one weight that is not zero; Lava cannot take a dense layer of zeros."""
    for node in graph.nodes:
        if isinstance(node, Conv2d | Linear) and not np.any(node.weight):
            yield Violation(
                node.name,
                f"all {node.weight.size} weights are zero",
                "at least one that is not",
                fix="the layer ignores its input: retrain it, or drop it",
            )


@rule("E208")
def geometry_in_bytes(graph: Graph) -> Iterator[Violation]:
    """Kernel, stride, padding and dilation of a convolution fit a signed byte; Lava computes something else beyond."""
    for node in graph.nodes:
        if isinstance(node, Conv2d):
            fields = {"kernel": node.weight.shape[2:], "stride": node.stride}
            fields |= {"padding": node.padding, "dilation": node.dilation}
            for name, values in fields.items():
                if (most := max(values)) > GEOMETRY_MAX.value:
                    over = f"{most - GEOMETRY_MAX.value:g}"
                    found = f"{name} {' x '.join(map(str, values))} pixels"
                    yield Violation(node.name, found, f"{GEOMETRY_MAX.value:g}", over, "use smaller frames or windows")


RULES: tuple[Rule[Graph], ...] = (
    only_foldable,
    finite_parameters,
    living_layer,
    hard_reset,
    positive_threshold,
    decay_in_range,
    filtered_bias,
    geometry_in_bytes,
)


def check(graph: Graph) -> list[Finding]:
    """Return all findings of all rules on a lowered graph, in data-flow order."""
    return apply(RULES, graph, (node.name for node in graph.nodes))


@rule("E223")
def integers_in_their_fields(chip: ChipGraph) -> Iterator[Violation]:
    """Every integer fits its field on the chip; Lava takes most of those that do not without a word."""
    for layer in chip.layers:
        for name, value, limit in _fields(layer):
            if value > limit:
                yield Violation(
                    layer.name,
                    f"{name} {value}",
                    str(limit),
                    str(value - limit),
                    "quantise the layer with a smaller scale",
                )


@rule("E220")
def readable_inhibition(chip: ChipGraph) -> Iterator[Violation]:
    """Netx shifts bits out of a dense layer without a positive weight whose lowest weight is -1, -2, -4, ... -128."""
    for layer in chip.layers:
        lowest = -int(layer.weight.min())
        if layer.kind == "dense" and layer.weight.max() <= 0 and lowest & (lowest - 1) == 0:
            yield Violation(
                layer.name,
                f"no dense weight above 0, and the lowest is {-lowest}",
                "a positive weight, or a lowest weight that is no power of two",
                fix="train on, or scale the layer's weights and threshold",
            )


@rule("W221")
def fine_threshold(chip: ChipGraph) -> Iterator[Violation]:
    """A threshold below 30 is resolved to less than 3 %."""
    for layer in chip.layers:
        if 0 < (lowest := int(np.min(layer.threshold))) < 30:
            yield Violation(
                layer.name,
                f"threshold mantissa {lowest}",
                "30",
                fix="largest weight and threshold are far apart; clip the weights in training",
            )


@rule("W222")
def few_zeros(chip: ChipGraph) -> Iterator[Violation]:
    """At most half of the weights of a layer round to zero."""
    for layer in chip.layers:
        zeros = float((layer.weight == 0).mean())
        if zeros > 0.5:
            yield Violation(
                layer.name,
                f"{zeros:.0%} of the weights round to zero",
                "50 %",
                fix="a few large weights set the scale; clip them in training or use weight decay",
            )


@rule("W223")
def no_clipped_weights(chip: ChipGraph) -> Iterator[Violation]:
    """Weights beyond their field are clipped where the threshold would else be less than 1.5 units."""
    for layer in chip.layers:
        if layer.clipped:
            share = layer.clipped / layer.synapses
            yield Violation(
                layer.name,
                f"{layer.clipped} of {layer.synapses} weights clipped ({share:.1%})",
                "0",
                str(layer.clipped),
                fix="fine-tune with --qat, or use more bits",
            )


CHIP_RULES: tuple[Rule[ChipGraph], ...] = (
    integers_in_their_fields,
    readable_inhibition,
    fine_threshold,
    few_zeros,
    no_clipped_weights,
)


def check_chip(chip: ChipGraph) -> list[Finding]:
    """Return findings on the integers: what netx would corrupt without a word (see docs/semantics.md)."""
    return apply(CHIP_RULES, chip, (layer.name for layer in chip.layers))


def _fields(layer: ChipLayer) -> tuple[tuple[str, int, int], ...]:
    """Return name, largest magnitude and limit of every integer field of a layer."""
    return (
        ("weight", int(np.abs(layer.weight).max(initial=0)), WEIGHT_MAX.value),
        ("bias mantissa", int(np.abs(layer.bias).max(initial=0)), BIAS_MAX.value),
        ("threshold mantissa", int(np.abs(layer.threshold).max()), THRESHOLD_MAX.value),
        ("voltage decay", int(np.max(layer.voltage_decay)), DECAY_MAX.value),
        ("current decay", int(np.max(layer.current_decay)), 4096),  # 4096: no synaptic memory
    )
