"""One conversion of a data set into a store: a graph over clips, stoppable at any moment, whole or not at all.

Every clip is a task without a dependence on another; a finished one is kept as a part beside the store (``parts.py``),
and when all are there the store is written in the order of the data set and moved to its place. So the bytes do
not depend on how many workers there were, where they ran, in which order they finished, or how often the run was
stopped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.catalogue import Listed, entry_values, label_of
from neuroemo.datasets.chunks import EncodedClip
from neuroemo.datasets.clip_settings import ClipSettings, model_of
from neuroemo.datasets.clip_source import ClipSource, source_digest, source_findings, source_of
from neuroemo.datasets.folder import SPLITS
from neuroemo.datasets.manifest import ClipRow, Manifest, SkippedRow, digest
from neuroemo.datasets.parts import (
    PartFolder,
    PartHeader,
    PartJob,
    library_versions,
    make_part,
    part_folder,
    part_key,
    remove_parts,
    write_aside,
)
from neuroemo.datasets.prepared_store import is_same, manifest_path, stored_manifest
from neuroemo.datasets.runner import run_jobs
from neuroemo.datasets.store import Progress
from neuroemo.datasets.store_file import write_store

Broken = dict[int, "tuple[Finding, ...]"]
SUFFIXES = (".h5", ".hdf5")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A finished store: its manifest, how many clips were kept from an earlier run, and whether all was there."""

    path: Path
    manifest: Manifest
    resumed: int
    reused: bool


