"""The one number per layer that decides how much of a trained layer survives in integers: its scale.

s, in synaptic units per 1.0, is the largest at which every field holds its value::

    max|w| s <= 127        threshold s L <= 131071        max|b| s L <= 4095
    sum|w| s L <= 131071   per sign and neuron: no input whatever can wrap the 24-bit current
    |drive| s L <= 131071 / 2   instead of the line above, where the drive was measured on data

Where few bits would leave the threshold less than 1.5 units, s is raised to that and the largest weights are clipped,
if they are few: a threshold of nothing is worse.
"""

from __future__ import annotations

from math import floor

import numpy as np

from hw_targets.graph import Array, Linear, Synapse
from hw_targets.loihi2.limits import ACTIVATION_MAX, BIAS_MAX, THRESHOLD_MAX

CALIBRATION_MARGIN = 2.0
"""How many times the largest synaptic sum seen on data must fit: unseen clips may drive a neuron harder."""

LATTICE_TOLERANCE = 1e-6
LEAST_THRESHOLD = 1.5
MOST_CLIPPED = 0.1
"""Share of a layer's weights that may be clipped to give its threshold ``LEAST_THRESHOLD`` units."""


def layer_scale(
    synapse: Synapse, threshold: float, payload: int, weight_max: int, drive_max: float | None = None
) -> float:
    """Return the scale of one layer; ``drive_max`` is the largest drive seen on data, or None to bound it by weights.

    Weights on a lattice (ternary, binary, hand-built: w = k g with small integers k) get a multiple of 1/g, at
    which every weight is exact and ties at the threshold fall as in the source.
    """
    weight = synapse.weight
    bias = np.zeros(1) if synapse.bias is None else synapse.bias
    largest = float(np.abs(weight).max(initial=0.0))
    whole = weight_max / largest if largest else 1.0
    bounds = [_resolving(weight, threshold * payload, whole, weight_max)]
    if threshold > 0:
        bounds.append(THRESHOLD_MAX.value / (threshold * payload))
    if np.abs(bias).max(initial=0.0) > 0:
        bounds.append(BIAS_MAX.value / (float(np.abs(bias).max()) * payload))
    if drive_max is not None and drive_max > 0:
        bounds.append(ACTIVATION_MAX.value / (CALIBRATION_MARGIN * drive_max * payload))
    scale = min(bounds)
    if drive_max is None:
        while (worst := worst_sum(integer_weights(weight, scale, weight_max)) * payload) > ACTIVATION_MAX.value:
            scale *= ACTIVATION_MAX.value / worst * 0.999
    if scale > whole:
        return scale
    step = lattice_step(weight, weight_max)
    if step is not None and scale * step >= 1.0:
        scale = floor(scale * step + LATTICE_TOLERANCE) / step
    return _readable_scale(weight, scale) if isinstance(synapse, Linear) else scale


def integer_weights(weight: Array, scale: float, weight_max: int) -> Array:
    """Return round(weight scale), clipped to the field.

    >>> integer_weights(np.array([0.5, -2.0]), 10.0, 7)
    array([ 5, -7])
    """
    return np.clip(np.rint(weight * scale), -weight_max, weight_max).astype(np.int64)


def _resolving(weight: Array, threshold: float, whole: float, weight_max: int) -> float:
    """Return ``whole``, at which no weight is clipped, or more, if the threshold needs it and few weights are."""
    if threshold <= 0 or threshold * whole >= LEAST_THRESHOLD:
        return whole
    scale = LEAST_THRESHOLD / threshold
    return scale if float((np.abs(weight) * scale > weight_max + 0.5).mean()) <= MOST_CLIPPED else whole


def lattice_step(weight: Array, weight_max: int) -> float | None:
    """Return the step g of which every weight is an integer multiple, at most ``weight_max``; None without one.

    >>> lattice_step(np.array([0.5, -0.25, 0.0, 0.75]), 127), lattice_step(np.array([0.3, 0.7123]), 127)
    (0.25, None)
    """
    sizes = np.unique(np.abs(weight))
    sizes = sizes[sizes > 0]
    if not 0 < sizes.size <= weight_max:
        return None
    for parts in range(1, weight_max + 1):
        step = float(sizes[0]) / parts
        multiples = sizes / step
        if multiples[-1] > weight_max + LATTICE_TOLERANCE:
            return None
        if np.abs(multiples - np.rint(multiples)).max() < LATTICE_TOLERANCE:
            return step
    return None


def _readable_scale(weight: Array, scale: float) -> float:
    """Lower the scale of an all-inhibitory dense layer past a trap of netx.

    netx re-scales dense weights by their sign; when none is positive and the lowest is -1, -2, -4, ... -128 it
    shifts the lowest bits out (measured on every pair of weights in [-128, 127]; every other case is exact).
    """
    if weight.max() > 0:
        return scale
    largest = float(-weight.min())
    for magnitude in range(floor(largest * scale + 0.5), 2, -1):
        if magnitude & (magnitude - 1):
            return min(scale, magnitude / largest)
    return scale


def worst_sum(weight: Array) -> int:
    """Return the largest magnitude that a synaptic sum can reach when any inputs may be on at once."""
    rows = weight.reshape(weight.shape[0], -1)
    return int(max(rows.sum(axis=1, where=rows > 0).max(), -rows.sum(axis=1, where=rows < 0).min()))
