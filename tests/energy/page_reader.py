"""Reads numbers back from what the energy page shows, and holds them against report.json to the digits shown."""

from __future__ import annotations

import re
from typing import Any

SCALES = {"J": 1e12, "mJ": 1e9, "µJ": 1e6, "nJ": 1e3, "pJ": 1.0, "×": 1.0, "%": 0.01, "steps": 1.0, "": 1.0}
NUMBER = re.compile(r"([−-]?)([\d,]+)(?:\.(\d+))?\s*(mJ|µJ|nJ|pJ|J|×|%|steps|)")

COLLECT = """
const texts = (s) => $$(s).map((e) => e.textContent.trim());
const rows = (s) => $$(s).map((r) => [...r.cells].map((c) => c.textContent.trim()));
return {
  hash: location.hash, badge: texts('#slot-verdict .badge')[0], words: texts('#slot-verdict .headline')[0],
  reason: texts('#slot-verdict .reason'), announced: texts('#announcement')[0],
  tiles: $$('#slot-verdict .tiles > div').map((d) => [...d.children].map((c) => c.textContent)),
  parts: rows('#slot-energy .parts tbody tr'), layers: rows('#layer-table tbody tr'), total: texts('#slot-total')[0],
  constants: $$('#slot-energy .priced').map((p) => [...p.children].map((c) => c.textContent)),
  steps: rows('#step-table tbody tr'), latex: $('#text-latex').textContent,
  flips: $$('.flips tbody tr').map((r) => [r.querySelector('.constant').textContent,
    ...[...r.cells].slice(1).map((c) => c.textContent)]),
  choices: rows('.choices tbody tr'),
  bars: texts('#slot-energy .cut-part rect title'), layerBars: texts('#slot-energy .cut-layer rect title'),
  chosen: [$('#choose-prices').value, ...['model', 'precision'].map((n) =>
    $(`input[name="${n}"]:checked`).value)],
  unavailable: texts('#unavailable li'), current: $$('tr.current').map((r) => r.dataset.id),
};
"""


def quantity(text: str) -> tuple[float, float]:
    """Return the first number of a text in pJ, as a factor or as a fraction, and half a unit of its last digit.

    >>> quantity("21.3 µJ"), quantity("−0.50 ×"), quantity("12,346")
    ((21300000.0, 50000.0), (-0.5, 0.005), (12346.0, 0.5))
    """
    found = NUMBER.search(text.replace("\u00a0", " "))
    assert found, f"no number in {text!r}"
    sign, whole, digits, unit = found.groups()
    value = float(f"{whole.replace(',', '')}.{digits or 0}") * (-1 if sign else 1)
    return value * SCALES[unit], 0.5 * 10 ** -len(digits or "") * SCALES[unit]


def shows(text: str, value: float | None) -> bool:
    """Say whether a text shows a value, rounded to the digits that it has; a dash shows None."""
    if value is None:
        return text.strip() == "—"
    if text.strip() == "—":
        return False
    shown, half = quantity(text)
    if text.startswith("<"):
        return 0 < value < shown
    return abs(shown - value) <= half * (1 + 1e-9) + 1e-12 * abs(value)


def shows_interval(text: str, low: float | None, high: float | None, missing: str = "no interval") -> bool:
    """Say whether a text shows an interval."""
    if low is None or high is None:
        return text == missing
    if low == high:
        return text == "the same for every clip"
    first, last = text.replace("\u00a0", " ").removeprefix("95 %: ").split(" to ")
    return shows(first, low) and shows(last, high)


