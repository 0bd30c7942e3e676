"""Finished clips kept beside a store of event frames that is being made, so that a run can be stopped at any moment.

A part is one file per clip: magic, sha256 of the rest, length of the header (big-endian, 4 bytes), the header as JSON,
and the chunks of the frames one behind the other. It holds no labels: these are joined when the store is written. A
damaged or foreign part counts as missing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.clip_source import ClipSource, source_digest, source_stamp
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frame_source import ClipFrames, make_frames
from neuroemo.datasets.parts import write_aside
from neuroemo.events.slow_motion_weights import NetworkWeights

MAGIC = b"neuroemo-event-frames-part 1\n"

_DIGEST = 32
_LENGTH = 4


@dataclass(frozen=True, slots=True)
class FramePartJob:
    """One clip to make; ``key`` names its part; ``labels`` is how many labels it has, 0 where not one per frame."""

    key: str
    source: ClipSource
    settings: EventFrameSettings
    labels: int


@dataclass(frozen=True, slots=True)
class FramePart:
    """What a part says about its clip, without the frames; see ``ClipFrames``. ``sizes`` are bytes of chunks."""

    key: str
    versions: dict[str, str]
    source_sha256: str
    sha256: str
    times_us: list[float]
    events: list[int]
    nearest: list[int]
    video_frames: int
    left_out: int
    sizes: list[int]


def frame_versions(settings: EventFrameSettings) -> dict[str, str]:
    """Return the versions of whatever decides about the bytes of a clip."""
    from importlib.metadata import version

    import av
    import cv2
    import numpy as np

    found = {"neuroemo": version("neuroemo"), "numpy": np.__version__, "opencv": cv2.__version__}
    if settings.model != "codes":
        found["numba"] = version("numba")
    if settings.model == "pixel":
        found["av"] = av.__version__
    if settings.slow_motion is not None and isinstance(settings.slow_motion.method, NetworkWeights):
        found["torch"] = version("torch")
    return found


def frame_part_job(
    source: ClipSource, settings: EventFrameSettings, labels: int, versions: dict[str, str]
) -> FramePartJob:
    """Return the job of a clip; a source that changed in size or time gets another key, as do other settings."""
    stamp = source_stamp(Path(source.path))
    text = json.dumps([asdict(source), stamp, settings.to_dict(), labels, versions], sort_keys=True)
    key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return FramePartJob(key, source, settings, labels)


def make_frame_part(job: FramePartJob) -> bytes | tuple[Finding, ...]:
    """Make one part (runs in a worker process); a broken clip gives its findings."""
    try:
        clip = make_frames(job.source, job.settings, job.labels)
    except InputError as error:
        return error.findings
    return _pack(job, clip)


def _pack(job: FramePartJob, clip: ClipFrames) -> bytes:
    header = FramePart(
        job.key,
        frame_versions(job.settings),
        source_digest(Path(job.source.path)),
        clip.sha256,
        clip.times_us,
        clip.events,
        clip.nearest,
        clip.video_frames,
        clip.left_out,
        [len(chunk) for chunk in clip.chunks],
    )
    text = json.dumps(asdict(header)).encode()
    rest = len(text).to_bytes(_LENGTH, "big") + text + b"".join(clip.chunks)
    return MAGIC + hashlib.sha256(rest).digest() + rest


def unpack_frame_part(data: bytes, key: str) -> tuple[FramePart, list[bytes]] | None:
    """Return header and chunks of a part, or None when it is damaged or another clip's."""
    rest = data[len(MAGIC) + _DIGEST :]
    if not data.startswith(MAGIC) or data[len(MAGIC) : len(MAGIC) + _DIGEST] != hashlib.sha256(rest).digest():
        return None
    start = _LENGTH + int.from_bytes(rest[:_LENGTH], "big")
    told: dict[str, Any] = json.loads(rest[_LENGTH:start])
    header = FramePart(**told)
    if header.key != key:
        return None
    chunks = []
    for size in header.sizes:
        chunks.append(rest[start : start + size])
        start += size
    return header, chunks


def load_frame_part(folder: Path, key: str) -> tuple[FramePart, list[bytes]] | None:
    """Return a finished clip, or None when there is no whole part of it."""
    try:
        return unpack_frame_part((folder / f"{key}.part").read_bytes(), key)
    except FileNotFoundError:
        return None


def save_frame_part(folder: Path, key: str, data: bytes) -> None:
    """Keep a finished clip."""
    write_aside(folder / f"{key}.part", data)
