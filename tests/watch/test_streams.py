"""Event frames and estimates from a stream are those of the whole recording, however it is cut."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.affect.chunks import chunks_of
from neuroemo.datasets.clip_source import ClipSource
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.readers import EventFile
from neuroemo.events.representations import TbrSettings, tbr
from neuroemo.watch.binary_stream import BinaryStream
from neuroemo.watch.estimates import estimated
from neuroemo.watch.source import RecordingSource, Span, VideoSource
from tests.phone_videos import Camera, frame_times, record, scene
from tests.watch.material import SETTINGS, disc, make_video, random_events, regular

SMALL = EventFrameSettings(size=8, n_bits=4, slice_us=10, model="recorded")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 330), max_size=8),
    closed=st.sampled_from(["left", "right"]),
    msb=st.sampled_from(["newest", "oldest"]),
)
def test_pieces_give_the_codes_of_the_whole(seed, cuts, closed, msb):
    events = random_events(np.random.default_rng(seed), 90, 330, 8, 8)
    events["t"] = np.maximum(events["t"], int(closed == "right"))  # the camera has sent nothing at time 0
    own = replace(SMALL, msb=msb)
    stream = BinaryStream(own, (8, 8), 0, closed)
    made, begin = [], 0
    for time in sorted(cuts):
        end = int(np.searchsorted(events["t"], time))
        made += stream.feed(events[begin:end], time)
        begin = end
    made += stream.feed(events[begin:], 331)
    made += stream.finish(331)
    whole = tbr(events, (8, 8, 2), TbrSettings(n_bits=4, dt_us=10, start_us=0, count=8, closed=closed, msb=msb))
    assert [frame.codes.tolist() for frame in made] == whole.codes[:, 0].tolist()
    assert [(frame.number, frame.start_us, frame.end_us) for frame in made] == [
        (number, 40 * number, 40 * number + 40) for number in range(8)
    ]
    for frame in made:
        low, high = frame.start_us, frame.end_us
        times = events["t"]
        inside = (low <= times) & (times < high) if closed == "left" else (low < times) & (times <= high)
        assert frame.events.tolist() == events[inside].tolist()


@given(frames=st.integers(1, 20), length=st.integers(1, 7))
def test_chunks_are_those_of_an_evaluation(frames, length):
    """The network is asked for exactly the chunks that ``chunks_of`` names, and each answer goes to its frame."""
    asked = []

    def predict(codes):
        asked.append(codes[:, 0, 0].tolist())
        return np.stack([codes[:, 0, 0], np.full(len(codes), len(asked))], axis=1).astype(np.float32)

    items = [np.full((2, 2), number, np.uint8) for number in range(frames)]
    made = list(estimated(iter(items), lambda item: item, predict, length))
    expected = chunks_of(np.zeros(frames, int), np.arange(frames), length)
    # A chunk that repeats its last frame is made by whoever is asked for fewer frames than it sees.
    assert asked == [sorted(set(row)) for row in expected.index.tolist()]
    assert [item[0, 0] for item, _, _ in made] == list(range(frames))
    assert [valence for _, valence, _ in made] == list(range(frames))
    assert [int(call) for _, _, call in made] == [number // length + 1 for number in range(frames)]


def test_an_estimate_waits_for_its_chunk_and_no_longer():
    taken = []

    def items():
        for number in range(8):
            taken.append(number)
            yield np.full((1, 1), number, np.uint8)

    answers = estimated(items(), lambda item: item, lambda codes: np.zeros((len(codes), 2), np.float32), 3)
    next(answers)
    assert taken == [0, 1, 2]
    next(answers), next(answers), next(answers)
    assert taken == [0, 1, 2, 3, 4, 5]


def test_an_answer_that_is_not_finite_is_refused():
    broken = lambda codes: np.full((len(codes), 2), np.nan, np.float32)  # noqa: E731
    with pytest.raises(InputError, match="E983 model: the network answered with a number that is not finite"):
        list(estimated([np.zeros((2, 2), np.uint8)], lambda item: item, broken, 1))


@pytest.mark.parametrize("slow_motion", [None, "dis"])
def test_a_video_gives_the_frames_of_a_prepared_store(tmp_path, slow_motion):
    """The same numbers as ``neuroemo data frames`` stores for the clip of this name, noise of the camera included."""
    from neuroemo.datasets.event_frame_source import make_frames
    from neuroemo.events.pixel.settings import preset
    from neuroemo.events.upsample import UpsampleSettings

    between = None if slow_motion is None else UpsampleSettings(method=slow_motion)
    own = replace(SETTINGS, pixel=preset("noisy"), slow_motion=between)
    video = make_video(tmp_path / "a.mp4", regular(2))
    stored = make_frames(ClipSource("folder/a.mp4", str(video)), own)
    watched = list(VideoSource(video, own, Span(), clip="folder/a.mp4").moments())
    assert len(watched) == 50
    codes = [np.frombuffer(zlib.decompress(chunk), np.uint8).reshape(16, 16) for chunk in stored.chunks]
    assert np.array_equal(np.stack([moment.frame.codes for moment in watched]), np.stack(codes))
    assert [len(moment.frame.events) for moment in watched] == stored.events


def test_the_picture_is_the_last_one_before_the_end_of_the_event_frame(tmp_path):
    times = [Fraction(number, 1000) for number in (0, 30, 45, 79, 81, 200, 240)]
    video = make_video(tmp_path / "variable.mp4", times)
    moments = list(VideoSource(video, SETTINGS, Span(), side=64).moments())
    assert [moment.frame.end_us for moment in moments] == [40_000, 80_000, 120_000, 160_000, 200_000, 240_000]
    for moment, shown in zip(moments, (30, 79, 81, 81, 200, 240), strict=True):
        others = {time: np.abs(moment.picture.mean(axis=2) - disc(float(time), 64, 48)).mean() for time in times}
        assert min(others, key=others.__getitem__) == Fraction(shown, 1000)


@pytest.mark.parametrize(
    "camera",
    [
        Camera(".mp4", "libx264", (54, 96), "30", turn=90),
        Camera(".mp4", "libx264", (96, 54), "30", turn=180),
        Camera(".mp4", "libx264", (54, 96), "30", turn=270),
        Camera(".mp4", "libx264", (102, 60), "30", flip=True),
        Camera(".avi", "mpeg4", (66, 50), "25"),
    ],
)
def test_pictures_are_upright_and_keep_their_proportions(tmp_path, camera):
    video = tmp_path / f"a{camera.suffix}"
    record(video, camera, "nod", 3, seconds=0.3)
    moment = next(VideoSource(video, SETTINGS, Span(), side=max(camera.size)).moments())
    assert moment.picture.shape == (camera.size[1], camera.size[0], 3)
    times = [time for time in frame_times(camera, 0.3) if time * 1_000_000 <= moment.frame.end_us]
    expected = scene("nod", 3, float(times[-1]), *camera.size).astype(float)
    assert np.abs(moment.picture.mean(axis=2) - expected).mean() < 8
    # Upside down or mirrored, the face is elsewhere.
    assert np.abs(moment.picture.mean(axis=2)[::-1, ::-1] - expected).mean() > 8


def test_a_span_begins_with_its_first_picture_and_ends_within(tmp_path):
    video = make_video(tmp_path / "a.mp4", regular(2))
    own = replace(SETTINGS, pixel=replace(SETTINGS.pixel, threshold_sigma=0.0))
    part = list(VideoSource(video, own, Span(0.99, 0.5)).moments())
    assert [moment.frame.start_us for moment in part] == [1_000_000 + 40_000 * number for number in range(12)]
    whole = list(VideoSource(video, own, Span()).moments())
    # The camera begins with the first picture: its memory is that picture, as after an event everywhere.
    assert part[0].frame.number == 0
    assert len(whole) == 50
    with pytest.raises(InputError, match="E980 start: begins at 5 s, after the last picture"):
        list(VideoSource(video, own, Span(5.0)).moments())


@pytest.mark.parametrize(("span", "text"), [((-1.0, None), "E980 start: -1.0 s"), ((0.0, 0.0), "E980 seconds: 0.0 s")])
def test_a_span_out_of_range_is_refused(span, text):
    with pytest.raises(InputError) as caught:
        Span(*span)
    assert text in str(caught.value)
    with pytest.raises(InputError):
        Span(math.nan)


def brute(events, size, width, height, first, own):
    """Event frames by loops over single events, from the first event on, only those that are full."""
    length = own.n_bits * own.slice_us
    count = (int(events["t"][-1]) + 1 - first) // length
    frames = np.zeros((count, size, size), np.uint8)
    for t, x, y, _ in events.tolist():
        number, rest = divmod(t - first, length)
        if 0 <= number < count:
            frames[number, y * size // height, x * size // width] |= 1 << rest // own.slice_us
    return frames


def test_a_recording_gives_event_frames_from_its_first_event_on():
    events = random_events(np.random.default_rng(1), 4000, 1000, 20, 12)
    events["t"] += 123_456_789_000
    recording = EventFile(events, (20, 12, 2), {"path": "dir/a.raw"})
    source = RecordingSource(recording, SMALL, Span())
    moments = list(source.moments())
    expected = brute(events, 8, 20, 12, int(events["t"][0]), SMALL)
    assert np.array_equal(np.stack([moment.frame.codes for moment in moments]), expected)
    assert source.expected == len(moments) == len(expected)
    assert moments[0].frame.start_us == source.origin_us == events["t"][0]
    assert (source.name, source.sensor, moments[0].picture) == ("a.raw", (20, 12), None)


def test_a_part_of_a_recording():
    events = random_events(np.random.default_rng(2), 4000, 1000, 8, 8)
    recording = EventFile(events, (8, 8, 2), {})
    part = list(RecordingSource(recording, SMALL, Span(400e-6, 210e-6)).moments())
    first = int(events["t"][events["t"] >= events["t"][0] + 400][0])
    # 210 us hold five whole frames of 40 us.
    assert np.array_equal(np.stack([moment.frame.codes for moment in part]), brute(events, 8, 8, 8, first, SMALL)[:5])
    assert part[0].frame.start_us == first


def test_recordings_without_anything_to_watch_are_refused():
    nothing = EventFile(np.empty(0, EVENT_DTYPE), (8, 8, 2), {"path": "a.raw"})
    with pytest.raises(InputError, match=r"E980 a.raw: no events in the recording"):
        RecordingSource(nothing, SMALL, Span())
    ends = np.zeros(2, EVENT_DTYPE)
    ends["t"] = 0, 40 * 10_000_001
    with pytest.raises(InputError, match="10000001 event frames in 400 s; limit 10000000"):
        RecordingSource(EventFile(ends, (8, 8, 2), {}), SMALL, Span())
    assert RecordingSource(EventFile(ends, (8, 8, 2), {}), SMALL, Span(0, 100)).expected == 2_500_000
    with pytest.raises(InputError, match=r"E980 start: begins at 500 s; limit the recording lasts 400.000040 s"):
        RecordingSource(EventFile(ends, (8, 8, 2), {}), SMALL, Span(500))
