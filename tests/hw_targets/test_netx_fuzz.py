"""Damaged netx files: each is refused with a finding or read as Lava reads it; none hangs, crashes, or reads wrong.

Files are read in child processes, many in each, so that a hang or a crash of the interpreter is seen and named.
Run as a module, this file is that child: ``python -m tests.hw_targets.test_netx_fuzz FOLDER`` (one JSON line per file).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hw_targets.finding import NeuroEmoError
from hw_targets.loihi2 import lava
from hw_targets.loihi2.netx.reader import open_netx
from tests.hw_targets.lava_in_process import import_lava
from tests.hw_targets.netx_constants import assert_same, of_chip, of_lava
from tests.hw_targets.netx_reader_parts import LIF, SDNN, conv, dense, image_in, recurrent, write

SECONDS_PER_FILE = 10.0
PATIENCE_AT_START = 300.0
"""Seconds: importing Lava takes long where other work is going on."""
PATIENCE = 60.0
MEMORY = 6 * 2**30
ROOT = Path(__file__).resolve().parents[2]

VALID: dict[str, list[dict[str, Any]]] = {
    "conv": [image_in(), conv(bias=[1, -2, 3]), {"type": "flatten"}, dense(weight=np.arange(-45, 45).reshape(3, 30))],
    "dense": [dense(bias=np.array([5, 6, 7]), delay=[0.0, 3.0, 9.0]), dense(weight=np.arange(-4, 5), neuron=None)],
    "recurrent": [{"type": "input", "shape": [4]}, recurrent(), dense(weight=np.eye(3) - np.eye(3, k=1))],
    "sigma_delta": [
        image_in(neuron=SDNN, shape=[1, 4, 4]),
        conv(weight=np.arange(-4, 5).reshape(1, 1, 3, 3), shape=[1, 4, 2], neuron=SDNN),
        {"type": "flatten"},
        dense(weight=np.arange(-12, 12), neuron=SDNN | {"sigma_output": 1}),
    ],
    "input": [image_in(neuron=LIF, shape=[2, 3, 3]), conv(weight=np.ones((3, 2, 2, 2)), shape=[3, 4, 1])],
    "readout": [dense(neuron=LIF | {"vThMant": np.array([7, 8, 9])}), {"type": "average", "shape": [3]}],
}


# -- mutations ----------------------------------------------------------------------------------------------------


def mutate_bytes(rng: np.random.Generator, whole: bytes) -> bytes:
    """Flip, overwrite, zero, cut, insert or swap a few bytes."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        at, size = int(rng.integers(0, len(data))), int(rng.integers(1, 17))
        match int(rng.integers(0, 6)):
            case 0:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                data[at] = int(rng.choice([0, 1, 127, 128, 255]))
            case 2:
                data[at : at + size] = bytes(min(size, len(data) - at))
            case 3 if rng.random() < 0.3:
                del data[max(at, 64) :]
            case 4:
                data[at:at] = rng.bytes(size)
            case _:
                other = int(rng.integers(0, len(data)))
                data[at], data[other] = data[other], data[at]
    return bytes(data)


TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?", "S3"]
NUMBERS = [0, 1, -1, 2, 3, 7, 62, 63, 127, 128, 255, 256, 300, 4096, 4097, 40000, 131072, 2**25, 2**31, -(2**31)]
ODD = [0.5, -0.5, np.nan, np.inf, 1e300]
WORDS = ["input", "conv", "dense", "dense_rec", "flatten", "average", "pool", "", "CUBA", "LOIHI", "SDNN", "RF", "é"]
KEYS = ["delay", "bias", "weight_rec", "neuron", "shape", "messageBits", "sigma_output", "wgtExp", "groups", "padding"]


def mutate_structure(rng: np.random.Generator, path: Path) -> None:
    """Change, retype, reshape, delete, rename or add one to three things of a valid file."""
    with h5py.File(path, "r+") as file:
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            names: list[str] = []
            file.visit(names.append)
            if names:
                _change(rng, file, str(rng.choice(names)))


