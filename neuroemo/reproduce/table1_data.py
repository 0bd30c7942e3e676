"""The clips of the table: with a gray first frame for seven rows, without one for puresnn, otherwise the same.

Named data sets are listed whole before anything is converted, so that a wrong folder is refused by naming what is
missing, and prepared by the machinery of `neuroemo data prepare`: resumable, and the same bytes on any machine.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.clip_settings import ClipSettings
from neuroemo.datasets.store import ClipStore
from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.reproduce.table1_settings import FACES, STEPS, Table1Settings

if TYPE_CHECKING:
    from neuroemo.console import Console
    from neuroemo.datasets.catalogue import Listed

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Table1Data:
    """The two open stores; one is None where no row needs it."""

    gray: ClipStore | None
    pure: ClipStore | None

    def of(self, model: str) -> ClipStore:
        """Return the clips of a row."""
        store = self.pure if model == "puresnn" else self.gray
        if store is None:
            raise ValueError(f"no clips were opened for {model}")
        return store

    @property
    def any(self) -> ClipStore:
        """The store that names, labels and the answers without a network are taken from: the one with gray frames."""
        store = self.gray or self.pure
        if store is None:
            raise ValueError("no clips were opened")
        return store

    def close(self) -> None:
        """Close both files."""
        for store in (self.gray, self.pure):
            if store is not None:
                store.close()

    def told(self) -> dict[str, Any]:
        """Return what the report says about the clips."""
        store = self.any
        labels, splits = np.asarray(store.labels), np.asarray(store.splits)
        counts = {split: np.bincount(labels[splits == split], minlength=len(store.classes)) for split in SPLITS}
        people = {split: set(np.asarray(store.subjects)[splits == split].tolist()) for split in SPLITS}
        return {
            "classes": list(store.classes),
            "clips": {split: int(counts[split].sum()) for split in SPLITS},
            "clips_by_class": {split: [int(count) for count in counts[split]] for split in SPLITS},
            "subjects": {split: len(people[split]) for split in SPLITS} if all(store.subjects) else None,
            "size": store.settings.size,
            "steps": store.settings.steps,
            "events": {
                name: kept.settings.to_dict() for name, kept in (("gray", self.gray), ("pure", self.pure)) if kept
            },
            "fingerprints": {
                name: kept.fingerprint() for name, kept in (("gray", self.gray), ("pure", self.pure)) if kept
            },
        }


def open_table_data(settings: Table1Settings, console: Console) -> Table1Data:
    """Prepare, or only open, the clips of the table, and check that they are what the rows need.

    Raises:
        InputError: the folder is not what its name says, a file cannot be read, a store is of the wrong kind, or
            the two stores do not hold the same clips.
    """
    needs_gray, needs_pure = set(settings.models) != {"puresnn"}, "puresnn" in settings.models
    if settings.is_file:
        gray = ClipStore.open(settings.data) if needs_gray else None
        pure = ClipStore.open(settings.pure_data) if needs_pure and settings.pure_data else None
    else:
        listed = _listed(settings, console)
        gray = _prepared(settings, listed, "float", console) if needs_gray else None
        pure = _prepared(settings, listed, "spikes", console) if needs_pure else None
    data = Table1Data(gray, pure)
    findings = _kind_findings(data) or _pair_findings(data) or _split_findings(data.any)
    if findings:
        data.close()
        raise InputError(findings)
    return data


def _listed(settings: Table1Settings, console: Console) -> Listed:
    from neuroemo.datasets.catalogue import list_dataset, read_options

    pixels = settings.pixels
    options: dict[str, Any] = read_options(list(settings.options))
    if settings.data == "faces":
        # One frame more than steps, so that the events without a gray frame come from the same videos.
        options = FACES[settings.quick] | {"size": 2 * pixels, "frames": STEPS[pixels] + 1} | options
    root = settings.root or settings.out / "videos"
    with console.progress(f"list {settings.data}") as listing:
        listed = list_dataset(
            settings.data,
            root,
            _clip_settings(settings, "float"),
            options,
            skip_broken=settings.skip_broken,
            workers=settings.workers or 2,
            progress=lambda done, total: listing(done, total, ""),
        )
    for finding in listed.findings:
        console.say(f"neuroemo: {finding}")
    return listed


def _clip_settings(settings: Table1Settings, first_frame: Any) -> FrameDiffSettings:
    return FrameDiffSettings(size=settings.pixels, steps=STEPS[settings.pixels], first_frame=first_frame)


def _prepared(settings: Table1Settings, listed: Listed, first_frame: str, console: Console) -> ClipStore:
    from neuroemo.datasets.prepare import prepare_clips

    chosen = _clip_settings(settings, first_frame)
    target = settings.out / "data" / f"{settings.data}-{first_frame}-{_digest(listed, chosen)}.h5"
    target.parent.mkdir(parents=True, exist_ok=True)
    there = target.exists()
    with console.progress(f"prepare {settings.data}, first frame {first_frame}") as progress:
        try:
            made = prepare_clips(
                listed,
                target,
                chosen,
                skip_broken=settings.skip_broken,
                workers=settings.workers or 2,
                progress=lambda done, total: progress(done, total, ""),
            )
        except InputError as error:
            if there:  # a sound store is left as it is, so it is another one
                found = "was prepared from other videos or by other versions of the libraries"
                fix = "choose another folder with -o, or delete this file"
                raise InputError(Finding("E932", "error", str(target), found, fix=fix)) from error
            raise
    return ClipStore.open(made.path)


def _digest(listed: Listed, settings: ClipSettings) -> str:
    told = json.dumps([dict(listed.options), settings.to_dict()], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _kind_findings(data: Table1Data) -> list[Finding]:
    findings = []
    for name, store, wanted in (("--data", data.gray, "float"), ("--pure-data", data.pure, "spikes")):
        if store is not None and store.settings.first_frame != wanted:
            words = {"float": "with a gray first frame", "spikes": "without a gray first frame"}
            found = f"{store.path}: events {words[store.settings.first_frame]}"
            fix = f"prepare them with --first-frame {wanted}"
            findings.append(Finding("E931", "error", name, found, words[wanted], fix=fix))
    return findings


def _pair_findings(data: Table1Data) -> list[Finding]:
    """Return why the two stores are not of the same clips, which a comparison clip by clip needs."""
    if data.gray is None or data.pure is None:
        return []
    gray, pure = data.gray, data.pure
    pairs = {
        "classes": (gray.classes, pure.classes),
        "names of the clips": (gray.names, pure.names),
        "labels": (gray.labels.tolist(), pure.labels.tolist()),
        "splits": (gray.splits, pure.splits),
        "frame size": (gray.settings.size, pure.settings.size),
        "steps": (gray.settings.steps, pure.settings.steps),
    }
    other = [name for name, (first, second) in pairs.items() if first != second]
    if not other:
        return []
    found = f"other {', '.join(other)} than --data"
    return [Finding("E931", "error", "--pure-data", found, "the same clips", fix="prepare both from the same videos")]


def _split_findings(store: ClipStore) -> list[Finding]:
    """Return which splits hold no clip, and which classes nobody can learn."""
    counts = {split: Counter[int]() for split in SPLITS}
    for label, split in zip(store.labels.tolist(), store.splits, strict=True):
        counts[split][label] += 1
    where = str(store.path)
    empty = [split for split in SPLITS if not counts[split]]
    findings = [Finding("E931", "error", where, f"no clips in split {split!r}") for split in empty]
    findings += [
        Finding("E931", "error", where, f"no training clip of class {name!r}")
        for label, name in enumerate(store.classes)
        if counts["train"] and not counts["train"][label]
    ]
    return findings
