"""Checking a store: damage is named clip by clip, and no manifest however mangled does more than be refused."""

import json
import shutil
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from hw_targets.finding import InputError, VerificationError
from neuroemo.datasets.catalogue import list_dataset
from neuroemo.datasets.chunks import MappedChunks, deflate, inflate
from neuroemo.datasets.manifest import read_manifest
from neuroemo.datasets.prepare import prepare_clips
from neuroemo.datasets.prepared_store import check_store, manifest_path
from neuroemo.datasets.store import ClipStore, prepare_store
from neuroemo.events.framediff import FrameDiffSettings

SMALL = FrameDiffSettings(size=16, steps=6)


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "clips.h5"
    prepare_clips(list_dataset("folder", Path(faces), SMALL), path, SMALL, workers=1)
    return path


@pytest.fixture
def store_copy(whole, tmp_path):
    shutil.copy(whole, tmp_path / "clips.h5")
    shutil.copy(manifest_path(whole), tmp_path / "clips.manifest.json")
    return tmp_path / "clips.h5"


def chunk_place(path, name, index):
    with h5py.File(path) as file:
        data = file[name]
        info = data.id.get_chunk_info_by_coord((index, *(0,) * (data.ndim - 1)))
    return info.byte_offset, info.size


@pytest.mark.parametrize("name", ["spikes", "mean_frame", "first_frame"])
@pytest.mark.parametrize("index", [0, 7, 19])
def test_any_flipped_bit_of_a_picture_is_found_and_named(store_copy, name, index):
    start, size = chunk_place(store_copy, name, index)
    sound = store_copy.read_bytes()
    with ClipStore.open(store_copy) as store:
        wanted = store.names[index]
    named = 0
    before = content(store_copy, name, index)
    for place in (start, start + 2, start + size // 3, start + size // 2, start + size - 1):
        store_copy.write_bytes(sound[:place] + bytes([sound[place] ^ 16]) + sound[place + 1 :])
        found = damage_of(store_copy)
        if not found:  # zlib has bits that change nothing in what is unpacked
            assert np.array_equal(content(store_copy, name, index), before)
            continue
        assert [(finding.code, finding.node) for finding in found] == [("E861", wanted)]
        assert f"clip {index} is damaged" in found[0].found
        named += 1
    assert named >= 3


def damage_of(path):
    try:
        check_store(path)
    except VerificationError as error:
        return error.findings
    return ()


def content(path, name, index):
    with h5py.File(path) as file:
        return file[name][index]


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)


def swap_chunks(file):
    data = file["spikes"]
    chunks = [data.id.read_direct_chunk((row, 0))[1] for row in (2, 3)]
    for row, chunk in zip((3, 2), chunks, strict=True):
        data.id.write_direct_chunk((row, 0), chunk)


def edit_column(name, row, value):
    def edit(file):
        values = file[name][:]
        values[row] = value
        del file[name]
        file[name] = values

    return edit


@pytest.mark.parametrize(
    ("edit", "rows", "text"),
    [
        (swap_chunks, [2, 3], "is damaged: sha256"),
        (edit_column("label", 4, 1), [4], "label 'positive'; limit 'negative', as the manifest says"),
        (edit_column("split", 5, 2), [5], "split 'test'"),
        (edit_column("valid_steps", 6, 5), [6], "valid_steps 5; limit 6"),
        (edit_column("fps", 7, 24.0), [7], "fps 24.0; limit 15.0"),
        (edit_column("subject", 8, b"s99"), [8], "subject 's99'"),
    ],
)
def test_sound_data_in_the_wrong_place_is_found(store_copy, edit, rows, text):
    change(store_copy, edit)
    with pytest.raises(VerificationError) as error:
        check_store(store_copy)
    with ClipStore.open(store_copy) as store:
        assert [finding.node for finding in error.value.findings] == [store.names[row] for row in rows]
    assert text in str(error.value)


def test_what_is_said_of_the_whole_is_compared(store_copy):
    change(store_copy, lambda f: f.attrs.__setitem__("events", '{"on": 1, "off": 1, "positions": 99}'))
    settings = json.dumps(SMALL.to_dict() | {"sens": 0.5})
    change(store_copy, lambda f: f.attrs.__setitem__("settings", settings))
    with pytest.raises(VerificationError) as error:
        check_store(store_copy)
    found = [finding.found for finding in error.value.findings]
    assert found == ["settings are not those of the manifest", "events are not those of the manifest"]


def test_copy_of_the_manifest(store_copy):
    beside = manifest_path(store_copy)
    beside.write_text(beside.read_text().replace("negative", "negatiwe", 1))
    with pytest.raises(VerificationError, match=r"E861 .*clips\.manifest\.json: not the manifest in the store"):
        check_store(store_copy)
    beside.unlink()
    assert check_store(store_copy).clips == 20


def test_damaged_manifest_in_the_store(store_copy):
    def edit(file):
        text = file["manifest"][:]
        text[50] ^= 1
        del file["manifest"]
        file["manifest"] = text

    change(store_copy, edit)
    with pytest.raises(InputError, match=r"E740 .*manifest does not have its checksum"):
        check_store(store_copy)


