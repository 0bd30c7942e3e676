"""What Speck cannot express and what its cores cannot hold: one small function per rule.

A graph is checked as it stands, average pools included: the chip sums over pools of its own, behind the neurons.
"""

from __future__ import annotations

from collections.abc import Iterator

from hw_targets.finding import Finding
from hw_targets.graph import LIF, AvgPool2d, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool2d, Node, Pair
from hw_targets.rule import Rule, Violation, apply, firing_at_rest, non_finite_parameters, rule
from hw_targets.speck.cores import CoreLayer, assign_cores, core_layers
from hw_targets.speck.limits import (
    CHANNELS,
    CORES,
    INPUT_SIZE,
    KERNEL,
    KERNEL_WORDS,
    NEURON_WORDS,
    OUTPUT_SIZE,
    PADDING,
    POOLS,
    STATE_MAX,
    STRIDES,
    WEIGHT_MAX,
)

_ORDER = "convolution or dense layer, neurons, sum pool"
_FOLLOWS: dict[str, tuple[type, ...]] = {
    "synapse": (LIF,),
    "neuron": (AvgPool2d, MaxPool2d, Flatten, Conv2d, Linear),
    "pool": (AvgPool2d, MaxPool2d, Flatten, Conv2d, Linear),
    "flatten": (Linear,),
}


def _kind(node: Node) -> str:
    match node:
        case Conv2d() | Linear():
            return "synapse"
        case LIF():
            return "neuron"
        case Flatten():
            return "flatten"
        case _:
            return "pool"


@rule("E260")
def core_order(graph: Graph) -> Iterator[Violation]:
    """A core computes a convolution or a dense layer, its neurons and then a sum pool, in this order."""
    before = "pool"  # the event pre-processing pools the sensor's events
    for node in graph.nodes:
        if isinstance(node, BatchNorm):
            yield Violation(node.name, "BatchNorm", _ORDER, fix="fold it first (check does)")
            continue
        if not isinstance(node, _FOLLOWS[before]):
            fix = "put pools behind the neurons, and neurons behind every convolution and dense layer"
            yield Violation(node.name, f"{type(node).__name__} behind a {before} layer", _ORDER, fix=fix)
        before = _kind(node)
    if before != "neuron":
        fix = "end the network in spiking neurons: a pool belongs to the core that receives it"
        last = graph.nodes[-1].name if graph.nodes else "network"
        yield Violation(last, f"the network ends in a {before} layer", _ORDER, fix=fix)


@rule("E261")
def sum_pooling(graph: Graph) -> Iterator[Violation]:
    """The chip pools by summing spikes; it has no maximum."""
    for node in graph.nodes:
        if isinstance(node, MaxPool2d):
            yield Violation(node.name, "MaxPool2d", "average (sum) pooling", fix="train with average pooling")


@rule("E262")
def pool_size(graph: Graph) -> Iterator[Violation]:
    """A sum pool has square windows of side 1, 2 or 4 that lie side by side; pools in a row count as one."""
    together = 1
    for node in graph.nodes:
        if not isinstance(node, AvgPool2d):
            together = 1
            continue
        side = node.kernel[0]
        together *= side
        if node.kernel != (side, side) or node.stride != node.kernel or any(node.padding) or together not in POOLS:
            found = f"windows of {_by(node.kernel)}, stride {_by(node.stride)}, padding {_by(node.padding)}"
            found += f", {together} with the pools before it" if together != side else ""
            yield Violation(node.name, found, "1x1, 2x2 or 4x4 side by side", fix="pool by 2 or 4, or use a stride")


@rule("E263")
def integrate_and_fire(graph: Graph) -> Iterator[Violation]:
    """A neuron integrates and fires; it does not leak and has no synaptic memory."""
    for node in graph.neurons():
        for name, value, wanted in (("decay", node.decay, 0.0), ("current decay", node.current_decay, 1.0)):
            if value != wanted:
                fix = "train with IFNode neurons"
                yield Violation(node.name, f"{name} {value:g} per step", f"{wanted:g}", f"{abs(value - wanted):g}", fix)


