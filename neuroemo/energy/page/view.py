"""One scenario ready to print: every number of its fragments, written once here and shown wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from export.page.words import NBSP, UNKNOWN, count, percent
from neuroemo.energy.page.bars import SIDES, largest, layer_bars, layer_sums, part_bars
from neuroemo.energy.page.curves import break_even_curve, decision_curve
from neuroemo.energy.page.tornado import flip_words, tornado
from neuroemo.energy.page.words import (
    BADGES,
    ONE_PASS,
    cheaper,
    constant_value,
    energy,
    factor,
    interval,
    provenance,
    share,
    signed,
)


def scenario_view(
    document: Mapping[str, Any], index: int, colours: Mapping[str, str], extras: Sequence[str], latex: str
) -> dict[str, Any]:
    """Return what the templates show of scenario ``index``; ``extras`` are priced layers that were not counted."""
    scenario = document["scenarios"][index]
    names = {key: constant["name"] for key, constant in document["constants"].items()}
    model, prices = document["models"].get(scenario["model"]), document["price_lists"].get(scenario["prices"])
    return {
        "index": index,
        "id": scenario["id"],
        "model": model["title"] if model else scenario["model"],
        "prices": prices["name"] if prices else scenario["prices"],
        "precision": scenario["precision"],
        "verdict": scenario["verdict"],
        "badge": BADGES[scenario["verdict"]],
        "words": scenario["words"],
        "reason": scenario["reason"],
        "partial": sorted({name for side, _ in SIDES if scenario[side] for name in scenario[side]["partial"]}),
        "tiles": _tiles(scenario),
        "part_bars": Markup(part_bars(scenario, colours)),
        "layer_bars": Markup(layer_bars(scenario)),
        "parts": _parts(scenario, colours),
        "layers": _layers(scenario, [layer["name"] for layer in document["networks"]["deployed"]["layers"]], extras),
        "total": _total(scenario["snn"], largest(scenario)),
        "constants": _constants(document, scenario),
        "assumptions": [(name, scenario[side]["assumptions"]) for side, name in SIDES if scenario[side]],
        "steps": _steps(scenario, document["decision"]),
        "curve": _markup(break_even_curve(scenario)),
        "decision": _markup(decision_curve(scenario, document["decision"])),
        "tornado": Markup(drawn) if (drawn := tornado(scenario, names)) else None,
        "sensitivity": [_sensitivity(row, document) for row in scenario["sensitivity"]],
        "choices": [_choice(row, scenario["verdict"]) for row in scenario["choices"]],
        "latex": latex,
    }


def summary(document: Mapping[str, Any], scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a scenario in the table of all of them."""
    top, snn = largest(scenario), scenario["snn"]
    model, prices = document["models"].get(scenario["model"]), document["price_lists"].get(scenario["prices"])
    grades = [document["constants"][key] for key in scenario["snn"]["constants"] if key in document["constants"]]
    return {
        "id": scenario["id"],
        "model": model["title"] if model else scenario["model"],
        "prices": prices["name"] if prices else scenario["prices"],
        "precision": scenario["precision"],
        "snn": _total(snn, top),
        "bounds": _bare(
            interval(scenario["snn"]["low_pj"], scenario["snn"]["high_pj"], lambda value: energy(value, top))
        ),
        "ann": _total(scenario["ann"], top) if scenario["ann"] else UNKNOWN,
        "ratio": factor(scenario["ratio"]),
        "ratio_bounds": _bare(interval(scenario["ratio_low"], scenario["ratio_high"], factor)),
        "verdict": {"snn": "SNN", "ann": "ANN", "undecided": "undecided", "none": "none"}[scenario["verdict"]],
        "css": scenario["verdict"],
        "break_even": signed(scenario["break_even_steps"]),
        "grades": sorted({row["grade"] for row in grades}),
        "grade_texts": sorted({row["grade_text"] for row in grades if row["grade_text"]}),
        "reason": scenario["reason"],
    }


def _bare(words: str) -> str:
    """Return an interval without the "95 %" that its column says."""
    return words.removeprefix(f"95{NBSP}%: ")


def _markup(curve: Any) -> dict[str, Any] | None:
    return None if curve is None else {"drawing": Markup(curve.drawing), "points": curve.points}


