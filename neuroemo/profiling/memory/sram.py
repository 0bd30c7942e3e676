"""Energy of one access to a memory of a given size: three readings of the same three published points.

Horowitz (ISSCC 2014) prints 10, 20 and 100 pJ for one 64-bit access to 8 KB, 32 KB and 1 MB. The literature
makes three functions of the size out of them, and they disagree by up to 22 times (``docs/energy-models.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from hw_targets.finding import Finding, InputError
from neuroemo.profiling.prices import Price

AccessModel = Literal["share", "whole", "linear"]

ACCESS_TEXT: dict[str, str] = {
    "share": "A memory access costs the share of a 64-bit access that its width is; between the published sizes the "
    "energy is interpolated, below 8 KB it falls to zero with the size, and above 1 MB it stays at the price of "
    "1 MB: a lower bound for large layers.",
    "whole": "Every memory access costs a whole 64-bit access, however narrow; between the published sizes the energy "
    "is interpolated, below 8 KB it falls to zero with the size, and above 1 MB it stays at the price of 1 MB.",
    "linear": "Every memory access costs a straight line through the three published sizes, whatever its width, "
    "continued without end: memories far above 1 MB are extrapolated.",
}

ROWS: dict[str, int] = {"memory.sram_8kb": 8, "memory.sram_32kb": 32, "memory.sram_1mb": 1024}
"""Price ids of the three points and their sizes in KB."""

# With these, and with 1 KB = 1024 bytes not, the line is the published one to its printed digits.
_DECIMAL_BYTES = {8: 8_000, 32: 32_000, 1024: 1_000_000}


@dataclass(frozen=True, slots=True)
class Sram:
    """The energy of an access as a function of the memory's size, from the three rows of a price list.

    ``points`` are (KB, pJ of an access, its bits). "share" and "whole" interpolate between the points from
    (0, 0) on, 1 KB = 1024 bytes, capped at the last; "linear" is the least-squares line through them with
    8000, 32000 and 1,000,000 bytes: for Horowitz's points E = 13.21 pJ + 1.086e-5 pJ per stored bit, which
    Lemaire et al. use as 13.2 + 1.09e-5.

    >>> from neuroemo.profiling.prices import load_prices
    >>> rows = load_prices("cmos45").rows
    >>> share, whole, line = (Sram.of(rows, model) for model in ("share", "whole", "linear"))
    >>> share.access_pj(words=5120, bits=32), whole.access_pj(words=5120, bits=32)  # 20 KB: (10 + 20) / 2
    (7.5, 15.0)
    >>> round(line.access_pj(words=5120, bits=32), 2)
    14.99
    """

    model: AccessModel
    points: tuple[tuple[int, float, int], ...]

    @staticmethod
    def of(rows: Mapping[str, Price], model: AccessModel) -> Sram:
        """Read the three points from prices by id.

        Raises:
            InputError: no such access model.
        """
        if model not in get_args(AccessModel):
            choices = f"one of {', '.join(get_args(AccessModel))}"
            raise InputError(Finding("E832", "error", "memory access model", f"{model}", choices))
        points = tuple((size, rows[name].value, rows[name].access_bits or 64) for name, size in ROWS.items())
        return Sram(model, points)

    def access_pj(self, words: int, bits: int) -> float:
        """Return the energy of reading or writing ``bits`` in a memory of ``words`` words of as many bits, in pJ."""
        if self.model == "linear":
            offset, slope = self.line()
            return offset + slope * words * bits
        scale = [bits / width if self.model == "share" else 1.0 for _, _, width in self.points]
        curve = [(0.0, 0.0)]
        curve += [(size * 1024.0, value * share) for (size, value, _), share in zip(self.points, scale, strict=True)]
        size = words * bits / 8
        for (left, low), (right, high) in pairwise(curve):
            if size <= right:
                return low + (high - low) * (size - left) / (right - left)
        return curve[-1][1]

    def line(self) -> tuple[float, float]:
        """Return (pJ, pJ per stored bit) of the least-squares line through the three points."""
        sizes = [8.0 * _DECIMAL_BYTES[size] for size, _, _ in self.points]
        values = [value for _, value, _ in self.points]
        x, y = sum(sizes) / len(sizes), sum(values) / len(values)
        spread = sum((size - x) ** 2 for size in sizes)
        slope = sum((size - x) * (value - y) for size, value in zip(sizes, values, strict=True)) / spread
        return y - slope * x, slope
