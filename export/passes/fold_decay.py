"""The neuron's input gain and resting potential become part of weights, bias and threshold."""

from __future__ import annotations

from dataclasses import replace

from hw_targets.finding import Finding
from hw_targets.graph import LIF, Conv2d, Graph, Linear, Node


def fold_decay(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Give every neuron gain 1 and rest 0.

    The gain multiplies the synapses: w' = gain w, b' = gain b (SpikingJelly's ``decay_input`` has gain
    1/tau). Measuring the potential from rest shifts the threshold alone: threshold' = threshold - rest,
    because the leak pulls towards rest and the reset returns to it.
    """
    nodes: list[Node] = []
    synapse_at: int | None = None
    for node in graph.nodes:
        nodes.append(node)
        match node:
            case Conv2d() | Linear():
                synapse_at = len(nodes) - 1
            case LIF() if synapse_at is not None:
                synapse = nodes[synapse_at]
                if node.gain != 1.0 and isinstance(synapse, Conv2d | Linear):
                    bias = None if synapse.bias is None else synapse.bias * node.gain
                    nodes[synapse_at] = replace(synapse, weight=synapse.weight * node.gain, bias=bias)
                nodes[-1] = replace(node, gain=1.0, rest=0.0, threshold=node.threshold - node.rest)
                synapse_at = None
            case _:
                pass
    return graph.replace_nodes(tuple(nodes)), []
