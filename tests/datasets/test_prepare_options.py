"""Slow motion, the readings of the paper's text and a wanted density, through `neuroemo data prepare`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from look_alikes.afew_va import make_afew_va
from look_alikes.nefer import make_nefer

from hw_targets.finding import InputError
from neuroemo.cli import run
from neuroemo.datasets.catalogue import list_dataset
from neuroemo.datasets.clip_density import bit_warnings, sens_of_data_set
from neuroemo.datasets.clip_settings import PixelClipSettings, RecordedClipSettings, clip_seed, settings_from_dict
from neuroemo.datasets.clip_source import ClipSource, make_clip
from neuroemo.datasets.store import ClipStore
from neuroemo.datasets.store_file import unpack_spikes
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.pixel.simulator import PixelSimulator
from neuroemo.events.readers import open_events
from neuroemo.events.stream import stream_frames
from neuroemo.events.upsample import Upsampler, UpsampleSettings, upsample_stream
from neuroemo.events.video import read_gray, write_h264

SIZE, STEPS = 32, 8


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips per class of a bright square that moves 6 pixels per frame, right or down, 10 frames."""
    root = tmp_path_factory.mktemp("videos") / "set"
    for number in range(6):
        frames = np.tile(np.linspace(40, 90, 96).astype(np.uint8), (10, 96, 1))
        for index in range(10):
            along, across = 4 + 6 * index, 20 + 4 * number
            rows, columns = slice(across, across + 30), slice(along, along + 24)
            frames[index][(rows, columns) if number < 3 else (columns, rows)] = 220
        path = root / ("right" if number < 3 else "down") / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_h264(path, frames, fps=20.0)
    return root


def told(capsys, *arguments):
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def prepare(capsys, videos, out, *options):
    shape = ("--size", SIZE, "--steps", STEPS, "--workers", 1, "-q", "--json")
    code, text, _ = told(capsys, "data", "prepare", "folder", "--root", videos, "--out", out, *shape, *options)
    return code, json.loads(text)


def brute_bins(events, times, start):
    """One bit where a pixel sent an event between the frames n - 1 and n, found event by event."""
    spikes = np.zeros((STEPS, 2, SIZE, SIZE), np.uint8)
    for event in events:
        step = next((n for n in range(1, len(times)) if times[n - 1] < event["t"] <= times[n]), None)
        if step is not None:
            spikes[step - 1 + start, 0 if event["p"] else 1, event["y"], event["x"]] = 1
    return spikes


@pytest.mark.parametrize(("slow", "first"), [("none", "float"), ("linear", "spikes"), ("dis", "float")])
def test_pixel_clips_are_the_events_of_the_verb_in_bins(videos, tmp_path, capsys, slow, first):
    options = ("--model", "pixel", "--slow-motion", slow, "--preset", "clean", "--first-frame", first)
    code, result = prepare(capsys, videos, tmp_path / "a.h5", *options, "--noise-seed", 5)
    assert code == 0
    name = "right/0.mp4"
    written = ("--sensor", f"{SIZE}x{SIZE}", "--seed", clip_seed(5, name), "-o", tmp_path / "e.npz", "-q")
    assert told(capsys, "events", videos / name, "--model", "pixel", "--slow-motion", slow, *written)[0] == 0
    times = [50_000 * n for n in range(STEPS if first == "float" else STEPS + 1)]
    wanted = brute_bins(open_events(tmp_path / "e.npz").events, times, int(first == "float"))
    with ClipStore.open(tmp_path / "a.h5") as store:
        clip = store.clip(store.names.index(name))
        assert np.array_equal(clip.spikes, wanted)
        assert wanted.sum() > 200
        method = store.settings.slow_motion
        assert (
            (method.method if method else "none")
            == slow
            == result["settings"].get("slow_motion", {"method": "none"})["method"]
        )
        assert store.settings == settings_from_dict(json.loads(json.dumps(store.settings.to_dict())))


