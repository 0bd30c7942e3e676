"""`neuroemo events` and `neuroemo events show`, through the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neuroemo.cli import run
from neuroemo.events.readers import open_events


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A bright square that moves 2 pixels per frame before a gray slope, 20 frames of 48 x 64."""
    from neuroemo.events.video import write_h264

    frames = np.tile(np.linspace(40, 90, 64).astype(np.uint8), (20, 48, 1))
    for index in range(20):
        frames[index, 12:28, 4 + 2 * index : 18 + 2 * index] = 220
    path = tmp_path_factory.mktemp("video") / "square.mp4"
    write_h264(path, frames, fps=20.0)
    return path


def told(capsys, *arguments):
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_pixel_model_writes_a_sorted_recording(video, tmp_path, capsys):
    code, out, _ = told(capsys, "events", video, "--model", "pixel", "-o", tmp_path / "e.npz", "--json", "-q")
    result = json.loads(out)
    assert (code, result["model"], result["sensor_size"]) == (0, "pixel", [64, 48, 2])
    recording = open_events(tmp_path / "e.npz")
    assert len(recording.events) == result["events"] > 1000
    assert recording.sensor_size == (64, 48, 2)
    # The square moves right: it brightens what lies before it and leaves darkness behind, in rows 12 to 27.
    assert 0.4 < recording.events["p"].mean() < 0.6
    assert ((recording.events["y"] >= 10) & (recording.events["y"] < 30)).mean() > 0.95
    assert 0 < recording.events["t"][0] < recording.events["t"][-1] <= 950_000


@pytest.mark.parametrize("name", ["e.npz", "e.h5", "e.aedat4"])
def test_every_format_holds_the_same_events(name, video, tmp_path, capsys):
    if name.endswith("aedat4"):
        pytest.importorskip("faery")
    for file in (name, "whole.npz"):
        assert told(capsys, "events", video, "--model", "pixel", "--seed", "3", "-o", tmp_path / file, "-q")[0] == 0
    one, other = (open_events(tmp_path / file) for file in (name, "whole.npz"))
    assert np.array_equal(one.events, other.events)


def test_options_of_the_pixel_model_reach_it(video, tmp_path, capsys):
    def count(*options):
        arguments = ("events", video, "--model", "pixel", "-o", tmp_path / "x.npz", "--force", "--json", "-q", *options)
        code, out, err = told(capsys, *arguments)
        assert code == 0, err
        return json.loads(out)

    ideal = count("--preset", "ideal", "--slow-motion", "none")
    assert count("--preset", "ideal", "--slow-motion", "none", "--threshold", "0.4")["events"] < ideal["events"]
    assert count("--preset", "noisy")["settings"]["shot_noise_rate_hz"] == 5.0
    assert count("--sensor", "32,24")["sensor_size"] == [32, 24, 2]
    assert count("--timing", "slots")["settings"]["timing"] == "slots"
    assert count("--slow-motion", "dis")["slow_motion"]["largest_factor"] > 1
    assert ideal["slow_motion"]["largest_factor"] == 1


def test_frame_differences_are_written_as_before(video, tmp_path, capsys):
    code, out, _ = told(
        capsys, "events", video, "-o", tmp_path / "d.h5", "--size", "32", "--steps", "8", "--json", "-q"
    )
    result = json.loads(out)
    assert (code, result["model"], result["sensor_size"]) == (0, "framediff", [32, 32, 2])
    events = open_events(tmp_path / "d.h5").events
    assert len(events) == result["events"] > 100
    assert set(np.unique(events["t"])) <= {50_000 * step for step in range(1, 8)}


@pytest.mark.parametrize("model", ["framediff", "pixel"])
def test_a_preview_shows_every_frame(model, video, tmp_path, capsys):
    import av

    options = ("--steps", "10") if model == "framediff" else ()
    code, out, err = told(
        capsys, "events", video, "--model", model, "-o", tmp_path / "e.npz", "--preview", tmp_path / "p.mp4", "--json",
        "-q", *options,
    )  # fmt: skip
    assert code == 0, err
    with av.open(str(tmp_path / "p.mp4")) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames == json.loads(out)["preview_frames"] == (10 if model == "framediff" else 20)


def test_a_recording_is_shown_and_drawn(video, tmp_path, capsys):
    told(capsys, "events", video, "--model", "pixel", "-o", tmp_path / "e.npz", "-q")
    code, out, _ = told(capsys, "events", "show", tmp_path / "e.npz", "--picture", tmp_path / "e.svg")
    assert code == 0
    assert "64 x 48 pixels" in out
    assert "ON" in out
    assert (tmp_path / "e.svg").read_text().startswith("<svg")
    facts = json.loads(told(capsys, "events", "show", "--json", tmp_path / "e.npz")[1])
    assert facts["events"] == len(open_events(tmp_path / "e.npz").events)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--model", "pixel", "--sens", "0.1"), "E722 --sens: means nothing to the pixel model"),
        (("--preset", "noisy"), "E722 --preset: means nothing to the framediff model"),
        (("--model", "pixel", "--threshold", "0"), "E850 positive_threshold"),
        (("--model", "pixel", "--sensor", "7"), "E010"),
        (("-o", "x.mat"), "E722 x.mat: suffix '.mat'"),
    ],
)
def test_what_means_nothing_is_refused(options, code, video, tmp_path, capsys):
    status, _, err = told(capsys, "events", video, "-o", tmp_path / "e.npz", *options)
    assert status == 2
    assert code in err
    assert not (tmp_path / "e.npz").exists()


def test_a_folder_has_neither_pixels_nor_a_preview(tmp_path, capsys):
    status, _, err = told(
        capsys, "events", tmp_path, "-o", tmp_path / "e.npz", "--model", "pixel", "--preview", tmp_path / "p.mp4"
    )
    assert status == 2
    for part in ("--model pixel: a folder of videos", "--preview: a folder of videos", "suffix '.npz'"):
        assert part in err


def test_nothing_is_overwritten_without_force(video, tmp_path, capsys):
    (tmp_path / "e.npz").write_bytes(b"mine")
    status, _, err = told(capsys, "events", video, "-o", tmp_path / "e.npz")
    assert (status, (tmp_path / "e.npz").read_bytes()) == (2, b"mine")
    assert "E017" in err
