"""Scaling of logic energies against the published example and factors worked out by hand from the coefficients."""

import math

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.profiling.prices import load_prices
from neuroemo.profiling.scaling import nodes, parse_variant, scaled, scaling_factor, variant_name

# From 45HP at 0.9 V, to three digits.
FACTORS = {
    ("32HP", 0.9): 0.654,
    ("20HP", 0.9): 0.287,
    ("16HP", 0.8): 0.172,
    ("14HP", 0.8): 0.138,
    ("14HP", 0.75): 0.118,
    ("10HP", 0.75): 0.101,
    ("7HP", 0.7): 0.068,
    ("65", 1.2): 3.01,
}


@pytest.mark.parametrize(("node", "voltage"), FACTORS)
def test_factors_from_the_45_nm_list(node, voltage):
    known = FACTORS[node, voltage]
    digits = 2 if known > 1 else 3
    assert round(scaling_factor("45HP", 0.9, node, voltage), digits) == known
    prices, small = load_prices("cmos45"), scaled(load_prices("cmos45"), node, voltage)
    assert round(small.accumulate("fp32").value / prices.accumulate("fp32").value, digits) == known


def test_the_example_of_the_corrigendum():
    to, start = nodes()["32HP"].energy(0.9), nodes()["65"].energy(1.3)
    assert (round(to, 4), round(start, 3)) == (0.4571, 2.604)
    assert round(0.4571 / 2.604, 4) == 0.1755
    assert scaling_factor("65", 1.3, "32HP", 0.9) == pytest.approx(0.1755, rel=1e-3)  # 0.17558 unrounded


def test_fp32_at_smaller_nodes():
    at14, at7 = load_prices("cmos45@14HP-0.80V"), load_prices("cmos45@7HP-0.70V")
    assert (at14.target, at7.target) == ("cmos45@14HP-0.80V", "cmos45@7HP-0.70V")
    assert at14.multiply_accumulate("fp32").value == pytest.approx(0.63, abs=0.005)
    assert at14.accumulate("fp32").value == pytest.approx(0.124, abs=0.0005)
    assert at7.multiply_accumulate("fp32").value == pytest.approx(0.31, abs=0.006)
    assert at7.accumulate("fp32").value == pytest.approx(0.062, abs=0.0005)


def test_there_and_back_and_the_ratio_of_mac_to_ac_stay():
    assert scaling_factor("45HP", 0.9, "45HP", 0.9) == 1
    there, back = scaling_factor("45HP", 0.9, "7HP", 0.7), scaling_factor("7HP", 0.7, "45HP", 0.9)
    assert there * back == pytest.approx(1, rel=1e-12)
    prices, small = load_prices("cmos45"), load_prices("cmos45@16HP-0.80V")
    assert small.precisions == prices.precisions
    for precision in prices.precisions:
        mac, add = small.multiply_accumulate(precision).value, small.accumulate(precision).value
        assert mac / add == pytest.approx(
            prices.multiply_accumulate(precision).value / prices.accumulate(precision).value
        )
        assert mac == add + small.multiply(precision).value


def test_scaled_rows_say_what_they_are():
    small = scaled(load_prices("cmos45"), "14HP", 0.75)
    row = small.accumulate("fp32")
    assert (row.grade, row.node_nm, row.voltage_v) == ("derived", 14, 0.75)
    assert "Horowitz" in row.source
    assert "Stillmaker & Baas" in row.source
    assert "x 0.1184 from 45HP at 0.9 V" in row.source
    assert small.price("arithmetic.int16.add").grade == "mem", "what was from memory stays so"
    assert "derived" in small.grades
    changed = small.with_value(row.name, 1.0)
    assert changed.multiply_accumulate("fp32").value == pytest.approx(1 + small.multiply("fp32").value)


def test_memory_and_control_are_dropped_and_say_why():
    small = load_prices("cmos45@14HP-0.80V")
    assert (small.memory, small.tables, small.events) == ({}, {}, {})
    for name in ("memory.sram_32kb", "memory.dram", "control.instruction"):
        with pytest.raises(InputError, match=f"E822 {name}: not scaled: the fit holds for logic.*see cmos45"):
            small.price(name)


def test_every_fit_is_positive_and_rises_within_its_range():
    for node in nodes().values():
        energies = [node.energy(voltage) for voltage in np.linspace(*node.volts, 200)]
        assert energies[0] > 0, node.name
        assert all(np.diff(energies) > 0), node.name


@pytest.mark.parametrize("family", ["HP", "LP"])
def test_smaller_nodes_need_less(family):
    known = [node for node in nodes().values() if node.family == family]
    energies = [node.energy(0.8) for node in sorted(known, key=lambda node: -node.node_nm)]
    assert len(energies) == 7
    assert energies == sorted(energies, reverse=True)


def test_high_performance_and_low_power_are_not_mixed():
    with pytest.raises(InputError, match=r"E827 14LP: scaled from 45HP; limit one family of transistors, HP or LP"):
        scaled(load_prices("cmos45"), "14LP", 0.8)
    assert scaling_factor("45LP", 0.9, "14LP", 0.8) < 1
    assert scaling_factor("65", 1.2, "14LP", 0.8) < 1
    assert scaling_factor("65", 1.2, "14HP", 0.8) < 1


@pytest.mark.parametrize("voltage", [0.499, 1.101, 0.0, -0.8, 12, math.nan, math.inf])
def test_a_voltage_out_of_range_is_refused(voltage):
    with pytest.raises(InputError, match=r"E827 14HP: .* V; limit 0.5 V to 1.1 V"):
        scaled(load_prices("cmos45"), "14HP", voltage)
    scaled(load_prices("cmos45"), "14HP", 0.5)
    scaled(load_prices("cmos45"), "14HP", 1.1)


def test_what_cannot_be_scaled_is_refused():
    with pytest.raises(InputError, match=r"E827 22HP: no process of that name; limit one of 180, 130"):
        scaled(load_prices("cmos45"), "22HP", 0.8)
    with pytest.raises(InputError, match="E827 loihi1: cannot be scaled: a list of kind events"):
        scaled(load_prices("loihi1"), "7HP", 0.7)
    with pytest.raises(InputError, match="scaled already"):
        scaled(load_prices("cmos45@14HP-0.80V"), "7HP", 0.7)
    with pytest.raises(InputError) as caught:
        scaling_factor("22HP", 0.9, "14HP", 9.0)
    assert [finding.node for finding in caught.value.findings] == ["22HP", "14HP"]
    with pytest.raises(InputError, match="E827"):
        load_prices("darwin3@14HP-0.80V")


@pytest.mark.parametrize("text", ["", "14HP", "14HP-V", "14HP-0.8", "HP-0.80V", "14HP--0.8V", "14HP-1e3V", "x" * 500])
def test_a_variant_of_another_form_is_refused(text):
    with pytest.raises(InputError, match=r"E827.*such as 14HP-0\.80V"):
        parse_variant(text)


@pytest.mark.parametrize("name", ["14HP-0.80V", "65-1.20V", "7HP-0.725V", "32LP-1.00V"])
def test_names_of_variants_are_read_back(name):
    assert variant_name(*parse_variant(name)) == name
