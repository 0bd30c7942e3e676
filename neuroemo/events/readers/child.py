"""Native decoders in a child process: a crash, a hang or a flood there is a finding here.

Starting the child costs about a third of a second, once: it then answers for many files. It is started anew
after a crash, and by each process of its own after a fork.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from hw_targets.finding import Finding, MissingDependencyError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.readers.event_file import COPY_AGAIN, MAX_EVENTS, Events, problem

WORKER = Path(__file__).with_name("worker.py")
PATIENCE_S = 60.0
"""Seconds without a sign of life (a batch of events, or the end) before the child is stopped."""
MAX_FRAME = 1 << 31

_CODES = {"damaged": "E769", "layout": "E777", "unsupported": "E778", "many": "E775"}
_REMEDIES = {
    "damaged": COPY_AGAIN,
    "layout": "known layouts: v2e ('events', [N, 4]), or integer columns t, x, y, p at the root or in 'events'",
    "unsupported": "convert it with the camera maker's tool, e.g. to CSV with columns t, x, y, p",
    "many": "cut the recording into parts",
}


class _Ended(Exception):
    """The child is gone."""


class _Child:
    """One child process; ``lock`` serves one file at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0

    def started(self) -> subprocess.Popen[bytes]:
        alive = self.process is not None and self.owner == os.getpid() and self.process.poll() is None
        if not alive:
            environment = {**os.environ, "RUST_BACKTRACE": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                [sys.executable, "-I", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            self.owner = os.getpid()
        assert self.process is not None
        return self.process

    def stop(self) -> None:
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    _close(pipe)
        self.process = None


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        return  # what was still buffered for a child that is gone


_CHILD = _Child()
atexit.register(_CHILD.stop)
if hasattr(os, "register_at_fork"):
    # A lock that another thread held at the fork would never be released in the copy.
    os.register_at_fork(after_in_child=lambda: setattr(_CHILD, "lock", threading.Lock()))


def decode(path: Path, kind: str, *, limit: int = MAX_EVENTS, **request: Any) -> tuple[Events, dict[str, Any]]:
    """Return the events of a file (``EVENT_DTYPE``) and the facts that its format states.

    Raises ``InputError``: E769 damaged, E770 the decoder crashed or hung, E775 too many events, E777 unknown
    HDF5 layout, E778 unsupported; ``MissingDependencyError`` E774 when the library is not installed.
    """
    message = {"kind": kind, "path": str(path.absolute()), "limit": limit, **request}
    with _CHILD.lock:
        try:
            events, end, said = _converse(path, message)
        except _Ended:
            code = _CHILD.process.wait() if _CHILD.process is not None else None
            _CHILD.stop()
            found = f"the {kind} decoder crashed on it (exit code {code})"
            raise problem("E770", path, found) from None
        except BaseException:
            # The rest of an answer must not be taken for the next file's.
            _CHILD.stop()
            raise
    if end == b"X":
        raise _refusal(path, kind, said)
    return events, said


def _converse(path: Path, message: dict[str, Any]) -> tuple[Events, bytes, dict[str, Any]]:
    """Return the events, the letter of the frame that ended the answer, and what it says."""
    process = _CHILD.started()
    stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    try:
        stdin.write(json.dumps(message).encode() + b"\n")
        stdin.flush()
    except OSError:
        raise _Ended from None
    received = bytearray()
    while True:
        letter, content = _frame(path, process, stdout)
        if letter == b"E":
            received += content
        else:
            return np.frombuffer(received, dtype=EVENT_DTYPE), letter, json.loads(content)


def _frame(path: Path, process: subprocess.Popen[bytes], stdout: IO[bytes]) -> tuple[bytes, bytes]:
    """Read one frame; a silent child is killed, which ends the read."""
    hung = threading.Event()

    def give_up() -> None:
        hung.set()
        process.kill()

    timer = threading.Timer(PATIENCE_S, give_up)
    timer.daemon = True
    timer.start()
    try:
        head = stdout.read(9)
        letter, length = struct.unpack("<cQ", head) if len(head) == 9 else (b"", 0)
        content = stdout.read(length) if length <= MAX_FRAME else b""
    finally:
        timer.cancel()
    if hung.is_set():
        raise problem("E770", path, f"the decoder was silent for {PATIENCE_S:g} s and was stopped")
    if letter not in (b"E", b"D", b"X") or len(content) != length:
        raise _Ended
    return letter, content


def _refusal(path: Path, kind: str, reason: dict[str, str]) -> Exception:
    if reason["kind"] == "missing":
        package = "h5py" if kind == "hdf5" else "faery"
        fix = f"pip install {package}"
        return MissingDependencyError(Finding("E774", "error", package, reason["text"], fix=fix))
    return problem(_CODES[reason["kind"]], path, reason["text"], fix=_REMEDIES[reason["kind"]])
