"""The event frames of a table: listed whole before anything is converted, prepared, and checked before any training.

A wrong folder is refused by naming what is missing first; with two data sets (Table 5) both are looked at, so that
one message holds all. Prepared stores lie in OUT/data and serve all tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.datasets.event_frames import EventFrames
from neuroemo.reproduce.affect_run import split_of
from neuroemo.reproduce.affect_settings import (
    FACES,
    FIRST_BITS,
    SECOND_BITS,
    SLICE_US,
    AffectTableSettings,
    spec_of,
)

if TYPE_CHECKING:
    from neuroemo.console import Console
    from neuroemo.datasets.catalogue import Listed

CAMERAS = {"events": "recorded", "codes": "codes", "pictures": "pixel"}
"""Which camera model makes frames of what a recording of NEFER holds."""


@dataclass(frozen=True, slots=True)
class AffectData:
    """The open stores: ``first``; ``second`` the same clips with more bits (Table 4); ``emotions`` of Table 5."""

    first: EventFrames
    second: EventFrames | None = None
    emotions: EventFrames | None = None
    emotions_test: str = "val"

    def stores(self) -> tuple[EventFrames, ...]:
        """Return the stores that networks are trained on, 8 bits first."""
        return (self.first,) if self.second is None else (self.first, self.second)

    def folds(self, settings: AffectTableSettings) -> tuple[int | None, ...]:
        """Return the test folds that are asked for; (None,) for data that come in splits."""
        if int(self.first.folds.max()) < 0:
            return (None,)
        return tuple(range(int(self.first.folds.max()) + 1)) if settings.folds is None else settings.folds

    def close(self) -> None:
        """Close all files."""
        for store in (self.first, self.second, self.emotions):
            if store is not None:
                store.close()


def open_table_data(settings: AffectTableSettings, console: Console) -> AffectData:
    """Prepare, or only open, what a table needs, and check that it is that.

    Raises:
        InputError: a folder is not what its name says, a file cannot be read, or the stores are not of the kind, the
            size, the clips or the labels that the networks need (E971).
    """
    listed = {} if settings.is_file and settings.nefer_root is None else _listed_all(settings, console)
    with ExitStack() as opened:

        def keep(store: EventFrames) -> EventFrames:
            return opened.enter_context(store)

        if settings.is_file:
            first = keep(EventFrames.open(settings.data))
            second = keep(EventFrames.open(settings.data_16)) if settings.data_16 is not None else None
        else:
            frames = own_frames(settings)
            first = keep(_prepared(settings, listed["data"], frames, console))
            second = None
            if settings.table == "affect-table4":
                second = keep(_prepared(settings, listed["data"], replace(frames, n_bits=SECOND_BITS), console))
        findings = list(_store_findings(settings, first, second))
        if findings:
            raise InputError(findings)
        emotions = _emotions(settings, listed, first, console)
        data = AffectData(first, second, emotions, "val" if _has_nefer(settings) else "test")
        findings = list(_emotion_findings(settings, data))
        if findings:
            raise InputError(findings)
        opened.pop_all()
    return data


def _has_nefer(settings: AffectTableSettings) -> bool:
    return settings.nefer_root is not None or settings.nefer_data is not None


def own_frames(settings: AffectTableSettings) -> EventFrameSettings:
    """Return how frames are made here: TBR of 8 slices of 5 ms from the simulated camera."""
    usual = EventFrameSettings(size=settings.pixels, n_bits=FIRST_BITS, slice_us=SLICE_US)
    if settings.threshold is None or usual.pixel is None:
        return usual
    level = settings.threshold
    return replace(usual, pixel=replace(usual.pixel, positive_threshold=level, negative_threshold=level))


def _emotions(
    settings: AffectTableSettings, listed: dict[str, Listed], first: EventFrames, console: Console
) -> EventFrames | None:
    """Open the videos whose emotions are told: NEFER, or the faces themselves."""
    if settings.table != "affect-table5":
        return None
    if settings.nefer_data is not None:
        return EventFrames.open(settings.nefer_data)
    if settings.nefer_root is None:
        return EventFrames.open(first.path)
    own = first.settings
    camera = _nefer_camera(settings)
    frames = EventFrameSettings(own.size, own.n_bits, own.slice_us, own.msb, camera)  # type: ignore[arg-type]
    return _prepared(settings, listed["nefer"], frames, console)


def _nefer_camera(settings: AffectTableSettings) -> str:
    from neuroemo.datasets.catalogue import read_options, recordings

    return CAMERAS.get(recordings("nefer", read_options(list(settings.nefer_options))), "recorded")


def _listed_all(settings: AffectTableSettings, console: Console) -> dict[str, Listed]:
    """List every data set that is to be prepared; what is wrong with all of them is raised at once."""
    from neuroemo.datasets.catalogue import read_options

    wanted: dict[str, tuple[str, Path, EventFrameSettings, Mapping[str, Any]]] = {}
    if settings.nefer_root is not None:
        camera: Any = _nefer_camera(settings)
        frames = EventFrameSettings(size=settings.pixels, model=camera)
        wanted["nefer"] = ("nefer", settings.nefer_root, frames, read_options(list(settings.nefer_options)))
    if not settings.is_file:
        usual: dict[str, Any] = FACES[settings.quick] if settings.data == "faces" else {}
        chosen = usual | read_options(list(settings.options))
        root = settings.root or settings.out / "data" / f"videos-{_mark(chosen, settings.pixels)}"
        wanted["data"] = (settings.data, root, own_frames(settings), chosen)
    listed: dict[str, Listed] = {}
    findings: list[Finding] = []
    for key, (name, root, frames, options) in wanted.items():
        if findings and name == "faces":
            break  # they would be rendered for nothing
        try:
            listed[key] = _listed(settings, console, name, root, frames, options)
        except InputError as error:
            findings += error.findings
    if findings:
        raise InputError(findings)
    return listed


def _listed(
    settings: AffectTableSettings,
    console: Console,
    name: str,
    root: Path,
    frames: EventFrameSettings,
    options: Mapping[str, Any],
) -> Listed:
    from neuroemo.datasets.catalogue import list_dataset

    with console.progress(f"list {name}") as report:
        found = list_dataset(
            name,
            root,
            frames,
            options,
            skip_broken=settings.skip_broken,
            workers=settings.workers or 2,
            progress=lambda done, total: report(done, total, ""),
        )
    for finding in found.findings:
        console.say(f"neuroemo: {finding}")
    return found


def _prepared(
    settings: AffectTableSettings, listed: Listed, frames: EventFrameSettings, console: Console
) -> EventFrames:
    from neuroemo.datasets.event_frame_prepare import prepare_event_frames

    name = f"{listed.dataset}-{frames.size}px-{frames.n_bits}bits-{_mark(dict(listed.options), frames.to_dict())}.h5"
    target = settings.out / "data" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    there = target.exists()
    with console.progress(f"event frames of {listed.dataset}, {frames.n_bits} bits") as report:
        try:
            made = prepare_event_frames(
                listed,
                None,
                target,
                frames,
                skip_broken=settings.skip_broken,
                workers=settings.workers or 2,
                progress=lambda done, total: report(done, total, ""),
            )
        except InputError as error:
            if there:  # a sound store is left as it is, so it is another one
                found = "was prepared from other recordings or by other versions of the libraries"
                fix = "choose another folder with -o, or delete this file"
                raise InputError(Finding("E932", "error", str(target), found, fix=fix)) from error
            raise
    return EventFrames.open(made.path)


def _mark(*told: Any) -> str:
    """Return a short name of what decides what is made."""
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _store_findings(settings: AffectTableSettings, first: EventFrames, second: EventFrames | None) -> Iterator[Finding]:
    """Yield why the networks of the table cannot be trained on these stores."""
    for store in (first,) if second is None else (first, second):
        where = str(store.path)
        for model in settings.rows:
            try:
                spec_of(model, store.settings.size, store.settings.n_bits)
            except InputError as error:
                yield from error.findings
        try:
            store.affect(np.arange(0))
            for fold in _folds_asked(settings, store):
                yield from _label_findings(store, fold)
        except InputError as error:
            yield from error.findings
        if int(store.folds.max()) < 0 and settings.folds is not None:
            fix = "leave it out: the data come in splits"
            yield Finding("E971", "error", "--folds", f"{where}: no folds", fix=fix)
    if settings.table == "affect-table4" and second is not None:
        yield from _bit_findings(settings, first, second)


def _folds_asked(settings: AffectTableSettings, store: EventFrames) -> tuple[int | None, ...]:
    return AffectData(store).folds(settings)


def _label_findings(store: EventFrames, fold: int | None) -> Iterator[Finding]:
    for part, frames in split_of(store, fold).items():
        known = np.isfinite(store.affect(frames)).all(axis=1)
        if not known.any():
            place = f"split {part!r}" + ("" if fold is None else f" of fold {fold}")
            found = f"no frame of {place} has a known valence and arousal"
            yield Finding("E971", "error", str(store.path), found, "at least 1", fix="use data that rate both")


def _bit_findings(settings: AffectTableSettings, first: EventFrames, second: EventFrames) -> Iterator[Finding]:
    """Yield why two stores are not the same clips with 8 and with 16 bits."""
    for option, store, bits in (("--data", first, FIRST_BITS), ("--data-16", second, SECOND_BITS)):
        if store.settings.n_bits != bits:
            found = f"{store.path}: frames of {store.settings.n_bits} bits"
            yield Finding("E971", "error", option, found, f"{bits} bits", fix=f"prepare them with --bits {bits}")
    pairs = {
        "names of the clips": (first.clip_names, second.clip_names),
        "subjects": (first.subjects, second.subjects),
        "splits": (first.splits, second.splits),
        "folds": (first.folds.tolist(), second.folds.tolist()),
        "frame size": (first.settings.size, second.settings.size),
        "length of a slice": (first.settings.slice_us, second.settings.slice_us),
    }
    other = [name for name, (one, two) in pairs.items() if one != two]
    if other:
        found, fix = f"other {', '.join(other)} than --data", "prepare both from the same recordings"
        yield Finding("E971", "error", "--data-16", found, "the same clips", fix=fix)


def _emotion_findings(settings: AffectTableSettings, data: AffectData) -> Iterator[Finding]:
    """Yield why the emotions of a store cannot be told by networks that were trained on the first one."""
    store = data.emotions
    if store is None:
        return
    where = str(store.path)
    for name in ("size", "n_bits", "slice_us", "msb"):
        wanted, there = getattr(data.first.settings, name), getattr(store.settings, name)
        if wanted != there:
            fix = "prepare both alike"
            yield Finding("E971", "error", where, f"frames of {name} {there}", f"{wanted}, as trained on", fix=fix)
    if not store.classes:
        yield Finding("E971", "error", where, "no classes: its videos have no emotions", fix="use NEFER")
    for split in ("train", data.emotions_test):
        if split not in store.splits:
            found = f"no videos in split {split!r}"
            yield Finding("E971", "error", where, found, f"train and {data.emotions_test}")
