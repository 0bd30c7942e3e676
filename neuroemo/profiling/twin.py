"""An SNN beside its ANN twin under one energy model: the ratio, its interval, the break-evens and a verdict in words.

Ratio r = E_ANN / E_SNN of the means over samples, its 95 % interval by Fieller. Break-even steps T* are where the
cumulative energy of the SNN along the steps reaches E_ANN; beyond the T steps that were run it goes on in a line::

    E(T) = E_const + T E_step,  E_step = mean of steps 2..T,  E_const = what step one cost more (a gray frame)
    T* = (E_ANN - E_const) / E_step
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.counts import OpCounts, merge_counts
from neuroemo.profiling.energy import (
    ARITHMETIC,
    WITH_NEURONS,
    FloatArray,
    energy_summary,
    is_dense,
    price_zero_skipping,
    sample_energies,
)
from neuroemo.profiling.memory import twin_model
from neuroemo.profiling.mixing import check_comparison
from neuroemo.profiling.priced import EnergyModel, Priced
from neuroemo.profiling.prices import PriceList
from neuroemo.profiling.statistics import Summary, ratio_interval, summarise
from neuroemo.profiling.verdict import Interval, Odds, Verdict, words_of

PUBLISHED_WINDOWS: tuple[tuple[str, float, float], ...] = (
    ("Dampfhoffer et al., IEEE TETCI 7(3), 2023: an SNN competes at 0.15 to 1.38", 0.15, 1.38),
    ("Davidson & Furber, Front. Neurosci. 15:651141, 2021: an SNN wins below 12/7 = 1.71", 0.0, 12 / 7),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A published range of spikes per synapse and inference in which an SNN competes, and whether S is inside."""

    source: str
    low: float
    high: float
    inside: bool

    def to_json(self) -> dict[str, Any]:
        """Return the window as a JSON-ready dictionary."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Twin:
    """The comparison of an SNN with its ANN, energies in pJ per sample; see the module for the equations.

    ``ratio`` is E_ANN / E_SNN, None where a side costs nothing. Intervals are of the mean over samples, 95 %: None
    for one sample, where samples were not kept apart and no closed form is at hand, and for a ratio without bound,
    because the interval of the SNN reaches 0; the verdict then goes by the difference. ``step_curve`` is the
    energy of the SNN after step 1..T. ``break_even_spikes_per_synapse`` is the S at which both cost the same if all
    activity grew or fell alike; None if there is none. ``spike_rate`` is spikes per neuron and step,
    ``mac_per_ac`` k = E_MAC / E_AC; both None where not known. ``ann_zero_skipping`` is the ANN on an accelerator
    that skips zeros, arithmetic models only.
    """

    snn: Priced
    ann: Priced
    ann_zero_skipping: Priced | None
    ratio: float | None
    snn_interval: Interval
    ratio_interval: Interval
    verdict: Verdict
    words: str
    break_even_steps: float | None
    step_curve: tuple[float, ...]
    spikes_per_synapse: float
    break_even_spikes_per_synapse: float | None
    spike_rate: float | None
    mac_per_ac: float | None
    windows: tuple[Window, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain |= {"snn": self.snn.to_json(), "ann": self.ann.to_json(), "step_curve": list(self.step_curve)}
        plain["ann_zero_skipping"] = self.ann_zero_skipping and self.ann_zero_skipping.to_json()
        plain |= {name: value and list(value) for name, value in plain.items() if name.endswith("_interval")}
        return plain | {"windows": [window.to_json() for window in self.windows]}


def compare(snn: OpCounts, ann: OpCounts, model: EnergyModel, prices: PriceList, precision: str) -> Twin:
    """Compare an SNN with its ANN twin under one model at the same prices and precision.

    The ANN is charged what ``model`` charges for a dense pass over its counts: count it on stacked frames
    (``time_first=False``) for one pass, on every frame for a pass per frame. Counts of equally many samples are
    taken to be of the same samples in the same order. A model that matches the ANN to the number of steps
    (``memory.twin_model``) is matched to the steps of the SNN.

    Raises:
        InputError: a network without synapses, sides that the model priced on different terms, or whatever the
            model refuses.
    """
    _check_synapses(snn, ann)
    model = twin_model(model, snn.steps)
    priced, other = model.price(snn, prices, precision, "snn"), model.price(ann, prices, precision, "ann")
    check_same_terms(priced, other)
    check_comparison(*([prices.price(name) for name in side.constants] for side in (priced, other)))
    values = sample_energies(snn, model, prices, precision, "snn")
    own = energy_summary(snn, model, prices, precision, "snn") if values is None else summarise(values)
    odds = _odds(
        priced, other, values, own, sample_energies(ann, model, prices, precision, "ann"), is_dense(ann, model)
    )
    curve = step_curve(snn, model, prices, precision)
    spikes = spikes_per_synapse(snn)
    sparse = price_zero_skipping(ann, prices, precision) if model.id in (ARITHMETIC.id, WITH_NEURONS.id) else None
    return Twin(
        snn=priced,
        ann=other,
        ann_zero_skipping=sparse,
        ratio=odds.ratio,
        snn_interval=None if own is None else above_zero(own.interval),
        ratio_interval=odds.ratio_interval,
        verdict=odds.verdict(snn_partial=bool(priced.partial), ann_partial=bool(other.partial)),
        words=words_of(priced, other, model, prices, odds),
        break_even_steps=None if snn.unplaced else break_even_on_curve(curve, other.total_pj),
        step_curve=curve,
        spikes_per_synapse=spikes,
        break_even_spikes_per_synapse=_break_even_spikes(snn, model, prices, precision, other.total_pj),
        spike_rate=spike_rate(snn),
        mac_per_ac=_mac_per_ac(prices, precision),
        windows=tuple(Window(name, low, high, low <= spikes < high) for name, low, high in PUBLISHED_WINDOWS),
    )


def check_same_terms(snn: Priced, ann: Priced) -> None:
    """Refuse to compare energies of different models, prices or precisions, or two of one side.

    Raises:
        InputError: the sides and terms that were found, all at once.
    """
    findings = [
        Finding("E837", "error", name, f"{mine} for the SNN and {theirs} for the ANN", "the same for both")
        for name in ("model", "prices", "precision")
        if (mine := getattr(snn, name)) != (theirs := getattr(ann, name))
    ]
    if (snn.side, ann.side) != ("snn", "ann"):
        findings.append(Finding("E837", "error", "sides", f"{snn.side} and {ann.side}", "snn and ann"))
    if findings:
        raise InputError(findings)


def step_curve(counts: OpCounts, model: EnergyModel, prices: PriceList, precision: str) -> tuple[float, ...]:
    """Return the mean energy of an SNN after step 1..T in pJ: each price is that of a run that stopped there.

    It is empty where it is not known in which step a layer ran.
    """
    if counts.unplaced:
        return ()
    summed = merge_counts([counts], keep_samples=False)
    one = replace(summed, samples=1, kept=True)
    cuts = (replace(one.first_steps(step), samples=counts.samples, kept=False) for step in range(1, counts.steps + 1))
    return tuple(model.price(cut, prices, precision, "snn").total_pj for cut in cuts)


def break_even_on_curve(curve: Sequence[float], ann_pj: float) -> float | None:
    """Return T*, where the energy along the steps reaches that of the ANN; None if it never does.

    Between whole steps the curve is a line, from 0 at no step; beyond the last step it goes on by the mean of the
    steps after the first. T* below 1: not even one step is cheaper than the ANN.

    >>> curve = [84.97 + 51.3 * step for step in range(30)]  # Table II of Spiking Emotions, in uJ: N = 1..30
    >>> round(break_even_on_curve(curve, 1650.48), 3)  # the paper's "N < 32"
    31.517
    >>> break_even_on_curve([2.0, 3.0, 7.0], 5.0), break_even_on_curve([4.0, 4.0], 5.0)
    (2.5, None)

    Raises:
        InputError: a curve without a step, or a number that is not finite.
    """
    points = _points(curve, ann_pj)
    reached = np.flatnonzero(points[1:] >= ann_pj)
    if ann_pj == 0:
        return 0.0
    if reached.size:
        last = int(reached[0])
        return last + float((ann_pj - points[last]) / (points[last + 1] - points[last]))
    step = _later_step(curve)
    return len(curve) + (ann_pj - curve[-1]) / step if step > 0 else None


def energy_at(curve: Sequence[float], steps: float) -> float:
    """Return the energy after so many steps, by the same line as ``break_even_on_curve``.

    >>> energy_at([2.0, 3.0, 7.0], 2.5), energy_at([2.0, 3.0, 7.0], 4)
    (5.0, 9.5)

    Raises:
        InputError: a curve without a step, fewer than 0 steps, or a number that is not finite.
    """
    points = _points(curve, steps)
    if steps <= len(curve):
        return float(np.interp(steps, np.arange(len(points)), points))
    return curve[-1] + (steps - len(curve)) * _later_step(curve)


def spikes_per_synapse(counts: OpCounts) -> float:
    """Return S = events / synapses of one inference: AC and MAC of a sample over the connections of the network."""
    layers = [layer for layer in counts.layers.values() if layer.kind == "synapse"]
    events = sum(layer.acs + layer.macs for layer in layers)
    return events / counts.samples / sum(layer.synapses for layer in layers)


def spike_rate(counts: OpCounts) -> float | None:
    """Return spikes per neuron and step over all layers of neurons; None without one."""
    updates = sum(layer.neuron_updates for layer in counts.layers.values() if layer.kind == "neuron")
    return counts.total.spikes_out / updates if updates else None


def above_zero(interval: Interval) -> Interval:
    """Cut an interval at 0: Student's may reach below, an energy does not."""
    return interval and (max(interval[0], 0.0), interval[1])


