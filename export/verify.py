"""The comparison that decides whether an export is right: model, graph, folded graph, chip, layer by layer.

Spike by spike, end to end, is the wrong test: one rounding tie in an early layer grows from layer to
layer although every layer is right. So each layer is judged *teacher-forced*: it is fed the spikes that
the model itself produced before it. What matters to the user, rates and labels, is compared end to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from export.compile import Compiled
from export.reference import ReferenceRun, run_graph
from export.values import ValueAgreement, joined
from hw_targets.finding import Finding
from hw_targets.graph import Array, Graph
from hw_targets.readout import ValueReadout, group_rates

INEXACT = ("E411", "E412", "E415")
"""Codes that say: capturing or folding changed what the network does."""

Run = tuple[Array, dict[str, Array], "Array | None"]
"""Clips [T, N, ...], the model's own spikes on them by neuron layer, and their labels [N] where they are known; for
a network that estimates numbers their true values [N, F, outputs]."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What may differ: shares of spikes per layer (teacher-forced) and of labels (end to end).

    Capturing and folding may change no spike at all, ties aside: potentials within rounding of the threshold. Where a
    network estimates numbers instead of labels, the chip's may differ by ``value_difference`` on average.
    """

    chip_agreement: float = 0.97
    label_agreement: float = 0.97
    value_difference: float = 0.05


@dataclass(slots=True)
class LayerAgreement:
    """Counts of one neuron layer, over all clips compared."""

    name: str
    spikes: int = 0
    compared: int = 0
    captured_mismatches: int = 0
    captured_ties: int = 0
    folded_mismatches: int = 0
    folded_ties: int = 0
    chip_mismatches: int = 0
    chip_spikes: int = 0
    end_to_end_mismatches: int = 0
    forced_spikes: int = 0
    spikes_in_both: int = 0
    count_errors: int = 0
    steps_compared: int = 0

    def count(self, model: Array, replay: ReferenceRun, fold: ReferenceRun, forced: Array, free: Array) -> None:
        """Add one batch: the spikes [T, N, ...] of the model and of every other world in this layer."""
        self.compared += int(model.size)
        self.spikes += _total(model)
        self.captured_mismatches += _differ(replay.spikes[self.name], model)
        self.captured_ties += _tied(replay, self.name, model)
        self.folded_mismatches += _differ(fold.spikes[self.name], model)
        self.folded_ties += _tied(fold, self.name, model)
        self.chip_mismatches += _differ(forced, model)
        self.forced_spikes += _total(forced)
        self.spikes_in_both += int(np.count_nonzero(forced & model))
        self.chip_spikes += _total(free)
        self.end_to_end_mismatches += _differ(free, model)
        counts = forced.sum(axis=0, dtype=np.int64) - model.sum(axis=0, dtype=np.int64)
        self.count_errors += int(np.abs(counts).sum())
        self.steps_compared += int(counts.size) * model.shape[0]

    def to_dict(self) -> dict[str, Any]:
        """Return counts and the shares derived from them.

        Teacher-forced: ``agreement`` is the share of equal decisions, ``f1`` 2 |both| / (|model| + |chip|) over spikes
        alone, ``rate_error`` the mean |rate - rate of the model| over neurons and clips.
        """
        compared = max(self.compared, 1)
        return asdict(self) | {
            "rate_float": self.spikes / compared,
            "rate_chip": self.chip_spikes / compared,
            "agreement": 1 - self.chip_mismatches / compared,
            "f1": 2 * self.spikes_in_both / max(self.spikes + self.forced_spikes, 1),
            "rate_error": self.count_errors / max(self.steps_compared, 1),
            "agreement_end_to_end": 1 - self.end_to_end_mismatches / compared,
        }


@dataclass(slots=True)
class Verification:
    """The whole comparison: one entry per layer, rates [N, classes] of every world, findings, verdict."""

    layers: list[LayerAgreement]
    rates_float: Array
    rates_folded: Array
    rates_chip: Array
    labels: Array | None = None
    findings: list[Finding] = field(default_factory=list)
    values: ValueAgreement | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def label_agreement(self) -> float:
        """Share of clips to which the chip gives the model's label, or one of them where the model itself is tied."""
        chosen = np.take_along_axis(self.rates_float, self.rates_chip.argmax(1)[:, None], axis=1)[:, 0]
        return float((chosen == self.rates_float.max(axis=1)).mean())

    def accuracy(self) -> dict[str, float]:
        """Return the share of clips that each world labels rightly."""
        worlds = {"float": self.rates_float, "folded": self.rates_folded, "chip": self.rates_chip}
        return {name: float((rates.argmax(1) == self.labels).mean()) for name, rates in worlds.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary."""
        told: dict[str, Any] = {} if self.labels is None else {"accuracy": self.accuracy()}
        told |= {} if self.values is None else {"values": self.values.to_dict()}
        return told | {
            "ok": self.ok,
            "clips": len(self.rates_float),
            "label_agreement": self.label_agreement if self.values is None else None,
            "rate_error_mean": float(np.abs(self.rates_float - self.rates_chip).mean()),
            "rate_error_max": float(np.abs(self.rates_float - self.rates_chip).max()),
            "layers": [layer.to_dict() for layer in self.layers],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def verify(
    compiled: Compiled,
    runs: Iterable[Run],
    tolerance: Tolerance | None = None,
    *,
    readout: ValueReadout | None = None,
    constant: tuple[float, ...] | None = None,
) -> Verification:
    """Compare model, captured graph, folded graph and chip on ``runs``.

    Layers that a pass added (an OR layer for a max pool) have no counterpart in the model and are not compared. With a
    ``readout`` the values that it reads are compared, and labels are not; ``constant`` as in ``ValueAgreement``.
    """
    tolerance = tolerance or Tolerance()
    captured = compiled.captured
    layers = {node.name: LayerAgreement(node.name) for node in captured.neurons()}
    outputs: list[tuple[Array, Array, Array]] = []
    truth: list[Array] = []
    for clips, model, told in runs:
        outputs.append(_compare(compiled, clips, model, layers))
        if told is not None:
            truth.append(told)
    known = np.concatenate(truth) if len(truth) == len(outputs) else None
    voting = compiled.captured.voting if readout is None else readout.neurons
    mine, folded, chip = (
        np.concatenate([group_rates(part, voting) for part in world]) for world in zip(*outputs, strict=True)
    )
    result = Verification(list(layers.values()), mine, folded, chip, known if readout is None else None)
    if readout is not None:
        result.values = joined(readout, outputs, known, constant)
    result.findings += _findings(result, tolerance, compiled.lossy, fine_tuned=compiled.fine_tuned)
    return result


def _compare(
    compiled: Compiled, clips: Array, model: dict[str, Array], layers: dict[str, LayerAgreement]
) -> tuple[Array, Array, Array]:
    """Add one batch to the counts of every layer; return the output spikes of model, folded graph and chip."""
    deployment, folded_input = compiled.deployment, clips
    if deployment.binarised:
        folded_input, _ = deployment.chip_input(clips)
    teacher = _complete_teacher(compiled.folded, folded_input, model)
    replay = run_graph(compiled.captured, clips, teacher=model)
    fold = run_graph(compiled.folded, folded_input, teacher=teacher)
    forced = deployment.simulate(clips, teacher=teacher)
    free = deployment.simulate(clips)
    for name, layer in layers.items():
        layer.count(model[name], replay, fold, forced.spikes[name], free.spikes[name])
    last = next(reversed(layers))
    return model[last], run_graph(compiled.folded, folded_input).spikes[last], free.spikes[last]


def _complete_teacher(folded: Graph, clips: Array, model: dict[str, Array]) -> dict[str, Array]:
    """Add the spikes of layers that passes inserted, computed from the model's spikes before them."""
    known = {node.name: model[node.name] for node in folded.neurons() if node.name in model}
    if len(known) == len(folded.neurons()):
        return known
    return known | {
        name: spikes for name, spikes in run_graph(folded, clips, teacher=known).spikes.items() if name not in known
    }


def _total(spikes: Array) -> int:
    return int(spikes.sum(dtype=np.int64))


def _differ(ours: Array, model: Array) -> int:
    return int(np.count_nonzero(ours != model))


def _tied(run: ReferenceRun, name: str, model: Array) -> int:
    """Count the spikes that differ where rounding decides."""
    return int(np.count_nonzero((run.spikes[name] != model) & run.ties[name]))


def _findings(
    result: Verification,
    tolerance: Tolerance,
    lossy: frozenset[str] = frozenset(),
    *,
    fine_tuned: bool = False,
) -> Iterator[Finding]:
    for layer in result.layers:
        compared = max(layer.compared, 1)
        rate = layer.spikes / compared
        if rate == 0.0 or rate == 1.0:
            yield Finding(
                "E410",
                "error",
                layer.name,
                f"firing rate {rate:.0%} on the clips compared",
                "between 0 and 100 %",
                fix="a silent or saturated layer makes any comparison look perfect: use other clips, or train on",
            )
        if fine_tuned:
            yield from _other_integers(layer, compared)
            continue
        yield from _inexact(layer, compared, layer.name in lossy)
        agreement = 1 - layer.chip_mismatches / compared
        if agreement < tolerance.chip_agreement:
            yield Finding(
                "E413",
                "error",
                layer.name,
                f"{agreement:.2%} of the spikes survive quantisation",
                f"{tolerance.chip_agreement:.0%}",
                f"{tolerance.chip_agreement - agreement:.2%}",
                "train longer, clip outlying weights, or fine-tune with quantisation",
            )
    if result.values is not None:
        yield from result.values.findings(tolerance.value_difference)
    elif result.label_agreement < tolerance.label_agreement:
        # On few clips a share below the tolerance is chance; it is an error when it cannot be.
        beyond_chance = _upper_bound(result.label_agreement, len(result.rates_float)) < tolerance.label_agreement
        yield Finding(
            "E414" if beyond_chance else "W414",
            "error" if beyond_chance else "warning",
            "labels",
            f"{result.label_agreement:.2%} of the labels of {len(result.rates_float)} clips survive quantisation",
            f"{tolerance.label_agreement:.0%}",
            f"{tolerance.label_agreement - result.label_agreement:.2%}",
            "train longer: clips near the decision boundary flip first",
        )


def _other_integers(layer: LayerAgreement, compared: int) -> Iterator[Finding]:
    """Report spikes in which the chip differs from a network that was trained on the chip's own integers."""
    if layer.chip_mismatches:
        found = f"{layer.chip_mismatches} of {compared} spikes differ from the fine-tuned network"
        fix = "its forward pass is the chip's arithmetic: please report it"
        yield Finding("E415", "error", layer.name, found, "0", str(layer.chip_mismatches), fix)


def _inexact(layer: LayerAgreement, compared: int, lossy: bool) -> Iterator[Finding]:
    """Report spikes that capturing or folding changed; an allowed loss may change those of the folded graph."""
    excuse = "the layer does something that a graph node does not say: please report it"
    captured = layer.captured_mismatches - layer.captured_ties
    folded = layer.folded_mismatches - layer.folded_ties
    said = "spikes of the {} graph differ from the model, rounding ties aside"
    if captured:
        found = f"{captured} of {compared} {said.format('captured')}"
        yield Finding("E411", "error", layer.name, found, "0", str(captured), excuse)
    if folded and lossy:
        found = f"{folded} of {compared} {said.format('folded')}: the price of what was allowed"
        yield Finding("W412", "warning", layer.name, found, "0", str(folded), "retrain without what had to be allowed")
    elif folded:
        found = f"{folded} of {compared} {said.format('folded')}"
        yield Finding("E412", "error", layer.name, found, "0", str(folded), excuse)


def _upper_bound(share: float, clips: int, z: float = 1.959964) -> float:
    """Return the upper end of the 95 % Wilson interval of a share of ``clips``."""
    spread = z * math.sqrt(share * (1 - share) / clips + z * z / (4 * clips * clips))
    return (share + z * z / (2 * clips) + spread) / (1 + z * z / clips)
