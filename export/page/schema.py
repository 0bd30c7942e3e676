"""What the report of an export must hold: checked whole, so that every missing or damaged entry is named at once.

The specification is one of ``structure.py``, with the kinds of value in ``KINDS``; keys that it does not name are
allowed: a newer exporter may say more.
``docs/export-report.schema.json`` says the same as JSON Schema.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from export.page import structure
from hw_targets.finding import Finding

SCHEMA_VERSION = 2
LARGEST = 2**63
"""Whole numbers beyond this are no measurement, and some cannot even be turned into a float."""


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < LARGEST


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "number": ("a finite number", _is_number),
    "amount": ("a number, 0 or more", lambda value: _is_number(value) and value >= 0),
    "whole": ("a whole number", _is_whole),
    "count": ("a whole number, 0 or more", lambda value: _is_whole(value) and value >= 0),
    "size": ("a whole number, 1 or more", lambda value: _is_whole(value) and value >= 1),
    "fraction": ("a fraction between 0 and 1", lambda value: _is_number(value) and 0 <= value <= 1),
    "text": ("a text", lambda value: isinstance(value, str)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "bit": ("0 or 1", lambda value: _is_whole(value) and value in (0, 1)),
    "severity": ("error, warning or note", lambda value: value in ("error", "warning", "note")),
    "where": ("chip or host", lambda value: value in ("chip", "host")),
    "map": ("an object", lambda value: isinstance(value, dict)),
    "texts": (
        "an object of texts",
        lambda value: isinstance(value, dict) and all(isinstance(item, str) for item in value.values()),
    ),
}

_FINDING = {
    "code": "text", "severity": "severity", "node?": "text", "found": "text", "limit?": "text", "over?": "text",
    "fix?": "text",
}  # fmt: skip
_NODE = {
    "name": "text", "type": "text", "input_shape?": ["count"], "output_shape?": ["count"], "parameters?": "count",
    "detail?": "text",
}  # fmt: skip
_PLACEMENT = {
    "cores": "count", "neurons_per_core?": "amount", "bytes_per_core?": "amount", "neuron_share?": "amount",
    "memory_share?": "amount", "axon_share?": "amount", "limited_by?": "text", "kernel_copies?": "count",
    "remark?": "text",
}  # fmt: skip
_AGREEMENT = {
    "compared": "count", "spikes?": "count", "rate_float?": "fraction", "rate_chip?": "fraction",
    "agreement?": "fraction", "f1?": "fraction", "rate_error?": "fraction", "agreement_end_to_end?": "fraction",
    "captured_mismatches?": "count", "forced_spikes?": "count", "spikes_in_both?": "count",
    "count_errors?": "count", "steps_compared?": "count",
    "captured_ties?": "count", "folded_mismatches?": "count", "folded_ties?": "count", "chip_mismatches?": "count",
    "chip_spikes?": "count", "end_to_end_mismatches?": "count",
}  # fmt: skip
_LAYER = {
    "name": "text", "where?": "where", "kind": "text", "input_shape?": ["count"], "output_shape?": ["count"],
    "kernel?": ["count"], "stride?": ["count"], "neurons?": "count", "weights?": "count", "scale?": "amount",
    "payload?": "whole", "threshold?": "whole", "voltage_decay?": "whole", "current_decay?": "whole",
    "bias_max?": "count", "worst_sum?": "count", "zero_weights?": "fraction",
    "clipped_weights?": "count", "cores?": "count",
    "placement?": _PLACEMENT, "histogram?": {"edges": ["number"], "before": ["count"], "after": ["count"]},
    "verify?": _AGREEMENT,
}  # fmt: skip
_TRACE = {
    "layer": "text", "neuron?": ["count"], "clip?": "count", "threshold": "number", "model?": ["number"],
    "folded?": ["number"], "chip?": ["number"], "spikes_model?": ["bit"], "spikes_chip?": ["bit"],
}  # fmt: skip

_SCORE = {"rmse?": "amount", "pcc?": "number", "ccc?": "number"}
_READOUT = {
    "outputs": ["text"], "neurons": "size", "steps_per_value": "size", "window": "size", "decay": "amount",
    "kind": "text",
}  # fmt: skip

SPECIFICATION: dict[str, Any] = {
    "schema": "whole", "ok": "flag", "exit_code": "whole", "stage": "text",
    "tool": {"name": "text", "version": "text"}, "target": "text", "findings": [_FINDING],
    "versions?": "texts", "arguments?": "map", "input_encoding?": "text", "weight_bits?": "size", "bundle?": "text",
    "allowed?": ["text"], "lossy?": ["text"], "proved_on?": "text",
    "model?": {
        "source?": "text", "kind?": "text", "framework?": "text", "input_shape?": ["count"], "steps?": "count",
        "dt_us?": "number", "first_frame?": "text", "voting?": "size", "classes?": ["text"], "license?": "text",
        "task?": "text", "data?": "text", "readout?": _READOUT,
    },
    "network?": {"captured?": [_NODE], "folded?": [_NODE]}, "layers?": [_LAYER],
    "placement?": {
        "cores": "count", "cores_per_chip?": "size", "chips?": "count", "neurons?": "count", "weight_bytes?": "count",
        "weight_bytes_total?": "count",
    },
    "traces?": [_TRACE],
    "verify?": {
        "ok": "flag", "clips": "count", "label_agreement?": "fraction", "rate_error_mean?": "fraction",
        "rate_error_max?": "fraction", "rates_float?": [["fraction"]], "findings?": [_FINDING],
        "accuracy?": {"float?": "fraction", "folded?": "fraction", "chip?": "fraction"},
        "values?": {
            "outputs": ["text"], "values": "count", "difference_mean": "amount", "difference_max": "amount",
            "scored": "count",
            "scores?": [{"output": "text", "float": _SCORE, "folded": _SCORE, "chip": _SCORE, "constant?": _SCORE}],
        },
    },
    "energy?": {"snn_mj": "amount", "ann_mj?": "amount", "precision?": "text", "note?": "text"},
}  # fmt: skip


def check_report(report: Any) -> list[Finding]:
    """Return what is wrong with the report's structure, all of it at once; an empty list for a good report.

    >>> [finding.code for finding in check_report([])]
    ['E450']
    """
    if not isinstance(report, dict):
        return [Finding("E450", "error", "report.json", f"a JSON {type(report).__name__}", "one object")]
    if report.get("schema") != SCHEMA_VERSION:
        found = f"report of schema {str(report.get('schema', 'unknown'))[:40]}"
        return [Finding("E451", "error", "report.json", found, str(SCHEMA_VERSION), fix="export again")]
    missing, damaged = structure.sorted_problems(report, SPECIFICATION, KINDS)
    unequal = [] if missing or damaged else _inconsistencies(report)
    return [
        Finding(code, "error", "report.json", f"{what} {', '.join(entries)}", fix="export again")
        for code, what, entries in (
            ("E452", "lacks", missing),
            ("E453", "has unusable entries:", damaged),
            ("E454", "contradicts itself:", unequal),
        )
        if entries
    ]


def completed(report: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with None for every optional entry that is absent, so that a template need not ask twice."""
    whole: dict[str, Any] = structure.completed(report, SPECIFICATION)
    return whole


def _inconsistencies(report: dict[str, Any]) -> list[str]:
    """Return what no entry shows on its own: a verdict beside another exit code, lists whose lengths differ."""
    found = []
    if report["ok"] != (report["exit_code"] == 0):
        found.append(f"ok ({str(report['ok']).lower()} beside exit_code {report['exit_code']:g})")
    for index, layer in enumerate(report.get("layers") or []):
        histogram = layer.get("histogram")
        if histogram and not _is_histogram(**{key: histogram[key] for key in ("edges", "before", "after")}):
            found.append(f"layers[{index}].histogram (n + 1 rising edges, n counts before and n after)")
    for index, trace in enumerate(report.get("traces") or []):
        given = [len(trace[key]) for key in _CURVES if trace.get(key) is not None]
        if len(set(given)) > 1 or 0 in given:
            found.append(f"traces[{index}] (curves and spikes are empty or differ in length)")
    return found


_CURVES = ("model", "folded", "chip", "spikes_model", "spikes_chip")


def _is_histogram(edges: list[float], before: list[float], after: list[float]) -> bool:
    rising = all(high > low for low, high in itertools.pairwise(edges))
    return rising and len(before) == len(after) == len(edges) - 1 > 0
