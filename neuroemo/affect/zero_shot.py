"""Emotions from valence and arousal without training on them: the nearest prototype of one frame of a video.

With (v, a)_t the estimates of the T frames of a video, in three steps (Berlincioni et al., "Neuromorphic Valence and
Arousal Estimation", section 5.3):

    representative frame   F   = (v, a)_t*,  t* = argmax_t |(v, a)_t - mean_t (v, a)_t|
    prototype of emotion e T_e = mean of (v, a) over every frame of every training video labelled e
    answer                 argmin_e |F - T_e|

with the Euclidean length, and means over frames: a long training video counts for more than a short one. The labels of
the training videos make the prototypes, so "zero-shot" says that no weight was trained on the emotions.

What the text leaves open. Of frames equally far the earliest represents the video, and of prototypes equally near the
first in the order of their names is the answer; lengths within one part in 10^9 of each other count as equal, so that
the order in which a machine sums decides nothing. A video without frames, and an emotion that is to be recognised but
has no training video, are refused by name. Videos whose label is no emotion (NEFER's "None", reported) are left out of
both lists, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.training.metrics import Score

if TYPE_CHECKING:
    from neuroemo.datasets.event_frames import EventFrames

NO_EMOTION = ("None", "unlabelled")
"""Labels that name no emotion: videos that carry them have no right answer."""

EQUAL = 1e-9
"""Lengths whose relative difference is smaller count as equal."""

FEW_NAMES = 5


@dataclass(frozen=True, slots=True)
class Videos:
    """Videos with their estimates: ``names``, ``labels``, and one float [T, 2] of valence and arousal per video.

    Raises:
        InputError: E960 lists of different lengths, E961 a video without frames, E962 estimates that are not
            finite pairs; all videos at once.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    estimates: tuple[Array, ...]

    def __post_init__(self) -> None:
        """Refuse what no step could be taken with."""
        if not len(self.names) == len(self.labels) == len(self.estimates):
            found = f"{len(self.names)} names, {len(self.labels)} labels, {len(self.estimates)} tables of estimates"
            raise InputError(Finding("E960", "error", "videos", found, "one of each per video"))
        arrays = [np.asarray(table, dtype=np.float64) for table in self.estimates]
        empty = [name for name, table in zip(self.names, arrays, strict=True) if table.size == 0]
        wrong = [
            name
            for name, table in zip(self.names, arrays, strict=True)
            if table.size and (table.ndim != 2 or table.shape[1] != 2 or not np.isfinite(table).all())
        ]
        findings = []
        if empty:
            fix = "leave the video out, or record it again"
            findings.append(Finding("E961", "error", _few(empty), "has no frames", "at least 1", fix=fix))
        if wrong:
            found = "has estimates that are no finite pairs"
            findings.append(Finding("E962", "error", _few(wrong), found, "[frames, 2]: valence and arousal"))
        if findings:
            raise InputError(findings)

    def __len__(self) -> int:
        """Return the number of videos."""
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Prototypes:
    """One point per emotion: ``names`` ascending, ``points`` float64 [C, 2], and what each is the mean of."""

    names: tuple[str, ...]
    points: Array
    videos: tuple[int, ...]
    frames: tuple[int, ...]

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the prototypes as JSON-ready rows."""
        rows = zip(self.names, self.points.tolist(), self.videos, self.frames, strict=True)
        return [
            {"emotion": name, "valence": point[0], "arousal": point[1], "videos": videos, "frames": frames}
            for name, point, videos, frames in rows
        ]


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """The answers to the test videos, int64 [n] into ``prototypes.names``, with frame and point that gave them."""

    prototypes: Prototypes
    names: tuple[str, ...]
    truth: Array
    answers: Array
    frames: Array
    points: Array
    left_out: int

    @property
    def score(self) -> Score:
        """Right answers with the 95 % Wilson interval."""
        return Score(int((self.truth == self.answers).sum()), len(self.truth))

    def to_dict(self) -> dict[str, Any]:
        """Return score, chance, the largest class, confusion (rows truth, columns answer) and every answer."""
        emotions = self.prototypes.names
        confusion = np.zeros((len(emotions), len(emotions)), np.int64)
        np.add.at(confusion, (self.truth, self.answers), 1)
        videos = confusion.sum(axis=1)
        largest = int(np.argmax(videos))
        return self.score.to_dict() | {
            "chance": 1 / len(emotions),
            "largest_class": {"emotion": emotions[largest], "share": float(videos[largest] / len(self.truth))},
            "emotions": list(emotions),
            "prototypes": self.prototypes.to_dict(),
            "confusion": confusion.tolist(),
            "per_class": [
                {"emotion": name} | Score(int(confusion[at, at]), int(videos[at])).to_dict()
                for at, name in enumerate(emotions)
                if videos[at]
            ],
            "left_out": self.left_out,
            "answers": self._rows(),
        }

    def _rows(self) -> list[dict[str, Any]]:
        emotions = self.prototypes.names
        return [
            {
                "video": name,
                "truth": emotions[self.truth[at]],
                "answer": emotions[self.answers[at]],
                "frame": int(self.frames[at]),
                "valence": float(self.points[at, 0]),
                "arousal": float(self.points[at, 1]),
            }
            for at, name in enumerate(self.names)
        ]


def representative_frame(estimates: Array) -> int:
    """Return which frame of [T, 2] lies farthest from the mean of all T; the earliest of those equally far.

    >>> representative_frame(np.array([[0.0, 0.0], [0.1, 0.0], [0.8, 0.6], [0.1, 0.0]]))
    2
    >>> representative_frame(np.array([[-1.0, 0.0], [1.0, 0.0]]))  # both at distance 1: the earlier one
    0

    Raises:
        InputError: no frames, or no finite pairs (``Videos``).
    """
    (table,) = Videos(("video",), ("",), (estimates,)).estimates
    points = np.asarray(table, dtype=np.float64)
    away = np.linalg.norm(points - points.mean(axis=0), axis=1)
    return int(np.argmax(away >= away.max() * (1 - EQUAL)))


def prototypes_of(videos: Videos) -> Prototypes:
    """Return the mean estimate over all frames of all videos of each label, in the order of the labels' names.

    >>> videos = Videos(("a", "b"), ("joy", "joy"), (np.array([[0.0, 0.0]]), np.array([[0.6, 0.3], [0.6, 0.3]])))
    >>> prototypes_of(videos).points.round(2).tolist()  # 3 frames, not 2 videos: 0.4, not 0.3
    [[0.4, 0.2]]
    """
    emotions = tuple(sorted(set(videos.labels)))
    parts = [
        [
            np.asarray(table, np.float64)
            for label, table in zip(videos.labels, videos.estimates, strict=True)
            if label == e
        ]
        for e in emotions
    ]
    points = np.array([np.concatenate(part).mean(axis=0) for part in parts]).reshape(-1, 2)
    return Prototypes(emotions, points, tuple(map(len, parts)), tuple(sum(map(len, part)) for part in parts))


def nearest_prototype(point: Array, prototypes: Prototypes) -> int:
    """Return the index of the prototype nearest to (v, a); of those equally near the first by name.

    >>> both = Prototypes(("anger", "joy"), np.array([[-0.5, 0.5], [0.5, 0.5]]), (1, 1), (1, 1))
    >>> nearest_prototype(np.array([0.1, 0.0]), both), nearest_prototype(np.array([0.0, 0.0]), both)
    (1, 0)
    """
    away = np.linalg.norm(prototypes.points - np.asarray(point, dtype=np.float64), axis=1)
    return int(np.argmax(away <= away.min() * (1 + EQUAL)))


def zero_shot(train: Videos, test: Videos, *, no_emotion: Iterable[str] = NO_EMOTION) -> ZeroShot:
    """Name the emotion of every test video from the prototypes of the training videos.

    Raises:
        InputError: E963 no test video, or no training video, with an emotion; E964 an emotion of the test videos
            that no training video shows: no answer to them could be right.
    """
    silent = frozenset(no_emotion)
    kept_train, kept_test = _with_emotion(train, silent), _with_emotion(test, silent)
    for name, kept in (("training", kept_train), ("test", kept_test)):
        if not len(kept):
            raise InputError(Finding("E963", "error", f"{name} videos", "no video is labelled with an emotion"))
    unseen = sorted(set(kept_test.labels) - set(kept_train.labels))
    if unseen:
        found = "has test videos and no training video, so there is no prototype of it"
        fix = "add a training video of it, or leave its test videos out"
        raise InputError(Finding("E964", "error", _few(unseen), found, "at least 1", fix=fix))
    prototypes = prototypes_of(kept_train)
    frames = np.array([representative_frame(table) for table in kept_test.estimates], np.int64)
    points = np.array([table[at] for table, at in zip(kept_test.estimates, frames, strict=True)], np.float64)
    return ZeroShot(
        prototypes=prototypes,
        names=kept_test.names,
        truth=np.array([prototypes.names.index(label) for label in kept_test.labels], np.int64),
        answers=np.array([nearest_prototype(point, prototypes) for point in points], np.int64),
        frames=frames,
        points=points,
        left_out=len(test) - len(kept_test),
    )


def videos_of(data: EventFrames, indices: Array, estimates: Array) -> Videos:
    """Gather the estimates [n, 2] of the frames ``indices`` of a store by clip, in order of time."""
    clips = np.asarray(data.clip)[indices]
    order = np.lexsort((indices, clips))
    present, starts = np.unique(clips[order], return_index=True)
    tables = np.split(np.asarray(estimates)[order], starts[1:]) if len(present) else []
    names = tuple(data.clip_names[clip] for clip in present)
    labels = tuple(data.classes[data.labels[clip]] if data.labels[clip] >= 0 else "unlabelled" for clip in present)
    return Videos(names, labels, tuple(tables))


def zero_shot_on(
    data: EventFrames, estimate: Callable[[Array], Array], *, train: str = "train", test: str = "val"
) -> ZeroShot:
    """Name the emotions of a split of a store with ``estimate``: frames int64 [n] to valence and arousal [n, 2].

    The prototypes come from split ``train``. NEFER has no test list, so its validation list is the test.

    Raises:
        InputError: a split is empty, a clip has no frame, and as ``zero_shot``.
    """
    _check_clips(data, (train, test))
    parts = {split: data.indices(split) for split in (train, test)}
    videos = {split: videos_of(data, indices, estimate(indices)) for split, indices in parts.items()}
    return zero_shot(videos[train], videos[test])


def _check_clips(data: EventFrames, splits: Sequence[str]) -> None:
    """Refuse clips that the store lists and has no frame of: they would be missing from the count."""
    filled = set(np.unique(np.asarray(data.clip)).tolist())
    names = zip(data.clip_names, data.splits, strict=True)
    empty = [name for at, (name, split) in enumerate(names) if split in splits and at not in filled]
    if empty:
        fix = "prepare it again, or leave the video out with --skip-broken"
        raise InputError(Finding("E961", "error", _few(empty), "has no frames", "at least 1", fix=fix))


def _with_emotion(videos: Videos, silent: frozenset[str]) -> Videos:
    kept = [at for at, label in enumerate(videos.labels) if label not in silent]
    return Videos(
        tuple(videos.names[at] for at in kept),
        tuple(videos.labels[at] for at in kept),
        tuple(videos.estimates[at] for at in kept),
    )


def _few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are.

    >>> _few(["a", "b"]), _few(["a", "b", "c", "d", "e", "f"])
    ('a, b', 'a, b, c, d, e and 1 more')
    """
    more = len(names) - FEW_NAMES
    return ", ".join(names[:FEW_NAMES]) + (f" and {more} more" if more > 0 else "")
