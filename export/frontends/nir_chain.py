"""The order of a NIR graph's nodes, and everything that keeps them from being one chain from Input to Output."""

from __future__ import annotations

from collections.abc import Mapping

from export.frontends.nir_guard import Network
from hw_targets.finding import Finding

FIX_CHAIN = "the chip file holds sequential networks only: remove the branch, skip connection or recurrence"
FIX_FILE = "write the file again with nir.write"


def data_flow(network: Network) -> tuple[list[str], list[Finding]]:
    """Return the names of all nodes in data-flow order, and what is wrong with their edges.

    Nodes on loops, which have no order, stand last, by name.
    """
    findings, edges = _sound_edges(network)
    after: dict[str, list[str]] = {name: [] for name in network.nodes}
    before: dict[str, list[str]] = {name: [] for name in network.nodes}
    for source, target in edges:
        after[source].append(target)
        before[target].append(source)
    order = _stripped(after, before)
    looped = set(network.nodes) - set(order) - set(_stripped(before, after))
    order += sorted(set(network.nodes) - set(order))
    findings += _ends(network, order)
    for name in order:
        findings += _misplaced(name, type(network.nodes[name]).__name__, before[name], after[name], name in looped)
    return order, findings


def _sound_edges(network: Network) -> tuple[list[Finding], list[tuple[str, str]]]:
    """Return the findings about edges, and the edges that are left without the bad ones."""
    findings = []
    sound: dict[tuple[str, str], None] = {}
    for source, target in network.edges:
        lost = [name for name in (source, target) if name not in network.nodes]
        if lost:
            found = f"leads from {source!r} to {target!r}, and there is no node {lost[0]!r}"
        elif (source, target) in sound:
            found = f"leads from {source!r} to {target!r} a second time"
        else:
            sound[source, target] = None
            continue
        findings.append(Finding("E168", "error", "edges", f"an edge {found}", fix=FIX_FILE))
    return findings, list(sound)


def _stripped(after: Mapping[str, list[str]], before: Mapping[str, list[str]]) -> list[str]:
    """Return the nodes in topological order, ties by name, without those on or behind a loop."""
    waiting = {name: len(sources) for name, sources in before.items()}
    ready = sorted((name for name, count in waiting.items() if not count), reverse=True)
    order = []
    while ready:
        name = ready.pop()
        order.append(name)
        for target in sorted(after[name], reverse=True):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return order


def _ends(network: Network, order: list[str]) -> list[Finding]:
    """Report if there is not one Input and one Output."""
    findings = []
    for kind in ("Input", "Output"):
        names = [name for name in order if type(network.nodes[name]).__name__ == kind]
        if not names:
            findings.append(Finding("E168", "error", "nodes", f"no {kind} node", f"1 {kind} node", fix=FIX_FILE))
        elif len(names) > 1:
            found = f"{len(names)} {kind} nodes: {', '.join(names)}"
            findings.append(Finding("E167", "error", names[1], found, "1", str(len(names) - 1), FIX_CHAIN))
    return findings


def _misplaced(name: str, kind: str, before: list[str], after: list[str], looped: bool) -> list[Finding]:
    """Report what keeps one node from having one neighbour on each side."""
    found: list[tuple[str, str, str]] = []
    if looped:
        found.append(("E167", "is part of a loop (recurrence)", FIX_CHAIN))
    sides = (("is fed by", before, "Input", "something feeds it"), ("feeds", after, "Output", "it feeds something"))
    for verb, neighbours, none_at, oddity in sides:
        if len(neighbours) > 1:
            found.append(("E167", f"{verb} {len(neighbours)} nodes: {', '.join(sorted(neighbours))}", FIX_CHAIN))
        elif not neighbours and kind != none_at:
            found.append(("E168", f"{verb} nothing", FIX_FILE))
        elif neighbours and kind == none_at:
            found.append(("E168", f"is an {kind} node, and {oddity}", FIX_FILE))
    return [Finding(code, "error", name, text, fix=fix) for code, text, fix in found]
