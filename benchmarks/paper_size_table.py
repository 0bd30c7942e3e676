"""The section of docs/results.md that benchmarks/paper_size.py writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuroemo.models.table1 import TABLE_I

BEGIN, END = "<!-- paper-size: begin -->", "<!-- paper-size: end -->"


def write_section(docs: Path, result: dict[str, Any]) -> None:
    """Replace what stands between the markers, which must be there."""
    before, rest = docs.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    docs.write_text(f"{before}{BEGIN}\n{section(result)}\n{END}{after}", encoding="utf-8")


def section(result: dict[str, Any]) -> str:
    """Return the section as Markdown."""
    names = [spec.name for spec in TABLE_I]
    spiking = {name: result["rows"][name] for name in names if "lava_fast" in result["rows"].get(name, {})}
    blocks = [_machine(result["machine"])]
    if spiking:
        blocks += [_compared(spiking), _proved(spiking), _costs(spiking), _plain(spiking)]
    if "ann" in result["rows"]:
        blocks.append(_ann(result["rows"]["ann"]))
    if missing := [name for name in names if name not in result["rows"]]:
        blocks.append(f"Not measured: {', '.join(missing)}." + _reasons(result["failed"]))
    return "\n\n".join(block for block in blocks if block)


def _machine(told: dict[str, Any]) -> str:
    versions = f"Python {told['python']}, torch {told['torch']}, lava-nc {told['lava-nc']}, lava-dl {told['lava-dl']}"
    return f"{told['processor']} ({told['cores']} cores), one thread; {versions}."


def _compared(rows: dict[str, Any]) -> str:
    lines = [
        "| network | steps | spikes compared with Lava | differ | spikes among them | layers | neurons | cores "
        "| netx file | bundle |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        run, export, placed = row["lava_fast"], row["export"], row["export"]["placement"]
        fired = sum(layer["spikes"] for layer in run["layers"])
        lines.append(
            f"| {name} | {run['steps']} | {run['compared_spikes']:,} | {run['mismatched_spikes']:,} | {fired:,} "
            f"| {len(run['layers'])} | {placed['neurons']:,} | {placed['cores']} "
            f"| {export['netx_bytes'] / 1e6:.1f} MB | {export['bundle_bytes'] / 1e6:.0f} MB |"
        )
    return "\n".join(lines)


def _proved(rows: dict[str, Any]) -> str:
    lines = [
        "| network | rates of the layers on the chip, % | scaled | decisions compared by the export | "
        "differ beyond ties | least agreement of a layer | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        export, run, factors = row["export"], row["lava_fast"], row["wake"]["factors"]
        layers = [layer["name"] for layer in run["layers"]]
        rates = ", ".join(f"{100 * run['rates'][layer]:.1f}" for layer in layers)
        scaled = ", ".join(f"{layer} ×{factors[layer]:.1f}" for layer in layers if layer in factors) or "none"
        verdict = "verified" if export["verified"] else "FAILED: " + ", ".join(_errors(export))
        lines.append(
            f"| {name} | {rates} | {scaled} | {export['decisions_compared']:,} "
            f"| {export['decisions_that_differ_beyond_ties']} | {100 * export['least_agreement']:.2f} % | {verdict} |"
        )
    return "\n".join(lines)


def _errors(export: dict[str, Any]) -> list[str]:
    return [found.partition(":")[0] for found in export["findings"] if found.startswith("E")]


def _costs(rows: dict[str, Any]) -> str:
    lines = [
        "| network | train: processor s, GiB | score | export and proof | our simulator: planning and first clip, "
        "next clip, wall s | Lava: wall s, ms per step, GiB of the run |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        run = row["lava_fast"]
        steps = " | ".join(_cost(row[step]) for step in ("train", "evaluate", "export"))
        ours = f"{run['ours_first_clip_s']:.1f}, {run['ours_next_clip_s']:.1f}"
        theirs = f"{run['lava_s']:.0f}, {1e3 * run['lava_seconds_per_step']:.0f}, {run['peak_bytes'] / 2**30:.1f}"
        lines.append(f"| {name} | {steps} | {ours} | {theirs} |")
    return "\n".join(lines)


def _cost(told: dict[str, Any]) -> str:
    return f"{told['processor_seconds']:.0f}, {told['peak_bytes'] / 2**30:.1f}"


def _plain(rows: dict[str, Any]) -> str:
    said = [
        f"{name} {run['mismatched_spikes']:,} of {run['compared_spikes']:,} in {run['steps']} steps "
        f"({run['lava_seconds_per_step']:.2f} s each)"
        for name, row in rows.items()
        if (run := row.get("lava"))
    ]
    return f"With Lava's own convolution, spikes that differ: {'; '.join(said)}." if said else ""


def _ann(row: dict[str, Any]) -> str:
    refused = "; ".join(f"{each['code']}, {each['found']}" for each in row["export"]["refused"])
    return (
        f"ann: trained in {row['train']['processor_seconds']:.0f} s of processor time, scored in "
        f"{row['evaluate']['processor_seconds']:.0f} s; the export refuses it ({refused})."
    )


def _reasons(failed: dict[str, str]) -> str:
    return "".join(f" {name}: {reason.splitlines()[0][:200]}." for name, reason in failed.items())
