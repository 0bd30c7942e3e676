"""One conversion of a data set into a store of event frames: in worker processes, stoppable, whole or not at all.

A finished clip is kept as a part beside the store; when all are there the store is written in the order of the data
set and moved to its place. The bytes do not depend on how many workers there were, or how often the run was stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.catalogue import Listed, list_dataset
from neuroemo.datasets.clip_source import source_digest, source_of
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.event_frame_file import MAX_FRAMES, FrameIndex, write_frames
from neuroemo.datasets.event_frame_manifest import FrameClipRow, FrameManifest
from neuroemo.datasets.event_frame_parts import (
    FramePart,
    FramePartJob,
    frame_part_job,
    frame_versions,
    load_frame_part,
    make_frame_part,
    save_frame_part,
)
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frame_source import NO_COUNT, frame_source_findings
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.datasets.folder import SPLITS
from neuroemo.datasets.manifest import SkippedRow, digest
from neuroemo.datasets.parts import part_folder, remove_parts, write_aside
from neuroemo.datasets.prepare import SUFFIXES
from neuroemo.datasets.prepared_store import manifest_path
from neuroemo.datasets.runner import run_jobs

Progress = Callable[[int, int], None]
Floats = npt.NDArray[np.float32]
Broken = dict[int, "tuple[Finding, ...]"]


@dataclass(frozen=True, slots=True)
class PreparedFrames:
    """A finished store: its manifest, how many clips were kept from an earlier run, and whether all was there."""

    path: Path
    manifest: FrameManifest
    resumed: int
    reused: bool


def prepare_event_frames(
    data: str | Listed,
    root: str | Path | None,
    out: str | Path,
    settings: EventFrameSettings,
    *,
    options: Mapping[str, Any] | None = None,
    skip_broken: bool = False,
    workers: int = 2,
    force: bool = False,
    progress: Progress | None = None,
) -> PreparedFrames:
    """Convert a data set into the store ``out`` (.h5) and its manifest beside it (``NAME.manifest.json``).

    ``data`` is a name of ``catalogue.NAMES``, scanned below ``root`` with ``options``, or what ``list_dataset`` found
    (then without both). Numeric labels go to the event frame whose events are nearest in time to the video frame
    that they rate; a label of the whole clip goes to all its frames. Run again after it was stopped, it makes only the
    clips that are missing; on a finished store of the same data, settings and libraries it does nothing.
    ``progress(done, total)`` per clip.

    Raises ``InputError``, with everything wrong at once: entries that cannot be used; broken clips, unless
    ``skip_broken`` (then the manifest lists them); another store in place, unless ``force``.
    """
    target = Path(out)
    if target.suffix not in SUFFIXES:
        raise InputError(Finding("E860", "error", str(target), f"suffix {target.suffix!r}", " ".join(SUFFIXES)))
    listed = _listed(data, root, settings, options, skip_broken, workers)
    jobs = _jobs(listed, settings)
    versions = frame_versions(settings)
    try:
        found = _existing(target, listed, settings, versions, force, skip_broken)
        if found is not None:
            return found
        with part_folder(target) as parts:
            made = {n: part[0] for n, job in enumerate(jobs) if (part := load_frame_part(parts.path, job.key))}
            resumed = len(made)
            broken = _run(jobs, made, parts.path, workers, progress)
            _refuse_broken(target, broken, len(jobs), skip_broken)
            manifest = _manifest(listed, settings, versions, made, broken)
            _assemble(target, parts.path, listed, settings, made, manifest)
        remove_parts(target)
    except OSError as error:
        found_text = f"cannot be written: {error.strerror or error}"
        fix = "check the path, its rights and the free space; finished clips are kept"
        raise InputError(Finding("E745", "error", str(target), found_text, fix=fix)) from error
    return PreparedFrames(target, manifest, resumed, reused=False)


def _listed(
    data: str | Listed,
    root: str | Path | None,
    settings: EventFrameSettings,
    options: Mapping[str, Any] | None,
    skip_broken: bool,
    workers: int,
) -> Listed:
    if isinstance(data, Listed):
        if options is not None or root is not None:
            found = "root or options of a data set that is listed already"
            raise InputError(Finding("E860", "error", data.dataset, found, fix="give them to list_dataset"))
        return data
    if root is None:
        raise InputError(Finding("E860", "error", data, "no folder", fix="say where the data set lies"))
    return list_dataset(data, Path(root), settings, options, skip_broken=skip_broken, workers=workers)


def _jobs(listed: Listed, settings: EventFrameSettings) -> list[FramePartJob]:
    """Return one job per entry; refuse entries that cannot become clips, all at once."""
    findings = []
    if not listed.entries:
        findings.append(Finding("E868", "error", listed.dataset, "no clips", fix="check the folder"))
    sources = [source_of(entry, listed.options) for entry in listed.entries]
    seen: set[str] = set()
    for entry, source in zip(listed.entries, sources, strict=True):
        if entry.name in seen:
            findings.append(Finding("E864", "error", entry.name, "listed twice", "names are unique"))
        seen.add(entry.name)
        if entry.split not in (*SPLITS, None) or (entry.split is None and entry.fold is None):
            limit = f"{' '.join(SPLITS)}, or a fold"
            findings.append(Finding("E864", "error", entry.name, f"split {entry.split!r}", limit))
        findings += frame_source_findings(source, settings)
        findings += _value_findings(entry, settings)
    if len({tuple(sorted(entry.values or {})) for entry in listed.entries}) > 1:
        findings.append(Finding("E864", "error", listed.dataset, "some clips have other values than the rest"))
    if findings:
        raise InputError(findings)
    versions = frame_versions(settings)
    pairs = zip(listed.entries, sources, strict=True)
    return [frame_part_job(source, settings, _labels_of(entry), versions) for entry, source in pairs]


def _value_findings(entry: DatasetEntry, settings: EventFrameSettings) -> list[Finding]:
    sizes = {np.size(values) for values in (entry.values or {}).values()}
    per_frame = sorted(sizes - {1})
    if len(per_frame) > 1 or 0 in sizes:
        found = f"{' and '.join(map(str, sorted(sizes)))} labels of different kinds"
        return [Finding("E864", "error", entry.name, found, "one per frame, or one for the whole clip")]
    if per_frame and (settings.model != "pixel" or entry.span_s is not None):
        what = "a segment of a file" if settings.model == "pixel" else "a recording without a video"
        found = f"one label per frame, and {what}"
        return [Finding("E866", "error", entry.name, found, "one label for the whole clip")]
    return []


def _labels_of(entry: DatasetEntry) -> int:
    """Return how many labels an entry has, one per frame of its video; 0 where they rate the whole clip."""
    count = max((np.size(values) for values in (entry.values or {}).values()), default=0)
    return int(count) if count > 1 else 0


def _run(
    jobs: list[FramePartJob], made: dict[int, FramePart], folder: Path, workers: int, progress: Progress | None
) -> Broken:
    """Make the missing clips, keep them, and add their headers to ``made``; return the broken ones."""
    missing = [index for index in range(len(jobs)) if index not in made]
    broken: Broken = {}
    outcomes = run_jobs(make_frame_part, [jobs[index] for index in missing], workers=workers)
    for done, (place, outcome) in enumerate(outcomes, start=len(made) + 1):
        index = missing[place]
        if isinstance(outcome, bytes):
            save_frame_part(folder, jobs[index].key, outcome)
            part = load_frame_part(folder, jobs[index].key)
            if part is None:
                raise OSError(f"{jobs[index].source.name}: what was written is not what can be read")
            made[index] = part[0]
        elif isinstance(outcome, tuple):
            broken[index] = outcome
        else:
            fix = "the decoder crashes on it, or there is too little memory: play or re-encode it"
            found = "its worker process died, also when tried again alone"
            broken[index] = (Finding("E799", "error", jobs[index].source.name, found, fix=fix),)
        if progress is not None:
            progress(done, len(jobs))
    return broken


def _refuse_broken(target: Path, broken: Broken, total: int, skip_broken: bool) -> None:
    if broken and (not skip_broken or len(broken) == total):
        found = f"{len(broken)} of {total} clips are broken; no store was written"
        fix = "mend or remove them and run the same command again (sound clips are kept), or give --skip-broken"
        if len(broken) == total:
            fix = "check that the data set is what its name says"
        findings = [finding for index in sorted(broken) for finding in broken[index]]
        raise InputError([*findings, Finding("E868", "error", str(target), found, fix=fix)])


def _values(entry: DatasetEntry, part_nearest: list[int], frames: int) -> Floats:
    """Return the numeric labels of the frames of a clip, float32 [F, V] by sorted name."""
    named = sorted((entry.values or {}).items())
    table = np.zeros((frames, len(named)), np.float32)
    for column, (_, values) in enumerate(named):
        labels = np.asarray(values, np.float32).reshape(-1)
        table[:, column] = labels[0] if len(labels) == 1 else labels[np.array(part_nearest, np.int64)]
    return table


def _classes(listed: Listed) -> tuple[str, ...]:
    return tuple(sorted({entry.label for entry in listed.entries if entry.label is not None}))


def _manifest(
    listed: Listed, settings: EventFrameSettings, versions: dict[str, str], made: dict[int, FramePart], broken: Broken
) -> FrameManifest:
    rows = []
    for index in sorted(made):
        entry, part = listed.entries[index], made[index]
        rows.append(
            FrameClipRow(
                entry.name, entry.label, entry.subject, entry.split or "", entry.fold,
                frames=len(part.times_us),
                video_frames=part.video_frames,
                events=NO_COUNT if settings.model == "codes" else sum(part.events),
                left_out=part.left_out,
                sha256=part.sha256,
                source_sha256=part.source_sha256,
                values_sha256=_values_digest(entry, part.nearest, len(part.times_us)),
            )
        )  # fmt: skip
    skipped = tuple(
        SkippedRow(
            listed.entries[index].name,
            source_digest(listed.entries[index].path),
            tuple(f"{finding.code} {finding.found}" for finding in broken[index]),
        )
        for index in sorted(broken)
    )
    warnings = tuple(f"{finding.code} {finding.found}" for finding in listed.findings)
    made_by = dict(sorted((versions | dict(listed.versions)).items()))
    names = tuple(sorted(listed.entries[0].values or {}))
    told = (listed.dataset, dict(listed.options), settings.to_dict(), made_by, _classes(listed), names)
    return FrameManifest(*told, tuple(rows), skipped, warnings)


def _values_digest(entry: DatasetEntry, nearest: list[int], frames: int) -> str:
    return digest(_values(entry, nearest, frames).astype("<f4").tobytes()) if entry.values else ""


def _assemble(
    target: Path, folder: Path, listed: Listed, settings: EventFrameSettings, made: dict[int, FramePart],
    manifest: FrameManifest,
) -> None:  # fmt: skip
    """Write the store of all parts and its manifest, each whole before it gets its name."""
    order = sorted(made)
    entries, parts = [listed.entries[number] for number in order], [made[number] for number in order]
    classes = {name: number for number, name in enumerate(manifest.classes)}
    index = FrameIndex(
        settings,
        tuple(entry.name for entry in entries),
        tuple(entry.subject for entry in entries),
        tuple(entry.split or "" for entry in entries),
        np.array([-1 if entry.fold is None else entry.fold for entry in entries]),
        manifest.classes,
        np.array([-1 if entry.label is None else classes[entry.label] for entry in entries]),
        np.repeat(np.arange(len(parts)), [len(part.times_us) for part in parts]),
        np.concatenate([np.array(part.times_us, np.float64) for part in parts]),
        np.concatenate([np.array(part.events, np.int64) for part in parts]),
        np.concatenate([np.array(part.nearest, np.int64) for part in parts]),
        manifest.value_names,
        np.concatenate([_values(e, p.nearest, len(p.times_us)) for e, p in zip(entries, parts, strict=True)]),
    )
    text, temporary = manifest.to_bytes(), folder / "store.tmp"
    write_frames(temporary, _chunks(folder, parts), index, text)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    write_aside(manifest_path(target), text, folder / "manifest.tmp")


def _chunks(folder: Path, parts: list[FramePart]) -> Iterator[bytes]:
    for header in parts:
        part = load_frame_part(folder, header.key)
        if part is None:
            raise OSError("a part was damaged while the store was being written; run again")
        yield from part[1]


def _existing(
    target: Path, listed: Listed, settings: EventFrameSettings, versions: dict[str, str], force: bool, skip_broken: bool
) -> PreparedFrames | None:
    """Return the store in place if it is already what is wanted; refuse any other, unless it may be replaced."""
    if not target.exists() or force:
        return None
    manifest, same = _stored(target, listed, settings, versions)
    incomplete = manifest is not None and bool(manifest.skipped) and not skip_broken
    if manifest is None or incomplete or not same:
        fix = "give another path, or --force to replace it"
        found = "exists already, made of other data, settings or libraries"
        found = "exists already, without its broken clips" if incomplete else found
        raise InputError(Finding("E744", "error", str(target), found, fix=fix))
    beside, text = manifest_path(target), manifest.to_bytes()
    if not beside.is_file() or beside.read_bytes() != text:
        write_aside(beside, text)
    remove_parts(target)
    return PreparedFrames(target, manifest, len(manifest.clips), reused=True)


def _stored(
    target: Path, listed: Listed, settings: EventFrameSettings, versions: dict[str, str]
) -> tuple[FrameManifest | None, bool]:
    """Return the manifest in place, None of no sound store, and whether it was made of these very files and labels."""
    try:
        with EventFrames.open(target) as store:
            manifest, clip, nearest = store.manifest(), store.clip, store.video_frames
    except InputError:
        return None, False
    wanted = (listed.dataset, dict(listed.options), settings.to_dict(), versions | dict(listed.versions))
    told = (manifest.dataset, dict(manifest.options), dict(manifest.settings), dict(manifest.versions))
    entries = {entry.name: entry for entry in listed.entries}
    listed_rows: list[FrameClipRow | SkippedRow] = [*manifest.clips, *manifest.skipped]
    rows = {row.name: row.source_sha256 for row in listed_rows}
    if told != wanted or manifest.classes != _classes(listed) or set(rows) != set(entries):
        return manifest, False
    if any(source_digest(entry.path) != rows[name] for name, entry in entries.items()):
        return manifest, False
    for number, row in enumerate(manifest.clips):
        entry = entries[row.name]
        if (row.label, row.subject, row.split, row.fold) != (entry.label, entry.subject, entry.split or "", entry.fold):
            return manifest, False
        of_clip = nearest[clip == number]
        if max(of_clip, default=0) >= (_labels_of(entry) or MAX_FRAMES):
            return manifest, False
        if _values_digest(entry, of_clip.tolist(), row.frames) != row.values_sha256:
            return manifest, False
    return manifest, True
