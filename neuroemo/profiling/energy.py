"""The arithmetic energy models and the list of all models: counts times prices, in pJ per sample.

With N_AC and N_MAC events of a sample and the prices E_AC, E_MAC of one operation (pJ)::

    E_SNN = sum over layers (N_AC E_AC + N_MAC E_MAC)        what the spikes caused
    E_ANN = sum over layers  N_dense E_MAC                   one dense pass, zero inputs included

"arithmetic+neurons" adds what every neuron computes at every step, by its own rule. An arithmetic figure leaves
memory, routing and control out: it compares two networks, it is not a bill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from neuroemo.profiling.counting.counts import LayerCounts, OpCounts
from neuroemo.profiling.memory import MEMORY_MODELS
from neuroemo.profiling.priced import EnergyModel, Priced, Side
from neuroemo.profiling.prices import PriceList
from neuroemo.profiling.statistics import Summary, is_constant, summarise, summarise_operations

FloatArray = npt.NDArray[np.float64]

ACCUMULATES = "accumulates"
MULTIPLY_ACCUMULATES = "multiply-accumulates"
NEURON_UPDATES = "neuron updates"
RESETS = "resets"
ELEMENTS = "element operations"

_KEPT_BYTES = 2**26
_EVENTS = "SNN: an event of value 1 or -1 costs an accumulate at each synapse it reaches, any other value a MAC"
_DENSE = "ANN: one dense pass, a multiply-accumulate at every synapse, zero inputs included"
_SKIPPED = "ANN: a multiply-accumulate at each synapse that a non-zero input reaches, as a sparse accelerator charges"
_BARE = "not in it: neuron updates, memory, routing, control, leakage"
_NEURONS = "neuron updates and resets by each neuron's rule, as listed with the counts; activations of an ANN are free"
_NO_MEMORY = "not in it: memory, routing, control, leakage"


def price_arithmetic(counts: OpCounts, prices: PriceList, precision: str, side: Side) -> Priced:
    """Price synaptic operations alone, the paper's model; pJ per sample, parts per layer with synapses.

    Ten synapses see a gray value (10 MAC) in step one and three spikes (30 AC) after it; the twin has 60 synapses.

    >>> import numpy as np
    >>> from neuroemo.profiling.prices import load_prices
    >>> table = np.array([[[0, 10, 1, 0]], [[20, 0, 2, 0]], [[10, 0, 1, 0]]])  # [T, S, (AC, MAC, in, out)]
    >>> snn = OpCounts({"fc": LayerCounts("synapse", "Linear", table, dense_macs=60)}, samples=1, steps=3)
    >>> priced = price_arithmetic(snn, load_prices("cmos45"), "fp32", "snn")
    >>> {part: round(pj, 6) for part, pj in priced.parts().items()}  # 30 x 0.9 pJ, 10 x 4.6 pJ
    {'accumulates': 27.0, 'multiply-accumulates': 46.0}
    >>> round(priced.total_pj, 6)
    73.0
    >>> round(price_arithmetic(snn, load_prices("cmos45"), "fp32", "ann").total_pj, 6)  # 60 x 4.6 pJ
    276.0
    >>> round(price_zero_skipping(snn, load_prices("cmos45"), "fp32").total_pj, 6)  # 40 x 4.6 pJ
    184.0

    Raises:
        InputError: a precision that the price list does not have, with the ones it has.
    """
    assumptions = (_EVENTS if side == "snn" else _DENSE, _BARE)
    return _priced("arithmetic", counts, prices, precision, side, assumptions)


def price_with_neurons(counts: OpCounts, prices: PriceList, precision: str, side: Side) -> Priced:
    """Price synaptic operations, element layers and, for an SNN, what every neuron does at every step.

    E_neurons = updates (MAC per update E_MAC + AC per update E_AC) + spikes sent (AC per reset) E_AC, by the layer's
    ``NeuronRule``. A layer of neurons whose rule is not known is named in ``partial``: the energy is a lower bound.

    Raises:
        InputError: a precision that the price list does not have, with the ones it has.
    """
    assumptions = (_EVENTS if side == "snn" else _DENSE, _NEURONS, _NO_MEMORY)
    priced = _priced("arithmetic+neurons", counts, prices, precision, side, assumptions)
    ac, mac = prices.accumulate(precision).value, prices.multiply_accumulate(precision).value
    layers, unknown = dict(priced.layers), list(priced.partial)
    for name, layer in counts.layers.items():
        if layer.kind == "element":
            layers[name] = {ELEMENTS: (layer.acs * ac + layer.macs * mac) / counts.samples}
        elif layer.kind == "neuron" and side == "snn" and layer.rule is None:
            unknown.append(name)
        elif layer.kind == "neuron" and side == "snn":
            layers[name] = _neurons(layer, ac, mac, counts.samples)
    ordered = {name: layers[name] for name in counts.layers if name in layers}
    return replace(priced, layers=ordered, partial=tuple(dict.fromkeys(unknown)))


def price_zero_skipping(counts: OpCounts, prices: PriceList, precision: str) -> Priced:
    """Price an ANN on an accelerator that skips zero inputs: events of either kind at E_MAC, synapses alone.

    A third number beside the twin's: an ANN after ReLU is sparse too, and hardware exists that uses it.

    Raises:
        InputError: a precision that the price list does not have, with the ones it has.
    """
    mac = prices.multiply_accumulate(precision).value
    priced = _priced("arithmetic, zeros skipped", counts, prices, precision, "ann", (_SKIPPED, _BARE))
    layers = {
        name: {MULTIPLY_ACCUMULATES: (layer.acs + layer.macs) * mac / counts.samples}
        for name, layer in counts.layers.items()
        if layer.kind == "synapse"
    }
    return replace(priced, layers=layers)


ARITHMETIC = EnergyModel(
    id="arithmetic",
    title="synaptic arithmetic",
    scope="accumulates and multiply-accumulates at synapses; neuron updates, memory, routing and control are not in it",
    citation="Wang et al., Spiking Emotions: Dynamic Vision Emotion Recognition Using Spiking Neural Networks, "
    "Table II; prices after Horowitz, ISSCC 2014",
    url="",
    price=price_arithmetic,
)
WITH_NEURONS = EnergyModel(
    id="arithmetic+neurons",
    title="synaptic arithmetic and neuron updates",
    scope="accumulates and multiply-accumulates at synapses, of neuron updates, resets and element layers; memory, "
    "routing and control are not in it",
    citation="as arithmetic, with every neuron's update at every step charged by its own rule",
    url="",
    price=price_with_neurons,
)

MODELS: dict[str, EnergyModel] = {ARITHMETIC.id: ARITHMETIC, WITH_NEURONS.id: WITH_NEURONS, **MEMORY_MODELS}
"""Every energy model by its id."""


def sample_energies(
    counts: OpCounts, model: EnergyModel, prices: PriceList, precision: str, side: Side
) -> FloatArray | None:
    """Return the energy of every sample, float64 [S] in pJ: each priced as if it alone had been run.

    None where samples were summed while counting (``keep_samples=False``) or could not be told apart.

    Raises:
        InputError: whatever the model refuses.
    """
    if not counts.kept or counts.unplaced:
        return None
    return np.array([model.price(single, prices, precision, side).total_pj for single in _single_samples(counts)])


def energy_summary(
    counts: OpCounts, model: EnergyModel, prices: PriceList, precision: str, side: Side
) -> Summary | None:
    """Return mean, deviation and 95 % interval of the energy of a sample in pJ.

    Samples that were summed while counting have a closed form in the arithmetic models, from sums and squares,
    unless resets are charged (spikes out have no squares); None otherwise.

    Raises:
        InputError: whatever the model refuses.
    """
    values = sample_energies(counts, model, prices, precision, side)
    if values is not None:
        return summarise(values)
    if counts.unplaced or not _has_closed_form(counts, model, side):
        return None
    mean = model.price(counts, prices, precision, side).total_pj
    if side == "ann":
        return Summary(counts.samples, mean, 0.0, mean, mean) if counts.samples > 1 else Summary(1, mean)
    ac, mac = prices.accumulate(precision).value, prices.multiply_accumulate(precision).value
    moving = summarise_operations(counts.total, counts.samples, ac, mac)
    if moving.low is None or moving.high is None:
        return Summary(counts.samples, mean)
    # What the total counts beside the events (or leaves out) is the same for every sample: it moves the mean alone.
    shift = mean - moving.mean
    return Summary(counts.samples, mean, moving.deviation, moving.low + shift, moving.high + shift)


def is_dense(counts: OpCounts, model: EnergyModel) -> bool:
    """Return whether a model charges an ANN the same for every sample by construction: a dense arithmetic pass."""
    return model in (ARITHMETIC, WITH_NEURONS) and _has_closed_form(counts, model, "ann")


def _has_closed_form(counts: OpCounts, model: EnergyModel, side: Side) -> bool:
    elements = [layer for layer in counts.layers.values() if layer.kind == "element"]
    resets = [layer for layer in counts.layers.values() if layer.rule is not None and layer.rule.reset_acs]
    constant = all(is_constant(layer, counts.samples) for layer in elements)
    if model is ARITHMETIC:
        return side == "ann" or constant
    return model is WITH_NEURONS and constant and (side == "ann" or not resets)


def _single_samples(counts: OpCounts) -> Iterable[OpCounts]:
    # One network is priced under many models and prices in a row: it is cut once, unless that takes much memory.
    size = sum(layer.table.nbytes for layer in counts.layers.values())
    return _kept_samples(counts) if size <= _KEPT_BYTES else _cut_samples(counts)


@lru_cache(maxsize=2)
def _kept_samples(counts: OpCounts) -> tuple[OpCounts, ...]:
    return tuple(_cut_samples(counts))


def _cut_samples(counts: OpCounts) -> Iterator[OpCounts]:
    return (counts.of_samples([index]) for index in range(counts.samples))


def _priced(
    model: str, counts: OpCounts, prices: PriceList, precision: str, side: Side, assumptions: tuple[str, ...]
) -> Priced:
    ac, mac = prices.accumulate(precision).value, prices.multiply_accumulate(precision).value
    synapses = {name: layer for name, layer in counts.layers.items() if layer.kind == "synapse"}
    return Priced(
        model=model,
        prices=prices.target,
        precision=precision,
        side=side,
        samples=counts.samples,
        steps=counts.steps,
        layers={name: _synapses(layer, ac, mac, counts.samples, side) for name, layer in synapses.items()},
        constants=_constants(prices, precision),
        assumptions=assumptions,
        partial=tuple(counts.partial),
    )


def _synapses(layer: LayerCounts, ac: float, mac: float, samples: int, side: Side) -> dict[str, float]:
    if side == "ann":
        return {MULTIPLY_ACCUMULATES: layer.dense_macs * mac / samples}
    return {ACCUMULATES: layer.acs * ac / samples, MULTIPLY_ACCUMULATES: layer.macs * mac / samples}


def _neurons(layer: LayerCounts, ac: float, mac: float, samples: int) -> dict[str, float]:
    if layer.rule is None:
        return {}
    parts = {NEURON_UPDATES: layer.neuron_updates * (layer.rule.macs * mac + layer.rule.acs * ac) / samples}
    if layer.rule.reset_acs:
        parts[RESETS] = layer.spikes_out * layer.rule.reset_acs * ac / samples
    return parts


def _constants(prices: PriceList, precision: str) -> tuple[str, ...]:
    """Name the prices that an operation is made of: a derived mac by the add and the mult in it."""
    family = f"arithmetic.{precision}."
    names = [price.name for price in prices if price.name.startswith(family)]
    parts = ("add", "mult") if f"{family}mult" in names else ("add", "mac")
    return tuple(family + part for part in parts)
