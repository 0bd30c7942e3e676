"""What a frozen backbone says about every frame, computed once per run instead of once per epoch.

A frozen backbone answers the same frame with the same numbers whatever the epoch, so a run without augmentation
keeps the features [frames, D] of its training and validation frames: in memory up to ``KEPT_BYTES``, else in a file
of the run's folder that goes when the run ends.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw_targets.graph import Array
from neuroemo.affect.chunks import chunks_of
from neuroemo.affect.inputs import FrameInput
from neuroemo.affect.predict import chunks_at_once, device_of
from neuroemo.models.affect.spec import AffectSpec
from neuroemo.training.resume import writing

if TYPE_CHECKING:
    from torch import nn

KEPT_BYTES = 2**30
FILE = "features.npy"


class Features:
    """The features of a set of frames; ``close`` removes the file, where there is one."""

    def __init__(
        self,
        network: nn.Module,
        spec: AffectSpec,
        source: FrameInput,
        clip: Array,
        indices: Array,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._frames = np.unique(np.asarray(indices, dtype=np.int64))
        self._file: Path | None = None
        self._values: Array | None = None
        chunks, batch = chunks_of(clip, self._frames, spec.frames), chunks_at_once(spec)
        for start in range(0, len(chunks), batch):
            index, fresh = chunks.index[start : start + batch], chunks.fresh[start : start + batch]
            found = _features(network, source(index))[fresh]
            if self._values is None:
                self._values = self._room(found.shape[1], folder)
            self._values[np.searchsorted(self._frames, index[fresh])] = found
            if progress is not None:
                progress(min(start + batch, len(chunks)), len(chunks))

    def _room(self, width: int, folder: Path) -> Array:
        shape = (len(self._frames), width)
        if 4 * shape[0] * shape[1] <= KEPT_BYTES:
            return np.zeros(shape, np.float32)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = folder / FILE
            return np.lib.format.open_memmap(self._file, mode="w+", dtype=np.float32, shape=shape)  # type: ignore[no-untyped-call]

    def __call__(self, index: Array) -> Array:
        """Return the features [N, F, D] of chunks [N, F]."""
        assert self._values is not None, "chunks of no frames have no features"  # a programming error
        return np.asarray(self._values[np.searchsorted(self._frames, index)])

    def close(self) -> None:
        """Give the memory back, and the file."""
        self._values = None
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def _features(network: nn.Module, inputs: Array) -> Array:
    import torch

    network.eval()
    with torch.no_grad():
        return network.features(torch.from_numpy(inputs).to(device_of(network))).cpu().numpy()  # type: ignore
