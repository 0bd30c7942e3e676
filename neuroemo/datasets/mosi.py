"""CMU-MOSI: 2199 opinion clips of 93 film reviews, each with a sentiment in [-3, 3], as two classes.

Two layouts of the clips are known, MMSA's ``Raw/<video>/<clip>.mp4`` and the original
``Raw/Video/Segmented/<video>_<clip>.mp4``; either goes with either label form (see ``mosi_labels``).

Classes, by the zero policy (README of the CMU-MultimodalSDK): ``has0``: negative (sentiment < 0) against
non-negative (>= 0); ``non0``: negative (< 0) against positive (> 0), clips rated exactly 0 are dropped and
counted. The two are reported side by side in the literature and differ by 2 to 3 % in accuracy.

The 93 videos show 89 speakers, and which videos share one is not published: the subject of a clip is its
video, and the official split is disjoint in videos, not provably in speakers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.folder import SPLITS
from neuroemo.datasets.folder_content import is_visible_video
from neuroemo.datasets.mosi_labels import ClipLabel, LabelTable, find_labels, official_split, read_labels

CLASSES = {"has0": ("negative", "non-negative"), "non0": ("negative", "positive")}
SPLIT_SOURCES = ("official", "file")
PUBLISHED_CLIPS = {"train": 1284, "val": 229, "test": 686}
MAX_LISTED = 50

_LAYOUT = "Raw/<video>/<clip>.mp4 or Raw/Video/Segmented/<video>_<clip>.mp4"

Index = dict[tuple[str, str], list[Path]]
Splits = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class MOSIData:
    """The clips sorted by video and number, the two classes, the zero policy and the warnings of the scan.

    ``zeros`` counts the clips rated exactly 0 by split: kept as non-negative (has0) or dropped (non0).
    """

    root: Path
    labels: Path
    layout: str
    entries: tuple[DatasetEntry, ...]
    classes: tuple[str, str]
    zero: str
    zeros: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    def splits(self) -> dict[str, tuple[DatasetEntry, ...]]:
        """Return the entries of train, val and test, each in the order of ``entries``."""
        return {split: tuple(entry for entry in self.entries if entry.split == split) for split in SPLITS}


def scan_mosi(
    root: str | Path,
    *,
    labels: str | Path | None = None,
    zero: str = "has0",
    splits: str = "official",
    skip_missing: bool = False,
) -> MOSIData:
    """Join the clips of a CMU-MOSI folder with their labels and the official split; no video is opened.

    ``labels`` names the label file where ``root`` holds none, or both forms. ``zero`` is the policy of the
    module's docstring. ``splits``: "official", the 52 / 10 / 31 videos of the SDK; or "file", the column mode
    of ``label.csv``. With "official", a mode that disagrees is a warning, and a video in no list goes by its
    mode, with a warning. ``skip_missing`` leaves out labelled clips without a usable file, with a warning.

    The sentiment is kept in ``entry.values["sentiment"]``, float32 [1]. Numbers of clips that differ from the
    published 1284 / 229 / 686 are a warning.

    Raises ``InputError``, with everything wrong at once: no folder or no clips (E754), no readable label file
    (E755), a label that cannot be (E756), a labelled clip without exactly one file (E757), an unknown option
    or a class without clips (E758).
    """
    folder = Path(root)
    _check_options(folder, zero, splits, skip_missing)
    table, (layout, index) = _read_both(folder, labels)
    split_of, warnings, errors = _assign_splits(table, splits)
    missing = list(_file_findings(folder, layout, table, index))
    if missing and skip_missing:
        bad = {label for label, _ in missing}
        text = f"{len(missing)} of {len(table.labels)} labelled clips left out: {missing[0][1].found}"
        warnings.append(_warning("W757", missing[0][1].node, text, "get the missing clips again"))
    else:
        bad = set()
        errors += [finding for _, finding in missing]
    if errors:
        raise InputError(_listed(errors))
    kept = [label for label in table.labels if label not in bad]
    warnings += _number_findings(folder, kept, split_of, index, table)
    entries, zeros = _entries(kept, split_of, index, zero)
    dropped = sum(zeros.values()) if zero == "non0" else 0
    if dropped:
        text = f"{dropped} of {len(kept)} clips rated exactly 0 dropped ({_counts(zeros)})"
        warnings.append(_warning("W758", str(table.path), text, "zero='has0' keeps them as non-negative"))
    _check_classes(table.path, entries, CLASSES[zero])
    findings = (*table.findings, *warnings)
    return MOSIData(folder, table.path, layout, entries, CLASSES[zero], zero, zeros, findings)


def _check_options(folder: Path, zero: str, splits: str, skip_missing: object) -> None:
    errors = []
    for name, value, known in (("zero", zero, CLASSES), ("splits", splits, SPLIT_SOURCES)):
        if value not in known:
            errors.append(Finding("E758", "error", name, f"unknown {value!r}", " ".join(known), fix="use one of these"))
    if not isinstance(skip_missing, bool):
        found = repr(skip_missing)
        errors.append(Finding("E758", "error", "skip_missing", found, "true or false", fix="use one of these"))
    if not folder.is_dir():
        found = "not a folder" if folder.exists() else "no such folder"
        errors.append(Finding("E754", "error", str(folder), found, "the folder that holds Raw", fix="check the path"))
    if errors:
        raise InputError(errors)


def _read_both(folder: Path, labels: str | Path | None) -> tuple[LabelTable, tuple[str, Index]]:
    """Return the labels and the clips, or raise with what is wrong with either."""
    try:
        table = read_labels(find_labels(folder) if labels is None else Path(labels))
    except InputError as error:
        errors = list(error.findings)
        try:
            _find_clips(folder)
        except InputError as other:
            errors += other.findings
        raise InputError(_listed(errors)) from error
    return table, _find_clips(folder)


def _find_clips(folder: Path) -> tuple[str, Index]:
    """Return the layout and the video files by (video, clip), the ids as text."""
    raw = folder / "Raw"
    segmented = raw / "Video" / "Segmented"
    original: Index = {}
    mmsa: Index = {}
    try:
        if segmented.is_dir():
            for path in _videos_in(segmented):
                video, mark, clip = path.stem.rpartition("_")
                if mark:
                    original.setdefault((video, clip), []).append(path)
        if raw.is_dir():
            for directory in sorted(item for item in raw.iterdir() if item.is_dir() and item.name != "Video"):
                for path in _videos_in(directory):
                    mmsa.setdefault((directory.name, path.stem), []).append(path)
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        fix = "check the rights of the folder"
        raise InputError(Finding("E754", "error", str(error.filename or raw), found, fix=fix)) from error
    if bool(original) == bool(mmsa):
        found = "clips in both layouts" if original else "no clips found" if raw.is_dir() else "no such folder"
        fix = "keep one of the two" if original else "give the folder that holds Raw, with the segmented clips in it"
        raise InputError(Finding("E754", "error", str(raw), found, _LAYOUT, fix=fix))
    return ("Raw/Video/Segmented/<video>_<clip>", original) if original else ("Raw/<video>/<clip>", mmsa)


def _videos_in(directory: Path) -> Iterator[Path]:
    for name in sorted(os.listdir(directory)):
        path = directory / name
        if is_visible_video(path) and path.is_file():
            yield path


def _file_findings(folder: Path, layout: str, table: LabelTable, index: Index) -> Iterator[tuple[ClipLabel, Finding]]:
    """Yield every label whose clip has no file, an empty one, or several."""
    for label in table.labels:
        paths = index.get((label.video, label.clip), [])
        place = str(folder / f"{layout.replace('<video>', label.video).replace('<clip>', label.clip)}.mp4")
        if not paths:
            found, fix = f"clip file missing, labelled in {label.where}", "get the clip again, or use skip_missing"
        elif len(paths) > 1:
            found, fix = f"{len(paths)} files: {', '.join(path.name for path in paths)}", "keep one of them"
        elif not paths[0].stat().st_size:
            place, found, fix = str(paths[0]), "empty file", "get the clip again, or use skip_missing"
        else:
            continue
        yield label, Finding("E757", "error", place, found, "one video file per labelled clip", fix=fix)


def _assign_splits(table: LabelTable, source: str) -> tuple[Splits, list[Finding], list[Finding]]:
    """Return the split of every clip, and what is odd (warnings) or impossible (errors) about it."""
    split_of: Splits = {}
    strangers: set[str] = set()
    lost: set[str] = set()
    differing = []
    for label in table.labels:
        official = official_split(label.video)
        split = label.split if source == "file" else official or label.split
        if official is None:
            strangers.add(label.video)
        elif label.split is not None and label.split != official:
            differing.append(f"{label.video}/{label.clip}")
        if split is None:
            lost.add(label.video)
        else:
            split_of[label.video, label.clip] = split
    warnings, errors = [], []
    node = str(table.path)
    if strangers - lost:
        text = f"{len(strangers)} video(s) in no official list, first {min(strangers)}: split taken from mode"
        warnings.append(_warning("W755", node, text, "results are not those of the official split"))
    if differing:
        used = "mode" if source == "file" else "the official list"
        text = f"mode of {len(differing)} clip(s) against the official split, first {differing[0]}: {used} is used"
        warnings.append(_warning("W755", node, text, "say which split was used"))
    if source == "file" and lost:
        found = "this label form names no splits"
        errors.append(Finding("E758", "error", "splits", found, "official", fix="use splits='official', or label.csv"))
    elif lost:
        fix = "remove them, or use label.csv, whose column mode names the split"
        for video in sorted(lost):
            found = f"video {video} is in no official list"
            errors.append(Finding("E756", "error", node, found, "the 93 published videos", fix=fix))
    return split_of, warnings, errors


def _number_findings(
    folder: Path, kept: list[ClipLabel], split_of: Splits, index: Index, table: LabelTable
) -> Iterator[Finding]:
    """Yield the differences from the published numbers, and the files that no label names."""
    counts = Counter(split_of[label.video, label.clip] for label in kept)
    differences = {split: counts[split] - published for split, published in PUBLISHED_CLIPS.items()}
    if any(differences.values()):
        text = f"{_counts(counts)} clips of {len({label.video for label in kept})} videos; differences: "
        text += ", ".join(f"{split} {number:+d}" for split, number in differences.items())
        limit = f"{_counts(PUBLISHED_CLIPS)} clips of 93 videos, as published"
        yield Finding("W754", "warning", str(table.path), text, limit, fix="not comparable with published numbers")
    unlabelled = sorted(set(index) - {(label.video, label.clip) for label in table.labels})
    if unlabelled:
        first = index[unlabelled[0]][0].relative_to(folder)
        text = f"{len(unlabelled)} clip(s) without a label left out, first {first}"
        yield _warning("W757", str(folder), text, "compare the label file with the clips")


def _entries(
    kept: list[ClipLabel], split_of: Splits, index: Index, zero: str
) -> tuple[tuple[DatasetEntry, ...], dict[str, int]]:
    zeros = dict.fromkeys(SPLITS, 0)
    entries = []
    negative, other = CLASSES[zero]
    for label in sorted(kept, key=lambda item: (item.video, int(item.clip), item.clip)):
        split = split_of[label.video, label.clip]
        zeros[split] += label.sentiment == 0
        if label.sentiment == 0 and zero == "non0":
            continue
        values = {"sentiment": np.array([label.sentiment], np.float32)}
        path = index[label.video, label.clip][0]
        name = f"{label.video}/{label.clip}"
        kind = negative if label.sentiment < 0 else other
        entries.append(DatasetEntry(name, path, kind, values, label.video, split))
    return tuple(entries), zeros


def _check_classes(path: Path, entries: Iterable[DatasetEntry], classes: tuple[str, str]) -> None:
    absent = [name for name in classes if name not in {entry.label for entry in entries}]
    if absent:
        found = f"no clip is {' or '.join(absent)}"
        fix = "a classifier needs clips of both classes"
        raise InputError(Finding("E758", "error", str(path), found, "both classes", fix=fix))


def _counts(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {numbers[split]}" for split in SPLITS)


def _warning(code: str, node: str, found: str, fix: str) -> Finding:
    return Finding(code, "warning", node, found, fix=fix)


def _listed(errors: list[Finding]) -> list[Finding]:
    """Return the errors, cut to a readable number; the last one says how many more there are."""
    if len(errors) <= MAX_LISTED:
        return errors
    rest = errors[MAX_LISTED:]
    counts = ", ".join(f"{number} of {code}" for code, number in sorted(Counter(e.code for e in rest).items()))
    text = f"and {len(rest)} more like these ({counts})"
    return [*errors[:MAX_LISTED], Finding(rest[0].code, "error", "", text, fix=rest[0].fix)]
