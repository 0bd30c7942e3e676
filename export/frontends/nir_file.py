"""NIR files to graphs: the differential equations in the file, and the step and comparison that it cannot hold.

NIR (version 1.0.8) records neither the length dt of a time step nor whether a neuron fires at its threshold
('>=') or only above it ('>'). Both change every spike train, and eight tools use seven conventions for dt. The
caller therefore says them, or they stand in the metadata that ``export.nir_writer`` adds; they are never
guessed. The recurrence is forward Euler, spelled out in ``export.frontends.nir_nodes``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from export.frontends.nir_chain import data_flow
from export.frontends.nir_guard import Network, open_network
from export.frontends.nir_nodes import MAX_VALUES, NEURONS, Timing, Translator, out_of_range
from export.frontends.nir_notes import GraphNotes, read_graph_notes
from export.frontends.nir_replay import interpret
from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import Array, Graph, Shape

FirstFrame: TypeAlias = Literal["float", "spikes"]

UNSUPPORTED = frozenset({"E166", "E167", "E170", "E171", "E172", "E173", "E174"})
"""Codes of sound networks that a graph cannot hold; every other code says that the file or an option is wrong."""

CONVENTIONS = {1e-3: "Norse's default", 1e-4: "the default of SpikingJelly and snnTorch"}


@dataclass(frozen=True, slots=True, eq=False)
class NirSource:
    """A network read from a NIR file: its graph, and its nodes as they stand in the file.

    ``dt_s`` is the step in seconds that the time constants were divided by; ``inclusive`` says by node name
    whether a spike needs v >= threshold; ``names`` gives the graph's name of each node of the file;
    ``findings`` are warnings.
    """

    graph: Graph
    network: Network
    dt_s: float
    inclusive: dict[str, bool]
    names: dict[str, str]
    findings: tuple[Finding, ...] = ()
    framework: str = "nir"

    def spikes(self, clips: Array, *, precision: Literal["float32", "float64"] = "float32") -> dict[str, Array]:
        """Return the spikes uint8 [T, N, ...] by neuron layer that NIR's own equations give on ``clips`` [T, N, ...].

        Raises:
            InputError: the clips are not finite, or not of the network's input shape.
        """
        if clips.ndim < 3 or tuple(clips.shape[2:]) != self.graph.input_shape or not np.isfinite(clips).all():
            found = f"clips of shape {clips.shape}"
            limit = f"finite values [T, N, {', '.join(map(str, self.graph.input_shape))}]"
            raise InputError(Finding("E164", "error", "clips", found, limit))
        spikes = interpret(self.network, clips, dt_s=self.dt_s, inclusive=self.inclusive, precision=precision)
        return {self.names[name]: fired for name, fired in spikes.items()}


def read_nir(
    path: Path,
    *,
    steps: int | None = None,
    dt_us: float | None = None,
    inclusive: bool | None = None,
    first_frame: FirstFrame | None = None,
    voting: int | None = None,
) -> NirSource:
    """Return the network in the NIR file at ``path``.

    What is None is taken from the metadata of a file that this toolkit wrote, where it is in agreement with
    everything else; ``first_frame`` and ``voting`` are then "spikes" and 1 for other files. For a file without
    the metadata ``steps``, ``dt_us`` (microseconds) and ``inclusive`` must be given.

    Raises:
        InputError: the file is missing or damaged, an option is missing or contradicts the file.
        UnsupportedError: the network is sound, and is not a chain of layers that a graph can hold.
        MissingDependencyError: the package ``nir`` is not installed.
    """
    options = Options(steps, dt_us, inclusive, first_frame, voting)
    try:
        return read_network(open_network(path), options)
    except (InputError, UnsupportedError) as error:
        named = tuple(f if f.code == "E160" else replace(f, node=f"{path.name}: {f.node}") for f in error.findings)
        raise type(error)(named) from error


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller says about a file, None where the file is to say it."""

    steps: int | None = None
    dt_us: float | None = None
    inclusive: bool | None = None
    first_frame: FirstFrame | None = None
    voting: int | None = None


