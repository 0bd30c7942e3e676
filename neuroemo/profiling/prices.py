"""What one operation costs and where each number comes from: ``hw_targets/<target>/prices.toml``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hw_targets
from hw_targets.finding import Finding, InputError
from neuroemo.profiling.mixing import check_comparison, check_mix
from neuroemo.profiling.price_file import GRADES, Measurement, Price, read_price_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "GRADES",
    "Measurement",
    "Price",
    "PriceList",
    "check_comparison",
    "check_mix",
    "load_prices",
    "parse_prices",
    "price_points",
    "price_targets",
]

_MAX_FILE_BYTES = 1_000_000
_OWN_TABLES = ("arithmetic", "memory", "events", "dense")
_SCALED = re.compile(r"\d+(HP|LP)?-\d+(\.\d+)?V")


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one target, ``rows[id]`` in pJ, e.g. ``rows["arithmetic.fp32.add"]``.

    ``kind``: "arithmetic" (per addition and multiplication), "events" (a chip, per synaptic operation), "dense"
    (a processor, per multiply-accumulate) or "unpublished", whose ``reason`` says why. ``points`` are the
    operating points or benchmarks that a chip has figures for, ``point`` the one whose rows these are.
    ``measurements`` are workloads to read, never to price with; ``dropped`` says why a row is not here.
    """

    target: str
    name: str
    scope: str
    kind: str
    grades: dict[str, str]
    rows: dict[str, Price]
    process: str | None = None
    reason: str | None = None
    points: dict[str, str] = field(default_factory=dict)
    point: str | None = None
    measurements: tuple[Measurement, ...] = ()
    dropped: dict[str, str] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that can price a network: those with both an add and a mac; "native" on a chip or processor."""
        if self.kind in ("events", "dense"):
            return ("native",)
        return tuple(name for name, rows in self.arithmetic.items() if {"add", "mac"} <= rows.keys())

    @property
    def arithmetic(self) -> dict[str, dict[str, Price]]:
        """Prices by precision and operation (add, mult, mac)."""
        tables: dict[str, dict[str, Price]] = {}
        for name, row in self.table("arithmetic").items():
            precision, _, operation = name.partition(".")
            tables.setdefault(precision, {})[operation] = row
        return tables

    @property
    def memory(self) -> dict[str, Price]:
        """Prices of memory accesses."""
        return self.table("memory")

    @property
    def events(self) -> dict[str, Price]:
        """Prices of a chip's events."""
        return self.table("events")

    @property
    def control(self) -> dict[str, Price]:
        """Prices of control, e.g. of one instruction."""
        return self.table("control")

    @property
    def tables(self) -> dict[str, dict[str, Price]]:
        """Every other table of rows by name."""
        names = dict.fromkeys(name.partition(".")[0] for name in self.rows)
        return {name: self.table(name) for name in names if name not in _OWN_TABLES}

    def table(self, name: str) -> dict[str, Price]:
        """Return the rows of one table, by what follows its name in their id; empty if there is none."""
        return {key[len(name) + 1 :]: row for key, row in self.rows.items() if key.startswith(f"{name}.")}

    def price(self, name: str) -> Price:
        """Return one price by its id, e.g. "memory.sram_32kb".

        Raises:
            InputError: no such price; names like it are listed.
        """
        if name in self.rows:
            return self.rows[name]
        near = get_close_matches(name, self.rows, n=5) or list(self.rows)[:8]
        found = self.dropped.get(name, f"{self.target} has no such price")
        raise InputError(Finding("E822", "error", name, found, f"such as {', '.join(near) or 'none: it has no rows'}"))

    def accumulate(self, precision: str) -> Price:
        """Return the price of one accumulate (AC): an add."""
        return self._arithmetic(precision, "add")

    def multiply(self, precision: str) -> Price:
        """Return the price of one multiplication."""
        return self._arithmetic(precision, "mult")

    def multiply_accumulate(self, precision: str) -> Price:
        """Return the price of one multiply-accumulate (MAC): add + mult."""
        return self._arithmetic(precision, "mac")

    def with_value(self, name: str, value: float) -> PriceList:
        """Return the list with another value for one price; a mac stays add + mult, ``high`` keeps its ratio.

        A new value of a mac moves its multiplication, the add stays.

        >>> prices = load_prices("cmos45").with_value("arithmetic.fp32.add", 1.8)
        >>> round(prices.multiply_accumulate("fp32").value, 6)
        5.5

        Raises:
            InputError: no such price, no positive value, or a mac that costs no more than its add.
        """
        old = self.price(name)
        _check_value(name, value)
        rows = self.rows | {name: _revalued(old, value)}
        table, _, operation = name.rpartition(".")
        add, mult, mac = (rows.get(f"{table}.{each}") for each in ("add", "mult", "mac"))
        if not (table.startswith("arithmetic.") and add and mult and mac):
            return replace(self, rows=rows)
        if operation == "mac":
            rest = value - add.value
            if rest <= 0:
                limit, fix = f"above {table}.add, {add.value:g}", f"change {table}.add or {table}.mult"
                raise InputError(Finding("E818", "error", name, f"value {value:g}", limit, fix=fix))
            rows[mult.name] = _revalued(mult, rest)
        else:
            rows[mac.name] = _revalued(mac, add.value + mult.value)
        return replace(self, rows=rows)

    def __iter__(self) -> Iterator[Price]:
        """Yield every price of the list."""
        return iter(self.rows.values())

    def _arithmetic(self, precision: str, operation: str) -> Price:
        if self.kind != "arithmetic":
            raise InputError(
                Finding(
                    "E829",
                    "error",
                    self.target,
                    f"a list of kind {self.kind} has no price of an {operation} at {precision}",
                    "a list of kind arithmetic",
                    fix="use the energy model per-event with this list",
                )
            )
        if precision not in self.precisions:
            choices = f"one of {', '.join(self.precisions)}"
            raise InputError(Finding("E810", "error", precision, f"{self.target} has no such precision", choices))
        return self.price(f"arithmetic.{precision}.{operation}")


