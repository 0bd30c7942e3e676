"""Text that came from elsewhere: made harmless to a line of print, and cut to the room it has."""

from __future__ import annotations

import unicodedata
from typing import Any

# Direction marks can turn a whole line around; a reader would see another name than the one that is there.
_TURNING = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def harmless(value: Any) -> Any:
    r"""Return a copy of JSON data in whose texts line ends are spaces and what cannot be printed is U+FFFD.

    >>> harmless({"a": ["one\ntwo", "\x00"], "b": 1})
    {'a': ['one two', '�'], 'b': 1}
    """
    if isinstance(value, str):
        return "".join(map(_printable, value))
    if isinstance(value, (list, tuple)):
        return [harmless(item) for item in value]
    if isinstance(value, dict):
        return {harmless(key): harmless(item) for key, item in value.items()}
    return value


def _printable(letter: str) -> str:
    if letter in "\n\r\t\v\f\u2028\u2029":
        return " "
    return "\ufffd" if letter in _TURNING or unicodedata.category(letter) in ("Cc", "Cs") else letter


def width(words: str, font: float, *, bold: bool = False) -> float:
    """Estimate how wide words print in a wide sans serif (DejaVu), in the unit of the font size.

    >>> round(width("conv1", 10)), round(width("層", 10)), round(width("conv1", 10, bold=True))
    (32, 10, 36)
    """
    return font * sum(map(_letter_width, words)) * (1.13 if bold else 1.0)


def _letter_width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF" or unicodedata.category(letter) in ("So", "Co"):
        return 1.05
    if letter in "mwMWOQ@%#—…<>=+×−_":
        return 0.88
    return 0.37 if letter in "iIljtfr.,:;|'!()[]/\\ \u00a0" else 0.71 if letter.isupper() else 0.63


def fitted(words: str, room: float, font: float, *, bold: bool = False) -> str:
    """Cut words that would be wider than ``room``, and mark the cut; the full text stands in a table or a title.

    >>> fitted("conv1", 100, 12), fitted("a very long name", 60, 12)
    ('conv1', 'a very l…')
    """
    if width(words, font, bold=bold) <= room:
        return words
    room -= width("…", font, bold=bold)
    kept, used = 0, 0.0
    while (used := used + width(words[kept], font, bold=bold)) <= room:
        kept += 1
    return words[:kept] + "…"
