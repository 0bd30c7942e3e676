"""The two published label forms of CMU-MOSI, read with suspicion, and its official split.

``label.csv`` (MMSA): columns video_id, clip_id, label, mode and others, one row per clip; the ids are text.
``CMU_MOSI_Opinion_Labels.csd`` (CMU-MultimodalSDK): HDF5, ``<root>/data/<video>/features`` float [n, 1] and
``intervals`` float [n, 2] in seconds of the full video; row k - 1 is the label of the clip ``<video>_<k>``.
A label is the sentiment, a number in [-3, 3]. Pickles are never opened: opening one can run code.

Source: Zadeh et al., arXiv:1606.06259; CMU-MultimodalSDK 4f2eadc (cmu_mosi_std_folds.py, file_ops.py); MMSA.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError

LABEL_CSV = "label.csv"
LABEL_CSD = "CMU_MOSI_Opinion_Labels.csd"
COLUMNS = ("video_id", "clip_id", "label", "mode")
MODES = {"train": "train", "valid": "val", "test": "test"}
SENTIMENT_LIMIT = 3.0
MAX_LABELS_BYTES = 64 << 20
MAX_VIDEOS = 10_000
MAX_CLIPS_PER_VIDEO = 10_000
MAX_CLIPS = 100_000

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_CHUNK_BYTES = 16 << 20
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CLIP_ID = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")
_REPLACE = "put the published file there again"

_TRAIN = """
    03bSnISJMiM 0h-zjBukYpk 1DmNV9C1hbY 1iG0909rllw 2WGyTLYerpo 2iD-tVS8NPw 5W7Z1C_fDaE 6Egk_28TtTM
    6_0THN4chvY 73jzhE8R1TQ 7JsX8y1ysxY 8OtFthrtaJM 8d-gEyoeBzc 8qrpnFRGt2A 9J25DZhivz8 9T9Hf74oK10
    9c67fiY0wGQ 9qR7uwkblbs Af8D0E4ZXaw BI97DNYfe5I BXuRRbG0Ugk Bfr499ggo-0 BioHAh1qJAQ BvYR0L6f2Ig
    Ci-AH39fi3Y Clx4VXItLTE Dg_0XKD0Mf4 G-xst2euQUc G6GlGvlkxAQ GWuJjcEuzt8 HEsqda8_d0Q I5y0__X72p0
    Iu2PFX3z_1s IumbAb8q2dM Jkswaaud0hk LSi-o-IrDMs MLal-t_vJPM Njd1F0vZSm4 Nzq88NnDkEk OQvJTdtJ2H4
    OtBXNcAL_lE Oz06ZWiO20M POKffnXeBds PZ-lDQFboO8 QN9ZIUWUXsY Qr1Ca94K55A Sqr0AcuoNnk TvyZBvOMOTc
    VCslbP0mgZI VbQk4H8hgr0 Vj1wYRQjB-o W8NXH0Djyww
"""
_VAL = """
    WKA5OygbEKI X3j2zQgwYgE ZAIRrfG22O0 ZUXBRvtny7o _dI--eQ6qVU aiEXnCPZubE atnd_PF-Lbs bOL9jKpeJRs
    bvLlb-M3UXU c5xsKMxpXnc
"""
_TEST = """
    c7UH_rxdZv4 cM3Yna7AavY cW1FSBF59ik cXypl4FnoZo d3_k5Xpfmik d6hH302o4v8 dq3Nf_lMPnE etzxEpPuc6I
    f9O3YtZ2VfI f_pcplsH_V0 fvVhgmXxadc iiK8YX8oH1E jUzDDGyPkXU k5Y_838nuGo lXPQBPVc5Cw nbWiPyCm4g0
    nzpVDcQ0ywM ob23OKe5a9Q pLTX3ipuDJI phBUpBr1hSo rnaNMUZpvvg tIrG4oNLFzE tStelxIAHjw tmZoasNr4rU
    v0zCBqDeKcE vvZ4IcEtiZc vyB00TXsimI wMbj6ajWbic yDtzw_Y-7RU yvsjCA6Y5Fc zhpQhgha_KU
