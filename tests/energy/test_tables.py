"""The CSV tables, read back by the csv module: every number of the document is there, and no text is a formula."""

from __future__ import annotations

import csv
import json

import pytest

from neuroemo.energy.tables import TABLES, layer_rows, scenario_rows, step_rows, write_csv
from tests.energy.sample_document import NASTY, larger_document, partial_document, sample_document


def unprotected(cell: str) -> str | None:
    return None if cell == "" else cell[1:] if cell.startswith("'") else cell


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: unprotected(cell) for key, cell in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("csv")
    assert [path.name for path in write_csv(sample_document(), folder)] == list(TABLES)
    return folder


@pytest.mark.parametrize("name", TABLES)
def test_what_is_read_back_is_what_was_in_the_document(folder, name):
    read_back, meant = read(folder / name), TABLES[name](sample_document())
    assert len(read_back) == len(meant)
    for got, row in zip(read_back, meant, strict=True):
        assert list(got) == list(row)
        for key, value in row.items():
            if isinstance(value, (int, float)):
                assert type(value)(got[key]) == value  # every digit: no tolerance
            else:
                assert got[key] == (value or None)


def test_integers_stay_integers(folder):
    rows = {(row["network"], row["layer"]): row for row in read(folder / "layers.csv")}
    conv, twin = rows["deployed", "conv1"], rows["ann", "conv1"]
    assert (conv["acs"], conv["macs"], conv["dense_macs"], conv["synapses"]) == ("240", "300", "4800", "400")
    assert (twin["acs"], twin["dense_macs"], twin["input_shape"]) == ("0", "2400", "4x4x4")
    assert rows["deployed", "fc.neurons"]["neuron_updates"] == "24"


def test_columns_may_be_summed_because_totals_are_apart():
    document = sample_document()
    rows = [row for row in layer_rows(document) if row["network"] == "deployed"]
    assert (sum(row["acs"] for row in rows), sum(row["neuron_updates"] for row in rows)) == (336, 408)
    steps = [row for row in step_rows(document) if row["network"] == "deployed" and row["step"] == 1]
    assert (sum(row["acs"] for row in steps), sum(row["macs"] for row in steps)) == (12, 300)
    for scenario in document["scenarios"]:
        parts = [row for row in TABLES["energies.csv"](document) if row["scenario"] == scenario["id"]]
        spent = sum(row["energy_pj"] for row in parts if row["side"] == "snn")
        assert spent == pytest.approx(scenario["snn"]["total_pj"], rel=1e-12)


def test_a_scenario_row_by_hand():
    row = scenario_rows(sample_document())[0]
    assert row["scenario"] == "arithmetic/cmos45/fp32"
    assert row["default"] == 1
    assert row["snn_total_pj"] == pytest.approx(112 * 0.9 + 100 * 4.6)
    assert row["ann_total_pj"] == pytest.approx(864 * 4.6)
    chip = scenario_rows(sample_document())[3]
    assert (chip["default"], chip["ann_total_pj"], chip["ratio"], chip["verdict"]) == (0, None, None, "none")


def test_a_bound_says_what_was_not_counted(tmp_path):
    write_csv(partial_document(), tmp_path)
    assert read(tmp_path / "networks.csv")[0]["partial"] == "attention<b>: no rule for this module"
    assert {row["snn_partial"] for row in read(tmp_path / "scenarios.csv")} == {"attention<b>"}


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "＝1+1", "'=1", NASTY])
def test_no_text_of_a_user_is_a_formula_and_none_is_lost(tmp_path, name):
    document = sample_document()
    document["networks"]["deployed"]["layers"][0]["name"] = name
    write_csv(document, tmp_path)
    with (tmp_path / "layers.csv").open(newline="", encoding="utf-8") as file:
        raw = [row["layer"] for row in csv.DictReader(file)]
    assert raw[0][0] not in "=+-@\t\r\n＝＋－＠"
    assert unprotected(raw[0]) == name


def test_negative_numbers_are_numbers(tmp_path):
    document = sample_document()
    document["scenarios"][0]["snn"]["low_pj"] = -1.5
    write_csv(document, tmp_path)
    assert read(tmp_path / "scenarios.csv")[0]["snn_low_pj"] == "-1.5"


def test_lines_end_as_rfc_4180_says_and_cells_hold_line_breaks(tmp_path):
    document = sample_document()
    document["networks"]["deployed"]["layers"][0]["name"] = 'a"b,c\nd'
    path = write_csv(document, tmp_path)[1]
    assert path.read_bytes().startswith(b"network,layer,kind")
    assert b'deployed,"a""b,c\nd",synapse' in path.read_bytes()
    assert path.read_bytes().count(b"\r\n") == 1 + 4 + 4 + 2


def test_a_text_that_is_no_unicode_is_still_written(tmp_path):
    document = sample_document()
    document["networks"]["deployed"]["layers"][0]["name"] = json.loads('"\\ud800"')
    assert "\\ud800" in write_csv(document, tmp_path)[1].read_text(encoding="utf-8")


def test_a_report_without_twin_and_decision(tmp_path):
    document = sample_document()
    document["decision"] = document["networks"]["ann"] = document["networks"]["trained"] = None
    document["scenarios"] = document["scenarios"][3:]
    document["constants"] = {}
    written = write_csv(document, tmp_path)
    assert "constants.csv" not in [path.name for path in written]
    assert len(read(tmp_path / "networks.csv")) == 1
    assert [row["accuracy"] for row in read(tmp_path / "curves.csv")] == [None] * 4


def test_tables_of_a_real_count_sum_up_to_its_totals(tmp_path):
    document = larger_document()
    write_csv(document, tmp_path)
    for row in read(tmp_path / "networks.csv"):
        for key in ("acs", "macs", "neuron_updates"):
            layers = [entry for entry in read(tmp_path / "layers.csv") if entry["network"] == row["network"]]
            assert (
                sum(int(entry[key]) for entry in layers)
                == int(row[key])
                == document["networks"][row["network"]]["total"][key]
            )
    energies = read(tmp_path / "energies.csv")
    for row in read(tmp_path / "scenarios.csv"):
        parts = [entry for entry in energies if entry["scenario"] == row["scenario"] and entry["side"] == "snn"]
        assert sum(float(entry["energy_pj"]) for entry in parts) == pytest.approx(float(row["snn_total_pj"]), rel=1e-12)
        last = [entry for entry in read(tmp_path / "curves.csv") if entry["scenario"] == row["scenario"]][-1]
        assert float(last["snn_pj"]) == pytest.approx(float(row["snn_total_pj"]), rel=1e-9)
