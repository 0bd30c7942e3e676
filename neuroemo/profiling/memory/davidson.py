"""Davidson and Furber (2021): a synapse of an ANN costs 12 E, a spike at a synapse of an SNN 7 E.

E is the energy of one 32-bit addition. Both read memory (5 E), add (1 E) and write back (1 E); the ANN also
multiplies 32 by 8 bits (5 E). So an SNN costs less below 12/7 = 1.71 spikes per synapse and inference, whatever
E is (the paper prints 1.72). Neuron updates and routing are not charged.
"""

from __future__ import annotations

from neuroemo.profiling.counting.counts import LayerCounts, OpCounts
from neuroemo.profiling.memory.charges import check_samples
from neuroemo.profiling.memory.rows import check_layers, has_rows, take_rows, word_bits
from neuroemo.profiling.priced import EnergyModel, Priced, Side
from neuroemo.profiling.prices import PriceList

TAKEN = ("int8",)
"""Weights of 8 bits beside accumulators of 32: the widths that the paper's ratios hold for."""

_ADD, _MULTIPLY, _READ, _WRITE = "operation.add", "operation.multiply", "memory.read", "memory.write"
_ROWS = (_ADD, _MULTIPLY, _READ, _WRITE)

CITATION = (
    "S. Davidson, S. B. Furber: Comparison of Artificial and Spiking Neural Networks on Digital Hardware. "
    "Frontiers in Neuroscience 15:651141, 2021, doi:10.3389/fnins.2021.651141"
)


def price_davidson(counts: OpCounts, prices: PriceList, precision: str, side: Side) -> Priced:
    """Price counts under the model, in pJ per sample.

    Raises:
        UnsupportedError: a precision or a layer that the model cannot charge.
        InputError: a price list without the rows it needs, no sample.
    """
    word_bits("davidson", precision, TAKEN)
    check_samples(counts)
    check_layers(counts, "davidson", side)
    rows = take_rows(prices, _ROWS, "davidson")
    add, multiply, read, write = (rows[name].value / counts.samples for name in _ROWS)

    def parts(layer: LayerCounts) -> dict[str, float]:
        acs, macs = (layer.acs, layer.macs) if side == "snn" else (0, layer.dense_macs)
        events = acs + macs
        return {
            "accumulates": acs * add,
            "multiply-accumulates": macs * (add + multiply),
            "memory reads": events * read,
            "memory writes": events * write,
        }

    return Priced(
        model="davidson",
        prices=prices.target,
        precision=precision,
        side=side,
        samples=counts.samples,
        steps=counts.steps,
        layers={name: parts(layer) for name, layer in counts.layers.items() if layer.kind == "synapse"},
        constants=_ROWS,
        assumptions=tuple(_assumptions(counts, side)),
        partial=tuple(counts.partial),
    )


def break_even_spikes(prices: PriceList) -> float:
    """Return the spikes per synapse and inference at which both cost the same: 12 E / 7 E.

    >>> from neuroemo.profiling.prices import load_prices
    >>> round(break_even_spikes(load_prices("davidson_furber")), 6)
    1.714286

    Raises:
        InputError: rows that the list lacks.
    """
    rows = take_rows(prices, _ROWS, "davidson")
    shared = rows[_ADD].value + rows[_READ].value + rows[_WRITE].value
    return (shared + rows[_MULTIPLY].value) / shared


def precisions(prices: PriceList) -> tuple[str, ...]:
    """Return the precisions at which the model can price with a list."""
    return TAKEN if has_rows(prices, _ROWS) else ()


def _assumptions(counts: OpCounts, side: Side) -> list[str]:
    said = ["Weights have 8 bits, accumulators 32; neuron updates, routing and control are not charged."]
    if side == "snn" and any(layer.macs for layer in counts.layers.values() if layer.kind == "synapse"):
        said.append("A graded value costs at every synapse it reaches what a synapse of the ANN costs.")
    if side == "ann":
        said.append("Nothing that the ANN fetches is used twice, and its zero inputs are not skipped.")
    return said


DAVIDSON = EnergyModel(
    id="davidson",
    title="Davidson and Furber 2021",
    scope="arithmetic and memory accesses of synapses; no neuron updates, routing, control or leakage",
    citation=CITATION,
    url="https://doi.org/10.3389/fnins.2021.651141",
    price=price_davidson,
)
