"""Mean, spread and 95 % interval over samples, from values or in closed form from exact integer sums and squares.

With n samples of energy e: mean = sum(e) / n, s^2 = sum((e - mean)^2) / (n - 1), interval = mean -+ t s / sqrt(n)
with Student's t of n - 1 degrees of freedom (Student, Biometrika 6(1), 1908). The interval of a ratio of two means
is Fieller's (J. R. Stat. Soc. B 16(2), 1954). The interval of an accuracy is Wilson's: ``training.metrics``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.counting.counts import LayerCounts

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean of some samples, their standard deviation (n - 1) and the confidence interval of the mean.

    One sample has no spread: ``deviation``, ``low`` and ``high`` are None then, never 0.
    """

    samples: int
    mean: float
    deviation: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The confidence interval of the mean; None for one sample."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as a JSON-ready dictionary."""
        return asdict(self)


def student_t(degrees: int, level: float = LEVEL) -> float:
    """Return the two-sided quantile of Student's t: P(|t| < quantile) = level.

    >>> round(student_t(9), 3), round(student_t(1), 2)
    (2.262, 12.71)

    Raises:
        InputError: no degree of freedom, or a level that is not between 0 and 1.
    """
    if degrees < 1 or not 0 < level < 1:
        found = f"{degrees} degrees of freedom at level {level}"
        raise InputError(Finding("E835", "error", "interval", found, "1 or more, a level between 0 and 1"))
    # Imported late: it takes a third of a second, and most commands need no interval.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def summarise(values: Iterable[float], level: float = LEVEL) -> Summary:
    """Return mean, deviation and interval of explicit values, one per sample.

    >>> summary = summarise([1.0, 2.0, 3.0, 4.0])  # s^2 = 5/3, t(3) = 3.182
    >>> summary.mean, round(summary.deviation, 4), round(summary.low, 4), round(summary.high, 4)
    (2.5, 1.291, 0.4457, 4.5543)
    >>> summarise([7.0])
    Summary(samples=1, mean=7.0, deviation=None, low=None, high=None)

    Raises:
        InputError: no value, or one that is not a finite number.
    """
    checked = _finite(values)
    mean = math.fsum(checked) / len(checked)
    squares = math.fsum((value - mean) ** 2 for value in checked)
    return _summary(len(checked), mean, squares, level)


def summarise_operations(
    layer: LayerCounts, samples: int, ac: float = 1.0, mac: float = 1.0, level: float = LEVEL
) -> Summary:
    """Return the summary of ac * AC + mac * MAC per sample without looking at one: sums and squares are enough.

    (n - 1) s^2 = ac^2 [AC, AC] + mac^2 [MAC, MAC] + 2 ac mac [AC, MAC] with [X, Y] = sum(XY) - sum(X) sum(Y) / n,
    in exact integers until the last square root, so it holds for samples that were summed at once. ``layer`` is a
    layer of ``OpCounts`` or its ``total``; weights 1 and 0 give the accumulates alone.

    >>> import numpy as np
    >>> table = np.array([[[3, 1, 0, 0], [5, 0, 0, 0]]])
    >>> layer = LayerCounts("synapse", "Linear", table, squares=(34, 1, 3))
    >>> summary = summarise_operations(layer, 2, ac=0.9, mac=4.6)  # 7.3 and 4.5 pJ
    >>> round(summary.mean, 12), round(summary.deviation, 12)  # 2.8 / sqrt(2)
    (5.9, 1.979898987322)

    Raises:
        InputError: no sample, a weight that is not finite, or squares that cannot belong to the sums.
    """
    weights = [Fraction(weight) for weight in _finite((ac, mac))]
    sums = (layer.acs, layer.macs)
    if samples < 1 or not possible_squares(layer, samples):
        found = f"sums {sums}, squares {layer.squares} of {samples} samples"
        fix = "take the squares that were counted with the sums"
        raise InputError(Finding("E836", "error", layer.type, found, "sum(X)^2 <= n sum(X^2)", fix=fix))
    own, other, cross = layer.squares
    total = sum(weight * value for weight, value in zip(weights, sums, strict=True))
    power = weights[0] ** 2 * own + weights[1] ** 2 * other + 2 * weights[0] * weights[1] * cross
    return _summary(samples, float(total / samples), float(power - total**2 / samples), level)


def possible_squares(layer: LayerCounts, samples: int) -> bool:
    """Return whether the squares of a layer can belong to its sums (Cauchy and Schwarz)."""
    spreads = (samples * layer.squares[0] - layer.acs**2, samples * layer.squares[1] - layer.macs**2)
    cross = samples * layer.squares[2] - layer.acs * layer.macs
    return min(spreads) >= 0 and cross * cross <= spreads[0] * spreads[1]


def is_constant(layer: LayerCounts, samples: int) -> bool:
    """Return whether every sample cost the layer the same AC and MAC: n sum(X^2) = sum(X)^2, exactly."""
    return samples * layer.squares[0] == layer.acs**2 and samples * layer.squares[1] == layer.macs**2


def ratio_interval(
    numerator: Iterable[float], denominator: Iterable[float], level: float = LEVEL
) -> tuple[float, float] | None:
    """Return Fieller's interval of mean(numerator) / mean(denominator), measured on the same samples in pairs.

    It holds every ratio r for which mean(numerator - r denominator) is not significantly different from 0. With a
    numerator that is the same for all samples it is numerator / (the interval of the denominator). None for one
    sample, and where the interval of the denominator includes 0: then no ratio can be excluded.

    >>> [round(bound, 4) for bound in ratio_interval([6.0, 6.0], [2.9, 3.1])]  # 6 / (3 +- 12.7062 * 0.1)
    [1.4049, 3.4695]

    Raises:
        InputError: unequal numbers of values, none, or one that is not finite.
    """
    top, bottom = _finite(numerator), _finite(denominator)
    if len(top) != len(bottom):
        found = f"{len(top)} and {len(bottom)} values"
        raise InputError(Finding("E835", "error", "ratio", found, "as many on both sides, in pairs"))
    count = len(top)
    if count == 1:
        return None
    x, y = math.fsum(bottom) / count, math.fsum(top) / count
    bound = student_t(count - 1, level) ** 2 / count / (count - 1)
    xx = math.fsum((value - x) ** 2 for value in bottom)
    yy = math.fsum((value - y) ** 2 for value in top)
    xy = math.fsum((a - x) * (b - y) for a, b in zip(bottom, top, strict=True))
    square, middle, rest = x * x - bound * xx, x * y - bound * xy, y * y - bound * yy
    if square <= 0:
        return None
    root = math.sqrt(max(middle * middle - square * rest, 0.0))
    return (middle - root) / square, (middle + root) / square


def _summary(samples: int, mean: float, squares: float, level: float) -> Summary:
    if samples == 1:
        return Summary(1, mean)
    deviation = math.sqrt(squares / (samples - 1))
    half = student_t(samples - 1, level) * deviation / math.sqrt(samples)
    return Summary(samples, mean, deviation, mean - half, mean + half)


def _finite(values: Iterable[float]) -> list[float]:
    checked = [float(value) for value in values]
    wrong = [value for value in checked if not math.isfinite(value)]
    if wrong or not checked:
        found = f"{len(wrong)} of {len(checked)} values not finite, the first {wrong[0]}" if wrong else "no value"
        raise InputError(Finding("E835", "error", "samples", found, "1 or more finite numbers"))
    return checked
