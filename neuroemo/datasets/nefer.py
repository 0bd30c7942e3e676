"""NEFER: 545 recordings of 26 persons watching films, by a real event camera and an RGB camera, with 7 emotions.

``root/annotations/{expected,reported}_emotions/*.csv`` (no header; user, video, frame path, label; one row per
frame), ``root/event_raw`` (.raw or .dat), ``root/event_frames`` and ``root/rgb_frames`` (``<user>/<video>/*.png``).
"Expected" is the emotion a film was to raise; "reported" is what the person said, "None" among it.

There is a training and a validation list, with no person in both, and no test list: a score on the validation
list is a test score only where nothing was chosen by it. The paths in the lists point to folders of the authors;
a frame is found by user, video and file name instead. Berlincioni et al., "Neuromorphic Event-based Facial
Expression Recognition", CVPR Workshops 2023; lists: github.com/miccunifi/NEFER, commit e276c33.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.image_frames import first_few, gaps_of, list_frames, raise_all

EMOTIONS = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
CLASSES = {"expected": EMOTIONS, "reported": (*EMOTIONS, "None")}
RECORDINGS = ("event_raw", "event_frames", "rgb_frames")
RAW_SUFFIXES = (".raw", ".dat")
PUBLISHED_VIDEOS = {"train": 420, "val": 125}
PUBLISHED_FRAMES = 51
VALIDATION_USERS = frozenset(f"user_{number}" for number in ("03", "07", "17", "19", "27", "28"))
MAX_CSV_BYTES = 16 << 20
MAX_ROWS = 1 << 20

_FILES = {"train": "train", "val": "validation"}
_USER = re.compile(r"user_[0-9]{2}")
_VIDEO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_FRAME = re.compile(r"frame_([0-9]{1,6})\.png")
_DEPTH = 3
_COPY_AGAIN = "download it again from the authors"

Key = tuple[str, str]


@dataclass(slots=True)
class _Video:
    """The rows of one video: its label and the numbers of its frames."""

    label: str
    split: str
    frames: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class NEFERData:
    """The recordings, sorted by user and video, with the ``labels`` ("expected" or "reported") and ``recording`` asked.

    An entry's path is the .raw or .dat file, or the folder of the frames; its name is ``<user>/<video>``.
    """

    root: Path
    labels: str
    recording: str
    entries: tuple[DatasetEntry, ...]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    def splits(self) -> dict[str, tuple[DatasetEntry, ...]]:
        """Return the entries of "train" and "val"; the data set has no "test"."""
        return {split: tuple(entry for entry in self.entries if entry.split == split) for split in _FILES}


def scan_nefer(
    root: str | Path,
    *,
    labels: str = "expected",
    recording: str = "event_raw",
    raw_suffix: str | None = None,
    skip_broken: bool = False,
) -> NEFERData:
    """Join the recordings of NEFER below ``root`` with one form of its labels and its two lists.

    ``recording`` is "event_raw", "event_frames" or "rgb_frames". A raw file lies anywhere in ``event_raw``, down to
    three folders, and is named as the video, with or without its ending ``_cd``; ``raw_suffix`` (".raw" or
    ".dat") chooses where both are there. Numbers other than the published 420 and 125 videos of 51 frames, users
    in another list than published, recordings without a row, and that there is no test list, are warnings.

    Raises ``InputError`` with everything wrong at once: no folder, no annotations, a row that is damaged or
    contradicts another, a person in both lists, a recording that is missing, empty or there twice, a frame missing.
    With ``skip_broken`` a recording that is wrong is left out with a warning, unless all are.
    """
    folder = Path(root)
    _check_arguments(labels, recording, raw_suffix, skip_broken)
    _check_layout(folder, labels, recording)
    videos: dict[Key, _Video] = {}
    errors: list[Finding] = []
    for split in _FILES:
        table = folder / _table(labels, recording, split)
        errors += _read_table(table, split, CLASSES[labels], videos)
    errors += _split_findings(folder / "annotations", videos)
    raise_all(errors, folder)
    base = folder / recording
    if recording == "event_raw":
        paths, broken, warnings = _find_raw(base, videos, raw_suffix)
    else:
        paths, broken, warnings = _find_frames(base, videos)
    if skip_broken and paths:
        warnings += [replace(e, code="W792", severity="warning", found=f"video left out: {e.found}") for e in broken]
        broken = []
    raise_all(broken, folder)
    entries = tuple(
        DatasetEntry(f"{user}/{video}", paths[user, video], found.label, None, user, found.split)
        for (user, video), found in sorted(videos.items())
        if (user, video) in paths
    )
    warnings += _count_findings(folder, videos)
    return NEFERData(folder, labels, recording, entries, CLASSES[labels], tuple(warnings))


def _table(labels: str, recording: str, split: str) -> str:
    """Return the path of a list below the root.

    >>> _table("reported", "event_raw", "val")
    'annotations/reported_emotions/validation_event_subjective.csv'
    """
    camera = "gopro" if recording == "rgb_frames" else "event"
    ending = "_subjective" if labels == "reported" else ""
    return f"annotations/{labels}_emotions/{_FILES[split]}_{camera}{ending}.csv"


def _check_arguments(labels: object, recording: object, raw_suffix: object, skip_broken: object) -> None:
    findings = []
    if labels not in CLASSES:
        findings.append(Finding("E793", "error", "labels", repr(labels), " or ".join(CLASSES)))
    if recording not in RECORDINGS:
        findings.append(Finding("E793", "error", "recording", repr(recording), " or ".join(RECORDINGS)))
    if raw_suffix is not None and (raw_suffix not in RAW_SUFFIXES or recording != "event_raw"):
        limit = f"{' or '.join(RAW_SUFFIXES)}, with recording event_raw; or None"
        findings.append(Finding("E793", "error", "raw_suffix", repr(raw_suffix), limit))
    if not isinstance(skip_broken, bool):
        findings.append(Finding("E793", "error", "skip_broken", repr(skip_broken), "True or False"))
    if findings:
        raise InputError(findings)


def _check_layout(folder: Path, labels: str, recording: str) -> None:
    """Refuse a folder that has not the two lists and the folder of the recordings."""
    if not folder.is_dir():
        found = "not a folder" if folder.exists() else "no such folder"
        raise InputError(Finding("E790", "error", str(folder), found, fix="check the path"))
    findings = []
    for path in (folder / _table(labels, recording, split) for split in _FILES):
        if not path.is_file():
            fix = "the lists are published at github.com/miccunifi/NEFER, folder annotations"
            findings.append(Finding("E790", "error", str(path), "no annotation file", fix=fix))
    if not (folder / recording).is_dir():
        there = [name for name in RECORDINGS if (folder / name).is_dir()]
        fix = f"give recording={there[0]!r}, or unpack {recording}" if there else "give the folder that holds it"
        findings.append(Finding("E790", "error", str(folder / recording), "no such folder", fix=fix))
    if findings:
        raise InputError(findings)


def _read_rows(table: Path) -> tuple[list[tuple[int, list[str]]], str]:
    """Return the (line number, row) pairs of an untrusted list, or why it cannot be read."""
    try:
        with table.open("rb") as handle:
            data = handle.read(MAX_CSV_BYTES + 1)
        if len(data) > MAX_CSV_BYTES:
            return [], f"larger than {MAX_CSV_BYTES >> 20} MiB"
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in islice(reader, MAX_ROWS + 1) if row]
    except (OSError, ValueError, csv.Error) as error:
        return [], f"cannot be read: {(str(error).splitlines() or [''])[0][:200]}"
    if len(rows) > MAX_ROWS:
        return [], f"more than {MAX_ROWS} rows"
    return rows, "" if rows else "no rows"


def _read_table(table: Path, split: str, classes: tuple[str, ...], videos: dict[Key, _Video]) -> list[Finding]:
    """Add the videos of one list to ``videos``; return one finding per kind of mistake, naming the rows."""
    rows, reason = _read_rows(table)
    if reason:
        return [Finding("E791", "error", str(table), reason, "rows of user, video, frame path, label", fix=_COPY_AGAIN)]
    problems: dict[tuple[str, str], list[str]] = {}
    for line, row in rows:
        problem = _row_problem(row, split, classes, videos)
        if problem is not None:
            what, limit, value = problem
            problems.setdefault((what, limit), []).append(f"{line} ({ascii(value)[:60]})")
    return [
        Finding("E791", "error", str(table), f"{what} in line {first_few(where)}", limit, fix=_COPY_AGAIN)
        for (what, limit), where in problems.items()
    ]


def _row_problem(
    row: list[str], split: str, classes: tuple[str, ...], videos: dict[Key, _Video]
) -> tuple[str, str, str] | None:
    """Enter one row into ``videos``, or return (what is wrong, the limit, the value found)."""
    if len(row) != 4:
        return "wrong number of cells", "4: user, video, frame path, label; no header", str(len(row))
    user, video, path, label = row
    if not _USER.fullmatch(user):
        return "no user", "as in user_01", user
    if not _VIDEO.fullmatch(video):
        return "no name of a video", "letters, digits, _ and -", video
    parts = path.replace("\\", "/").split("/")
    frame = _FRAME.fullmatch(parts[-1])
    if frame is None:
        return "no frame", "a path that ends in frame_<number>.png", path
    if parts[-3:-1] != [user, video]:
        return "a frame of another video", ".../<user>/<video>/frame_<number>.png, as the row's first cells", path
    if label not in classes:
        return "unknown label", " ".join(classes), label
    known = videos.setdefault((user, video), _Video(label, split))
    if known.split != split:
        return "a video of the other list", "in one list", video
    if known.label != label:
        return "a second label", f"one label per video, {known.label}", label
    if int(frame[1]) in known.frames:
        return "a frame listed twice", "once", path
    known.frames.add(int(frame[1]))
    return None


def _split_findings(folder: Path, videos: Mapping[Key, _Video]) -> list[Finding]:
    """Return a finding for every person in both lists (looks would leak), and every video of two persons."""
    splits: dict[str, set[str]] = {}
    users: dict[str, set[str]] = {}
    for (user, video), listed in sorted(videos.items()):
        splits.setdefault(user, set()).add(listed.split)
        users.setdefault(video, set()).add(user)
    findings = []
    both = first_few([user for user, where in splits.items() if len(where) > 1])
    if both:
        found = f"{both} in the training and in the validation list"
        findings.append(Finding("E794", "error", str(folder), found, "one list per person", fix=_COPY_AGAIN))
    shared = first_few([video for video, who in users.items() if len(who) > 1])
    if shared:
        found = f"video {shared} under two users"
        findings.append(Finding("E794", "error", str(folder), found, "one user per video", fix=_COPY_AGAIN))
    return findings


def _refuse_unreadable(error: OSError) -> None:
    found = f"cannot be read: {error.strerror or error}"
    fix = "check the rights of the folder"
    raise InputError(Finding("E790", "error", str(error.filename), found, fix=fix)) from error


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the visible folders, the first included, and their visible files; at most three folders down."""
    for place, folders, names in os.walk(folder, onerror=_refuse_unreadable):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and depth < _DEPTH)
        yield Path(place), sorted(name for name in names if not name.startswith("."))


