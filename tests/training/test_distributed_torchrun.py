"""``torchrun`` of the command line: the verb finds its processes, one of them writes, and the curve is that of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from neuroemo import cli
from neuroemo.training.checkpoint import load_tensors
from tests.reproduce.small_store import small_store
from tests.training.test_distributed import ROOT, TORCHRUN, assert_same_training

SETTINGS = ("--model", "tiny", "--epochs", "3", "--batch", "3", "--engine", "spikingjelly", "--json")


def start(*words: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m"]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        run = ("--nproc-per-node", str(processes), "--master-addr", "127.0.0.1", "--master-port", str(port), "-m")
        command += ["torch.distributed.run", *run]
    environment = {name: value for name, value in os.environ.items() if name not in TORCHRUN} | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "neuroemo", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )


def trained(folder):
    told = json.loads((folder / "training.json").read_text())["history"]
    weights = load_tensors(folder / "last.safetensors")[0]
    tensors = {name: value.numpy() for name, value in weights.items() if name.startswith(("weight.", "momentum."))}
    return {"loss": np.array([entry["loss"] for entry in told])} | tensors


@pytest.mark.slow
def test_torchrun_trains_as_one_process_with_one_result_on_stdout_and_its_run_goes_on_alone(tmp_path):
    small_store(tmp_path / "clips.h5", clips=32)
    data = ("--data", str(tmp_path / "clips.h5"))
    one = start("train", *data, "-o", str(tmp_path / "one"), *SETTINGS)
    two = start("train", *data, "-o", str(tmp_path / "two"), *SETTINGS, processes=2)
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert json.loads(two.stdout)["ok"], "the first process alone writes to stdout"
    assert two.stderr.count("train tiny:") <= 1
    assert_same_training(trained(tmp_path / "two"), trained(tmp_path / "one"))
    rows = (tmp_path / "two" / "log.csv").read_text().splitlines()
    assert len(rows) == len(set(rows)) == len((tmp_path / "one" / "log.csv").read_text().splitlines())
    again = start("train", "--resume", str(tmp_path / "two"), "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["history"] == json.loads(two.stdout)["history"]


@pytest.mark.slow
def test_an_error_under_torchrun_is_one_object_on_stdout(tmp_path):
    small_store(tmp_path / "clips.h5", clips=32)
    (tmp_path / "file").write_text("")
    words = ("train", "--data", str(tmp_path / "clips.h5"), "-o", str(tmp_path / "file" / "run"), *SETTINGS)
    result = start(*words, processes=2)
    assert result.returncode != 0
    assert json.loads(result.stdout)["ok"] is False


def test_a_half_set_environment_is_refused_by_the_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert cli.run(["train", "--data", str(tmp_path / "clips.h5"), "-o", str(tmp_path / "run"), "-q"]) == 2
    text = capsys.readouterr().err
    assert all(f"E910 {name}: is not set" in text for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"))
    assert not (tmp_path / "run").exists()
