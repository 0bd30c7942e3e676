"""What a population needs to be run: its constants spread over its neurons, and how large its sums can become.

Inside the engine everything is channels-last: messages and sums are [T, N, H, W, C], or [T, N, M] behind dense layers.
Constants of neurons are flat int32 [M] in that same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hw_targets.finding import CapacityError, Finding
from hw_targets.graph import Array, Shape
from hw_targets.loihi2.chip import ChipLayer
from hw_targets.loihi2.netx.weights import shift_of
from hw_targets.loihi2.scale import worst_sum

FLOAT32_EXACT = 2**24
FLOAT64_EXACT = 2**53
CURRENT_RANGE = 2**23
"""Lava's convolution keeps its sums in 24 bits, two's complement."""
BOUNDED = 2**17
"""Largest magnitude of a synaptic sum that the 32-bit kernel of neurons is exact for."""


def channels_last(shape: Shape) -> Shape:
    """Return (H, W, C) for (C, H, W); a flat shape stays.

    >>> channels_last((2, 3, 4)), channels_last((5,))
    ((3, 4, 2), (5,))
    """
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def to_channels_last(values: Array) -> Array:
    """Return [..., C, H, W] values of an image as [..., H, W, C], contiguous; [T, N, F] stay."""
    return np.ascontiguousarray(np.moveaxis(values, 2, -1) if values.ndim == 5 else values)


def to_channels_first(values: Array) -> Array:
    """Return [..., H, W, C] values of an image as a view [..., C, H, W]; [T, N, F] stay."""
    return np.moveaxis(values, -1, 2) if values.ndim == 5 else values


@dataclass(frozen=True, eq=False)
class Plan:
    """One population; ``source_shape`` is the shape (C, H, W) or (F,) of what feeds it.

    ``wraps`` whether sums beyond the 24-bit current are taken as Lava takes them, not refused.
    """

    layer: ChipLayer
    source_shape: Shape
    wraps: bool = False

    @cached_property
    def neurons(self) -> int:
        """Number of neurons M."""
        return self.layer.neurons

    @property
    def weight(self) -> Array:
        """Weights of a convolution as they are; of a dense layer with columns in channels-last order, [M, M_in].

        Not kept: a dense layer of the paper's network has 26 million.
        """
        weight = self.layer.weight
        if self.layer.kind == "conv" or len(self.source_shape) != 3:
            return weight
        return np.ascontiguousarray(np.moveaxis(weight.reshape(-1, *self.source_shape), 1, -1)).reshape(len(weight), -1)

    @property
    def delay(self) -> Array | None:
        """Delays with columns in the order of ``weight``."""
        delay = self.layer.delay
        if delay is None or len(self.source_shape) != 3:
            return delay
        return np.ascontiguousarray(np.moveaxis(delay.reshape(-1, *self.source_shape), 1, -1)).reshape(len(delay), -1)

    def _spread(self, values: int | Array) -> Array:
        """Return one integer per neuron, flat and channels-last, of a constant, one per channel or one per neuron."""
        values, shape = np.asarray(values, dtype=np.int64), self.layer.output_shape
        if values.ndim == 1 and len(shape) == 3:
            values = values.reshape(-1, 1, 1)
        spread = np.broadcast_to(values, shape)
        return np.ascontiguousarray(np.moveaxis(spread, 0, -1) if len(shape) == 3 else spread).reshape(-1)

    @cached_property
    def bias(self) -> Array:
        """Bias shifted left by 6, int32 [M]; the mantissa wraps at 16 bits as in Lava."""
        return self._spread(np.asarray(self.layer.bias).astype(np.int16)).astype(np.int32) << 6

    @cached_property
    def whole_bias(self) -> Array:
        """Bias as sigma-delta neurons take it, int64 [M]: not shifted, and kept in 32 bits."""
        return self._spread(self.layer.bias)

    @cached_property
    def lava_shift(self) -> int:
        """How many bits Lava holds the weights shifted left while it sums messages that are not spikes."""
        if self.layer.kind not in ("dense", "dense_rec") or self.layer.weight_exponent or self.layer.delay is not None:
            return -min(self.layer.weight_exponent, 0)
        matrices = [self.layer.weight] if self.layer.recurrent is None else [self.layer.weight, self.layer.recurrent]
        return shift_of(matrices)

    @cached_property
    def threshold(self) -> Array:
        """Threshold shifted left by 6, int32 [M]."""
        return (self._spread(self.layer.threshold) << 6).astype(np.int32)

    @cached_property
    def keep_current(self) -> Array:
        """4096 - iDecay, int32 [M]."""
        return (4096 - self._spread(self.layer.current_decay)).astype(np.int32)

    @cached_property
    def keep_potential(self) -> Array:
        """4096 - vDecay, int32 [M]."""
        return (4096 - self._spread(self.layer.voltage_decay)).astype(np.int32)

    @cached_property
    def has_memory(self) -> bool:
        """Whether any current outlives its step."""
        return bool(self.keep_current.any())

    @cached_property
    def ordinary_decays(self) -> bool:
        """Whether every decay is within 0 to 4096."""
        kept = (self.keep_current, self.keep_potential)
        return all(int(each.min()) >= 0 and int(each.max()) <= 4096 for each in kept)

    @cached_property
    def _one_sided(self) -> int:
        return worst_sum(self.layer.weight)

    @cached_property
    def _two_sided(self) -> int:
        rows = self.layer.weight.reshape(len(self.layer.weight), -1)
        return int((rows.sum(axis=1, where=rows > 0) - rows.sum(axis=1, where=rows < 0)).max())

    def bound(self, magnitude: int, signed: bool) -> int:
        """Return how large any partial sum can become for messages of ``magnitude`` at most."""
        return (self._two_sided if signed else self._one_sided) * magnitude

    def require_exact(self, largest: int, limit: int) -> None:
        """Refuse partial sums that floating point could not hold, or round, exactly.

        Raises:
            CapacityError: ``largest`` is ``limit`` or more.
        """
        if largest >= limit:
            found, over = f"a partial synaptic sum could reach {largest}", str(largest - limit + 1)
            fix = "lower the weights or the graded inputs"
            raise CapacityError(Finding("E233", "error", self.layer.name, found, str(limit - 1), over, fix))

    def bounded(self, largest: int) -> bool:
        """Whether sums of magnitude ``largest`` may take the 32-bit kernel."""
        return largest <= BOUNDED and self.ordinary_decays
