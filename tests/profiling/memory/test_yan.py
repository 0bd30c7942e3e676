"""Yan et al.: layers by hand, the break-even rates that the paper prints, limits and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from layers_by_hand import CONV, CONV_COUNTS, DENSE, DENSE_COUNTS, LIF, neurons, of, synapses

from hw_targets.finding import InputError, UnsupportedError
from neuroemo.profiling.memory import (
    LEMAIRE,
    YAN,
    YanOptions,
    activation_bits,
    break_even_rate,
    precisions_for,
    price_yan,
    twin_model,
    yan_model,
)
from neuroemo.profiling.prices import load_prices

PRICES = load_prices("cmos22")
E, BIT, SPARSE, DENSE_HOP, SYNAPSE = 0.05448, 0.0384, 3.0, 0.25, 0.0192


def test_spiking_layer_by_hand() -> None:
    # 24 events, 12 updates of neurons without leak, 2 resets; weights of 4 bits, potentials of 8.
    layers = price_yan(DENSE_COUNTS, PRICES, "int4", "snn").layers
    assert layers["fc"] == pytest.approx(
        {
            "accumulates": 24 * E,
            "multiply-accumulates": 0.0,
            "weight reads": 24 * 4 * BIT,
            "movement": 24 * SPARSE,
        }
    )
    assert layers["if"] == pytest.approx(
        {
            "neuron updates": 12 * E,
            "potential reads": 12 * 8 * BIT,
            "potential writes": 12 * 8 * BIT,
            "resets": 2 * E,
        }
    )


def test_quantised_layer_by_hand() -> None:
    # 40 synapses of 8 bits; the twin of 5 steps has 3 bits; half a hop; every weight serves 2 outputs.
    options = YanOptions(steps=5, hops=0.5, reuse=2)
    layers = price_yan(of({"fc": synapses(DENSE, dense=40)}), PRICES, "int8", "ann", options=options).layers
    assert layers["fc"] == pytest.approx(
        {
            "multiply-accumulates": 40 * SYNAPSE,
            "weight reads": 40 * 8 * BIT / 2,
            "movement": 40 * 3 * 0.5 * DENSE_HOP,
            "activations": 4 * E,
        }
    )


def test_graded_values_and_leaks_by_hand() -> None:
    counts = of({"conv": synapses(CONV, dense=72, acs=10, macs=4, spikes=3), "lif": neurons(8, 0, LIF)})
    priced = price_yan(counts, PRICES, "int8", "snn", options=YanOptions(graded_bits=3, potential_bits=16))
    assert priced.layers["conv"] == pytest.approx(
        {
            "accumulates": 10 * E,
            "multiply-accumulates": 4 * 3 * E,
            "weight reads": 14 * 8 * BIT,
            "movement": (10 + 4 * 3) * SPARSE,
        }
    )
    assert priced.layers["lif"]["neuron updates"] == pytest.approx(8 * 2 * E)
    assert priced.layers["lif"]["potential reads"] == pytest.approx(8 * 16 * BIT)
    assert any("graded value" in sentence for sentence in priced.assumptions)
    assert any("leak" in sentence for sentence in priced.assumptions)


def rate(steps: int = 5, precision: str = "int4", fan_in: int = 4096, **factors: float) -> float:
    """Break-even rate in per cent with prices multiplied."""
    prices = PRICES
    for name, factor in factors.items():
        key = name.replace("__", ".")
        prices = prices.with_value(key, prices.price(key).value * factor)
    return 100 * break_even_rate(prices, precision, steps=steps, fan_in=fan_in)


@pytest.mark.parametrize(
    ("found", "printed", "digits"),
    [
        (rate(), 5.7, 0.05),
        (rate(movement__sparse_hop=0.5), 10.80, 0.01),
        (rate(movement__dense_hop=0.5), 3.41, 0.01),
        (rate(memory__sram_bit=0.5), 5.39, 0.015),
        (rate(memory__sram_bit=1.5), 6.08, 0.01),
        (rate(fan_in=64), 5.4, 0.05),
        # These three were not used to solve for the energy of a bit and of a dense synapse.
        (rate(steps=2, precision="int8"), 12.3, 0.05),
        (rate(steps=3, precision="int8"), 8.2, 0.05),
        (rate(steps=2), 10.4, 0.1),
    ],
)
def test_the_rates_that_the_paper_prints(found: float, printed: float, digits: float) -> None:
    assert found == pytest.approx(printed, abs=digits)


def test_arithmetic_hardly_matters_and_movement_does() -> None:
    # The paper: at most 0.05 percentage points for the accumulate, 3.41 to 10.80 for movement.
    assert abs(rate(operation__accumulate=1.5) - rate()) == pytest.approx(0.05, abs=0.002)
    assert abs(rate(operation__accumulate=0.5) - rate()) == pytest.approx(0.05, abs=0.002)


def test_what_is_printed_alone_gives_too_low_a_rate() -> None:
    # T = 5, 3 bits: 3 x 0.25 pJ against 5 s (0.05448 + 3.0) pJ, without memory and without multiplications.
    alone = 3 * 0.25 / (5 * (0.05448 + 3.0))
    assert alone == pytest.approx(0.049, abs=0.0005)
    assert rate(memory__sram_bit=1e-9, operation__dense_synapse=1e-9) == pytest.approx(100 * alone, abs=0.005)


def test_what_is_not_reproduced_is_as_far_off_as_the_documentation_says() -> None:
    # Printed: 29.7 % for one step and 8-bit weights; 0.46 hops for four steps at a rate of 10 %.
    assert rate(steps=1, precision="int8") == pytest.approx(17.1, abs=0.05)
    hops = YanOptions(hops=0.40)
    assert break_even_rate(PRICES, "int8", steps=4, fan_in=4096, options=hops) == pytest.approx(0.1, abs=0.0005)


@pytest.mark.parametrize(("steps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (15, 4), (16, 5), (68, 7)])
def test_bits_of_the_twin(steps: int, bits: int) -> None:
    assert activation_bits(steps) == bits


@pytest.mark.parametrize(("steps", "precision"), [(5, "int4"), (2, "int8")])
def test_at_the_break_even_rate_both_cost_the_same(steps: int, precision: str) -> None:
    fan_in = 100_000
    s = break_even_rate(PRICES, precision, steps=steps, fan_in=fan_in)
    shape = replace(DENSE, input_shape=(fan_in,), output_shape=(1,), weights=fan_in)
    events = round(s * fan_in * steps)
    snn = of({"fc": synapses(shape, dense=fan_in, runs=steps, acs=events, spikes=events), "if": neurons(steps, 0)})
    ann = of({"fc": synapses(shape, dense=fan_in)})
    twin = twin_model(YAN, steps)
    sides = twin.price(snn, PRICES, precision, "snn"), twin.price(ann, PRICES, precision, "ann")
    assert sides[0].total_pj == pytest.approx(sides[1].total_pj, rel=1e-4)


def test_twin_model_keeps_the_others() -> None:
    assert twin_model(LEMAIRE, 5) is LEMAIRE
    three, own = (
        model.price(of({"fc": synapses(DENSE, dense=40)}), PRICES, "int8", "ann") for model in (twin_model(YAN, 5), YAN)
    )
    assert own.parts()["movement"] / three.parts()["movement"] == pytest.approx(8 / 3)
    assert any("3 bits, those of an SNN of 5 steps" in sentence for sentence in three.assumptions)
    assert any("8 bits, as many as the weights" in sentence for sentence in own.assumptions)


def test_a_twin_is_matched_anew_and_keeps_its_name_and_options() -> None:
    ann = of({"fc": synapses(DENSE, dense=40)})
    again = twin_model(twin_model(yan_model(YanOptions(hops=2.0)), 3), 15)
    priced = again.price(ann, PRICES, "int8", "ann")
    assert (again.id, priced.model) == ("yan-hops2", "yan-hops2")
    assert priced.parts()["movement"] == pytest.approx(40 * 4 * 2 * DENSE_HOP)  # 15 steps: 4 bits
    own = twin_model(yan_model(YanOptions(steps=3)), 15)
    assert own.id == "yan-steps3"
    assert own.price(ann, PRICES, "int8", "ann").parts()["movement"] == pytest.approx(40 * 2 * DENSE_HOP)


def test_without_spikes_only_neurons_cost() -> None:
    counts = of({"fc": synapses(DENSE, dense=40, runs=3), "if": neurons(12, 0)}, steps=3)
    paid = {part for part, value in price_yan(counts, PRICES, "int8", "snn").parts().items() if value}
    assert paid == {"neuron updates", "potential reads", "potential writes"}


def test_refusals() -> None:
    with pytest.raises(UnsupportedError, match="E830 yan: precision fp32; limit one of int4, int8"):
        YAN.price(DENSE_COUNTS, PRICES, "fp32", "snn")
    with pytest.raises(InputError) as refused:
        YAN.price(DENSE_COUNTS, load_prices("cmos45"), "int8", "snn")
    assert [finding.node for finding in refused.value.findings][:2] == ["operation.accumulate", "operation.compare"]
    assert "docs/energy-models.md" in str(refused.value)
    with pytest.raises(UnsupportedError, match="E831 odd: neurons of type neurons whose rule is not known"):
        YAN.price(of({"fc": CONV_COUNTS.layers["conv"], "odd": neurons(4, 0, None)}), PRICES, "int8", "snn")
    assert precisions_for("yan", load_prices("cmos45")) == ()


@pytest.mark.parametrize(
    ("options", "node"),
    [
        (YanOptions(hops=0.0), "yan.hops"),
        (YanOptions(reuse=-1), "yan.reuse"),
        (YanOptions(potential_bits=0), "yan.potential_bits"),
        (YanOptions(steps=0), "yan.steps"),
    ],
)
def test_options_out_of_range(options: YanOptions, node: str) -> None:
    with pytest.raises(InputError, match=f"E832 {node}"):
        price_yan(DENSE_COUNTS, PRICES, "int8", "snn", options=options)
