"""A table of valence and arousal killed and interrupted: the report is that of a run that nothing happened to."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.reproduce.affect_samples import asked, make_data, run, start

pytestmark = pytest.mark.slow
BUDGET = ("--epochs", "24", "--folds", "0,1")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(roots, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert run(*asked("affect-table1", roots[0], out, *BUDGET)) == 0
    return told(out)


def told(out):
    report = json.loads((out / "affect-table1" / "report.json").read_text())
    return {key: value for key, value in report.items() if key not in ("times", "command")}


def wait_until(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def begun(out):
    return sorted((out / "runs").glob("*/last.safetensors")) if (out / "runs").is_dir() else []


def words(roots, out, workers):
    return asked("affect-table1", roots[0], out, *BUDGET, "--workers", workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_half_way_and_repeated(roots, undisturbed, tmp_path, workers):
    process = start(*words(roots, tmp_path, workers))
    wait_until(lambda: len(begun(tmp_path)) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "affect-table1").exists()
    assert [path for path in begun(tmp_path) if not (path.parent / "run.json").exists()], "killed within a run"
    again = start(*words(roots, tmp_path, workers))
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert told(tmp_path) == undisturbed


def test_interrupted_and_continued(roots, undisturbed, tmp_path):
    process = start(*words(roots, tmp_path, 2))
    wait_until(lambda: len(begun(tmp_path)) >= 1)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "to continue: neuroemo reproduce affect-table1 --data afew-va" in said
    again = start(*words(roots, tmp_path, 2))
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert told(tmp_path) == undisturbed
