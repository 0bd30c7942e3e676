"""The LaTeX table: every number by hand, every condition in it, and nothing that a compiler would choke on."""

from __future__ import annotations

import re

import pytest

from hw_targets.finding import InputError
from neuroemo.energy.latex import escaped, latex_table
from tests.energy.sample_document import LATEX_NASTY, NASTY, larger_document, partial_document, sample_document

FP32 = "arithmetic/cmos45/fp32"
WORDS = {
    "textbackslash": "\\", "textbraceleft": "{", "textbraceright": "}", "textasciicircum": "^", "textasciitilde": "~",
    "textless": "<", "textgreater": ">", "textbar": "|", "ldots": "…",
}  # fmt: skip


def rows_of(table):
    body = table[table.index("\\toprule") : table.index("\\bottomrule")]
    cells = [re.split(r" ?(?<!\\)& ?", row) for row in re.findall(r"^    (.*) \\\\$", body, re.M)]
    return {row[0]: row for row in cells}


def read_as_tex_does(text):
    """Return what TeX prints for text without mathematics, by a reader of its own: commands, groups, plain signs."""
    found, at = "", 0
    while at < len(text):
        command = re.match(r"\\([A-Za-z]+)\{\}|\\([#$%&_])|\\`\{\}", text[at:])
        if command:
            found += WORDS[command[1]] if command[1] else command[2] or "`"
            at += command.end()
        elif text[at : at + 2] == "''":
            found, at = found + '"', at + 2
        elif text[at] in "{}":
            at += 1
        else:
            assert text[at] not in "\\$&#%_^~", f"raw {text[at]!r}"
            found, at = found + text[at], at + 1
    return found


def sound(table):
    """Assert that braces, environments and the number of cells of every row fit."""
    bare = re.sub(r"\\[%&#$_{}\\]", "", table)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    stack = []
    for verb, name in re.findall(r"\\(begin|end)\{(\w+)\}", table):
        if verb == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert stack == []
    assert bare.count("$") % 2 == 0
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", table)[1])
    for row in rows_of(table).values():
        spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", " ".join(row)))
        assert len(row) + spans == columns
    assert set(re.findall(r"\\usepackage\{(\w+)\}", table)) == {"booktabs"}
    return table


def test_the_numbers_of_the_table_by_hand():
    rows = rows_of(sound(latex_table(sample_document(), FP32)))
    # conv1: 80 AC * 0.9 + 100 MAC * 4.6 = 532 pJ; its twin 800 MAC * 4.6 = 3680 pJ; unit nJ
    assert rows["\\texttt{conv1}"] == ["\\texttt{conv1}", "9.38\\%", "80", "100", "0.5320", "800", "3.680"]
    assert rows["\\texttt{fc}"][1:] == ["12.5\\%", "32", "0", "0.02880", "64", "0.2944"]
    assert rows["Total"][1:] == ["10.9\\%", "112", "100", "0.5608", "864", "3.974"]
    assert rows["Layer"][4] == "$E$ (nJ)"
    assert "7.09 (95\\% interval 5.63 to 9.57)" in rows["$E_\\mathrm{ANN}/E_\\mathrm{SNN}$"][1]


def test_every_condition_is_in_the_table():
    table = latex_table(sample_document(), FP32)
    caption = re.search(r"\\caption\{(.*)\}\n", table)[1]
    for words in (
        "3 clips of =a \\& b\\_c.h5 (test)", "4 time steps", "first frame float", "Energy model: Arithmetic",
        "precision fp32", "prices: 45 nm CMOS, 0.9 V", "415.2 to 706.4 pJ", "one dense pass",
    ):  # fmt: skip
        assert words in caption, words
    for words in (
        "folded into the weights: no operation", "zero weights are not skipped", "Horowitz, ISSCC 2014",
        "arithmetic.fp32.add 0.9 pJ, arithmetic.fp32.mult 3.7 pJ", "neuron updates, memory and routing are not in",
        "neuroemo 0.1.0",
    ):  # fmt: skip
        assert words in table, words
    assert all(read_as_tex_does(escaped(words)) in read_as_tex_does(escaped_policy(table)) for words in policy())


def policy():
    return sample_document()["policy"].values()


def escaped_policy(table):
    return re.search(r"\\emph\{Counting:\} (.*?)\. \\emph", table)[1]