"""

OFFICIAL_VIDEOS = {"train": tuple(_TRAIN.split()), "val": tuple(_VAL.split()), "test": tuple(_TEST.split())}
"""The official split by video, 52 / 10 / 31; the SDK calls ``val`` "valid"."""


@dataclass(frozen=True, slots=True)
class ClipLabel:
    """The sentiment of one clip; ``split`` is what the label file says, None where it says nothing."""

    video: str
    clip: str
    sentiment: float
    split: str | None
    where: str


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The labels of a file in its own order, and what is odd about it."""

    path: Path
    labels: tuple[ClipLabel, ...]
    findings: tuple[Finding, ...] = ()


def official_split(video: str) -> str | None:
    """Return the official split of a video, None for one that is in no list.

    >>> official_split("03bSnISJMiM"), official_split("_dI--eQ6qVU"), official_split("of-my-own")
    ('train', 'val', None)
    """
    return next((split for split, videos in OFFICIAL_VIDEOS.items() if video in videos), None)


def find_labels(root: Path) -> Path:
    """Return the one label file of a folder; raises ``InputError`` for none, or for both forms side by side."""
    found = [root / name for name in (LABEL_CSV, LABEL_CSD) if (root / name).is_file()]
    if len(found) == 1:
        return found[0]
    fix = f"put {LABEL_CSV} (MMSA) or {LABEL_CSD} (CMU-MultimodalSDK) there, or name the file with labels="
    text = f"both {LABEL_CSV} and {LABEL_CSD}" if found else "no label file"
    if not found and _pickles(root):
        names = ", ".join(_pickles(root))
        text += f"; {names}: a pickle can run code when it is opened, so it is not read"
    raise InputError(Finding("E754", "error", str(root), text, "one label file", fix=fix))


def _pickles(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in (*root.glob("*.pkl"), *root.glob("Processed/*.pkl")))


