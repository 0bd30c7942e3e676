"""Graphs to NIR files that SpikingJelly 2, Norse and snnTorch read, as far as their importers know the layers.

A neuron with decay, gain and rest, in steps of dt, becomes the differential equation whose forward Euler step it is::

    tau = dt / decay    r = gain / decay    v_leak = v_reset = rest          LIF
    r = gain / dt       v_reset = rest                                      IF,      where decay is 0
    tau_mem = dt / decay    tau_syn = dt / current_decay
    r = gain / decay        w_in = 1 / current_decay                        CubaLIF, where current_decay < 1

What NIR cannot say (dt, '>=' or '>', when the reset happens, the first frame, the vote) goes into the metadata,
see ``export.frontends.nir_notes``; only this toolkit reads it. Arrays keep the graph's number type.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from export.frontends.nir_notes import COMPARISONS, KEY, NOMINAL_DT_US, RESET, SCHEMA
from hw_targets.finding import Finding, InputError, MissingDependencyError, UnsupportedError
from hw_targets.graph import LIF, AvgPool2d, Conv2d, Flatten, Graph, Linear, Node, Shape

SIGNS = {inclusive: sign for sign, inclusive in COMPARISONS.items()}


def write_nir(graph: Graph, path: Path, *, metadata: dict[str, Any] | None = None) -> None:
    """Write ``graph`` to ``path`` as NIR, aside first and then renamed; the bytes depend on the arguments alone.

    Where the graph does not know its dt, 1e-4 s is assumed and the notes say so. ``metadata`` (texts, numbers
    and truth values by name) is kept beside the notes.

    Raises:
        UnsupportedError: with every node that NIR has no equation for.
        InputError: the metadata cannot be stored, or the path cannot be written.
        MissingDependencyError: the package ``nir`` is not installed.
    """
    try:
        import nir
    except ImportError as error:
        found = f"the package nir cannot be imported ({error})"
        raise MissingDependencyError(Finding("E449", "error", "nir", found, fix="pip install nir")) from error
    errors = [finding for finding in nir_findings(graph) if finding.severity == "error"]
    if errors:
        raise UnsupportedError(errors)
    bad = _unstorable(metadata or {})
    if bad:
        raise InputError(bad)
    nodes, edges = _network(nir, graph)
    network = nir.NIRGraph(nodes, edges, metadata={**(metadata or {}), KEY: _graph_notes(graph)}, type_check=False)
    aside = path.with_name(path.name + ".partial")
    try:
        nir.write(aside, network)
        os.replace(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        found = f"cannot be written: {error.strerror or error}"
        raise InputError(Finding("E445", "error", str(path), found, fix="choose another place")) from error


def nir_findings(graph: Graph) -> list[Finding]:
    """Return what NIR cannot hold of ``graph`` (errors), and where known readers go wrong on it (warnings)."""
    findings = [found for node, _, _ in graph.layers() for found in _node_findings(node)]
    odd = [node.name for node in graph.nodes if isinstance(node, LIF) and node.inclusive]
    if odd:
        found = f"{len(odd)} layers fire at the threshold itself; NIR's equations say above it"
        fix = "readers other than SpikingJelly decide exact ties the other way"
        findings.append(Finding("W442", "warning", odd[0], found, "v > v_threshold", fix=fix))
    return findings


def _node_findings(node: Node) -> list[Finding]:
    """Return the findings about one node."""
    findings: list[Finding] = []

    def add(code: str, found: str, limit: str, fix: str) -> None:
        severity: Any = "error" if code.startswith("E") else "warning"
        findings.append(Finding(code, severity, node.name, found, limit, fix=fix))

    arrays = {key: getattr(node, key) for key in ("weight", "bias") if getattr(node, key, None) is not None}
    constants = (
        {key: getattr(node, key) for key in ("decay", "gain", "rest", "threshold", "current_decay")}
        if (isinstance(node, LIF))
        else {}
    )
    for key, value in {**arrays, **constants}.items():
        if not np.isfinite(value).all():
            add("E444", f"{key} holds values that are not finite", "finite numbers", "train again")
    match node:
        case Conv2d():
            height, width = node.weight.shape[2:]
            if height != width or node.groups != 1:
                found = f"a kernel of {height}x{width} in {node.groups} groups"
                fix = "read the file with nir.read(path, type_check=False): nir 1.0.8 checks such layers wrongly"
                add("W440", found, "square, 1 group", fix)
        case LIF():
            if node.reset != "zero":
                add("E441", "soft reset (by subtraction)", "v <- v_reset", "NIR's neurons reset to a fixed value")
            if not 0 <= node.decay <= 1 or not 0 < node.current_decay <= 1:
                found = f"decay {node.decay:g}, current_decay {node.current_decay:g}"
                add("E442", found, "decay in [0, 1], current_decay in (0, 1]", "no time constant gives such a decay")
            elif node.decay == 0 and node.current_decay < 1:
                fix = "give the neuron a leak"
                add("E443", "synaptic memory without a leak", "IF has none, CubaLIF needs a time constant", fix)
            elif node.current_decay == 1 and node.decay not in (0, node.gain):
                fix = "write with_unit_resistance(graph): Norse 1.1 leaves r out of its LIF, with a warning only"
                add("W441", f"r = {node.gain / node.decay:g}", "1", fix)
        case Linear() | AvgPool2d() | Flatten():
            pass
        case _:
            kind = type(node).__name__
            add(
                "E440",
                f"NIR has no {kind}",
                "Conv2d, Linear, AvgPool2d, Flatten, LIF",
                f"fold the {kind} away: lower()",
            )
    return findings


def with_unit_resistance(graph: Graph) -> Graph:
    """Return the same network with r = 1 in every LIF: the synapses take over the factor gain / decay.

    Norse reads v <- v + dt/tau (v_leak - v + x) whatever r is. Exact where the factor is a power of two,
    else each weight is rounded once.
    """
    nodes: list[Node] = []
    synapse_at: int | None = None
    for node in graph.nodes:
        nodes.append(node)
        if isinstance(node, Conv2d | Linear):
            synapse_at = len(nodes) - 1
        elif isinstance(node, LIF):
            synapse = nodes[synapse_at] if synapse_at is not None else None
            if isinstance(synapse, Conv2d | Linear) and node.decay > 0 and node.current_decay == 1:
                factor = node.gain / node.decay
                bias = None if synapse.bias is None else synapse.bias * factor
                nodes[synapse_at or 0] = replace(synapse, weight=synapse.weight * factor, bias=bias)
                nodes[-1] = replace(node, gain=node.decay)
            synapse_at = None
    return graph.replace_nodes(tuple(nodes))


def _unstorable(metadata: dict[str, Any]) -> list[Finding]:
    """Report metadata that HDF5 would store as something else, or that takes our place."""
    findings = []
    for key, value in metadata.items():
        plain = isinstance(value, str | bool | int | float) and not (isinstance(value, str) and "\0" in value)
        named = isinstance(key, str) and key not in (KEY, "", ".") and "/" not in key and "\0" not in key
        if not plain or not named or (isinstance(value, int) and abs(value) >= 2**63):
            limit = f"a text, number or truth value; a name without '/', other than {KEY!r}"
            findings.append(Finding("E446", "error", f"metadata {key!r}", f"{value!r:.80}", limit))
    return findings


def _graph_notes(graph: Graph) -> dict[str, Any]:
    signs = {SIGNS[node.inclusive] for node in graph.neurons()}
    return {
        "schema": SCHEMA,
        "dt_us": float(NOMINAL_DT_US if graph.dt_us is None else graph.dt_us),
        "dt_is_nominal": graph.dt_us is None,
        "steps": graph.steps,
        "voting": graph.voting,
        "first_frame": graph.first_frame,
        "spike_order": graph.spike_order,
        "spike_comparison": signs.pop() if len(signs) == 1 else "mixed",
        "reset": RESET,
    }


def _network(nir: Any, graph: Graph) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the nodes and edges of the chain from ``input`` to ``output``."""
    dt = (NOMINAL_DT_US if graph.dt_us is None else graph.dt_us) / 1e6
    nodes: dict[str, Any] = {"input": nir.Input(np.array(graph.input_shape, dtype=np.int64))}
    for node, before, after in graph.layers():
        nodes[_unused(node.name, {*nodes, "output"})] = _node(nir, node, before, after, dt)
    last = graph.shapes[-1] if graph.shapes else graph.input_shape
    nodes["output"] = nir.Output(np.array(last, dtype=np.int64))
    chain = list(nodes)
    return nodes, list(pairwise(chain))


