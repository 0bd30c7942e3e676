"""Table II for a network that was run: as printed, by the paper's formulas on its shapes, and as measured.

The formulas (see ``printed_digits``) take every connection as used at every step, or one density s on all of
them. Measured is what the spikes caused: accumulates and multiply-accumulates of every layer and step, energies
in pJ per sample (mean over samples)::

    E(N) = sum over steps n < N of (AC_n E_AC + MAC_n E_MAC);  beyond the last step, its mean later step again

"Later" steps are all but the first where the first frame is gray, i.e. causes multiply-accumulates in the
first layer; otherwise they are all steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.counts import ACS, MACS, SPIKES_IN, LayerCounts, OpCounts
from neuroemo.profiling.priced import MJ_PER_PJ
from neuroemo.profiling.prices import PriceList
from neuroemo.profiling.printed_digits import PRINTED, STEPS_PRINTED

Floats = npt.NDArray[np.float64]

_UJ_PER_PJ = 1e-6
_LABELS = {
    "ann_first_macs": ("first layer, ANN (MAC)", ""),
    "snn_first_acs": ("first layer, SNN, per step", ""),
    "other_ops": ("other layers, per step", ""),
    "step_uj": ("SNN, one step", "uJ"),
    "const_uj": ("SNN, gray first frame", "uJ"),
    "ann_mj": ("ANN", "mJ"),
    "snn_mj_30": (f"SNN, N = {STEPS_PRINTED}", "mJ"),
    "snn_mj_dataset": ("SNN, whole run", "mJ"),
    "break_even_steps": ("SNN below ANN for", ""),
}


def measured_table2(snn: OpCounts, ann: OpCounts, prices: PriceList, precision: str = "fp32") -> dict[str, Any]:
    """Return the rows of Table II for counted networks, JSON-ready; ``ann`` is counted with ``time_first=False``.

    ``rows``: key, label, unit, ``printed`` (the paper's string), ``formula`` and ``measured`` with how each is
    ``shown``, and a ``note``. ``layers``: every layer of the SNN with its own density beside the one density that
    the formula puts on all of them. ``partial`` names what was not counted: if any, measured is a lower bound.

    Raises:
        InputError: a network without synapses, or an ANN with time steps; a precision that is not priced.
    """
    _check(snn, ann)
    ac, mac = prices.accumulate(precision).value, prices.multiply_accumulate(precision).value
    network = _Network(snn, ann, ac, mac)
    found = _values(network)
    notes = _notes(network)
    return {
        "samples": snn.samples,
        "steps": snn.steps,
        "gray_first_frame": network.gray,
        "density": network.density,
        "prices": {"list": prices.target, "precision": precision, "ac_pj": ac, "mac_pj": mac, "k": mac / ac},
        "rows": [_row(key, *found[key], notes.get(key, "")) for key in _LABELS],
        "layers": [_layer_row(network, name, layer) for name, layer in network.layers.items()],
        "steps_pj": network.steps_pj.tolist(),
        "partial": sorted(snn.partial.keys() | ann.partial.keys()),
    }


def _check(snn: OpCounts, ann: OpCounts) -> None:
    findings = [
        Finding("E845", "error", name, "no layer with synapses", "1 or more", fix="count a network that has some")
        for name, counts in (("SNN", snn), ("ANN", ann))
        if not any(map(_evaluated, counts.layers.values()))
    ]
    if ann.steps != 1:
        fix = "count the ANN with time_first=False: its frames are channels of one input"
        findings.append(Finding("E846", "error", "ANN", f"{ann.steps} time steps", "1", str(ann.steps - 1), fix))
    if findings:
        raise InputError(findings)


def _evaluated(layer: LayerCounts) -> bool:
    """Whether a layer has synapses and was called; one that never was has neither shape nor cost."""
    return layer.kind == "synapse" and layer.synapses > 0


@dataclass(frozen=True, slots=True)
class _Network:
    """Both networks with what the formulas take from their shapes, and the SNN's energy along its steps."""

    snn: OpCounts
    ann: OpCounts
    ac: float
    mac: float

    @property
    def layers(self) -> dict[str, LayerCounts]:
        return {name: layer for name, layer in self.snn.layers.items() if _evaluated(layer)}

    @property
    def ann_layers(self) -> list[LayerCounts]:
        return [layer for layer in self.ann.layers.values() if _evaluated(layer)]

    @property
    def first(self) -> LayerCounts:
        return next(iter(self.layers.values()))

    @property
    def others(self) -> list[LayerCounts]:
        return list(self.layers.values())[1:]

    @property
    def gray(self) -> bool:
        """Whether the first frame, and no other, causes multiply-accumulates in the first layer."""
        macs = self.first.table[..., MACS].sum(axis=1)
        return bool(macs[0] > 0 and not macs[1:].any())

    @property
    def later(self) -> slice:
        return slice(1, None) if self.gray and self.snn.steps > 1 else slice(None)

    @property
    def density(self) -> float:
        """Share of the first layer's inputs that hold an event, over the later steps: the paper's 10.79 %."""
        spikes = self.first.table[self.later, :, SPIKES_IN].sum()
        steps = len(range(self.snn.steps)[self.later])
        return float(spikes / (self.first.elements * steps / self.snn.steps))

    def energy(self, layers: list[LayerCounts]) -> Floats:
        """Energy of every step of some layers, mean over samples, pJ [T]."""
        per_step = sum((layer.per_step.astype(np.float64) for layer in layers), np.zeros((self.snn.steps, 2)))
        return np.asarray(per_step @ np.array([self.ac, self.mac]) / self.snn.samples)

    @property
    def steps_pj(self) -> Floats:
        return self.energy(list(self.layers.values()))

    @property
    def later_pj(self) -> float:
        """Mean energy of a later step."""
        return float(self.steps_pj[self.later].mean())

    @property
    def dense_step(self) -> int:
        return sum(layer.synapses for layer in self.layers.values())

    @property
    def formula_const(self) -> float:
        return (self.mac - self.ac) * self.first.synapses if self.gray else 0.0

    @property
    def formula_ann(self) -> float:
        return self.mac * sum(layer.synapses for layer in self.ann_layers)

    @property
    def measured_ann(self) -> float:
        return self.mac * sum(layer.dense_macs for layer in self.ann_layers) / self.ann.samples

    @property
    def measured_const(self) -> float:
        if not self.gray or self.snn.steps == 1:
            return 0.0
        first = self.energy([self.first])
        return float(first[0] - first[self.later].mean())

    def measured_until(self, steps: int) -> float:
        """Energy of the first steps; beyond the last one the mean later step goes on."""
        beyond = max(steps - self.snn.steps, 0)
        return float(self.steps_pj[:steps].sum()) + beyond * self.later_pj


def _values(network: _Network) -> dict[str, tuple[Any, Any]]:
    """Return (formula, measured) of every row, in the row's unit."""
    snn, step = network.snn, network.ac * network.dense_step
    ann_first = network.ann_layers[0]
    first_acs = _per_step(network, [network.first], ACS, network.later)
    others = sum(_per_step(network, network.others, column, slice(None)) for column in (ACS, MACS))
    whole = network.density * step * snn.steps + network.formula_const
    return {
        "ann_first_macs": (ann_first.synapses, ann_first.dense_macs / network.ann.samples),
        "snn_first_acs": (network.first.synapses, first_acs),
        "other_ops": (network.dense_step - network.first.synapses, others),
        "step_uj": (step * _UJ_PER_PJ, network.later_pj * _UJ_PER_PJ),
        "const_uj": (network.formula_const * _UJ_PER_PJ, network.measured_const * _UJ_PER_PJ),
        "ann_mj": (network.formula_ann * MJ_PER_PJ, network.measured_ann * MJ_PER_PJ),
        "snn_mj_30": (
            (step * STEPS_PRINTED + network.formula_const) * MJ_PER_PJ,
            network.measured_until(STEPS_PRINTED) * MJ_PER_PJ,
        ),
        "snn_mj_dataset": (whole * MJ_PER_PJ, network.measured_until(snn.steps) * MJ_PER_PJ),
        "break_even_steps": (
            linear_winning_steps(network.formula_ann, network.formula_const, step),
            winning_steps(network.steps_pj, network.later_pj, network.measured_ann),
        ),
    }


def linear_winning_steps(ann: float, const: float, step: float) -> int | None:
    """Return the largest N with ``step N + const < ann``, at least 0; None if every N wins.

    >>> linear_winning_steps(1650.48, 33.67, 51.3), linear_winning_steps(10.0, 4.0, 2.0), linear_winning_steps(1, 2, 1)
    (31, 2, 0)
    """
    if step <= 0:
        return None if const < ann else 0
    return max(math.ceil((ann - const) / step) - 1, 0)


def winning_steps(steps_pj: Floats, later_pj: float, ann: float) -> int | None:
    """Return the largest N at which a run of N steps costs less than the ANN; None if every N does.

    Within the run the measured steps are summed; beyond it every step costs ``later_pj``.

    >>> winning_steps(np.array([5.0, 1.0, 1.0]), 1.0, 7.0), winning_steps(np.array([5.0, 1.0, 1.0]), 1.0, 9.5)
    (2, 5)
    """
    until = np.cumsum(steps_pj)
    if until[-1] >= ann:
        return int(np.count_nonzero(until < ann))
    further = linear_winning_steps(ann, float(until[-1]), later_pj)
    return None if further is None else len(until) + further


def _per_step(network: _Network, layers: list[LayerCounts], column: int, steps: slice) -> float:
    """Operations of one step and sample, mean over steps and samples."""
    chosen = range(network.snn.steps)[steps]
    total = sum(int(layer.table[steps, :, column].sum()) for layer in layers)
    return total / (len(chosen) * network.snn.samples)


def _notes(network: _Network) -> dict[str, str]:
    snn, first = network.snn, network.ann_layers[0]
    macs = _per_step(network, network.others, MACS, slice(None))
    sparse = network.density * network.ac * network.dense_step
    below = _below(linear_winning_steps(network.formula_ann, network.formula_const, sparse))
    notes = {
        "ann_first_macs": f"{_operations((first.acs + first.macs) / network.ann.samples)} with a non-zero input",
        "snn_first_acs": f"input density {network.density:.2%}",
        "other_ops": f"measured: {_operations(macs)} of them MAC",
        "snn_mj_dataset": f"{snn.steps} steps here, 68 printed; formula: {network.density:.2%} on every layer",
        "break_even_steps": f"formula dense; at {network.density:.2%} on every layer {below}",
    }
    if snn.steps < STEPS_PRINTED:
        notes["snn_mj_30"] = f"formula dense; measured: {snn.steps} steps, continued by its mean later step"
    else:
        notes["snn_mj_30"] = "formula dense"
    if not network.gray:
        notes["const_uj"] = "no gray first frame"
    elif snn.steps == 1:
        notes["const_uj"] = "one step only: nothing to compare the gray frame with"
    return notes


def _row(key: str, formula: Any, measured: Any, note: str) -> dict[str, Any]:
    label, unit = _LABELS[key]
    shown = _below if key == "break_even_steps" else _energy if unit else _operations
    return {
        "key": key,
        "label": label,
        "unit": unit,
        "printed": PRINTED[key],
        "formula": formula,
        "formula_shown": shown(formula),
        "measured": measured,
        "measured_shown": shown(measured),
        "note": note,
    }


def _layer_row(network: _Network, name: str, layer: LayerCounts) -> dict[str, Any]:
    steps, whole = network.snn.steps, slice(None)
    const = network.formula_const if layer is network.first else 0.0
    acs, macs = (_per_step(network, [layer], column, whole) for column in (ACS, MACS))
    return {
        "name": name,
        "dense_per_step": layer.synapses,
        "density": layer.density,
        "acs_per_step": acs,
        "macs_per_step": macs,
        "share_of_dense": (acs + macs) / layer.synapses if layer.synapses else None,
        "formula_pj": network.density * network.ac * layer.synapses * steps + const,
        "measured_pj": float(network.energy([layer]).sum()),
    }


def _operations(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    return f"{value / 1e3:.2f}k" if value >= 1e3 else f"{value:.4g}"


def _energy(value: float) -> str:
    return f"{value:.4g}"


def _below(steps: int | None) -> str:
    return "every N" if steps is None else f"N<{steps + 1}" if steps else "no N"


def measured_table2_text(result: Mapping[str, Any]) -> str:
    """Render the result of ``measured_table2`` as a console table."""
    lines = [f"{'Table II, per sample':<28}{'printed':>9}{'its formulas':>14}{'measured':>12}"]
    lines += [
        f"{row['label']:<28}{row['printed']:>9}{row['formula_shown']:>14}{row['measured_shown']:>12}"
        f"  {row['unit']:<2}  {row['note']}".rstrip()
        for row in result["rows"]
    ]
    lines += ["", f"{'layer':<28}{'density':>9}{'AC/step':>11}{'MAC/step':>11}{'formula uJ':>12}{'measured uJ':>13}"]
    lines += [_layer_line(layer) for layer in result["layers"]]
    prices = result["prices"]
    priced = f"{prices['ac_pj']:g} pJ per AC, {prices['mac_pj']:g} per MAC ({prices['list']}, {prices['precision']})"
    lines += ["", f"{result['samples']} samples of {result['steps']} steps; {priced}; synaptic arithmetic only."]
    if result["partial"]:
        lines.append("PARTIAL, measured is a lower bound; not counted: " + ", ".join(result["partial"]))
    return "\n".join(lines)


def _layer_line(layer: Mapping[str, Any]) -> str:
    density = "-" if layer["density"] is None else f"{layer['density']:.2%}"
    operations = f"{_operations(layer['acs_per_step']):>11}{_operations(layer['macs_per_step']):>11}"
    energies = f"{_energy(layer['formula_pj'] * _UJ_PER_PJ):>12}{_energy(layer['measured_pj'] * _UJ_PER_PJ):>13}"
    return f"{layer['name']:<28}{density:>9}{operations}{energies}"
