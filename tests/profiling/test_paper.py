"""Table II against the numbers printed in the paper, and what it leaves out against a derivation by hand."""

import json
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
import torch
from brute_force import enumerate_conv

from neuroemo.profiling import count_operations
from neuroemo.profiling.omissions import voting_steps
from neuroemo.profiling.paper import exact_inputs, reproduce_table2, table2_text
from neuroemo.profiling.paper_architecture import PaperArchitecture
from neuroemo.profiling.printed_digits import TableInputs, as_rounded, as_truncated, printed_inputs, table_rows

KEYS = {
    "ann_first_macs",
    "snn_first_acs",
    "other_ops",
    "ann_mj",
    "snn_mj_30",
    "snn_mj_dataset",
    "break_even_steps",
}


@pytest.fixture(scope="module")
def result():
    return reproduce_table2()


def test_it_is_json_with_the_agreed_keys(result):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["paper"].keys() >= KEYS
    assert result["exact"].keys() >= KEYS


def test_the_paper_column_is_what_is_printed(result):
    paper = {key: result["paper"][key] for key in sorted(KEYS)}
    assert paper == {
        "ann_first_macs": 310.9e6,
        "ann_mj": 1.65,
        "break_even_steps": 31,
        "other_ops": 47.9e6,
        "snn_first_acs": 9.1e6,
        "snn_mj_30": 1.57,
        "snn_mj_dataset": 0.41,
    }


def test_printed_numbers_follow_from_printed_numbers(result):
    found = result["rederived_from_printed"]
    assert found["ann_uj"] == pytest.approx(1650.48)
    assert found["snn_uj_30"] == pytest.approx(1572.67)
    assert found["snn_uj_dataset"] == pytest.approx(410.07, abs=0.005)
    assert found["break_even"] == pytest.approx(31.517, abs=0.0005)
    assert found["formulas"] == {
        "step_uj": "0.9 (9.1 + 47.9)",
        "const_uj": "9.1 (4.6 - 0.9)",
        "ann_uj": "4.6 (310.9 + 47.9)",
        "snn_uj_30": "51.3 * 30 + 33.67",
        "snn_uj_dataset": "0.1079 * 51.3 * 68 + 33.67",
        "break_even": "(1650.48 - 33.67) / 51.3",
    }


# Key: what the paper prints, and from which inputs its digits come out, worked out on paper.
BOTH, NONE, CUT, BELOW = ["rounded", "truncated"], [], ["truncated"], ["smallest N that does not win"]
DIGITS = {
    "ann_first_macs": ("310.9M", {"exact inputs": BOTH}),
    "snn_first_acs": ("9.1M", {"exact inputs": BOTH}),
    "other_ops": ("47.9M", {"exact inputs": CUT, "exact inputs of the ANN": BOTH}),
    "step_uj": ("51.3", {"printed inputs": BOTH, "exact inputs": CUT}),
    "const_uj": ("33.67", {"printed inputs": BOTH, "exact inputs": NONE}),
    "ann_mj": ("1.65", {"printed inputs": BOTH, "exact inputs": BOTH}),
    "snn_mj_30": ("1.57", {"printed inputs": BOTH, "exact inputs": CUT}),
    "snn_mj_dataset": ("0.41", {"printed inputs": BOTH, "exact inputs": BOTH}),
    "break_even_steps": ("N<32", {"printed inputs": BELOW, "exact inputs": BELOW}),
}


@pytest.mark.parametrize("key", DIGITS)
def test_every_printed_digit_comes_out(result, key):
    (row,) = [row for row in result["rows"] if row["key"] == key]
    printed, modes = DIGITS[key]
    assert row["printed"] == printed
    assert {way["from"]: way["modes"] for way in row["ways"]} == modes
    assert row["comes_out"]
    for way in row["ways"]:
        assert all(way[mode] == printed for mode in way["modes"])
        assert all(text in row["how"] for text in way["modes"])


def by_decimals(value: float, digits: int, mode: str) -> str:
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), mode))


def test_digits_of_the_ways_are_those_of_the_value(result):
    for row in result["rows"]:
        digits = len(row["printed"].rstrip("M").partition(".")[2])
        for way in row["ways"]:
            if digits:
                assert way["rounded"].rstrip("M") == by_decimals(way["value"], digits, ROUND_HALF_UP)
                assert way["truncated"].rstrip("M") == by_decimals(way["value"], digits, ROUND_DOWN)


