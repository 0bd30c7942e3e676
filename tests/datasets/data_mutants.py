"""The files of data sets that are damaged, and what reading one has to promise."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
from look_alikes.afew_va import annotation, make_afew_va
from look_alikes.mosi import write_csd, write_csv
from look_alikes.nefer import EXPECTED, make_nefer, rows

from hw_targets.finding import InputError, VerificationError
from neuroemo.datasets.afew_va import scan_afew_va
from neuroemo.datasets.catalogue import list_dataset
from neuroemo.datasets.image_frames import read_gray_image
from neuroemo.datasets.manifest import read_manifest
from neuroemo.datasets.mosi_labels import read_labels
from neuroemo.datasets.nefer import scan_nefer
from neuroemo.datasets.prepare import prepare_clips
from neuroemo.datasets.prepared_store import check_store, manifest_path
from neuroemo.datasets.store import ClipStore
from neuroemo.events.framediff import FrameDiffSettings
from tests.mutants import Case, damaged

SMALL = FrameDiffSettings(size=32, steps=7)
LIST = "annotations/expected_emotions/train_event.csv"
SOUND: dict[Path, object] = {}
"""What the sound file held, by path: the child reads it first."""


def refused(error, place, codes=()):
    """The code of a refusal that says what was found and where, in text that can be printed."""
    assert error.findings
    assert all(finding.found and finding.node and finding.code for finding in error.findings)
    assert str(place) in str(error), str(error)
    assert str(error).encode()
    assert not codes or {finding.code for finding in error.findings} <= set(codes)
    return error.findings[0].code


def edited(words):
    """Return a mutation of text: cuts, gaps, moved parts, flipped bytes and words that break naive readers."""

    def mutate(clean, rng):
        data = clean
        for _ in range(int(rng.integers(1, 3))):
            data = data or b" "
            kind, at = int(rng.integers(7)), int(rng.integers(len(data)))
            word = words[rng.integers(len(words))]
            if kind == 0:
                data = data[:at]
            elif kind == 1:
                data = data[:at] + word + data[at:]
            elif kind == 2:
                data = data[:at] + word + data[at + int(rng.integers(1, 40)) :]
            elif kind == 3:
                data = data[:at] + data[at + int(rng.integers(1, 40)) :]
            elif kind == 4:
                lines = data.split(b"\n")
                lines.insert(int(rng.integers(len(lines))), lines[rng.integers(len(lines))])
                del lines[rng.integers(len(lines))]
                data = b"\n".join(lines)
            elif kind == 5:
                figures = [place for place, byte in enumerate(data) if chr(byte).isalnum()] or [at]
                at = figures[rng.integers(len(figures))]
                data = data[:at] + b"0123456789-.e"[(figure := int(rng.integers(13))) : figure + 1] + data[at + 1 :]
            else:
                data = data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]
        return data

    return mutate


TABLE = [
    b"\x00",
    b"\xff",
    b'"',
    b",",
    b"\n",
    b"../",
    b"user_01",
    b"None",
    b"9" * 999,
    b"\r",
    b"e",
    b"nan",
    b"-inf",
    b"=1",
]
JSON = [b"NaN", b"1e999", b"-0", b"9" * 5000, b"null", b"{}", b"[[[[", b"\x00", b"\xff", b"true", b'"', b"\\ud800"]


def bytes_of(write, name):
    def build(place):
        write(place / name)
        return (place / name).read_bytes()

    return build


def labels_read(path):
    try:
        table = read_labels(path)
    except InputError as error:
        assert all(finding.fix for finding in error.findings)  # noqa: PT017
        return refused(error, path, ("E755", "E756"))
    assert len({(label.video, label.clip) for label in table.labels}) == len(table.labels) > 0
    assert all(-3 <= label.sentiment <= 3 and label.clip.isdigit() for label in table.labels)
    return "read"


def afew_made(place):
    make_afew_va(place / "set")
    return json.dumps(annotation("Anna Karenina", range(4), landmarks=False)).encode()


def afew_read(path):
    root = path.parent.parent
    try:
        entry = scan_afew_va(root).entries[0]
    except InputError as error:
        return refused(error, root / "001")
    document = json.loads(path.read_bytes())
    assert entry.subject == " ".join(str(document["actor"]).casefold().split())
    for name in ("valence", "arousal"):
        order = sorted(document["frames"], key=lambda key: int(key.removeprefix("frame_")))
        by_hand = [document["frames"][key][name] / 10 for key in order]
        np.testing.assert_array_equal(entry.values[name], np.float32(by_hand))
        assert len(by_hand) == 4
        assert np.abs(by_hand).max() <= 1
    return "read"


def nefer_made(place):
    make_nefer(place / "set", frames=4)
    return rows("train", "event", EXPECTED, 4).encode()


def nefer_read(path):
    root = path.parent.parent.parent
    try:
        entries = scan_nefer(root).splits()["train"]
    except InputError as error:
        return refused(error, root)
    table = csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
    by_hand = {f"{row[0].strip()}/{row[1].strip()}": row[3].strip() for row in table if row}
    assert {entry.name: entry.label for entry in entries} == by_hand
    assert set(by_hand.values()) <= set(EXPECTED)
    return "read"


def picture_made(suffix):
    picture = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    return lambda place: cv2.imencode(suffix, picture)[1].tobytes()


def picture_read(path):
    try:
        picture = read_gray_image(path)
    except InputError as error:
        return refused(error, path, ("E792",))
    assert picture.dtype == np.uint8
    assert picture.ndim == 2
    assert 16 <= min(picture.shape) <= max(picture.shape) <= 16384
    if path.suffix == ".png":  # checksums cover all but the signature
        assert np.array_equal(picture, SOUND.setdefault(path, picture))
    return "read"


def store_made(place):
    listed = list_dataset("faces", place / "faces", SMALL, {"subjects": 5, "clips_per_subject": 2}, workers=1)
    prepare_clips(listed, place / "m.h5", SMALL, workers=1)
    return (place / "m.h5").read_bytes()


def content(store):
    """All that a store says, after the promises that a network relies on."""
    clips = store.batch(range(len(store)))
    assert clips.shape == (7, len(store), 2, 32, 32)
    assert set(np.unique(clips[1:])) <= {0.0, 1.0}
    means = store.mean_frames(range(len(store)))
    for gray in (clips[0], means):
        assert gray.min() >= 0
        assert gray.max() <= 1.01  # the mean is kept to 1/256 of a level, in 16 bits
    assert 0 <= store.labels.min() <= store.labels.max() < len(store.classes)
    assert set(store.splits) <= {"train", "val", "test"}
    assert len(set(store.names)) == len(store)
    assert (np.isfinite(store.index.fps) & (store.index.fps > 0)).all()
    assert not np.isinf(store.values).any()
    assert 0 <= store.density().any_polarity <= 1
    assert store.clip(0).valid_steps <= 7
    told = (store.labels.tolist(), store.splits, store.names, store.subjects, store.classes, store.index.fps.tolist())
    return clips.tobytes(), means.tobytes(), store.values.tobytes(), told, store.index.valid_steps.tolist()


def store_read(path):
    """A store is used as it is (batches), and checked: what is found sound has to be what it was."""
    try:
        with ClipStore.open(path) as store:
            held = content(store)
            outcome = "read"
    except InputError as error:
        return refused(error, path)
    try:
        check_store(path)
    except VerificationError as error:
        outcome = refused(error, "")
    except InputError as error:
        outcome = refused(error, path)
    else:
        assert held == SOUND.setdefault(path, held)
    return outcome


def manifest_made(place):
    store_made(place)
    return manifest_path(place / "m.h5").read_bytes()


def manifest_read(path):
    try:
        told = read_manifest(path.read_bytes(), path)
    except InputError as error:
        return refused(error, path, ("E862",))
    assert told.clips
    for row in told.clips:
        assert row.label in told.classes
        assert np.isfinite(row.fps)
        assert row.fps > 0
    return "read"


CASES = {
    "mosi-csv": Case("label.csv", bytes_of(write_csv, "label.csv"), labels_read, edited(TABLE)),
    "mosi-csd": Case(csd := "CMU_MOSI_Opinion_Labels.csd", bytes_of(write_csd, csd), labels_read, damaged),
    "afew-json": Case("set/001/001.json", afew_made, afew_read, edited(JSON)),
    "nefer-csv": Case(f"set/{LIST}", nefer_made, nefer_read, edited(TABLE)),
    "png": Case("0.png", picture_made(".png"), picture_read, damaged),
    "jpg": Case("0.jpg", picture_made(".jpg"), picture_read, damaged),
    "store": Case("m.h5", store_made, store_read, lambda clean, rng: damaged(clean, rng, head=8192)),
    "manifest": Case("m.json", manifest_made, manifest_read, edited(JSON)),
}
