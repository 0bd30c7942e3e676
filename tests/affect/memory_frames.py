"""Event frames in memory: with the interface of a store, from arrays, from squares that are easy to learn, or faces."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from neuroemo.datasets.event_frame_settings import EventFrameSettings


class MemoryFrames:
    def __init__(self, codes, clip, values, subjects, splits=None, folds=None, names=None, msb="newest", n_bits=8):
        self.path = Path("memory.h5")
        self._codes, self.clip, self.values = codes, np.asarray(clip), np.asarray(values, np.float32)
        self.subjects = tuple(subjects)
        clips = len(self.subjects)
        self.splits = tuple(splits or ("",) * clips)
        self.folds = np.full(clips, -1) if folds is None else np.asarray(folds)
        self.clip_names = tuple(names or (f"clip{number:03}" for number in range(clips)))
        self.settings = EventFrameSettings(size=codes.shape[1], n_bits=n_bits, msb=msb)
        self.times_us = np.concatenate(
            [np.arange(count) * 40000.0 for count in np.bincount(self.clip, minlength=clips)]
        )
        self.read = 0

    def __len__(self):
        return len(self.clip)

    def affect(self, indices=None):
        return self.values if indices is None else self.values[indices]

    def _of(self, chosen):
        return np.flatnonzero(np.asarray(chosen)[self.clip])

    def indices(self, split):
        return self._of([name == split for name in self.splits])

    def fold(self, k):
        count = self.folds.max() + 1
        test, val = self.folds == k, self.folds == (k + 1) % count
        return {"train": self._of(~test & ~val), "val": self._of(val), "test": self._of(test)}

    def codes(self, indices):
        self.read += len(indices)
        return self._codes[indices]

    def fingerprint(self):
        return hashlib.sha256(self._codes.tobytes() + self.values.tobytes()).hexdigest()


def squares(clips=20, frames=7, size=32, seed=0, dtype=np.uint8):
    """Clips of a bright square: how far right it is is valence, how far down arousal; they drift along a clip."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((clips, frames, size, size), dtype)
    values = np.zeros((clips, frames, 2), np.float32)
    for number in range(clips):
        place = rng.uniform(0.2, 0.8, 2) * size
        drift = rng.uniform(-0.3, 0.3, 2)
        for time in range(frames):
            row, column = np.clip(place + drift * time, 4, size - 4).astype(int)
            codes[number, time, row - 3 : row + 3, column - 3 : column + 3] = rng.integers(100, 255)
            values[number, time] = (column / size * 2 - 1, row / size * 2 - 1)
    subjects = [f"s{number // 2:02}" for number in range(clips)]
    splits = [("train", "train", "train", "val", "test")[number * 5 // clips] for number in range(clips)]
    folds = [number // 2 % 5 for number in range(clips)]
    clip = np.repeat(np.arange(clips), frames)
    return MemoryFrames(codes.reshape(-1, size, size), clip, values.reshape(-1, 2), subjects, splits, folds)


@cache
def faces(subjects=20, clips=6, frames=17, size=32, fps=10.0, threshold=0.05, slice_us=50000):
    """Event frames of the synthetic faces, one clip after the other, without a video in between."""
    from neuroemo.datasets.faces import FacesSettings, plan_faces

    settings = FacesSettings(subjects=subjects, clips_per_subject=clips, size=size, fps=fps, frames=frames, seed=3)
    plan = plan_faces(settings)
    parts = [_clip(one, size, frames, fps, threshold, slice_us) for one in plan]
    clip = np.repeat(np.arange(len(plan)), [len(codes) for codes, _ in parts])
    codes, values = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    return MemoryFrames(codes, clip, values, [one.subject for one in plan], [one.split for one in plan])


def _clip(one, size, frames, fps, threshold, slice_us):
    from neuroemo.datasets.faces_clip import clip_frames, expression_at, plan_clip
    from neuroemo.events.pixel.settings import PixelSettings
    from neuroemo.events.pixel.simulator import PixelSimulator
    from neuroemo.events.representations import TbrSettings, tbr

    pictures = clip_frames(
        3, one.subject_index, one.clip_index, one.valence, one.arousal, size=size, frames=frames, fps=fps
    )
    rng = np.random.default_rng([3, 2, one.subject_index, one.clip_index])
    plan = plan_clip(rng, one.valence, one.arousal)
    truth = np.array([(told.valence, told.arousal) for told in (expression_at(plan, k, fps) for k in range(frames))])
    camera = PixelSimulator(PixelSettings(positive_threshold=threshold, negative_threshold=threshold), size, size)
    times = np.rint(np.arange(frames) * 1e6 / fps).astype(np.int64)
    events = np.concatenate([camera.feed(picture, int(time)) for picture, time in zip(pictures, times, strict=True)])
    count = int(times[-1]) // (8 * slice_us)
    settings = TbrSettings(n_bits=8, dt_us=slice_us, start_us=0, count=count, closed="right")
    made = tbr(events, (size, size, 2), settings)
    return made.codes[:, 0], truth[np.abs(made.mean_times_us[:, None] - times[None]).argmin(1)]