def read_network(network: Network, options: Options) -> NirSource:
    """Return the source for nodes that are already in memory; raises what ``read_nir`` raises."""
    notes, problems = read_graph_notes(network.metadata)
    problems += _impossible(options)
    findings = problems + _contradictions(options, notes)
    dt_us = options.dt_us if notes is None else notes.dt_us
    usable = dt_us is not None and math.isfinite(dt_us) and dt_us > 0
    dt_s = dt_us / 1e6 if usable and dt_us is not None else None  # dividing keeps 100 us at exactly 1e-4 s
    compare = options.inclusive if notes is None or options.inclusive is not None else notes.inclusive
    order, disorder = data_flow(network)
    findings += disorder
    walk = Translator(dt_s, compare, notes is not None)
    _translate(network, order, walk, chained=not disorder)
    missing = [] if any(f.code == "E163" for f in problems) else _missing(options, notes, walk, dt_us)
    findings = missing + findings + walk.findings + (_wrong_steps(walk, dt_s) if dt_s is not None else [])
    if findings:
        raise _error(findings, order, walk)
    graph = _graph(walk, _input_shape(network.nodes[order[0]]) or (), options, notes, dt_us)
    hints = [] if notes is not None or dt_s is None else _doubtful_dt(walk.timings, dt_s)
    hints += _other_steps(options, notes)
    compares = {name: bool(value) for name, value in walk.compares.items()}
    return NirSource(graph, network, dt_s or 0.0, compares, walk.names, tuple(hints))


def _impossible(options: Options) -> list[Finding]:
    """Report options that no network can have."""
    dt, first = options.dt_us, options.first_frame
    checks = (
        ("--dt", dt, dt is None or (math.isfinite(dt) and dt > 0), "a positive number"),
        ("--steps", options.steps, options.steps is None or options.steps >= 1, "at least 1"),
        ("--voting", options.voting, options.voting is None or options.voting >= 1, "at least 1"),
        ("--first-frame", first, first in (None, "float", "spikes"), "float or spikes"),
    )
    return [Finding("E164", "error", name, f"{value!r}", limit) for name, value, good, limit in checks if not good]


def _contradictions(options: Options, notes: GraphNotes | None) -> list[Finding]:
    """Report options that say something else than the file does; comparisons are looked at layer by layer."""
    if notes is None:
        return []
    findings = []
    if options.dt_us is not None and not math.isclose(options.dt_us, notes.dt_us, rel_tol=1e-9):
        said, noted = f"{options.dt_us / 1e6:g} s", f"{notes.dt_us / 1e6:g} s, as the file says"
        findings.append(Finding("E162", "error", "--dt", said, noted, fix="leave the option out"))
    for name, value, kept in (
        ("--first-frame", options.first_frame, notes.first_frame),
        ("--voting", options.voting, notes.voting),
    ):
        if value is not None and value != kept:
            limit = f"{kept}, as the file says"
            findings.append(Finding("E162", "error", name, f"{value}", limit, fix="leave the option out"))
    return findings


def _missing(options: Options, notes: GraphNotes | None, walk: Translator, dt_us: float | None) -> list[Finding]:
    """Name every option that neither the caller nor the file gives."""
    findings = []
    if dt_us is None and notes is None:
        fix = "pass --dt SECONDS, the step that the file's writer used; " + _suggestion(walk.timings)
        findings.append(Finding("E161", "error", "--dt", "NIR does not record the time step", fix=fix))
    if any(value is None for value in walk.compares.values()) or (options.inclusive is None and notes is None):
        found = "NIR does not record whether a neuron fires at its threshold"
        fix = "pass --spike-comparison '>=' (SpikingJelly) or '>' (Norse, snnTorch)"
        findings.append(Finding("E161", "error", "--spike-comparison", found, fix=fix))
    if options.steps is None and notes is None:
        fix = "pass --steps COUNT, the frames of one clip"
        findings.append(Finding("E161", "error", "--steps", "NIR does not record how many steps a clip has", fix=fix))
    return findings


def _translate(network: Network, order: list[str], walk: Translator, *, chained: bool) -> None:
    """Translate all nodes in turn; shapes are followed only where the nodes form one chain."""
    for name in order:
        node = network.nodes[name]
        kind = type(node).__name__
        if kind == "Input":
            walk.shape = _input_shape(node)
            if walk.shape is None:
                found = f"an input of shape {node.input_type.get('input')!r}"
                walk.report("E172", name, found, f"(C, H, W) or (N,), up to {MAX_VALUES} values")
        elif kind == "Output":
            _check_output(name, node, walk)
        else:
            if not chained:
                walk.shape = None
            walk.add(name, node)
    if chained and not walk.findings and walk.factor != 1.0:
        fix = "end the network in a spiking neuron"
        walk.report("E174", order[-2], f"a factor of {walk.factor:g} that no layer after it can take in", fix=fix)
    if not walk.compares and not walk.findings:
        walk.report("E166", "nodes", "no spiking neuron", f"at least one of {', '.join(NEURONS)}")


