"""CMU-MOSI: both layouts, both label forms, the official split, the zero policy, and what is refused."""

import hashlib
import os

import numpy as np
import pytest
from look_alikes.mosi import clip_paths, label_rows, make_mosi, write_csd, write_csv

from hw_targets.finding import InputError
from neuroemo.datasets.mosi import MAX_LISTED, scan_mosi
from neuroemo.datasets.mosi_labels import OFFICIAL_VIDEOS, official_split
from neuroemo.events.video import read_gray, write_h264

CSD = "CMU_MOSI_Opinion_Labels.csd"


def refused(root, **options):
    with pytest.raises(InputError) as error:
        scan_mosi(root, **options)
    return error.value.findings


def codes(findings):
    return [finding.code for finding in findings]


@pytest.fixture
def mosi(tmp_path):
    return make_mosi(tmp_path / "MOSI")


def test_official_lists_are_the_published_ones():
    """SHA-256 of the sorted ids, joined by newlines, taken from cmu_mosi_std_folds.py of the SDK at 4f2eadc."""
    published = {
        "train": (52, "a11b39a1c1b50acc535094b3eb433a72dbc183d5b46275dced43d3907297e127"),
        "val": (10, "05264aba57d7c8fdfa92e5392e91b4602efc92ef12e0ead7025de990aac00cff"),
        "test": (31, "d39f727168fd9a0660ad1553761a8c878c517829b088bdf91ffec2e922d31e48"),
    }
    for split, (count, digest) in published.items():
        assert len(OFFICIAL_VIDEOS[split]) == count
        assert hashlib.sha256("\n".join(sorted(OFFICIAL_VIDEOS[split])).encode()).hexdigest() == digest
    every = [video for videos in OFFICIAL_VIDEOS.values() for video in videos]
    assert len(set(every)) == 93
    assert {len(video) for video in every} == {11}


@pytest.mark.parametrize("layout", ["mmsa", "original"])
@pytest.mark.parametrize("labels", ["csv", "csd"])
def test_both_layouts_with_both_label_forms(tmp_path, layout, labels):
    root = make_mosi(tmp_path, layout=layout, labels=labels)
    data = scan_mosi(root)
    assert data.classes == ("negative", "non-negative")
    paths = clip_paths(root, layout)
    by_hand = {
        "03bSnISJMiM/1": (2.4, "non-negative", "train"),
        "03bSnISJMiM/2": (-0.8, "negative", "train"),
        "03bSnISJMiM/3": (0.0, "non-negative", "train"),
        "2iD-tVS8NPw/1": (-1.6, "negative", "train"),
        "2iD-tVS8NPw/2": (3.0, "non-negative", "train"),
        "_dI--eQ6qVU/1": (-3.0, "negative", "val"),
        "_dI--eQ6qVU/2": (1.2, "non-negative", "val"),
        "c7UH_rxdZv4/1": (0.4, "non-negative", "test"),
        "c7UH_rxdZv4/2": (-2.2, "negative", "test"),
        "c7UH_rxdZv4/3": (0.0, "non-negative", "test"),
    }
    assert [entry.name for entry in data.entries] == list(by_hand)
    for entry in data.entries:
        sentiment, label, split = by_hand[entry.name]
        assert (entry.label, entry.split, entry.fold, entry.span_s) == (label, split, None, None)
        assert entry.values["sentiment"].dtype == np.float32
        np.testing.assert_array_equal(entry.values["sentiment"], np.float32([sentiment]))
        video, clip = entry.name.split("/")
        assert (entry.subject, entry.path) == (video, paths[video, clip])
    assert {split: len(entries) for split, entries in data.splits().items()} == {"train": 5, "val": 2, "test": 3}
    assert data.zeros == {"train": 1, "val": 0, "test": 1}
    assert codes(data.findings) == ["W754"]
    assert "train 5, val 2, test 3 clips of 4 videos" in data.findings[0].found
    assert "train -1279, val -227, test -683" in data.findings[0].found
    assert "train 1284, val 229, test 686" in data.findings[0].limit


def test_zeros_dropped_are_counted_and_reported(mosi):
    data = scan_mosi(mosi, zero="non0")
    assert data.classes == ("negative", "positive")
    assert len(data.entries) == 8
    assert {entry.label for entry in data.entries} == {"negative", "positive"}
    assert data.zeros == {"train": 1, "val": 0, "test": 1}
    (dropped,) = [finding for finding in data.findings if finding.code == "W758"]
    assert "2 of 10 clips rated exactly 0 dropped (train 1, val 0, test 1)" in dropped.found


