"""Accuracy against energy of several networks: points, the front, and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from hw_targets.finding import Finding, InputError
from neuroemo.training.metrics import wilson_interval

SCHEMA = 1
LIMIT_BYTES = 1 << 27
EVALUATION = "evaluation.json of `neuroemo evaluate -o DIR`"


@dataclass(frozen=True, slots=True)
class Point:
    """One network: its energy per clip in pJ with a 95 % interval where there is one, and its clips answered right.

    ``low`` and ``high`` are the ends of the Wilson interval of the accuracy.
    """

    name: str
    kind: Literal["snn", "ann"]
    energy_pj: float
    energy_low_pj: float | None
    energy_high_pj: float | None
    correct: int
    clips: int
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        """Share of the clips that are answered right."""
        return self.correct / self.clips


def tradeoff_document(
    reports: Mapping[str, Mapping[str, Any]],
    evaluations: Mapping[str, Mapping[str, Any]],
    scenario: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Return the curve of energy reports by name; ``evaluations`` score the trained ANN twin of the report so named.

    Every point is priced in one scenario, by default that on top of the first report.

    Raises:
        InputError: a report without accuracy, without the scenario, or (for an evaluation) without a twin; all at once.
    """
    chosen = scenario or str(next(iter(reports.values()))["default_scenario"])
    findings: list[Finding] = []
    points = []
    for name, report in reports.items():
        found = next((made for made in report["scenarios"] if made["id"] == chosen), None)
        findings += _unusable(name, report, found, chosen, name in evaluations)
        if findings or found is None:
            continue
        points.append(_deployed(name, report, found))
        if name in evaluations:
            points.append(_twin(name, evaluations[name], found))
    if findings:
        raise InputError(findings)
    front = front_of(points)
    return {
        "schema": SCHEMA,
        "kind": "tradeoff",
        "tool": {"name": "neuroemo", "version": version("neuroemo")},
        "command": command,
        "scenario": chosen,
        "points": [asdict(point) | {"accuracy": point.accuracy, "on_front": point in front} for point in points],
        "findings": [finding.to_dict() for finding in _warnings(reports, evaluations)],
    }


def front_of(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other point beats: none is as accurate for less, or more accurate for as little.

    >>> def point(name, energy_pj, correct):
    ...     return Point(name, "snn", energy_pj, None, None, correct, 10, 0.0, 1.0)
    >>> [p.name for p in front_of([point("a", 1.0, 5), point("b", 2.0, 5), point("c", 2.0, 9), point("d", 3.0, 8)])]
    ['a', 'c']
    """

    def beaten(point: Point, by: Point) -> bool:
        as_good = by.accuracy >= point.accuracy and by.energy_pj <= point.energy_pj
        return as_good and (by.accuracy > point.accuracy or by.energy_pj < point.energy_pj)

    return [point for point in points if not any(beaten(point, other) for other in points)]


def _unusable(
    name: str, report: Mapping[str, Any], found: Mapping[str, Any] | None, chosen: str, twin: bool
) -> list[Finding]:
    findings = []
    if report["source"]["accuracy"] is None:
        fix = "count on labelled clips: `neuroemo energy MODEL --data ...`"
        findings.append(Finding("E876", "error", name, "holds no accuracy", "labelled clips", fix=fix))
    if found is None:
        known = ", ".join(made["id"] for made in report["scenarios"])
        findings.append(Finding("E876", "error", name, f"has no scenario {chosen!r}", known, fix="--scenario ID"))
    elif twin and found["ann"] is None:
        fix = "only checkpoints of ours, and bundles made of them, have one"
        findings.append(Finding("E876", "error", name, "prices no ANN twin, which --ann needs", fix=fix))
    return findings


def _deployed(name: str, report: Mapping[str, Any], scenario: Mapping[str, Any]) -> Point:
    known, side = report["source"]["accuracy"], scenario["snn"]
    ends = side["low_pj"], side["high_pj"]
    return Point(name, "snn", side["total_pj"], *ends, known["correct"], known["clips"], known["low"], known["high"])


def _twin(name: str, evaluation: Mapping[str, Any], scenario: Mapping[str, Any]) -> Point:
    correct, clips = evaluation["correct"], evaluation["clips"]
    low, high = wilson_interval(correct, clips)
    return Point(f"{name}, ANN twin", "ann", scenario["ann"]["total_pj"], None, None, correct, clips, low, high)


def _warnings(reports: Mapping[str, Mapping[str, Any]], evaluations: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return what makes points hard to compare: other clips, another number of them."""
    seen = {name: (report["source"]["data"], report["source"]["split"]) for name, report in reports.items()}
    counts = {name: report["source"]["clips"] for name, report in reports.items()}
    counts |= {f"{name}, ANN twin": told["clips"] for name, told in evaluations.items()}
    findings = []
    if len(set(seen.values())) > 1:
        found = "; ".join(f"{name}: {data}, {split or 'all clips'}" for name, (data, split) in seen.items())
        fix = "a difference between points may be one between clips"
        findings.append(Finding("W876", "warning", "data", found, "the same clips for all", fix=fix))
    if len(set(counts.values())) > 1:
        found = "; ".join(f"{name}: {clips} clips" for name, clips in counts.items())
        findings.append(Finding("W876", "warning", "clips", found, "the same number for all", fix="leave --limit out"))
    return findings


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read the score in evaluation.json, or in the one of a folder; nothing in it is trusted.

    Raises:
        InputError: no such file, not an evaluation, or a score that cannot be.
    """
    file = path / "evaluation.json" if path.is_dir() else path
    try:
        if file.stat().st_size > LIMIT_BYTES:
            raise ValueError(f"{file.stat().st_size} bytes, more than {LIMIT_BYTES}")
        told = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(told, dict) or told.get("kind") != "evaluation":
            raise ValueError("not the document of an evaluation")
        correct, clips = told.get("correct"), told.get("clips")
        if type(correct) is not int or type(clips) is not int or not 0 <= correct <= clips or clips < 1:
            raise ValueError(f"{correct!r} of {clips!r} clips right")
    except (OSError, ValueError, RecursionError) as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be used: {error}"
        raise InputError(Finding("E877", "error", str(file), found, EVALUATION)) from error
    return {"correct": correct, "clips": clips}
