"""Read the tensors of a torch checkpoint as data: nothing in the file is executed, whatever it asks for.

Since version 1.6 torch saves a zip archive: ``NAME/data.pkl`` is a pickle program that describes the tensors, and
``NAME/data/KEY`` holds the bytes of each. Unpickling runs what the program names. Here the program is only listed
(``pickletools``, which executes nothing) and followed for the few operations that describe a dictionary of tensors;
any other operation or name ends the reading.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PROGRAM_BYTES_MAX = 1 << 20
"""Largest description; that of a ResNet18 has 20 thousand bytes."""
TYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
"""The storages that weights and counters lie in."""

_DAMAGE = (zipfile.BadZipFile, ValueError, EOFError, OSError, RuntimeError, NotImplementedError, struct.error)
"""What the zip reader of the standard library raises for files that are damaged or made to confuse it."""


class NotTensors(ValueError):
    """The file is damaged, or it is something else than a dictionary of plain tensors."""


@dataclass(frozen=True, slots=True)
class Name:
    """A function or class that the program names, and that is never looked up."""

    text: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes of the archive: ``count`` values of a type in the file ``data/KEY``."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as the program describes it: values from ``offset`` of a storage, rows one after another."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]


def describe(data: bytes) -> dict[str, Stored]:
    """Return what the archive says of its tensors, by name, before any of them is read.

    Raises:
        NotTensors: no zip archive of torch, or one that holds anything else.
    """
    with _opened(data) as archive:
        root = _root(archive)
        order = _bytes(archive, f"{root}/byteorder", 16) if f"{root}/byteorder" in archive.namelist() else b"little"
        if order != b"little":
            raise NotTensors("values of the other byte order")
        return _Program(_bytes(archive, f"{root}/data.pkl", PROGRAM_BYTES_MAX)).run()


def read(data: bytes, tensors: dict[str, Stored]) -> dict[str, npt.NDArray[Any]]:
    """Return the values of described tensors.

    Raises:
        NotTensors: bytes that are missing, too few or damaged.
    """
    with _opened(data) as archive:
        root = _root(archive)
        return {name: _values(archive, root, stored) for name, stored in tensors.items()}


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGE as error:
        raise NotTensors(f"no readable zip archive: {error}") from error


def _root(archive: zipfile.ZipFile) -> str:
    """Return the one folder of the archive, which holds ``data.pkl``."""
    roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise NotTensors(f"{len(roots)} files data.pkl in the archive")
    return roots[0]


def _bytes(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return a file of the archive that is stored as it is and not longer than ``most``."""
    try:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
            raise NotTensors(f"{name[:80]} is compressed or has more than {most} bytes")
        return archive.read(info)
    except KeyError as error:
        raise NotTensors(f"no {name[:80]} in the archive") from error
    except NotTensors:
        raise
    except _DAMAGE as error:
        raise NotTensors(f"{name[:80]}: {error}") from error


def _values(archive: zipfile.ZipFile, root: str, stored: Stored) -> npt.NDArray[Any]:
    storage, count = stored.storage, math.prod(stored.shape)
    size = storage.count * storage.dtype.itemsize
    raw = _bytes(archive, f"{root}/data/{storage.key}", size)
    if len(raw) != size:
        raise NotTensors(f"data/{storage.key[:40]} has {len(raw)} bytes, not {size}")
    values = np.frombuffer(raw, storage.dtype)[stored.offset : stored.offset + count]
    return values.reshape(stored.shape).copy()


