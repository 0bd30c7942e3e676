"""Reading a video into gray frames, and writing one: PyAV for the codec, OpenCV for the resize.

A video is untrusted input. Only container formats that hold the media themselves are opened (a playlist
could name other files or addresses), sizes are bounded, and whatever the decoder says becomes one finding.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError

Gray = npt.NDArray[np.uint8]

MIN_SIDE = 16
MAX_SIDE = 16384
FPS_RANGE = (0.1, 1000.0)
MAX_BYTES = 2 << 30
"""Bound on the gray frames of one video in memory."""

_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
_REENCODE = "re-encode it, e.g. ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
_COPY_AGAIN = "copy or download the file again; if it is the original, " + _REENCODE
_FULL_RANGE = 2
_LIMITED_RANGE = 1

# Luma of limited-range video is 16..235; the table maps it to 0..255, rounded, clipped outside.
_EXPAND = np.clip(np.rint((np.arange(256) - 16) * 255.0 / 219.0), 0, 255).astype(np.uint8)
_COMPRESS = np.rint(16 + np.arange(256) * 219.0 / 255.0).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class GrayVideo:
    """Decoded gray video: ``frames`` uint8 ``[F, size, size]`` full range, ``fps`` in 1/s.

    ``source_size`` is (width, height) in pixels as shown, before the resize.
    """

    frames: Gray
    fps: float
    source_size: tuple[int, int]


def _broken(code: str, path: Path, found: str, limit: str = "", fix: str = _COPY_AGAIN) -> InputError:
    return InputError(Finding(code, "error", str(path), found, limit, fix=fix))


def read_gray(path: str | Path, *, size: int, max_frames: int | None = None) -> GrayVideo:
    """Decode a video to gray frames of ``size`` x ``size`` pixels, at most ``max_frames`` of them.

    Luma is expanded to full range, ``g = round((Y - 16) 255 / 219)``, then resized as uint8 with area
    averaging; the aspect ratio is not kept (the paper says "rescaled", section 3.2). Rotation and mirroring stored
    by a phone are applied. Decoding is streamed and stops after ``max_frames``.

    Raises ``InputError`` for a file that is missing, empty, no video, truncated or damaged, smaller than
    16 x 16 pixels, shorter than 2 frames, or without a usable frame rate.
    """
    file = Path(path)
    _check_arguments(size, max_frames)
    _check_file(file)
    with _decoder_errors(file), _open(file) as container:
        stream = _video_stream(container, file)
        _check_picture(stream.codec_context.width, stream.codec_context.height, file)
        fps = _frame_rate(stream, file)
        declared = int(stream.frames)
        frames, source_size = _decode(container, stream, file, size, max_frames)
    wanted = declared if max_frames is None else min(declared, max_frames)
    if len(frames) < wanted and _packet_count(file) < declared:
        found = f"truncated: {len(frames)} frames can be decoded"
        raise _broken("E704", file, found, f"{declared} frames declared by the container")
    if len(frames) < 2:
        fix = "a difference needs two frames: give a longer video"
        raise _broken("E706", file, f"{len(frames)} frame(s)", "at least 2 frames", fix)
    return GrayVideo(np.stack(frames), fps, source_size)


def _check_arguments(size: int, max_frames: int | None) -> None:
    if not 1 <= size <= MAX_SIDE:
        raise InputError(Finding("E700", "error", "size", repr(size), f"1..{MAX_SIDE}"))
    if max_frames is not None and max_frames < 2:
        raise InputError(Finding("E700", "error", "max_frames", repr(max_frames), "at least 2, or None"))


def _check_file(file: Path) -> None:
    """Refuse what is no regular, non-empty file (a named pipe would hang the decoder)."""
    try:
        if not file.exists():
            raise _broken("E701", file, "no such file", fix="check the path")
        if not file.is_file():
            raise _broken("E701", file, "not a regular file", fix="give the path of one video file")
        if file.stat().st_size == 0:
            raise _broken("E702", file, "empty file (0 bytes)")
        with file.open("rb"):
            pass
    except (OSError, ValueError) as error:
        fix = "check the path and its rights"
        raise _broken("E701", file, f"cannot be read: {error}", fix=fix) from error


@contextmanager
def _decoder_errors(file: Path) -> Iterator[None]:
    """Turn whatever PyAV or OpenCV raises on a damaged file into one finding."""
    import av
    import cv2

    # PyAV maps FFmpeg's codes onto many built-in classes, and odd metadata raises others of them.
    kinds = (av.FFmpegError, cv2.error, OSError, ValueError, EOFError, ArithmeticError, MemoryError)
    try:
        # The decoder's own log lines go nowhere, whatever level another library has set.
        with av.logging.Capture():
            yield
    except (*kinds, RuntimeError, LookupError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0].replace(str(file.resolve()), file.name)
        found = f"decoding failed: {type(error).__name__} {reason}"
        raise _broken("E703", file, found) from error


@contextmanager
def _open(file: Path, extra: dict[str, str] | None = None) -> Iterator[Any]:
    """Open the container, restricted to local files of the formats listed above."""
    import av

    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", **(extra or {})}
    try:
        # An absolute path cannot be taken for a protocol ("http:...").
        container = av.open(str(file.resolve()), options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        found = "not a readable video (unknown format, or truncated before its index was written)"
        raise _broken("E703", file, found, "mp4, mov, mkv, webm, avi") from error
    try:
        yield container
    finally:
        container.close()


def _video_stream(container: Any, file: Path) -> Any:
    """Return the first video stream that is not a cover picture, ready for single-threaded decoding."""
    import av

    streams = list(container.streams.video)
    if not streams:
        raise _broken("E705", file, "no video stream", fix="give a file with a picture track, not sound only")
    pictures = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
    stream = (pictures or streams)[0]
    if stream.codec_context is None:
        raise _broken("E703", file, "the video is coded in a format this build cannot decode", fix=_REENCODE)
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    if stream.codec_context.name == "mjpeg":
        # Else a damaged picture comes as a sound one, filled up with whatever lay in memory.
        stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _check_picture(width: int, height: int, file: Path) -> None:
    if min(width, height) < MIN_SIDE:
        fix = "give a video with a larger picture"
        raise _broken("E707", file, f"{width}x{height} pixels", f"at least {MIN_SIDE}x{MIN_SIDE}", fix)
    if max(width, height) > MAX_SIDE:
        raise _broken("E707", file, f"{width}x{height} pixels", f"at most {MAX_SIDE} per side", _REENCODE)


def _frame_rate(stream: Any, file: Path) -> float:
    """Return the average frame rate, or the container's guess, within the accepted range."""
    low, high = FPS_RANGE
    rates = []
    for name in ("average_rate", "guessed_rate", "base_rate"):
        rate = getattr(stream, name, None)
        if rate is not None and rate > 0 and math.isfinite(float(rate)):
            rates.append(float(rate))
    for rate in rates:
        if low <= rate <= high:
            return rate
    found = f"frame rate {rates[0]:g} per second" if rates else "no frame rate"
    raise _broken("E708", file, found, f"{low:g}..{high:g} frames per second", _REENCODE)


