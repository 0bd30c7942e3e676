"""Flattening what is flat already changes nothing."""

from __future__ import annotations

from hw_targets.finding import Finding
from hw_targets.graph import Flatten, Graph


def one_flatten(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Drop every Flatten whose input is a vector: [N] to [N] in the same order."""
    nodes = tuple(node for node, shape, _ in graph.layers() if not (isinstance(node, Flatten) and len(shape) == 1))
    return graph.replace_nodes(nodes), []
