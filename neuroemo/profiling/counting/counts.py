"""What a run of a network cost, in integers: the result type of every counter. Prices never enter here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.fanout import Counts
from neuroemo.profiling.counting.policy import CountingPolicy, NeuronRule

Kind = Literal["synapse", "neuron", "element"]

ACS, MACS, SPIKES_IN, SPIKES_OUT = range(4)
"""Columns of ``LayerCounts.table``."""


@dataclass(frozen=True, slots=True)
class CoveredModule:
    """A module that the policy declares free: its type, the rule applied and the elements it was given."""

    type: str
    rule: str
    elements: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of one evaluation of a layer with synapses; spaces are (), (L,), (H, W) or (D, H, W).

    ``weights`` and ``biases`` are stored numbers; a product of two activations has none of either.
    """

    kind: Literal["conv", "transposed", "dense", "product"]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int = 1
    weights: int = 0
    biases: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class LayerCounts:
    """Integers of one layer: ``table`` int64 [T, S, 4], columns AC, MAC, spikes in, spikes out, per step and sample.

    ``dense_macs``: what a dense evaluation of the same calls costs. ``synapses``: connections of one
    evaluation, i.e. its border-aware dense MACs. ``elements``: input elements looked at, so that
    ``spikes_in / elements`` is the density. Spikes are non-zero elements. ``spikes_out`` and
    ``neuron_updates`` belong to neuron layers, whose ``rule`` says what one update costs. ``kind``
    "element" is arithmetic on every element (batch normalisation, if the policy counts it).
    Where samples are not kept apart S is 1 and ``squares`` (sum of AC*AC, MAC*MAC, AC*MAC over samples)
    still give their exact spread. Where ``placed`` is false the sums are exact, but not which step or sample
    they belong to.
    """

    kind: Kind
    type: str
    table: Counts
    dense_macs: int = 0
    synapses: int = 0
    elements: int = 0
    neuron_updates: int = 0
    calls: int = 0
    squares: tuple[int, int, int] = (0, 0, 0)
    geometry: Geometry | None = None
    rule: NeuronRule | None = None
    placed: bool = True

    @property
    def acs(self) -> int:
        """Accumulates."""
        return int(self.table[..., ACS].sum())

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return int(self.table[..., MACS].sum())

    @property
    def spikes_in(self) -> int:
        """Non-zero elements that arrived at synapses."""
        return int(self.table[..., SPIKES_IN].sum())

    @property
    def spikes_out(self) -> int:
        """Non-zero elements that neurons sent; each is one reset."""
        return int(self.table[..., SPIKES_OUT].sum())

    @property
    def per_step(self) -> Counts:
        """(AC, MAC) of every step over all samples, int64 [T, 2]."""
        return self.table[:, :, :2].sum(axis=1)

    @property
    def per_sample(self) -> Counts:
        """(AC, MAC) of every sample over all steps, int64 [S, 2]."""
        return self.table[:, :, :2].sum(axis=0)

    @property
    def density(self) -> float | None:
        """Share of input elements that are not zero; None without synapses."""
        return self.spikes_in / self.elements if self.kind == "synapse" and self.elements else None

    def to_json(self) -> dict[str, Any]:
        """Return the counts as a JSON-ready dictionary."""
        plain = {name: getattr(self, name) for name in ("kind", "type", *_TOTALS, *_SUMMED, "synapses")}
        steps, samples = self.table.sum(axis=1), self.table.sum(axis=0)
        columns = ("acs", "macs", "spikes_in", "spikes_out")
        plain["per_step"] = {name: steps[:, column].tolist() for column, name in enumerate(columns)}
        plain["per_sample"] = {name: samples[:, column].tolist() for column, name in enumerate(columns)}
        plain["geometry"] = None if self.geometry is None else _plain(asdict(self.geometry))
        plain["rule"] = None if self.rule is None else self.rule.text
        return plain


@dataclass(frozen=True, slots=True)
class Stage:
    """Synapses and the neurons that they feed: how the literature writes a layer."""

    name: str
    synapse: LayerCounts
    neuron: LayerCounts | None


