"""What `data prepare` says about clips of several rates, repeated frames, short clips and few clips."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo import cli
from neuroemo.datasets.catalogue import Listed
from neuroemo.datasets.clip_settings import RecordedClipSettings
from neuroemo.datasets.clip_warnings import declared_rates, few_clips, rate_warnings, short_clips
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.manifest import ClipRow
from neuroemo.datasets.prepare import prepare_clips
from neuroemo.events.framediff import FrameDiffSettings
from tests.phone_videos import Camera, record

PLAIN = FrameDiffSettings(size=16, steps=32)
ROW = ClipRow("nod/a.mp4", "nod", "", "test", None, 32, 30.0, (0, 0, 0), "", "")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("rates") / "videos"
    for label in ("nod", "shake"):
        (root / label).mkdir(parents=True)
        for number, fps in enumerate(("24", "30", "60")):
            record(root / label / f"{number}.mp4", Camera(".mp4", "libx264", (32, 32), fps), label, number, 0.5)
    return root


def entry(name, path, **more):
    return DatasetEntry(name, path, "nod", None, "", "train", **more)


def test_rates_are_read_and_broken_files_left_to_the_decoder(videos, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42 and nothing more")
    entries = [entry("a", videos / "nod" / "0.mp4"), entry("b", videos / "nod" / "2.mp4"), entry("c", broken)]
    seen = []
    rates = declared_rates([*entries, entry("folder", videos)], lambda done, total: seen.append((done, total)))
    assert rates == {"a": 24.0, "b": 60.0}
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_mixed_rates_name_the_rates_and_the_way_out():
    (finding,) = rate_warnings({"a": 24.0, "b": 30.0, "c": 30.0}, PLAIN)
    assert finding.code == "W893"
    assert "24 (1), 30 (2) frames per second" in finding.found
    assert finding.fix.startswith("--fps 24 ")


def test_rates_that_are_as_good_as_one():
    assert rate_warnings({"a": 29.97, "b": 30.0, "c": 30.02}, PLAIN) == []
    assert rate_warnings({"a": 24.0, "b": 25.0}, PLAIN) == []
    assert rate_warnings({"a": 24.0, "b": 25.3}, PLAIN) != []
    assert rate_warnings({}, PLAIN) == []
    assert rate_warnings({}, RecordedClipSettings(step_us=1000)) == []


def test_many_rates_are_summed_up():
    (finding,) = rate_warnings({str(rate): float(rate) for rate in range(20, 32)}, PLAIN)
    assert "25 (1) and 6 other rates, up to 31 frames" in finding.found


def test_a_rate_above_that_of_the_videos():
    settings = replace(PLAIN, fps=30.0)
    (finding,) = rate_warnings({"a": 24.0, "b": 30.0}, settings)
    assert finding.code == "W894"
    assert "so 6 of its 32 steps repeat a frame" in finding.found  # 32 (1 - 24 / 30) = 6.4
    assert finding.node == "a"
    assert rate_warnings({"a": 29.97, "b": 60.0}, settings) == []


def test_short_clips_are_counted_by_class():
    rows = [ROW, replace(ROW, name="b", valid_steps=31), replace(ROW, name="c", label="shake", valid_steps=9)]
    (finding,) = short_clips(rows, PLAIN)
    assert finding.code == "W895"
    assert finding.found == "2 clip(s) end before step 32 (nod 1, shake 1), the shortest after 9: the rest is empty"
    assert finding.node == "c"
    assert short_clips(rows[:1], PLAIN) == []


def test_few_test_clips():
    rows = [ROW] * 10 + [replace(ROW, label="shake")] * 9 + [replace(ROW, split="train")] * 50
    assert [finding.code for finding in few_clips(rows)] == ["W896"]
    assert few_clips([*rows, replace(ROW, label="shake")]) == []
    assert few_clips([replace(ROW, split="train")]) == []


def test_the_verb_says_it(videos, tmp_path, capsys):
    command = ["data", "prepare", "folder", "--root", str(videos), "--size", "16", "--steps", "12", "--workers", "1"]
    assert cli.run([*command, "--out", str(tmp_path / "plain.h5"), "--json"]) == 0
    said = capsys.readouterr()
    codes = [finding["code"] for finding in json.loads(said.out)["findings"]]
    assert {"W893", "W896"} <= set(codes)
    assert "W893" in said.err
    assert cli.run([*command, "--out", str(tmp_path / "even.h5"), "--fps", "24", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "W893" not in [finding["code"] for finding in told["findings"]]
    assert told["settings"]["fps"] == 24.0
    assert "fps" not in json.loads(said.out)["settings"]


def test_a_rate_means_nothing_for_recorded_events(tmp_path, capsys):
    command = ["data", "prepare", "folder", "--root", str(tmp_path), "--out", str(tmp_path / "x.h5"), "--fps", "24"]
    assert cli.run([*command, "--model", "recorded", "--step-us", "1000"]) == 2
    assert "--fps: means nothing with --model recorded" in capsys.readouterr().err


def test_a_rate_and_labels_per_frame(videos, tmp_path):
    path = Path(videos / "nod" / "0.mp4")
    values = {"valence": np.zeros(12, np.float32)}
    listed = Listed("x", (replace(entry("a", path), values=values),), ("nod",))
    with pytest.raises(InputError, match=r"E893.*--fps drops and repeats frames"):
        prepare_clips(listed, tmp_path / "x.h5", replace(PLAIN, fps=24.0), workers=1)
    whole = Listed("x", (replace(entry("a", path), values={"valence": np.zeros(1, np.float32)}),), ("nod",))
    assert prepare_clips(whole, tmp_path / "y.h5", replace(PLAIN, fps=24.0), workers=1).manifest.clips[0].fps == 24.0
