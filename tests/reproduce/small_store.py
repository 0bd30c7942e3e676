"""Prepared events small enough to train on within a second: class "down" moves below, class "up" above the middle."""

from __future__ import annotations

import numpy as np

from neuroemo.datasets.chunks import encode_clip
from neuroemo.datasets.store_file import pack_clip, write_store
from neuroemo.events.framediff import FrameDiffSettings, frame_difference

CLASSES = ("down", "up")
SPLITS = ("train", "train", "val", "test")


def small_store(path, first_frame="float", clips=32, size=32, steps=8, seed=0, subjects=4):
    """Write a store of random clips of which half move above the middle, and return its path."""
    rng = np.random.default_rng(seed)
    settings = FrameDiffSettings(size=size, steps=steps, first_frame=first_frame)
    encoded, labels, splits, names = [], [], [], []
    for number in range(clips):
        label = number % 2
        frames = np.full((steps + 1, size, size), 100, dtype=np.uint8)
        moving = slice(0, size // 2) if label else slice(size // 2, size)
        frames[:, moving] = rng.integers(0, 256, (steps + 1, size // 2, size))
        frames = frames[: settings.frames_needed]
        encoded.append(encode_clip(pack_clip(frame_difference(frames, settings, fps=15.0), frames)))
        labels.append(label)
        splits.append(SPLITS[number * len(SPLITS) // clips])
        names.append(f"{CLASSES[label]}/{number}.mp4")
    people = ["" if not subjects else f"s{number % subjects}" for number in range(clips)]
    write_store(
        path,
        iter(encoded),
        settings=settings,
        classes=CLASSES,
        labels=labels,
        splits=splits,
        subjects=people,
        names=names,
    )
    return path
