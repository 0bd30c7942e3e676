"""Bringing videos to one frame rate: against brute force over all frames, and against scenes drawn at those times."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.datasets.clip_settings import PixelClipSettings, RecordedClipSettings, settings_from_dict
from neuroemo.datasets.clip_source import ClipSource, make_clip
from neuroemo.events.framediff import FrameDiffSettings, video_to_clip
from neuroemo.events.rate import at_rate, read_at_rate
from neuroemo.events.video import read_gray
from tests.phone_videos import Camera, frame_times, record, scene


def numbers(times, fps):
    frames = [(np.full((1, 1), number, np.uint8), time) for number, time in enumerate(times)]
    return [(int(frame[0, 0]), time) for frame, time in at_rate(frames, fps)]


def nearest(times, fps):
    """Brute force: for every time of the grid, the frame nearest to it, the earlier one of two."""
    found, number = [], 0
    while (target := times[0] + Fraction(number * 1_000_000) / Fraction(fps).limit_denominator(1001)) <= times[-1] + 1:
        found.append((min(range(len(times)), key=lambda n: (abs(times[n] - target), n)), round(target)))
        number += 1
    return found


@pytest.mark.parametrize("fps", [7.5, 24, 25, 29.97, 30, 60, 100])
@pytest.mark.parametrize("rate", [24, 29.97, 30, 50, 60, 120])
def test_the_nearest_frame_of_a_constant_rate(rate, fps):
    times = [round(number * 1e6 / rate) for number in range(90)]
    assert numbers(times, fps) == nearest(times, fps)


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_frame_of_a_variable_rate(seed):
    random = np.random.default_rng(seed)
    times = (5_000 + np.cumsum(random.integers(1, 90_000, 60))).tolist()
    assert numbers(times, float(random.uniform(5, 70))) is not None
    assert numbers(times, 24) == nearest(times, 24)


def test_the_same_rate_changes_nothing():
    times = [round(number * 1001e6 / 30000) for number in range(250)]
    assert numbers(times, 30000 / 1001) == list(enumerate(times))


def test_by_hand():
    times = [0, 16667, 33333, 50000, 66667, 83333, 100000]  # 60 per second
    assert [number for number, _ in numbers(times, 30)] == [0, 2, 4, 6]
    assert [number for number, _ in numbers([0, 40000, 80000], 50)] == [0, 0, 1, 1, 2]  # a tie goes to the earlier
    assert numbers([], 30) == []


@pytest.mark.parametrize("camera", [
    Camera(".mp4", "libx264", (96, 96), "60"), Camera(".mp4", "libx264", (96, 96), "30", variable=True),
    Camera(".webm", "libvpx-vp9", (96, 96), "50"), Camera(".mov", "mjpeg", (96, 96), "24", 0, "yuvj420p", True),
])  # fmt: skip
def test_a_video_shows_the_scene_of_the_nearest_frame(tmp_path, camera):
    path = tmp_path / f"clip{camera.suffix}"
    record(path, camera, "nod", 4, 1.0)
    times = frame_times(camera, 1.0)
    video = read_at_rate(path, size=48, fps=20.0)
    assert video.fps == 20.0
    assert len(video.frames) in (19, 20)
    for number, frame in enumerate(video.frames):
        shown = min(times, key=lambda time: abs(time - Fraction(number, 20) - times[0]))
        drawn = cv2.resize(scene("nod", 4, float(shown), 96, 96), (48, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(frame.astype(int) - drawn).mean() < 2, number


def test_two_rates_of_one_scene_have_as_many_events(tmp_path):
    """As they are, the clip of 60 per second changes less per step; at one rate both change alike."""
    paths = [tmp_path / f"{rate}.mp4" for rate in ("30", "60")]
    for path in paths:
        record(path, Camera(".mp4", "libx264", (96, 96), path.stem), "shake", 6, 1.0)

    def events(path, fps):
        return int(video_to_clip(path, FrameDiffSettings(size=48, steps=15, sens=0.05, fps=fps)).spikes.sum())

    slow, fast = (events(path, None) for path in paths)
    assert fast < 0.9 * slow
    slow, fast = (events(path, 30.0) for path in paths)
    assert fast == pytest.approx(slow, rel=0.1)


def test_without_a_rate_nothing_changes(tmp_path):
    path = tmp_path / "clip.mp4"
    record(path, Camera(".mp4", "libx264", (96, 96), "30"), "nod", 1, 0.5)
    assert np.array_equal(read_at_rate(path, size=32).frames, read_gray(path, size=32).frames)
    assert FrameDiffSettings().to_dict() == {"size": 128, "steps": 68, "sens": 0.001, "first_frame": "float"}
    assert "fps" not in PixelClipSettings().to_dict()


def test_settings_keep_the_rate():
    for settings in (FrameDiffSettings(fps=24.0), PixelClipSettings(fps=29.97)):
        assert settings.to_dict()["fps"] == settings.fps
        assert settings_from_dict(settings.to_dict()) == settings
    assert not hasattr(RecordedClipSettings(step_us=1000), "fps")


def test_the_pixel_model_sees_the_frames_of_the_rate(tmp_path):
    path = tmp_path / "clip.mp4"
    record(path, Camera(".mp4", "libx264", (96, 96), "60"), "nod", 2, 0.6)
    source = ClipSource("clip.mp4", str(path))
    clip = make_clip(source, PixelClipSettings(size=16, steps=8, fps=20.0))
    assert (clip.fps, clip.valid_steps) == (20.0, 8)
    part = make_clip(
        ClipSource("clip.mp4", str(path), span_s=(0.1, 0.4)), FrameDiffSettings(size=16, steps=8, fps=20.0)
    )
    assert (part.fps, part.valid_steps) == (20.0, 6)  # 0.1, 0.15, .. 0.35 s


@pytest.mark.parametrize("fps", [0, -1.0, 0.05, 1000.5, float("nan"), float("inf"), "24", True])
def test_rates_that_are_none(fps):
    with pytest.raises(InputError, match=r"E895.*frames per second"):
        FrameDiffSettings(fps=fps)
    with pytest.raises(InputError, match="E895"):
        PixelClipSettings(fps=fps)
    assert FrameDiffSettings(fps=1000).fps == 1000


def test_a_video_too_short_for_the_rate(tmp_path):
    path = tmp_path / "clip.mp4"
    record(path, Camera(".mp4", "libx264", (96, 96), "60"), "nod", 1, 0.05)  # 3 frames in 0.033 s
    with pytest.raises(InputError, match=r"E896.*1 frame\(s\) at 24 per second"):
        read_at_rate(path, size=16, fps=24.0)
    assert len(read_at_rate(path, size=16, fps=30.0).frames) == 2
