"""The manifest of a store of event frames: what it was made of, with what, and a checksum of every clip.

It lies in the store itself as JSON and as a copy beside it. It holds no date, no path and no machine, so that the same
data give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from neuroemo.datasets.manifest import SkippedRow, _json, _skipped_row, manifest_error
from neuroemo.datasets.store_file import MAX_CLIPS

FORMAT = "neuroemo-event-frames-manifest"
SCHEMA = 1

_HEX = set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class FrameClipRow:
    """One clip: its labels, its numbers, and sha256 of its frames, of its source and of its numeric labels.

    ``frames`` are its event frames, ``video_frames`` those of its video (0 without one), ``events`` the events in
    its frames (-1 where they came as codes), ``left_out`` those behind the last whole frame. ``values_sha256`` is
    "" without numeric labels.
    """

    name: str
    label: str | None
    subject: str
    split: str
    fold: int | None
    frames: int
    video_frames: int
    events: int
    left_out: int
    sha256: str
    source_sha256: str
    values_sha256: str = ""


@dataclass(frozen=True, slots=True)
class FrameManifest:
    """What a store holds and where it comes from; ``clips`` are in the order of the store."""

    dataset: str
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    classes: tuple[str, ...]
    value_names: tuple[str, ...]
    clips: tuple[FrameClipRow, ...]
    skipped: tuple[SkippedRow, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON: keys sorted, one clip per line, UTF-8."""
        told: dict[str, Any] = {"format": FORMAT, "schema": SCHEMA} | asdict(self)
        rows = {name: told.pop(name) for name in ("clips", "skipped")}
        parts = [f"{_json(key)}: {_json(value)}" for key, value in sorted(told.items())]
        for name, values in rows.items():
            lines = ",\n".join("  " + _json(value) for value in values)
            parts.append(f"{_json(name)}: [\n{lines}\n ]" if values else f"{_json(name)}: []")
        return ("{\n " + ",\n ".join(parts) + "\n}\n").encode()


def read_frame_manifest(text: bytes, path: Path) -> FrameManifest:
    """Return the manifest of untrusted bytes; raises ``InputError`` (E862) for any departure from the format."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise manifest_error(path, f"not JSON: {error}") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT or told.get("schema") != SCHEMA:
        raise manifest_error(path, "of another format or version", f"{FORMAT} {SCHEMA}")
    kinds = {item.name: list for item in fields(FrameManifest)}
    kinds |= {"dataset": str, "options": dict, "settings": dict, "versions": dict}  # type: ignore[dict-item]
    unlike = set(told) ^ {"format", "schema", *kinds}
    if unlike:
        raise manifest_error(path, f"fields {', '.join(sorted(unlike))} missing or unknown")
    wrong = [name for name, kind in kinds.items() if not isinstance(told[name], kind)]
    texts = [name for name in ("classes", "value_names", "warnings") if name not in wrong]
    wrong += [name for name in texts if not all(isinstance(text, str) for text in told[name])]
    if wrong:
        raise manifest_error(path, f"{', '.join(wrong)} of the wrong type")
    if len(told["clips"]) > MAX_CLIPS:
        raise manifest_error(path, f"{len(told['clips'])} clips", str(MAX_CLIPS))
    made: dict[str, Any] = {name: told[name] for name in ("dataset", "options", "settings", "versions")}
    made |= {name: tuple(told[name]) for name in texts}
    made["clips"] = tuple(_row(row, number, path, told["classes"]) for number, row in enumerate(told["clips"]))
    made["skipped"] = tuple(_skipped_row(row, number, path) for number, row in enumerate(told["skipped"]))
    return FrameManifest(**made)


_KINDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "label": (str, type(None)),
    "subject": (str,),
    "split": (str,),
    "fold": (int, type(None)),
    "frames": (int,),
    "video_frames": (int,),
    "events": (int,),
    "left_out": (int,),
    "sha256": (str,),
    "source_sha256": (str,),
    "values_sha256": (str,),
}


def _row(row: Any, number: int, path: Path, classes: list[str]) -> FrameClipRow:
    if not isinstance(row, dict) or set(row) != set(_KINDS):
        raise manifest_error(path, f"clip {number}: not the fields of a clip", ", ".join(_KINDS))
    wrong = [name for name, kinds in _KINDS.items() if not isinstance(row[name], kinds) or isinstance(row[name], bool)]
    least = {"frames": 1, "video_frames": 0, "events": -1, "left_out": 0}
    wrong += [name for name, low in least.items() if name not in wrong and row[name] < low]
    if "sha256" not in wrong and (len(row["sha256"]) != 64 or not _HEX.issuperset(row["sha256"])):
        wrong.append("sha256")
    if wrong:
        raise manifest_error(path, f"clip {number}: {', '.join(wrong)} malformed")
    if row["label"] is not None and row["label"] not in classes:
        raise manifest_error(path, f"clip {number}: label {row['label']!r} is no class", ", ".join(classes))
    return FrameClipRow(**row)
