"""What a scan of a video folder would otherwise pass over in silence: files left out, copies, empty files."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hw_targets.finding import Finding, InputError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".3gp", ".3g2")
"""How the files of the containers end that the decoder opens, in any case."""

# fmt: off
OTHER_VIDEO_SUFFIXES = (
    ".wmv", ".asf", ".flv", ".f4v", ".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts",
    ".ogv", ".gif", ".rm", ".rmvb", ".hevc", ".h264", ".h265", ".264", ".265", ".dv",
)
# fmt: on
"""Videos that are not read: they have to be converted first."""

MIN_VIDEO_BYTES = 256
"""No container with two frames is smaller; equal remains of broken downloads are not copies of a video."""

_READ_BYTES = 1 << 20
_CONVERT = "convert them, e.g. ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
_MOVE = "move the videos into DIR/<label>/, one folder per class"


def is_visible_video(path: Path) -> bool:
    """Say whether a name is that of a video that a scan takes: a known suffix, no leading dot."""
    return not path.name.startswith(".") and path.suffix.lower() in VIDEO_SUFFIXES


def unreadable_files(paths: Iterable[tuple[str, Path]]) -> list[Finding]:
    """Return an error for every (name, path) that this user may not read."""
    fix = "check the rights of the file"
    return [
        Finding("E739", "error", name, "the file may not be read", fix=fix)
        for name, path in paths
        if not os.access(path, os.R_OK)
    ]


def empty_files(paths: Iterable[tuple[str, Path]]) -> list[Finding]:
    """Return one warning for all the videos of 0 bytes: a copy that broke off, or a placeholder of a cloud."""
    empty = [name for name, path in paths if path.stat().st_size == 0]
    if not empty:
        return []
    text = f"{len(empty)} empty video(s), first {empty[0]}"
    return [Finding("W732", "warning", empty[0], text, fix="copy or download them again, or remove them")]


def copies(paths: Iterable[tuple[str, Path]]) -> dict[str, str]:
    """Return {name: name of the first video with the same bytes} of every repeated video, in the order given.

    Only files of equal size, 256 bytes or more, are read: what is smaller is no video, and fails by itself later.
    """
    by_size: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for name, path in paths:
        by_size[path.stat().st_size].append((name, path))
    first_of: dict[str, str] = {}
    for size, same_size in by_size.items():
        if size < MIN_VIDEO_BYTES or len(same_size) < 2:
            continue
        seen: dict[bytes, str] = {}
        for name, path in same_size:
            first = seen.setdefault(_digest(name, path), name)
            if first != name:
                first_of[name] = first
    return first_of


def _digest(name: str, path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while piece := handle.read(_READ_BYTES):
                digest.update(piece)
    except OSError as error:
        found = f"cannot be read: {error.strerror or error}"
        raise InputError(Finding("E739", "error", name, found, fix="check the file and its rights")) from error
    return digest.digest()


def copy_findings(
    first_of: Mapping[str, str], label_of: Mapping[str, str], split_of: Mapping[str, str]
) -> list[Finding]:
    """Return an error for a video that is in two classes or two splits, and one warning for the other copies.

    ``split_of`` may be empty: then copies are only compared by class.
    """
    findings, harmless = [], []
    for name, first in first_of.items():
        pair = f"the same bytes as {first!r}"
        labels = (label_of[first], label_of[name])
        splits = (split_of.get(first), split_of.get(name))
        if labels[0] != labels[1]:
            found, limit = f"{pair}, in the classes {labels[0]!r} and {labels[1]!r}", "one class per video"
            findings.append(Finding("E739", "error", name, found, limit, fix="keep the one in the right class"))
        elif splits[0] != splits[1]:
            found, limit = f"{pair}, in the splits {splits[0]} and {splits[1]}", "one split per video"
            findings.append(Finding("E739", "error", name, found, limit, fix="remove the copy"))
        else:
            harmless.append((name, first))
    if harmless:
        name, first = harmless[0]
        number = "1 copy" if len(harmless) == 1 else f"{len(harmless)} copies"
        text = f"{number} of other videos, first {name!r} of {first!r}: in the same split, and counted"
        findings.append(Finding("W733", "warning", name, text, fix="remove the copies"))
    return findings


def alike_classes(classes: Iterable[str]) -> list[Finding]:
    """Return a warning for classes whose names differ in case or outer spaces only."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        groups[" ".join(name.casefold().split())].append(name)
    fix = "join the folders if they mean one class"
    findings = []
    for names in groups.values():
        if len(names) > 1:
            text = f"classes {', '.join(map(repr, names))} differ in case or spaces only"
            findings.append(Finding("W734", "warning", names[0], text, fix=fix))
    return findings


