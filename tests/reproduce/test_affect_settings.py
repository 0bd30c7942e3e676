"""What the affect tables are asked for: every refusal with a case that just passes, and the command that makes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hw_targets.finding import InputError
from neuroemo import cli
from neuroemo.reproduce.affect_paper import NETWORKS
from neuroemo.reproduce.affect_settings import AffectTableSettings, settings_from, spec_of

OUT = Path("runs/t")


def made(table="affect-table1", data="faces", **more):
    return AffectTableSettings(table=table, data=data, out=OUT, **more)


REFUSED = [
    ({"table": "affect-table6"}, "E970 affect-table6: no table of that name"),
    ({"data": "afew-va"}, "E970 --root: is missing with --data afew-va"),
    ({"data": "folder"}, "E970 --data: 'folder'; limit afew-va, faces, or FILE.h5"),
    ({"data": "frames.csv"}, "E970 --data: 'frames.csv'"),
    ({"data": "f.h5", "root": Path("x")}, "E970 --root: means nothing with a file of event frames"),
    ({"data": "f.h5", "size": 64}, "E970 --size: means nothing with a file"),
    ({"data": "f.h5", "options": ("fps=5",)}, "E970 --option: means nothing with a file"),
    ({"data": "f.h5", "skip_broken": True}, "E970 --skip-broken: means nothing"),
    ({"data": "f.h5", "threshold": 0.1}, "E970 --threshold: means nothing with a file"),
    ({"data_16": Path("g.h5")}, "E970 --data-16: means nothing with --data faces"),
    ({"data": "f.h5", "data_16": Path("g.h5")}, "E970 --data-16: means nothing to affect-table1"),
    ({"table": "affect-table4", "data": "f.h5"}, "E970 --data-16: is missing"),
    ({"table": "affect-table4", "data": "f.h5", "data_16": Path("g.csv")}, "E970 --data-16: 'g.csv'"),
    ({"nefer_root": Path("n")}, "E970 --nefer-root: means nothing to affect-table1"),
    ({"nefer_data": Path("n.h5")}, "E970 --nefer-data: means nothing to affect-table1"),
    ({"table": "affect-table5", "data": "f.h5"}, "E970 --nefer-root: is missing"),
    ({"table": "affect-table5", "nefer_root": Path("n"), "nefer_data": Path("n.h5")}, "E970 --nefer-data"),
    ({"table": "affect-table5", "nefer_options": ("a=1",)}, "E970 --nefer-option: means nothing without"),
    ({"table": "affect-table5", "nefer_data": Path("n.txt")}, "E970 --nefer-data: 'n.txt'"),
    ({"models": ("resnet-lstm",)}, "E970 --models: no network 'resnet-lstm' in affect-table1; limit resnet18, vit"),
    ({"models": ("vit", "vit")}, "E970 --models: names one twice"),
    ({"models": ()}, "E970 --models: names no network"),
    ({"folds": (1, 1)}, "E970 --folds: names one twice"),
    ({"seeds": 0}, "E970 --seeds: 0; limit 1 or more"),
    ({"size": 65}, "E970 --size: 65; limit a multiple of 16 from 32 to 208, or 224"),
    ({"backbone_weights": Path("no.pth")}, "E970 --backbone-weights: no.pth: no such file"),
    ({"training": {"batch": 0}}, "E953 batch: 0"),
]
PASSES = [
    {"data": "afew-va", "root": Path("x")},
    {"data": "f.h5"},
    {"data": "f.hdf5", "folds": (0, 4)},
    {"table": "affect-table2", "models": ("resnet-lstm",), "size": 208},
    {"table": "affect-table4", "data": "f.h5", "data_16": Path("g.h5")},
    {"table": "affect-table4"},
    {"table": "affect-table5"},
    {"table": "affect-table5", "data": "f.h5", "nefer_data": Path("n.h5")},
    {"table": "affect-table5", "data": "f.h5", "nefer_root": Path("n"), "skip_broken": True},
    {"size": 224},
    {"backbone_weights": Path(__file__)},
]


@pytest.mark.parametrize(("asked", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_refused(asked, said):
    with pytest.raises(InputError) as caught:
        made(**asked)
    assert caught.value.exit_code == 2
    assert any(str(finding).startswith(said) for finding in caught.value.findings), str(caught.value)


@pytest.mark.parametrize("asked", PASSES, ids=str)
def test_what_just_passes(asked):
    assert made(**asked).seeds == 1


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(InputError) as caught:
        made(data="afew-va", seeds=0, models=("snn",), nefer_root=Path("n"))
    assert [finding.node for finding in caught.value.findings] == ["--models", "--seeds", "--nefer-root", "--root"]


def test_rows_keep_the_order_of_the_table():
    assert made("affect-table5", models=("ic3d", "vit")).rows == ("vit", "ic3d")
    assert made("affect-table3").rows == NETWORKS
    assert made().rows == ("resnet18", "vit")


def test_sizes_and_budgets_of_the_data():
    assert made(data="afew-va", root=Path("x")).pixels == 224
    assert made(data="afew-va", root=Path("x")).train_settings(3).learning_rate == 1e-4
    assert (made().pixels, made(quick=True).pixels, made(size=96).pixels) == (64, 32, 96)
    assert made(quick=True).train_settings(1).epochs == 1
    assert made(training={"epochs": 7}, quick=True).train_settings(2).epochs == 7
    assert made().train_settings(2).seed == 2
    spec = spec_of("resnet-fusion", 224, 16)
    assert (spec.size, spec.n_bits, spec.width, spec.frames) == (224, 16, 64, 6)


def test_the_command_line_says_itself(monkeypatch):
    words = ["reproduce", "affect-table5", "--data", "afew-va", "--root", "a b", "--nefer-root", "n",
             "--nefer-option", "labels=reported", "--option", "fps=25", "--folds", "0,2", "--seeds", "2",
             "--models", "vit,ic3d", "--loss", "ccc", "--no-augment", "-o", "x", "--workers", "1"]  # fmt: skip
    args = cli.build_parser().parse_args(words)
    settings = settings_from(args)
    assert settings.command == (
        "neuroemo reproduce affect-table5 --data afew-va --root 'a b' --nefer-root n --nefer-option labels=reported "
        "--option fps=25 --models vit,ic3d --folds 0,2 --seeds 2 --loss ccc --no-augment"
    )
    assert settings.training == {"loss": "ccc", "augment": False}
    again = settings_from(cli.build_parser().parse_args(["reproduce", "affect-table5", "--data", "faces"]))
    assert (again.folds, again.models, again.seeds, again.folder) == (
        None,
        None,
        1,
        Path("runs/affect-tables/affect-table5"),
    )


def test_options_of_one_table_are_unknown_to_the_others(capsys):
    assert cli.run(["reproduce", "affect-table1", "--data", "faces", "--nefer-root", "n"]) == 2
    assert "E010" in capsys.readouterr().err
    assert cli.run(["reproduce", "affect-table2", "--data", "faces", "--folds", "x"]) == 2
    assert "E010" in capsys.readouterr().err


def test_the_help_imports_nothing_heavy():
    script = (
        "import sys; from neuroemo import cli\n"
        "try: cli.main(['reproduce', 'affect-table5', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--nefer-root" in done.stdout