def complaints(shown: dict[str, Any], document: dict[str, Any], scenario: dict[str, Any]) -> list[str]:
    """Return everything that the page shows of a scenario and report.json does not say."""
    snn, ann = scenario["snn"], scenario["ann"]
    wrong = [] if shown["words"] == " ".join(scenario["words"].split()) else ["words"]
    wrong += _tiles(dict((row[0], row[1:]) for row in shown["tiles"]), scenario)
    parts = {row[0]: row[1:] for row in shown["parts"]}
    wrong += (
        []
        if list(parts) == list(dict.fromkeys([*snn["parts_pj"], *(ann or {"parts_pj": {}})["parts_pj"]]))
        else ["parts"]
    )
    for part, cells in parts.items():
        for side, (text, share) in ((snn, cells[:2]), (ann, cells[2:])):
            value = side["parts_pj"].get(part) if side else None
            known = value is not None and side["total_pj"]
            if not shows(text, value) or not shows(share, value / side["total_pj"] if known else None):
                wrong.append(f"part {part}: {text} {share}, not {value}")
    wrong += _bars(shown, scenario)
    wrong += _layers(shown, document, scenario)
    wrong += _steps(shown["steps"], document, scenario)
    wrong += _constants(shown["constants"], document, scenario)
    for row, cells in zip(scenario["choices"], shown["choices"], strict=True):
        names = {"snn": "SNN", "ann": "ANN", "undecided": "not decided"}
        said = row["reason"] or names[row["verdict"]]
        if cells[:2] != [row["choice"], row["changed_to"]] or cells[3] != said or not shows(cells[2], row["ratio"]):
            wrong.append(f"choice {cells}")
    for row, flip in zip(scenario["sensitivity"], shown["flips"], strict=True):
        constant = document["constants"][row["constant"]]
        never = flip[3] == "never within 1/100 to 100"
        if (
            not flip[0].startswith(constant["name"])
            or not shows(flip[1], row["halved"])
            or not shows(flip[2], row["doubled"])
        ):
            wrong.append(f"sensitivity {flip}")
        if never != (row["flips_at"] is None) or (
            not never and not shows(flip[3].removeprefix("flips at "), row["flips_at"])
        ):
            wrong.append(f"flip {flip}")
    return wrong


def _tiles(tiles: dict[str, list[str]], scenario: dict[str, Any]) -> list[str]:
    snn, ann = scenario["snn"], scenario["ann"]
    wanted = {
        "SNN, per clip": snn["total_pj"], "ANN, per clip": ann["total_pj"] if ann else None,
        "ANN over SNN": scenario["ratio"], "Break-even T*": scenario["break_even_steps"],
        "Spikes per synapse": scenario["spikes_per_synapse"], "Spike rate": scenario["spike_rate"],
        "MAC over AC": scenario["mac_per_ac"],
    }  # fmt: skip
    wrong = [] if list(tiles) == list(wanted) else ["tiles"]
    wrong += [
        f"{name}: {tiles[name][0]}, not {value}" for name, value in wanted.items() if not shows(tiles[name][0], value)
    ]
    if not shows_interval(tiles["SNN, per clip"][1], snn["low_pj"], snn["high_pj"]):
        wrong.append("interval of the SNN")
    if ann and not shows_interval(tiles["ANN, per clip"][1], ann["low_pj"], ann["high_pj"], "one dense pass"):
        wrong.append("interval of the ANN")
    if ann and not shows_interval(tiles["ANN over SNN"][1], scenario["ratio_low"], scenario["ratio_high"]):
        wrong.append("interval of the ratio")
    if not ann and scenario["reason"] not in (tiles["ANN, per clip"][1], tiles["ANN over SNN"][1]):
        wrong.append("reason")
    limit = scenario["break_even_spikes_per_synapse"]
    if limit is not None and not shows(tiles["Spikes per synapse"][1].removeprefix("break-even at "), limit):
        wrong.append("break-even spikes per synapse")
    return wrong


