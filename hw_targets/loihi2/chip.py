"""The network as the chip sees it: integer synapses and integer neurons, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hw_targets.graph import Array, Pair, Shape
from hw_targets.loihi2.scale import worst_sum


@dataclass(frozen=True, slots=True, eq=False)
class ChipLayer:
    """One population: its synapses and its neurons, in the integers of the netx file.

    ``weight`` int64 [C_out, C_in/groups, kH, kW] or [N_out, N_in]; ``bias`` int64 per output channel, added
    at every step; ``threshold`` the mantissa vThMant (the neuron fires when v > threshold << 6);
    ``current_decay``, ``voltage_decay`` in 1/4096 per step (4096: no memory). ``scale`` is how many synaptic
    units make 1.0 of the float network, ``payload`` the integer that one input spike carries, ``clipped`` how many
    weights were too large for their field, ``largest_sum`` the
    largest magnitude that a synaptic sum can reach.
    """

    name: str
    kind: Literal["conv", "dense"]
    weight: Array
    bias: Array
    threshold: int
    voltage_decay: int
    input_shape: Shape
    output_shape: Shape
    current_decay: int = 4096
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    scale: float = 1.0
    payload: int = 1
    clipped: int = 0
    largest_sum: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Work out once how large a synaptic sum can become, whatever the input."""
        object.__setattr__(self, "largest_sum", worst_sum(self.weight) * self.payload)

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
    round(gray * payload), and every spike the payload itself, so that both have the same unit.
    """

    layers: tuple[ChipLayer, ...]
    input_shape: Shape
    steps: int
    dt_us: float | None
    first_frame: Literal["float", "spikes"]
    voting: int = 1

    @property
    def payload(self) -> int:
        """Integer that one input spike carries: 1 when the input is binary."""
        return self.layers[0].payload
