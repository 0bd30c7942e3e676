"""Recordings stored as a folder of numbered pictures: listed, checked, and streamed as gray frames like a video.

AFEW-VA and NEFER come that way. The pictures are untrusted: their type, size and completeness are checked
before they are decoded, because an image decoder shows half a picture without a word.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.stream import CHUNK_BYTES, FrameChunk, Size
from neuroemo.events.video import FPS_RANGE, MAX_SIDE, MIN_SIDE

Gray = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_IMAGE_BYTES = 64 << 20
MAX_FINDINGS = 100
"""An error lists this many findings and then the number of the others: a wrong folder has one per file."""

_NUMBERED = re.compile(r"(?:frame_)?([0-9]{1,6})")
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_COPY_AGAIN = "copy or unpack the file again from the original archive"
# Start-of-frame markers C0..CF, without the tables C4, C8 and CC that share the range.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA


def first_few(names: Iterable[object], limit: int = 5) -> str:
    """Return the first names, and how many more there are.

    >>> first_few(["00003", "00004"]), first_few(range(9), 3)
    ('00003, 00004', '0, 1, 2 and 6 more')
    """
    texts = [str(name) for name in names]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def raise_all(findings: list[Finding], root: Path) -> None:
    """Raise one ``InputError`` with the findings, if there are any; beyond ``MAX_FINDINGS`` they are counted."""
    if len(findings) > MAX_FINDINGS:
        more = f"{len(findings) - MAX_FINDINGS} more findings of this kind"
        rest = Finding(findings[-1].code, "error", str(root), more, fix="mend those above, then scan again")
        findings = [*findings[:MAX_FINDINGS], rest]
    if findings:
        raise InputError(findings)


def list_frames(folder: Path) -> tuple[dict[int, Path], list[Finding]]:
    """Return the pictures of a folder by frame number, in order, and what is wrong with them.

    A picture is named by its number, ``00012.png`` or ``frame_12.jpg``; hidden and other files are left out.
    Wrong is: a folder that cannot be read, an empty file, no regular file, two files of one number.
    """
    frames: dict[int, Path] = {}
    findings = []
    try:
        items = sorted(os.scandir(folder), key=lambda item: item.name)
        for item in items:
            path = folder / item.name
            numbered = _NUMBERED.fullmatch(path.stem)
            if numbered is None or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            number = int(numbered[1])
            if number in frames:
                found = f"two pictures of frame {number}: {frames[number].name} and {path.name}"
                findings.append(Finding("E792", "error", str(folder), found, "one", fix="remove one of them"))
            elif not item.is_file():
                findings.append(Finding("E792", "error", str(path), "not a regular file", fix=_COPY_AGAIN))
            elif item.stat().st_size == 0:
                findings.append(Finding("E792", "error", str(path), "empty file (0 bytes)", fix=_COPY_AGAIN))
            frames.setdefault(number, path)
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        findings.append(Finding("E792", "error", str(folder), found, fix="check the rights of the folder"))
    return dict(sorted(frames.items())), findings


def gaps_of(numbers: Iterable[int]) -> list[int]:
    """Return the numbers that are missing between the first and the last.

    >>> gaps_of([0, 1, 4])
    [2, 3]
    """
    known = set(numbers)
    return [number for number in range(min(known, default=0), max(known, default=0)) if number not in known]


def stream_images(
    frames: Mapping[int, Path],
    *,
    fps: float,
    size: Size = None,
    chunk: int = 64,
    max_frames: int | None = None,
) -> Iterator[FrameChunk]:
    """Yield pictures as pieces of gray frames uint8 ``[n, H, W]``, as ``stream_frames`` yields a video.

    Frame number k is shown at ``t = round(1e6 (k - k_0) / fps)`` microseconds, k_0 the first number, so a gap
    in the numbers is a gap in time. Gray is ``0.299 R + 0.587 G + 0.114 B``, 8 bit (ITU-R BT.601), as the luma
    of a video; then it is resized with area averaging to ``size`` (height, width; one number for both; None
    keeps the picture's). At most ``max_frames`` pictures are read. A piece has ``chunk`` frames, fewer where these
    would take over 64 MiB.

    Raises ``InputError`` at once for an argument out of range or no pictures, and while streaming for a
    picture that is missing, damaged, cut off, of another type than PNG or JPEG, out of 16..16384 pixels per
    side, or of another size than the first.
    """
    shape = (size, size) if isinstance(size, int) else size
    findings = []
    low, high = FPS_RANGE
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not low <= fps <= high:
        findings.append(Finding("E793", "error", "fps", repr(fps), f"{low:g}..{high:g} frames per second"))
    if shape is not None and not (len(shape) == 2 and all(_is_count(side, MAX_SIDE) for side in shape)):
        findings.append(Finding("E793", "error", "size", repr(size), f"1..{MAX_SIDE}, or (height, width)"))
    if not _is_count(chunk, 1 << 20):
        findings.append(Finding("E793", "error", "chunk", repr(chunk), "at least 1 frame"))
    if max_frames is not None and not (_is_count(max_frames, 1 << 62) and max_frames > 1):
        findings.append(Finding("E793", "error", "max_frames", repr(max_frames), "at least 2, or None"))
    if not frames:
        findings.append(Finding("E792", "error", "frames", "no pictures", "at least 1"))
    if findings:
        raise InputError(findings)
    wanted = sorted(frames.items())[:max_frames]
    return _stream(wanted, float(fps), shape, chunk)


def _is_count(value: object, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit


def _stream(
    wanted: list[tuple[int, Path]], fps: float, shape: tuple[int, int] | None, chunk: int
) -> Iterator[FrameChunk]:
    start = wanted[0][0]
    source: tuple[int, int] | None = None
    pictures: list[Gray] = []
    times: list[int] = []
    for number, path in wanted:
        picture = read_gray_image(path)
        height, width = picture.shape
        source = source or (width, height)
        if (width, height) != source:
            limit = f"{source[0]}x{source[1]}, as the first"
            fix = "give every frame of a recording one size"
            raise InputError(Finding("E792", "error", str(path), f"{width}x{height} pixels", limit, fix=fix))
        pictures.append(picture if shape is None else _resized(picture, shape))
        times.append(round(1e6 * (number - start) / fps))
        if len(pictures) == chunk or (len(pictures) + 1) * pictures[0].size > CHUNK_BYTES:
            yield FrameChunk(np.stack(pictures), np.array(times, np.int64), fps, source)
            pictures, times = [], []
    if pictures and source is not None:
        yield FrameChunk(np.stack(pictures), np.array(times, np.int64), fps, source)


def _resized(picture: Gray, shape: tuple[int, int]) -> Gray:
    import cv2

    return np.asarray(cv2.resize(picture, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8)


def read_gray_image(path: Path) -> Gray:
    """Return one PNG or JPEG file as gray uint8 ``[H, W]``; raises ``InputError`` as ``stream_images`` does."""
    import cv2

    try:
        with path.open("rb") as handle:
            data = handle.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _damaged(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise _damaged(path, "picture too large", f"{MAX_IMAGE_BYTES >> 20} MiB")
    if data.startswith(_PNG):
        width, height = _png_size(path, data)
    elif data.startswith(_JPEG):
        width, height = _jpeg_size(path, data)
    else:
        raise _damaged(path, "neither PNG nor JPEG", "a picture in one of these formats")
    if not (min(width, height) >= MIN_SIDE and max(width, height) <= MAX_SIDE):
        raise _damaged(path, f"{width}x{height} pixels", f"{MIN_SIDE}..{MAX_SIDE} per side")
    try:
        colour = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
        # By way of colour, because the gray that the PNG reader makes itself differs between its versions.
        gray = None if colour is None else cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    except cv2.error as error:
        raise _damaged(path, "decoding failed") from error
    if gray is None or sorted(gray.shape) != sorted((width, height)):
        raise _damaged(path, "decoding failed")
    return np.asarray(gray, np.uint8)


def _damaged(path: Path, found: str, limit: str = "") -> InputError:
    return InputError(Finding("E792", "error", str(path), found, limit, fix=_COPY_AGAIN))


def _png_size(path: Path, data: bytes) -> tuple[int, int]:
    """Return (width, height) once every chunk has its checksum and the last one is there (PNG, section 5)."""
    position, kind = len(_PNG), b""
    while kind != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length
        if end > len(data):
            raise _damaged(path, f"cut off: the picture ends after {len(data)} bytes", f"{end} bytes")
        kind = data[position + 4 : position + 8]
        if position == len(_PNG) and (kind != b"IHDR" or length != 13):
            raise _damaged(path, "PNG without its header")
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise _damaged(path, f"wrong checksum at byte {position}")
        position = end
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _jpeg_size(path: Path, data: bytes) -> tuple[int, int]:
    """Return (width, height) once the end marker is there behind the picture data (ITU-T T.81, annex B)."""
    position, size = 2, (0, 0)
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _START_OF_FRAME:
            height, width = (int.from_bytes(data[position + at : position + at + 2], "big") for at in (5, 7))
            size = (width, height)
        if marker == _START_OF_SCAN:
            # Picture data cannot hold the end marker: an FF byte in it is followed by a zero.
            if data.rfind(b"\xff\xd9") < position:
                break
            return size
        position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
    raise _damaged(path, f"damaged, or cut off after {len(data)} bytes")