def declared_rate(path: str | Path) -> float:
    """Return the average frame rate in 1/s that a video declares; only its header is read.

    Raises ``InputError`` as ``read_gray`` does for a file that is missing, empty, no video or without a usable rate.
    """
    file = Path(path)
    _check_file(file)
    with _decoder_errors(file), _open(file) as container:
        return _frame_rate(_video_stream(container, file), file)


def _decode(
    container: Any, stream: Any, file: Path, size: int, max_frames: int | None
) -> tuple[list[Gray], tuple[int, int]]:
    """Decode, convert and resize frame by frame; the full-size picture is never kept."""
    import cv2

    frames: list[Gray] = []
    source_size = (0, 0)
    display = _Display()
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise _broken("E703", file, f"frame {len(frames)} is damaged")
        _check_picture(frame.width, frame.height, file)
        picture = _luma(frame, display)
        if not frames:
            source_size = (picture.shape[1], picture.shape[0])
        frames.append(cast(Gray, cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)))
        if len(frames) == max_frames:
            break
        if (len(frames) + 1) * size * size > MAX_BYTES:
            fix = "give max_frames, or cut the video"
            raise _broken("E709", file, f"more than {len(frames)} frames", f"{MAX_BYTES >> 30} GiB", fix)
    return frames, source_size


def _luma(frame: Any, display: _Display) -> Gray:
    """Return the full-range gray picture uint8 ``[H, W]`` of a decoded frame, turned upright."""
    name = frame.format.name
    planar = name.startswith(("yuv4", "yuvj4", "yuva4")) and not name.endswith(("le", "be"))
    if planar or name in ("nv12", "nv21", "gray"):
        plane = frame.planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)
        luma = rows[: frame.height, : frame.width]
        full = name.startswith("yuvj") or frame.color_range == _FULL_RANGE
        full = full or (name == "gray" and frame.color_range != _LIMITED_RANGE)
        gray = luma.copy() if full else _EXPAND[luma]
    else:
        gray = frame.to_ndarray(format="gray")
    return display.upright(gray, frame)


