"""What Xylo cannot express and cannot hold: one small function per rule.

The neuron leaks by shifting: v <- v - (v >> k) keeps 1 - 2^-k of it, so a decay per step is a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log2

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, Linear
from hw_targets.rule import (
    Rule,
    Violation,
    apply,
    firing_at_rest,
    followed_by_neurons,
    non_finite_parameters,
    rule,
)
from hw_targets.xylo.limits import (
    BIT_SHIFT,
    FAN_OUT,
    HIDDEN,
    HIDDEN_WEIGHTS,
    INPUTS,
    OUTPUTS,
    THRESHOLD_MAX,
    WEIGHT_MAX,
)

_SHIFTS = f"2^-{BIT_SHIFT.value} to 2^-1"


@rule("E280")
def dense_only(graph: Graph) -> Iterator[Violation]:
    """The core has dense weights and neurons; it has no convolution, no pool and no normalisation."""
    for node in graph.nodes:
        if not isinstance(node, Linear | Flatten | LIF):
            fix = "use linear layers on a few features"
            yield Violation(node.name, type(node).__name__, "linear layers and neurons", fix=fix)


@rule("E281")
def weights_then_neurons(graph: Graph) -> Iterator[Violation]:
    """Weights feed neurons and neurons feed weights, and the network ends in neurons."""
    before: type = LIF
    for node in graph.nodes:
        if not isinstance(node, Linear | Conv2d | LIF):
            continue
        if isinstance(node, LIF) == (before is LIF):
            fix = "put neurons behind every linear layer, and a linear layer before all neurons"
            found = "neurons without weights before them" if before is LIF else "weights behind weights"
            yield Violation(node.name, found, "linear layer, neurons, linear layer, neurons", fix=fix)
        before = LIF if isinstance(node, LIF) else Linear
    if before is not LIF:
        fix = "end it in spiking neurons"
        yield Violation(graph.nodes[-1].name, "the network ends in weights", "a layer of neurons", fix=fix)


@rule("E282")
def subtractive_reset(graph: Graph) -> Iterator[Violation]:
    """A neuron that fires loses its threshold; it is not set to zero."""
    for node in graph.neurons():
        if node.reset != "subtract":
            yield Violation(node.name, f"reset {node.reset!r}", "reset 'subtract'", fix="retrain with a soft reset")


@rule("E283")
def membrane_decay(graph: Graph) -> Iterator[Violation]:
    """A membrane leaks by a bit shift of 1 to 15: time constants of more than one step, and finite ones."""
    for node in graph.neurons():
        if _bit_shift(node.decay) is None:
            fix = "use a membrane time constant of 2, 4, 8, ... steps"
            yield Violation(node.name, f"decay {node.decay:g} per step", _SHIFTS, fix=fix)


@rule("E284")
def synaptic_decay(graph: Graph) -> Iterator[Violation]:
    """A synapse has a current of its own that leaks by a bit shift of 1 to 15; it cannot be left out."""
    for node in graph.neurons():
        if _bit_shift(node.current_decay) is None:
            fix = "train with synaptic memory, of a time constant of 2, 4, 8, ... steps"
            yield Violation(node.name, f"current decay {node.current_decay:g} per step", _SHIFTS, fix=fix)


@rule("E285")
def hidden_and_output(graph: Graph) -> Iterator[Violation]:
    """A network has at least two layers of neurons, hidden and output."""
    count = len(graph.neurons())
    if count < 2:
        yield Violation("network", f"{count} layers of neurons", "at least 2", str(2 - count), "add a hidden layer")


@rule("E286")
def events_only(graph: Graph) -> Iterator[Violation]:
    """An input channel receives a number of events per step, not a gray value."""
    if graph.first_frame == "float":
        fix = "compute the first layer on the host (--input-encoding host), or train on spikes alone"
        yield Violation("input", "step 0 carries gray values", "spikes of 0 or 1", fix=fix)


@rule("E287")
def no_bias(graph: Graph) -> Iterator[Violation]:
    """A bias cannot pass the synaptic current; Rockpool's mapper drops the bias of a linear layer."""
    for synapse, _ in followed_by_neurons(graph):
        if synapse.bias is not None and np.any(synapse.bias):
            fix = "train with bias=False and without batch normalisation"
            yield Violation(synapse.name, f"{np.count_nonzero(synapse.bias)} biases", "0", fix=fix)


@rule("E288")
def positive_threshold(graph: Graph) -> Iterator[Violation]:
    """A neuron fires when its potential reaches a threshold above rest."""
    yield from firing_at_rest(graph)


@rule("E289")
def finite_parameters(graph: Graph) -> Iterator[Violation]:
    """Every weight and every bias is a finite number."""
    yield from non_finite_parameters(graph)


@rule("W280")
def rounded_decay(graph: Graph) -> Iterator[Violation]:
    """A decay that is not a power of two is rounded to the nearest one."""
    for node in graph.neurons():
        for name, value in (("decay", node.decay), ("current decay", node.current_decay)):
            shift = _bit_shift(value)
            if shift is not None and value != 2.0**-shift:
                change = value * 2.0**shift - 1
                fix = f"train with {2.0**-shift:g}: a time constant of {2**shift} steps"
                found = f"{name} {value:g} per step becomes 2^-{shift}"
                yield Violation(node.name, found, "a power of two", f"{abs(change):.0%} of the time constant", fix)


