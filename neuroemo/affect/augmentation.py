"""Changes of event frames that leave valence and arousal as they are: left and right exchanged, pictures moved.

Both act alike on all frames of a chunk, so motion stays motion; time is never touched, because arousal is read from
it. What moves in from outside the picture is empty.
"""

from __future__ import annotations

import numpy as np

from hw_targets.graph import Array


def change(codes: Array, random: np.random.Generator, *, mirror: bool, shift: int) -> Array:
    """Return codes [N, F, H, W], each chunk mirrored with probability 1/2 and moved by up to ``shift`` pixels.

    >>> codes = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2)
    >>> change(codes, np.random.default_rng(1), mirror=False, shift=0) is codes
    True
    """
    if not mirror and not shift:
        return codes
    flips = random.integers(0, 2, size=len(codes)) if mirror else np.zeros(len(codes), np.int64)
    moves = random.integers(-shift, shift + 1, size=(len(codes), 2))
    changed = np.zeros_like(codes)
    for number, (flip, (down, right)) in enumerate(zip(flips.tolist(), moves.tolist(), strict=True)):
        chunk = codes[number, :, :, ::-1] if flip else codes[number]
        height, width = chunk.shape[-2:]
        rows, columns = _overlap(down, height), _overlap(right, width)
        changed[number, :, rows[1], columns[1]] = chunk[:, rows[0], columns[0]]
    return changed


def _overlap(move: int, size: int) -> tuple[slice, slice]:
    """Return where a moved line comes from, and where it goes."""
    move = max(-size, min(size, move))
    return slice(max(0, -move), size - max(0, move)), slice(max(0, move), size - max(0, -move))
