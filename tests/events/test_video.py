"""Reading and writing videos: exact ranges, and every broken kind of file."""

import os

import av
import cv2
import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.events.framediff import FrameDiffSettings, video_to_clip
from neuroemo.events.video import read_gray, write_h264


def moving_frames(count=8, height=48, width=64, seed=0):
    rng = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (height, width + count)).astype(np.uint8), (9, 9), 0)
    return np.stack([wide[:, n : n + width] for n in range(count)])


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_h264(path, moving_frames(), 15.0)
    return path


def remux(source, target, **options):
    with av.open(str(source)) as old, av.open(str(target), "w", **options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


def write_with(path, codec, pix_fmt, frames, source="gray", **options):
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format=source)
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())


def test_read_back_what_was_written(video):
    frames = moving_frames()
    read = read_gray(video, size=48)
    assert read.frames.shape == (8, 48, 48)
    assert read.frames.dtype == np.uint8
    assert (read.fps, read.source_size) == (15.0, (64, 48))
    wanted = np.stack([cv2.resize(f, (48, 48), interpolation=cv2.INTER_AREA) for f in frames])
    assert np.abs(read.frames.astype(int) - wanted).mean() < 3


def test_full_range_survives(tmp_path):
    frames = np.zeros((4, 32, 32), np.uint8)
    frames[:, :, 16:] = 255
    write_h264(tmp_path / "a.mp4", frames, 10, crf=1)
    read = read_gray(tmp_path / "a.mp4", size=32).frames
    assert read[:, :, :12].max() <= 2
    assert read[:, :, 20:].min() >= 253


def test_every_gray_level_is_right_within_one(tmp_path):
    levels = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[:, None, None], 32, 1).repeat(32, 2)
    write_h264(tmp_path / "a.mp4", levels, 10, crf=0)
    read = read_gray(tmp_path / "a.mp4", size=16).frames[:, 8, 8]
    assert np.abs(read.astype(int) - levels[:, 0, 0]).max() <= 1


def test_rgb_agrees_with_gray(tmp_path):
    frames = moving_frames()
    write_h264(tmp_path / "rgb.mp4", np.repeat(frames[..., None], 3, axis=3), 10)
    read = read_gray(tmp_path / "rgb.mp4", size=48)
    wanted = np.stack([cv2.resize(f, (48, 48), interpolation=cv2.INTER_AREA) for f in frames])
    assert np.abs(read.frames.astype(int) - wanted).mean() < 3


def test_same_frames_same_bytes(tmp_path, video):
    write_h264(tmp_path / "b.mp4", moving_frames(), 15.0)
    assert (tmp_path / "b.mp4").read_bytes() == video.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["b.mp4"]


def test_encoding_is_repeatable_beyond_chance(tmp_path):
    """With x264's macroblock tree, 36 clips encoded three times over disagreed in one process out of three."""
    noisy = [np.clip(moving_frames(18, 96, 96, seed) + rng_noise(seed), 0, 255).astype(np.uint8) for seed in range(24)]
    for number, frames in enumerate(noisy):
        seen = set()
        for _ in range(3):
            write_h264(tmp_path / f"{number}.mp4", frames, 15.0)
            seen.add((tmp_path / f"{number}.mp4").read_bytes())
        assert len(seen) == 1


def rng_noise(seed):
    return np.random.default_rng(seed + 1000).normal(0, 2, (18, 96, 96))


def test_max_frames_gives_the_first(video):
    first = read_gray(video, size=24, max_frames=3).frames
    assert np.array_equal(first, read_gray(video, size=24).frames[:3])
    assert len(read_gray(video, size=24, max_frames=100).frames) == 8


@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.m4v"])
def test_other_containers(tmp_path, video, name):
    remux(video, tmp_path / name)
    assert np.array_equal(read_gray(tmp_path / name, size=24).frames, read_gray(video, size=24).frames)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "tolerance"),
    [
        ("a.avi", "mpeg4", "yuv420p", 6),
        ("a.mov", "mjpeg", "yuvj420p", 4),
        ("a.mkv", "ffv1", "gray", 0),
        ("a.mkv", "ffv1", "yuv420p10le", 1),
    ],
)
def test_other_codecs_have_the_same_gray(tmp_path, name, codec, pix_fmt, tolerance):
    frames = moving_frames(width=48)
    write_with(tmp_path / name, codec, pix_fmt, frames)
    read = read_gray(tmp_path / name, size=48).frames
    assert np.abs(read.astype(int) - frames).mean() <= tolerance