def _find_raw(
    base: Path, videos: Mapping[Key, _Video], suffix: str | None
) -> tuple[dict[Key, Path], list[Finding], list[Finding]]:
    """Return the raw file of each video, what is missing or ambiguous, and what has no row."""
    suffixes = RAW_SUFFIXES if suffix is None else (suffix,)
    files: dict[str, list[Path]] = {}
    for path in (place / name for place, names in _walk(base) for name in names):
        if path.suffix.lower() in suffixes:
            files.setdefault(path.stem, []).append(path)
    paths: dict[Key, Path] = {}
    errors = []
    for user, video in sorted(videos):
        stems = dict.fromkeys((video, video.removesuffix("_cd")))
        candidates = [path for stem in stems for path in files.pop(stem, [])]
        problem = _raw_problem(base, (user, video), candidates, suffixes)
        if problem:
            node = str(candidates[0] if len(candidates) == 1 else base / user / video)
            errors.append(Finding("E792", "error", node, problem[0], problem[1], fix=problem[2]))
        else:
            paths[user, video] = candidates[0]
    return paths, errors, _unlisted(base, [str(path.relative_to(base)) for left in files.values() for path in left])


def _raw_problem(
    base: Path, key: Key, candidates: list[Path], suffixes: tuple[str, ...]
) -> tuple[str, str, str] | None:
    """Return (what is wrong, the limit, the remedy) of the raw files found for one video, or None."""
    user, video = key
    if not candidates:
        return "no raw file", f"{video}{' or '.join(suffixes)} below event_raw", _COPY_AGAIN
    if len(candidates) > 1:
        return f"{len(candidates)} raw files: {first_few(candidates)}", "one", "remove one, or give raw_suffix"
    path = candidates[0]
    if any(_USER.fullmatch(part) and part != user for part in path.relative_to(base).parts[:-1]):
        return f"raw file of {user} in the folder of another user", f"in {user}", "move it back"
    if not path.is_file():
        return "not a regular file", "", _COPY_AGAIN
    if path.stat().st_size == 0:
        return "empty file (0 bytes)", "", _COPY_AGAIN
    return None


