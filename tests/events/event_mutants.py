"""The event files and videos that are damaged, and what reading one has to promise."""

from __future__ import annotations

import io
import zipfile
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import readers_make as make

from hw_targets.finding import InputError
from neuroemo.events.framediff import FrameDiffSettings, video_to_clip
from neuroemo.events.readers import child, open_events, write_events
from neuroemo.events.stream import stream_frames
from neuroemo.events.video import read_gray, write_h264
from tests.mutants import Case, damaged

child.PATIENCE_S = 20.0
SIZED = (346, 260)
SIDE = 16


def stored(path):
    """The same archive without compression, so that mutations reach the arrays and not only the CRC."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return buffer.getvalue()


def written(suffix):
    def build(place):
        write_events(place / f"w{suffix}", make.random_events(300), make.SENSOR)
        return stored(place / "w.npz") if suffix == ".npz" else (place / f"w{suffix}").read_bytes()

    return build


def v2e(place):
    table = np.stack([make.random_events(300)[name].astype(np.uint32) for name in "txyp"], axis=1)
    with h5py.File(place / "v.h5", "w") as file:
        file.create_dataset("events", data=table, maxshape=(None, 4), chunks=(64, 4), compression="gzip")
    return (place / "v.h5").read_bytes()


def evt3(_):
    words = [0x0001]
    for t, x, y, p in make.random_events(300).tolist():
        words += [0x8000 | (t >> 12) & 0xFFF, 0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x]
    return make.evt3(words)


def csv(_):
    rows = "".join(f"{t},{x},{y},{int(p)}\n" for t, x, y, p in make.random_events(300).tolist())
    return ("t,x,y,p\n" + rows).encode()


def aedat2(_):
    return make.aedat2([(make.davis(x, y, int(p)), t) for t, x, y, p in make.random_events(300).tolist()])


def refused(error):
    """The code of a refusal that says all it has to: what was found and where."""
    assert error.exit_code == 2
    assert error.findings
    assert all(finding.found and finding.node and finding.code for finding in error.findings)
    assert str(error).encode()
    return error.findings[0].code


def events_case(file_name, build, size=None):
    def read(path):
        try:
            result = open_events(path, sensor_size=size)
        except InputError as error:
            return refused(error)
        events, (width, height, _) = result.events, result.sensor_size
        assert (np.diff(events["t"]) >= 0).all()
        assert len(events) < 100_000
        for column, side in (("x", width), ("y", height)):
            assert not len(events) or 0 <= events[column].min() <= events[column].max() < side
        return "read"

    return Case(file_name, build, read, damaged)


def moving(count=8, height=48, width=64):
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (height // 4, (width + count) // 4)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([wide[:, n : n + width] for n in range(count)])


def coded(file_name, codec, pixels="yuv420p", **options):
    def build(place):
        import av

        with av.open(str(place / file_name), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(15), options={"threads": "1", **options})
            stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
            for image in moving():
                picture = av.VideoFrame.from_ndarray(np.stack([image] * 3, axis=2), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        return (place / file_name).read_bytes()

    return build


def mp4(place: Path) -> bytes:
    write_h264(place / "w.mp4", moving(), 15.0)
    return (place / "w.mp4").read_bytes()


def mp4_header(clean: bytes, rng: np.random.Generator) -> bytes:
    """Damage the index (the box moov), which lies behind the pictures, in most of the files."""
    start = clean.index(b"moov") - 4
    if rng.random() < 0.25:
        return damaged(clean, rng)
    return clean[:start] + damaged(clean[start:], rng, head=len(clean))


def watched(path):
    """Read a video in every way that there is; they have to agree on what they read."""
    outcomes = []
    try:
        video = read_gray(path, size=SIDE)
        assert video.frames.dtype == np.uint8
        assert video.frames.shape[1:] == (SIDE, SIDE)
        assert 2 <= len(video.frames) < 1000
        assert 0.1 <= video.fps <= 1000
        assert min(video.source_size) >= 16
        outcomes.append("read")
    except InputError as error:
        outcomes.append(refused(error))
    try:
        pieces = list(stream_frames(path, size=SIDE, chunk=3))
        times = np.concatenate([piece.times_us for piece in pieces])
        frames = np.concatenate([piece.frames for piece in pieces])
        assert times[0] >= 0
        assert (np.diff(times) > 0).all()
        assert frames.shape == (len(times), SIDE, SIDE)
        if outcomes == ["read"]:
            assert np.array_equal(frames, video.frames)
        outcomes.append("read")
    except InputError as error:
        outcomes.append(refused(error))
    if outcomes[0] == "read":
        clip = video_to_clip(path, FrameDiffSettings(size=SIDE, steps=4))
        assert clip.spikes.shape == (4, 2, SIDE, SIDE)
        assert clip.spikes.max() <= 1
    # Only the times can be refused by the one and not by the other, which does not look at them.
    assert outcomes[1] == "E716" or (outcomes[0] == "read") == (outcomes[1] == "read"), outcomes
    return outcomes[1] if outcomes[0] == "read" else outcomes[0]


CASES = {
    "evt2": events_case("m.raw", lambda _: make.evt2(make.EVT2_WORDS + make.EVT2_WORDS[4:] * 40)),
    "evt3": events_case("m.raw", evt3),
    "evt21": events_case("m.raw", lambda _: make.evt21("legacy", make.EVT21_WORDS + make.EVT21_WORDS[3:] * 40)),
    "dat": events_case("m.dat", lambda _: make.dat(make.random_events(300))),
    "aedat4": events_case("m.aedat4", written(".aedat4")),
    "aedat2": events_case("m.aedat", aedat2),
    "hdf5": events_case("m.h5", written(".h5")),
    "v2e": events_case("m.h5", v2e, SIZED),
    "npz": events_case("m.npz", written(".npz")),
    "csv": events_case("m.csv", csv, SIZED),
    "mp4": Case("m.mp4", mp4, watched, mp4_header),
    "hevc": Case("m.mov", coded("w.mov", "libx265", **{"x265-params": "log-level=none:pools=1"}), watched, mp4_header),
    "webm": Case("m.webm", coded("w.webm", "libvpx-vp9"), watched, damaged),
    "mkv": Case("m.mkv", coded("w.mkv", "libx264"), watched, damaged),
    "avi": Case("m.avi", coded("w.avi", "mpeg4"), watched, damaged),
    "mjpeg": Case("m.avi", coded("w.avi", "mjpeg", "yuvj420p"), watched, damaged),
}
