"""The curve as a table for a terminal."""

from __future__ import annotations

from typing import Any

from neuroemo.energy.words import energy, share, table

HEAD = ("network", "", "energy per clip", "accuracy", "95 %", "right")
STAR = "*"


def tradeoff_text(document: dict[str, Any]) -> str:
    """Return one row per network, the cheapest first; a star marks those that no other one beats."""
    lines = [f"Accuracy against energy, {document['scenario']}", "", *table(HEAD, rows_of(document))]
    lines += ["", f"  {STAR} none here is as accurate for less energy, or more accurate for as little"]
    lines += [f"  {told['code']} {told['node']}: {told['found']}; {told['fix']}" for told in document["findings"]]
    return "\n".join(lines)


def rows_of(document: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the table, in its order."""
    return [
        [
            point["name"],
            STAR if point["on_front"] else "",
            energy(point["energy_pj"]),
            share(point["accuracy"]),
            f"{share(point['low'])} to {share(point['high'])}",
            f"{point['correct']} of {point['clips']}",
        ]
        for point in sorted(document["points"], key=lambda told: (told["energy_pj"], told["name"]))
    ]