def _find_frames(base: Path, videos: Mapping[Key, _Video]) -> tuple[dict[Key, Path], list[Finding], list[Finding]]:
    """Return the folder of each video, which frames are missing or have no row, and the folders without rows."""
    paths: dict[Key, Path] = {}
    errors = []
    warnings = []
    for (user, video), found in sorted(videos.items()):
        folder = base / user / video
        if not folder.is_dir():
            errors.append(Finding("E792", "error", str(folder), "no folder of this video", fix=_COPY_AGAIN))
            continue
        frames, problems = list_frames(folder)
        for what, numbers in (("missing", found.frames - set(frames)), ("without a row", set(frames) - found.frames)):
            if numbers:
                named = first_few(f"frame_{number:02d}.png" for number in sorted(numbers))
                text = f"{len(numbers)} frame(s) {what}: {named}"
                limit = f"{len(found.frames)} frames, as in the list"
                problems.append(Finding("E792", "error", str(folder), text, limit, fix=_COPY_AGAIN))
        errors += problems
        if not problems:
            paths[user, video] = folder
        gaps = gaps_of(found.frames)
        if gaps:
            warnings.append(
                Finding("W791", "warning", str(folder), f"frame(s) {first_few(gaps)} neither there nor listed")
            )
    return paths, errors, warnings + _unlisted(base, _unlisted_folders(base, videos))


