"""What every memory model needs from a price list and from counts, and how it refuses what it cannot charge."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from hw_targets.finding import Finding, InputError, UnsupportedError
from neuroemo.profiling.counting.counts import LayerCounts, OpCounts
from neuroemo.profiling.priced import Side
from neuroemo.profiling.prices import Price, PriceList, check_mix

WORD_BITS: dict[str, int] = {"int4": 4, "int8": 8, "int16": 16, "int32": 32, "fp16": 16, "fp32": 32}
"""Width of one stored number by precision."""


def word_bits(model: str, precision: str, taken: Collection[str]) -> int:
    """Return the bits of one number.

    Raises:
        UnsupportedError: a precision that the model does not take; those it takes are named.
    """
    if precision not in taken:
        choices = f"one of {', '.join(taken)}"
        raise UnsupportedError(Finding("E830", "error", model, f"precision {precision}", choices))
    return WORD_BITS[precision]


def take_rows(prices: PriceList, names: Iterable[str], model: str) -> dict[str, Price]:
    """Return the prices of these ids.

    Raises:
        InputError: rows that the list lacks, each by name; rows that must not stand in one sum (``check_mix``).
    """
    wanted = tuple(dict.fromkeys(names))
    findings = [
        Finding(
            "E833",
            "error",
            name,
            prices.dropped.get(name, f"{prices.target} has no such price"),
            f"a price list with every row that the model {model} charges",
            fix=f"take one of the lists that docs/energy-models.md names for {model}",
        )
        for name in wanted
        if name not in prices.rows
    ]
    if findings:
        raise InputError(findings)
    taken = {name: prices.rows[name] for name in wanted}
    check_mix(taken.values())
    return taken


def has_rows(prices: PriceList, names: Iterable[str]) -> bool:
    """Tell whether a list has all of these prices."""
    return all(name in prices.rows for name in names)


def check_layers(counts: OpCounts, model: str, side: Side) -> None:
    """Refuse layers that a memory model has no formula for, all at once.

    Raises:
        UnsupportedError: products of two activations, arithmetic on elements, layers of unknown shape, and
            neurons of unknown rule (on the side of the SNN only: an activation function of an ANN is free).
    """
    findings = [
        Finding("E831", "error", name, found, f"what the model {model} has a formula for", fix=fix)
        for name, layer in counts.layers.items()
        for found, fix in _refusals(layer, side)
    ]
    if findings:
        raise UnsupportedError(findings)


def _refusals(layer: LayerCounts, side: Side) -> Iterator[tuple[str, str]]:
    arithmetic = "price it with the model arithmetic"
    if layer.kind == "element":
        yield "arithmetic on every element", "count with batch_norm='folded', or " + arithmetic
    elif layer.kind == "neuron":
        if layer.rule is None and side == "snn":
            yield f"neurons of type {layer.type} whose rule is not known", arithmetic
    elif layer.geometry is None:
        yield f"synapses of type {layer.type} whose shape is not known", arithmetic
    elif layer.geometry.kind == "product":
        yield "a product of two activations, which has no stored weights", arithmetic


def evaluations(counts: OpCounts, layer: LayerCounts) -> int:
    """Return how often a layer of synapses was evaluated, over all steps and samples: dense MACs / synapses."""
    if not layer.synapses:
        return counts.steps * counts.samples
    return layer.dense_macs // layer.synapses


def check_positive(model: str, values: Mapping[str, float]) -> None:
    """Refuse settings that are not positive finite numbers, all at once.

    Raises:
        InputError: each of them, by name.
    """
    bad = {name: value for name, value in values.items() if not 0 < value < float("inf")}
    if bad:
        raise InputError(
            [Finding("E832", "error", f"{model}.{name}", f"{value}", "above 0, finite") for name, value in bad.items()]
        )