def test_store_without_a_manifest(faces, tmp_path):
    path = tmp_path / "a.h5"
    prepare_store(faces, path, SMALL, workers=1).close()
    assert check_store(path).manifest is None
    start, size = chunk_place(path, "spikes", 3)
    data = bytearray(path.read_bytes())
    data[start + size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="clip 3 is damaged"):
        check_store(path)


def test_no_store(tmp_path):
    with pytest.raises(InputError, match="E741"):
        check_store(tmp_path / "none.h5")


def told(whole):
    return json.loads(manifest_path(whole).read_text())


def test_manifest_says_what_is_there(faces, whole):
    manifest = read_manifest(manifest_path(whole).read_bytes(), whole)
    assert manifest.to_bytes() == manifest_path(whole).read_bytes()
    assert manifest.dataset == "folder"
    assert manifest.settings == {"model": "framediff"} | SMALL.to_dict()
    assert str(faces) not in manifest_path(whole).read_text()
    with ClipStore.open(whole) as store:
        assert store.names == tuple(row.name for row in manifest.clips)
        assert store.manifest() == manifest


def put(*path_and_value):
    *path, value = path_and_value

    def edit(data):
        place = data
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (put("format", "other"), "of another format or version"),
        (put("schema", 2), "of another format or version"),
        (put("more", 1), "fields more missing or unknown"),
        (lambda d: d.pop("clips"), "fields clips missing or unknown"),
        (put("settings", []), "settings of the wrong type"),
        (put("clips", 3, "x"), "clip 3: not the fields of a clip"),
        (lambda d: d["clips"][4].pop("sha256"), "clip 4: not the fields of a clip"),
        (put("clips", 2, "sha256", "xyz"), "clip 2: sha256 malformed"),
        (put("clips", 2, "valid_steps", True), "clip 2: valid_steps malformed"),
        (put("clips", 1, "events", [1, 2]), "clip 1: events malformed"),
        (put("clips", 1, "events", [1, 2, 2.5]), "clip 1: events malformed"),
        (put("clips", 1, "events", [1, -2, 3]), "clip 1: events malformed"),
        (put("clips", 2, "valid_steps", 0), "clip 2: valid_steps malformed"),
        (put("clips", 2, "fps", 0), "clip 2: fps malformed"),
        (put("clips", 2, "fps", float("inf")), "clip 2: fps malformed"),
        (put("clips", 2, "fps", float("nan")), "clip 2: fps malformed"),
        (put("clips", 2, "fps", 10**400), "clip 2: fps malformed"),
        (put("clips", 3, "label", "joy"), "clip 3: label 'joy' is no class; limit negative, positive"),
        (put("skipped", [{"name": 1}]), "skipped clip 0 malformed"),
        (put("classes", [1]), "classes or warnings are not texts"),
    ],
)
def test_untrusted_manifest(whole, edit, found):
    data = told(whole)
    edit(data)
    with pytest.raises(InputError) as error:
        read_manifest(json.dumps(data).encode(), whole)
    assert error.value.findings[0].code == "E862"
    assert found in str(error.value)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[" * 100_000, b"{", b"NaN", b"1" * 5000])
def test_manifest_that_is_no_json_object(whole, text):
    with pytest.raises(InputError, match="E862"):
        read_manifest(text, whole)


def test_chunks_by_hand_and_their_refusals():
    values = np.array([1, 2, 770], np.uint16)
    chunk = deflate(values)
    assert zlib.decompress(chunk) == bytes([1, 2, 2, 0, 0, 3])  # low bytes, then high bytes
    assert inflate(chunk, np.dtype("<u2"), 3).tolist() == [1, 2, 770]
    for damaged, count in ((chunk, 2), (chunk, 4), (chunk[:-1], 3), (b"x", 3), (zlib.compress(bytes(1 << 24)), 3)):
        with pytest.raises(ValueError, match=r".+"):
            inflate(damaged, np.dtype("<u2"), count)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
        {},
    ],
)
def test_mapped_chunks_are_what_the_library_reads(tmp_path, options):
    values = np.random.default_rng(0).integers(0, 999, (5, 4, 6)).astype("<u2")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=values, chunks=(1, 4, 6), **options)
    with h5py.File(path) as file:
        chunks = MappedChunks.of(file["a"], path)
        assert (chunks is None) == (options.get("compression") != "gzip")
        if chunks is not None:
            assert all(np.array_equal(chunks.row(index), values[index]) for index in range(5))
            chunks.close()


def test_clip_that_was_never_written(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("a", (3, 4), "u1", chunks=(1, 4), compression="gzip")
        data[1] = 7
    with h5py.File(path) as file:
        chunks = MappedChunks.of(file["a"], path)
        assert chunks.row(1).tolist() == [7] * 4
        with pytest.raises(ValueError, match="the data of clip 2 are missing"):
            chunks.row(2)
        chunks.close()
