"""Chunks: the runs of consecutive event frames that a network sees at once.

A video network reads F frames of one clip together (6 in the paper), a frame network one (F = 1). The frames that
are asked for are cut, clip by clip, at every gap in their order, into runs without a gap; a run of n >= F frames
becomes ceil(n / F) chunks, of which the last reaches back where F does not divide n, and a run of n < F frames
becomes one chunk that repeats its last frame. Every frame asked for is answered by exactly one chunk (``fresh``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array


@dataclass(frozen=True, slots=True)
class Chunks:
    """K chunks of F frames.

    ``index`` int64 [K, F] are the frames; ``fresh`` bool [K, F] is True exactly once for every frame that was asked
    for, False where a chunk shows a frame that another place answers.
    """

    index: Array
    fresh: Array

    def __len__(self) -> int:
        """Return the number of chunks K."""
        return len(self.index)


def chunks_of(clip: Array, indices: Array, length: int) -> Chunks:
    """Cut the frames ``indices`` into chunks of ``length`` frames; ``clip`` [M] is the clip of every frame there is.

    The order of ``indices`` and frames that are named twice make no difference.

    >>> clip = np.array([0, 0, 0, 0, 0, 1, 1])
    >>> chunks = chunks_of(clip, np.arange(7), 3)
    >>> chunks.index.tolist()
    [[0, 1, 2], [2, 3, 4], [5, 6, 6]]
    >>> chunks.fresh.tolist()
    [[True, True, True], [False, True, True], [True, True, False]]

    Raises:
        InputError: a length below 1, or an index that is no frame.
    """
    starts, ends = runs_of(clip, indices, length)
    index, fresh = [], []
    steps = np.arange(length)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        first = np.arange(start, end, length)
        begin = np.maximum(np.minimum(first, end - length), start)
        frames = begin[:, None] + steps
        index.append(np.minimum(frames, end - 1))
        fresh.append((frames >= first[:, None]) & (frames < end))
    if not index:
        return Chunks(np.empty((0, length), np.int64), np.empty((0, length), bool))
    return Chunks(np.concatenate(index), np.concatenate(fresh))


def windows_of(clip: Array, indices: Array, length: int, stride: int) -> Array:
    """Return all chunks int64 [K, F] that begin every ``stride`` frames of a run; the last one ends with the run.

    With a stride below ``length`` they overlap: what a training draws from, so that a frame is seen at every place
    of a chunk.

    >>> windows_of(np.zeros(5, int), np.arange(5), 3, 1).tolist()
    [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    >>> windows_of(np.zeros(2, int), np.arange(2), 3, 1).tolist()
    [[0, 1, 1]]

    Raises:
        InputError: a length or a stride below 1, or an index that is no frame.
    """
    if stride < 1:
        raise InputError(Finding("E950", "error", "stride", str(stride), "at least 1 frame"))
    starts, ends = runs_of(clip, indices, length)
    steps, parts = np.arange(length), [np.empty((0, length), np.int64)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        last = max(start, end - length)
        begin = np.union1d(np.arange(start, last + 1, stride), [last])
        parts.append(np.minimum(begin[:, None] + steps, end - 1))
    return np.concatenate(parts)


def runs_of(clip: Array, indices: Array, length: int) -> tuple[Array, Array]:
    """Return the first frame of every run without a gap, and the frame after its last; a run stays in its clip."""
    clip, frames = np.asarray(clip), np.unique(np.asarray(indices, dtype=np.int64))
    if length < 1:
        raise InputError(Finding("E950", "error", "chunk length", str(length), "at least 1 frame"))
    if len(frames) and not (frames[0] >= 0 and frames[-1] < len(clip)):
        wrong = int(frames[0] if frames[0] < 0 else frames[-1])
        raise InputError(Finding("E950", "error", "frames", f"frame {wrong} is asked for", f"0..{len(clip) - 1}"))
    begins = np.ones(len(frames), bool)
    begins[1:] = (np.diff(frames) != 1) | (clip[frames[1:]] != clip[frames[:-1]])
    places = np.flatnonzero(begins)
    lasts = np.append(places[1:], len(frames)) - 1 if len(frames) else places
    return frames[places], frames[lasts] + 1