@rule("W281")
def weight_bits_left(graph: Graph) -> Iterator[Violation]:
    """Weights and threshold share one scale, so a threshold far above the weights costs them bits."""
    most = THRESHOLD_MAX.value / WEIGHT_MAX.value
    for synapse, neuron in followed_by_neurons(graph):
        largest = float(np.abs(synapse.weight).max(initial=0.0))
        ratio = (neuron.threshold - neuron.rest) / largest if largest > 0 else 0.0
        if ratio > most:
            levels = int(THRESHOLD_MAX.value / ratio)
            yield Violation(
                synapse.name,
                f"threshold {ratio:.0f} times the largest weight: {levels.bit_length() + 1 if levels else 0} bits left",
                f"{most:.0f} times",
                f"{ratio - most:.0f}",
                "lower the threshold, or normalise the weights",
            )


@rule("E320")
def inputs(graph: Graph) -> Iterator[Violation]:
    """The core receives at most 16 input channels."""
    count = int(np.prod(graph.input_shape))
    if count > INPUTS.value:
        fix = "reduce the events to a few features first: pool frames, or compute layers on the host"
        yield Violation("input", f"{count} channels", str(INPUTS.value), str(count - INPUTS.value), fix)


@rule("E321")
def hidden_neurons(graph: Graph) -> Iterator[Violation]:
    """All hidden layers together have at most 1000 neurons."""
    yield from _too_many(_layer_sizes(graph)[:-1], HIDDEN.value, "hidden neurons", "use narrower layers")


@rule("E322")
def output_neurons(graph: Graph) -> Iterator[Violation]:
    """The output layer has at most 8 neurons."""
    for name, count in _layer_sizes(graph)[-1:]:
        if count > OUTPUTS.value:
            fix = "use one output neuron per class, or XyloAudio 3 (32)"
            yield Violation(name, f"{count} neurons", str(OUTPUTS.value), str(count - OUTPUTS.value), fix)


@rule("E323")
def fan_out(graph: Graph) -> Iterator[Violation]:
    """A hidden neuron sends to at most 64 hidden neurons."""
    for layer in _between_hidden(graph):
        most = int(np.count_nonzero(layer.weight, axis=0).max(initial=0))
        if most > FAN_OUT.value:
            fix = "prune the layer to 64 weights per input, or use narrower layers"
            yield Violation(layer.name, f"fan-out {most}", str(FAN_OUT.value), str(most - FAN_OUT.value), fix)


@rule("E324")
def hidden_weights(graph: Graph) -> Iterator[Violation]:
    """All weights between hidden neurons together number at most 32000; zeros need no memory."""
    counts = [(layer.name, int(np.count_nonzero(layer.weight))) for layer in _between_hidden(graph)]
    yield from _too_many(counts, HIDDEN_WEIGHTS.value, "hidden weights", "prune, or use narrower layers")


RULES: tuple[Rule[Graph], ...] = (
    dense_only,
    weights_then_neurons,
    subtractive_reset,
    membrane_decay,
    synaptic_decay,
    hidden_and_output,
    events_only,
    no_bias,
    positive_threshold,
    finite_parameters,
    rounded_decay,
    weight_bits_left,
    inputs,
    hidden_neurons,
    output_neurons,
    fan_out,
    hidden_weights,
)


def check(graph: Graph) -> list[Finding]:
    """Return all findings of all rules on a folded graph, in data-flow order."""
    return apply(RULES, graph, (node.name for node in graph.nodes))


def _bit_shift(decay: float) -> int | None:
    """Return the shift k with 2^-k nearest to ``decay`` on a scale of powers, None where the chip has none.

    >>> [_bit_shift(decay) for decay in (0.5, 0.3, 0.0, 1.0)]
    [1, 2, None, None]
    """
    if not 0.0 < decay < 1.0:
        return None
    shift = round(-log2(decay))
    return shift if 1 <= shift <= BIT_SHIFT.value else None


def _layer_sizes(graph: Graph) -> list[tuple[str, int]]:
    """Return name and number of neurons of every neuron layer."""
    return [(node.name, int(np.prod(shape))) for node, _, shape in graph.layers() if isinstance(node, LIF)]


def _between_hidden(graph: Graph) -> list[Linear]:
    """Return the linear layers from hidden neurons to hidden neurons: neither the first nor the last."""
    layers = [synapse for synapse, _ in followed_by_neurons(graph) if isinstance(synapse, Linear)]
    return layers[1:-1]


def _too_many(counts: list[tuple[str, int]], most: int, what: str, fix: str) -> Iterator[Violation]:
    """Yield one violation if the counts add up to more than ``most``, at the layer that crosses it."""
    total, running = sum(count for _, count in counts), 0
    for name, count in counts:
        running += count
        if running > most:
            yield Violation(name, f"{total} {what} in all", str(most), str(total - most), fix)
            return
