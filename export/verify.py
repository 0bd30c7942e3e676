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

from export.reference import ReferenceRun, run_graph
from hw_targets.finding import Finding
from hw_targets.graph import Array, Graph
from hw_targets.readout import group_rates
from hw_targets.registry import Target


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What may differ: shares of spikes per layer (teacher-forced) and of labels (end to end).

    Capturing and folding may change no spike at all, ties aside: potentials within rounding of the threshold.
    """

    chip_agreement: float = 0.97
    label_agreement: float = 0.97


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

    def to_dict(self) -> dict[str, Any]:
        """Return counts and the shares derived from them."""
        compared = max(self.compared, 1)
        return asdict(self) | {
            "rate_float": self.spikes / compared,
            "rate_chip": self.chip_spikes / compared,
            "agreement": 1 - self.chip_mismatches / compared,
            "agreement_end_to_end": 1 - self.end_to_end_mismatches / compared,
        }


@dataclass(slots=True)
class Verification:
    """The whole comparison: one entry per layer, rates [N, classes] of every world, findings, verdict."""

    layers: list[LayerAgreement]
    rates_float: Array
    rates_folded: Array
    rates_chip: Array
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def label_agreement(self) -> float:
        """Share of clips to which model and chip give the same label."""
        return float((self.rates_float.argmax(1) == self.rates_chip.argmax(1)).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary."""
        return {
            "ok": self.ok,
            "clips": len(self.rates_float),
            "label_agreement": self.label_agreement,
            "rate_error_mean": float(np.abs(self.rates_float - self.rates_chip).mean()),
            "rate_error_max": float(np.abs(self.rates_float - self.rates_chip).max()),
            "layers": [layer.to_dict() for layer in self.layers],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def verify(
    captured: Graph,
    folded: Graph,
    chip: Any,
    target: Target,
    runs: Iterable[tuple[Array, dict[str, Array]]],
    tolerance: Tolerance | None = None,
) -> Verification:
    """Compare the four worlds on ``runs``: pairs of clips [T, N, ...] and the model's own spikes by layer.

    Layers that a pass added (an OR layer for a max pool) have no counterpart in the model and are not compared.
    """
    tolerance = tolerance or Tolerance()
    names = [node.name for node in captured.neurons()]
    layers = {name: LayerAgreement(name) for name in names}
    rates: list[tuple[Array, Array, Array]] = []
    for clips, model in runs:
        teacher = _complete_teacher(folded, clips, model)
        replay = run_graph(captured, clips, teacher=model)
        fold = run_graph(folded, clips, teacher=teacher)
        forced = target.simulate(chip, clips, teacher=teacher)
        free = target.simulate(chip, clips)
        free_fold = run_graph(folded, clips)
        for name in names:
            layer = layers[name]
            layer.compared += int(model[name].size)
            layer.spikes += int(model[name].sum(dtype=np.int64))
            layer.captured_mismatches += _differ(replay.spikes[name], model[name])
            layer.captured_ties += _tied(replay, name, model)
            layer.folded_mismatches += _differ(fold.spikes[name], model[name])
            layer.folded_ties += _tied(fold, name, model)
            layer.chip_mismatches += _differ(forced.spikes[name], model[name])
            layer.chip_spikes += int(free.spikes[name].sum(dtype=np.int64))
            layer.end_to_end_mismatches += _differ(free.spikes[name], model[name])
        last = names[-1]
        rates.append(
            (
                group_rates(model[last], captured.voting),
                group_rates(free_fold.spikes[last], captured.voting),
                group_rates(free.spikes[last], captured.voting),
            )
        )
    result = Verification(list(layers.values()), *(np.concatenate(column) for column in zip(*rates, strict=True)))
    result.findings += _findings(result, tolerance)
    return result


def _complete_teacher(folded: Graph, clips: Array, model: dict[str, Array]) -> dict[str, Array]:
    """Add the spikes of layers that passes inserted, computed from the model's spikes before them."""
    known = {node.name: model[node.name] for node in folded.neurons() if node.name in model}
    if len(known) == len(folded.neurons()):
        return known
    return known | {
        name: spikes for name, spikes in run_graph(folded, clips, teacher=known).spikes.items() if name not in known
    }


def _differ(ours: Array, model: Array) -> int:
    return int(np.count_nonzero(ours != model))


def _tied(run: ReferenceRun, name: str, model: dict[str, Array]) -> int:
    """Count the spikes that differ where rounding decides."""
    return int(np.count_nonzero((run.spikes[name] != model[name]) & run.ties[name]))


def _findings(result: Verification, tolerance: Tolerance) -> Iterator[Finding]:
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
        for code, what, count in (
            ("E411", "the captured graph", layer.captured_mismatches - layer.captured_ties),
            ("E412", "the folded graph", layer.folded_mismatches - layer.folded_ties),
        ):
            if count:
                yield Finding(
                    code,
                    "error",
                    layer.name,
                    f"{count} of {compared} spikes of {what} differ from the model, rounding ties aside",
                    "0",
                    str(count),
                    "the layer does something that a graph node does not say: please report it",
                )
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
    if result.label_agreement < tolerance.label_agreement:
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


def _upper_bound(share: float, clips: int, z: float = 1.959964) -> float:
    """Return the upper end of the 95 % Wilson interval of a share of ``clips``."""
    spread = z * math.sqrt(share * (1 - share) / clips + z * z / (4 * clips * clips))
    return (share + z * z / (2 * clips) + spread) / (1 + z * z / clips)
