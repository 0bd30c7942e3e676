"""The answers that need no spiking network: the majority class, the mean picture, the summed events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.graph import Array
from neuroemo.training.metrics import Score, score

if TYPE_CHECKING:
    from neuroemo.datasets.store import ClipStore


def majority_baseline(store: ClipStore, split: str = "test") -> Score:
    """Score the class that is most frequent in training on a split: what guessing is worth."""
    labels = np.asarray(store.labels)
    guess = np.bincount(labels[store.indices("train")], minlength=len(store.classes)).argmax()
    wanted = labels[store.indices(split)]
    return score(np.full(len(wanted), guess), wanted)


STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation strengths (scikit-learn's C) that the validation clips choose from."""


def mean_frame_baseline(store: ClipStore, split: str = "test") -> Score:
    """Score a linear model on each clip's mean gray frame: it sees where things are and nothing of what moves."""
    return linear_baseline(store, store.mean_frames, split)


def summed_events_baseline(store: ClipStore, split: str = "test") -> Score:
    """Score a linear model on each clip's events summed over time: what moves, but not when or in what order."""

    def sums(indices: Array) -> Array:
        first = 1 if store.settings.first_frame == "float" else 0
        parts = (indices[start : start + 32] for start in range(0, len(indices), 32))
        return np.concatenate([store.batch(part)[first:].sum(axis=0) for part in parts])

    return linear_baseline(store, sums, split)


def linear_baseline(store: ClipStore, features: Callable[[Array], Array], split: str) -> Score:
    """Score logistic regression on ``features(indices)`` [N, ...], standardised.

    It is given a fair chance: its regularisation is the one that does best on the validation clips.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(store.labels)
    rows = {name: store.indices(name) for name in {"train", "val", split}}
    inputs = {name: features(indices).reshape(len(indices), -1) for name, indices in rows.items()}

    def scored(model: Any, name: str) -> Score:
        return score(model.predict(inputs[name]), labels[rows[name]])

    models = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)) for c in STRENGTHS]
    fitted = [model.fit(inputs["train"], labels[rows["train"]]) for model in models]
    return scored(max(fitted, key=lambda model: scored(model, "val").correct), split)
