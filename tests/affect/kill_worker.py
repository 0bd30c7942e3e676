"""A program for test_training_kill.py: trains one run whole and with SIGKILLs at random moments, and prints both.

It imports once and forks for every life of the run, before it has computed anything itself.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import time
from pathlib import Path

import torch

from neuroemo.affect.settings import AffectSettings
from neuroemo.affect.training import train_affect
from neuroemo.models.affect.table import spec_by_name
from neuroemo.training.checkpoint import load_tensors
from tests.affect.memory_frames import squares
from tests.training import kill_worker

torch.set_num_threads(1)


def train_here(out: Path, told: dict) -> None:
    data = squares(clips=told["clips"])
    settings = AffectSettings(**told["settings"])
    train_affect(spec_by_name(told["model"], **told["spec"]), data, out, settings, save_every_s=told["save_every_s"])


def content(out: Path) -> dict:
    told = {}
    for name in ("model.safetensors", "last.safetensors"):
        tensors, metadata = load_tensors(out / name)
        digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
        for key in sorted(tensors):
            digest.update(key.encode() + tensors[key].numpy().tobytes())
        told[name] = digest.hexdigest()
    return told | {name: (out / name).read_text() for name in ("log.csv", "model.json", "training.json")}


def main() -> None:
    told = json.loads(sys.argv[1])
    folder, moments = Path(told["folder"]), random.Random(told["seed"])
    kill_worker.train_here = train_here
    started = time.monotonic()
    assert kill_worker.life(folder / "whole", told, None)
    length, kills = time.monotonic() - started, 0
    while kills == 0:
        shutil.rmtree(folder / "cut", ignore_errors=True)
        length *= 0.7
        seconds = None
        while True:
            seconds = moments.uniform(0.0, length) if kills < told["kills"] else None
            if kill_worker.life(folder / "cut", told, seconds):
                break
            kills += 1
    sys.stdout.write(json.dumps({"kills": kills, "whole": content(folder / "whole"), "cut": content(folder / "cut")}))


if __name__ == "__main__":
    main()
