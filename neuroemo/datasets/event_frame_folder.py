"""A folder of labelled recordings of a real event camera: ``DIR/<label>/*.raw`` and the like, as a folder of videos."""

from __future__ import annotations

import os
from pathlib import Path

from hw_targets.finding import Finding, InputError
from neuroemo.datasets import folder as videos
from neuroemo.datasets.clip_source import EVENT_SUFFIXES
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.folder_content import alike_classes, copies, copy_findings, empty_files, unreadable_files
from neuroemo.datasets.image_frames import first_few

_LAYOUT = "put the recordings into one folder per class: DIR/<label>/*.raw"


def scan_event_folder(root: Path, *, seed: int = 0) -> tuple[tuple[DatasetEntry, ...], tuple[Finding, ...]]:
    """Find the recordings of ``root/<label>/`` with their labels, subjects and splits; return also the warnings.

    The label is the folder's name; ``root/labels.csv`` gives subjects and splits, without it every class is split
    60 : 20 : 20, exactly as ``scan_folder`` does for videos. Other visible files in the class folders are left
    out, with a warning.

    Raises ``InputError`` as ``scan_folder`` does.
    """
    if not root.is_dir():
        fix = _LAYOUT if root.exists() else "check the path"
        raise InputError(Finding("E730", "error", str(root), "not a folder", fix=fix))
    found, others = _find(root)
    if not found:
        raise InputError(
            Finding("E731", "error", str(root), "no recordings found", " ".join(EVENT_SUFFIXES), fix=_LAYOUT)
        )
    files = [(name, path) for name, _, path in found]
    errors = unreadable_files(files)
    if errors:
        raise InputError(errors)
    first_of = copies(files)
    errors = videos._class_findings(root, found, first_of)
    noticed: list[Finding] = []
    table = root / videos.LABELS_FILE
    if table.is_file():
        listed, table_errors = videos._with_table(table, found)
        errors += table_errors
    else:
        listed, split_warnings = videos._with_random_split(root, found, seed, first_of)
        noticed += split_warnings
    splits = {entry.name: entry.split for entry in listed}
    for finding in copy_findings(first_of, {name: label for name, label, _ in found}, splits):
        (errors if finding.severity == "error" else noticed).append(finding)
    if errors:
        raise InputError(errors)
    noticed += [*empty_files(files), *alike_classes({entry.label for entry in listed})]
    if others:
        found_text = f"{len(others)} file(s) that are no recordings left out: {first_few(others)}"
        noticed.append(Finding("W731", "warning", str(root), found_text))
    entries = tuple(DatasetEntry(e.name, e.path, e.label, None, e.subject, e.split) for e in listed)
    return entries, tuple(noticed)


def _find(folder: Path) -> tuple[list[tuple[str, str, Path]], list[str]]:
    """Return (name, label, path) of every visible recording, sorted by name, and the other files of class folders."""
    found, others = [], []
    try:
        for label in sorted(item for item in os.listdir(folder) if not item.startswith(".")):
            if not (folder / label).is_dir():
                continue
            for item in sorted(name for name in os.listdir(folder / label) if not name.startswith(".")):
                path, name = folder / label / item, f"{label}/{item}"
                if path.suffix.lower() in EVENT_SUFFIXES and path.is_file():
                    found.append((name, label, path))
                else:
                    others.append(name)
    except OSError as error:
        found_text = f"cannot be read: {error.strerror or error}"
        fix = "check the rights of the folder"
        raise InputError(Finding("E730", "error", str(error.filename or folder), found_text, fix=fix)) from error
    return found, others
