"""Speck as a check-only target: whether a network would fit SynSense's event-driven convolution chip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hw_targets.finding import Finding
from hw_targets.graph import Graph
from hw_targets.limit import Limit
from hw_targets.rule import Rule
from hw_targets.speck import limits, rules


class Speck:
    """Speck 2f (DYNAP-CNN): nine convolution cores, neurons without leak."""

    name: str = "speck"
    kind: Literal["deploy", "check"] = "check"
    description: str = (
        "SynSense Speck 2f (DYNAP-CNN family): nine convolution cores, neurons without leak, 8-bit weights."
    )
    limits: Sequence[Limit] = limits.LIMITS
    rules: Sequence[Rule[Any]] = rules.RULES
    folds: tuple[str, ...] = ("batchnorm", "decay")
    judge_name: str | None = None

    def check(self, graph: Graph) -> list[Finding]:
        """Return what Speck cannot express or hold (``rules.py``); pools stay in the graph, the chip has its own."""
        return rules.check(graph)


TARGET = Speck()
