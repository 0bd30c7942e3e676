"""A report of Table I made by hand, and the clips that the tests of the whole command share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = json.loads((ROOT / "docs" / "table1-report.schema.json").read_text(encoding="utf-8"))
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


def run(seed, correct, clips=10, answered=(5, 5)):
    ends = [round(correct / clips / 2, 3), round((1 + correct / clips) / 2, 3)]
    return {"seed": seed, "accuracy": correct / clips, "correct": correct, "clips": clips, "interval_95": ends,
            "best_epoch": 3, "epochs": 4, "validation_accuracy": 0.75, "answers_by_class": list(answered)}  # fmt: skip


def row(model, title, printed, corrects, against=None, answered=(5, 5)):
    runs = [run(seed, correct, answered=answered) for seed, correct in enumerate(corrects)]
    total = sum(corrects)
    pooled = {
        "accuracy": total / (10 * len(runs)),
        "correct": total,
        "clips": 10 * len(runs),
        "interval_95": [0.5, 0.8],
    }
    return {"model": model, "title": title, "explanation": "as <b>told</b>", "paper_percent": printed,
            "parameters": 1234, "engine": "fused", "spec": {"name": model}, "mean": pooled["accuracy"], "sd": 0.0707,
            "interval_95": [0.45, 0.85], "pooled": pooled, "runs": runs, "against": against}  # fmt: skip


def against(model, printed, difference, interval, verdict):
    return {"model": model, "paper_points": printed, "verdict": verdict, "difference": difference,
            "interval_95": list(interval), "per_seed": [difference, difference], "sd": 0.0, "won": 3,
            "lost": 1}  # fmt: skip


def report(name="faces & <friends>", comparable=False):
    """Three rows: one that follows the paper, one the other way round."""
    score = {"accuracy": 0.5, "correct": 5, "clips": 10, "interval_95": [0.24, 0.76]}
    follows = against("baseline", 1.74, 0.1, (0.02, 0.2), "as in the paper")
    reverse = against("plif", 1.99, -0.05, (-0.1, -0.01), "not as in the paper")
    return {
        "schema": 1, "kind": "table1", "tool": {"name": "neuroemo", "version": "0.1.0"},
        "command": "neuroemo reproduce table1 --data 'a <b>.h5'",
        "paper": {"title": "Spiking Emotions", "table": "Table I", "data": "CMU-MOSI", "runs": "one per row"},
        "data": {
            "name": name, "comparable": comparable, "classes": ["negative", "positive"],
            "clips": {"train": 30, "val": 10, "test": 10},
            "clips_by_class": {"train": [15, 15], "val": [5, 5], "test": [5, 5]},
            "subjects": {"train": 3, "val": 1, "test": 1}, "size": 32, "steps": 14,
            "events": {"gray": {"size": 32}}, "fingerprints": {"gray": "ab"},
        },
        "settings": {"epochs": 4, "batch": 8, "learning_rate": 0.01}, "seeds": [0, 1],
        "method": "95 % interval of a bootstrap", "pooled_note": "too narrow", "drawn": "subjects", "chance": 0.5,
        "baselines": {"majority": score, "mean_frame": score, "summed_events": score},
        "rows": [
            row("baseline", "baseline SNN", 61.69, (5, 5), answered=(10, 0)),
            row("plif", "PLIF SNN", 63.43, (6, 7), follows),
            row("0.4snn", "0.4SNN", 65.42, (6, 6), reverse),
        ],
        "versions": [{"torch": "2.3.1"}], "times": {"plif, seed 0": 1.5},
    }  # fmt: skip


def violations(value, rule, where="$"):
    """Yield what is wrong under the keywords of JSON Schema 2020-12 that docs/table1-report.schema.json uses."""
    if "$ref" in rule:
        rule = SCHEMA["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in rule and all(list(violations(value, each, where)) for each in rule["anyOf"]):
        yield f"{where}: none of the alternatives"
    kind = rule.get("type")
    wrong_bool = isinstance(value, bool) != (kind == "boolean")
    if kind is not None and (wrong_bool or not isinstance(value, TYPES.get(kind, bool))):
        yield f"{where}: no {kind}"
        return
    if "const" in rule and value != rule["const"]:
        yield f"{where}: not {rule['const']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{where}: not one of {rule['enum']}"
    if isinstance(value, int | float) and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        yield f"{where}: out of range"
    if isinstance(value, list):
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
            yield f"{where}: {len(value)} items"
        for index, item in enumerate(value):
            yield from violations(item, rule.get("items", {}), f"{where}[{index}]")
    if isinstance(value, dict):
        yield from (f"{where}.{name}: missing" for name in rule.get("required", ()) if name not in value)
        for name, item in value.items():
            inner = rule.get("properties", {}).get(name, rule.get("additionalProperties", {}))
            yield from violations(item, inner, f"{where}.{name}")


def start(*words, **more):
    """Start the command as from a shell, where Ctrl-C is not ignored."""
    return subprocess.Popen(
        [sys.executable, "-m", "neuroemo", "reproduce", "table1", *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more,
    )  # fmt: skip