def _bars(shown: dict[str, Any], scenario: dict[str, Any]) -> list[str]:
    sides = [(name, scenario[key]) for key, name in (("snn", "SNN"), ("ann", "ANN")) if scenario[key]]
    parts = [(f"{name}, {part}: ", v) for name, side in sides for part, v in side["parts_pj"].items() if v > 0]
    sums = {name: {layer: sum(cut.values()) for layer, cut in side["layers_pj"].items()} for name, side in sides}
    layers = list(dict.fromkeys(layer for name in sums for layer in sums[name]))
    bars = [
        (f"{layer}, {name}: ", sums[name][layer]) for layer in layers for name in sums if sums[name].get(layer, 0) > 0
    ]
    wrong = []
    for titles, wanted in ((shown["bars"], parts), (shown["layerBars"], bars)):
        same = len(titles) == len(wanted)
        if not same or not all(
            title.startswith(head) and shows(title.removeprefix(head), value)
            for title, (head, value) in zip(titles, wanted, strict=True)
        ):
            wrong.append(f"bars {titles[:3]} {len(titles)} of {len(wanted)}")
    return wrong


def _layers(shown: dict[str, Any], document: dict[str, Any], scenario: dict[str, Any]) -> list[str]:
    network, snn = document["networks"]["deployed"], scenario["snn"]
    cells = {row[0]: row for row in shown["layers"]}
    wrong = [] if shows(shown["total"], snn["total_pj"]) else [f"total {shown['total']}"]
    for layer in network["layers"]:
        row, samples = cells.pop(layer["name"]), network["samples"]
        neuron = layer["kind"] == "neuron"
        spent = sum(snn["layers_pj"][layer["name"]].values()) if layer["name"] in snn["layers_pj"] else None
        wanted = [
            layer["density"], layer["events_per_synapse"], None if neuron else layer["acs"] / samples,
            None if neuron else layer["macs"] / samples, layer["dense_macs"] / samples if not neuron else None,
            layer["neuron_updates"] / samples or None, spent,
            spent / snn["total_pj"] if spent is not None and snn["total_pj"] else None,
        ]  # fmt: skip
        wrong += [
            f"{layer['name']}: {text}, not {value}"
            for text, value in zip(row[3:], wanted, strict=True)
            if not shows(text, value)
        ]
    return wrong + [f"row {name}" for name in cells if name not in snn["layers_pj"]]


def _steps(rows: list[list[str]], document: dict[str, Any], scenario: dict[str, Any]) -> list[str]:
    curve, decision = scenario["curve"], document["decision"]
    wrong = [] if len(rows) == len(curve["snn_pj"]) else ["steps"]
    for index, (row, spent) in enumerate(zip(rows, curve["snn_pj"], strict=False)):
        answer = decision["steps"][index] if decision else {"accuracy": None, "stable": None}
        ann = curve["ann_pj"]
        better = None if ann is None else max(spent, ann) / min(spent, ann)
        name_right = ann is None or spent == ann or row[3].startswith("SNN" if spent < ann else "ANN")
        right = name_right and (spent == ann or shows(row[3].split(", ")[-1], better))
        values = [
            (row[0], index + 1),
            (row[1], spent),
            (row[2], ann),
            (row[4], answer["accuracy"]),
            (row[5], answer["stable"]),
        ]
        if not right or not all(shows(text, value) for text, value in values):
            wrong.append(f"step {row}")
    return wrong


def _constants(shown: list[list[str]], document: dict[str, Any], scenario: dict[str, Any]) -> list[str]:
    used = [*scenario["snn"]["constants"], *(scenario["ann"] or {"constants": []})["constants"]]
    wrong = []
    for key, (label, tip) in zip(dict.fromkeys(used), shown, strict=True):
        constant = document["constants"][key]
        name, value = constant["name"], constant["value"]
        if not label.startswith(name + " ") or float(
            label.removeprefix(name).replace("\u00a0", " ").split()[0]
        ) != float(f"{value:.6g}"):
            wrong.append(f"constant {label}")
        if not all(str(constant[part]) in tip for part in ("source", "year", "grade")):
            wrong.append(f"provenance {tip}")
    return wrong
