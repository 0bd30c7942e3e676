"""Event frames: their bits by brute force, their labels by hand, and every way to read them back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.datasets.clip_settings import clip_seed
from neuroemo.datasets.clip_source import ClipSource
from neuroemo.datasets.event_frame_prepare import prepare_event_frames
from neuroemo.datasets.event_frame_settings import EventFrameSettings, event_frame_settings
from neuroemo.datasets.event_frame_source import FrameStream, make_frames, resize_codes
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.datasets.faces import FacesSettings, plan_faces
from neuroemo.datasets.faces_clip import clip_affect
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.events.pixel.simulator import simulate_pixels
from neuroemo.events.stream import stream_frames
from neuroemo.events.upsample import upsample

FACES = {"subjects": 5, "clips_per_subject": 4, "size": 48, "frames": 7, "seed": 3, "fps": 15.0}
SMALL = EventFrameSettings(size=24, pixel=PixelSettings(positive_threshold=0.05, negative_threshold=0.05))


@pytest.fixture(scope="module")
def stored(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "f.h5"
    prepare_event_frames("faces", faces, path, SMALL, options=FACES, workers=1)
    with EventFrames.open(path) as store:
        yield store


def events_of(path, name, settings=SMALL):
    """All events of a clip at once, and the times of its video frames."""
    chunks = list(stream_frames(path, size=settings.size))
    times = np.concatenate([chunk.times_us for chunk in chunks])
    frames, between = upsample(np.concatenate([chunk.frames for chunk in chunks]), times, settings.slow_motion)
    camera = replace(settings.pixel, seed=clip_seed(settings.pixel.seed, name))
    return simulate_pixels(frames, between, camera)[0], times


def brute_force(events, settings, frames):
    """Codes, mean times and counts, event by event; slice j holds j dt < t <= (j + 1) dt."""
    codes = np.zeros((frames, settings.size, settings.size), int)
    times = [[] for _ in range(frames)]
    for t, x, y, _ in events.tolist():
        slice_of = (t - 1) // settings.slice_us
        frame, bit = divmod(slice_of, settings.n_bits)
        if 0 <= frame < frames:
            weight = bit if settings.msb == "newest" else settings.n_bits - 1 - bit
            codes[frame, y, x] |= 1 << weight
            times[frame].append(t)
    length = settings.n_bits * settings.slice_us
    means = [sum(ts) / len(ts) if ts else (k + 0.5) * length for k, ts in enumerate(times)]
    return codes, np.array(means), [len(ts) for ts in times]


def test_frames_and_labels_are_those_of_a_brute_force(faces, stored):
    total = 0
    for number, clip in enumerate(sorted(plan_faces(FacesSettings(**FACES)), key=lambda clip: clip.file)):
        rows = np.flatnonzero(stored.clip == number)
        assert len(rows) == 10  # 7 frames at 15 Hz end at 400 ms
        events, video = events_of(faces / clip.file, clip.file)
        codes, means, counts = brute_force(events, SMALL, 10)
        assert np.array_equal(stored.codes(rows), codes)
        np.testing.assert_allclose(stored.times_us[rows], means, rtol=1e-12)
        assert stored.events[rows].tolist() == counts
        truth = clip_affect(3, clip.subject_index, clip.clip_index, clip.valence, clip.arousal, frames=7, fps=15.0)
        nearest = [min(range(7), key=lambda k: (abs(video[k] - mean), k)) for mean in means]
        assert stored.video_frames[rows].tolist() == nearest
        assert stored.affect(rows).tolist() == [[truth["valence"][k], truth["arousal"][k]] for k in nearest]
        assert (stored.clip_names[number], stored.subjects[number], stored.splits[number]) == (
            clip.file,
            clip.subject,
            clip.split,
        )
        assert stored.classes[stored.labels[number]] == clip.label
        total += len(events)
    assert total > 4000
    assert stored.events.sum() <= total


@pytest.mark.parametrize(
    ("n_bits", "msb", "slice_us"), [(1, "newest", 30000), (5, "oldest", 7001), (16, "newest", 5000)]
)
def test_other_lengths_and_orders(faces, n_bits, msb, slice_us):
    settings = replace(SMALL, n_bits=n_bits, msb=msb, slice_us=slice_us)
    path = sorted(faces.glob("*/*.mp4"))[0]
    events, _ = events_of(path, "a", settings)
    clip = make_frames(ClipSource("a", str(path)), settings)
    frames = 400_000 // (n_bits * slice_us)
    codes, means, counts = brute_force(events, settings, frames)
    assert len(clip.chunks) == frames
    assert clip.events == counts
    np.testing.assert_allclose(clip.times_us, means, rtol=1e-12)
    assert clip.left_out == len(events) - sum(counts)
    from neuroemo.datasets.chunks import inflate

    read = [inflate(chunk, np.dtype(settings.code_type), 24 * 24).reshape(24, 24) for chunk in clip.chunks]
    assert np.array_equal(read, codes)


def test_pieces_of_any_length_give_the_same_frames():
    rng = np.random.default_rng(0)
    events = np.zeros(3000, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, 1000, 3000))
    events["x"], events["y"] = rng.integers(0, 20, 3000), rng.integers(0, 30, 3000)
    settings = EventFrameSettings(size=16, n_bits=4, slice_us=13, model="recorded")
    whole = None
    for cuts in ([], [1], [500, 500, 501], sorted(rng.integers(0, 3000, 40).tolist())):
        stream = FrameStream(settings, (30, 20), start_us=0, closed="left")
        made, start = [], 0
        for stop in [*cuts, 3000]:
            until = int(events["t"][stop]) if stop < 3000 else 999
            made += stream.feed(events[start:stop], until)
            start = stop
        made += stream.finish(1000)
        told = [(frame.codes.tolist(), frame.time_us, frame.events) for frame in made]
        whole = whole or (told, stream.waiting)
        assert (told, stream.waiting) == whole
    assert len(whole[0]) == 1000 // 52
    assert whole[1] == int((events["t"] >= 52 * 19).sum())


def test_events_that_come_late_are_refused():
    settings = EventFrameSettings(size=16, n_bits=1, slice_us=10, model="recorded")
    stream = FrameStream(settings, (16, 16), start_us=0, closed="left")
    assert len(list(stream.feed(np.zeros(0, EVENT_DTYPE), 25))) == 2
    with pytest.raises(InputError, match=r"E864 events: 1 event\(s\) before the frame that begins at 20 us"):
        list(stream.feed(np.array([(5, 0, 0, 1)], EVENT_DTYPE), 40))


def test_codes_are_joined_and_never_averaged():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2**12, (9, 14)).astype(np.uint16)
    for size in (1, 2, 5, 8, 9, 11, 14, 20):
        wanted = np.zeros((size, size), int)
        for row in range(size):
            for column in range(size):
                # Of the pixels that go there; where the picture is smaller, of the nearest.
                rows = [y for y in range(9) if y * size // 9 == row] if size < 9 else [row * 9 // size]
                columns = [x for x in range(14) if x * size // 14 == column] if size < 14 else [column * 14 // size]
                for y in rows:
                    for x in columns:
                        wanted[row, column] |= int(codes[y, x])
        assert np.array_equal(resize_codes(codes, size), wanted)


def test_frames_and_bits(stored):
    order = [7, 0, 7, 55]
    codes = stored.codes(order)
    assert codes.dtype == np.uint8
    frames, bits = stored.frames(order), stored.bits(order)
    assert (frames.shape, frames.dtype, bits.shape, bits.dtype) == (
        (4, 1, 24, 24),
        np.float32,
        (4, 8, 1, 24, 24),
        np.uint8,
    )
    assert np.array_equal(frames[:, 0] * 256, codes)
    again = sum(bits[:, k, 0].astype(int) << k for k in range(8))
    assert np.array_equal(again, codes)
    assert np.array_equal(stored.read(order), codes)
    assert stored.codes([]).shape == (0, 24, 24)
    assert stored.bits([]).shape == (0, 8, 1, 24, 24)
    assert np.array_equal(stored.codes(np.arange(len(stored)))[order], codes)


def test_bits_of_the_other_order(faces, tmp_path):
    oldest = replace(SMALL, n_bits=3, msb="oldest")
    made = prepare_event_frames("faces", faces, tmp_path / "o.h5", oldest, options=FACES, workers=1)
    with EventFrames.open(made.path) as store:
        every = np.arange(len(store))
        bits, codes = store.bits(every), store.codes(every)
        assert codes.max() <= 7
        assert np.array_equal(4 * bits[:, 0, 0] + 2 * bits[:, 1, 0] + bits[:, 2, 0], codes)


def test_splits_and_what_is_not_there(stored):
    parts = [stored.indices(split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [120, 40, 40]
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    assert all(stored.splits[stored.clip[index]] == "val" for index in parts[1])
    assert stored.folds.tolist() == [-1] * 20
    for ask, code in (
        (lambda: stored.indices("dev"), "E742 split: 'dev'; limit train val test"),
        (lambda: stored.fold(0), r"E849 .*: 0 folds; limit at least 3\n.*indices\(split\)"),
        (lambda: stored.codes([200]), r"E743 frame index: 200\.\.200; limit 0\.\.199"),
        (lambda: stored.codes([-1]), "E743"),
        (lambda: stored.affect([0.5]), "E743 frame index: float64; limit integers"),
    ):
        with pytest.raises(InputError, match=code):
            ask()


def test_fingerprint_follows_the_content(faces, stored, tmp_path):
    made = prepare_event_frames("faces", faces, tmp_path / "a.h5", SMALL, options=FACES, workers=1)
    other = prepare_event_frames(
        "faces", faces, tmp_path / "b.h5", replace(SMALL, slice_us=4999), options=FACES, workers=1
    )
    with EventFrames.open(made.path) as same, EventFrames.open(other.path) as another:
        assert same.fingerprint() == stored.fingerprint() != another.fingerprint()


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ({"size": 7}, "E867 size: 7; limit an integer in 8..1024"),
        ({"size": 32.0}, "E867 size"),
        ({"n_bits": 17}, r"E867 n_bits: 17; limit an integer in 1\.\.16"),
        ({"n_bits": True}, "E867 n_bits"),
        ({"slice_us": 0}, "E867 slice_us"),
        ({"msb": "first"}, "E867 msb: 'first'; limit 'newest' or 'oldest'"),
        ({"model": "framediff"}, "E867 model: 'framediff'"),
        ({"size": 11}, "E867 size: 11 pixels with slow motion; limit at least 12"),
        ({"pixel": None}, "E867 pixel: None"),
        ({"slow_motion": "dis"}, "E867 slow_motion: 'dis'"),
        ({"sensor": (3, 4)}, r"E867 sensor: \(3, 4\); limit .*with model 'recorded'"),
        ({"model": "recorded", "sensor": (0, 4)}, "E867 sensor"),
        ({"model": "recorded", "pixel": PixelSettings(seed=9)}, "E867 pixel: .* nothing with model 'recorded'"),
        ({"model": "codes", "n_bits": 16}, "E867 n_bits: 16; limit 8 with model 'codes'"),
    ],
)
def test_settings_out_of_range(broken, found):
    with pytest.raises(InputError, match=found):
        EventFrameSettings(**broken)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(InputError) as error:
        EventFrameSettings(size=7, n_bits=0, slice_us=0, msb="x", model="y")
    assert [finding.node for finding in error.value.findings] == ["size", "n_bits", "slice_us", "msb", "model"]


def test_settings_round_trip():
    for made in (
        EventFrameSettings(),
        SMALL,
        EventFrameSettings(size=8, n_bits=16, slow_motion=None),
        EventFrameSettings(model="recorded", sensor=(640, 480)),
        EventFrameSettings(model="codes", size=8),
    ):
        assert event_frame_settings(json.loads(json.dumps(made.to_dict()))) == made
    told = SMALL.to_dict()
    for broken in (
        [],
        {},
        {"model": []},
        told | {"more": 1},
        told | {"pixel": 3},
        told | {"slow_motion": {"method": 1}},
    ):
        with pytest.raises(InputError, match="E867"):
            event_frame_settings(broken)
    with pytest.raises(InputError, match="E763"):
        event_frame_settings(told | {"slow_motion": told["slow_motion"] | {"method": "x"}})
