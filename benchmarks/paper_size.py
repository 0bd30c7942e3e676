"""The paper's networks at the paper's size, from training to Lava: ``python benchmarks/paper_size.py``.

For each of the eight rows of Table I at 2x128x128 and 68 steps: train a few steps on rendered faces, score, make every
layer fire, export to Loihi 2 with its proof, and run a clip in our simulator and in Lava, every spike of every layer
compared. The ANN trains, scores and is refused by the export. One network at a time, each step in a process of its
own; a step that is done is not done again (``--work``), and a row is written as soon as it is complete.

Writes benchmarks/results/paper_size.json and the section of docs/results.md. The bundle of a finished row is removed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_size_process import Failed, measured
from paper_size_table import write_section
from simulate_parts import machine

from export.storage import write_json
from hw_targets.loihi2.lava import lava_available
from neuroemo.models.emotion import TABLE_I, EmotionSpec

HERE = Path(__file__).resolve().parent
RESULTS, DOCS = HERE / "results" / "paper_size.json", HERE.parent / "docs" / "results.md"
FACES = {"subjects": 8, "clips_per_subject": 2, "size": 256, "frames": 69}
"""Twelve clips to train on, two to validate and two to test; one frame more than steps, for pureSNN."""
BATCH, EPOCHS, PROVED_ON = 4, 1, 2
STEP_TIMEOUT_S, OURS_S = 900.0, 300.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What every row has in common: where it works, and how many steps Lava runs for how long at most."""

    work: Path
    lava_steps: int
    lava_timeout_s: float


