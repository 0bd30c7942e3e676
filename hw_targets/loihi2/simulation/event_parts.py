"""A convolution whose sums fit 16 bits only in parts: the input channels are shared out, and the parts are added.

Sums held in 16 bits cost about half of those held in 32. Where the weights cannot prove that a sum fits 16 bits, they
can often prove it for the sum over half of the input channels, or a third::

    a = sum over channels of w x  =  sum over the first half + sum over the second half        (each within 16 bits)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np

from hw_targets.graph import Array
from hw_targets.loihi2.simulation.event_sums import NARROW_MAX, EventConv

MOST_PARTS = 3
"""More parts cost more than wide sums do: every part lists its events and writes its sums."""


@dataclass(frozen=True, eq=False)
class EventParts:
    """A convolution by input channel: ``parts`` within 16 bits for messages of 0 to ``peak``, ``whole`` for others."""

    whole: EventConv
    parts: tuple[tuple[slice, EventConv], ...]
    peak: int

    def sums(self, messages: Array, *, compact: bool = False) -> Array:
        """Return sums of integer messages [B, H, W, C_in]; see ``EventConv.sums``."""
        if messages.dtype != np.uint8 or not self._needed(int(messages.max(initial=0))):
            return self.whole.sums(messages, compact=compact)
        total: Array | None = None
        for channels, part in self.parts:
            found = part.sums(np.ascontiguousarray(messages[..., channels]), compact=True)
            if total is None:
                total = np.zeros(found.shape, dtype=np.int32)
            _add(found.reshape(-1), total.reshape(-1))
        assert total is not None, "there are at least two parts"
        return total

    def _needed(self, highest: int) -> bool:
        """Whether messages up to ``highest`` fit 16 bits in parts, and not as a whole."""
        return highest <= self.peak and highest * self.whole.one_sided > NARROW_MAX


def in_parts(conv: EventConv, peak: int) -> EventConv | EventParts:
    """Return ``conv`` in as few parts as fit 16 bits for messages of 0 to ``peak``; itself if that is one, or too many.

    >>> conv = EventConv(np.full((1, 2, 1, 1), 20_000), (1, 1), (0, 0), (1, 1), 1, (1, 1), (1, 1))
    >>> shared = in_parts(conv, 1)
    >>> len(shared.parts), shared.sums(np.ones((1, 1, 1, 2), np.uint8)).ravel()
    (2, array([40000], dtype=int32))
    """
    if conv.groups > 1 or conv.one_sided * peak <= NARROW_MAX:
        return conv
    inputs = conv.weight.shape[1]
    for count in range(2, min(MOST_PARTS, inputs) + 1):
        edges = np.linspace(0, inputs, count + 1).astype(int).tolist()
        slices = [slice(begin, end) for begin, end in pairwise(edges)]
        parts = tuple((each, conv.of_channels(each)) for each in slices)
        if all(part.one_sided * peak <= NARROW_MAX for _, part in parts):
            return EventParts(conv, parts, peak)
    return conv


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(part: Array, total: Array) -> None:
    for index in range(total.shape[0]):
        total[index] = np.int32(total[index] + np.int32(part[index]))
