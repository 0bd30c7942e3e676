"""Figures of a simulated run: the paper's Figure 3 for any clip, as SVG files and as one self-contained page.

Drawn per clip: events per step, firing rate of every layer, membrane potentials and spike trains of the voting
neurons (Wang et al. 2022, Figure 3), votes over time, rasters and potentials of the probed layers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from export.page.letters import harmless
from export.page.words import count, milliseconds, percent, plural
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.simulation import figure_courses as courses
from neuroemo.simulation import figure_data as data
from neuroemo.simulation import figure_drawings as drawings

if TYPE_CHECKING:
    from jinja2 import Environment

CLIPS, CLASSES, VOTERS, TRACES, STEPS, ROWS = 6, 6, 40, 6, 2000, 64
"""How many clips, classes, potentials per class, single potentials, steps and table rows of neurons are drawn; the page
says what is cut."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The figures of one probed layer, and how their neurons were chosen; ``threshold`` says whether it has one.

    An empty ``rule`` means that the raster stands elsewhere on the page.
    """

    name: str
    raster: str | None
    rule: str
    traces: str
    chosen: str
    threshold: bool


@dataclass(frozen=True, slots=True)
class Clip:
    """The figures of one clip and the numbers behind them, ready to print."""

    name: str
    answer: str
    decided: str
    voting: str
    votes: str
    inputs: str | None
    gray: bool
    rates: str
    probes: Sequence[Probe]
    recorded: bool
    traced: str
    output: str
    hidden: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    neurons: Sequence[Sequence[str]]
    cut_neurons: bool


TIMING = {
    "aligned": "aligned: all layers work on the same frame",
    "pipeline": "pipeline: every synapse layer hands on its sum one step later",
}


def write_figures(
    run: Any,
    chip: Any,
    folder: Path,
    names: Sequence[str],
    classes: Sequence[str] | None = None,
    clips: Array | None = None,
    *,
    probed: Mapping[str, Sequence[int]] | None = None,
    mode: Literal["aligned", "pipeline"] = "aligned",
) -> list[Path]:
    """Write ``raster.html`` and one ``voting-K.svg`` per drawn clip into ``folder``; return their paths.

    ``run`` is what the simulator returns for ``chip``: spikes [T, N, ...] of the output layer at least, and
    ``membrane`` of the probed layers; ``names`` one per clip, ``classes`` one per group of voting neurons, ``clips``
    the input [T, N, ...]. Where a layer's membrane holds chosen neurons only, [T, N, K], ``probed`` names them.
    ``mode`` is the timing of the run, which the page tells.

    Raises:
        InputError: these do not belong together, or the folder cannot be written.
    """
    findings = _check(run, chip, names, classes, clips, probed or {})
    if findings:
        raise InputError(findings)
    output = np.asarray(run.spikes[chip.layers[-1].name])
    groups = output[0, 0].size // chip.voting
    titles = [harmless(str(name)) for name in classes or [f"class {index}" for index in range(groups)]]
    sent = data.message_counts(run)
    drawn = [
        _clip(run, sent, chip, index, harmless(str(name)), titles, clips, probed or {})
        for index, name in enumerate(names[:CLIPS])
    ]
    files = {f"voting-{number}.svg": standalone(clip.voting) for number, clip in enumerate(drawn, start=1)}
    files = {"raster.html": page_html(chip, drawn, len(names), len(output), mode)} | files
    return [_write(folder / name, text) for name, text in files.items()]


def standalone(drawing: str) -> str:
    """Return a drawing of the page as a file of its own: with the style sheet and a ground in it."""
    head, rest = drawing.split(">", 1)
    style = _environment().get_template("figures.css").render()
    ground = '<rect width="100%" height="100%" class="paper"/>'
    title = re.search('aria-label="([^"]*)"', head)
    named = f"<title>{title[1]}</title>" if title else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}>{named}<style>{style}</style>{ground}{rest}\n'


def page_html(chip: Any, clips: Sequence[Clip], total: int, steps: int, mode: Literal["aligned", "pipeline"]) -> str:
    """Return the page as the text of a whole HTML document; the same run gives the same text."""
    layers = [(layer.name, count(layer.neurons)) for layer in chip.layers]
    facts = {
        "Clips": plural(total, "clip"),
        "Steps": f"{count(steps)}, one every {milliseconds(chip.dt_us)}" if chip.dt_us else count(steps),
        "Neurons": ", ".join(f"{harmless(name)} {size}" for name, size in layers),
        "Voting neurons per class": count(chip.voting),
        "Timing": TIMING[mode],
    }
    limits = []
    if total > len(clips):
        limits.append(f"The first {count(len(clips))} of {plural(total, 'clip')} are drawn.")
    if steps > STEPS:
        limits.append(f"The first {count(STEPS)} of {plural(steps, 'step')} are drawn; votes are counted over all.")
    return (
        _environment()
        .get_template("raster.html.j2")
        .render(clips=clips, facts=facts, limits=limits, spikes=chip.layers[-1].neuron == "lif")
    )


@cache
def _environment() -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader("neuroemo.simulation"), PackageLoader("export.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _check(
    run: Any,
    chip: Any,
    names: Sequence[str],
    classes: Sequence[str] | None,
    clips: Array | None,
    probed: Mapping[str, Sequence[int]],
) -> list[Finding]:
    """Find everything that keeps these from being drawn together."""
    last = chip.layers[-1]
    if last.name not in run.spikes or not np.asarray(run.spikes[last.name]).size:
        fix = "record the output layer, over one clip and one step at least"
        return [Finding("E870", "error", last.name, "no output was recorded to draw", fix=fix)]
    findings = []
    output = run.spikes[last.name]
    neurons, samples = output[0, 0].size, output.shape[1]
    if classes is not None and len(classes) * chip.voting != neurons:
        found = f"{count(len(classes))} classes of {plural(chip.voting, 'voting neuron')}"
        findings.append(Finding("E871", "error", last.name, found, f"{count(neurons)} output neurons"))
    elif neurons % chip.voting:
        found = f"{count(neurons)} output neurons in groups of {count(chip.voting)}"
        findings.append(Finding("E871", "error", last.name, found, "whole groups"))
    if len(names) != samples:
        findings.append(Finding("E872", "error", "names", plural(len(names), "name"), f"{plural(samples, 'clip')}"))
    if clips is not None and clips.shape[:2] != output.shape[:2]:
        found = f"clips of shape {clips.shape}"
        findings.append(Finding("E873", "error", "clips", found, f"[{output.shape[0]}, {samples}, ...]"))
    layers = {layer.name: layer for layer in chip.layers}
    for name, membrane in run.membrane.items():
        width = membrane[0, 0].size
        if name in probed and len(probed[name]) != width:
            found = f"{count(len(probed[name]))} neurons named"
            findings.append(Finding("E874", "error", name, found, f"{count(width)} potentials recorded"))
        elif name in layers and name not in probed and width != layers[name].neurons:
            found = f"potentials of {count(width)} of {count(layers[name].neurons)} neurons, and not of which"
            findings.append(Finding("E874", "error", name, found, fix="name the chosen neurons (probed)"))
    return findings


def _clip(
    run: Any,
    sent: Mapping[str, Array],
    chip: Any,
    index: int,
    name: str,
    classes: Sequence[str],
    clips: Array | None,
    probed: Mapping[str, Any],
) -> Clip:
    """Draw one clip."""
    from markupsafe import Markup

    last = chip.layers[-1]
    output = _of(run.spikes[last.name], index)
    course = data.vote_course(output, chip.voting)
    time = drawings.Timeline(min(len(output), STEPS), chip.dt_us)
    shown = data.shown_classes(course.cumulative[-1], CLASSES)
    cut = data.VoteCourse(course.cumulative[:STEPS], course.predicted, course.decided, course.tied)
    rates = {
        harmless(layer.name): sent[layer.name][:STEPS, index] / layer.neurons
        for layer in chip.layers
        if layer.name in sent
    }
    groups = _groups(run, chip, index, course, classes, shown, probed)
    inputs = None if clips is None else data.input_course(np.asarray(clips[:STEPS, index]), chip.first_frame)
    return Clip(
        name=name,
        answer=classes[course.predicted],
        decided=courses.decided_words(course),
        voting=Markup(drawings.voting_figure(groups, time, f"Voting neurons of {name}")),
        votes=Markup(courses.vote_figure(cut, classes, shown, time, f"Votes over time of {name}")),
        inputs=None if inputs is None else Markup(courses.input_figure(inputs, time, f"Input of {name}")),
        gray=inputs is not None and inputs.gray,
        rates=Markup(courses.rate_figure(rates, time, f"Firing rates of the layers for {name}")),
        probes=[
            _probe(run, layer, index, time, name, probed, raster=layer is not last or len(shown) < len(classes))
            for layer in chip.layers
            if layer.name in run.membrane
        ],
        recorded=groups[0].membrane is not None,
        traced=count(VOTERS) if chip.voting > VOTERS else "",
        output=harmless(last.name),
        hidden=count(len(classes) - len(shown)) if len(classes) > len(shown) else "",
        columns=[
            "step",
            *([] if inputs is None else inputs.names),
            *rates,
            *(f"votes {classes[place]}" for place in shown),
        ],
        rows=_rows(inputs, rates, cut, shown),
        neurons=_neurons(groups),
        cut_neurons=output.shape[1] > ROWS,
    )


def _of(recorded: Array, index: int) -> Array:
    """Return what one clip recorded, [T, K], neurons in C, H, W order."""
    return np.asarray(recorded[:, index]).reshape(len(recorded), -1)


def _probed_neurons(layer: Any, probed: Mapping[str, Sequence[int]]) -> Array:
    return np.asarray(probed[layer.name] if layer.name in probed else np.arange(layer.neurons), dtype=np.int64)


def _groups(
    run: Any,
    chip: Any,
    index: int,
    course: data.VoteCourse,
    classes: Sequence[str],
    shown: Sequence[int],
    probed: Mapping[str, Any],
) -> list[drawings.Group]:
    layer, size = chip.layers[-1], chip.voting
    spikes = _of(run.spikes[layer.name], index)[:STEPS]
    # A probe of some output neurons cannot fill a class; its potentials are drawn with the probed layers.
    whole = layer.name in run.membrane and run.membrane[layer.name][0, 0].size == spikes.shape[1]
    chosen = _probed_neurons(layer, probed if whole else {})
    membrane = np.empty((len(spikes), spikes.shape[1]), dtype=np.int64) if whole else None
    if membrane is not None:
        membrane[:, chosen] = _of(run.membrane[layer.name], index)[:STEPS]
    thresholds = data.thresholds_of(layer, np.arange(spikes.shape[1]))
    parts = [(place, slice(place * size, (place + 1) * size)) for place in shown]
    return [
        drawings.Group(
            name=classes[place],
            first=place * size,
            spikes=spikes[:, part],
            membrane=None if membrane is None else membrane[:, part],
            traced=data.busiest_neurons(spikes[:, part], VOTERS),
            thresholds=None if thresholds is None else thresholds[part],
            votes=int(course.cumulative[-1, place]),
            answer=place == course.predicted,
        )
        for place, part in parts
    ]


def _probe(
    run: Any,
    layer: Any,
    index: int,
    time: drawings.Timeline,
    clip: str,
    probed: Mapping[str, Sequence[int]],
    *,
    raster: bool,
) -> Probe:
    """Draw a probed layer: its ``raster`` unless it stands elsewhere, and the potentials of the busiest neurons."""
    from markupsafe import Markup

    name = harmless(layer.name)
    ids, membrane = _probed_neurons(layer, probed), _of(run.membrane[layer.name], index)[:STEPS]
    thresholds = data.thresholds_of(layer, ids)
    spikes = _of(run.spikes[layer.name], index)[:STEPS] if layer.name in run.spikes else None
    if spikes is not None:
        fired = spikes[:, ids] != 0
    else:
        # A LIF neuron fires exactly where its potential before reset exceeds the threshold.
        fired = np.zeros(membrane.shape, dtype=bool) if thresholds is None else membrane > thresholds
    chosen = data.busiest_neurons(fired, TRACES)
    drawn, distance = data.sampled_neurons(layer.output_shape)
    picture = None
    if raster and spikes is not None:
        title = f"Spike raster of {name} for {clip}"
        picture = Markup(drawings.raster_figure(spikes[:, drawn], time, title, layer.neurons, distance))
    traces = drawings.trace_figure(
        [data.chip_position(int(ids[place]), layer.output_shape) for place in chosen],
        membrane[:, chosen],
        fired[:, chosen],
        None if thresholds is None else thresholds[chosen],
        time,
        f"Membrane potentials of {name} for {clip}",
    )
    part = f"Neurons 0, {distance}, {2 * distance} … ({count(len(drawn))} of {count(layer.neurons)})"
    rule = f"{'Every neuron' if distance == 1 else part}, in channel, row, column order."
    busy = "All probed neurons" if len(chosen) == len(ids) else f"The {len(chosen)} probed neurons that fire most"
    chosen_rule = f"{busy} (of {count(len(ids))})."
    return Probe(name, picture, rule if raster else "", Markup(traces), chosen_rule, layer.neuron == "lif")


def _rows(
    inputs: data.InputCourse | None, rates: Mapping[str, Array], course: data.VoteCourse, shown: Sequence[int]
) -> list[list[str]]:
    """Return the numbers behind the figures, one row per step."""
    rows = []
    for step in range(len(course.cumulative)):
        events = (
            []
            if inputs is None
            else ["gray" if inputs.gray and step == 0 else count(int(n)) for n in inputs.counts[:, step]]
        )
        fired = [percent(float(rate[step]), 2) for rate in rates.values()]
        votes = [count(int(course.cumulative[step, place])) for place in shown]
        rows.append([str(step + 1), *events, *fired, *votes])
    return rows


def _neurons(groups: Sequence[drawings.Group]) -> list[list[str]]:
    """Return one row per voting neuron: index, class, spikes, first spike, highest potential, threshold."""
    rows = []
    for group in groups:
        for place in range(group.spikes.shape[1]):
            fired = np.flatnonzero(group.spikes[:, place])
            first = str(int(fired[0]) + 1) if len(fired) else "—"
            peak = "—" if group.membrane is None else count(int(group.membrane[:, place].max()))
            limit = "—" if group.thresholds is None else count(int(group.thresholds[place]))
            rows.append([str(group.first + place), group.name, count(len(fired)), first, peak, limit])
    return rows[:ROWS]


def _write(path: Path, text: str) -> Path:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        finding = Finding(
            "E875", "error", str(path), f"cannot be written: {error.strerror}", fix="choose another place"
        )
        raise InputError(finding) from error
    return path
