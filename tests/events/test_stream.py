"""Streaming decode: the frames of read_gray, in any pieces, with the file's own times, in constant memory."""

import os
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.events import stream as stream_module
from neuroemo.events.stream import check_times, stream_frames
from neuroemo.events.video import read_gray, write_h264


def textured(count=23, height=48, width=64, seed=0):
    wide = np.random.default_rng(seed).integers(0, 256, (height // 8, (width + 8 * count) // 8)).astype(np.uint8)
    wide = wide.repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([wide[:, 2 * n : 2 * n + width] for n in range(count)])


def write_at(path, stamps, rate=1000, frames=None, codec="ffv1", pix_fmt="gray", **options):
    """Write frames with time stamps in units of 1 / rate seconds."""
    pictures = textured(len(stamps)) if frames is None else frames
    with av.open(str(path), "w", **options) as container:
        track = container.add_stream(codec, rate=25)
        track.height, track.width = pictures[0].shape
        track.pix_fmt = pix_fmt
        track.time_base = track.codec_context.time_base = Fraction(1, rate)
        for image, stamp in zip(pictures, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="gray").reformat(format=pix_fmt)
            frame.pts, frame.time_base = stamp, Fraction(1, rate)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return pictures


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "a.mp4"
    write_h264(path, textured(), 15.0)
    return path


def whole(pieces):
    pieces = list(pieces)
    return np.concatenate([p.frames for p in pieces]), np.concatenate([p.times_us for p in pieces]), pieces


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunk=st.integers(1, 40),
    size=st.sampled_from([None, 32, (24, 40)]),
    most=st.one_of(st.none(), st.integers(2, 30)),
)
def test_any_pieces_are_the_whole(video, chunk, size, most):
    frames, times, pieces = whole(stream_frames(video, size=size, chunk=chunk, max_frames=most))
    count = min(23, most or 23)
    assert [len(p.frames) for p in pieces] == [chunk] * (count // chunk) + [count % chunk] * (count % chunk > 0)
    reference, reference_times, _ = whole(stream_frames(video, size=size))
    assert np.array_equal(frames, reference[:count])
    assert np.array_equal(times, reference_times[:count])
    assert {(p.fps, p.source_size) for p in pieces} == {(15.0, (64, 48))}
    assert all(p.frames.dtype == np.uint8 and p.times_us.dtype == np.int64 for p in pieces)


def test_frames_are_those_of_read_gray(video):
    frames, times, _ = whole(stream_frames(video, size=32))
    assert np.array_equal(frames, read_gray(video, size=32).frames)
    assert times.tolist() == [round(n * 1e6 / 15) for n in range(23)]
    assert np.array_equal(whole(stream_frames(video, size=(32, 32)))[0], frames)


def test_native_size_is_exact_for_a_lossless_video(tmp_path):
    pictures = write_at(tmp_path / "a.mkv", range(0, 400, 40))
    frames, times, _ = whole(stream_frames(tmp_path / "a.mkv", chunk=3))
    assert np.array_equal(frames, pictures)
    assert times.tolist() == list(range(0, 400_000, 40_000))


def test_variable_rate_and_late_start(tmp_path):
    stamps = [500, 533, 540, 541, 900, 1900, 1933]
    write_at(tmp_path / "a.mkv", stamps)
    times = whole(stream_frames(tmp_path / "a.mkv", chunk=2))[1]
    assert times.tolist() == [(stamp - 500) * 1000 for stamp in stamps]
    write_at(tmp_path / "b.mp4", [0, 1001, 3003, 7007], 30_000, codec="libx264", pix_fmt="yuv420p")
    times = whole(stream_frames(tmp_path / "b.mp4"))[1]
    assert times.tolist() == [0, 33_367, 100_100, 233_567]


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("a.avi", "mjpeg", "yuvj420p"), ("a.avi", "mpeg4", "yuv420p")])
def test_avi_has_the_times_of_its_rate(tmp_path, name, codec, pix_fmt):
    with av.open(str(tmp_path / name), "w") as container:
        track = container.add_stream(codec, rate=10)
        track.height, track.width, track.pix_fmt = 48, 64, pix_fmt
        for image in textured(6):
            container.mux(track.encode(av.VideoFrame.from_ndarray(image, format="gray").reformat(format=pix_fmt)))
        container.mux(track.encode())
    frames, times, _ = whole(stream_frames(tmp_path / name, size=24, chunk=4))
    assert times.tolist() == [n * 100_000 for n in range(6)]
    assert np.array_equal(frames, read_gray(tmp_path / name, size=24).frames)


