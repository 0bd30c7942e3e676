"""The numbers of Figure 3: which clips are drawn and why, what their voting neurons did, as data and as files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.storage import write_json
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.models.emotion import EmotionSpec
from neuroemo.reproduce.figure3 import Figure3Settings
from neuroemo.reproduce.figure_data import Bars, FigureData, open_stores
from neuroemo.reproduce.figure_runs import spec_for, train_for_figure
from neuroemo.reproduce.potentials import VotingRecord, group_rates, record_voting_neurons
from neuroemo.training.evaluation import clips_at_once, in_parts

if TYPE_CHECKING:
    from torch import nn

    from neuroemo.datasets.store import ClipStore

SCHEMA = 1
NAMES = ("figure3.svg", "figure3.pdf")
TYPICAL = "the one with the median lead among the {count} clips answered {kind}"
NARROWEST = "no clip is answered wrongly: this is the narrowest of the {count} right answers"
NO_RIGHT = "no clip is answered rightly: this is the narrowest of the {count} wrong answers"


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to N clips: group rates float64 [N, classes], answers and labels int64 [N], names."""

    rates: Array
    predicted: Array
    labels: Array
    names: tuple[str, ...]

    @property
    def leads(self) -> Array:
        """Rate of the first group less that of the second, float64 [N]; equal rates give exactly 0."""
        ordered = np.sort(self.rates, axis=1)
        return ordered[:, -1] - (ordered[:, -2] if ordered.shape[1] > 1 else 0)


def figure3_document(settings: Figure3Settings, bars: Bars) -> dict[str, Any]:
    """Train 0.4SNN in ``settings.out``/0.4snn, unless that is done, and return the numbers of Figure 3.

    Raises:
        InputError: the data or the named clips cannot be used, or the folder holds a run with other settings.
    """
    data = settings.data or FigureData()
    training = settings.recipe.settings(data)
    with ExitStack() as opened:
        store = opened.enter_context(open_stores(data, settings.out, bars, ("float",))["float"])
        spec = spec_for("0.4snn", store)
        with bars(f"train {spec.name}") as progress:
            train_for_figure(spec, store, settings.out / "0.4snn", training, progress)
    told = document_of_model(settings.out / "0.4snn", store.path, settings.clips, bars)
    return told | {"data": data.name or str(data.store), "training": asdict(training)}


def document_of_model(model: Path, data: Path | None, clips: Sequence[str], bars: Bars) -> dict[str, Any]:
    """Return the numbers of Figure 3 for a checkpoint, on test clips of what it was trained on, or on ``data``.

    Raises:
        InputError: the checkpoint, its data or a named clip cannot be used.
        UnsupportedError: a network without membrane potentials.
    """
    from neuroemo import pipeline
    from neuroemo.training.checkpoint import trained_on

    chosen = data or trained_on(model)
    network, description, store, indices, labels = pipeline.opened_for_scoring(model, chosen, None)
    with store, bars("answer") as progress:
        spec = description.spec
        answered = _answered(network, spec, store, indices, labels, progress)
        picked = named_clips(answered, clips) if clips else typical_clips(answered)
        examples = []
        for place, reason in picked:
            record = record_voting_neurons(network, spec, store.batch(indices[place : place + 1]))
            examples.append(_example(record, answered, place, reason, description.classes, spec))
    right = int(np.count_nonzero(answered.predicted == answered.labels))
    return {
        "schema": SCHEMA,
        "kind": "figure3",
        "network": spec.name,
        "model": str(model),
        "classes": list(description.classes),
        "voting": spec.voting,
        "threshold": record.threshold,
        "membrane_time_constant_steps": record.tau,
        "potential": "before reset: a neuron fires where it reaches the threshold",
        "clips": len(answered.names),
        "correct": right,
        "examples": examples,
    }


def _answered(
    network: nn.Module, spec: EmotionSpec, store: ClipStore, indices: Array, labels: Array, progress: Any
) -> Answered:
    parts, done = [], 0
    for part in in_parts(indices, clips_at_once(spec)):
        parts.append(group_rates(record_voting_neurons(network, spec, store.batch(part)).spikes, spec.voting))
        done += len(part)
        progress(done, len(indices), "")
    rates = np.concatenate(parts)
    names = tuple(str(store.names[int(index)]) for index in indices)
    return Answered(rates, rates.argmax(axis=1), labels, names)