@dataclass(frozen=True, slots=True, eq=False)
class OpCounts:
    """Operation counts of a run: per layer, step and sample, with what was not counted named in ``partial``.

    ``partial`` maps the name of a module to why it was not counted; unless it is empty, totals are lower
    bounds. ``covered`` lists modules that ``policy`` declares free. ``notes`` qualify steps and samples only.
    ``kept`` says whether tables keep samples apart.
    """

    layers: dict[str, LayerCounts]
    samples: int
    steps: int
    partial: dict[str, str] = field(default_factory=dict)
    covered: dict[str, CoveredModule] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    policy: CountingPolicy = field(default_factory=CountingPolicy)
    squares: tuple[int, int, int] = (0, 0, 0)
    kept: bool = True

    @property
    def total(self) -> LayerCounts:
        """Sum over all layers; elements are those of synapses."""
        width = self.samples if self.kept else 1
        tables = np.zeros((self.steps, width, 4), dtype=np.int64)
        for layer in self.layers.values():
            tables = tables + layer.table
        sums = {name: sum(getattr(layer, name) for layer in self.layers.values()) for name in (*_SUMMED, "synapses")}
        sums["elements"] = sum(layer.elements for layer in self.layers.values() if layer.kind == "synapse")
        return LayerCounts("synapse", "total", tables, squares=self.squares, **sums)

    @property
    def is_partial(self) -> bool:
        """Whether something that may cost was not counted."""
        return bool(self.partial)

    @property
    def unplaced(self) -> tuple[str, ...]:
        """Layers whose counts could not be attributed to steps and samples; their totals are exact."""
        return tuple(name for name, layer in self.layers.items() if not layer.placed)

    def stages(self) -> list[Stage]:
        """Pair every layer of synapses with the neurons listed between it and the next one."""
        stages: list[Stage] = []
        for name, layer in self.layers.items():
            if layer.kind == "synapse":
                stages.append(Stage(name, layer, None))
            elif layer.kind == "neuron" and stages and stages[-1].neuron is None:
                stages[-1] = replace(stages[-1], neuron=layer)
        return stages

    def of_samples(self, indices: Sequence[int]) -> OpCounts:
        """Return the counts of some of the samples, as if only they had been run.

        Raises:
            InputError: samples were not kept apart, or an index there is not.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= self.samples:
            found = f"{chosen.tolist()[:5]} of {self.samples} samples"
            raise InputError(Finding("E800", "error", "samples", found, f"1 or more of 0..{self.samples - 1}"))
        return self._cut(np.full(chosen.size, self.steps), chosen)

    def first_steps(self, steps: int) -> OpCounts:
        """Return the counts of the first steps of every sample, as if the run had stopped there.

        Raises:
            InputError: samples were not kept apart, or fewer than one or more than T steps.
        """
        return self.until(np.full(self.samples, steps))

    def until(self, steps: npt.ArrayLike) -> OpCounts:
        """Return the counts when every sample stops after a number of steps of its own, int [S].

        Raises:
            InputError: samples were not kept apart, or steps that do not fit.
        """
        return self._cut(np.asarray(steps, dtype=np.int64), np.arange(self.samples))

    def _cut(self, steps: Counts, samples: Counts) -> OpCounts:
        if not self.kept:
            raise InputError(
                Finding("E807", "error", "samples", "were summed", "kept apart", fix="count with keep_samples=True")
            )
        if self.unplaced:
            found = f"which steps and samples {', '.join(self.unplaced)} ran in is not known"
            raise InputError(Finding("E809", "error", "steps", found, "known for every layer"))
        if steps.shape != samples.shape or steps.min() < 1 or steps.max() > self.steps:
            found = f"{steps.shape} steps from {steps.min(initial=0)} to {steps.max(initial=0)}"
            raise InputError(Finding("E808", "error", "steps", found, f"one of 1..{self.steps} for every sample"))
        alive = (np.arange(int(steps.max()))[:, None] < steps[None, :])[:, :, None]
        share = (int(steps.sum()), self.steps * self.samples)
        layers = {name: _cut_layer(name, layer, samples, alive, share) for name, layer in self.layers.items()}
        covered = {
            name: replace(module, elements=_share(name, module.elements, share))
            for name, module in self.covered.items()
        }
        cut = replace(self, layers=layers, covered=covered, samples=samples.size, steps=int(steps.max()))
        return replace(cut, squares=squares_of(cut.total.table))

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON-ready dictionary."""
        return {
            "samples": self.samples,
            "steps": self.steps,
            "samples_kept": self.kept,
            "is_partial": self.is_partial,
            "partial": dict(self.partial),
            "total": self.total.to_json(),
            "layers": {name: layer.to_json() for name, layer in self.layers.items()},
            "covered": {name: asdict(module) for name, module in self.covered.items()},
            "notes": dict(self.notes),
            "policy": self.policy.to_dict(),
        }


