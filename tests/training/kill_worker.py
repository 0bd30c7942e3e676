"""A program for test_resume_kill.py: trains the same run whole and with SIGKILLs at random moments, and prints both.

It imports once and forks for every life of the run, before it has computed anything itself, so that a life costs what
its training costs.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from neuroemo.models.emotion import spec_by_name
from neuroemo.training.checkpoint import load_tensors
from neuroemo.training.log import EPOCHS, STEPS
from neuroemo.training.loop import Keeping, TrainSettings, train
from tests.training.fake_store import FakeStore

torch.set_num_threads(1)


def train_here(out: Path, told: dict) -> None:
    spec = replace(spec_by_name("tiny"), size=16, steps=6, channels=(4,), hidden=8, **told["spec"])
    store = FakeStore(clips=told["clips"], size=spec.size, steps=spec.steps)
    train(spec, store, out, TrainSettings(**told["settings"]), keeping=Keeping(save_every_s=told["save_every_s"]))


def life(out: Path, told: dict, seconds: float | None) -> bool:
    """Let a child process train, for so many seconds at most; say whether it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train_here(out, told)
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def content(out: Path) -> dict:
    """What the run left behind: hashes of all tensors, and the logs."""
    told = {}
    for name in ("model.safetensors", "last.safetensors"):
        tensors, metadata = load_tensors(out / name)
        digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
        for key in sorted(tensors):
            digest.update(key.encode() + tensors[key].numpy().tobytes())
        told[name] = digest.hexdigest()
    return told | {name: (out / name).read_text() for name in (EPOCHS, STEPS)}


def main() -> None:
    told = json.loads(sys.argv[1])
    folder, moments = Path(told["folder"]), random.Random(told["seed"])
    started = time.monotonic()
    assert life(folder / "whole", told, None)
    length, kills = time.monotonic() - started, 0
    while kills == 0:  # a run that was over before the first kill proves nothing: again, with earlier kills
        shutil.rmtree(folder / "cut", ignore_errors=True)
        length *= 0.7
        while not life(folder / "cut", told, moments.uniform(0.0, length) if kills < told["kills"] else None):
            kills += 1
    sys.stdout.write(json.dumps({"kills": kills, "whole": content(folder / "whole"), "cut": content(folder / "cut")}))


if __name__ == "__main__":
    main()
