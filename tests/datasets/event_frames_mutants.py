"""Stores of event frames that are damaged, and what reading one has to promise."""

from __future__ import annotations

import numpy as np
from data_mutants import JSON, SOUND, edited, refused

from hw_targets.finding import InputError, VerificationError
from neuroemo.datasets.event_frame_check import check_event_frames
from neuroemo.datasets.event_frame_manifest import read_frame_manifest
from neuroemo.datasets.event_frame_prepare import prepare_event_frames
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.datasets.prepared_store import manifest_path
from neuroemo.events.pixel.settings import PixelSettings
from tests.mutants import Case, damaged

CAMERA = PixelSettings(positive_threshold=0.05, negative_threshold=0.05)
SMALL = EventFrameSettings(size=16, n_bits=6, pixel=CAMERA, slow_motion=None)
FACES = {"subjects": 5, "clips_per_subject": 2, "size": 32, "frames": 5}


def store_made(place):
    prepare_event_frames("faces", place / "faces", place / "m.h5", SMALL, options=FACES, workers=1)
    return (place / "m.h5").read_bytes()


def content(store):
    """All that a store says, after the promises that a network relies on."""
    every = np.arange(len(store))
    codes, bits, frames = store.codes(every), store.bits(every), store.frames(every)
    size = store.settings.size
    assert codes.shape == (len(store), size, size)
    assert codes.max() < 1 << store.settings.n_bits
    assert set(np.unique(bits)) <= {0, 1}
    assert frames.min() >= 0
    assert frames.max() < 1
    assert np.isfinite(store.times_us).all()
    assert (np.diff(store.clip) >= 0).all()
    assert len(set(store.clip_names)) == len(store.clip_names) == len(store.splits) == store.clip.max() + 1
    assert -1 <= store.labels.min() <= store.labels.max() < max(1, len(store.classes))
    assert set(store.splits) <= {"train", "val", "test", ""}
    assert not np.isinf(store.values).any()
    assert store.values.shape == (len(store), len(store.value_names))
    assert len(store.fingerprint()) == 64
    told = (store.clip_names, store.subjects, store.splits, store.folds.tolist(), store.labels.tolist())
    columns = (store.clip, store.times_us, store.events, store.video_frames, store.values)
    return codes.tobytes(), told, store.classes, store.value_names, [column.tobytes() for column in columns]


def store_read(path):
    """A store is used as it is, and checked: what is found sound has to be what it was."""
    try:
        with EventFrames.open(path) as store:
            held = content(store)
    except InputError as error:
        return refused(error, path, ("E740", "E862"))
    try:
        check_event_frames(path)
    except VerificationError as error:
        return refused(error, "", ("E861",))
    except InputError as error:
        return refused(error, path, ("E740", "E862"))
    assert held == SOUND.setdefault(path, held)
    return "read"


def manifest_made(place):
    store_made(place)
    return manifest_path(place / "m.h5").read_bytes()


def manifest_read(path):
    try:
        told = read_frame_manifest(path.read_bytes(), path)
    except InputError as error:
        return refused(error, path, ("E862",))
    for row in told.clips:
        assert row.label is None or row.label in told.classes
        assert row.frames > 0
    assert told.to_bytes()
    return "read"


CASES = {
    "store": Case("m.h5", store_made, store_read, lambda clean, rng: damaged(clean, rng, head=16384)),
    "manifest": Case("m.json", manifest_made, manifest_read, edited(JSON)),
}
