"""The manifest of a prepared data set: what it was made of, with what, and a checksum of every clip.

It lies in the store itself as JSON, with its own sha256 in the attribute ``manifest_sha256``, and as a copy beside
it for people and version control. It holds no date, no path and no machine, so that the same data give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.datasets.store_file import MAX_CLIPS

FORMAT = "neuroemo-manifest"
SCHEMA = 1

_REMAKE = "prepare the data set again"
_HEX = set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One clip: its labels, its counts, ``sha256`` of its pictures, of its source and of its numeric labels.

    ``events`` are ON events, OFF events and positions; ``values_sha256`` is "" without numeric labels.
    """

    name: str
    label: str
    subject: str
    split: str
    fold: int | None
    valid_steps: int
    fps: float
    events: tuple[int, int, int]
    sha256: str
    source_sha256: str
    values_sha256: str = ""


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A broken clip that is not in the store: its name, its source's sha256, and what is wrong with it."""

    name: str
    source_sha256: str
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds and where it comes from; ``clips`` are in the order of the store."""

    dataset: str
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    classes: tuple[str, ...]
    clips: tuple[ClipRow, ...]
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


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=True)


def manifest_error(path: Path, found: str, limit: str = "") -> InputError:
    """Return the error for a manifest that cannot be used."""
    return InputError(Finding("E862", "error", str(path), f"manifest: {found}", limit, fix=_REMAKE))


def read_manifest(text: bytes, path: Path) -> Manifest:
    """Return the manifest of untrusted bytes; raises ``InputError`` for any departure from the format."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise manifest_error(path, f"not JSON: {error}") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT or told.get("schema") != SCHEMA:
        raise manifest_error(path, "of another format or version", f"{FORMAT} {SCHEMA}")
    wanted = {"format", "schema", *(item.name for item in fields(Manifest))}
    if set(told) != wanted:
        raise manifest_error(path, f"fields {', '.join(sorted(set(told) ^ wanted))} missing or unknown")
    kinds = {"dataset": str, "options": dict, "settings": dict, "versions": dict}
    kinds |= {"classes": list, "clips": list, "skipped": list, "warnings": list}
    wrong = [name for name, kind in kinds.items() if not isinstance(told[name], kind)]
    if wrong:
        raise manifest_error(path, f"{', '.join(wrong)} of the wrong type")
    if len(told["clips"]) > MAX_CLIPS:
        raise manifest_error(path, f"{len(told['clips'])} clips", str(MAX_CLIPS))
    rows = tuple(_clip_row(row, number, path) for number, row in enumerate(told["clips"]))
    skipped = tuple(_skipped_row(row, number, path) for number, row in enumerate(told["skipped"]))
    if not all(isinstance(text, str) for name in ("classes", "warnings") for text in told[name]):
        raise manifest_error(path, "classes or warnings are not texts")
    for number, row in enumerate(rows):
        if row.label not in told["classes"]:
            raise manifest_error(path, f"clip {number}: label {row.label!r} is no class", ", ".join(told["classes"]))
    plain: dict[str, Any] = {name: told[name] for name in ("dataset", "options", "settings", "versions")}
    plain |= {name: tuple(told[name]) for name in ("classes", "warnings")}
    return Manifest(**plain, clips=rows, skipped=skipped)


_LARGEST = 1e6
"""Bound on steps and frames per second, far above what a store may have: infinity and NaN lie beyond it."""

_ROW_KINDS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "label": (str,),
    "subject": (str,),
    "split": (str,),
    "fold": (int, type(None)),
    "valid_steps": (int,),
    "fps": (int, float),
    "events": (list,),
    "sha256": (str,),
    "source_sha256": (str,),
    "values_sha256": (str,),
}


def _clip_row(row: Any, number: int, path: Path) -> ClipRow:
    if not isinstance(row, dict) or set(row) != set(_ROW_KINDS):
        raise manifest_error(path, f"clip {number}: not the fields of a clip", ", ".join(sorted(_ROW_KINDS)))
    wrong = [
        name for name, kinds in _ROW_KINDS.items() if not isinstance(row[name], kinds) or isinstance(row[name], bool)
    ]
    counts = row["events"] if "events" not in wrong else []
    whole = all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts)
    if len(counts) != 3 or not whole:
        wrong.append("events")
    wrong += [name for name in ("valid_steps", "fps") if name not in wrong and not 0 < row[name] <= _LARGEST]
    if "sha256" not in wrong and (len(row["sha256"]) != 64 or not _HEX.issuperset(row["sha256"])):
        wrong.append("sha256")
    if wrong:
        raise manifest_error(path, f"clip {number}: {', '.join(wrong)} malformed")
    return ClipRow(**row | {"events": tuple(counts), "fps": float(row["fps"])})


def _skipped_row(row: Any, number: int, path: Path) -> SkippedRow:
    sound = isinstance(row, dict) and set(row) == {"name", "source_sha256", "findings"}
    sound = sound and isinstance(row["name"], str) and isinstance(row["source_sha256"], str)
    sound = sound and isinstance(row["findings"], list) and all(isinstance(text, str) for text in row["findings"])
    if not sound:
        raise manifest_error(path, f"skipped clip {number} malformed")
    return SkippedRow(row["name"], row["source_sha256"], tuple(row["findings"]))


def digest(data: bytes) -> str:
    """Return sha256 in hexadecimal.

    >>> digest(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()
