"""One population through a stretch of time: what arrives is summed, the neurons take it, their state is carried on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_targets.graph import Array
from hw_targets.loihi2.simulation.delayed import DelayedSynapses
from hw_targets.loihi2.simulation.plan import Plan, channels_last
from hw_targets.loihi2.simulation.record import Recorder
from hw_targets.loihi2.simulation.recurrent import Recurrence
from hw_targets.loihi2.simulation.synapses import Path, Synapses, size_of


@dataclass(slots=True)
class Stretch:
    """Messages [t, n, ...] of a few steps from ``start``, of the samples ``samples``; ``counts`` int64 [t, n]."""

    start: int
    samples: slice
    messages: Array
    counts: Array


@dataclass(slots=True)
class State:
    """What a population remembers: its neurons, and the messages that are still under way.

    ``held`` the last input, which a synapse hands on one step later in Lava's clock; ``delayed`` and ``recurrent`` the
    sums of the steps to come. ``room`` [t, n, M] is what spikes are written to where several stretches form one.
    """

    neurons: Any
    held: Array | None = None
    delayed: Array | None = None
    recurrent: Array | None = None
    room: Array | None = None

    def room_for(self, shape: tuple[int, ...]) -> Array:
        """Return where spikes uint8 of that shape go: the next part of ``room``, or new memory."""
        if self.room is None:
            return np.empty(shape, dtype=np.uint8)
        taken, self.room = self.room[: shape[0]], self.room[shape[0] :]
        return taken.reshape(shape)


class Population(ABC):
    """Neurons behind synapses, or fed with the input itself. ``late``: in Lava's clock.

    ``resets`` are the steps before which the neurons are put to rest.
    """

    def __init__(self, plan: Plan, path: Path, *, late: bool, resets: Callable[[int], list[int]] | None = None) -> None:
        layer = plan.layer
        self.resets = resets
        self.plan, self.layer = plan, layer
        self.synapses: Synapses | DelayedSynapses | None = None
        if layer.kind != "input":
            self.synapses = Synapses(plan, path) if layer.delay is None else DelayedSynapses(plan)
        self.late = late and self.synapses is not None
        self.recurrence = None if layer.recurrent is None else self._recurrence(layer.recurrent)

    def _recurrence(self, weight: Array) -> Recurrence:
        layer = self.layer
        # netx gives the recurrent synapse the message width of the layer's input.
        spikes_only = layer.payload == 1
        return Recurrence(
            weight,
            delay=layer.delay,
            weight_exponent=layer.weight_exponent,
            payload=1 if layer.sends_spikes or spikes_only else None,
            binary=spikes_only,
        )

    def begin(self, samples: int) -> State:
        """Return the state at rest."""
        recurrent = None if self.recurrence is None else self.recurrence.pending(samples)
        return State(self.neurons_at_rest(samples), recurrent=recurrent)

    def advance(self, state: State, fed: Stretch, recorder: Recorder) -> Stretch:
        """Take a stretch of messages, move ``state`` on and return what the population sends."""
        messages = self._arriving(state, fed.messages)
        if self.synapses is None:
            sums, largest = messages.reshape(*messages.shape[:2], -1), size_of(messages)[0]
        else:
            sums, largest, state.delayed = self.synapses.sums(messages, int(fed.counts.sum()), state.delayed)
        sent, counts = self._integrate_between_resets(state, sums, largest, fed, recorder)
        sent = sent.reshape(*sums.shape[:2], *channels_last(self.layer.output_shape))
        recorder.take_messages(self.layer, fed.start, fed.samples, sent, counts)
        return Stretch(fed.start, fed.samples, sent, counts)

    def _integrate_between_resets(
        self, state: State, sums: Array, largest: int, fed: Stretch, recorder: Recorder
    ) -> tuple[Array, Array]:
        stop = fed.start + len(sums)
        cuts = [] if self.resets is None else [step - fed.start for step in self.resets(stop) if step >= fed.start]
        if not cuts:
            return self.integrate(state, sums, largest, fed, recorder)
        parts = []
        for begin, end in zip([0, *cuts], [*cuts, len(sums)], strict=True):
            if begin in cuts:
                self.put_to_rest(state)
            part = Stretch(fed.start + begin, fed.samples, fed.messages[begin:end], fed.counts[begin:end])
            if end > begin:
                parts.append(self.integrate(state, sums[begin:end], largest, part, recorder))
        sent, counts = (np.concatenate(each) for each in zip(*parts, strict=True))
        return sent, counts

    def _arriving(self, state: State, messages: Array) -> Array:
        """Return the messages that are summed now: in Lava's clock a synapse hands them on one step later."""
        if not self.late:
            return messages
        held = np.zeros_like(messages[:1]) if state.held is None else state.held
        state.held = messages[-1:].copy()
        return np.concatenate([held, messages[:-1]])

    @abstractmethod
    def neurons_at_rest(self, samples: int) -> Any:
        """Return the neurons' state before the first step."""

    @abstractmethod
    def put_to_rest(self, state: State) -> None:
        """Reset the neurons, where Lava's can be."""

    @abstractmethod
    def integrate(
        self, state: State, sums: Array, largest: int, fed: Stretch, recorder: Recorder
    ) -> tuple[Array, Array]:
        """Run the neurons over sums [t, n, M] of magnitude ``largest``; return messages [t, n, M] and counts [t, n]."""

    @abstractmethod
    def final(self, state: State) -> Array:
        """Return what the neurons remember after the last step, int32 [2, n, M]."""
