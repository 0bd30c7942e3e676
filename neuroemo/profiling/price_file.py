"""Strict reading of ``prices.toml``: value, unit, source, year and grade of every row, or a finding for each gap."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeVar

from hw_targets.finding import Finding, InputError

Kind = Literal["arithmetic", "events", "dense", "unpublished"]

KINDS: dict[str, str] = {
    "arithmetic": "the energy of an addition and a multiplication, by precision",
    "events": "the energy of a chip per synaptic operation",
    "dense": "the energy of a processor per multiply-accumulate",
    "unpublished": "no figure per operation is published",
}
GRADES: dict[str, str] = {
    "published": "printed in the source as textbook arithmetic; rough, no wires and no control",
    "derived": "computed from published rows, by the formula in the source",
    "survey": "taken from a survey or from a review of the primary source, not from the primary source",
    "measured_all_in": "chip power over events at one operating point: all is in it, and it holds at that point only",
    "measured_incremental": "measured as what one more operation costs; static power is not in it",
    "simulated": "simulated before the chip was made",
    "vendor": "from the maker's data sheet or claim",
    "mem": "written down from memory, not checked against the source: check before printing",
}
"""What a number's grade says about how it came about; rows of unlike grades do not mix (``mixing.py``)."""

_MAX_TEXT = 2000
_MAX_VALUE = 1e15
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_HEAD = {"id", "name", "scope", "kind", "process", "default", "reason"}
_NOT_ROWS = {"schema_version", "target", "grades", "arithmetic", "points", "measurements"}
_TABLE_OF_KIND = {"arithmetic": ("arithmetic",), "events": ("events", "points"), "dense": ("dense",)}


@dataclass(frozen=True, slots=True)
class Price:
    """The energy of one operation in ``unit`` (pJ), its source and grade, and what it holds for.

    ``high`` is the upper end where the source prints a range; ``access_bits`` the width of a memory access.
    ``node_nm`` and ``voltage_v`` are None only where ``note`` says "node not published" or "voltage not published".
    """

    name: str
    value: float
    unit: str
    source: str
    year: int
    grade: str
    node_nm: float | None = None
    voltage_v: float | None = None
    high: float | None = None
    access_bits: int | None = None
    note: str | None = None

    def for_bits(self, bits: int) -> tuple[float, float]:
        """Return the lower and upper price of moving ``bits`` by whole accesses' share: value * bits / width.

        Raises:
            InputError: the price is not one of a memory access.
        """
        if self.access_bits is None:
            raise InputError(Finding("E821", "error", self.name, "not a memory access"))
        share = bits / self.access_bits
        return self.value * share, (self.value if self.high is None else self.high) * share

    def __str__(self) -> str:
        """Render as 'events.synaptic_operation 23.6 pJ (simulated; Davies ... 2018)'."""
        return f"{self.name} {self.value:g} {self.unit} ({self.grade}; {self.source})"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured for one workload on one chip: something to read beside a count, never to price it with."""

    name: str
    value: float
    unit: str
    quantity: str
    workload: str
    source: str
    year: int
    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class PriceFile:
    """The checked content of one file: ``head`` is its target, ``rows`` every price by id, ``points`` by name.

    A point is a title and the rows that hold at one operating point or benchmark only.
    """

    head: dict[str, str]
    grades: dict[str, str]
    rows: dict[str, Price]
    points: dict[str, tuple[str, dict[str, Price]]]
    measurements: tuple[Measurement, ...]


Row = TypeVar("Row", Price, Measurement)


def read_price_file(data: Mapping[str, Any], where: str = "prices") -> PriceFile:
    """Check the TOML data of a price list and return its content.

    Raises:
        InputError: everything that is missing, unknown, malformed or contradictory, all at once.
    """
    findings = _check_tables(data, where)
    if findings:
        raise InputError(findings)
    reader = _Reader(dict(data["grades"]))
    head = reader.head(data["target"])
    rows = reader.price_rows(data)
    points = {name: reader.point(name, table, rows) for name, table in data.get("points", {}).items()}
    measurements = reader.rows(data.get("measurements", {}), "measurements", Measurement)
    reader.check_whole(head, rows, points, where)
    if reader.findings:
        raise InputError(reader.findings)
    return PriceFile(head, reader.grades, rows, points, tuple(measurements.values()))


def row_tables(data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (dotted name, row as written) for every price of a file, those of all its points included."""
    for precision, table in data.get("arithmetic", {}).items():
        yield from ((f"arithmetic.{precision}.{name}", row) for name, row in table.items())
    for group, table in data.items():
        if group not in _NOT_ROWS:
            yield from ((f"{group}.{name}", row) for name, row in table.items())
    for point, table in data.get("points", {}).items():
        yield from ((f"points.{point}.{name}", row) for name, row in table.items() if name != "title")


