"""The preview: what is drawn is what was given, it plays in a browser, and nothing half-written stays."""

import html
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap

import av
import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.events.clip import EVENT_DTYPE, to_event_array
from neuroemo.events.framediff import FrameDiffSettings, frame_difference
from neuroemo.events.preview import (
    BACKGROUND,
    BOTH_COLOUR,
    OFF_COLOUR,
    ON_COLOUR,
    draw_events,
    frame_time_us,
    rate_curve,
    write_preview,
)


def array(*rows):
    return np.array(list(rows), dtype=EVENT_DTYPE)


def refusal(*arguments, **named):
    with pytest.raises(InputError) as caught:
        write_preview(*arguments, **named)
    return str(caught.value)


def moving_square(count=12, height=48, width=64):
    frames = np.full((count, height, width), 40, np.uint8)
    for n, frame in enumerate(frames):
        frame[16:32, 2 * n : 2 * n + 12] = 200
    return frames


@pytest.fixture(scope="module")
def recording():
    frames = moving_square(width=48)
    clip = frame_difference(frames, FrameDiffSettings(size=48, steps=12), fps=10.0)
    return frames, *to_event_array(clip)


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return stream, [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in frames]


def near(picture, colour):
    """Return where a picture has a colour, as far as a codec leaves it."""
    return np.abs(picture.astype(int) - np.array(colour)).max(-1) < 60


def test_picture_of_events_by_hand():
    events = array((0, 0, 0, 1), (0, 1, 0, 0), (0, 2, 0, 1), (1, 2, 0, 0), (1, 2, 0, 0), (2, 0, 1, 1), (3, 0, 1, 0))
    picture = draw_events(events, (3, 2, 2), 3, 2)
    assert picture.dtype == np.uint8
    rows = [[ON_COLOUR, OFF_COLOUR, OFF_COLOUR], [BOTH_COLOUR, BACKGROUND, BACKGROUND]]
    assert picture.tolist() == [[list(colour) for colour in row] for row in rows]


def test_picture_is_enlarged_without_smoothing_and_binned():
    one = array((0, 1, 1, 1))
    large = draw_events(one, (2, 2, 2), 6, 4)
    assert (large[2:, 3:] == ON_COLOUR).all()
    assert (large == ON_COLOUR).all(-1).sum() == 6
    far = array((0, 1279, 719, 0))
    small = draw_events(far, (1280, 720, 2), 640, 360)
    assert np.argwhere((small == OFF_COLOUR).all(-1)).tolist() == [[359, 639]]


def test_rate_curve_counts_every_event_once():
    rng = np.random.default_rng(0)
    events = np.zeros(5000, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, 7_000_000, 5000))
    events["p"] = rng.integers(0, 2, 5000)
    for fps, most in ((30.0, 400), (29.97, 50), (7.0, 1)):
        curve = rate_curve(events, fps, most)
        assert len(curve.on) <= most
        seconds = np.diff(curve.edges_us) / 1e6
        assert (curve.on * seconds).sum() == pytest.approx(np.count_nonzero(events["p"]))
        assert (curve.off * seconds).sum() == pytest.approx(np.count_nonzero(~events["p"]))


def test_rate_of_frame_differences_has_no_comb(recording):
    frames, events, _ = recording
    curve = rate_curve(events, 10.0)
    # By brute force: pixels that differ between adjoining frames, ten times a second.
    steps = np.diff(frames.astype(int), axis=0)
    assert np.allclose(curve.on, 10 * (steps > 0).sum((1, 2)))
    assert np.allclose(curve.off, 10 * (steps < 0).sum((1, 2)))


def test_no_events_is_a_flat_curve(tmp_path):
    curve = rate_curve(array(), 10.0)
    assert (curve.on.tolist(), curve.off.tolist()) == ([0.0], [0.0])
    assert write_preview(moving_square(), array(), (64, 48, 2), tmp_path / "a.mp4", 10.0) == 12


