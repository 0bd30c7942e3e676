"""A folder of labelled videos: ``DIR/<label>/*.mp4``, with subjects and splits from ``labels.csv``."""

from __future__ import annotations

import csv
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.folder_content import (
    VIDEO_SUFFIXES,
    alike_classes,
    copies,
    copy_findings,
    empty_files,
    is_visible_video,
    left_out,
    unreadable_files,
)

SPLITS = ("train", "val", "test")
LABELS_FILE = "labels.csv"
COLUMNS = ("file", "label", "subject", "split")
UNLABELLED = "unlabelled"
MIN_CLIPS = 3
MAX_LABELS_BYTES = 64 << 20

_SHARE = 0.2
_LAYOUT = "put the videos into one folder per class: DIR/<label>/*.mp4"


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """One labelled video; ``name`` is its path relative to the root, ``subject`` is "" when unknown."""

    path: Path
    name: str
    label: str
    subject: str
    split: str


@dataclass(frozen=True, slots=True)
class VideoFolder:
    """The videos of a folder, sorted by name, with the sorted classes and the warnings of the scan."""

    root: Path
    entries: tuple[VideoEntry, ...]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def scan_folder(root: str | Path, *, seed: int = 0, require_classes: bool = True) -> VideoFolder:
    """Find the videos of ``root/<label>/`` and give each a label, a subject and a split.

    The label is the folder's name. ``root/labels.csv`` (columns file, label, subject, split; others are
    ignored) gives subject and split. Without it every class is split 60 : 20 : 20 by a hash of seed and
    name, and ``findings`` warns that one person may be in several splits; copies of a video stay in one split.
    Hidden files are left out; whatever else is left out (other formats, deeper folders, broken links) is a
    warning, as are empty videos and copies.

    Without ``require_classes`` the folder is to be answered, not learnt from: one class or one clip will do,
    videos that lie in ``root`` itself are taken as "unlabelled", and without ``labels.csv`` all are test clips;
    ``root`` may be a single video, too.

    Raises ``InputError``, with everything wrong at once: no folder, no videos, a class with fewer than 3
    clips (copies count once), a single class (with ``require_classes``), a file that may not be read, one video
    in two classes or splits (the same bytes), or a ``labels.csv`` that does not fit the folder.
    """
    folder = Path(root)
    if not require_classes and folder.is_file() and is_visible_video(folder):
        return _single_video(folder)
    if not folder.is_dir():
        fix = _LAYOUT if folder.exists() else "check the path"
        raise InputError(Finding("E730", "error", str(folder), "not a folder", fix=fix))
    found = list(_find_videos(folder))
    if not found and not require_classes:
        found = list(_find_unlabelled(folder))
    if not found:
        suffixes = " ".join(VIDEO_SUFFIXES)
        raise InputError(Finding("E731", "error", str(folder), "no videos found", suffixes, fix=_LAYOUT))
    table = folder / LABELS_FILE
    files = [(name, path) for name, _, path in found]
    errors = unreadable_files(files)
    if errors:
        raise InputError(errors)
    noticed: list[Finding] = []
    first_of = copies(files) if require_classes else {}
    errors = _class_findings(folder, found, first_of) if require_classes else []
    if table.is_file():
        entries, table_errors = _with_table(table, found)
        warnings: tuple[Finding, ...] = ()
        errors += table_errors
    elif require_classes:
        entries, warnings = _with_random_split(folder, found, seed, first_of)
    else:
        entries, warnings = [VideoEntry(path, name, label, "", "test") for name, label, path in found], ()
    labels, splits = {name: label for name, label, _ in found}, {entry.name: entry.split for entry in entries}
    for finding in copy_findings(first_of, labels, splits):
        (errors if finding.severity == "error" else noticed).append(finding)
    if errors:
        raise InputError(errors)
    classes = tuple(sorted({entry.label for entry in entries}))
    if require_classes:
        noticed += [*empty_files(files), *alike_classes(classes)]
    noticed += left_out(folder, set(labels), LABELS_FILE)
    return VideoFolder(folder, tuple(entries), classes, (*warnings, *noticed))


