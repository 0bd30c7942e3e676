"""One labelled recording of a data set, in the form that every loader hands on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """One recording: where it lies, what it shows, whose it is, and which part of an experiment may see it.

    ``name`` is unique in its data set and stays the same wherever the folder lies. ``path`` is a file, or the
    folder of the frames. ``label`` is the class, None where the data set has none for this recording.
    ``values`` holds numeric labels by name, float32: one per frame [F] (valence, arousal), or [1] where the
    data set rates the whole recording. ``subject`` is the person, or the nearest thing the data set names,
    "" when unknown. ``split`` is "train", "val" or "test", None where the data set comes in folds; ``fold``
    counts from 0, None where it comes in splits. ``span_s`` is (start, end) in seconds where the recording is
    only that segment of the file.

    >>> entry = DatasetEntry("a/1", Path("a/1.mp4"), "negative", {"sentiment": np.float32([-1.6])}, "a", "train")
    >>> entry.fold is None, entry.span_s is None
    (True, True)
    """

    name: str
    path: Path
    label: str | None
    values: Mapping[str, npt.NDArray[np.float32]] | None
    subject: str
    split: str | None = None
    fold: int | None = None
    span_s: tuple[float, float] | None = None
