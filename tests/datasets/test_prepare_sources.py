"""From recordings of every kind to clips, the data sets by name, and the verb."""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from look_alikes.afew_va import make_afew_va
from look_alikes.mosi import make_mosi
from look_alikes.nefer import make_nefer

from hw_targets.finding import InputError
from neuroemo import data_options, data_verb
from neuroemo.console import Console, run_verb
from neuroemo.datasets.catalogue import Listed, entry_values, list_dataset, read_options, with_fold
from neuroemo.datasets.clip_settings import PixelClipSettings, RecordedClipSettings, clip_seed, settings_from_dict
from neuroemo.datasets.clip_source import ClipSource, bin_events, make_clip
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.prepare import prepare_clips
from neuroemo.datasets.prepared_store import check_store
from neuroemo.datasets.store import ClipStore
from neuroemo.datasets.store_file import unpack_spikes
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.files import save_events
from neuroemo.events.framediff import FrameDiffSettings, frame_difference
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.pixel.simulator import PixelSimulator
from neuroemo.events.video import read_gray, write_h264

SMALL = FrameDiffSettings(size=16, steps=6)


def entry(name, path, split="train", label="a", **more):
    return DatasetEntry(name, Path(path), label, more.pop("values", None), "s", split, **more)


def listing(*entries, **more):
    classes = tuple(sorted({item.label or "unlabelled" for item in entries}))
    return Listed("test", entries, classes, **more)


@pytest.mark.parametrize("first", ["float", "spikes"])
def test_pixel_clip_holds_the_events_between_two_frames(faces, tmp_path, first):
    settings = PixelClipSettings(size=16, steps=6, first_frame=first, pixel=PixelSettings(positive_threshold=0.05))
    path = next(iter(sorted(faces.glob("*/*.mp4"))))
    made = prepare_clips(listing(entry("x/a.mp4", path)), tmp_path / "a.h5", settings, workers=1)
    video = read_gray(path, size=16, max_frames=settings.frames_needed)
    camera = PixelSimulator(PixelSettings(positive_threshold=0.05, seed=clip_seed(0, "x/a.mp4")), 16, 16)
    wanted, step = np.zeros((6, 2, 16, 16), np.uint8), int(first == "float")
    for number, frame in enumerate(video.frames):
        for event in camera.feed(frame, round(number * 1e6 / video.fps)):
            wanted[number - 1 + step, 0 if event["p"] else 1, event["y"], event["x"]] = 1
    assert wanted.any()
    with ClipStore.open(made.path) as store:
        assert store.settings == settings
        clip = store.clip(0)
        assert np.array_equal(clip.spikes, wanted)
        assert (clip.first_frame is not None) == (first == "float")
        assert clip.valid_steps == 6
    assert check_store(made.path).manifest.versions["numba"]


def test_noise_is_another_in_every_clip_and_the_same_in_every_run(tmp_path, faces):
    noisy = PixelSettings(shot_noise_rate_hz=500.0, seed=4)
    settings = PixelClipSettings(size=16, steps=6, pixel=noisy)
    path = next(iter(sorted(faces.glob("*/*.mp4"))))
    one, again, other = (make_clip(ClipSource(name, str(path)), settings).spikes for name in ("a", "a", "b"))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def recording(rng, count=400, width=20, height=12):
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(5_000, 8_000, count))
    events["x"], events["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    events["p"] = rng.integers(0, 2, count)
    return events, (width, height, 2)


def test_recorded_events_are_binned_as_brute_force_does():
    events, sensor = recording(np.random.default_rng(0))
    clip = bin_events(events, sensor, RecordedClipSettings(step_us=400, size=8, steps=5))
    wanted = np.zeros((5, 2, 8, 8), np.uint8)
    for event in events:
        step = (int(event["t"]) - int(events["t"][0])) // 400
        if step < 5:
            wanted[step, 0 if event["p"] else 1, int(event["y"]) * 8 // 12, int(event["x"]) * 8 // 20] = 1
    assert np.array_equal(clip.spikes, wanted)
    assert (clip.valid_steps, clip.fps, clip.first_frame) == (5, 2500.0, None)


def test_recorded_by_hand():
    events = np.array([(100, 0, 0, True), (199, 19, 11, False), (200, 3, 0, True)], EVENT_DTYPE)
    clip = bin_events(events, (20, 12, 2), RecordedClipSettings(step_us=100, size=8, steps=4))
    assert np.argwhere(clip.spikes).tolist() == [[0, 0, 0, 0], [0, 1, 7, 7], [1, 0, 0, 1]]
    assert clip.valid_steps == 2
    with pytest.raises(InputError, match=r"E864 .*no events"):
        bin_events(events[:0], (20, 12, 2), RecordedClipSettings(step_us=100, size=8, steps=4))


def test_recordings_become_a_store(tmp_path):
    events, sensor = recording(np.random.default_rng(1))
    save_events(tmp_path / "r.npz", events, sensor)
    settings = RecordedClipSettings(step_us=300, size=8, steps=5)
    made = prepare_clips(listing(entry("r", tmp_path / "r.npz")), tmp_path / "a.h5", settings, workers=1)
    with ClipStore.open(made.path) as store:
        assert np.array_equal(store.clip(0).spikes, bin_events(events, sensor, settings).spikes)
        assert store.settings == settings
        assert not store.mean_frames([0]).any()


def test_folder_of_pictures(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16)).astype(np.uint8)
    (tmp_path / "001").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / "001" / f"{number:05d}.png"), frame)
    values = {"valence": np.arange(5, dtype=np.float32) / 10, "arousal": -np.arange(5, dtype=np.float32)}
    item = entry("001", tmp_path / "001", label=None, values=values)
    made = prepare_clips(listing(item, options={"fps": 25}), tmp_path / "a.h5", SMALL, workers=1)
    wanted = frame_difference(frames, SMALL, fps=25.0)
    with ClipStore.open(made.path) as store:
        clip = store.clip(0)
        assert np.array_equal(clip.spikes, wanted.spikes)
        assert (clip.fps, clip.valid_steps, store.classes) == (25.0, 5, ("unlabelled",))
        assert store.value_names == ("arousal", "valence")
        assert store.values[0, :5, 1].tolist() == values["valence"].tolist()
        assert np.isnan(store.values[0, 5]).all()
    with pytest.raises(InputError, match=r"E866 001: a folder of pictures has no frame rate"):
        prepare_clips(listing(item), tmp_path / "b.h5", SMALL, workers=1)