def test_without_stamps_the_rate_counts(tmp_path, video):
    class Frame:
        pts, time_base = None, None

    clock = stream_module._Clock(video, 30000 / 1001)
    assert [clock.time_us(Frame(), n) for n in range(4)] == [0, 33_367, 66_733, 100_100]
    stamped = Frame()
    stamped.pts, stamped.time_base = 7, Fraction(1, 10)
    clock = stream_module._Clock(video, 10.0)
    assert clock.time_us(stamped, 0) == 0
    with pytest.raises(InputError, match=r"E716 .*frame 1 has no time stamp, frame 0 has one; limit ascending times"):
        clock.time_us(Frame(), 1)


def test_rotation_is_applied(tmp_path, video):
    with av.open(str(video)) as old, av.open(str(tmp_path / "r.mp4"), "w") as new:
        track = new.add_stream_from_template(old.streams.video[0])
        track.set_display_rotation(90)
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                new.mux(packet)
    frames, _, pieces = whole(stream_frames(tmp_path / "r.mp4"))
    assert pieces[0].source_size == (48, 64)
    assert np.array_equal(frames, np.rot90(whole(stream_frames(video))[0], axes=(1, 2)))
    assert np.array_equal(
        whole(stream_frames(tmp_path / "r.mp4", size=20))[0], read_gray(tmp_path / "r.mp4", size=20).frames
    )


def refusal(path, **options):
    with pytest.raises(InputError) as error:
        list(stream_frames(path, **options))
    assert len(error.value.findings) == 1
    return error.value.findings[0]


def test_times_that_go_back_or_far(tmp_path):
    write_at(tmp_path / "pause.mkv", [0, 40, 10_040])
    assert whole(stream_frames(tmp_path / "pause.mkv"))[1].tolist() == [0, 40_000, 10_040_000]
    write_at(tmp_path / "far.mkv", [0, 40, 10_041])
    finding = refusal(tmp_path / "far.mkv")
    assert (finding.code, finding.limit) == ("E716", "ascending times, at most 10000000 us apart")
    assert finding.found == "frame 2 is shown at 10041000 us, the frame before at 40000 us"
    assert "constant rate" in finding.fix
    clock = stream_module._Clock(tmp_path, 10.0)

    class Frame:
        time_base = Fraction(1, 1000)

        def __init__(self, pts):
            self.pts = pts

    assert [clock.time_us(Frame(pts), n) for n, pts in enumerate([5, 6])] == [0, 1000]
    for pts in (6, 5, 1 << 62):
        with pytest.raises(InputError, match="E716"):
            clock.time_us(Frame(pts), 2)


def test_picture_that_changes_its_size(tmp_path):
    for name, side in (("a", 48), ("b", 64)):
        write_h264(tmp_path / f"{name}.mp4", textured(4, side, side), 10)
    with av.open(str(tmp_path / "c.mkv"), "w") as new:
        clock = 0
        for name in ("a", "b"):
            with av.open(str(tmp_path / f"{name}.mp4")) as old:
                if name == "a":
                    track = new.add_stream("mjpeg", rate=10)
                for frame in old.decode(video=0):
                    coder = av.CodecContext.create("mjpeg", "w")
                    coder.width, coder.height, coder.pix_fmt = frame.width, frame.height, "yuvj420p"
                    coder.time_base = Fraction(1, 10)
                    if clock == 0:
                        track.width, track.height, track.pix_fmt = frame.width, frame.height, "yuvj420p"
                    clean = frame.reformat(format="yuvj420p")
                    clean.pts, clean.time_base, clean.pict_type = clock, Fraction(1, 10), 0
                    for packet in coder.encode(clean):
                        packet.stream, packet.pts, packet.dts = track, clock, clock
                        packet.time_base = Fraction(1, 10)
                        new.mux(packet)
                    clock += 1
    finding = refusal(tmp_path / "c.mkv")
    assert (finding.code, finding.found) == ("E717", "frame 4 has 64x64 pixels")
    assert finding.limit == "48x48 pixels, as frame 0"
    assert len(whole(stream_frames(tmp_path / "c.mkv", size=32))[0]) == 8


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, "E700 size: 0; limit 1..16384"),
        ({"size": (32, 0)}, "E700 size: (32, 0)"),
        ({"size": (32,)}, "E700 size: (32,)"),
        ({"size": 32.0}, "E700 size: 32.0"),
        ({"chunk": 0}, "E700 chunk: 0; limit 1.."),
        ({"chunk": True}, "E700 chunk: True"),
        ({"max_frames": 1}, "E700 max_frames: 1; limit at least 2, or None"),
    ],
)
def test_wrong_arguments_are_refused_at_once(video, options, text):
    with pytest.raises(InputError) as error:
        stream_frames(video, **options)
    assert text in str(error.value)


