"""Who costs less, decided no further than the figures carry, and one sentence that can be printed with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neuroemo.profiling.priced import EnergyModel, Priced
from neuroemo.profiling.prices import PriceList

Verdict = Literal["snn", "ann", "undecided"]
Interval = tuple[float, float] | None

_UNITS = (("J", 1e12), ("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3), ("pJ", 1.0))
_SWITCH = 0.1
_ALIKE = 1000.0


def verdict_of(
    difference: float | None, interval: Interval, *, snn_partial: bool = False, ann_partial: bool = False
) -> Verdict:
    """Return who costs less by the difference E_ANN - E_SNN and its interval, or that it is undecided.

    Undecided: an interval that includes 0, equal energies, nothing to compare, or a winner whose energy is a lower
    bound, because what was not counted could turn the verdict. A loser's lower bound leaves the verdict as it is.
    The interval of the difference includes 0 where Fieller's interval of the ratio includes 1.

    >>> verdict_of(4.0, (3.8, 4.2)), verdict_of(0.1, (-0.1, 0.3)), verdict_of(-0.5, None)
    ('snn', 'undecided', 'ann')
    >>> verdict_of(4.0, (3.8, 4.2), snn_partial=True), verdict_of(-4.0, (-4.2, -3.8), snn_partial=True)
    ('undecided', 'ann')
    """
    if difference is None:
        return "undecided"
    low, high = interval or (difference, difference)
    if low > 0:
        return "undecided" if snn_partial else "snn"
    if high < 0:
        return "undecided" if ann_partial else "ann"
    return "undecided"


@dataclass(frozen=True, slots=True)
class Odds:
    """Ratio E_ANN / E_SNN (None: nothing to compare) and the 95 % intervals of ratio and difference in pJ.

    A difference can have an interval where the ratio has none: that of an SNN whose interval reaches 0 is unbounded.
    """

    ratio: float | None
    ratio_interval: Interval = None
    difference: float | None = None
    difference_interval: Interval = None

    def verdict(self, *, snn_partial: bool = False, ann_partial: bool = False) -> Verdict:
        """Return who costs less."""
        difference = None if self.ratio is None else self.difference
        return verdict_of(difference, self.difference_interval, snn_partial=snn_partial, ann_partial=ann_partial)


def words_of(snn: Priced, ann: Priced, model: EnergyModel, prices: PriceList, odds: Odds) -> str:
    """Return the comparison as one sentence with its conditions: precision, prices, samples, what is not in it."""
    conditions = f"At {precision_name(snn.precision)} and the prices of {prices.name}, by {model.title}"
    mine, theirs = _alike(snn.total_pj, ann.total_pj)
    costs = f"the SNN costs {mine} per clip in {snn.steps} {_plural('step', snn.steps)}"
    return f"{conditions}, {costs}, {_comparison(snn, ann, theirs, odds)}. In the figure: {model.scope}."


def _comparison(snn: Priced, ann: Priced, theirs: str, odds: Odds) -> str:
    ratio, verdict = odds.ratio, odds.verdict()
    bounds = _bounds_text(snn, ann)
    if ratio is None:
        return f"its ANN twin {theirs}: undecided, without a priced operation there is nothing to compare{bounds}"
    if verdict == "undecided":
        return (
            f"its ANN twin {theirs}: undecided at a ratio of {figure(ratio)} {_range_text(odds, snn.samples)}{bounds}"
        )
    times = f"{figure(max(ratio, 1 / ratio))} times {'less' if verdict == 'snn' else 'more'}"
    lower = odds.verdict(snn_partial=bool(snn.partial), ann_partial=bool(ann.partial)) == "undecided"
    doubt = ", yet undecided" if lower else ""
    return f"{times} than its ANN twin's {theirs} {_range_text(odds, snn.samples)}{doubt}{bounds}"


def _range_text(odds: Odds, samples: int) -> str:
    clips = f"{samples} {_plural('clip', samples)}"
    if odds.ratio_interval is None:
        why = "no interval" if odds.difference_interval is None else "their spread leaves the ratio unbounded"
        return f"({clips}, {why})"
    low, high = odds.ratio_interval
    if odds.verdict() == "ann":
        low, high = 1 / high, 1 / low
    return f"(95 % interval {figure(low)} to {figure(high)} over {clips})"


def _bounds_text(snn: Priced, ann: Priced) -> str:
    sides = [(who, side.partial) for who, side in (("SNN", snn), ("ANN", ann)) if side.partial]
    return "".join(f"; the {who} is a lower bound, not counted: {', '.join(names)}" for who, names in sides)


def _alike(first: float, second: float) -> tuple[str, str]:
    """Return two energies in the unit of the smaller one, or each in its own if that would make long numbers."""
    small, large = sorted((first, second))
    if small <= 0 or large / small >= _ALIKE:
        return energy_text(first), energy_text(second)
    unit, size = _unit(small)
    return f"{figure(first / size)} {unit}", f"{figure(second / size)} {unit}"


def precision_name(precision: str) -> str:
    """Return a precision as it is printed.

    >>> precision_name("fp32"), precision_name("int8"), precision_name("native")
    ('FP32', 'int8', 'native precision')
    """
    if precision == "native":
        return "native precision"
    return precision.upper() if precision.startswith("fp") else precision


def energy_text(picojoules: float) -> str:
    """Return an energy with three significant digits in the unit that suits its size.

    >>> energy_text(410_070_000), energy_text(51_300), energy_text(0.9), energy_text(0.0)
    ('0.410 mJ', '51.3 nJ', '0.900 pJ', '0 pJ')
    """
    unit, size = _unit(picojoules)
    return f"{figure(picojoules / size)} {unit}"


def _unit(picojoules: float) -> tuple[str, float]:
    return next(((unit, size) for unit, size in _UNITS if picojoules >= size * _SWITCH), ("pJ", 1.0))


def figure(value: float) -> str:
    """Return a number with three significant digits, without an exponent.

    >>> figure(4.0249), figure(0.0123456), figure(12345.6), figure(999.6)
    ('4.02', '0.0123', '12,346', '1,000')
    """
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])
    decimals = max(0, 2 - exponent)
    return f"{value:,.{decimals}f}"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