def test_rotation_of_a_phone_is_applied(tmp_path, video):
    upright = read_gray(video, size=32)
    with av.open(str(video)) as old, av.open(str(tmp_path / "r.mp4"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.set_display_rotation(90)
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    turned = read_gray(tmp_path / "r.mp4", size=32)
    assert turned.source_size == (48, 64)
    assert upright.source_size == (64, 48)
    with av.open(str(tmp_path / "r.mp4")) as container:
        assert next(container.decode(video=0)).rotation in (90, -270)
    # ffmpeg's rotation is counter-clockwise, as numpy's.
    assert np.abs(turned.frames[0].astype(int) - np.rot90(upright.frames[0])).mean() < 8


def refusal(path, **options):
    with pytest.raises(InputError) as error:
        read_gray(path, size=32, **options)
    finding = error.value.findings[0]
    assert finding.fix
    return finding


def test_missing_folder_empty_and_text(tmp_path):
    assert refusal(tmp_path / "none.mp4").found == "no such file"
    assert refusal(tmp_path).found == "not a regular file"
    (tmp_path / "empty.mp4").touch()
    assert refusal(tmp_path / "empty.mp4").code == "E702"
    (tmp_path / "text.mp4").write_text("not a video " * 50)
    finding = refusal(tmp_path / "text.mp4")
    assert finding.code == "E703"
    assert "not a readable video" in finding.found
    assert finding.node == str(tmp_path / "text.mp4")
    assert refusal("a\0b").code == "E701"


def test_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refusal(tmp_path / "pipe.mp4").found == "not a regular file"


def test_playlist_is_not_followed(tmp_path, video):
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n")
    assert refusal(tmp_path / "list.mp4").code == "E703"
    (tmp_path / "cat.mp4").write_text(f"ffconcat version 1.0\nfile '{video}'\n")
    assert refusal(tmp_path / "cat.mp4").code == "E703"


def test_sound_only(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert refusal(tmp_path / "a.mp4").found == "no video stream"


def test_truncated_without_index(tmp_path, video):
    data = video.read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    assert refusal(tmp_path / "a.mp4").code == "E703"


def test_truncated_with_index_in_front(tmp_path):
    write_h264(tmp_path / "full.mp4", moving_frames(40), 15.0)
    remux(tmp_path / "full.mp4", tmp_path / "front.mp4", options={"movflags": "faststart"})
    data = (tmp_path / "front.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * 0.95)])
    finding = refusal(tmp_path / "cut.mp4")
    assert finding.code in ("E703", "E704")
    assert len(read_gray(tmp_path / "front.mp4", size=32).frames) == 40
    # Enough frames are there: nothing is missing of what was asked for.
    assert len(read_gray(tmp_path / "cut.mp4", size=32, max_frames=4).frames) == 4


def test_truncated_between_two_frames(tmp_path):
    write_h264(tmp_path / "full.mp4", moving_frames(40), 15.0)
    remux(tmp_path / "full.mp4", tmp_path / "front.mp4", options={"movflags": "faststart"})
    with av.open(str(tmp_path / "front.mp4")) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = (tmp_path / "front.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: places[30][0]])
    finding = refusal(tmp_path / "cut.mp4")
    assert finding.code == "E704"
    assert finding.limit == "40 frames declared by the container"


def test_one_frame_small_and_odd_rate(tmp_path):
    write_h264(tmp_path / "one.mp4", moving_frames(1), 15.0)
    assert refusal(tmp_path / "one.mp4").limit == "at least 2 frames"
    write_with(tmp_path / "small.mkv", "ffv1", "gray", moving_frames(width=14)[:, :14])
    finding = refusal(tmp_path / "small.mkv")
    assert (finding.code, finding.found, finding.limit) == ("E707", "14x14 pixels", "at least 16x16")
    write_with(tmp_path / "least.mkv", "ffv1", "gray", moving_frames(width=16)[:, :16])
    assert len(read_gray(tmp_path / "least.mkv", size=16).frames) == 8


def test_frame_rate_out_of_range(tmp_path):
    with av.open(str(tmp_path / "slow.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for index, image in enumerate(moving_frames(4)):
            frame = av.VideoFrame.from_ndarray(image, format="gray").reformat(format="yuv420p")
            frame.pts = index * 3600
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    finding = refusal(tmp_path / "slow.mp4")
    assert finding.code == "E708"
    assert "0.1..1000 frames per second" in finding.limit


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 48, "max_frames": 1}])
def test_wrong_arguments(video, options):
    with pytest.raises(InputError, match="E700"):
        read_gray(video, **options)


@pytest.mark.parametrize(
    ("frames", "fps", "code"),
    [
        (np.zeros((2, 33, 32), np.uint8), 10, "E700"),
        (np.zeros((2, 32, 32), np.float32), 10, "E700"),
        (np.zeros((0, 32, 32), np.uint8), 10, "E700"),
        (np.zeros((2, 8, 32), np.uint8), 10, "E700"),
        (np.zeros((2, 32, 32), np.uint8), float("nan"), "E708"),
    ],
)
def test_writer_refuses(tmp_path, frames, fps, code):
    with pytest.raises(InputError, match=code):
        write_h264(tmp_path / "a.mp4", frames, fps)
    assert not list(tmp_path.iterdir())


def test_video_to_clip_takes_what_it_needs(video):
    clip = video_to_clip(video, FrameDiffSettings(size=32, steps=5))
    assert (clip.valid_steps, clip.fps) == (5, 15.0)
    assert video_to_clip(video, FrameDiffSettings(size=32, steps=20)).valid_steps == 8
    assert video_to_clip(video, FrameDiffSettings(size=32, steps=20, first_frame="spikes")).valid_steps == 7