def _input_shape(node: Any) -> Shape | None:
    """Return the shape that an Input node declares, None where a graph cannot have it."""
    declared = np.asarray(node.input_type.get("input"))
    if declared.dtype.kind not in "iu" or declared.ndim != 1 or declared.size not in (1, 3):
        return None
    shape = tuple(int(n) for n in declared)
    return shape if min(shape) >= 1 and math.prod(shape) <= MAX_VALUES else None


def _check_output(name: str, node: Any, walk: Translator) -> None:
    declared = np.asarray(node.output_type.get("output"))
    if walk.shape is not None and walk.dt is not None and tuple(declared.ravel()) != walk.shape:
        walk.report("E175", name, f"an output of shape {tuple(declared.ravel().tolist())} where {walk.shape} arrives")


def _wrong_steps(walk: Translator, dt: float) -> list[Finding]:
    """Report the time constants that one step of forward Euler cannot take: dt/tau must lie in (0, 1]."""
    findings = []
    for timing in walk.timings:
        for key, tau in timing.constants.items():
            if not out_of_range(dt, tau):
                continue
            ratio = dt / tau if tau else math.inf
            over = f"{ratio - 1:g}" if tau > 0 else ""
            fix = _suggestion(walk.timings) if tau > 0 else "a time constant is positive: write the file again"
            found = f"dt/{key} = {dt:g} s / {tau:g} s = {ratio:g}"
            findings.append(Finding("E169", "error", timing.name, found, "above 0, at most 1", over, fix))
    return findings


def _suggestion(timings: list[Timing]) -> str:
    """Return which dt the file was probably written with."""
    constants = [tau for timing in timings for tau in timing.constants.values() if tau > 0]
    shortest = min(constants, default=math.inf)
    implied = _agreed_dt(timings)
    if implied is not None and implied <= shortest * (1 + 1e-9):
        return f"probably --dt {implied:.6g}: every neuron's r is its tau divided by that"
    fitting = [f"--dt {dt:g} ({whose})" for dt, whose in CONVENTIONS.items() if dt <= shortest]
    return f"perhaps {' or '.join(fitting)}" if fitting else f"at most {shortest:g} s suits the time constants"


def _agreed_dt(timings: list[Timing]) -> float | None:
    """Return the dt on which the resistances of all neuron layers agree, if they do."""
    implied = [timing.implied_dt for timing in timings]
    if not implied or implied[0] is None:
        return None
    same = all(dt is not None and math.isclose(dt, implied[0], rel_tol=1e-6) for dt in implied)
    return implied[0] if same else None


def _doubtful_dt(timings: list[Timing], dt: float) -> list[Finding]:
    """Warn where the resistances speak for another dt, at which the network would compute something else."""
    implied = _agreed_dt(timings)
    if implied is None or math.isclose(implied, dt, rel_tol=1e-6):
        return []
    found = f"dt {dt:g} s, while every neuron's r is its tau divided by {implied:.6g} s"
    fix = f"if SpikingJelly or snnTorch wrote the file, its dt is {implied:.6g} s"
    return [Finding("W160", "warning", "--dt", found, f"{implied:.6g} s", fix=fix)]


def _other_steps(options: Options, notes: GraphNotes | None) -> list[Finding]:
    if notes is None or options.steps in (None, notes.steps):
        return []
    found = f"{options.steps} steps, where the file was written for {notes.steps}"
    return [Finding("W162", "warning", "--steps", found, f"{notes.steps}", fix="leave the option out, or mean it")]


def _graph(walk: Translator, shape: Shape, options: Options, notes: GraphNotes | None, dt_us: float | None) -> Graph:
    """Return the graph; a dt that the writer only assumed is not the network's, unless the caller says it is."""
    if notes is not None and notes.dt_is_nominal and options.dt_us is None:
        dt_us = None
    return Graph(
        tuple(walk.nodes),
        shape,
        options.steps or (notes.steps if notes else 1),
        dt_us,
        options.first_frame or (notes.first_frame if notes else "spikes"),
        options.voting or (notes.voting if notes else 1),
    )


def _error(findings: list[Finding], order: list[str], walk: Translator) -> InputError | UnsupportedError:
    """Return one error with all findings: about options first, then in data-flow order."""
    place = {walk.names.get(name, name): at for at, name in enumerate(order)} | {n: at for at, n in enumerate(order)}
    findings = sorted(findings, key=lambda finding: place.get(finding.node, -1))
    kind = UnsupportedError if all(finding.code in UNSUPPORTED for finding in findings) else InputError
    return kind(findings)
