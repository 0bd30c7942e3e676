"""What the verdict hangs on: each constant halved, doubled and turned until it flips, and each choice made otherwise.

A constant c times a factor f gives D(f) = E_ANN(f) - E_SNN(f). The arithmetic models are affine in every constant,
D(f) = D(1) + (f - 1) (D(2) - D(1)), so the factor at which the verdict flips is exact; where a model is not affine
(checked at a third point) it is found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from hw_targets.finding import NeuroEmoError
from neuroemo.profiling.counting.counts import OpCounts
from neuroemo.profiling.energy import ARITHMETIC, MODELS, WITH_NEURONS, price_zero_skipping
from neuroemo.profiling.memory import twin_model
from neuroemo.profiling.priced import EnergyModel
from neuroemo.profiling.prices import PriceList
from neuroemo.profiling.twin import energy_at, step_curve
from neuroemo.profiling.verdict import Verdict, verdict_of

PER_FRAME = "one dense pass per frame"
ZEROS_SKIPPED = "zero inputs skipped"
"""The ANN baseline that charges the twin its non-zero inputs only."""
RANGE = (0.01, 100.0)
"""A flip is looked for between these factors; beyond them a constant is another technology."""

_GRID = 161
_BISECTIONS = 60


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """One constant: the ratio E_ANN / E_SNN when it is halved or doubled, and the factor that flips the verdict.

    ``flips_at`` is the factor nearest to 1 at which both networks cost the same; None: not within ``RANGE``.
    """

    constant: str
    value: float
    halved: float | None
    doubled: float | None
    flips_at: float | None

    @property
    def closeness(self) -> float:
        """How far the flip is away: |ln flips_at|; infinite without one."""
        return math.inf if self.flips_at is None else abs(math.log(self.flips_at))

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON-ready dictionary."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """One choice made otherwise: what it is changed to, the ratio then, and whether the verdict is another.

    ``verdict`` and ``flips`` go by the ratio alone, as no interval is computed; ``reason`` says why there is no ratio.
    """

    choice: str
    changed_to: str
    ratio: float | None
    verdict: Verdict
    flips: bool
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON-ready dictionary."""
        return asdict(self)


def sensitivity(
    snn: OpCounts, ann: OpCounts, model: EnergyModel, prices: PriceList, precision: str
) -> list[SensitivityRow]:
    """Return one row per constant that either side was priced with, the closest flip first.

    Constants that never flip the verdict follow, the one that moves the ratio most first.

    Raises:
        InputError: whatever the model refuses.
    """
    model = twin_model(model, snn.steps)
    sides = [model.price(snn, prices, precision, "snn"), model.price(ann, prices, precision, "ann")]
    names = dict.fromkeys(name for side in sides for name in side.constants)

    def row(name: str) -> SensitivityRow:
        value = prices.price(name).value

        def energies(factor: float) -> tuple[float, float]:
            changed = prices.with_value(name, value * factor)
            return (
                model.price(snn, changed, precision, "snn").total_pj,
                model.price(ann, changed, precision, "ann").total_pj,
            )

        halved, doubled = (_ratio(*energies(factor)) for factor in (0.5, 2.0))
        return SensitivityRow(name, value, halved, doubled, flip_factor(energies))

    return sorted((row(name) for name in names), key=lambda row: (row.closeness, -_swing(row), row.constant))


def flip_factor(energies: Callable[[float], tuple[float, float]]) -> float | None:
    """Return the factor nearest to 1 within ``RANGE`` at which (E_SNN, E_ANN) of a factor are equal, or None.

    >>> flip_factor(lambda factor: (2.0 + factor, 5.0 * factor))  # 2 + f = 5 f
    0.5
    >>> flip_factor(lambda factor: (factor, 3.0 * factor)) is None  # both move alike
    True
    """

    def difference(factor: float) -> float:
        snn, ann = energies(factor)
        return ann - snn

    at_half, at_one, at_two = (difference(factor) for factor in (0.5, 1.0, 2.0))
    if at_one == 0:
        return 1.0
    slope = at_two - at_one
    scale = max(map(sum, map(energies, (0.5, 2.0))))
    if abs(at_half - (at_one - slope / 2)) > 1e-9 * scale:
        return _bisect(difference)
    if abs(slope) <= 1e-12 * scale:
        return None
    factor = 1 - at_one / slope
    return factor if RANGE[0] <= factor <= RANGE[1] else None