def test_slow_motion_changes_the_clips_and_is_on_unless_told_otherwise(videos, tmp_path, capsys):
    stores = {}
    for name, options in (("none", ("--slow-motion", "none")), ("dis", ("--slow-motion", "dis")), ("default", ())):
        assert prepare(capsys, videos, tmp_path / f"{name}.h5", "--model", "pixel", *options)[0] == 0
        with ClipStore.open(tmp_path / f"{name}.h5") as store:
            stores[name] = (store.batch(range(len(store))), store.fingerprint(), store.settings)
    assert np.array_equal(stores["dis"][0], stores["default"][0])
    assert stores["dis"][2] == stores["default"][2]
    assert not np.array_equal(stores["dis"][0], stores["none"][0])
    assert stores["dis"][1] != stores["none"][1]
    assert "slow_motion" not in stores["none"][2].to_dict()  # as stores said it before there was slow motion


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_a_clip_is_what_a_stream_in_pieces_gives(videos, chunk):
    path, name = videos / "down" / "4.mp4", "down/4.mp4"
    between = UpsampleSettings(method="dis", largest_factor=8)
    settings = PixelClipSettings(size=SIZE, steps=STEPS, slow_motion=between)
    camera = PixelSimulator(PixelSettings(seed=clip_seed(0, name)), SIZE, SIZE)
    upsampler, pieces = Upsampler(between), []
    for piece in upsample_stream(stream_frames(path, size=SIZE, chunk=chunk, max_frames=STEPS), upsampler, chunk=chunk):
        pieces += [camera.feed(frame, int(time)) for frame, time in zip(piece.frames, piece.times_us, strict=True)]
    wanted = brute_bins(np.concatenate(pieces), [50_000 * n for n in range(STEPS)], 1)
    packed = make_clip(ClipSource(name, str(path)), settings)
    assert np.array_equal(unpack_spikes(packed.spikes, settings), wanted)
    assert upsampler.report.largest_factor > 1


def test_slow_motion_is_stored_whole_and_old_settings_are_without_it():
    made = PixelClipSettings(slow_motion=UpsampleSettings(factor="brightness", largest_factor=7))
    assert settings_from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert made.to_dict()["slow_motion"]["largest_factor"] == 7
    assert PixelClipSettings(slow_motion=UpsampleSettings(method="none", factor=3)) == PixelClipSettings()
    assert settings_from_dict(PixelClipSettings().to_dict()).slow_motion is None
    for broken in (3, {"method": "dis"}, made.to_dict()["slow_motion"] | {"method": "magic"}):
        with pytest.raises(InputError, match=r"E867|E763"):
            settings_from_dict(made.to_dict() | {"slow_motion": broken})


def test_what_slow_motion_cannot_do_is_refused():
    def function(before, after, factor):
        return np.stack([before] * (factor - 1))

    with pytest.raises(InputError, match="E867 slow_motion"):
        PixelClipSettings(slow_motion=UpsampleSettings(method=function))
    with pytest.raises(InputError, match="E867 size: 11 pixels with slow motion; limit at least 12"):
        PixelClipSettings(size=11, slow_motion=UpsampleSettings())
    assert PixelClipSettings(size=12, slow_motion=UpsampleSettings()).size == 12
    assert PixelClipSettings(size=11, slow_motion=UpsampleSettings(method="linear", factor=2)).size == 11


def simulated(frames, *, log, event, sens):
    """The bits of a clip by the definition, pixel by pixel in Python floats; a gray first frame in step 0."""
    level = np.rint(np.log1p(np.arange(256.0)) * 1e9) if log else np.arange(256.0)
    threshold = sens * (1e9 if log else 255.0)
    spikes = np.zeros((STEPS, 2, SIZE, SIZE), np.uint8)
    held = level[frames[0]].copy()
    for step, frame in enumerate(frames[1:STEPS], start=1):
        change = level[frame] - held
        spikes[step, 0], spikes[step, 1] = change > threshold, change < -threshold
        fired = np.abs(change) > threshold
        held = np.where(fired, level[frame], held) if event else level[frame].copy()
    return spikes


