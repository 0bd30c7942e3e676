"""Event frames of every data set on its look-alike: recordings, pictures of codes, folds, values; and the verb."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from look_alikes.afew_va import ACTORS, make_afew_va, picture
from look_alikes.mosi import make_mosi
from look_alikes.nefer import EXPECTED, make_nefer, video_name

from hw_targets.finding import InputError
from neuroemo.cli import run
from neuroemo.datasets.afew_va import subject_folds
from neuroemo.datasets.catalogue import list_dataset
from neuroemo.datasets.clip_settings import PixelClipSettings, clip_seed
from neuroemo.datasets.event_frame_check import check_event_frames
from neuroemo.datasets.event_frame_folder import scan_event_folder
from neuroemo.datasets.event_frame_pictures import read_code_picture
from neuroemo.datasets.event_frame_prepare import prepare_event_frames
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.files import save_events
from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.events.pixel.settings import preset
from neuroemo.events.pixel.simulator import simulate_pixels
from neuroemo.events.readers import write_events
from neuroemo.events.video import write_h264

PIXEL = EventFrameSettings(size=16, slow_motion=None)
RECORDED = EventFrameSettings(size=16, n_bits=4, slice_us=500, model="recorded")
CODES = EventFrameSettings(size=16, slice_us=1000, model="codes")
NAMES = [f"{number + 1:03d}" for number in range(len(ACTORS))]


def made(tmp_path, name, root, settings, **options):
    path = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}.h5"
    prepare_event_frames(name, root, path, settings, workers=1, options=options)
    check_event_frames(path)
    return EventFrames.open(path)


def recording(rng, count=4000, width=40, height=24, start=5_000, length=20_000):
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = start + np.sort(rng.integers(0, length, count))
    events["x"], events["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    events["p"] = rng.integers(0, 2, count)
    return events, (width, height, 2)


def brute_force(events, sensor, settings):
    """Codes of recorded events, one by one: slice j holds j dt <= t - t_first < (j + 1) dt, whole frames only."""
    first, last = int(events["t"][0]), int(events["t"][-1])
    count = (last - first + 1) // (settings.n_bits * settings.slice_us)
    codes = np.zeros((count, settings.size, settings.size), int)
    for t, x, y, _ in events.tolist():
        frame, bit = divmod((t - first) // settings.slice_us, settings.n_bits)
        if frame < count:
            codes[frame, y * settings.size // sensor[1], x * settings.size // sensor[0]] |= 1 << bit
    return codes


def test_afew_va_keeps_folds_and_times_of_the_pictures(tmp_path):
    make_afew_va(tmp_path / "set", frames=9)
    for number in (3, 4):  # a gap: the clip stands still for three frames
        (tmp_path / "set" / "002" / f"{number:05d}.png").unlink()
    table = json.loads((tmp_path / "set" / "002" / "002.json").read_text())
    table["frames"] = {key: frame for key, frame in table["frames"].items() if key not in ("00003", "00004")}
    (tmp_path / "set" / "002" / "002.json").write_text(json.dumps(table))
    with made(tmp_path, "afew-va", tmp_path / "set", PIXEL) as store:
        assert store.clip_names == tuple(NAMES)
        assert (store.classes, store.labels.tolist(), set(store.splits)) == ((), [-1] * 7, {""})
        folds = subject_folds([" ".join(actor.casefold().split()) for actor in ACTORS])
        assert dict(zip(store.subjects, store.folds.tolist(), strict=True)) == folds
        assert np.bincount(store.clip).tolist() == [8] * 7
        rows = np.flatnonzero(store.clip == 1)
        numbers = [0, 1, 2, 5, 6, 7, 8]
        for row, mean in zip(rows, store.times_us[rows], strict=True):
            shown = min(numbers, key=lambda number: (abs(number * 40_000 - mean), number))
            assert numbers[store.video_frames[row]] == shown
            valence, arousal = (
                np.float32(shown % 21 - 10) / np.float32(10),
                np.float32(10 - shown % 21) / np.float32(10),
            )
            assert store.affect([row])[0].tolist() == pytest.approx([valence, arousal], abs=1e-7)
        for k in range(5):
            parts = store.fold(k)
            whose = {name: {store.subjects[store.clip[i]] for i in frames} for name, frames in parts.items()}
            assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(56))
            assert not whose["test"] & (whose["train"] | whose["val"])
            assert not whose["train"] & whose["val"]
            assert {folds[name] for name in whose["test"]} == {k}
            assert {folds[name] for name in whose["val"]} == {(k + 1) % 5}
        for wrong in (5, -1, True, "0"):
            with pytest.raises(InputError, match=r"E849 fold: .*; limit 0\.\.4"):
                store.fold(wrong)
        with pytest.raises(InputError, match=r"E742 .*no clips in split 'train'\n +this data set comes in folds"):
            store.indices("train")


def test_afew_va_pictures_are_seen_by_a_camera_of_their_own(tmp_path):
    make_afew_va(tmp_path / "set", frames=5)
    with made(tmp_path, "afew-va", tmp_path / "set", PIXEL, fps=50) as store:
        gray = [cv2.cvtColor(picture(3, number), cv2.COLOR_BGR2GRAY) for number in range(5)]
        small = [cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA) for frame in gray]
        events, _ = simulate_pixels(small, range(0, 100_000, 20_000), preset("clean", seed=clip_seed(0, "003")))
        codes = np.zeros((2, 16, 16), int)  # 80 ms at 50 pictures per second: two frames
        for t, x, y, _ in events.tolist():
            frame, bit = divmod((t - 1) // 5000, 8)
            codes[frame, y, x] |= 1 << bit
        assert np.array_equal(store.codes(np.flatnonzero(store.clip == 2)), codes)


def test_two_folds_do_not_make_three_parts(tmp_path):
    make_afew_va(tmp_path / "set", frames=3)
    with (
        made(tmp_path, "afew-va", tmp_path / "set", PIXEL, folds=2) as store,
        pytest.raises(InputError, match="2 folds"),
    ):
        store.fold(0)


def dat(events, sensor):
    """The bytes of a Prophesee DAT file: a header in text, then two little-endian words per event."""
    head = f"% Data file containing CD events.\n% Version 2\n% Height {sensor[1]}\n% Width {sensor[0]}\n".encode()
    words = [(t, x | y << 14 | int(p) << 28) for t, x, y, p in events.tolist()]
    return head + bytes([0x0C, 8]) + np.array(words, "<u4").tobytes()


@pytest.fixture
def nefer(tmp_path):
    """A NEFER whose raw files hold events, and whose pictures hold codes that no two share."""
    make_nefer(tmp_path / "nefer", frames=3, pictures=True, suffix=".dat")
    for seed, path in enumerate(sorted((tmp_path / "nefer" / "event_raw").glob("*/*.dat"))):
        path.write_bytes(dat(*recording(np.random.default_rng(seed))))
    for seed, path in enumerate(sorted((tmp_path / "nefer" / "event_frames").glob("*/*/*.png"))):
        cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (24, 32), np.uint8))
    return tmp_path / "nefer"


def test_nefer_recordings(nefer, tmp_path):
    with made(tmp_path, "nefer", nefer, RECORDED) as store:
        assert len(store.clip_names) == 9
        assert store.classes == tuple(sorted(EXPECTED))
        assert set(store.splits) == {"train", "val"}
        assert store.value_names == ()
        assert set(store.video_frames.tolist()) == {-1}
        for seed in range(9):
            events, sensor = recording(np.random.default_rng(seed))
            codes = brute_force(events, sensor, RECORDED)
            rows = np.flatnonzero(store.clip == seed)
            assert np.array_equal(store.codes(rows), codes)
            assert (store.events[rows].sum(), store.times_us[rows[0]] < 2000) == (len(events) - waiting(events), True)


def waiting(events):
    first, last = int(events["t"][0]), int(events["t"][-1])
    return int((events["t"] - first >= (last - first + 1) // 2000 * 2000).sum())


def test_nefer_pictures_are_codes_already(nefer, tmp_path):
    with made(tmp_path, "nefer", nefer, CODES, recording="event_frames") as store:
        folder = nefer / "event_frames" / "user_01" / video_name("user_01", 0)
        wanted = np.zeros((3, 16, 16), int)
        for number in range(3):
            picture = cv2.imread(str(folder / f"frame_{number:02d}.png"), cv2.IMREAD_UNCHANGED)
            for y in range(24):
                for x in range(32):
                    wanted[number, y * 16 // 24, x // 2] |= int(picture[y, x])
        assert np.array_equal(store.codes([0, 1, 2]), wanted)
        assert store.times_us[:3].tolist() == [4000.0, 12000.0, 20000.0]
        assert store.events[:3].tolist() == [-1] * 3
        assert store.manifest().clips[0].events == -1
        assert set(store.bits([0]).ravel().tolist()) == {0, 1}


def written(path, values, *flags):
    assert cv2.imwrite(str(path), values, list(flags))
    return path


def test_pictures_that_are_no_codes_are_refused(tmp_path):
    gray = np.random.default_rng(0).integers(0, 256, (16, 20)).astype(np.uint8)
    same = np.repeat(gray[..., None], 3, axis=2)
    other = same.copy()
    other[3, 4, 1] ^= 1
    assert np.array_equal(read_code_picture(written(tmp_path / "a.png", gray)), gray)
    assert np.array_equal(read_code_picture(written(tmp_path / "b.png", same)), gray)
    alpha = np.concatenate([same, np.full((16, 20, 1), 255, np.uint8)], axis=2)
    for name, values, found in (
        ("c.png", other, "a picture in colours"),
        ("d.png", gray.astype(np.uint16) * 257, "16 bits per channel, PNG colour type 0"),
        ("e.png", alpha, "8 bits per channel, PNG colour type 6"),
        ("f.jpg", gray, "JPEG, which changes the codes"),
    ):
        with pytest.raises(InputError, match=f"E792 .*{name}: {found}; limit a PNG of 8-bit gray"):
            read_code_picture(written(tmp_path / name, values))
    one_bit = written(tmp_path / "g.png", (gray > 99).astype(np.uint8) * 255, cv2.IMWRITE_PNG_BILEVEL, 1)
    with pytest.raises(InputError, match="1 bits per channel"):
        read_code_picture(one_bit)


@pytest.mark.parametrize(
    ("name", "settings", "options", "found"),
    [
        ("nefer", PIXEL, {}, "E866 nefer: recorded events with --model pixel\n +--model recorded, or"),
        ("nefer", CODES, {}, "E866 nefer: events with --model codes\n +--model recorded"),
        ("nefer", PIXEL, {"recording": "event_frames"}, "E866 nefer: recording=event_frames with --model pixel"),
        ("nefer", RECORDED, {"recording": "rgb_frames", "fps": 25}, "E866 nefer: pictures with --model recorded"),
        ("nefer", PIXEL, {"recording": "rgb_frames"}, "E866 nefer: folders of pictures have no frame rate"),
        ("afew-va", CODES, {}, "E866 afew-va: pictures with --model codes\n +--model pixel"),
        ("afew-va", RECORDED, {}, "E866 afew-va: pictures with --model recorded\n +--model pixel"),
        ("faces", RECORDED, {}, "E866 faces: videos with --model recorded\n +--model pixel"),
        ("faces", CODES, {}, "E866 faces: videos with --model codes"),
        ("folder", CODES, {}, "E866 folder: videos with --model codes"),
        ("mosi", PIXEL, {"fps": 25}, "E866 --option fps"),
    ],
)
def test_cameras_that_make_no_sense(tmp_path, name, settings, options, found):
    with pytest.raises(InputError, match=found):
        list_dataset(name, tmp_path / "x", settings, options)


def test_mosi_rates_whole_clips(tmp_path):
    rng = np.random.default_rng(0)
    make_mosi(
        tmp_path / "m", video=lambda path: write_h264(path, rng.integers(0, 256, (6, 32, 32)).astype(np.uint8), 25.0)
    )
    with made(tmp_path, "mosi", tmp_path / "m", PIXEL) as store:
        assert store.value_names == ("sentiment",)
        index = store.clip_names.index(next(name for name in store.clip_names if "2iD-tVS8NPw" in name))
        assert set(store.values[store.clip == index, 0].tolist()) == {np.float32(-1.6)}
        with pytest.raises(InputError, match=r"E847 .*no valence and no arousal; it has sentiment"):
            store.affect()


def test_a_segment_is_cut_before_the_camera(tmp_path):
    from neuroemo.datasets.clip_source import ClipSource
    from neuroemo.datasets.event_frame_source import make_frames

    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 32)).astype(np.uint8)
    write_h264(tmp_path / "a.mp4", frames, 25.0)
    part = make_frames(ClipSource("a", str(tmp_path / "a.mp4"), (0.119, 0.35)), PIXEL)
    assert (part.video_frames, len(part.chunks)) == (6, 5)  # the frames at 120, 160, ... 320 ms
    with pytest.raises(InputError, match="E864 a: shorter than one event frame"):
        make_frames(ClipSource("a", str(tmp_path / "a.mp4"), (5.0, 6.0)), PIXEL)


def test_folder_of_recordings(tmp_path):
    kept = {}
    for seed in range(6):
        label = "ab"[seed % 2]
        (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
        suffix = (".npz", ".aedat4")[seed // 3]
        events, sensor = recording(np.random.default_rng(seed))
        target = tmp_path / "set" / label / f"{seed}{suffix}"
        save_events(target, events, sensor) if suffix == ".npz" else write_events(target, events, sensor)
        kept[f"{label}/{seed}{suffix}"] = brute_force(events, sensor, RECORDED)
    (tmp_path / "set" / "a" / "notes.md").write_text("mine")
    entries, findings = scan_event_folder(tmp_path / "set")
    assert [entry.name for entry in entries] == sorted(kept)
    assert [finding.code for finding in findings] == ["W730", "W731"]
    assert "1 file(s) that are no recordings left out: a/notes.md" in str(findings[1])
    with made(tmp_path, "folder", tmp_path / "set", RECORDED) as store:
        assert (store.classes, set(store.splits)) == (("a", "b"), {"train", "val", "test"})
        for number, name in enumerate(store.clip_names):
            assert np.array_equal(store.codes(np.flatnonzero(store.clip == number)), kept[name])


def test_folders_of_recordings_that_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"E730 .*not a folder"):
        scan_event_folder(tmp_path / "none")
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=r"E731 .*no recordings found"):
        scan_event_folder(tmp_path)
    events, sensor = recording(np.random.default_rng(0))
    for name in ("a/1.npz", "a/2.npz", "a/3.npz"):
        save_events(tmp_path / name, events, sensor)
    with pytest.raises(InputError, match="only one class, 'a'") as error:
        scan_event_folder(tmp_path)
    assert "E733" in str(error.value)  # copies count once
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "1.npz", tmp_path / "b" / "1.npz")
    with pytest.raises(InputError, match=r"E739 .*in the classes 'a' and 'b'"):
        scan_event_folder(tmp_path)


def test_recordings_without_events_or_too_short(tmp_path):
    for seed, (label, count, length) in enumerate([("a", 0, 1), ("a", 99, 1999), ("a", 99, 9999), ("b", 9, 9999)]):
        (tmp_path / "set" / label).mkdir(parents=True, exist_ok=True)
        events, sensor = recording(np.random.default_rng(seed), count=count, length=length)
        save_events(tmp_path / "set" / label / f"{seed}.npz", events, sensor)
        if label == "b":
            for more in "xy":
                other, _ = recording(np.random.default_rng(ord(more)), count=9, length=9999)
                save_events(tmp_path / "set" / label / f"{more}.npz", other, sensor)
    with pytest.raises(InputError) as error:
        prepare_event_frames("folder", tmp_path / "set", tmp_path / "a.h5", RECORDED, workers=1)
    assert [(f.node, f.found[:12]) for f in error.value.findings[:2]] == [
        ("a/0.npz", "no events in"),
        ("a/1.npz", "shorter than"),
    ]


@pytest.mark.parametrize(
    ("name", "damage", "found"),
    [
        ("afew-va", lambda root: shutil.rmtree(root), "E790 .*not a folder"),
        ("afew-va", lambda root: [shutil.rmtree(root / clip) for clip in NAMES], "E790 .*no clip folders found"),
        ("afew-va", lambda root: (root / "003" / "003.json").unlink(), r"003\.json"),
        ("afew-va", lambda root: (root / "003" / "00001.png").unlink(), r"rated frame\(s\) without a picture: 00001"),
        ("nefer", lambda root: shutil.rmtree(root / "annotations"), r"train_event\.csv: no annotation file"),
        ("nefer", lambda root: shutil.rmtree(root / "event_frames"), "event_frames: no such folder"),
        ("nefer", lambda root: shutil.rmtree(root / "event_frames" / "user_01"), "user_01.*no folder of this video"),
        ("nefer", lambda root: next(root.glob("event_frames/*/*/frame_01.png")).unlink(), r"missing: frame_01\.png"),
    ],
)
def test_the_first_thing_missing_in_a_layout_is_named(tmp_path, name, damage, found):
    options = {"recording": "event_frames"} if name == "nefer" else {}
    make = make_afew_va if name == "afew-va" else make_nefer
    make(tmp_path / "set", frames=3, **({"pictures": True} if name == "nefer" else {}))
    damage(tmp_path / "set")
    with pytest.raises(InputError, match=found):
        prepare_event_frames(
            name, tmp_path / "set", tmp_path / "a.h5", CODES if options else PIXEL, options=options, workers=1
        )
    assert not (tmp_path / "a.h5").exists()


def verb(capsys, *words):
    code = run(["data", "frames", *map(str, words), "--json", "-q", "--workers", "1"])
    return code, json.loads(capsys.readouterr().out)


def test_verb(nefer, tmp_path, capsys):
    command = ["nefer", "--root", nefer, "-o", tmp_path / "a.h5", "--size", 16, "--bits", 4, "--slice-us", 500]
    code, told = verb(capsys, *command)
    assert (code, told["clips"], told["settings"]["model"], told["values"]) == (0, 9, "recorded", [])
    count = sum(len(brute_force(*recording(np.random.default_rng(seed)), RECORDED)) for seed in range(9))
    assert (told["frames"], told["empty_frames"], told["reused"]) == (count, 0, False)
    assert {finding["code"] for finding in told["findings"]} == {"W790", "W794"}
    assert verb(capsys, *command)[1]["reused"]
    assert run(["data", "check", str(tmp_path / "a.h5"), "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["clips"], told["dataset"]) == ("event frames", 9, "nefer")
    codes = ["nefer", "--root", nefer, "-o", tmp_path / "c.h5", "--size", 16, "--option", "recording=event_frames"]
    code, told = verb(capsys, *codes)
    assert (code, told["frames"], told["empty_frames"], told["settings"]["model"]) == (0, 27, None, "codes")
    code, told = verb(capsys, *command, "--threshold", 0.3, "--preset", "noisy")
    assert [(f["code"], f["node"]) for f in told["findings"]] == [("E869", "--preset"), ("E869", "--threshold")]
    assert (code, verb(capsys, *codes, "--bits", 16)[1]["findings"][0]["code"]) == (2, "E867")


def test_verb_takes_the_camera_as_asked(faces, tmp_path, capsys):
    words = [
        "folder",
        "--root",
        faces,
        "-o",
        tmp_path / "a.h5",
        "--size",
        16,
        "--msb",
        "oldest",
        "--slow-motion",
        "none",
    ]
    code, told = verb(capsys, *words, "--preset", "noisy", "--threshold", 0.3, "--timing", "slots", "--noise-seed", 4)
    assert (code, told["frames"], told["classes"]) == (0, 200, ["negative", "positive"])
    camera = preset("noisy", positive_threshold=0.3, negative_threshold=0.3, timing="slots", seed=4)
    wanted = replace(PIXEL, pixel=camera, msb="oldest")
    with EventFrames.open(tmp_path / "a.h5") as store:
        assert store.settings == wanted


def test_faces_of_one_truth_per_frame_are_not_brought_to_another_rate(tmp_path):
    for settings in (FrameDiffSettings(size=32, steps=6, fps=12.5), PixelClipSettings(size=32, steps=6, fps=12.5)):
        with pytest.raises(InputError, match=r"E893 faces: .*--fps drops and repeats frames\n +.*--option fps=12\.5 "):
            list_dataset("faces", tmp_path / "f", settings, {"subjects": 5, "clips_per_subject": 2})
    assert not (tmp_path / "f").exists()
    few = {"subjects": 5, "clips_per_subject": 2, "fps": 12.5}
    listed = list_dataset("faces", tmp_path / "f", FrameDiffSettings(size=32, steps=6), few, workers=1)
    assert {values.shape for entry in listed.entries for values in entry.values.values()} == {(6,)}