@pytest.mark.parametrize("text", ["0.05", "0.95", "33.67", "51.349999", "51.35", "9.999", "1650.48", "0.005"])
def test_rounding_and_truncating_are_exact(text):
    for digits in (1, 2):
        assert as_rounded(Fraction(text), digits) == by_decimals(float(text), digits, ROUND_HALF_UP)
        assert as_truncated(Fraction(text), digits) == by_decimals(float(text), digits, ROUND_DOWN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ann_first", 311_000_000),
        ("snn_first", 9_200_000),
        ("other", 48_100_000),
        ("ann_other", 50_000_000),
        ("ac_pj", Fraction("0.92")),
        ("mac_pj", Fraction("4.65")),
        ("share", Fraction("0.113")),
        ("steps", 66),
    ],
)
def test_a_changed_constant_no_longer_prints_the_paper(name, value):
    prices = Fraction("0.9"), Fraction("4.6")
    change = {name: value if name == "steps" else Fraction(value)}
    printed, exact = printed_inputs(*prices), exact_inputs(PaperArchitecture(), *prices)
    assert all(row["comes_out"] for row in table_rows(printed, exact))
    rows = table_rows(replace(printed, **change), replace(exact, **change))
    missed = [row["label"] for row in rows if not row["comes_out"]]
    assert missed
    assert "NOT as printed: " + ", ".join(missed) in table2_text(reproduce_table2() | {"rows": rows})


def test_the_sparse_energy_of_each_reading(result):
    # Density on everything but the gray frame's surcharge prints as 0.41; on the surcharge too, as 0.38.
    inputs: TableInputs = printed_inputs(Fraction("0.9"), Fraction("4.6"))
    assert as_rounded(inputs.snn_pj(68, inputs.share) / 10**9, 2) == "0.41"
    assert as_rounded(inputs.share * inputs.snn_pj(68) / 10**9, 2) == "0.38"
    assert as_rounded(inputs.snn_pj(67, inputs.share) / 10**9, 2) == "0.40"


def test_the_exact_column_by_hand(result):
    exact = result["exact"]
    first_ann, first_snn = 126 * 126 * 9 * 68 * 32, 126 * 126 * 9 * 2 * 32
    convs = 61 * 61 * 9 * 32 * 32 + 28 * 28 * 9 * 32 * 32
    other, other_ann = convs + 6272 * 1024 + 1024 * 20, convs + 6272 * 1024 + 1024 * 2
    assert (first_ann, first_snn, other) == (310_915_584, 9_144_576, 47_961_088)
    assert (exact["ann_first_macs"], exact["snn_first_acs"], exact["other_ops"]) == (
        first_ann,
        first_snn,
        other,
    )
    assert exact["ann_other_ops"] == other_ann
    assert exact["ann_mj"] == pytest.approx(4.6e-9 * (first_ann + other_ann))
    step, const = 0.9e-9 * (first_snn + other), 3.7e-9 * first_snn
    assert exact["snn_mj_30"] == pytest.approx(30 * step + const)
    assert exact["snn_mj_dataset"] == pytest.approx(0.1079 * 68 * step + const)
    assert exact["break_even_steps"] == 31
    below, above = (n * step + const < exact["ann_mj"] for n in (31, 32))
    assert (below, above) == (True, False)


def test_exact_operations_print_as_the_paper_prints_them(result):
    exact = result["exact"]
    assert f"{exact['ann_first_macs'] / 1e6:.1f}M" == result["paper"]["printed"]["ann_first_macs"]
    assert f"{exact['snn_first_acs'] / 1e6:.1f}M" == result["paper"]["printed"]["snn_first_acs"]
    # The other layers print as 47.9M truncated, or rounded from the ANN's: the architecture is inferred.
    assert int(exact["other_ops"] / 1e5) / 10 == 47.9
    assert f"{exact['ann_other_ops'] / 1e6:.1f}" == "47.9"
    assert result["architecture"]["status"] == "inferred"
    assert "Inferred" in result["architecture"]["text"]


def test_a_corner_of_the_first_layer_by_enumeration(result):
    # One input and one output channel at full size: 126 * 126 windows of 9 taps.
    reads = enumerate_conv((1, 128, 128), (1, 126, 126), (3, 3), (1, 1), (0, 0), (1, 1), 1)
    assert result["exact"]["snn_first_acs"] == 2 * 32 * reads.sum()


