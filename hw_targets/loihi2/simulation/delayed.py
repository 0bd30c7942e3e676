"""Synapses with delays, behind the same interface as those without."""

from __future__ import annotations

import numpy as np

from hw_targets.finding import CapacityError
from hw_targets.graph import Array
from hw_targets.loihi2.simulation.delays import DelayedDense
from hw_targets.loihi2.simulation.overflow import fitting
from hw_targets.loihi2.simulation.plan import Plan


class DelayedSynapses:
    """The feed-forward synapses of a dense layer whose messages arrive late."""

    def __init__(self, plan: Plan) -> None:
        if plan.delay is None:
            raise ValueError(f"{plan.layer.name} has no delays")
        self.plan = plan
        layer = plan.layer
        self.dense = DelayedDense(
            plan.weight,
            plan.delay,
            weight_exponent=layer.weight_exponent,
            payload=layer.payload if layer.payload == 1 else None,
        )

    def sums(self, messages: Array, count: int, pending: Array | None) -> tuple[Array, int, Array | None]:
        """Return sums [t, n, M] of messages [t, n, ...], how large they are at most, and what is still under way."""
        flat = messages.reshape(*messages.shape[:2], -1)
        sums, pending = self.dense.sums(flat, pending)
        seen = int(np.abs(sums).max(initial=0))
        findings = fitting(self.plan.layer, seen, self.plan.wraps)
        if findings:
            raise CapacityError(findings)
        return sums, seen, pending
