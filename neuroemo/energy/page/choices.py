"""What the controls offer: price tables, energy models and precisions, and why a combination does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNPUBLISHED = "W881"
"""The finding about a price list of which no figure per operation is published; its node ends with the list."""


def choices(document: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return the options of each control, in the order of the report; every one is there, used or not."""
    scenarios = document["scenarios"]
    models = dict.fromkeys([*document["models"], *(scenario["model"] for scenario in scenarios)])
    prices = dict.fromkeys([*document["price_lists"], *(scenario["prices"] for scenario in scenarios)])
    precisions = dict.fromkeys(scenario["precision"] for scenario in scenarios)
    return {
        "prices": [_option(key, document["price_lists"].get(key), "name") for key in prices],
        "model": [_option(key, document["models"].get(key), "title") for key in models],
        "precision": [{"value": key, "label": key, "scope": ""} for key in precisions],
    }


def _option(key: str, entry: Mapping[str, Any] | None, label: str) -> dict[str, str]:
    return {"value": key, "label": entry[label] if entry else key, "scope": entry["scope"] if entry else ""}


def reasons(document: Mapping[str, Any]) -> dict[str, str]:
    """Return why something is not there, by what it is: a model, a price table, or "model/prices/precision".

    Findings that name such a thing say it; a price table without a price per operation says it by its kind.
    """
    offered = choices(document)
    known = {option["value"] for options in offered.values() for option in options}
    found: dict[str, str] = {
        key: entry["scope"] or "no energy per operation is published"
        for key, entry in document["price_lists"].items()
        if entry["kind"] == "unpublished"
    }
    for finding in document["findings"]:
        *before, last = finding["node"].split("/")
        for name in last.split(","):  # "model/prices/int8,fp16" names two precisions
            if all(part in known for part in (*before, name)):
                found["/".join([*before, name])] = finding["found"]
        if finding["code"] == UNPUBLISHED:
            found[last] = finding["found"]
    return found


def unpriced(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the price tables that no scenario uses, each with the reason: they are shown, not left out."""
    lists, known = document["price_lists"], reasons(document)
    used = {scenario["prices"] for scenario in document["scenarios"]}
    rows = {
        key: {"name": entry["name"], "reason": known.get(key, "no scenario of this report uses it")}
        for key, entry in lists.items()
        if key not in used
    }
    for finding in document["findings"]:
        if finding["code"] == UNPUBLISHED:
            name = finding["node"].split("/")[-1]
            rows[name] = {"name": lists[name]["name"] if name in lists else name, "reason": finding["found"]}
    return list(rows.values())
