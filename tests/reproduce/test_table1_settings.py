"""What `reproduce table1` takes and refuses before anything is read, and the networks that it chooses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from hw_targets.finding import InputError
from neuroemo import cli
from neuroemo.models.table1 import TABLE_I
from neuroemo.reproduce.table1_paper import ROWS, printed_difference
from neuroemo.reproduce.table1_settings import Table1Settings, settings_from, spec_of

OUT = Path("out")
PLIF = spec_of("plif", 32, 14, 2)


def parsed(*words):
    return cli.build_parser().parse_args(["reproduce", "table1", *map(str, words)])


def refused(**changes):
    with pytest.raises(InputError) as error:
        Table1Settings(**{"data": "faces", "out": OUT} | changes)
    assert {finding.code for finding in error.value.findings} == {"E930"}
    return [f"{finding.node} {finding.found}" for finding in error.value.findings]


def test_the_rows_are_those_of_the_paper():
    assert [row.percent for row in ROWS.values()] == [61.69, 65.17, 61.69, 63.43, 64.68, 65.42, 63.43, 65.17]
    assert list(ROWS) == [spec.name for spec in TABLE_I]
    assert {name: row.changes for name, row in ROWS.items()} == {
        "plif-fang": None, "ann": "baseline", "baseline": None, "plif": "baseline", "0.8snn": "plif",
        "0.4snn": "plif", "mpsnn": "0.4snn", "puresnn": "0.4snn",
    }  # fmt: skip
    assert [printed_difference(name) for name in ROWS] == [None, 3.48, None, 1.74, 1.25, 1.99, -1.99, -0.25]


def test_refusals_come_all_at_once():
    assert refused(models=("plif", "vgg"), scheduler="tcp://a:1", workers=2, pure_data=Path("x.h5")) == [
        "--models no row 'vgg' in Table I",
        "--workers means nothing with --scheduler",
        "--pure-data means nothing with --data faces",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "mosi"}, "--root is missing with --data mosi"),
        ({"data": "folder"}, "--root is missing with --data folder"),
        ({"data": "clips.mp4"}, "--data 'clips.mp4'"),
        ({"models": ("plif", "plif")}, "--models a row twice"),
        ({"seeds": 0}, "--seeds 0"),
        ({"size": 64}, "--size 64"),
        ({"data": "a.h5"}, "--pure-data is missing: puresnn is trained on events without a gray first frame"),
        ({"data": "a.h5", "models": ("plif",), "pure_data": Path("b.h5")}, "--pure-data means nothing without puresnn"),
        ({"data": "a.h5", "models": ("plif",), "root": OUT}, "--root means nothing with a file of prepared events"),
        ({"data": "a.h5", "models": ("plif",), "size": 48}, "--size means nothing with a file of prepared events"),
    ],
)
def test_refusals(changes, said):
    assert refused(**changes) == [said]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "mosi", "root": OUT},
        {"data": "a.h5", "models": ("plif",)},
        {"data": "a.h5", "pure_data": Path("b.h5")},
        {"scheduler": "tcp://a:1"},
        {"workers": 1, "seeds": 1, "size": 48},
    ],
)
def test_what_just_passes(changes):
    assert Table1Settings(**{"data": "faces", "out": OUT} | changes).seeds >= 1


def test_the_command_line_says_everything_that_decides_the_report():
    words = ("--data", "mosi", "--root", "my mosi", "--option", "zero=non0", "--option", "splits=file", "--seeds", 5,
             "--models", "plif,0.4snn", "--epochs", 7, "--learning-rate", "0.02", "--plain-sgd",
             "--skip-broken")  # fmt: skip
    settings = settings_from(parsed(*words, "-o", "elsewhere", "--workers", 3))
    assert shlex.split(settings.command)[3:] == [
        "--data", "mosi", "--root", "my mosi", "--option", "zero=non0", "--option", "splits=file", "--skip-broken",
        "--models", "plif,0.4snn", "--seeds", "5", "--epochs", "7", "--learning-rate", "0.02", "--plain-sgd",
    ]  # fmt: skip
    again = settings_from(parsed(*shlex.split(settings.command)[3:]))
    assert again.train_settings(4, PLIF) == settings.train_settings(4, PLIF)
    made = settings.train_settings(4, PLIF)
    assert (made.seed, made.epochs, made.learning_rate, made.layerwise, made.batch) == (4, 7, 0.02, False, 8)


def test_the_defaults_are_the_papers_and_small_for_faces():
    paper = settings_from(parsed("--data", "mosi", "--root", "x"))
    made = paper.train_settings(0, PLIF)
    assert (paper.pixels, paper.seeds, made.batch, made.learning_rate) == (128, 3, 8, 0.01)
    faces = settings_from(parsed("--data", "faces"))
    assert (faces.pixels, faces.seeds, faces.train_settings(0, PLIF).epochs) == (32, 3, 16)
    quick = settings_from(parsed("--data", "mosi", "--root", "x", "--quick"))
    assert (quick.pixels, quick.seeds, quick.train_settings(0, PLIF).epochs) == (32, 2, 2)
    assert settings_from(parsed("--data", "faces", "--quick", "--epochs", 5)).train_settings(0, PLIF).epochs == 5


def test_networks_by_size():
    for row in TABLE_I:
        assert spec_of(row.name, 128, 68, 2) == row
    small = spec_of("0.4snn", 48, 20, 3)
    assert (small.channels, small.steps, small.classes, small.threshold) == ((12, 16, 16), 20, 3, 0.4)
    assert spec_of("puresnn", 32, 14, 2).first_frame == "spikes"


def test_options_of_other_tables_are_refused(capsys):
    for words in (["table1", "--data", "faces", "--limit", "3"], ["table2", "--seeds", "3"], ["table1"], []):
        assert cli.run(["reproduce", *words, "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["findings"][0]["code"] == "E010"
