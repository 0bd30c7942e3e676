"""Which prices may stand in one sum, and which on the two sides of one comparison: those of one measurement grade."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.price_file import Price

TEXTBOOK = ("published", "derived")
"""Textbook arithmetic and what is computed from it: one family, the only one with two grades."""

MIXING_TEXT = (
    "Rows graded `published` and `derived` mix with each other. Rows of any other grade mix only with rows of the "
    "same grade, in one sum and across the two sides of one comparison. An all-in figure has everything in it: "
    "nothing is added to it, no hop, no fetch, no neuron update. A row written down from memory (`mem`) is refused "
    "unless it is asked for by name."
)


def check_mix(prices: Iterable[Price], *, from_memory: Collection[str] = ()) -> None:
    """Refuse prices that must not stand in one sum; ``from_memory`` names the ``mem`` rows that are asked for.

    >>> row = dict(value=1.0, unit="pJ", source="A. Author", year=2020, node_nm=28, voltage_v=0.9)
    >>> check_mix([Price("a.add", grade="published", **row), Price("a.mac", grade="derived", **row)])
    >>> check_mix([Price("a.add", grade="published", **row), Price("b.hop", grade="simulated", **row)])
    Traceback (most recent call last):
    ...
    hw_targets.finding.InputError: E824 b.hop: b.hop 1 pJ (simulated; A. Author) with a.add 1 pJ (published; A...

    Raises:
        InputError: rows of unlike grades, anything beside an all-in figure, a row from memory; all at once.
    """
    rows = _distinct(prices)
    findings = _from_memory(rows, from_memory) + _unlike(rows) + _beside_all_in(rows)
    if findings:
        raise InputError(findings)


def check_comparison(snn: Iterable[Price], ann: Iterable[Price], *, from_memory: Collection[str] = ()) -> None:
    """Refuse two sides of a comparison whose prices do not mix within a side, or are of unlike grades across.

    Raises:
        InputError: as ``check_mix``, for each side and for both together.
    """
    sides = _distinct(snn), _distinct(ann)
    findings = [finding for rows in sides for finding in _from_memory(rows, from_memory) + _beside_all_in(rows)]
    findings += _unlike(_distinct([*sides[0], *sides[1]]))
    if findings:
        raise InputError(dict.fromkeys(findings))


def family(grade: str) -> str:
    """Return the grades that mix with this one, as one name.

    >>> family("derived") == family("published"), family("vendor")
    (True, 'vendor')
    """
    return "textbook" if grade in TEXTBOOK else grade


def _distinct(prices: Iterable[Price]) -> list[Price]:
    return list(dict.fromkeys(prices))


def _from_memory(rows: list[Price], named: Collection[str]) -> list[Finding]:
    fix = "check it against the source, or ask for it by name"
    return [
        Finding("E826", "error", row.name, f"{row} was written down from memory", "a checked figure", fix=fix)
        for row in rows
        if row.grade == "mem" and row.name not in named
    ]


def _unlike(rows: list[Price]) -> list[Finding]:
    graded = [row for row in rows if row.grade != "mem"]
    fix = "price both with rows of one grade, or report the two figures apart"
    return [
        Finding("E824", "error", row.name, f"{row} with {graded[0]}", "rows of one grade", fix=fix)
        for row in graded
        if family(row.grade) != family(graded[0].grade)
    ]


def _beside_all_in(rows: list[Price]) -> list[Finding]:
    whole = [row for row in rows if row.grade == "measured_all_in"]
    if not whole:
        return []
    fix = "leave the other part out: the all-in figure has it in it already"
    return [
        Finding("E825", "error", row.name, f"{row} beside {whole[0]}", "nothing beside an all-in figure", fix=fix)
        for row in rows
        if row is not whole[0] and row.grade in ("measured_all_in", "mem")
    ]
