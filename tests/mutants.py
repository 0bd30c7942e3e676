"""Runs a reader over thousands of damaged files in child processes, so that no crash and no hang can pass unseen.

A module of cases has ``CASES``: name -> ``Case``. The child names every file before it reads it and what came of it
after; one that falls silent is killed, one that dies is started again behind the file it died on, and both are
failures that name the file, which is made anew from the seed: ``mutant(case, clean, seed, number)``.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.util
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PATIENCE_S = 60.0
"""Longest time for one file, on a machine that does other things too."""

MEMORY = 6 << 30
MOST_FAILURES = 5
EDGES = np.array([0, 1, 0x25, 0x7F, 0x80, 0xFE, 0xFF], np.uint8)


@dataclass(frozen=True)
class Case:
    """One kind of file: its name, how a sound one is made, what reading it has to promise.

    ``read(path)`` returns a word for the outcome ("read", or the code of a refusal) and raises ``AssertionError`` for
    anything that is neither refused nor sound. ``mutate(clean, rng)`` returns damaged bytes.
    """

    file_name: str
    make: Callable[[Path], bytes]
    read: Callable[[Path], str]
    mutate: Callable[[bytes, np.random.Generator], bytes]


def damaged(clean: bytes, rng: np.random.Generator, *, head: int = 512) -> bytes:
    """Return the bytes with one to four kinds of damage, half of it in the first ``head`` bytes."""
    data = np.frombuffer(clean, np.uint8).copy()
    for _ in range(int(rng.integers(1, 5))):
        if not data.size:
            break
        reach = data.size if rng.random() < 0.5 else min(head, data.size)
        place, length, kind = int(rng.integers(reach)), int(rng.integers(1, 33)), int(rng.integers(7))
        if kind == 0:
            data[place] ^= np.uint8(1 << int(rng.integers(8)))
        elif kind == 1:
            data[place] = rng.choice(EDGES)
        elif kind == 2 and rng.random() < 0.5:
            data = data[:place]
        elif kind == 3:
            data = np.delete(data, slice(place, place + length))
        elif kind == 4:
            data = np.insert(data, place, rng.integers(0, 256, length).astype(np.uint8))
        elif kind == 5:
            data = np.insert(data, place, data[place : place + length])
        else:
            data[place : place + 4] = rng.choice(EDGES)
    return data.tobytes()


def mutant(case: Case, clean: bytes, seed: int, number: int) -> bytes:
    """Return file ``number`` of a seed; each has a generator of its own, so that any can be made alone."""
    return case.mutate(clean, np.random.default_rng([seed, number]))


def survive(module: Path, name: str, count: int, seed: int, folder: Path) -> collections.Counter[str]:
    """Read ``count`` mutants in child processes and return how often each outcome came; fail for whatever else came."""
    outcomes: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    start = 0
    while start < count and len(failures) < MOST_FAILURES:
        reached, failure = _one_child(module, name, count, seed, folder, start, outcomes)
        if failure:
            failures.append(f"mutant {reached} of seed {seed}: {failure}")
        start = reached + 1
    assert not failures, f"{name}:\n" + "\n".join(failures)
    assert sum(outcomes.values()) == count
    return outcomes


def _one_child(
    module: Path, name: str, count: int, seed: int, folder: Path, start: int, outcomes: collections.Counter[str]
) -> tuple[int, str]:
    """Return the last file that a child was given, and why it did not survive it ("" at the end)."""
    command = [sys.executable, str(Path(__file__)), str(module), name, str(count), str(seed), str(folder), str(start)]
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
    lines: queue.Queue[str] = queue.Queue()

    def collect() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=collect, daemon=True).start()
    reached, failure = start - 1, ""
    try:
        while line := lines.get(timeout=PATIENCE_S):
            word, number, text = line.rstrip("\n").split("\t", 2)
            reached = int(number)
            if word == "bad":
                failure = text.replace("\v", "\n")
                break
            if word == "done":
                outcomes[text] += 1
    except queue.Empty:
        failure = f"no answer within {PATIENCE_S:g} s"
    if not failure and (process.wait() or reached < count - 1):
        failure = f"the interpreter ended with {process.returncode}: {(folder / 'stderr').read_text()[-300:]}"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the decoders of the child too
    process.wait()
    return max(reached, start), failure


def _main(module: str, name: str, count: str, seed: str, folder: str, start: str) -> None:
    """Read the mutants from ``start`` on (the child)."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path[:1] = [str(Path(module).parent), str(Path(__file__).parent.parent)]
    spec = importlib.util.spec_from_file_location("cases", module)
    cases = importlib.util.module_from_spec(spec)
    sys.modules["cases"] = cases
    spec.loader.exec_module(cases)
    case = cases.CASES[name]
    place = Path(folder, "child")
    place.mkdir(exist_ok=True)
    clean = case.make(place)
    path = place / case.file_name
    path.write_bytes(clean)
    assert case.read(path) == "read", "the sound file is not read"
    for number in range(int(start), int(count)):
        path.write_bytes(mutant(case, clean, int(seed), number))
        print("next", number, "", sep="\t", flush=True)
        try:
            print("done", number, case.read(path), sep="\t", flush=True)
        except BaseException:  # whatever a reader lets through is the finding
            print("bad", number, traceback.format_exc()[-900:].replace("\n", "\v"), sep="\t", flush=True)
            return


if __name__ == "__main__":
    _main(*sys.argv[1:])
