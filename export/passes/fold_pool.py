"""Average pooling becomes part of the synapses next to it, so that neurons only ever see spikes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import LIF, Array, AvgPool2d, Conv2d, Flatten, Graph, Linear, Shape


def fold_average_pools(graph: Graph) -> tuple[Graph, list[Finding]]:
    """Fold every AvgPool2d into the convolution or linear layer after it, or into the convolution before it.

    Pool (p, stride q) then conv (k, stride s, dilation d): one convolution with kernel
    (k-1) d q + p, stride s q, padding P q + r, whose taps are w / p^2 (3x3 after 2x2: 6x6, stride 2).
    Exact unless the convolution is padded over a pool that drops rows, overlaps or is padded itself.
    Pool then flatten then linear: each weight is shared out over its window, divided by p^2.
    """
    findings: list[Finding] = []
    while True:
        at = next(
            (
                i
                for i, node in enumerate(graph.nodes)
                if isinstance(node, AvgPool2d) and node.name not in {f.node for f in findings}
            ),
            None,
        )
        if at is None:
            return graph, findings
        outcome = _fold_one(graph, at)
        if isinstance(outcome, Finding):
            findings.append(outcome)
        else:
            graph = outcome


def _fold_one(graph: Graph, at: int) -> Graph | Finding:
    """Fold the pool at one position, or say why it cannot be done exactly."""
    nodes = list(graph.nodes)
    pool = nodes[at]
    if not isinstance(pool, AvgPool2d):
        raise TypeError(f"{pool.name} is not an average pool")
    shape = graph.input_shape if at == 0 else graph.shapes[at - 1]
    before = nodes[at - 1] if at else None
    after = nodes[at + 1 :]
    match after:
        case [Conv2d() as conv, *_] if before is None or isinstance(before, LIF):
            if any(conv.padding) and not _tiles(pool, shape):
                return Finding(
                    "E131",
                    "error",
                    pool.name,
                    f"padded convolution {conv.name} after a pool that does not tile its {shape[1]}x{shape[2]} input",
                    fix="use padding 0 in the convolution, or an input size divisible by the pool",
                )
            nodes[at : at + 2] = [pool_then_conv(pool, conv)]
        case [Flatten() as flatten, Linear() as linear, *_] if before is None or isinstance(before, LIF):
            nodes[at : at + 3] = [flatten, pool_then_linear(pool, linear, shape, graph.shapes[at])]
        case [LIF(), *_] if isinstance(before, Conv2d):
            if any(pool.padding):
                return Finding(
                    "E132",
                    "error",
                    pool.name,
                    "padded average pool between convolution and neuron",
                    fix="use an unpadded pool",
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


def _tiles(pool: AvgPool2d, shape: Shape) -> bool:
    """Whether the pool's windows cover the input exactly once."""
    return (
        pool.kernel == pool.stride
        and not any(pool.padding)
        and all(size % k == 0 for size, k in zip(shape[1:], pool.kernel, strict=True))
    )


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