def main() -> None:
    """Fill the rows that are missing, and write each as it comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [spec.name for spec in TABLE_I]
    parser.add_argument("--work", type=Path, default=Path("runs/paper-size"), help="where clips and steps are kept")
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--lava-steps", type=int, default=0, help="steps that Lava also runs as it comes")
    parser.add_argument("--lava-timeout", type=float, default=900.0, help="seconds")
    parser.add_argument("--again", action="store_true", help="compute the rows again that are there")
    args = parser.parse_args()
    setup = Setup(args.work.resolve(), args.lava_steps, args.lava_timeout)
    setup.work.mkdir(parents=True, exist_ok=True)
    for spec in TABLE_I:
        if spec.name not in args.models or (spec.name in _known()["rows"] and not args.again):
            continue
        try:
            row, failure = row_of(spec, setup), ""
        except Failed as failed:
            row, failure = None, str(failed)
            say(f"{spec.name}: {failure}")
        _write(spec.name, row, failure)
    if RESULTS.exists():
        write_section(DOCS, json.loads(RESULTS.read_text(encoding="utf-8")))


def _write(name: str, row: dict[str, Any] | None, failure: str) -> None:
    """Add a row, or why there is none, to the results as they are now."""
    known = _known()
    rows, failed = known["rows"], {other: why for other, why in known["failed"].items() if other != name}
    rows |= {} if row is None else {name: row}
    failed |= {} if row is not None else {name: failure}
    write_json(RESULTS, {"machine": machine(), "conditions": _conditions(), "rows": rows, "failed": failed})


def say(line: str) -> None:
    """Tell on the console how far it is."""
    print(line, file=sys.stderr, flush=True)


def _known() -> dict[str, Any]:
    """Return the rows of the results file that were made under the same conditions."""
    none: dict[str, Any] = {"rows": {}, "failed": {}}
    if not RESULTS.exists():
        return none
    told = json.loads(RESULTS.read_text(encoding="utf-8"))
    return told if told["conditions"] == _conditions() else none


def _conditions() -> dict[str, Any]:
    return {
        "faces": FACES,
        "epochs": EPOCHS,
        "batch": BATCH,
        "proved_on_clips": PROVED_ON,
        "specs": {spec.name: spec.to_dict() for spec in TABLE_I},
    }


class Row:
    """The steps of one network, in a folder whose name changes with the conditions."""

    def __init__(self, spec: EmotionSpec, setup: Setup) -> None:
        self.spec, self.setup = spec, setup
        digest = hashlib.sha256(json.dumps(_conditions(), sort_keys=True).encode()).hexdigest()[:8]
        self.folder = setup.work / f"{spec.name}-{digest}"
        self.store = setup.work / f"faces-{spec.first_frame}-{digest}.h5"
        self.bundle = self.folder / "bundle"
        self.folder.mkdir(exist_ok=True)

    def step(self, name: str, words: list[str], codes: tuple[int, ...] = (0,), limit_s: float = STEP_TIMEOUT_S) -> Any:
        """Run a command that prints JSON, or take what it printed before; return that with its costs."""
        kept = self.folder / f"{name}.json"
        if kept.exists():
            return json.loads(kept.read_text(encoding="utf-8"))
        told = measured([sys.executable, *words], codes, limit_s)
        say(f"{self.spec.name}: {name} {told['seconds']:.0f} s, {told['peak_bytes'] / 2**30:.2f} GiB")
        write_json(kept, told)
        return told

    def verb(self, name: str, *words: object, codes: tuple[int, ...] = (0,)) -> Any:
        """Run a verb of the command line."""
        return self.step(name, ["-m", "neuroemo", name, *map(str, words), "--json", "-q"], codes)

    def own(self, name: str, *words: object, limit_s: float = STEP_TIMEOUT_S) -> Any:
        """Run a step of paper_size_steps.py."""
        return self.step(name, [str(HERE / "paper_size_steps.py"), name, *map(str, words)], limit_s=limit_s)


def row_of(spec: EmotionSpec, setup: Setup) -> dict[str, Any]:
    """Return everything that was measured on one network.

    Raises:
        Failed: a step failed, or took too long; those before it are kept.
    """
    row = Row(spec, setup)
    clips = _prepared(row)
    run = row.folder / "run"
    training = row.verb("train", "--model", spec.name, "--data", clips, "-o", run, "--epochs", EPOCHS, "--batch", BATCH)
    scored = row.verb("evaluate", run, "--data", clips)
    told = {"train": _cost(training), "evaluate": _cost(scored) | {"accuracy": scored["told"]["accuracy"]}}
    if spec.neuron == "relu":
        return told | {"export": _refusal(row, run, clips)}
    firing = row.folder / "firing"
    told["wake"] = _cost(woken := row.own("wake", run, clips, firing)) | woken["told"]
    told["export"] = _export(row, firing, clips)
    if lava_available():
        told["lava_fast"] = _lava(row, "lava_fast", clips, spec.steps, "convolution")
        if setup.lava_steps:
            told["lava"] = _lava(row, "lava", clips, setup.lava_steps)
    shutil.rmtree(row.bundle, ignore_errors=True)
    return told


def _prepared(row: Row) -> Path:
    """Return the store of rendered faces that a network needs, made at the first call."""
    if not row.store.exists():
        options = [word for key, value in FACES.items() for word in ("--option", f"{key}={value}")]
        words = ["--size", str(row.spec.size), "--steps", str(row.spec.steps), "--first-frame", row.spec.first_frame]
        prepare = ["-m", "neuroemo", "data", "prepare", "faces", "--root", str(row.setup.work / "videos")]
        out = ["--out", str(row.store), "--workers", "1", "--json", "-q"]
        measured([sys.executable, *prepare, *words, *options, *out], (0,), STEP_TIMEOUT_S)
    return row.store


def _export(row: Row, firing: Path, clips: Path) -> dict[str, Any]:
    """Export with the comparison on the test clips; a bundle below the usual agreement is kept and said so."""
    words = (firing, "--data", clips, "--split", "test", "--limit", PROVED_ON, "-o", row.bundle, "--force")
    if not (row.bundle / "manifest.json").exists():
        for name in ("export", "lava_fast", "lava"):  # a bundle that is gone is made, and compared, again
            (row.folder / f"{name}.json").unlink(missing_ok=True)
    told = row.verb("export", *words, codes=(0, 5))
    report = told["told"]
    layers = report["verify"]["layers"]
    inexact = sum(
        each["captured_mismatches"] + each["folded_mismatches"] - each["captured_ties"] - each["folded_ties"]
        for each in layers
    )
    return _cost(told) | {
        "verified": report["ok"],
        "findings": [f"{each['code']} {each['node']}: {each['found']}" for each in report["findings"]],
        "least_agreement": min(each["agreement"] for each in layers),
        "decisions_compared": sum(each["compared"] for each in layers),
        "decisions_that_differ_beyond_ties": inexact,
        "netx_bytes": (row.bundle / "target" / "model.net").stat().st_size,
        "bundle_bytes": sum(path.stat().st_size for path in row.bundle.rglob("*") if path.is_file()),
        "placement": report["placement"],
        "encoding": report["input_encoding"],
    }


def _lava(row: Row, name: str, clips: Path, steps: int, *patch: str) -> dict[str, Any]:
    """Compare ``steps`` steps of a clip with Lava."""
    limit_s = row.setup.lava_timeout_s
    words = [str(HERE / "paper_size_steps.py"), "lava", *map(str, (row.bundle, clips, steps, limit_s)), *patch]
    told = row.step(name, words, limit_s=limit_s + OURS_S)
    return _cost(told) | told["told"]


def _refusal(row: Row, run: Path, clips: Path) -> dict[str, Any]:
    """Return how the export refuses the ANN."""
    told = row.verb("export", run, "--data", clips, "-o", row.bundle, codes=(2, 3, 4))
    refused = [
        finding | {"node": row.spec.name} for finding in told["told"]["findings"]
    ]  # not the folder of this machine
    return _cost(told) | {"refused": refused, "exit_code": told["code"]}


def _cost(told: dict[str, Any]) -> dict[str, Any]:
    return {key: told[key] for key in ("seconds", "processor_seconds", "peak_bytes")}


if __name__ == "__main__":
    main()
