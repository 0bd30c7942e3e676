"""Batch normalisation becomes part of the synapses before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import AvgPool2d, BatchNorm, Conv2d, Graph, Linear, Node, Synapse


def fold_batchnorm(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Fold every BatchNorm into the Conv2d or Linear that feeds it.

    With a = gamma / sqrt(variance + eps): w' = a w, b' = a (b - mean) + beta. An unpadded average pool in
    between changes nothing, since the mean of an affine map is the affine map of the mean.
    """
    nodes: list[Node] = []
    findings: list[Finding] = []
    for node in graph.nodes:
        if not isinstance(node, BatchNorm):
            nodes.append(node)
            continue
        at = _feeding_synapse(nodes)
        if at is None:
            findings.append(
                Finding(
                    "E120",
                    "error",
                    node.name,
                    "batch normalisation is not fed by a convolution or a linear layer",
                    fix="normalise the output of a synapse layer; before a padded convolution it is not exact",
                )
            )
            nodes.append(node)
        else:
            nodes[at] = _scaled(nodes[at], node)  # type: ignore[arg-type]
    return graph.replace_nodes(tuple(nodes)), findings


def _feeding_synapse(nodes: list[Node]) -> int | None:
    """Return the position of the synapse whose output the next node sees, looking through average pools."""
    for at in range(len(nodes) - 1, -1, -1):
        match nodes[at]:
            case Conv2d() | Linear():
                return at
            case AvgPool2d(padding=(0, 0)):
                continue
            case _:
                return None
    return None


def _scaled(synapse: Synapse, norm: BatchNorm) -> Synapse:
    factor = norm.gamma / np.sqrt(norm.variance + norm.eps)
    bias = 0.0 if synapse.bias is None else synapse.bias
    weight = synapse.weight * factor.reshape(-1, *([1] * (synapse.weight.ndim - 1)))
    return replace(synapse, weight=weight, bias=(bias - norm.mean) * factor + norm.beta)
