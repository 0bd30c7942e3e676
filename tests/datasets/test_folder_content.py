"""A folder as people have it: phone names, other formats, copies, broken links, empty and unreadable files."""

import os
import unicodedata

import pytest

from hw_targets.finding import InputError
from neuroemo.datasets.folder import scan_folder

HEADER = "file,label,subject,split"


@pytest.fixture
def phones(tmp_path):
    """Two classes of five clips, named and cased as phones and messengers do it, no two with the same bytes."""
    names = ["IMG_0001.MOV", "VID_20240102_030405.mp4", "PXL 1.MP4", "clip (1).3gp", "WhatsApp Video.m4v"]
    for label in ("glad", "sad"):
        (tmp_path / label).mkdir()
        for index, name in enumerate(names):
            (tmp_path / label / name).write_bytes(label.encode() * 100 * (index + 1))
    return tmp_path


def warnings_of(folder, **options):
    return [(f.code, f.found) for f in scan_folder(folder, **options).findings if f.code != "W730"]


def errors_of(folder, **options):
    with pytest.raises(InputError) as error:
        scan_folder(folder, **options)
    return [(f.code, f.node, f.found) for f in error.value.findings]


def test_mixed_suffixes_and_cases_scan_without_a_warning(phones):
    (phones / "README.md").touch()
    (phones / "sad" / "._IMG_0001.MOV").write_bytes(b"a shadow file of macOS")
    (phones / "sad" / ".DS_Store").touch()
    assert len(scan_folder(phones).entries) == 10
    assert warnings_of(phones) == []


def test_everything_left_out_is_named_and_counted(phones):
    (phones / "loose.mp4").write_bytes(b"x")
    (phones / "Labels.CSV").write_text(HEADER)
    (phones / "notes").mkdir()
    (phones / "sad" / "old.wmv").touch()
    (phones / "sad" / "IMG_0001.HEIC").touch()
    (phones / "sad" / "IMG_0001.AAE").touch()
    (phones / "sad" / "2023" / "May").mkdir(parents=True)
    (phones / "sad" / "2023" / "May" / "a.mov").touch()
    (phones / "glad" / "lost.mp4").symlink_to("nowhere.mp4")
    (phones / "glad" / "album").symlink_to(phones / "sad")
    os.mkfifo(phones / "glad" / "pipe.mp4")
    assert warnings_of(phones) == [
        ("W731", "1 video(s) outside the class folders left out, first loose.mp4"),
        ("W731", "1 video(s) in deeper folders left out, first sad/2023/May/a.mov"),
        ("W731", "1 folder link(s) left out, first glad/album"),
        ("W731", "2 broken link(s) or special file(s) left out, first glad/lost.mp4"),
        ("W731", "1 video(s) of a format that is not read left out, first sad/old.wmv"),
        ("W731", "1 folder(s) without videos left out, first notes"),
        ("W731", "2 file(s) that are no videos left out (by suffix: 1 .aae, 1 .heic), first sad/IMG_0001.AAE"),
        ("W731", "1 table(s) not named labels.csv left out, first Labels.CSV"),
    ]
    assert len(scan_folder(phones).entries) == 10