class _Program:
    """Follow a pickle program that builds a dictionary of tensors, without Python's own machine for it."""

    def __init__(self, program: bytes) -> None:
        self.program = program
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> dict[str, Stored]:
        """Return the dictionary that the program ends with."""
        try:
            for code, argument, _ in pickletools.genops(self.program):
                step = _STEPS.get(code.name)
                if step is None:
                    raise NotTensors(f"operation {code.name}, which no dictionary of tensors needs")
                step(self, argument)
        except NotTensors:
            raise
        except (ValueError, IndexError, KeyError, OverflowError) as error:
            raise NotTensors(f"a damaged description: {str(error)[:80]}") from error
        result = self.stack[-1] if self.stack else None
        if not isinstance(result, dict) or not all(isinstance(value, Stored) for value in result.values()):
            raise NotTensors("something else than a dictionary of tensors")
        return result

    def since_mark(self) -> list[Any]:
        """Take what lies on the stack above the last mark."""
        start = self.marks.pop()
        return list(self.take(len(self.stack) - start))

    def take(self, count: int) -> tuple[Any, ...]:
        """Take the topmost values."""
        if count > len(self.stack):
            raise IndexError("too few values")
        taken = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return taken

    def set_items(self, pairs: list[Any]) -> None:
        """Put keys and values into the dictionary that lies on top."""
        target = self.stack[-1]
        keys, values = pairs[::2], pairs[1::2]
        if not isinstance(target, dict) or len(keys) != len(values) or not all(isinstance(key, str) for key in keys):
            raise NotTensors("a dictionary with keys that are no names")
        target.update(zip(keys, values, strict=True))

    def call(self) -> None:
        """Do what a call of one of the known names would do; the name itself is never looked up."""
        name, arguments = self.take(2)
        known = _CALLS.get(name.text) if isinstance(name, Name) else None
        if known is None or not isinstance(arguments, tuple):
            shown = name.text[:80] if isinstance(name, Name) else "something without a name"
            raise NotTensors(f"a call of {shown}, which was not made")
        self.stack.append(known(*arguments))

    def build(self) -> None:
        """Drop what would become attributes of a dictionary: the versions of torch's modules."""
        self.take(1)
        if not isinstance(self.stack[-1], dict):
            raise NotTensors("attributes of something else than a dictionary")


def _storage(program: _Program, _: Any) -> None:
    told = program.take(1)[0]
    fits = isinstance(told, tuple) and len(told) == 5 and told[0] == "storage" and isinstance(told[1], Name)
    if not fits or not isinstance(told[2], str) or not _is_count(told[4]):
        raise NotTensors("a storage that is described in another way")
    module, _, kind = told[1].text.partition(" ")
    if module != "torch" or kind not in TYPES:
        raise NotTensors(f"values of type {told[1].text[:40]}; readable are {', '.join(TYPES)}")
    program.stack.append(Storage(told[2], TYPES[kind], told[4]))


def _tensor(*arguments: Any) -> Stored:
    if len(arguments) < 4:
        raise NotTensors("a tensor that is described in another way")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, Storage) or not _is_count(offset) or not _are_counts(shape) or not _are_counts(strides):
        raise NotTensors("a tensor that is described in another way")
    count, rows = math.prod(shape), tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    if strides != rows or offset + count > storage.count:
        raise NotTensors("a tensor whose values do not lie one after another in its storage")
    return Stored(storage, offset, shape)


def _parameter(*arguments: Any) -> Stored:
    if not arguments or not isinstance(arguments[0], Stored):
        raise NotTensors("a parameter that is no tensor")
    return arguments[0]


def _dictionary(*arguments: Any) -> dict[str, Any]:
    if arguments:
        raise NotTensors("a dictionary that is described in another way")
    return {}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _are_counts(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= 8 and all(map(_is_count, values))


_CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "collections OrderedDict": _dictionary,
}


def _push(program: _Program, value: Any) -> None:
    program.stack.append(value)


def _put(program: _Program, key: int) -> None:
    program.memo[key] = program.stack[-1]


def _tuple(count: int) -> Callable[[_Program, Any], None]:
    return lambda program, _: program.stack.append(program.take(count))


def _constant(value: Any) -> Callable[[_Program, Any], None]:
    return lambda program, _: program.stack.append(value)


_STEPS: dict[str, Callable[[_Program, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda program, _: None),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"), _push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda program, key: program.stack.append(program.memo[key])),
    "MEMOIZE": lambda program, _: _put(program, len(program.memo)),
    "GLOBAL": lambda program, text: program.stack.append(Name(text)),
    "MARK": lambda program, _: program.marks.append(len(program.stack)),
    "EMPTY_DICT": lambda program, _: program.stack.append({}),
    "EMPTY_TUPLE": _constant(()),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "NONE": _constant(None),
    "TUPLE": lambda program, _: program.stack.append(tuple(program.since_mark())),
    **{f"TUPLE{count}": _tuple(count) for count in (1, 2, 3)},
    "SETITEM": lambda program, _: program.set_items(list(program.take(2))),
    "SETITEMS": lambda program, _: program.set_items(program.since_mark()),
    "BINPERSID": _storage,
    "REDUCE": lambda program, _: program.call(),
    "BUILD": lambda program, _: program.build(),
}
