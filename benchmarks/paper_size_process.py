"""A command in a process of its own: what it prints, how long it takes, and how much memory it and its children hold.

Memory is the proportional set size of the whole tree of processes, read every second: pages that several
processes share, as those of Lava share their libraries, count once.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

SAMPLE_S = 1.0
LAST_WORDS = 2000
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}


class Failed(RuntimeError):
    """A command ended with another exit code than expected, or took too long."""


def measured(command: list[str], codes: tuple[int, ...], limit_s: float) -> dict[str, Any]:
    """Run a command that prints one JSON object; return it as ``told`` with exit code, seconds and peak bytes.

    Processor seconds are those of the process and of the children that it waited for.

    Raises:
        Failed: an exit code that is not among ``codes``, no JSON, or more than ``limit_s`` seconds.
    """
    before, started, peak = _processor_seconds(), time.perf_counter(), 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env={**os.environ, **ONE_THREAD}
        )
        try:
            while process.poll() is None:
                peak = max(peak, tree_bytes(process.pid))
                if time.perf_counter() - started > limit_s:
                    raise Failed(f"{_short(command)} took more than {limit_s:.0f} s")
                time.sleep(SAMPLE_S)
        finally:
            # Its own children (Lava's guardian) notice that it is gone and end by themselves.
            process.kill()
            process.wait()
        out.seek(0)
        errors.seek(0)
        printed, said = out.read().decode(), errors.read().decode()
    if process.returncode not in codes:
        raise Failed(f"{_short(command)} ended with exit code {process.returncode}: {(printed + said)[-LAST_WORDS:]}")
    try:
        told = json.loads(printed)
    except ValueError as error:
        raise Failed(f"{_short(command)} printed no JSON: {printed[-LAST_WORDS:]}") from error
    return {
        "told": told,
        "code": process.returncode,
        "seconds": time.perf_counter() - started,
        "processor_seconds": _processor_seconds() - before,
        "peak_bytes": peak,
    }


def tree_bytes(root: int) -> int:
    """Return the bytes that a process and all its descendants hold in memory, shared pages counted once."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent(entry), []).append(int(entry.name))
    total, left = 0, [root]
    while left:
        process = left.pop()
        total += _bytes_of(process)
        left += children.get(process, [])
    return total


def _parent(entry: Path) -> int:
    try:
        # The name in brackets may hold anything; what follows the last bracket does not.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0  # it ended in between


def _bytes_of(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _short(command: list[str]) -> str:
    """Return a command without the folders that its words name."""
    return " ".join(Path(word).name if os.sep in word else word for word in command[:6])