def _change(rng: np.random.Generator, file: Any, name: str) -> None:
    action = int(rng.integers(0, 10))
    if action == 0:
        del file[name]
    elif action == 1:
        _rename(rng, file, name)
    elif action == 2:
        _add(rng, file, name)
    elif isinstance(file[name], h5py.Dataset):
        value = file[name][()]
        del file[name]
        file[name] = _other(rng, np.asarray(value))


def _rename(rng: np.random.Generator, file: Any, name: str) -> None:
    folder, _, _ = name.rpartition("/")
    target = f"{folder}/{rng.choice([*KEYS, '0', '1', '2', '9'])}"
    if target not in file:
        file.move(name, target)


def _add(rng: np.random.Generator, file: Any, name: str) -> None:
    where = file[name] if isinstance(file[name], h5py.Group) else file[name].parent
    key = str(rng.choice([*KEYS, str(len(where)), "something"]))
    if key not in where:
        where[key] = np.array(rng.choice(NUMBERS, tuple(rng.integers(1, 4, int(rng.integers(0, 3))))))


def _other(rng: np.random.Generator, value: np.ndarray) -> Any:
    """Another value, type or shape."""
    if value.dtype.kind in "OS":
        return str(rng.choice(WORDS))
    match int(rng.integers(0, 10)):
        case 0:
            return np.full(value.shape, rng.choice(NUMBERS))
        case 1:
            return value.astype(str(rng.choice(TYPES)))
        case 2:
            return value.reshape(-1)
        case 3:
            return value.reshape(-1)[: max(1, value.size - 1)]
        case 4:
            return value[None] if rng.random() < 0.5 else value[..., None]
    changed = value.astype(float if rng.random() < 0.3 else value.dtype).reshape(-1)
    changed[int(rng.integers(0, changed.size))] = rng.choice(
        [*NUMBERS[:14], *ODD] if changed.dtype.kind == "f" else NUMBERS[:14]
    )
    return changed.reshape(value.shape)


def make_files(folder: Path, count: int, seed: int) -> None:
    """Write ``count`` damaged files: 40 % by bytes, 60 % by structure."""
    for name, entries in VALID.items():
        write(folder / f"{name}.valid", *entries)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = str(rng.choice(list(VALID)))
        path = folder / f"{number:05d}_{name}.net"
        path.write_bytes((folder / f"{name}.valid").read_bytes())
        if rng.random() < 0.4:
            path.write_bytes(mutate_bytes(rng, path.read_bytes()))
        else:
            mutate_structure(rng, path)


# -- the child ----------------------------------------------------------------------------------------------------


def outcome(path: Path) -> str:
    """Return what comes of reading one file: "refused CODE", or how what we read compares with Lava."""
    try:
        read = open_netx(path, steps=2)
    except NeuroEmoError as error:
        return f"refused {error.findings[0].code}"
    ours = of_chip(read.chip)
    if not lava.lava_available():
        return "read"
    entries = len(h5py.File(path, "r")["layer"])
    try:
        wanted, inputs = of_lava(path, entries - 1 if read.readout else None)
    except Exception as error:
        if any(finding.code == "W244" for finding in read.findings):
            return "warned of types"
        return f"ACCEPTED although Lava refuses: {type(error).__name__} {error}"
    if any("8 bits" in finding.found for finding in read.findings):
        return "warned of 8 bits"
    try:
        assert_same(ours, wanted)
        assert inputs == np.prod(read.chip.layers[0].input_shape)
    except AssertionError as error:
        return f"DIFFERENT: {error}"
    name = path.stem.split("_", 1)[1]
    valid = of_chip(open_netx(path.with_name(f"{name}.valid"), steps=2).chip)
    return "same as Lava, unchanged" if repr(ours) == repr(valid) else "same as Lava, changed"