def test_labels_per_frame_do_not_fit_a_recording(tmp_path):
    events, sensor = recording(np.random.default_rng(1))
    save_events(tmp_path / "r.npz", events, sensor)
    settings = RecordedClipSettings(step_us=300, size=8, steps=5)
    whole = entry("r", tmp_path / "r.npz", values={"valence": np.float32([0.5])})
    made = prepare_clips(listing(whole), tmp_path / "a.h5", settings, workers=1)
    with ClipStore.open(made.path) as store:
        assert store.values[0, :, 0].tolist() == [0.5] * 5
    frames = entry("r", tmp_path / "r.npz", values={"valence": np.float32([0.5, 0.6])})
    with pytest.raises(InputError, match=r"E866 r: one label per frame \(valence\)"):
        prepare_clips(listing(frames), tmp_path / "b.h5", settings, workers=1)


def test_values_go_to_the_step_that_ends_with_their_frame():
    item = entry("a", "a", values={"v": np.float32([1, 2, 3, 4]), "w": np.float32([7])})
    table = entry_values(item, FrameDiffSettings(size=8, steps=4, first_frame="spikes"), 3)
    assert table[:3].tolist() == [[2, 7], [3, 7], [4, 7]]
    assert np.isnan(table[3]).all()
    assert entry_values(item, FrameDiffSettings(size=8, steps=4), 4)[:, 0].tolist() == [1, 2, 3, 4]
    assert entry_values(entry("a", "a"), SMALL, 4) is None


@pytest.mark.parametrize(
    ("entries", "settings", "found"),
    [
        ([], SMALL, "E868 test: no clips"),
        ([("a", "none.mp4", "train")], SMALL, "E864 a: no such file"),
        ([("a", "a.mp4", None)], SMALL, "E864 a: split None"),
        ([("a", "a.mp4", "train"), ("a", "a.mp4", "test")], SMALL, "E864 a: listed twice"),
        ([("a", "a.txyz", "train")], SMALL, "E864 a: unknown suffix '.txyz'"),
        ([("a", "a.raw", "train")], SMALL, "E866 a: events with --model framediff"),
        ([("a", "a.mp4", "train")], RecordedClipSettings(step_us=1), "E866 a: video with --model recorded"),
    ],
)
def test_entries_that_cannot_be_used(tmp_path, entries, settings, found):
    for name in ("a.mp4", "a.txyz", "a.raw"):
        (tmp_path / name).touch()
    data = listing(*(entry(name, tmp_path / file, split) for name, file, split in entries))
    with pytest.raises(InputError) as error:
        prepare_clips(data, tmp_path / "o.h5", settings, workers=1)
    assert found in str(error.value)
    assert not (tmp_path / "o.h5").exists()


def test_folds_become_splits():
    entries = tuple(entry(str(n), "x", None, fold=n) for n in range(4))
    assert [item.split for item in with_fold(entries, 3)] == ["val", "train", "train", "test"]
    for fold, found in ((None, "is missing"), (4, "4"), (-1, "-1")):
        with pytest.raises(InputError, match=rf"E860 --fold: {found}; limit 0\.\.3"):
            with_fold(entries, fold)
    with pytest.raises(InputError, match="E860 --fold: 0"):
        with_fold((entry("a", "x"),), 0)