def test_a_link_to_a_video_elsewhere_is_a_video(phones, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("album") / "a.mp4"
    elsewhere.write_bytes(b"a video that lies elsewhere")
    (phones / "sad" / "linked.mp4").symlink_to(elsewhere)
    assert "sad/linked.mp4" in [entry.name for entry in scan_folder(phones).entries]
    assert warnings_of(phones) == []


def test_a_class_folder_may_be_a_link_and_two_links_to_one_folder_are_one_class(phones, tmp_path_factory):
    album = tmp_path_factory.mktemp("album")
    for index in range(3):
        (album / f"{index}.mp4").write_bytes(b"calm %d" % index * 100)
    (phones / "calm").symlink_to(album)
    assert scan_folder(phones).classes == ("calm", "glad", "sad")
    assert warnings_of(phones) == []
    (phones / "angry").symlink_to(album)
    assert {code for code, _, _ in errors_of(phones)} == {"E733", "E739"}


def test_empty_videos_are_a_warning_and_no_copies_of_each_other(phones):
    for name in ("a.mp4", "b.mp4"):
        (phones / "sad" / name).touch()
    assert warnings_of(phones) == [("W732", "2 empty video(s), first sad/a.mp4")]


def test_unreadable_files_are_refused_together(phones, monkeypatch):
    """Root may read everything, so the system's answer is replaced."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "PXL" not in str(path) and access(path, mode))
    text = "the file may not be read"
    assert errors_of(phones) == [("E739", "glad/PXL 1.MP4", text), ("E739", "sad/PXL 1.MP4", text)]


def test_an_unreadable_class_folder_is_named(phones, monkeypatch):
    listdir = os.listdir

    def denied(path):
        if str(path).endswith("sad"):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", denied)
    assert errors_of(phones) == [("E730", str(phones / "sad"), "cannot be read: Permission denied")]


def copy(folder, source, target):
    (folder / target).write_bytes((folder / source).read_bytes())


@pytest.mark.parametrize("seed", range(8))
def test_copies_stay_in_the_split_of_their_original_and_move_nobody(phones, seed):
    before = {entry.name: entry.split for entry in scan_folder(phones, seed=seed).entries}
    copy(phones, "sad/PXL 1.MP4", "sad/PXL 1 (copy).MP4")
    copy(phones, "sad/PXL 1.MP4", "sad/zz.MP4")
    after = {entry.name: entry.split for entry in scan_folder(phones, seed=seed).entries}
    assert {after[name] for name in ("sad/PXL 1.MP4", "sad/PXL 1 (copy).MP4", "sad/zz.MP4")} == {after["sad/zz.MP4"]}
    assert all(after[name] == split for name, split in before.items() if name.startswith("glad"))
    originals = [after[name] for name in before if name.startswith("sad")]
    assert sorted(originals) == ["test", "train", "train", "train", "val"]
    ((code, found),) = warnings_of(phones)
    assert code == "W733"
    assert found.startswith("2 copies of other videos")


def test_equal_size_is_no_copy(phones):
    (phones / "sad" / "a.mp4").write_bytes(b"7" * 256)
    (phones / "sad" / "b.mp4").write_bytes(b"7" * 255 + b"8")
    assert warnings_of(phones) == []


def test_copies_are_told_from_256_bytes_on(phones):
    for name in ("a.mp4", "b.mp4"):
        (phones / "sad" / name).write_bytes(b"7" * 255)
    assert warnings_of(phones) == []
    for name in ("a.mp4", "b.mp4"):
        (phones / "sad" / name).write_bytes(b"7" * 256)
    assert warnings_of(phones) == [
        ("W733", "1 copy of other videos, first 'sad/b.mp4' of 'sad/a.mp4': in the same split, and counted")
    ]


def test_one_video_in_two_classes_is_refused(phones):
    copy(phones, "sad/PXL 1.MP4", "glad/same.MP4")
    ((code, node, found),) = errors_of(phones)
    assert (code, node) == ("E739", "sad/PXL 1.MP4")
    assert found == "the same bytes as 'glad/same.MP4', in the classes 'glad' and 'sad'"
    assert len(scan_folder(phones, require_classes=False).entries) == 11


def test_copies_do_not_fill_a_class(phones):
    for entry in list((phones / "sad").iterdir())[1:]:
        entry.unlink()
    (only,) = (phones / "sad").iterdir()
    for index in range(4):
        copy(phones, f"sad/{only.name}", f"sad/copy{index}.mp4")
    ((code, node, found),) = errors_of(phones)
    assert (code, found) == ("E733", "1 clip(s) and 4 of the same bytes")
    assert node.endswith("/sad")


def table(phones, split_of_copy):
    split = dict.fromkeys(("glad", "sad"), None)
    rows = [HEADER]
    for label in split:
        for index, path in enumerate(sorted((phones / label).iterdir())):
            part = ("train", "train", "train", "val", "test")[min(index, 4)]
            part = split_of_copy if path.name.startswith("zz") else part
            rows.append(f"{label}/{path.name},{label},{label}{part},{part}")
    (phones / "labels.csv").write_text("\n".join(rows) + "\n")


def test_copies_in_two_splits_of_a_table_are_refused(phones):
    first = sorted((phones / "sad").iterdir())[0].name
    copy(phones, f"sad/{first}", "sad/zz.mp4")
    table(phones, "test")
    ((code, node, found),) = errors_of(phones)
    assert (code, node) == ("E739", "sad/zz.mp4")
    assert found.endswith("in the splits train and test")
    table(phones, "train")
    assert [code for code, _ in warnings_of(phones)] == ["W733"]


def test_accents_as_one_character_or_two_are_the_same_file(phones):
    decomposed = unicodedata.normalize("NFD", "été.mp4")
    (phones / "sad" / decomposed).write_bytes(b"summer")
    table(phones, "test")
    text = (phones / "labels.csv").read_text(encoding="utf-8")
    (phones / "labels.csv").write_text(unicodedata.normalize("NFC", text), encoding="utf-8")
    assert len({unicodedata.normalize("NFC", decomposed), decomposed}) == 2
    assert len(scan_folder(phones).entries) == 11


def test_classes_that_differ_in_case_only_are_reported(phones):
    (phones / "Sad").mkdir()
    for index in range(3):
        (phones / "Sad" / f"{index}.mp4").write_bytes(b"other %d" % index)
    assert warnings_of(phones) == [("W734", "classes 'Sad', 'sad' differ in case or spaces only")]