def main(folder: Path) -> None:
    """Read every file that has no outcome yet; one JSON line each, so that the parent sees the last that was begun."""
    if lava.lava_available():
        import_lava()  # takes seconds, which are no file's
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with (folder / "outcomes.jsonl").open("a", buffering=1) as out:
        for path in sorted(folder.glob("*.net")):
            if path.with_suffix(".begun").exists():
                continue
            path.with_suffix(".begun").touch()
            started = time.perf_counter()
            try:
                what = outcome(path)
            except Exception as error:
                what = f"TRACEBACK {type(error).__name__}: {error}"
            out.write(json.dumps([path.name, what, time.perf_counter() - started]) + "\n")


def read_all(folder: Path, count: int) -> dict[str, str]:
    """Read all files in children; a file at which a child dies or stands still is named and stepped over."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.hw_targets.test_netx_fuzz", str(folder)]
    outcomes: dict[str, str] = {}
    while len(outcomes) < count:
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        verdict = _watch(child, folder)
        lines = (folder / "outcomes.jsonl").read_text().splitlines() if (folder / "outcomes.jsonl").exists() else []
        before = len(outcomes)
        for name, what, seconds in map(json.loads, lines):
            outcomes.setdefault(name, what if seconds < SECONDS_PER_FILE else f"SLOW {seconds:.0f} s: {what}")
        for path in folder.glob("*.begun"):
            outcomes.setdefault(path.with_suffix(".net").name, verdict)
        assert len(outcomes) > before, f"the child reads nothing: {verdict}"
    return outcomes


def _watch(child: subprocess.Popen[bytes], folder: Path) -> str:
    done, since, patience = len(list(folder.glob("*.begun"))), time.monotonic(), PATIENCE_AT_START
    while child.poll() is None:
        time.sleep(0.05)
        now = len(list(folder.glob("*.begun")))
        if now > done:
            done, since, patience = now, time.monotonic(), PATIENCE
        if time.monotonic() - since > patience:
            child.kill()
            child.wait()
            return "HANG"
    assert child.stderr is not None
    return f"CRASH {child.returncode} {child.stderr.read()[-300:]!r}"


# -- the tests ----------------------------------------------------------------------------------------------------


def assert_none_is_wrong(folder: Path, count: int, seed: int) -> Counter[str]:
    make_files(folder, count, seed)
    outcomes = read_all(folder, count)
    assert len(outcomes) == count
    bad = {name: what for name, what in outcomes.items() if what.split()[0].rstrip(":").isupper()}
    assert not bad, bad
    tally = Counter(" ".join(what.split()[:4]) for what in outcomes.values())
    refused = sum(number for what, number in tally.items() if what.startswith("refused"))
    assert 0.2 * count < refused < 0.9 * count, tally
    return tally


def test_damaged_files_are_refused_or_read_as_lava_reads_them(tmp_path):
    tally = assert_none_is_wrong(tmp_path, 200, seed=1)
    if lava.lava_available():
        assert tally["same as Lava, changed"] >= 10, tally


@pytest.mark.slow
def test_more_damaged_files_are_refused_or_read_as_lava_reads_them(tmp_path):
    tally = assert_none_is_wrong(tmp_path, 3000, seed=2)
    if lava.lava_available():
        assert tally["same as Lava, changed"] >= 200, tally


def test_a_reader_that_reads_wrong_or_dies_is_noticed(tmp_path, monkeypatch):
    """The fuzz test can fail: other numbers than Lava's are called different, a child that dies is named."""
    if lava.lava_available():
        write(tmp_path / "00000_dense.net", *VALID["dense"])
        right = of_chip
        monkeypatch.setattr("tests.hw_targets.test_netx_fuzz.of_chip", lambda chip: right(chip)[:-1])
        assert outcome(tmp_path / "00000_dense.net").startswith("DIFFERENT")
    (tmp_path / "00000_dense.begun").touch()
    child = subprocess.Popen([sys.executable, "-c", "import os; os.abort()"], stderr=subprocess.PIPE)
    assert _watch(child, tmp_path).startswith("CRASH -6")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
