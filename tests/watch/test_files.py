"""The table and the film: whole whatever happens, and exactly what was put into them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.watch.film import Film
from neuroemo.watch.outputs import Outputs
from neuroemo.watch.table import Table, _shortest, farthest
from tests.watch.material import boxes, decoded, rows_of

ROOT = Path(__file__).resolve().parents[2]


@given(st.floats(-1, 1, width=32))
def test_a_number_in_the_table_is_the_float32_itself(value):
    text = _shortest(value)
    assert np.float32(text) == np.float32(value)
    assert "e" not in text


def test_rows_and_summary_by_hand(tmp_path):
    table = Table(tmp_path / "a.csv")
    for time, valence, arousal, events in ((40_000, 0.5, 0.0, 3), (80_000, -0.5, 0.25, 0), (120_000, 0.75, -1.0, 12)):
        table.add(time, valence, arousal, events)
    table.close()
    table.close()
    assert (tmp_path / "a.csv").read_text() == (
        "time_s,valence,arousal,events\n0.040000,0.5,0.0,3\n0.080000,-0.5,0.25,0\n0.120000,0.75,-1.0,12\n"
    )
    told = table.summary()
    assert told["valence"] == {"mean": 0.25, "min": -0.5, "max": 0.75}
    assert told["arousal"] == {"mean": -0.25, "min": -1.0, "max": 0.25}
    # From (0.25, -0.25): distances of 0.354, 0.901 and 0.901; the first of the two farthest counts.
    assert told["farthest"] == {
        "frame": 1, "time_s": 0.08, "valence": -0.5, "arousal": 0.25, "distance": pytest.approx(0.8125**0.5),
    }  # fmt: skip
    assert farthest(tmp_path / "a.csv", -0.5, 0.25)["frame"] == 2


def test_a_table_without_rows_has_no_mean(tmp_path):
    table = Table(tmp_path / "a.csv")
    table.close()
    assert table.summary() == {"valence": None, "arousal": None, "farthest": None}


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    table = Table(tmp_path / "a.csv")
    table.add(40_000, 0.5, 0.5, 1)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda file, data: whole(file, data[:7]))
    with pytest.raises(InputError, match=r"E982 .*a.csv: cannot be written: no space left on device"):
        table.add(80_000, 0.25, 0.5, 1)
    monkeypatch.undo()
    table.close()
    assert rows_of(tmp_path / "a.csv") == [(0.04, 0.5, 0.5, 1)]


def pages(count, width=64, height=48):
    for number in range(count):
        page = np.full((height, width, 3), 40, np.uint8)
        page[:, : number * width // count + 1] = (200, 180, 60)
        yield page


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 12.5, 0.5])
def test_a_film_has_its_pages_at_their_times(tmp_path, fps):
    film = Film(tmp_path / "a.partial.mp4", 64, 48, fps)
    for number, page in enumerate(pages(30)):
        film.add(page, round(number * 1e6 / fps))
    film.finish(tmp_path / "a.mp4")
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert boxes(tmp_path / "a.mp4")[:2] == ["ftyp", "moov"]
    shown = decoded(tmp_path / "a.mp4")
    assert len(shown) == 30
    for number, ((time, picture), page) in enumerate(zip(shown, pages(30), strict=True)):
        assert abs(time - Fraction(number) / Fraction(fps)) < Fraction(1, 10_000)
        assert np.abs(picture.astype(int) - page).mean() < 6
    import av

    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.duration / 1e6 == pytest.approx(30 / fps, rel=0.01)


def test_the_same_pages_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        film = Film(tmp_path / f"{name}.partial.mp4", 64, 48, 25.0)
        for number, page in enumerate(pages(10)):
            film.add(page, number * 40_000)
        film.finish(tmp_path / f"{name}.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from neuroemo.watch.film import Film
from neuroemo.watch.table import Table
from tests.watch.test_files import pages
film, table = Film(Path(sys.argv[1]), 64, 48, 25.0), Table(Path(sys.argv[2]))
for number, page in enumerate(pages(300)):
    film.add(page, number * 40_000)
    table.add(number * 40_000 + 40_000, 0.5, -0.5, number)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_a_film_that_plays_and_whole_lines(tmp_path):
    film, table = tmp_path / "a.partial.mp4", tmp_path / "a.partial.csv"
    command = [sys.executable, "-c", KILLED, str(film), str(table)]
    assert subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    assert len(rows_of(table)) == 300
    assert "moof" in boxes(film)
    shown = decoded(film)
    # A fragment of a second and the pictures inside of the encoder are lost.
    assert 300 - 2 * 25 - 40 <= len(shown) < 300
    assert [time for time, _ in shown] == [Fraction(number, 25) for number in range(len(shown))]


def test_a_film_that_cannot_be_written_is_one_finding(tmp_path):
    with pytest.raises(InputError, match=r"E982 .*nowhere/a.mp4: cannot be written: No such file or directory"):
        Film(tmp_path / "nowhere" / "a.mp4", 64, 48, 25.0)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match=f"E982 .*: {os.strerror(errno.EEXIST)}"):
        Film(tmp_path / "a.mp4", 64, 48, 25.0)
    with pytest.raises(InputError, match="E982"):
        Table(tmp_path / "nowhere" / "a.csv")


def test_all_paths_are_checked_at_once(tmp_path):
    film, table = tmp_path / "a.mp4", tmp_path / "a.csv"
    Outputs(film, table, tmp_path / "in.mp4").check()
    for path in (film, table, tmp_path / "a.partial.mp4", tmp_path / "a.partial.csv"):
        path.write_text("theirs")
    with pytest.raises(InputError) as caught:
        Outputs(film, table, tmp_path / "in.mp4").check()
    assert [finding.code for finding in caught.value.findings] == ["E981"] * 4
    Outputs(film, table, tmp_path / "in.mp4", force=True).check()
    assert film.read_text() == "theirs"
    with pytest.raises(InputError, match=r"E981 .*a.mp4: is the recording to watch"):
        Outputs(film, table, tmp_path / "b" / ".." / "a.mp4", force=True).check()
    with pytest.raises(InputError) as caught:
        Outputs(tmp_path / "b.avi", tmp_path / "b.txt").check()
    assert str(caught.value).count("E980") == 2
    (tmp_path / "c.mp4").mkdir()
    with pytest.raises(InputError, match="E981"):
        Outputs(tmp_path / "c.mp4", tmp_path / "c.csv", force=True).check()
