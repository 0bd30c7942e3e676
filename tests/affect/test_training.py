from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError
from neuroemo.affect.evaluate import evaluate_affect
from neuroemo.affect.features import Features
from neuroemo.affect.inputs import FrameInput
from neuroemo.affect.log import log_rows
from neuroemo.affect.loss import loss_of
from neuroemo.affect.metrics import scores
from neuroemo.affect.predict import predict
from neuroemo.affect.run import open_affect
from neuroemo.affect.settings import AffectSettings, settings_from_dict
from neuroemo.affect.training import StoppedError, TrainingError, out_of_patience, rank, train_affect
from neuroemo.models.affect.network import build_affect
from neuroemo.models.affect.table import spec_by_name
from neuroemo.training.checkpoint import load_tensors
from tests.affect.memory_frames import squares

SPEC = spec_by_name("vit@32", depth=1, embedding=16, heads=1, feedforward=16)
LSTM = spec_by_name("resnet-lstm@32", hidden=8, layers=1, regressor_hidden=8)
FAST = {"epochs": 3, "batch": 32, "learning_rate": 0.003}


def bits(folder):
    return {name: value.numpy().tobytes() for name, value in load_tensors(folder / "model.safetensors")[0].items()}


def test_what_a_run_leaves(tmp_path):
    data = squares()
    history = train_affect(SPEC, data, tmp_path, AffectSettings(**FAST), told={"fold": 1})
    run = open_affect(tmp_path)
    train, val = data.indices("train"), data.indices("val")
    assert run.train_mean == pytest.approx(data.values[train].mean(axis=0, dtype=float).tolist())
    assert run.trained_on["fold"] == 1
    assert run.trained_on["training"] == {"frames": 84, "clips": 12, "subjects": [f"s{k:02}" for k in range(6)]}
    assert run.trained_on["fingerprint"] == data.fingerprint()
    assert run.initialisation == "random"
    # what is kept is the best epoch: its validation scores come back from the folder alone
    best = max(history, key=rank)
    again = scores(data.values[val], predict(run.network, run.spec, data, val), constant=run.train_mean)
    for output in ("valence", "arousal"):
        for metric in ("rmse", "pcc", "sagr", "ccc"):
            assert again[output][metric] == pytest.approx(best["validation"][output][metric], abs=1e-6)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert float(rows[-1]["valence_rmse"]) == history[-1]["validation"]["valence"]["rmse"]
    told = json.loads((tmp_path / "training.json").read_text())
    assert told["best_epoch"] == history.index(best) + 1
    assert told["settings"]["loss"] == "mse"


def test_the_learning_rate_is_halved(tmp_path):
    settings = AffectSettings(epochs=5, batch=32, learning_rate=0.004, halve_every=2)
    history = train_affect(SPEC, squares(clips=10), tmp_path, settings)
    assert [entry["learning_rate"] for entry in history] == [0.004, 0.004, 0.002, 0.002, 0.001]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path):
    data = squares(clips=10)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_affect(SPEC, data, tmp_path / name, AffectSettings(**FAST, seed=seed))
    assert bits(tmp_path / "a") == bits(tmp_path / "b") != bits(tmp_path / "c")


def test_a_stopped_run_continues_with_the_same_bits(tmp_path):
    data, settings = squares(clips=10), AffectSettings(**FAST, loss="mse+ccc")
    train_affect(SPEC, data, tmp_path / "whole", settings)
    asked = iter([0, 0, 0, 15])
    with pytest.raises(StoppedError, match=r"stopped after 2 of 2 batches of epoch 2; the run is saved") as error:
        train_affect(SPEC, data, tmp_path / "cut", settings, stop=lambda: next(asked))
    assert error.value.exit_code == 143
    train_affect(SPEC, data, tmp_path / "cut", settings)
    assert bits(tmp_path / "cut") == bits(tmp_path / "whole")
    assert (tmp_path / "cut/log.csv").read_text() == (tmp_path / "whole/log.csv").read_text()


def test_another_run_is_not_continued(tmp_path):
    data = squares(clips=10)
    train_affect(SPEC, data, tmp_path, AffectSettings(**FAST))
    with pytest.raises(InputError, match=r"E027.*training.seed is 0, asked for 1"):
        train_affect(SPEC, data, tmp_path, AffectSettings(**FAST, seed=1))
    split = {"train": np.arange(7), "val": np.arange(7, 14)}
    with pytest.raises(InputError, match=r"E027.*data.split"):
        train_affect(SPEC, data, tmp_path, AffectSettings(**FAST), split=split)


