"""From the codes of event frames to what a network reads: pictures in [0, 1), or the bits as time steps.

A code of N bits holds one bit per time slice (TBR). With ``msb`` "newest" the newest slice is the highest bit, so
that slice k of N, counted from the oldest, is bit k; with "oldest" it is bit N - 1 - k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.models.affect.spec import AffectSpec

if TYPE_CHECKING:
    from pathlib import Path

KEPT_BYTES = 2 * 2**30
"""Codes up to this size are read once and kept; a larger store is read batch by batch."""
Changes = Callable[[Array], Array]
"""What an augmentation does to codes [N, F, H, W]."""


class FrameStore(Protocol):
    """What a training and an evaluation need of a store of event frames (``neuroemo.datasets.event_frames``)."""

    @property
    def path(self) -> Path:
        """Where the store lies."""

    @property
    def settings(self) -> Any:
        """How the frames were made."""

    @property
    def clip_names(self) -> tuple[str, ...]:
        """Name of every clip [C]."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Person of every clip [C], "" where unknown."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Split of every clip [C], "" where there are folds."""

    @property
    def folds(self) -> Array:
        """Fold of every clip int64 [C], -1 where there are splits."""

    @property
    def clip(self) -> Array:
        """Clip of every frame int64 [M]."""

    @property
    def times_us(self) -> Array:
        """Time of every frame in microseconds, float64 [M]."""

    def __len__(self) -> int:
        """Return the number of frames M."""

    def affect(self, indices: Array | None = None) -> Array:
        """Return valence and arousal float32 [n, 2], NaN where unknown."""

    def indices(self, split: str) -> Array:
        """Return the frames of a split, ascending."""

    def fold(self, k: int) -> dict[str, Array]:
        """Return the frames under train, val and test of fold k."""

    def codes(self, indices: Array) -> Array:
        """Return codes [n, H, W]."""

    def fingerprint(self) -> str:
        """Return a digest of everything in the store."""


def check_fit(spec: AffectSpec, settings: Any, where: str) -> None:
    """Raise InputError unless frames of these settings are what the network reads: their size and number of bits."""
    bad = []
    for name in ("size", "n_bits"):
        wanted, there = getattr(spec, name), getattr(settings, name)
        if wanted != there:
            fix = "make the event frames anew for this network, or choose a network for these frames"
            bad.append(Finding("E954", "error", where, f"event frames of {name} {there}", f"{name} {wanted}", fix=fix))
    if bad:
        raise InputError(bad)


def unpack(codes: Array, spec: AffectSpec, msb: str) -> Array:
    """Turn codes [N, F, H, W] into the float32 input of a network: [N, F, 1, H, W], or bits [N, F, B, 1, H, W].

    >>> spec = AffectSpec("small", "vit", size=16, patch=8, embedding=4, depth=1, heads=1, feedforward=4)
    >>> codes = np.full((1, 1, 16, 16), 192, np.uint8)
    >>> unpack(codes, spec, "newest")[0, 0, 0, 0, 0].item()
    0.75
    """
    if spec.input == "frames":
        return codes[:, :, None].astype(np.float32) / np.float32(2**spec.n_bits)
    order = np.arange(spec.n_bits, dtype=codes.dtype)
    places = order if msb == "newest" else order[::-1]
    bits = (codes[:, :, None] >> places[:, None, None]) & codes.dtype.type(1)
    return bits[:, :, :, None].astype(np.float32)


class FrameInput:
    """The input of one network from one store.

    With ``keep``, all frames that will be asked for, their codes are read once and kept where they fit
    (``KEPT_BYTES``); else every chunk is read when it is needed.
    """

    def __init__(self, spec: AffectSpec, data: FrameStore, keep: Array | None = None) -> None:
        check_fit(spec, data.settings, str(data.path))
        self._spec, self._data, self._msb = spec, data, str(data.settings.msb)
        self._frames = np.unique(np.asarray([] if keep is None else keep, dtype=np.int64))
        fits = len(self._frames) * spec.size**2 * (1 if spec.n_bits <= 8 else 2) <= KEPT_BYTES
        self._kept = data.codes(self._frames) if fits and len(self._frames) else None

    def codes(self, index: Array) -> Array:
        """Return the codes [N, F, H, W] of chunks [N, F]; a frame that stands twice is read once."""
        frames, places = np.unique(index, return_inverse=True)
        found = self._data.codes(frames) if self._kept is None else self._kept[np.searchsorted(self._frames, frames)]
        return found[places.reshape(-1)].reshape(*index.shape, *found.shape[1:])

    def __call__(self, index: Array, change: Changes | None = None) -> Array:
        """Return the network's input for chunks [N, F]; ``change`` acts on their codes."""
        codes = self.codes(index)
        return unpack(codes if change is None else change(codes), self._spec, self._msb)
