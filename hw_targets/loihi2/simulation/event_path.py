"""The event-driven path of a population: sums over pixels first, in 16 bits or in parts of it, whatever is proven."""

from __future__ import annotations

from hw_targets.graph import Array, Pair, Shape
from hw_targets.loihi2.simulation.event_parts import EventParts, in_parts
from hw_targets.loihi2.simulation.event_sums import EventConv, EventDense
from hw_targets.loihi2.simulation.plan import Plan
from hw_targets.loihi2.simulation.pooling import pooled, pooled_dense, sum_pool


class EventSums:
    """The synapses of one population, event by event."""

    def __init__(self, plan: Plan) -> None:
        self.pool: Pair | None = None
        self.synapses: EventConv | EventParts | EventDense
        self.map: Shape | None = None
        layer = plan.layer
        if layer.kind == "conv":
            weight, stride, padding = layer.weight, layer.stride, layer.padding
            high, wide = layer.input_shape[1:]
            small = pooled(weight, stride, padding, layer.dilation, (high, wide))
            if small is not None:
                self.pool, weight, stride, padding = small.size, small.weight, small.stride, small.padding
                high, wide = high // small.size[0], wide // small.size[1]
            rows, columns = layer.output_shape[1:]
            conv = EventConv(weight, stride, padding, layer.dilation, layer.groups, (high, wide), (rows, columns))
            pixels = 1 if self.pool is None else self.pool[0] * self.pool[1]
            self.synapses = in_parts(conv, layer.payload * pixels)
            return
        weight = plan.weight
        if len(plan.source_shape) == 3:
            shared = pooled_dense(weight, plan.source_shape, channels_last=True)
            if shared is not None:
                self.pool, weight = shared.size, shared.weight
                self.map = (*plan.source_shape[1:], plan.source_shape[0])
        self.synapses = EventDense(weight)

    def sums(self, messages: Array) -> Array:
        """Return sums [B, H, W, C] or [B, M] of messages [B, ...], channels last; int16 if proven to fit, else int32.

        Raises:
            OverflowError: see ``EventConv.sums``.
        """
        if self.map is not None:
            messages = messages.reshape(-1, *self.map)
        if self.pool is not None:
            messages = sum_pool(messages, self.pool)
        if isinstance(self.synapses, EventDense):
            messages = messages.reshape(len(messages), -1)
        return self.synapses.sums(messages, compact=True)
