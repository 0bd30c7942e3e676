"""The numbers of an energy report as flat tables, for a spreadsheet or a statistics package (CSV, RFC 4180).

Counts are integers, sums over all clips, as in report.json; energies are picojoules per clip, in full precision.
No table holds totals beside what they are totals of, so that a column may be summed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

NETWORKS = ("deployed", "trained", "ann")
COUNTS = ("acs", "macs", "dense_macs", "spikes_in", "spikes_out", "neuron_updates", "synapses", "weights")
STEPPED = ("acs", "macs", "spikes_in", "spikes_out")
SIDES = ("snn", "ann")

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
"""Beginnings of a text that spreadsheets may run as a formula, and the apostrophe that marks protected texts."""


def network_rows(document: Row) -> list[Row]:
    """Return one row per network: its counts over all clips, and what was not counted."""
    return [
        {
            "network": key,
            "title": network["title"],
            "samples": network["samples"],
            "steps": network["steps"],
            **_counts(network["total"]),
            "partial": "; ".join(f"{name}: {reason}" for name, reason in network["partial"].items()),
        }
        for key, network in _networks(document)
    ]


def layer_rows(document: Row) -> list[Row]:
    """Return one row per network and layer, in data-flow order; energies are in ``energy_rows``."""
    return [
        {
            "network": key,
            "layer": layer["name"],
            "kind": layer["kind"],
            "type": layer["type"],
            "input_shape": _shape(layer["input_shape"]),
            "output_shape": _shape(layer["output_shape"]),
            "samples": network["samples"],
            "steps": network["steps"],
            **_counts(layer),
            "rule": layer["rule"],
        }
        for key, network in _networks(document)
        for layer in network["layers"]
    ]


def step_rows(document: Row) -> list[Row]:
    """Return one row per network, layer and time step (from 1): what happened in that step, over all clips."""
    return [
        {"network": key, "layer": layer["name"], "step": step + 1}
        | {name: layer["per_step"][name][step] for name in STEPPED}
        for key, network in _networks(document)
        for layer in network["layers"]
        for step in range(network["steps"])
    ]


def scenario_rows(document: Row) -> list[Row]:
    """Return one row per scenario: both energies with their 95 % interval, the verdict and the break-even."""
    return [
        {
            "scenario": scenario["id"],
            "default": int(scenario["id"] == document["default_scenario"]),
            "model": scenario["model"],
            "prices": scenario["prices"],
            "precision": scenario["precision"],
            **_side_columns(scenario),
            **{name: scenario[name] for name in ("ratio", "ratio_low", "ratio_high", "verdict", "break_even_steps")},
            **{name: scenario[name] for name in ("spikes_per_synapse", "break_even_spikes_per_synapse")},
            **{name: scenario[name] for name in ("spike_rate", "mac_per_ac", "words", "reason")},
        }
        for scenario in document["scenarios"]
    ]


def energy_rows(document: Row) -> list[Row]:
    """Return one row per scenario, side, layer and part: its energy in pJ per clip."""
    return [
        {"scenario": scenario["id"], "side": side, "layer": layer, "part": part, "energy_pj": energy}
        for scenario in document["scenarios"]
        for side in SIDES
        if scenario[side] is not None
        for layer, parts in scenario[side]["layers_pj"].items()
        for part, energy in parts.items()
    ]


def curve_rows(document: Row) -> list[Row]:
    """Return one row per scenario and step: the energy spent until then in pJ, and what the answer is worth."""
    answers = {row["step"]: row for row in (document["decision"] or {"steps": []})["steps"]}
    return [
        {
            "scenario": scenario["id"],
            "step": step,
            "snn_pj": spent,
            "ann_pj": scenario["curve"]["ann_pj"],
            "accuracy": answers.get(step, {}).get("accuracy"),
            "stable": answers.get(step, {}).get("stable"),
        }
        for scenario in document["scenarios"]
        for step, spent in enumerate(scenario["curve"]["snn_pj"], start=1)
    ]


def constant_rows(document: Row) -> list[Row]:
    """Return one row per price used anywhere in the report, with where it comes from and how good it is."""
    return [{"constant": key, **constant} for key, constant in document["constants"].items()]


TABLES: dict[str, Callable[[Row], list[Row]]] = {
    "networks.csv": network_rows,
    "layers.csv": layer_rows,
    "steps.csv": step_rows,
    "scenarios.csv": scenario_rows,
    "energies.csv": energy_rows,
    "curves.csv": curve_rows,
    "constants.csv": constant_rows,
}


def write_csv(document: Row, folder: Path) -> list[Path]:
    """Write the tables of ``TABLES`` into a folder and return the paths; a table without rows is not written.

    Texts that a spreadsheet could run as a formula begin with an apostrophe; None is an empty cell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {name: rows(document) for name, rows in TABLES.items()}
    return [_write(folder / name, rows) for name, rows in tables.items() if rows]


def _write(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)  # the module's own dialect is RFC 4180: \r\n, quotes doubled
        writer.writerow(rows[0])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return path


def _cell(value: Any) -> Any:
    """Return what is written for a value; only texts can be formulas, a negative number is a number.

    >>> _cell("=1+1"), _cell(-1.5), _cell(None), _cell("conv1")
    ("'=1+1", -1.5, None, 'conv1')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _networks(document: Row) -> Iterator[tuple[str, Row]]:
    for key in NETWORKS:
        if document["networks"][key] is not None:
            yield key, document["networks"][key]


def _counts(layer: Row) -> Row:
    """Return the integers of a layer, its density, and the mean of a clip with its 95 % interval."""
    counts = {name: layer[name] for name in (*COUNTS, "density", "events_per_synapse")}
    for name in ("acs", "macs"):
        for bound in ("mean", "low", "high"):
            counts[f"{name}_{bound}"] = None if layer[bound] is None else layer[bound][name]
    return counts


def _side_columns(scenario: Row) -> Row:
    columns: Row = {}
    for side in SIDES:
        known = scenario[side]
        for name in ("total_pj", "low_pj", "high_pj"):
            columns[f"{side}_{name}"] = None if known is None else known[name]
        columns[f"{side}_partial"] = None if known is None else "; ".join(known["partial"])
        columns[f"{side}_constants"] = None if known is None else "; ".join(known["constants"])
    return columns


def _shape(shape: list[int] | None) -> str | None:
    return None if shape is None else "x".join(map(str, shape))
