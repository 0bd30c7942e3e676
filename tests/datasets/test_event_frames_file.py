"""A store of event frames is an untrusted file: whatever departs from the layout is refused by name."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.datasets.event_frame_file import is_event_frames
from neuroemo.datasets.event_frame_manifest import read_frame_manifest
from neuroemo.datasets.event_frame_prepare import prepare_event_frames
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.datasets.prepared_store import manifest_path
from tests.mutants import survive

CASES = Path(__file__).with_name("event_frames_mutants.py")
SMALL = EventFrameSettings(size=16, n_bits=6, slow_motion=None)


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "frames.h5"
    options = {"subjects": 5, "clips_per_subject": 4, "size": 48, "frames": 7, "seed": 3, "fps": 15.0}
    prepare_event_frames("faces", faces, path, SMALL, options=options, workers=1)
    return path


def attribute(name, value):
    def edit(file):
        file.attrs[name] = value

    return edit


def drop_attribute(name):
    def edit(file):
        del file.attrs[name]

    return edit


def column(name, values):
    def edit(file):
        made = values(file[name][:]) if callable(values) else values
        del file[name]
        file.create_dataset(name, data=made)

    return edit


def changed(place, value):
    def change(values):
        values[place] = value
        return values

    return change


def link(file):
    file["other"] = file["clip"]
    del file["clip"]
    file["clip"] = h5py.SoftLink("/other")


def elsewhere(file):
    del file["codes"]
    file["codes"] = h5py.ExternalLink("/etc/hostname", "/codes")


def claims_more(file):
    """A column that says it is as long as the frames are not: its data were never written."""
    del file["events"]
    file.create_dataset("events", (260,), "<i8", chunks=(260,))


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (drop_attribute("format"), "not a store of event frames"),
        (attribute("format", "neuroemo-clips"), "not a store of event frames"),
        (attribute("schema", 2), "schema version 2; limit 1"),
        (attribute("schema", "1"), "schema version '1'; limit 1"),
        (attribute("settings", "{"), "not a readable store"),
        (attribute("settings", "[]"), "attribute 'settings' missing or malformed"),
        (attribute("settings", "{}"), "settings: event frame settings fields nothing"),
        (attribute("classes", '["b", "a"]'), "classes are not sorted, distinct names"),
        (attribute("value_names", '["a", 1]'), "value_names are not sorted, distinct names"),
        (attribute("value_names", '["a", "b", "c"]'), r"values: float32 \[260, 2\]; limit float32 \[260, 3\]"),
        (drop_attribute("manifest_sha256"), "attribute 'manifest_sha256' missing"),
        (lambda file: file.pop("codes"), "'codes' missing"),
        (lambda file: file.pop("name"), "'name' missing"),
        (link, "'clip' is a link"),
        (elsewhere, "'codes' is a link"),
        (claims_more, r"events: int64 \[260\]"),
        (column("codes", lambda codes: codes[:, :8]), "codes: uint8"),
        (column("codes", lambda codes: codes.astype(np.uint16)), "codes: uint16"),
        (column("clip", changed(0, 1)), "the frames are not sorted by clip"),
        (column("clip", changed(-1, 20)), "the frames are not sorted by clip"),
        (column("clip", lambda clip: clip[:-1]), r"clip: int32 \[259\]"),
        (column("clip", lambda clip: clip.astype(np.float32)), "clip: float32"),
        (column("time_us", changed(1, 0.0)), "the times do not ascend within a clip"),
        (column("time_us", changed(5, np.nan)), "the times do not ascend within a clip"),
        (column("events", changed(3, -1)), "a number of events is negative"),
        (column("video_frame", changed(3, -2)), "a number of a video frame is below -1"),
        (column("values", changed((0, 0), np.inf)), "values are infinite"),
        (column("label", changed(0, 2)), "a label is no class"),
        (column("label", changed(0, -2)), "a label is no class"),
        (column("fold", changed(0, -2)), "a fold is below -1"),
        (column("split", changed(0, 3)), r"split \[3\]"),
        (column("split", changed(0, 255)), "a clip has neither a split nor a fold"),
        (column("name", changed(0, b"negative/s00_003.mp4")), "names are not unique"),
        (column("name", changed(0, b"\xff")), "not a readable store"),
        (column("name", np.zeros(20, np.int32)), "name: int32; limit texts"),
        (column("subject", lambda texts: texts[:3]), "subject: "),
    ],
)
def test_departures_from_the_layout(whole, tmp_path, edit, found):
    path = tmp_path / "a.h5"
    shutil.copy(whole, path)
    with h5py.File(path, "r+") as file:
        names = set(file["name"][:].tolist())
        assert b"negative/s00_003.mp4" in names
        if found == "names are not unique":
            assert file["name"][0] != b"negative/s00_003.mp4"
        edit(file)
    with pytest.raises(InputError, match=found) as error:
        EventFrames.open(path)
    assert error.value.findings[0].code == "E740"
    assert error.value.findings[0].node == str(path)


def test_the_sound_store_is_opened_and_closed(whole):
    store = EventFrames.open(whole)
    assert len(store) == 260
    assert store.manifest().to_bytes() == manifest_path(whole).read_bytes()
    store.close()
    with pytest.raises(InputError, match=r"E740 .*codes cannot be read"):
        store.read([0])
    assert is_event_frames(whole)


def test_codes_are_checked_where_they_are_read(whole, tmp_path):
    path = tmp_path / "a.h5"
    shutil.copy(whole, path)
    with h5py.File(path, "r+") as file:
        file["codes"][9, 3, 3] = 64  # six bits end at 63
    with EventFrames.open(path) as store:
        assert store.codes([8]).max() <= 63
        for read in (store.codes, store.frames, store.bits, store.read):
            with pytest.raises(InputError, match=r"E740 .*frame 9 holds the code 64, above 63"):
                read([9])


def test_a_large_store_is_not_kept_in_memory(whole, monkeypatch):
    monkeypatch.setattr("neuroemo.datasets.event_frames._CACHE_BYTES", 100)
    with EventFrames.open(whole) as store:
        assert np.array_equal(store.codes([5, 2, 5]), store.read([5, 2, 5]))
        assert store._kept is None
    monkeypatch.undo()
    with EventFrames.open(whole) as store:
        kept = store.codes([5, 2, 5])
        assert np.flatnonzero(store._known).tolist() == [2, 5]
        kept[:] = 0  # what is handed out is a copy
        assert np.array_equal(store.codes([5, 2]), store.read([5, 2]))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"\x00" * 5000, b"x" * 100])
def test_other_files(tmp_path, content):
    path = tmp_path / "a.h5"
    with pytest.raises(InputError, match=r"E741 .*no such file"):
        EventFrames.open(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"E740 .*not a readable store"):
        EventFrames.open(path)
    assert not is_event_frames(path)
    assert not is_event_frames(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "of another format or version"),
        (b'{"format": "neuroemo-event-frames-manifest", "schema": 1}', "missing or unknown"),
    ],
)
def test_manifests_that_are_none(tmp_path, text, found):
    with pytest.raises(InputError, match=f"E862 .*{found}"):
        read_frame_manifest(text, tmp_path)


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["store", "manifest"])
def test_damaged_files(tmp_path, name, count):
    outcomes = survive(CASES, name, count, 1 if count == 60 else 2, tmp_path)
    assert 0 < outcomes["read"] < count
