"""Workers that fail in known ways, and what a failed run must not leave."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from hw_targets.loihi2.lava import group as groups

ROOT = Path(__file__).parents[2]


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


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


def stand_in(file: Path, program: str, monkeypatch) -> Path:
    file.write_text(program)
    monkeypatch.setattr(groups, "WORKER", (sys.executable, str(file)))
    return file


def wait_for(condition, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
