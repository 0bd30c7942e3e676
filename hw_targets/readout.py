"""From output spikes to an answer: the mean firing rate of each group of voting neurons."""

from __future__ import annotations

import numpy as np

from hw_targets.graph import Array


def group_rates(spikes: Array, voting: int) -> Array:
    """Return the mean firing rate per class, float64 [N, classes], of output spikes [T, N, classes * voting].

    Outputs that are images [T, N, C, H, W] are counted in C, H, W order.

    rate_c = sum over steps and over the ``voting`` neurons of group c, / (T voting).

    >>> group_rates(np.array([[[1, 1, 0, 0]], [[1, 0, 0, 1]]], dtype=np.uint8), 2)
    array([[0.75, 0.25]])
    """
    steps, samples = spikes.shape[:2]
    neurons = int(np.prod(spikes.shape[2:]))
    grouped = spikes.reshape(steps, samples, neurons // voting, voting)
    rates: Array = grouped.sum(axis=(0, 3), dtype=np.int64) / (steps * voting)
    return rates


def predicted_class(spikes: Array, voting: int) -> Array:
    """Return the class with the highest rate, int64 [N]; a tie goes to the lower class index.

    >>> predicted_class(np.array([[[1, 0, 0, 1]]], dtype=np.uint8), 2)
    array([0])
    """
    answer: Array = group_rates(spikes, voting).argmax(axis=1)
    return answer
