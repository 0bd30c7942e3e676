"""What the tests of the affect tables share: look-alikes of AFEW-VA and NEFER, tiny budgets, the command itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from neuroemo import cli
from tests.datasets.look_alikes.afew_va import make_afew_va
from tests.datasets.look_alikes.nefer import make_nefer
from tests.reproduce.sample_table1 import TYPES

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = json.loads((ROOT / "docs" / "affect-table-report.schema.json").read_text(encoding="utf-8"))
TINY = ("--size", "32", "--epochs", "1", "--batch", "32", "--workers", "1")


def make_data(folder):
    """Return the roots of an AFEW-VA of 7 clips and 5 persons and of a NEFER of 9 videos and 3 persons."""
    afew = make_afew_va(folder / "afew", frames=7)
    nefer = make_nefer(folder / "nefer", frames=4, pictures=True)
    return afew, nefer


def run(*words):
    return cli.run(["reproduce", *map(str, words), "--json"])


def asked(table, afew, out, *more):
    return (table, "--data", "afew-va", "--root", afew, "-o", out, *TINY, *more)


def start(*words):
    """Start the command as from a shell, where Ctrl-C is not ignored."""
    return subprocess.Popen(
        [sys.executable, "-m", "neuroemo", "reproduce", *map(str, words)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def violations(value, rule, where="$"):
    """Yield what is wrong under the keywords of JSON Schema that docs/affect-table-report.schema.json uses."""
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


def plain_scores(truth, predicted):
    """RMSE, PCC, SAGR and CCC of one output by their formulas, in plain numpy; None where undefined."""
    truth, predicted = np.asarray(truth, float), np.asarray(predicted, float)
    error = float(np.sqrt(((predicted - truth) ** 2).mean()))
    signed = truth != 0
    same = float((np.sign(truth[signed]) == np.sign(predicted[signed])).mean()) if signed.any() else None
    shared = ((truth - truth.mean()) * (predicted - predicted.mean())).mean()
    pcc = float(shared / (truth.std() * predicted.std())) if truth.std() * predicted.std() > 0 else None
    ccc = float(2 * shared / (truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2))
    return {"rmse": error, "pcc": pcc, "sagr": same, "ccc": ccc}