@rule("E264")
def stride(graph: Graph) -> Iterator[Violation]:
    """The stride of a convolution is 1, 2, 4 or 8."""
    for layer in core_layers(graph):
        if any(step not in STRIDES for step in layer.stride):
            yield Violation(layer.name, f"stride {_by(layer.stride)}", "1, 2, 4 or 8", fix="choose one of these")


@rule("E265")
def plain_convolution(graph: Graph) -> Iterator[Violation]:
    """A convolution has no dilation and no groups: its configuration has no field for them."""
    for node in graph.nodes:
        if isinstance(node, Conv2d) and (node.dilation != (1, 1) or node.groups != 1):
            found = f"dilation {_by(node.dilation)}, groups {node.groups}"
            yield Violation(node.name, found, "dilation 1x1, groups 1", fix="train with a plain convolution")


@rule("E266")
def square_kernel(graph: Graph) -> Iterator[Violation]:
    """A kernel is square; a dense layer's kernel is the map it reads."""
    for layer in core_layers(graph):
        if layer.kernel[0] != layer.kernel[1]:
            fix = "use a square kernel" if layer.kernel != layer.input_map else "use square frames, or pool them square"
            yield Violation(layer.name, f"kernel {_by(layer.kernel)}", "equal sides", fix=fix)


@rule("E267")
def events_only(graph: Graph) -> Iterator[Violation]:
    """The chip receives events, which carry no value."""
    if graph.first_frame == "float":
        fix = "compute the first layer on the host (--input-encoding host), or train on spikes alone"
        yield Violation("input", "step 0 carries gray values", "spikes of 0 or 1", fix=fix)


@rule("E268")
def positive_threshold(graph: Graph) -> Iterator[Violation]:
    """A neuron fires when its potential reaches a threshold above rest."""
    yield from firing_at_rest(graph)


@rule("E269")
def finite_parameters(graph: Graph) -> Iterator[Violation]:
    """Every weight and every bias is a finite number."""
    yield from non_finite_parameters(graph)


@rule("W260")
def clocked_bias(graph: Graph) -> Iterator[Violation]:
    """A bias is added at each tick of a slow clock to every neuron, not once per step, and costs power."""
    for layer in core_layers(graph):
        if layer.has_bias:
            fix = "train with bias=False and without batch normalisation, or set the clock to the length of a step"
            yield Violation(layer.name, "a bias", "no bias", fix=fix)


@rule("W261")
def weight_bits_left(graph: Graph) -> Iterator[Violation]:
    """Weights and threshold share one scale, so a threshold far above the weights costs them bits."""
    most = STATE_MAX.value / WEIGHT_MAX.value
    for layer in core_layers(graph):
        ratio = layer.threshold / layer.weight_max if layer.weight_max > 0 else 0.0
        if ratio > most:
            levels = int(STATE_MAX.value / ratio)
            left = levels.bit_length() + 1 if levels else 0
            yield Violation(
                layer.name,
                f"threshold {ratio:.0f} times the largest weight: {left} bits left",
                f"{most:.0f} times",
                f"{ratio - most:.0f}",
                "lower the threshold, or normalise the weights",
            )


@rule("E310")
def kernel_size(graph: Graph) -> Iterator[Violation]:
    """A kernel has at most 16 taps per side; a dense layer's kernel is the map it reads."""
    for layer in core_layers(graph):
        yield from _too_large(layer.name, "kernel", layer.kernel, KERNEL.value, "pool before it, or use a stride")


@rule("E311")
def channels(graph: Graph) -> Iterator[Violation]:
    """A layer has at most 1024 input and 1024 output channels."""
    for layer in core_layers(graph):
        for name, count in (("input", layer.channels), ("output", layer.features)):
            if count > CHANNELS.value:
                over = str(count - CHANNELS.value)
                yield Violation(layer.name, f"{count} {name} channels", str(CHANNELS.value), over, "use fewer")


