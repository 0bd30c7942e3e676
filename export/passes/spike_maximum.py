"""Max pooling of spikes is a logical OR, which a layer of neurons can compute."""

from __future__ import annotations

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import LIF, Conv2d, Graph, MaxPool2d, Node


def max_pool_to_or(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Turn each MaxPool2d on spikes into a depthwise convolution of ones and neurons that fire above 0.

    For s in {0, 1}: max over a window = (sum over the window > 0). The neuron forgets everything within
    a step (decay 1), so it fires exactly when the sum is positive. It costs one layer of neurons.
    """
    nodes: list[Node] = []
    findings: list[Finding] = []
    for node, shape, _ in graph.layers():
        if not isinstance(node, MaxPool2d):
            nodes.append(node)
        elif nodes and isinstance(nodes[-1], LIF):
            ones = np.ones((shape[0], 1, *node.kernel))
            nodes.append(Conv2d(node.name, ones, None, node.stride, node.padding, groups=shape[0]))
            nodes.append(LIF(f"{node.name}.or", decay=1.0, threshold=0.0, inclusive=False))
        else:
            findings.append(
                Finding(
                    "E130",
                    "error",
                    node.name,
                    "max pooling of currents or gray values, not of spikes",
                    fix="pool after the neuron (conv, neuron, max pool), or use average pooling",
                )
            )
            nodes.append(node)
    return graph.replace_nodes(tuple(nodes)), findings
