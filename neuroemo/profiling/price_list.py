"""The prices of one target, ready to be asked: by precision, by table, by the name of a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.price_file import Measurement, Price

_OWN_TABLES = ("arithmetic", "memory", "events", "dense")


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

        >>> from neuroemo.profiling.prices import load_prices
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


def _revalued(row: Price, value: float) -> Price:
    if value == row.value:
        return row
    high = None if row.high is None else row.high * value / row.value
    return replace(row, value=value, high=high, source=f"{value:g} in place of {row.value:g} of {row.source}")


def _check_value(name: str, value: float) -> None:
    if not 0 < value < 1e15:
        raise InputError(Finding("E818", "error", name, f"value {value}", "above 0, below 1e15"))