_TOTALS = ("acs", "macs", "spikes_in", "spikes_out")
_SUMMED = ("dense_macs", "elements", "neuron_updates", "calls")


def empty_layer(like: LayerCounts, steps: int, samples: int) -> LayerCounts:
    """Return a layer like another in which nothing happened for ``steps`` steps and ``samples`` samples."""
    table = np.zeros((steps, samples, 4), dtype=np.int64)
    nothing: dict[str, Any] = dict.fromkeys(_SUMMED, 0)
    return replace(like, table=table, squares=(0, 0, 0), **nothing)


def squares_of(table: Counts) -> tuple[int, int, int]:
    """Return the sums over samples of AC*AC, MAC*MAC and AC*MAC, exact however large.

    >>> squares_of(np.array([[[3, 1, 0, 0], [4, 2, 0, 0]]]))
    (25, 5, 11)
    """
    acs, macs = (table[..., column].sum(axis=0).astype(object) for column in (ACS, MACS))
    return int((acs * acs).sum()), int((macs * macs).sum()), int((acs * macs).sum())


def merge_counts(parts: Iterable[OpCounts], *, keep_samples: bool = True) -> OpCounts:
    """Join counts of the same network on successive batches; one batch is held at a time.

    Without ``keep_samples`` the samples of a batch are summed at once: memory does not grow with their number.

    Raises:
        InputError: nothing to join, or batches with different numbers of steps.
    """
    merged: OpCounts | None = None
    for part in parts:
        piece = part if keep_samples else _summed(part)
        merged = piece if merged is None else _join(merged, piece)
    if merged is None:
        raise InputError(Finding("E800", "error", "batches", "no batch to count", "1 or more"))
    return merged


def _summed(counts: OpCounts) -> OpCounts:
    layers = {
        name: replace(layer, table=layer.table.sum(axis=1, keepdims=True)) for name, layer in counts.layers.items()
    }
    return replace(counts, layers=layers, kept=False)


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
        squares=_add(first.squares, second.squares),
        kept=first.kept,
    )


def _join_layers(first: OpCounts, second: OpCounts) -> dict[str, LayerCounts]:
    layers: dict[str, LayerCounts] = {}
    for name in first.layers | second.layers:
        known = first.layers.get(name) or second.layers[name]
        one, two = (
            part.layers.get(name) or empty_layer(known, part.steps, part.samples if part.kept else 1)
            for part in (first, second)
        )
        sums = {key: getattr(one, key) + getattr(two, key) for key in _SUMMED}
        table = np.concatenate([one.table, two.table], axis=1) if first.kept else one.table + two.table
        synapses, squares = max(one.synapses, two.synapses), _add(one.squares, two.squares)
        placed = one.placed and two.placed
        layers[name] = replace(known, table=table, synapses=synapses, squares=squares, placed=placed, **sums)
    return layers


def _join_covered(first: Mapping[str, CoveredModule], second: Mapping[str, CoveredModule]) -> dict[str, CoveredModule]:
    joined = dict(first)
    for name, module in second.items():
        before = joined[name].elements if name in joined else 0
        joined[name] = CoveredModule(module.type, module.rule, before + module.elements)
    return joined


def _cut_layer(
    name: str, layer: LayerCounts, samples: Counts, alive: npt.NDArray[np.bool_], share: tuple[int, int]
) -> LayerCounts:
    table = layer.table[: alive.shape[0], samples] * alive
    sums: dict[str, Any] = {
        key: _share(name, getattr(layer, key), share) for key in ("dense_macs", "elements", "neuron_updates")
    }
    return replace(layer, table=table, squares=squares_of(table), **sums)


def _share(name: str, whole: int, share: tuple[int, int]) -> int:
    """Return the part of a sum that is the same at every step and sample: exactly, or not at all."""
    part, rest = divmod(whole * share[0], share[1])
    if rest:
        raise InputError(
            Finding("E809", "error", name, f"{whole} operations over {share[1]} steps of samples", "as many at each")
        )
    return part


def _add(first: tuple[int, int, int], second: tuple[int, int, int]) -> tuple[int, int, int]:
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: list(entry) if isinstance(entry, tuple) else entry for key, entry in value.items()}
