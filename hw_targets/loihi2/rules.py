"""What netx on Loihi 2 cannot express: one small function per rule, whose docstring is the message."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import LIF, AvgPool2d, BatchNorm, Conv2d, Graph, Linear, MaxPool2d
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.limits import BIAS_MAX, DECAY_MAX, THRESHOLD_MAX, WEIGHT_MAX

Rule = Callable[[Graph], Iterator[Finding]]


def hard_reset(graph: Graph) -> Iterator[Finding]:
    """The chip's neuron resets to 0; it cannot subtract the threshold."""
    for node in graph.neurons():
        if node.reset != "zero":
            yield _finding(
                hard_reset,
                "E201",
                node.name,
                f"reset {node.reset!r}",
                "reset 'zero'",
                "retrain with a hard reset",
            )


def positive_threshold(graph: Graph) -> Iterator[Finding]:
    """A neuron fires when its potential exceeds a positive threshold measured from rest."""
    for node in graph.neurons():
        if node.threshold - node.rest < 0 or (node.inclusive and node.threshold - node.rest == 0):
            yield _finding(
                positive_threshold,
                "E202",
                node.name,
                f"threshold {node.threshold:g} at rest {node.rest:g}",
                "threshold > rest",
                "raise the threshold above v_reset",
            )


def decay_in_range(graph: Graph) -> Iterator[Finding]:
    """A membrane keeps between none and all of its potential from one step to the next."""
    for node in graph.neurons():
        if not 0.0 <= node.decay <= 1.0:
            yield _finding(
                decay_in_range,
                "E203",
                node.name,
                f"decay {node.decay:g} per step",
                "0 to 1",
                "use a membrane time constant of at least one step",
            )


def finite_parameters(graph: Graph) -> Iterator[Finding]:
    """Every weight and bias is a finite number."""
    for node in graph.nodes:
        if isinstance(node, Conv2d | Linear):
            bad = int(np.sum(~np.isfinite(node.weight)))
            bad += 0 if node.bias is None else int(np.sum(~np.isfinite(node.bias)))
            if bad:
                yield _finding(
                    finite_parameters,
                    "E204",
                    node.name,
                    f"{bad} weights or biases are NaN or infinite",
                    "0",
                    "the training diverged: lower the learning rate",
                )


def filtered_bias(graph: Graph) -> Iterator[Finding]:
    """A bias enters the membrane directly; it cannot pass the synaptic filter."""
    waiting: Conv2d | Linear | None = None
    for node in graph.nodes:
        if isinstance(node, Conv2d | Linear):
            waiting = node
        elif isinstance(node, LIF) and waiting is not None:
            if node.current_decay < 1.0 and waiting.bias is not None and np.any(waiting.bias):
                yield _finding(
                    filtered_bias,
                    "E205",
                    waiting.name,
                    "a bias before neurons with synaptic memory",
                    "",
                    "train this layer with bias=False and without batch normalisation",
                )
            waiting = None


def only_foldable(graph: Graph) -> Iterator[Finding]:
    """A layer is a convolution or a dense layer with neurons; pooling and normalisation must have been folded."""
    for node in graph.nodes:
        if isinstance(node, AvgPool2d | MaxPool2d | BatchNorm):
            yield _finding(only_foldable, "E206", node.name, type(node).__name__, "", "fold it first (export does)")


RULES: tuple[Rule, ...] = (
    only_foldable,
    finite_parameters,
    hard_reset,
    positive_threshold,
    decay_in_range,
    filtered_bias,
)


def check(graph: Graph) -> list[Finding]:
    """Return all findings of all rules on a lowered graph, in data-flow order."""
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    findings = [finding for rule in RULES for finding in rule(graph)]
    return sorted(findings, key=lambda finding: position.get(finding.node, -1))


def check_chip(chip: ChipGraph) -> list[Finding]:
    """Return findings on the integers: what netx would corrupt without a word (see docs/semantics.md)."""
    findings = []
    for layer in chip.layers:
        findings += _fields_out_of_range(layer)
        if layer.kind == "dense" and (layer.weight.min() >= 0 or layer.weight.max() <= 0):
            findings.append(
                Finding(
                    "E220",
                    "error",
                    layer.name,
                    "all dense weights have one sign",
                    "both signs in every dense layer",
                    fix="Lava re-scales single-signed dense layers and loses bits: train on, or add an opposite weight",
                )
            )
        if layer.threshold < 30 and layer.threshold > 0:
            findings.append(
                Finding(
                    "W221",
                    "warning",
                    layer.name,
                    f"threshold mantissa {layer.threshold}",
                    "30",
                    fix="the threshold is resolved to less than 3 %; largest weight and threshold are far apart",
                )
            )
        zeros = float((layer.weight == 0).mean())
        if zeros > 0.5:
            findings.append(
                Finding(
                    "W222",
                    "warning",
                    layer.name,
                    f"{zeros:.0%} of the weights round to zero",
                    "50 %",
                    fix="a few large weights set the scale; clip them in training or use weight decay",
                )
            )
    return findings


def _fields_out_of_range(layer: ChipLayer) -> list[Finding]:
    """Return a finding for every integer that its field on the chip cannot hold; Lava takes most of them silently."""
    fields = (
        ("weight", int(np.abs(layer.weight).max(initial=0)), WEIGHT_MAX.value),
        ("bias mantissa", int(np.abs(layer.bias).max(initial=0)), BIAS_MAX.value),
        ("threshold mantissa", abs(layer.threshold), THRESHOLD_MAX.value),
        ("voltage decay", layer.voltage_decay, DECAY_MAX.value),
        ("current decay", layer.current_decay, 4096),  # 4096: no synaptic memory
    )
    return [
        Finding(
            "E223",
            "error",
            layer.name,
            f"{name} {value}",
            str(limit),
            str(value - limit),
            "the chip's field cannot hold it: quantise the layer with a smaller scale",
        )
        for name, value, limit in fields
        if value > limit
    ]


def _finding(rule: Rule, code: str, node: str, found: str, limit: str, fix: str) -> Finding:
    meaning = (rule.__doc__ or "").strip().rstrip(".")
    return Finding(code, "error", node, found, limit, fix=f"{meaning}: {fix}")