@pytest.mark.parametrize("scenario", [entry["id"] for entry in sample_document()["scenarios"]])
def test_every_scenario_gives_a_sound_table_by_id_and_whole(scenario):
    document = sample_document()
    by_id = sound(latex_table(document, scenario))
    whole = next(entry for entry in document["scenarios"] if entry["id"] == scenario)
    assert latex_table(document, whole) == by_id


def test_a_chip_stands_alone_with_its_neurons_and_the_reason():
    table = latex_table(sample_document(), "per-event/loihi1/native")
    rows = rows_of(table)
    assert rows["\\texttt{conv1.neurons}"][1:] == ["--", "--", "--", "10.37"]  # 128 updates * 81 pJ
    assert rows["Total"][1:] == ["10.9\\%", "112", "100", "16.02"]
    assert "No comparison: no figure of the same grade for the twin." in table
    assert "E_\\mathrm{ANN}" not in table


def test_a_lower_bound_is_called_one():
    rows, table = rows_of(latex_table(partial_document(), FP32)), latex_table(partial_document(), FP32)
    assert rows["Total"][4] == "$\\geq$ 0.5608"
    assert "$\\leq$ 7.09" in rows["$E_\\mathrm{ANN}/E_\\mathrm{SNN}$"][1]
    assert "LOWER BOUND, not counted of the SNN: attention\\textless{}b\\textgreater{}." in table


def test_layers_of_the_twin_with_other_names_stand_below():
    document = sample_document()
    document["networks"]["ann"]["layers"][1]["name"] = "head"
    layers = document["scenarios"][0]["ann"]["layers_pj"]
    layers["head"] = layers.pop("fc")
    rows = rows_of(sound(latex_table(document, FP32)))
    assert rows["\\texttt{fc}"][1:] == ["12.5\\%", "32", "0", "0.02880", "--", "--"]
    assert rows["\\texttt{head}"][1:] == ["--", "--", "--", "--", "64", "0.2944"]


@pytest.mark.parametrize(
    "name", [NASTY, LATEX_NASTY, "[x]*", "a\\\\b", "}", "{", "a--b", "", "$", "\\end{tabular}", "悲し\nみ"]
)
def test_no_name_breaks_the_table(name):
    document = sample_document()
    layer = document["networks"]["deployed"]["layers"][0]["name"] = name
    document["source"]["data"] = document["source"]["network"] = document["scenarios"][0]["id"] = name
    parts = document["scenarios"][0]["snn"]["layers_pj"]
    parts[layer] = parts.pop("conv1")
    document["networks"]["deployed"]["partial"] = {name: "x"}
    sound(latex_table(document, document["scenarios"][0]))


@pytest.mark.parametrize(
    "text", ["".join(map(chr, range(32, 127))), "a--b---c ''x'' ``y`` \"z\"", "\\\\{}}{$&#%_^~", "é ß"]
)
def test_what_tex_prints_is_what_was_written(text):
    assert read_as_tex_does(escaped(text)) == " ".join(text.split())


def test_signs_that_pdflatex_does_not_know_are_code_points():
    assert read_as_tex_does(escaped("悲 \x1b é e\u0301 \ud800")) == "[U+60B2] [U+001B] é é [U+D800]"
    assert escaped("a ≥ 2 µJ") == "a $\\geq$ 2 $\\mu$J"


def test_an_unknown_scenario_is_refused_with_those_there_are():
    with pytest.raises(InputError) as refused:
        latex_table(sample_document(), "arithmetic/cmos45/fp64")
    (finding,) = refused.value.findings
    assert finding.code == "E890"
    assert FP32 in finding.limit


def test_large_counts_and_ranges_of_prices():
    document = sample_document()
    document["networks"]["deployed"]["layers"][0]["acs"] = 3 * 310_900_000
    document["scenarios"][0]["snn"]["constants"].append("cmos45:memory.dram")
    table = sound(latex_table(document, FP32))
    assert rows_of(table)["\\texttt{conv1}"][2] == "310.9M"
    assert "memory.dram 1300.0 to 2600.0 pJ" in table


def test_tables_of_a_real_count_hold_its_totals():
    document = larger_document()
    for scenario in document["scenarios"]:
        table = sound(latex_table(document, scenario["id"]))
        rows = rows_of(table)
        shown, total = float(rows["Total"][4].replace("{,}", "")), scenario["snn"]["total_pj"]
        unit = {"pJ": 1.0, "nJ": 1e3, "$\\mu$J": 1e6}[rows["Layer"][4].removeprefix("$E$ (").removesuffix(")")]
        assert shown * unit == pytest.approx(total, rel=6e-4)