def test_a_loss_that_is_no_number_names_the_batch_and_keeps_the_best(tmp_path):
    data = squares(clips=10)
    settings = AffectSettings(epochs=50, batch=32, learning_rate=1e30)
    with pytest.raises(
        TrainingError, match=r"E957 vit@32: (loss|gradient norm) (nan|inf) in batch \d+ of epoch \d+ "
    ) as e:
        train_affect(SPEC, data, tmp_path, settings)
    assert "clips clip0" in str(e.value)


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    data = squares(clips=10)
    train_affect(SPEC, data, tmp_path, AffectSettings(epochs=1, batch=32))
    before = bits(tmp_path)
    from neuroemo.affect import run

    def full(path, *_):
        path.with_name(path.name + ".partial").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "save_tensors", full)
    (tmp_path / "last.safetensors").unlink()
    with pytest.raises(InputError, match=r"E904.*No space left on device"):
        train_affect(SPEC, data, tmp_path, AffectSettings(epochs=1, batch=32))
    assert bits(tmp_path) == before
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("bound", [2**30, 10])
def test_features_of_a_frozen_backbone_are_those_of_the_network(tmp_path, monkeypatch, bound):
    monkeypatch.setattr("neuroemo.affect.features.KEPT_BYTES", bound)
    data = squares(clips=4)
    network = build_affect(LSTM).eval()
    source = FrameInput(LSTM, data)
    features = Features(network, LSTM, source, data.clip, np.arange(28), tmp_path)
    index = np.array([[1, 2, 3, 4, 5, 6], [21, 22, 23, 24, 25, 26]])
    with torch.no_grad():
        wanted = network(torch.from_numpy(source(index)))
        said = network.head(torch.from_numpy(features(index)))
    assert torch.allclose(said, wanted, atol=1e-6)
    assert (tmp_path / "features.npy").exists() == (bound == 10)
    features.close()
    assert not (tmp_path / "features.npy").exists()


def test_a_frozen_backbone_is_asked_once_without_augmentation_and_the_run_says_so(tmp_path, monkeypatch):
    data = squares(clips=10)
    seen, said = [], []
    original = type(build_affect(LSTM)).features
    monkeypatch.setattr(type(build_affect(LSTM)), "features", lambda self, x: seen.append(len(x)) or original(self, x))
    train_affect(LSTM, data, tmp_path / "once", AffectSettings(**FAST, augment=False), say=said.append)
    assert sum(seen) == 16  # 8 clips of 7 frames, two chunks each, though there are three epochs
    assert any("sees every frame once" in text for text in said)
    train_affect(LSTM, data, tmp_path / "anew", AffectSettings(**FAST), say=said.append)
    assert any("every augmented frame anew" in text for text in said)
    assert sum(seen) > 2 * 16
    start = {name: value for name, value in open_affect(tmp_path / "once").network.state_dict().items()}
    torch.manual_seed(0)
    for name, value in build_affect(LSTM).state_dict().items():
        assert torch.equal(start[name], value) == name.startswith("backbone"), name


def test_patience_ends_a_run(tmp_path):
    history = [{"validation": {"ccc": ccc, "rmse": 0.5}} for ccc in (0.1, 0.3, 0.2, 0.3)]
    assert not out_of_patience(history, None)
    assert not out_of_patience(history, 3)
    assert out_of_patience(history, 2)
    settings = AffectSettings(epochs=50, batch=32, learning_rate=1e-12, patience=2)
    assert len(train_affect(SPEC, squares(clips=10), tmp_path, settings)) < 50


def test_epochs_can_be_shorter(tmp_path):
    seen = []
    settings = AffectSettings(epochs=2, batch=10, frames_per_epoch=25, validation_frames=6)
    history = train_affect(
        SPEC, squares(), tmp_path, settings, progress=lambda done, total, note: seen.append((done, total))
    )
    assert seen == [(done, 6) for done in range(1, 7)]
    assert [entry["validation"]["frames"] for entry in history] == [6, 6]


def test_unknown_labels_do_not_count(tmp_path):
    data = squares(clips=10)
    data.values[::2, 0] = np.nan
    history = train_affect(SPEC, data, tmp_path, AffectSettings(**FAST))
    assert np.isfinite(history[-1]["loss"])
    assert history[-1]["validation"]["valence"]["unknown"] == 7
    known = data.values[data.indices("train"), 0]
    assert open_affect(tmp_path).train_mean[0] == pytest.approx(float(np.nanmean(known)))