def prepare_clips(
    listed: Listed,
    out: str | Path,
    settings: ClipSettings,
    *,
    skip_broken: bool = False,
    workers: int = 2,
    scheduler: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Convert a data set into the store ``out`` and its manifest beside it (``NAME.manifest.json``).

    Run again after it was stopped, it makes only the clips that are missing; run again on a finished
    store of the same data, settings and libraries, it does nothing. ``progress(done, total)`` per clip.

    Raises ``InputError``, with everything wrong at once: entries that cannot be used; broken clips, unless
    ``skip_broken`` (then the manifest lists them); another store in place, unless ``force``; a scheduler that
    does not answer; workers with other libraries.
    """
    target = Path(out)
    if target.suffix not in SUFFIXES:
        raise InputError(Finding("E860", "error", str(target), f"suffix {target.suffix!r}", " ".join(SUFFIXES)))
    sources = [source_of(entry, listed.options) for entry in listed.entries]
    _check_entries(listed, sources, settings)
    versions = library_versions(settings)
    jobs = [
        PartJob(part_key(source, settings, versions), source, settings, tuple(versions.items())) for source in sources
    ]
    try:
        found = _existing(target, listed, settings, versions, force, skip_broken)
        if found is not None:
            return found
        with part_folder(target) as folder:
            headers = {index: part[0] for index, job in enumerate(jobs) if (part := folder.load(job.key)) is not None}
            resumed = len(headers)
            broken = _run(jobs, headers, folder, workers, scheduler, progress)
            _refuse_broken(target, broken, len(jobs), skip_broken)
            manifest = _manifest(listed, settings, versions, headers, broken)
            _assemble(target, folder, [jobs[index] for index in sorted(headers)], manifest, listed)
        remove_parts(target)
    except OSError as error:
        found_text = f"cannot be written: {error.strerror or error}"
        fix = "check the path, its rights and the free space; finished clips are kept"
        raise InputError(Finding("E745", "error", str(target), found_text, fix=fix)) from error
    return Prepared(target, manifest, resumed, reused=False)


def _check_entries(listed: Listed, sources: list[ClipSource], settings: ClipSettings) -> None:
    """Refuse entries that cannot become clips, all at once."""
    findings = []
    if not listed.entries:
        findings.append(Finding("E868", "error", listed.dataset, "no clips", fix="check the folder"))
    seen: set[str] = set()
    for entry, source in zip(listed.entries, sources, strict=True):
        if entry.name in seen:
            findings.append(Finding("E864", "error", entry.name, "listed twice", "names are unique"))
        seen.add(entry.name)
        if entry.split not in SPLITS:
            findings.append(Finding("E864", "error", entry.name, f"split {entry.split!r}", " ".join(SPLITS)))
        if label_of(entry) not in listed.classes:
            findings.append(Finding("E864", "error", entry.name, f"label {entry.label!r}", ", ".join(listed.classes)))
        findings += source_findings(source, settings)
        per_frame = sorted(name for name, values in (entry.values or {}).items() if np.size(values) > 1)
        if per_frame and model_of(settings) == "recorded":
            found = f"one label per frame ({', '.join(per_frame)}), and a recording of events has no frames"
            findings.append(Finding("E866", "error", entry.name, found, "one label for the whole clip"))
        elif per_frame and getattr(settings, "fps", None) is not None:
            found = f"one label per frame ({', '.join(per_frame)}), and --fps drops and repeats frames"
            fix = "leave --fps out"
            findings.append(Finding("E893", "error", entry.name, found, "one label for the whole clip", fix=fix))
    if len({tuple(sorted(entry.values or {})) for entry in listed.entries}) > 1:
        findings.append(Finding("E864", "error", listed.dataset, "some clips have other values than the rest"))
    if findings:
        raise InputError(findings)


def _run(
    jobs: list[PartJob],
    headers: dict[int, PartHeader],
    folder: PartFolder,
    workers: int,
    scheduler: str | None,
    progress: Progress | None,
) -> Broken:
    """Make the missing clips, keep them, and add their headers; return the broken ones."""
    missing = [index for index in range(len(jobs)) if index not in headers]
    broken: Broken = {}
    outcomes = run_jobs(make_part, [jobs[index] for index in missing], workers=workers, scheduler=scheduler)
    for done, (place, outcome) in enumerate(outcomes, start=len(headers) + 1):
        index = missing[place]
        job = jobs[index]
        if isinstance(outcome, bytes):
            headers[index] = _keep(folder, job, outcome)
        elif isinstance(outcome, tuple):
            broken[index] = outcome
        else:
            broken[index] = (_death(job),)
        if progress is not None:
            progress(done, len(jobs))
    return broken


def _keep(folder: PartFolder, job: PartJob, data: bytes) -> PartHeader:
    folder.save(job.key, data)
    part = folder.load(job.key)
    if part is None:
        raise OSError(f"{job.source.name}: what was written is not what can be read")
    header, wanted = part[0], dict(job.versions)
    if header.versions != wanted:
        (folder.path / f"{job.key}.part").unlink()
        other = {name: found for name, found in header.versions.items() if wanted.get(name) != found}
        limit = ", ".join(f"{name} {wanted.get(name)}" for name in other)
        fix = "install the same versions on every worker"
        text = f"a worker has {', '.join(f'{name} {found}' for name, found in other.items())}"
        raise InputError(Finding("E863", "error", "--scheduler", text, limit, fix=fix))
    return header


def _death(job: PartJob) -> Finding:
    fix = "the decoder crashes on it, or there is too little memory: play or re-encode it"
    return Finding("E799", "error", job.source.name, "its worker process died, also when tried again alone", fix=fix)


def _refuse_broken(target: Path, broken: Broken, total: int, skip_broken: bool) -> None:
    findings = [finding for index in sorted(broken) for finding in broken[index]]
    if broken and (not skip_broken or len(broken) == total):
        found = f"{len(broken)} of {total} clips are broken; no store was written"
        fix = "mend or remove them and run the same command again (sound clips are kept), or give --skip-broken"
        if len(broken) == total:
            fix = "check that the data set is what its name says"
        raise InputError([*findings, Finding("E868", "error", str(target), found, fix=fix)])


def _manifest(
    listed: Listed, settings: ClipSettings, versions: dict[str, str], headers: dict[int, PartHeader], broken: Broken
) -> Manifest:
    rows = []
    for index in sorted(headers):
        entry, header = listed.entries[index], headers[index]
        values = entry_values(entry, settings, header.valid_steps)
        rows.append(
            ClipRow(
                name=entry.name,
                label=label_of(entry),
                subject=entry.subject,
                split=str(entry.split),
                fold=entry.fold,
                valid_steps=header.valid_steps,
                fps=header.fps,
                events=header.events,
                sha256=header.sha256,
                source_sha256=header.source_sha256,
                values_sha256="" if values is None else digest(values.astype("<f4").tobytes()),
            )
        )
    skipped = [
        SkippedRow(
            listed.entries[index].name,
            source_digest(listed.entries[index].path),
            tuple(f"{finding.code} {finding.found}" for finding in broken[index]),
        )
        for index in sorted(broken)
    ]
    warnings = tuple(f"{finding.code} {finding.found}" for finding in listed.findings)
    told = {"model": model_of(settings)} | settings.to_dict()
    made_by = dict(sorted((versions | dict(listed.versions)).items()))
    return Manifest(
        listed.dataset, dict(listed.options), told, made_by, listed.classes, tuple(rows), tuple(skipped), warnings
    )


def _assemble(target: Path, folder: PartFolder, jobs: list[PartJob], manifest: Manifest, listed: Listed) -> None:
    """Write the store of all parts and its manifest, each whole before it gets its name."""
    entries = {entry.name: entry for entry in listed.entries}
    tables = [entry_values(entries[row.name], jobs[0].settings, row.valid_steps) for row in manifest.clips]
    found = [table for table in tables if table is not None]
    value_names = sorted(listed.entries[0].values or {})
    text = manifest.to_bytes()
    temporary = folder.path / "store.tmp"
    write_store(
        temporary,
        _clips(folder, jobs),
        settings=jobs[0].settings,
        classes=manifest.classes,
        labels=[manifest.classes.index(row.label) for row in manifest.clips],
        splits=[row.split for row in manifest.clips],
        subjects=[row.subject for row in manifest.clips],
        names=[row.name for row in manifest.clips],
        values=np.stack(found) if found else None,
        value_names=value_names,
        manifest=text,
    )
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    write_aside(manifest_path(target), text, folder.path / "manifest.tmp")


def _clips(folder: PartFolder, jobs: list[PartJob]) -> Iterator[EncodedClip]:
    for job in jobs:
        part = folder.load(job.key)
        if part is None:
            raise OSError(f"the part of {job.source.name} was damaged while the store was being written; run again")
        yield part[1]


def _existing(
    target: Path, listed: Listed, settings: ClipSettings, versions: dict[str, str], force: bool, skip_broken: bool
) -> Prepared | None:
    """Return the store in place if it is already what is wanted; refuse any other, unless it may be replaced."""
    if not target.exists() or force:
        return None
    manifest = stored_manifest(target)
    incomplete = manifest is not None and manifest.skipped and not skip_broken
    if manifest is None or incomplete or not is_same(manifest, listed, settings, versions):
        fix = "give another path, or --force to replace it"
        found = "exists already, made of other data, settings or libraries"
        found = "exists already, without its broken clips" if incomplete else found
        raise InputError(Finding("E744", "error", str(target), found, fix=fix))
    beside, text = manifest_path(target), manifest.to_bytes()
    if not beside.is_file() or beside.read_bytes() != text:
        write_aside(beside, text)
    remove_parts(target)
    return Prepared(target, manifest, len(manifest.clips), reused=True)