def choices(
    snn: OpCounts,
    ann: OpCounts,
    model: EnergyModel,
    prices: PriceList,
    precision: str,
    *,
    models: Iterable[EnergyModel] | None = None,
    recounted: Mapping[str, OpCounts] | None = None,
    frames: OpCounts | None = None,
) -> list[ChoiceRow]:
    """Return what becomes of the verdict under every other choice that is no price.

    Steps halved and doubled along the step curve, every other precision of the list, every other model (``models``,
    all there are), the SNN counted under another policy (``recounted``: its name -> counts), and another ANN: the
    layers of the SNN evaluated densely at every frame instead of one pass over all frames (``frames``: the layers to
    take, where those of the SNN have pools folded into them, which no ANN would do), or the twin skipping zeros.
    A choice that a model refuses is a row with the reason.

    Raises:
        InputError: whatever the model refuses at the choices as they are.
    """
    matched = twin_model(model, snn.steps)
    snn_pj = matched.price(snn, prices, precision, "snn").total_pj
    base = _decide(_ratio(snn_pj, matched.price(ann, prices, precision, "ann").total_pj))
    curve = step_curve(snn, model, prices, precision)
    others = [other for other in (MODELS.values() if models is None else models) if other.id != model.id]

    def row(choice: str, changed_to: str, energies: Callable[[], tuple[float, float]]) -> ChoiceRow:
        try:
            ratio = _ratio(*energies())
        except NeuroEmoError as error:
            return ChoiceRow(choice, changed_to, None, "undecided", False, str(error.findings[0]).splitlines()[0])
        verdict = _decide(ratio)
        return ChoiceRow(choice, changed_to, ratio, verdict, {base, verdict} == {"snn", "ann"})

    def priced(of: EnergyModel, at: str, counts: OpCounts) -> tuple[float, float]:
        pair = twin_model(of, snn.steps)
        return pair.price(counts, prices, at, "snn").total_pj, pair.price(ann, prices, at, "ann").total_pj

    def with_steps(steps: int) -> tuple[float, float]:
        return energy_at(curve, steps), twin_model(model, steps).price(ann, prices, precision, "ann").total_pj

    def per_frame() -> tuple[float, float]:
        return snn_pj, matched.price(snn if frames is None else frames, prices, precision, "ann").total_pj

    def zeros_skipped() -> tuple[float, float]:
        return snn_pj, price_zero_skipping(ann, prices, precision).total_pj

    steps = (snn.steps // 2, snn.steps * 2) if snn.steps > 1 else (2,)
    rows = [row("time steps", str(number), partial(with_steps, number)) for number in steps]
    rows += [row("precision", at, partial(priced, model, at, snn)) for at in prices.precisions if at != precision]
    rows += [row("energy model", other.id, partial(priced, other, precision, snn)) for other in others]
    rows += [
        row("counting policy", name, partial(priced, model, precision, counts))
        for name, counts in (recounted or {}).items()
    ]
    rows.append(row("ANN baseline", PER_FRAME, per_frame))
    if model.id in (ARITHMETIC.id, WITH_NEURONS.id):
        rows.append(row("ANN baseline", ZEROS_SKIPPED, zeros_skipped))
    return rows


def _bisect(difference: Callable[[float], float]) -> float | None:
    """Return the sign change of D nearest to factor 1, on a logarithmic grid refined by bisection."""
    grid = np.geomspace(*RANGE, _GRID)
    signs = [difference(float(factor)) > 0 for factor in grid]
    flips = [index for index in range(_GRID - 1) if signs[index] != signs[index + 1]]
    if not flips:
        return None
    nearest = min(flips, key=lambda index: abs(math.log(grid[index] * grid[index + 1])))
    low, high, start = float(grid[nearest]), float(grid[nearest + 1]), signs[nearest]
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if (difference(middle) > 0) == start else (low, middle)
    return math.sqrt(low * high)


def _decide(ratio: float | None) -> Verdict:
    return verdict_of(None if ratio is None else ratio - 1, None)


def _ratio(snn: float, ann: float) -> float | None:
    return ann / snn if snn > 0 and ann > 0 else None


def _swing(row: SensitivityRow) -> float:
    if row.halved is None or row.doubled is None:
        return 0.0
    return abs(math.log(row.doubled / row.halved))
