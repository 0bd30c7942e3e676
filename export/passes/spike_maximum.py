"""Max pooling of spikes is a logical OR, which a layer of neurons can compute."""

from __future__ import annotations

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, MaxPool2d, Node


def max_pool_to_or(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Turn each MaxPool2d on spikes into a depthwise convolution of ones and neurons that fire above 0.

    For s in {0, 1}: max over a window = (sum over the window > 0). The neuron forgets everything within
    a step (decay 1), so it fires exactly when the sum is positive. It costs one layer of neurons. Spikes are
    what a neuron or another max pool hands on, and the input where step 0 carries spikes too.
    Findings: E130 not spikes, E134 nothing follows that could use the result.
    """
    nodes: list[Node] = []
    findings: list[Finding] = []
    for at, (node, shape, _) in enumerate(graph.layers()):
        if not isinstance(node, MaxPool2d):
            nodes.append(node)
            continue
        spikes = isinstance(nodes[-1], LIF) if nodes else graph.first_frame == "spikes"
        if spikes and not _last(graph, at):
            ones = np.ones((shape[0], 1, *node.kernel))
            nodes.append(Conv2d(node.name, ones, None, node.stride, node.padding, groups=shape[0]))
            nodes.append(LIF(f"{node.name}.or", decay=1.0, threshold=0.0, inclusive=False))
        else:
            findings.append(_at_the_end(node) if spikes else _not_spikes(node))
            nodes.append(node)
    return graph.replace_nodes(tuple(nodes)), findings


def _last(graph: Graph, at: int) -> bool:
    """Whether neither synapses nor neurons follow: the network's answer would be the pool's, not its neurons'."""
    return all(isinstance(node, Flatten | MaxPool2d) for node in graph.nodes[at + 1 :])


def _not_spikes(node: MaxPool2d) -> Finding:
    return Finding(
        "E130",
        "error",
        node.name,
        "max pooling of currents, averages or gray values, not of spikes",
        fix="pool after the neuron (conv, neuron, max pool), or use average pooling",
    )


def _at_the_end(node: MaxPool2d) -> Finding:
    return Finding(
        "E134",
        "error",
        node.name,
        "max pooling after the last neuron layer",
        fix="end the network in its neurons and pool their spikes outside, or follow the pool by synapses and neurons",
    )