# Derived by hand; (name, key): (value, half a unit of its last digit)
BY_HAND = {
    ("input density on hidden layers", "snn_mj"): (3.03, 0.01),
    ("input density on hidden layers", "times_ann"): (1.8, 0.05),
    ("graded values after average pooling", "naive_mj"): (0.418, 0.0005),
    ("graded values after average pooling", "ac_per_event_mj"): (1.18, 0.005),
    ("graded values after average pooling", "ac_per_spike_mj"): (1.37, 0.005),
    ("graded values after average pooling", "mac_per_graded_mj"): (5.6, 0.05),
    ("neuron updates", "updates"): (653_236 * 68, 0),
    ("neuron updates", "leak_mj"): (0.204, 0.0005),
    ("neuron updates", "leak_and_compare_mj"): (0.244, 0.0005),
    ("batch normalisation", "energy_mj"): (0.204, 0.0005),
    ("average pooling", "energy_mj"): (0.071, 0.0005),
    ("memory", "dram_once_mj"): (4.11, 0.005),
    ("memory", "times_ann"): (2.5, 0.05),
    ("memory, every access", "snn_low_mj"): (190, 1),
    ("memory, every access", "snn_high_mj"): (610, 5),
    ("memory, every access", "ann_low_mj"): (42, 0.5),
    ("memory, every access", "ann_high_mj"): (149, 1),
    ("early-fusion baseline", "ann_per_frame_uj"): (262, 1.0),
    ("early-fusion baseline", "times_dense_snn"): (5.1, 0.05),
    ("the ANN as it is charged", "k_fp32"): (5.11, 0.005),
    ("the ANN as it is charged", "k_fp16"): (3.75, 0.005),
    ("the ANN as it is charged", "k_int8"): (7.67, 0.005),
    ("the ANN as it is charged", "k_int32"): (32, 0.005),
    ("computed from rounded numbers", "step_uj"): (0.095, 0.0005),
    ("computed from rounded numbers", "const_uj"): (0.165, 0.0005),
    ("accuracy gain and number of steps", "gain_points"): (1.74, 0.005),
    ("accuracy gain and number of steps", "voting_steps"): (67, 0),
    ("accuracy gain and number of steps", "snn_mj_at_voting_steps"): (0.4045, 0.00005),
    ("gray first frame", "gray_uj"): (42.1, 0.05),
    ("gray first frame", "spike_frame_uj"): (0.89, 0.005),
    ("gray first frame", "frames"): (47, 0.5),
    ("gray first frame", "share_of_first_layer"): (0.41, 0.005),
}


@pytest.mark.parametrize(("name", "key"), BY_HAND)
def test_omissions_have_the_size_derived_by_hand(result, name, key):
    (row,) = [item for item in result["omissions"] if item["name"] == name]
    value, tolerance = BY_HAND[name, key]
    assert row["values"][key] == pytest.approx(value, abs=tolerance, rel=0)
    assert row["text"]


def values(result, item):
    return {key: value for row in result["omissions"] if row["item"] == item for key, value in row["values"].items()}


def test_all_twelve_omissions_have_a_size(result):
    assert sorted({row["item"] for row in result["omissions"]}) == list(range(1, 13))
    assert all(row["values"] for row in result["omissions"])


def test_the_ann_without_its_zeros_by_hand(result):
    # Channel 1 of 68 is gray; of the others 10.79 % (or twice that) of 126 * 126 * 9 * 32 MACs have an input.
    channel, others = 126 * 126 * 9 * 32, result["exact"]["ann_other_ops"]
    found = values(result, 7)
    step, const = 0.9e-9 * (9_144_576 + 47_961_088), 3.7e-9 * 9_144_576
    for suffix, density in (("", 0.1079), ("_high", 0.2158)):
        ann = 4.6e-9 * (channel * (1 + 67 * density) + others)
        assert found[f"ann_skipping_zeros{suffix}_mj"] == pytest.approx(ann)
        assert found[f"times_snn{suffix}"] == pytest.approx(ann / (density / 2 * step * 68 + const))
    assert found["ratio_fp32"] == pytest.approx(result["exact"]["ann_mj"] / (0.1079 * step * 68 + const))
    assert found["ratio_int8"] == pytest.approx(
        0.23 * 358_858_240 / (0.1079 * 0.03 * 57_105_664 * 68 + 0.2 * 9_144_576)
    )


def test_what_arithmetic_alone_leaves_out_by_hand(result):
    found = values(result, 8)
    assert found["int8_mj"] == pytest.approx(1e-9 * (0.1079 * 0.03 * 57_105_664 * 68 + 0.2 * 9_144_576))
    assert found["spikes"] == pytest.approx(0.1079 * (653_236 * 68 + 2 * 128 * 128 * 67))
    assert found["synaptic_events"] == pytest.approx(0.1079 * 57_105_664 * 68)
    assert found["all_in_mj"] == pytest.approx(26e-9 * 0.1079 * 57_105_664 * 68)


