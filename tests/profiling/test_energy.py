import copy
import json
import sys

import numpy as np
import pytest

import hw_targets
from hw_targets.finding import InputError
from neuroemo.profiling import SpikeLayer, compare_twins, count_spike_layers, energy_of, load_prices
from neuroemo.profiling.energy import (
    break_even_steps,
    constant_and_step,
    largest_winning_steps,
    precision_ratios,
)
from neuroemo.profiling.fanout import linear_fan_out
from neuroemo.profiling.prices import parse_prices, price_targets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRICES = f"{hw_targets.__path__[0]}/cmos45/prices.toml"


def raw_prices():
    with open(PRICES, "rb") as file:
        return tomllib.load(file)


def rows(data):
    """Every row of the file: (dotted name, row)."""
    for precision, table in data["arithmetic"].items():
        yield from ((f"arithmetic.{precision}.{name}", row) for name, row in table.items())
    for group in ("memory", "control"):
        yield from ((f"{group}.{name}", row) for name, row in data[group].items())


ROW_NAMES = [name for name, _ in rows(raw_prices())]


def tiny_counts():
    """Two inputs, ten outputs, three steps, one sample: 1 gray value, then 3 spikes; ten neurons."""
    spikes = np.array([[[0.5, 0]], [[1, 1]], [[0, 1]]])
    return count_spike_layers([SpikeLayer("fc", linear_fan_out(2, 10), spikes, neurons=10)])


# Horowitz, ISSCC 2014, Fig. 1.1.9 as in the research notes, section 4.1.
PUBLISHED = {
    "fp32": (0.9, 3.7, 4.6, 5.11),
    "fp16": (0.4, 1.1, 1.5, 3.75),
    "int32": (0.1, 3.1, 3.2, 32),
    "int8": (0.03, 0.2, 0.23, 7.67),
}


@pytest.mark.parametrize("precision", PUBLISHED)
def test_prices_are_the_published_ones(precision):
    add, mult, mac, k = PUBLISHED[precision]
    found = load_prices("cmos45").arithmetic[precision]
    assert (found["add"].value, found["mult"].value, found["mac"].value) == (add, mult, mac)
    assert energy_of(tiny_counts(), load_prices(), precision).k == pytest.approx(k, abs=0.005)


def test_memory_rows_say_how_wide_an_access_is():
    memory = load_prices().memory
    published = {name: (row.value, row.high, row.access_bits) for name, row in memory.items() if row.grade != "mem"}
    assert published == {
        "sram_8kb": (10, None, 64),
        "sram_32kb": (20, None, 64),
        "sram_1mb": (100, None, 64),
        "dram": (1300, 2600, 64),
    }
    assert memory["sram_8kb"].for_bits(32) == (5, 5)
    assert memory["dram"].for_bits(32) == (650, 1300)
    with pytest.raises(InputError, match="not a memory access"):
        load_prices().control["instruction"].for_bits(32)


def test_every_price_has_its_provenance():
    prices = load_prices()
    assert len(list(prices)) == len(ROW_NAMES) >= 20
    for price in prices:
        assert price.source, price.name
        assert price.grade in prices.grades, price.name
        assert (price.unit, price.node_nm, price.voltage_v) == ("pJ", 45, 0.9)
        assert 2014 <= price.year <= 2015
    from_memory = {price.name for price in prices if price.grade == "mem"}
    assert from_memory == {"arithmetic.int16.add", "memory.sram_han", "memory.dram_han"}


@pytest.mark.parametrize("key", ["source", "grade", "value", "unit", "year", "node_nm", "voltage_v"])
@pytest.mark.parametrize("name", ROW_NAMES)
def test_a_row_without_provenance_is_refused(name, key):
    data = copy.deepcopy(raw_prices())
    row = dict(rows(data))[name]
    del row[key]
    with pytest.raises(InputError) as caught:
        parse_prices(data)
    assert ("E814", name, f"no {key}") in [(f.code, f.node, f.found) for f in caught.value.findings]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"grade": "guess"}, "E816"),
        ({"unit": "nJ"}, "E817"),
        ({"value": -1.0}, "E818"),
        ({"value": float("nan")}, "E818"),
        ({"source": ""}, "E814"),
        ({"sauce": "typo"}, "E815"),
        ({"value": 1.0}, "E819"),
    ],
)
def test_a_wrong_row_is_refused(change, code):
    data = raw_prices()
    data["arithmetic"]["fp32"]["mult"].update(change)
    with pytest.raises(InputError) as caught:
        parse_prices(data)
    assert code in [finding.code for finding in caught.value.findings]


def test_memory_without_a_width_and_files_without_tables_are_refused(tmp_path):
    data = raw_prices()
    del data["memory"]["dram"]["access_bits"]
    with pytest.raises(InputError, match=r"memory.dram: no access_bits"):
        parse_prices(data)
    with pytest.raises(InputError, match="no table target, grades, arithmetic"):
        parse_prices({})
    broken = tmp_path / "prices.toml"
    broken.write_text("a = ")
    with pytest.raises(InputError, match="E812"):
        load_prices(broken)
    with pytest.raises(InputError, match="E812"):
        load_prices(tmp_path / "none.toml")


