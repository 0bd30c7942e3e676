"""Shapes and small integers of netx entries, checked against each other before any large array is read."""

from __future__ import annotations

from math import prod

import numpy as np

from hw_targets.graph import Array, Pair, Shape
from hw_targets.loihi2.netx.datasets import NetxGroup, refusal

PLANE_MAX = 2**28
"""Largest padded image of one time step, in values."""


def shape_of(entry: NetxGroup) -> Shape:
    """Return the dataset ``shape``, every axis at least 1."""
    values = entry.integers("shape")
    if values.size > 8 or values.min() < 1:
        raise refusal("E044", entry.node, f"shape {values.reshape(-1)[:8].tolist()}", "at least 1 on every axis")
    return tuple(int(n) for n in values.reshape(-1))


def population_shape(entry: NetxGroup) -> Shape:
    """Return ``shape`` as (C, H, W) or (N,)."""
    shape = shape_of(entry)
    if len(shape) not in (1, 3) or len(entry.shape("shape")) != 1:
        raise refusal("E044", entry.node, f"shape {shape}", "(C, H, W) or (N,)")
    return shape


def single(entry: NetxGroup, key: str) -> float:
    """Return the one number of a dataset."""
    values = entry.numbers(key)
    if values.size != 1:
        raise refusal("E044", entry.node, f"{key} of shape {values.shape}", "one number")
    return float(values.reshape(-1)[0])


def pair_of(entry: NetxGroup, key: str) -> Pair:
    """Return stride, padding or dilation as (vertical, horizontal); one integer without axes stands for both."""
    values = entry.integers(key)
    if values.shape not in ((), (2,)):
        raise refusal("E044", entry.node, f"{key} of shape {values.shape}", "() or (2,)")
    least = 0 if key == "padding" else 1
    if values.min() < least:
        raise refusal("E044", entry.node, f"{key} {values.min()}", f"at least {least}")
    vertical, horizontal = (int(n) for n in np.broadcast_to(values, 2))
    return vertical, horizontal


def groups_of(entry: NetxGroup) -> int:
    """Return the number of groups of a convolution."""
    values = entry.integers("groups")
    if values.shape != () or values < 1:
        raise refusal("E044", entry.node, f"groups {values.reshape(-1)[:4].tolist()}", "one integer, at least 1")
    return int(values)


def kernel_shape(
    entry: NetxGroup, source: Shape, shape: Shape, groups: int, *, stride: Pair, padding: Pair, dilation: Pair
) -> Shape:
    """Return the shape (C_out, C_in / groups, kH, kW) of a kernel that leads from ``source`` to ``shape``.

    Raises:
        InputError: E044 where the shapes contradict each other, E045 where the padded image is too large.
    """
    declared = entry.shape("weight")
    kernel = declared[:4]
    if len(kernel) < 4 or prod(declared) != prod(kernel) or prod(kernel) < 1:
        raise refusal("E044", entry.node, f"weight of shape {declared}", "(C_out, C_in / groups, kH, kW)")
    if source[0] % groups or shape[0] % groups or kernel[1] != source[0] // groups:
        found = f"weight of shape {declared} with {groups} groups for {source[0]} input channels"
        raise refusal("E044", entry.node, found)
    padded = [n + 2 * p for n, p in zip(source[1:], padding, strict=True)]
    if source[0] * prod(padded) > PLANE_MAX:
        raise refusal("E045", entry.node, f"an image of {source[0]} x {padded[0]} x {padded[1]}", str(PLANE_MAX))
    sizes = ((n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(padded, dilation, kernel[2:], stride, strict=True))
    computed = (kernel[0], *sizes)
    if computed != shape:
        raise refusal("E044", entry.node, f"shape {shape}; weight, stride and padding give {computed}")
    return kernel


def matrix_shapes(entry: NetxGroup, rows: int) -> tuple[Shape, ...]:
    """Return the shapes that ``weight_rec`` may have: as many axes as ``weight``."""
    return ((rows, rows),) if len(entry.shape("weight")) == 2 else ((rows * rows,),)


def spread_delay(entry: NetxGroup, delay: Array, shape: Shape) -> Array:
    """Return delays [N_out, N_in] from one for all, one per output neuron, one per input, or the matrix."""
    if delay.shape in ((), shape):
        return np.broadcast_to(delay, shape).copy()
    if delay.shape == shape[:1]:
        return np.repeat(delay.reshape(-1, 1), shape[1], axis=1)
    if delay.shape == shape[1:]:
        return np.repeat(delay.reshape(1, -1), shape[0], axis=0)
    raise refusal("E044", entry.node, f"delay of shape {delay.shape}", f"(), {shape[:1]}, {shape[1:]} or {shape}")
