"""What changed between two energy reports: what was counted on what, every count, energy, price and verdict.

Counts are compared as means of one clip, exactly, so that reports over different numbers of clips compare; derived
figures are the same within a relative 1e-12. ``difference`` is b - a, ``relative`` (b - a) / a.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.energy.schema import checked_energy_report
from neuroemo.energy.tables import NETWORKS, STEPPED

Document = dict[str, Any]
Change = dict[str, Any]

PER_CLIP = ("acs", "macs", "dense_macs", "spikes_in", "spikes_out", "neuron_updates")
PER_EVALUATION = ("synapses", "weights", "density", "events_per_synapse")
FIGURES = ("break_even_steps", "spikes_per_synapse", "break_even_spikes_per_synapse", "spike_rate", "mac_per_ac")
CLOSE = 1e-12

_NOT_OF_A_SIDE = ("total_pj", "low_pj", "high_pj", "parts_pj", "layers_pj")
_NOT_OF_A_SCENARIO = ("id", "snn", "ann", "ratio", "ratio_low", "ratio_high", "verdict", *FIGURES)
_NOT_OTHER = ("schema", "kind", "source", "policy", "networks", "scenarios", "constants")


def diff_documents(a: Document, b: Document) -> dict[str, Any]:
    """Return what changed from report ``a`` to report ``b``, JSON-ready; what did not change is not listed.

    ``identical``: nothing differs at all. ``intervals`` of an energy: "apart" if the 95 % intervals do not touch,
    "overlap" if they do (which proves nothing when both ran the same clips), None if one is not known.

    Raises:
        InputError: reports of different schemas or units, or one that is damaged; all findings at once.
    """
    _refuse(a, b)
    scenarios = [_scenario(key, one, two) for key, one, two in _pairs(_by_id(a), _by_id(b))]
    result: dict[str, Any] = {
        "identical": a == b,
        "source": _entries(a["source"], b["source"]),
        "policy": _entries(a["policy"], b["policy"]),
        "networks": [entry for key in NETWORKS if (entry := _network(key, a["networks"][key], b["networks"][key]))],
        "scenarios": [scenario for scenario in scenarios if scenario],
        "prices": [entry for row in _pairs(a["constants"], b["constants"]) if (entry := _price(*row))],
    }
    verdicts = [{"scenario": entry["scenario"], **(entry["verdict"] or {})} for entry in result["scenarios"]]
    return result | {
        "verdict_flips": [entry for entry in verdicts if {entry.get("a"), entry.get("b")} == {"snn", "ann"}],
        "other": _entries(_without(a, _NOT_OTHER), _without(b, _NOT_OTHER)),
    }


def _refuse(a: Document, b: Document) -> None:
    schemas = [document.get("schema") if isinstance(document, dict) else None for document in (a, b)]
    if schemas[0] != schemas[1]:
        found = f"schema {schemas[0]!r} and schema {schemas[1]!r}"
        raise InputError(Finding("E891", "error", "schema", found, "one schema", fix="write both with one version"))
    for name, document in (("A", a), ("B", b)):
        checked_energy_report(document, name)
    findings = [
        Finding("E892", "error", key, f"{one['unit']} and {two['unit']}", "one unit", fix="use one price list for both")
        for key, one, two in _pairs(a["constants"], b["constants"])
        if one and two and one["unit"] != two["unit"]
    ]
    if findings:
        raise InputError(findings)


# --- counts --------------------------------------------------------------------------------------------------------


def _network(key: str, a: Document | None, b: Document | None) -> dict[str, Any] | None:
    if a is None or b is None:
        return None if a is b else {"network": key, "status": _status(a, b), "entries": [], "total": None, "layers": []}
    samples = a["samples"], b["samples"]
    pairs = _pairs(_by_name(a["layers"]), _by_name(b["layers"]))
    layers = [entry for name, one, two in pairs if (entry := _layer(name, one, two, samples))]
    total = _layer("total", a["total"], b["total"], samples)
    entries = _entries(_without(a, ("total", "layers")), _without(b, ("total", "layers")))
    order = list(_by_name(a["layers"])), list(_by_name(b["layers"]))
    if order[0] != order[1] and sorted(order[0]) == sorted(order[1]):
        entries.append({"entry": "order of layers", "a": order[0], "b": order[1]})
    if not (layers or total or entries):
        return None
    return {"network": key, "status": "changed", "entries": entries, "total": total, "layers": layers}


def _layer(name: str, a: Document | None, b: Document | None, samples: tuple[int, int]) -> dict[str, Any] | None:
    if a is None or b is None:
        return {"layer": name, "status": _status(a, b), "counts": [], "entries": []}
    counts = [change for key in PER_CLIP if (change := _count(key, a, b, samples))]
    counts += [change for key in PER_EVALUATION if (change := _figure(key, a[key], b[key], "count"))]
    counted = (*PER_CLIP, *PER_EVALUATION, "per_step")
    entries = _entries(_without(a, counted), _without(b, counted))
    if not (counts or entries):
        return None
    return {"layer": name, "status": "changed", "counts": counts, "entries": entries}


def _count(key: str, a: Document, b: Document, samples: tuple[int, int]) -> Change | None:
    """Return the change of one count: means of a clip, the sums they come from, and the steps that differ."""
    one, two = Fraction(a[key], samples[0]), Fraction(b[key], samples[1])
    steps: list[int] = []
    if key in STEPPED and len(a["per_step"][key]) == len(b["per_step"][key]):
        pairs = zip(a["per_step"][key], b["per_step"][key], strict=True)
        steps = [at for at, (x, y) in enumerate(pairs, start=1) if x * samples[1] != y * samples[0]]
    if one == two and not steps:
        return None
    relative = float((two - one) / one) if one else None
    means = {"a": float(one), "b": float(two), "difference": float(two - one), "relative": relative}
    return {"count": key, **means, "sum_a": a[key], "sum_b": b[key], "steps": steps}


# --- energies ------------------------------------------------------------------------------------------------------


def _scenario(key: str, a: Document | None, b: Document | None) -> dict[str, Any] | None:
    if a is None or b is None:
        return {"scenario": key, "status": _status(a, b)} | _NO_CHANGE
    verdict = None if a["verdict"] == b["verdict"] else {"a": a["verdict"], "b": b["verdict"]}
    ratio = _figure("ratio", a["ratio"], b["ratio"])
    if ratio is not None:
        ratio["intervals"] = _intervals(a["ratio_low"], a["ratio_high"], b["ratio_low"], b["ratio_high"])
    changes = {
        "verdict": verdict,
        "snn": _side(a["snn"], b["snn"]),
        "ann": _side(a["ann"], b["ann"]),
        "ratio": ratio,
        "figures": [change for name in FIGURES if (change := _figure(name, a[name], b[name]))],
        "entries": _entries(_without(a, _NOT_OF_A_SCENARIO), _without(b, _NOT_OF_A_SCENARIO))
        + _entries(*({name: entry[name] for name in ("ratio_low", "ratio_high")} for entry in (a, b))),
    }
    return {"scenario": key, "status": "changed"} | changes if any(changes.values()) else None


_NO_CHANGE: dict[str, Any] = {
    "verdict": None, "snn": None, "ann": None, "ratio": None, "figures": [], "entries": [],
}  # fmt: skip


def _side(a: Document | None, b: Document | None) -> dict[str, Any] | None:
    """Return the change of one side of a scenario, in pJ of one clip, with the layers and parts behind it."""
    if a is None or b is None:
        known = None if a is None else a["total_pj"], None if b is None else b["total_pj"]
        return None if a is b else _figure("total_pj", *known) | _NO_PARTS  # type: ignore[operator]
    total = _figure("total_pj", a["total_pj"], b["total_pj"])
    spent = [{name: sum(parts.values()) for name, parts in side["layers_pj"].items()} for side in (a, b)]
    more = {
        "parts": _figures(a["parts_pj"], b["parts_pj"]),
        "layers": _figures(spent[0], spent[1]),
        "entries": _entries(_without(a, _NOT_OF_A_SIDE), _without(b, _NOT_OF_A_SIDE))
        + _entries(*({name: side[name] for name in ("low_pj", "high_pj")} for side in (a, b))),
    }
    if total is None and not any(more.values()):
        return None
    same = {"entry": "total_pj", "a": a["total_pj"], "b": b["total_pj"], "difference": 0.0, "relative": 0.0}
    return (total or same) | {"intervals": _intervals(a["low_pj"], a["high_pj"], b["low_pj"], b["high_pj"])} | more


_NO_PARTS: dict[str, Any] = {"intervals": None, "parts": [], "layers": [], "entries": []}


def _intervals(a_low: float | None, a_high: float | None, b_low: float | None, b_high: float | None) -> str | None:
    """Return whether two intervals touch.

    >>> _intervals(1.0, 2.0, 2.5, 3.0), _intervals(1.0, 2.0, 2.0, 3.0), _intervals(None, None, 2.0, 3.0)
    ('apart', 'overlap', None)
    """
    if a_low is None or a_high is None or b_low is None or b_high is None:
        return None
    return "apart" if a_high < b_low or b_high < a_low else "overlap"


def _price(key: str, a: Document | None, b: Document | None) -> dict[str, Any] | None:
    if a is None or b is None:
        return {"constant": key, "status": _status(a, b), "entries": []}
    entries = _entries(a, b)
    return {"constant": key, "status": "changed", "entries": entries} if entries else None


# --- entries -------------------------------------------------------------------------------------------------------


def _figures(a: Mapping[str, float], b: Mapping[str, float]) -> list[Change]:
    return [change for name, one, two in _pairs(a, b) if (change := _figure(name, one, two))]


def _figure(name: str, a: float | None, b: float | None, key: str = "entry") -> Change | None:
    """Return the change of one number; of one that is known on one side only, without a difference."""
    if _equal(a, b):
        return None
    if a is None or b is None:
        return {key: name, "a": a, "b": b, "difference": None, "relative": None}
    relative = _finite((b - a) / a) if a else None
    return {key: name, "a": a, "b": b, "difference": _finite(b - a), "relative": relative}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _entries(a: Any, b: Any) -> list[Change]:
    """Return the leaves in which two JSON values differ; one that is on one side only is None on the other."""
    one, two = _leaves(a), _leaves(b)
    filled = {path[:length] for path in (*one, *two) for length in range(len(path))}
    differing = [
        path
        for path in dict.fromkeys([*one, *two])
        if path not in filled and ((path in one) != (path in two) or not _equal(one[path], two[path]))
    ]
    changes = [{"entry": _name(path), "a": one.get(path), "b": two.get(path)} for path in differing]
    return sorted(changes, key=lambda change: str(change["entry"]))


def _leaves(value: Any) -> dict[tuple[str | int, ...], Any]:
    """Return every value that holds no other, by its path; no recursion, because nobody bounds the depth of a file."""
    found: dict[tuple[str | int, ...], Any] = {}
    left: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while left:
        path, inner = left.pop()
        if isinstance(inner, dict) and inner:
            left += [((*path, key), item) for key, item in inner.items()]
        elif isinstance(inner, list) and inner:
            left += [((*path, index), item) for index, item in enumerate(inner)]
        else:
            found[path] = str(inner) if isinstance(inner, float) and not math.isfinite(inner) else inner
    return found


def _name(path: tuple[str | int, ...]) -> str:
    """Write a path as one text.

    >>> _name(("rules", 0, "steps"))
    'rules[0].steps'
    """
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not (isinstance(a, float) or isinstance(b, float)):
        return bool(a == b) and type(a) is type(b)
    try:
        return isinstance(a, (int, float)) and isinstance(b, (int, float)) and math.isclose(a, b, rel_tol=CLOSE)
    except OverflowError:  # an integer that no float holds
        return False


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (name, one, other) over both, in the order of ``a``; None where it is missing."""
    return [(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b])]


def _status(a: Any, b: Any) -> str:
    return "only_b" if a is None else "only_a"


def _without(value: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key not in names}


def _by_id(document: Document) -> dict[str, Document]:
    return {scenario["id"]: scenario for scenario in document["scenarios"]}


def _by_name(layers: list[Document]) -> dict[str, Document]:
    """Return layers by name; a name that comes again is told apart by a number."""
    named: dict[str, Document] = {}
    for layer in layers:
        name, number = layer["name"], 1
        while name in named:
            number += 1
            name = f"{layer['name']} ({number})"
        named[name] = layer
    return named
