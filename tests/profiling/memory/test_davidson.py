"""Davidson and Furber, and the memory-inclusive break-even: ratios by hand, and the published thresholds."""

from __future__ import annotations

import pytest
from layers_by_hand import DENSE, DENSE_COUNTS, neurons, of, synapses

from hw_targets.finding import InputError, UnsupportedError
from neuroemo.profiling.memory import DAVIDSON, break_even_spikes, spikes_per_synapse
from neuroemo.profiling.prices import load_prices

PRICES = load_prices("davidson_furber")
UNIT = 0.06


def test_a_spike_costs_seven_units_and_a_dense_synapse_twelve() -> None:
    snn = DAVIDSON.price(DENSE_COUNTS, PRICES, "int8", "snn")
    ann = DAVIDSON.price(of({"fc": synapses(DENSE, dense=40)}), PRICES, "int8", "ann")
    assert snn.total_pj == pytest.approx(24 * 7 * UNIT)
    assert ann.total_pj == pytest.approx(40 * 12 * UNIT)
    assert snn.layers == {"fc": pytest.approx(
        {
            "accumulates": 24 * UNIT,
            "multiply-accumulates": 0.0,
            "memory reads": 24 * 5 * UNIT,
            "memory writes": 24 * UNIT,
        }
    )}  # fmt: skip
    assert ann.parts()["multiply-accumulates"] == pytest.approx(40 * 6 * UNIT)


@pytest.mark.parametrize(("spikes", "winner"), [(1, "snn"), (17, "snn"), (18, "ann"), (30, "ann")])
def test_the_break_even_is_twelve_sevenths(spikes: int, winner: str) -> None:
    # 10 inputs: 17 spikes are 1.7 per synapse, 18 are 1.8; 12/7 is 1.714.
    snn = of({"fc": synapses(DENSE, dense=40, runs=3, acs=4 * spikes, spikes=spikes), "if": neurons(12, 0)}, steps=3)
    ann = of({"fc": synapses(DENSE, dense=40)})
    cheaper = DAVIDSON.price(snn, PRICES, "int8", "snn").total_pj < DAVIDSON.price(ann, PRICES, "int8", "ann").total_pj
    assert cheaper == (winner == "snn")
    assert break_even_spikes(PRICES) == pytest.approx(12 / 7)


def test_the_unit_does_not_move_the_break_even() -> None:
    other = PRICES
    for name in ("operation.add", "operation.multiply", "memory.read", "memory.write"):
        other = other.with_value(name, other.price(name).value * 17)
    assert break_even_spikes(other) == pytest.approx(12 / 7)


def test_a_graded_value_costs_what_a_dense_synapse_costs() -> None:
    counts = of({"fc": synapses(DENSE, dense=40, macs=8, spikes=2)})
    priced = DAVIDSON.price(counts, PRICES, "int8", "snn")
    assert priced.total_pj == pytest.approx(8 * 12 * UNIT)
    assert any("graded" in sentence for sentence in priced.assumptions)


def test_refusals() -> None:
    with pytest.raises(UnsupportedError, match="E830 davidson: precision fp32; limit one of int8"):
        DAVIDSON.price(DENSE_COUNTS, PRICES, "fp32", "snn")
    with pytest.raises(InputError, match=r"E833 operation\.add"):
        DAVIDSON.price(DENSE_COUNTS, load_prices("cmos45"), "int8", "snn")


def test_memory_inclusive_break_even() -> None:
    prices = load_prices("cmos45")
    # 20 pJ per 64 bit is 10 per 32: (4.6 + 10) / (0.9 + 10 + 2 x 10); with ten uses of a weight (4.6 + 1) / 30.9.
    assert spikes_per_synapse(prices, "fp32") == pytest.approx(14.6 / 30.9)
    assert spikes_per_synapse(prices, "fp32", reuse=10) == pytest.approx(5.6 / 30.9)
    # 8 bits at 8 KB: 10 / 8 = 1.25 pJ.
    assert spikes_per_synapse(prices, "int8", memory="memory.sram_8kb") == pytest.approx(
        (0.23 + 1.25) / (0.03 + 3 * 1.25)
    )


def test_memory_inclusive_break_even_refuses() -> None:
    with pytest.raises(InputError, match=r"E833 memory\.sram_2kb"):
        spikes_per_synapse(load_prices("cmos45"), "fp32", memory="memory.sram_2kb")
    with pytest.raises(InputError, match=r"E832 break-even\.reuse"):
        spikes_per_synapse(load_prices("cmos45"), "fp32", reuse=0)
    with pytest.raises(UnsupportedError, match="E830 break-even: precision native"):
        spikes_per_synapse(load_prices("cmos45"), "native")
