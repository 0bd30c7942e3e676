"""A store in memory: two classes that differ in which half of the frame is busy."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np

from neuroemo.events.framediff import FrameDiffSettings


class FakeStore:
    def __init__(self, clips: int = 40, size: int = 32, steps: int = 8, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.settings = FrameDiffSettings(size=size, steps=steps)
        self.classes = ("left", "right")
        self.labels = np.arange(clips) % 2
        self.splits = tuple(("train", "train", "train", "val", "test")[i * 5 // clips] for i in range(clips))
        self.names = tuple(f"clip{i}" for i in range(clips))
        self.index = SimpleNamespace(fps=np.full(clips, 15.0))
        density = np.full((clips, 1, 1, 1, size), 0.05)
        half = size // 2
        density[self.labels == 0, ..., :half] = 0.6
        density[self.labels == 1, ..., half:] = 0.6
        self.data = (rng.random((clips, steps, 2, size, size)) < density).astype(np.float32).swapaxes(0, 1)
        self.data[0] = rng.random((clips, 1, size, size))

    def fingerprint(self):
        return hashlib.sha256(self.data.tobytes()).hexdigest()

    def __len__(self):
        return len(self.names)

    def indices(self, split):
        return np.flatnonzero(np.array([name == split for name in self.splits]))

    def batch(self, indices):
        return self.data[:, indices].copy()

    def mean_frames(self, indices):
        return self.data[1:, indices].mean(axis=(0, 2))