def test_losses_by_hand():
    said = torch.tensor([[[0.5, 0.0]], [[0.0, 1.0]]])
    truth = torch.tensor([[[0.0, 0.0]], [[1.0, float("nan")]]])
    assert float(loss_of(said, truth, "mse")) == pytest.approx((0.25 + 0 + 1) / 3)
    # valence: means 0.25 and 0.5, cov = -0.125, var 0.0625 and 0.25, gap 0.25: CCC = -0.25 / 0.375; one arousal: none
    assert float(loss_of(said, truth, "ccc")) == pytest.approx(1 + 0.25 / 0.375, rel=1e-5)
    both = float(loss_of(said, truth, "mse")) + float(loss_of(said, truth, "ccc"))
    assert float(loss_of(said, truth, "mse+ccc")) == pytest.approx(both)


@pytest.mark.parametrize("kind", ["mse", "ccc", "mse+ccc"])
def test_every_loss_has_a_gradient_where_a_network_says_one_thing(kind):
    said = torch.full((4, 1, 2), 0.3, requires_grad=True)
    loss_of(said, torch.rand(4, 1, 2), kind).backward()
    assert torch.isfinite(said.grad).all()


def test_settings_out_of_range_are_all_named():
    with pytest.raises(InputError) as error:
        AffectSettings(epochs=0, learning_rate=-1.0, loss="mae", gamma=2, patience=0, device="tpu", mirror=1)
    for name in ("epochs", "learning_rate", "loss", "gamma", "patience", "device", "mirror"):
        assert f"E953 {name}" in str(error.value)
    assert settings_from_dict(AffectSettings(seed=3).to_dict(), "x") == AffectSettings(seed=3)
    with pytest.raises(InputError, match=r"E953 run.json: not the settings of a training.*warp"):
        settings_from_dict({"warp": 1}, "run.json")


def test_what_cannot_be_trained_on(tmp_path):
    settings = AffectSettings(**FAST)
    data = squares(clips=10)
    with pytest.raises(InputError, match=r"E956.*val has 0 frames.*") as error:
        train_affect(SPEC, data, tmp_path, settings, split={"train": np.arange(70, 80), "val": []})
    assert "train has 10 frames, 70 to 79" in str(error.value)
    with pytest.raises(InputError, match=r"3 frames are both trained on and validated on"):
        train_affect(SPEC, data, tmp_path, settings, split={"train": np.arange(20), "val": np.arange(17, 30)})
    data.values[:, 1] *= 10
    with pytest.raises(InputError, match=r"E956.*arousal of train reaches .*limit -1 to 1"):
        train_affect(SPEC, data, tmp_path, settings)
    data.values[:, 1] = np.nan
    with pytest.raises(InputError, match=r"E956.*no frame of train has a known arousal"):
        train_affect(SPEC, data, tmp_path, settings)
    with pytest.raises(InputError, match=r"E954.*event frames of size 32; limit size 64"):
        train_affect(spec_by_name("vit@64"), squares(clips=10), tmp_path, settings)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"E957 device: cuda, but torch finds no GPU"):
            train_affect(SPEC, squares(clips=10), tmp_path, AffectSettings(**FAST, device="cuda"))
    assert list(tmp_path.iterdir()) == []


def test_bits_are_trained_on_as_time_steps(tmp_path):
    spec = spec_by_name("spiking-plif@64", frames=2)
    data = squares(clips=5, frames=2, size=64)
    history = train_affect(spec, data, tmp_path, AffectSettings(epochs=1, batch=4))
    assert np.isfinite(history[0]["loss"])
    told = evaluate_affect(open_affect(tmp_path), data, data.indices("test"), resamples=10)
    assert told["outputs"]["valence"]["frames"] == 2


def test_the_log_leaves_undefined_scores_empty():
    one = {"rmse": 0.5, "pcc": None, "sagr": 0.5, "ccc": 0.0}
    validation = {"valence": one, "arousal": one, "ccc": 0.0, "rmse": 0.5, "frames": 4}
    entry = {"epoch": 1, "step": 2, "learning_rate": 0.1, "loss": 0.2, "gradient_norm": 0.3, "validation": validation}
    assert log_rows([entry]).splitlines()[1] == "1,2,0.1,0.2,0.3,4,0.0,0.5,,0.5,0.0,0.5,,0.5,0.0"
