"""Batch normalisation becomes part of the synapses before it, or of those after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import Array, AvgPool2d, BatchNorm, Conv2d, Flatten, Graph, Linear, Node, Synapse


def fold_batchnorm(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Fold every BatchNorm into the synapses that feed it, else into those that it feeds.

    With a = gamma / sqrt(variance + eps) and c = beta - a mean, y = a x + c per channel.
    Fed by synapses: w' = a w, b' = a b + c. Feeding synapses: w' = w a (per input channel), b' = b + sum of
    w c over all inputs of an output; exact only where every input is a normalised value, so not over zero padding.
    An average pool in between changes nothing unless it is padded, since the mean of an affine map is the
    affine map of the mean. Findings: E120 no synapses next to it, E121 zero padding in the way.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        at = _fed_by(nodes) if isinstance(node, BatchNorm) else None
        if at is None or not isinstance(node, BatchNorm):
            nodes.append(node)
        else:
            nodes[at] = scaled_outputs(nodes[at], node)  # type: ignore[arg-type]
    findings: list[Finding] = []
    for here in reversed(range(len(nodes))):  # the last one first: normalisations in a row fold one by one
        norm = nodes[here]
        if isinstance(norm, BatchNorm):
            outcome = _fold_forward(nodes, here, norm)
            findings += [outcome] if isinstance(outcome, Finding) else []
            nodes = nodes if isinstance(outcome, Finding) else outcome
    return graph.replace_nodes(tuple(nodes)), findings[::-1]


def _fed_by(nodes: list[Node]) -> int | None:
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


def _fold_forward(nodes: list[Node], here: int, norm: BatchNorm) -> list[Node] | Finding:
    """Fold the normalisation at one position into the synapses it feeds, or say why that is not exact."""
    padded = ""
    for at in range(here + 1, len(nodes)):
        match nodes[at]:
            case AvgPool2d() as pool:
                padded = padded or (pool.name if any(pool.padding) else "")
            case Flatten():
                continue
            case Conv2d() | Linear() as synapse:
                if isinstance(synapse, Conv2d) and any(synapse.padding):
                    padded = padded or synapse.name
                if padded and _shift(norm).any():
                    return _over_padding(norm, padded)
                return [*nodes[:here], *nodes[here + 1 : at], scaled_inputs(synapse, norm), *nodes[at + 1 :]]
            case _:
                break
    return Finding(
        "E120",
        "error",
        norm.name,
        "batch normalisation is not fed by a convolution or a linear layer, and feeds none",
        fix="normalise the output of a convolution or linear layer, before its neuron",
    )


def _over_padding(norm: BatchNorm, padded: str) -> Finding:
    return Finding(
        "E121",
        "error",
        norm.name,
        f"batch normalisation before {padded}, which pads with zeros that are not normalised",
        fix=f"normalise the output of the synapses instead, or use padding 0 in {padded}",
    )


def _factor(norm: BatchNorm) -> Array:
    factor: Array = norm.gamma / np.sqrt(norm.variance + norm.eps)
    return factor


def _shift(norm: BatchNorm) -> Array:
    shift: Array = norm.beta - _factor(norm) * norm.mean
    return shift


def scaled_outputs(synapse: Synapse, norm: BatchNorm) -> Synapse:
    """Return the synapses that equal ``norm`` after ``synapse``."""
    factor = _factor(norm)
    bias = 0.0 if synapse.bias is None else synapse.bias
    weight = synapse.weight * factor.reshape(-1, *([1] * (synapse.weight.ndim - 1)))
    return replace(synapse, weight=weight, bias=(bias - norm.mean) * factor + norm.beta)


def scaled_inputs(synapse: Synapse, norm: BatchNorm) -> Synapse:
    """Return the synapses that equal ``synapse`` after ``norm``; a linear layer may see H*W values per channel."""
    groups = synapse.groups if isinstance(synapse, Conv2d) else 1
    weight = synapse.weight.astype(np.float64)
    by_group = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    repeats = groups * weight.shape[1] // norm.mean.size
    factor, shift = (
        np.repeat(values, repeats).reshape(groups, 1, weight.shape[1], 1) for values in (_factor(norm), _shift(norm))
    )
    bias = 0.0 if synapse.bias is None else synapse.bias
    constant = (by_group * shift).sum(axis=(2, 3)).reshape(-1)
    return replace(synapse, weight=(by_group * factor).reshape(weight.shape), bias=bias + constant)