def _unlisted_folders(base: Path, videos: Mapping[Key, _Video]) -> list[str]:
    known = {base / user / video for user, video in videos}
    folders = {place for place, names in _walk(base) if names}
    return [str(place.relative_to(base)) for place in sorted(folders - known)]


def _unlisted(base: Path, names: list[str]) -> list[Finding]:
    if not names:
        return []
    found = f"{len(names)} recording(s) without a row, left out: {first_few(map(ascii, names))}"
    return [Finding("W790", "warning", str(base), found)]


def _count_findings(folder: Path, videos: Mapping[Key, _Video]) -> list[Finding]:
    """Return how the lists differ from the published ones, and that there is no test list."""
    counts = Counter(found.split for found in videos.values())
    findings = []
    if counts != PUBLISHED_VIDEOS:
        found = f"{counts['train']} training and {counts['val']} validation videos"
        limit = f"{PUBLISHED_VIDEOS['train']} and {PUBLISHED_VIDEOS['val']} in the published lists"
        findings.append(Finding("W790", "warning", str(folder), found, limit, fix="say so beside your scores"))
    odd = [f"{user}/{video}" for (user, video), found in videos.items() if len(found.frames) != PUBLISHED_FRAMES]
    if odd:
        found = f"{len(odd)} video(s) without {PUBLISHED_FRAMES} frames in the list: {first_few(odd)}"
        findings.append(Finding("W790", "warning", str(folder), found, f"{PUBLISHED_FRAMES} frames"))
    moved = sorted({u for (u, _), found in videos.items() if (u in VALIDATION_USERS) != (found.split == "val")})
    if moved:
        found = f"{first_few(moved)} not in the list that was published"
        findings.append(
            Finding("W790", "warning", str(folder), found, f"validation: {first_few(sorted(VALIDATION_USERS), 6)}")
        )
    found = "no test list is published: the validation list is the only one held out"
    fix = "choose nothing by the scores that you report, or cross-validate over the training users"
    return [*findings, Finding("W794", "warning", str(folder), found, fix=fix)]
