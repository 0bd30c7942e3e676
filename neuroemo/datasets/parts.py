"""Finished clips kept beside a store that is being made, so that a run can be stopped at any moment.

A part is one file per clip: magic, sha256 of the rest, length of the header (big-endian, 4 bytes), the header as
JSON, and the chunks of the pictures one behind the other. It is written aside and moved to its name, and
a damaged or foreign one counts as missing, so whatever is found under a name is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.chunks import EncodedClip, encode_clip
from neuroemo.datasets.clip_settings import ClipSettings, model_of
from neuroemo.datasets.clip_source import ClipSource, make_clip, source_digest, source_stamp

MAGIC = b"neuroemo-part 1\n"

_DIGEST = 32
_LENGTH = 4


@dataclass(frozen=True, slots=True)
class PartJob:
    """One clip to make; ``key`` names its part and changes with the source, the settings and the libraries."""

    key: str
    source: ClipSource
    settings: ClipSettings
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PartHeader:
    """What a part says about its clip; ``sizes`` are the bytes of each picture's chunk, in order."""

    key: str
    versions: dict[str, str]
    source_sha256: str
    sha256: str
    valid_steps: int
    fps: float
    events: tuple[int, int, int]
    sizes: dict[str, int]


def library_versions(settings: ClipSettings) -> dict[str, str]:
    """Return the versions of whatever decides about the bytes of a clip."""
    from importlib.metadata import version

    import av
    import cv2
    import numpy as np

    found = {"neuroemo": version("neuroemo"), "numpy": np.__version__, "opencv": cv2.__version__, "av": av.__version__}
    if model_of(settings) == "pixel":
        found["numba"] = version("numba")
    from neuroemo.events.slow_motion_weights import NetworkWeights

    between = getattr(settings, "slow_motion", None)
    if between is not None and isinstance(between.method, NetworkWeights):
        found["torch"] = version("torch")
    return found


def part_key(source: ClipSource, settings: ClipSettings, versions: dict[str, str]) -> str:
    """Return the name of a clip's part; a source that changed in size or time gets another."""
    stamp = source_stamp(Path(source.path))
    text = json.dumps([asdict(source), stamp, settings.to_dict(), versions], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def make_part(job: PartJob) -> bytes | tuple[Finding, ...]:
    """Make one part (runs in a worker process, here or on a cluster); a broken clip gives its findings."""
    try:
        clip = encode_clip(make_clip(job.source, job.settings))
    except InputError as error:
        return error.findings
    return _pack(job, library_versions(job.settings), source_digest(Path(job.source.path)), clip)


def _pack(job: PartJob, versions: dict[str, str], source_sha256: str, clip: EncodedClip) -> bytes:
    sizes = {name: len(chunk) for name, chunk in clip.pictures.items()}
    header = PartHeader(job.key, versions, source_sha256, clip.sha256, clip.valid_steps, clip.fps, clip.events, sizes)
    text = json.dumps(asdict(header)).encode()
    rest = len(text).to_bytes(_LENGTH, "big") + text + b"".join(clip.pictures.values())
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack_part(data: bytes, key: str) -> tuple[PartHeader, EncodedClip] | None:
    """Return header and clip of a part, or None when it is damaged or another clip's."""
    rest = data[len(MAGIC) + _DIGEST :]
    if not data.startswith(MAGIC) or data[len(MAGIC) : len(MAGIC) + _DIGEST] != hashlib.sha256(rest).digest():
        return None
    start = _LENGTH + int.from_bytes(rest[:_LENGTH], "big")
    told: dict[str, Any] = json.loads(rest[_LENGTH:start])
    header = PartHeader(**told | {"events": tuple(told["events"])})
    if header.key != key:
        return None
    pictures = {}
    for name, size in header.sizes.items():
        pictures[name] = rest[start : start + size]
        start += size
    return header, EncodedClip(pictures, header.valid_steps, header.fps, header.events, header.sha256)


@dataclass(frozen=True, slots=True)
class PartFolder:
    """The folder of parts beside a store: ``.NAME.parts``."""

    path: Path

    def load(self, key: str) -> tuple[PartHeader, EncodedClip] | None:
        """Return a finished clip, or None when there is no whole part of it."""
        try:
            return unpack_part((self.path / f"{key}.part").read_bytes(), key)
        except FileNotFoundError:
            return None

    def save(self, key: str, data: bytes) -> None:
        """Keep a finished clip."""
        write_aside(self.path / f"{key}.part", data)


def write_aside(path: Path, data: bytes, temporary: Path | None = None) -> None:
    """Write a file beside its place and move it there: it is there whole, or not at all."""
    aside = temporary or path.with_name(f".{path.name}.tmp")
    aside.write_bytes(data)
    os.replace(aside, path)


def parts_path(target: Path) -> Path:
    """Return where the parts of a store lie.

    >>> parts_path(Path("runs/clips.h5")).as_posix()
    'runs/.clips.h5.parts'
    """
    return target.with_name(f".{target.name}.parts")


@contextmanager
def part_folder(target: Path) -> Iterator[PartFolder]:
    """Make or reopen the folder of parts, for this process alone.

    Raises ``InputError`` while another process prepares the same store; the lock ends with its process.
    """
    folder = parts_path(target)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        _lock(lock, target)
        yield PartFolder(folder)


def remove_parts(target: Path) -> None:
    """Remove the folder of parts of a finished store."""
    shutil.rmtree(parts_path(target), ignore_errors=True)


def _lock(file: Any, target: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two runs into one store are the user's to avoid
        return
    try:
        # A lock of this process, not of the open file: workers that outlive a killed parent must not hold it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        found, fix = "another process is preparing it", "wait for it, or stop it"
        raise InputError(Finding("E797", "error", str(target), found, fix=fix)) from error
