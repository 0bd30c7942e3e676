"""The page docs/your-own-videos.md is run as it is written: its commands, on videos as phones leave them."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from neuroemo import cli
from neuroemo.datasets.store import ClipStore
from neuroemo.events.framediff import FrameDiffSettings, video_to_clip
from neuroemo.events.video import read_gray
from tests.phone_videos import CAMERAS, SMALL, Camera, can_encode, make_folder, record, scene

PAGE = Path(__file__).parents[1] / "docs" / "your-own-videos.md"
NEW = Camera(".MOV", "libx264", (270, 480), "60", turn=90)


def commands():
    """The page's blocks that begin with a command, line by line, as lists of words."""
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks if re.match(r"neuroemo \w", block) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("neuroemo ")]


def test_the_page_has_three_commands_and_a_fourth():
    verbs = [" ".join(words[:2]) if words[0] == "data" else words[0] for words in commands()]
    assert verbs == ["data prepare", "train", "export", "simulate"]


def test_the_page_says_what_the_tool_says():
    """Every finding that the page prints or names has its code in the source."""
    sources = [path for room in ("neuroemo", "export") for path in (PAGE.parents[1] / room).rglob("*.py")]
    library = "".join(path.read_text(encoding="utf-8") for path in sources)
    codes = set(re.findall(r"\b[EW][0-9]{3}\b", PAGE.read_text(encoding="utf-8")))
    assert {"W730", "W893", "W894", "W895", "W896"} <= codes
    assert all(f'"{code}"' in library for code in codes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with videos/ and new/, all small."""
    chosen = tuple(SMALL[place] for place in (3, 4, 5, 8, 11, 14))
    make_folder(tmp_path / "videos", chosen, 6, 1.0)
    (tmp_path / "new").mkdir()
    record(tmp_path / "new" / "IMG_9001.MOV", replace(NEW, size=(136, 240)), "shake", 901, 1.0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_on_a_small_folder(folder, capsys):
    prepare, train, export, simulate = commands()
    assert cli.run(prepare) == 0
    said = capsys.readouterr()
    assert "W730" in said.err
    assert "W731" in said.err
    assert "notes.txt" in said.err
    assert "W895" in said.err
    assert "W893" not in said.err  # one rate was asked for
    # 8 clips are one batch: the default of 12 epochs would be 12 updates.
    assert "next: neuroemo train --data clips.h5 --model 0.4snn@48 --epochs 60 -o runs/mine" in said.out
    with ClipStore.open("clips.h5") as store:
        assert store.settings == FrameDiffSettings(size=48, steps=32, sens=0.02, fps=24.0)
        assert set(store.index.fps.tolist()) == {24.0}
        assert len(store) == 12
        assert "nod/Grüße 02.avi" in store.names
    assert cli.run([*train, "--epochs", "1"]) == 0
    assert cli.run(export) in (0, 5)  # after one epoch the verdict is open; the figures below are not
    told = json.loads(Path("exports/mine/report.json").read_text())
    assert told["verify"]["accuracy"].keys() >= {"float", "chip"}
    assert Path("exports/mine/target/model.net").is_file()
    capsys.readouterr()
    assert cli.run([*simulate, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)["answers"]
    assert [row["clip"] for row in answer] == ["IMG_9001.MOV"]
    assert Path("new/.neuroemo").is_dir()


def test_the_bundle_makes_events_of_a_new_video_as_of_the_others(folder):
    """The one video of 60 frames per second gives the events that preparing it at 24 gives."""
    wanted = video_to_clip("new/IMG_9001.MOV", FrameDiffSettings(size=48, steps=32, fps=24.0))
    from neuroemo.pipeline import open_data

    with open_data(Path("new/IMG_9001.MOV"), FrameDiffSettings(size=48, steps=32, fps=24.0)) as store:
        assert np.array_equal(store.clip(0).spikes, wanted.spikes)
        assert store.names == ("IMG_9001.MOV",)
        assert store.splits == ("test",)
    assert wanted.valid_steps == 24  # one second


CONTAINERS = ((".mp4", "libx264"), (".mov", "libx265"), (".mkv", "libx264"), (".webm", "libvpx-vp9"), (".3gp", "mpeg4"))


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS)
def test_turned_and_mirrored_videos_are_upright(tmp_path, suffix, codec):
    """All eight ways of holding a phone give the scene itself, drawn upright."""
    upright = cv2.resize(scene("nod", 3, 0.0, 96, 160), (32, 32), interpolation=cv2.INTER_AREA)
    for turn in (0, 90, 180, 270):
        for flip in (False, True):
            path = tmp_path / f"{turn}{flip}{suffix}"
            record(path, Camera(suffix, codec, (96, 160), "30", turn=turn, flip=flip), "nod", 3, 0.1)
            video = read_gray(path, size=32)
            assert video.source_size == (96, 160)
            assert np.abs(video.frames[0].astype(int) - upright).mean() < 2, (turn, flip)


def test_a_turned_scene_is_another_picture():
    """The check above can fail: turned or mirrored, the scene differs by far more than coding does."""
    picture = cv2.resize(scene("nod", 3, 0.0, 96, 160), (32, 32), interpolation=cv2.INTER_AREA).astype(int)
    others = [np.rot90(picture, turns) for turns in (1, 2, 3)] + [picture[::-1]]
    assert min(np.abs(picture - other).mean() for other in others) > 8


@pytest.mark.parametrize("camera", SMALL, ids=lambda camera: f"{camera.codec}{camera.suffix}{camera.fps}")
def test_every_camera_is_read_as_it_recorded(tmp_path, camera):
    """Rate, size as shown and gray values, at one common rate, against the scene drawn at those times."""
    if not can_encode(camera):
        pytest.skip(f"no encoder {camera.codec}")
    if camera.codec == "h263":
        camera = replace(camera, size=(176, 144))
    path = tmp_path / f"clip{camera.suffix}"
    record(path, camera, "shake", 5, 0.8)
    clip = video_to_clip(path, FrameDiffSettings(size=32, steps=8, fps=12.0))
    drawn = cv2.resize(scene("shake", 5, 0.0, *camera.size), (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(clip.first_frame * 255 - drawn).mean() < 3
    assert clip.fps == 12.0
    assert clip.valid_steps == 8
    assert read_gray(path, size=32, max_frames=2).source_size == camera.size


def run_page(words, where, **more):
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "neuroemo", *words]
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=1800, **more)


@pytest.mark.slow
def test_the_page_from_the_folder_to_the_chip(tmp_path):
    """60 videos of 15 cameras; every command in a process of its own, as written."""
    make_folder(tmp_path / "videos", CAMERAS, 30)
    (tmp_path / "new").mkdir()
    record(tmp_path / "new" / "IMG_9001.MOV", NEW, "shake", 901, 1.5)
    prepare, train, export, simulate = commands()
    plain = [word for word in prepare if word not in ("--fps", "24")]
    plain[plain.index("clips.h5")] = "plain.h5"
    mixed = run_page(plain, tmp_path, stdin=subprocess.DEVNULL)
    assert mixed.returncode == 0, mixed.stderr
    assert "W893" in mixed.stderr
    assert "--fps 24 brings all to the rate of the slowest" in mixed.stderr

    done = [run_page(words, tmp_path, stdin=subprocess.DEVNULL) for words in (prepare, train, export, simulate)]
    assert [one.returncode for one in done] == [0, 0, 0, 0], [one.stderr for one in done]
    said = done[0].stdout + done[0].stderr
    shown = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("neuroemo: ")]
    assert len(shown) == 3
    if all(can_encode(camera) for camera in CAMERAS):
        assert all(line in said for line in shown)

    told = json.loads((tmp_path / "runs/mine/training.json").read_text())
    assert told["test"]["clips"] == 12
    assert told["test"]["interval_95"][0] > told["chance"]["accuracy"]
    verdict = json.loads((tmp_path / "exports/mine/report.json").read_text())["verify"]
    assert verdict["accuracy"]["chip"] >= 10 / 12
    assert re.search(r"accuracy .*% as trained and .*% on the chip", done[2].stdout)
    assert (tmp_path / "exports/mine/target/model.net").stat().st_size > 0
    assert re.match(r"IMG_9001.MOV\s+shake\s+\(unlabelled\)\s+rate", done[3].stdout)
