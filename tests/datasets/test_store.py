"""The clip store: what comes out is what was simulated, and nothing untrusted gets in."""

import os
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.datasets.folder import scan_folder
from neuroemo.datasets.pool import parallel_map
from neuroemo.datasets.store import ClipStore, open_clips, prepare_store
from neuroemo.datasets.store_file import mean_frame, pack_clip, unpack_spikes
from neuroemo.events.clip import event_density, network_input
from neuroemo.events.framediff import FrameDiffSettings, frame_difference, video_to_clip
from neuroemo.events.video import read_gray, write_h264

SMALL = FrameDiffSettings(size=16, steps=6)


@pytest.fixture(scope="module")
def store_path(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "clips.h5"
    prepare_store(faces, path, SMALL, workers=1).close()
    return path


@pytest.fixture
def store(store_path):
    with ClipStore.open(store_path) as opened:
        yield opened


def test_index_is_that_of_the_folder(store, faces):
    scan = scan_folder(faces)
    assert len(store) == 20
    assert store.classes == ("negative", "positive")
    assert store.names == tuple(e.name for e in scan.entries)
    assert store.subjects == tuple(e.subject for e in scan.entries)
    assert store.splits == tuple(e.split for e in scan.entries)
    assert [store.classes[k] for k in store.labels] == [e.label for e in scan.entries]
    assert store.settings == SMALL
    assert sorted(np.concatenate([store.indices(s) for s in ("train", "val", "test")])) == list(range(20))


def test_subjects_are_disjoint_between_splits(store):
    groups = [{store.subjects[i] for i in store.indices(s)} for s in ("train", "val", "test")]
    assert [len(g) for g in groups] == [3, 1, 1]
    assert len(set.union(*groups)) == 5


@pytest.mark.parametrize("first", ["float", "spikes"])
def test_clips_are_those_of_the_simulator(faces, tmp_path, first):
    options = FrameDiffSettings(size=16, steps=6, first_frame=first)
    with prepare_store(faces, tmp_path / "a.h5", options, workers=1) as store:
        chosen = [7, 2, 7, 19]
        batch, means = store.batch(chosen), store.mean_frames(chosen)
        assert (batch.shape, batch.dtype) == ((6, 4, 2, 16, 16), np.float32)
        assert (means.shape, means.dtype) == ((4, 16, 16), np.float32)
        for row, index in enumerate(chosen):
            path = faces / store.names[index]
            clip = video_to_clip(path, options)
            stored = store.clip(index)
            assert np.array_equal(stored.spikes, clip.spikes)
            assert np.array_equal(network_input(stored), network_input(clip))
            assert (stored.valid_steps, stored.fps) == (clip.valid_steps, clip.fps)
            assert np.array_equal(batch[:, row], network_input(clip))
            frames = read_gray(path, size=16, max_frames=options.frames_needed).frames
            assert np.abs(means[row] - frames.mean(axis=0) / 255).max() <= 0.51 / 256 / 255


def test_density_is_the_mean_over_clips(store):
    densities = [event_density(store.clip(i)) for i in range(len(store))]
    assert store.density().per_channel == pytest.approx(np.mean([d.per_channel for d in densities]))
    assert store.density().on == pytest.approx(np.mean([d.on for d in densities]))
    assert 0 < store.density().any_polarity < 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.sampled_from(["float", "spikes"]), st.integers(8, 11))
def test_packing_round_trip(seed, steps, first, size):
    options = FrameDiffSettings(size=size, steps=steps, first_frame=first)
    frames = np.random.default_rng(seed).integers(0, 256, (steps, size, size)).astype(np.uint8)
    clip = frame_difference(frames, options)
    packed = pack_clip(clip, frames)
    assert np.array_equal(unpack_spikes(packed.spikes, options), clip.spikes)
    assert np.array_equal(unpack_spikes(np.stack([packed.spikes] * 2), options)[1], clip.spikes)


