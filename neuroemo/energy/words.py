"""Numbers, names and sentences of an energy report as a terminal shows them: short, printable, never too wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

WIDTH = 100
"""Columns of the terminal that no line exceeds."""

_ENERGIES = ((1.0, "pJ"), (1e3, "nJ"), (1e6, "µJ"), (1e9, "mJ"), (1e12, "J"))
_AMOUNTS = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))


def energy(picojoules: float | None) -> str:
    """Return an energy in four digits and the unit that fits; a dash for none.

    >>> energy(560.8), energy(3974.4), energy(1.65e9), energy(0.0), energy(None)
    ('560.8 pJ', '3.974 nJ', '1.65 mJ', '0 pJ', '-')
    """
    return "-" if picojoules is None else " ".join(_scaled(picojoules, _ENERGIES))


def energy_unit(picojoules: float) -> tuple[float, str]:
    """Return the picojoules of the unit that fits an energy, and its name.

    >>> energy_unit(3974.4)
    (1000.0, 'nJ')
    """
    return _scale(picojoules, _ENERGIES)


def amount(count: float | None) -> str:
    """Return a count in four digits; 10,000 and above in thousands, millions and so on.

    >>> amount(80.0), amount(1600), amount(12345678), amount(9999.9), amount(1 / 3), amount(None)
    ('80', '1,600', '12.35M', '10k', '0.3333', '-')
    """
    if count is None:
        return "-"
    rounded = _digits(count)
    return f"{rounded:,.10g}" if abs(rounded) < 1e4 else "".join(_scaled(count, _AMOUNTS))


def number(value: float | None, digits: int = 4) -> str:
    """Return a number in some significant digits, without an exponent where it stays short.

    >>> number(5.1111111), number(139.4603), number(None), number(1e-9), number(123456.0)
    ('5.111', '139.5', '-', '1e-09', '123,500')
    """
    if value is None:
        return "-"
    rounded = _digits(value, digits)
    return f"{rounded:,.10g}" if abs(rounded) < 1e7 else f"{rounded:.{digits}g}"


def share(fraction: float | None) -> str:
    """Return a fraction in per cent; what is not zero is never printed as zero.

    >>> share(0.9486), share(1e-6), share(0.0), share(None)
    ('94.9%', '<0.1%', '0.0%', '-')
    """
    if fraction is None:
        return "-"
    return "<0.1%" if 0 < fraction < 0.0005 else f"{fraction:.1%}"


def interval(low: float | None, high: float | None, words: str = "energy") -> str:
    """Return "low to high", as energies or as numbers; nothing where there is no interval.

    >>> interval(415.2295, 706.3705), interval(5.6265, 9.5716, "number"), interval(None, None)
    ('415.2 pJ to 706.4 pJ', '5.627 to 9.572', '')
    """
    if low is None or high is None:
        return ""
    show = energy if words == "energy" else number
    return f"{show(low)} to {show(high)}"


def plain(text: object) -> str:
    """Return a text without control, direction and line characters: no terminal is steered by a file's names.

    >>> plain("a" + chr(27) + "[31mb" + chr(10) + "c")
    'a?[31mb c'
    """
    spaced = " ".join(str(text).split())
    return "".join(sign if unicodedata.category(sign)[0] not in "CZ" or sign == " " else "?" for sign in spaced)


def columns_of(text: str) -> int:
    """Return the columns that a text takes on a terminal: East Asian wide signs two, combining marks none.

    >>> columns_of("conv1"), columns_of("悲しみ")
    (5, 6)
    """
    return sum(_columns(sign) for sign in text)


def shortened(text: str, width: int) -> str:
    """Return a text of at most ``width`` columns, shortened in the middle: both ends of a path say the most.

    >>> shortened("backbone.stage3.block2.conv1", 17), shortened("conv1", 17)
    ('backbone…k2.conv1', 'conv1')
    """
    if columns_of(text) <= width:
        return text
    head, tail = (width - 1) // 2, width - 1 - (width - 1) // 2
    return f"{_cut(text, head)}…{_cut(text[::-1], tail)[::-1]}"


def wrapped(text: object, first: str = "", rest: str | None = None, width: int = WIDTH) -> list[str]:
    """Return lines of at most ``width`` columns; ``first`` begins the first line, ``rest`` the others.

    >>> wrapped("one two three", "- ", width=9)
    ['- one two', '  three']
    """
    rest = " " * columns_of(first) if rest is None else rest
    room = max(width - max(columns_of(first), columns_of(rest)), 1)
    lines, line = [], ""
    for word in _words(plain(text), room):
        if line and columns_of(line) + 1 + columns_of(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [f"{first if index == 0 else rest}{line}" for index, line in enumerate([*lines, line])]


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, indent: str = "  ", width: int = WIDTH
) -> list[str]:
    """Return lines of a table: the first ``left`` columns flush left, the others flush right, two spaces between.

    What does not fit in ``width`` is taken from the first column, whose cells are shortened in the middle.
    """
    cells = [list(head), *map(list, rows)]
    widths = [max(columns_of(row[index]) for row in cells) for index in range(len(head))]
    over = columns_of(indent) + sum(widths) + 2 * (len(widths) - 1) - width
    widths[0] = max(widths[0] - max(over, 0), 3)
    lines = []
    for row in cells:
        row[0] = shortened(row[0], widths[0])
        gaps = [" " * (wide - columns_of(cell)) for cell, wide in zip(row, widths, strict=True)]
        flush_left = [cell + gap for cell, gap in zip(row, gaps, strict=True)][:left]
        flush_right = [gap + cell for cell, gap in zip(row, gaps, strict=True)][left:]
        lines.append((indent + "  ".join([*flush_left, *flush_right])).rstrip())
    return lines


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> tuple[str, str]:
    scale, name = _scale(value, units)
    shown = _digits(value) / scale
    return f"{shown:,.10g}" if 1e-3 <= abs(shown) < 1e7 or shown == 0 else f"{shown:.4g}", name


def _scale(value: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    size = abs(_digits(value))
    return next((unit for unit in reversed(units) if size >= unit[0]), units[0])


def _digits(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def _columns(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _cut(text: str, width: int) -> str:
    """Return the beginning of a text that takes at most ``width`` columns."""
    used = 0
    for index, sign in enumerate(text):
        used += _columns(sign)
        if used > width:
            return text[:index]
    return text


def _words(text: str, room: int) -> Iterator[str]:
    """Yield the words of a text; one that is wider than the room comes in pieces."""
    for word in text.split(" "):
        left = word
        while columns_of(left) > room:
            piece = _cut(left, room) or left[0]
            yield piece
            left = left[len(piece) :]
        yield left
