"""Accuracy against energy, drawn, and the tables of docs/neuroemo-s.md.

``python benchmarks/small_figures.py`` reads ``benchmarks/results/small.json`` (written by ``benchmarks/small.py``),
draws ``docs/neuroemo-s.svg`` and writes the tables between the marks of ``docs/neuroemo-s.md``. Every point is the mean
over its seeds; a cross is as wide and high as two standard deviations, small dots are the seeds. A mean below the axis,
where runs stayed at chance, is drawn on it with an arrow. The ground that is shaded is the bar: the twin's accuracy or
more with a quarter of its energy or less.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from export.page import svg
from export.page.svg import Scale
from neuroemo.simulation.figure import standalone

HERE = Path(__file__).resolve().parent
LEFT, TOP, WIDTH, HEIGHT, KEY, LINE = 52.0, 40.0, 430.0, 400.0, 330.0, 21.0
FLOOR = 0.88
"""Accuracy below which nothing is drawn to scale."""
OURS, TWIN = "neuroemo-s", "ann"
MODELS = {
    "arithmetic/cmos45/fp32": "arithmetic, fp32",
    "arithmetic+neurons/cmos45/fp32": "**arithmetic and neuron updates, fp32**",
    "arithmetic+neurons/cmos45/int8": "arithmetic and neuron updates, int8",
    "lemaire/cmos45/fp32": "lemaire, fp32",
    "lemaire/cmos45/int8": "lemaire, int8",
    "yan/cmos22/int8": "yan, int8",
    "yan/cmos22/int4": "yan, int4",
    "davidson/davidson_furber/int8": "davidson, int8",
}
Row = dict[str, Any]


def main() -> None:
    """Draw the figure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "small.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "neuroemo-s.md")
    args = parser.parse_args()
    try:
        result = json.loads(args.results.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{args.results}: no results ({error}); run benchmarks/small.py first") from error
    written(args.page.with_suffix(".svg"), figure(result["variants"], result["bar"]))
    text = args.page.read_text(encoding="utf-8")
    for name, table in tables(result).items():
        text = between(text, name, table)
    written(args.page, text)


def written(path: Path, text: str) -> None:
    """Write a file aside and move it to its place."""
    aside = path.with_name(f"{path.name}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def between(text: str, name: str, table: str) -> str:
    """Replace what stands between the marks of a name.

    >>> between("a <!-- t: begin -->old<!-- t: end --> b", "t", "new").splitlines()
    ['a <!-- t: begin -->', 'new', '<!-- t: end --> b']
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"


# --- the figure ----------------------------------------------------------------------------------------------------


def figure(variants: Sequence[Row], bar: float) -> str:
    """Return the figure as the text of an SVG file."""
    x, y = scales(variants)
    by_name = {entry["name"]: entry["summary"] for entry in variants}
    parts = [svg.rect(LEFT, TOP, WIDTH, HEIGHT, "ground")]
    if TWIN in by_name:
        parts += _bar(by_name[TWIN], bar, x, y)
    parts += _axes(x, y)
    for place, entry in enumerate(variants):
        parts += _point(entry, _letter(place), x, y)
    parts += _keys(variants)
    said = " ".join(
        f"{_letter(place)}, {entry['name']}: {_percent(entry['summary'])} with {entry['summary']['strict_uj']:.2f} µJ."
        for place, entry in enumerate(variants)
    )
    height = max(TOP + HEIGHT + 52, TOP + LINE * (len(variants) + 3))
    parts.insert(0, f"<desc>{escape(said)}</desc>")
    return standalone(svg.drawing(LEFT + WIDTH + KEY, height, "Accuracy on unseen people against energy", parts))


def scales(variants: Sequence[Row]) -> tuple[Scale, Scale]:
    """Return the scales of log10 energy and of accuracy that hold every seed, with air around them."""
    energies = [math.log10(row["strict_uj"]) for entry in variants for row in entry["rows"]]
    accuracies = [row["accuracy"] for entry in variants for row in entry["rows"]]
    low, high = min(energies), max(energies)
    air = 0.06 * (high - low) + 0.02
    floor = max(FLOOR, min(accuracies) - 0.02)
    return Scale(low - air, high + air, LEFT, LEFT + WIDTH), Scale(floor, 1.005, TOP + HEIGHT, TOP)


def _bar(twin: Row, bar: float, x: Scale, y: Scale) -> list[str]:
    quarter, level = x(math.log10(twin["strict_uj"] / bar)), y(twin["accuracy"])
    parts = []
    if quarter > LEFT:
        parts.append(svg.rect(LEFT, TOP, quarter - LEFT, level - TOP, "wins"))
        parts.append(svg.line(quarter, TOP, quarter, TOP + HEIGHT, "threshold"))
        parts.append(svg.text(quarter + 4, TOP + HEIGHT - 8, "a quarter of the twin's energy", "tick halo"))
    parts.append(svg.line(LEFT, level, LEFT + WIDTH, level, "threshold"))
    parts.append(svg.text(LEFT + WIDTH - 6, level + 13, "the twin's accuracy", "tick halo", "end"))
    return parts


def _axes(x: Scale, y: Scale) -> list[str]:
    bottom = TOP + HEIGHT
    parts = [svg.line(LEFT, bottom, LEFT + WIDTH, bottom, "axis")]
    for value in (0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if x.lo <= math.log10(value) <= x.hi:
            at = x(math.log10(value))
            parts += [
                svg.line(at, bottom, at, bottom + 4, "axis"),
                svg.text(at, bottom + 17, f"{value:g}", "tick", "middle"),
            ]
    for value in svg.ticks(y.lo, 1.0, 6):
        parts += [svg.line(LEFT, y(value), LEFT + WIDTH, y(value), "grid")]
        parts += [svg.text(LEFT - 6, y(value) + 4, f"{100 * value:g}", "tick", "end")]
    parts.append(svg.text(LEFT - 38, TOP - 14, "accuracy on unseen people, %", "strong"))
    parts.append(
        svg.text(
            LEFT + WIDTH,
            bottom + 36,
            "energy per clip, µJ (accumulates and neuron updates, 45 nm, fp32)",
            "axis-title",
            "end",
        )
    )
    return parts


def _point(entry: Row, letter: str, x: Scale, y: Scale) -> list[str]:
    """Draw the seeds of a variant, its spread and its mean: a disc where it spikes, a square where it does not."""
    kind = 1 if entry["ann"] else 0
    found = entry["summary"]
    at, level = x(math.log10(found["strict_uj"])), y(max(found["accuracy"], y.lo))
    letter += " ↓" if found["accuracy"] < y.lo else ""
    parts = [
        svg.circle(x(math.log10(row["strict_uj"])), y(row["accuracy"]), 1.5, f"f-k{kind}")
        for row in entry["rows"]
        if row["accuracy"] >= y.lo
    ]
    if found["accuracy_sd"] and found["accuracy"] >= y.lo:
        top, bottom = (y(found["accuracy"] + sign * found["accuracy_sd"]) for sign in (1, -1))
        parts.append(svg.path([(at, max(top, TOP)), (at, min(bottom, TOP + HEIGHT))], f"curve s-k{kind}"))
    if found["strict_uj_sd"]:
        ends = [
            (x(math.log10(max(1e-9, found["strict_uj"] + sign * found["strict_uj_sd"]))), level) for sign in (-1, 1)
        ]
        parts.append(svg.path(ends, f"curve s-k{kind}"))
    words = f"{entry['name']}: {_percent(found)}, {found['strict_uj']:.2f} µJ"
    size = 6.5 if entry["name"] in (OURS, TWIN) else 4.2
    if entry["ann"]:
        parts.append(svg.rect(at - size, level - size, 2 * size, 2 * size, f"f-k{kind}", title=words))
    else:
        parts.append(svg.circle(at, level, size, f"f-k{kind}", words))
    parts.append(svg.text(at + size + 2, level - size + 1, letter, f"strong halo t-k{kind}"))
    return parts


def _keys(variants: Sequence[Row]) -> list[str]:
    left = LEFT + WIDTH + 26
    parts = [svg.text(left, TOP - 14, "mean over seeds", "strong"), svg.text(left + 196, TOP - 14, "%", "tick", "end")]
    parts += [
        svg.text(left + 246, TOP - 14, "µJ", "tick", "end"),
        svg.text(left + 292, TOP - 14, "seeds", "tick", "end"),
    ]
    for place, entry in enumerate(variants):
        kind, found, at = (1 if entry["ann"] else 0), entry["summary"], TOP + 8 + LINE * place
        if entry["ann"]:
            parts.append(svg.rect(left - 13, at - 8, 8, 8, f"f-k{kind}"))
        else:
            parts.append(svg.circle(left - 9, at - 4, 4, f"f-k{kind}"))
        parts.append(svg.text(left, at, f"{_letter(place)}  {entry['name']}", f"t-k{kind}"))
        parts.append(svg.text(left + 196, at, f"{100 * found['accuracy']:.1f}", "", "end"))
        parts.append(svg.text(left + 246, at, f"{found['strict_uj']:.2f}", "", "end"))
        parts.append(svg.text(left + 292, at, str(found["seeds"]), "tick", "end"))
    return parts


def _letter(place: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[place]


def _percent(found: Row) -> str:
    spread = "" if found["accuracy_sd"] is None else f" ± {100 * found['accuracy_sd']:.1f}"
    return f"{100 * found['accuracy']:.1f}{spread} %"


# --- the tables ----------------------------------------------------------------------------------------------------


def tables(result: Row) -> dict[str, str]:
    """Return the Markdown tables of the page by the names of their marks."""
    by_name = {entry["name"]: entry for entry in result["variants"]}
    return {
        "seeds": seed_table(by_name),
        "verdict": verdict_table(result),
        "variants": variant_table(result["variants"]),
        "models": model_table(by_name[OURS]["rows"]),
    }


def seed_table(by_name: dict[str, Row]) -> str:
    """Return one row per seed: neuroemo-s beside its twin."""
    lines = [
        "| seed | float | 8 bits on the chip | ANN twin | µJ | twin, µJ | ratio | labels kept "
        "| spikes compared with Lava | differ |",
        "| --- " * 10 + "|",
    ]
    twins = {row["seed"]: row for row in by_name[TWIN]["rows"]}
    for row in by_name[OURS]["rows"]:
        twin, lava = twins[row["seed"]], row["lava"] or {"compared_spikes": 0, "mismatched_spikes": 0}
        lines.append(
            f"| {row['seed']} | {row['float_accuracy']:.1%} | {row['accuracy']:.1%} | {twin['accuracy']:.1%} "
            f"| {row['strict_uj']:.3f} | {twin['strict_uj']:.3f} | {twin['strict_uj'] / row['strict_uj']:.2f} "
            f"| {row['label_agreement']:.1%} | {lava['compared_spikes']:,} | {lava['mismatched_spikes']} |"
        )
    ours, twin = by_name[OURS]["summary"], by_name[TWIN]["summary"]
    lines.append(
        f"| mean ± sd | {100 * ours['float_accuracy']:.1f} ± {100 * ours['float_accuracy_sd']:.1f} % "
        f"| {_percent(ours)} "
        f"| {_percent(twin)} | {ours['strict_uj']:.3f} ± {ours['strict_uj_sd']:.3f} | {twin['strict_uj']:.3f} "
        f"| {twin['strict_uj'] / ours['strict_uj']:.2f} | | | |"
    )
    return "\n".join(lines)


def verdict_table(result: Row) -> str:
    """Return the paired differences to the two twins."""
    lines = [
        "| against | difference in accuracy | 95 % interval over seeds | clips that only neuroemo-s / only the ANN "
        "knows "
        "| energy ratio | lowest of a seed | bar met |",
        "| --- " * 7 + "|",
    ]
    titles = {"ann": "its twin", "demo-ann": "the demo's twin"}
    for name, found in result["verdict"].items():
        ends = found["interval_95"]
        told = "" if ends is None else f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f}"
        lines.append(
            f"| {titles[name]} ({found['seeds']} seeds) | {100 * found['difference']:+.2f} points | {told} "
            f"| {found['only_ours']} / {found['only_theirs']} | {found['ratio']:.2f} | {found['least_ratio']:.2f} "
            f"| {'yes' if found['meets_the_bar'] else 'no'} |"
        )
    return "\n".join(lines)


def variant_table(variants: Sequence[Row]) -> str:
    """Return one row per variant: what it changes, what it reaches, what it costs."""
    lines = [
        "| | variant | what it is | seeds | validation | test | 95 % of all clips | neuroemo-s at the same seeds | µJ "
        "| of which neuron updates |",
        "| --- " * 10 + "|",
    ]
    ours = {row["seed"]: row["accuracy"] for entry in variants if entry["name"] == OURS for row in entry["rows"]}
    for place, entry in enumerate(variants):
        found, (low, high) = entry["summary"], entry["summary"]["interval_95"]
        updates = [row["strict_parts_uj"]["neuron updates"] for row in entry["rows"] if "strict_parts_uj" in row]
        told = f"{sum(updates) / len(updates):.2f}" if updates else ""
        same = [ours[row["seed"]] for row in entry["rows"] if row["seed"] in ours]
        beside = f"{sum(same) / len(same):.1%}" if same and entry["name"] != OURS else ""
        lines.append(
            f"| {_letter(place)} | `{entry['name']}` | {entry['about']} | {found['seeds']} | {found['validation']:.1%} "
            f"| {_percent(found)} | {100 * low:.1f} to {100 * high:.1f} | {beside} "
            f"| {found['strict_uj']:.2f} | {told} |"
        )
    return "\n".join(lines)


def model_table(rows: Sequence[Row]) -> str:
    """Return what every energy model says of neuroemo-s and its twin, over the seeds."""
    lines = [
        "| energy model | neuroemo-s, µJ | twin, µJ | ratio, lowest to highest seed | cheaper |",
        "| --- " * 5 + "|",
    ]
    for name, title in MODELS.items():
        accounts = [row["accounts"][name] for row in rows if name in row["accounts"]]
        if not accounts or any("ann_uj" not in account for account in accounts):
            continue
        ours, twin = (sum(account[key] for account in accounts) / len(accounts) for key in ("snn_uj", "ann_uj"))
        ratios = [account["ann_uj"] / account["snn_uj"] for account in accounts]
        cheaper = {"snn": "neuroemo-s", "ann": "the twin"}
        said = " or ".join(sorted({cheaper.get(account["verdict"], "undecided") for account in accounts}))
        lines.append(f"| {title} | {ours:.3f} | {twin:.3f} | {min(ratios):.2f} to {max(ratios):.2f} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
