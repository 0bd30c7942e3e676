"""However a run of Lava ends, an error says why, and no process, folder or shared memory is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from hw_targets.finding import MissingDependencyError, VerificationError
from hw_targets.loihi2.lava import failure as failures
from hw_targets.loihi2.lava.group import LavaGroup
from tests.hw_targets.lava_faults_parts import ROOT, linux, processes, stand_in, wait_for

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


@pytest.fixture
def sleeper(tmp_path, monkeypatch) -> Path:
    return stand_in(tmp_path / "sleeper.py", SLEEPER, monkeypatch)


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


def kill_when_forked(folder: Path, which: str) -> threading.Thread:
    """Kill the process whose command line has ``which`` (and whose parent's has not) as soon as all have forked."""

    def kill() -> None:
        wait_for(lambda: list(folder.glob("neuroemo-lava-*/forked")))
        os.kill(min(pid for pid, line in processes(folder).items() if which in line.split("neuroemo-lava-")[0]), 9)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


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
    with pytest.raises(VerificationError, match="E501 lava: Lava did not finish: ValueError: seen in the log; limit 3"):
        run_group(3.0)
    assert time.monotonic() - started < 15
    leftovers.assert_none()


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