def test_unknown_names_list_the_choices():
    assert "cmos45" in price_targets()
    with pytest.raises(InputError, match=r"one of .*cmos45"):
        load_prices("cmos46")
    with pytest.raises(InputError, match=r"one of fp32, fp16, int32, int8$"):
        energy_of(tiny_counts(), load_prices(), "fp64")
    with pytest.raises(InputError, match=r"E810 int16"):  # an add alone prices no multiply-accumulate
        energy_of(tiny_counts(), load_prices(), "int16")


def test_energy_by_hand():
    report = energy_of(tiny_counts(), load_prices())
    # 3 spikes x 10 AC x 0.9 pJ and 1 gray value x 10 MAC x 4.6 pJ; 30 neuron updates x 5.5 pJ.
    bill = report.layers["fc"]
    assert (bill.acs, bill.macs, bill.dense_macs) == (30, 10, 60)
    assert (bill.ac_pj, bill.mac_pj) == pytest.approx((27.0, 46.0))
    assert report.synaptic_mj == pytest.approx(73.0e-9)
    assert report.neuron_mj == pytest.approx(165.0e-9)
    assert report.dense_mj == pytest.approx(276.0e-9)
    assert report.layers["fc.neurons"].synaptic_pj == 0
    assert report.step_pj == pytest.approx((46.0, 18.0, 9.0))
    assert report.spikes_per_synapse == pytest.approx(4 / 2)  # 40 events over 20 synapses


def test_energy_is_per_sample():
    once = np.array([[[0.5, 0]], [[1, 1]], [[0, 1]]])
    twice = count_spike_layers([SpikeLayer("fc", linear_fan_out(2, 10), np.repeat(once, 2, axis=1), neurons=10)])
    report, single = energy_of(twice, load_prices()), energy_of(tiny_counts(), load_prices())
    assert (report.synaptic_mj, report.neuron_mj) == (single.synaptic_mj, single.neuron_mj)
    assert report.step_pj == single.step_pj
    assert report.spikes_per_synapse == single.spikes_per_synapse


def test_twins_by_hand():
    prices = load_prices()
    # ANN: one pass, 6 inputs x 10 outputs, 4 of them not zero.
    ann = count_spike_layers([SpikeLayer("fc", linear_fan_out(6, 10), np.array([[[0.5, 0, 1, 1, 0, 1]]]))])
    twin = compare_twins(energy_of(tiny_counts(), prices), energy_of(ann, prices))
    assert (twin.snn_mj, twin.ann_mj) == pytest.approx((73e-9, 276e-9))
    assert twin.ann_zero_skipping_mj == pytest.approx(40 * 4.6e-9)
    assert twin.ratio == pytest.approx(276 / 73)
    assert twin.snn_wins
    assert twin.snn_with_neurons_mj == pytest.approx((73 + 165) * 1e-9)
    assert twin.snn_wins_with_neurons  # 238 < 276
    # E_step = (18 + 9) / 2, E_const = 73 - 3 * 13.5
    assert (twin.step_mj, twin.const_mj) == pytest.approx((13.5e-9, 32.5e-9))
    assert twin.break_even_steps == pytest.approx((276 - 32.5) / 13.5)
    assert twin.break_even_spikes == pytest.approx(276 / (0.9 * 20))
    ratios = precision_ratios(tiny_counts(), ann, prices)
    assert ratios["int8"] == pytest.approx(60 * 0.23 / (30 * 0.03 + 10 * 0.23))
    assert list(ratios) == list(PUBLISHED)


def test_a_silent_network_has_no_break_even():
    prices = load_prices()
    silent = count_spike_layers([SpikeLayer("fc", linear_fan_out(2, 10), np.zeros((3, 1, 2)))])
    report = energy_of(silent, prices)
    twin = compare_twins(report, report)
    assert (twin.break_even_steps, twin.ratio, twin.snn_mj) == (None, None, 0)
    json.dumps(twin.to_json(), allow_nan=False)


def test_reports_at_different_prices_are_not_compared():
    prices = load_prices()
    with pytest.raises(InputError, match="fp32 and cmos45 int8"):
        compare_twins(energy_of(tiny_counts(), prices), energy_of(tiny_counts(), prices, "int8"))


def test_break_even_arithmetic():
    assert break_even_steps(100.0, 10.0, 9.0) == 10.0
    assert largest_winning_steps(10.0) == 9  # at the break-even itself nobody wins
    assert largest_winning_steps(10.001) == 10
    assert constant_and_step((7.0,)) == (0.0, 7.0)


def test_a_partial_count_makes_a_partial_report():
    from dataclasses import replace

    report = energy_of(replace(tiny_counts(), partial={"attention": "no rule"}), load_prices())
    assert report.partial == ("attention",)
    assert json.loads(json.dumps(report.to_json()))["partial"] == ["attention"]
