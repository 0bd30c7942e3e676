"""Reading prepared clips beside training on them: procedural faces, 128x128, 68 steps, batches of 8 in random order."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 8


def measure_reading(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Return how fast a store gives clips, in memory and from the file, and the share of a training step it takes.

    The step is one of the paper's spiking network on the same batch, with the fused engine, the default and the faster
    one, and with SpikingJelly's modules: forward, backward and optimiser, clip by clip with summed gradients, as a
    batch does not fit into every memory.
    """
    from neuroemo.datasets.faces import FacesSettings, render_faces
    from neuroemo.datasets.store import prepare_store
    from neuroemo.events.framediff import FrameDiffSettings

    size, steps = (32, 5) if quick else (128, 68)
    faces = FacesSettings(subjects=5, clips_per_subject=2 if quick else 10, size=size, frames=steps, fps=25.0)
    with tempfile.TemporaryDirectory() as folder:
        say(f"reading: rendering {faces.subjects * faces.clips_per_subject} faces")
        root = render_faces(Path(folder) / "faces", faces)
        with prepare_store(root, Path(folder) / "faces.h5", FrameDiffSettings(size=size, steps=steps)) as store:
            say("reading: batches")
            stored = (Path(folder) / "faces.h5").stat().st_size / len(store)
            seconds = [_epoch(store, seed) for seed in range(rounds + 1)]
            say("reading: one step of training")
            slow, fast = (_training_step(store, fused) for fused in (False, True))
    clips_per_s = statistics.median(seconds[1:]) ** -1
    return {
        "clips": faces.subjects * faces.clips_per_subject,
        "size": size,
        "steps": steps,
        "batch": BATCH,
        "stored_bytes_per_clip": stored,
        "clips_per_s": clips_per_s,
        "clips_per_s_first_time": seconds[0] ** -1,
        "read_ms_per_batch": BATCH / clips_per_s * 1e3,
        "training_step_ms": fast * 1e3,
        "spikingjelly_step_ms": slow * 1e3,
        "share_of_step_spent_reading": BATCH / clips_per_s / (BATCH / clips_per_s + fast),
    }


def _epoch(store: Any, seed: int) -> float:
    """Read all clips in random order, in batches; return the processor time per clip in seconds."""
    order = np.random.default_rng(seed).permutation(len(store))
    start = time.process_time()
    for first in range(0, len(order), BATCH):
        store.batch(order[first : first + BATCH])
    return (time.process_time() - start) / len(order)


def _training_step(store: Any, fused: bool) -> float:
    """Return the processor time of one step on one batch, seconds, the second of two."""
    import torch
    import torch.nn.functional as F

    from neuroemo.models.emotion import build_network, spec_by_name
    from neuroemo.training.evaluation import forward
    from neuroemo.training.fast import fast_network

    torch.manual_seed(0)
    spec = replace(spec_by_name("0.4snn"), size=store.settings.size, steps=store.settings.steps)
    if spec.size < 64:
        spec = replace(spec, channels=(2, 2, 2), hidden=4)
    network = build_network(spec).train()
    fast = fast_network(network, spec).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    order = np.arange(BATCH)
    clips, labels = torch.from_numpy(store.batch(order)), torch.from_numpy(store.labels[order])
    taken = 0.0
    for _ in range(2):
        start = time.process_time()
        optimiser.zero_grad()
        for clip in range(BATCH):
            shown = clips[:, clip : clip + 1]
            votes = fast(shown) if fused else forward(network, spec, shown)
            (F.cross_entropy(votes.mean(0), labels[clip : clip + 1]) / BATCH).backward()
        optimiser.step()
        taken = time.process_time() - start
    return taken