def typical_clips(answered: Answered) -> list[tuple[int, str]]:
    """Return a right and a wrong clip, each with the reason why it was chosen.

    Each is the one with the median lead of its kind (the lower of two). Where all answers are of one kind, the second
    clip is the one with the narrowest lead of that kind.
    """
    right = answered.predicted == answered.labels
    chosen = []
    for kind, of_kind in (("rightly", right), ("wrongly", ~right)):
        places = np.flatnonzero(of_kind)
        if len(places):
            order = places[np.argsort(answered.leads[places], kind="stable")]
            chosen.append((int(order[(len(order) - 1) // 2]), TYPICAL.format(count=len(order), kind=kind)))
        else:
            order = np.argsort(answered.leads, kind="stable")
            words = NARROWEST if kind == "wrongly" else NO_RIGHT
            chosen.append((int(order[0]), words.format(count=len(order))))
    return chosen


def named_clips(answered: Answered, names: Sequence[str]) -> list[tuple[int, str]]:
    """Return one or two clips by name; raises InputError, with similar names, for any other number or name."""
    findings = []
    if len(names) > 2 or len(set(names)) < len(names):
        found = f"{len(names)} clips, {len(set(names))} different"
        findings.append(Finding("E942", "error", "--clip", found, "one or two different clips"))
    for name in names:
        count = answered.names.count(name)
        if count != 1:
            near = get_close_matches(name, answered.names, 3, 0.5) or list(answered.names[:3])
            fix = f"for example {', '.join(near)}"
            found = f"{count or 'no'} clips named {name!r} among {len(answered.names)}"
            findings.append(Finding("E942", "error", "--clip", found, "1", fix=fix))
    if findings:
        raise InputError(findings)
    return [(answered.names.index(name), "chosen by name") for name in names]


def _example(
    record: VotingRecord, answered: Answered, place: int, reason: str, classes: Sequence[str], spec: EmotionSpec
) -> dict[str, Any]:
    spikes, rates = record.spikes[:, 0], answered.rates[place]
    counts = spikes.reshape(len(spikes), -1, spec.voting).sum(axis=(0, 2))
    label, predicted = int(answered.labels[place]), int(answered.predicted[place])
    return {
        "clip": answered.names[place],
        "label": classes[label],
        "answer": classes[predicted],
        "correct": label == predicted,
        "tied": int(np.count_nonzero(rates == rates.max())) > 1,
        "reason": reason,
        "rates": {name: float(rate) for name, rate in zip(classes, rates, strict=True)},
        "group_spikes": {name: int(count) for name, count in zip(classes, counts, strict=True)},
        "spikes": spikes.astype(int).T.tolist(),
        "potentials": record.potentials[:, 0].T.round(6).tolist(),
    }


def write_figure3(document: dict[str, Any], folder: Path) -> list[Path]:
    """Write figure3.json, figure3.svg and figure3.pdf; return their paths."""
    from neuroemo.reproduce.figure3_drawing import draw_figure3
    from neuroemo.training.figure_style import save

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "figure3.json", document)
    figure = draw_figure3(document)
    return [folder / "figure3.json", *(save(figure, folder / name) for name in NAMES)]


def figure3_text(document: dict[str, Any]) -> str:
    """Return the figure in words: each clip, its label and answer, the rate of each group."""
    lines = [f"{document['network']}: {document['correct']} of {document['clips']} clips answered rightly"]
    for one in document["examples"]:
        rates = ", ".join(f"{name} {rate:.4f}" for name, rate in one["rates"].items())
        verdict = "right" if one["correct"] else "wrong"
        tie = " (a tie: the first class is the answer)" if one["tied"] else ""
        lines.append(f"{one['clip']}: label {one['label']}, answer {one['answer']}, {verdict}{tie}; rates {rates}")
        lines.append(f"    {one['reason']}")
    return "\n".join(lines)
