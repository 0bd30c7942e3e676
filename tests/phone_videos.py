"""A folder of videos as phones leave it: two classes, mixed sizes, rates, rotations, codecs, containers and names.

A drawn head nods or shakes. The class is the direction of the movement alone, so a video that is not turned upright
is in the wrong class: whoever ignores the rotation learns nothing. The scene is a function of the time in seconds,
so that the same scene can be recorded at any frame rate.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

CLASSES = ("nod", "shake")


@dataclass(frozen=True)
class Camera:
    """How one phone records: size as shown (width, height), frames per second, codec, container and rotation.

    ``turn`` is the display rotation in degrees, counter-clockwise, and ``flip`` mirrors after it: the pictures in the
    file are turned and mirrored back. ``variable`` delays every second frame by a third of a period.
    """

    suffix: str
    codec: str
    size: tuple[int, int]
    fps: str
    turn: int = 0
    pixels: str = "yuv420p"
    full_range: bool = False
    sound: str = ""
    variable: bool = False
    flip: bool = False


CAMERAS = (
    Camera(".mp4", "libx264", (1080, 1920), "30", turn=90, sound="aac"),
    Camera(".MOV", "libx265", (1080, 1920), "60", turn=270, sound="aac"),
    Camera(".mp4", "libx264", (1920, 1080), "30000/1001", sound="aac"),
    Camera(".mp4", "libx264", (1280, 720), "60", turn=180),
    Camera(".webm", "libvpx-vp9", (640, 480), "30", sound="libopus"),
    Camera(".avi", "mpeg4", (640, 480), "25"),
    Camera(".MP4", "libx264", (720, 720), "24"),
    Camera(".mp4", "libx264", (406, 720), "30", variable=True),
    Camera(".mov", "mjpeg", (640, 480), "30", turn=90, pixels="yuvj420p", full_range=True),
    Camera(".mov", "libx265", (720, 1280), "30", turn=90, pixels="yuv420p10le", sound="aac"),
    Camera(".mkv", "libsvtav1", (640, 480), "50"),
    Camera(".3gp", "mpeg4", (352, 288), "24"),
    Camera(".3gp", "h263", (352, 288), "30000/1001"),
    Camera(".mp4", "libx264", (720, 1280), "30", turn=90, full_range=True, pixels="yuvj420p"),
    Camera(".m4v", "libx264", (854, 480), "30", flip=True),
)
SMALL = tuple(replace(camera, size=(camera.size[0] // 8 * 2, camera.size[1] // 8 * 2)) for camera in CAMERAS)
NAMES = ("IMG_0001", "VID 20260102 (1)", "Grüße", "clip_ÄÖÜ", "PXL_2026.TS", "nach dem Essen")


def can_encode(camera: Camera) -> bool:
    """Say whether this build of FFmpeg has the encoder; not every one has AV1."""
    import av

    try:
        return bool(av.codec.Codec(camera.codec, "w"))
    except av.codec.codec.UnknownCodecError:
        return False


def make_folder(root: Path, cameras: tuple[Camera, ...], per_class: int, seconds: float = 1.5) -> None:
    """Fill DIR/<label>/ with videos of all the cameras in turn, and with what else lies about in such folders."""
    usable = [camera for camera in cameras if can_encode(camera)]
    for label in CLASSES:
        (root / label).mkdir(parents=True)
        for number in range(per_class):
            camera = usable[number % len(usable)]
            name = f"{NAMES[number % len(NAMES)]} {number:02d}{camera.suffix}"
            record(root / label / name, camera, label, 2 * number + CLASSES.index(label), seconds)
    (root / ".DS_Store").write_bytes(b"Bud1" * 64)
    (root / "nod" / "._IMG_0001 00.mp4").write_bytes(b"resource fork" * 64)
    (root / "nod" / "notes.txt").write_text("the second half is out of focus\n")


def frame_times(camera: Camera, seconds: float) -> list[Fraction]:
    """Return when each frame of a video is taken, in seconds."""
    rate = Fraction(camera.fps)
    delay = Fraction(1, 3) if camera.variable else Fraction(0)
    return [(number + (delay if number % 2 else 0)) / rate for number in range(round(seconds * rate))]


def scene(label: str, seed: int, seconds: float, width: int, height: int) -> np.ndarray:
    """Return the gray picture uint8 [height, width] of a scene at a time; light, place, size, pace vary with seed."""
    import cv2

    u = np.random.default_rng([7, seed]).uniform
    side = min(width, height) * u(0.62, 0.80)
    pace, phase, size = u(1.1, 1.5), u(0, 2 * np.pi), u(0.10, 0.14)
    middle = np.array([width * u(0.45, 0.55), height * u(0.45, 0.55)])
    wall, skin = u(40, 90), u(150, 210)
    picture = np.full((height, width), wall, np.uint8)
    picture[: height // 3] += 20
    swing = side * size * np.sin(2 * np.pi * pace * seconds + phase)
    at = middle + (np.array([0, swing]) if label == "nod" else np.array([swing, 0]))

    def blob(x: float, y: float, w: float, h: float, gray: float) -> None:
        centre = (float(at[0] + x * side), float(at[1] + y * side))
        cv2.ellipse(picture, (centre, (w * side, h * side), 0.0), (gray,), -1, cv2.LINE_AA)

    blob(0, 0, 0.72, 0.92, skin)
    for x in (-0.16, 0.16):
        blob(x, -0.1, 0.14, 0.07, 30)
    blob(0, 0.06, 0.07, 0.18, skin - 30)
    blob(0, 0.26, 0.28, 0.07, 70)
    return picture


@contextmanager
def usual_scheduling():
    """Leave this process as it was scheduled: SVT-AV1, run by root, gives its caller the highest real-time priority."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@usual_scheduling()
