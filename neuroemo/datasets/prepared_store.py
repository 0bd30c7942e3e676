"""What lies in a prepared store: is it the one that is wanted, and is it still what was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_targets.finding import Finding, InputError, VerificationError
from neuroemo.datasets.catalogue import Listed, entry_values, label_of
from neuroemo.datasets.chunks import picture_digest
from neuroemo.datasets.clip_settings import ClipSettings, model_of
from neuroemo.datasets.clip_source import source_digest
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.manifest import ClipRow, Manifest, SkippedRow, digest
from neuroemo.datasets.store import ClipStore, Progress

_REMAKE = "prepare the data set again, or copy the store again"


def manifest_path(target: Path) -> Path:
    """Return where the copy of the manifest lies.

    >>> manifest_path(Path("runs/clips.h5")).name
    'clips.manifest.json'
    """
    return target.with_suffix(".manifest.json")


def stored_manifest(target: Path) -> Manifest | None:
    """Return the manifest of a store file, or None when it holds none or is no sound store."""
    try:
        with ClipStore.open(target) as store:
            return store.manifest()
    except InputError:
        return None


def is_same(manifest: Manifest, listed: Listed, settings: ClipSettings, versions: dict[str, str]) -> bool:
    """Say whether a store was made of these very files, labels, settings and libraries (it reads the files)."""
    wanted: dict[str, Any] = {
        "dataset": listed.dataset,
        "options": dict(listed.options),
        "settings": {"model": model_of(settings)} | settings.to_dict(),
        "versions": versions | dict(listed.versions),
        "classes": listed.classes,
    }
    if any(getattr(manifest, name) != value for name, value in wanted.items()):
        return False
    rows: list[ClipRow | SkippedRow] = [*manifest.clips, *manifest.skipped]
    made = {row.name: row for row in rows}
    if set(made) != {entry.name for entry in listed.entries}:
        return False
    return all(_same_entry(made[entry.name], entry, settings) for entry in listed.entries)


def _same_entry(row: ClipRow | SkippedRow, entry: DatasetEntry, settings: ClipSettings) -> bool:
    if source_digest(entry.path) != row.source_sha256:
        return False
    if isinstance(row, SkippedRow):
        return True
    values = entry_values(entry, settings, row.valid_steps)
    found = "" if values is None else digest(values.astype("<f4").tobytes())
    labels = (label_of(entry), entry.subject, entry.split, entry.fold)
    return labels == (row.label, row.subject, row.split, row.fold) and found == row.values_sha256


@dataclass(frozen=True, slots=True)
class Checked:
    """What a sound store holds; ``manifest`` is None for one that was made without."""

    clips: int
    bytes: int
    manifest: Manifest | None


def check_store(path: str | Path, *, progress: Progress | None = None) -> Checked:
    """Read every clip of a store and compare it with the manifest.

    A store without a manifest (made by ``neuroemo events``) is read whole, against the file's own checksums.

    Raises ``InputError`` for a file that is no store, ``VerificationError`` with every clip that is damaged
    and everything else that differs from the manifest.
    """
    target = Path(path)
    with ClipStore.open(target) as store:
        manifest = store.manifest()
        findings = [] if manifest is None else [*_whole_findings(store, manifest), *_beside(target, manifest)]
        for index in range(len(store)):
            findings += _clip_findings(store, manifest, index)
            if progress is not None:
                progress(index + 1, len(store))
        if findings:
            raise VerificationError(findings)
        return Checked(len(store), target.stat().st_size, manifest)


def _differs(node: str, found: str, limit: str = "") -> Finding:
    return Finding("E861", "error", node, found, limit, fix=_REMAKE)


def _whole_findings(store: ClipStore, manifest: Manifest) -> list[Finding]:
    """Compare what is said of the store as a whole."""
    told = {"model": model_of(store.settings)} | store.settings.to_dict()
    totals = tuple(sum(row.events[place] for row in manifest.clips) for place in range(3))
    pairs: list[tuple[str, Any, Any]] = [
        ("settings", told, dict(manifest.settings)),
        ("classes", store.classes, manifest.classes),
        ("events", store.index.events, totals),
        ("names", store.names, tuple(row.name for row in manifest.clips)),
    ]
    return [
        _differs(str(store.path), f"{name} are not those of the manifest") for name, is_, said in pairs if is_ != said
    ]


def _beside(target: Path, manifest: Manifest) -> list[Finding]:
    copy = manifest_path(target)
    if not copy.is_file() or copy.read_bytes() == manifest.to_bytes():
        return []
    return [_differs(str(copy), "not the manifest in the store", "a copy of it")]


def _clip_findings(store: ClipStore, manifest: Manifest | None, index: int) -> list[Finding]:
    name = store.names[index]
    try:
        pictures = store.pictures(index)
    except InputError as error:
        return [_differs(name, f"clip {index} is damaged: {error.findings[0].found}")]
    if manifest is None or index >= len(manifest.clips):
        return []
    row, wrong = manifest.clips[index], []
    found = picture_digest(pictures["spikes"], pictures.get("first_frame"), pictures["mean_frame"])
    if found != row.sha256:
        wrong.append(_differs(name, f"clip {index} is damaged: sha256 {found[:16]}...", f"{row.sha256[:16]}..."))
    values = "" if store.values is None else digest(store.values[index].astype("<f4").tobytes())
    pairs: dict[str, tuple[Any, Any]] = {
        "label": (store.classes[store.labels[index]], row.label),
        "subject": (store.subjects[index], row.subject),
        "split": (store.splits[index], row.split),
        "valid_steps": (int(store.index.valid_steps[index]), row.valid_steps),
        "fps": (float(store.index.fps[index]), row.fps),
        "values": (values, row.values_sha256),
    }
    for field, (is_, said) in pairs.items():
        if is_ != said:
            wrong.append(_differs(name, f"{field} {is_!r}", f"{said!r}, as the manifest says"))
    return wrong
