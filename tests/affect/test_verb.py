from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.affect.verb import spec_for, split_of
from neuroemo.cli import run
from tests.affect.memory_frames import squares

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from neuroemo.datasets.event_frame_prepare import prepare_event_frames
    from neuroemo.datasets.event_frame_settings import EventFrameSettings

    folder = tmp_path_factory.mktemp("faces")
    options = {"subjects": 10, "clips_per_subject": 2, "frames": 16, "seed": 1}
    settings = EventFrameSettings(size=32, slice_us=15000, slow_motion=None)
    return prepare_event_frames(
        "faces", folder / "faces", folder / "faces.h5", settings, options=options, workers=1
    ).path


def told(capsys, *words):
    code = run([*words[:2], "--json", *words[2:]])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_train_evaluate_and_go_on(store, tmp_path, capsys):
    out = tmp_path / "run"
    words = ("affect", "train", "--data", str(store), "--model", "resnet18@32", "-o", str(out), "--batch", "32")
    code, result, said = told(capsys, *words, "--epochs", "2", "--learning-rate", "0.001")
    assert code == 0, said
    assert result["epochs"] == 2
    assert "random weights" in said
    assert result["test"]["subjects"] == 2
    code, result, said = told(capsys, "affect", "evaluate", str(out), "-o", str(tmp_path / "scores"))
    assert code == 0, said
    assert [Path(path).name for path in result["written"]] == ["evaluation.json", "predictions.csv", "evaluation.svg"]
    assert result["outputs"]["valence"]["constant"]["pcc"] is None
    assert run(["affect", "evaluate", str(out), "--split", "all"]) == 0
    assert "were trained on" in capsys.readouterr().out
    code, result, said = told(capsys, *words, "--epochs", "3")
    assert code == 2
    assert result["findings"][0]["code"] == "E027"


def test_evaluate_says_the_other_verb(store, tmp_path, capsys):
    words = ("--data", str(store), "--model", "resnet18@32", "-o", str(tmp_path / "run"), "--epochs", "1")
    assert run(["affect", "train", *words]) == 0
    capsys.readouterr()
    assert run(["evaluate", str(tmp_path / "run")]) == 2
    assert "score it with `neuroemo affect evaluate`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--model", "resnet18"], "frames of 32 pixels; limit 224 pixels for resnet18"),
        (["--model", "resnet18"], "choose resnet18@32"),
        (["--model", "resnet50"], "E966"),
        (["--model", "vit@32", "--fold", "1"], "E959 --fold: 1, but"),
        (["--model", "vit@32", "--epochs", "0", "--batch", "0"], "E953 batch: 0"),
        (["--model", "vit@32", "--no-augment", "--shift", "3"], "E959 --shift: means nothing with --no-augment"),
        (["--model", "vit@32", "--save-every", "-1"], "E959 --save-every"),
        (["--model", "vit@32", "--backbone", "weights.pth"], "E967"),
    ],
)
def test_refusals(store, tmp_path, capsys, words, found):
    assert run(["affect", "train", "--data", str(store), "-o", str(tmp_path / "run"), *words]) == 2
    assert found in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_half_a_verb_and_help(capsys):
    assert run(["affect"]) == 2
    assert "needs a second word; limit affect train or affect evaluate" in capsys.readouterr().err
    assert run(["affect", "evaluate", "nowhere"]) == 2
    assert "E955 nowhere: no such folder" in capsys.readouterr().err
    assert run(["affect", "evaluate", "nowhere", "--force"]) == 2
    assert "E959 --force: means nothing without -o" in capsys.readouterr().err


def test_a_store_that_is_gone(store, tmp_path, capsys):
    moved = tmp_path / "moved.h5"
    moved.write_bytes(store.read_bytes())
    words = ("--data", str(moved), "--model", "resnet18@32", "-o", str(tmp_path / "run"), "--epochs", "1")
    assert run(["affect", "train", *words]) == 0
    moved.unlink()
    assert run(["affect", "evaluate", str(tmp_path / "run")]) == 2
    assert "the event frames that it was trained on are gone" in capsys.readouterr().err
    (tmp_path / "run/training.json").unlink()
    assert run(["affect", "evaluate", str(tmp_path / "run")]) == 2
    assert "does not say what it was trained on" in capsys.readouterr().err
    assert run(["affect", "evaluate", str(tmp_path / "run"), "--data", str(store)]) == 0


def test_folds_and_splits():
    data = squares()
    parts = split_of(data, 2)
    assert {data.subjects[clip] for clip in data.clip[parts["test"]]} == {"s02", "s07"}
    assert set(split_of(data, None)) == {"train", "val", "test"}
    with pytest.raises(InputError, match=r"E959 --fold: 7; limit one of 0, 1, 2, 3, 4"):
        split_of(data, 7)
    data.splits = ("",) * len(data.splits)
    with pytest.raises(InputError, match=r"E959 memory.h5: 5 folds and no splits") as error:
        split_of(data, None)
    assert "--fold 0" in str(error.value)


def test_the_number_of_bits_is_that_of_the_frames():
    from tests.affect.memory_frames import MemoryFrames

    codes = np.zeros((1, 32, 32), np.uint16)
    data = MemoryFrames(codes, [0], [[0, 0]], ["s"], n_bits=16)
    assert spec_for("vit@32", data).n_bits == 16


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_the_run(store, tmp_path, number):
    out = tmp_path / "run"
    words = ["affect", "train", "--data", str(store), "--model", "resnet18@32", "-o", str(out), "--epochs", "500"]
    # CI starts tests with SIGINT ignored, which a child keeps
    starter = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    starter += "from neuroemo.cli import main; main(sys.argv[1:])"
    child = subprocess.Popen(
        [sys.executable, "-c", starter, *words], cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(2400):
            if (out / "log.csv").exists() or child.poll() is not None:
                break
            time.sleep(0.1)
        os.kill(child.pid, number)
        _, said = child.communicate(timeout=300)
    finally:
        child.kill()
    assert child.returncode == 128 + number, said
    assert "the run is saved" in said
    assert "the same command continues it" in said
    assert (out / "last.safetensors").exists()