class _Reader:
    """Turns tables into rows and keeps every finding on the way."""

    def __init__(self, grades: dict[str, str]) -> None:
        self.grades = grades
        self.findings: list[Finding] = []
        self._check_grades()

    def add(self, code: str, node: str, found: str, limit: str = "", fix: str = "") -> None:
        self.findings.append(Finding(code, "error", node, found, limit, fix=fix))

    def _check_grades(self) -> None:
        for grade, text in self.grades.items():
            if grade not in GRADES:
                self.add("E816", "grades", f"grade {grade}", f"one of {', '.join(GRADES)}")
            elif not isinstance(text, str) or not text.strip():
                self.add("E814", "grades", f"no text for {grade}")

    def head(self, table: Mapping[str, Any]) -> dict[str, str]:
        for key, value in table.items():
            if key not in _HEAD:
                self.add("E815", "target", f"unknown entry {key}")
            elif not _is_text(value):
                self.add("E823", f"target.{key}", f"{value!r:.80}", "a text")
        for key in ("id", "name", "scope"):
            if table.get(key) in (None, ""):
                self.add("E814", "target", f"no {key}")
        head = {key: str(value) for key, value in table.items()}
        if "id" in head and not _NAME.fullmatch(head["id"]):
            self.add("E823", "target.id", f"{head['id']!r:.80}", "lower-case letters, digits and _, at most 40")
        if head.setdefault("kind", "arithmetic") not in KINDS:
            self.add("E823", "target.kind", f"{head['kind']!r:.80}", f"one of {', '.join(KINDS)}")
        return head

    def price_rows(self, data: Mapping[str, Any]) -> dict[str, Price]:
        rows: dict[str, Price] = {}
        for precision, table in data.get("arithmetic", {}).items():
            rows |= self.rows(table, f"arithmetic.{precision}", Price)
        for name, table in data.items():
            if name not in _NOT_ROWS:
                rows |= self.rows(table, name, Price)
        return rows

    def point(self, name: str, table: Any, shared: Mapping[str, Price]) -> tuple[str, dict[str, Price]]:
        where = f"points.{name}"
        if not isinstance(table, Mapping) or not _is_text(table.get("title")):
            self.add("E814", where, "no title", fix="say which operating point or benchmark it is")
            return name, {}
        found = self.rows({key: row for key, row in table.items() if key != "title"}, where, Price, "events")
        for row in found:
            if row in shared:
                self.add("E823", where, f"{row} is priced outside the points too", "one price")
        return table["title"], found

    def rows(self, table: Any, where: str, kind: type[Row], prefix: str | None = None) -> dict[str, Row]:
        if not isinstance(table, Mapping):
            self.add("E823", where, f"{table!r:.80}", "a table of rows")
            return {}
        good: dict[str, Row] = {}
        for name, row in table.items():
            label, known = f"{where}.{name}", len(self.findings)
            if not _NAME.fullmatch(name):
                self.add("E823", label, "that name", "lower-case letters, digits and _, at most 40")
            self.findings += check_row(label, row, self.grades, kind)
            if len(self.findings) == known:
                key = f"{prefix or where}.{name}"
                good[key] = kind(name=key, **row)
        return good

    def check_whole(
        self,
        head: Mapping[str, str],
        rows: Mapping[str, Price],
        points: Mapping[str, tuple[str, dict[str, Price]]],
        where: str,
    ) -> None:
        for row in rows.values():
            if row.name.startswith("memory.") and row.access_bits is None:
                self.add("E814", row.name, "no access_bits")
        self.findings += check_macs(rows)
        if head["kind"] == "unpublished":
            if not head.get("reason"):
                self.add("E814", "target", "no reason", fix="say why there is no figure per operation")
            if rows or points:
                self.add("E823", where, f"prices in a list of kind unpublished: {', '.join((*rows, *points))}", "none")
        if (default := head.get("default")) is not None and default not in points:
            self.add("E823", "target.default", default, f"one of {', '.join(points) or 'no points'}")


