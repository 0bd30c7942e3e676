"""The table as text, Markdown, LaTeX, CSV and a page, from a report made by hand."""

from __future__ import annotations

import copy
import csv
import html.parser
import io
import json
import re

import pytest

from neuroemo import cli
from neuroemo.reproduce.table1_files import table_csv, table_latex, write_table1
from neuroemo.reproduce.table1_page import drawing, render_table1
from neuroemo.reproduce.table1_text import order_lines, table_markdown, table_text
from tests.reproduce.sample_table1 import SCHEMA, report, violations


def test_the_sample_is_a_report_and_the_check_can_fail():
    assert list(violations(report(), SCHEMA)) == []
    for key in ("rows", "seeds", "chance", "times"):
        assert list(violations({k: v for k, v in report().items() if k != key}, SCHEMA)) == [f"$.{key}: missing"]
    wrong = report()
    wrong["rows"][1]["against"]["verdict"] = "better"
    wrong["rows"][0]["mean"] = 61.69
    assert len(list(violations(wrong, SCHEMA))) == 2


def test_text_puts_the_paper_beside_ours():
    lines = table_text(report()).splitlines()
    plif = next(line for line in lines if line.startswith("PLIF SNN"))
    assert re.split(r"\s{2,}", plif) == [
        "PLIF SNN", "63.43", "65.0 ± 7.1", "45.0 to 85.0", "60.0 70.0", "50.0 to 80.0", "baseline", "+1.74",
        "+10.0 (+2.0 to +20.0)", "as in the paper",
    ]  # fmt: skip
    assert "other data" in table_text(report())
    assert "CMU-MOSI too" in table_text(report(comparable=True))


def test_what_does_not_follow_the_paper_is_said():
    lines = order_lines(report())
    assert lines == ["0.4snn against plif: +1.99 in the paper, the other way round here, −5.0 points (−10.0 to −1.0)."]
    follows = report()
    follows["rows"].pop()
    assert order_lines(follows)[0].startswith("nothing")
    undecided = copy.deepcopy(follows)
    undecided["rows"][1]["against"] |= {"verdict": "undecided", "interval_95": [-0.01, 0.2]}
    assert "undecided here, +10.0 points (−1.0 to +20.0)" in order_lines(undecided)[0]
    follows["rows"] = follows["rows"][:1]
    assert order_lines(follows)[0].startswith("no row")


def test_a_network_that_answers_one_class_is_named():
    assert "baseline gave every test clip the same answer (seeds 0, 1)" in table_text(report())
    assert "plif gave" not in table_text(report())


def test_markdown_is_a_table_of_even_rows():
    lines = table_markdown(report()).splitlines()
    first = lines.index(next(line for line in lines if line.startswith("| network")))
    assert {line.count("|") for line in lines[first : first + 5]} == {11}


def test_csv_has_a_line_per_run():
    rows = list(csv.DictReader(io.StringIO(table_csv(report()))))
    assert [(row["model"], row["seed"], row["correct"]) for row in rows] == [
        ("baseline", "0", "5"), ("baseline", "1", "5"), ("plif", "0", "6"), ("plif", "1", "7"), ("0.4snn", "0", "6"),
        ("0.4snn", "1", "6"),
    ]  # fmt: skip
    assert float(rows[3]["accuracy"]) == 0.7


def test_latex_is_even_and_escaped():
    text = table_latex(report())
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    spanned = [line for line in body.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in spanned} == {6}
    assert "PLIF SNN & 63.43 & 65.0 $\\pm$ 7.1 & 45.0--85.0 & baseline & $+1.74$ & $+10.0$ ($+2.0$ to $+20.0$)" in text
    assert "faces \\& \\textless{}friends\\textgreater{}" in text
    assert text.count("{") == text.count("}")


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.opened, self.loaded, self.text, self.policy = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.opened.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href", "data", "action")]

        if ("http-equiv", "Content-Security-Policy") in attributes:
            self.policy = dict(attributes)["content"]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone_and_shows_the_numbers():
    page = Page(render_table1(report()))
    assert page.loaded == []
    assert "script" not in page.opened
    assert "friends" not in page.opened
    assert page.opened.count("circle") == 6
    shown = " ".join(page.text)
    for words in ("65.0 ± 7.1", "the other way round here", "same answer", "7 of 10", "'a <b>.h5'"):
        assert words in shown
    assert page.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert render_table1(report()) == render_table1(report())


@pytest.mark.parametrize("comparable", [False, True])
def test_the_paper_is_drawn_only_where_it_can_be_compared(comparable):
    marks = [row["paper"] for row in drawing(report(comparable=comparable))["rows"]]
    assert [mark is not None for mark in marks] == [comparable] * 3


def test_the_axis_holds_everything_in_order():
    told = drawing(report())
    for row in told["rows"]:
        assert told["left"] <= row["low"] <= row["mean"] <= row["high"] <= told["right"]
    assert told["ticks"][0] == {"x": told["left"], "text": "40"}
    assert told["ticks"][-1] == {"x": told["right"], "text": "100"}


def test_four_files_and_nothing_else(tmp_path):
    written = write_table1(report(), tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert sorted(path.name for path in written) == ["report.html", "report.json", "table1.csv", "table1.tex"]


def test_the_verb_report_writes_them_again_and_refuses_a_damaged_one(tmp_path, capsys):
    write_table1(report(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "report.html").unlink()
    assert cli.run(["report", str(tmp_path)]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for damage in ({"rows": 3}, {"schema": 2}):
        (tmp_path / "report.json").write_text(json.dumps(report() | damage))
        assert cli.run(["report", str(tmp_path)]) == 2
        assert "E936" in capsys.readouterr().err
