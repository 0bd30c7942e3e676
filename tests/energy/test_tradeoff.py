"""Accuracy against energy: points from reports checked by hand, the front, refusals, the page, the verb."""

from __future__ import annotations

import copy
import json
import re

import pytest

from hw_targets.finding import InputError
from neuroemo.cli import run
from neuroemo.energy.tradeoff.document import read_evaluation, tradeoff_document
from neuroemo.energy.tradeoff.page import render_tradeoff
from neuroemo.energy.tradeoff.text import tradeoff_text
from neuroemo.energy.tradeoff.verb import names_of, rendered_anew
from tests.energy.sample_document import NASTY, sample_document


def report(correct: int, pj: float, clips: int = 20) -> dict:
    made = copy.deepcopy(sample_document())
    made["source"] |= {"accuracy": {"correct": correct, "clips": clips, "low": 0.25, "high": 0.75}, "clips": clips}
    for scenario in made["scenarios"]:
        if scenario["id"] == made["default_scenario"]:
            scenario["snn"]["total_pj"] = pj
    return made


def twin_energy(made: dict) -> float:
    return next(one for one in made["scenarios"] if one["id"] == made["default_scenario"])["ann"]["total_pj"]


def test_points_are_those_of_the_reports_and_the_front_is_found():
    reports = {"small": report(12, 100.0), "large": report(18, 900.0), "wasteful": report(15, 950.0)}
    told = tradeoff_document(reports, {"large": {"correct": 19, "clips": 20}})
    points = {point["name"]: point for point in told["points"]}
    assert points["small"]["accuracy"] == 0.6
    assert points["small"]["energy_pj"] == 100.0
    assert points["large, ANN twin"]["energy_pj"] == twin_energy(reports["large"])
    assert points["large, ANN twin"]["accuracy"] == 0.95
    # Wilson, 19 of 20, z = 1.959964: (19 + z^2 / 2 -+ z sqrt(19 / 20 + z^2 / 4)) / (20 + z^2) = 0.7639, 0.9911.
    assert points["large, ANN twin"]["low"] == pytest.approx(0.7639, abs=1e-4)
    assert points["large, ANN twin"]["high"] == pytest.approx(0.9911, abs=1e-4)
    assert [name for name, point in points.items() if not point["on_front"]] == ["wasteful"]
    assert told["findings"] == []


def test_what_cannot_be_compared_is_refused_all_at_once():
    silent, twinless = report(1, 1.0), report(2, 2.0)
    silent["source"]["accuracy"] = None
    for scenario in twinless["scenarios"]:
        scenario["ann"] = None
    with pytest.raises(InputError) as caught:
        tradeoff_document({"silent": silent, "twinless": twinless}, {"twinless": {"correct": 1, "clips": 2}})
    told = [(finding.node, finding.found) for finding in caught.value.findings]
    assert told == [("silent", "holds no accuracy"), ("twinless", "prices no ANN twin, which --ann needs")]
    with pytest.raises(InputError, match="has no scenario 'nowhere'"):
        tradeoff_document({"a": report(1, 1.0)}, {}, "nowhere")


def test_other_clips_are_a_warning():
    other = report(5, 5.0, clips=10)
    other["source"]["data"] = "elsewhere.h5"
    told = tradeoff_document({"a": report(5, 5.0), "b": other}, {})
    assert [(one["code"], one["node"]) for one in told["findings"]] == [("W876", "data"), ("W876", "clips")]
    assert "elsewhere.h5" in tradeoff_text(told)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('{"kind": "energy"}', "not the document of an evaluation"),
        ('{"kind": "evaluation", "correct": 3, "clips": 2}', "3 of 2 clips right"),
        ('{"kind": "evaluation", "correct": true, "clips": 2}', "True of 2"),
        ('{"kind": "evaluation", "correct": 0, "clips": 0}', "0 of 0"),
        ("[", "cannot be used"),
        (None, "no such file"),
    ],
)
def test_an_evaluation_is_not_trusted(told, said, tmp_path):
    file = tmp_path / "evaluation.json"
    if told is not None:
        file.write_text(told)
    with pytest.raises(InputError, match=said) as caught:
        read_evaluation(tmp_path)
    assert caught.value.findings[0].code == "E877"


def test_a_report_named_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="named twice"):
        names_of([tmp_path, tmp_path])


def test_the_page_draws_every_point_and_no_name_breaks_out():
    told = tradeoff_document({NASTY: report(12, 100.0), "b": report(18, 0.0)}, {"b": {"correct": 1, "clips": 20}})
    page = render_tradeoff(told)
    assert len(re.findall(r'class="mark snn"', page)) == 2
    assert len(re.findall(r'class="mark ann"', page)) == 1
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_the_verb_writes_the_curve_and_report_renders_it_anew(tmp_path, capsys):
    for name, correct, spent in (("a", 12, 100.0), ("b", 18, 900.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report(correct, spent)))
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "evaluation.json").write_text('{"kind": "evaluation", "correct": 19, "clips": 20}')
    a, b, out = str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "curve")
    words = ["energy", "tradeoff", a, b, "--ann", f"{b}={tmp_path / 'scores'}", "-o", out, "--json"]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [point["name"] for point in told["points"]] == ["a", "b", "b, ANN twin"]
    page = (tmp_path / "curve" / "report.html").read_text()
    (tmp_path / "curve" / "report.html").write_text("gone")
    assert run(["report", out]) == 0
    assert (tmp_path / "curve" / "report.html").read_text() == page
    assert run(words) == 2
    assert "already exists" in capsys.readouterr().out
    assert run([*words, "--force"]) == 0
    assert run(["energy", "tradeoff", a, b, "--ann", f"elsewhere={b}"]) == 2
    assert "REPORT=EVALUATION" in capsys.readouterr().err


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "report.json").write_text(json.dumps(report(1, 1.0)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert run(["energy", "tradeoff", str(tmp_path / "a"), "-o", str(tmp_path / "mine"), "--force"]) == 2
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_damaged_curve_is_an_error_and_not_a_traceback(tmp_path):
    told = tradeoff_document({"a": report(1, 1.0)}, {})
    for damage in ({"points": [{}]}, {"schema": 99}, {"points": 3}):
        with pytest.raises(InputError, match="not a curve"):
            rendered_anew(told | damage, tmp_path / "report.json")
