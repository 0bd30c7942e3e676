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


def frames_of(video, count, side=32):
    from neuroemo.events.video import read_gray

    return read_gray(video, size=side, max_frames=count).frames


@pytest.mark.parametrize("intensity", ["linear", "log"])
@pytest.mark.parametrize("reference", ["previous", "event"])
@pytest.mark.parametrize("number", ["one", "several"])
def test_the_readings_of_the_text_reach_the_file(video, tmp_path, capsys, intensity, reference, number):
    options = ("--intensity", intensity, "--reference", reference, "--events-per-step", number, "--sens", "0.06")
    shape = ("--size", "32", "--steps", "8", "-o", tmp_path / "e.npz", "--json", "-q")
    code, out, err = told(capsys, "events", video, *options, *shape)
    assert code == 0, err
    result = json.loads(out)
    # By the definition, pixel by pixel: n events for the largest n with |change| > n * threshold.
    frames = frames_of(video, 8).astype(int)
    level = np.rint(np.log1p(np.arange(256.0)) * 1e9) if intensity == "log" else np.arange(256.0)
    threshold = 0.06 * (1e9 if intensity == "log" else 255.0)
    held, wanted, busy = level[frames[0]].copy(), [], 0
    for step in range(1, 8):
        events = {True: [], False: []}
        for y, x in np.ndindex(32, 32):
            change = level[frames[step, y, x]] - held[y, x]
            count = 0
            while abs(change) > (count + 1) * threshold:
                count += 1
            sent = min(count, 1) if number == "one" else count
            events[change > 0] += [(50_000 * step, x, y, change > 0)] * sent
            busy += sent > 0
            if reference == "previous":
                held[y, x] = level[frames[step, y, x]]
            elif sent:
                held[y, x] = (
                    level[frames[step, y, x]] if number == "one" else held[y, x] + np.sign(change) * sent * threshold
                )
        wanted += events[True] + events[False]
    assert [tuple(event) for event in open_events(tmp_path / "e.npz").events.tolist()] == wanted
    assert result["events"] == len(wanted) > 100
    assert result["density"]["any_polarity"] == pytest.approx(busy / (7 * 32 * 32), abs=1e-12)


@pytest.mark.parametrize(
    "options", [(), ("--reference", "event"), ("--intensity", "log", "--events-per-step", "several")]
)
def test_density_chooses_sens_and_says_which(video, tmp_path, capsys, options):
    shape = ("--size", "32", "--steps", "8", "-q", *options)
    code, out, err = told(capsys, "events", video, "-o", tmp_path / "d.npz", "--density", "0.04", "--json", *shape)
    assert code == 0, err
    result = json.loads(out)
    chosen = result["chosen_sens"]
    assert chosen["wanted"] == 0.04
    assert chosen["sens"] == result["settings"]["sens"]
    assert chosen["density"] == result["density"]
    assert 0.02 < result["density"]["any_polarity"] < 0.07
    code, out, _ = told(
        capsys, "events", video, "-o", tmp_path / "s.npz", "--sens", repr(chosen["sens"]), "--json", *shape
    )
    assert json.loads(out)["density"] == result["density"]
    assert np.array_equal(open_events(tmp_path / "s.npz").events, open_events(tmp_path / "d.npz").events)
    code, out, _ = told(capsys, "events", video, "-o", tmp_path / "t.npz", "--density", "0.04", *shape)
    assert f"sens {chosen['sens']:.6g} chosen: {chosen['density']['any_polarity']:.2%} of pixels carry an event" in out
    assert f"({result['density']['any_polarity']:.2%} of pixels)" in out


def test_density_of_a_folder_is_that_of_its_training_clips(video, tmp_path, capsys):
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(3):
            content = video.read_bytes() + bytes(8 * (number + 1 + 3 * (label == "b")))
            (tmp_path / "set" / label / f"{number}.mp4").write_bytes(content)
    shape = ("--size", "32", "--steps", "8", "-q")
    code, out, err = told(capsys, "events", tmp_path / "set", "-o", tmp_path / "c.h5", "--density", "0.08", *shape)
    assert code == 0, err
    assert "clip(s) of the training split (wanted 8.00%)" in out
    command = ("events", tmp_path / "set", "-o", tmp_path / "c.h5", "--density", "0.08", "--force", "--json", *shape)
    folder = json.loads(told(capsys, *command)[1])
    single = json.loads(
        told(capsys, "events", video, "-o", tmp_path / "d.npz", "--density", "0.08", "--json", *shape)[1]
    )
    assert folder["chosen_sens"]["sens"] == single["chosen_sens"]["sens"] == folder["settings"]["sens"]
    assert folder["density"] == single["density"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--model", "pixel", "--density", "0.1"), "E722 --density: means nothing to the pixel model"),
        (("--model", "pixel", "--intensity", "log"), "E722 --intensity: means nothing to the pixel model"),
        (("--model", "pixel", "--reference", "event"), "E722 --reference: means nothing to the pixel model"),
        (("--model", "pixel", "--events-per-step", "one"), "E722 --events-per-step: means nothing to the pixel model"),
        (("--density", "0.1", "--sens", "0.1"), "E722 --sens: means nothing with --density"),
        (("--density", "0"), "E722 --density: 0.0; limit above 0, at most 1"),
        (("--density", "1.01"), "E722 --density: 1.01; limit above 0, at most 1"),
        (("--density", "nan"), "E722 --density: nan; limit above 0, at most 1"),
        (("--density", "1"), "E761 wanted density: 1.0; limit above 0, at most"),
        (("--events-per-step", "several", "--sens", "0.003"), "E719 sens"),
        (("--intensity", "cubic"), "E010"),
    ],
)
def test_readings_that_cannot_be_are_refused(options, found, video, tmp_path, capsys):
    status, _, err = told(capsys, "events", video, "-o", tmp_path / "e.npz", *options)
    assert status == 2
    assert found in err
    assert not (tmp_path / "e.npz").exists()


def test_a_sensor_is_written_in_either_way(video, tmp_path, capsys):
    sizes = set()
    for text in ("32,24", "32x24"):
        arguments = ("events", video, "--model", "pixel", "--sensor", text, "-o", tmp_path / "x.npz", "--force", "-q")
        assert told(capsys, *arguments)[0] == 0
        sizes.add(open_events(tmp_path / "x.npz").sensor_size)
    assert sizes == {(32, 24, 2)}
    assert "is not W,H" in told(capsys, *arguments[:4], "--sensor", "32y24", *arguments[6:])[2]
