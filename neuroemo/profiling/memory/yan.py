"""Yan, Bai, Tang and Wong (arXiv:2409.08290): an SNN against the quantised network of equal resolution.

A rate-coded SNN of T steps resolves as much as a quantised network (QNN) whose activations have
b = ceil(log2(T + 1)) bits; both hold weights of b_w bits. Energies in pJ per sample, with n synaptic events,
u neuron updates, r resets, N synapses, N_out outputs, h hops, v bits of a potential, R weight reuse::

    E_SNN = n (E_ACC + b_w e + h M_sparse) + u (E_CMP + 2 v e) + r E_SUB
    E_QNN = N (E_dense + b_w e / R + b h M_dense) + N_out E_CMP

with e per bit of memory. The paper prints E_ACC and M; e and E_dense are solved from what it prints
(``docs/energy-models.md``). Control is left out, which flatters the SNN, as the authors say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.counts import LayerCounts, OpCounts
from neuroemo.profiling.memory.charges import check_samples
from neuroemo.profiling.memory.rows import check_layers, check_positive, evaluations, has_rows, take_rows, word_bits
from neuroemo.profiling.priced import EnergyModel, Priced, Side
from neuroemo.profiling.prices import Price, PriceList

TAKEN = ("int4", "int8")
"""Precisions of the weights."""

_ACCUMULATE, _COMPARE, _SUBTRACT = "operation.accumulate", "operation.compare", "operation.subtract"
_DENSE, _BIT = "operation.dense_synapse", "memory.sram_bit"
_SPARSE_HOP, _DENSE_HOP = "movement.sparse_hop", "movement.dense_hop"
_ROWS: dict[Side, tuple[str, ...]] = {
    "snn": (_ACCUMULATE, _COMPARE, _SUBTRACT, _BIT, _SPARSE_HOP),
    "ann": (_DENSE, _COMPARE, _BIT, _DENSE_HOP),
}

CITATION = (
    "Z. Yan, Z. Bai, K. Tang, W.-F. Wong: Reconsidering the Energy Efficiency of Spiking Neural Networks Inference "
    "from Analytical Perspectives. arXiv:2409.08290v4, 2026"
)


@dataclass(frozen=True, slots=True)
class YanOptions:
    """What the mapping decides.

    ``steps``: T of the SNN whose twin the quantised network is; None gives its activations the bits of the
    precision. ``hops``: routers that a value crosses (the paper's VGG16 0.64, its transformers 4.75).
    ``reuse``: outputs for which the quantised network uses a fetched weight. ``potential_bits`` of a neuron
    state; ``graded_bits`` of a value that is neither 0 nor +-1, sent and accumulated bit by bit.
    """

    steps: int | None = None
    hops: float = 1.0
    reuse: float = 1.0
    potential_bits: int = 8
    graded_bits: int = 8


DEFAULT = YanOptions()


def activation_bits(steps: int) -> int:
    """Return b = ceil(log2(T + 1)), the bits of the quantised twin of an SNN of T steps.

    >>> [activation_bits(steps) for steps in (1, 3, 4, 7, 8, 15, 68)]
    [1, 2, 3, 3, 4, 4, 7]

    Raises:
        InputError: fewer than one step.
    """
    if steps < 1:
        raise InputError(Finding("E832", "error", "yan.steps", f"{steps}", "1 or more"))
    return steps.bit_length()


def price_yan(
    counts: OpCounts, prices: PriceList, precision: str, side: Side, *, options: YanOptions = DEFAULT
) -> Priced:
    """Price counts under the model, in pJ per sample; ``precision`` is that of the weights.

    Raises:
        UnsupportedError: a precision or a layer that the model cannot charge.
        InputError: a price list without the rows it needs, options out of range, no sample.
    """
    bits = word_bits("yan", precision, TAKEN)
    _check_options(options)
    check_samples(counts)
    check_layers(counts, "yan", side)
    rows = take_rows(prices, _ROWS[side], "yan")
    layers: dict[str, dict[str, float]] = {}
    for name, layer in counts.layers.items():
        if layer.kind == "synapse":
            parts = _events if side == "snn" else _dense
            layers[name] = parts(counts, layer, rows, bits, options)
        elif side == "snn":
            layers[name] = _neurons(layer, rows, options)
    return Priced(
        model=model_id(options),
        prices=prices.target,
        precision=precision,
        side=side,
        samples=counts.samples,
        steps=counts.steps,
        layers={
            name: {part: value / counts.samples for part, value in parts.items()} for name, parts in layers.items()
        },
        constants=tuple(rows),
        assumptions=tuple(_assumptions(counts, side, bits, options)),
        partial=tuple(counts.partial),
    )


def break_even_rate(
    prices: PriceList, precision: str, *, steps: int, fan_in: int, options: YanOptions = DEFAULT
) -> float:
    """Return the spike rate s* at which a neuron of ``fan_in`` synapses costs as much as its quantised twin.

    With N synapses per neuron, and neurons that fire at the rate of their inputs, it solves
    ``N T s (E_ACC + b_w e + h M_sparse) + T (E_CMP + 2 v e) + T s E_SUB
    = N (E_dense + b_w e / R + b h M_dense) + E_CMP``.

    >>> from neuroemo.profiling.prices import load_prices
    >>> round(break_even_rate(load_prices("cmos22"), "int4", steps=5, fan_in=4096), 3)  # the paper: 5.7 %
    0.057

    Raises:
        UnsupportedError: a precision that the model does not take.
        InputError: rows that the list lacks, or a number out of range.
    """
    bits = word_bits("yan", precision, TAKEN)
    _check_options(options)
    check_positive("yan", {"fan_in": fan_in})
    rows = take_rows(prices, (*_ROWS["snn"], *_ROWS["ann"]), "yan")
    price = {name: row.value for name, row in rows.items()}
    weight, state = bits * price[_BIT], 2 * options.potential_bits * price[_BIT]
    movement = activation_bits(steps) * options.hops * price[_DENSE_HOP]
    dense = fan_in * (price[_DENSE] + weight / options.reuse + movement) + price[_COMPARE]
    idle = steps * (price[_COMPARE] + state)
    event = price[_ACCUMULATE] + weight + options.hops * price[_SPARSE_HOP]
    return (dense - idle) / (steps * (fan_in * event + price[_SUBTRACT]))


def precisions(prices: PriceList) -> tuple[str, ...]:
    """Return the precisions at which the model can price with a list."""
    return TAKEN if has_rows(prices, (*_ROWS["snn"], *_ROWS["ann"])) else ()


def model_id(options: YanOptions) -> str:
    """Return the name of a variant: what differs from the default is in it.

    >>> model_id(YanOptions()), model_id(YanOptions(steps=5, hops=0.64))
    ('yan', 'yan-steps5-hops0.64')
    """
    named = {"steps": options.steps, "hops": options.hops, "reuse": options.reuse}
    named |= {"potential": options.potential_bits, "graded": options.graded_bits}
    plain = (DEFAULT.steps, DEFAULT.hops, DEFAULT.reuse, DEFAULT.potential_bits, DEFAULT.graded_bits)
    changed = [f"{name}{value:g}" for (name, value), usual in zip(named.items(), plain, strict=True) if value != usual]
    return "-".join(["yan", *changed])


@dataclass(frozen=True, slots=True)
class YanPrice:
    """The model with its options as a function; results carry its name."""

    name: str
    options: YanOptions

    def __call__(self, counts: OpCounts, prices: PriceList, precision: str, side: Side) -> Priced:
        """Price counts, see ``price_yan``."""
        return replace(price_yan(counts, prices, precision, side, options=self.options), model=self.name)


def yan_model(options: YanOptions = DEFAULT) -> EnergyModel:
    """Return the model with these options as one of the energy models."""
    return _model(model_id(options), options)


def for_steps(model: EnergyModel, steps: int) -> EnergyModel:
    """Return a model of this family with the quantised network matched to ``steps``; its name stays.

    A model that was made for a number of steps of its own keeps it, any other model is returned as it is.
    """
    price = model.price
    if not isinstance(price, YanPrice) or (price.options.steps is not None and price.name == model_id(price.options)):
        return model
    return _model(price.name, replace(price.options, steps=steps))


def _model(name: str, options: YanOptions) -> EnergyModel:
    return EnergyModel(
        id=name,
        title="Yan et al. 2024-26",
        scope="arithmetic, weight and potential memory, data movement on chip; no control, leakage or off-chip memory",
        citation=CITATION,
        url="https://arxiv.org/abs/2409.08290",
        price=YanPrice(name, options),
    )


def _events(
    counts: OpCounts, layer: LayerCounts, rows: Mapping[str, Price], bits: int, options: YanOptions
) -> dict[str, float]:
    accumulate, hop = rows[_ACCUMULATE].value, rows[_SPARSE_HOP].value
    payload = layer.acs + layer.macs * options.graded_bits
    return {
        "accumulates": layer.acs * accumulate,
        "multiply-accumulates": layer.macs * options.graded_bits * accumulate,
        "weight reads": (layer.acs + layer.macs) * bits * rows[_BIT].value,
        "movement": payload * options.hops * hop,
    }


def _neurons(layer: LayerCounts, rows: Mapping[str, Price], options: YanOptions) -> dict[str, float]:
    decays = layer.rule.macs if layer.rule else 0
    accesses = layer.neuron_updates * max(1, decays) * options.potential_bits
    return {
        "neuron updates": layer.neuron_updates * (rows[_COMPARE].value + decays * rows[_SUBTRACT].value),
        "potential reads": accesses * rows[_BIT].value,
        "potential writes": accesses * rows[_BIT].value,
        "resets": layer.spikes_out * rows[_SUBTRACT].value,
    }


def _dense(
    counts: OpCounts, layer: LayerCounts, rows: Mapping[str, Price], bits: int, options: YanOptions
) -> dict[str, float]:
    width = bits if options.steps is None else activation_bits(options.steps)
    outputs = math.prod(layer.geometry.output_shape) if layer.geometry else 0
    return {
        "multiply-accumulates": layer.dense_macs * rows[_DENSE].value,
        "weight reads": layer.dense_macs * bits * rows[_BIT].value / options.reuse,
        "movement": layer.dense_macs * width * options.hops * rows[_DENSE_HOP].value,
        "activations": evaluations(counts, layer) * outputs * rows[_COMPARE].value,
    }


def _check_options(options: YanOptions) -> None:
    named = {"hops": options.hops, "reuse": options.reuse}
    check_positive("yan", named | {"potential_bits": options.potential_bits, "graded_bits": options.graded_bits})
    if options.steps is not None:
        activation_bits(options.steps)


def _assumptions(counts: OpCounts, side: Side, bits: int, options: YanOptions) -> list[str]:
    said = [f"Every value crosses {options.hops:g} hops for every synapse that it reaches; control is not charged."]
    if side == "ann":
        matched = options.steps is not None
        width = activation_bits(options.steps) if options.steps is not None else bits
        why = f"those of an SNN of {options.steps} steps" if matched else "as many as the weights"
        reused = "once" if options.reuse == 1 else f"{options.reuse:g} times"
        if any(layer.kind == "neuron" for layer in counts.layers.values()):
            said.append("Spiking neurons in the counts are taken for activation functions: one comparison per output.")
        return [
            *said,
            f"Activations of the quantised network have {width} bits, {why}; a fetched weight is used {reused}.",
            "The arithmetic of a dense synapse is what the paper's break-even rates imply at 4-bit weights and 3-bit "
            "activations, at any width.",
        ]
    said.append(
        f"Weights have {bits} bits and are read anew for every event; a potential has {options.potential_bits} bits "
        "and is read and written once per update."
    )
    if any(layer.macs for layer in counts.layers.values() if layer.kind == "synapse"):
        said.append(f"A graded value is sent and accumulated bit by bit, {options.graded_bits} bits of it.")
    if any(layer.rule and layer.rule.macs for layer in counts.layers.values()):
        said.append(
            "A leak costs one subtraction per leaking state; the paper's equivalence holds for neurons without."
        )
    return said


YAN = yan_model()
