"""NEFER: the lists joined with recordings; every damage by name."""

import shutil

import pytest
from look_alikes.nefer import EXPECTED, FRAMES, REPORTED, make_nefer, video_name

from hw_targets.finding import InputError
from neuroemo.datasets import nefer
from neuroemo.datasets.image_frames import list_frames, stream_images
from neuroemo.datasets.nefer import scan_nefer

LIST = "annotations/expected_emotions/train_event.csv"
CHECK = "annotations/expected_emotions/validation_event.csv"
FIRST = "user01_2022-06-08_12-20-00_cd"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_nefer(tmp_path_factory.mktemp("nefer") / "set", frames=4, pictures=True)


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "set")


def refusal(root, **options):
    with pytest.raises(InputError) as caught:
        scan_nefer(root, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def edit(root, line, new, table=LIST):
    """Replace one line of a list (counted from 1); None removes it, a function changes it."""
    lines = (root / table).read_text().splitlines()
    text = new(lines[line - 1]) if callable(new) else new
    lines[line - 1 : line] = [] if text is None else [text]
    (root / table).write_text("\n".join(lines) + "\n")


def test_entries(root):
    data = scan_nefer(root)
    assert len(data.entries) == 9
    first = data.entries[0]
    assert first.name == f"user_01/{FIRST}"
    assert first.path == root / "event_raw" / "user_01" / f"{FIRST}.raw"
    assert (first.label, first.subject, first.split) == ("Happiness", "user_01", "train")
    assert (first.values, first.fold, first.span_s) == (None, None, None)
    assert [entry.label for entry in data.entries] == list(EXPECTED) * 3
    splits = data.splits()
    assert sorted(splits) == ["train", "val"]
    assert {entry.subject for entry in splits["val"]} == {"user_03"}
    assert len(splits["train"]) == 6
    assert data.classes == ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")


def test_reported_labels_have_none_as_a_class(root):
    data = scan_nefer(root, labels="reported")
    assert [entry.label for entry in data.entries] == list(REPORTED) * 3
    assert data.classes[-1] == "None"
    assert len(data.classes) == 8


@pytest.mark.parametrize("recording", ["event_frames", "rgb_frames"])
def test_frames(root, recording):
    data = scan_nefer(root, recording=recording)
    camera = "event" if recording == "event_frames" else "gopro"
    assert data.entries[4].path == root / recording / "user_02" / video_name("user_02", 1, camera)
    frames, findings = list_frames(data.entries[4].path)
    assert findings == []
    (piece,) = stream_images(frames, fps=25)
    assert piece.frames[:, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("rename", [str, lambda stem: stem.removesuffix("_cd")])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("suffix", [".raw", ".dat", ".RAW"])
def test_names_of_raw_files(tmp_path, rename, flat, suffix):
    root = make_nefer(tmp_path / "user_09" / "set", frames=2, flat=flat, suffix=suffix)
    for path in list((root / "event_raw").rglob("*_cd.*")):
        path.rename(path.with_name(rename(path.stem) + path.suffix))
    paths = [entry.path for entry in scan_nefer(root).entries]
    assert [path.stem for path in paths] == [rename(video_name(f"user_0{u}", i)) for u in (1, 2, 3) for i in range(3)]
    assert all(path.is_file() for path in paths)


def test_raw_and_dat_ask_for_a_choice(root):
    raw = root / "event_raw" / "user_01" / f"{FIRST}.raw"
    shutil.copy(raw, raw.with_suffix(".dat"))
    text = refusal(root)
    assert f"E792 {root}/event_raw/user_01/{FIRST}: 2 raw files: " in text
    assert "limit one" in text
    assert scan_nefer(root, raw_suffix=".raw").entries[0].path == raw
    assert refusal(root, raw_suffix=".dat").count("no raw file; limit") == 8


def test_no_test_list_and_other_counts_are_said(made):
    found = {finding.code: finding.found for finding in scan_nefer(made).findings}
    assert "no test list is published" in found["W794"]
    texts = [str(finding) for finding in scan_nefer(made).findings]
    assert "6 training and 3 validation videos; limit 420 and 125 in the published lists" in texts[0]
    assert "9 video(s) without 51 frames in the list: user_01/" in texts[1]
    assert len(texts) == 3


def test_a_complete_set_has_one_warning(tmp_path, monkeypatch):
    root = make_nefer(tmp_path / "set", frames=FRAMES)
    monkeypatch.setattr(nefer, "PUBLISHED_VIDEOS", {"train": 6, "val": 3})
    assert [finding.code for finding in scan_nefer(root).findings] == ["W794"]


def test_moved_user_and_unlisted_recordings_are_said(root):
    for table in (LIST, CHECK):
        text = (root / table).read_text()
        (root / table).write_text(text.replace("user_03", "user_04").replace("user03", "user04"))
    (root / "event_raw/user_03").rename(root / "event_raw/user_04")
    for path in list((root / "event_raw/user_04").iterdir()):
        path.rename(path.with_name(path.name.replace("user03", "user04")))
    (root / "event_raw/user_04/extra.raw").write_bytes(b"x")
    text = "\n".join(map(str, scan_nefer(root).findings))
    assert "user_04 not in the list that was published; limit validation: user_03, user_07, user_17" in text
    assert "1 recording(s) without a row, left out: 'user_04/extra.raw'" in text


ROW = f"user_01,{FIRST},a/user_01/{FIRST}/frame_09.png,Happiness"
DAMAGE = {
    "no list": (lambda r: (r / LIST).unlink(), f"E790 ROOT/{LIST}: no annotation file"),
    "empty list": (lambda r: (r / LIST).write_text("\n"), f"E791 ROOT/{LIST}: no rows"),
    "binary list": (lambda r: (r / LIST).write_bytes(b"\xff\xfe"), f"E791 ROOT/{LIST}: cannot be read: 'utf-8'"),
    "open quote": (lambda r: edit(r, 2, '"a'), f"E791 ROOT/{LIST}: cannot be read: unexpected end of data"),
    "huge cell": (lambda r: edit(r, 2, "a" * 200_000), "cannot be read: field larger than field limit"),
    "header": (lambda r: edit(r, 1, "user,video,path,label"), "no user in line 1 ('user'); limit as in user_01"),
    "cells": (lambda r: edit(r, 3, "a,b"), "wrong number of cells in line 3 ('2'); limit 4"),
    "user": (lambda r: edit(r, 3, ROW.replace("user_01", "user_1")), "no user in line 3 ('user_1')"),
    "video": (lambda r: edit(r, 3, ROW.replace(FIRST, "../../etc")), "no name of a video in line 3 ('../../etc')"),
    "frame": (lambda r: edit(r, 3, ROW.replace(".png", ".exe")), "no frame in line 3"),
    "other folder": (lambda r: edit(r, 3, ROW.replace("a/user_01", "a/user_02")), "a frame of another video in line 3"),
    "label": (lambda r: edit(r, 3, ROW.replace("Happiness", "Joy")), "unknown label in line 3 ('Joy'); limit Anger"),
    "None": (lambda r: edit(r, 3, ROW.replace("Happiness", "None")), "unknown label in line 3 ('None')"),
    "second label": (
        lambda r: edit(r, 3, ROW.replace("Happiness", "Anger")),
        "a second label in line 3 ('Anger'); limit one label per video, Happiness",
    ),
    "frame twice": (lambda r: edit(r, 3, ROW.replace("09", "00")), "a frame listed twice in line 3"),
    "user in both lists": (
        lambda r: edit(r, 1, ROW.replace(FIRST, FIRST + "x"), CHECK),
        "E794 ROOT/annotations: user_01 in the training and in the validation list; limit one list per person",
    ),
    "video in both lists": (
        lambda r: edit(r, 1, ROW, CHECK),
        f"E791 ROOT/{CHECK}: a video of the other list in line 1",
    ),
    "video of two users": (
        lambda r: edit(r, 1, ROW.replace("user_01", "user_02")),
        f"E794 ROOT/annotations: video {FIRST} under two users",
    ),
    "no raw folder": (lambda r: shutil.rmtree(r / "event_raw"), "E790 ROOT/event_raw: no such folder"),
    "raw lost": (
        lambda r: (r / f"event_raw/user_01/{FIRST}.raw").unlink(),
        f"E792 ROOT/event_raw/user_01/{FIRST}: no raw file; limit {FIRST}.raw or .dat below event_raw",
    ),
    "raw empty": (
        lambda r: (r / f"event_raw/user_01/{FIRST}.raw").write_bytes(b""),
        f"E792 ROOT/event_raw/user_01/{FIRST}.raw: empty file (0 bytes)",
    ),
    "raw dangles": (
        lambda r: [
            (r / f"event_raw/user_01/{FIRST}.raw").unlink(),
            (r / f"event_raw/user_01/{FIRST}.raw").symlink_to("nowhere"),
        ],
        f"E792 ROOT/event_raw/user_01/{FIRST}.raw: not a regular file",
    ),
    "raw elsewhere": (
        lambda r: shutil.move(r / f"event_raw/user_01/{FIRST}.raw", r / "event_raw/user_02"),
        f"E792 ROOT/event_raw/user_02/{FIRST}.raw: raw file of user_01 in the folder of another user",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(root, damage):
    inflict, text = DAMAGE[damage]
    assert len(scan_nefer(root).entries) == 9
    inflict(root)
    found = refusal(root)
    assert text.replace("ROOT", str(root)) in found
    assert str(root) in found


FRAME_DAMAGE = {
    "folder lost": (lambda f: shutil.rmtree(f), "no folder of this video"),
    "frame lost": (lambda f: (f / "frame_02.png").unlink(), "1 frame(s) missing: frame_02.png; limit 4 frames"),
    "frame more": (
        lambda f: shutil.copy(f / "frame_02.png", f / "frame_07.png"),
        "1 frame(s) without a row: frame_07.png",
    ),
    "frame empty": (lambda f: (f / "frame_01.png").write_bytes(b""), "/frame_01.png: empty file (0 bytes)"),
    "frame twice": (
        lambda f: shutil.copy(f / "frame_01.png", f / "frame_01.jpg"),
        "two pictures of frame 1: frame_01.jpg and frame_01.png",
    ),
}


@pytest.mark.parametrize("damage", FRAME_DAMAGE)
def test_damaged_frames_are_named(root, damage):
    inflict, text = FRAME_DAMAGE[damage]
    folder = root / "event_frames" / "user_01" / FIRST
    inflict(folder)
    found = refusal(root, recording="event_frames")
    assert f"E792 {folder}" in found
    assert text in found
    kept = scan_nefer(root, recording="event_frames", skip_broken=True)
    assert len(kept.entries) == 8
    assert "W792" in {finding.code for finding in kept.findings}
    assert len(scan_nefer(root).entries) == 9


def test_gap_in_the_frames_is_said(root):
    edit(root, 2, None)
    (root / "event_frames" / "user_01" / FIRST / "frame_01.png").unlink()
    gaps = [f for f in scan_nefer(root, recording="event_frames").findings if f.code == "W791"]
    assert [finding.found for finding in gaps] == ["frame(s) 1 neither there nor listed"]


def test_everything_wrong_at_once(root):
    edit(root, 3, ROW.replace("Happiness", "Joy"))
    edit(root, 7, ROW.replace("Happiness", "Bliss"))
    edit(root, 2, "x", CHECK)
    found = refusal(root)
    assert "unknown label in line 3 ('Joy'), 7 ('Bliss')" in found
    assert f"{root / CHECK}: wrong number of cells in line 2" in found
    assert found.count("E791") == 2


def test_root_and_arguments_are_refused(root, tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").count("E790") == 3
    for options in ({"labels": "felt"}, {"recording": "rgb"}, {"raw_suffix": ".aedat"}, {"skip_broken": 1}):
        assert f"E793 {next(iter(options))}" in refusal(root, **options)
    assert "E793 raw_suffix" in refusal(root, recording="rgb_frames", raw_suffix=".raw")
    shutil.rmtree(root / "event_raw")
    assert "give recording='event_frames', or unpack event_raw" in refusal(root)


def test_all_broken_is_refused_even_with_skip_broken(root):
    for path in (root / "event_raw").rglob("*.raw"):
        path.write_bytes(b"")
    assert refusal(root, skip_broken=True).count("E792") == 9


def test_limits_of_a_list(root, monkeypatch):
    monkeypatch.setattr(nefer, "MAX_ROWS", 24)
    assert len(scan_nefer(root).entries) == 9
    monkeypatch.setattr(nefer, "MAX_ROWS", 23)
    assert "train_event.csv: more than 23 rows" in refusal(root)
    monkeypatch.setattr(nefer, "MAX_CSV_BYTES", 1000)
    assert "train_event.csv: larger than 0 MiB" in refusal(root)
