"""Making event frames: the same bytes however it was run, and nothing lost or doubled however it was stopped."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw_targets.finding import InputError, VerificationError
from neuroemo.datasets.catalogue import Listed, list_dataset
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.event_frame_check import check_event_frames
from neuroemo.datasets.event_frame_prepare import prepare_event_frames
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.datasets.parts import parts_path
from neuroemo.datasets.prepared_store import manifest_path
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.video import write_h264
from tests.datasets.test_prepare import kill

SMALL = EventFrameSettings(size=16, pixel=PixelSettings(positive_threshold=0.1, negative_threshold=0.1))


def run(root, out, **options):
    return prepare_event_frames("folder", root, out, SMALL, **({"workers": 1} | options))


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "frames.h5"
    run(faces, path)
    return path


def entry(name, path, split="train", label="a", **more):
    return DatasetEntry(name, Path(path), label, more.pop("values", None), "s", split, **more)


def listing(*entries, **more):
    return Listed("test", entries, ("a",), **more)


def few(root, out):
    data = list_dataset("folder", root, SMALL)
    return prepare_event_frames(replace(data, entries=data.entries[::5]), None, out, SMALL, workers=1)


def test_bytes_do_not_depend_on_workers(faces, whole, tmp_path):
    made = run(faces, tmp_path / "b.h5", workers=2)
    assert (made.resumed, made.reused) == (0, False)
    assert (tmp_path / "b.h5").read_bytes() == whole.read_bytes()
    assert manifest_path(tmp_path / "b.h5").read_bytes() == manifest_path(whole).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.h5", "b.manifest.json"]
    assert check_event_frames(whole).to_bytes() == manifest_path(whole).read_bytes()


def test_a_folder_has_classes_and_no_values(whole):
    with EventFrames.open(whole) as store:
        assert store.classes == ("negative", "positive")
        assert store.values.shape == (200, 0)
        assert {store.classes[store.labels[n]] for n, name in enumerate(store.clip_names) if "neg" in name} == {
            "negative"
        }
        with pytest.raises(InputError, match=r"E847 .*no valence and no arousal; it has no values"):
            store.affect()


def test_killed_at_every_write_loses_and_doubles_nothing(faces, tmp_path):
    few(faces, tmp_path / "whole.h5")
    whole, manifest = (tmp_path / "whole.h5").read_bytes(), (tmp_path / "whole.manifest.json").read_bytes()
    outcomes = []
    for moment in range(60):
        out = tmp_path / f"{moment}.h5"
        code = kill(few, faces, out, moment)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if out.exists():  # it is either not there, or whole
            assert out.read_bytes() == whole
        kept = len(list(parts_path(out).glob("*.part")))
        assert few(faces, out).resumed == kept
        outcomes.append(kept)
        assert out.read_bytes() == whole
        assert manifest_path(out).read_bytes() == manifest
        assert not parts_path(out).exists()
    assert outcomes == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]  # 4 parts, the store (HDF5 writes it itself), the manifest


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: d[:60] + b"\0" + d[61:], lambda d: b"", lambda d: d * 2]
)
def test_damaged_part_is_made_again(faces, whole, tmp_path, damage):
    out = tmp_path / "a.h5"
    assert kill(run, faces, out, 20) == -signal.SIGKILL
    kept = sorted(parts_path(out).glob("*.part"))
    assert len(kept) == 10
    kept[3].write_bytes(damage(kept[3].read_bytes()))
    shutil.copy(kept[5], kept[6])  # a whole part, of another clip
    assert run(faces, out).resumed == 8
    assert out.read_bytes() == whole.read_bytes()


def test_a_finished_store_is_left_alone_and_no_other_is_overwritten(faces, whole, tmp_path):
    out = tmp_path / "a.h5"
    shutil.copy(whole, out)
    made = run(faces, out)
    assert (made.reused, made.resumed) == (True, 20)
    assert manifest_path(out).read_bytes() == manifest_path(whole).read_bytes()
    for data, settings in (
        ("folder", replace(SMALL, slice_us=4000)),
        ("folder", replace(SMALL, pixel=PixelSettings())),
    ):
        with pytest.raises(InputError, match=r"E744 .*made of other data, settings or libraries"):
            prepare_event_frames(data, faces, out, settings, workers=1)
    out.write_bytes(b"mine")
    with pytest.raises(InputError, match="E744"):
        run(faces, out)
    assert out.read_bytes() == b"mine"
    assert not run(faces, out, force=True).reused
    assert out.read_bytes() == whole.read_bytes()


def test_a_store_of_other_labels_is_another(faces, tmp_path):
    path, out = sorted(faces.glob("*/*.mp4"))[0], tmp_path / "a.h5"
    one = {"valence": np.linspace(0, 1, 7, dtype=np.float32), "arousal": np.zeros(7, np.float32)}
    made = prepare_event_frames(listing(entry("v", path, values=one)), None, out, SMALL, workers=1)
    assert made.manifest.value_names == ("arousal", "valence")
    assert prepare_event_frames(listing(entry("v", path, values=one)), None, out, SMALL, workers=1).reused
    changes = (
        {"values": {**one, "valence": np.linspace(0, 0.9, 7, dtype=np.float32)}},
        {"values": {name: values[:1] for name, values in one.items()}},
        {"values": {name: values[:3] for name, values in one.items()}},
        {"values": one, "split": "test"},
        {"values": one, "label": None},
        {"values": {"valence": one["valence"]}},
    )
    for change in changes:
        with pytest.raises(InputError, match="E744"):
            prepare_event_frames(listing(entry("v", path, **change)), None, out, SMALL, workers=1)


def test_broken_clips_are_all_named_and_can_be_left_out(faces, tmp_path):
    shutil.copytree(faces, tmp_path / "set")
    broken = sorted((tmp_path / "set").glob("*/*.mp4"))[3:5]
    broken[0].write_bytes(b"no video at all" * 99)
    write_h264(broken[1], np.zeros((2, 32, 32), np.uint8), 240.0)  # 4 ms
    with pytest.raises(InputError) as error:
        run(tmp_path / "set", tmp_path / "a.h5")
    names = [f"{path.parent.name}/{path.name}" for path in broken]
    assert [finding.node for finding in error.value.findings][:2] == names
    assert "shorter than one event frame; limit 8 slices of 5000 us: 40000 us" in str(error.value)
    assert "E868" in str(error.value)
    assert "2 of 20 clips are broken" in str(error.value)
    assert not (tmp_path / "a.h5").exists()
    made = run(tmp_path / "set", tmp_path / "a.h5", skip_broken=True)
    assert made.resumed == 18
    assert [row.name for row in made.manifest.skipped] == names
    assert check_event_frames(tmp_path / "a.h5").skipped == made.manifest.skipped
    assert run(tmp_path / "set", tmp_path / "a.h5", skip_broken=True).reused
    with pytest.raises(InputError, match=r"E744 .*without its broken clips"):
        run(tmp_path / "set", tmp_path / "a.h5")


def test_a_video_as_long_as_one_frame_just_passes(tmp_path):
    for count, fits in ((2, True), (2, False)):
        path = tmp_path / f"{fits}.mp4"
        write_h264(path, np.zeros((count, 32, 32), np.uint8), 25.0 if fits else 25.1)  # 40 ms, and 39.84 ms
        item = listing(entry("v", path))
        if fits:
            made = prepare_event_frames(item, None, tmp_path / "a.h5", SMALL, workers=1)
            with EventFrames.open(made.path) as store:
                assert (len(store), store.times_us.tolist(), store.events.tolist()) == (1, [20000.0], [0])
        else:
            with pytest.raises(InputError, match="E864 v: shorter than one event frame"):
                prepare_event_frames(item, None, tmp_path / "b.h5", SMALL, workers=1)


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([], "E868 test: no clips"),
        ([{"path": "none.mp4"}], "E864 a: no such file"),
        ([{"split": None}], "E864 a: split None; limit train val test, or a fold"),
        ([{}, {}], "E864 a: listed twice"),
        ([{"path": "a.txyz"}], "E866 a: unknown suffix .txyz with --model pixel"),
        ([{"path": "a.raw"}], "E866 a: events with --model pixel"),
        ([{"path": "pictures"}], "E866 a: a folder of pictures has no frame rate"),
        (
            [{"values": {"v": np.ones(3, np.float32)}, "span_s": (0.0, 1.0)}],
            "E866 a: one label per frame, and a segment",
        ),
        ([{"values": {"v": np.ones(3, np.float32), "w": np.ones(4, np.float32)}}], "E864 a: 3 and 4 labels"),
        ([{"values": {"v": np.ones(0, np.float32)}}], "E864 a: 0 labels"),
        ([{"values": {"v": np.ones(1, np.float32)}}, {"name": "b"}], "E864 test: some clips have other values"),
        ([{"values": {"v": np.ones(8, np.float32)}}], "E864 a: 8 labels; limit 7 frames of the video"),
    ],
)
def test_entries_that_cannot_be_used(faces, tmp_path, entries, found):
    shutil.copy(sorted(faces.glob("*/*.mp4"))[0], tmp_path / "a.mp4")
    for name in ("a.txyz", "a.raw"):
        (tmp_path / name).touch()
    (tmp_path / "pictures").mkdir()
    made = [entry(**{"name": "a", **item, "path": tmp_path / item.get("path", "a.mp4")}) for item in entries]
    with pytest.raises(InputError) as error:
        prepare_event_frames(listing(*made), None, tmp_path / "o.h5", SMALL, workers=1)
    assert found in str(error.value)
    assert not (tmp_path / "o.h5").exists()


def test_arguments_that_make_no_sense(faces, tmp_path):
    data = list_dataset("folder", faces, SMALL)
    for arguments, found in (
        (("folder", faces, tmp_path / "a.mat"), "E860 .*suffix '.mat'"),
        (("folder", None, tmp_path / "a.h5"), "E860 folder: no folder"),
        ((data, faces, tmp_path / "a.h5"), "E860 folder: root or options"),
        (("imagenet", faces, tmp_path / "a.h5"), "E860 imagenet: no such data set"),
    ):
        with pytest.raises(InputError, match=found):
            prepare_event_frames(*arguments, SMALL, workers=1)


def test_check_finds_what_was_changed(whole, tmp_path):
    import h5py

    def changed(edit):
        shutil.copy(whole, tmp_path / "c.h5")
        with h5py.File(tmp_path / "c.h5", "r+") as file:
            edit(file)
        with pytest.raises(VerificationError) as error:
            check_event_frames(tmp_path / "c.h5")
        return str(error.value)

    def codes(file):
        file["codes"][7] = file["codes"][7] ^ 1

    def clock(file):
        file["time_us"][3] += 0.001

    def label(file):
        file["label"][4] = 1 - file["label"][4]

    def settings(file):
        file.attrs["settings"] = json.dumps(replace(SMALL, slice_us=4999).to_dict())

    assert "clip 0 is damaged: sha256" in changed(codes)
    assert "clip 0 is damaged" in changed(clock)
    assert "E861" in changed(label)
    assert "as the manifest says" in changed(label)
    assert "settings are not those of the manifest" in changed(settings)
    shutil.copy(whole, tmp_path / "c.h5")
    manifest_path(tmp_path / "c.h5").write_text("{}")
    with pytest.raises(VerificationError, match="not the manifest in the store"):
        check_event_frames(tmp_path / "c.h5")


def test_a_name_with_no_utf8_does_not_stop_the_others(faces, tmp_path):
    assert os.fsencode("ä") == "ä".encode()
    shutil.copytree(faces, tmp_path / "set")
    first = sorted((tmp_path / "set").glob("*/*.mp4"))[0]
    first.rename(first.with_name("größer.mp4"))
    (tmp_path / "set" / "labels.csv").unlink()
    made = run(tmp_path / "set", tmp_path / "a.h5")
    with EventFrames.open(made.path) as store:
        assert "negative/größer.mp4" in store.clip_names
