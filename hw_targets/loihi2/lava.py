"""Lava as the judge: run a netx file in Lava's own CPU backend, safely.

An exception inside a Lava process hangs the run for ever, and killing only the parent leaves orphans and
shared-memory files. So Lava runs in a process group of its own, with a timeout, and the whole group is
ended by SIGTERM (then SIGKILL), after success as well as after failure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw_targets.finding import Finding, MissingDependencyError, VerificationError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.simulate import ChipRun, encode_input


@dataclass(frozen=True, slots=True)
class LavaRun:
    """What Lava computed: the spikes of every layer in frame time, and how long a step took (seconds)."""

    run: ChipRun
    seconds_per_step: float


def lava_available() -> bool:
    """Whether lava-dl can be imported, found without importing it."""
    from importlib.util import find_spec

    try:
        return find_spec("lava.lib.dl.netx") is not None
    except ModuleNotFoundError:
        return False


def run_lava(chip: ChipGraph, file: Path, clips: Array, *, timeout_s: float = 600.0) -> LavaRun:
    """Stream clips [T, N, C, H, W] through Lava's fixed-point models of ``file`` and record every layer.

    The samples follow each other in one run with ``reset_interval`` T and ``reset_offset`` 1; the one-step
    delay of each layer is taken out of the result.

    Raises:
        MissingDependencyError: Lava is not installed.
        VerificationError: Lava failed, or did not finish in time.
    """
    if not lava_available():
        raise MissingDependencyError(
            Finding(
                "E601",
                "error",
                "lava",
                "lava-dl is not installed",
                "lava-nc 0.10.0, lava-dl 0.6.0, Python 3.10",
                fix="install the extra `lava` under Python 3.10, or simulate with --backend fast",
            )
        )
    with tempfile.TemporaryDirectory(prefix="neuroemo-lava-") as name:
        folder = Path(name)
        stream = encode_input(chip, clips).swapaxes(0, 1).reshape(-1, *chip.input_shape)
        np.save(folder / "input.npy", stream)
        job = {
            "file": str(file.resolve()),
            "steps": int(clips.shape[0]),
            "samples": int(clips.shape[1]),
            "layers": [{"shape": list(layer.output_shape)} for layer in chip.layers],
            "graded": chip.payload > 1,
        }
        (folder / "job.json").write_text(json.dumps(job))
        _run_group([sys.executable, "-m", "hw_targets.loihi2.lava_worker", str(folder)], folder, timeout_s)
        result = json.loads((folder / "result.json").read_text())
        spikes = {
            layer.name: _aligned(folder / f"layer{index}.bin", layer.output_shape, clips.shape[:2], index)
            for index, layer in enumerate(chip.layers)
        }
    return LavaRun(ChipRun(spikes), float(result["seconds_per_step"]))


def _run_group(command: list[str], folder: Path, timeout_s: float) -> None:
    """Run a command in its own process group and leave nothing of the group behind."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        try:
            deadline = time.monotonic() + timeout_s
            done = folder / "result.json"
            while process.poll() is None and not done.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            finished = done.exists()
        finally:
            _end_group(process)
    if not finished:
        reason = "did not finish" if time.monotonic() >= deadline else f"ended with status {process.returncode}"
        raise VerificationError(
            Finding(
                "E501",
                "error",
                "lava",
                f"Lava {reason}: {_last_error(folder / 'log.txt')}",
                f"{timeout_s:.0f} s",
                fix="fewer clips, or a longer --timeout; the netx file itself is checked by `neuroemo simulate`",
            )
        )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group lets Lava unlink its shared memory; SIGKILL is for what does not listen."""
    for sign, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        if not _group_alive(process.pid, patience):
            break
    process.wait()


def _group_alive(group: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["no output"])[-1]


def _aligned(file: Path, shape: tuple[int, ...], frames: tuple[int, ...], index: int) -> Array:
    """Read a recorder's packed spikes and shift them from run time to frame time, uint8 [T, N, ...].

    Layer ``index`` (0-based) answers frame t at step t + index + 1.
    """
    steps, samples = frames
    size = int(np.prod(shape))
    packed = np.fromfile(file, dtype=np.uint8).reshape(-1, (size + 7) // 8)
    values = np.unpackbits(packed, axis=1, count=size)
    start = index + 1
    values = values[start : start + steps * samples].reshape(samples, steps, *shape)
    return np.ascontiguousarray(values.swapaxes(0, 1))
