"""The terminal's report: its numbers by hand, never too wide, nothing hidden, no name that steers a terminal."""

from __future__ import annotations

import copy
import re
import unicodedata

import pytest

from neuroemo.energy.text import energy_text, other_choices
from tests.energy.sample_document import NASTY, larger_document, partial_document, sample_document


def row(text, name):
    """Return the cells of the line that begins with a name; cells are two spaces apart."""
    (line,) = [line for line in text.splitlines() if re.match(rf"\*?\s*{re.escape(name)}(  |$)", line)]
    return re.split(r" {2,}", line.strip())


def flat(text):
    return " ".join(text.split())


def columns(line):
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line)


def network_of(layers, name="conv{}"):
    document = sample_document()
    network = document["networks"]["deployed"]
    made, parts = [], {}
    for number in range(layers):
        synapse, neuron = copy.deepcopy(network["layers"][0]), copy.deepcopy(network["layers"][1])
        synapse["name"] = name.format(number)
        neuron["name"] = f"{synapse['name']}.neurons"
        synapse |= {"acs": 10**9 * (number + 1), "dense_macs": 10**12}
        made += [synapse, neuron]
        parts[synapse["name"]] = {"accumulates": 560.8 / layers}
    network["layers"], document["scenarios"][0]["snn"]["layers_pj"] = made, parts
    return document


def test_the_verdict_comes_first():
    text = energy_text(sample_document())
    assert text.startswith("At fp32 and 45 nm prices the SNN needs 7.09 times less energy than its ANN")


def test_layers_by_hand():
    text = energy_text(sample_document())
    head = row(text, "layer")
    assert head == [
        "layer", "density", "AC", "MAC", "dense MAC", "events/syn", "energy", "share", "updates", "spikes",
    ]  # fmt: skip
    # 36 of 384 inputs; 240 / 3 AC; 300 / 3 MAC; 4800 / 3 dense; 540 / 3 / 400 events; 80 * 0.9 + 100 * 4.6 pJ
    assert row(text, "conv1") == ["conv1", "9.4%", "80", "100", "1,600", "0.45", "532 pJ", "94.9%", "128", "16"]
    assert row(text, "fc") == ["fc", "12.5%", "32", "0", "256", "0.5", "28.8 pJ", "5.1%", "8", "3"]
    assert row(text, "total") == [
        "total", "10.9%", "112", "100", "1,856", "0.457", "560.8 pJ", "100.0%", "136", "19",
    ]  # fmt: skip
    assert "as trained: 92 AC, 120 MAC, 1,856 dense MAC in 4 steps" in text
    assert "the ANN twin: 0 AC, 864 MAC, 864 dense MAC in 1 step\n" in text


def test_the_twin_and_break_even_by_hand():
    text = energy_text(sample_document())
    assert row(text, "SNN") == ["SNN", "560.8 pJ", "(95 % 415.2 pJ to 706.4 pJ)"]
    assert row(text, "ANN") == ["ANN", "3.974 nJ"]
    assert row(text, "E_ANN / E_SNN") == ["E_ANN / E_SNN", "7.087", "(95 % 5.627 to 9.572)"]
    words = flat(text)
    # (864 * 4.6 - 431.2) / 32.4 steps; 212 / 464 spikes per synapse; 57 / 408; 4.6 / 0.9
    assert "break-even: both cost the same at 109.4 steps; this run has 4" in words
    assert "spikes per synapse and clip 0.4569; break-even at 3.238" in words
    assert "spike rate 14.0%; ACs that cost as much as a MAC: 5.111" in words
    assert "SNN: multiply-accumulates 460 pJ (82.0%), accumulates 100.8 pJ (18.0%)" in words


def test_break_even_in_words_where_there_is_none():
    document = sample_document()
    document["scenarios"][0]["break_even_steps"] = None
    assert "break-even: none at any number of steps" in energy_text(document)
    document["scenarios"][0]["break_even_steps"] = -2.0
    assert "the ANN costs less from the first step on" in energy_text(document)


def test_the_line_that_says_what_flips_the_verdict():
    document = sample_document()
    assert "no constant flips the verdict within 1/100 to 100 times its value" in flat(energy_text(document))
    document["default_scenario"] = "lemaire/cmos45/int8"
    words = flat(energy_text(document))
    known = "if cmos45:memory.sram_8kb (10 pJ) were 0.8 times its value: 8 pJ"
    assert f"SNN and ANN cost the same {known}" in words  # undecided: there is no verdict to flip
    document["scenarios"][2]["verdict"] = "ann"
    assert f"the verdict flips {known}" in flat(energy_text(document))


def test_stopping_early_by_hand():
    text = energy_text(sample_document())
    assert row(text, "at the last step")[1:] == ["4", "560.8 pJ", "66.7%"]
    assert row(text, "after 2 equal answers in a row")[1:] == ["3.5", "545 pJ", "66.7%"]
    assert row(text, "once the answer stays (known only afterwards)")[1:] == ["3", "535 pJ", "66.7%"]


def test_scenarios_side_by_side_and_chips_with_their_grade():
    text = energy_text(sample_document())
    assert "which needs less, in 3 scenarios: SNN 2, undecided 1" in text
    assert "* arithmetic/cmos45/fp32" in text
    assert row(text, "arithmetic/cmos45/int8")[1:] == ["26.36 pJ", "198.7 pJ", "7.539", "6.001 to 10.14", "SNN"]
    # 212 * 23.6 + 136 * 81 pJ
    assert row(text, "per-event/loihi1/native")[1:] == ["16.02 nJ", "14.61 nJ to 17.43 nJ", "simulated"]
    assert "grade simulated: pre-silicon simulation" in text
    assert "no verdict: no figure of the same grade for the twin" in text