def test_decoded_preview_shows_frame_and_events(recording, tmp_path):
    frames, events, size = recording
    path = tmp_path / "a.mp4"
    assert write_preview(iter(frames), events, size, path, 10.0) == 12
    stream, shown = decoded(path)
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert [time for time, _ in shown] == pytest.approx([n / 10 for n in range(12)])
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat"), "the index comes first"
    # 48 x 48 events are shown six times as large, after the margin, the video of the same height and a margin.
    side, top, left = 288, 20, 8 + 288 + 8
    for n in (0, 3, 11):
        page = shown[n][1]
        video = page[top : top + side, 8 : 8 + side].reshape(48, 6, 48, 6, 3).mean((1, 3, 4))
        assert np.abs(video - frames[n]).mean() < 4
        panel = page[top : top + side, left : left + side].reshape(48, 6, 48, 6, 3)[:, 2:4, :, 2:4].mean((1, 3))
        step = frames[n].astype(int) - frames[max(n - 1, 0)]
        # Two columns of square pixels each: the codec's coarser colour does not hide them.
        assert (near(panel, ON_COLOUR) == (step > 0)).mean() > 0.99
        assert (near(panel, OFF_COLOUR) == (step < 0)).mean() > 0.99


def test_cursor_moves_and_curve_grows(recording, tmp_path):
    frames, events, size = recording
    write_preview(frames, events, size, tmp_path / "a.mp4", 10.0)
    _, shown = decoded(tmp_path / "a.mp4")
    strips = [page[-100:-12, 8:-8] for _, page in shown]
    cursors = [int((strip[40:80].max(-1) < 90).mean(0).argmax()) for strip in strips]
    wide = strips[0].shape[1] - 1
    assert cursors == pytest.approx([round(n / 11 * wide) for n in range(12)], abs=1)
    grown = [int((near(strip, ON_COLOUR) | near(strip, OFF_COLOUR))[12:].any(0).sum()) for strip in strips]
    assert grown[-1] > grown[5] > grown[1]


@pytest.mark.parametrize(
    ("video", "sensor"),
    [((17, 23), (23, 17)), ((48, 64, 3), (64, 48)), ((720, 1280), (346, 260)), ((33, 1001), (3, 901))],
)
def test_any_size_gives_even_sides(tmp_path, video, sensor):
    frames = np.zeros((3, *video), np.uint8)
    events = array((50_000, sensor[0] - 1, sensor[1] - 1, 1))
    assert write_preview(frames, events, (*sensor, 2), tmp_path / "a.mp4", 10.0) == 3
    stream, _ = decoded(tmp_path / "a.mp4")
    assert stream.codec_context.width % 2 == stream.codec_context.height % 2 == 0
    assert max(stream.codec_context.width, stream.codec_context.height) <= 1920


def test_uneven_times_are_kept(tmp_path):
    times = [0, 10_000, 300_000, 310_000]
    events = array((305_000, 3, 3, 1))
    write_preview(moving_square(4), events, (64, 48, 2), tmp_path / "a.mp4", 10.0, times_us=times)
    _, shown = decoded(tmp_path / "a.mp4")
    assert [time for time, _ in shown] == pytest.approx([t / 1e6 for t in times], abs=2e-5)
    blue = [near(page[20:212, 272:528], ON_COLOUR).sum() for _, page in shown]
    assert [count > 0 for count in blue] == [False, False, False, True]


