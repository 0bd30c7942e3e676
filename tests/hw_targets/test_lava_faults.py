"""However a run of Lava ends, an error says why, and no process, folder or shared memory is left.

Most of it is shown with a stand-in for Lava that forks and sleeps, which takes no time to start; Lava itself follows.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import h5py
import numpy as np
import pytest

from hw_targets.finding import MissingDependencyError, NeuroEmoError, VerificationError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.lava import failure as failures
from hw_targets.loihi2.lava import group as groups
from hw_targets.loihi2.lava import run_lava
from hw_targets.loihi2.lava.group import LavaGroup
from hw_targets.loihi2.netx.writer import write_netx

ROOT = Path(__file__).parents[2]
needs_lava = pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLEEPER = """
import os, signal, sys, time
from pathlib import Path
from hw_targets.loihi2.lava.start import end_with_parent
deaf = "deaf" in sys.argv[0]
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    end_with_parent()
print("ValueError: seen in the log", flush=True)
for _ in range(3):
    if os.fork() == 0:
        if not deaf:
            end_with_parent()
        break
else:
    Path(sys.argv[1], "forked").touch()
time.sleep(60)
"""

CALLER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, however the tests were started
from hw_targets.loihi2.lava import group as groups
groups.WORKER = (sys.executable, sys.argv[1])
with groups.LavaGroup() as group:
    group.run(60.0, lambda: None)
"""


