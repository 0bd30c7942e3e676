"""From output spikes to an answer: the mean firing rate of each group of voting neurons, or continuous values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array

KIND = "difference of rates"
MOST = 1 << 20
"""No group of neurons, window or number of steps of a readout is larger: a file that says so is damaged."""


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


@dataclass(frozen=True, slots=True)
class ValueReadout:
    """Continuous values from spikes: each output has a group of neurons that says "more" and one that says "less".

    With K = ``neurons`` per group, p and m the spikes that the two groups of an output send at step t, and B =
    ``steps_per_value`` steps between two values, value f (f = 0, 1, ...) is read after step B (f + 1) - 1::

        r[t]     = (p[t] - m[t]) / K
        value[f] = sum over age of  w[age] r[B (f + 1) - 1 - age] / sum over age of w[age],    w[age] = decay^age

    over the ages 0 to ``window`` - 1 that lie within the clip: a moving average for ``decay`` = 1, a leaky integrator
    otherwise. Values lie in [-1, 1]; silence is 0. For ``decay`` = 1 they are the multiples of 1 / (K n) where n =
    min(window, B (f + 1)) steps are read. Output neurons come in the order output 0 more, output 0 less, output 1
    more, and so on.
    The readout multiplies nothing on the chip: it counts spikes, on the host or by an embedded processor.

    Raises:
        InputError: numbers out of range.
    """

    outputs: tuple[str, ...]
    neurons: int
    steps_per_value: int
    window: int
    decay: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a readout that no spikes can be read with."""
        wrong = [
            f"{name} {getattr(self, name)!r}"
            for name in ("neurons", "steps_per_value", "window")
            if type(getattr(self, name)) is not int or not 1 <= getattr(self, name) <= MOST
        ]
        if type(self.decay) not in (int, float) or not 0 < self.decay <= 1:
            wrong.append(f"decay {self.decay!r}")
        named = [type(name) is str and bool(name) for name in self.outputs]
        if not named or not all(named) or len(set(self.outputs)) < len(named):
            wrong.append(f"outputs {self.outputs!r}")
        if wrong:
            limit = f"whole numbers from 1 to {MOST}, a decay in (0, 1], outputs with names of their own"
            raise InputError(Finding("E990", "error", "readout", ", ".join(wrong), limit, fix="export again"))

    def weights(self, steps: int) -> Array:
        """Return the weight of every step in every value, float64 [steps // steps_per_value, steps]; rows sum to 1.

        >>> ValueReadout(("valence",), 1, 1, 2).weights(3)
        array([[1. , 0. , 0. ],
               [0.5, 0.5, 0. ],
               [0. , 0.5, 0.5]])
        """
        weights = self._weights(steps)
        normed: Array = weights / weights.sum(axis=1, keepdims=True)
        return normed

    def _weights(self, steps: int) -> Array:
        """Return decay^age of every step that a value reads, 0 elsewhere; rows do not sum to 1."""
        ends = self.steps_per_value * (1 + np.arange(steps // self.steps_per_value)) - 1
        ages = ends[:, None] - np.arange(steps)
        read = (ages >= 0) & (ages < self.window)
        return np.where(read, float(self.decay) ** np.where(read, ages, 0), 0.0)

    def values(self, spikes: Array) -> Array:
        """Return the values float64 [N, F, outputs] of output spikes [T, N, 2 outputs K], F = T // steps_per_value.

        >>> ValueReadout(("valence",), 1, 2, 2).values(np.array([[[1, 0]], [[0, 0]], [[0, 1]], [[0, 1]]]))
        array([[[ 0.5],
                [-1. ]]])

        Raises:
            InputError: other numbers of neurons, or too few steps for one value.
        """
        steps, samples = spikes.shape[:2]
        found, wanted = int(np.prod(spikes.shape[2:])), 2 * len(self.outputs) * self.neurons
        if found != wanted or steps < self.steps_per_value:
            limit = f"{wanted} neurons, at least {self.steps_per_value} steps"
            raise InputError(Finding("E991", "error", "readout", f"{found} neurons, {steps} steps", limit))
        groups = spikes.reshape(steps, samples, len(self.outputs), 2, self.neurons).sum(axis=4, dtype=np.int64)
        weights = self._weights(steps)
        # Spikes are summed first and divided once: a moving average of whole numbers is then rounded only once.
        sums = np.einsum("ft,tnv->nfv", weights, groups[:, :, :, 0] - groups[:, :, :, 1])
        values: Array = sums / (self.neurons * weights.sum(axis=1)[:, None])
        return values

    def resolution(self, value: int) -> float:
        """Return the distance of neighbouring values at value ``value`` of a clip; of a moving average only.

        >>> ValueReadout(("valence",), 16, 8, 8).resolution(0)
        0.0078125

        Raises:
            InputError: a leaky integrator, whose values are not equally spaced.
        """
        if self.decay != 1:
            found = f"decay {self.decay}"
            raise InputError(
                Finding("E992", "error", "readout", found, "1: the values of a leak are not equally spaced")
            )
        return 1 / (self.neurons * min(self.window, self.steps_per_value * (value + 1)))

    def to_dict(self) -> dict[str, Any]:
        """Return the readout as a JSON-ready dictionary."""
        return asdict(self) | {"outputs": list(self.outputs), "kind": KIND}

    @classmethod
    def from_dict(cls, data: Any) -> ValueReadout:
        """Rebuild what ``to_dict`` made, of a file that anybody may have written.

        Raises:
            InputError: entries are missing, unknown or out of range.
        """
        names = {"outputs", "neurons", "steps_per_value", "window", "decay", "kind"}
        if not isinstance(data, dict) or set(data) != names or data["kind"] != KIND:
            found = f"{sorted(map(str, data))}" if isinstance(data, dict) else type(data).__name__
            raise InputError(Finding("E993", "error", "readout", found, f"{sorted(names)} of kind {KIND!r}"))
        outputs = tuple(data["outputs"]) if isinstance(data["outputs"], list) else ()
        return cls(outputs, data["neurons"], data["steps_per_value"], data["window"], data["decay"])
