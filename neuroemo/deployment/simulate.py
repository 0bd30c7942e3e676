"""Running clips through a bundle: our simulator, Lava, or both, compared spike by spike."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.bundle import A_BUNDLE, load_deployment
from export.reverify import compare_spikes
from export.storage import read_json
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from hw_targets.readout import group_rates
from neuroemo.deployment.clips import ArrayClips, ClipSet, StoredClips, array_clips
from neuroemo.pipeline import Progress, chosen_clips, labels_of, open_data, quiet_progress, spread

if TYPE_CHECKING:
    from export.deployment import Deployment

BATCH = 32


def simulate_bundle(
    bundle: Path,
    data: Path,
    *,
    backend: str = "fast",
    limit: int | None = None,
    split: str | None = None,
    timeout_s: float = 600.0,
    progress: Progress = quiet_progress,
) -> dict[str, Any]:
    """Run clips through a bundle's chip file.

    ``accuracy`` is that of our simulator (of Lava, when it runs alone); ``lava`` holds Lava's own accuracy and, for
    both, how many spikes differ in every layer, and the first one that does.
    """
    deployment = load_deployment(bundle)
    clips, classes = _clips_of(bundle, data, split, progress)
    positions = spread(np.arange(len(clips.names)), limit)
    labels = clips.labels(positions)
    voting = deployment.chip.voting
    result: dict[str, Any] = {"ok": True, "exit_code": 0, "backend": backend, "clips": len(positions)}
    rates = np.zeros((0, 1))
    if backend in ("fast", "both"):
        rates, result["seconds"] = _simulate_fast(deployment, clips, positions, progress)
        result["clips_per_s"] = len(positions) / result["seconds"]
    if backend in ("lava", "both"):
        shown = clips.batch(positions)
        run, seconds = deployment.judge(bundle / "target" / "model.net", shown, timeout_s=timeout_s)
        lava_rates = group_rates(run.output, voting)
        result["lava"] = {"seconds_per_step": seconds} | _accuracy(lava_rates, labels)
        if backend == "both":
            result["lava"] |= compare_spikes(deployment.simulate(shown).spikes, run.spikes)
            result["ok"] = result["lava"]["mismatched_spikes"] == 0
            result["exit_code"] = 0 if result["ok"] else 5
        else:
            rates = lava_rates
    classes = classes or tuple(str(number) for number in range(rates.shape[1]))
    result["classes"] = list(classes)
    result["answers"] = _answers(clips, positions, rates, classes)
    return result | _accuracy(rates, labels)


def _clips_of(
    bundle: Path, data: Path, split: str | None, progress: Progress
) -> tuple[ClipSet, tuple[str, ...] | None]:
    """Open the clips for a bundle; return the names of its classes where the bundle knows them."""
    from neuroemo.training.checkpoint import Description

    manifest = read_json(bundle / "manifest.json", A_BUNDLE)
    details = dict(manifest.get("details", {}))
    description = Description.from_dict(details, str(bundle / "manifest.json")) if details else None
    classes = None if description is None else description.classes
    if data.suffix in (".npy", ".npz"):
        model = read_json(bundle / "report.json", A_BUNDLE).get("model", {})
        clips: ArrayClips = array_clips(data, tuple(model.get("input_shape", ())), int(model.get("steps", 0)))
        return clips, classes
    if description is None:
        fix = "give clips as an array: CLIPS.npy [T, N, ...]"
        found = "the bundle was not made from a checkpoint of ours and does not say how its events were made"
        raise InputError(Finding("E661", "error", str(data), found, fix=fix))
    store = open_data(data, description.events, progress)
    indices = chosen_clips(store, data, split)
    return StoredClips(store, indices, labels_of(store, indices, description.classes), data.name), classes


def _accuracy(rates: Array, labels: Array | None) -> dict[str, float]:
    """Return the share of right answers as an entry, or no entry for clips without labels."""
    return {} if labels is None else {"accuracy": float((rates.argmax(axis=1) == labels).mean())}


def _simulate_fast(deployment: Deployment, clips: ClipSet, positions: Array, progress: Progress) -> tuple[Array, float]:
    rates = []
    deployment.simulate(clips.batch(positions[:1]))  # the first call compiles
    started = time.perf_counter()
    for start in range(0, len(positions), BATCH):
        run = deployment.simulate(clips.batch(positions[start : start + BATCH]))
        rates.append(group_rates(run.output, deployment.chip.voting))
        progress(sum(map(len, rates)), len(positions), "")
    return np.concatenate(rates), time.perf_counter() - started


def _answers(clips: ClipSet, positions: Array, rates: Array, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    names = clips.names
    return [
        {
            "clip": names[position],
            "label": clips.label_of(position),
            "predicted": classes[int(votes.argmax())],
            "rates": [float(rate) for rate in votes],
        }
        for position, votes in zip(positions.tolist(), rates, strict=True)
    ]
