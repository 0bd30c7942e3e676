"""What an energy report.json must hold: read back whole, so that every missing or damaged entry is named at once.

``SPECIFICATION`` is one of ``export.page.structure`` with two more forms: ``Named(inner)`` is an object whose keys
are names of the report's own (layers, constants), ``OneOf`` a list of allowed texts. docs/energy-report.schema.json
is ``json_schema()`` written down, in the words of JSON Schema 2020-12.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_targets.finding import Finding, InputError

SCHEMA_VERSION = 1
LIMIT_BYTES = 1 << 29
LARGEST = 10**30
"""No count is larger, and whoever divides or draws need not fear an integer that no float holds."""
A_REPORT = "report.json of `neuroemo energy`"
AGAIN = "write the report again with `neuroemo energy MODEL -o DIR`"


@dataclass(frozen=True, slots=True)
class Named:
    """An object whose keys are free and whose values are alike."""

    inner: Any


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these texts."""

    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Maybe:
    """The entry is there, and may be null."""

    inner: Any


def _is_number(value: Any) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or _is_integer(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


KINDS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "number": ("a finite number", _is_number, {"type": "number"}),
    "energy": ("a number, 0 or more", lambda v: _is_number(v) and v >= 0, {"type": "number", "minimum": 0}),
    "share": ("a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1,
              {"type": "number", "minimum": 0, "maximum": 1}),
    "integer": ("a whole number, 0 or more", lambda v: _is_integer(v) and v >= 0, {"type": "integer", "minimum": 0}),
    "positive": ("a whole number, 1 or more", lambda v: _is_integer(v) and v >= 1, {"type": "integer", "minimum": 1}),
    "text": ("a text", lambda v: isinstance(v, str), {"type": "string"}),
}  # fmt: skip
"""What each kind of value is called, whether a value is of it, and how JSON Schema says so."""

_OPERATIONS = {"acs": "number", "macs": "number"}
_PER_STEP = {"acs": ["integer"], "macs": ["integer"], "spikes_in": ["integer"], "spikes_out": ["integer"]}
LAYER: dict[str, Any] = {
    "name": "text", "kind": OneOf(("synapse", "neuron", "element")), "type": "text",
    "input_shape": Maybe(["integer"]), "output_shape": Maybe(["integer"]),
    "acs": "integer", "macs": "integer", "dense_macs": "integer", "spikes_in": "integer", "spikes_out": "integer",
    "neuron_updates": "integer", "synapses": "integer", "weights": "integer",
    "density": Maybe("share"), "events_per_synapse": Maybe("energy"), "rule": Maybe("text"),
    "per_step": _PER_STEP, "mean": _OPERATIONS, "low": Maybe(_OPERATIONS), "high": Maybe(_OPERATIONS),
}  # fmt: skip
NETWORK: dict[str, Any] = {
    "title": "text", "samples": "positive", "steps": "positive", "partial": Named("text"),
    "covered": Named({"type": "text", "rule": "text", "elements": "integer"}), "notes": Named("text"),
    "total": LAYER, "layers": [LAYER],
}  # fmt: skip
SIDE: dict[str, Any] = {
    "total_pj": "energy", "low_pj": Maybe("number"), "high_pj": Maybe("number"), "parts_pj": Named("energy"),
    "layers_pj": Named(Named("energy")), "assumptions": ["text"], "constants": ["text"], "partial": ["text"],
}  # fmt: skip
SENSITIVITY: dict[str, Any] = {
    "constant": "text", "value": "number", "halved": Maybe("number"), "doubled": Maybe("number"),
    "flips_at": Maybe("number"),
}  # fmt: skip
CHOICE: dict[str, Any] = {
    "choice": "text", "changed_to": "text", "ratio": Maybe("number"), "verdict": OneOf(("snn", "ann", "undecided")),
    "reason": Maybe("text"),
}  # fmt: skip
SCENARIO: dict[str, Any] = {
    "id": "text", "model": "text", "prices": "text", "precision": "text", "snn": SIDE, "ann": Maybe(SIDE),
    "ratio": Maybe("number"), "ratio_low": Maybe("number"), "ratio_high": Maybe("number"),
    "verdict": OneOf(("snn", "ann", "undecided", "none")), "words": "text", "break_even_steps": Maybe("number"),
    "curve": {"snn_pj": ["energy"], "ann_pj": Maybe("energy")}, "spikes_per_synapse": Maybe("number"),
    "break_even_spikes_per_synapse": Maybe("number"), "spike_rate": Maybe("number"), "mac_per_ac": Maybe("number"),
    "sensitivity": [SENSITIVITY], "choices": [CHOICE], "reason": Maybe("text"),
}  # fmt: skip
CONSTANT: dict[str, Any] = {
    "name": "text", "value": "number", "high": Maybe("number"), "unit": "text", "source": "text", "year": "integer",
    "grade": "text", "grade_text": "text", "node_nm": Maybe("number"), "voltage_v": Maybe("number"),
    "note": Maybe("text"),
}  # fmt: skip
_STOP = {"steps": "energy", "energy_pj": "energy", "accuracy": "share"}
DECISION: dict[str, Any] = {
    "steps": [{"step": "positive", "accuracy": "share", "stable": "share", "energy_pj": "energy"}],
    "oracle": _STOP, "rules": [{"same_answer": "positive"} | _STOP], "scenario": "text",
}  # fmt: skip
SOURCE: dict[str, Any] = {
    "model": "text", "form": OneOf(("checkpoint", "bundle", "netx", "module", "nir")), "network": "text",
    "data": "text", "split": Maybe("text"), "clips": "positive", "steps": "positive",
    "first_frame": OneOf(("float", "spikes", "integers")),
    "accuracy": Maybe({"correct": "integer", "clips": "positive", "low": "share", "high": "share"}),
    "labels": ["text"],
}  # fmt: skip
_FINDING = {name: "text" for name in ("code", "severity", "node", "found", "limit", "over", "fix")}