def check_row(name: str, row: Any, grades: Mapping[str, str], kind: type[Price] | type[Measurement]) -> list[Finding]:
    """Return what is wrong with one row: an entry missing, unknown or malformed, no known grade, no number."""
    if not isinstance(row, Mapping):
        return [Finding("E823", "error", name, f"{row!r:.80}", "a table with value, unit, source, year and so on")]
    known = {field.name: field for field in fields(kind) if field.name != "name"}
    required = [key for key, field in known.items() if field.default is MISSING]
    findings = [Finding("E814", "error", name, f"no {key}") for key in required if row.get(key) in (None, "")]
    findings += [Finding("E815", "error", name, f"unknown entry {key}") for key in row if key not in known]
    findings += _check_types(name, row)
    return findings + _check_price(name, row, grades) if kind is Price else findings


def check_macs(rows: Mapping[str, Price]) -> list[Finding]:
    """Return a finding for every multiply-accumulate that is not the sum of its addition and multiplication."""
    findings = []
    for name, mac in rows.items():
        precision, _, operation = name.rpartition(".")
        add, mult = rows.get(f"{precision}.add"), rows.get(f"{precision}.mult")
        if operation != "mac" or not precision.startswith("arithmetic.") or add is None or mult is None:
            continue
        total = add.value + mult.value
        if not math.isclose(mac.value, total, rel_tol=1e-9):
            findings.append(Finding("E819", "error", name, f"{mac.value}", f"add + mult = {total}"))
    return findings


def _check_tables(data: Mapping[str, Any], where: str) -> list[Finding]:
    target = data.get("target")
    kind = target.get("kind", "arithmetic") if isinstance(target, Mapping) else "arithmetic"
    wanted = _TABLE_OF_KIND.get(kind, ()) if isinstance(kind, str) else ()
    missing = [table for table in ("target", "grades") if table not in data]
    if wanted and not any(table in data for table in wanted):
        missing.append(" or ".join(wanted))
    if missing:
        return [Finding("E813", "error", where, f"no table {', '.join(missing)}")]
    findings = [
        Finding("E823", "error", f"{where}: {name}", f"{value!r:.80}", "a table")
        for name, value in data.items()
        if name != "schema_version" and not isinstance(value, Mapping)
    ]
    if data.get("schema_version", 1) != 1:
        findings.append(Finding("E823", "error", f"{where}: schema_version", f"{data['schema_version']!r:.80}", "1"))
    return findings


def _check_types(name: str, row: Mapping[str, Any]) -> list[Finding]:
    findings = []
    value, year = row.get("value", 1.0), row.get("year", 2000)
    if not _is_number(value):
        findings.append(Finding("E818", "error", name, f"value {value!r:.80}", "above 0, below 1e15"))
    if not _is_whole(year) or not 1950 <= year <= 2100:
        findings.append(Finding("E823", "error", name, f"year {year!r:.80}", "a year from 1950 to 2100"))
    for key in ("source", "note", "unit", "grade", "quantity", "workload", "by"):
        if row.get(key) not in (None, "") and not _is_text(row[key]):
            findings.append(Finding("E823", "error", name, f"{key} {row[key]!r:.80}", "a text"))
    return findings


def _check_price(name: str, row: Mapping[str, Any], grades: Mapping[str, str]) -> list[Finding]:
    findings = []
    grade, unit, note = (row.get(key) for key in ("grade", "unit", "note"))
    if _is_text(grade) and grade not in grades:
        findings.append(Finding("E816", "error", name, f"grade {grade}", f"one of {', '.join(grades)}"))
    if _is_text(unit) and unit != "pJ":
        findings.append(Finding("E817", "error", name, f"unit {unit}", "pJ"))
    for key, word, top in (("node_nm", "node", 10_000), ("voltage_v", "voltage", 20)):
        said = f"{word} not published" in str(note)
        if key not in row and not said:
            fix = f"or a note that says '{word} not published'"
            findings.append(Finding("E814", "error", name, f"no {key}", fix=fix))
        elif key in row and said:
            findings.append(Finding("E823", "error", name, f"{key} and a note '{word} not published'", "one of them"))
        elif key in row and (not _is_number(row[key]) or row[key] > top):
            findings.append(Finding("E823", "error", name, f"{key} {row[key]!r:.80}", f"above 0, at most {top}"))
    if "access_bits" in row and not (_is_whole(row["access_bits"]) and row["access_bits"] > 0):
        findings.append(Finding("E823", "error", name, f"access_bits {row['access_bits']!r:.80}", "bits, 1 or more"))
    if "high" in row and not (_is_number(row["high"]) and _is_number(row.get("value")) and row["high"] > row["value"]):
        findings.append(Finding("E823", "error", name, f"high {row['high']!r:.80}", "above value"))
    return findings


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < _MAX_VALUE


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _MAX_TEXT
