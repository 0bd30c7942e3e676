"""The data sets that can be prepared by name: each is scanned by its own module, all give the same entries."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.clip_settings import ClipSettings, RecordedClipSettings, model_of
from neuroemo.datasets.entry import DatasetEntry
from neuroemo.datasets.event_frame_settings import EventFrameSettings
from neuroemo.events.video import FPS_RANGE

SCANNERS: dict[str, tuple[str, str]] = {
    "mosi": ("neuroemo.datasets.mosi", "scan_mosi"),
    "afew-va": ("neuroemo.datasets.afew_va", "scan_afew_va"),
    "nefer": ("neuroemo.datasets.nefer", "scan_nefer"),
}
"""Data sets read by ``scan(root, **options)``: module and function."""

NAMES = ("folder", "faces", *SCANNERS)
UNLABELLED = "unlabelled"

DEFAULTS: dict[str, dict[str, Any]] = {"afew-va": {"fps": 25}}
"""Frame rates of folders of pictures, which do not say it themselves (AFEW-VA: films, 25 per second)."""

FACES_FOR_FRAMES = {"frames": 25, "fps": 25.0}
"""Faces rendered for event frames, unless the options say otherwise: one second at one frame of 8 x 5 ms each."""

Values = npt.NDArray[np.float32]
Settings = ClipSettings | EventFrameSettings

_SKIPS = ("skip_broken", "skip_missing")
_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True, slots=True)
class Listed:
    """A data set as found: its name, the options it was scanned with, its entries, classes and warnings.

    ``versions`` are those of a generator, where the data are made and not recorded.
    """

    dataset: str
    entries: tuple[DatasetEntry, ...]
    classes: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def list_dataset(
    name: str,
    root: Path,
    settings: Settings,
    options: Mapping[str, Any] | None = None,
    *,
    fold: int | None = None,
    skip_broken: bool = False,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Listed:
    """Scan a data set; "faces" is rendered into ``root`` first, at the size and length that ``settings`` need.

    ``options`` are keywords of the data set's own scan function. ``fold`` k makes fold k the test clips, fold
    k + 1 (modulo their number) the validation clips and the others the training clips. ``skip_broken`` is handed
    to a scan that knows it. With ``EventFrameSettings`` the folds stay folds, and ``fold`` is not given.

    Raises ``InputError`` for an unknown name or option, a fold that there is not, and what the scan refuses.
    """
    given = dict(options or {})
    if name == "folder":
        found = _folder(root, settings, given)
    elif name == "faces":
        found = _faces(root, settings, given, workers, progress)
    elif name in SCANNERS:
        found = _scanned(name, root, settings, given, skip_broken)
    else:
        raise InputError(Finding("E860", "error", name, "no such data set", ", ".join(NAMES)))
    if isinstance(settings, EventFrameSettings) and fold is None:
        return found
    return replace(found, entries=with_fold(found.entries, fold), options=dict(found.options) | _fold_option(fold))


def _fold_option(fold: int | None) -> dict[str, int]:
    return {} if fold is None else {"fold": fold}


def read_options(texts: list[str]) -> dict[str, Any]:
    """Return options given as KEY=VALUE: true, false, none and numbers are read, anything else is text.

    Raises ``InputError`` for a text without "=", or a key given twice.

    >>> read_options(["fps=25", "zero=non0", "skip_missing=true"])
    {'fps': 25, 'zero': 'non0', 'skip_missing': True}
    """
    options: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or key in options:
            found = "given twice" if key in options else "not KEY=VALUE"
            raise InputError(Finding("E860", "error", f"--option {text}", found))
        options[key] = _value(value)
    return options


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_options(name: str, given: Mapping[str, Any], known: list[str]) -> None:
    findings = [
        Finding("E860", "error", f"--option {key}", f"unknown to data set {name!r}", ", ".join(known) or "no options")
        for key in sorted(set(given) - set(known))
    ]
    if findings:
        raise InputError(findings)


def _model_of(settings: Settings) -> str:
    return settings.model if isinstance(settings, EventFrameSettings) else model_of(settings)


def _scanned(name: str, root: Path, settings: Settings, given: dict[str, Any], skip_broken: bool) -> Listed:
    module, function = SCANNERS[name]
    scan = getattr(importlib.import_module(module), function)
    own = [item.name for item in inspect.signature(scan).parameters.values() if item.name != "root"]
    known = [option for option in own if option not in _SKIPS]
    _check_options(name, given, [*known, "fps"])
    options = DEFAULTS.get(name, {}) | given
    _check_fps(options.get("fps"))
    _check_camera(name, settings, options)
    chosen = {key: value for key, value in options.items() if key != "fps" or "fps" in own}
    data = scan(root, **chosen, **{skip: skip_broken for skip in _SKIPS if skip in own})
    entries = tuple(data.entries)
    if name == "nefer" and _model_of(settings) == "recorded" and getattr(settings, "sensor", None) is None:
        from neuroemo.datasets.nefer_sensor import check_sensor_sizes

        check_sensor_sizes(entries)
    return Listed(name, entries, _classes(entries), options, findings=tuple(data.findings))


def _check_fps(fps: object) -> None:
    low, high = FPS_RANGE
    if fps is not None and (isinstance(fps, bool) or not isinstance(fps, (int, float)) or not low <= fps <= high):
        raise InputError(Finding("E860", "error", "--option fps", repr(fps), f"{low:g}..{high:g} frames per second"))


def recordings(name: str, options: Mapping[str, Any]) -> str:
    """Return what the recordings of a data set are: videos, pictures, events, codes, or "" for an unknown choice."""
    if name != "nefer":
        return "pictures" if name == "afew-va" else "videos"
    kinds = {"event_raw": "events", "event_frames": "codes", "rgb_frames": "pictures"}
    return kinds.get(str(options.get("recording", "event_raw")), "")


def _check_camera(name: str, settings: Settings, options: Mapping[str, Any]) -> None:
    """Refuse a camera model, or a frame rate, that makes no sense for what the data set holds."""
    kind, model = recordings(name, options), _model_of(settings)
    findings = []
    step, simulated = "--model recorded --step-us N", "--model framediff or pixel"
    if isinstance(settings, EventFrameSettings):
        step, simulated = "--model recorded", "--model pixel"
    if model == "codes":
        if kind != "codes":
            fix = f"--model {'recorded' if kind == 'events' else 'pixel'}"
            findings.append(Finding("E866", "error", name, f"{kind or 'recordings'} with --model codes", fix=fix))
    elif kind == "codes":
        found = f"recording=event_frames with --model {model}: its pictures are binary codes of events, not gray"
        fix = (
            f"--option recording=event_raw {step} for the events, or "
            f"--option recording=rgb_frames --option fps=N {simulated} for the film"
        )
        findings.append(Finding("E866", "error", name, found, fix=fix))
    elif kind == "events" and model != "recorded":
        fix = step
        if name == "nefer":
            fix += ", or --option recording=rgb_frames --option fps=N for the film"
        findings.append(Finding("E866", "error", name, f"recorded events with --model {model}", fix=fix))
    elif kind in ("videos", "pictures") and model == "recorded":
        fix = simulated
        if name == "nefer":
            fix += ", or --option recording=event_raw"
        findings.append(Finding("E866", "error", name, f"{kind} with --model recorded", fix=fix))
    if kind == "pictures" and options.get("fps") is None:
        fix = "--option fps=N, in frames per second"
        findings.append(Finding("E866", "error", name, "folders of pictures have no frame rate", fix=fix))
    if kind in ("videos", "events") and options.get("fps") is not None:
        found = f"means nothing to {kind}, which state their own times"
        findings.append(Finding("E866", "error", "--option fps", found, fix="leave it out"))
    if findings:
        raise InputError(findings)


def _classes(entries: tuple[DatasetEntry, ...]) -> tuple[str, ...]:
    return tuple(sorted({label_of(entry) for entry in entries}))


def label_of(entry: DatasetEntry) -> str:
    """Return the class of an entry, "unlabelled" where it has none (its values are its labels)."""
    return UNLABELLED if entry.label is None else entry.label


def _folder(root: Path, settings: Settings, given: dict[str, Any]) -> Listed:
    from neuroemo.datasets.folder import scan_folder

    _check_options("folder", given, ["seed"])
    if isinstance(settings, EventFrameSettings) and settings.model == "recorded":
        from neuroemo.datasets.event_frame_folder import scan_event_folder

        found, findings = scan_event_folder(root, **given)
        return Listed("folder", found, _classes(found), given, findings=findings)
    _check_camera("folder", settings, given)
    scan = scan_folder(root, **given)
    entries = tuple(DatasetEntry(e.name, e.path, e.label, None, e.subject, e.split) for e in scan.entries)
    return Listed("folder", entries, scan.classes, given, findings=scan.findings)


def _faces(
    root: Path,
    settings: Settings,
    given: dict[str, Any],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Listed:
    from neuroemo.datasets.faces import CLASSES, GENERATOR_VERSION, FacesSettings, plan_faces, render_faces
    from neuroemo.datasets.faces_clip import clip_affect

    shape: dict[str, Any] = {"size": settings.size}
    if isinstance(settings, EventFrameSettings):
        shape |= FACES_FOR_FRAMES
    elif not isinstance(settings, RecordedClipSettings):
        shape["frames"] = settings.frames_needed
    if _model_of(settings) in ("recorded", "codes"):
        fix = "--model pixel" if isinstance(settings, EventFrameSettings) else "--model framediff or pixel"
        found = f"videos with --model {_model_of(settings)}"
        raise InputError(Finding("E866", "error", "faces", found, fix=fix))
    known = sorted(asdict(FacesSettings()))
    _check_options("faces", given, known)
    faces = FacesSettings(**shape | given)
    rate = getattr(settings, "fps", None)
    if rate is not None:
        fix = f"leave --fps out; --option fps={rate:g} renders them at that rate"
        found = "their truth is one per frame, and --fps drops and repeats frames"
        raise InputError(Finding("E893", "error", "faces", found, fix=fix))
    render_faces(root, faces, workers=workers, progress=progress)
    entries = [
        DatasetEntry(
            name=clip.file,
            path=root / clip.file,
            label=clip.label,
            values=clip_affect(
                faces.seed,
                clip.subject_index,
                clip.clip_index,
                clip.valence,
                clip.arousal,
                frames=faces.frames,
                fps=faces.fps,
            ),
            subject=clip.subject,
            split=clip.split,
        )
        for clip in plan_faces(faces)
    ]
    entries.sort(key=lambda entry: entry.name)
    return Listed("faces", tuple(entries), CLASSES, given, versions={"faces": str(GENERATOR_VERSION)})


def with_fold(entries: tuple[DatasetEntry, ...], fold: int | None) -> tuple[DatasetEntry, ...]:
    """Return the entries with a split made of their folds; unchanged where they come in splits.

    Raises ``InputError`` for folds without a choice, a choice without folds, or one out of range.
    """
    folds = {entry.fold for entry in entries if entry.fold is not None}
    if not folds or all(entry.split is not None for entry in entries):
        if fold is not None:
            fix = "leave --fold out"
            raise InputError(Finding("E860", "error", "--fold", f"{fold}", "a data set that comes in folds", fix=fix))
        return entries
    count = max(folds) + 1
    if fold is None or not 0 <= fold < count:
        found = "is missing" if fold is None else str(fold)
        fix = "say which fold is the test"
        raise InputError(Finding("E860", "error", "--fold", found, f"0..{count - 1}", fix=fix))
    parts = {fold: "test", (fold + 1) % count: "val"}
    return tuple(
        entry if entry.fold is None else replace(entry, split=parts.get(entry.fold, "train")) for entry in entries
    )


def entry_values(entry: DatasetEntry, settings: ClipSettings, valid_steps: int) -> Values | None:
    """Return the numeric labels of a clip, float32 ``[T, V]`` by sorted name, NaN where a step has none.

    Step s takes the label of the frame it ends with: frame s behind a gray first frame, else frame s + 1. A
    single label for the whole recording goes to every real step.
    """
    if not entry.values:
        return None
    table = np.full((settings.steps, len(entry.values)), np.nan, np.float32)
    skip = 0 if settings.first_frame == "float" else 1
    for column, name in enumerate(sorted(entry.values)):
        values = np.asarray(entry.values[name], np.float32).reshape(-1)
        row = np.repeat(values, valid_steps) if len(values) == 1 else values[skip:][:valid_steps]
        table[: len(row), column] = row
    return table
