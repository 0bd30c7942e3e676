"""Small videos, stand-ins for networks, and readers of what watching writes; all made by the tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.pixel.settings import PixelSettings
from neuroemo.watch.run import Estimator

SETTINGS = EventFrameSettings(size=16, pixel=PixelSettings(), slow_motion=None)
"""16 x 16 pixels, 8 slices of 5 ms, an ideal camera that sees the video as it is."""


def disc(seconds: float, width: int, height: int) -> np.ndarray:
    """The scene at a time: a bright disc that goes round on a gray wall."""
    rows, columns = np.mgrid[0:height, 0:width]
    side = min(width, height)
    x, y = width / 2 + side / 4 * np.cos(4 * seconds), height / 2 + side / 4 * np.sin(4 * seconds)
    return np.where(np.hypot(columns - x, rows - y) < side / 6, 220, 60).astype(np.uint8)


def make_video(path: Path, times: list[Fraction], size: tuple[int, int] = (64, 48)) -> Path:
    """Write the scene as a video whose pictures have these times in seconds; ``size`` is (width, height) as shown."""
    clock = Fraction(1, 90_000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast", "threads": "1"})
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt, context.time_base = "yuv420p", clock
        for time in times:
            frame = av.VideoFrame.from_ndarray(disc(float(time), *size), format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(time / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def regular(seconds: float, fps: int = 25) -> list[Fraction]:
    return [Fraction(number, fps) for number in range(round(seconds * fps) + 1)]


def seen_share(codes: np.ndarray) -> np.ndarray:
    """A network by formula: valence is the share of pixels with an event, arousal the mean code, both in [-1, 1]."""
    valence = (codes > 0).mean(axis=(1, 2)) * 2 - 1
    arousal = codes.mean(axis=(1, 2)) / 127.5 - 1
    return np.stack([valence, arousal], axis=1).astype(np.float32)


def estimator(length: int = 1, predict=seen_share) -> Estimator:
    return Estimator(predict, length, "a formula")


def random_events(rng: np.random.Generator, count: int, last_us: int, width: int, height: int) -> np.ndarray:
    events = np.empty(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, last_us + 1, count))
    events["x"], events["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    events["p"] = rng.random(count) < 0.5
    return events


def rows_of(path: Path) -> list[tuple[float, float, float, int]]:
    """The rows of a table; a line that is not whole is an error."""
    text = path.read_bytes().decode("ascii")
    assert text.endswith("\n")
    head, *lines = text.splitlines()
    assert head == "time_s,valence,arousal,events"
    return [(float(t), float(v), float(a), int(n)) for t, v, a, n in (line.split(",") for line in lines)]


def decoded(path: Path) -> list[tuple[Fraction, np.ndarray]]:
    """All pictures of a film with their times in seconds."""
    with av.open(str(path)) as container:
        return [(frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def boxes(path: Path) -> list[str]:
    """The names of the top boxes of an mp4, in order."""
    data, place, names = path.read_bytes(), 0, []
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        names.append(data[place + 4 : place + 8].decode("latin-1"))
        if length < 8:
            break
        place += length
    return names
