"""The annotation file of one AFEW-VA clip, ``NNN.json``: read as untrusted JSON and checked value by value."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding
from neuroemo.datasets.image_frames import first_few

Values = npt.NDArray[np.float32]

RATINGS = ("valence", "arousal")
MAX_RATING = 10
LANDMARKS = 68
MAX_JSON_BYTES = 16 << 20
MAX_NAME = 200

_NUMBER = re.compile(r"(?:frame_)?([0-9]{1,6})")
_MAX_COORDINATE = 1e6
_COPY_AGAIN = "unpack it again from the original archive"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What the file says: the actor's name as written, (valence, arousal) -10..10 by frame number.

    ``landmarks`` is float32 [68, 2], x and y in pixels, by frame number, for the frames that have them.
    """

    actor: str
    ratings: Mapping[int, tuple[int, int]]
    landmarks: Mapping[int, Values]

    def values(self) -> dict[str, Values]:
        """Return valence and arousal, each float32 [F] in [-1, 1], in the order of the frame numbers.

        >>> Annotation("a", {1: (10, -5), 0: (1, 0)}, {}).values()["valence"].tolist()
        [0.10000000149011612, 1.0]
        """
        table = np.array([self.ratings[number] for number in sorted(self.ratings)], dtype=np.float64)
        return {name: (table[:, index] / MAX_RATING).astype(np.float32) for index, name in enumerate(RATINGS)}


def normal_name(actor: str) -> str:
    """Return a name in one spelling: Unicode NFKC, lower case, single spaces.

    >>> normal_name("  Anna  KARENINA ") == normal_name("anna karenina")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", actor).casefold().split())


def letters_of(name: str) -> str:
    """Return the letters and digits of a name without accents, to find two spellings of one.

    >>> letters_of("jean-luc godard") == letters_of("jean luc gódard")
    True
    """
    return "".join(c for c in unicodedata.normalize("NFKD", name) if c.isalnum())


def read_annotation(file: Path) -> tuple[Annotation | None, list[Finding]]:
    """Return the annotation of a clip, or None and everything that is wrong with the file.

    Wrong is: no file, no UTF-8 JSON, a key given twice, NaN, no name of an actor, no frames, a frame that is no
    number or there twice, a rating that is missing or no whole number of -10..10, landmarks that are not 68
    points of finite numbers. Other keys are of no use here and are not looked at.
    """
    document, reason = _load(file)
    if reason:
        return None, [_wrong(file, reason)]
    if not isinstance(document, dict):
        return None, [_wrong(file, f"{_kind(document)}", "an object with actor and frames")]
    findings = []
    actor = document.get("actor")
    named = str(actor) if isinstance(actor, int) and not isinstance(actor, bool) else actor
    if not isinstance(named, str) or not normal_name(named) or not named.isprintable() or len(named) > MAX_NAME:
        fix = "write the actor's name into the file: without it the folds cannot keep people apart"
        limit = f"a name of 1..{MAX_NAME} printable characters"
        findings.append(_wrong(file, f"actor {_shown(actor, 'actor' in document)}", limit, fix))
    frames = document.get("frames")
    if not isinstance(frames, dict) or not frames:
        shown = _shown(frames, "frames" in document)
        return None, [*findings, _wrong(file, f"frames {shown}", "an object with one entry per frame")]
    ratings, landmarks, problems = _read_frames(file, frames)
    findings += problems
    if findings or not isinstance(named, str):
        return None, findings
    return Annotation(named, ratings, landmarks), []


def _read_frames(
    file: Path, frames: Mapping[str, Any]
) -> tuple[dict[int, tuple[int, int]], dict[int, Values], list[Finding]]:
    """Return ratings and landmarks by frame number, and one finding per kind of mistake, naming the frames."""
    ratings: dict[int, tuple[int, int]] = {}
    landmarks: dict[int, Values] = {}
    problems: dict[tuple[str, str], list[str]] = {}
    for key, frame in frames.items():
        numbered = _NUMBER.fullmatch(key)
        number = int(numbered[1]) if numbered else -1
        shown = ascii(key)[:40]
        if numbered is None:
            problems.setdefault(("no frame number", "as in 00012"), []).append(shown)
        elif number in ratings:
            problems.setdefault(("a frame number given twice", "once"), []).append(shown)
        elif not isinstance(frame, dict):
            problems.setdefault(("no object", "an object with valence and arousal"), []).append(shown)
        else:
            for name in RATINGS:
                if not _is_rating(frame.get(name)):
                    limit = f"a whole number of -{MAX_RATING}..{MAX_RATING}"
                    found = f"{shown} {_shown(frame.get(name), name in frame)}"
                    problems.setdefault((f"{name} out of order", limit), []).append(found)
            points = _landmarks(frame.get("landmarks"))
            if points is None:
                limit = f"{LANDMARKS} pairs of finite numbers, or none"
                problems.setdefault(("landmarks out of order", limit), []).append(shown)
            elif len(points):
                landmarks[number] = points
            valence, arousal = (frame.get(name) if _is_rating(frame.get(name)) else 0 for name in RATINGS)
            ratings[number] = (int(valence or 0), int(arousal or 0))
    wrong = [_wrong(file, f"{what} in frame {first_few(where)}", limit) for (what, limit), where in problems.items()]
    return ratings, landmarks, wrong


def _is_rating(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -MAX_RATING <= value <= MAX_RATING and value == int(value)


def _landmarks(points: object) -> Values | None:
    """Return the points float32 [68, 2], [0, 2] where there are none, None where they are wrong."""
    if points is None or points == []:
        return np.zeros((0, 2), np.float32)
    if not isinstance(points, list) or len(points) != LANDMARKS:
        return None
    if any(type(point) is not list or len(point) != 2 for point in points):
        return None
    # Two million points lie in the data set: whole lists are compared, and JSON gives no types but these.
    coordinates = list(chain.from_iterable(points))
    if not set(map(type, coordinates)) <= {int, float} or max(map(abs, coordinates)) > _MAX_COORDINATE:
        return None
    return np.array(points, dtype=np.float32)


def _load(file: Path) -> tuple[Any, str]:
    """Return the content of an untrusted JSON file, or None and why it cannot be read."""
    if not file.is_file():
        return None, "not a regular file" if file.exists() else "no annotation file"
    try:
        with file.open("rb") as handle:
            data = handle.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}"
    if len(data) > MAX_JSON_BYTES:
        return None, f"larger than {MAX_JSON_BYTES >> 20} MiB"
    try:
        # A number beyond the range of float64 is read as infinity, which no check of a range lets through.
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant), ""
    except RecursionError:
        return None, "not a readable JSON file: nested too deeply"
    except ValueError as error:
        return None, f"not a readable JSON file: {(str(error).splitlines() or [''])[0][:200]}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        raise ValueError(f"{first_few(ascii(key)[:40] for key in twice)} given twice in one object")
    return table


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: object, given: bool) -> str:
    """Return an untrusted value for a message, or that it is missing."""
    if not given:
        return "is missing"
    if isinstance(value, str):
        return ascii(value)[:60]
    plain = isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18)
    return f"{value}" if plain and not isinstance(value, bool) else _kind(value)


def _wrong(file: Path, found: str, limit: str = "", fix: str = _COPY_AGAIN) -> Finding:
    return Finding("E791", "error", str(file), found, limit, fix=fix)