def record(path: Path, camera: Camera, label: str, seed: int, seconds: float = 1.6) -> None:
    """Write one video of a scene."""
    import av

    rate = Fraction(camera.fps)
    width, height = camera.size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(camera.codec, rate=rate, options=_options(camera.codec))
        turned = camera.turn in (90, 270)
        stream.width, stream.height = (height, width) if turned else (width, height)
        stream.pix_fmt = camera.pixels
        if camera.full_range:
            stream.codec_context.color_range = 2
        if camera.variable:
            stream.codec_context.time_base = 1 / (3 * rate)
        if camera.turn or camera.flip:
            stream.set_display_rotation(camera.turn, hflip=camera.flip)
        sound = container.add_stream(camera.sound, rate=48000, layout="mono") if camera.sound else None
        for time in frame_times(camera, seconds):
            picture = scene(label, seed, float(time), width, height)
            if camera.flip:
                picture = picture[:, ::-1]
            frame = _frame(np.rot90(picture, -camera.turn // 90), camera)
            if camera.variable:
                frame.pts, frame.time_base = int(time * 3 * rate), 1 / (3 * rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            _add_sound(container, sound, seconds)


def _options(codec: str) -> dict[str, str]:
    return {
        "libx264": {"preset": "ultrafast", "crf": "23", "threads": "1"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "b": "1M"},
        "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
        "mpeg4": {"q": "4"},
    }.get(codec, {})


def _frame(gray: np.ndarray, camera: Camera):
    import av

    gray = np.ascontiguousarray(gray)
    if camera.full_range:
        height, width = gray.shape
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = gray
        frame = av.VideoFrame.from_ndarray(planes, format="yuvj420p")
        frame.color_range = 2
        return frame
    return av.VideoFrame.from_ndarray(gray, format="gray").reformat(format=camera.pixels, dst_color_range=1)


def _add_sound(container, stream, seconds: float) -> None:
    import av

    quiet = np.zeros((1, int(48000 * seconds)), np.float32)
    frame = av.AudioFrame.from_ndarray(quiet, format="fltp", layout="mono")
    frame.sample_rate = 48000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
