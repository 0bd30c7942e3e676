"""The paired time-reversal control: drawn faces forward and backward, for finding errors of time and polarity.

Each clip of the drawn faces (``faces.py``) appears twice, once with its frames in reversed order, and the two
have opposite labels. The frames are reversed before the simulation, so that a simulator with memory or noise sees
an ordinary video. A feature that is the same for a video and its reversal is the same for both clips of a pair and
is right for exactly one of them: its accuracy is 1/2 by construction, not by luck.

Two kinds of pair, because neither asks for everything. ``change``: neutral to expression, v(t) from 0 to v; the
label is the sign of v_end - v_start. Events without polarity, summed over time, are at exactly 1/2; but polarity
summed over time is the difference of last and first frame, and answers without any order. ``order``: neutral,
expression, neutral, the opposite expression, neutral; the label is the sign of the first change. Every difference of
adjoining frames occurs forward as often as backward, so every feature that ignores the order of the steps, polarity
or not, is at exactly 1/2; but two expressions move in different places, and answer without polarity. A
network that is given polarity and time correctly learns both kinds; one that loses polarity fails the first, one that
loses time the second (benchmarks/reversal.py).

Synthetic: a score says that events reach the network as they should, and nothing about reading people.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.chunks import EncodedClip, encode_clip
from neuroemo.datasets.faces import GENERATOR_VERSION, FaceClip, FacesSettings, plan_faces
from neuroemo.datasets.pool import parallel_map
from neuroemo.datasets.store import ClipStore
from neuroemo.datasets.store_file import pack_clip, write_store
from neuroemo.events.clip import Clip
from neuroemo.events.framediff import FrameDiffSettings, frame_difference

Frames = npt.NDArray[np.uint8]
Kind = Literal["change", "order"]
Kept = Literal["all", "no-polarity", "no-order"]
Simulated = TypeVar("Simulated")
Progress = Callable[[int, int], None]

CONTROL_VERSION = 1
"""Rises whenever the same settings give other pairs; the faces have a version of their own."""
CLASSES = ("falls", "rises")
MIN_CHANGE = 0.25
STORE_NAME = "clips.h5"
MANIFEST_NAME = "reversal.json"


@dataclass(frozen=True, slots=True)
class ReversalSettings:
    """Which pairs to make: ``subjects`` x ``clips_per_subject`` pairs of square clips of ``size`` pixels.

    ``frames`` are rendered per expression at ``fps``; the expression changes within the first 13 frames. An
    "order" clip takes every ``stride``-th of them, from the first to the last: without a memory as long as half
    a clip no network solves it, and the fewer the steps, the shorter that is; "change" takes all. ``keep`` damages
    the events on purpose, for comparison: "no-polarity" puts every event in both channels, "no-order" shuffles the
    spike steps of each clip.

    Raises ``InputError`` with one finding per value out of range.
    """

    kind: Kind = "change"
    subjects: int = 20
    clips_per_subject: int = 12
    size: int = 32
    frames: int = 15
    stride: int = 7
    fps: float = 15.0
    seed: int = 0
    keep: Kept = "all"

    def __post_init__(self) -> None:
        """Check every field; those of the faces by their own rules."""
        findings: list[Finding] = []
        try:
            self.faces()
        except InputError as error:
            findings.extend(error.findings)
        for name, value, choices in (("kind", self.kind, get_args(Kind)), ("keep", self.keep, get_args(Kept))):
            if value not in choices:
                findings.append(Finding("E795", "error", name, repr(value), f"one of {', '.join(choices)}"))
        if not isinstance(self.stride, int) or isinstance(self.stride, bool) or self.stride < 1:
            findings.append(Finding("E795", "error", "stride", repr(self.stride), "an integer from 1"))
        elif not findings and self.kind == "order" and (self.frames - 1) % self.stride:
            limit = f"1 more than a multiple of stride {self.stride}"
            fix = "the last frame is the expression and has to be taken"
            findings.append(Finding("E795", "error", "frames", repr(self.frames), limit, fix=fix))
        if findings:
            raise InputError(findings)

    def faces(self) -> FacesSettings:
        """Return the settings of the faces that are rendered."""
        return FacesSettings(self.subjects, self.clips_per_subject, self.size, self.fps, self.frames, self.seed)

    @property
    def frame_count(self) -> int:
        """Number of frames of one clip.

        >>> ReversalSettings("change").frame_count, ReversalSettings("order").frame_count
        (15, 9)
        """
        return self.frames if self.kind == "change" else 4 * ((self.frames - 1) // self.stride) + 1


@dataclass(frozen=True, slots=True)
class ReversalPair:
    """One pair: ``rises`` is the label of the forward clip (the reversed one has the other), ``change`` its valence."""

    name: str
    face: FaceClip
    change: float
    rises: bool

    def label(self, reversed_: bool) -> str:
        """Return the class of one of the two clips."""
        return CLASSES[int(self.rises != reversed_)]


def valence_over_time(settings: ReversalSettings, face: FaceClip) -> npt.NDArray[np.float64]:
    """Return the valence [F] that the generator draws in each frame of one face clip."""
    from neuroemo.datasets.faces_clip import expression_at, plan_clip

    # The generator's own stream of nuisances (faces_clip.clip_frames): when the change starts and how long it takes.
    random = np.random.default_rng([settings.seed, 2, face.subject_index, face.clip_index])
    plan = plan_clip(random, face.valence, face.arousal)
    return np.array([expression_at(plan, n, settings.fps).valence for n in range(settings.frames)])


def plan_pairs(settings: ReversalSettings) -> tuple[ReversalPair, ...]:
    """Return all pairs whose valence changes by more than ``MIN_CHANGE`` from the first frame to the last.

    Splits are those of the faces: no subject is in two of them.

    Raises ``InputError`` when a split has no pair, because the clips are too short for the change.

    >>> pairs = plan_pairs(ReversalSettings(subjects=5, clips_per_subject=2))
    >>> len(pairs), pairs[0].label(False) != pairs[0].label(True), sorted({pair.face.split for pair in pairs})
    (10, True, ['test', 'train', 'val'])
    """
    pairs = []
    for face in plan_faces(settings.faces()):
        valence = valence_over_time(settings, face)
        change = float(valence[-1] - valence[0])
        if abs(change) > MIN_CHANGE:
            name = f"{face.subject}_{face.clip_index:03d}"
            pairs.append(ReversalPair(name, face, change, change > 0))
    missing = {"train", "val", "test"} - {pair.face.split for pair in pairs}
    if missing:
        found = f"no pair changes by more than {MIN_CHANGE} in {', '.join(sorted(missing))}"
        fix = "give at least 13 frames: the expression is complete by then"
        raise InputError(Finding("E795", "error", f"frames {settings.frames}", found, fix=fix))
    return tuple(pairs)


def pair_frames(settings: ReversalSettings, pair: ReversalPair) -> tuple[Frames, Frames]:
    """Return the gray frames uint8 [F, size, size] of a pair: forward, and the same in reversed order."""
    if settings.kind == "change":
        forward = _render(settings, pair.face, 1.0)
    else:
        # Frame 0 of both is one and the same picture: the generator's first frame carries no label.
        first, second = (_render(settings, pair.face, sign)[:: settings.stride] for sign in (1.0, -1.0))
        forward = np.concatenate([first, first[-2::-1], second[1:], second[-2::-1]])
    return forward, np.ascontiguousarray(forward[::-1])


def _render(settings: ReversalSettings, face: FaceClip, sign: float) -> Frames:
    from neuroemo.datasets.faces_clip import clip_frames

    return clip_frames(
        settings.seed,
        face.subject_index,
        face.clip_index,
        sign * face.valence,
        face.arousal,
        size=settings.size,
        frames=settings.frames,
        fps=settings.fps,
    )


def simulate_pair(
    settings: ReversalSettings, pair: ReversalPair, simulate: Callable[[Frames], Simulated]
) -> tuple[Simulated, Simulated]:
    """Return what any simulator makes of the forward and of the reversed frames; it starts anew for each."""
    forward, backward = pair_frames(settings, pair)
    return simulate(forward), simulate(backward)


def event_settings(
    settings: ReversalSettings, *, sens: float = 0.02, first_frame: Literal["float", "spikes"] = "spikes"
) -> FrameDiffSettings:
    """Return settings of the frame differences that take all frames of a clip, no more and no fewer.

    Raises ``InputError`` for a gray first frame with ``kind="change"``: that of a reversed clip shows the
    expression, so a network could answer from the picture and the control would control nothing.
    """
    steps = settings.frame_count if first_frame == "float" else settings.frame_count - 1
    wanted = FrameDiffSettings(size=settings.size, steps=steps, sens=sens, first_frame=first_frame)
    _check_events(settings, wanted)
    return wanted


def _check_events(settings: ReversalSettings, events: FrameDiffSettings) -> None:
    findings = []
    if settings.kind == "change" and events.first_frame == "float":
        found = "'float' with kind 'change': the first frame of a reversed clip shows the expression"
        fix = "use first_frame='spikes' (puresnn), or kind='order', where all clips start at the neutral face"
        findings.append(Finding("E795", "error", "first_frame", found, "'spikes'", fix=fix))
    if events.frames_needed != settings.frame_count or events.size != settings.size:
        found = f"{events.frames_needed} frames of {events.size} pixels"
        limit = f"{settings.frame_count} frames of {settings.size} pixels, as rendered"
        fix = "cut or padded, a clip and its reversal show different moments: use event_settings()"
        findings.append(Finding("E795", "error", "events", found, limit, fix=fix))
    if findings:
        raise InputError(findings)


def pair_clips(settings: ReversalSettings, pair: ReversalPair, events: FrameDiffSettings) -> tuple[Clip, Clip]:
    """Return both clips of a pair as frame differences, damaged if ``settings.keep`` says so.

    Raises ``InputError`` for event settings that do not take exactly the frames of a clip (``event_settings``).
    """
    _check_events(settings, events)
    forward, backward = pair_frames(settings, pair)
    return _clip(settings, pair, forward, events, 0), _clip(settings, pair, backward, events, 1)


def _clip(settings: ReversalSettings, pair: ReversalPair, frames: Frames, events: FrameDiffSettings, side: int) -> Clip:
    """Simulate one side of a pair (0 forward, 1 reversed) and damage it as the settings say."""
    clip = frame_difference(frames, events, fps=settings.fps)
    spikes = clip.spikes.copy()
    if settings.keep == "no-polarity":
        spikes[:] = spikes.max(axis=1, keepdims=True)
    elif settings.keep == "no-order":
        random = np.random.default_rng([settings.seed, 3, pair.face.subject_index, pair.face.clip_index, side])
        real = spikes[clip.spike_start : clip.valid_steps]
        real[:] = real[random.permutation(len(real))]
    return Clip(spikes, clip.first_frame, clip.valid_steps, clip.fps)


def prepare_reversal(
    out_dir: str | Path,
    settings: ReversalSettings,
    events: FrameDiffSettings | None = None,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> ClipStore:
    """Render and simulate all pairs into ``DIR/clips.h5`` with ``DIR/reversal.json``, and open the store.

    The manifest holds the settings, the versions of the control, of the faces and of OpenCV, the number of pairs and
    of those left out, and a SHA-256 over all spikes and labels: two results are comparable when these agree.
    ``progress(done, total)`` counts pairs. The store and then the manifest are moved to their places when complete.

    Raises ``InputError`` for a folder that holds something already, or that cannot be written.
    """
    root = Path(out_dir)
    wanted = events if events is not None else event_settings(settings)
    _check_events(settings, wanted)
    pairs = plan_pairs(settings)
    temporary = root / f".{STORE_NAME}.{os.getpid()}.tmp"
    try:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            fix = "give a new or an empty folder"
            raise InputError(Finding("E796", "error", str(root), "exists and is not an empty folder", fix=fix))
        root.mkdir(parents=True, exist_ok=True)
        digest = _write_clips(temporary, settings, wanted, pairs, workers, progress)
        os.replace(temporary, root / STORE_NAME)
        _write_manifest(root, settings, wanted, len(pairs), digest)
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        fix = "check the path, its rights and the free space"
        raise InputError(Finding("E796", "error", str(root), found, fix=fix)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return ClipStore.open(root / STORE_NAME)


def _write_clips(
    path: Path,
    settings: ReversalSettings,
    events: FrameDiffSettings,
    pairs: tuple[ReversalPair, ...],
    workers: int,
    progress: Progress | None,
) -> str:
    """Write the store, forward and reversed clip of each pair in turn; return the hash of its content."""
    labels = [CLASSES.index(pair.label(side)) for pair in pairs for side in (False, True)]
    digest = hashlib.sha256(bytes(labels))

    def encoded() -> Iterator[EncodedClip]:
        jobs = [(settings, pair, events) for pair in pairs]
        for done, both in enumerate(parallel_map(_encode_pair, jobs, workers=workers), start=1):
            for clip, spikes in both:
                digest.update(spikes)
                yield clip
            if progress is not None:
                progress(done, len(pairs))

    write_store(
        path,
        encoded(),
        settings=events,
        classes=CLASSES,
        labels=labels,
        splits=[pair.face.split for pair in pairs for _ in range(2)],
        subjects=[pair.face.subject for pair in pairs for _ in range(2)],
        names=[f"{pair.name}{ending}" for pair in pairs for ending in ("_forward", "_reversed")],
    )
    return digest.hexdigest()


def _encode_pair(
    job: tuple[ReversalSettings, ReversalPair, FrameDiffSettings],
) -> list[tuple[EncodedClip, bytes]]:
    """Make both clips of a pair, each with the hash of its spikes (runs in a worker process)."""
    settings, pair, events = job
    made = []
    for side, frames in enumerate(pair_frames(settings, pair)):
        packed = pack_clip(_clip(settings, pair, frames, events, side), frames)
        made.append((encode_clip(packed), hashlib.sha256(packed.spikes.tobytes()).digest()))
    return made


def _versions() -> dict[str, Any]:
    import cv2

    return {"control": CONTROL_VERSION, "faces": GENERATOR_VERSION, "opencv": cv2.__version__}


def _write_manifest(root: Path, settings: ReversalSettings, events: FrameDiffSettings, pairs: int, digest: str) -> None:
    manifest = {
        "generator": "neuroemo-reversal",
        "versions": _versions(),
        "settings": asdict(settings),
        "events": events.to_dict(),
        "pairs": pairs,
        "left_out": settings.subjects * settings.clips_per_subject - pairs,
        "sha256": digest,
    }
    temporary = root / f".{MANIFEST_NAME}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, root / MANIFEST_NAME)


def read_manifest(out_dir: str | Path) -> dict[str, Any]:
    """Return the manifest of a prepared control.

    Raises ``InputError`` when it is missing or malformed, or was made by another version of the control or of the
    faces: results on the two cannot be compared. Another OpenCV is no error; compare ``sha256`` then.
    """
    path = Path(out_dir) / MANIFEST_NAME
    fix = "prepare the control again, in a new folder"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"no readable manifest ({type(error).__name__})"
        raise InputError(Finding("E796", "error", str(path), found, fix=fix)) from error
    versions = manifest.get("versions") if isinstance(manifest, dict) else None
    if not isinstance(versions, dict) or not isinstance(manifest.get("sha256"), str):
        raise InputError(Finding("E796", "error", str(path), "not a manifest of this control", fix=fix))
    findings = [
        Finding("E796", "error", str(path), f"version {versions.get(name)!r} of {name}", repr(number), fix=fix)
        for name, number in _versions().items()
        if name != "opencv" and versions.get(name) != number
    ]
    if findings:
        raise InputError(findings)
    found_manifest: dict[str, Any] = manifest
    return found_manifest