def full_size(root):
    """A folder with the published 1284 / 229 / 686 clips, spread over the official videos."""
    rows = [label_rows()[0]]
    for split, count in (("train", 1284), ("val", 229), ("test", 686)):
        videos = OFFICIAL_VIDEOS[split]
        for index in range(count):
            video, clip = videos[index % len(videos)], index // len(videos) + 1
            (root / "Raw" / video).mkdir(parents=True, exist_ok=True)
            (root / "Raw" / video / f"{clip}.mp4").write_bytes(b"x")
            rows.append(f"{video},{clip},T,{(index % 31 - 15) / 5},,,,,{'valid' if split == 'val' else split}")
    write_csv(root / "label.csv", rows)
    return root


def test_published_numbers_pass_without_a_warning(tmp_path):
    data = scan_mosi(full_size(tmp_path))
    assert data.findings == ()
    assert {split: len(entries) for split, entries in data.splits().items()} == {"train": 1284, "val": 229, "test": 686}
    clips = [entry.name for entry in data.entries if entry.subject == "03bSnISJMiM"]
    assert [name.split("/")[1] for name in clips[:12]] == [str(k) for k in range(1, 13)]


def test_missing_folder_no_labels_no_clips(mosi, tmp_path):
    assert "no such folder" in refused(tmp_path / "none")[0].found
    assert refused(mosi / "label.csv")[0].found == "not a folder"
    os.rename(mosi / "label.csv", tmp_path / "away.csv")
    (finding,) = refused(mosi)
    assert (finding.code, finding.node, finding.found) == ("E754", str(mosi), "no label file")
    assert len(scan_mosi(mosi, labels=tmp_path / "away.csv").entries) == 10
    os.rename(mosi / "Raw", mosi / "raw_")
    assert codes(refused(mosi)) == ["E754", "E754"]
    (mosi / "Raw").mkdir()
    assert refused(mosi, labels=tmp_path / "away.csv")[0].found == "no clips found"


def test_two_label_files_or_two_layouts_are_not_guessed(mosi):
    write_csd(mosi / CSD)
    assert refused(mosi)[0].found == f"both label.csv and {CSD}"
    assert len(scan_mosi(mosi, labels=mosi / CSD).entries) == 10
    make_mosi(mosi, layout="original")
    assert "clips in both layouts" in refused(mosi, labels=mosi / CSD)[0].found


@pytest.mark.parametrize(
    ("change", "code", "found"),
    [
        (lambda r: [r[0].replace("clip_id", "clip"), *r[1:]], "E755", "missing column(s) clip_id"),
        (lambda r: [r[0].replace("text", "label"), *r[1:]], "E755", "repeated column(s) label"),
        (lambda r: r[:1], "E755", "no labels in it"),
        (lambda r: [], "E755", "missing column(s) video_id, clip_id, label, mode"),
        (lambda r: [*r, '"open'], "E755", "cannot be read"),
        (lambda r: [*r, r[1]], "E756", "clip 03bSnISJMiM/1 listed twice"),
        (lambda r: [*r, "a,b"], "E756", "2 fields"),
        (lambda r: [r[0], r[1] + ",x", *r[2:]], "E756", "10 fields"),
        (lambda r: [r[0], r[1].replace("2.4", "good"), *r[2:]], "E756", "label 'good' of clip 03bSnISJMiM/1"),
        (lambda r: [r[0], r[1].replace("2.4", ""), *r[2:]], "E756", "label '' of clip"),
        (lambda r: [r[0], r[1].replace("2.4", "nan"), *r[2:]], "E756", "label 'nan' of clip"),
        (lambda r: [r[0], r[1].replace("2.4", "2_4"), *r[2:]], "E756", "label '2_4' of clip"),
        (
            lambda r: [r[0], r[1].replace("2.4", "3.01"), *r[2:]],
            "E756",
            "label 3.01 of clip 03bSnISJMiM/1 out of range",
        ),
        (lambda r: [r[0], r[1].replace("2.4", "1e999"), *r[2:]], "E756", "out of range"),
        (lambda r: [r[0], r[1].replace(",train", ",dev"), *r[2:]], "E756", "unknown mode 'dev'"),
        (lambda r: [r[0], r[1].replace("M,1,", "M,1.0,"), *r[2:]], "E756", "clip_id '1.0'"),
        (lambda r: [r[0], r[1].replace("03bSnISJMiM", "#NAME?"), *r[2:]], "E756", "video_id '#NAME?'"),
        (lambda r: [r[0], r[1].replace("03bSnISJMiM", "../../etc"), *r[2:]], "E756", "video_id '../../etc'"),
        (lambda r: [r[0], r[1].replace("03bSnISJMiM", "3bSnISJMiM"), *r[2:]], "E757", "clip file missing"),
    ],
)
def test_damaged_table(mosi, change, code, found):
    write_csv(mosi / "label.csv", change(label_rows()))
    findings = refused(mosi)
    assert code in codes(findings)
    assert any(found in finding.found for finding in findings)
    assert all(finding.node for finding in findings)
    assert all(finding.fix for finding in findings)


