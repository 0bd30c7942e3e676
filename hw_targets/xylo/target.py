"""Xylo as a check-only target: whether a network would fit SynSense's small dense core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hw_targets.finding import Finding
from hw_targets.graph import Graph
from hw_targets.limit import Limit
from hw_targets.rule import Rule
from hw_targets.xylo import limits, rules


class Xylo:
    """XyloAudio 2: one population of hidden neurons and one of output neurons."""

    name: str = "xylo"
    kind: Literal["deploy", "check"] = "check"
    description: str = "SynSense XyloAudio 2: 16 inputs, 1000 hidden and 8 output neurons, dense 8-bit weights."
    limits: Sequence[Limit] = limits.LIMITS
    rules: Sequence[Rule[Any]] = rules.RULES
    folds: tuple[str, ...] = ("batchnorm", "average_pool", "decay")
    judge_name: str | None = None

    def check(self, graph: Graph) -> list[Finding]:
        """Return what Xylo cannot express or hold (``rules.py``)."""
        return rules.check(graph)


TARGET = Xylo()
