"""`neuroemo watch` as a user meets it: results, refusals, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from neuroemo.affect.run import AffectDescription, save_affect
from neuroemo.cli import run
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.readers import write_events
from neuroemo.models.affect.network import build_affect
from neuroemo.models.affect.table import spec_by_name
from tests.watch.material import decoded, make_video, random_events, regular, rows_of


def save_run(folder, name="vit@32", **settings):
    torch.manual_seed(0)
    spec = spec_by_name(name)
    frames = EventFrameSettings(size=32, **settings)
    save_affect(folder, build_affect(spec, pretrained=False), AffectDescription(spec, frames, {}, (0.0, 0.0), "random"))
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("runs") / "vit", pixel=PixelSettings(), slow_motion=None)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return str(make_video(tmp_path_factory.mktemp("videos") / "disc.mp4", regular(1)))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(capsys, *words):
    code = run(["watch", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_video(here, capsys, model, video):
    code, told = asked(capsys, video, "--model", model)
    assert code == 0
    assert (told["ok"], told["frames"], told["film"], told["csv"]) == (True, 25, "disc.watch.mp4", "disc.watch.csv")
    assert sorted(os.listdir(here)) == ["disc.watch.csv", "disc.watch.mp4"]
    assert told["model"]["network"] == "vit@32"
    assert told["event_frames"]["pixel"]["positive_threshold"] == 0.2
    assert told["findings"] == []
    assert set(told["processor_s"]) == {"model", "drawing", "encoding", "in_all"}


def test_the_text_for_people(here, capsys, model, video):
    assert (
        run(["watch", video, "--model", model, "-o", "b.mp4", "--csv", "c.csv", "--start", "0.2", "--seconds", "0.5"])
        == 0
    )
    text = capsys.readouterr().out
    assert text.startswith("disc.mp4: 12 event frames, 0.48 s\nvalence   mean ")
    assert "look at b.mp4; the numbers are in c.csv" in text
    assert rows_of(here / "c.csv")[0][0] == 0.24


def test_another_camera_is_said(here, capsys, model, video):
    code, told = asked(capsys, video, "--model", model, "--threshold", "0.4", "--slow-motion", "linear", "--seed", "3")
    assert code == 0
    assert [finding["code"] for finding in told["findings"]] == ["W984"] * 3
    assert told["findings"][0]["found"] == "positive_threshold 0.4; the network was trained with 0.2"
    assert told["findings"][2]["found"] == "slow motion linear; the network was trained with none"
    assert told["event_frames"]["pixel"]["seed"] == 3
    code, told = asked(capsys, video, "--model", model, "--force", "--threshold", "0.2", "--slow-motion", "none")
    assert (code, told["findings"]) == (0, [])


def test_a_recording(here, capsys, model, video):
    events = random_events(np.random.default_rng(0), 20_000, 1_000_000, 64, 48)
    write_events("b.npz", events, (64, 48, 2))
    code, told = asked(capsys, "b.npz", "--model", model)
    assert (code, told["frames"], told["source"]["kind"]) == (
        0,
        24 + (events["t"][-1] - events["t"][0] >= 999_999),
        "recording",
    )
    assert [finding["code"] for finding in told["findings"]] == ["W987"]
    recorded = save_run(here / "recorded", model="recorded")
    code, told = asked(capsys, "b.npz", "--model", recorded, "--force")
    assert (code, told["findings"]) == (0, [])
    code, told = asked(capsys, video, "--model", recorded)
    assert [finding["code"] for finding in told["findings"]] == ["W987"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["VIDEO", "--sort"], "E980 --sort: means nothing to a video"),
        (["VIDEO", "--sensor", "3,4", "--time-unit", "s"], "E980 --time-unit: means nothing to a video"),
        (["b.npz", "--threshold", "0.2"], "E980 --threshold: means nothing to a recording"),
        (["VIDEO", "--start", "-1"], "E980 start: -1.0 s"),
        (["VIDEO", "--start", "nan"], "E980 start: nan s"),
        (["VIDEO", "--seconds", "0"], "E980 seconds: 0.0 s"),
        (["VIDEO", "--threads", "0"], "E980 --threads: 0; limit at least 1"),
        (["VIDEO", "--fps", "26"], "E980 fps: 26; limit 0.1..25"),
        (["VIDEO", "-o", "a.avi"], "E980 a.avi: suffix '.avi'; limit '.mp4'"),
        (["VIDEO", "--threshold", "0"], "E850"),
        (["VIDEO", "-o", "nowhere/a.mp4"], "E982 nowhere/a.partial.csv: cannot be written"),
        (["nothing.mp4"], "nothing.mp4: no such file"),
        (["notes.mp4"], "E703"),
        (["notes.raw"], "E766"),
        (["empty.mp4"], "empty file"),
        (["."], "not a regular file"),
    ],
)
def test_refusals(here, capsys, model, video, words, text):
    write_events("b.npz", random_events(np.random.default_rng(0), 100, 1_000_000, 64, 48), (64, 48, 2))
    (here / "notes.mp4").write_text("no video\n" * 100)
    (here / "notes.raw").write_text("no recording\n" * 100)
    (here / "empty.mp4").touch()
    before = sorted(os.listdir(here))
    assert run(["watch", *(video if word == "VIDEO" else word for word in words), "--model", model]) == 2
    assert text in capsys.readouterr().err
    assert sorted(os.listdir(here)) == before


def test_what_is_there_stays(here, capsys, model, video):
    (here / "disc.watch.csv").write_text("theirs")
    assert run(["watch", video, "--model", model]) == 2
    assert "E981 disc.watch.csv: already exists" in capsys.readouterr().err
    assert (here / "disc.watch.csv").read_text() == "theirs"
    assert run(["watch", video, "--model", model, "--force"]) == 0
    assert len(rows_of(here / "disc.watch.csv")) == 25


def test_the_sensor_of_the_training_is_taken_where_the_file_does_not_say(here, capsys):
    recorded = save_run(here / "recorded", model="recorded", sensor=(64, 48))
    events = random_events(np.random.default_rng(0), 5000, 200_000, 64, 48)
    lines = [f"{t},{x},{y},{int(p)}" for t, x, y, p in events.tolist()]
    (here / "b.csv").write_text("t,x,y,p\n" + "\n".join(lines) + "\n")
    code, told = asked(capsys, "b.csv", "--model", recorded, "-o", "c.mp4")
    assert (code, told["source"]["sensor"]) == (0, [64, 48])
    write_events("d.npz", events, (70, 50, 2))
    code, told = asked(capsys, "d.npz", "--model", recorded)
    assert (code, told["source"]["sensor"]) == (0, [70, 50])
    simulated = save_run(here / "simulated")
    assert run(["watch", "b.csv", "--model", simulated, "-o", "e.mp4"]) == 2
    assert "--sensor W,H" in capsys.readouterr().err


def test_an_interrupt_at_once_names_what_is_left(here, capsys, model, video, monkeypatch):
    from neuroemo.affect import predict

    whole, calls = predict.predict_array, []

    def interrupted(*args, **more):
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return whole(*args, **more)

    monkeypatch.setattr(predict, "predict_array", interrupted)
    assert run(["watch", video, "--model", model]) == 130
    text = "interrupted at once; disc.watch.partial.mp4 and disc.watch.partial.csv hold what was watched"
    assert text in capsys.readouterr().err
    assert len(rows_of(here / "disc.watch.partial.csv")) == len(decoded(here / "disc.watch.partial.mp4")) == 5


def test_other_folders_are_named(here, capsys, video):
    (here / "classes").mkdir()
    (here / "classes" / "model.json").write_text(json.dumps({"schema": 1, "classes": ["a"], "spec": {}}))
    assert run(["watch", video, "--model", "classes"]) == 2
    assert "a network of classes of emotion (`neuroemo train`), not of valence and arousal" in capsys.readouterr().err
    assert run(["watch", video, "--model", "nowhere"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "long.mp4", regular(40), (32, 32))


def start(here, model, video, *words):
    """Watch a video in a process of its own, and wait until the table has 60 rows and more."""
    command = [sys.executable, "-m", "neuroemo", "watch", str(video), "--model", model, "-o", "a.mp4", *words]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen(command, cwd=here, text=True, **pipes)
    table, deadline = here / "a.partial.csv", time.monotonic() + 120
    while not (table.exists() and table.stat().st_size > 2400):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return child


def test_a_stopped_process_ends_its_files_and_says_how_far_it_got(here, model, long_video):
    child = start(here, model, long_video, "--json")
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=120)
    told = json.loads(out)
    assert child.returncode == told["exit_code"] == 130
    rows = rows_of(here / "a.csv")
    assert 0 < told["frames"] == len(rows) < 1000
    assert len(decoded(here / "a.mp4")) == len(rows)
    assert f"E985: interrupted after {len(rows)} of about 1001 event frames, at {len(rows) * 0.04:.2f} s" in err
    assert f"--start {len(rows) * 0.04:.2f} -o a-rest.mp4" in err
    assert sorted(os.listdir(here)) == ["a.csv", "a.mp4"]


def test_a_killed_process_leaves_partial_files_that_work(here, capsys, model, long_video):
    child = start(here, model, long_video)
    child.kill()
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    rows = rows_of(here / "a.partial.csv")
    shown = decoded(here / "a.partial.mp4")
    assert 0 < len(shown) <= len(rows)
    assert sorted(os.listdir(here)) == ["a.partial.csv", "a.partial.mp4"]
    command = ["watch", str(long_video), "--model", model, "-o", "a.mp4", "--seconds", "0.2"]
    assert run(command) == 2
    assert "E981 a.partial.mp4: already exists: an earlier run left it" in capsys.readouterr().err
    assert run([*command, "--force"]) == 0
    assert sorted(os.listdir(here)) == ["a.csv", "a.mp4"]
