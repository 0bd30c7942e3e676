"""Scanning a folder: labels, splits, and every way a table can fail to fit it."""

import os

import pytest

from hw_targets.finding import InputError
from neuroemo.datasets.folder import scan_folder


@pytest.fixture
def folder(tmp_path):
    """Two classes, five files each that are no videos: scanning never decodes one."""
    for label in ("sad", "glad"):
        (tmp_path / label).mkdir()
        for index in range(5):
            (tmp_path / label / f"{index}.mp4").write_bytes(f"{label} {index}".encode())
    return tmp_path


def table_rows():
    split = ["train", "train", "train", "val", "test"]
    rows = ["file,label,subject,split,mood"]
    return rows + [f"{lab}/{n}.mp4,{lab},p{n},{split[n]},x" for lab in ("glad", "sad") for n in range(5)]


def write_table(folder, rows):
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


def findings_of(folder, **options):
    with pytest.raises(InputError) as error:
        scan_folder(folder, **options)
    return error.value.findings


def test_random_split_is_60_20_20_and_warned_about(folder):
    scan = scan_folder(folder)
    assert scan.classes == ("glad", "sad")
    assert [e.name for e in scan.entries] == sorted(e.name for e in scan.entries)
    for label in scan.classes:
        splits = sorted(e.split for e in scan.entries if e.label == label)
        assert splits == ["test", "train", "train", "train", "val"]
    assert [f.code for f in scan.findings] == ["W730"]
    assert "same person" in scan.findings[0].found
    assert {e.subject for e in scan.entries} == {""}


def test_random_split_depends_on_the_seed_alone(folder):
    def first():
        return [e.split for e in scan_folder(folder).entries]

    assert first() == first()
    assert any([e.split for e in scan_folder(folder, seed=s).entries] != first() for s in range(1, 5))


def test_table_gives_subject_and_split(folder):
    write_table(folder, table_rows())
    scan = scan_folder(folder)
    assert scan.findings == ()
    entry = scan.entries[3]
    assert (entry.name, entry.label, entry.subject, entry.split) == ("glad/3.mp4", "glad", "p3", "val")
    assert entry.path == folder / "glad" / "3.mp4"


def test_hidden_files_deeper_folders_loops_and_other_files_are_left_out(folder):
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "a.mp4").touch()
    (folder / "sad" / ".b.mp4").touch()
    (folder / "sad" / "notes.txt").touch()
    (folder / "sad" / "deep").mkdir()
    (folder / "sad" / "deep" / "c.mp4").touch()
    (folder / "sad" / "C.MOV").touch()
    os.symlink(folder, folder / "sad" / "loop")
    os.symlink("self", folder / "self")
    os.symlink(folder / "sad" / "round.mp4", folder / "sad" / "round.mp4")
    names = [e.name for e in scan_folder(folder).entries]
    assert len(names) == 11
    assert "sad/C.MOV" in names


def test_no_folder_no_videos(folder, tmp_path):
    assert findings_of(tmp_path / "none")[0].code == "E730"
    assert findings_of(folder / "sad" / "0.mp4")[0].code == "E730"
    (tmp_path / "empty").mkdir()
    (finding,) = findings_of(tmp_path / "empty")
    assert (finding.code, finding.found) == ("E731", "no videos found")


def test_one_class(folder):
    for file in (folder / "glad").iterdir():
        file.unlink()
    assert [f.code for f in findings_of(folder)] == ["E732"]
    assert scan_folder(folder, require_classes=False).classes == ("sad",)


def test_small_class_is_named(folder):
    for index in (0, 1, 2):
        (folder / "glad" / f"{index}.mp4").unlink()
    (finding,) = findings_of(folder)
    assert finding.code == "E733"
    assert finding.node.endswith("/glad")
    assert finding.found == "2 clip(s)"
    (folder / "glad" / "0.mp4").touch()
    assert len(scan_folder(folder).entries) == 8


@pytest.mark.parametrize(
    ("change", "code", "found"),
    [
        (lambda r: ["file,label,subject", *r[1:]], "E735", "missing column(s) split"),
        (lambda r: [r[0], *r[1:], "sad/9.mp4,sad,p9,test,x"], "E736", "'sad/9.mp4' not found"),
        (lambda r: [r[0], *r[1:], "../x.mp4,sad,p9,test,x"], "E736", "'../x.mp4' not found"),
        (lambda r: [*r, r[1]], "E736", "'glad/0.mp4' listed twice"),
        (lambda r: [r[0], r[1].replace("train", "dev"), *r[2:]], "E736", "unknown split 'dev'"),
        (lambda r: [r[0], r[1].replace(",glad", ",sad"), *r[2:]], "E736", "label 'sad' of 'glad/0.mp4'"),
        (lambda r: [r[0], r[1].replace("p0", ""), *r[2:]], "E736", "no subject"),
        (lambda r: r[:-1], "E737", "video without a row"),
        (lambda r: [r[0], r[1].replace("train", "test"), *r[2:]], "E738", "subject 'p0' in test and train"),
        (lambda r: [*r, '"open'], "E734", "cannot be read"),
    ],
)
def test_table_that_does_not_fit(folder, change, code, found):
    write_table(folder, change(table_rows()))
    findings = findings_of(folder)
    assert code in [f.code for f in findings]
    assert any(found in f.found for f in findings)


def test_table_findings_come_together_with_line_numbers(folder):
    rows = table_rows()
    rows[1] = rows[1].replace("train", "dev")
    rows[2] = rows[2].replace("glad/1", "glad/7")
    write_table(folder, rows)
    findings = findings_of(folder)
    assert [f.code for f in findings] == ["E736", "E736", "E737"]
    assert findings[0].node.endswith("labels.csv:2")
    assert findings[1].node.endswith("labels.csv:3")


def test_table_in_another_encoding(folder):
    (folder / "labels.csv").write_bytes(b"file,label\xff,subject,split\n")
    assert findings_of(folder)[0].code == "E734"


def test_table_with_byte_order_mark_and_windows_paths(folder):
    rows = [row.replace("/", "\\") for row in table_rows()]
    (folder / "labels.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    assert len(scan_folder(folder).entries) == 10


def test_a_folder_to_be_answered_may_be_anything(tmp_path):
    (tmp_path / "b.mp4").touch()
    (tmp_path / "a.MOV").touch()
    (tmp_path / ".hidden.mp4").touch()
    (tmp_path / "notes.txt").touch()
    scan = scan_folder(tmp_path, require_classes=False)
    assert [(e.name, e.label, e.split) for e in scan.entries] == [
        ("a.MOV", "unlabelled", "test"),
        ("b.mp4", "unlabelled", "test"),
    ]
    assert findings_of(tmp_path)[0].code == "E731"


def test_one_clip_of_one_class_can_be_answered_but_not_learnt_from(tmp_path):
    (tmp_path / "glad").mkdir()
    (tmp_path / "glad" / "1.mp4").touch()
    scan = scan_folder(tmp_path, require_classes=False)
    assert [(e.label, e.split) for e in scan.entries] == [("glad", "test")]
    assert scan.findings == ()
    assert {finding.code for finding in findings_of(tmp_path)} == {"E732", "E733"}
