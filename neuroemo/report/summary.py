"""The console summary: at most ten lines of plain text, then the commands a person would want next."""

from __future__ import annotations

from typing import Any

from neuroemo.report import words
from neuroemo.report.schema import checked_report
from neuroemo.report.words import NBSP, count, kilobytes, percent, plural


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Return the summary of a report: ten lines or fewer, and after them one line per next command.

    Raises:
        InputError: the report lacks required entries or holds unusable ones.
    """
    report = checked_report(report)
    lines = [
        f"{report['title']}: {words.status(report)[1]}",
        *words.verdict_sentences(report)[:2],
        _others(report),
        _agreement(report),
        _chip(report),
        words.verdict_sentences(report)[-1],
        _events(report),
        words.SYNTHETIC_NOTE if report["data"]["synthetic"] else "",
        _findings(report),
    ]
    lines += [f"next: {command}" for command in report["next"] or []]
    # A name with a line break in it must not break the count of lines.
    return [" ".join(line.replace(NBSP, " ").split()) for line in lines if line]


def _others(report: dict[str, Any]) -> str:
    accuracy = report["accuracy"]
    names = (
        ("ann", "ANN twin"),
        ("linear_events", "linear on summed events"),
        ("trivial", "linear on the mean frame"),
        ("chance", "chance"),
    )
    parts = [f"{name} {percent(accuracy[key])}" for key, name in names if accuracy[key] is not None]
    return f"Beside it: {', '.join(parts)}." if parts else ""


def _agreement(report: dict[str, Any]) -> str:
    export = report["export"]
    judged = [layer["verify"] for layer in export["layers"] if layer["verify"]]
    if not judged:
        return "Layer by layer: not compared."
    mismatches = sum(layer["chip_mismatches"] for layer in judged)
    compared = sum(layer["compared"] for layer in judged)
    labels = "" if export["label_agreement"] is None else f"; labels agree on {percent(export['label_agreement'])}"
    return (
        f"Float to chip, fed the same spikes: {count(mismatches)} of {count(compared)} differ in "
        f"{plural(len(judged), 'layer')}{labels}."
    )


def _chip(report: dict[str, Any]) -> str:
    layers = report["export"]["layers"]
    size = report["export"]["file_bytes"]
    parts = [
        plural(sum(layer["neurons"] for layer in layers), "neuron"),
        plural(sum(layer["cores"] for layer in layers), "core"),
    ]
    parts += [] if size is None else [kilobytes(size)]
    return f"On {words.chip_name(report)}: {', '.join(parts)}."


def _events(report: dict[str, Any]) -> str:
    events = report["events"]
    if events is None:
        return ""
    return f"Events: {percent(events['density'], 2)} of (pixel, channel) positions (the paper: 10.79 %)."


def _findings(report: dict[str, Any]) -> str:
    findings = report["export"]["findings"]
    if not findings:
        return "Findings: none."
    kinds = [
        f"{sum(f['severity'] == kind for f in findings)} {kind}"
        for kind in dict.fromkeys(f["severity"] for f in findings)
    ]
    first = findings[0]
    return f"Findings: {', '.join(kinds)}; first: {first['code']} {first['node'] or ''} {first['found']}."
