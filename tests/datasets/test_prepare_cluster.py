"""Preparing on a Dask cluster: the same bytes as here, also when a worker is killed half-way."""

import builtins
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from hw_targets.finding import InputError, MissingDependencyError
from neuroemo.datasets import runner
from neuroemo.datasets.catalogue import list_dataset
from neuroemo.datasets.parts import parts_path
from neuroemo.datasets.prepare import prepare_clips
from neuroemo.datasets.prepared_store import check_store, manifest_path
from neuroemo.datasets.runner import DIED, run_jobs
from neuroemo.events.framediff import FrameDiffSettings

SMALL = FrameDiffSettings(size=16, steps=6)
QUIET = {"dashboard_address": None, "silence_logs": 50}


def run(faces, out, **options):
    return prepare_clips(list_dataset("folder", Path(faces), SMALL), out, SMALL, **options)


def test_cluster_gives_the_bytes_of_this_machine(faces, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, **QUIET) as cluster:
        made = run(faces, tmp_path / "cluster.h5", scheduler=cluster.scheduler_address)
        assert len(cluster.workers) == 2  # they are the user's, and still there
    assert made.resumed == 0
    run(faces, tmp_path / "here.h5", workers=1)
    assert (tmp_path / "cluster.h5").read_bytes() == (tmp_path / "here.h5").read_bytes()
    assert manifest_path(tmp_path / "cluster.h5").read_bytes() == manifest_path(tmp_path / "here.h5").read_bytes()


def slow_negative(value):
    time.sleep(0.02)
    return -value


def die_on_three(value):
    if value == 3:
        os._exit(3)
    return slow_negative(value)


@pytest.mark.slow
def test_one_of_two_workers_is_killed_half_way(faces, tmp_path):
    distributed = pytest.importorskip("distributed")
    run(faces, tmp_path / "here.h5", workers=1)
    out, calls = tmp_path / "cluster.h5", []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **QUIET) as cluster:
        victim = cluster.workers[0].process.process.pid
        killed = threading.Event()

        def progress(done, total):
            calls.append((done, total))
            if done == total // 2:
                os.kill(victim, signal.SIGKILL)
                killed.set()

        made = run(faces, out, scheduler=cluster.scheduler_address, progress=progress)
        assert killed.is_set()
        assert cluster.workers[0].process.process.pid != victim
    assert calls == [(n, 20) for n in range(1, 21)]
    assert len(made.manifest.clips) == 20
    assert out.read_bytes() == (tmp_path / "here.h5").read_bytes()
    assert check_store(out).clips == 20
    assert not parts_path(out).exists()


@pytest.mark.slow
def test_every_job_has_one_outcome_though_workers_die(tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **QUIET) as cluster:
        found = list(run_jobs(die_on_three, list(range(30)), scheduler=cluster.scheduler_address))
    assert sorted(index for index, _ in found) == list(range(30))
    assert dict(found) == {index: DIED if index == 3 else -index for index in range(30)}


def test_no_scheduler_there(faces, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(runner, "CONNECT_S", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match=r"E798 .*no Dask scheduler answers"):
        run(faces, tmp_path / "a.h5", scheduler=address)
    with pytest.raises(InputError, match=r"E798 nonsense://x"):
        run(faces, tmp_path / "a.h5", scheduler="nonsense://x")
    assert not (tmp_path / "a.h5").exists()


def test_without_dask(faces, tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name.split(".")[0] in ("distributed", "dask"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match=r"E798 --scheduler: distributed is not installed"):
        run(faces, tmp_path / "a.h5", scheduler="tcp://127.0.0.1:1")
    assert len(run(faces, tmp_path / "a.h5", workers=1).manifest.clips) == 20
