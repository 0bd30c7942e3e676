"""The time-reversal control: what a spiking network and linear models make of it, with time or polarity taken away.

``python benchmarks/reversal.py [--seeds 0 1] [--runs DIR] [--workers N]`` prepares ``neuroemo.datasets.reversal`` for
both kinds of pair and all three kinds of events, trains the network of the paper's Table I in its small preset
(``puresnn@32`` for "change", where a gray first frame would give the answer away; ``0.4snn@32`` for "order") and writes
``benchmarks/results/reversal.json``. A seed changes faces, splits, initialisation and order of training together; the
recipe is one for all events of a kind. Finished runs are reused.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.graph import Array
from neuroemo.datasets.reversal import (
    STORE_NAME,
    Kept,
    Kind,
    ReversalSettings,
    event_settings,
    prepare_reversal,
    read_manifest,
)
from neuroemo.datasets.store import ClipStore

HERE = Path(__file__).resolve().parent
KINDS: tuple[Kind, ...] = ("change", "order")
KEPT: tuple[Kept, ...] = ("all", "no-polarity", "no-order")
NETWORKS: dict[str, tuple[str, Any, int, int]] = {
    "change": ("puresnn@32", "spikes", 40, 16),
    "order": ("0.4snn@32", "float", 20, 16),
}
"""Network, first frame, subjects and epochs of each kind."""


def main() -> None:
    """Run every combination, in as many processes as asked for, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--runs", type=Path, default=Path("runs/reversal"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "reversal.json")
    args = parser.parse_args()
    jobs = [(args.runs, kind, keep, seed) for seed, kind, keep in product(args.seeds, KINDS, KEPT)]
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(measure, jobs))
    args.out.write_text(json.dumps({"rows": rows, "mean": means(rows)}, indent=1) + "\n")


def measure(job: tuple[Path, Kind, Kept, int]) -> dict[str, Any]:
    """Prepare one control, train the network on it, and score it and the linear models on the test subjects."""
    runs, kind, keep, seed = job
    name, first_frame, subjects, epochs = NETWORKS[kind]
    folder = runs / f"{kind}-{keep}-{seed}"
    settings = ReversalSettings(kind, subjects=subjects, seed=seed, keep=keep)
    events = event_settings(settings, first_frame=first_frame)
    if not (folder / "reversal.json").exists():
        prepare_reversal(folder, settings, events).close()
    with ClipStore.open(folder / STORE_NAME) as store:
        accuracy = {name: linear(store, feature) for name, feature in FEATURES.items()}
        network, history = spiking(store, name, folder.with_name(f"{folder.name}-run"), epochs, seed)
        return {
            "kind": kind,
            "events": keep,
            "seed": seed,
            "network": name,
            "epochs": epochs,
            "validation": history,
            "test_clips": len(store.indices("test")),
            "density_per_pixel": store.density().any_polarity,
            "accuracy": {name: network, **accuracy},
            "manifest": read_manifest(folder),
        }


def spiking(store: ClipStore, name: str, out: Path, epochs: int, seed: int) -> tuple[float, list[float]]:
    """Train a network; return the accuracy on the test subjects of the epoch that validation chose, and its course."""
    from neuroemo.models.table1 import spec_by_name
    from neuroemo.training.checkpoint import load_model
    from neuroemo.training.evaluation import evaluate
    from neuroemo.training.loop import TrainSettings, train

    spec = spec_by_name(name, steps=store.settings.steps)
    history = train(spec, store, out, TrainSettings(epochs=epochs, shift=1, seed=seed))
    network, _ = load_model(out)
    test = evaluate(network, spec, store, store.indices("test"))
    return test.score.accuracy, [entry["validation"]["accuracy"] for entry in history]


def linear(store: ClipStore, feature: Callable[[Array], Array]) -> float:
    """Return the test accuracy of logistic regression on a feature of spikes [N, T, 2, H, W]."""
    from neuroemo.training.baseline import linear_baseline

    start = 1 if store.settings.first_frame == "float" else 0

    def features(indices: Array) -> Array:
        return feature(store.batch(indices).transpose(1, 0, 2, 3, 4)[:, start:])

    return linear_baseline(store, features, "test").accuracy


def pooled(pictures: Array) -> Array:
    """Return pictures [..., 32, 32] summed over 2 x 2 pixels."""
    shape = pictures.shape
    return pictures.reshape(*shape[:-2], shape[-2] // 2, 2, shape[-1] // 2, 2).sum((-3, -1))


def in_parts(pictures: Array) -> Array:
    """Return pictures [N, T, ...] summed within the four quarters of the recording."""
    return np.stack([part.sum(1) for part in np.array_split(pictures, 4, axis=1)], axis=1)


FEATURES: dict[str, Callable[[Array], Array]] = {
    "linear: events per clip": lambda clips: clips.sum((1, 2, 3, 4))[:, None],
    "linear: events per pixel": lambda clips: pooled(clips.sum((1, 2))),
    "linear: ON and OFF per pixel": lambda clips: pooled(clips.sum(1)),
    "linear: ON - OFF per pixel": lambda clips: pooled((clips[:, :, 0] - clips[:, :, 1]).sum(1)),
    "linear: events per pixel and quarter": lambda clips: pooled(in_parts(clips.sum(2))),
    "linear: ON - OFF per pixel and quarter": lambda clips: pooled(in_parts(clips[:, :, 0] - clips[:, :, 1])),
}
"""From none to both of time and polarity."""


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the accuracies of each kind and events, averaged over the seeds."""
    found: dict[str, dict[str, float]] = {}
    for kind, keep in product(KINDS, KEPT):
        mine = [row["accuracy"] for row in rows if (row["kind"], row["events"]) == (kind, keep)]
        found[f"{kind}, {keep}"] = {name: statistics.mean(row[name] for row in mine) for name in mine[0]}
    return found


if __name__ == "__main__":
    main()