def _tiles(scenario: Mapping[str, Any]) -> list[dict[str, str]]:
    top, snn, ann = largest(scenario), scenario["snn"], scenario["ann"]

    def bounds(side: Mapping[str, Any], missing: str = "no interval") -> str:
        return interval(side["low_pj"], side["high_pj"], lambda value: energy(value, top), missing=missing)

    tiles = [_tile("SNN, per clip", _total(snn, top), bounds(snn), "big t-snn")]
    missing = scenario["reason"] or "no twin was counted"
    if ann is None:
        tiles.append(_tile("ANN, per clip", UNKNOWN, missing, "big t-ann"))
    else:
        tiles.append(_tile("ANN, per clip", _total(ann, top), bounds(ann, ONE_PASS), "big t-ann"))
    ratio = scenario["ratio"]
    note = interval(scenario["ratio_low"], scenario["ratio_high"], factor) if ratio is not None else missing
    tiles.append(_tile("ANN over SNN", factor(ratio), note, "big"))
    steps, run = scenario["break_even_steps"], len(scenario["curve"]["snn_pj"])
    tiles.append(
        _tile(
            "Break-even T*",
            f"{signed(steps)} steps" if steps is not None else UNKNOWN,
            f"{run} were run" if run else "steps were not told apart",
        )
    )
    limit = scenario["break_even_spikes_per_synapse"]
    note = f"break-even at {signed(limit)}" if limit is not None else "no break-even"
    tiles.append(_tile("Spikes per synapse", signed(scenario["spikes_per_synapse"]), note))
    tiles.append(_tile("Spike rate", percent(scenario["spike_rate"], 2), "of all inputs of synapses"))
    tiles.append(_tile("MAC over AC", factor(scenario["mac_per_ac"]), "cost of a MAC in accumulates"))
    return tiles


def _total(side: Mapping[str, Any], top: float) -> str:
    """Return the energy of a network, marked as a lower bound where something was not counted."""
    return ("≥" + NBSP if side["partial"] else "") + energy(side["total_pj"], top)


def _tile(name: str, value: str, note: str, css: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "note": note, "css": css}


def _parts(scenario: Mapping[str, Any], colours: Mapping[str, str]) -> list[dict[str, str]]:
    top = largest(scenario)
    names = list(dict.fromkeys(part for side, _ in SIDES if scenario[side] for part in scenario[side]["parts_pj"]))
    return [
        {"name": part, "css": colours[part]}
        | {side: _part(scenario[side], part, top) for side, _ in SIDES}
        | {f"{side}_share": _share_of(scenario[side], part) for side, _ in SIDES}
        for part in names
    ]


def _part(side: Mapping[str, Any] | None, part: str, top: float) -> str:
    return energy(side["parts_pj"].get(part) if side else None, top)


def _share_of(side: Mapping[str, Any] | None, part: str) -> str:
    if not side or part not in side["parts_pj"] or not side["total_pj"]:
        return UNKNOWN
    return share(side["parts_pj"][part] / side["total_pj"])


def _layers(scenario: Mapping[str, Any], names: Sequence[str], extras: Sequence[str]) -> list[dict[str, Any]]:
    sums, top, total = layer_sums(scenario["snn"]), largest(scenario), scenario["snn"]["total_pj"]
    rows = []
    for name in [*names, *extras]:
        value = sums.get(name)
        written = share(value / total) if value is not None and total else UNKNOWN
        rows.append({"value": value, "energy": energy(value, top), "share": written})
    return rows


def _constants(document: Mapping[str, Any], scenario: Mapping[str, Any]) -> list[dict[str, str]]:
    used = dict.fromkeys(key for side, _ in SIDES if scenario[side] for key in scenario[side]["constants"])
    return [constant_view(document, key) for key in used]


def constant_view(document: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return a constant as hover and focus show it."""
    constant = document["constants"].get(key)
    if constant is None:
        return {"key": key, "name": key, "value": UNKNOWN, "provenance": "Its source is not in report.json."}
    return {
        "key": key,
        "name": constant["name"],
        "value": constant_value(constant),
        "provenance": provenance(constant),
    }


def _sensitivity(row: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    return constant_view(document, row["constant"]) | {
        "halved": factor(row["halved"]),
        "doubled": factor(row["doubled"]),
        "flips": flip_words(row),
        "flips_at": row["flips_at"],
    }


WINNERS = {"snn": "SNN", "ann": "ANN", "undecided": "not decided"}


def _choice(row: Mapping[str, Any], verdict: str) -> dict[str, Any]:
    flips = {verdict, row["verdict"]} == {"snn", "ann"}
    return {
        "choice": row["choice"],
        "changed_to": row["changed_to"],
        "ratio": factor(row["ratio"]),
        "needs_less": row["reason"] or WINNERS[row["verdict"]],
        "flips": flips,
    }


def _steps(scenario: Mapping[str, Any], decision: Mapping[str, Any] | None) -> list[dict[str, str]]:
    spent, ann = scenario["curve"]["snn_pj"], scenario["curve"]["ann_pj"]
    top = max([*spent, ann or 0.0], default=0.0)
    known = decision["steps"] if decision and len(decision["steps"]) == len(spent) else [None] * len(spent)
    return [
        {
            "step": count(step),
            "snn": energy(value, top),
            "ann": energy(ann, top),
            "cheaper": cheaper(value, ann),
            "accuracy": percent(row["accuracy"]) if row else UNKNOWN,
            "stable": percent(row["stable"]) if row else UNKNOWN,
        }
        for step, (value, row) in enumerate(zip(spent, known, strict=True), start=1)
    ]