def test_findings_come_together_with_line_numbers_and_are_cut(mosi):
    rows = label_rows()
    rows[1], rows[3] = rows[1].replace("2.4", "9"), rows[3].replace(",train", ",dev")
    write_csv(mosi / "label.csv", rows)
    findings = refused(mosi)
    assert [finding.node.rsplit(":", 1)[1] for finding in findings] == ["2", "4"]
    video = "03bSnISJMiM"
    write_csv(mosi / "label.csv", rows[:1] + [f"{video},{k},T,1,,,,,train" for k in range(1, 104)])
    findings = refused(mosi)
    assert len(findings) == MAX_LISTED + 1
    assert findings[-1].found == "and 50 more like these (50 of E757)"  # 103 labels, clips 1 to 3 exist


def test_ids_are_text_and_other_encodings_are_refused(mosi):
    os.rename(mosi / "Raw" / "2iD-tVS8NPw", mosi / "Raw" / "-007")
    os.rename(mosi / "Raw" / "-007" / "1.mp4", mosi / "Raw" / "-007" / "01.MP4")
    rows = [row.replace("2iD-tVS8NPw,1,", "-007,01,").replace("2iD-tVS8NPw", "-007") for row in label_rows()]
    (mosi / "label.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    data = scan_mosi(mosi)
    assert {"-007/01", "-007/2"} < {entry.name for entry in data.entries}
    (strange,) = [finding for finding in data.findings if finding.code == "W755"]
    assert "1 video(s) in no official list, first -007: split taken from mode" in strange.found
    (mosi / "label.csv").write_bytes("\n".join(rows).encode("utf-16"))
    assert codes(refused(mosi)) == ["E755"]


def test_mode_against_the_official_list(mosi):
    write_csv(mosi / "label.csv", [row.replace(",valid", ",test") for row in label_rows()])
    data = scan_mosi(mosi)
    assert [len(entries) for entries in data.splits().values()] == [5, 2, 3]
    assert "mode of 2 clip(s)" in data.findings[0].found
    assert "the official list is used" in data.findings[0].found
    data = scan_mosi(mosi, splits="file")
    assert [len(entries) for entries in data.splits().values()] == [5, 0, 5]
    assert "mode is used" in data.findings[0].found


def test_annotation_against_the_label_and_clips_without_label_are_reported(mosi):
    rows = label_rows()
    write_csv(mosi / "label.csv", [rows[0], rows[1].replace("Positive", "Negative"), *rows[2:-1]])
    findings = {finding.code: finding for finding in scan_mosi(mosi).findings}
    assert "1 annotation(s) against the sign of the label, first 03bSnISJMiM/1" in findings["W756"].found
    assert "1 clip(s) without a label left out, first Raw/c7UH_rxdZv4/3.mp4" in findings["W757"].found


def test_missing_empty_and_double_clips(mosi):
    gone, empty, double = (
        mosi / "Raw" / name for name in ("03bSnISJMiM/1.mp4", "03bSnISJMiM/2.mp4", "c7UH_rxdZv4/1.avi")
    )
    gone.unlink()
    gone.symlink_to("nowhere.mp4")
    empty.write_bytes(b"")
    double.write_bytes(b"x")
    findings = refused(mosi)
    assert codes(findings) == ["E757"] * 3
    assert [finding.node for finding in findings] == [str(gone), str(empty), str(double.with_suffix(".mp4"))]
    assert [finding.found.split(",")[0] for finding in findings] == [
        "clip file missing",
        "empty file",
        "2 files: 1.avi",
    ]
    data = scan_mosi(mosi, skip_missing=True)
    assert len(data.entries) == 7
    assert any("3 of 10 labelled clips left out" in finding.found for finding in data.findings)


def test_options_and_single_class(mosi):
    findings = refused(mosi, zero="keep", splits="mine", skip_missing="no")
    assert [(f.code, f.node, f.found) for f in findings] == [
        ("E758", "zero", "unknown 'keep'"),
        ("E758", "splits", "unknown 'mine'"),
        ("E758", "skip_missing", "'no'"),
    ]
    write_csv(mosi / "label.csv", label_rows()[:2])
    assert refused(mosi)[0].found == "no clip is negative"
    os.remove(mosi / "label.csv")
    write_csd(mosi / CSD)
    assert "names no splits" in refused(mosi, splits="file")[0].found


def test_a_video_outside_every_list_has_no_official_split():
    assert official_split("03bSnISJMi") is None
    assert official_split("03bsnisjmim") is None


def test_clips_that_are_videos_decode(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
    root = make_mosi(tmp_path, layout="original", labels="csd", video=lambda path: write_h264(path, frames, fps=25))
    for entry in scan_mosi(root).entries:
        assert read_gray(entry.path, size=32).frames.shape == (4, 32, 32)
