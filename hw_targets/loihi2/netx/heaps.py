"""Words of variable length in an HDF5 file, checked before the HDF5 library reads them: it can loop on damaged ones.

They lie in global heap collections, "GCOL", version 1, three bytes, size of the collection, then objects: index (2
bytes), references (2), nothing (4), size (8), data padded to 8 bytes; index 0 is what is free, its size counted from
its own start. A free object of size 0 keeps the library (1.14) in place for ever.

Source: HDF5 File Format Specification 3.0, III.E "Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.loihi2.netx.datasets import refusal

if TYPE_CHECKING:
    import h5py

START = b"GCOL\x01"
HEADER = 16


def check_heaps(path: Path) -> None:
    """Raise an InputError (E041) for a file with a damaged collection of words."""
    if path.stat().st_size == 0:
        return  # an empty file cannot be mapped, and HDF5 refuses it
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(START)
        while at >= 0:
            if not _is_whole(data, at):
                found = f"not a readable netx file: the words stored at byte {at} are damaged"
                raise refusal("E041", str(path), found)
            at = data.find(START, at + 1)


def check_sizes(file: h5py.File, path: Path) -> None:
    """Raise an InputError (E041) unless the file counts in 8 bytes, as ``check_heaps`` assumes."""
    sizes: Any = file.id.get_create_plist().get_sizes()
    if tuple(sizes) != (8, 8):
        raise refusal("E041", str(path), f"not a readable netx file: offsets and lengths of {sizes} bytes", "8 and 8")


def _is_whole(data: mmap.mmap, start: int) -> bool:
    """Return whether every object of the collection leads to the next, up to the end of the collection."""
    if start + HEADER > len(data):
        return False
    end = start + struct.unpack_from("<Q", data, start + 8)[0]
    if end > len(data):
        return False
    at = start + HEADER
    while at + HEADER <= end:
        index, size = struct.unpack_from("<H6xQ", data, at)
        step = size if index == 0 else HEADER + (size + 7) // 8 * 8
        if step < HEADER or at + step > end:
            return False
        at += step
    return True
