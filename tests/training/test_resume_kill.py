"""A run that is killed with SIGKILL at random moments, again and again, ends with the bits of an undisturbed one."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADAMW = {"optimiser": "adamw", "layerwise": False, "learning_rate": 0.01, "weight_decay": 0.01, "clip_gradient": 0.5}
EVENTS = {"balanced": True, "drop_events": 0.2, "shift_steps": 2, "patience": 2}


def disturbed(tmp_path, settings, *, spec=None, kills=4, seed=0, save_every_s=0.0, clips=30):
    told = {
        "folder": str(tmp_path),
        "seed": seed,
        "kills": kills,
        "clips": clips,
        "save_every_s": save_every_s,
        "spec": spec or {},
        "settings": settings,
    }
    command = [sys.executable, "-m", "tests.training.kill_worker", json.dumps(told)]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def columns(text):
    return list(csv.DictReader(io.StringIO(text)))


def check(result):
    assert result["kills"] >= 1, "the run was over before it could be killed"
    assert result["cut"] == result["whole"]
    steps = [int(row["step"]) for row in columns(result["cut"]["steps.csv"])]
    assert steps == list(range(1, len(steps) + 1))
    epochs = [int(row["epoch"]) for row in columns(result["cut"]["log.csv"])]
    assert epochs == list(range(1, len(epochs) + 1))


def test_adamw_dropout_balance_events_and_patience_survive_kills_within_epochs(tmp_path):
    result = disturbed(tmp_path, {"epochs": 3, "batch": 4, **ADAMW, **EVENTS}, spec={"dropout": 0.5}, seed=1)
    check(result)
    assert result["kills"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("settings", "spec"),
    [
        ({}, {}),
        ({"schedule": "constant", "weight_decay": 0.001, "balanced": True}, {"neuron": "relu", "dropout": 0.3}),
        ({**ADAMW, **EVENTS}, {"dropout": 0.5, "pool": "max"}),
        ({"engine": "fused", **EVENTS}, {"dropout": 0.5}),
        ({"engine": "fused", **ADAMW}, {"first_frame": "float"}),
    ],
)
@pytest.mark.parametrize("save_every_s", [0.0, 0.05, 1e9])
def test_every_kind_of_run_survives_kills(tmp_path, settings, spec, seed, save_every_s):
    if save_every_s > 1:  # a run that is saved after whole epochs alone needs lives that last one
        result = disturbed(
            tmp_path, {"epochs": 6, **settings}, spec=spec, kills=8, seed=seed, save_every_s=save_every_s
        )
    else:
        result = disturbed(
            tmp_path, {"epochs": 4, **settings}, spec=spec, kills=12, seed=seed, save_every_s=save_every_s
        )
    check(result)
