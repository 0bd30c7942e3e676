"""What is refused, with its code and its words; the cases that just pass are in test_readers_formats.py."""

from __future__ import annotations

import os
import struct
import sys

import h5py
import numpy as np
import pytest
import readers_make as make

from hw_targets.finding import InputError, MissingDependencyError
from neuroemo.events.readers import child, open_events, write_events


def refused(path, **options):
    with pytest.raises(InputError) as error:
        open_events(path, **options)
    assert all(finding.node for finding in error.value.findings)
    return [finding.code for finding in error.value.findings], str(error.value)


def put(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


RAW = make.HEADERS["evt3"]
CASES = {
    "empty": ("a.raw", b"", "E765", "0 bytes"),
    "no format": ("a.raw", b"\x00\x01\x02", "E766", "not an event file"),
    "suffix lies": ("a.dat", make.evt3(), "E766", "content is raw"),
    "size missing": ("a.raw", RAW.replace(b";height=260;width=346\n% geometry 346x260", b""), "E767", "--sensor W,H"),
    "two sizes": ("a.raw", RAW.replace(b"y 346x260", b"y 640x480"), "E768", "2 sensor sizes"),
    "size zero": ("a.raw", RAW.replace(b"346", b"000"), "E768", "width '000'"),
    "geometry no size": ("a.raw", RAW.replace(b"y 346x260", b"y large"), "E768", "geometry 'large'"),
    "raw cut": ("a.raw", make.evt3()[:-1], "E769", "1 too many"),
    "dat cut": ("a.dat", make.dat()[:-3], "E769", "5 too many"),
    "dat only header": ("a.dat", make.DAT_HEADER, "E769", "type and size"),
    "header endless": ("a.raw", b"% evt 3.0\n% " + b"a" * 70000, "E769", "does not end"),
    "text for data": ("a.raw", RAW + b"%text\n" + b"\x01\x80", "E769", "where the data should begin"),
    "aedat4 cut": ("a.aedat4", b"#!AER-DAT4.0\r\n\x10\x00\x00\x00abc", "E769", ""),
    "x off": ("a.raw", make.evt3((0x8001, 0x0001, 0x2000 | 346)), "E769", "x overflow"),
    "aedat2 cut": ("a.aedat", make.aedat2([(0, 1)])[:-2], "E769", "multiple of 8"),
    "times fall": ("a.aedat", make.aedat2([(0, 9), (0, 8)]), "E771", "9 us, then 8 us"),
    "evt3 falls": ("a.raw", make.evt3((0x8009, 0x0001, 0x2001, 0x8003)), "E773", "from 36864 to 12288 us"),
    "evt3 leaps": ("a.raw", make.evt3((0x8FFE, 0x0001, 0x2001)), "E773", "jumps"),
    "evt3 no time": ("a.raw", make.evt3((0x0001, 0x2001)), "E773", "1 events, but no time word"),
    "evt2 falls": ("a.raw", make.evt2((0x80000009, 0x80000008)), "E773", "falls by 64 us"),
    "evt2 no time": ("a.raw", make.evt2((make.evt2_event(1, 2, 3, 1),)), "E773", "no time word"),
    "evt21 falls": ("a.raw", make.evt21("little", ((8 << 60) | (9 << 32), 8 << 60)), "E773", "from 576 to 0 us"),
    "evt21 order": ("a.raw", make.evt21("little").replace(b";endianness=little", b""), "E778", "without endianness"),
    "evt21 x off": ("a.raw", make.evt21("little", (8 << 60, make.evt21_event(0, 345, 0, 1, 2))), "E772", "346..346"),
    "dat falls": ("a.dat", make.dat(make.array((9, 1, 1, 1), (7, 1, 1, 1))), "E773", "falls by 2 us"),
    "dat trigger": ("a.dat", make.dat(kind=0x0E), "E778", "'trigger'"),
    "dat unknown": ("a.dat", make.dat(header=make.DAT_HEADER.replace(b"n 2", b"n 9")), "E778", "version 9"),
    "two versions": ("a.raw", RAW.replace(b"evt 3.0", b"evt 2.0"), "E778", "evt2 and evt3"),
    "aedat3": ("a.aedat", b"#!AER-DAT3.1\r\n", "E778", "'3.1'"),
    "text bad": ("a.csv", b"1,2,3,1\n1,2,x,1\n", "E776", "line 2 is not an event: '1,2,x,1'"),
    "text short": ("a.csv", b"1,2,3,1\n1,2,3\n", "E776", "line 2"),
    "text polarity": ("a.csv", b"1,2,3,1\n1,2,3,2\n", "E776", "line 2"),
    "text half pixel": ("a.csv", b"1,2,3,1\n1,2.5,3,1\n", "E776", "line 2"),
    "text nan": ("a.csv", b"t,x,y,p\nnan,2,3,1\n", "E776", "line 2"),
    "text endless": ("a.csv", b"1,2,3,1\n" + b"1" * 5000, "E776", "longer than"),
    "text x off": ("a.csv", b"1,2,3,1\n1,10,3,1\n", "E772", "x in 2..10; limit 0..9"),
    "text before 0": ("a.csv", b"-1,2,3,1\n", "E771", "from -1 to -1"),
    "text sort": ("a.csv", b"5,2,3,1\n4,2,3,1\n", "E771", "sort=True"),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_named(tmp_path, case):
    name, content, code, words = CASES[case]
    found, text = refused(put(tmp_path, name, content), sensor_size=(10, 10) if name == "a.csv" else None)
    assert found == [code]
    assert words in text
    assert str(tmp_path / name) in text


def test_files_that_are_none(tmp_path):
    assert refused(tmp_path / "none.raw")[0] == ["E765"]
    assert refused(tmp_path)[0] == ["E765"]
    os.mkfifo(tmp_path / "pipe.raw")
    assert "not a regular file" in refused(tmp_path / "pipe.raw")[1]
    assert refused(tmp_path / "a\0b.raw")[0] == ["E765"]


def test_a_sensor_size_beside_the_stated_one(tmp_path):
    path = put(tmp_path, "a.raw", make.evt3())
    assert refused(path, sensor_size=(640, 480))[0] == ["E768"]
    assert open_events(path, sensor_size=(346, 260)).sensor_size == make.SENSOR
    text = put(tmp_path, "a.csv", b"1,2,3,1\n")
    assert refused(text)[0] == ["E767"]
    assert refused(text, sensor_size=(0, 5))[0] == ["E768"]
    assert refused(text, sensor_size=(4, 40_000))[0] == ["E768"]


def test_all_findings_come_at_once(tmp_path):
    path = put(tmp_path, "a.csv", b"5,11,12,1\n4,2,3,1\n")
    assert refused(path, sensor_size=(10, 10))[0] == ["E772", "E772", "E771"]


def test_a_time_unit_only_for_text(tmp_path):
    assert refused(put(tmp_path, "a.raw", make.evt3()), time_unit="s")[0] == ["E776"]
    path = put(tmp_path, "a.csv", b"0.5,1,1,1\n")
    assert refused(path, sensor_size=(9, 9), time_unit="us")[0] == ["E776"]
    assert refused(path, sensor_size=(9, 9), time_unit="ms")[0] == ["E776"]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ({}, "E777", "no t, x, y, p"),
        ({"events": np.zeros((4, 3), np.uint32)}, "E777", "v2e writes [N, 4]"),
        ({"events": np.zeros((4, 4), np.float32)}, "E777", "expected integers"),
        ({"t": np.zeros(3, int), "x": np.zeros(2, int), "y": np.zeros(3, int), "p": np.zeros(3, int)}, "E777", "x [2]"),
        ({"events": np.array([[1, 2, 3, 7]], np.uint32)}, "E769", "polarities other"),
        ({"events": np.array([[1, 70000, 3, 1]], np.uint32)}, "E772", "x in -1..-1"),
        ({"CD/events": np.zeros(3, int)}, "E777", "Metavision"),
    ],
    ids=["empty", "columns", "float", "lengths", "polarity", "range", "metavision"],
)
def test_hdf5_of_other_layouts(tmp_path, content, code, words):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in content.items():
            file[name] = values
    found, text = refused(tmp_path / "a.h5", sensor_size=(346, 260))
    assert found == [code]
    assert words in text