@pytest.mark.parametrize("intensity", ["linear", "log"])
@pytest.mark.parametrize("reference", ["previous", "event"])
def test_the_readings_of_the_text_reach_the_clips(videos, tmp_path, capsys, intensity, reference):
    options = ("--intensity", intensity, "--reference", reference, "--sens", "0.0731")
    code, result = prepare(capsys, videos, tmp_path / "a.h5", *options)
    assert code == 0
    assert (result["settings"].get("intensity", "linear"), result["settings"].get("reference", "previous")) == (
        intensity,
        reference,
    )
    frames = read_gray(videos / "down" / "3.mp4", size=SIZE).frames
    wanted = simulated(frames, log=intensity == "log", event=reference == "event", sens=0.0731)
    with ClipStore.open(tmp_path / "a.h5") as store:
        assert np.array_equal(store.clip(store.names.index("down/3.mp4")).spikes, wanted)
        assert wanted.any()


def test_several_events_per_step_are_one_bit_and_that_is_said(videos, tmp_path, capsys):
    sens = ("--sens", "0.05")
    code, result = prepare(capsys, videos, tmp_path / "a.h5", "--events-per-step", "several", *sens)
    warnings = [finding for finding in result["findings"] if finding["code"] == "W897"]
    assert (code, len(warnings)) == (0, 1)
    assert "the clips are those of one event per step" in warnings[0]["found"]
    prepare(capsys, videos, tmp_path / "b.h5", *sens)
    with ClipStore.open(tmp_path / "a.h5") as several, ClipStore.open(tmp_path / "b.h5") as one:
        assert np.array_equal(several.batch([0, 1]), one.batch([0, 1]))
    kept = FrameDiffSettings(events_per_step="several", sens=0.05, reference="event")
    assert "those of one event" not in bit_warnings(kept)[0].found


@pytest.mark.parametrize("options", [(), ("--intensity", "log"), ("--reference", "event")])
def test_density_chooses_the_sensitivity_on_the_training_clips(videos, tmp_path, capsys, options):
    code, result = prepare(capsys, videos, tmp_path / "a.h5", "--density", "0.05", *options)
    chosen = result["chosen_sens"]
    assert code == 0
    assert (chosen["wanted"], chosen["split"]) == (0.05, "train")
    assert result["settings"]["sens"] == chosen["sens"]
    with ClipStore.open(tmp_path / "a.h5") as store:
        train = store.indices("train")
        assert chosen["clips"] == len(train)
        counted = np.mean([store.clip(int(index)).spikes[1:].sum(axis=1).mean() for index in train])
        assert counted == pytest.approx(chosen["density"]["any_polarity"], abs=1e-12)
    # No other sensitivity comes nearer: neighbours are prepared and counted.
    for sens in (chosen["sens"] * 0.9, chosen["sens"] * 1.1):
        assert prepare(capsys, videos, tmp_path / "b.h5", "--sens", f"{sens:.17g}", "--force", *options)[0] == 0
        with ClipStore.open(tmp_path / "b.h5") as store:
            other = np.mean([store.clip(int(index)).spikes[1:].sum(axis=1).mean() for index in train])
        assert abs(other - 0.05) >= abs(counted - 0.05) - 1e-12


def test_density_is_the_same_with_any_number_of_workers_and_is_printed(videos, tmp_path, capsys):
    settings = FrameDiffSettings(size=SIZE, steps=STEPS)
    listed = list_dataset("folder", videos, settings)
    one, two = (sens_of_data_set(listed, settings, 0.03, workers=workers) for workers in (1, 2))
    assert one == two
    shape = ("--size", SIZE, "--steps", STEPS, "--workers", 1, "--density", 0.03)
    code, out, _ = told(capsys, "data", "prepare", "folder", "--root", videos, "--out", tmp_path / "a.h5", *shape)
    assert code == 0
    assert f"sens {one.choice.sens:.6g} chosen: {one.choice.density.any_polarity:.2%} of pixels carry an event" in out
    assert "of the training split (wanted 3.00%)" in out
    with pytest.raises(InputError, match=r"E761 wanted density: 0\.9"):
        sens_of_data_set(listed, settings, 0.9, workers=1)


