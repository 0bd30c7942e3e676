"""What an affect training reads: chunks, labels, and the inputs or the features of a frozen backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.affect.augmentation import change
from neuroemo.affect.chunks import Chunks, chunks_of, windows_of
from neuroemo.affect.features import Features
from neuroemo.affect.inputs import FrameInput, FrameStore, check_fit
from neuroemo.affect.settings import AffectSettings
from neuroemo.models.affect.spec import OUTPUTS, AffectSpec

if TYPE_CHECKING:
    from torch import nn

PARTS = ("train", "val")


class Material:
    """The training and validation frames of one run.

    ``windows`` int64 [K, F] are the chunks that an epoch draws from, ``labels`` float32 [M, 2] those of all frames of
    the store, ``train_mean`` the mean labels of the training frames, and ``validation`` the chunks of the validation.

    Raises:
        InputError: the store does not fit the network, has no labels, or a part of the split has no known one.
    """

    def __init__(
        self, spec: AffectSpec, data: FrameStore, settings: AffectSettings, split: dict[str, Array] | None
    ) -> None:
        check_fit(spec, data.settings, str(data.path))
        self.spec, self.data, self.settings = spec, data, settings
        self.labels = np.asarray(data.affect(), dtype=np.float32)
        self.split = checked_split(data, split, self.labels)
        train, val = self.split["train"], self.split["val"]
        windows = windows_of(data.clip, train, spec.frames, settings.stride or 1)
        self.windows = windows[np.isfinite(self.labels[windows]).any(axis=(1, 2))]
        frames = min(len(train), settings.frames_per_epoch or len(train))
        self.chunks_per_epoch = min(len(self.windows), -(-frames // spec.frames))
        self.train_mean = tuple(np.nanmean(self.labels[train], axis=0, dtype=np.float64).tolist())
        self.validation = _thinned(chunks_of(data.clip, val, spec.frames), settings.validation_frames, spec.frames)
        self._source = FrameInput(spec, data, np.union1d(train, val))
        self._features: Features | None = None

    @property
    def has_features(self) -> bool:
        """Whether chunks are the features of a frozen backbone instead of frames."""
        return self._features is not None

    def compute_features(
        self, network: nn.Module, folder: Path, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Let a frozen backbone answer all frames of the run once."""
        frames = np.union1d(self.split["train"], np.unique(self.validation.index))
        self._features = Features(network, self.spec, self._source, self.data.clip, frames, folder, progress)

    def inputs(self, index: Array, random: np.random.Generator | None = None) -> Array:
        """Return what the network reads of chunks [N, F]; ``random`` changes them for a training step."""
        if self._features is not None:
            return self._features(index)
        if random is None or not self.settings.augment:
            return self._source(index)
        mirror, shift = self.settings.mirror, self.settings.shift_at(self.spec.size)
        return self._source(index, lambda codes: change(codes, random, mirror=mirror, shift=shift))

    def close(self) -> None:
        """Give back what the features took."""
        if self._features is not None:
            self._features.close()

    def trained_on(self) -> dict[str, Any]:
        """Return what ``model.json`` says about the data: frames, clips and subjects of both parts, fingerprint."""
        told: dict[str, Any] = {"fingerprint": self.data.fingerprint()}
        for part, name in zip(PARTS, ("training", "validation"), strict=True):
            clips = np.unique(self.data.clip[self.split[part]])
            subjects = sorted({self.data.subjects[int(clip)] for clip in clips})
            told[name] = {"frames": len(self.split[part]), "clips": len(clips), "subjects": subjects}
        return told


def checked_split(data: FrameStore, split: dict[str, Array] | None, labels: Array) -> dict[str, Array]:
    """Return training and validation frames, ascending; what cannot be trained on is an InputError, all at once."""
    asked: dict[str, Any] = {part: data.indices(part) for part in PARTS} if split is None else split
    where, bad = str(data.path), []
    told: dict[str, Array] = {}
    for part in PARTS:
        frames = np.unique(np.asarray(asked.get(part, ()), dtype=np.int64))
        if not len(frames) or frames[0] < 0 or frames[-1] >= len(labels):
            found = f"{part} has {len(frames)} frames" + (f", {frames[0]} to {frames[-1]}" if len(frames) else "")
            bad.append(Finding("E956", "error", where, found, f"frames of 0..{len(labels) - 1}"))
            continue
        told[part] = frames
        bad += _label_findings(labels[frames], part, where)
    if len(told) == len(PARTS) and (both := np.intersect1d(told["train"], told["val"])).size:
        found = f"{both.size} frames are both trained on and validated on"
        bad.append(Finding("E956", "error", where, found, "0", fix="give parts that have no frame in common"))
    if bad:
        raise InputError(bad)
    return told


def _label_findings(labels: Array, part: str, where: str) -> list[Finding]:
    bad = []
    for column, name in enumerate(OUTPUTS):
        known = labels[np.isfinite(labels[:, column]), column]
        if not len(known):
            fix = "use frames with labels of valence and arousal"
            bad.append(Finding("E956", "error", where, f"no frame of {part} has a known {name}", "1", fix=fix))
        elif np.abs(known).max() > 1:
            found = f"{name} of {part} reaches {known[np.abs(known).argmax()]:g}"
            bad.append(Finding("E956", "error", where, found, "-1 to 1", fix="divide the labels by their range"))
    return bad


def digest(parts: Sequence[Array]) -> str:
    """Return a short name of index arrays, so that a resumed run knows whether they are the same."""
    told = hashlib.sha256()
    for part in parts:
        told.update(f"{len(part)} ".encode() + np.ascontiguousarray(part, dtype="<i8").tobytes())
    return told.hexdigest()[:32]


def _thinned(chunks: Chunks, frames: int | None, length: int) -> Chunks:
    """Return evenly spaced chunks of about so many frames, all where that is None or more than there are."""
    wanted = len(chunks) if frames is None else min(len(chunks), max(1, frames // length))
    kept = np.unique(np.linspace(0, len(chunks) - 1, wanted).round().astype(np.int64))
    return Chunks(chunks.index[kept], chunks.fresh[kept])
