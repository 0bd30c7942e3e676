"""Damaged videos: decoded to frames of the promised shape at ascending times, or refused; the interpreter lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw_targets.finding import InputError
from tests.mutants import Case, survive

CASES = Path(__file__).with_name("event_mutants.py")
VIDEOS = ["mp4", "hevc", "webm", "mkv", "avi", "mjpeg"]


@pytest.mark.parametrize("name", ["mp4", "webm", "avi"])
def test_damaged_videos(tmp_path, name):
    count = 100 if name == "mp4" else 25
    outcomes = survive(CASES, name, count, 1, tmp_path)
    assert len(outcomes) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", VIDEOS)
def test_thousands_of_damaged_videos(tmp_path, name):
    count = 2000 if name == "mp4" else 500
    outcomes = survive(CASES, name, count, 2, tmp_path)
    assert 0 < outcomes["read"] < count
    assert outcomes["E703"]


def test_a_damaged_picture_of_motion_jpeg_is_not_filled_up_with_memory(tmp_path):
    from event_mutants import CASES as cases

    from neuroemo.events.video import read_gray

    clean = cases["mjpeg"].make(tmp_path)
    (tmp_path / "m.avi").write_bytes(clean)
    assert len(read_gray(tmp_path / "m.avi", size=16).frames) == 8
    place = clean.index(b"\xff\xda") + 200  # within the coded picture
    (tmp_path / "m.avi").write_bytes(clean[:place] + b"\xff\xff\xff\xff" + clean[place + 4 :])
    with pytest.raises(InputError, match="E703"):
        read_gray(tmp_path / "m.avi", size=16)


BAD = """
import os, time
from tests.mutants import Case

def read(path):
    number = path.read_bytes()
    if number == b"3":
        {what}
    return "read"

CASES = {{"bad": Case("a", lambda place: b"x", read, lambda clean, rng: b"%d" % rng.integers(5))}}
"""


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("os.abort()", "the interpreter ended with -6"),
        ("os._exit(0)", "the interpreter ended with 0"),
        ("time.sleep(60)", "no answer within 3 s"),
        ("raise KeyError(path)", "KeyError"),
        ("assert not path", "AssertionError"),
        ("bytearray(1 << 40)", "MemoryError"),
    ],
)
def test_what_does_not_survive_is_seen(tmp_path, monkeypatch, what, found):
    monkeypatch.setattr("tests.mutants.PATIENCE_S", 3.0)
    monkeypatch.setattr("tests.mutants.MOST_FAILURES", 2)
    (tmp_path / "cases.py").write_text(BAD.format(what=what))
    with pytest.raises(AssertionError) as error:
        survive(tmp_path / "cases.py", "bad", 60, 1, tmp_path)
    assert str(error.value).count("of seed 1: ") == 2
    assert found in str(error.value)


def test_every_mutant_is_counted_once(tmp_path):
    (tmp_path / "cases.py").write_text(BAD.format(what="return 'E000'"))
    outcomes = survive(tmp_path / "cases.py", "bad", 60, 1, tmp_path)
    assert set(outcomes) == {"read", "E000"}
    assert sum(outcomes.values()) == 60
    assert isinstance(Case("a", bytes, str, bytes), Case)
