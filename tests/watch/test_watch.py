"""Watching from end to end: every row and page is what the parts say, and every way to stop leaves whole files."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.events.readers import EventFile
from neuroemo.watch.outputs import Outputs
from neuroemo.watch.run import watch
from neuroemo.watch.source import RecordingSource, Span, VideoSource
from tests.watch.material import (
    SETTINGS,
    decoded,
    estimator,
    make_video,
    random_events,
    regular,
    rows_of,
    seen_share,
)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "disc.mp4", regular(2))


def outputs(folder):
    return Outputs(folder / "a.mp4", folder / "a.csv")


@pytest.mark.parametrize("length", [1, 6])
def test_the_rows_are_what_the_network_says_of_the_stored_frames(tmp_path, video, length):
    told = watch(VideoSource(video, SETTINGS, Span()), estimator(length), outputs(tmp_path))
    frames = [moment.frame for moment in VideoSource(video, SETTINGS, Span()).moments()]
    expected = seen_share(np.stack([frame.codes for frame in frames]))
    rows = rows_of(tmp_path / "a.csv")
    assert np.array_equal(np.array([row[1:3] for row in rows], np.float32), expected)
    assert [row[0] for row in rows] == [round(0.04 * (number + 1), 6) for number in range(50)]
    assert [row[3] for row in rows] == [len(frame.events) for frame in frames]
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.mp4"]
    assert (told["frames"], told["pages"], told["seconds"], told["fps"]) == (50, 50, 2.0, 25.0)
    assert (told["delay_frames"], told["delay_s"]) == (length - 1, (length - 1) * 0.04)
    assert told["valence"]["mean"] == pytest.approx(float(expected[:, 0].mean()), rel=1e-6)
    assert told["arousal"]["max"] == float(expected[:, 1].max())
    assert not told["interrupted"]
    distances = np.hypot(*(expected - expected.mean(axis=0)).T)
    assert told["farthest"]["frame"] == int(np.argmax(distances))


def test_the_rows_are_what_predict_says_with_a_real_network(tmp_path, video):
    """A video network, chunk by chunk as it comes, against ``predict`` on a store of the same frames."""
    import torch

    from neuroemo.affect.predict import predict
    from neuroemo.affect.run import AffectRun
    from neuroemo.models.affect.network import build_affect
    from neuroemo.models.affect.table import spec_by_name
    from neuroemo.watch.verb import estimator_of

    torch.manual_seed(0)
    spec, own = spec_by_name("resnet-fusion@32"), replace(SETTINGS, size=32)
    run = AffectRun(build_affect(spec, pretrained=False).eval(), spec, own, ("valence", "arousal"), {}, (0.0, 0.0), "")
    codes = np.stack([moment.frame.codes for moment in VideoSource(video, own, Span()).moments()])

    class Store:
        path, settings, clip = video, own, np.zeros(50, np.int64)

        def codes(self, indices):
            return codes[indices]

    expected = predict(run.network, spec, Store(), np.arange(len(codes)))
    told = watch(VideoSource(video, own, Span()), estimator_of(run), outputs(tmp_path))
    made = np.array([row[1:3] for row in rows_of(tmp_path / "a.csv")])
    assert made.shape == expected.shape == (50, 2)
    assert np.ptp(expected[:, 0]) > 1e-4
    np.testing.assert_allclose(made, expected, atol=2e-6)
    assert told["delay_frames"] == 5


def test_pages_show_their_time(tmp_path, video):
    watch(VideoSource(video, SETTINGS, Span()), estimator(), outputs(tmp_path))
    shown = decoded(tmp_path / "a.mp4")
    assert [float(time) for time, _ in shown] == pytest.approx([0.04 * number for number in range(50)], abs=1e-4)
    assert shown[0][1].shape == (720, 1280, 3)
    # The left panel shows the video: gray, not the paper's white.
    assert shown[10][1][300, 100:140].mean() < 200


def test_a_slower_film_keeps_every_row_and_every_event(tmp_path, video, monkeypatch):
    from neuroemo.watch.page import Pages

    counts, page = [], Pages.page
    monkeypatch.setattr(Pages, "page", lambda self, s, p, e: counts.append(len(e)) or page(self, s, p, e))
    told = watch(VideoSource(video, SETTINGS, Span()), estimator(), outputs(tmp_path), fps=10)
    rows = rows_of(tmp_path / "a.csv")
    assert (told["pages"], len(rows)) == (20, 50)
    # Pages end with the event frames at 0.12, 0.20, 0.32, 0.40 s: the first at or after 0.1, 0.2, 0.3, 0.4 s.
    assert counts[:4] == [sum(row[3] for row in rows[a:b]) for a, b in ((0, 3), (3, 5), (5, 8), (8, 10))]
    assert sum(counts) == sum(row[3] for row in rows)


@pytest.mark.parametrize("fps", [0.0, 25.5, float("nan")])
def test_a_rate_out_of_range_is_refused(tmp_path, video, fps):
    with pytest.raises(InputError, match=r"E980 fps: .*; limit 0.1..25, the event frames per second"):
        watch(VideoSource(video, SETTINGS, Span()), estimator(), outputs(tmp_path), fps=fps)
    assert os.listdir(tmp_path) == []
    watch(VideoSource(video, SETTINGS, Span(0, 0.2)), estimator(), outputs(tmp_path), fps=25.0)


def test_a_recording_is_watched_on_its_own_clock(tmp_path):
    events = random_events(np.random.default_rng(0), 5000, 1_000_000, 32, 20)
    events["t"] += 5_000_000
    own = EventFrameSettings(size=16, model="recorded")
    source = RecordingSource(EventFile(events, (32, 20, 2), {"path": "b.raw"}), own, Span())
    told = watch(source, estimator(), outputs(tmp_path))
    first = int(events["t"][0])
    rows = rows_of(tmp_path / "a.csv")
    assert [round(row[0] * 1e6) for row in rows] == [first + 40_000 * (number + 1) for number in range(len(rows))]
    assert told["source"] == {"name": "b.raw", "kind": "recording", "sensor": [32, 20]}
    assert float(decoded(tmp_path / "a.mp4")[0][0]) == 0.0


def test_progress_counts_event_frames(tmp_path, video):
    calls = []
    watch(
        VideoSource(video, SETTINGS, Span()),
        estimator(6),
        outputs(tmp_path),
        progress=lambda done, total, note: calls.append((done, total, note)),
    )
    assert [call[0] for call in calls] == list(range(1, 51))
    assert calls[0][1] in (50, 51)
    assert calls[-1][2] == "at 0:02.00"


def test_a_stop_ends_both_files_at_once(tmp_path, video):
    seen = []
    told = watch(
        VideoSource(video, SETTINGS, Span()),
        estimator(6),
        outputs(tmp_path),
        stop=lambda: len(seen.append(0) or seen) > 20,
    )
    assert told["interrupted"]
    assert told["frames"] == len(rows_of(tmp_path / "a.csv")) == len(decoded(tmp_path / "a.mp4")) == 21
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.mp4"]
    assert told["seconds"] == pytest.approx(0.84)


def test_an_error_on_the_way_leaves_what_was_watched_and_says_where(tmp_path, video):
    def fails_late(codes):
        fails_late.calls += 1
        if fails_late.calls > 30:
            return np.full((len(codes), 2), np.nan, np.float32)
        return seen_share(codes)

    fails_late.calls = 0
    with pytest.raises(InputError) as caught:
        watch(VideoSource(video, SETTINGS, Span()), estimator(predict=fails_late), outputs(tmp_path))
    assert [finding.code for finding in caught.value.findings] == ["E983", "W986", "W986"]
    assert "a.partial.mp4: holds 30 event frames, to 0:01.20" in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["a.partial.csv", "a.partial.mp4"]
    assert len(rows_of(tmp_path / "a.partial.csv")) == len(decoded(tmp_path / "a.partial.mp4")) == 30


def test_a_truncated_video_is_named_after_what_could_be_read(tmp_path, video):
    short = tmp_path / "short.mkv"
    from tests.phone_videos import Camera, record

    record(short, Camera(".mkv", "libx264", (64, 48), "25"), "nod", 1, seconds=2)
    data = short.read_bytes()
    short.write_bytes(data[: len(data) * 2 // 3])
    folder = tmp_path / "out"
    folder.mkdir()
    # Matroska states no number of frames: what there is is watched.
    told = watch(VideoSource(short, SETTINGS, Span()), estimator(), outputs(folder))
    assert 10 < told["frames"] < 48


def test_a_film_that_cannot_be_placed_is_not_lost(tmp_path, video, monkeypatch):
    from neuroemo.watch import film

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(film, "_copy", full)
    with pytest.raises(InputError, match=r"E982 .*a.mp4: cannot be written: No space left on device") as caught:
        watch(VideoSource(video, SETTINGS, Span()), estimator(), outputs(tmp_path))
    assert [finding.code for finding in caught.value.findings] == ["E982", "W986", "W986"]
    assert len(decoded(tmp_path / "a.partial.mp4")) == 50


def test_an_error_before_the_first_frame_leaves_nothing(tmp_path, video):
    broken = estimator(predict=lambda codes: np.full((len(codes), 2), np.inf, np.float32))
    with pytest.raises(InputError, match="E983"):
        watch(VideoSource(video, SETTINGS, Span()), broken, outputs(tmp_path))
    assert os.listdir(tmp_path) == []


def test_too_short_for_an_event_frame(tmp_path):
    video = make_video(tmp_path / "v.mp4", regular(0.04))
    folder = tmp_path / "out"
    folder.mkdir()
    long = replace(SETTINGS, slice_us=5001)
    with pytest.raises(InputError, match=r"E980 v.mp4: too short for an event frame; limit 40008 us, one event frame"):
        watch(VideoSource(video, long, Span()), estimator(), outputs(folder))
    assert os.listdir(folder) == []
    assert watch(VideoSource(video, SETTINGS, Span()), estimator(6), outputs(folder))["frames"] == 1


def test_an_interrupt_at_once_closes_the_files(tmp_path, video):
    def interrupted(codes):
        interrupted.calls += 1
        if interrupted.calls > 20:
            raise KeyboardInterrupt
        return seen_share(codes)

    interrupted.calls = 0
    with pytest.raises(KeyboardInterrupt):
        watch(VideoSource(video, SETTINGS, Span()), estimator(predict=interrupted), outputs(tmp_path))
    assert len(rows_of(tmp_path / "a.partial.csv")) == len(decoded(tmp_path / "a.partial.mp4")) == 20