def test_everything_wrong_at_once(video):
    with pytest.raises(InputError) as error:
        stream_frames(video, size=-1, chunk=-1, max_frames=-1)
    assert [f.node for f in error.value.findings] == ["size", "chunk", "max_frames"]


def test_broken_files(tmp_path, video):
    with pytest.raises(InputError, match="E701"):
        stream_frames(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="E702"):
        stream_frames(tmp_path / "empty.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="not a regular file"):
        stream_frames(tmp_path / "pipe.mp4")
    (tmp_path / "text.mp4").write_text("not a video " * 50)
    assert refusal(tmp_path / "text.mp4").code == "E703"
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{video}'\n")
    assert refusal(tmp_path / "list.mp4").code == "E703"
    write_h264(tmp_path / "one.mp4", textured(1), 15.0)
    assert refusal(tmp_path / "one.mp4").code == "E706"
    write_at(tmp_path / "small.mkv", range(0, 160, 40), frames=textured(4)[:, :14, :14])
    assert refusal(tmp_path / "small.mkv").code == "E707"


def test_truncated_is_told_at_the_end(tmp_path):
    write_h264(tmp_path / "full.mp4", textured(40), 15.0)
    with av.open(str(tmp_path / "full.mp4")) as old:
        options = {"movflags": "faststart"}
        with av.open(str(tmp_path / "front.mp4"), "w", options=options) as new:
            track = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.dts is not None:
                    packet.stream = track
                    new.mux(packet)
    with av.open(str(tmp_path / "front.mp4")) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "front.mp4").read_bytes()[: places[30]])
    finding = refusal(tmp_path / "cut.mp4", size=16)
    assert (finding.code, finding.limit) == ("E704", "40 frames declared by the container")
    assert len(whole(stream_frames(tmp_path / "cut.mp4", size=16, max_frames=20))[0]) == 20


def test_errors_of_the_consumer_are_its_own(video):
    for _ in stream_frames(video, chunk=5):
        with pytest.raises(ValueError, match="mine"):
            raise ValueError("mine")
    pieces = stream_frames(video, chunk=5)
    next(pieces)
    pieces.close()
    assert len(whole(stream_frames(video, size=16))[0]) == 23


def test_two_videos_side_by_side(video):
    pairs = zip(stream_frames(video, chunk=4), stream_frames(video, chunk=4, size=16), strict=True)
    assert sum(len(a.frames) for a, _ in pairs) == 23


def test_large_pictures_come_in_smaller_pieces(video, monkeypatch):
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 5 * 64 * 48 + 100)
    frames, times, pieces = whole(stream_frames(video))
    assert [len(p.frames) for p in pieces] == [5, 5, 5, 5, 3]
    monkeypatch.setattr(stream_module, "CHUNK_BYTES", 1)
    single = whole(stream_frames(video))
    assert [len(p.frames) for p in single[2]] == [1] * 23
    assert np.array_equal(single[0], frames)
    assert np.array_equal(single[1], times)


def test_check_times():
    assert check_times([3, 4], 2, 2).tolist() == [3, 4]
    assert check_times([], 0).size == 0
    assert check_times(np.array([0], np.uint32), 1).dtype == np.int64
    for wrong, count, last in (([0, 0], 2, None), ([5], 1, 5), ([-1], 1, None), ([1.0], 1, None), ([1], 2, None)):
        with pytest.raises(InputError, match="E716 frame times"):
            check_times(wrong, count, last)


PEAK = """
import sys
from neuroemo.events.stream import stream_frames
print(sum(len(piece.frames) for piece in stream_frames(sys.argv[1], chunk=8)))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = []
    for count in (40, 800):
        write_h264(tmp_path / "a.mp4", np.tile(textured(40, 480, 640), (count // 40, 1, 1)), 30.0)
        command = [sys.executable, "-c", PEAK, str(tmp_path / "a.mp4")]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
        assert int(told[0]) == count
        peaks.append(int(told[1]))
    assert peaks[1] < peaks[0] + 20_000  # 760 more frames are 233 MB
