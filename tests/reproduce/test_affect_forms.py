"""The affect tables as text, LaTeX, CSV and a page, from reports made by hand."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from neuroemo import cli
from neuroemo.reproduce.affect_blocks import all_notes, blocks, caption
from neuroemo.reproduce.affect_drawing import LEFT, RIGHT, nice_ticks, panels
from neuroemo.reproduce.affect_files import table_csv, table_latex, table_text, write_affect_table
from neuroemo.reproduce.affect_page import render_affect_table
from tests.reproduce.affect_report import report
from tests.reproduce.affect_samples import SCHEMA, violations
from tests.reproduce.test_table1_forms import Page

TABLES = [f"affect-table{number}" for number in range(1, 6)]


@pytest.mark.parametrize("table", TABLES)
def test_the_samples_are_reports(table):
    assert list(violations(report(table), SCHEMA)) == []


def test_the_check_can_fail():
    for key in report():
        told = {name: value for name, value in report().items() if name != key}
        assert list(violations(told, SCHEMA)) == [f"$.{key}: missing"]
    wrong = report()
    wrong["rows"][0]["outputs"]["arousal"]["pooled"]["pcc"]["value"] = 1.5
    wrong["rows"][0]["family"] = "other"
    assert len(list(violations(wrong, SCHEMA))) == 2


@pytest.mark.parametrize("table", TABLES)
def test_every_block_is_even_and_the_page_shows_all_of_it(table):
    told = report(table)
    page = Page(render_affect_table(told))
    shown = " ".join(" ".join(page.text).split())
    for block in blocks(told):
        assert {len(row) for row in block.rows} <= {len(block.head)}
        for cell in (*block.head, *(cell for row in block.rows for cell in row), block.remark):
            assert " ".join(cell.split()) in shown
    for note in all_notes(told):
        assert note in shown
    assert page.loaded == []
    assert "script" not in page.opened
    assert page.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "7 clips <i>" in shown
    assert "i" not in page.opened
    assert "b" not in page.opened
    assert render_affect_table(told) == render_affect_table(report(table))


def test_text_puts_the_paper_beside_ours_only_where_it_compares():
    lines = table_text(report()).splitlines()
    arousal = lines[lines.index("Arousal") + 1 :]
    row = next(line for line in arousal if line.startswith("ResNet18"))
    assert re.split(r"\s{2,}", row) == [
        "ResNet18", "0.150 (0.130 to 0.170)", "+0.050 (+0.040 to +0.060)", "0.500 (0.400 to 0.600)",
        "0.450 (0.350 to 0.550)", "0.700", "0.200", "0.100", "0.400",
    ]  # fmt: skip
    constant = next(line for line in arousal if line.startswith("mean of the training frames"))
    assert re.split(r"\s{2,}", constant.strip()) == ["mean of the training frames", "0.200", "–", "0.000", "0.550"]
    other = table_text(report(comparable=False))
    assert "paper: RMSE" not in other
    assert "Other data than those above: the figures do not compare." in other
    assert "Other data" not in table_text(report())


def test_table_3_and_5_show_the_chosen_networks_and_4_both_lengths():
    assert "ResNet18 (best frame-based)" in table_text(report("affect-table3"))
    assert "not on the test" in table_text(report("affect-table3"))
    four = table_text(report("affect-table4"))
    assert "mean of the training frames, 16 bits" in four
    assert re.search(r"IC3D +arousal +\+0\.071 +\+0\.020 \(\+0\.010 to \+0\.030\) +as in the paper", four)
    five = table_text(report("affect-table5"))
    assert re.search(r"Ours \(Frame\) +ResNet18 +afew-va +NEFER +20\.00 +5\.7 to 51\.0 +0\.0 to 50\.0 .*19\.20", five)
    assert re.search(r"always Anger +60\.00", five)
    assert "Not shown to be better than chance (50.0 per cent): ResNet18, IC3D" in five
    assert "The paper's frame-based network is ViT; of those trained here ResNet18 has the highest" in five
    assert "2 test videos whose label is no emotion are left out." in five
    assert "Anger    2      8" in five, "the confusion is summed over the runs"


def test_the_caption_names_every_condition():
    told = caption(report("affect-table4"))
    for words in ("afew-va: 600 clips of 12 subjects", "64×64 pixels", "8 × 5 ms and 16 × 5 ms", "test folds",
                  "0, 1; 1 seed;", "4 epochs", "64 frames per step", "AdamW 0.0001 halved every 50",
                  "loss mse"):  # fmt: skip
        assert words in told


@pytest.mark.parametrize("table", TABLES)
def test_latex_is_even_and_escaped(table):
    text = table_latex(report(table))
    for body in re.findall(r"\\toprule(.*?)\\bottomrule", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in rows}) == 1
        assert len(rows) >= 2
    assert text.count("{") == text.count("}")
    assert "<b>" not in text
    assert "misleads \\& so on" in text
    if table == "affect-table1":
        assert "0.210 (0.190 to 0.230) & $-$0.010 ($-$0.020 to 0.000)" in text


def test_csv_has_a_line_per_run_and_output():
    rows = list(csv.DictReader(io.StringIO(table_csv(report()))))
    assert [(row["network"], row["fold"], row["output"]) for row in rows[:4]] == [
        ("resnet18", "0", "valence"), ("resnet18", "0", "arousal"), ("resnet18", "1", "valence"),
        ("resnet18", "1", "arousal"),
    ]  # fmt: skip
    assert (float(rows[2]["rmse"]), rows[2]["pcc"], rows[2]["constant_rmse"]) == (pytest.approx(0.21), "", "0.3")


@pytest.mark.parametrize("table", TABLES)
def test_everything_drawn_lies_on_its_axis(table):
    told = panels(report(table))
    assert len(told) == (5 if table == "affect-table5" else 4)
    for panel in told:
        assert panel["ticks"][0]["x"] == LEFT
        assert panel["ticks"][-1]["x"] == RIGHT
        for row in panel["rows"]:
            assert LEFT <= row["low"] <= row["value"] <= row["high"] <= RIGHT
            assert all(LEFT <= point <= RIGHT for point in row["points"])
        assert all(LEFT <= line["x"] <= RIGHT for line in panel["lines"])
    assert [row["printed"] is None for row in panels(report(table, comparable=False))[0]["rows"]] == [True] * len(
        panels(report(table, comparable=False))[0]["rows"]
    )


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.11), (-3, 7), (0.0, 1e-4), (0.999, 1.0), (-0.2, -0.1)])
def test_ticks_are_round_and_enclose(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low < high <= ticks[-1]
    assert 2 <= len(ticks) <= 7


def test_four_files_and_the_verb_report_writes_them_again(tmp_path, capsys):
    written = write_affect_table(report("affect-table5"), tmp_path)
    assert sorted(path.name for path in written) == ["report.html", "report.json", "table.csv", "table.tex"]
    assert sorted(written) == sorted(tmp_path.iterdir())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "report.html").unlink()
    assert cli.run(["report", str(tmp_path)]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for damage in ({"rows": 3}, {"schema": 2}, {"table": "affect-table9"}, {"rows": []}, {"data": {}}, {"emotions": 5}):
        (tmp_path / "report.json").write_text(json.dumps(report("affect-table5") | damage))
        assert cli.run(["report", str(tmp_path)]) == 2
        assert "E972" in capsys.readouterr().err
