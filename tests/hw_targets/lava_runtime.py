"""Random netx files through Lava's real runtime, many in one process group that leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.hw_targets.netx_networks import NetxNetwork

ROOT = Path(__file__).parents[2]


def run_runtime(
    networks: Sequence[NetxNetwork], folder: Path, *, timeout_s: float
) -> list[list[dict[str, np.ndarray]]]:
    """Run the first clip of each network; per network and population: drive, messages, states [T, ...].

    Raises:
        RuntimeError: Lava failed or did not finish in time; with the end of its log.
    """
    jobs = []
    for number, network in enumerate(networks):
        np.save(folder / f"{number}.input.npy", network.clips[:, 0])
        job = {"file": str(network.path), "input": str(folder / f"{number}.input.npy")}
        jobs.append({**job, "graded": network.graded, "direct": network.direct})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    _run_group([sys.executable, "-m", "tests.hw_targets.lava_runtime_worker", str(folder)], folder, timeout_s)
    return [_load(folder / f"{number}.npz", len(network.layers)) for number, network in enumerate(networks)]


def _load(file: Path, layers: int) -> list[dict[str, np.ndarray]]:
    with np.load(file) as found:
        return [
            {key.split(".")[1]: found[key] for key in found.files if key.startswith(f"{index}.")}
            for index in range(layers)
        ]


def _run_group(command: list[str], folder: Path, timeout_s: float) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment, cwd=ROOT
        )
        deadline = time.monotonic() + timeout_s
        done = folder / "done"
        try:
            while process.poll() is None and not done.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            end_group(process)
    if not done.exists():
        raise RuntimeError(f"Lava ended with {process.returncode}: {(folder / 'log.txt').read_text()[-1500:]}")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM lets Lava remove its shared memory; SIGKILL is for what does not listen."""
    for sign, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience_s
        try:
            os.killpg(process.pid, sign)
            while time.monotonic() < deadline:
                process.poll()  # collects the leader, which would otherwise stay in the group as a zombie
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            break
    process.wait()
