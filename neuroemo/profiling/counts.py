"""What a run of a network cost, in integers: the result type of every counter. Prices never enter here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from typing import Any, Literal

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.fanout import Counts

Kind = Literal["synapse", "neuron"]


@dataclass(frozen=True, slots=True)
class CountingPolicy:
    """What is counted, under which convention, and what is left out; printed with every result."""

    events: str = "an input element equal to 1 or -1: its exact fan-out in accumulates (AC)"
    graded: str = "any other non-zero element: its exact fan-out in multiply-accumulates (MAC), per element"
    zeros: str = "zero inputs cost nothing; zero weights are not skipped"
    borders: str = "taps on zero padding are not counted"
    bias: str = "bias additions are not counted"
    neurons: str = "updates are counted per neuron and step, apart from synaptic operations"
    batch_norm: str = "folded into the weights: no operation"
    pooling: str = "no operation; graded values that averaging creates are counted where they arrive"
    flatten: str = "no operation"
    dropout: str = "inactive at inference: no operation"
    voting: str = "read-out of the output spikes: no operation"
    activation: str = "ReLU and identity: no operation"
    unseen: str = "element-wise arithmetic between modules is not seen"

    def to_dict(self) -> dict[str, str]:
        """Return the policy as a JSON-ready dictionary."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CoveredModule:
    """A module that the policy declares free: its type, the rule applied and the elements it was given."""

    type: str
    rule: str
    elements: int


@dataclass(frozen=True, slots=True, eq=False)
class LayerCounts:
    """Integers of one layer over all samples and steps; ``per_step`` [T, 2], ``per_sample`` [S, 2], int64.

    The columns of both arrays are (AC, MAC). ``dense_macs``: what a dense evaluation of the same calls
    costs. ``synapses``: connections of one evaluation, i.e. its border-aware dense MACs. ``spikes_in``:
    non-zero input elements of synapses. ``spikes_out`` and ``neuron_updates`` belong to neuron layers.
    """

    kind: Kind
    type: str
    acs: int
    macs: int
    dense_macs: int
    spikes_in: int
    spikes_out: int
    synapses: int
    neuron_updates: int
    calls: int
    per_step: Counts
    per_sample: Counts

    def to_json(self) -> dict[str, Any]:
        """Return the counts as a JSON-ready dictionary."""
        plain = {name: getattr(self, name) for name in ("kind", "type", *_SUMMED, "synapses")}
        tables = {"per_step": self.per_step, "per_sample": self.per_sample}
        for name, table in tables.items():
            plain[name] = {"acs": table[:, 0].tolist(), "macs": table[:, 1].tolist()}
        return plain


@dataclass(frozen=True, slots=True, eq=False)
class OpCounts:
    """Operation counts of a run: per layer, step and sample, with what was not counted named in ``partial``.

    ``partial`` maps the name of a module to why it was not counted; unless it is empty, totals are lower
    bounds. ``covered`` lists modules that ``policy`` declares free. ``notes`` qualify ``per_step`` only.
    """

    layers: dict[str, LayerCounts]
    samples: int
    steps: int
    partial: dict[str, str] = field(default_factory=dict)
    covered: dict[str, CoveredModule] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    policy: CountingPolicy = field(default_factory=CountingPolicy)

    @property
    def total(self) -> LayerCounts:
        """Sum over all layers, neurons included (they have no synaptic operations)."""
        empty = empty_layer("synapse", "total", self.steps, self.samples)
        total = reduce(_plus_layer, self.layers.values(), empty)
        synapses = sum(layer.synapses for layer in self.layers.values())
        return replace(total, synapses=synapses)

    @property
    def is_partial(self) -> bool:
        """Whether something that may cost was not counted."""
        return bool(self.partial)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON-ready dictionary."""
        return {
            "samples": self.samples,
            "steps": self.steps,
            "is_partial": self.is_partial,
            "partial": dict(self.partial),
            "total": self.total.to_json(),
            "layers": {name: layer.to_json() for name, layer in self.layers.items()},
            "covered": {name: asdict(module) for name, module in self.covered.items()},
            "notes": dict(self.notes),
            "policy": self.policy.to_dict(),
        }


_SUMMED = ("acs", "macs", "dense_macs", "spikes_in", "spikes_out", "neuron_updates", "calls")


def empty_layer(kind: Kind, type_name: str, steps: int, samples: int) -> LayerCounts:
    """Return a layer in which nothing happened for ``steps`` steps and ``samples`` samples."""
    tables = (np.zeros((steps, 2), dtype=np.int64), np.zeros((samples, 2), dtype=np.int64))
    return LayerCounts(kind, type_name, 0, 0, 0, 0, 0, 0, 0, 0, *tables)


def merge_counts(parts: Iterable[OpCounts]) -> OpCounts:
    """Join counts of the same network on successive batches: sums over samples, steps kept apart.

    Raises:
        InputError: nothing to join, or batches with different numbers of steps.
    """
    merged: OpCounts | None = None
    for part in parts:
        merged = part if merged is None else _join(merged, part)
    if merged is None:
        raise InputError(Finding("E800", "error", "batches", "no batch to count", "1 or more"))
    return merged


def _join(first: OpCounts, second: OpCounts) -> OpCounts:
    if first.steps != second.steps:
        found = f"{first.steps} and {second.steps} steps"
        raise InputError(
            Finding("E801", "error", "batches", found, "one length", fix="count clips of each length apart")
        )
    return OpCounts(
        layers=_join_layers(first, second),
        samples=first.samples + second.samples,
        steps=first.steps,
        partial=first.partial | second.partial,
        covered=_join_covered(first.covered, second.covered),
        notes=first.notes | second.notes,
        policy=first.policy,
    )


def _join_layers(first: OpCounts, second: OpCounts) -> dict[str, LayerCounts]:
    layers: dict[str, LayerCounts] = {}
    for name in first.layers | second.layers:
        known = first.layers.get(name) or second.layers[name]
        sides = [
            part.layers.get(name) or empty_layer(known.kind, known.type, part.steps, part.samples)
            for part in (first, second)
        ]
        per_sample = np.concatenate([side.per_sample for side in sides])
        layers[name] = replace(_plus_layer(*sides), per_sample=per_sample)
    return layers


def _join_covered(first: Mapping[str, CoveredModule], second: Mapping[str, CoveredModule]) -> dict[str, CoveredModule]:
    joined = dict(first)
    for name, module in second.items():
        before = joined[name].elements if name in joined else 0
        joined[name] = CoveredModule(module.type, module.rule, before + module.elements)
    return joined


def _plus_layer(first: LayerCounts, second: LayerCounts) -> LayerCounts:
    """Add two layers; of the tables only those of equal length, the caller replaces the other."""
    sums: dict[str, Any] = {name: getattr(first, name) + getattr(second, name) for name in _SUMMED}
    if first.per_sample.shape == second.per_sample.shape:
        sums["per_sample"] = first.per_sample + second.per_sample
    synapses = max(first.synapses, second.synapses)
    return replace(first, **sums, synapses=synapses, per_step=first.per_step + second.per_step)
