"""What one operation costs and where each number comes from: ``hw_targets/<target>/prices.toml``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import hw_targets
from hw_targets.finding import Finding, InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True)
class Price:
    """The energy of one operation in ``unit`` (pJ), its source and grade, and what it holds for.

    ``high`` is the upper end where the source prints a range; ``access_bits`` the width of a memory access.
    """

    name: str
    value: float
    unit: str
    source: str
    year: int
    grade: str
    node_nm: int
    voltage_v: float
    high: float | None = None
    access_bits: int | None = None

    def for_bits(self, bits: int) -> tuple[float, float]:
        """Return the lower and upper price of moving ``bits`` by whole accesses' share: value * bits / width.

        Raises:
            InputError: the price is not one of a memory access.
        """
        if self.access_bits is None:
            raise InputError(Finding("E821", "error", self.name, "not a memory access"))
        share = bits / self.access_bits
        return self.value * share, (self.value if self.high is None else self.high) * share


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one target: ``arithmetic[precision][add | mult | mac]``, ``memory`` and ``control``."""

    target: str
    name: str
    scope: str
    grades: dict[str, str]
    arithmetic: dict[str, dict[str, Price]]
    memory: dict[str, Price]
    control: dict[str, Price]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that can price a network: those with both an add and a derived mac."""
        return tuple(name for name, rows in self.arithmetic.items() if {"add", "mac"} <= rows.keys())

    def accumulate(self, precision: str) -> Price:
        """Return the price of one accumulate (AC): an add."""
        return self._rows(precision)["add"]

    def multiply_accumulate(self, precision: str) -> Price:
        """Return the price of one multiply-accumulate (MAC): add + mult."""
        return self._rows(precision)["mac"]

    def __iter__(self) -> Iterator[Price]:
        """Yield every price of the list."""
        for rows in (*self.arithmetic.values(), self.memory, self.control):
            yield from rows.values()

    def _rows(self, precision: str) -> dict[str, Price]:
        if precision not in self.precisions:
            choices = f"one of {', '.join(self.precisions)}"
            raise InputError(Finding("E810", "error", precision, f"{self.target} has no such precision", choices))
        return self.arithmetic[precision]


def price_targets() -> tuple[str, ...]:
    """Return the targets that come with a price list, by name."""
    return tuple(sorted(path.parent.name for path in _root().glob("*/prices.toml")))


def load_prices(target: str | Path = "cmos45") -> PriceList:
    """Load the price list of a target by name, or a list of the user's own from a path.

    >>> prices = load_prices("cmos45")
    >>> prices.accumulate("fp32").value, prices.multiply_accumulate("fp32").value
    (0.9, 4.6)

    Raises:
        InputError: no such target or file, or rows without source or grade: all of them at once.
    """
    if isinstance(target, str) and target not in price_targets():
        choices = f"one of {', '.join(price_targets())}"
        raise InputError(Finding("E811", "error", target, "no price list of that name", choices))
    path = target if isinstance(target, Path) else _root() / target / "prices.toml"
    try:
        return parse_prices(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(Finding("E812", "error", str(path), f"not a readable price list: {error}")) from error


def parse_prices(data: Mapping[str, Any], where: str = "prices") -> PriceList:
    """Build a price list from its TOML data.

    Raises:
        InputError: a missing table, or any finding of ``check_row`` or of a mac that is not add + mult.
    """
    missing = [table for table in ("target", "grades", "arithmetic") if table not in data]
    if missing:
        raise InputError(Finding("E813", "error", where, f"no table {', '.join(missing)}"))
    findings: list[Finding] = []
    grades = dict(data["grades"])

    def rows(table: Mapping[str, Any], prefix: str) -> dict[str, Price]:
        checked = {name: (row, check_row(f"{prefix}.{name}", row, grades)) for name, row in table.items()}
        findings.extend(finding for _, found in checked.values() for finding in found)
        return {name: Price(name=f"{prefix}.{name}", **row) for name, (row, found) in checked.items() if not found}

    arithmetic = {name: rows(table, f"arithmetic.{name}") for name, table in data["arithmetic"].items()}
    memory, control = (rows(data.get(table, {}), table) for table in ("memory", "control"))
    findings += [Finding("E814", "error", row.name, "no access_bits") for row in memory.values() if not row.access_bits]
    findings += [finding for name, table in arithmetic.items() for finding in _check_mac(name, table)]
    if findings:
        raise InputError(findings)
    head = data["target"]
    return PriceList(head["id"], head["name"], head["scope"], grades, arithmetic, memory, control)


def check_row(name: str, row: Mapping[str, Any], grades: Mapping[str, str]) -> list[Finding]:
    """Return what is wrong with one row: a field missing or unknown, no source, no known grade, no number."""
    known = {field.name: field for field in fields(Price) if field.name != "name"}
    required = [key for key, field in known.items() if field.default is MISSING]
    findings = [Finding("E814", "error", name, f"no {key}") for key in required if row.get(key) in (None, "")]
    findings += [Finding("E815", "error", name, f"unknown entry {key}") for key in row if key not in known]
    if (grade := row.get("grade")) and grade not in grades:
        findings.append(Finding("E816", "error", name, f"grade {grade}", f"one of {', '.join(grades)}"))
    if (unit := row.get("unit")) and unit != "pJ":
        findings.append(Finding("E817", "error", name, f"unit {unit}", "pJ"))
    value = row.get("value", 1.0)
    if not isinstance(value, (int, float)) or not 0 < value < math.inf:
        findings.append(Finding("E818", "error", name, f"value {value}", "a positive number"))
    return findings


def _check_mac(precision: str, rows: Mapping[str, Price]) -> list[Finding]:
    if not {"add", "mult", "mac"} <= rows.keys():
        return []
    total = rows["add"].value + rows["mult"].value
    if math.isclose(rows["mac"].value, total, rel_tol=1e-9):
        return []
    return [Finding("E819", "error", f"arithmetic.{precision}.mac", f"{rows['mac'].value}", f"add + mult = {total}")]


def _root() -> Path:
    return Path(hw_targets.__path__[0])