def test_memory_turns_the_comparison_round(result):
    found = values(result, 5)
    assert found["times_ann_low"] == pytest.approx(found["snn_high_mj"] / found["ann_high_mj"])
    assert found["times_ann_high"] == pytest.approx(found["snn_low_mj"] / found["ann_low_mj"])
    assert found["times_ann_low"] > 1
    assert any("the comparison turns round" in row["text"] for row in result["omissions"])


def test_rounded_inputs_and_the_other_meaning_of_the_density(result):
    assert values(result, 9)["snn_uj"] == pytest.approx(30 * 0.0950976 + 0.1649312)
    assert values(result, 10)["gain_too_high_points"] == pytest.approx(2.24 - 100 * 7 / 402)
    found = values(result, 12)
    assert found["per_pixel_mj"] == pytest.approx(1e-3 * (0.1079 / 2 * 51.3950976 * 68 + 33.8349312))
    assert found["first_layer_mj"] == pytest.approx(1e-9 * 0.1079 * 0.9 * 9_144_576 * 67)
    assert found["first_layer_mj"] == 2 * found["first_layer_per_pixel_mj"]


def test_voting_rates_are_shares_of_sixty_seven_steps():
    def near(whole: int, mode: str) -> set[str]:
        return {by_decimals(n / whole, 4, mode) for n in range(whole // 3, whole)}

    rates = {"0.4925", "0.5075", "0.5060", "0.4955"}
    assert rates <= near(670, ROUND_HALF_UP)
    assert rates & near(680, ROUND_HALF_UP) == set()
    assert rates & near(680, ROUND_DOWN) == {"0.4955"}
    assert voting_steps(68) == 67


def test_the_inferred_architecture_is_the_network_the_toolkit_builds(result):
    from neuroemo.models.emotion import build_network, spec_by_name

    spec = spec_by_name("0.4snn")
    clip = torch.zeros(1, 1, 2, spec.size, spec.size)
    counts = count_operations(build_network(spec), [clip])
    dense = [layer.dense_macs for layer in counts.layers.values() if layer.kind == "synapse"]
    assert dense == list(result["architecture"]["layers"].values())
    assert counts.total.neuron_updates == 653_236
    assert sum(m.elements for m in counts.covered.values() if m.rule == "batch_norm") == 652_192
    assert not counts.is_partial
    twin = count_operations(build_network(spec_by_name("ann")), [torch.zeros(1, 68, 128, 128)], time_first=False)
    assert twin.total.dense_macs == 310_915_584 + result["exact"]["ann_other_ops"]
    assert not twin.is_partial
    inferred = PaperArchitecture()
    for counted, expected in (
        (counts, inferred.spiking_counts(0.1)),
        (twin, inferred.dense_counts()),
    ):
        found, wanted = (
            [layer for layer in one.layers.values() if layer.kind == "synapse"] for one in (counted, expected)
        )
        for one, other in zip(found, wanted, strict=True):
            shapes = [(g.input_shape, g.output_shape, g.weights) for g in (one.geometry, other.geometry)]
            assert shapes[0] == shapes[1]
            assert (one.synapses, one.elements // one.table.shape[0]) == (
                other.synapses,
                other.elements // other.table.shape[0],
            )
    assert inferred.spiking_counts(0.1).total.neuron_updates == 653_236 * 68


def test_counts_of_a_share_by_hand():
    first, second, last = (PaperArchitecture().spiking_counts(0.1).layers[name] for name in ("conv1", "conv2", "fc2"))
    # Gray first frame, then a tenth of the events; a pool of four passes on four tenths; the last layer sees spikes.
    assert (first.macs, first.acs) == (9_144_576, 67 * 914_458)
    assert (second.macs, second.acs) == (0, 68 * 13_717_094)
    assert (last.acs, last.spikes_in) == (68 * 2_048, 68 * 102)


def test_the_console_table_shows_both_columns(result):
    text = table2_text(result)
    for shown in (
        "310.9M",
        "310.92M",
        "9.1M",
        "47.9M",
        "47.96M",
        "51.3",
        "33.67",
        "1.65",
        "1.57",
        "0.41",
        "N<32",
    ):
        assert shown in text
    assert "inferred" in text
    assert all(item["name"] in text for item in result["omissions"])