def left_out(folder: Path, taken: set[str], table_name: str) -> list[Finding]:
    """Return one warning for each kind of thing below ``folder`` that the scan did not take, with its number."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name, kind in _others(folder, taken, table_name):
        kinds[kind].append(name)
    fixes = {
        "video(s) outside the class folders": _MOVE,
        "video(s) in deeper folders": _MOVE,
        "folder link(s)": _MOVE,
        "broken link(s) or special file(s)": "copy the videos themselves there",
        "video(s) of a format that is not read": _CONVERT,
        "folder(s) without videos": "remove them, or add videos",
        "file(s) that are no videos": "nothing to do if that is meant",
        f"table(s) not named {table_name}": f"rename it if it is the table of subjects and splits, {table_name}",
    }
    return [
        Finding("W731", "warning", str(folder), f"{len(kinds[kind])} {kind} left out{_which(kinds[kind])}", fix=fix)
        for kind, fix in fixes.items()
        if kind in kinds
    ]


def _which(names: list[str]) -> str:
    suffixes = Counter(Path(name).suffix.lower() or "none" for name in names)
    listed = ", ".join(f"{number} {suffix}" for suffix, number in sorted(suffixes.items())[:6])
    return f" (by suffix: {listed}), first {min(names)}" if len(suffixes) > 1 else f", first {min(names)}"


def _others(folder: Path, taken: set[str], table_name: str) -> Iterator[tuple[str, str]]:
    """Yield (name, kind) of everything visible that is not taken."""
    for item in sorted(folder.iterdir()):
        if item.name.startswith(".") or item.name in taken or item.name == table_name:
            continue
        if not item.is_dir():
            table = item.suffix.lower() == ".csv" and item.stem.casefold() == Path(table_name).stem
            kind = f"table(s) not named {table_name}" if table else _kind(item, "video(s) outside the class folders")
            # A README beside the class folders is nobody's clip.
            if kind != "file(s) that are no videos":
                yield item.name, kind
            continue
        inside = list(_others_of_class(item, taken))
        if not inside and not any(name.startswith(f"{item.name}/") for name in taken):
            yield item.name, "folder(s) without videos"
        yield from inside


def _others_of_class(directory: Path, taken: set[str]) -> Iterator[tuple[str, str]]:
    for item in sorted(directory.iterdir()):
        name = f"{directory.name}/{item.name}"
        if item.name.startswith(".") or name in taken:
            continue
        if not item.is_dir():
            yield name, _kind(item, "broken link(s) or special file(s)")
        elif item.is_symlink():
            yield name, "folder link(s)"
        else:
            for path in _deeper_videos(item):
                yield f"{directory.name}/{path.relative_to(directory).as_posix()}", "video(s) in deeper folders"


def _kind(item: Path, as_video: str) -> str:
    if item.suffix.lower() in OTHER_VIDEO_SUFFIXES:
        return "video(s) of a format that is not read"
    if is_visible_video(item):
        return as_video if item.is_file() else "broken link(s) or special file(s)"
    return "file(s) that are no videos"


def _deeper_videos(directory: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(directory, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(files) if is_visible_video(Path(name)))