def _points(curve: Sequence[float], wanted: float) -> FloatArray:
    points = np.array([0.0, *curve])
    if len(points) < 2 or not np.isfinite([*points, wanted]).all() or wanted < 0:
        found = f"{len(points) - 1} steps, asked for {wanted}"
        limit = "1 or more steps, finite energies, 0 or more asked for"
        raise InputError(Finding("E835", "error", "step curve", found, limit))
    return points


def _later_step(curve: Sequence[float]) -> float:
    """Return E_step: the mean of the steps after the first, which may carry a gray frame; of one step, that one."""
    return (curve[-1] - curve[0]) / (len(curve) - 1) if len(curve) > 1 else curve[0]


def _check_synapses(snn: OpCounts, ann: OpCounts) -> None:
    findings = [
        Finding("E836", "error", name, "no synapse was counted", "1 or more", fix="count a network with weights")
        for name, counts in (("SNN", snn), ("ANN", ann))
        if not any(layer.kind == "synapse" and layer.synapses for layer in counts.layers.values())
    ]
    if findings:
        raise InputError(findings)


def _odds(
    snn: Priced, ann: Priced, values: FloatArray | None, own: Summary | None, others: FloatArray | None, dense: bool
) -> Odds:
    """Compare in pairs where both sides were kept; a constant ANN needs the interval of the SNN alone."""
    if not (snn.total_pj > 0 and ann.total_pj > 0):
        return Odds(None)
    ratio, difference = ann.total_pj / snn.total_pj, ann.total_pj - snn.total_pj
    if values is not None and others is not None and len(values) == len(others):
        paired = summarise(others - values).interval
        return Odds(ratio, ratio_interval(others, values), difference, paired)
    constant = dense or (others is not None and len(others) > 1 and not np.ptp(others))
    if own is None or own.interval is None or not constant:
        return Odds(ratio, None, difference)
    low, high = own.interval
    bounded = (ann.total_pj / high, ann.total_pj / low) if low > 0 else None
    return Odds(ratio, bounded, difference, (ann.total_pj - high, ann.total_pj - low))


def _break_even_spikes(
    snn: OpCounts, model: EnergyModel, prices: PriceList, precision: str, ann_pj: float
) -> float | None:
    """Scale all activity by f until E(0) + f (E(1) - E(0)) = E_ANN; None if that needs less than no spike."""
    silent, once, twice = (model.price(_active(snn, factor), prices, precision, "snn").total_pj for factor in (0, 1, 2))
    slope = once - silent
    if slope <= 0 or ann_pj < silent or not math.isclose(twice - once, slope, rel_tol=1e-9):
        return None
    return spikes_per_synapse(snn) * (ann_pj - silent) / slope


def _active(counts: OpCounts, factor: int) -> OpCounts:
    """Return the counts of a run in which every event and spike happened ``factor`` times."""
    layers = {
        name: layer if layer.kind == "element" else replace(layer, table=layer.table * factor)
        for name, layer in counts.layers.items()
    }
    return replace(counts, layers=layers)


def _mac_per_ac(prices: PriceList, precision: str) -> float | None:
    if precision not in prices.precisions or prices.kind != "arithmetic":
        return None
    return prices.multiply_accumulate(precision).value / prices.accumulate(precision).value
