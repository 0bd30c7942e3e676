"""A population of sigma-delta neurons."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hw_targets.finding import CapacityError, Finding
from hw_targets.graph import Array
from hw_targets.loihi2.simulation.population import Population, State, Stretch
from hw_targets.loihi2.simulation.record import Recorder
from hw_targets.loihi2.simulation.recurrent import Traces, run_recurrent_sigma_delta
from hw_targets.loihi2.simulation.sigma_delta import Overflow, SigmaDeltaNeurons, SigmaDeltaState, run_sigma_delta


class SigmaDeltaPopulation(Population):
    """Delta, sigma-delta or sigma neurons; their messages are integers, int32."""

    def neurons_at_rest(self, samples: int) -> SigmaDeltaState:
        """Return the state before the first step."""
        return SigmaDeltaState.zeros(samples, self.plan.neurons)

    def put_to_rest(self, state: State) -> None:
        """Do nothing: netx does not reset sigma-delta neurons."""

    def final(self, state: State) -> Array:
        """Return sigma and the activation."""
        return np.stack([state.neurons.sigma, state.neurons.act]).astype(np.int32)

    @cached_property
    def _neurons(self) -> SigmaDeltaNeurons:
        layer = self.layer
        if layer.neuron == "lif":
            raise ValueError(f"{layer.name} has no sigma-delta neurons")
        threshold = int(np.max(layer.threshold))
        return SigmaDeltaNeurons(layer.neuron, self.plan.neurons, threshold, self.plan.whole_bias, layer.spike_exponent)

    def integrate(
        self, state: State, sums: Array, largest: int, fed: Stretch, recorder: Recorder
    ) -> tuple[Array, Array]:
        """Run the neurons; see ``Population``."""
        sums = np.ascontiguousarray(sums)
        traces = Traces.of(sums.shape) if self.layer.name in recorder.probe else None
        if self.recurrence is not None and state.recurrent is not None:
            messages, overflow = run_recurrent_sigma_delta(
                sums, self.recurrence, self._neurons, state.neurons, state.recurrent, traces=traces
            )
        else:
            kept = {} if traces is None else {"current": traces.current, "membrane": traces.membrane}
            messages, overflow = run_sigma_delta(self._neurons, sums, state.neurons, **kept)
            if traces is not None:
                traces.drive[...] = sums
        if overflow is not None:
            raise CapacityError(self._finding(overflow, fed))
        if traces is not None:
            traced = (self.layer, fed.start, fed.samples)
            recorder.take_traces(*traced, drive=traces.drive, current=traces.current, membrane=traces.membrane)
        return messages, np.count_nonzero(messages, axis=2)

    def _finding(self, overflow: Overflow, fed: Stretch) -> Finding:
        place = f"neuron {overflow.neuron}"
        if overflow.step >= 0:
            place += f" of clip {(fed.samples.start or 0) + overflow.sample} at step {fed.start + overflow.step}"
        fix = "Lava would wrap it without a word: lower the weights, the inputs or the spike exponent"
        limit = 2**31 - 1
        found = f"{overflow.quantity} of {place} reaches {overflow.value}"
        return Finding("E232", "error", self.layer.name, found, str(limit), str(abs(overflow.value) - limit), fix)
