"""The network as the chip sees it: integer synapses and integer neurons, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hw_targets.graph import Array, Pair, Shape
from hw_targets.loihi2.scale import worst_sum

Synapses = Literal["conv", "dense", "dense_rec", "input"]
Neurons = Literal["lif", "delta", "sigma_delta", "sigma"]


@dataclass(frozen=True, slots=True, eq=False)
class ChipLayer:
    """One population: its synapses and its neurons, in the integers of the netx file.

    ``weight`` int64 [C_out, C_in/groups, kH, kW] or [N_out, N_in], empty for neurons that take the input itself
    (``kind`` "input"); ``recurrent`` int64 [N_out, N_out] of a "dense_rec" layer; ``delay`` int64 [N_out, N_in], extra
    steps per synapse of a dense layer. ``bias`` int64 [C_out], or one per neuron in ``output_shape``, added at
    every step.
    ``threshold`` the mantissa vThMant (a LIF neuron fires when v > threshold << 6, a sigma-delta neuron sends when
    the change is at least threshold << 6 + spike_exponent), ``current_decay``, ``voltage_decay`` in 1/4096 per
    step (4096: no memory); each is one integer or int64 [C_out]. A dense sum is shifted by ``weight_exponent``
    bits (rounding down).

    ``scale`` is how many synaptic units make 1.0 of the float network, ``payload`` the largest magnitude that one
    input message carries (1: spikes), ``clipped`` how many weights were too large for their field, ``largest_sum``
    the largest magnitude that a synaptic sum can reach.
    """

    name: str
    kind: Synapses
    weight: Array
    bias: Array
    threshold: int | Array
    voltage_decay: int | Array
    input_shape: Shape
    output_shape: Shape
    current_decay: int | Array = 4096
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    scale: float = 1.0
    payload: int = 1
    clipped: int = 0
    recurrent: Array | None = None
    delay: Array | None = None
    weight_exponent: int = 0
    neuron: Neurons = "lif"
    spike_exponent: int = 6
    largest_sum: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Work out once how large a synaptic sum can become, whatever the input."""
        object.__setattr__(self, "largest_sum", self._largest_sum())

    def _largest_sum(self) -> int:
        if self.kind == "input":
            return self.payload
        worst = worst_sum(self.weight) * self.payload
        if self.recurrent is not None:
            worst += worst_sum(self.recurrent)
        return worst << self.weight_exponent if self.weight_exponent > 0 else worst

    @property
    def sends_spikes(self) -> bool:
        """Whether its messages are 0 and 1; the others send integers."""
        return self.neuron == "lif"

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        size = 1
        for n in self.output_shape:
            size *= n
        return size

    @property
    def synapses(self) -> int:
        """Number of stored weights (a convolution stores its kernel once)."""
        return int(self.weight.size)


@dataclass(frozen=True, slots=True, eq=False)
class ChipGraph:
    """All populations in data-flow order, with what a run needs to know.

    ``steps`` per sample; ``first_frame`` "float" means that step 0 carries graded payloads
    round(gray * payload), and every spike the payload itself, so that both have the same unit; "spikes" that the
    input is 0 and 1, "integers" that it is sent as it is, signed, of magnitude ``payload`` at most.
    """

    layers: tuple[ChipLayer, ...]
    input_shape: Shape
    steps: int
    dt_us: float | None
    first_frame: Literal["float", "spikes", "integers"]
    voting: int = 1

    @property
    def payload(self) -> int:
        """Integer that one input spike carries: 1 when the input is binary."""
        return self.layers[0].payload
