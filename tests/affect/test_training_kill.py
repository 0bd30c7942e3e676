"""A run that is killed at random moments ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"regressor_hidden": 8}


def disturbed(tmp_path, model, spec, settings, *, kills, seed=0, save_every_s=0.0):
    told = {
        "folder": str(tmp_path),
        "model": model,
        "spec": spec,
        "settings": {"batch": 12, "learning_rate": 0.003, **settings},
        "kills": kills,
        "seed": seed,
        "clips": 10,
        "save_every_s": save_every_s,
    }
    command = [sys.executable, "-m", "tests.affect.kill_worker", json.dumps(told)]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kills"] >= 1
    assert result["cut"] == result["whole"]


def test_a_killed_run_continues_with_the_same_bits(tmp_path):
    disturbed(tmp_path, "resnet-lstm@32", SMALL | {"hidden": 8, "layers": 2}, {"epochs": 2, "augment": False}, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("save_every_s", [0.0, 0.1, 1e9])
@pytest.mark.parametrize(
    ("model", "spec", "settings"),
    [
        ("vit@32", {}, {"epochs": 4, "loss": "ccc", "clip_gradient": 0.5}),
        ("resnet-fusion@32", SMALL, {"epochs": 3, "loss": "mse+ccc", "halve_every": 1, "stride": 2}),
        ("resnet-transformer@32", SMALL, {"epochs": 3, "patience": 2, "frames_per_epoch": 20}),
    ],
)
def test_every_kind_of_run_survives_kills(tmp_path, model, spec, settings, save_every_s):
    disturbed(tmp_path, model, spec, settings, kills=6, save_every_s=save_every_s)
