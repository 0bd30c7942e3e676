"""Reading a long video piece by piece: one decoding pass, constant memory, the times of the file itself.

The frames are those of ``read_gray``; the checks are too, so an untrusted file ends in one finding. What only the
end of a file can tell (it is truncated, it has a single frame) is raised at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events import video

CHUNK_BYTES = 64 << 20
"""Bound on the gray frames of one piece in memory."""

LONGEST_GAP_US = round(1e6 / video.FPS_RANGE[0])
"""Longest time between two frames in microseconds: the reciprocal of the lowest frame rate accepted."""

Gray = npt.NDArray[np.uint8]
Times = npt.NDArray[np.int64]
Size = int | tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class FrameChunk:
    """Consecutive frames of a video: ``frames`` uint8 ``[n, H, W]`` full range, ``times_us`` int64 ``[n]``.

    Times are microseconds after the first frame of the video; they ascend, and are not equally spaced where the video
    has a variable frame rate. ``fps`` is the average rate in 1/s that the file declares, ``source_size`` the
    (width, height) in pixels as shown, before the resize.
    """

    frames: Gray
    times_us: Times
    fps: float
    source_size: tuple[int, int]


def check_times(times_us: npt.ArrayLike, count: int, last_us: int | None = None) -> Times:
    """Return the times of ``count`` frames as int64 ``[count]``, if they ascend and begin after ``last_us``.

    >>> check_times([0, 40, 80], 3).tolist()
    [0, 40, 80]

    Raises:
        InputError: another number of times, other than integers, below 0, or one that is not later than the one before.
    """
    times = np.asarray(times_us)
    whole = np.issubdtype(times.dtype, np.integer) or times.size == 0
    if not whole or times.shape != (count,):
        found = f"{times.dtype} {list(times.shape)}"
        raise InputError(Finding("E716", "error", "frame times", found, f"whole microseconds [{count}]"))
    times = times.astype(np.int64)
    before = np.concatenate([[-1 if last_us is None else last_us], times[:-1]]) if count else times
    late = np.flatnonzero(times <= before)
    if late.size:
        place = int(late[0])
        found = f"time {place} is {times[place]} us after {before[place]} us"
        raise InputError(Finding("E716", "error", "frame times", found, "ascending microseconds from 0"))
    return times


def stream_frames(
    path: str | Path, *, size: Size = None, chunk: int = 64, max_frames: int | None = None
) -> Iterator[FrameChunk]:
    """Yield the gray frames of a video in pieces of ``chunk`` frames, fewer where these would take over 64 MiB.

    ``size`` is the side of a square in pixels (as ``read_gray``), (height, width), or None for the size of the video as
    shown. The frames and times do not depend on ``chunk``. The video is decoded once, and not beyond ``max_frames``.

    Raises:
        InputError: an argument out of range at once; while reading, whatever ``read_gray`` refuses, a time
            that does not ascend, a pause above 10 s, or without ``size`` a picture that changes its size.
    """
    file = Path(path)
    _check_arguments(size, chunk, max_frames)
    video._check_file(file)
    return _chunks(file, size, chunk, max_frames)


def _is_count(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _check_arguments(size: object, chunk: object, max_frames: object) -> None:
    findings = []
    sides = size if isinstance(size, tuple) else (size, size)
    if size is not None and (len(sides) != 2 or not all(_is_count(side, 1, video.MAX_SIDE) for side in sides)):
        limit = f"1..{video.MAX_SIDE}, (height, width), or None"
        findings.append(Finding("E700", "error", "size", repr(size), limit))
    if not _is_count(chunk, 1, 1 << 20):
        findings.append(Finding("E700", "error", "chunk", repr(chunk), f"1..{1 << 20} frames"))
    if max_frames is not None and not _is_count(max_frames, 2, 1 << 62):
        findings.append(Finding("E700", "error", "max_frames", repr(max_frames), "at least 2, or None"))
    if findings:
        raise InputError(findings)


def _chunks(file: Path, size: Size, chunk: int, max_frames: int | None) -> Iterator[FrameChunk]:
    """Decode piece by piece; the decoder's errors are caught here, the consumer's pass."""
    with ExitStack() as resources:
        with video._decoder_errors(file):
            container = resources.enter_context(video._open(file))
            reader = _Reader(file, container, size)
        read = 0
        while max_frames is None or read < max_frames:
            wanted = chunk if max_frames is None else min(chunk, max_frames - read)
            with video._decoder_errors(file):
                piece = reader.next_piece(wanted)
            if piece is None:
                break
            read += len(piece.frames)
            yield piece
        with video._decoder_errors(file):
            reader.check_end(read, max_frames)


class _Reader:
    """An open video: its pictures one by one, turned upright, resized, with their times."""

    def __init__(self, file: Path, container: Any, size: Size) -> None:
        self.file = file
        self.size = (size, size) if isinstance(size, int) else size
        stream = video._video_stream(container, file)
        video._check_picture(stream.codec_context.width, stream.codec_context.height, file)
        self.fps = video._frame_rate(stream, file)
        self.declared = int(stream.frames)
        self.source_size = (0, 0)
        self._clock = _Clock(file, self.fps)
        self._pictures = self._decode(container, stream)
        self._room: int | None = None

    def next_piece(self, wanted: int) -> FrameChunk | None:
        """Return up to ``wanted`` frames, as many as fit into the bound, or None at the end."""
        frames: list[Gray] = []
        times: list[int] = []
        while len(frames) < min(wanted, self._room or wanted):
            picture = next(self._pictures, None)
            if picture is None:
                break
            frames.append(picture[0])
            times.append(picture[1])
            self._room = max(1, CHUNK_BYTES // frames[0].size)
        if not frames:
            return None
        return FrameChunk(np.stack(frames), np.array(times, dtype=np.int64), self.fps, self.source_size)

    def check_end(self, read: int, max_frames: int | None) -> None:
        """Refuse a truncated video and a single picture, as ``read_gray`` does."""
        wanted = self.declared if max_frames is None else min(self.declared, max_frames)
        if read < wanted and video._packet_count(self.file) < self.declared:
            found = f"truncated: {read} frames can be decoded"
            raise video._broken("E704", self.file, found, f"{self.declared} frames declared by the container")
        if read < 2:
            fix = "a difference needs two frames: give a longer video"
            raise video._broken("E706", self.file, f"{read} frame(s)", "at least 2 frames", fix)

    def _decode(self, container: Any, stream: Any) -> Iterator[tuple[Gray, int]]:
        display = video._Display()
        for index, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise video._broken("E703", self.file, f"frame {index} is damaged")
            video._check_picture(frame.width, frame.height, self.file)
            picture = video._luma(frame, display)
            if index == 0:
                self.source_size = (picture.shape[1], picture.shape[0])
            yield self._resize(picture, index), self._clock.time_us(frame, index)

    def _resize(self, picture: Gray, index: int) -> Gray:
        import cv2

        height, width = picture.shape
        if self.size is not None:
            shape = (self.size[1], self.size[0])
            return cast(Gray, cv2.resize(picture, shape, interpolation=cv2.INTER_AREA))
        if (width, height) != self.source_size:
            found = f"frame {index} has {width}x{height} pixels"
            limit = f"{self.source_size[0]}x{self.source_size[1]} pixels, as frame 0"
            raise video._broken("E717", self.file, found, limit, "give a size, to which all frames are brought")
        return picture


class _Clock:
    """The time of each frame: its time stamp, exactly, rounded to microseconds; without stamps, its number / rate."""

    def __init__(self, file: Path, fps: float) -> None:
        self.file, self.period = file, 1 / Fraction(fps).limit_denominator(1001)
        self._first: Fraction | None = None
        self._last = -1
        self._stamped = True

    def time_us(self, frame: Any, index: int) -> int:
        """Return the microseconds after frame 0; raises InputError for a time that is missing, past or far off."""
        if index == 0:
            self._stamped = self._stamp(frame) is not None
            self._first = self._stamp(frame)
        stamp = self._stamp(frame)
        if self._stamped and stamp is None:
            raise self._wrong(f"frame {index} has no time stamp, frame 0 has one")
        seconds = index * self.period if not self._stamped else cast(Fraction, stamp) - cast(Fraction, self._first)
        time = round(seconds * 1_000_000)
        if index and not self._last < time <= self._last + LONGEST_GAP_US:
            raise self._wrong(f"frame {index} is shown at {time} us, the frame before at {self._last} us")
        self._last = time
        return time

    @staticmethod
    def _stamp(frame: Any) -> Fraction | None:
        if frame.pts is None or not frame.time_base:
            return None
        return int(frame.pts) * Fraction(frame.time_base)

    def _wrong(self, found: str) -> InputError:
        limit = f"ascending times, at most {LONGEST_GAP_US} us apart"
        fix = "re-encode it at a constant rate, e.g. ffmpeg -i IN -fps_mode cfr -r 30 OUT.mp4"
        return video._broken("E716", self.file, found, limit, fix)
