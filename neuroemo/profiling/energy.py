"""Counts times prices: energy per layer and sample, the comparison with an ANN twin, and the break-even.

Synaptic arithmetic is the headline; neuron updates are priced beside it and never added in silence. An
arithmetic-only figure leaves memory, routing and control out: it compares two networks, it is not a bill.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counts import LayerCounts, OpCounts
from neuroemo.profiling.prices import PriceList

MJ_PER_PJ = 1e-9
NEURON_UPDATE = "1 MAC (leak) + 1 AC (compare with the threshold)"
SYNAPSE_WINDOWS = {
    "Dampfhoffer et al., IEEE TETCI 7(3), 2023: an SNN competes at 0.15 to 1.38": (0.15, 1.38),
    "Davidson & Furber, Front. Neurosci. 15:651141, 2021: an SNN wins below 1.72 (12/7)": (0.0, 12 / 7),
}


@dataclass(frozen=True, slots=True)
class EnergyBill:
    """The energy of one layer over all samples and steps, in pJ, with the counts it was made from."""

    kind: str
    acs: int
    macs: int
    dense_macs: int
    neuron_updates: int
    ac_pj: float
    mac_pj: float
    neuron_pj: float
    dense_pj: float
    spikes_per_synapse: float | None

    @property
    def synaptic_pj(self) -> float:
        """Accumulates and multiply-accumulates together."""
        return self.ac_pj + self.mac_pj


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """The priced counts of one network: totals per sample in mJ, per layer in ``layers``.

    ``step_pj`` is the synaptic energy of each step, mean over samples. ``spikes_per_synapse`` is events over
    synapses per inference. ``partial`` names what was not counted: if any, every energy is a lower bound.
    """

    target: str
    precision: str
    scope: str
    ac_price_pj: float
    mac_price_pj: float
    samples: int
    steps: int
    synapses: int
    layers: dict[str, EnergyBill]
    total: EnergyBill
    step_pj: tuple[float, ...]
    partial: tuple[str, ...]

    @property
    def k(self) -> float:
        """E_MAC / E_AC: how many accumulates one multiply-accumulate buys."""
        return self.mac_price_pj / self.ac_price_pj

    @property
    def synaptic_mj(self) -> float:
        """Headline: synaptic operations of one sample, in mJ."""
        return self.total.synaptic_pj / self.samples * MJ_PER_PJ

    @property
    def neuron_mj(self) -> float:
        """Neuron updates of one sample, in mJ; not part of the headline (see ``NEURON_UPDATE``)."""
        return self.total.neuron_pj / self.samples * MJ_PER_PJ

    @property
    def dense_mj(self) -> float:
        """One sample with every connection of every call a MAC, as a dense network computes it, in mJ."""
        return self.total.dense_pj / self.samples * MJ_PER_PJ

    @property
    def spikes_per_synapse(self) -> float | None:
        """Events per synapse and inference, S = events / synapses; None without synapses."""
        return self.total.spikes_per_synapse

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON-ready dictionary."""
        derived = ("k", "synaptic_mj", "neuron_mj", "dense_mj", "spikes_per_synapse")
        return (
            asdict(self)
            | {name: getattr(self, name) for name in derived}
            | {"step_pj": list(self.step_pj), "partial": list(self.partial), "neuron_update": NEURON_UPDATE}
        )


