"""A large report.json, 9 layers with their neurons over 68 steps, with labels that try to break the page.

Counts are drawn at random; arithmetic energies follow from them and the prices by the definition of the model. The
memory parts are drawn too: the page has to show them, not to believe them.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

STEPS, CLIPS = 68, 240
ADD_MULT = {"int8": (0.03, 0.2), "int32": (0.1, 3.1), "fp16": (0.4, 1.1), "fp32": (0.9, 3.7)}
MODELS = ("arithmetic", "arithmetic+neurons", "lemaire", "yan", "davidson")
NAMES = (
    "features.0", "features.3", "</script><script>window.broken=1</script>", "block.attention.\"quoted\" & 'single'",
    "طبقة_عصبية", "a_name_that_never_ends." * 6, "features.14", "__proto__", "voting",
)  # fmt: skip
SCALED = "cmos45@14HP-0.80V"
FACTORS = {"cmos45": 1.0, SCALED: 0.138}


def _network(draw: random.Random) -> dict[str, Any]:
    layers: list[dict[str, Any]] = []
    size = 64
    for index, name in enumerate(NAMES):
        synapses = draw.randrange(20_000, 900_000)
        elements = 2 * size * size
        size = max(2, size - 7)
        rate = draw.uniform(0.02, 0.2)
        spikes = [round(elements * CLIPS * rate * draw.uniform(0.5, 1.5)) for _ in range(STEPS)]
        acs = [round(spike * synapses / elements) for spike in spikes]
        macs = [0] * STEPS
        if index == 0:
            macs[0], acs[0] = acs[0], 0
        layers.append(_layer(name, "synapse", "Conv2d", synapses, acs, macs, spikes, [0] * STEPS, elements))
        neurons = 16 * size * size
        fired = [round(neurons * CLIPS * draw.uniform(0.0, 0.3)) for _ in range(STEPS)]
        layers.append(_neurons(f"{name}.neurons", neurons, fired))
    return _whole("on the chip", layers, STEPS)


def _layer(
    name: str, kind: str, type_: str, synapses: int, acs: list[int], macs: list[int], into: list[int],
    out: list[int], elements: int,
) -> dict[str, Any]:  # fmt: skip
    steps = len(acs)
    mean = {"acs": sum(acs) / CLIPS, "macs": sum(macs) / CLIPS}
    return {
        "name": name, "kind": kind, "type": type_, "input_shape": [2, 64, 64], "output_shape": [16, 57, 57],
        "acs": sum(acs), "macs": sum(macs), "dense_macs": synapses * steps * CLIPS, "spikes_in": sum(into),
        "spikes_out": sum(out), "neuron_updates": 0, "synapses": synapses, "weights": 288,
        "density": sum(into) / (elements * steps * CLIPS) if elements else None,
        "events_per_synapse": (sum(acs) + sum(macs)) / CLIPS / synapses if synapses else None, "rule": None,
        "per_step": {"acs": acs, "macs": macs, "spikes_in": into, "spikes_out": out}, "mean": mean,
        "low": {key: 0.95 * value for key, value in mean.items()},
        "high": {key: 1.05 * value for key, value in mean.items()},
    }  # fmt: skip


def _neurons(name: str, neurons: int, fired: list[int]) -> dict[str, Any]:
    none = [0] * STEPS
    layer = _layer(name, "neuron", "LIFNode", 0, none, none, none, fired, 0)
    rule = "LIF: 1 MAC + 1 AC per update"
    return layer | {"neuron_updates": neurons * STEPS * CLIPS, "rule": rule, "dense_macs": 0}


def _whole(title: str, layers: list[dict[str, Any]], steps: int) -> dict[str, Any]:
    def summed(key: str) -> list[int]:
        return [sum(layer["per_step"][key][step] for layer in layers) for step in range(steps)]

    synapses = sum(layer["synapses"] for layer in layers)
    total = _layer("total", "synapse", "total", synapses, summed("acs"), summed("macs"), summed("spikes_in"),
                   summed("spikes_out"), 100_000)  # fmt: skip
    total["neuron_updates"] = sum(layer["neuron_updates"] for layer in layers)
    return {"title": title, "samples": CLIPS, "steps": steps, "partial": {}, "covered": {}, "notes": {},
            "total": total, "layers": layers}  # fmt: skip


def _ann(network: dict[str, Any]) -> dict[str, Any]:
    layers = [
        _layer(layer["name"], "synapse", "Conv2d", layer["synapses"], [0], [layer["synapses"] * CLIPS], [1], [0], 1)
        for layer in network["layers"]
        if layer["kind"] == "synapse"
    ]
    return _whole("the ANN twin", layers, 1)


def _side(layers: dict[str, dict[str, float]], spread: float, constants: list[str]) -> dict[str, Any]:
    parts: dict[str, float] = {}
    for layer in layers.values():
        for part, value in layer.items():
            parts[part] = parts.get(part, 0.0) + value
    total = sum(parts.values())
    return {
        "total_pj": total, "low_pj": total * (1 - spread) if spread else None,
        "high_pj": total * (1 + spread) if spread else None, "parts_pj": parts, "layers_pj": layers,
        "assumptions": ["weights are read once per event"], "constants": constants, "partial": [],
    }  # fmt: skip


def _scenario(draw: random.Random, networks: dict[str, Any], model: str, prices: str, precision: str) -> dict[str, Any]:
    add, mult = (price * FACTORS[prices] for price in ADD_MULT[precision])
    ids = [f"{prices}:arithmetic.{precision}.{row}" for row in ("add", "mult")]
    snn: dict[str, dict[str, float]] = {}
    ann: dict[str, dict[str, float]] = {}
    neuron_step = 0.0
    for layer in networks["deployed"]["layers"]:
        if layer["kind"] == "neuron":
            if model != "arithmetic":
                snn[layer["name"]] = {"neuron updates": layer["neuron_updates"] / CLIPS * (2 * add + mult)}
                neuron_step += snn[layer["name"]]["neuron updates"] / STEPS
            continue
        snn[layer["name"]] = {"accumulates": layer["acs"] / CLIPS * add}
        if layer["macs"]:
            snn[layer["name"]]["multiply-accumulates"] = layer["macs"] / CLIPS * (add + mult)
        ann[layer["name"]] = {"multiply-accumulates": layer["synapses"] * (add + mult)}
        if model in ("lemaire", "yan", "davidson"):
            for part in ("weight reads", "potential reads", "potential writes", "addressing"):
                snn[layer["name"]][part] = draw.uniform(0.2, 3) * layer["acs"] / CLIPS
            ann[layer["name"]]["weight reads"] = draw.uniform(0.2, 9) * layer["synapses"]
    one, two = _side(snn, 0.07, ids), _side(ann, 0.0, ids)
    counts = networks["deployed"]["total"]["per_step"]
    flat = sum(one["parts_pj"].values()) / STEPS
    curve, spent = [], 0.0
    for acs, macs in zip(counts["acs"], counts["macs"], strict=True):
        spent += (acs * add + macs * (add + mult)) / CLIPS + neuron_step if model.startswith("arith") else flat
        curve.append(spent)
    ratio = two["total_pj"] / one["total_pj"]
    verdict = "snn" if ratio / 1.07 > 1 else "ann" if ratio * 1.07 < 1 else "undecided"
    return {
        "id": f"{model}/{prices}/{precision}", "model": model, "prices": prices, "precision": precision, "snn": one,
        "ann": two, "ratio": ratio, "ratio_low": ratio / 1.07, "ratio_high": ratio * 1.07, "verdict": verdict,
        "words": f"With the model {model} at {precision} prices of {prices}, the ANN needs {ratio:.3g} times what the "
        f"SNN needs, mean of {CLIPS} clips of {STEPS} steps.",
        "break_even_steps": STEPS * ratio, "curve": {"snn_pj": curve, "ann_pj": two["total_pj"]},
        "spikes_per_synapse": networks["deployed"]["total"]["events_per_synapse"],
        "break_even_spikes_per_synapse": 5.1, "spike_rate": networks["deployed"]["total"]["density"],
        "mac_per_ac": (add + mult) / add,
        "sensitivity": [
            {"constant": ids[0], "value": add, "halved": ratio * 1.8, "doubled": ratio / 1.7, "flips_at": 1.31},
            {"constant": ids[1], "value": mult, "halved": ratio / 1.2, "doubled": ratio * 1.3, "flips_at": None},
        ],
        "choices": [
            {"choice": "time steps", "changed_to": str(2 * STEPS), "ratio": ratio / 2.1, "verdict": "ann",
             "reason": None},
            {"choice": "ANN baseline", "changed_to": "one dense pass per frame", "ratio": ratio * 5,
             "verdict": "snn", "reason": None},
            {"choice": "counting policy", "changed_to": "as <trained>", "ratio": None, "verdict": "undecided",
             "reason": "no rule & no <b>price</b>"},
        ],
        "reason": None,
    }  # fmt: skip


def _chip(networks: dict[str, Any], prices: str, price: float) -> dict[str, Any]:
    total = networks["deployed"]["total"]
    layers = {
        layer["name"]: {"synaptic operations": (layer["acs"] + layer["macs"]) / CLIPS * price}
        for layer in networks["deployed"]["layers"]
        if layer["kind"] == "synapse"
    }
    return {
        "id": f"per-event/{prices}/native", "model": "per-event", "prices": prices, "precision": "native",
        "snn": _side(layers, 0.05, [f"{prices}:events.synaptic_operation"]), "ann": None, "ratio": None,
        "ratio_low": None, "ratio_high": None, "verdict": "none", "words": f"On {prices}, by its own figure per event.",
        "break_even_steps": None, "curve": {"snn_pj": _running(total, price), "ann_pj": None},
        "spikes_per_synapse": total["events_per_synapse"], "break_even_spikes_per_synapse": None,
        "spike_rate": total["density"], "mac_per_ac": None, "sensitivity": [], "choices": [],
        "reason": "no figure of the same grade for the twin",
    }  # fmt: skip


def _warning(code: str, node: str, found: str) -> dict[str, str]:
    return {"code": code, "severity": "warning", "node": node, "found": found, "limit": "", "over": "", "fix": ""}


def _running(total: dict[str, Any], price: float) -> list[float]:
    spent = itertools.accumulate(map(sum, zip(total["per_step"]["acs"], total["per_step"]["macs"], strict=True)))
    return [operations / CLIPS * price for operations in spent]


def _constants(scenarios: list[dict[str, Any]]) -> dict[str, Any]:
    rows = {}
    for scenario in scenarios:
        for key in scenario["snn"]["constants"]:
            name = key.split(":", 1)[1]
            values = {row["constant"]: row["value"] for row in scenario["sensitivity"]}
            rows[key] = {
                "name": name, "value": values.get(key, 23.6), "high": None, "unit": "pJ",
                "source": 'Horowitz, "Computing\'s energy problem", ISSCC <2014>', "year": 2014, "grade": "published",
                "grade_text": "printed in the source", "node_nm": 45, "voltage_v": 0.9, "note": None,
            }  # fmt: skip
    return rows


def _decision(scenario: dict[str, Any]) -> dict[str, Any]:
    curve = scenario["curve"]["snn_pj"]
    steps = [
        {"step": step, "accuracy": 0.9 - 0.55 * 0.9**step, "stable": min(1.0, step / 60), "energy_pj": curve[step - 1]}
        for step in range(1, STEPS + 1)
    ]
    rules = [
        {"same_answer": 3, "steps": 14.25, "energy_pj": curve[13], "accuracy": 0.81},
        {"same_answer": 8, "steps": 27.5, "energy_pj": curve[26], "accuracy": 0.872},
    ]
    oracle = {"steps": 9.75, "energy_pj": curve[9], "accuracy": 0.9}
    return {"steps": steps, "oracle": oracle, "rules": rules, "scenario": scenario["id"]}


def large_document(seed: int = 5) -> dict[str, Any]:
    """Return the document: 33 scenarios with an ANN and two chips without."""
    draw = random.Random(seed)
    deployed = _network(draw)
    networks = {"deployed": deployed, "trained": None, "ann": _ann(deployed)}
    scenarios = [
        _scenario(draw, networks, model, prices, precision)
        for prices in FACTORS
        for model in MODELS
        for precision in ADD_MULT
        if model != "davidson" or precision == "int8"
    ]
    scenarios += [_chip(networks, "loihi1", 23.6), _chip(networks, "truenorth", 26.0)]
    titles = {model: f"{model.capitalize()} <b>model</b>" if model == "yan" else model.capitalize() for model in MODELS}
    lists = {
        "cmos45": ("45 nm CMOS, 0.9 V", "arithmetic"), SCALED: ("14 nm HP, 0.80 V, scaled", "arithmetic"),
        "loihi1": ("Loihi", "events"), "truenorth": ("TrueNorth", "events"), "loihi2": ("Loihi 2", "unpublished"),
    }  # fmt: skip
    return {
        "schema": 1, "kind": "energy", "title": "Energy of runs/<emotion> & \"friends\"",
        "tool": {"name": "neuroemo", "version": "0.1.0"},
        "command": "neuroemo energy runs/demo/snn --data 'a & b.h5' --nodes 14HP-0.80V --energy-model all",
        "source": {
            "model": "runs/demo/snn", "form": "checkpoint", "network": "0.4snn@64", "data": "runs/demo/events.h5",
            "split": "test", "clips": CLIPS, "steps": STEPS, "first_frame": "float",
            "accuracy": {"correct": 210, "clips": CLIPS, "low": 0.8275, "high": 0.9107},
            "labels": ["<script>window.broken=2</script>", "مبتهج", "it's \"fine\" & well"],
        },
        "policy": {"events": "0/1 and ±1 inputs: accumulates", "batch_norm": "folded into the weights"},
        "networks": networks, "scenarios": scenarios, "default_scenario": "arithmetic/cmos45/fp32",
        "constants": _constants(scenarios),
        "models": {
            **{model: {"title": titles[model], "scope": f"what {model} includes", "citation": f"{model} et al., 2022",
                       "url": ""} for model in MODELS},
            "per-event": {"title": "Per event", "scope": "a chip's own figures", "citation": "", "url": ""},
        },
        "price_lists": {key: {"name": name, "kind": kind, "scope": f"{kind} figures"}
                        for key, (name, kind) in lists.items()},
        "decision": _decision(scenarios[3]),
        "findings": [
            _warning("W880", "davidson/cmos45/int32,fp16,fp32", "not priced: its <unit> is a 32-bit add"),
            _warning("W881", "per-event/loihi2", "no energy per operation is published"),
        ],
        "citation": "@software{neuroemo,\n  title = {NeuroEmo},\n  version = {0.1.0}\n}",
        "latex": "\\begin{table}\n  \\caption{SNN & ANN <default>}\n\\end{table}",
    }  # fmt: skip
