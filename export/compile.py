"""From a source to a chip's integers: capture, fold, check, quantise, place; all findings together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from export.deployment import LOST_GRAY, Deployment, Encoding, default_encoding, split_input
from export.frontends.leaves import PartlyCaptured
from export.losses import accept_losses, check_allowed
from export.passes import lower
from export.reference import run_graph
from export.sources import Source
from hw_targets.finding import CapacityError, Finding, InputError, UnsupportedError, refuse
from hw_targets.graph import LIF, Array, Conv2d, Graph, Linear


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile: bits per weight, how the input reaches the chip, which losses are allowed, data to bound sums."""

    weight_bits: int = 8
    encoding: Encoding | None = None
    allowed: tuple[str, ...] = ()
    calibration: Array | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model in its static forms, with the cores it needs and what was noticed on the way.

    ``folded`` is the whole network after the passes, ``deployment`` what runs where; ``lossy`` names the neuron
    layers that an allowed loss changed, ``allowed`` the codes that were used. ``fine_tuned``: training chose the
    integers, so that the chip must do exactly what the network does, and the graphs are but a view of it.
    """

    captured: Graph
    folded: Graph
    deployment: Deployment
    placement: tuple[Any, ...]
    findings: tuple[Finding, ...]
    lossy: frozenset[str] = frozenset()
    allowed: tuple[str, ...] = ()
    fine_tuned: bool = False

    @property
    def chip(self) -> Any:
        """The chip's integers."""
        return self.deployment.chip


@dataclass(slots=True)
class Checked:
    """How far a network came: each form is None when the one before it could not be reached."""

    captured: Graph
    folded: Graph | None = None
    deployment: Deployment | None = None
    placement: tuple[Any, ...] = ()
    findings: tuple[Finding, ...] = ()
    lossy: frozenset[str] = frozenset()
    allowed: tuple[str, ...] = ()
    fine_tuned: bool = False


def check_source(source: Source, example: Array, target: Any, options: Options) -> Checked:
    """Take ``source`` as far as it goes towards ``target`` and return it with everything that was found.

    Raises:
        UnsupportedError: the front end cannot make a graph of it.
    """
    check_allowed(options.allowed)
    captured = _captured(source, example, target)
    checked = Checked(captured)
    deploying = target.kind == "deploy"
    folded, findings = lower(captured, target.folds, complete=deploying)
    if any(finding.severity == "error" for finding in findings):
        reported = {finding.node for finding in findings}
        findings += [finding for finding in target.check(folded) if finding.node not in reported]
        checked.findings = tuple(in_order(findings, captured, folded))
        return checked
    checked.folded = folded
    if not deploying:
        checked.findings = tuple(in_order(findings + target.check(folded), captured, folded))
        return checked
    encoding = options.encoding or default_encoding(folded)
    checked.fine_tuned = source.chip() is not None
    if checked.fine_tuned and encoding != default_encoding(folded):
        wrong = f"input encoding {encoding!r} for a network that was fine-tuned on another"
        raise InputError(Finding("E466", "error", "input", wrong, repr(default_encoding(folded)), fix="leave it out"))
    host, part, lost = split_input(folded, encoding)
    findings += lost + target.check(part)
    part, findings, lossy, used = accept_losses(part, findings, options.allowed)
    if LOST_GRAY in used:
        lossy = lossy | {part.neurons()[0].name}
    checked.folded = replace(host, nodes=host.nodes + part.nodes) if host else part
    checked.lossy, checked.allowed = frozenset(lossy), used
    if not any(finding.severity == "error" for finding in findings):
        chip, found = _quantized(source, host, part, target, options)
        findings += found
        if chip is not None:
            placement, notes = target.place(chip)
            findings += notes
            checked.placement = tuple(placement)
            checked.deployment = Deployment(target, chip, encoding, host, LOST_GRAY in used)
    checked.findings = tuple(in_order(findings, captured, folded))
    return checked


def _captured(source: Source, example: Array, target: Any) -> Graph:
    """Return the captured graph; where some layers have none, judge the others too, so that all is said at once."""
    try:
        return source.graph(example)
    except PartlyCaptured as error:
        neurons = Graph(tuple(node for node in error.nodes if isinstance(node, LIF)), (1,), 1, None)
        place = {name: index for index, name in enumerate(error.order)}
        findings = sorted([*error.findings, *target.check(neurons)], key=lambda found: place.get(found.node, -1))
        raise UnsupportedError(findings) from error


def _quantized(
    source: Source, host: Graph | None, part: Graph, target: Any, options: Options
) -> tuple[Any | None, list[Finding]]:
    """Return the integers and what is wrong with them; None where there are none."""
    chip = source.chip()
    if chip is None:
        drive = None if options.calibration is None else measure_drive(host, part, options.calibration)
        try:
            chip = target.quantize(part, weight_bits=options.weight_bits, drive_max=drive)
        except CapacityError as error:
            return None, list(error.findings)
    findings = target.check_chip(chip)
    return chip, findings


def measure_drive(host: Graph | None, part: Graph, clips: Array) -> dict[str, float]:
    """Return, by neuron layer, the largest synaptic sum (its own bias counted on top) that ``clips`` cause."""
    if host is not None:
        clips = run_graph(host, clips).output.astype("float32")
    drive = run_graph(part, clips).drive
    bias = 0.0
    for node in part.nodes:
        if isinstance(node, Conv2d | Linear):
            bias = 0.0 if node.bias is None else float(abs(node.bias).max())
        elif isinstance(node, LIF):
            drive[node.name] += bias
    return drive


def compile_source(source: Source, example: Array, target: Any, options: Options) -> Compiled:
    """Compile ``source``, or refuse it with every reason at once.

    Raises:
        UnsupportedError: the target, or netx, cannot express something.
        CapacityError: everything can be expressed but not held.
    """
    checked = check_source(source, example, target, options)
    refuse(checked.findings)
    if checked.folded is None or checked.deployment is None:
        raise RuntimeError(f"nothing was compiled for {target.name}, and nothing was found")
    return Compiled(
        checked.captured,
        checked.folded,
        checked.deployment,
        checked.placement,
        checked.findings,
        checked.lossy,
        checked.allowed,
        checked.fine_tuned,
    )


def in_order(findings: Iterable[Finding], *graphs: Graph) -> list[Finding]:
    """Return findings in data-flow order, each of them once."""
    position: dict[str, int] = {}
    for graph in graphs:
        for index, node in enumerate(graph.nodes):
            position.setdefault(node.name, index)
    unique = list(dict.fromkeys(findings))
    return sorted(unique, key=lambda finding: position.get(finding.node, -1))
