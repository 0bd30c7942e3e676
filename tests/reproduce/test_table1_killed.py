"""Table I killed, interrupted and shared: the report is that of a run that nothing happened to."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from neuroemo.console import Console
from neuroemo.reproduce import table1 as whole
from neuroemo.reproduce.table1_settings import Table1Settings
from tests.reproduce.sample_table1 import start
from tests.reproduce.test_table1 import make_stores

QUIET = {"dashboard_address": None, "silence_logs": 50}
MODELS = ("ann", "plif", "0.4snn")
EPOCHS = 6
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("stores"))["gray"]


@pytest.fixture(scope="module")
def undisturbed(gray, tmp_path_factory):
    return told(here(gray, tmp_path_factory.mktemp("undisturbed")))


def here(gray, out, **more):
    settings = {"models": MODELS, "seeds": 2, "training": {"epochs": EPOCHS}, "workers": 1} | more
    return whole.reproduce_table1(Table1Settings(str(gray), out, **settings), Console(quiet=True))


def told(report):
    return {key: value for key, value in report.items() if key not in ("times", "command")}


def words(gray, out, workers):
    return ("--data", gray, "--models", ",".join(MODELS), "--seeds", 2, "--epochs", EPOCHS, "-o", out,
            "--workers", workers)  # fmt: skip


def wait_until(holds, seconds=120.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def started_runs(out):
    return sorted((out / "runs").glob("*/last.safetensors")) if (out / "runs").is_dir() else []


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_half_way_and_repeated(gray, undisturbed, tmp_path, workers):
    process = start(*words(gray, tmp_path, workers))
    wait_until(lambda: len(started_runs(tmp_path)) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "report.json").exists()
    unfinished = [path for path in started_runs(tmp_path) if not (path.parent / "run.json").exists()]
    assert unfinished, "it was killed within a run"
    again = start(*words(gray, tmp_path, workers))
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert told(json.loads((tmp_path / "report.json").read_text())) == undisturbed
    assert len(list((tmp_path / "runs").iterdir())) == 6


def test_interrupted_and_continued(gray, undisturbed, tmp_path):
    process = start(*words(gray, tmp_path, 2))
    wait_until(lambda: len(started_runs(tmp_path)) >= 1)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "E935" in said
    assert f"to continue: neuroemo reproduce table1 --data {gray}" in said
    again = start(*words(gray, tmp_path, 2))
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert told(json.loads((tmp_path / "report.json").read_text())) == undisturbed


def test_a_worker_of_the_cluster_is_killed(gray, undisturbed, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **QUIET) as cluster:
        victim = cluster.workers[0].process.process.pid
        killed = threading.Event()

        def kill():
            wait_until(lambda: len(started_runs(tmp_path)) >= 2)
            os.kill(victim, signal.SIGKILL)
            killed.set()

        threading.Thread(target=kill, daemon=True).start()
        report = here(gray, tmp_path, workers=None, scheduler=cluster.scheduler_address)
        assert killed.is_set()
    assert told(report) == undisturbed
    folders = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "runs").iterdir())
    assert folders == sorted(f"{model}-seed{seed}" for model in MODELS for seed in (0, 1))
