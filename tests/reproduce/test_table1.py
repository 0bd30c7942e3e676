"""The whole of Table I on a handful of clips: what is trained, what is not trained twice, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from hw_targets.finding import Finding, InputError
from neuroemo import cli
from neuroemo.console import Console
from neuroemo.datasets.catalogue import list_dataset
from neuroemo.datasets.prepare import prepare_clips
from neuroemo.datasets.store import ClipStore
from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.events.video import write_h264
from neuroemo.reproduce import table1 as whole
from neuroemo.reproduce.table1_settings import Table1Settings
from neuroemo.training import loop
from neuroemo.training.checkpoint import load_model
from neuroemo.training.evaluation import votes_of
from tests.datasets.look_alikes.mosi import clip_paths, make_mosi
from tests.reproduce.sample_table1 import SCHEMA, violations

MODELS = ("ann", "plif", "0.4snn", "puresnn")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("stores"))


def make_stores(folder, size=32, steps=14):
    """Prepare the same 20 faces with a gray first frame and without."""
    faces = {"subjects": 5, "clips_per_subject": 4, "size": 2 * size, "frames": steps + 1, "seed": 0}
    paths = {}
    for name, first in (("gray", "float"), ("pure", "spikes")):
        chosen = FrameDiffSettings(size=size, steps=steps, first_frame=first)
        listed = list_dataset("faces", folder / "videos", chosen, faces, workers=1)
        paths[name] = prepare_clips(listed, folder / f"{name}.h5", chosen, workers=1).path
    return paths


def asked(stores, out, **changes):
    common = {"data": str(stores["gray"]), "pure_data": stores["pure"], "models": MODELS, "seeds": 2, "workers": 1,
              "training": {"epochs": 1}}  # fmt: skip
    chosen = common | {"out": out} | changes
    return Table1Settings(**chosen | ({} if "puresnn" in chosen["models"] else {"pure_data": None}))


def made(settings):
    return whole.reproduce_table1(settings, Console(quiet=True))


@pytest.fixture(scope="module")
def table(stores, tmp_path_factory):
    out = tmp_path_factory.mktemp("table")
    return out, made(asked(stores, out))


@pytest.fixture
def fresh(table, tmp_path):
    """A folder without runs, where the linear models need not be fitted again."""
    out = tmp_path / "o"
    out.mkdir()
    shutil.copy(table[0] / whole.BASELINES, out)
    return out


def test_every_number_is_that_of_the_checkpoints(stores, table):
    out, report = table
    assert list(violations(report, SCHEMA)) == []
    for row in report["rows"]:
        for run in row["runs"]:
            (folder,) = (out / "runs").glob(f"{row['model']}-seed{run['seed']}-*")
            network, description = load_model(folder)
            with ClipStore.open(stores["pure" if row["model"] == "puresnn" else "gray"]) as store:
                test = [i for i, split in enumerate(store.splits) if split == "test"]
                rates = votes_of(network, description.spec, store.batch(test)).mean(axis=0)
                right = int((rates.argmax(axis=1) == np.asarray(store.labels)[test]).sum())
            assert (run["correct"], run["clips"]) == (right, 4)
        assert row["mean"] == pytest.approx(np.mean([run["correct"] / 4 for run in row["runs"]]))
    shown = {row["model"]: row["against"] and row["against"]["model"] for row in report["rows"]}
    assert shown == {"ann": None, "plif": None, "0.4snn": "plif", "puresnn": "0.4snn"}  # the baseline was not asked for
    assert report["data"]["subjects"] == {"train": 3, "val": 1, "test": 1}
    assert json.loads((out / "report.json").read_text()) == report
    assert "0.4SNN" in (out / "report.html").read_text()
    assert "0.4SNN" in (out / "table1.tex").read_text()
    assert len((out / "table1.csv").read_text().splitlines()) == 1 + 2 * len(MODELS)


def test_a_finished_run_is_never_trained_again(stores, table, monkeypatch):
    out, report = table

    def train(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(loop, "train", train)
    assert made(asked(stores, out)) == report
    fewer = made(asked(stores, out, models=("0.4snn", "plif"), seeds=1))
    assert [row["runs"] for row in fewer["rows"]] == [row["runs"][:1] for row in report["rows"][1:3]]


def test_only_what_is_new_or_damaged_is_trained(stores, table, monkeypatch):
    out, report = table
    trained = []
    real = loop.train

    def train(spec, store, folder, settings, **more):
        trained.append((spec.name, settings.seed, settings.epochs))
        return real(spec, store, folder, settings, **more)

    monkeypatch.setattr(loop, "train", train)
    (damaged,) = (out / "runs").glob("plif-seed1-*/run.json")
    damaged.write_text(damaged.read_text()[:40])
    again = made(asked(stores, out))
    assert trained == [("plif@32", 1, 1)]
    assert again["rows"] == report["rows"], "its weights were there still"
    made(asked(stores, out, models=("ann",), seeds=3))
    made(asked(stores, out, models=("ann",), seeds=1, training={"epochs": 2}))
    assert trained[1:] == [("ann@32", 2, 1), ("ann@32", 0, 2)]


def test_one_failing_run_does_not_cost_the_others(stores, fresh, monkeypatch):
    real = loop.train

    def train(spec, store, folder, settings, **more):
        if (spec.name, settings.seed) == ("plif@32", 0):
            raise loop.TrainingError(Finding("E025", "error", spec.name, "loss nan in batch 1"))
        return real(spec, store, folder, settings, **more)

    monkeypatch.setattr(loop, "train", train)
    with pytest.raises(InputError, match=r"E025 plif@32: loss nan"):
        made(asked(stores, fresh))
    assert len(list((fresh / "runs").glob("*/run.json"))) == 7
    assert not (fresh / "report.json").exists()
    monkeypatch.undo()
    assert len(made(asked(stores, fresh))["rows"]) == 4


def test_an_interrupt_says_how_to_go_on(stores, fresh, monkeypatch, capsys):
    def train(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", train)
    words = ["reproduce", "table1", "--data", str(stores["gray"]), "--models", "plif", "-o", str(fresh),
             "--workers", "1", "--json"]  # fmt: skip
    assert cli.run(words) == 130
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["code"], finding["found"]) == ("E935", "interrupted, 0 of 3 runs finished")
    wanted = f"--data {stores['gray']} --models plif -o {fresh} --workers 1"
    assert finding["fix"] == f"to continue: neuroemo reproduce table1 {wanted}"


def test_another_process_in_the_folder(stores, fresh):
    out = fresh
    script = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(out / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        holder.stdout.readline()
        with pytest.raises(InputError, match=r"E932 .*another process makes a table here"):
            made(asked(stores, out))
    finally:
        holder.communicate()
    assert len(made(asked(stores, out, models=("ann",), seeds=1))["rows"]) == 1


def test_stores_that_are_not_of_the_same_clips(stores, tmp_path):
    with pytest.raises(InputError, match=r"E931 --pure-data: .*events with a gray first frame"):
        made(asked(stores, tmp_path, pure_data=stores["gray"]))
    with pytest.raises(InputError, match=r"E931 --data: .*events without a gray first frame"):
        made(asked(stores, tmp_path, data=str(stores["pure"])))
    other = make_stores(tmp_path / "other", steps=13)
    with pytest.raises(InputError, match=r"E931 --pure-data: other steps than --data"):
        made(asked(stores, tmp_path, pure_data=other["pure"]))
    assert not (tmp_path / "runs").exists()


def moving(path):
    """A video of 16 frames in which something moves, another way for every clip."""
    rng = np.random.default_rng(len(str(path)) + ord(path.stem[-1]))
    write_h264(path, rng.integers(0, 255, (16, 64, 64), dtype=np.uint8), 15.0)


def mosi(root, out, *more):
    return cli.run(["reproduce", "table1", "--data", "mosi", "--root", str(root), "--size", "32", "--seeds", "1",
                    "--epochs", "1", "--workers", "1", "-o", str(out), "--json", *more])  # fmt: skip


@pytest.mark.slow
def test_all_eight_networks_on_a_look_alike_of_mosi(tmp_path, capsys):
    make_mosi(tmp_path / "MOSI", video=moving)
    assert mosi(tmp_path / "MOSI", tmp_path / "o") == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["paper_percent"] for row in report["rows"]] == [61.69, 65.17, 61.69, 63.43, 64.68, 65.42, 63.43, 65.17]
    assert report["data"]["clips"] == {"train": 5, "val": 2, "test": 3}
    assert report["data"]["comparable"] is True
    assert [row["spec"]["first_frame"] for row in report["rows"]] == ["float"] * 7 + ["spikes"]
    assert mosi(tmp_path / "MOSI", tmp_path / "o", "--option", "zero=non0", "--models", "ann") == 0
    assert json.loads(capsys.readouterr().out)["data"]["clips"] == {"train": 4, "val": 2, "test": 2}
    paths = list(clip_paths(tmp_path / "MOSI").values())
    shutil.copy(paths[0], paths[1])
    assert mosi(tmp_path / "MOSI", tmp_path / "o") == 2
    assert json.loads(capsys.readouterr().out)["findings"][0]["code"] == "E932"


def test_a_wrong_mosi_folder_is_refused_by_naming_what_is_missing(tmp_path, capsys):
    root = make_mosi(tmp_path / "MOSI", video=moving)
    paths = clip_paths(root)
    paths["c7UH_rxdZv4", "2"].unlink()
    assert mosi(root, tmp_path / "o") == 2
    said = " ".join(f"{f['node']} {f['found']}" for f in json.loads(capsys.readouterr().out)["findings"])
    assert "c7UH_rxdZv4" in said
    (root / "label.csv").unlink()
    assert mosi(root, tmp_path / "o") == 2
    assert "label" in capsys.readouterr().out
    assert mosi(tmp_path / "none", tmp_path / "o") == 2
    assert "E754" in capsys.readouterr().out
    assert not (tmp_path / "o" / "runs").exists(), "nothing may be trained before the data are whole"
