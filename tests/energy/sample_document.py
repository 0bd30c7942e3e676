"""A report.json small enough to check by hand: two layers with their neurons, four steps, three clips.

Every count follows from the shapes; the arithmetic energies are counts times 0.9 and 4.6 pJ (fp32) or 0.03 and
0.23 pJ (int8). Memory energies are round numbers that sum up, not a model's. Intervals: mean +- 4.302653 s / sqrt(3).
Break-even: step one spent 12 add + 300 mac, steps two to four 36 add each, all over 3 clips.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

NASTY = "<script>alert('x')</script> & \"joy\""
LATEX_NASTY = "100% a_b #1 $x$ {y} ~z^2 \\end{table} µ é 悲しみ"


def _layer(name: str, kind: str, type_: str, **given: Any) -> dict[str, Any]:
    layer: dict[str, Any] = {
        "name": name, "kind": kind, "type": type_, "input_shape": None, "output_shape": None, "acs": 0, "macs": 0,
        "dense_macs": 0, "spikes_in": 0, "spikes_out": 0, "neuron_updates": 0, "synapses": 0, "weights": 0,
        "density": None, "events_per_synapse": None, "rule": None,
        "per_step": {key: [0, 0, 0, 0] for key in ("acs", "macs", "spikes_in", "spikes_out")},
        "mean": {"acs": 0.0, "macs": 0.0}, "low": {"acs": 0.0, "macs": 0.0}, "high": {"acs": 0.0, "macs": 0.0},
    }  # fmt: skip
    per_step = layer["per_step"] | given.pop("per_step", {})
    return layer | given | {"per_step": per_step}


def _deployed() -> dict[str, Any]:
    # conv1: 3x3, padding 1, 2 -> 2 channels on 4x4: (2+3+3+2)^2 * 2 * 2 = 400 synapses; fc: 32 -> 2.
    layers = [
        _layer(
            "conv1", "synapse", "Conv2d", input_shape=[2, 4, 4], output_shape=[2, 4, 4], acs=240, macs=300,
            dense_macs=4800, spikes_in=36, synapses=400, weights=36, density=36 / 384, events_per_synapse=0.45,
            per_step={"acs": [0, 120, 60, 60], "macs": [300, 0, 0, 0], "spikes_in": [20, 8, 4, 4]},
            mean={"acs": 80.0, "macs": 100.0}, low={"acs": 55.1586, "macs": 75.1586},
            high={"acs": 104.8414, "macs": 124.8414},
        ),
        _layer(
            "conv1.neurons", "neuron", "IFNode", output_shape=[2, 4, 4], spikes_out=48, neuron_updates=384,
            rule="IF: 0 MAC + 1 AC per update, 1 AC per reset", per_step={"spikes_out": [6, 12, 18, 12]},
        ),
        _layer(
            "fc", "synapse", "Linear", input_shape=[32], output_shape=[2], acs=96, dense_macs=768, spikes_in=48,
            synapses=64, weights=64, density=0.125, events_per_synapse=0.5,
            per_step={"acs": [12, 24, 36, 24], "spikes_in": [6, 12, 18, 12]},
            mean={"acs": 32.0, "macs": 0.0}, low={"acs": 22.06344, "macs": 0.0}, high={"acs": 41.93656, "macs": 0.0},
        ),
        _layer(
            "fc.neurons", "neuron", "LIFNode", output_shape=[2], spikes_out=9, neuron_updates=24,
            rule="LIF: 1 MAC + 1 AC per update", per_step={"spikes_out": [0, 2, 4, 3]},
        ),
    ]  # fmt: skip
    total = _layer(
        "total", "synapse", "total", acs=336, macs=300, dense_macs=5568, spikes_in=84, spikes_out=57,
        neuron_updates=408, synapses=464, weights=100, density=84 / 768, events_per_synapse=636 / 3 / 464,
        per_step={"acs": [12, 144, 96, 84], "macs": [300, 0, 0, 0], "spikes_in": [26, 20, 22, 16],
                  "spikes_out": [6, 14, 22, 15]},
        mean={"acs": 112.0, "macs": 100.0}, low={"acs": 77.222, "macs": 75.1586},
        high={"acs": 146.778, "macs": 124.8414},
    )  # fmt: skip
    covered = {"pool1": {"type": "AvgPool2d", "rule": "averaging folded into the next weights", "elements": 384}}
    return {
        "title": "on the chip", "samples": 3, "steps": 4, "partial": {}, "covered": covered, "notes": {},
        "total": total, "layers": layers,
    }  # fmt: skip


def _trained() -> dict[str, Any]:
    """The network before folding: what an average pool made graded costs multiply-accumulates at fc."""
    network = _deployed()
    fc, total = network["layers"][2], network["total"]
    fc |= {"acs": 36, "macs": 60, "mean": {"acs": 12.0, "macs": 20.0}, "low": None, "high": None}
    fc["per_step"] |= {"acs": [0, 0, 12, 24], "macs": [12, 24, 24, 0]}
    total |= {"acs": 276, "macs": 360, "mean": {"acs": 92.0, "macs": 120.0}, "low": None, "high": None}
    total["per_step"] |= {"acs": [0, 120, 72, 84], "macs": [312, 24, 24, 0]}
    return network | {"title": "as trained", "notes": {"conv1": f"one call for all steps; {NASTY}"}}


def _ann() -> dict[str, Any]:
    def dense(name: str, type_: str, synapses: int, **more: Any) -> dict[str, Any]:
        zeros = {key: [0] for key in ("acs", "macs", "spikes_in", "spikes_out")}
        cost = {"macs": synapses * 3, "dense_macs": synapses * 3, "synapses": synapses}
        same = {"acs": 0.0, "macs": float(synapses)}
        return _layer(name, "synapse", type_, **cost, per_step=zeros | {"macs": [synapses * 3]}, mean=same, low=same,
                      high=same, density=1.0, events_per_synapse=1.0, **more)  # fmt: skip

    layers = [
        dense("conv1", "Conv2d", 800, input_shape=[4, 4, 4], output_shape=[2, 4, 4], weights=72, spikes_in=192),
        dense("fc", "Linear", 64, input_shape=[32], output_shape=[2], weights=64, spikes_in=96),
    ]
    total = dense("total", "total", 864, weights=136, spikes_in=288)
    return {
        "title": "the ANN twin", "samples": 3, "steps": 1, "partial": {}, "covered": {}, "notes": {}, "total": total,
        "layers": layers,
    }  # fmt: skip


def _side(layers: dict[str, dict[str, float]], low: float | None, high: float | None, constants: list[str]) -> Any:
    parts: dict[str, float] = {}
    for layer in layers.values():
        for part, value in layer.items():
            parts[part] = parts.get(part, 0.0) + value
    return {
        "total_pj": sum(parts.values()), "low_pj": low, "high_pj": high, "parts_pj": parts, "layers_pj": layers,
        "assumptions": ["neuron updates, memory and routing are not in the number"], "constants": constants,
        "partial": [],
    }  # fmt: skip


def _halved_and_doubled(constant: str, add: float, mult: float, which: int) -> dict[str, Any]:
    """The ratio 864 (add + mult) / (112 add + 100 (add + mult)) exceeds 1 at any price: nothing flips it."""

    def ratio(factor: float) -> float:
        one, two = (add * factor, mult) if which == 0 else (add, mult * factor)
        return 864 * (one + two) / (112 * one + 100 * (one + two))

    return {"constant": constant, "value": (add, mult)[which], "halved": ratio(0.5), "doubled": ratio(2.0),
            "flips_at": None}  # fmt: skip


def _arithmetic(precision: str, add: float, mult: float, interval: tuple[float, float]) -> dict[str, Any]:
    ids, mac = [f"cmos45:arithmetic.{precision}.{row}" for row in ("add", "mult")], add + mult
    conv1 = {"accumulates": 80 * add, "multiply-accumulates": 100 * mac}
    snn = _side({"conv1": conv1, "fc": {"accumulates": 32 * add}}, *interval, ids)
    ann = _side(
        {"conv1": {"multiply-accumulates": 800 * mac}, "fc": {"multiply-accumulates": 64 * mac}},
        864 * mac, 864 * mac, ids,
    )  # fmt: skip
    spent, dense = snn["total_pj"], 864 * mac
    acs, curve = [12, 144, 96, 84], []
    for step in range(4):
        curve.append((sum(acs[: step + 1]) * add + 300 * mac) / 3)
    return {
        "id": f"arithmetic/cmos45/{precision}", "model": "arithmetic", "prices": "cmos45", "precision": precision,
        "snn": snn, "ann": ann, "ratio": dense / spent, "ratio_low": dense / interval[1],
        "ratio_high": dense / interval[0], "verdict": "snn",
        "words": f"At {precision} and 45 nm prices the SNN needs {dense / spent:.2f} times less energy than its ANN, "
        "synaptic arithmetic only.",
        "break_even_steps": (764 * mac + 32 * add) / (36 * add), "curve": {"snn_pj": curve, "ann_pj": dense},
        "spikes_per_synapse": 212 / 464, "break_even_spikes_per_synapse": 212 / 464 * dense / spent,
        "spike_rate": 57 / 408, "mac_per_ac": mac / add,
        "sensitivity": [_halved_and_doubled(ids[0], add, mult, 0), _halved_and_doubled(ids[1], add, mult, 1)],
        "choices": [
            {"choice": "time steps", "changed_to": "8", "ratio": 2.5, "verdict": "snn", "reason": None},
            {"choice": "ANN baseline", "changed_to": "one dense pass per frame", "ratio": 0.8, "verdict": "ann",
             "reason": None},
            {"choice": "counting policy", "changed_to": "<as trained>", "ratio": None, "verdict": "undecided",
             "reason": "conv1: no shape"},
        ],
        "reason": None,
    }  # fmt: skip


def _memory() -> dict[str, Any]:
    """The same networks under a model of memory: the interval of the ratio includes 1."""
    ids = ["cmos45:arithmetic.int8.add", "cmos45:arithmetic.int8.mult", "cmos45:memory.sram_8kb"]
    snn = {
        "conv1": {"accumulates": 2.4, "multiply-accumulates": 23.0, "weight reads": 1600.0, "potential reads": 1700.0,
                  "potential writes": 1700.0, "spike queue": 168.6, "addressing": 6.0},
        "fc": {"accumulates": 0.96, "weight reads": 350.0, "potential reads": 300.0, "potential writes": 300.0,
               "spike queue": 45.04, "addressing": 4.0},
    }  # fmt: skip
    ann = {
        "conv1": {"multiply-accumulates": 184.0, "weight reads": 2500.0, "input reads": 2716.0},
        "fc": {"multiply-accumulates": 14.72, "weight reads": 200.0, "input reads": 385.28},
    }
    return {
        "id": "lemaire/cmos45/int8", "model": "lemaire", "prices": "cmos45", "precision": "int8",
        "snn": _side(snn, 5000.0, 7400.0, ids), "ann": _side(ann, 6000.0, 6000.0, ids[1:]), "ratio": 6000 / 6200,
        "ratio_low": 6000 / 7400, "ratio_high": 1.2, "verdict": "undecided",
        "words": "With memory, SNN and ANN cannot be told apart on these clips.", "break_even_steps": 3 + 1100 / 1300,
        "curve": {"snn_pj": [2000.0, 3500.0, 4900.0, 6200.0], "ann_pj": 6000.0}, "spikes_per_synapse": 212 / 464,
        "break_even_spikes_per_synapse": 212 / 464 * 30 / 31, "spike_rate": 57 / 408, "mac_per_ac": 0.23 / 0.03,
        "sensitivity": [
            {"constant": ids[2], "value": 10.0, "halved": 1.1, "doubled": 0.9, "flips_at": 0.8},
            {"constant": ids[0], "value": 0.03, "halved": 0.968, "doubled": 0.967, "flips_at": None},
        ],
        "choices": [],
        "reason": None,
    }  # fmt: skip


def _chip() -> dict[str, Any]:
    """212 synaptic operations and 136 neuron updates of a clip, 23.6 and 81 pJ each."""
    layers = {
        "conv1": {"synaptic operations": 180 * 23.6}, "conv1.neurons": {"neuron updates": 128 * 81.0},
        "fc": {"synaptic operations": 32 * 23.6}, "fc.neurons": {"neuron updates": 8 * 81.0},
    }  # fmt: skip
    ids = ["loihi1:events.synaptic_operation", "loihi1:events.neuron_update"]
    return {
        "id": "per-event/loihi1/native", "model": "per-event", "prices": "loihi1", "precision": "native",
        "snn": _side(layers, 14612.2, 17426.2, ids), "ann": None, "ratio": None, "ratio_low": None,
        "ratio_high": None, "verdict": "none", "words": "On Loihi the SNN needs 16.0 nJ per clip, by simulation.",
        "break_even_steps": None, "curve": {"snn_pj": [5208.4, 9095.2, 12604.4, 16019.2], "ann_pj": None},
        "spikes_per_synapse": 212 / 464, "break_even_spikes_per_synapse": None, "spike_rate": 57 / 408,
        "mac_per_ac": None, "sensitivity": [], "choices": [], "reason": "no figure of the same grade for the twin",
    }  # fmt: skip


def _constants() -> dict[str, Any]:
    horowitz = {"high": None, "unit": "pJ", "source": "Horowitz, ISSCC 2014, Fig. 1.1.9", "year": 2014,
                "grade": "published", "grade_text": "printed in the source; rough, no wires and no control",
                "node_nm": 45, "voltage_v": 0.9, "note": None}  # fmt: skip
    loihi = horowitz | {"source": "Davies et al., IEEE Micro 38(1), 2018, Table 2", "year": 2018, "grade": "simulated",
                        "grade_text": "pre-silicon simulation", "node_nm": 14, "voltage_v": 0.75}  # fmt: skip
    rows = {
        "cmos45:arithmetic.fp32.add": horowitz | {"value": 0.9},
        "cmos45:arithmetic.fp32.mult": horowitz | {"value": 3.7},
        "cmos45:arithmetic.int8.add": horowitz | {"value": 0.03},
        "cmos45:arithmetic.int8.mult": horowitz | {"value": 0.2},
        "cmos45:memory.sram_8kb": horowitz | {"value": 10.0, "note": "=64-bit access"},
        "cmos45:memory.dram": horowitz | {"value": 1300.0, "high": 2600.0},
        "loihi1:events.synaptic_operation": loihi | {"value": 23.6, "note": "the minimum"},
        "loihi1:events.neuron_update": loihi | {"value": 81.0},
    }
    return {key: {"name": key.split(":")[1]} | row for key, row in rows.items()}


def _decision() -> dict[str, Any]:
    energies = (463.6, 506.8, 535.6, 560.8)
    rows = zip((1 / 3, 1 / 3, 2 / 3, 2 / 3), (0.0, 1 / 3, 2 / 3, 1.0), energies, strict=True)
    return {
        "steps": [
            {"step": step, "accuracy": accuracy, "stable": stable, "energy_pj": energy}
            for step, (accuracy, stable, energy) in enumerate(rows, start=1)
        ],
        "oracle": {"steps": 3.0, "energy_pj": 535.0, "accuracy": 2 / 3},
        "rules": [{"same_answer": 2, "steps": 3.5, "energy_pj": 545.0, "accuracy": 2 / 3}],
        "scenario": "arithmetic/cmos45/fp32",
    }


def sample_document() -> dict[str, Any]:
    """Return the document; each call a fresh copy."""
    document: dict[str, Any] = {
        "schema": 1, "kind": "energy", "title": f"Energy of {NASTY}", "tool": {"name": "neuroemo", "version": "0.1.0"},
        "command": "neuroemo energy runs/demo/snn --data 'a & b_c.h5'",
        "source": {
            "model": "runs/demo/snn", "form": "checkpoint", "network": "0.4snn@48", "data": "=a & b_c.h5",
            "split": "test", "clips": 3, "steps": 4, "first_frame": "float",
            "accuracy": {"correct": 2, "clips": 3, "low": 0.2077, "high": 0.9385}, "labels": [NASTY, LATEX_NASTY],
        },
        "policy": {
            "events": "an input element equal to 1 or -1: its exact fan-out in accumulates (AC)",
            "graded": "any other non-zero element: its exact fan-out in multiply-accumulates (MAC), per element",
            "zeros": "zero inputs cost nothing; zero weights are not skipped",
            "borders": "taps on zero padding are not counted",
            "neurons": "updates are counted per neuron and step, apart from synaptic operations",
            "batch_norm": "folded into the weights: no operation",
            "pooling": "averaging is part of the next weights: every input of the pool costs the fan-out it has "
            "through it",
        },
        "networks": {"deployed": _deployed(), "trained": _trained(), "ann": _ann()},
        "scenarios": [
            _arithmetic("fp32", 0.9, 3.7, (415.2295, 706.3705)),
            _arithmetic("int8", 0.03, 0.2, (19.60315, 33.11685)),
            _memory(),
            _chip(),
        ],
        "default_scenario": "arithmetic/cmos45/fp32",
        "constants": _constants(),
        "models": {
            "arithmetic": {"title": "Arithmetic", "scope": "synaptic operations only: no neurons, memory, routing",
                           "citation": "Horowitz, M. Computing's energy problem (and what we can do about it). ISSCC "
                           "2014, pp. 10-14.", "url": ""},
            "lemaire": {"title": "Lemaire et al. 2022", "scope": "arithmetic, memory and addressing",
                        "citation": "Lemaire, E. et al. An Analytical Estimation of Spiking Neural Networks Energy "
                        "Efficiency. ICONIP 2022, arXiv:2210.13107.", "url": "https://arxiv.org/abs/2210.13107"},
            "per-event": {"title": "Per event", "scope": "a chip's own figures per event", "citation": "", "url": ""},
        },
        "price_lists": {
            "cmos45": {"name": "45 nm CMOS, 0.9 V", "kind": "arithmetic", "scope": "arithmetic only, never a bill"},
            "loihi1": {"name": "Loihi", "kind": "events", "scope": "pre-silicon simulation, a lower bound"},
        },
        "decision": _decision(),
        "findings": [
            {"code": "W880", "severity": "warning", "node": "yan", "found": f"no price of a compare; {NASTY}",
             "limit": "", "over": "", "fix": "take another price list"},
        ],
        "citation": "@software{neuroemo,\n  title = {NeuroEmo},\n  version = {0.1.0}\n}",
        "latex": "\\begin{table}\n\\end{table}",
    }  # fmt: skip
    return copy.deepcopy(document)


def partial_document() -> dict[str, Any]:
    """Return the document of a network of which one module could not be counted."""
    document = sample_document()
    document["networks"]["deployed"]["partial"] = {"attention<b>": "no rule for this module"}
    for scenario in document["scenarios"]:
        scenario["snn"]["partial"] = ["attention<b>"]
    return document


def larger_document() -> dict[str, Any]:
    """Return a report of a real count: three layers of synapses, six steps, five clips, every model and two chips."""
    return copy.deepcopy(_larger_document())


@cache
def _larger_document() -> dict[str, Any]:
    from types import SimpleNamespace

    import numpy as np
    import torch
    from spikingjelly.activation_based import layer, neuron
    from torch import nn

    from neuroemo.energy.document import build_document
    from neuroemo.energy.measure import Measured
    from neuroemo.profiling import count_operations, load_prices
    from neuroemo.profiling.energy import MODELS

    torch.manual_seed(5)
    snn = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, step_mode="m"), neuron.IFNode(v_threshold=0.2, step_mode="m"),
        layer.Conv2d(4, 4, 3, stride=2, step_mode="m"), neuron.LIFNode(v_threshold=0.1, step_mode="m"),
        layer.Flatten(step_mode="m"), layer.Linear(36, 3, step_mode="m"), neuron.IFNode(v_threshold=0.1, step_mode="m"),
    ).eval()  # fmt: skip
    ann = nn.Sequential(
        nn.Conv2d(12, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(36, 3),
    ).eval()  # fmt: skip
    clips = (torch.rand(6, 5, 2, 8, 8) < 0.2).float()
    clips[0] = torch.rand(5, 2, 8, 8)  # a gray first frame
    with torch.no_grad():
        votes = snn(clips).cumsum(0).numpy()
    for module in snn:
        if hasattr(module, "reset"):
            module.reset()
    measured = Measured(
        count_operations(snn, [clips]), {"deployed": "as it runs", "ann": "the ANN twin"},
        ann=count_operations(ann, [clips.transpose(0, 1).flatten(1, 2)], time_first=False),
        answers=votes.argmax(axis=-1).astype(np.int64),
    )  # fmt: skip
    source = SimpleNamespace(
        model="model.py:network", form="module", network="three layers", data="clips.npy", split=None,
        first_frame="float", positions=np.arange(5), classes=(NASTY, LATEX_NASTY, "c"),
        labels=np.array([0, 1, 2, 0, 1]), findings=(),
    )  # fmt: skip
    lists = [load_prices(name) for name in ("cmos45", "loihi1", "truenorth")]
    return build_document(source, measured, lists, list(MODELS.values()), command="neuroemo energy model.py:network")  # type: ignore[arg-type]