def test_broken_clips_do_not_count_and_none_at_all_is_refused(videos, tmp_path):
    settings = FrameDiffSettings(size=SIZE, steps=STEPS)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"{number}.mp4").write_bytes(b"no video " + label.encode() + bytes([number]))
    with pytest.raises(InputError, match="E868 --density: no clip can be read"):
        sens_of_data_set(list_dataset("folder", tmp_path, settings), settings, 0.1, workers=1)
    listed = list_dataset("folder", tmp_path, settings)
    sound = next(videos.glob("*/0.mp4"))
    train = [entry for entry in listed.entries if entry.split == "train"]
    train[0].path.write_bytes(sound.read_bytes())
    assert sens_of_data_set(listed, settings, 0.03, workers=1).clips == 1


@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        (("--model", "pixel", "--intensity", "log", "--density", "0.1"), ["--density", "--intensity"]),
        (
            ("--model", "pixel", "--reference", "event", "--events-per-step", "one"),
            ["--reference", "--events-per-step"],
        ),
        (("--slow-motion", "none"), ["--slow-motion"]),
        (("--model", "recorded", "--step-us", "9", "--slow-motion", "dis"), ["--slow-motion"]),
        (("--density", "0.1", "--sens", "0.1"), ["--sens"]),
        (("--density", "0"), ["--density"]),
        (("--density", "1.5"), ["--density"]),
        (("--density", "nan"), ["--density"]),
    ],
)
def test_options_of_another_model_are_refused(videos, tmp_path, capsys, options, nodes):
    code, result = prepare(capsys, videos, tmp_path / "a.h5", *options)
    assert code == 2
    assert [(finding["code"], finding["node"]) for finding in result["findings"]] == [("E869", node) for node in nodes]
    assert not (tmp_path / "a.h5").exists()


def test_a_variable_frame_rate_is_seen_at_its_own_times(tmp_path):
    import av

    rng = np.random.default_rng(3)
    path, stamps = tmp_path / "v.mp4", [0, 10, 45, 50, 90, 95]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=100, options={"crf": "10"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8), format="rgb24")
            frame.pts = stamp
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    settings = PixelClipSettings(size=SIZE, steps=6, pixel=PixelSettings(cutoff_hz=30.0))
    packed = make_clip(ClipSource("v", str(path)), settings)
    camera = PixelSimulator(PixelSettings(cutoff_hz=30.0, seed=clip_seed(0, "v")), SIZE, SIZE)
    wanted = np.zeros((6, 2, SIZE, SIZE), np.uint8)
    for number, frame in enumerate(read_gray(path, size=SIZE).frames):
        for event in camera.feed(frame, 10_000 * stamps[number]).astype(EVENT_DTYPE):
            wanted[number, 0 if event["p"] else 1, event["y"], event["x"]] = 1
    assert np.array_equal(unpack_spikes(packed.spikes, settings), wanted)