SPECIFICATION: dict[str, Any] = {
    "schema": "positive", "kind": OneOf(("energy",)), "title": "text", "tool": {"name": "text", "version": "text"},
    "command": "text", "source": SOURCE, "policy": Named("text"),
    "networks": {"deployed": NETWORK, "trained": Maybe(NETWORK), "ann": Maybe(NETWORK)},
    "scenarios": [SCENARIO], "default_scenario": "text", "constants": Named(CONSTANT),
    "models": Named({"title": "text", "scope": "text", "citation": "text", "url": "text"}),
    "price_lists": Named({"name": "text", "kind": "text", "scope": "text"}),
    "decision": Maybe(DECISION), "findings": [_FINDING], "citation": "text", "latex": "text",
}  # fmt: skip


def read_energy_report(path: Path) -> dict[str, Any]:
    """Read ``report.json``, or the one in a folder, as ``neuroemo energy -o DIR`` wrote it; nothing in it is trusted.

    Raises:
        InputError: no such file, not JSON, or whatever ``checked_energy_report`` refuses.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        if (size := file.stat().st_size) > LIMIT_BYTES:
            over = str(size - LIMIT_BYTES)
            raise InputError(Finding("E887", "error", str(file), f"{size} bytes", f"{LIMIT_BYTES}", over, AGAIN))
        data = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"not readable as JSON: {error}"
        raise InputError(Finding("E887", "error", str(file), found, A_REPORT, fix=AGAIN)) from error
    return checked_energy_report(data, str(file))


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def checked_energy_report(data: Any, where: str = "report.json") -> dict[str, Any]:
    """Return the report if it is whole.

    Raises:
        InputError: it is no report of this schema; one finding names all that is missing, one all that is damaged.
    """
    if not isinstance(data, dict) or data.get("kind") != "energy":
        found = f"kind {data.get('kind')!r}" if isinstance(data, dict) else f"a JSON {type(data).__name__}"
        raise InputError(Finding("E887", "error", where, found, A_REPORT, fix=AGAIN))
    if data.get("schema") != SCHEMA_VERSION:
        found = f"schema {data.get('schema')!r}"
        raise InputError(Finding("E887", "error", where, found, f"schema {SCHEMA_VERSION}", fix=AGAIN))
    found_all = list(problems(data, SPECIFICATION))
    missing = [path for path, complaint in found_all if not complaint]
    damaged = [f"{path} ({complaint})" for path, complaint in found_all if complaint]
    damaged += [] if found_all else list(_inconsistencies(data))
    findings = [
        Finding(code, "error", where, f"{what} {_listed(entries)}", fix=AGAIN)
        for code, what, entries in (("E888", "lacks", missing), ("E889", "has unusable entries:", damaged))
        if entries
    ]
    if findings:
        raise InputError(findings)
    return data


def _listed(entries: list[str], most: int = 40) -> str:
    rest = f" and {len(entries) - most} more" if len(entries) > most else ""
    return ", ".join(entries[:most]) + rest


def problems(value: Any, specification: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, complaint) of everything wrong; an empty complaint means that the entry is missing.

    >>> list(problems({"a": [1, -1], "c": None}, {"a": ["integer"], "b": "text", "c": Maybe("text")}))
    [('a[1]', 'not a whole number, 0 or more'), ('b', '')]
    """
    if isinstance(specification, Maybe):
        if value is not None:
            yield from problems(value, specification.inner, path)
    elif isinstance(specification, str):
        wanted, accepts, _ = KINDS[specification]
        if not accepts(value):
            yield path, f"not {wanted}"
    elif isinstance(specification, OneOf):
        if not (isinstance(value, str) and value in specification.choices):
            yield path, f"not one of {', '.join(specification.choices)}"
    elif isinstance(specification, list):
        if not isinstance(value, list):
            yield path, "not a list"
            return
        for index, item in enumerate(value):
            yield from problems(item, specification[0], f"{path}[{index}]")
    elif not isinstance(value, dict):
        yield path, "not an object"
    elif isinstance(specification, Named):
        for key, item in value.items():
            yield from problems(item, specification.inner, f"{path}[{key!r}]")
    else:
        for key, inner in specification.items():
            full = f"{path}.{key}" if path else key
            if key in value:
                yield from problems(value[key], inner, full)
            else:
                yield full, ""


