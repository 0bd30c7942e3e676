"""`neuroemo energy diff A B`: what changed between two energy reports, for people or as JSON."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import Any

from neuroemo.console import Console
from neuroemo.energy.words import amount, energy, number, plain, share, shortened, table, wrapped

MOST = 12
"""More entries than these are counted, not listed."""
NAME_WIDTH = 28
VERDICTS = {"snn": "SNN", "ann": "ANN", "undecided": "undecided", "none": "no verdict"}
_IN_ONE = {"only_a": "only in A", "only_b": "only in B"}
_SHARES = ("density",)


def diff(args: Namespace, console: Console) -> int:
    """Say what changed between two energy reports."""
    from neuroemo.energy.diff import diff_documents
    from neuroemo.energy.schema import read_energy_report

    result = diff_documents(read_energy_report(args.first), read_energy_report(args.second))
    where = {"a": str(args.first), "b": str(args.second)}
    names = [line for key, path in where.items() for line in wrapped(path, f"{key.upper()}  ")]
    console.show({"ok": True, "exit_code": 0} | where | result, "\n".join([*names, "", difference_text(result)]))
    return 0


def difference_text(result: dict[str, Any]) -> str:
    """Return what changed in at most 100 columns; energies and counts are means of one clip."""
    if result["identical"]:
        return "The two reports are identical."
    sections = [
        list(_headline(result)),
        _titled("what was counted", _entry_lines(result["source"])),
        _titled("how it was counted", _entry_lines(result["policy"])),
        _titled("energy of one clip, A -> B", _energy_lines(result["scenarios"])),
        *(
            _titled(f"counts of one clip, {network['network']}", _network_lines(network))
            for network in result["networks"]
        ),
        _titled("prices", _price_lines(result["prices"])),
        _titled("the rest of the report", _entry_lines(result["other"])),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    return [title, *found] if found else []


def _headline(result: dict[str, Any]) -> Iterator[str]:
    flipped = result["verdict_flips"]
    for flip in flipped:
        yield from wrapped(f"THE VERDICT FLIPS in {flip['scenario']}: {_arrow(flip)}", "", "  ")
    changed = [entry for entry in result["scenarios"] if entry["verdict"] and not _is_in(entry["scenario"], flipped)]
    for entry in changed:
        yield from wrapped(f"the verdict changes in {entry['scenario']}: {_arrow(entry['verdict'])}", "", "  ")
    kinds = ("source", "policy", "networks", "scenarios", "prices")
    if not any(result[kind] for kind in kinds):
        yield "Every count, energy and price is the same; the reports differ in what stands around them."
    elif not result["networks"] and not result["scenarios"]:
        yield "Every count and energy is the same."
    elif not flipped and not changed:
        yield "No verdict changes."


def _is_in(scenario: str, flips: list[dict[str, Any]]) -> bool:
    return any(flip["scenario"] == scenario for flip in flips)


def _arrow(change: dict[str, Any]) -> str:
    return f"{VERDICTS.get(change['a'], change['a'])} -> {VERDICTS.get(change['b'], change['b'])}"


def _energy_lines(scenarios: list[dict[str, Any]]) -> Iterator[str]:
    shared = [entry for entry in scenarios if entry["status"] == "changed"]
    rows = [
        [shortened(plain(entry["scenario"]), NAME_WIDTH), *_change_cells(entry[key], what, show)]
        for key, what, show in (("snn", "SNN", energy), ("ann", "ANN", energy), ("ratio", "ANN/SNN", number))
        for entry in shared
        if entry[key] is not None and entry[key]["difference"] != 0
    ]
    if rows:
        yield from table(["scenario", "", "A", "B", "change", "intervals"], rows, left=2)
    if any(row[-1] == "overlap" for row in rows):
        yield from wrapped("overlap: the 95 % intervals touch, other clips could explain the change", "  ")
    for entry in shared:
        yield from _entry_lines(_around(entry))
    yield from _one_sided(scenarios, "scenario")


def _around(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what else differs in a scenario; intervals and curves follow the energies and are left to --json."""
    has_moved = any(scenario[key] and scenario[key]["difference"] != 0 for key in ("snn", "ann", "ratio"))
    found = [{**entry, "entry": f"{scenario['scenario']}: {entry['entry']}"} for entry in scenario["figures"]]
    for key, entries in (
        ("", scenario["entries"]),
        *((key, (scenario[key] or {}).get("entries", [])) for key in _SIDES),
    ):
        for entry in entries:
            if not (has_moved and str(entry["entry"]).startswith(_FOLLOWING)):
                name = f"{key}.{entry['entry']}" if key else entry["entry"]
                found.append({**entry, "entry": f"{scenario['scenario']}: {name}"})
    return found


