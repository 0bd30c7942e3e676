"""The guardian of a Lava run: a small process of its own, so that nothing is left behind however the run ends.

``python guard.py FOLDER CALLER COMMAND...`` waits for a line on its standard input, then starts COMMAND in a
new session with its output in ``FOLDER/log.txt``, and writes ``FOLDER/ended`` when COMMAND ends by itself. As soon as
its standard input ends, because the caller (the process CALLER) closed it or died, be it by SIGKILL, it ends every
process that descends from COMMAND, removes FOLDER and exits.

Standard library only: it starts in milliseconds, before anything of the run can fail.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SET_CHILD_SUBREAPER = 36
"""Option of Linux's prctl: orphans below this process become its children, so it can tell when none is left."""


def main(folder: Path, caller: int, command: list[str]) -> None:
    """Guard one run, see the module's text."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, lambda *_: sys.exit(1))
    worker: subprocess.Popen[bytes] | None = None
    try:
        if _wait_for_start(caller):
            with (folder / "log.txt").open("wb") as log:
                worker = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            _wait_for_end(folder, caller, worker)
    finally:
        if worker is not None:
            end_group(worker.pid)
        shutil.rmtree(folder, ignore_errors=True)


def _said(caller: int, patience: float) -> bytes | None:
    """Return what the caller says within ``patience`` seconds: None for nothing, empty when it is gone."""
    # Another child of the caller may hold the pipe open beyond its death, hence the second question.
    if os.getppid() != caller:
        return b""
    ready, _, _ = select.select([0], [], [], patience)
    return os.read(0, 64) if ready else None


def _wait_for_start(caller: int) -> bool:
    while (said := _said(caller, 0.5)) is None:
        pass
    return bool(said)


def _wait_for_end(folder: Path, caller: int, worker: subprocess.Popen[bytes]) -> None:
    running = True
    while _said(caller, 0.05 if running else 0.5) != b"":
        if running and (status := worker.poll()) is not None:
            running = False
            aside = folder / "ended.partial"
            aside.write_text(str(status))
            os.replace(aside, folder / "ended")


def end_group(group: int) -> None:
    """End a process group: SIGTERM first, then SIGKILL, and wait until no process of it is left."""
    for sign, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, sign)
        if _none_left(patience):
            break
    # Where orphans do not come to this process, their end cannot be seen, only asked for.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _none_left(patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            process, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if process == 0:
            time.sleep(0.01)
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