@dataclass(frozen=True, slots=True)
class TwinReport:
    """An SNN beside its ANN twin, arithmetic only, per sample.

    ``ratio`` is E_ANN / E_SNN; ``break_even_steps`` T* = (E_ANN - E_const) / E_step, None if no step costs
    anything; ``break_even_spikes`` the spikes per synapse at which both cost the same.
    """

    snn_mj: float
    snn_with_neurons_mj: float
    ann_mj: float
    ann_zero_skipping_mj: float
    ratio: float | None
    const_mj: float
    step_mj: float
    break_even_steps: float | None
    spikes_per_synapse: float | None
    break_even_spikes: float | None
    k: float
    snn_wins: bool
    snn_wins_with_neurons: bool

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary."""
        return asdict(self)


def energy_of(counts: OpCounts, prices: PriceList, precision: str = "fp32") -> EnergyReport:
    """Price counts: E = acs * E_AC + macs * E_MAC per layer (pJ), neuron updates apart.

    Raises:
        InputError: a precision that the price list does not have, with the ones it has.
    """
    ac, mac = prices.accumulate(precision).value, prices.multiply_accumulate(precision).value
    total = counts.total
    return EnergyReport(
        target=prices.target,
        precision=precision,
        scope=prices.scope,
        ac_price_pj=ac,
        mac_price_pj=mac,
        samples=counts.samples,
        steps=counts.steps,
        synapses=total.synapses,
        layers={name: _bill(layer, ac, mac, counts.samples) for name, layer in counts.layers.items()},
        total=_bill(total, ac, mac, counts.samples),
        step_pj=tuple((total.per_step @ np.array([ac, mac]) / counts.samples).tolist()),
        partial=tuple(counts.partial),
    )


def compare_twins(snn: EnergyReport, ann: EnergyReport) -> TwinReport:
    """Compare an SNN with its ANN twin, which is charged one MAC per connection and pass.

    ``ann_zero_skipping_mj`` charges the ANN only its non-zero inputs, as a sparse accelerator would.

    Raises:
        InputError: reports at different prices.
    """
    if (snn.target, snn.precision) != (ann.target, ann.precision):
        found = f"{snn.target} {snn.precision} and {ann.target} {ann.precision}"
        raise InputError(Finding("E820", "error", "prices", found, "the same prices for both"))
    const, step = constant_and_step(snn.step_pj)
    ann_pj = ann.dense_mj / MJ_PER_PJ
    with_neurons = snn.synaptic_mj + snn.neuron_mj
    events = (ann.total.acs + ann.total.macs) / ann.samples
    return TwinReport(
        snn_mj=snn.synaptic_mj,
        snn_with_neurons_mj=with_neurons,
        ann_mj=ann.dense_mj,
        ann_zero_skipping_mj=events * ann.mac_price_pj * MJ_PER_PJ,
        ratio=ann.dense_mj / snn.synaptic_mj if snn.synaptic_mj else None,
        const_mj=const * MJ_PER_PJ,
        step_mj=step * MJ_PER_PJ,
        break_even_steps=break_even_steps(ann_pj, const, step),
        spikes_per_synapse=snn.spikes_per_synapse,
        break_even_spikes=ann_pj / (snn.ac_price_pj * snn.synapses) if snn.synapses else None,
        k=snn.k,
        snn_wins=snn.synaptic_mj < ann.dense_mj,
        snn_wins_with_neurons=with_neurons < ann.dense_mj,
    )


def break_even_steps(ann: float, const: float, step: float) -> float | None:
    """Return T* = (E_ANN - E_const) / E_step, at which both networks cost the same; None if a step is free.

    >>> round(break_even_steps(1650.48, 33.67, 51.3), 3)  # the paper's "N < 32"
    31.517
    """
    return (ann - const) / step if step > 0 else None


def largest_winning_steps(break_even: float) -> int:
    """Return the largest whole number of steps that costs strictly less than the break-even.

    >>> largest_winning_steps(31.517), largest_winning_steps(31.0)
    (31, 30)
    """
    return math.ceil(break_even) - 1


def constant_and_step(step_pj: tuple[float, ...]) -> tuple[float, float]:
    """Split energies per step into (E_const, E_step): E_step is the mean after the first step.

    The first step may carry gray values, multiply-accumulates in layer one; its surcharge over an ordinary
    step is what does not grow with T: ``E_const = sum - T * E_step``.

    >>> constant_and_step((5.0, 2.0, 2.0))
    (3.0, 2.0)
    """
    later = step_pj[1:] or step_pj
    step = sum(later) / len(later)
    return sum(step_pj) - len(step_pj) * step, step


def precision_ratios(snn: OpCounts, ann: OpCounts, prices: PriceList) -> dict[str, float | None]:
    """Return E_ANN / E_SNN at every precision: the counts stay, only k = E_MAC / E_AC moves."""
    return {
        precision: compare_twins(energy_of(snn, prices, precision), energy_of(ann, prices, precision)).ratio
        for precision in prices.precisions
    }


def _bill(layer: LayerCounts, ac: float, mac: float, samples: int) -> EnergyBill:
    events = layer.acs + layer.macs
    return EnergyBill(
        kind=layer.kind,
        acs=layer.acs,
        macs=layer.macs,
        dense_macs=layer.dense_macs,
        neuron_updates=layer.neuron_updates,
        ac_pj=layer.acs * ac,
        mac_pj=layer.macs * mac,
        neuron_pj=layer.neuron_updates * (mac + ac),
        dense_pj=layer.dense_macs * mac,
        spikes_per_synapse=events / samples / layer.synapses if layer.synapses else None,
    )