def test_a_data_set_and_a_camera_that_do_not_fit_are_refused_at_once(tmp_path, monkeypatch):
    make_nefer(tmp_path / "nefer", frames=2, pictures=True)
    make_afew_va(tmp_path / "afew")
    film = FrameDiffSettings(size=SIZE, steps=2)
    camera, sensor = PixelClipSettings(size=SIZE, steps=2), RecordedClipSettings(step_us=1, sensor=(9, 9))
    nefer, codes = tmp_path / "nefer", {"recording": "event_frames", "fps": 25}
    pictures = {"recording": "rgb_frames"}
    for name, root, settings, options, found in (
        ("nefer", nefer, film, codes, "recording=event_frames with --model framediff: its pictures are binary codes"),
        ("nefer", nefer, camera, codes, "recording=event_frames with --model pixel"),
        ("nefer", nefer, sensor, codes, "recording=event_frames with --model recorded"),
        ("nefer", nefer, film, {}, "recorded events with --model framediff"),
        ("nefer", nefer, camera, {"recording": "event_raw"}, "recorded events with --model pixel"),
        ("nefer", nefer, sensor, pictures | {"fps": 25}, "pictures with --model recorded"),
        ("nefer", nefer, film, pictures, "folders of pictures have no frame rate"),
        ("afew-va", tmp_path / "afew", sensor, {}, "pictures with --model recorded"),
        ("mosi", tmp_path, sensor, {}, "videos with --model recorded"),
        ("folder", tmp_path, sensor, {}, "videos with --model recorded"),
        ("faces", tmp_path / "f", sensor, {}, "videos with --model recorded"),
    ):
        with pytest.raises(InputError) as error:
            list_dataset(name, root, settings, options, fold=0 if name == "afew-va" else None)
        (finding,) = error.value.findings
        assert (finding.code, finding.node) == ("E866", name)
        assert found in finding.found
        assert "--" in finding.fix
    for name, settings in (("mosi", film), ("nefer", sensor)):
        with pytest.raises(InputError, match=r"E866 --option fps: means nothing to (videos|events)"):
            list_dataset(name, tmp_path / "nefer", settings, {"fps": 25})
    for settings, options in ((film, pictures | {"fps": 25}), (camera, pictures | {"fps": 25}), (sensor, {})):
        assert len(list_dataset("nefer", nefer, settings, options).entries) == 9


RAW = "% evt 3.0\n% format EVT3\n{size}% end\n"


def raw_recording(path, right, bottom, size=""):
    """Three events of an EVT 3.0 recording, the last at column ``right`` of row ``bottom``."""
    words = [0x8001, 0x6010]
    for column, row in ((0, 0), (3, 5), (right, bottom)):
        words += [row, 0x2000 | column]
    path.write_bytes(RAW.format(size=size).encode() + np.array(words, "<u2").tobytes())


@pytest.mark.parametrize(
    ("right", "bottom", "named"),
    [
        (303, 239, "304x240"),
        (304, 239, "320x320"),
        (639, 479, "640x480"),
        (640, 9, "1280x720"),
        (1279, 719, "1280x720"),
    ],
)
def test_raw_files_without_a_geometry_name_the_sensor_to_give(tmp_path, capsys, right, bottom, named):
    pytest.importorskip("faery")
    root = make_nefer(tmp_path / "nefer", frames=2)
    paths = sorted((root / "event_raw").rglob("*.raw"))
    for path in paths:
        raw_recording(path, 3, 5)
    raw_recording(paths[1], right, bottom)
    command = ("data", "prepare", "nefer", "--root", root, "--out", tmp_path / "a.h5", "--model", "recorded")
    command += ("--step-us", 1000, "--size", 16, "--steps", 4, "--workers", 1)
    code, _, err = told(capsys, *command)
    assert code == 2
    assert "E897 event_raw: 9 of 9 recordings do not say how large the sensor is: user_01/" in err
    assert f"--sensor {named}, the smallest Prophesee sensor that holds the events of 8 of them" in err
    assert f"(columns 0..{right}, rows 0..{bottom})" in err
    code, _, err = told(capsys, *command, "--sensor", named)
    assert code == 0, err
    for path in paths:
        raw_recording(path, 3, 5, "% geometry 640x480\n")
    assert told(capsys, *command, "--force")[0] == 0


def test_a_sensor_that_cannot_be_told_is_still_asked_for(tmp_path, capsys):
    root = make_nefer(tmp_path / "nefer", frames=2)  # recordings without any event
    command = ("data", "prepare", "nefer", "--root", root, "--out", tmp_path / "a.h5", "--model", "recorded")
    code, _, err = told(capsys, *command, "--step-us", 1000)
    assert code == 2
    assert "give the size of the camera in pixels: --sensor WxH" in err
