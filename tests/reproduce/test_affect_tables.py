"""Every affect table end to end on folders laid out like AFEW-VA and NEFER: numbers, resumption, refusals."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

from hw_targets.finding import Finding
from neuroemo import cli
from neuroemo.affect import training
from neuroemo.affect.predict import predict
from neuroemo.affect.run import open_affect
from neuroemo.datasets.event_frames import EventFrames
from tests.datasets.look_alikes.nefer import EXPECTED, make_nefer
from tests.events.readers_make import array, dat
from tests.reproduce.affect_samples import SCHEMA, asked, make_data, plain_scores, run, violations

TABLE1 = ("--folds", "0,1")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def made(roots, tmp_path_factory):
    """OUT with Table 1 on two folds."""
    out = tmp_path_factory.mktemp("out")
    assert run(*asked("affect-table1", roots[0], out, *TABLE1)) == 0
    return out


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


def report_of(out, table):
    return json.loads((out / table / "report.json").read_text())


def findings(capsys):
    return json.loads(capsys.readouterr().out)["findings"]


def test_every_number_of_table_1_is_that_of_the_checkpoints(made):
    report = report_of(made, "affect-table1")
    assert list(violations(report, SCHEMA)) == []
    (path,) = (made / "data").glob("*.h5")
    with EventFrames.open(path) as store:
        people = np.array(store.subjects)
        for row in report["rows"]:
            answers, truths, means = [], [], []
            for one in row["runs"]:
                (folder,) = (made / "runs").glob(f"{row['network']}-8bits-fold{one['fold']}-seed0-*")
                network = open_affect(folder)
                frames = np.flatnonzero(store.folds[store.clip] == one["fold"])
                assert network.trained_on["fold"] == one["fold"]
                trained = set(network.trained_on["training"]["subjects"]) | set(
                    network.trained_on["validation"]["subjects"]
                )
                assert not trained & set(people[np.unique(store.clip[frames])]), "the test persons are trained on"
                answers.append(predict(network.network, network.spec, store, frames))
                truths.append(store.affect(frames))
                means.append(np.tile(network.train_mean, (len(frames), 1)))
                for column, output in enumerate(("valence", "arousal")):
                    wanted = plain_scores(truths[-1][:, column], answers[-1][:, column])
                    assert one["scores"][output] == pytest.approx(wanted, abs=1e-6)
                    plain = float(np.sqrt(((truths[-1] - means[-1])[:, column] ** 2).mean()))
                    assert one["constant"][output]["rmse"] == pytest.approx(plain, abs=1e-6)
            for column, output in enumerate(("valence", "arousal")):
                told = row["outputs"][output]
                truth, answer, mean = (np.concatenate(each)[:, column] for each in (truths, answers, means))
                wanted = plain_scores(truth, answer)
                assert {name: told["pooled"][name]["value"] for name in wanted} == pytest.approx(wanted, abs=1e-6)
                plain = math.sqrt(((truth - mean) ** 2).mean())
                assert told["pooled"]["constant"]["rmse"] == pytest.approx(plain, abs=1e-6)
                assert told["pooled"]["rmse_gain"]["value"] == pytest.approx(plain - wanted["rmse"], abs=1e-6)
                values = [one["scores"][output]["rmse"] for one in row["runs"]]
                spread = told["over_runs"]["rmse"]
                assert (spread["mean"], spread["sd"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))


def test_table_1_stands_beside_the_paper_and_its_bound(made, capsys):
    report = report_of(made, "affect-table1")
    assert report["data"]["comparable"] is True
    printed = {row["network"]: row["outputs"]["arousal"]["printed"]["rmse"] for row in report["rows"]}
    assert printed == {"resnet18": 0.200, "vit": 0.173}
    assert report["notes"][0].startswith("RMSE alone misleads")
    assert any("7 clips; not there" in warning for warning in report["data"]["warnings"])
    (setting,) = (note for note in report["notes"] if note.startswith("Not the paper's setting"))
    assert setting.endswith(": 7 clips of 600, frames of 32 pixels and not 224, test folds 0, 1 and not all 5.")
    assert cli.run(["report", str(made / "affect-table1")]) == 0
    page = (made / "affect-table1" / "report.html").read_text()
    for words in ("0.200", "mean of the training frames", "0.152 (arousal)", "ResNet18", "<svg"):
        assert words in page
    assert len((made / "affect-table1" / "table.csv").read_text().splitlines()) == 1 + 2 * 2 * 2


def test_tables_3_and_5_find_the_runs_of_1_and_train_only_what_is_missing(roots, out, monkeypatch, capsys):
    trained, real = [], training.train_affect

    def train(spec, *rest, **more):
        trained.append((spec.name, more["told"]["fold"]))
        return real(spec, *rest, **more)

    monkeypatch.setattr(training, "train_affect", train)
    before = report_of(out, "affect-table1")
    assert run(*asked("affect-table1", roots[0], out, *TABLE1)) == 0
    assert trained == []
    assert report_of(out, "affect-table1") == before
    models = ("--models", "resnet18,vit,resnet-lstm")
    assert run(*asked("affect-table3", roots[0], out, "--folds", "0", *models)) == 0
    assert trained == [("resnet-lstm@32", 0)]
    report = report_of(out, "affect-table3")
    best = {row["network"]: row["validation_ccc"] for row in report["rows"] if row["family"] == "frame"}
    assert report["chosen"] == {"frame": max(best, key=best.get), "video": "resnet-lstm"}
    assert [row["title"] for row in report["published"]][:1] == ["Kossaifi et al. (2017)"]
    assert len(report["published"]) == 9
    five = ("--folds", "0", *models, "--nefer-root", roots[1], "--nefer-option", "recording=event_frames")
    assert run(*asked("affect-table5", roots[0], out, *five)) == 0
    assert len(trained) == 1
    check_emotions(report_of(out, "affect-table5"), out)


def check_emotions(report, out):
    """Answer again from the checkpoints, in plain loops."""
    assert list(violations(report, SCHEMA)) == []
    told = report["emotions"]
    assert (told["name"], told["transfer"], told["comparable"], told["test"]) == ("NEFER", True, True, "val")
    assert told["emotions"] == sorted(EXPECTED)
    assert told["videos"] == {"train": 6, "test": 3}
    (path,) = (out / "data").glob("nefer-*.h5")
    for row in told["rows"]:
        (one,) = row["runs"]
        (folder,) = (out / "runs").glob(f"{row['network']}-8bits-fold0-seed0-*")
        network = open_affect(folder)
        with EventFrames.open(path) as store:
            frames = np.arange(len(store))
            said = predict(network.network, network.spec, store, frames)
            by_clip = [said[store.clip == clip] for clip in range(len(store.clip_names))]
            labels = [store.classes[label] for label in store.labels]
            sums = {}
            for clip, split in enumerate(store.splits):
                if split == "train":
                    sums.setdefault(labels[clip], []).extend(by_clip[clip].tolist())
            points = {
                label: [sum(axis) / len(pairs) for axis in zip(*pairs, strict=True)] for label, pairs in sums.items()
            }
            right = 0
            for clip, split in enumerate(store.splits):
                if split == "val":
                    mean = by_clip[clip].mean(axis=0)
                    chosen = max(by_clip[clip].tolist(), key=lambda pair: math.dist(pair, mean))
                    right += min(sorted(points), key=lambda name: math.dist(points[name], chosen)) == labels[clip]
        assert (one["correct"], one["clips"]) == (right, 3)
        assert row["mean"] == right / 3
        for prototype in one["prototypes"]:
            assert [prototype["valence"], prototype["arousal"]] == pytest.approx(points[prototype["emotion"]], abs=1e-6)


def test_table_4_prepares_the_clips_twice(roots, out, capsys):
    assert run(*asked("affect-table4", roots[0], out, "--folds", "1", "--models", "vit")) == 0
    report = report_of(out, "affect-table4")
    assert list(violations(report, SCHEMA)) == []
    assert [(store["bits"], store["slice_us"]) for store in report["data"]["stores"]] == [(8, 5000), (16, 5000)]
    assert len({store["event_frames"]["size"] for store in report["data"]["stores"]}) == 1
    assert len(list((out / "data").glob("*.h5"))) == 2
    few, many = report["rows"]
    for output, printed in (("arousal", 0.059), ("valence", 0.094)):
        told = report["differences"][0]["outputs"][output]
        apart = many["outputs"][output]["pooled"]["rmse"]["value"] - few["outputs"][output]["pooled"]["rmse"]["value"]
        assert told["value"] == pytest.approx(apart)
        assert told["printed"] == printed
    assert few["outputs"]["arousal"]["printed"]["rmse"] == 0.173
    assert many["outputs"]["arousal"]["printed"]["rmse"] == 0.232


def test_only_a_damaged_record_is_made_again(roots, out, monkeypatch, capsys):
    before = report_of(out, "affect-table1")
    (damaged,) = (out / "runs").glob("vit-8bits-fold1-*/run.json")
    damaged.write_text(damaged.read_text()[:60])
    assert run(*asked("affect-table1", roots[0], out, *TABLE1)) == 0
    after = report_of(out, "affect-table1")
    assert after | {"times": 0} == before | {"times": 0}, "its weights were there still"


def test_a_failing_run_does_not_cost_the_others(roots, out, monkeypatch, capsys):
    real = training.train_affect

    def train(spec, *rest, **more):
        if more["told"]["fold"] == 2 and spec.name == "vit@32":
            raise training.TrainingError(Finding("E957", "error", spec.name, "loss nan in batch 1"))
        return real(spec, *rest, **more)

    monkeypatch.setattr(training, "train_affect", train)
    assert run(*asked("affect-table1", roots[0], out, "--folds", "2")) == 2
    assert findings(capsys)[0]["found"] == "loss nan in batch 1"
    assert len(list((out / "runs").glob("resnet18-8bits-fold2-*/run.json"))) == 1
    assert len(list((out / "runs").glob("vit-8bits-fold2-*/run.json"))) == 0


def test_an_interrupt_says_how_to_go_on(roots, out, monkeypatch, capsys):
    def train(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_affect", train)
    assert run(*asked("affect-table1", roots[0], out, "--folds", "0,2")) == 130
    (finding,) = findings(capsys)
    assert (finding["code"], finding["found"]) == ("E935", "interrupted, 2 of 4 runs finished")
    wanted = f"--data afew-va --root {roots[0]} --size 32 --folds 0,2 --epochs 1 --batch 32 -o {out} --workers 1"
    assert finding["fix"] == f"to continue: neuroemo reproduce affect-table1 {wanted}"


def test_wrong_layouts_are_refused_before_anything_is_trained(roots, tmp_path, capsys):
    out = tmp_path / "o"
    afew, nefer = shutil.copytree(roots[0], tmp_path / "afew"), shutil.copytree(roots[1], tmp_path / "nefer")
    (afew / "002" / "002.json").unlink()
    (nefer / "annotations" / "expected_emotions" / "train_event.csv").unlink()
    frames = ("--nefer-option", "recording=event_frames")
    assert run(*asked("affect-table5", afew, out, "--nefer-root", nefer, *frames)) == 2
    told = findings(capsys)
    assert "train_event.csv" in told[0]["node"], "NEFER is listed first"
    assert any("002.json" in each["node"] for each in told), "both data sets are looked at"
    shutil.rmtree(nefer / "event_frames")
    assert run(*asked("affect-table5", roots[0], out, "--nefer-root", nefer, *frames)) == 2
    assert any(each["node"].endswith("event_frames") for each in findings(capsys))
    assert run(*asked("affect-table2", tmp_path / "nowhere", out)) == 2
    assert "nowhere" in findings(capsys)[0]["node"]
    assert run(*asked("affect-table1", roots[0], out, "--folds", "7")) == 2
    assert "0..4" in findings(capsys)[0]["limit"]
    assert run(*asked("affect-table1", roots[0], out, "--threshold", "0")) == 2
    assert {each["code"] for each in findings(capsys)} == {"E850"}
    assert run(*asked("affect-table1", roots[0], out, "--backbone-weights", __file__)) == 2
    assert findings(capsys)[0]["found"] == "no network of the table has a ResNet18 of full width"
    assert not (out / "runs").exists()


def test_raw_events_of_nefer_become_frames_of_the_same_length(roots, out, tmp_path, capsys):
    nefer = make_nefer(tmp_path / "nefer", frames=4, suffix=".dat")
    for number, path in enumerate(sorted((nefer / "event_raw").rglob("*.dat"))):
        random = np.random.default_rng(number)
        times = np.sort(random.integers(0, 250_000, 4000))
        places = random.integers(0, 64, (2, 4000))
        signs = random.integers(0, 2, 4000)
        events = array(*zip(times.tolist(), *places.tolist(), signs.tolist(), strict=True))
        path.write_bytes(dat(events))
    five = ("--folds", "0", "--models", "vit", "--nefer-root", nefer)
    assert run(*asked("affect-table5", roots[0], out, *five)) == 0, capsys.readouterr().out
    report = report_of(out, "affect-table5")
    assert report["emotions"]["event_frames"] | {"sensor": None} == {
        "model": "recorded", "size": 32, "n_bits": 8, "slice_us": 5000, "msb": "newest", "sensor": None,
    }  # fmt: skip
    (path,) = (out / "data").glob("nefer-*.h5")
    with EventFrames.open(path) as store:
        assert np.bincount(store.clip).tolist() == [6] * 9
    assert [row["network"] for row in report["emotions"]["rows"]] == ["vit"]


def test_a_store_of_ones_own(roots, made, tmp_path, capsys):
    (path,) = (made / "data").glob("*.h5")
    own = ("--epochs", "1", "--batch", "32", "--workers", "1", "--folds", "0", "--models", "vit", "-o", tmp_path / "o")
    assert run("affect-table1", "--data", path, *own) == 0
    report = report_of(tmp_path / "o", "affect-table1")
    assert report["data"]["comparable"] is False
    assert report["rows"][0]["runs"] == report_of(made, "affect-table1")["rows"][1]["runs"][:1]
    capsys.readouterr()
    assert run("affect-table4", "--data", path, "--data-16", path, *own) == 2
    assert "8 bits" in findings(capsys)[0]["found"]
    assert run("affect-table5", "--data", path, "--nefer-data", path, *own) == 2
    assert {each["code"] for each in findings(capsys)} == {"E971"}