_SIDES = ("snn", "ann")
_FOLLOWING = ("low_pj", "high_pj", "ratio_", "curve", "sensitivity", "words")


def _change_cells(change: dict[str, Any], what: str, show: Any) -> list[str]:
    known = change.get("intervals") or "-"
    return [what, show(change["a"]), show(change["b"]), _relative(change), known]


def _relative(change: dict[str, Any]) -> str:
    if change["difference"] == 0:
        return "same"
    if change["relative"] is None:
        return "-" if change["difference"] is None else "new" if change["a"] == 0 else "-"
    return signed_share(change["relative"])


def signed_share(fraction: float) -> str:
    """Return a change in per cent, or as a factor once it is large.

    >>> signed_share(0.25), signed_share(-0.5), signed_share(39.0), signed_share(1e-6)
    ('+25.0%', '-50.0%', 'x40', '+<0.1%')
    """
    if fraction > 9:
        return f"x{number(1 + fraction, 3)}"
    return f"{'-' if fraction < 0 else '+'}{share(abs(fraction))}"


def _network_lines(network: dict[str, Any]) -> Iterator[str]:
    if network["status"] != "changed":
        yield f"  {_IN_ONE[network['status']]}"
        return
    yield from _entry_lines(network["entries"])
    layers = [*network["layers"], *filter(None, [network["total"]])]
    rows = [
        [shortened(plain(layer["layer"]), NAME_WIDTH), change["count"], *_count_cells(change)]
        for layer in layers
        for change in layer["counts"]
    ]
    if rows:
        yield from table(["layer", "count", "A", "B", "B - A", "change"], rows, left=2)
    for layer in layers:
        shown = [entry for entry in layer["entries"] if not layer["counts"] or not _is_spread(entry)]
        named = [{**entry, "entry": f"{layer['layer']}: {entry['entry']}"} for entry in shown]
        yield from _entry_lines(named)
    yield from _one_sided(network["layers"], "layer")


def _is_spread(entry: dict[str, Any]) -> bool:
    """Whether an entry is the mean of a count or its interval, which follow the count."""
    return str(entry["entry"]).startswith(("mean", "low", "high"))


def _count_cells(change: dict[str, Any]) -> list[str]:
    show = share if change["count"] in _SHARES else amount
    if change["difference"] is None:
        return [show(change["a"]), show(change["b"]), "-", "-"]
    if change["difference"] == 0:
        steps = change.get("steps", [])
        return [show(change["a"]), show(change["b"]), "0", f"{len(steps)} step{'s' if len(steps) != 1 else ''} differ"]
    sign = "-" if change["difference"] < 0 else "+"
    return [show(change["a"]), show(change["b"]), f"{sign}{show(abs(change['difference']))}", _relative(change)]


def _price_lines(prices: list[dict[str, Any]]) -> Iterator[str]:
    for price in prices:
        named = [{**entry, "entry": f"{price['constant']}: {entry['entry']}"} for entry in price["entries"]]
        yield from _entry_lines(named)
    yield from _one_sided(prices, "constant")


def _one_sided(entries: list[dict[str, Any]], key: str) -> Iterator[str]:
    for status, words in _IN_ONE.items():
        names = [plain(entry[key]) for entry in entries if entry["status"] == status]
        if names:
            yield from wrapped(f"{words}: {', '.join(names)}", "  ", "    ")


def _entry_lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries[:MOST]:
        words = f"{entry['entry']}: {_value(entry['a'])} -> {_value(entry['b'])}"
        yield from wrapped(words, "  ", "    ")
    if len(entries) > MOST:
        yield f"  ... and {len(entries) - MOST} more entries: --json names all"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return repr(value)
    return shortened(plain(value), 160)
