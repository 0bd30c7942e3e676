"""Runs scenarios on several processes: ``python -m tests.training.process_worker OUT NAME:PROCESSES ...``.

One interpreter imports torch and forks each process, because importing takes longer than the scenarios. A process
leaves OUT/NAME-RANK.npz, or its error in OUT/NAME-RANK.txt; its exit code goes to OUT/NAME.json.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hw_targets.finding import Finding, InputError, NeuroEmoError
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.training import loop, process_link
from neuroemo.training.checkpoint import load_tensors
from neuroemo.training.distributed import world_from_environment
from neuroemo.training.settings import TrainSettings
from tests.training.fake_store import FakeStore

LIMIT_S = {"hang": 2.0, "never": 1.0}
TENSORS = ("weight.", "momentum.", "optimiser.")


def operations(world, out):
    """Sums, a broadcast, exchanges: what each process holds afterwards."""
    odd = (torch.arange(6.0) * 10**world.rank).view(2, 3).t()
    results = {
        "float64": world.sum_(torch.tensor([1.0 + world.rank, 2.0**-40], dtype=torch.float64)),
        "float32": world.sum_(torch.full((5,), float(world.rank))),
        "int64": world.sum_(torch.tensor([2**40 + world.rank])),
        "bfloat16": world.sum_(torch.ones(2, dtype=torch.bfloat16)).float(),
        "empty": world.sum_(torch.zeros(0)),
        "odd": world.sum_(odd),
        "broadcast": world.broadcast_(torch.full((3,), 7.0 + world.rank)),
        "random": world.sum_(torch.randn(1001, generator=torch.Generator().manual_seed(world.rank))),
    }
    world.barrier()
    world.agree({"seed": 1, "data": "abc"}, "settings")
    told = world.from_first({"text": "größer", "rank": world.rank})
    return results | {"told": np.array(json.dumps(told)), "first": np.array(world.is_first)}


def disagree(world, out):
    """Settings and data that differ: every process must say so."""
    world.agree({"settings": {"seed": world.rank, "batch": 8}, "data": f"clips{world.rank // 2}"}, "training")


def fail(world, out):
    """The second process ends with an error of its own while the others wait for it."""
    if world.rank == 1:
        raise InputError(Finding("E904", "error", "run", "cannot be written: No space left on device"))
    world.sum_(torch.ones(3))


def kill(world, out):
    """The second process is killed."""
    world.barrier()
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    world.sum_(torch.ones(100_000))


def hang(world, out):
    """The second process is there and does nothing."""
    world.barrier()
    if world.rank == 1:
        time.sleep(60)
    world.sum_(torch.ones(3))


def never(world, out):
    """A process whose others do not come does not get as far as this."""
    raise AssertionError


class Interrupted(Exception):
    pass


def train(world, out, name="tiny", engine="spikingjelly", batch=7, folder=None, cut=None, seed=0, epochs=3, **settings):
    """Train for three epochs on fifteen clips; with a batch of 7 the last one of an epoch has a single clip."""

    def progress(done, total, loss):
        if done == cut:
            raise Interrupted

    spec = replace(spec_by_name(name, size=16, steps=6), threshold=0.1)
    chosen = TrainSettings(epochs=epochs, batch=batch, learning_rate=0.1, engine=engine, seed=seed, **settings)
    place, store = out / (folder or f"run-{name}-{engine}-{batch}-{seed}-{world.size}"), FakeStore(25, 16, 6)
    keeping = loop.Keeping(save_every_s=0.0)
    history = loop.train(spec, store, place, chosen, progress=progress, world=world, keeping=keeping)
    weights = load_tensors(place / "last.safetensors")[0] if world.is_first else {}
    curves = {key: [entry[key] for entry in history] for key in ("loss", "gradient_norm")}
    rates = {f"rate.{name}": [entry["firing_rates"][name] for entry in history] for name in history[0]["firing_rates"]}
    return curves | rates | {key: value.numpy() for key, value in weights.items() if key.startswith(TENSORS)}


def cut_copies(world, out):
    """Interrupt a run in its second epoch and copy what it left, for one and for two processes to continue."""
    try:
        train(world, out, folder=f"cut-{world.size}", cut=5)
    finally:
        if world.is_first:
            for processes in (1, 2):
                shutil.copytree(out / f"cut-{world.size}", out / f"cut-{world.size}-on-{processes}")


SCENARIOS = {
    "operations": operations,
    "disagree": disagree,
    "fail": fail,
    "kill": kill,
    "hang": hang,
    "never": never,
    "spikingjelly": train,
    "fused": partial(train, engine="fused", batch=8),
    "fused-empty": partial(train, engine="fused"),
    "adamw": partial(train, optimiser="adamw", layerwise=False, batch=2),
    "ann": partial(train, name="tiny-ann"),
    "cut": cut_copies,
    "two-on": lambda world, out: train(world, out, folder=f"cut-2-on-{world.size}"),
    "one-on": lambda world, out: train(world, out, folder=f"cut-1-on-{world.size}"),
}
SCENARIOS |= {f"spikingjelly-{seed}": partial(train, seed=seed) for seed in range(1, 9)}


def one_process(name, rank, size, port, out):
    """Run a scenario as process ``rank`` and return the exit code."""
    environment = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment[process_link.LIMIT_NAME] = str(LIMIT_S.get(name, 60.0))
    file = out / f"{name}-{size}-{rank}"
    try:
        with world_from_environment(environment) as world:
            result = SCENARIOS[name](world, out)
    except NeuroEmoError as error:
        file.with_suffix(".txt").write_text(f"{type(error).__name__} {error}")
        return error.exit_code
    except Interrupted:
        return 0
    np.savez(file.with_suffix(".npz"), **(result or {}))
    return 0


def run(name, size, out):
    """Fork the processes of a scenario; one that outlives the first by far is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = {}
    for rank in [1] if name == "never" else range(size):
        children[rank] = os.fork()
        if children[rank] == 0:
            code = 1
            try:
                code = one_process(name, rank, size, port, out)
            finally:
                os._exit(code)
    codes = {}
    started = time.monotonic()
    for rank, child in children.items():
        if name == "hang" and rank == 1:
            os.kill(child, signal.SIGKILL)
        codes[rank] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (out / f"{name}-{size}.json").write_text(json.dumps({"codes": codes, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    build_network(spec_by_name("tiny"))  # SpikingJelly is imported here, once for all
    for asked in sys.argv[2:]:
        scenario, _, processes = asked.partition(":")
        run(scenario, int(processes), Path(sys.argv[1]))