def test_settings_round_trip_and_refusals():
    for made in (SMALL, PixelClipSettings(size=16, steps=3), RecordedClipSettings(step_us=5, size=9, sensor=(9, 7))):
        assert settings_from_dict(json.loads(json.dumps(made.to_dict()))) == made
    for told in ({}, {"model": "x"}, {"model": "pixel"}, RecordedClipSettings(5).to_dict() | {"more": 1}):
        with pytest.raises(InputError, match="E867"):
            settings_from_dict(told)
    for broken in (
        {"step_us": 0},
        {"step_us": 5, "size": 2},
        {"step_us": 5, "steps": 1.5},
        {"step_us": 5, "sensor": (0, 9)},
    ):
        with pytest.raises(InputError, match="E867"):
            RecordedClipSettings(**broken)


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a=1", "a=2"]])
def test_option_texts(texts):
    with pytest.raises(InputError, match="E860"):
        read_options(texts)


def test_unknown_data_set_and_option(tmp_path):
    with pytest.raises(InputError, match="E860 imagenet: no such data set"):
        list_dataset("imagenet", tmp_path, SMALL)
    for name in ("folder", "faces", "mosi", "afew-va", "nefer"):
        with pytest.raises(InputError, match=f"E860 --option colour: unknown to data set '{name}'"):
            list_dataset(name, tmp_path, SMALL, {"colour": 1})


def verb(capsys, *arguments):
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers()
    for name in ("prepare", "check"):
        sub = verbs.add_parser(name)
        getattr(data_options, name)(sub)
        sub.set_defaults(run=getattr(data_verb, name))
    chosen = parser.parse_args([str(text) for text in arguments])
    console = Console(as_json=True, quiet=True)
    code = run_verb(console, lambda: chosen.run(chosen, console))
    return code, json.loads(capsys.readouterr().out)


def test_verb_prepares_faces_and_checks_them(tmp_path, capsys):
    options = ["--size", 32, "--steps", 7, "--option", "subjects=5", "--option", "clips_per_subject=2"]
    command = ["prepare", "faces", "--root", tmp_path / "f", "--out", tmp_path / "a.h5", *options]
    code, told = verb(capsys, *command)
    assert (code, told["clips"], told["classes"]) == (0, 10, ["negative", "positive"])
    assert told["versions"]["faces"] == "1"
    assert verb(capsys, *command)[1]["reused"]
    code, told = verb(capsys, "check", tmp_path / "a.h5")
    assert (code, told["clips"], told["manifest"]) == (0, 10, True)
    with ClipStore.open(tmp_path / "a.h5") as store:
        assert store.value_names == ("arousal", "valence")
        assert not store.values[:, 0].any()  # every face begins at rest, and shows its own at the end
        assert np.array_equal(store.values[:, -1, 1] > 0, store.labels == 1)
        assert set(store.splits) == {"train", "val", "test"}
    code, told = verb(capsys, *command, "--model", "recorded", "--sens", 0.1, "--workers", 2)
    assert (code, [finding["node"] for finding in told["findings"]]) == (2, ["--sens", "--step-us"])
    code, told = verb(capsys, *command, "--scheduler", "tcp://127.0.0.1:1", "--workers", 2)
    assert (code, told["findings"][0]["code"]) == (2, "E869")


def test_published_data_sets_become_stores(tmp_path):
    rng = np.random.default_rng(0)
    make_afew_va(tmp_path / "afew-va")
    make_nefer(tmp_path / "nefer", pictures=True)
    make_mosi(
        tmp_path / "mosi", video=lambda path: write_h264(path, rng.integers(0, 256, (6, 32, 32)).astype(np.uint8), 25.0)
    )
    found = {}
    for name, options, fold in (
        ("afew-va", {}, 1),
        ("mosi", {"zero": "non0"}, None),
        ("nefer", {"recording": "rgb_frames", "fps": 25}, None),
    ):
        data = list_dataset(name, tmp_path / name, SMALL, options, fold=fold)
        made = prepare_clips(data, tmp_path / f"{name}.h5", SMALL, workers=1)
        assert check_store(made.path).clips == len(data.entries)
        with ClipStore.open(made.path) as store:
            found[name] = (store.classes, store.value_names, set(store.splits))
    every = {"train", "val", "test"}
    assert found["afew-va"] == (("unlabelled",), ("arousal", "valence"), every)
    assert found["mosi"] == (("negative", "positive"), ("sentiment",), every)
    assert found["nefer"][1:] == ((), {"train", "val"})  # it has no test split


@pytest.mark.slow
def test_clip_of_the_faces_fits_the_limit(tmp_path):
    settings = FrameDiffSettings()
    data = list_dataset("faces", tmp_path / "f", settings, {"subjects": 5, "clips_per_subject": 2, "fps": 30.0})
    made = prepare_clips(data, tmp_path / "a.h5", settings)
    assert made.path.stat().st_size / 10 <= 300_000
    with ClipStore.open(made.path) as store:
        assert unpack_spikes(store.pictures(0)["spikes"], settings).shape == (68, 2, 128, 128)
