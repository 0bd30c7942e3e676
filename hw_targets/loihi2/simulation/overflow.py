"""Sums that a chip cannot hold, or that Lava does not define, as findings."""

from __future__ import annotations

from hw_targets.finding import Finding
from hw_targets.loihi2.chip import ChipLayer
from hw_targets.loihi2.limits import ACTIVATION_MAX

UNDEFINED = 2**31
"""A sum of this magnitude is cast from float64 to 32 bits (convolution) or wraps there before it is shifted (dense)."""


def fitting(layer: ChipLayer, seen: int, wraps: bool, *, lava_shift: int = 0) -> list[Finding]:
    """Return what is wrong with a synaptic sum of magnitude ``seen``.

    ``wraps``: sums beyond the 24-bit current are taken as Lava takes them. ``lava_shift`` is how many bits Lava holds
    the weights of a dense layer shifted left while it sums.
    """
    if seen > ACTIVATION_MAX.value and not wraps:
        return [beyond_current(layer.name, seen, "reaches")]
    limit = (UNDEFINED >> lava_shift) - 1
    if seen > limit:
        fix = "what Lava does with such a sum is not defined: lower the weights or the graded inputs"
        found = f"a synaptic sum reaches {seen}"
        return [Finding("E231", "error", layer.name, found, str(limit), str(seen - limit), fix)]
    return []


def beyond_current(name: str, value: int, verb: str) -> Finding:
    """Return the finding that a synaptic sum does not fit the 24-bit current."""
    limit = ACTIVATION_MAX.value
    fix = "the 24-bit current would wrap: export without --calibrate, or lower the weights or the payload"
    return Finding("E230", "error", name, f"a synaptic sum {verb} {value}", str(limit), str(value - limit), fix)