@pytest.mark.parametrize("kind", ["external link", "soft link", "external data", "virtual"])
def test_hdf5_that_points_elsewhere(tmp_path, kind):
    (tmp_path / "secret.bin").write_bytes(b"\1" * 16)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["events"] = np.ones((1, 4), np.uint32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind == "external link":
            file["events"] = h5py.ExternalLink("other.h5", "/events")
        elif kind == "soft link":
            file["events"] = h5py.SoftLink("/nowhere")
        elif kind == "external data":
            place = [(str(tmp_path / "secret.bin"), 0, 16)]
            file.create_dataset("events", (1, 4), np.uint32, external=place)
        else:
            layout = h5py.VirtualLayout((1, 4), np.uint32)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "events", (1, 4))
            file.create_virtual_dataset("events", layout)
    found, text = refused(tmp_path / "a.h5", sensor_size=(346, 260))
    assert found == ["E777"]
    assert "link" in text or "another file" in text


def test_too_many_events_are_refused_before_they_fill_the_memory(tmp_path):
    path = put(tmp_path, "a.raw", make.evt3())
    arguments = {"version": "evt3", "sensor": [346, 260]}
    assert len(child.decode(path, "evt", limit=7, **arguments)[0]) == 7
    with pytest.raises(InputError, match=r"E775.*more than 6 events"):
        child.decode(path, "evt", limit=6, **arguments)


