"""The answers that need no spiking network: the majority class, and the mean picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuroemo.training.metrics import Score, score

if TYPE_CHECKING:
    from neuroemo.datasets.store import ClipStore


def majority_baseline(store: ClipStore, split: str = "test") -> Score:
    """Score the class that is most frequent in training on a split: what guessing is worth."""
    labels = np.asarray(store.labels)
    guess = np.bincount(labels[store.indices("train")], minlength=len(store.classes)).argmax()
    wanted = labels[store.indices(split)]
    return score(np.full(len(wanted), guess), wanted)


def mean_frame_baseline(store: ClipStore, split: str = "test", *, strength: float = 1e-3) -> Score:
    """Score logistic regression on each clip's mean gray frame, standardised per pixel.

    It sees where things are on average and nothing of what moves. ``strength`` is scikit-learn's C.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(store.labels)
    seen, asked = store.indices("train"), store.indices(split)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    model.fit(store.mean_frames(seen).reshape(len(seen), -1), labels[seen])
    return score(model.predict(store.mean_frames(asked).reshape(len(asked), -1)), labels[asked])
