"""Average pooling becomes part of the synapses next to it, so that neurons only ever see spikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import (
    LIF,
    Array,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    Graph,
    Linear,
    Node,
    Shape,
    window_count,
)


def average_pool_to_synapses(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Turn an AvgPool2d that stands alone before a neuron into a depthwise convolution of weights 1/(p p).

    A mean over a window of p x p is a sum of its values times 1/(p p), channel by channel, and both count
    padding as zeros. Where synapses stand between the last neuron and this one, pools fold into them.
    """
    nodes = list(graph.nodes)
    for at, (node, shape, _) in enumerate(graph.layers()):
        if not isinstance(node, AvgPool2d):
            continue
        before = next((n for n in reversed(nodes[:at]) if not isinstance(n, AvgPool2d | BatchNorm)), None)
        after = next((n for n in nodes[at + 1 :] if not isinstance(n, BatchNorm)), None)
        if isinstance(after, LIF) and (before is None or isinstance(before, LIF)):
            mean = np.full((shape[0], 1, *node.kernel), 1.0 / (node.kernel[0] * node.kernel[1]))
            nodes[at] = Conv2d(node.name, mean, None, node.stride, node.padding, groups=shape[0])
    return graph.replace_nodes(tuple(nodes)), []


def fold_average_pools(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Fold every AvgPool2d into the convolution or linear layer after it, or into the convolution before it.

    Pool (p, stride q) then conv (k, stride s, dilation d): one convolution with kernel
    (k-1) d q + p, stride s q, padding P q + r, whose taps are w / p^2 (3x3 after 2x2: 6x6, stride 2).
    Exact unless a tap on the convolution's zero padding becomes a window that reaches into the input.
    Pool then flatten then linear: each weight is shared out over its window, divided by p^2.
    Pools in a row fold one after the other, from the side of the synapses.
    Findings: E131 padded convolution, E132 padded pool before a neuron, E133 no synapses next to it.
    """
    while True:
        findings: list[Finding] = []
        for at, node in enumerate(graph.nodes):
            outcome = _fold_one(graph, at) if isinstance(node, AvgPool2d) else None
            if isinstance(outcome, Graph):
                graph = outcome
                break
            findings += [outcome] if outcome is not None else []
        else:
            return graph, findings


def _fold_one(graph: Graph, at: int) -> Graph | Finding:
    """Fold the pool at one position, or say why it cannot be done exactly."""
    nodes = list(graph.nodes)
    pool = nodes[at]
    if not isinstance(pool, AvgPool2d):
        raise TypeError(f"{pool.name} is not an average pool")
    shape = graph.input_shape if at == 0 else graph.shapes[at - 1]
    before = nodes[at - 1] if at else None
    match nodes[at + 1 :]:
        case [Conv2d() as conv, *_]:
            if not padding_stays_zero(pool, conv, shape):
                return _over_the_edge(pool, conv, shape)
            nodes[at : at + 2] = [pool_then_conv(pool, conv)]
        case [Flatten() as flatten, Linear() as linear, *_]:
            nodes[at : at + 3] = [flatten, pool_then_linear(pool, linear, shape, graph.shapes[at])]
        case after if isinstance(before, Conv2d) and _feeds_neurons(after):
            if any(pool.padding):
                return Finding(
                    "E132",
                    "error",
                    pool.name,
                    "padded average pool between convolution and neuron",
                    fix="use an unpadded pool, or pool after the neuron",
                )
            nodes[at - 1 : at + 1] = [conv_then_pool(before, pool)]
        case _:
            return Finding(
                "E133",
                "error",
                pool.name,
                "average pool without a synapse layer next to it",
                fix="follow it by a convolution, or by flatten and linear",
            )
    return graph.replace_nodes(tuple(nodes))


def _feeds_neurons(after: list[Node]) -> bool:
    """Whether a neuron layer is what comes next, other pools aside (they fold one by one) and flattening aside."""
    following = next((node for node in after if not isinstance(node, AvgPool2d | Flatten)), None)
    return isinstance(following, LIF)


def _over_the_edge(pool: AvgPool2d, conv: Conv2d, shape: Shape) -> Finding:
    return Finding(
        "E131",
        "error",
        pool.name,
        f"padded convolution {conv.name} after a pool that does not tile its {shape[1]}x{shape[2]} input:"
        f" kernel {pool.kernel[0]}x{pool.kernel[1]}, stride {pool.stride[0]}x{pool.stride[1]},"
        f" padding {pool.padding[0]}x{pool.padding[1]}",
        fix=f"use padding 0 in {conv.name}, or an input size divisible by a pool of equal kernel and stride",
    )


def padding_stays_zero(pool: AvgPool2d, conv: Conv2d, shape: Shape) -> bool:
    """Whether every zero that ``conv`` pads the pooled map with stays a sum of zeros in the merged convolution.

    Tap a of output o reads pooled index j = o s + a d - P, which the merged convolution reads as the rows
    j q - r to j q - r + p - 1. For j outside the pooled map these rows must lie outside the input; pools that
    drop, share or pad rows can break that.
    """
    wrong, touching = [], []
    for axis in (0, 1):
        size, width, step, edge = shape[1 + axis], pool.kernel[axis], pool.stride[axis], pool.padding[axis]
        pooled = window_count(size, width, step, edge)
        others = tuple(n for n in range(4) if n != 2 + axis)
        used = np.flatnonzero(conv.weight.any(axis=others))  # an earlier merge leaves rows of zeros between windows
        outputs = window_count(
            pooled, conv.weight.shape[2 + axis], conv.stride[axis], conv.padding[axis], conv.dilation[axis]
        )
        index = np.add.outer(np.arange(outputs) * conv.stride[axis], used * conv.dilation[axis])
        index = index - conv.padding[axis]
        first = index * step - edge
        reads = (first < size) & (first + width > 0)
        wrong.append(bool((reads & ((index < 0) | (index >= pooled))).any()))
        touching.append(bool(reads.any()))
    return not ((wrong[0] and touching[1]) or (wrong[1] and touching[0]))


def pool_then_conv(pool: AvgPool2d, conv: Conv2d) -> Conv2d:
    """Return the one convolution that equals ``conv`` after ``pool``."""
    weight = conv.weight.astype(np.float64) / (pool.kernel[0] * pool.kernel[1])
    kernel = weight.shape[2:]
    step = tuple(d * q for d, q in zip(conv.dilation, pool.stride, strict=True))
    size = tuple((k - 1) * s + p for k, s, p in zip(kernel, step, pool.kernel, strict=True))
    merged = np.zeros((*weight.shape[:2], *size))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * step[0], j * step[1]
            merged[:, :, top : top + pool.kernel[0], left : left + pool.kernel[1]] += weight[:, :, i, j, None, None]
    return replace(
        conv,
        weight=merged,
        stride=(conv.stride[0] * pool.stride[0], conv.stride[1] * pool.stride[1]),
        padding=(
            conv.padding[0] * pool.stride[0] + pool.padding[0],
            conv.padding[1] * pool.stride[1] + pool.padding[1],
        ),
        dilation=(1, 1),
    )


def conv_then_pool(conv: Conv2d, pool: AvgPool2d) -> Conv2d:
    """Return the one convolution that equals ``pool`` after ``conv``."""
    weight = conv.weight.astype(np.float64) / (pool.kernel[0] * pool.kernel[1])
    kernel = weight.shape[2:]
    size = tuple(
        (k - 1) * d + 1 + (p - 1) * s
        for k, d, p, s in zip(kernel, conv.dilation, pool.kernel, conv.stride, strict=True)
    )
    merged = np.zeros((*weight.shape[:2], *size))
    rows, columns = (np.arange(k) * d for k, d in zip(kernel, conv.dilation, strict=True))
    for i in range(pool.kernel[0]):
        for j in range(pool.kernel[1]):
            merged[:, :, (rows + i * conv.stride[0])[:, None], columns + j * conv.stride[1]] += weight
    return replace(
        conv,
        weight=merged,
        stride=(conv.stride[0] * pool.stride[0], conv.stride[1] * pool.stride[1]),
        dilation=(1, 1),
    )


def pool_then_linear(pool: AvgPool2d, linear: Linear, shape: Shape, pooled: Shape) -> Linear:
    """Return the one linear layer on the un-pooled map that equals ``linear`` on the pooled, flattened one."""
    weight: Array = linear.weight.astype(np.float64).reshape(-1, *pooled) / (pool.kernel[0] * pool.kernel[1])
    padded = np.zeros((weight.shape[0], shape[0], shape[1] + 2 * pool.padding[0], shape[2] + 2 * pool.padding[1]))
    for i in range(pool.kernel[0]):
        for j in range(pool.kernel[1]):
            rows = slice(i, i + (pooled[1] - 1) * pool.stride[0] + 1, pool.stride[0])
            columns = slice(j, j + (pooled[2] - 1) * pool.stride[1] + 1, pool.stride[1])
            padded[:, :, rows, columns] += weight
    inside = padded[:, :, pool.padding[0] : pool.padding[0] + shape[1], pool.padding[1] : pool.padding[1] + shape[2]]
    return replace(linear, weight=inside.reshape(weight.shape[0], -1))