def _find_videos(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (name, label, path) of every visible video, sorted by name; deeper folders are not classes."""
    try:
        for label in sorted(item for item in os.listdir(folder) if not item.startswith(".")):
            directory = folder / label
            if not directory.is_dir():
                continue
            for item in sorted(os.listdir(directory)):
                path = directory / item
                if is_visible_video(path) and path.is_file():
                    yield f"{label}/{item}", label, path
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        fix = "check the rights of the folder"
        raise InputError(Finding("E730", "error", str(error.filename or folder), found, fix=fix)) from error


def _find_unlabelled(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (name, "unlabelled", path) of the visible videos that lie in the folder itself, sorted by name."""
    for path in sorted(folder.iterdir()):
        if is_visible_video(path) and path.is_file():
            yield path.name, UNLABELLED, path


def _single_video(path: Path) -> VideoFolder:
    if errors := unreadable_files([(path.name, path)]):
        raise InputError(errors)
    return VideoFolder(path.parent, (VideoEntry(path, path.name, UNLABELLED, "", "test"),), (UNLABELLED,))


def _class_findings(folder: Path, found: list[tuple[str, str, Path]], first_of: Mapping[str, str]) -> list[Finding]:
    counts = dict.fromkeys((label for _, label, _ in found), 0)
    counts.update(Counter(label for name, label, _ in found if name not in first_of))
    findings = []
    if len(counts) < 2:
        name = f"only one class, {next(iter(counts))!r}"
        findings.append(Finding("E732", "error", str(folder), name, "at least 2 classes", fix=_LAYOUT))
    for label, count in sorted(counts.items()):
        if count < MIN_CLIPS:
            fix = "add videos, or remove the class"
            limit = f"at least {MIN_CLIPS}, one for each split"
            node = f"{folder.name}/{label}"
            repeated = sum(other == label and name in first_of for name, other, _ in found)
            text = f"{count} clip(s)" + (f" and {repeated} of the same bytes" if repeated else "")
            findings.append(Finding("E733", "error", node, text, limit, fix=fix))
    return findings


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()


def _with_random_split(
    folder: Path, found: list[tuple[str, str, Path]], seed: int, first_of: Mapping[str, str]
) -> tuple[list[VideoEntry], tuple[Finding, ...]]:
    """Split every class by the hash of its names, copies with their first; stable under every version."""
    split_of: dict[str, str] = {}
    for label in {label for _, label, _ in found}:
        single = (name for name, other, _ in found if other == label and name not in first_of)
        names = sorted(single, key=lambda n: _rank(seed, n))
        held_out = max(1, round(_SHARE * len(names)))
        for index, name in enumerate(names):
            split_of[name] = "val" if index < held_out else "test" if index < 2 * held_out else "train"
    entries = [VideoEntry(path, name, label, "", split_of[first_of.get(name, name)]) for name, label, path in found]
    text = f"no {LABELS_FILE}: split at random by clip, the same person may be in several splits"
    fix = f"write {LABELS_FILE} with the columns {','.join(COLUMNS)}"
    return entries, (Finding("W730", "warning", str(folder), text, fix=fix),)


def _with_table(table: Path, found: list[tuple[str, str, Path]]) -> tuple[list[VideoEntry], list[Finding]]:
    """Join the videos with the rows of ``labels.csv``; return the entries and all that does not fit."""
    rows, findings = _read_rows(table)
    if findings:
        return [], findings
    known = {name: (label, path) for name, label, path in found}
    written = {unicodedata.normalize("NFC", name): name for name in known}
    entries: dict[str, VideoEntry] = {}
    for line, row in rows:
        name = _file_name(row, written)
        problem = _row_problem(row, name, known, entries)
        if problem:
            findings.append(Finding("E736", "error", f"{table}:{line}", *problem))
        elif name in known:
            entries[name] = VideoEntry(known[name][1], name, known[name][0], row["subject"], row["split"])
    mentioned = {_file_name(row, written) for _, row in rows}
    for name in sorted(set(known) - mentioned):
        fix = "add a row, or remove the file"
        findings.append(Finding("E737", "error", name, f"video without a row in {LABELS_FILE}", fix=fix))
    findings += _subject_findings(table, entries.values())
    return [entries[name] for name in sorted(entries)], findings


def _file_name(row: Mapping[str, str], written: Mapping[str, str]) -> str:
    """Return a row's file as the folder spells it: slashes, and accents as one character or as two."""
    name = row["file"].replace("\\", "/").removeprefix("./")
    return written.get(unicodedata.normalize("NFC", name), name)


def _row_problem(
    row: dict[str, str], name: str, known: dict[str, tuple[str, Path]], seen: dict[str, VideoEntry]
) -> tuple[str, str] | None:
    """Return (what is wrong, the limit) of one row, or None."""
    if name not in known:
        return f"file {row['file']!r} not found", "a video below the folder, as <label>/<name>"
    if name in seen:
        return f"file {name!r} listed twice", "one row per file"
    if row["label"] != known[name][0]:
        return f"label {row['label']!r} of {name!r}", f"the folder's name, {known[name][0]!r}"
    if row["split"] not in SPLITS:
        return f"unknown split {row['split']!r}", " ".join(SPLITS)
    if not row["subject"]:
        return f"no subject for {name!r}", "a name"
    return None


def _read_rows(table: Path) -> tuple[list[tuple[int, dict[str, str]]], list[Finding]]:
    """Return the (line number, row) pairs of a table, or what makes it unreadable."""
    fix = f"write it as UTF-8 with the columns {','.join(COLUMNS)}"
    try:
        if table.stat().st_size > MAX_LABELS_BYTES:
            limit = f"{MAX_LABELS_BYTES >> 20} MiB"
            return [], [Finding("E734", "error", str(table), "file too large", limit, fix=fix)]
        with table.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                found = f"missing column(s) {', '.join(missing)}"
                return [], [Finding("E735", "error", str(table), found, ",".join(COLUMNS), fix=fix)]
            rows = [(reader.line_num, {column: (row[column] or "").strip() for column in COLUMNS}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [], [Finding("E734", "error", str(table), f"cannot be read: {error}", fix=fix)]
    return rows, []


def _subject_findings(table: Path, entries: Iterable[VideoEntry]) -> list[Finding]:
    """Return a finding for every subject that is in two splits: its looks would leak into the test."""
    splits: dict[str, set[str]] = {}
    for entry in entries:
        splits.setdefault(entry.subject, set()).add(entry.split)
    fix = "move all clips of a person into one split"
    findings = []
    for name, where in sorted(splits.items()):
        if len(where) > 1:
            found = f"subject {name!r} in {' and '.join(sorted(where))}"
            findings.append(Finding("E738", "error", str(table), found, "one split", fix=fix))
    return findings
