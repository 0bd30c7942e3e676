"""AFEW-VA: 600 clips of feature films with valence and arousal per frame, in five subject-independent folds.

``root/NNN/`` (or ``root/DD/NNN/``, as the zips unpack) holds the frames ``00000.png ...`` and ``NNN.json``::

    {"actor": "...", "video_id": "...", "frames": {"00000": {"valence": 3, "arousal": -2, "landmarks": [...]}}}

Ratings are whole numbers -10..10. Kossaifi, Tzimiropoulos, Todorovic, Pantic, "AFEW-VA database for valence and
arousal estimation in-the-wild", Image and Vision Computing 65, 2017. The data set's terms are for research.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.afew_va_annotation import Annotation, Values, letters_of, normal_name, read_annotation
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.image_frames import first_few, gaps_of, list_frames, raise_all, stream_images
from neuroemo.events.stream import FrameChunk, Size

CLIPS = 600
FOLDS = 5
FPS = 25.0
"""Frames per second assumed where none are given: the annotation files do not say."""

_CLIP = re.compile(r"[0-9]{3}")
_GROUP = re.compile(r"[0-9]{2}")
_CROPPED = re.compile(r"[0-9]{3}_cropped")
_LAYOUT = "give the folder that holds the clips 001, 002, ... (or 01/001, ...), each with its frames and NNN.json"
_COPY_AGAIN = "unpack it again from the original archive"


@dataclass(frozen=True, slots=True)
class AFEWVAData:
    """The clips, sorted by name, each in one of the ``folds``; ``subject_folds`` says which person is in which.

    An entry's ``values`` are valence and arousal float32 [F] in [-1, 1], one per frame in the order of the frame
    numbers. ``classes`` is empty: the data set rates, it does not classify. ``findings`` are the warnings.
    """

    root: Path
    entries: tuple[DatasetEntry, ...]
    classes: tuple[str, ...]
    subject_folds: Mapping[str, int]
    folds: int
    findings: tuple[Finding, ...] = ()

    def fold(self, index: int, *, with_val: bool = False) -> dict[str, tuple[DatasetEntry, ...]]:
        """Return the entries "train", "val" and "test" of one fold: fold ``index`` tests, the others train.

        ``with_val`` takes the fold after it, (index + 1) mod folds, out of the training for validation;
        without it "val" is empty. Raises ``InputError`` for an index out of range.
        """
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < self.folds:
            raise InputError(Finding("E793", "error", "fold", repr(index), f"0..{self.folds - 1}"))
        if with_val and self.folds < 3:
            raise InputError(Finding("E793", "error", "with_val", f"{self.folds} folds", "at least 3"))
        held_out = (index + 1) % self.folds if with_val else None
        return {
            "train": tuple(entry for entry in self.entries if entry.fold not in (index, held_out)),
            "val": tuple(entry for entry in self.entries if with_val and entry.fold == held_out),
            "test": tuple(entry for entry in self.entries if entry.fold == index),
        }


def scan_afew_va(root: str | Path, *, folds: int = FOLDS, skip_broken: bool = False) -> AFEWVAData:
    """Find the clips of AFEW-VA below ``root``, check every annotation against the frames, assign the folds.

    Ratings are divided by 10. The subject is the actor's name in one spelling of case and space. No published
    list of folds is known: they are those of ``subject_folds``, so scores of papers with other folds compare only
    roughly. ``NNN_cropped`` folders, as some copies have them, are left out. A number of clips other than 600,
    merged spellings of a name and gaps in the frame numbers are warnings.

    Raises ``InputError`` with everything wrong at once: no folder, no clips, a clip twice, an annotation file
    missing, unreadable or of wrong content, an actor without a name, a frame without a picture or without a
    rating, fewer subjects than folds. With ``skip_broken`` a clip that is wrong is left out with a warning,
    unless all are.
    """
    folder = Path(root)
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= CLIPS:
        raise InputError(Finding("E793", "error", "folds", repr(folds), f"2..{CLIPS}"))
    if not isinstance(skip_broken, bool):
        raise InputError(Finding("E793", "error", "skip_broken", repr(skip_broken), "True or False"))
    clips, ignored, twice = _find_clips(folder)
    errors: list[Finding] = []
    read: list[tuple[str, Path, Annotation]] = []
    warnings = _count_findings(folder, clips, ignored)
    for name, path in clips.items():
        annotation, problems, notes = _read_clip(path)
        errors += problems
        warnings += notes
        if annotation is not None:
            read.append((name, path, annotation))
    if skip_broken and read:
        warnings += [replace(e, code="W792", severity="warning", found=f"clip left out: {e.found}") for e in errors]
        errors = []
    raise_all(twice + errors, folder)
    try:
        assignment = subject_folds((normal_name(annotation.actor) for _, _, annotation in read), folds)
    except InputError as error:
        # What was left out may be why there are too few.
        raise InputError([*error.findings, *(note for note in warnings if note.code == "W792")]) from error
    entries = []
    for name, path, annotation in read:
        subject = normal_name(annotation.actor)
        entries.append(DatasetEntry(name, path, None, annotation.values(), subject, fold=assignment[subject]))
    warnings += _spelling_findings(folder, [annotation.actor for _, _, annotation in read])
    return AFEWVAData(folder, tuple(entries), (), assignment, folds, tuple(warnings))


def subject_folds(subjects: Iterable[str], folds: int = FOLDS) -> dict[str, int]:
    """Return the fold of each subject, given the subject of every clip: nobody is in two folds.

    The rule of scikit-learn's ``GroupKFold``: the subjects by falling number of clips, each into the fold that
    has the fewest clips so far. Equal numbers go by name, and equal folds by index, so that every machine finds
    the same assignment. Raises ``InputError`` for fewer subjects than folds.

    >>> subject_folds(["ann", "bob", "ann", "cy", "dee", "ann"], 2)
    {'ann': 0, 'bob': 1, 'cy': 1, 'dee': 1}
    """
    counts = Counter(subjects)
    if len(counts) < folds:
        fix = "add clips of other people, or ask for fewer folds"
        raise InputError(Finding("E793", "error", "folds", f"{len(counts)} subjects", f"at least {folds}", fix=fix))
    load = [0] * folds
    assignment = {}
    for subject in sorted(counts, key=lambda name: (-counts[name], name)):
        lightest = load.index(min(load))
        assignment[subject] = lightest
        load[lightest] += counts[subject]
    return dict(sorted(assignment.items()))


def save_folds(data: AFEWVAData, path: str | Path) -> None:
    """Write the assignment of subjects and clips to folds as JSON, to be published beside the scores."""
    file = Path(path)
    rule = "subjects by falling number of clips, each into the fold with the fewest clips; ties by name, by index"
    document = {
        "dataset": "AFEW-VA",
        "rule": rule,
        "folds": data.folds,
        "subjects": dict(data.subject_folds),
        "clips": {entry.name: entry.fold for entry in data.entries},
    }
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, file)
    except OSError as error:
        found = f"cannot be written: {error.strerror or error}"
        raise InputError(Finding("E793", "error", str(file), found, fix="give a path in a folder of yours")) from error
    finally:
        temporary.unlink(missing_ok=True)


def stream_clip(
    entry: DatasetEntry,
    *,
    fps: float = FPS,
    size: Size = None,
    chunk: int = 64,
    max_frames: int | None = None,
) -> Iterator[FrameChunk]:
    """Yield the frames of one clip as gray uint8 chunks with times, as ``stream_images`` does.

    Frame i of the stream has the ratings ``entry.values["valence"][i]`` and ``entry.values["arousal"][i]``.
    Raises ``InputError`` where the folder no longer holds as many frames as when it was scanned.
    """
    frames, findings = list_frames(entry.path)
    rated = len(entry.values["valence"]) if entry.values else 0
    if not findings and len(frames) != rated:
        found, limit = f"{len(frames)} frames", f"{rated} ratings"
        findings = [Finding("E792", "error", str(entry.path), found, limit, fix="scan the folder again")]
    raise_all(findings, entry.path)
    return stream_images(frames, fps=fps, size=size, chunk=chunk, max_frames=max_frames)


def read_landmarks(entry: DatasetEntry) -> Values | None:
    """Return the 68 facial landmarks float32 ``[F, 68, 2]`` (x, y in pixels) of a clip, None if it has none.

    Raises ``InputError`` where the annotation file cannot be read, or where only some frames have landmarks.
    """
    file = entry.path / f"{entry.path.name}.json"
    annotation, findings = read_annotation(file)
    if annotation is None:
        raise InputError(findings)
    lacking = [f"{number:05d}" for number in sorted(annotation.ratings) if number not in annotation.landmarks]
    if lacking and annotation.landmarks:
        found = f"no landmarks in the frames {first_few(lacking)}"
        raise InputError(Finding("E791", "error", str(file), found, "all frames, or none", fix=_COPY_AGAIN))
    return None if lacking else np.stack([annotation.landmarks[number] for number in sorted(annotation.landmarks)])


def _find_clips(folder: Path) -> tuple[dict[str, Path], list[str], list[Finding]]:
    """Return the clip folders by name, the other visible items, and the clips that are there twice."""
    if not folder.is_dir():
        fix = _LAYOUT if folder.exists() else "check the path"
        raise InputError(Finding("E790", "error", str(folder), "not a folder", fix=fix))
    clips: dict[str, Path] = {}
    ignored, findings = [], []
    for path in _visible(folder):
        grouped = _GROUP.fullmatch(path.name) and path.is_dir()
        for inner in _visible(path) if grouped else [path]:
            if not (_CLIP.fullmatch(inner.name) and inner.is_dir()):
                ignored += [] if _CROPPED.fullmatch(inner.name) else [str(inner.relative_to(folder))]
            elif inner.name in clips:
                found = f"clip {inner.name} is there twice: {clips[inner.name]} and {inner}"
                findings.append(Finding("E790", "error", str(folder), found, "once", fix="remove one of them"))
            else:
                clips[inner.name] = inner
    if not clips:
        inside = [path for path in _visible(folder) if path.is_dir() and any(map(_is_clip, _visible(path)))]
        fix = f"did you mean {inside[0]}?" if inside else _LAYOUT
        raise InputError(Finding("E790", "error", str(folder), "no clip folders found", "001 to 600", fix=fix))
    return dict(sorted(clips.items())), ignored, findings


def _is_clip(path: Path) -> bool:
    return bool(_CLIP.fullmatch(path.name) or _GROUP.fullmatch(path.name)) and path.is_dir()


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        fix = "check the rights of the folder"
        raise InputError(Finding("E790", "error", str(folder), found, fix=fix)) from error


def _count_findings(folder: Path, clips: Mapping[str, Path], ignored: list[str]) -> list[Finding]:
    findings = []
    missing = [name for name in (f"{number:03d}" for number in range(1, CLIPS + 1)) if name not in clips]
    if missing or len(clips) != CLIPS:
        found = f"{len(clips)} clips" + (f"; not there: {first_few(missing)}" if missing else "")
        fix = "scores on another set of clips do not compare with published ones"
        findings.append(Finding("W790", "warning", str(folder), found, f"{CLIPS} clips, 001 to {CLIPS}", fix=fix))
    if ignored:
        found = f"left out, no clip folders: {first_few(map(ascii, ignored))}"
        findings.append(Finding("W790", "warning", str(folder), found))
    return findings


def _read_clip(path: Path) -> tuple[Annotation | None, list[Finding], list[Finding]]:
    """Return (annotation, errors, warnings) of one clip; no annotation if there are errors."""
    frames, errors = list_frames(path)
    file = path / f"{path.name}.json"
    annotation, problems = read_annotation(file)
    errors += problems
    if annotation is not None:
        errors += _match(path, file, annotation.ratings, frames)
    if errors or annotation is None:
        return None, errors, []
    gaps = [f"{number:05d}" for number in gaps_of(annotation.ratings)]
    if not gaps:
        return annotation, [], []
    found = f"frame(s) {first_few(gaps)} neither shown nor rated"
    fix = "the times follow the frame numbers, so the clip stands still there"
    return annotation, [], [Finding("W791", "warning", str(path), found, fix=fix)]


def _match(path: Path, file: Path, ratings: Mapping[int, object], frames: Mapping[int, Path]) -> list[Finding]:
    """Return what the ratings and the pictures have not in common."""
    findings = []
    unseen = [f"{number:05d}" for number in sorted(set(ratings) - set(frames))]
    if unseen:
        found = f"{len(unseen)} rated frame(s) without a picture: {first_few(unseen)}"
        findings.append(Finding("E792", "error", str(path), found, "one picture per rating", fix=_COPY_AGAIN))
    unrated = [frames[number].name for number in sorted(set(frames) - set(ratings))]
    if unrated:
        found = f"{len(unrated)} picture(s) without a rating: {first_few(unrated)}"
        findings.append(Finding("E791", "error", str(file), found, "one rating per picture", fix=_COPY_AGAIN))
    if len(ratings) < 2:
        found = f"{len(ratings)} rated frame(s)"
        findings.append(Finding("E791", "error", str(file), found, "at least 2 frames", fix=_COPY_AGAIN))
    return findings


def _spelling_findings(folder: Path, actors: list[str]) -> list[Finding]:
    """Return the names that were merged, and those that may be one person and were not."""
    findings = []
    spellings: dict[str, set[str]] = {}
    for actor in actors:
        spellings.setdefault(normal_name(actor), set()).add(actor)
    alike: dict[str, list[str]] = {}
    for subject, written in sorted(spellings.items()):
        alike.setdefault(letters_of(subject) or subject, []).append(subject)
        if len(written) > 1:
            found = f"{' and '.join(map(repr, sorted(written)))} taken as one subject, {subject!r}"
            findings.append(Finding("W793", "warning", str(folder), found))
    for names in alike.values():
        if len(names) > 1:
            found = f"subjects {' and '.join(map(repr, names))} differ only in accents or punctuation"
            fix = "if they are one person, give them one spelling: they may be in two folds"
            findings.append(Finding("W793", "warning", str(folder), found, fix=fix))
    return findings
