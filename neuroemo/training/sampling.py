"""In which order an epoch sees its clips, and which of them each process takes.

An epoch is one order of clips, cut into global batches; a process takes its share of every batch. The order
depends on the seed alone, not on the number of processes, so that several processes train on the batches
that one would have trained on.
"""

from __future__ import annotations

import numpy as np

from hw_targets.graph import Array
from neuroemo.training.settings import TrainSettings


def epoch_order(indices: Array, labels: Array, random: np.random.Generator, *, balanced: bool = False) -> Array:
    """Return the clips [N] of an epoch in random order; ``labels`` [N] belong to ``indices`` [N].

    Plain: every clip once. Balanced: every class as often as the largest one, so that no clip is left out;
    the clips of a smaller class come again, as equally often as the numbers allow (``repeated``), and the
    epoch grows to classes x largest class.

    >>> order = epoch_order(np.arange(5), np.array([0, 0, 0, 0, 1]), np.random.default_rng(0), balanced=True)
    >>> sorted(order.tolist())
    [0, 1, 2, 3, 4, 4, 4, 4]
    """
    if not balanced:
        return random.permutation(indices)
    groups = [indices[labels == label] for label in np.unique(labels)]
    most = max(len(group) for group in groups)
    return random.permutation(np.concatenate([repeated(group, most, random) for group in groups]))


def repeated(indices: Array, count: int, random: np.random.Generator) -> Array:
    """Return ``count`` entries in which each index stands floor or ceil of count / len(indices) times.

    >>> sorted(repeated(np.array([3, 8]), 4, np.random.default_rng(0)).tolist())
    [3, 3, 8, 8]
    """
    whole, rest = divmod(count, len(indices))
    return np.concatenate([np.tile(indices, whole), random.permutation(indices)[:rest]])


def batches_of_epoch(labels: Array, settings: TrainSettings) -> int:
    """Return how many global batches an epoch over training clips with these labels [N] has.

    >>> batches_of_epoch(np.array([0, 0, 0, 1]), TrainSettings(batch=2, balanced=True))
    3
    """
    clips = len(labels)
    if settings.balanced:
        counts = np.unique(labels, return_counts=True)[1]
        clips = int(counts.max()) * len(counts)
    return -(-clips // settings.batch)


def global_batches(order: Array, size: int) -> list[Array]:
    """Return an order of clips cut into batches of ``size``; the last one may be shorter, no clip is lost.

    >>> [batch.tolist() for batch in global_batches(np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    return [order[start : start + size] for start in range(0, len(order), size)]


def share(batch: Array, rank: int, world: int) -> Array:
    """Return the part of a global batch that process ``rank`` of ``world`` takes: one run of neighbours.

    The parts differ by at most one entry, the first ranks take the longer ones, and in rank order they make
    up the batch. A batch with fewer clips than processes leaves some with none.

    >>> [share(np.arange(7), rank, 3).tolist() for rank in range(3)]
    [[0, 1, 2], [3, 4], [5, 6]]
    """
    return np.array_split(batch, world)[rank]
