"""The label files of CMU-MOSI: pickles never opened, damaged csd files, bounds, and any text."""

import os
import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from look_alikes.mosi import CLIPS, make_mosi, write_csd

from hw_targets.finding import InputError
from neuroemo.datasets import mosi_labels
from neuroemo.datasets.mosi import scan_mosi
from neuroemo.datasets.mosi_labels import read_labels

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


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("name", ["label.csv", CSD, "labels.pkl"])
@pytest.mark.parametrize("protocol", [0, 4])
def test_a_pickle_is_refused_and_never_opened(mosi, tmp_path, monkeypatch, name, protocol):
    monkeypatch.setenv("BOMB", str(tmp_path / "went_off"))
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    (finding,) = refused(mosi, labels=path)
    assert (finding.code, finding.node) == ("E755", str(path))
    assert ("pickle" in finding.found) == (protocol == 4 or name == "labels.pkl")
    assert not (tmp_path / "went_off").exists()
    (mosi / "label.csv").unlink()
    (mosi / "Processed").mkdir()
    (mosi / "Processed" / "unaligned_50.pkl").write_bytes(path.read_bytes())
    assert "Processed/unaligned_50.pkl: a pickle can run code" in refused(mosi)[0].found


def spoil(path, change):
    with h5py.File(path, "r+") as file:
        change(file, file["Opinion Segment Labels/data"])


def replace(group, name, **options):
    del group[name]
    group.create_dataset(name, **options)


@pytest.mark.parametrize(
    ("change", "code", "found"),
    [
        (lambda f, d: f.create_group("Other"), "E755", "2 group(s), no labels"),
        (lambda f, d: f["Opinion Segment Labels"].pop("data"), "E755", "no labels"),
        (lambda f, d: [d.pop(video) for video in CLIPS], "E755", "no labels in it"),
        (lambda f, d: d["03bSnISJMiM"].pop("intervals"), "E756", "without features and intervals"),
        (lambda f, d: d.move("03bSnISJMiM", "03bSnISJMiM[0]"), "E756", "video id '03bSnISJMiM[0]'"),
        (lambda f, d: d.move("03bSnISJMiM", "of-my-own"), "E756", "video of-my-own is in no official list"),
        (lambda f, d: d["03bSnISJMiM/features"].__setitem__(1, 3.5), "E756", "label 3.5 of clip 03bSnISJMiM/2"),
        (lambda f, d: d["03bSnISJMiM/features"].__setitem__(1, np.nan), "E756", "label nan of clip 03bSnISJMiM/2"),
        (lambda f, d: d["03bSnISJMiM/intervals"].__setitem__(1, np.inf), "E756", "not finite"),
        (lambda f, d: replace(d["03bSnISJMiM"], "features", data=np.zeros((3, 2))), "E756", "is float64 [3, 2]"),
        (lambda f, d: replace(d["03bSnISJMiM"], "features", data=[["a"]]), "E756", "is object [1, 1]"),
        (lambda f, d: replace(d["03bSnISJMiM"], "features", data=np.zeros((2, 1))), "E756", "2 labels and 3 intervals"),
        (
            lambda f, d: replace(d["03bSnISJMiM"], "features", shape=(1 << 40, 1), dtype="f4", chunks=(8, 1)),
            "E756",
            "1099",
        ),
        (lambda f, d: d.__setitem__("HEsqda8_d0Q", h5py.ExternalLink("other.h5", "/x")), "E756", "HEsqda8_d0Q without"),
    ],
)
def test_damaged_csd(tmp_path, change, code, found):
    root = make_mosi(tmp_path, labels="csd")
    spoil(root / CSD, change)
    findings = refused(root)
    assert code in codes(findings)
    assert any(found in finding.found for finding in findings)


def test_csd_that_is_none_and_rows_out_of_time_order(tmp_path):
    root = make_mosi(tmp_path, labels="csd")
    spoil(root / CSD, lambda f, d: d["03bSnISJMiM/intervals"].__setitem__(0, [90, 95]))
    assert "1 video(s) with rows out of time order, first 03bSnISJMiM" in scan_mosi(root).findings[0].found
    (root / CSD).write_bytes(b"video_id,clip_id\n")
    assert "not an HDF5 file" in refused(root)[0].found
    (root / CSD).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "cannot be read: OSError" in refused(root)[0].found


def test_a_dataset_that_lies_in_another_file_is_not_read(tmp_path):
    root = make_mosi(tmp_path, labels="csd")
    (tmp_path / "secret.bin").write_bytes(bytes(8))

    def external(file, data):
        del data["03bSnISJMiM/features"]
        data.create_dataset("03bSnISJMiM/features", (3, 1), "u1", external=[(str(tmp_path / "secret.bin"), 0, 3)])

    def virtual(file, data):
        del data["03bSnISJMiM/features"]
        layout = h5py.VirtualLayout((3, 1), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3, 1))
        data.create_virtual_dataset("03bSnISJMiM/features", layout)

    for change in (external, virtual):
        spoil(root / CSD, change)
        (finding,) = refused(root)
        assert (finding.code, finding.node) == ("E756", f"{root / CSD}:03bSnISJMiM")
        assert finding.found.startswith("features of video 03bSnISJMiM is")


def test_bounds_hold_and_what_is_just_below_passes(tmp_path, monkeypatch):
    csd = tmp_path / CSD
    write_csd(csd)
    for name, least in (
        ("MAX_LABELS_BYTES", csd.stat().st_size),
        ("MAX_VIDEOS", 4),
        ("MAX_CLIPS", 10),
        ("MAX_CLIPS_PER_VIDEO", 3),
        ("_MAX_CHUNK_BYTES", 2 * 3 * 4),  # three intervals, float32
    ):
        with monkeypatch.context() as bounds:
            bounds.setattr(mosi_labels, name, least)
            assert len(read_labels(csd).labels) == 10
            bounds.setattr(mosi_labels, name, least - 1)
            with pytest.raises(InputError) as error:
                read_labels(csd)
        assert error.value.findings[0].code in ("E755", "E756")


def sane(path):
    """Read labels that may be damaged: a table within every promise, or an InputError with code and fix."""
    try:
        table = read_labels(path)
    except InputError as error:
        table, findings = None, error.findings
    if table is None:
        assert findings
        assert {finding.code for finding in findings} <= {"E755", "E756"}
        assert all(finding.node and finding.fix for finding in findings)
        return False
    assert len({(label.video, label.clip) for label in table.labels}) == len(table.labels) > 0
    assert all(-3 <= label.sentiment <= 3 and label.clip.isdigit() for label in table.labels)
    return True


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=10), max_size=6))
def test_any_text_is_a_table_or_refused(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    text = "\n".join(["video_id,clip_id,label,mode", *(",".join(row) for row in rows)])
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    sane(path)