@rule("E312")
def input_map(graph: Graph) -> Iterator[Violation]:
    """A layer reads a map of at most 128x128."""
    for layer in core_layers(graph):
        yield from _too_large(layer.name, "input map", layer.input_map, INPUT_SIZE.value, "use smaller frames")


@rule("E313")
def output_map(graph: Graph) -> Iterator[Violation]:
    """A layer writes a map of at most 64x64, before its pool."""
    for layer in core_layers(graph):
        fix = "use a stride of 2 here, or pool the frames before"
        yield from _too_large(layer.name, "output map", layer.output_map, OUTPUT_SIZE.value, fix)


@rule("E314")
def padding(graph: Graph) -> Iterator[Violation]:
    """A convolution is padded by at most 7."""
    for layer in core_layers(graph):
        yield from _too_large(layer.name, "padding", layer.padding, PADDING.value, "pad less")


@rule("E315")
def core_memory(graph: Graph) -> Iterator[Violation]:
    """At least one core has the memory for a layer; the cores with large kernels have few neurons."""
    for layer in core_layers(graph):
        if not any(layer.fits(core) for core in range(CORES.value)):
            yield _memory_violation(layer)


@rule("E316")
def number_of_layers(graph: Graph) -> Iterator[Violation]:
    """A network has at most 9 layers, one for each core."""
    layers = core_layers(graph)
    if len(layers) > CORES.value:
        over = str(len(layers) - CORES.value)
        yield Violation(layers[CORES.value].name, f"{len(layers)} layers", f"{CORES.value} cores", over, "drop layers")


@rule("E317")
def core_for_each_layer(graph: Graph) -> Iterator[Violation]:
    """Each layer needs a core of its own that is large enough for it."""
    layers = core_layers(graph)
    if len(layers) > CORES.value:
        return  # number_of_layers says so
    for crowd in assign_cores(layers)[1]:
        yield Violation(
            crowd.layer,
            f"no core left: {', '.join(crowd.layers)} fit only cores {', '.join(map(str, crowd.cores))}",
            f"{len(crowd.cores)} cores",
            str(len(crowd.layers) - len(crowd.cores)),
            "make one of these layers smaller: fewer channels, or a pool or stride before it",
        )


RULES: tuple[Rule[Graph], ...] = (
    core_order,
    sum_pooling,
    pool_size,
    integrate_and_fire,
    stride,
    plain_convolution,
    square_kernel,
    events_only,
    positive_threshold,
    finite_parameters,
    clocked_bias,
    weight_bits_left,
    kernel_size,
    channels,
    input_map,
    output_map,
    padding,
    core_memory,
    number_of_layers,
    core_for_each_layer,
)


def check(graph: Graph) -> list[Finding]:
    """Return all findings of all rules on a graph whose normalisations are folded, in data-flow order."""
    return apply(RULES, graph, (node.name for node in graph.nodes))


def _by(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"


def _too_large(name: str, what: str, pair: Pair, most: int, fix: str) -> Iterator[Violation]:
    if max(pair) > most:
        yield Violation(name, f"{what} {_by(pair)}", str(most), str(max(pair) - most), fix)


def _memory_violation(layer: CoreLayer) -> Violation:
    """Return the violation of a layer that no core can hold, measured against the core that comes nearest."""
    kernel, neuron = layer.kernel_words, layer.neuron_words
    core = min(range(CORES.value), key=lambda c: max(kernel / KERNEL_WORDS[c], neuron / NEURON_WORDS[c]))
    missing = (("kernel", kernel - KERNEL_WORDS[core]), ("neuron", neuron - NEURON_WORDS[core]))
    return Violation(
        layer.name,
        f"{kernel} kernel words and {neuron} neuron words",
        f"{KERNEL_WORDS[core]} and {NEURON_WORDS[core]} in the nearest core, {core}",
        " and ".join(f"{words} {what} words" for what, words in missing if words > 0),
        "use fewer channels, or a pool or stride before it",
    )