def price_targets() -> tuple[str, ...]:
    """Return the targets that come with a price list, by name."""
    return tuple(sorted(path.parent.name for path in _root().glob("*/prices.toml")))


def price_points() -> tuple[str, ...]:
    """Return the names of all figures that hold at one operating point, as ``load_prices`` takes them."""
    lists = (load_prices(target) for target in price_targets())
    return tuple(f"{prices.target}@{point}" for prices in lists for point in prices.points)


def load_prices(target: str | Path = "cmos45") -> PriceList:
    """Load a price list by name, or a list of the user's own from a path (a text that ends in .toml is one).

    A name is a target, a target at one of its points ("odin@maximum_rate"), or a target whose logic is
    scaled to another node and voltage ("cmos45@14HP-0.80V", see ``scaling.scaled``).

    >>> prices = load_prices("cmos45")
    >>> prices.accumulate("fp32").value, prices.multiply_accumulate("fp32").value
    (0.9, 4.6)

    Raises:
        InputError: no such target, point or file, or rows without source or grade: all of them at once.
    """
    if isinstance(target, Path) or target.endswith(".toml"):
        prices = parse_prices(_read(Path(target)), str(target))
        if prices.target in price_targets() and not _is_own(Path(target)):
            fix = "give your list an id of its own"
            raise InputError(Finding("E823", "error", str(target), f"id {prices.target} is a built-in list", fix=fix))
        return prices
    name, _, variant = target.partition("@")
    if name not in price_targets():
        choices = f"one of {', '.join(price_targets())}"
        raise InputError(Finding("E811", "error", target, "no price list of that name", choices))
    path = _root() / name / "prices.toml"
    if _SCALED.fullmatch(variant):
        from neuroemo.profiling.scaling import scaled_by_name

        return scaled_by_name(parse_prices(_read(path), str(path)), variant)
    return parse_prices(_read(path), str(path), point=variant if "@" in target else None)


def parse_prices(data: Mapping[str, Any], where: str = "prices", *, point: str | None = None) -> PriceList:
    """Build a price list from its TOML data, at one of its points if it has several.

    Raises:
        InputError: every finding of ``read_price_file``, or no such point.
    """
    content = read_price_file(data, where)
    head, titles = content.head, {name: title for name, (title, _) in content.points.items()}
    if point is not None and point not in titles:
        choices = f"one of {', '.join(titles)}" if titles else "its name alone"
        raise InputError(Finding("E811", "error", f"{head['id']}@{point}", "no figures of that name", choices))
    chosen = point or head.get("default")
    rows = content.rows | (content.points[chosen][1] if chosen else {})
    return PriceList(
        target=head["id"] if point is None else f"{head['id']}@{point}",
        name=head["name"],
        scope=head["scope"],
        kind=head["kind"],
        grades=content.grades,
        rows=rows,
        process=head.get("process"),
        reason=head.get("reason"),
        points=titles,
        point=chosen,
        measurements=content.measurements,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > _MAX_FILE_BYTES:
            found = f"{size} bytes" if path.is_file() else "not a regular file"
            raise InputError(Finding("E812", "error", str(path), found, f"a file of at most {_MAX_FILE_BYTES} bytes"))
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, tomllib.TOMLDecodeError, RecursionError) as error:
        found = f"not a readable price list: {error}"
        raise InputError(Finding("E812", "error", str(path), found)) from error


def _revalued(row: Price, value: float) -> Price:
    if value == row.value:
        return row
    high = None if row.high is None else row.high * value / row.value
    return replace(row, value=value, high=high, source=f"{value:g} in place of {row.value:g} of {row.source}")


def _check_value(name: str, value: float) -> None:
    if not 0 < value < 1e15:
        raise InputError(Finding("E818", "error", name, f"value {value}", "above 0, below 1e15"))


def _is_own(path: Path) -> bool:
    return path.resolve().is_relative_to(_root().resolve())


def _root() -> Path:
    return Path(hw_targets.__path__[0])