@pytest.fixture
def replaced_worker(tmp_path, monkeypatch):
    """Replace the child process by a few lines of Python; the real one comes back afterwards."""

    def replace(lines):
        child._CHILD.stop()
        script = tmp_path / "fake_worker.py"
        script.write_text(lines)
        monkeypatch.setattr(child, "WORKER", script)

    yield replace
    child._CHILD.stop()


def test_a_crash_of_the_decoder_is_a_finding_and_the_next_file_is_read(tmp_path, replaced_worker, monkeypatch):
    real = child.WORKER
    replaced_worker("import os, signal, sys\nsys.stdin.readline()\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    path = put(tmp_path, "a.raw", make.evt3())
    found, text = refused(path)
    assert found == ["E770"]
    assert "crashed" in text
    monkeypatch.setattr(child, "WORKER", real)
    assert len(open_events(path).events) == 7


def test_a_decoder_that_hangs_is_stopped(tmp_path, replaced_worker, monkeypatch):
    replaced_worker("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(child, "PATIENCE_S", 0.2)
    found, text = refused(put(tmp_path, "a.raw", make.evt3()))
    assert found == ["E770"]
    assert "silent for 0.2 s" in text


def test_an_answer_that_makes_no_sense_is_a_crash(tmp_path, replaced_worker):
    replaced_worker("import sys\nsys.stdin.readline()\nprint('hello, I am a library that prints', flush=True)\n")
    assert refused(put(tmp_path, "a.raw", make.evt3()))[0] == ["E770"]


def test_a_missing_library_is_named_with_the_remedy(tmp_path, replaced_worker):
    source = child.WORKER.read_text()
    replaced_worker(source.replace("import json", "import json, sys\nsys.modules['faery'] = None", 1))
    with pytest.raises(MissingDependencyError, match="pip install faery"):
        open_events(put(tmp_path, "a.raw", make.evt3()))


def test_a_missing_library_when_writing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faery", None)
    with pytest.raises(MissingDependencyError, match="E774"):
        write_events(tmp_path / "a.aedat4", make.random_events(3), make.SENSOR)
    assert list(tmp_path.iterdir()) == []


def test_a_forked_process_gets_a_decoder_of_its_own(tmp_path):
    path = put(tmp_path, "a.raw", make.evt3())
    assert len(open_events(path).events) == 7
    mine = child._CHILD.process.pid
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            count = len(open_events(path).events)
            os.write(write, struct.pack("<qq", count, child._CHILD.process.pid))
            child._CHILD.stop()
        finally:
            os._exit(0)
    count, theirs = struct.unpack("<qq", os.read(read, 16))
    os.wait()
    assert count == 7
    assert theirs != mine
    assert len(open_events(path).events) == 7
    assert child._CHILD.process.pid == mine


@pytest.mark.parametrize(
    ("name", "events", "code"),
    [
        ("a.raw", make.random_events(3), "E779"),
        ("a.h5", make.random_events(3)[::-1], "E771"),
        ("a.aedat4", make.array((1, 346, 0, 1)), "E772"),
        ("a.h5", np.zeros(3), "E779"),
        ("no/folder/a.h5", make.random_events(3), "E779"),
        ("no/folder/a.aedat4", make.random_events(3), "E779"),
    ],
)
def test_what_is_not_written(tmp_path, name, events, code):
    with pytest.raises(InputError, match=code):
        write_events(tmp_path / name, events, make.SENSOR)
    assert list(tmp_path.iterdir()) == []
