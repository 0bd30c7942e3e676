"""One run of Lava in a process group of its own: started, watched, ended, and its folder removed.

Between the caller and Lava stands a guardian process (``lava/guard.py``). It holds the reading end of a pipe; when
the writing end closes, because the run is over or because the caller was interrupted, terminated or killed, it ends
the group and removes the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from hw_targets.finding import Finding, MissingDependencyError, VerificationError
from hw_targets.loihi2.lava import failure as failures
from hw_targets.loihi2.lava import guard

WORKER = (sys.executable, "-m", "hw_targets.loihi2.lava.start")
"""The command that runs the job in the folder named behind it."""

POLL_S = 0.05
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class LavaGroup:
    """``with LavaGroup() as group``: write the job into ``group.folder``, then ``group.run(...)``, then read results.

    The folder is gone when the block ends.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="neuroemo-lava-"))

    def __enter__(self) -> LavaGroup:
        """Start the guardian; nothing else runs yet."""
        try:
            self._guard = subprocess.Popen(
                # -S, and a file instead of a module: only the standard library, so it is there in milliseconds
                [
                    *(sys.executable, "-I", "-S", guard.__file__, str(self.folder), str(os.getpid())),
                    *(*WORKER, str(self.folder)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=_environment(),
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the guardian end the group and remove the folder."""
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        try:
            self._guard.wait(20.0)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, timeout_s: float, watch: Callable[[], None]) -> None:
        """Run the job until ``result.json`` is there; call ``watch`` all the while.

        Raises:
            MissingDependencyError: E601, Lava cannot be imported.
            VerificationError: E501, Lava failed, died, or did not finish in ``timeout_s`` seconds.
        """
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a guardian that is gone is noticed below
            self._guard.stdin.write(b"start\n")
            self._guard.stdin.flush()
        deadline = time.monotonic() + timeout_s
        while True:
            # In this order: what is asked first is true when the answers that follow are read.
            guarded, ended, late = self._guard.poll() is None, self._status(), time.monotonic() >= deadline
            watch()
            if (self.folder / "result.json").exists():
                return
            if failure := failures.read(self.folder):
                raise _failed(failure)
            if not guarded:
                raise self._stopped("was ended together with its guardian process", timeout_s)
            if ended is not None:
                raise self._stopped(f"ended {_how(ended)}", timeout_s)
            if late:
                raise self._stopped("did not finish", timeout_s)
            time.sleep(POLL_S)

    def _status(self) -> int | None:
        try:
            return int((self.folder / "ended").read_text())
        except FileNotFoundError:
            return None

    def _stopped(self, how: str, timeout_s: float) -> VerificationError:
        fix = "fewer clips, or a longer --timeout; the netx file itself is checked by `neuroemo simulate`"
        last = _last_line(self.folder / "log.txt")
        return VerificationError(Finding("E501", "error", "lava", f"Lava {how}: {last}", f"{timeout_s:g} s", fix=fix))


def missing_lava(found: str) -> MissingDependencyError:
    """Return the error that says how to get Lava."""
    fix = "install the extra `lava` under Python 3.10, or simulate with --backend fast"
    return MissingDependencyError(
        Finding("E601", "error", "lava", found, "lava-nc 0.10.0, lava-dl 0.6.0, Python 3.10", fix=fix)
    )


def _failed(failure: failures.Failure) -> MissingDependencyError | VerificationError:
    if failure.missing:
        return missing_lava(f"Lava cannot be imported: {failure}")
    fix = "the netx file itself is checked by `neuroemo simulate` with --backend fast"
    return VerificationError(Finding("E501", "error", failure.layer or "lava", f"Lava failed: {failure}", fix=fix))


def _environment() -> dict[str, str]:
    """Return the environment with one thread for each process, and with this package on the path."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)}


def _how(status: int) -> str:
    """Say how a process ended.

    >>> _how(-9), _how(3)
    ('by SIGKILL', 'with status 3')
    """
    if status >= 0:
        return f"with status {status}"
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(-status).name}"
    return f"by signal {-status}"


def _last_line(log: Path) -> str:
    """Return the last line of a log that names an error, or just the last one."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        lines = []
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["no output"])[-1]
