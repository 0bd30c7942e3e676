"""The numbers against the published ones, and what a price list can be asked."""

import pytest

from hw_targets.finding import InputError
from neuroemo.profiling.prices import load_prices, price_points, price_targets

# Horowitz, ISSCC 2014, Fig. 1.1.9.
PUBLISHED = {
    "fp32": (0.9, 3.7, 4.6, 5.11),
    "fp16": (0.4, 1.1, 1.5, 3.75),
    "int32": (0.1, 3.1, 3.2, 32),
    "int8": (0.03, 0.2, 0.23, 7.67),
}

# pJ per synaptic operation (or MAC), pJ per neuron update where there is one, grade.
CHIPS = {
    "loihi1": (23.6, None, "simulated"),
    "truenorth": (26, None, "measured_all_in"),
    "truenorth@at_20_hz": (26, None, "measured_all_in"),
    "truenorth@high_rate": (2.5, None, "survey"),
    "spinnaker": (13_300, 26_000, "measured_incremental"),
    "spinnaker2@prototype_28nm": (450, 2_190, "measured_incremental"),
    "spinnaker2@mac_array": (10, None, "survey"),
    "odin": (8.43, None, "measured_incremental"),
    "odin@incremental": (8.43, None, "measured_incremental"),
    "odin@maximum_rate": (12.7, None, "measured_all_in"),
    "odin@biological_time": (54, None, "measured_all_in"),
    "darwin3": (5.47, None, "measured_incremental"),
}
PROCESSORS = {
    "cpu_i7": (8600, "survey"),
    "gpu_titan_black": (300, "survey"),
    "arm_cortex_a": (900, "survey"),
    "jetson_nano": (42, "vendor"),
    "jetson_orin_nano": (1.5, "vendor"),
}


@pytest.mark.parametrize("precision", PUBLISHED)
def test_arithmetic_prices_are_the_published_ones(precision):
    add, mult, mac, ratio = PUBLISHED[precision]
    prices = load_prices("cmos45")
    found = prices.accumulate(precision), prices.multiply(precision), prices.multiply_accumulate(precision)
    assert [row.value for row in found] == [add, mult, mac]
    assert found[2].value / found[0].value == pytest.approx(ratio, abs=0.005)
    assert [row.name for row in found] == [f"arithmetic.{precision}.{each}" for each in ("add", "mult", "mac")]


@pytest.mark.parametrize("name", CHIPS)
def test_chip_prices_are_the_published_ones(name):
    operation, update, grade = CHIPS[name]
    prices = load_prices(name)
    assert prices.target == name
    assert (prices.kind, prices.precisions) == ("events", ("native",))
    row = prices.price("events.synaptic_operation")
    assert (row.value, row.grade) == (operation, grade)
    found = prices.events.get("neuron_update")
    assert (found and found.value) == update


@pytest.mark.parametrize("name", PROCESSORS)
def test_processor_prices_are_the_published_ones(name):
    value, grade = PROCESSORS[name]
    row = load_prices(name).price("dense.mac")
    assert row.value == pytest.approx(value, rel=0.01)
    assert row.grade == grade


def test_peaks_are_power_over_rate():
    assert load_prices("jetson_nano").price("dense.mac").value == pytest.approx(10 / (472e9 / 2) * 1e12, rel=1e-3)
    assert load_prices("jetson_orin_nano").price("dense.mac").value == pytest.approx(15 / (20e12 / 2) * 1e12)


def test_the_table_of_loihi():
    prices = load_prices("loihi1")
    assert {name: row.value for name, row in prices.events.items()} == {
        "synaptic_operation": 23.6,
        "neuron_update_active": 81,
        "neuron_update_inactive": 52,
        "spike_within_tile": 1.7,
        "hop_east_west": 3.0,
        "hop_north_south": 4.0,
        "learning_update": 120,
    }
    assert all((row.node_nm, row.voltage_v) == (14, 0.75) for row in prices)
    assert "pre-silicon" in prices.price("events.synaptic_operation").note
    assert {row.name for row in prices if row.grade == "mem"} == {"events.learning_update"}


def test_nothing_is_invented_where_nothing_is_published():
    unpublished = {name for name in price_targets() if load_prices(name).kind == "unpublished"}
    assert unpublished == {"loihi2", "speck", "xylo", "akida"}
    for name in unpublished:
        prices = load_prices(name)
        assert (prices.rows, prices.precisions) == ({}, ())
        assert "published" in prices.reason
        assert prices.measurements
    assert {row.value for row in load_prices("xylo").measurements} == {291, 6.6, 0.028}
    assert {row.value for row in load_prices("speck").measurements} == {0.42, 0.70}


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


