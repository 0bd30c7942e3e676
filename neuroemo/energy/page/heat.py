"""The heat map: a table of layers by time steps whose cells carry a colour, so that one thing serves eye and ear."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from export.page.svg import step_ticks
from export.page.words import percent

LEVELS = 16
"""Steps of the colour map (cividis, readable with every kind of colour vision)."""
LINEAR_MODELS = ("arithmetic", "arithmetic+neurons")
"""Models in which the synaptic energy of a step is its operations times their prices."""

Matrix = list[list[float | None]]


def density(network: Mapping[str, Any]) -> Matrix:
    """Return per layer and step the share of elements that are not zero: of a synapse's inputs, of neurons firing.

    A layer looks at as many elements in every step, so the share of step t is the mean share times T times the
    part of all spikes that came in step t.
    """
    return [_shares(layer, network["steps"]) for layer in network["layers"]]


def operations(network: Mapping[str, Any]) -> Matrix:
    """Return per layer and step the synaptic operations (AC and MAC) of one clip; neurons have none."""
    samples = network["samples"]
    return [
        [(acs + macs) / samples for acs, macs in zip(layer["per_step"]["acs"], layer["per_step"]["macs"], strict=True)]
        if layer["kind"] != "neuron"
        else [None] * network["steps"]
        for layer in network["layers"]
    ]


def _shares(layer: Mapping[str, Any], steps: int) -> list[float | None]:
    if layer["kind"] == "neuron":
        seen, looked = layer["per_step"]["spikes_out"], layer["neuron_updates"]
    elif layer["density"]:
        seen, looked = layer["per_step"]["spikes_in"], layer["spikes_in"] / layer["density"]
    else:
        return [0.0 if layer["density"] == 0 else None] * steps
    return [spikes * steps / looked if looked else None for spikes in seen]


def level(value: float | None, largest: float) -> int | None:
    """Return which colour a value has, 0 to 15 with the square root of its part of the largest.

    One dense first frame would leave everything else in one colour of a scale in proportion.

    >>> level(0.0, 2.0), level(0.5, 2.0), level(2.0, 2.0), level(None, 2.0)
    (0, 8, 15, None)
    """
    if value is None:
        return None
    return int((LEVELS - 1) * math.sqrt(value / largest) + 0.5) if largest > 0 else 0


def largest(matrix: Matrix) -> float:
    """Return the largest value that is known; 0 where none is."""
    return max((value for row in matrix for value in row if value is not None), default=0.0)


def rows(network: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table as it stands without JavaScript: the density, written and coloured."""
    matrix = density(network)
    most = largest(matrix)
    before = [None, *network["layers"]]
    return [
        {
            "name": layer["name"],
            "prefix": previous["name"] if previous and layer["name"].startswith(f"{previous['name']}.") else "",
            "kind": "neurons" if layer["kind"] == "neuron" else "synapses",
            "cells": [(level(value, most), percent(value, 2)) for value in values],
        }
        for previous, layer, values in zip(before, network["layers"], matrix, strict=False)
    ]


def data(network: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page's script needs to show another measure; the energy it takes from report.json."""
    return {"density": density(network), "operations": operations(network), "linear_models": list(LINEAR_MODELS)}


def legend(network: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what the darkest, the middle and the brightest colour mean: nothing, a quarter, the largest density."""
    most = largest(density(network))
    return percent(0.0, 0), percent(most / 4, 2), percent(most, 2)


def marked_steps(steps: int) -> Sequence[int]:
    """Return the steps whose numbers fit above the columns."""
    return step_ticks(steps, wanted=12)
