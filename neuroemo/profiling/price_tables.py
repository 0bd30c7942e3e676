"""The tables of docs/prices.md, made from the price files themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from neuroemo.profiling.price_file import GRADES, KINDS, Measurement, Price
from neuroemo.profiling.prices import PriceList, load_prices, price_targets
from neuroemo.profiling.scaling import nodes, scaling_source


def prices_document() -> str:
    """Return every constant of every built-in list, the grades, the workloads and the nodes as Markdown."""
    lists = [load_prices(target) for target in price_targets()]
    lines = ["### Grades", "", *_table(("grade", "what it says"), GRADES.items()), ""]
    for kind, text in KINDS.items():
        of_kind = [prices for prices in lists if prices.kind == kind]
        lines += [f"### {kind}: {text}", ""] if of_kind else []
        for prices in of_kind:
            lines += _section(prices)
    return "\n".join([*lines, *_nodes()]).rstrip() + "\n"


def _section(prices: PriceList) -> list[str]:
    lines = [f"#### {prices.target}: {prices.name}", "", f"Scope: {prices.scope}.", ""]
    if prices.reason:
        lines += [f"Why there is no price: {prices.reason}.", ""]
    rows = [_row(prices.target, row) for row in _shared(prices)]
    for point, title in prices.points.items():
        at = load_prices(f"{prices.target}@{point}")
        default = " (default)" if point == prices.point else ""
        lines += [f"- `{at.target}`{default}: {title}"]
        rows += [_row(at.target, row) for row in at.events.values()]
    lines += [""] if prices.points else []
    if rows:
        heads = ("list", "price", "pJ", "node, nm", "V", "grade", "source, year", "note")
        lines += [*_table(heads, rows), ""]
    if prices.measurements:
        columns = ("workload", "value", "what", "measured by", "source, year", "note")
        lines += ["Measured workloads, to read and never to price with:", ""]
        lines += [*_table(columns, map(_measured, prices.measurements)), ""]
    return lines


def _shared(prices: PriceList) -> Iterator[Price]:
    """Yield the rows that hold at every point."""
    return (row for row in prices if not (prices.points and row.name.startswith("events.")))


def _row(target: str, row: Price) -> tuple[str, ...]:
    value = f"{row.value:g}" if row.high is None else f"{row.value:g} to {row.high:g}"
    width = f"per access of {row.access_bits} bits" if row.access_bits else ""
    note = "; ".join(part for part in (width, row.note or "") if part)
    source = f"{row.source}; {row.year}"
    return f"`{target}`", f"`{row.name}`", value, _number(row.node_nm), _number(row.voltage_v), row.grade, source, note


def _measured(row: Measurement) -> tuple[str, ...]:
    value = f"{row.value:g} {row.unit}"
    return row.workload, value, row.quantity, row.by, f"{row.source}; {row.year}", row.note or ""


def _nodes() -> list[str]:
    heads = ("node", "a2", "a1", "a0", "lowest V", "highest V")
    rows = [(node.name, *(f"{each:g}" for each in (*node.coefficients, *node.volts))) for node in nodes().values()]
    return ["### Node scaling", "", f"f(V) = a2 V² + a1 V + a0. Source: {scaling_source()}.", "", *_table(heads, rows)]


def _number(value: float | None) -> str:
    return "not published" if value is None else f"{value:g}"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |", *body]