def test_cmos_prices_have_one_node():
    prices = load_prices()
    assert len(list(prices)) == len(prices.rows) == 20
    assert {(row.unit, row.node_nm, row.voltage_v) for row in prices} == {("pJ", 45, 0.9)}
    from_memory = {price.name for price in prices if price.grade == "mem"}
    assert from_memory == {"arithmetic.int16.add", "memory.sram_han", "memory.dram_han"}


def test_unknown_names_list_the_choices():
    with pytest.raises(InputError, match=r"E811 cmos46.*one of .*cmos45"):
        load_prices("cmos46")
    with pytest.raises(InputError, match=r"E811 odin@noon.*one of incremental, maximum_rate, biological_time"):
        load_prices("odin@noon")
    with pytest.raises(InputError, match="its name alone"):
        load_prices("darwin3@noon")
    with pytest.raises(InputError, match="E811"):
        load_prices("odin@")
    with pytest.raises(InputError, match="E811"):
        load_prices("../cmos45")
    with pytest.raises(
        InputError, match=r"E810 fp64: cmos45 has no such precision; limit one of fp32, fp16, int32, int8$"
    ):
        load_prices().accumulate("fp64")
    with pytest.raises(InputError, match="E810 int16"):  # an add alone prices no multiply-accumulate
        load_prices().accumulate("int16")
    with pytest.raises(InputError, match=r"E822 memory.sram_32k: .*memory.sram_32kb"):
        load_prices().price("memory.sram_32k")
    with pytest.raises(InputError, match="none: it has no rows"):
        load_prices("loihi2").price("events.synaptic_operation")
    with pytest.raises(InputError, match=r"E829 loihi1: a list of kind events .*\n.*per-event"):
        load_prices("loihi1").multiply_accumulate("fp32")


def test_every_point_can_be_loaded_by_name():
    assert len(price_points()) == 7
    for name in price_points():
        prices = load_prices(name)
        assert (prices.target, prices.point) == (name, name.partition("@")[2])
    assert load_prices("odin").point == "incremental"
    assert (load_prices("spinnaker2").point, load_prices("spinnaker2").rows) == (None, {})


def test_other_tables_are_reached_by_name():
    prices = load_prices("truenorth")
    assert prices.tables["parts"]["hop"].value == 2.3
    assert prices.tables["parts"]["sram_bit"].value == pytest.approx(47e-3)
    assert load_prices("cmos45").tables.keys() == {"control"}


def test_a_mac_stays_add_plus_mult():
    prices = load_prices()
    cheaper = prices.with_value("arithmetic.fp32.add", 0.5)
    assert cheaper.multiply_accumulate("fp32").value == pytest.approx(4.2)
    assert cheaper.multiply("fp32").value == 3.7
    dearer = prices.with_value("arithmetic.fp32.mult", 7.4)
    assert dearer.multiply_accumulate("fp32").value == pytest.approx(8.3)
    halved = prices.with_value("arithmetic.fp32.mac", 2.3)
    assert (halved.accumulate("fp32").value, halved.multiply("fp32").value) == (0.9, pytest.approx(1.4))
    assert prices.multiply_accumulate("fp32").value == 4.6, "the list itself stays"
    assert "0.5 in place of 0.9 of Horowitz" in cheaper.accumulate("fp32").source
    assert prices.with_value("memory.dram", 650).price("memory.dram").high == 1300
    assert load_prices("odin").with_value("events.synaptic_operation", 5).price("events.synaptic_operation").value == 5


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e300])
def test_no_price_is_free_or_infinite(value):
    with pytest.raises(InputError, match=r"E818 arithmetic\.fp32\.add"):
        load_prices().with_value("arithmetic.fp32.add", value)


def test_a_mac_costs_more_than_its_add():
    assert load_prices().with_value("arithmetic.fp32.mac", 0.91).multiply("fp32").value == pytest.approx(0.01)
    with pytest.raises(InputError, match=r"E818 arithmetic.fp32.mac: value 0.9; limit above arithmetic.fp32.add, 0.9"):
        load_prices().with_value("arithmetic.fp32.mac", 0.9)
    with pytest.raises(InputError, match="E822"):
        load_prices().with_value("arithmetic.fp32.div", 1.0)
