"""Loihi 1 as a target: Loihi 2's file, integers, simulator and judge, with its own rules and cores.

The two chips are one family: netx writes one file for both, and Lava's ``Loihi1SimCfg`` and ``Loihi2SimCfg``
select the same fixed-point models on a CPU. So this folder imports the other one, as no other target may.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hw_targets.finding import Finding
from hw_targets.graph import Graph
from hw_targets.limit import Limit
from hw_targets.loihi1 import limits, place, rules
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.place import AXON_RULES, LayerPlacement
from hw_targets.loihi2.target import Loihi2
from hw_targets.rule import Rule


class Loihi1(Loihi2):
    """Loihi 1: binary spikes, 1024 neurons and 4096 axons per core."""

    name: str = "loihi1"
    description: str = (
        "Intel Loihi 1 through the same netx format: binary spikes, 1024 neurons and 4096 axons per core."
    )
    limits: Sequence[Limit] = limits.LIMITS
    rules: Sequence[Rule[Any]] = (*rules.RULES, *rules.CHIP_RULES, *AXON_RULES)

    def check(self, graph: Graph) -> list[Finding]:
        """Return what Loihi 1 cannot express (``rules.py``)."""
        return rules.check(graph)

    def check_chip(self, chip: ChipGraph) -> list[Finding]:
        """Return what is wrong with the integers (``rules.py``)."""
        return rules.check_chip(chip)

    def place(self, chip: ChipGraph) -> tuple[list[LayerPlacement], list[Finding]]:
        """Return the cores needed (``place.py``)."""
        return place.place(chip)

    def summarise(self, placements: Sequence[LayerPlacement]) -> dict[str, int]:
        """Return cores, chips, neurons and bytes in all (``place.py``)."""
        return place.summarise(placements)


TARGET = Loihi1()