def _unused(name: str, taken: set[str]) -> str:
    """Return a name that HDF5 and the attributes of torch modules can carry, and that is not taken yet.

    >>> _unused("features.0", {"features_0"}), _unused("1", set())
    ('features_0_2', 'layer_1')
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "layer"
    plain = f"layer_{plain}" if plain[0].isdigit() else plain
    unique, count = plain, 1
    while unique in taken:
        count += 1
        unique = f"{plain}_{count}"
    return unique


def _node(nir: Any, node: Node, before: Shape, after: Shape, dt: float) -> Any:
    """Return the NIR node for one graph node."""
    noted: dict[str, Any] = {"name": node.name}
    match node:
        case Conv2d():
            bias = np.zeros(len(node.weight), node.weight.dtype) if node.bias is None else node.bias
            made = nir.Conv2d(
                before[1:], node.weight, node.stride, node.padding, node.dilation, node.groups, bias
            )  # NIR demands a bias
        case Linear():
            made = nir.Linear(node.weight) if node.bias is None else nir.Affine(node.weight, node.bias)
        case AvgPool2d():
            made = nir.AvgPool2d(*(np.array(pair) for pair in (node.kernel, node.stride, node.padding)))
        case Flatten():
            made = nir.Flatten({"input": np.array(before)}, start_dim=0, end_dim=-1)  # NIR counts without the batch
        case LIF():
            made = _neuron(nir, node, after, dt)
            noted["spike_comparison"] = SIGNS[node.inclusive]
            noted |= {key: float(getattr(node, key)) for key in ("decay", "gain", "current_decay")}
        case _:
            raise TypeError(f"no NIR node for {type(node).__name__} {node.name}")
    made.metadata = {KEY: noted}
    return made


def _neuron(nir: Any, node: LIF, shape: Shape, dt: float) -> Any:
    """Return a layer of neurons with one entry per neuron in every array, as NIR asks for."""
    rest = {"v_threshold": node.threshold, "v_reset": node.rest}
    if node.decay == 0:
        kind, values = nir.IF, {"r": node.gain / dt}
    elif node.current_decay == 1:
        kind, values = nir.LIF, {"tau": dt / node.decay, "r": node.gain / node.decay, "v_leak": node.rest}
    else:
        times = {"tau_mem": dt / node.decay, "tau_syn": dt / node.current_decay}
        weights = {"r": node.gain / node.decay, "w_in": 1 / node.current_decay}
        kind, values = nir.CubaLIF, {**times, **weights, "v_leak": node.rest}
    return kind(**{key: np.full(shape, value, dtype=np.float64) for key, value in {**values, **rest}.items()})
