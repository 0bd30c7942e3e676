"""What report.json must hold: checked whole, so that every missing or damaged entry is named at once.

The specification is one of ``export.page.structure``, with the kinds of value in ``_KINDS``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from export.page import structure
from hw_targets.finding import Finding, InputError

SCHEMA_VERSION = 1


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# Only pictures that carry themselves: a link would make the page depend on the network.
_IMAGE = re.compile(r"data:image/(png|gif|jpeg|webp);base64,[A-Za-z0-9+/=\s]+")

_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "number": ("a finite number", _is_number),
    "count": ("a number, 0 or more", lambda value: _is_number(value) and value >= 0),
    "fraction": ("a fraction between 0 and 1", lambda value: _is_number(value) and 0 <= value <= 1),
    "text": ("a text", lambda value: isinstance(value, str)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "bit": ("0 or 1", lambda value: value in (0, 1)),
    "image": (
        "a picture as data:image/...;base64",
        lambda value: isinstance(value, str) and bool(_IMAGE.fullmatch(value)),
    ),
    "map": ("an object", lambda value: isinstance(value, dict)),
    "counts": (
        "an object of numbers, 0 or more",
        lambda value: isinstance(value, dict) and all(_is_number(v) and v >= 0 for v in value.values()),
    ),
    "any": ("anything", lambda value: True),
}

_SPLITS = {"train": "count", "val": "count", "test": "count"}
_HISTORY = {
    "settings?": "map",
    "epochs": [{"epoch": "number", "loss": "number", "val_accuracy?": "fraction", "val_loss?": "number"}],
}
_CURVE = {"accuracy": ["fraction"], "loss": ["number"], "epoch?": "number"}
_VOTE = {
    "clip": "text", "label": "text", "predicted": "text", "rates": ["fraction"], "spikes": [["bit"]],
    "membrane": [["number"]], "threshold": "number",
}  # fmt: skip
_TABLE2 = {
    f"{key}?": "number"
    for key in (
        "ann_first_macs", "snn_first_acs", "other_ops", "ann_mj", "snn_mj_30", "snn_mj_dataset", "break_even_steps",
    )
}  # fmt: skip
_FINDING = {
    "code": "text", "severity": "text", "node?": "text", "found": "text", "limit?": "text",
    "over?": "text", "fix?": "text",
}  # fmt: skip
_VERIFY = {
    "compared": "count", "captured_mismatches": "count", "folded_mismatches": "count",
    "folded_ties?": "count", "chip_mismatches": "count",
    "rate_float": "fraction", "rate_chip": "fraction", "agreement": "fraction", "agreement_end_to_end": "fraction",
}  # fmt: skip
_CHIP_LAYER = {
    "name": "text", "kind": "text", "input_shape": ["count"], "output_shape": ["count"], "kernel?": "any",
    "stride?": "any", "neurons": "count", "weights": "count", "scale?": "any", "threshold?": "any",
    "voltage_decay?": "any", "bias_max?": "any", "zero_weights?": "fraction", "cores": "count",
    "payload?": "any", "verify?": _VERIFY,
}  # fmt: skip
_MODULE = {
    "name": "text", "kind": "text", "output_shape": ["count"], "parameters": "count",
    "neurons?": "count", "tau?": "number",
}  # fmt: skip
_WORLDS = ("lava", "ann", "linear_events", "trivial", "chance")

SPECIFICATION: dict[str, Any] = {
    "schema": "count", "title": "text", "tool": {"name": "text", "version": "text"}, "command": "text",
    "accuracy": {"float": "fraction", "quantised": "fraction"} | {f"{world}?": "fraction" for world in _WORLDS},
    "accuracy_clips": {"float": "count", "quantised": "count"} | {f"{world}?": "count" for world in _WORLDS},
    "intervals_95?": {f"{world}?": ["fraction"] for world in ("float", "quantised", *_WORLDS)},
    "data": {
        "name": "text", "synthetic": "flag", "classes": ["text"], "clips": _SPLITS, "subjects?": _SPLITS,
        "size": "count", "steps": "count", "fps": "number", "first_frame": "text", "sens": "number",
    },
    "events?": {
        "density": "fraction", "density_any_polarity?": "fraction", "density_on?": "fraction",
        "density_off?": "fraction", "clips?": "count",
    },
    "clip?": {
        "name": "text", "label": "text", "steps": ["count"], "frames_png": ["image"], "events_png": ["image"],
        "event_colours?": "text",
    },
    "network": {
        "name": "text", "neuron": "text", "threshold": "number", "parameters": "count", "layers": [_MODULE],
    },
    "training?": {"snn?": _HISTORY, "ann?": _HISTORY},
    "steps?": {"before?": _CURVE, "during?": _CURVE, "after?": _CURVE, "clips?": "count", "split?": "text"},
    "export": {
        "target": "text", "bundle?": "text", "file_bytes?": "count", "ok": "flag", "label_agreement?": "fraction",
        "rate_error_mean?": "number", "clips?": "count", "findings": [_FINDING], "layers": [_CHIP_LAYER],
    },
    "lava?": {
        "clips": "count", "steps": "count", "mismatched_spikes": "count", "compared_spikes": "count",
        "seconds_per_step?": "count", "layers?": [{"name": "text", "compared": "count", "mismatched": "count"}],
    },
    "simulation?": {"clips": "count", "clips_per_s": "count"},
    "voting?": {"right?": _VOTE, "wrong?": _VOTE},
    "energy": {
        "snn_mj": "count", "ann_mj": "count", "acs": "count", "macs": "count", "ann_macs": "count", "precision": "text",
        "ac_pj": "number", "mac_pj": "number", "neuron_updates?": "count", "neuron_mj?": "count",
        "break_even_steps?": "number", "note?": "text", "clips?": "count",
        "layers?": [{
            "name": "text", "acs": "count", "macs": "count", "dense_macs?": "count", "spikes_in?": "count",
            "snn_mj": "count",
        }],
        "ann_layers?": [{"name": "text", "macs": "count", "ann_mj": "count"}],
        "table2?": {"paper": _TABLE2, "exact": _TABLE2},
    },
    "timings?": "counts", "next?": ["text"],
}  # fmt: skip

_LAVA_SKIPPED = {"skipped": "text"}


def checked_report(data: Any) -> dict[str, Any]:
    """Return the report with every absent optional entry present as None.

    Raises:
        InputError: it is no report of this schema; one finding names all that is missing, one all that is damaged.
    """
    if not isinstance(data, dict):
        raise InputError(Finding("E180", "error", "report.json", "not a JSON object", "one object"))
    specification = _specification_for(data)
    missing, damaged = structure.sorted_problems(data, specification, _KINDS)
    damaged += [] if missing or damaged else _inconsistencies(data)
    findings = [
        Finding(code, "error", "report.json", f"{what} {', '.join(entries)}", fix=fix)
        for code, what, entries, fix in (
            ("E181", "lacks", missing, "write the report again with `neuroemo demo`"),
            ("E182", "has unusable entries:", damaged, "repair or write the report again with `neuroemo demo`"),
        )
        if entries
    ]
    if findings:
        raise InputError(findings)
    whole: dict[str, Any] = structure.completed(data, specification)
    return whole


def _specification_for(data: dict[str, Any]) -> dict[str, Any]:
    lava = data.get("lava")
    skipped = isinstance(lava, dict) and "skipped" in lava
    return SPECIFICATION | {"lava?": _LAVA_SKIPPED} if skipped else SPECIFICATION


def _inconsistencies(data: dict[str, Any]) -> list[str]:
    """Return what no entry shows on its own: another schema, tables whose sizes differ."""
    found = []
    if data["schema"] != SCHEMA_VERSION:
        found.append(f"schema (is {data['schema']}, this version reads {SCHEMA_VERSION})")
    clip = data.get("clip")
    if clip and len({len(clip[key]) for key in ("steps", "frames_png", "events_png")}) > 1:
        found.append("clip (steps, frames_png and events_png differ in length)")
    for name, vote in (data.get("voting") or {}).items():
        if vote and not _is_vote(vote, len(data["data"]["classes"])):
            found.append(f"voting.{name} (spikes and membrane are not two equal tables [steps][neurons of each class])")
    for name, interval in (data.get("intervals_95") or {}).items():
        if interval is not None and len(interval) != 2:
            found.append(f"intervals_95.{name} (not [low, high])")
    for name, curve in (data.get("steps") or {}).items():
        if isinstance(curve, dict) and (not curve["loss"] or len(curve["accuracy"]) != len(curve["loss"])):
            found.append(f"steps.{name} (accuracy and loss are empty or differ in length)")
    return found


def _is_vote(vote: dict[str, Any], classes: int) -> bool:
    widths = {len(row) for row in vote["spikes"] + vote["membrane"]}
    if len(widths) != 1 or len(vote["spikes"]) != len(vote["membrane"]) or len(vote["rates"]) != classes:
        return False
    neurons = widths.pop()
    return classes > 0 and neurons > 0 and neurons % classes == 0
