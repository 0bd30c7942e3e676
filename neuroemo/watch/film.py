"""The film of a watched recording: H.264 in mp4 that plays wherever the writing stopped.

While it grows the file is a fragmented mp4 (a fragment begins with every key picture, at most a second apart),
which needs no index at its end: a process that was killed leaves a film that plays up to the last fragment. When it is
complete the same pictures are copied, not encoded again, into an ordinary mp4 with the index first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError

Picture = npt.NDArray[np.uint8]

_CLOCK = 90_000
_TICK = Fraction(1, _CLOCK)
_KEY_EVERY_S = 1.0
# One thread and no macroblock tree: the same pictures give the same bytes. No picture refers to a later one ("bf"):
# without an edit list, which a fragmented file cannot have in front, all times would move by the reordering.
_CODEC = {"crf": "20", "preset": "veryfast", "threads": "1", "bf": "0", "x264-params": "mbtree=0"}
_GROWING = {"fflags": "+bitexact", "movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
_COMPLETE = {"fflags": "+bitexact", "movflags": "+faststart"}


class Film:
    """A film that is being written to ``path``, which must not be there: pages uint8 [H, W, 3] RGB, sides even.

    ``fps`` is the nominal rate in 1/s; every page carries its own time. Raises ``InputError`` (E982) where the file
    cannot be written.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        import av

        self.path, self.pages = path, 0
        self._fps, self._tick = fps, -1
        with _writing(path):
            with path.open("xb"):
                pass
            self._container = av.open(str(path), "w", format="mp4", options=_GROWING)
            keys = {"g": str(max(1, round(fps * _KEY_EVERY_S)))}
            rate = Fraction(fps).limit_denominator(1001)
            self._stream = cast(Any, self._container.add_stream("libx264", rate=rate, options=_CODEC | keys))
            context = self._stream.codec_context
            context.width, context.height = width, height
            context.pix_fmt, context.time_base = "yuv420p", _TICK
        self._open = True

    def add(self, page: Picture, time_us: int) -> None:
        """Append a page that is shown from ``time_us`` on, in microseconds from 0, later than the page before."""
        import av

        frame = av.VideoFrame.from_ndarray(page, format="rgb24").reformat(format="yuv420p")
        # Two frames within one tick of the clock would be refused by the container.
        self._tick = max(round(time_us * _CLOCK / 1_000_000), self._tick + 1)
        frame.pts, frame.time_base = self._tick, _TICK
        with _writing(self.path):
            self._mux(self._stream.encode(frame))
        self.pages += 1

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            if not packet.duration:
                packet.duration = round(_CLOCK / self._fps)
            self._container.mux(packet)

    def close(self) -> None:
        """End the film; a second time does nothing."""
        if self._open:
            self._open = False
            try:
                with _writing(self.path):
                    self._mux(self._stream.encode())
            finally:
                with _writing(self.path):
                    self._container.close()

    def finish(self, final: Path) -> None:
        """End the film and leave it at ``final``, with its index first, in place of what may be there."""
        self.close()
        temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
        try:
            with _writing(final):
                _copy(self.path, temporary)
                os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        self.path.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy the coded pictures of one mp4 into another."""
    import av

    with (
        av.open(str(source), "r", format="mp4") as old,
        av.open(str(target), "w", format="mp4", options=_COMPLETE) as new,
    ):
        copied = _like(new, old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copied
                new.mux(packet)


def _like(container: Any, stream: Any) -> Any:
    """Add a stream with the coding of another one (PyAV 14 gave the call its own name)."""
    if hasattr(container, "add_stream_from_template"):
        return container.add_stream_from_template(stream)
    return container.add_stream(template=stream)


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Turn what the system or the encoder says about a path into one finding."""
    import av

    try:
        yield
    except (OSError, av.FFmpegError) as error:
        found, fix = f"cannot be written: {error.strerror or error}", "check the path, its rights and the free space"
        raise InputError(Finding("E982", "error", str(file), found, fix=fix)) from error
