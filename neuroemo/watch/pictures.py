"""A video as the network's camera sees it and as people see it, in one pass: gray squares beside small RGB pictures.

The gray frames and their times are those of ``events.stream.stream_frames``, with its checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroemo.events import stream, video

Gray = npt.NDArray[np.uint8]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame: ``gray`` uint8 [size, size], ``time_us`` after the first frame, ``picture`` RGB uint8 [h, w, 3].

    The picture is upright, in the proportions of the video, and fits into the side that was asked for.
    """

    gray: Gray
    time_us: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the header of a video states: its rate in frames per second, and how long it is, None where it does not."""

    fps: float
    seconds: float | None


def video_facts(path: Path) -> VideoFacts:
    """Return rate and length of a video; only its header is read. Raises ``InputError`` as ``stream_frames`` does."""
    video._check_file(path)
    with video._decoder_errors(path), video._open(path) as container:
        opened = video._video_stream(container, path)
        fps = video._frame_rate(opened, path)
        if opened.duration and opened.time_base:
            return VideoFacts(fps, float(opened.duration * opened.time_base))
        if opened.frames:
            return VideoFacts(fps, opened.frames / fps)
        return VideoFacts(fps, container.duration / 1e6 if container.duration else None)


def stream_pictures(path: Path, size: int, side: int) -> Iterator[Shown]:
    """Yield the frames of a video, gray at ``size`` x ``size`` and coloured within ``side`` x ``side`` pixels.

    Raises ``InputError`` as ``stream_frames`` does, while reading.
    """
    video._check_file(path)
    with ExitStack() as resources:
        with video._decoder_errors(path):
            container = resources.enter_context(video._open(path))
            reader = _PictureReader(path, container, size, side)
        count = 0
        while True:
            with video._decoder_errors(path):
                piece = reader.next_piece(1)
            if piece is None:
                break
            count += 1
            yield Shown(piece.frames[0], int(piece.times_us[0]), reader.picture)
        with video._decoder_errors(path):
            reader.check_end(count, None)


class _PictureReader(stream._Reader):
    """Keeps the coloured picture of the frame that was decoded last."""

    def __init__(self, file: Path, container: Any, size: int, side: int) -> None:
        super().__init__(file, container, size)
        self._side = side
        self.picture: Picture = np.zeros((1, 1, 3), np.uint8)

    def _decode(self, container: Any, opened: Any) -> Iterator[tuple[Gray, int]]:
        return super()._decode(_Overheard(container, self._look), opened)

    def _look(self, frame: Any, display: video._Display) -> None:
        scale = self._side / max(frame.width, frame.height)
        width, height = (max(1, round(length * scale)) for length in (frame.width, frame.height))
        small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
        upright = [display.upright(small[:, :, channel], frame) for channel in range(3)]
        self.picture = np.stack(upright, axis=-1)


class _Overheard:
    """A container whose frames are looked at on their way to the reader."""

    def __init__(self, container: Any, look: Any) -> None:
        self._container, self._look, self._display = container, look, video._Display()

    def decode(self, opened: Any) -> Iterator[Any]:
        """Yield the frames; a damaged one or one of an impossible size is left to the reader's checks."""
        for frame in self._container.decode(opened):
            if not frame.is_corrupt and max(frame.width, frame.height) <= video.MAX_SIDE:
                self._look(frame, self._display)
            yield frame