def processes(marker: Path) -> dict[int, str]:
    """Processes, other than this one, that have the marker in their command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(marker) in line and int(entry.name) != os.getpid():
            found[int(entry.name)] = line
    return found


def unused_shared_memory() -> set[str]:
    """Files in /dev/shm that no process has mapped: what a killed run leaves there, and a running one does not."""
    names = set(os.listdir("/dev/shm"))
    mapped = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            mapped |= set(re.findall(r"/dev/shm/(\S+)$", maps.read_text(), re.MULTILINE))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return names - mapped


class Leftovers:
    """What is left of everything that was started with ``folder`` as its folder for temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = unused_shared_memory()

    def now(self) -> list[str]:
        shared = unused_shared_memory() - self.before
        return [*processes(self.folder).values(), *map(str, self.folder.glob("neuroemo-lava-*")), *sorted(shared)]

    def assert_none(self, patience: float = 8.0) -> None:
        deadline = time.monotonic() + patience
        while (left := self.now()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == []


@pytest.fixture
def leftovers(tmp_path, monkeypatch):
    """The run's folder is below ``tmp_path``; so all its processes have that in their command line."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Leftovers(tmp_path)


@pytest.fixture
def sleeper(tmp_path, monkeypatch) -> Path:
    return stand_in(tmp_path / "sleeper.py", SLEEPER, monkeypatch)


def stand_in(file: Path, program: str, monkeypatch) -> Path:
    file.write_text(program)
    monkeypatch.setattr(groups, "WORKER", (sys.executable, str(file)))
    return file


def run_group(timeout_s: float = 30.0, watch=lambda: None) -> Path:
    with LavaGroup() as group:
        group.run(timeout_s, watch)
        return group.folder


def call(tmp_path: Path, worker: Path) -> subprocess.Popen[bytes]:
    """Run the group in a process of its own, and wait until its processes have forked."""
    script = tmp_path / "caller.py"
    script.write_text(CALLER)
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    caller = subprocess.Popen([sys.executable, str(script), str(worker)], env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.glob("neuroemo-lava-*/forked")))
    assert len(processes(tmp_path)) >= 6, "the caller, its guardian, the worker and three that it forked"
    return caller


def wait_for(condition, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


@linux
def test_the_check_sees_what_is_left(leftovers):
    leftovers.assert_none()
    file = leftovers.folder / "neuroemo-lava-x"
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", str(file)])
    file.mkdir()
    memory = SharedMemory(create=True, size=8)
    try:
        left = leftovers.now()
        assert any("time.sleep(30)" in line for line in left)
        assert str(file) in left
        assert memory.name.lstrip("/") not in left, "still mapped by this process"
        memory.close()
        assert memory.name.lstrip("/") in leftovers.now()
    finally:
        process.kill()
        process.wait()
        memory.unlink()
        file.rmdir()
    leftovers.assert_none()


@linux
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda sign: sign.name)
def test_the_group_ends_with_its_caller(tmp_path, leftovers, sleeper, sign):
    caller = call(tmp_path, sleeper)
    caller.send_signal(sign)
    caller.wait(20)
    leftovers.assert_none()


@linux
def test_processes_that_do_not_listen_are_killed(tmp_path, leftovers, monkeypatch):
    caller = call(tmp_path, stand_in(tmp_path / "deaf.py", SLEEPER, monkeypatch))
    caller.kill()
    caller.wait()
    leftovers.assert_none()


@linux
def test_a_timeout_names_its_limit_and_the_last_error_of_the_log(leftovers, sleeper):
    started = time.monotonic()
    with pytest.raises(VerificationError, match="E501 lava: Lava did not finish: ValueError: seen in the log; limit 1"):
        run_group(1.0)
    assert time.monotonic() - started < 8
    leftovers.assert_none()


def kill_when_forked(folder: Path, which: str) -> threading.Thread:
    """Kill the process whose command line has ``which`` (and whose parent's has not) as soon as all have forked."""

    def kill() -> None:
        wait_for(lambda: list(folder.glob("neuroemo-lava-*/forked")))
        os.kill(min(pid for pid, line in processes(folder).items() if which in line.split("neuroemo-lava-")[0]), 9)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@linux
@pytest.mark.parametrize(
    ("which", "message"),
    [("sleeper.py", "Lava ended by SIGKILL"), ("guard.py", "together with its guardian process")],
    ids=["worker", "guardian"],
)
def test_a_kill_is_noticed_at_once(leftovers, monkeypatch, tmp_path, which, message):
    # The guardian's command line ends with the worker's, so the worker is found by the part before its folder.
    stand_in(tmp_path / "sleeper.py", SLEEPER, monkeypatch)
    thread = kill_when_forked(tmp_path, which)
    with pytest.raises(VerificationError, match=message):
        run_group()
    thread.join()
    leftovers.assert_none()


@linux
def test_an_interrupt_in_the_caller_leaves_nothing(leftovers, sleeper):
    def interrupt() -> None:
        if processes(leftovers.folder):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_group(watch=interrupt)
    leftovers.assert_none()


def test_the_first_failure_is_the_one_that_is_told(leftovers, tmp_path, monkeypatch):
    program = """
import sys
from pathlib import Path
from hw_targets.loihi2.lava.failure import report
for step, text in ((3, "the cause"), (4, "a consequence")):
    try:
        raise ValueError(text)
    except ValueError as error:
        report(Path(sys.argv[1]), error, layer="conv2", model="PyConvModelFixed", step=step)
"""
    stand_in(tmp_path / "failing.py", program, monkeypatch)
    with pytest.raises(VerificationError) as caught:
        run_group()
    assert str(caught.value).startswith(
        "E501 conv2: Lava failed: ValueError: the cause (in PyConvModelFixed, at time step 3, failing.py:7)"
    )
    assert caught.value.exit_code == 5


def test_lava_that_cannot_be_imported_is_a_missing_dependency(leftovers, tmp_path, monkeypatch):
    program = """
import sys
sys.modules["lava"] = None
sys.path.insert(0, "")
from pathlib import Path
from hw_targets.loihi2.lava.start import main
main(Path(sys.argv[1]))
"""
    stand_in(tmp_path / "failing.py", program, monkeypatch)
    with pytest.raises(MissingDependencyError, match=r"E601 lava: Lava cannot be imported: \w+Error: .*lava") as caught:
        run_group()
    assert caught.value.exit_code == 6


def test_a_worker_without_a_word_is_told_with_its_status(leftovers, tmp_path, monkeypatch):
    stand_in(tmp_path / "failing.py", "raise SystemExit(3)", monkeypatch)
    with pytest.raises(VerificationError, match="Lava ended with status 3: no output"):
        run_group()


def test_a_message_of_many_lines_becomes_one(tmp_path):
    failures.report(tmp_path, ValueError("one\n  two"), layer="fc")
    assert str(failures.read(tmp_path)) == "ValueError: one two"


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


REAL_CALLER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from pathlib import Path
from hw_targets.loihi2.lava import group as groups
from hw_targets.loihi2.lava import run_lava
from tests.hw_targets.test_lava_faults import three_layers
groups.WORKER = (sys.executable, {planted!r})
chip, clips = three_layers()
run_lava(chip, Path({file!r}), clips)
"""


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