class _Display:
    """Turns the pictures of one video as they are to be shown.

    The matrix is read again only where the rotation changes: a frame whose side data were looked at refers to itself,
    and would stay in memory until the garbage collector comes.
    """

    def __init__(self) -> None:
        self._matrix: tuple[int, int, int, int] | None = None
        self._rotation: int | None = None

    def upright(self, gray: Gray, frame: Any) -> Gray:
        """Return a picture turned and mirrored as the display matrix of its frame says."""
        if frame.rotation != self._rotation:
            self._rotation, self._matrix = frame.rotation, _display_matrix(frame)
        return gray if self._matrix is None else _upright(gray, *self._matrix)


def _display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    from av.sidedata.sidedata import Type

    stored = frame.side_data.get(Type.DISPLAYMATRIX)
    if stored is None:
        return None
    a, b, _, c, d = np.frombuffer(stored, dtype=np.int32)[:5].tolist()
    return a, b, c, d


def _upright(gray: Gray, a: int, b: int, c: int, d: int) -> Gray:
    """Return a picture turned by quarters and mirrored: x goes to a x + c y, and y to b x + d y.

    Of an oblique angle the nearest quarter is taken.
    """
    if abs(a) + abs(d) < abs(b) + abs(c):
        gray, across, down = gray.T, c < 0, b < 0
    else:
        across, down = a < 0, d < 0
    return np.ascontiguousarray(gray[:: -1 if down else 1, :: -1 if across else 1])


def _packet_count(file: Path) -> int:
    """Count the coded frames that are really in the file, those hidden by an edit list included.

    A trimmed phone video declares more frames than it shows; only missing data makes it truncated.
    """
    import av

    count = 0
    try:
        with _open(file, {"ignore_editlist": "1"}) as container:
            stream = _video_stream(container, file)
            for packet in container.demux(stream):
                count += packet.size > 0
    except (av.FFmpegError, OSError, ValueError, InputError):
        return count
    return count


def write_h264(
    path: str | Path,
    frames: npt.NDArray[np.uint8],
    fps: float,
    *,
    crf: int = 20,
    preset: Literal["veryfast", "medium", "slow"] = "veryfast",
) -> None:
    """Write frames uint8 ``[F, H, W]`` (gray) or ``[F, H, W, 3]`` (RGB) as H.264 in mp4, yuv420p.

    Settings and thread count are fixed, so the same frames give the same bytes with the same libraries.
    The file is written beside its place and moved there when complete.

    Raises ``InputError`` for odd or small pictures, no frames, or a frame rate out of range.
    """
    file = Path(path)
    _check_writable(file, frames, fps)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        # x264's macroblock tree gives other bits in about one process out of five, even with one thread.
        options = {"crf": str(crf), "preset": preset, "threads": "1", "x264-params": "mbtree=0"}
        _encode(temporary, frames, fps, options)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _check_writable(file: Path, frames: npt.NDArray[np.uint8], fps: float) -> None:
    shape = frames.shape
    right = frames.dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3))
    if not right or shape[0] < 1 or min(shape[1:3]) < MIN_SIDE or shape[1] % 2 or shape[2] % 2:
        limit = f"uint8 [F, H, W] or [F, H, W, 3], sides even and at least {MIN_SIDE}"
        found = f"frames {frames.dtype} {list(shape)}"
        raise _broken("E700", file, found, limit, "crop or resize the frames")
    low, high = FPS_RANGE
    if not low <= fps <= high:
        raise _broken("E708", file, f"frame rate {fps}", f"{low:g}..{high:g}", "give a usual frame rate")


def _encode(file: Path, frames: npt.NDArray[np.uint8], fps: float, options: dict[str, str]) -> None:
    """Encode all frames into ``file`` (its name may have any suffix)."""
    from fractions import Fraction

    import av

    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(file), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        context = cast(Any, stream)
        context.height, context.width = frames.shape[1:3]
        context.pix_fmt = "yuv420p"
        for image in frames:
            picture = _gray_frame(image) if image.ndim == 2 else _rgb_frame(image)
            container.mux(context.encode(picture))
        container.mux(context.encode())


def _gray_frame(image: Gray) -> Any:
    """Return a yuv420p frame of a gray image, without colour; the exact inverse of the reader's range."""
    import av

    height, width = image.shape
    planes = np.full((height * 3 // 2, width), 128, dtype=np.uint8)
    planes[:height] = _COMPRESS[image]
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _rgb_frame(image: npt.NDArray[np.uint8]) -> Any:
    import av

    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
