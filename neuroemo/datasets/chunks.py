"""The pictures of one clip as the bytes that lie in a store, and a reader that maps those bytes into memory.

One HDF5 chunk holds one clip. Its bytes are ``zlib(shuffle(values))``, which is what HDF5's own filters
(shuffle, deflate) make and read; shuffle puts the low bytes of 16-bit values first, then the high ones.
"""

from __future__ import annotations

import hashlib
import mmap
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

COMPRESSION_LEVEL = 4

_SHUFFLE, _DEFLATE, _FLETCHER = 2, 1, 3
_FLETCHER_BYTES = 4
_NOWHERE = 1 << 62
_READABLE = ([_DEFLATE], [_SHUFFLE, _DEFLATE], [_DEFLATE, _FLETCHER], [_SHUFFLE, _DEFLATE, _FLETCHER])


@dataclass(frozen=True, slots=True)
class PackedClip:
    """One clip before compression: packed spikes, 8-bit first frame, mean gray frame (x 256), and its counts."""

    spikes: npt.NDArray[np.uint8]
    first_frame: npt.NDArray[np.uint8] | None
    mean_frame: npt.NDArray[np.uint16]
    valid_steps: int
    fps: float
    events: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """One clip as stored: the chunk of each picture by name, its counts, and ``sha256`` of the pictures."""

    pictures: dict[str, bytes]
    valid_steps: int
    fps: float
    events: tuple[int, int, int]
    sha256: str


def picture_digest(
    spikes: npt.NDArray[np.uint8], first_frame: npt.NDArray[np.uint8] | None, mean_frame: npt.NDArray[np.uint16]
) -> str:
    """Return sha256 over the packed spikes, the first frame if any, and the mean frame (little-endian)."""
    digest = hashlib.sha256(spikes.tobytes())
    if first_frame is not None:
        digest.update(first_frame.tobytes())
    digest.update(mean_frame.astype("<u2").tobytes())
    return digest.hexdigest()


def encode_clip(clip: PackedClip) -> EncodedClip:
    """Return the clip as its chunks lie in the file."""
    pictures = {"spikes": deflate(clip.spikes), "mean_frame": deflate(clip.mean_frame)}
    if clip.first_frame is not None:
        pictures["first_frame"] = deflate(clip.first_frame)
    digest = picture_digest(clip.spikes, clip.first_frame, clip.mean_frame)
    return EncodedClip(pictures, clip.valid_steps, clip.fps, clip.events, digest)


def deflate(values: npt.NDArray[Any]) -> bytes:
    """Return one chunk of unsigned integers.

    >>> inflate(deflate(np.array([1, 770], np.uint16)), np.dtype("<u2"), 2).tolist()
    [1, 770]
    """
    plain = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    planes = plain.reshape(-1, 1).view(np.uint8).T
    return zlib.compress(planes.tobytes(), COMPRESSION_LEVEL)


def inflate(chunk: bytes | memoryview, kind: np.dtype[Any], count: int, shuffled: bool = True) -> npt.NDArray[Any]:
    """Return the ``count`` values of one chunk.

    Raises ``ValueError`` for damaged data (zlib carries a checksum) or another number of values; never unpacks
    more than ``count`` values.
    """
    unpacker = zlib.decompressobj()
    wanted = count * kind.itemsize
    try:
        plain = unpacker.decompress(chunk, wanted + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(plain) != wanted or not unpacker.eof:
        raise ValueError(f"{len(plain)} bytes or more where {wanted} belong")
    flat = np.frombuffer(plain, np.uint8)
    if shuffled and kind.itemsize > 1:
        flat = np.ascontiguousarray(flat.reshape(kind.itemsize, count).T)
    return flat.reshape(-1).view(kind)


@dataclass(slots=True)
class MappedChunks:
    """The chunks of one dataset, read from a memory map of the file: no copy in this process, no lock.

    ``offsets`` and ``sizes`` are int64 [N], bytes in the file. Several processes that read the same store
    share its pages.
    """

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    shuffled: bool
    _map: mmap.mmap = field(repr=False)

    @classmethod
    def of(cls, dataset: Any, path: Path) -> MappedChunks | None:
        """Return the chunks of an open dataset; None where its filters are not ours (the library reads it then)."""
        creation = dataset.id.get_create_plist()
        filters = [creation.get_filter(place)[0] for place in range(creation.get_nfilters())]
        if filters not in _READABLE:
            return None
        count = dataset.shape[0]
        offsets, sizes = np.full(count, -1, np.int64), np.zeros(count, np.int64)
        skipped = []

        def note(info: Any) -> None:
            row = int(info.chunk_offset[0])
            if 0 <= row < count:
                # A damaged file may name places beyond any file; they are refused below.
                offsets[row], sizes[row] = min(info.byte_offset or _NOWHERE, _NOWHERE), min(info.size, _NOWHERE)
            if info.filter_mask:
                skipped.append(row)

        dataset.id.chunk_iter(note)
        if skipped:
            return None
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if filters[-1] == _FLETCHER:
            sizes -= _FLETCHER_BYTES
        outside = (offsets < 0) | (sizes <= 0) | (sizes > len(mapped)) | (offsets > len(mapped) - sizes)
        sizes[outside] = 0
        return cls(dataset.dtype, dataset.shape[1:], offsets, sizes, filters[0] == _SHUFFLE, mapped)

    def row(self, index: int) -> npt.NDArray[Any]:
        """Return clip ``index``, of the dataset's shape and type; raises ``ValueError`` for damaged data."""
        start, size = int(self.offsets[index]), int(self.sizes[index])
        if not size:
            raise ValueError(f"the data of clip {index} are missing, or lie outside the file")
        with memoryview(self._map) as view, view[start : start + size] as chunk:
            values = inflate(chunk, self.kind, int(np.prod(self.shape)), self.shuffled)
        return values.reshape(self.shape)

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()
