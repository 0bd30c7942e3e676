"""The answers that need no spiking network: the majority class, and the mean picture."""

from __future__ import annotations

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
    """Score logistic regression on each clip's mean gray frame, standardised per pixel.

    It sees where things are on average and nothing of what moves. It is given a fair chance: its
    regularisation is the one that does best on the validation clips.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(store.labels)

    def pictures(part: str) -> Array:
        indices = store.indices(part)
        return store.mean_frames(indices).reshape(len(indices), -1)

    def scored(model: Any, part: str) -> Score:
        return score(model.predict(pictures(part)), labels[store.indices(part)])

    models = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)) for c in STRENGTHS]
    fitted = [model.fit(pictures("train"), labels[store.indices("train")]) for model in models]
    return scored(max(fitted, key=lambda model: scored(model, "val").correct), split)