def _inconsistencies(data: dict[str, Any]) -> Iterator[str]:
    """Yield what no entry shows on its own: names that point nowhere, tables whose sizes differ."""
    ids = [scenario["id"] for scenario in data["scenarios"]]
    if data["default_scenario"] not in ids:
        yield f"default_scenario (no scenario {data['default_scenario']!r})"
    if len(set(ids)) != len(ids):
        yield "scenarios (an id is there twice)"
    if data["decision"] is not None and data["decision"]["scenario"] not in ids:
        yield f"decision.scenario (no scenario {data['decision']['scenario']!r})"
    for name, network in data["networks"].items():
        if network is not None:
            yield from _uneven(f"networks.{name}", network)
    for index, scenario in enumerate(data["scenarios"]):
        yield from _dangling(f"scenarios[{index}]", scenario, data)


def _uneven(path: str, network: dict[str, Any]) -> Iterator[str]:
    for index, layer in enumerate([network["total"], *network["layers"]]):
        where = f"{path}.layers[{index - 1}]" if index else f"{path}.total"
        for key, values in layer["per_step"].items():
            if key in _PER_STEP and len(values) != network["steps"]:
                yield f"{where}.per_step.{key} ({len(values)} steps, not {network['steps']})"


def _dangling(path: str, scenario: dict[str, Any], data: dict[str, Any]) -> Iterator[str]:
    if scenario["model"] not in data["models"]:
        yield f"{path}.model (no model {scenario['model']!r})"
    if scenario["prices"] not in data["price_lists"]:
        yield f"{path}.prices (no price list {scenario['prices']!r})"
    steps = len(scenario["curve"]["snn_pj"])
    # None at all: a layer of the network did not say in which step it ran.
    if steps not in (0, data["networks"]["deployed"]["steps"]):
        yield f"{path}.curve.snn_pj ({steps} steps)"
    sides = [scenario[side] for side in ("snn", "ann") if scenario[side] is not None]
    unknown = {name for side in sides for name in side["constants"] if name not in data["constants"]}
    if unknown:
        yield f"{path} (constants {', '.join(sorted(unknown))} are not in constants)"


def json_schema() -> dict[str, Any]:
    """Return the specification as a JSON Schema 2020-12; entries that are not named may be added."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:neuroemo:energy-report:{SCHEMA_VERSION}",
        "title": f"Energy report (report.json), schema {SCHEMA_VERSION}",
        "description": "What `neuroemo energy MODEL -o DIR` writes and its page is rendered from; docs/energy.md says "
        "what each number means. Energies are in pJ per clip, counts are sums over all clips.",
    }
    named = {"layer": LAYER, "network": NETWORK, "side": SIDE, "scenario": SCENARIO, "constant": CONSTANT}
    whole = _as_schema(SPECIFICATION, named)
    whole["properties"]["schema"] = {"const": SCHEMA_VERSION}
    return head | whole | {"$defs": {name: _as_schema(inner, named, top=True) for name, inner in named.items()}}


def _as_schema(specification: Any, named: dict[str, Any], *, top: bool = False) -> dict[str, Any]:
    name = next((name for name, inner in named.items() if inner is specification), None)
    if name is not None and not top:
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(specification, Maybe):
        return {"anyOf": [_as_schema(specification.inner, named), {"type": "null"}]}
    if isinstance(specification, str):
        return dict(KINDS[specification][2])
    if isinstance(specification, OneOf):
        return {"enum": list(specification.choices)}
    if isinstance(specification, list):
        return {"type": "array", "items": _as_schema(specification[0], named)}
    if isinstance(specification, Named):
        return {"type": "object", "additionalProperties": _as_schema(specification.inner, named)}
    return {
        "type": "object",
        "required": list(specification),
        "properties": {key: _as_schema(inner, named) for key, inner in specification.items()},
    }
