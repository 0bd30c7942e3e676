"""A trained run of valence and arousal as a model to export, and event frames as the clips that it is proved on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.deployment.model import LoadedModel

if TYPE_CHECKING:
    from neuroemo.datasets.event_frame_settings import EventFrameSettings
    from neuroemo.datasets.event_frames import EventFrames
    from neuroemo.models.affect.spec import AffectSpec


def is_affect_run(path: Path) -> bool:
    """Return whether a folder says that it is a run of valence and arousal; whether it is sound is not asked."""
    from export.storage import read_json
    from neuroemo.affect.run import KIND
    from neuroemo.training.checkpoint import DESCRIPTION

    if not (path / DESCRIPTION).is_file():
        return False
    return read_json(path / DESCRIPTION, "a checkpoint folder").get("kind") == KIND


def load_affect(path: Path) -> LoadedModel:
    """Load a run of valence and arousal, its parallel branches folded, as a chain of layers that a chip may hold.

    Raises:
        InputError: the run is damaged, or its network is an ANN.
    """
    from export.sources import ModuleSource
    from neuroemo.affect.run import open_affect
    from neuroemo.models.affect.spiking import chip_network

    run = open_affect(path)
    spec = run.spec
    if not spec.is_spiking:
        found = f"{spec.name}, an ANN of kind {spec.kind}: it has no spikes to export"
        fix = "train a spiking one: neuroemo affect train --model spiking-plif@64 or spiking-resnet@64"
        raise InputError(Finding("E998", "error", str(path), found, "spiking-plif, spiking-resnet", fix=fix))
    network: Any = run.network
    return LoadedModel(
        ModuleSource(chip_network(network), float(run.frames_settings.slice_us)),
        "affect run",
        path.resolve().name,
        (1, spec.size, spec.size),
        spec.frames * spec.n_bits,
        "spikes",
        checkpoint=path,
        affect=run,
    )


@dataclass(frozen=True, slots=True, eq=False)
class FrameChunks:
    """Chunks of event frames as clips: the bits of a chunk's frames, oldest first, one step each.

    ``index`` int64 [K, F] are the frames of every chunk, ``fresh`` bool [K, F] those that no other chunk answers.
    """

    store: EventFrames
    index: Array
    fresh: Array
    words: str
    split: str

    @property
    def names(self) -> list[str]:
        """Clip of every chunk, and which of the clip's frames, from 0, is its first."""
        firsts = self.index[:, 0]
        clips = self.store.clip[firsts]
        places = firsts - np.searchsorted(self.store.clip, clips)
        return [f"{self.store.clip_names[clip]} from frame {place}" for clip, place in zip(clips, places, strict=True)]

    def batch(self, positions: Array) -> Array:
        """Return clips [F B, N, 1, H, W], float32."""
        chosen = self.index[positions]
        bits = self.store.bits(chosen.ravel())
        steps = bits.reshape(len(chosen), chosen.shape[1] * bits.shape[1], *bits.shape[2:])
        return np.ascontiguousarray(steps.swapaxes(0, 1)).astype(np.float32)

    def labels(self, positions: Array) -> Array:
        """Return the true values [N, F, 2]; NaN where another chunk answers a frame, or nobody rated it."""
        chosen = self.index[positions]
        truth = self.store.affect(chosen.ravel()).reshape(*chosen.shape, -1).astype(np.float64)
        truth[~self.fresh[positions]] = np.nan
        return truth

    def label_of(self, position: int) -> str | None:
        """Return the true values of a chunk's last frame as a text."""
        valence, arousal = self.store.affect(self.index[position, -1:])[0]
        return f"valence {valence:+.2f}, arousal {arousal:+.2f}"


def described(details: dict[str, Any], where: str) -> tuple[AffectSpec, EventFrameSettings] | None:
    """Return spec and event frames of what a bundle's manifest keeps of an affect run; None for other bundles.

    Raises:
        InputError: it is damaged.
    """
    from neuroemo.datasets.event_frame_settings import event_frame_settings
    from neuroemo.models.affect.spec import AffectSpec

    if "affect" not in details:
        return None
    told = details["affect"]
    try:
        return AffectSpec.from_dict(told["spec"]), event_frame_settings(told["event_frames"])
    except (KeyError, TypeError, ValueError) as error:
        found = f"not the description of an affect run: {error!r}"[:200]
        raise InputError(Finding("E999", "error", where, found, "a bundle written by `neuroemo export`")) from error


def open_chunks(spec: AffectSpec, made: EventFrameSettings, data: Path, split: str | None) -> FrameChunks:
    """Open a store of event frames as chunks of the length that a network reads; ``made`` says how its frames are made.

    ``split`` None: the test frames, or all where a data set comes in folds.

    Raises:
        InputError: no store of event frames, or of frames of another size, number of bits or length of slices.
    """
    from neuroemo.affect.chunks import chunks_of
    from neuroemo.datasets.event_frames import EventFrames

    if data.is_dir():
        fix = "make event frames first: neuroemo data frames --help"
        raise InputError(Finding("E999", "error", str(data), "a folder", "a file of event frames", fix=fix))
    store = EventFrames.open(data)
    try:
        _check_frames(made, store)
        chosen = split or ("test" if "test" in store.splits else "all")
        frames = np.arange(len(store)) if chosen == "all" else store.indices(chosen)
        chunks = chunks_of(store.clip, frames, spec.frames)
    except BaseException:
        store.close()
        raise
    return FrameChunks(store, chunks.index, chunks.fresh, f"chunks of {data.name} ({chosen})", chosen)


def _check_frames(wanted: EventFrameSettings, store: EventFrames) -> None:
    found = store.settings
    findings = [
        Finding("E999", "error", str(store.path), f"{name} {getattr(found, name)}", f"{getattr(wanted, name)}")
        for name in ("size", "n_bits", "slice_us")
        if getattr(found, name) != getattr(wanted, name)
    ]
    if findings:
        raise InputError(findings)
