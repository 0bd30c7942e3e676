"""From a stream of event frames to a stream of estimates, in the chunks in which the network was trained.

A network of F frames per chunk answers for frames k F .. (k + 1) F - 1 when the last of them is complete, so its answer
for the first of them comes F - 1 frames late. What is left at the end goes in with the frames before it (a chunk of the
last F frames), and a stream of less than F frames repeats its last one: as ``neuroemo affect evaluate`` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.representations.binary import Codes

Predict = Callable[[Codes], npt.NDArray[np.float32]]
"""Codes uint8 or uint16 [n, H, W], n at most F -> valence and arousal, float32 [n, 2]."""

Item = TypeVar("Item")
Estimated = tuple[Item, float, float]


def estimated(
    items: Iterable[Item], codes: Callable[[Item], Codes], predict: Predict, length: int
) -> Iterator[Estimated[Item]]:
    """Yield (item, valence, arousal) for every item, in order; ``codes(item)`` is its event frame [H, W].

    At most ``2 length`` items are held. Raises ``InputError`` (E983) for an estimate that is not finite.

    >>> mean = lambda codes: np.stack([codes.mean((1, 2)), codes.mean((1, 2)) * 0], axis=1).astype(np.float32)
    >>> frames = [np.full((2, 2), value, np.uint8) for value in (1, 2, 3)]
    >>> [(valence, arousal) for _, valence, arousal in estimated(frames, lambda item: item, mean, 2)]
    [(1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]
    """
    before: deque[Codes] = deque(maxlen=length)
    waiting: list[Item] = []
    for item in items:
        waiting.append(item)
        before.append(codes(item))
        if len(waiting) == length:
            yield from _answers(waiting, before, predict)
            waiting = []
    if waiting:
        yield from _answers(waiting, before, predict)


def _answers(waiting: list[Item], before: deque[Codes], predict: Predict) -> Iterator[Estimated[Item]]:
    codes: Any = np.stack(list(before))
    answers = predict(codes)[-len(waiting) :]
    if not np.isfinite(answers).all():
        found = "the network answered with a number that is not finite"
        fix = "train it again: `neuroemo affect train` refuses such weights"
        raise InputError(Finding("E983", "error", "model", found, "valence and arousal in -1..1", fix=fix))
    for item, (valence, arousal) in zip(waiting, answers.tolist(), strict=True):
        yield item, valence, arousal