def read_labels(path: Path) -> LabelTable:
    """Return the labels of ``label.csv`` or of the SDK's csd, told apart by the first bytes of the file.

    Raises ``InputError`` with everything wrong at once: a file that cannot be read, is too large, is a pickle
    or neither form (E755); an id, a label or a mode that cannot be, a clip listed twice (E756).
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            start = handle.read(len(_HDF5_SIGNATURE))
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if size > MAX_LABELS_BYTES:
        limit = f"{MAX_LABELS_BYTES >> 20} MiB"
        raise InputError(Finding("E755", "error", str(path), f"{size} bytes", limit, fix=_REPLACE))
    if path.suffix.lower() in (".pkl", ".pickle") or start[:1] == b"\x80":
        fix = f"use {LABEL_CSV} or {LABEL_CSD}"
        text = "a pickle, not a label file: a pickle can run code when it is opened, so it is not read"
        raise InputError(Finding("E755", "error", str(path), text, fix=fix))
    if start == _HDF5_SIGNATURE:
        return _checked(path, *_read_csd(path))
    if path.suffix.lower() == ".csd":
        raise _unreadable(path, "it is not an HDF5 file")
    return _checked(path, *_read_csv(path))


def _checked(path: Path, labels: list[ClipLabel], errors: list[Finding], warnings: list[Finding]) -> LabelTable:
    if not labels and not errors:
        errors = [Finding("E755", "error", str(path), "no labels in it", "at least one clip", fix=_REPLACE)]
    if errors:
        raise InputError(errors)
    return LabelTable(path, tuple(labels), tuple(warnings))


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(Finding("E755", "error", str(path), f"cannot be read: {reason}", fix=_REPLACE))


def _wrong(where: str, found: str, limit: str) -> Finding:
    return Finding("E756", "error", where, found, limit, fix="correct the label file, or take the published one")


def _read_csv(path: Path) -> tuple[list[ClipLabel], list[Finding], list[Finding]]:
    labels: list[ClipLabel] = []
    errors: list[Finding] = []
    against: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    try:
        for line, row in _rows(path):
            where = f"{path}:{line}"
            problem = _row_problem(row, seen)
            if problem:
                errors.append(_wrong(where, *problem))
                continue
            video, clip, sentiment = row["video_id"], row["clip_id"], float(row["label"])
            seen[video, clip] = where
            labels.append(ClipLabel(video, clip, sentiment, MODES[row["mode"]], where))
            if _contradicts(row.get("annotation", ""), sentiment):
                against.append(f"{video}/{clip}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error
    if not against:
        return labels, errors, []
    text = f"{len(against)} annotation(s) against the sign of the label, first {against[0]}: the label is used"
    return labels, errors, [Finding("W756", "warning", str(path), text, fix="check that no columns are shifted")]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) with every value a text; raises ``InputError`` for a header without the columns."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle, strict=True)
        header = next(reader, [])
        missing = [column for column in COLUMNS if column not in header]
        repeated = sorted({column for column in COLUMNS if header.count(column) > 1})
        if missing or repeated:
            what = f"missing column(s) {', '.join(missing)}" if missing else f"repeated column(s) {', '.join(repeated)}"
            raise InputError(Finding("E755", "error", str(path), what, ",".join(COLUMNS), fix=_REPLACE))
        for fields in reader:
            if fields:
                row = dict(zip(header, fields, strict=False))
                yield reader.line_num, row if len(fields) == len(header) else {"fields": f"{len(fields)}/{len(header)}"}


def _row_problem(row: dict[str, str], seen: dict[tuple[str, str], str]) -> tuple[str, str] | None:
    """Return (what is wrong, the limit) of one row, or None."""
    if "video_id" not in row:
        has, wanted = row["fields"].split("/")
        return f"{has} fields", f"{wanted}, as in the first line"
    video, clip = row["video_id"], row["clip_id"]
    if not _VIDEO_ID.fullmatch(video):
        return f"video_id {video[:80]!r}", "letters, digits, '-' and '_'"
    if not _CLIP_ID.fullmatch(clip):
        return f"clip_id {clip[:80]!r} of video {video!r}", "digits"
    if (video, clip) in seen:
        return f"clip {video}/{clip} listed twice", f"one row per clip; first in {seen[video, clip]}"
    if row["mode"] not in MODES:
        return f"unknown mode {row['mode'][:80]!r} of clip {video}/{clip}", " ".join(MODES)
    return _label_problem(row["label"], f"{video}/{clip}")


def _label_problem(text: str, clip: str) -> tuple[str, str] | None:
    limit = "a number from -3 to 3"
    if not _NUMBER.fullmatch(text):
        return f"label {text[:80]!r} of clip {clip}", limit
    return None if abs(float(text)) <= SENTIMENT_LIMIT else (f"label {text} of clip {clip} out of range", limit)


def _contradicts(annotation: str, sentiment: float) -> bool:
    sign = {"Negative": -1, "Neutral": 0, "Positive": 1}.get(annotation)
    return sign is not None and sign != (sentiment > 0) - (sentiment < 0)


_HDF5_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError, MemoryError)


def _read_csd(path: Path) -> tuple[list[ClipLabel], list[Finding], list[Finding]]:
    import h5py

    labels: list[ClipLabel] = []
    errors: list[Finding] = []
    unordered: list[str] = []
    try:
        with h5py.File(path, "r") as file:
            for video, group in _videos(path, file):
                where = f"{path}:{video}"
                values, starts, problem = _columns(video, group)
                if problem:
                    errors.append(_wrong(where, *problem))
                    continue
                if len(labels) + len(values) > MAX_CLIPS:
                    errors.append(_wrong(where, f"more than {MAX_CLIPS} clips", "2199 are published"))
                    break
                labels += [ClipLabel(video, str(k), float(v), None, where) for k, v in enumerate(values, start=1)]
                if np.any(np.diff(starts) < 0):
                    unordered.append(video)
    except _HDF5_ERRORS as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    if not unordered:
        return labels, errors, []
    text = f"{len(unordered)} video(s) with rows out of time order, first {unordered[0]}: row k is taken as clip k"
    return labels, errors, [Finding("W756", "warning", str(path), text, fix=f"compare with {LABEL_CSV}")]


def _member(group: Any, name: str) -> Any:
    """Return a member that lies in the file itself, None otherwise: a link may lead to any file."""
    import h5py

    hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
    return group[name] if hard else None


def _videos(path: Path, file: Any) -> Iterator[tuple[str, Any]]:
    """Yield (video, its group) of the one sequence of a csd; raises ``InputError`` for another inner layout."""
    import h5py

    layout = "one group <name>/data/<video>/{features, intervals}"
    names = list(file)
    root = _member(file, names[0]) if len(names) == 1 else None
    data = _member(root, "data") if isinstance(root, h5py.Group) and "data" in root else None
    if not isinstance(data, h5py.Group):
        raise InputError(Finding("E755", "error", str(path), f"{len(names)} group(s), no labels", layout, fix=_REPLACE))
    if len(data) > MAX_VIDEOS:
        raise InputError(Finding("E755", "error", str(path), f"{len(data)} videos", str(MAX_VIDEOS), fix=_REPLACE))
    for video in sorted(data):
        yield video, _member(data, video)


def _columns(video: str, group: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[str, str] | None]:
    """Return (labels [n], starts [n], None) of one video, or what is wrong with it as (found, limit)."""
    import h5py

    none = np.zeros(0)
    if not _VIDEO_ID.fullmatch(video):
        return none, none, (f"video id {video[:80]!r}", "letters, digits, '-' and '_'")
    if not isinstance(group, h5py.Group) or not {"features", "intervals"} <= set(group):
        return none, none, (f"video {video} without features and intervals", "both, as arrays")
    features, intervals = _member(group, "features"), _member(group, "intervals")
    for name, item, width in (("features", features, 1), ("intervals", intervals, 2)):
        if not _is_small_table(item, width):
            limit = f"numbers [n, {width}], n from 1 to {MAX_CLIPS_PER_VIDEO}"
            return none, none, (f"{name} of video {video} is {_described(item)}", limit)
    if len(features) != len(intervals):
        return none, none, (f"{len(features)} labels and {len(intervals)} intervals of video {video}", "as many")
    values = np.asarray(features[()], np.float64)[:, 0]
    spans = np.asarray(intervals[()], np.float64)
    bad = np.flatnonzero(~(np.abs(values) <= SENTIMENT_LIMIT))
    if len(bad):
        found = f"label {values[bad[0]]:g} of clip {video}/{bad[0] + 1} out of range, {len(bad)} such in this video"
        return none, none, (found, "a number from -3 to 3")
    if not np.all(np.isfinite(spans)):
        return none, none, (f"intervals of video {video} not finite", "seconds")
    return values, spans[:, 0], None


def _is_small_table(item: Any, width: int) -> bool:
    """Say whether an HDF5 object is a plain numeric [n, width] table that is safe to read."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu" or item.dtype.itemsize > 8:
        return False
    if item.ndim != 2 or item.shape[1] != width or not 1 <= item.shape[0] <= MAX_CLIPS_PER_VIDEO:
        return False
    chunk = int(np.prod(item.chunks, dtype=np.float64)) * item.dtype.itemsize if item.chunks else 0
    return chunk <= _MAX_CHUNK_BYTES and not item.is_virtual and item.external is None


def _described(item: Any) -> str:
    shape, dtype = getattr(item, "shape", None), getattr(item, "dtype", None)
    return f"{dtype} {list(shape)}" if shape is not None else "no table"