def test_mean_frame_by_hand():
    frames = np.array([0, 1, 1, 255], np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    assert mean_frame(frames[:2])[0, 0] == 128
    assert mean_frame(frames[:3])[0, 0] == 171  # 2/3 * 256 = 170.67
    assert mean_frame(frames[3:])[0, 0] == 65280


def test_bytes_do_not_depend_on_workers(faces, store_path, tmp_path):
    prepare_store(faces, tmp_path / "b.h5", SMALL, workers=2).close()
    assert (tmp_path / "b.h5").read_bytes() == store_path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["b.h5"]


def test_paper_sized_clip_fits_the_limit(tmp_path):
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(3):
            noise = rng.normal(128, 2, (68, 128, 128)).clip(0, 255).astype(np.uint8)
            write_h264(tmp_path / label / f"{index}.mp4", noise, 25, crf=20)
    with prepare_store(tmp_path, tmp_path / "a.h5", FrameDiffSettings(), workers=1) as store:
        assert store.density().per_channel > 0.25  # more than twice the density of the paper
    assert os.path.getsize(tmp_path / "a.h5") / 6 < 300_000


def test_progress_and_force(faces, tmp_path):
    calls = []
    target = tmp_path / "new" / "a.h5"
    prepare_store(faces, target, SMALL, workers=1, progress=lambda *c: calls.append(c)).close()
    assert calls == [(n, 20) for n in range(1, 21)]
    with pytest.raises(InputError, match="E744"):
        prepare_store(faces, target, SMALL)
    prepare_store(faces, target, SMALL, workers=1, force=True).close()


def test_all_broken_clips_at_once_and_nothing_written(faces, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(faces, copy)
    broken = sorted(copy.glob("*/*.mp4"))[4:17:6]
    for file in broken:
        file.write_bytes(b"broken")
    with pytest.raises(InputError) as error:
        prepare_store(copy, tmp_path / "a.h5", SMALL, workers=2)
    assert [f.node for f in error.value.findings] == [f.relative_to(copy).as_posix() for f in broken]
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_target_that_cannot_be_written(faces, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="E745"):
        prepare_store(faces, tmp_path / "file" / "a.h5", SMALL, workers=1)


@pytest.mark.parametrize("index", [-1, 20])
def test_index_out_of_range(store, index):
    with pytest.raises(InputError, match=r"E743 .*0\.\.19"):
        store.clip(index)
    with pytest.raises(InputError, match="E743"):
        store.batch([0, index])


def test_unknown_split(store):
    with pytest.raises(InputError, match="E742 split: 'dev'"):
        store.indices("dev")


def test_open_clips_takes_file_or_folder(faces, store_path, tmp_path):
    with open_clips(store_path) as store:
        assert len(store) == 20
    with open_clips(store_path, SMALL, None) as store:
        assert store.settings == SMALL
    with pytest.raises(InputError, match="E746"):
        open_clips(store_path, FrameDiffSettings(size=32, steps=6))
    with pytest.raises(InputError, match="E741"):
        open_clips(tmp_path / "none.h5", SMALL)
    copy = tmp_path / "faces"
    shutil.copytree(faces, copy)
    cache = tmp_path / "cache"
    open_clips(copy, SMALL, cache, workers=1).close()
    (made,) = cache.iterdir()
    stamp = made.stat().st_mtime_ns
    open_clips(copy, SMALL, cache, workers=1).close()
    assert made.stat().st_mtime_ns == stamp
    made.write_bytes(b"damaged")
    open_clips(copy, SMALL, cache, workers=1).close()
    open_clips(copy, FrameDiffSettings(size=16, steps=5), cache, workers=1).close()
    os.utime(next(copy.glob("*/*.mp4")), (1, 1))
    open_clips(copy, SMALL, cache, workers=1).close()
    assert len(list(cache.iterdir())) == 3
    open_clips(copy, SMALL, workers=1).close()
    assert scan_folder(copy).classes == ("negative", "positive")


def damage(path, tmp_path, change):
    copy = tmp_path / "damaged.h5"
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        change(file)
    return copy


def replace(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def link_out(file):
    del file["mean_frame"]
    file["mean_frame"] = h5py.ExternalLink("/etc/other.h5", "x")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda f: f.attrs.__setitem__("format", "other"), "not a prepared data set"),
        (lambda f: f.attrs.__delitem__("format"), "not a prepared data set"),
        (lambda f: f.attrs.__setitem__("schema", 2), "schema version"),
        (lambda f: f.attrs.__setitem__("schema", "one"), "schema version 'one'"),
        (lambda f: f.attrs.__setitem__("settings", "{}"), "settings []"),
        (lambda f: f.attrs.__setitem__("settings", "{"), "not a readable store"),
        (
            lambda f: f.attrs.__setitem__("settings", f.attrs["settings"].replace("16", "4000")),
            "settings: size 4000",
        ),
        (lambda f: f.attrs.__setitem__("settings", f.attrs["settings"].replace("16", "17")), "spikes: uint8"),
        (lambda f: f.attrs.__setitem__("classes", '["b", "a"]'), "classes"),
        (lambda f: f.attrs.__setitem__("classes", '["a"]'), "label in 0..1; limit 0..0"),
        (lambda f: f.attrs.__setitem__("classes", "7"), "attribute 'classes'"),
        (lambda f: f.attrs.__setitem__("events", '{"on": 5, "off": 6, "positions": 10}'), "5 ON and 6 OFF"),
        (lambda f: f.attrs.__setitem__("events", '{"on": 5}'), "event counts"),
        (lambda f: f.__delitem__("spikes"), "'spikes' missing"),
        (lambda f: f.__delitem__("first_frame"), "'first_frame' missing"),
        (lambda f: f.__delitem__("label"), "'label' missing"),
        (replace("spikes", np.zeros((20, 7), np.uint8)), "spikes: uint8 [20, 7]"),
        (replace("spikes", np.uint8(1)), "0 clips"),
        (replace("first_frame", np.zeros((20, 16, 16), np.float32)), "first_frame: float32"),
        (replace("mean_frame", np.zeros((19, 16, 16), np.uint16)), "mean_frame: uint16 [19"),
        (replace("label", np.full(20, -1)), "label in -1..-1; limit 0..1"),
        (replace("label", np.zeros(19, int)), "label: int64 [19]"),
        (replace("label", np.zeros(20)), "label: float64"),
        (replace("split", np.full(20, 3)), "split in 3..3; limit 0..2"),
        (replace("valid_steps", np.full(20, 7)), "valid_steps in 7..7; limit 2..6"),
        (replace("fps", np.full(20, np.nan)), "fps"),
        (replace("name", np.full(20, b"same")), "not unique"),
        (replace("name", np.full(20, b"\xff")), "not a readable store"),
        (link_out, "'mean_frame' is a link"),
        (lambda f: (f.__delitem__("label"), f.create_group("label")), "not an ordinary dataset"),
    ],
)
def test_untrusted_store(store_path, tmp_path, change, found):
    path = damage(store_path, tmp_path, change)
    with pytest.raises(InputError) as error:
        ClipStore.open(path)
    assert found in str(error.value)
    assert error.value.findings[0].node == str(path)


def test_empty_split(store_path, tmp_path):
    path = damage(store_path, tmp_path, replace("split", np.zeros(20, np.uint8)))
    with ClipStore.open(path) as store, pytest.raises(InputError, match="no clips in split 'test'"):
        store.indices("test")


def test_missing_and_foreign_file(tmp_path):
    with pytest.raises(InputError, match="E741"):
        ClipStore.open(tmp_path / "none.h5")
    (tmp_path / "a.h5").write_text("hello")
    with pytest.raises(InputError, match="not a readable store"):
        ClipStore.open(tmp_path / "a.h5")


def half(value):
    return value / 2


def die(value):
    os._exit(3)


@pytest.mark.parametrize("workers", [1, 2])
def test_pool_keeps_the_order(workers):
    assert list(parallel_map(half, list(range(50)), workers=workers)) == [n / 2 for n in range(50)]


def test_pool_reports_a_dead_worker():
    with pytest.raises(InputError, match="E760"):
        list(parallel_map(die, [1, 2, 3], workers=2))
