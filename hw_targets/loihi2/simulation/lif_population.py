"""A population of leaky integrate-and-fire neurons."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hw_targets.finding import CapacityError
from hw_targets.graph import Array
from hw_targets.loihi2.simulation import lif
from hw_targets.loihi2.simulation.overflow import fitting
from hw_targets.loihi2.simulation.population import Population, State, Stretch
from hw_targets.loihi2.simulation.record import Recorder
from hw_targets.loihi2.simulation.recurrent import LifConstants, Recurrence, Traces, run_recurrent_lif

_NOTHING = np.empty((0, 0, 0), dtype=np.int32)


class LifPopulation(Population):
    """Leaky integrate-and-fire neurons; their messages are spikes, uint8."""

    def neurons_at_rest(self, samples: int) -> tuple[Array, Array]:
        """Return u and v, int32 [n, M], all zero."""
        shape = (samples, self.plan.neurons)
        return np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)

    def put_to_rest(self, state: State) -> None:
        """Set u and v to 0; messages under way stay."""
        for each in state.neurons:
            each[:] = 0

    def final(self, state: State) -> Array:
        """Return u and v."""
        return np.stack(state.neurons)

    @cached_property
    def _constants(self) -> LifConstants:
        plan = self.plan
        return LifConstants(plan.bias, plan.keep_current, plan.keep_potential, plan.threshold)

    def integrate(
        self, state: State, sums: Array, largest: int, fed: Stretch, recorder: Recorder
    ) -> tuple[Array, Array]:
        """Run the neurons; see ``Population``."""
        if self.recurrence is not None and state.recurrent is not None:
            return self._integrate_recurrent(
                self.recurrence, state.recurrent, state.neurons, sums, largest, fed, recorder
            )
        u, v = state.neurons
        spikes = state.room_for(sums.shape)
        counts = np.zeros(sums.shape[:2], dtype=np.int64)
        each = self._constants
        constants = (each.bias, each.keep_current, each.keep_potential, each.threshold)
        probed = self.layer.name in recorder.probe
        if self.plan.bounded(largest) and not probed:
            whole = sums if sums.dtype in (np.float32, np.int32, np.int16) else sums.astype(np.int32)
            memory = self.plan.has_memory
            lif.integrate_bounded(whole, *constants, memory, u, v, spikes, counts)
            return spikes, counts
        whole = sums.astype(np.int64)
        current, membrane = (np.empty(sums.shape, np.int32) for _ in range(2)) if probed else (_NOTHING, _NOTHING)
        lif.integrate_exact(whole, *constants, u, v, spikes, counts, current, membrane)
        if probed:
            traced = (self.layer, fed.start, fed.samples)
            recorder.take_traces(*traced, drive=whole, current=current, membrane=membrane)
        return spikes, counts

    def _integrate_recurrent(
        self,
        recurrence: Recurrence,
        pending: Array,
        neurons: tuple[Array, Array],
        sums: Array,
        largest: int,
        fed: Stretch,
        recorder: Recorder,
    ) -> tuple[Array, Array]:
        u, v = neurons
        counts = np.zeros(sums.shape[:2], dtype=np.int64)
        traces = Traces.of(sums.shape) if self.layer.name in recorder.probe else None
        bounded = self.plan.bounded(largest + recurrence.largest)
        spikes, seen = run_recurrent_lif(
            sums,
            recurrence,
            self._constants,
            u,
            v,
            pending,
            counts=counts,
            bounded=bounded,
            traces=traces,
        )
        findings = fitting(self.layer, seen, self.plan.wraps)
        if findings:
            raise CapacityError(findings)
        if traces is not None:
            traced = (self.layer, fed.start, fed.samples)
            recorder.take_traces(*traced, drive=traces.drive, current=traces.current, membrane=traces.membrane)
        return spikes, counts