def test_what_the_number_leaves_out_and_the_policy_are_printed():
    words = flat(energy_text(sample_document()))
    assert "- synaptic operations only: no neurons, memory, routing" in words
    assert "- neuron updates, memory and routing are not in the number" in words
    assert "- pool1 (AvgPool2d): averaging folded into the next weights" in words
    for key, sentence in sample_document()["policy"].items():
        assert f"{key} {sentence}" in words
    assert "W880 yan: no price of a compare;" in words


def test_a_lower_bound_is_loud():
    text = energy_text(partial_document())
    assert text.startswith("PARTIAL, lower bounds: ")
    assert "PARTIAL, not counted (on the chip):\n  ! attention<b>: no rule for this module" in text
    assert row(text, "SNN")[1] == ">= 560.8 pJ"
    assert row(text, "E_ANN / E_SNN")[1] == "<= 7.087"
    assert row(text, "arithmetic/cmos45/int8")[1] == ">= 26.36 pJ"
    assert "PARTIAL" not in energy_text(sample_document())


def test_what_only_a_scenario_left_out_is_named():
    document = sample_document()
    document["scenarios"][2]["ann"]["partial"] = ["fc9"]
    assert "PARTIAL, not counted (the ANN twin):\n  ! fc9: not in the energy" in energy_text(document)


def test_energies_of_layers_that_the_network_does_not_list_are_rows():
    document = sample_document()
    parts = document["scenarios"][0]["snn"]["layers_pj"]
    parts["routing"] = parts.pop("fc")
    text = energy_text(document)
    assert row(text, "fc")[6] == "0 pJ"
    assert row(text, "routing") == ["routing", *["-"] * 5, "28.8 pJ", "5.1%", "-", "-"]


def test_energies_of_neurons_are_in_the_row_of_their_layer():
    document = sample_document()
    document["default_scenario"] = "per-event/loihi1/native"
    text = energy_text(document)
    assert row(text, "conv1")[6] == "14.62 nJ"  # 180 * 23.6 + 128 * 81 pJ
    assert "no comparison: no figure of the same grade for the twin" in text


@pytest.mark.parametrize("layers", [3, 40])
@pytest.mark.parametrize("name", ["conv{}", "backbone.stage3.very_long_module_name.block{}.conv", "悲しみ" * 9 + "{}"])
def test_no_line_is_wider_than_100_columns(layers, name):
    document = network_of(layers, name)
    document["source"] |= {"model": "/data/" + "x" * 150, "data": "悲" * 80}
    document["networks"]["deployed"]["partial"] = {"m" * 120: "no rule " * 20}
    document["scenarios"][2]["id"] = "lemaire/" + "p" * 120
    text = energy_text(document)
    assert max(columns(line) for line in text.splitlines()) <= 100
    rows = [line for line in text.splitlines() if line.startswith(name[:4])]
    assert len(rows) == layers


def test_long_names_keep_both_ends():
    text = energy_text(network_of(1, "backbone.stage3.very_long_module_name.block{}.conv"))
    assert row(text, "backbone.…lock0.conv")[2] == "333.3M"  # 10^9 AC of 3 clips


def test_no_text_of_a_file_steers_a_terminal():
    document = sample_document()
    hostile = f"a\x1b[2Jb\r\nc\u202ed\x07{NASTY}"
    document["networks"]["deployed"]["layers"][0]["name"] = hostile
    document["source"]["data"] = document["networks"]["deployed"]["title"] = hostile
    document["networks"]["deployed"]["partial"] = {hostile: hostile}
    document["findings"][0]["found"] = document["scenarios"][0]["words"] = hostile
    text = energy_text(document)
    assert not [sign for sign in text if unicodedata.category(sign) in ("Cc", "Cf") and sign != "\n"]
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_network_that_costs_nothing():
    document = sample_document()
    scenario = document["scenarios"][0]
    scenario["snn"] |= {"total_pj": 0.0, "parts_pj": {"accumulates": 0.0}, "layers_pj": {"conv1": {"accumulates": 0.0}}}
    scenario |= {"ratio": None, "ratio_low": None, "ratio_high": None, "verdict": "undecided"}
    text = energy_text(document)
    assert row(text, "conv1")[6:8] == ["0 pJ", "-"]
    assert row(text, "E_ANN / E_SNN") == ["E_ANN / E_SNN", "-"]


def test_a_real_count_is_shown_as_it_is_in_the_document():
    document = larger_document()
    text = energy_text(document)
    assert max(columns(line) for line in text.splitlines()) <= 100
    default = document["scenarios"][0]
    units = {"pJ": 1.0, "nJ": 1e3, "µJ": 1e6}
    for scenario in document["scenarios"]:
        name = scenario["id"]
        shown, unit = ((f"* {name}" in text and row(text, f"* {name}")) or row(text, name))[1].split()
        assert float(shown) * units[unit] == pytest.approx(scenario["snn"]["total_pj"], rel=6e-4)
    total = document["networks"]["deployed"]["total"]
    assert row(text, "total")[2] == f"{total['acs'] / 5:,.0f}"
    assert flat(text).startswith(flat(default["words"]))
    assert len({entry["verdict"] for entry in document["scenarios"]}) == 3  # both win somewhere, chips have no verdict


def test_other_choices_say_the_ratio_and_whether_the_verdict_flips():
    document = sample_document()
    assert other_choices(document["scenarios"][0]) == [
        "time steps, 8: E_ANN / E_SNN is 2.5",
        "ANN baseline, one dense pass per frame: E_ANN / E_SNN is 0.8, the verdict flips",
        "counting policy, <as trained>: conv1: no shape",
    ]
