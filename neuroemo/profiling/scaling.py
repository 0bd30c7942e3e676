"""Logic energies at another process and voltage, after Stillmaker & Baas, Integration 58:74-81, 2017.

``E(to) = E(from) f_to(V_to) / f_from(V_from)`` with ``f(V) = a2 V^2 + a1 V + a0``, V in volts, fitted to simulated
inverters. The fit holds for logic: additions and multiplications are scaled, memory accesses, instructions and
movement are dropped. MAC and AC scale alike, so an arithmetic-only comparison keeps its ratio.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import hw_targets
from hw_targets.finding import Finding, InputError
from neuroemo.profiling.price_file import GRADES, Price
from neuroemo.profiling.price_list import PriceList

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_NODE_NAME = re.compile(r"(\d+)(HP|LP)?")
_NOT_LOGIC = "not scaled: the fit holds for logic, not for memory, control or movement"


@dataclass(frozen=True, slots=True)
class Node:
    """One process: ``f(V) = a2 V^2 + a1 V + a0`` for V within ``volts``; ``family`` is "HP", "LP" or "" above 45 nm."""

    name: str
    node_nm: float
    coefficients: tuple[float, float, float]
    volts: tuple[float, float]

    @property
    def family(self) -> str:
        """Transistors of high performance (HP) or low power (LP); the source does not tell them apart above 45 nm."""
        match = _NODE_NAME.fullmatch(self.name)
        return (match[2] if match else None) or ""

    def energy(self, voltage: float) -> float:
        """Return f(V), the relative energy of switching at this voltage.

        >>> round(nodes()["32HP"].energy(0.9), 4), round(nodes()["65"].energy(1.3), 3)
        (0.4571, 2.604)
        """
        a2, a1, a0 = self.coefficients
        return a2 * voltage**2 + a1 * voltage + a0


def nodes() -> dict[str, Node]:
    """Return the processes that the scaling knows, by name."""
    return {name: Node(name, *row) for name, row in _table()[1]}


def scaling_source() -> str:
    """Return where the coefficients come from."""
    return _table()[0]


def scaling_factor(start: str, start_voltage: float, end: str, end_voltage: float) -> float:
    """Return E(end) / E(start) of logic between two processes at their voltages.

    The corrigendum of the source prints 0.1755 for this example, from 0.4571 / 2.604, both rounded.

    >>> round(scaling_factor("65", 1.3, "32HP", 0.9), 5)
    0.17558

    Raises:
        InputError: an unknown process, a voltage out of range, or LP from HP; all at once.
    """
    findings = [*_check_node(start, start_voltage), *_check_node(end, end_voltage)]
    known = nodes()
    if start in known and end in known:
        families = {known[start].family, known[end].family} - {""}
        if len(families) > 1:
            fix = f"choose one of {', '.join(name for name in known if known[name].family == known[start].family)}"
            limit = "one family of transistors, HP or LP"
            findings.append(Finding("E827", "error", end, f"scaled from {start}", limit, fix=fix))
    if findings:
        raise InputError(dict.fromkeys(findings))
    return known[end].energy(end_voltage) / known[start].energy(start_voltage)


def scaled(prices: PriceList, node: str, voltage: float) -> PriceList:
    """Return the logic prices of a list at another node and voltage: id "cmos45@14HP-0.80V", grade derived.

    >>> from neuroemo.profiling.prices import load_prices
    >>> small = scaled(load_prices("cmos45"), "14HP", 0.8)
    >>> small.target, round(small.accumulate("fp32").value, 3), round(small.multiply_accumulate("fp32").value, 2)
    ('cmos45@14HP-0.80V', 0.124, 0.63)

    Raises:
        InputError: see ``scaling_factor``; or a list without arithmetic, without a process, or scaled already.
    """
    process = _process(prices)
    rows, dropped = {}, {}
    for name, row in prices.rows.items():
        if name.startswith("arithmetic."):
            rows[name] = _scaled_row(row, process, node, voltage)
        else:
            dropped[name] = f"{_NOT_LOGIC}; see {prices.target}"
    for name, row in rows.items():
        table, _, operation = name.rpartition(".")
        if operation == "mac" and {f"{table}.add", f"{table}.mult"} <= rows.keys():
            rows[name] = replace(row, value=rows[f"{table}.add"].value + rows[f"{table}.mult"].value)
    return replace(
        prices,
        target=f"{prices.target}@{variant_name(node, voltage)}",
        name=f"{prices.name}; logic scaled to {node} at {voltage:g} V",
        scope=f"{prices.scope}; scaled by a fit to simulated inverters, logic only",
        grades=prices.grades | {"derived": prices.grades.get("derived", GRADES["derived"])},
        rows=rows,
        process=node,
        dropped=prices.dropped | dropped,
    )


def variant_name(node: str, voltage: float) -> str:
    """Return how a scaled list is named after the @.

    >>> variant_name("14HP", 0.8), variant_name("7HP", 0.725)
    ('14HP-0.80V', '7HP-0.725V')
    """
    digits = f"{voltage:.2f}"
    return f"{node}-{digits if float(digits) == voltage else repr(float(voltage))}V"


def parse_variant(text: str) -> tuple[str, float]:
    """Return (node, voltage) of a text such as "14HP-0.80V".

    >>> parse_variant("14HP-0.80V")
    ('14HP', 0.8)

    Raises:
        InputError: not of that form; whether the node exists is ``scaled``'s to say.
    """
    match = re.fullmatch(r"(\d{1,4}(?:HP|LP)?)-(\d{1,3}(?:\.\d{1,6})?)V", text)
    if match is None:
        raise InputError(Finding("E827", "error", text[:80], "not a node and a voltage", "such as 14HP-0.80V"))
    return match[1], float(match[2])


def scaled_by_name(prices: PriceList, text: str) -> PriceList:
    """Return ``scaled`` at the node and voltage of a text such as "14HP-0.80V".

    Raises:
        InputError: see ``parse_variant`` and ``scaled``.
    """
    return scaled(prices, *parse_variant(text))


def _scaled_row(row: Price, process: str, node: str, voltage: float) -> Price:
    if row.voltage_v is None:
        raise InputError(Finding("E827", "error", row.name, "no voltage to scale from", "a published voltage"))
    factor = scaling_factor(process, row.voltage_v, node, voltage)
    return replace(
        row,
        value=row.value * factor,
        high=None if row.high is None else row.high * factor,
        source=f"{row.source}; x {factor:.4g} from {process} at {row.voltage_v:g} V by {scaling_source()}",
        grade="mem" if row.grade == "mem" else "derived",
        node_nm=nodes()[node].node_nm,
        voltage_v=voltage,
    )


def _process(prices: PriceList) -> str:
    found = None
    if prices.kind != "arithmetic":
        found = f"a list of kind {prices.kind}"
    elif "@" in prices.target:
        found = "scaled already"
    elif prices.process not in nodes():
        found = f"process {prices.process}" if prices.process else "its target says no process"
    elif not prices.arithmetic:
        found = "no row of arithmetic"
    if found or prices.process is None:
        limit, fix = "arithmetic at a process of the source", f"processes: {', '.join(nodes())}"
        raise InputError(Finding("E827", "error", prices.target, f"cannot be scaled: {found}", limit, fix=fix))
    return prices.process


def _check_node(name: str, voltage: float) -> list[Finding]:
    node = nodes().get(name)
    if node is None:
        return [Finding("E827", "error", name, "no process of that name", f"one of {', '.join(nodes())}")]
    low, high = node.volts
    if low <= voltage <= high:
        return []
    over = f"{voltage - high:.3g} V" if voltage > high else ""
    return [Finding("E827", "error", name, f"{voltage:g} V", f"{low:g} V to {high:g} V", over)]


@cache
def _table() -> tuple[str, tuple[tuple[str, tuple[float, tuple[float, float, float], tuple[float, float]]], ...]]:
    path = Path(hw_targets.__path__[0]) / "cmos45" / "node_scaling.toml"
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = tuple(
        (name, (row["node_nm"], tuple(row["coefficients"]), tuple(row["volts"]))) for name, row in data["nodes"].items()
    )
    return f"{data['source']}", rows