def test_same_input_same_bytes(recording, tmp_path):
    frames, events, size = recording
    for name in ("a.mp4", "b.mp4"):
        write_preview(frames, events, size, tmp_path / name, 10.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_frame_times_are_those_of_the_simulator(recording):
    _, events, _ = recording
    assert set(events["t"].tolist()) == {frame_time_us(n, 10.0) for n in range(1, 12)}


def test_refusals_leave_nothing(recording, tmp_path):
    frames, events, size = recording
    path = tmp_path / "a.mp4"
    late = array((0, 1, 1, 1), (1_100_001, 1, 1, 0))
    assert "E787 events: 1 events up to 1100001 us; limit 1100000 us" in refusal(frames, late, size, path, 10.0)
    assert write_preview(frames, late[:1], size, path, 10.0) == 12
    path.unlink()
    cases = [
        ("E785 events: event 64 is earlier", (frames, events[::-1], size, path, 10.0)),
        ("E785 events: x in 0..48; limit 0..47", (frames, array((0, 0, 0, 1), (0, 48, 0, 1)), size, path, 10.0)),
        ("E785 events: y in -1..-1", (frames, array((0, 0, -1, 1)), size, path, 10.0)),
        ("E785 events: int64", (frames, np.zeros(3, np.int64), size, path, 10.0)),
        ("E785 sensor_size: (0, 48, 2)", (frames, events, (0, 48, 2), path, 10.0)),
        ("E786 video_frames: no frame", ([], events, size, path, 10.0)),
        ("E786 video_frames: frame 1: uint8 [32, 48]", ([frames[0], frames[1][:32]], array(), size, path, 10.0)),
        ("E786 video_frames: frame 0: float64 [48, 48]", (frames / 255, events, size, path, 10.0)),
        ("E786 video_frames: frame 0: uint8 [48, 48, 4]", (np.zeros((2, 48, 48, 4), np.uint8), events, size, path, 10)),
        ("E788 fps: nan", (frames, events, size, path, float("nan"))),
        ("E788 fps: 0", (frames, events, size, path, 0)),
        ("E789", (frames, events, size, tmp_path / "a.avi", 10.0)),
        ("cannot be written", (frames, events, size, tmp_path / "no" / "a.mp4", 10.0)),
    ]  # fmt: skip
    for text, arguments in cases:
        assert text in refusal(*arguments)
    for times, text in (([0, 5, 5], "frame 2 at 5 us after 5 us"), ([0], "1 times"), ([-1, 2], "frame 0 at -1 us")):
        assert f"E788 times_us: {text}" in refusal(frames, array(), size, path, 10.0, times_us=times)
    assert list(tmp_path.iterdir()) == []


def test_unsorted_events_are_found_across_blocks(recording, monkeypatch, tmp_path):
    frames, _, size = recording
    monkeypatch.setattr("neuroemo.events.preview._BLOCK", 2)
    times = array((0, 0, 0, 1), (5, 0, 0, 1), (4, 0, 0, 1), (6, 0, 0, 1))
    assert "event 2 is earlier" in refusal(frames, times, size, tmp_path / "a.mp4", 10.0)


def test_a_failing_source_keeps_the_older_preview(recording, tmp_path):
    frames, events, size = recording

    def interrupted():
        yield from frames[:6]
        raise KeyboardInterrupt

    path = tmp_path / "a.mp4"
    path.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt):
        write_preview(interrupted(), events, size, path, 10.0)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.mp4", b"older")]


def test_what_the_source_raises_is_not_blamed_on_the_file(recording, tmp_path):
    def broken():
        yield from recording[0][:3]
        raise OSError("the disk of the source")

    with pytest.raises(OSError, match="the disk of the source"):
        write_preview(broken(), *recording[1:], tmp_path / "a.mp4", 10.0)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_a_real_process_leaves_nothing(tmp_path):
    code = f"""
        import signal
        # Whoever started the tests may have had it ignored; a child inherits that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        import numpy as np
        from neuroemo.events.clip import EVENT_DTYPE
        from neuroemo.events.preview import write_preview
        def frames():
            for n in range(10**9):
                if n == 3: print("on my way", flush=True)
                yield np.full((64, 64), n % 256, np.uint8)
        write_preview(frames(), np.empty(0, EVENT_DTYPE), (64, 64, 2), {str(tmp_path / "a.mp4")!r}, 30.0)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"on my way\n"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path):
    def frames(count):
        for n in range(count):
            yield np.full((1080, 1920), n % 256, np.uint8)

    write_preview(frames(60), array(), (1920, 1080, 2), tmp_path / "a.mp4", 30.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_preview(frames(600), array(), (1920, 1080, 2), tmp_path / "a.mp4", 30.0)
    # 600 such frames are 1.2 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


def test_plays_in_a_browser(recording, tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium")
    frames, events, size = recording
    write_preview(frames, events, size, tmp_path / "a.mp4", 10.0)
    page = tmp_path / "page.html"
    page.write_text(
        # The page counts as loaded when the first picture is decoded, or failed to be.
        "<video id=v muted preload=auto src=a.mp4></video><p id=out>nothing</p><script>"
        "const v = document.getElementById('v'), out = document.getElementById('out'); let can = '';"
        "v.oncanplay = () => can = 'canplay';"
        "onload = () => out.textContent = v.error ? 'error ' + v.error.message :"
        " `${can} ${v.readyState} ${v.videoWidth}x${v.videoHeight} ${v.duration.toFixed(1)}`;</script>"
    )
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "<p id" not in done.stdout:
        pytest.skip("chromium does not start here")
    stream, _ = decoded(tmp_path / "a.mp4")
    wanted = f"canplay 4 {stream.codec_context.width}x{stream.codec_context.height} 1.2"
    assert wanted in html.unescape(done.stdout), done.stdout
