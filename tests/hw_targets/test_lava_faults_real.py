"""Faults inside Lava itself: exceptions, kills, hangs and damaged files end with an error that says why."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hw_targets.finding import NeuroEmoError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.lava import run_lava
from hw_targets.loihi2.netx.writer import write_netx
from tests.hw_targets.lava_faults_parts import ROOT, linux, processes, stand_in, wait_for

needs_lava = pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")


def three_layers() -> tuple[ChipGraph, np.ndarray]:
    rng = np.random.default_rng(0)
    layers = [
        ChipLayer(f"fc{i}", "dense", rng.integers(-127, 128, (6, 6)), np.full(6, 50), 40, 2048, (6,), (6,))
        for i in range(3)
    ]
    chip = ChipGraph(tuple(layers), (6,), 5, 1.0, "spikes")
    return chip, (rng.random((5, 2, 6)) < 0.5).astype(np.float32)


PLANTED = """
import runpy, sys, time, os
from hw_targets.loihi2.lava import worker
from lava.proc.lif.models import AbstractPyLifModelFixed

original = AbstractPyLifModelFixed.subthr_dynamics

def planted(self, activation_in):
    if worker.PLACES[self.model_id] == "LAYER" and self.time_step == 4:
        WHAT
    original(self, activation_in)

AbstractPyLifModelFixed.subthr_dynamics = planted
runpy.run_module("hw_targets.loihi2.lava.start", run_name="__main__")
"""


def plant(tmp_path: Path, monkeypatch, layer: str, what: str) -> Path:
    program = PLANTED.replace("LAYER", layer).replace("WHAT", what)
    return stand_in(tmp_path / "planted.py", program, monkeypatch)


def run_three(tmp_path: Path, **options) -> NeuroEmoError:
    """Run the three layers, which must fail; return the error."""
    chip, clips = three_layers()
    if not (tmp_path / "model.net").exists():
        write_netx(chip, tmp_path / "model.net")
    with pytest.raises(NeuroEmoError) as caught:
        run_lava(chip, tmp_path / "model.net", clips, **{"timeout_s": 120.0, **options})
    return caught.value


REAL_CALLER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from pathlib import Path
from hw_targets.loihi2.lava import group as groups
from hw_targets.loihi2.lava import run_lava
from tests.hw_targets.test_lava_faults_real import three_layers
groups.WORKER = (sys.executable, {planted!r})
chip, clips = three_layers()
run_lava(chip, Path({file!r}), clips)
"""


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.parametrize(
    "layer", [pytest.param("fc0", marks=pytest.mark.slow), "fc1", pytest.param("fc2", marks=pytest.mark.slow)]
)
def test_an_exception_in_a_model_comes_back_with_its_layer_and_step(tmp_path, leftovers, monkeypatch, layer):
    plant(tmp_path, monkeypatch, layer, "raise ZeroDivisionError('planted')")
    steps: list[float] = []
    error = run_three(tmp_path, progress=lambda done, total, what: steps.append(time.monotonic()))
    assert time.monotonic() - steps[-1] < 3, "the steps before it were done, and then it came at once"
    assert str(error).startswith(
        f"E501 {layer}: Lava failed: ZeroDivisionError: planted (in PyLifResetModelBitAcc, at time step 4, planted.py:"
    )
    leftovers.assert_none()


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_a_process_of_lava_that_is_killed_is_named(tmp_path, leftovers, monkeypatch):
    plant(tmp_path, monkeypatch, "fc1", "os.kill(os.getpid(), 9)")
    assert "E501 fc1: Lava failed: ChildProcessError: a process of Lava ended (-9)" in str(run_three(tmp_path))
    leftovers.assert_none()


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_lava_that_hangs_is_ended_at_the_timeout_and_its_memory_has_no_name(tmp_path, leftovers, monkeypatch):
    plant(tmp_path, monkeypatch, "fc1", f"open({str(tmp_path / 'hangs')!r}, 'w').close(); time.sleep(600)")
    named: list[str] = []

    def look(done: int, total: int, what: str) -> None:
        for pid in processes(tmp_path):
            named.extend(re.findall(r"/dev/shm/\S+$", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE))

    assert "Lava did not finish" in str(run_three(tmp_path, timeout_s=25.0, progress=look))
    assert (tmp_path / "hangs").exists(), "it was still starting"
    assert named == []
    leftovers.assert_none()


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda sign: sign.name)
def test_lava_ends_with_its_caller(tmp_path, leftovers, monkeypatch, sign):
    hangs = tmp_path / "hangs"
    planted = plant(tmp_path, monkeypatch, "fc1", f"open({str(hangs)!r}, 'w').close(); time.sleep(600)")
    file = tmp_path / "model.net"
    write_netx(three_layers()[0], file)
    script = tmp_path / "caller.py"
    script.write_text(REAL_CALLER.format(root=str(ROOT), planted=str(planted), file=str(file)))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    caller = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    wait_for(hangs.exists, 120)
    assert len(processes(tmp_path)) >= 12, "the caller, its guardian, Lava's worker, and ten processes of the network"
    caller.send_signal(sign)
    caller.wait(20)
    leftovers.assert_none()


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_a_kill_of_the_worker_takes_all_of_lava_with_it(tmp_path, leftovers, monkeypatch):
    hangs = tmp_path / "hangs"
    plant(tmp_path, monkeypatch, "fc1", f"open({str(hangs)!r}, 'w').close(); time.sleep(600)")

    def kill() -> None:
        wait_for(hangs.exists, 120)
        os.kill(min(pid for pid, line in processes(tmp_path).items() if "guard.py" not in line), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert "Lava ended by SIGKILL" in str(run_three(tmp_path))
    thread.join()
    leftovers.assert_none()


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_a_damaged_file_is_told(tmp_path, leftovers):
    chip, _ = three_layers()
    write_netx(chip, tmp_path / "model.net")
    whole = (tmp_path / "model.net").read_bytes()
    (tmp_path / "model.net").write_bytes(whole[: len(whole) // 2])
    assert "E501 lava: Lava failed: OSError: Unable to" in str(run_three(tmp_path))
    leftovers.assert_none()


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_a_float_constant_is_told_instead_of_hanging(tmp_path, leftovers):
    chip, _ = three_layers()
    write_netx(chip, tmp_path / "model.net")
    with h5py.File(tmp_path / "model.net", "r+") as file:
        del file["layer/2/neuron/vThMant"]
        file["layer/2/neuron/vThMant"] = np.float64(80.0)
    message = str(run_three(tmp_path))
    assert "E501 fc1: Lava failed:" in message
    assert "TypeError: ufunc 'left_shift' not supported" in message
    assert "at time step 1" in message
    leftovers.assert_none()


@linux
@needs_lava
@pytest.mark.lava
@pytest.mark.slow
def test_a_file_of_another_network_is_told(tmp_path, leftovers):
    chip, _ = three_layers()
    write_netx(ChipGraph(chip.layers[:2], (6,), 5, 1.0, "spikes"), tmp_path / "model.net")
    assert "populations of [6, 6] neurons, the network [6, 6, 6]" in str(run_three(tmp_path))
    leftovers.assert_none()
