"""The verb `train`: options become settings, a run is resumed from its folder, signals end it and leave it whole."""

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

from neuroemo import cli
from neuroemo.datasets.chunks import encode_clip
from neuroemo.datasets.store_file import pack_clip, write_store
from neuroemo.events.framediff import FrameDiffSettings, frame_difference
from neuroemo.training.checkpoint import load_tensors
from neuroemo.training.verb import _new_run

ROOT = Path(__file__).resolve().parents[2]
FAST = ("--model", "tiny", "--engine", "spikingjelly", "--batch", "4")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared events of 20 made videos, two classes that differ in which half of the picture moves."""
    path = tmp_path_factory.mktemp("data") / "clips.h5"
    settings, rng = FrameDiffSettings(size=32, steps=8), np.random.default_rng(0)
    labels = np.arange(20) % 2
    clips = []
    for label in labels:
        frames = np.full((settings.frames_needed, 32, 32), 100, np.uint8)
        half = slice(0, 16) if label == 0 else slice(16, 32)
        frames[:, :, half] = rng.integers(0, 255, size=(len(frames), 32, 16))
        clips.append(encode_clip(pack_clip(frame_difference(frames, settings, fps=15.0), frames)))
    write_store(
        path,
        iter(clips),
        settings=settings,
        classes=("left", "right"),
        labels=labels.tolist(),
        splits=["train"] * 12 + ["val"] * 4 + ["test"] * 4,
        subjects=[""] * 20,
        names=[f"clip{n}" for n in range(20)],
    )
    return path


def run(capsys, *arguments):
    capsys.readouterr()
    code = cli.run([str(argument) for argument in (*arguments, "--json", "-q")])
    return code, json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    code, told = run(capsys, "train", *arguments)
    assert code == 2
    return {(finding["code"], finding["node"]) for finding in told["findings"]}


def test_options_become_settings_that_the_run_keeps(capsys, data, tmp_path):
    options = ("--optimiser", "adamw", "--weight-decay", 0.01, "--schedule", "constant", "--balanced", "--epochs", 2)
    more = ("--drop-events", 0.1, "--shift-steps", 1, "--no-mirror", "--clip-gradient", 1, "--patience", 5)
    code, told = run(capsys, "train", "--data", data, "-o", tmp_path / "run", *FAST, *options, *more)
    assert code == 0
    wanted = {
        "optimiser": "adamw", "learning_rate": 0.001, "layerwise": False, "weight_decay": 0.01, "schedule": "constant",
        "balanced": True, "epochs": 2, "drop_events": 0.1, "shift_steps": 1, "mirror": False, "clip_gradient": 1.0,
        "patience": 5, "engine": "spikingjelly", "batch": 4, "augment": True, "shift": 2, "seed": 0,
    }  # fmt: skip
    assert wanted.items() <= told["settings"].items()
    code, again = run(capsys, "train", "--resume", tmp_path / "run")
    assert (code, again["history"], again["settings"]) == (0, told["history"], told["settings"])


def test_the_default_engine_is_the_fused_one_where_it_can():
    def engine(*words):
        return _new_run(cli.build_parser().parse_args(["train", "--data", "x", "-o", "y", *words])).settings.engine

    assert (engine(), engine("--model", "plif-fang")) == ("fused", "fused")
    assert (engine("--model", "ann"), engine("--precision", "bfloat16")) == ("spikingjelly", "spikingjelly")
    assert (engine("--qat", "4"), engine("--engine", "spikingjelly")) == ("spikingjelly", "spikingjelly")


def test_a_resumed_run_refuses_by_name_what_contradicts_it(capsys, data, tmp_path):
    out = tmp_path / "run"
    assert run(capsys, "train", "--data", data, "-o", out, *FAST, "--epochs", 1)[0] == 0
    wrong = ("--epochs", 2, "--model", "plif", "--plain-sgd", "--seed", 0, "-o", tmp_path / "other")
    found = refused(capsys, "--resume", out, *wrong)
    assert found == {("E907", name) for name in ("--epochs", "--model", "--plain-sgd", "--output")}
    moved = tmp_path / "moved.h5"
    moved.write_bytes(data.read_bytes())
    assert run(capsys, "train", "--resume", out, "--epochs", 1, "-o", out, "--data", moved)[0] == 0


def test_a_folder_without_a_run_and_a_damaged_one(capsys, data, tmp_path):
    assert refused(capsys, "--resume", tmp_path) == {("E908", str(tmp_path))}
    out = tmp_path / "run"
    assert run(capsys, "train", "--data", data, "-o", out, *FAST, "--epochs", 1)[0] == 0
    told = json.loads((out / "run.json").read_text())
    for damaged in (told | {"what": 1}, told | {"model": 3}, {"schema": 1}, told | {"schema": 9}):
        (out / "run.json").write_text(json.dumps(damaged))
        assert refused(capsys, "--resume", out) == {("E908", str(out / "run.json"))}
    (out / "run.json").write_text(json.dumps(told | {"epochs": -1}))
    assert refused(capsys, "--resume", out) == {("E023", "epochs")}


def test_what_is_missing_or_means_nothing_is_said_at_once(capsys, tmp_path):
    assert refused(capsys) == {("E019", "--output"), ("E019", "--data")}
    found = refused(
        capsys,
        "--plain-sgd",
        "--optimiser",
        "adamw",
        "--no-augment",
        "--shift",
        1,
        "--drop-events",
        0.1,
        "--start",
        "x",
    )
    means_nothing = {("E901", name) for name in ("--plain-sgd", "--shift", "--drop-events")}
    assert found == means_nothing | {("E019", "--output"), ("E019", "--start")}
    found = refused(capsys, "--qat", 4, "--data", "x", "-o", tmp_path, "--tensorboard", "--save-every", -1)
    assert found == {("E901", "--tensorboard"), ("E901", "--save-every"), ("E900", "--save-every")}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_that_goes_on_where_it_was(capsys, data, tmp_path, number, code):
    out, options = tmp_path / "cut", (*FAST, "--epochs", 400)
    words = [sys.executable, "-c", LISTENING, "train", "--data", data, "-o", out, *options, "--json"]
    child = subprocess.Popen(
        [str(word) for word in words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    limit = time.monotonic() + 100
    while not (out / "last.safetensors").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    child.send_signal(number)
    told = json.loads(child.communicate(timeout=60)[0])
    assert child.returncode == code
    [finding] = told["findings"]
    assert (finding["code"], finding["fix"]) == ("E906", f"continue it with: neuroemo train --resume {out}")
    assert "the run is saved" in finding["found"]
    progress = json.loads(load_tensors(out / "last.safetensors")[1]["progress"])
    assert len(progress["history"]) >= 1
    assert progress["epoch"]["done"] >= 1


LISTENING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from neuroemo.cli import main
main()
"""
