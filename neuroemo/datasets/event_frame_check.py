"""What lies in a store of event frames: is it still what was written, and what its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import InputError, VerificationError
from neuroemo.datasets.event_frame_manifest import FrameClipRow, FrameManifest
from neuroemo.datasets.event_frame_source import NO_COUNT, frames_digest
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.datasets.manifest import digest
from neuroemo.datasets.prepared_store import _differs, manifest_path
from neuroemo.datasets.store import Progress

_AT_ONCE = 256
"""Frames read at a time, so that a long clip takes no memory of its length."""


def check_event_frames(path: str | Path, *, progress: Progress | None = None) -> FrameManifest:
    """Read every frame of a store, compare it with the manifest, and return that; ``progress(done, total)`` per clip.

    Raises ``InputError`` for a file that is no store, ``VerificationError`` (E861) with every clip that is damaged and
    everything else that differs from the manifest.
    """
    target = Path(path)
    with EventFrames.open(target) as store:
        manifest = store.manifest()
        findings = _whole(store, manifest)
        copy = manifest_path(target)
        if copy.is_file() and copy.read_bytes() != manifest.to_bytes():
            findings.append(_differs(str(copy), "not the manifest in the store", "a copy of it"))
        if not findings:
            for number, row in enumerate(manifest.clips):
                findings += _clip(store, row, number)
                if progress is not None:
                    progress(number + 1, len(manifest.clips))
        if findings:
            raise VerificationError(findings)
        return manifest


def _whole(store: EventFrames, manifest: FrameManifest) -> list[Any]:
    pairs: list[tuple[str, Any, Any]] = [
        ("settings", store.settings.to_dict(), dict(manifest.settings)),
        ("classes", store.classes, manifest.classes),
        ("value names", store.value_names, manifest.value_names),
        ("names", store.clip_names, tuple(row.name for row in manifest.clips)),
    ]
    return [
        _differs(str(store.path), f"{name} are not those of the manifest") for name, is_, said in pairs if is_ != said
    ]


def _clip(store: EventFrames, row: FrameClipRow, number: int) -> list[Any]:
    rows = np.flatnonzero(store.clip == number)
    events = store.events[rows]
    pieces = (store.read(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE))
    try:
        found = frames_digest(pieces, store.times_us[rows], events, store.video_frames[rows])
    except InputError as error:
        return [_differs(row.name, f"clip {number} is damaged: {error.findings[0].found}")]
    wrong = []
    if found != row.sha256:
        wrong.append(_differs(row.name, f"clip {number} is damaged: sha256 {found[:16]}...", f"{row.sha256[:16]}..."))
    label, fold = int(store.labels[number]), int(store.folds[number])
    pairs: dict[str, tuple[Any, Any]] = {
        "label": (None if label < 0 else store.classes[label], row.label),
        "subject": (store.subjects[number], row.subject),
        "split": (store.splits[number], row.split),
        "fold": (None if fold < 0 else fold, row.fold),
        "frames": (len(rows), row.frames),
        "events": (NO_COUNT if store.settings.model == "codes" else int(events.sum()), row.events),
        "values": (digest(store.values[rows].astype("<f4").tobytes()) if store.value_names else "", row.values_sha256),
    }
    for name, (is_, said) in pairs.items():
        if is_ != said:
            wrong.append(_differs(row.name, f"{name} {is_!r}", f"{said!r}, as the manifest says"))
    return wrong
