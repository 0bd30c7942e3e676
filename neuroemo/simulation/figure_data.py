"""The numbers behind the figures of a simulated clip: votes, rates, events, thresholds, which neurons are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hw_targets.graph import Array, Shape

RASTER_NEURONS = 2000
"""A raster of more neurons shows an evenly spaced sample of at most so many."""


@dataclass(frozen=True, slots=True)
class VoteCourse:
    """How the answer of one clip came about.

    ``cumulative`` int64 [T, classes]: votes of each class up to and with each step. ``predicted`` the class with most
    votes at the end (a tie, ``tied``, goes to the lower index). ``decided`` the step, counted from 1, from which the
    answer no longer changes; None where no neuron ever voted.
    """

    cumulative: Array
    predicted: int
    decided: int | None
    tied: bool


def vote_course(spikes: Array, voting: int) -> VoteCourse:
    """Count votes over time from output messages [T, neurons] of one clip, ``voting`` neurons per class.

    votes_c(t) = sum over steps up to t and over the neurons of group c. Steps before the first vote have no answer.

    >>> course = vote_course(np.array([[0, 0], [1, 0], [0, 1], [0, 1]]), 1)
    >>> course.cumulative.tolist(), course.predicted, course.decided, course.tied
    ([[0, 0], [1, 0], [1, 1], [1, 2]], 1, 4, False)
    """
    grouped = spikes.reshape(len(spikes), -1, voting).sum(axis=2, dtype=np.int64)
    cumulative = np.cumsum(grouped, axis=0)
    answers = np.where(np.cumsum(grouped != 0, axis=0).any(axis=1), cumulative.argmax(axis=1), -1)
    last = cumulative[-1]
    changes = np.flatnonzero(answers != answers[-1])
    decided = None if answers[-1] < 0 else int(changes[-1]) + 2 if len(changes) else 1
    return VoteCourse(cumulative, int(last.argmax()), decided, int((last == last.max()).sum()) > 1)


@dataclass(frozen=True, slots=True)
class InputCourse:
    """Events of one clip at every step: one row of ``counts`` int64 [K, T] per name, K 1 or 2.

    ``gray`` says that the first step is a gray frame, which is not counted; ``values`` is how many inputs a step has
    behind every row.
    """

    names: tuple[str, ...]
    counts: Array
    gray: bool
    values: int


def input_course(clip: Array, first_frame: Literal["float", "spikes", "integers"]) -> InputCourse:
    """Count the events of a clip [T, ...] at every step; a clip of two channels is ON (0) and OFF (1).

    >>> course = input_course(np.array([[[[1]], [[0]]], [[[1]], [[1]]]]), "spikes")
    >>> course.names, course.counts.tolist()
    (('ON, channel 0', 'OFF, channel 1'), [[1, 1], [0, 1]])
    """
    steps = len(clip)
    first = np.asarray(clip[0])
    gray = first_frame == "float" or bool((first != np.round(first)).any())
    flat = clip.reshape(steps, -1)
    names: tuple[str, ...]
    if clip.ndim == 4 and clip.shape[1] == 2:
        names = ("ON, channel 0", "OFF, channel 1")
        counts = np.count_nonzero(clip.reshape(steps, 2, -1), axis=2).T
    elif (flat < 0).any():
        names = ("positive", "negative")
        counts = np.stack([np.count_nonzero(flat > 0, axis=1), np.count_nonzero(flat < 0, axis=1)])
    else:
        names, counts = ("not 0",), np.count_nonzero(flat, axis=1)[None]
    counts = counts.astype(np.int64)
    if gray:
        counts[:, 0] = 0
    return InputCourse(names, counts, gray, flat.shape[1] // (2 if names[0].startswith("ON") else 1))


def message_counts(run: Any) -> dict[str, Array]:
    """Return how many messages every layer sends, int64 [T, N] by name: the run's own counts, or counted here."""
    counted: Mapping[str, Array] = getattr(run, "counts", None) or {}
    counted = {name: np.asarray(count) for name, count in counted.items()}
    return counted | {
        name: np.count_nonzero(spikes.reshape(*spikes.shape[:2], -1), axis=2)
        for name, spikes in run.spikes.items()
        if name not in counted
    }


def sampled_neurons(shape: Shape, limit: int = RASTER_NEURONS) -> tuple[Array, int]:
    """Return the neurons to draw, counted in C, H, W order, and their distance: 1 means all of them.

    The distance shares no divisor with a side of the map, so that the sample is not a few columns of it.

    >>> [(len(chosen), distance) for chosen, distance in (sampled_neurons((2, 3)), sampled_neurons((32, 126, 126)))]
    [(6, 1), (1977, 257)]
    """
    neurons = math.prod(shape)
    distance = -(-neurons // limit)
    while distance > 1 and len(shape) > 1 and any(math.gcd(distance, side) > 1 for side in shape):
        distance += 1
    return np.arange(0, neurons, distance), distance


def busiest_neurons(fired: Array, wanted: int) -> Array:
    """Return the neurons of [T, K] that fire most often, at most ``wanted``, in order of their index.

    >>> busiest_neurons(np.array([[1, 0, 1, 0], [1, 0, 1, 1]]), 2)
    array([0, 2])
    """
    order = np.argsort(-np.count_nonzero(fired, axis=0), kind="stable")
    return np.sort(order[:wanted])


def thresholds_of(layer: Any, neurons: Array) -> Array | None:
    """Return the potential that each neuron must exceed, int64 [K] in chip units (vThMant << 6).

    None for sigma-delta neurons, whose threshold is one of change and not of potential.
    """
    if layer.neuron != "lif":
        return None
    mantissa = np.asarray(layer.threshold, dtype=np.int64).reshape(-1)
    per_channel = max(1, layer.neurons // mantissa.size)
    return (
        mantissa[np.asarray(neurons) // per_channel] if mantissa.size > 1 else np.repeat(mantissa, len(neurons))
    ) << 6


def chip_position(neuron: int, shape: Shape) -> str:
    """Name a neuron by its place, counted from 0.

    >>> chip_position(7, (2, 2, 3)), chip_position(7, (10,))
    ('[1, 0, 1]', '7')
    """
    if len(shape) < 2:
        return str(neuron)
    return "[" + ", ".join(str(int(place)) for place in np.unravel_index(neuron, shape)) + "]"


def shown_classes(votes: Sequence[int] | Array, limit: int) -> list[int]:
    """Return the classes to draw in order of their index: all, or those with most votes.

    >>> shown_classes([3, 0, 5], 2), shown_classes([3, 0, 5], 8)
    ([0, 2], [0, 1, 2])
    """
    order = np.argsort(-np.asarray(votes), kind="stable")
    return sorted(int(index) for index in order[:limit])
