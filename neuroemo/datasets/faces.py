"""Procedural talking faces: a small labelled video set that anybody can make, without people in it.

Synthetic, and to be called so: the link from label to face is ours (valence bends mouth and brows, arousal
opens eyes and mouth), so a score on it says nothing about reading people. What it is good for is a test of
the whole chain with known answers: the class shows in the *change* from the neutral to the target face,
while looks, resting face, light, background, head motion, speech and noise are independent of it.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError

GENERATOR_VERSION = 1
CLASSES = ("negative", "positive")
MIN_VALENCE = 0.5
Progress = Callable[[int, int], None]

_SPLITS = ("train", "train", "train", "val", "test")
_LABELS = "labels.csv"
_SETTINGS = "faces.json"


@dataclass(frozen=True, slots=True)
class FacesSettings:
    """Which faces to render: subjects x clips, square video of ``size`` pixels, ``frames`` at ``fps``.

    Every subject has as many negative as positive clips, so ``clips_per_subject`` is even; at least 5
    subjects make train, val and test disjoint (3 : 1 : 1). The expression changes within the first 13
    frames. Raises ``InputError`` with one finding per value out of range.
    """

    subjects: int = 50
    clips_per_subject: int = 24
    size: int = 96
    fps: float = 15.0
    frames: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = [
            finding
            for name, low, high in (
                ("subjects", 5, 10_000),
                ("clips_per_subject", 2, 1_000),
                ("size", 32, 512),
                ("frames", 2, 1_000),
                ("seed", 0, 2**32 - 1),
            )
            for finding in _out_of_range(name, getattr(self, name), low, high)
        ]
        if not findings and (self.clips_per_subject % 2 or self.size % 2):
            found = f"clips_per_subject {self.clips_per_subject}, size {self.size}"
            fix = "classes are balanced within a subject, and the video codec wants even sides"
            findings.append(Finding("E751", "error", "faces", found, "even numbers", fix=fix))
        if not isinstance(self.fps, (int, float)) or not 1.0 <= self.fps <= 240.0:
            findings.append(Finding("E750", "error", "fps", repr(self.fps), "1..240"))
        if findings:
            raise InputError(findings)


def _out_of_range(name: str, value: object, low: int, high: int) -> list[Finding]:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [Finding("E750", "error", name, repr(value), f"an integer in {low}..{high}")]


@dataclass(frozen=True, slots=True)
class FaceClip:
    """One row of ``labels.csv``: where a clip lies and what it shows."""

    file: str
    label: str
    subject: str
    split: str
    valence: float
    arousal: float
    subject_index: int
    clip_index: int


def plan_faces(settings: FacesSettings) -> tuple[FaceClip, ...]:
    """Return all clips of a data set, in order: subject by subject, classes shuffled within a subject.

    The class is the sign of valence; ``|valence|`` is uniform in [0.5, 1] and arousal uniform in [-1, 1],
    independent of it.

    >>> clips = plan_faces(FacesSettings(subjects=5, clips_per_subject=4))
    >>> len(clips), clips[0].file.endswith("/s00_000.mp4"), [clip.split for clip in clips[::4]]
    (20, True, ['train', 'train', 'train', 'val', 'test'])
    """
    return tuple(clip for subject in range(settings.subjects) for clip in _subject_clips(settings, subject))


def _subject_clips(settings: FacesSettings, subject: int) -> Iterator[FaceClip]:
    rng = np.random.default_rng([settings.seed, 0, subject])
    count = settings.clips_per_subject
    signs = rng.permutation(np.repeat([-1.0, 1.0], count // 2))
    strengths = rng.uniform(MIN_VALENCE, 1.0, count)
    arousals = rng.uniform(-1.0, 1.0, count)
    name = f"s{subject:02d}"
    for index in range(count):
        label = CLASSES[int(signs[index] > 0)]
        yield FaceClip(
            file=f"{label}/{name}_{index:03d}.mp4",
            label=label,
            subject=name,
            split=_SPLITS[subject % len(_SPLITS)],
            valence=round(float(signs[index] * strengths[index]), 4),
            arousal=round(float(arousals[index]), 4),
            subject_index=subject,
            clip_index=index,
        )


def render_faces(
    out_dir: str | Path, settings: FacesSettings, *, workers: int = 2, progress: Progress | None = None
) -> Path:
    """Render a data set to ``DIR/<negative|positive>/sNN_kkk.mp4`` with ``labels.csv``; return ``DIR``.

    A clip depends on the settings and its place alone, whatever the number of workers. An interrupted run
    is resumed: finished files are kept. ``progress(done, total)`` is called after every clip.

    Raises ``InputError`` when ``DIR`` holds faces of other settings, or cannot be written.
    """
    root = Path(out_dir)
    clips = plan_faces(settings)
    try:
        _claim_folder(root, settings)
        for label in CLASSES:
            (root / label).mkdir(exist_ok=True)
        missing = [clip for clip in clips if not (root / clip.file).exists()]
        done = len(clips) - len(missing)
        for count, _ in enumerate(_render_all(root, settings, missing, workers), start=done + 1):
            if progress is not None:
                progress(count, len(clips))
        _write_aside(root / _LABELS, _labels_text(clips))
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        fix = "check the path, its rights and the free space"
        raise InputError(Finding("E753", "error", str(root), found, fix=fix)) from error
    return root


def _claim_folder(root: Path, settings: FacesSettings) -> None:
    """Write ``faces.json``, or check that the one there is of the same settings and generator."""
    wanted = {"generator": "neuroemo-faces", "version": GENERATOR_VERSION, **asdict(settings)}
    record = root / _SETTINGS
    if not record.exists():
        if root.is_dir() and any(root.iterdir()):
            fix = "give a new or an empty folder"
            raise InputError(Finding("E752", "error", str(root), "folder holds other files", fix=fix))
        root.mkdir(parents=True, exist_ok=True)
        _write_aside(record, json.dumps(wanted, indent=2, sort_keys=True) + "\n")
        return
    found = _read_record(record)
    if found != wanted:
        differing = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
        text = ", ".join(f"{key}={found.get(key)!r}" for key in differing)
        limit = ", ".join(f"{key}={wanted.get(key)!r}" for key in differing)
        fix = "give another folder, or the same settings to resume"
        raise InputError(Finding("E752", "error", str(record), f"made with {text}", limit, fix=fix))


def _read_record(record: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        fix = "delete the folder and render again"
        raise InputError(Finding("E752", "error", str(record), "not a settings file", fix=fix))
    return found


def _render_all(root: Path, settings: FacesSettings, clips: list[FaceClip], workers: int) -> Iterator[str]:
    from neuroemo.datasets.pool import parallel_map

    jobs = [(str(root), settings, clip) for clip in clips]
    return parallel_map(_render_one, jobs, workers=workers)


def _render_one(job: tuple[str, FacesSettings, FaceClip]) -> str:
    """Render and write one clip (runs in a worker process)."""
    from neuroemo.datasets.faces_clip import clip_frames
    from neuroemo.events.video import write_h264

    root, settings, clip = job
    frames = clip_frames(
        settings.seed,
        clip.subject_index,
        clip.clip_index,
        clip.valence,
        clip.arousal,
        size=settings.size,
        frames=settings.frames,
        fps=settings.fps,
    )
    write_h264(Path(root) / clip.file, frames, settings.fps)
    return clip.file


def _labels_text(clips: Iterable[FaceClip]) -> str:
    columns = ("file", "label", "subject", "split", "valence", "arousal")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(clip, column) for column in columns] for clip in clips)
    return text.getvalue()


def _write_aside(path: Path, text: str) -> None:
    """Write a small text file beside its place and move it there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
