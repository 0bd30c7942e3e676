"""What is counted and under which convention; printed with every result, because conventions differ elevenfold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Pooling = Literal["event", "spike_unit", "folded"]
BatchNormPolicy = Literal["folded", "counted"]

POOLING_TEXT: dict[str, str] = {
    "event": "no operation; graded values that averaging creates are multiply-accumulates where they arrive",
    "spike_unit": "sum pooling, as on a chip that routes: every spike that enters a pool and is passed on is an "
    "accumulate at each synapse its window feeds",
    "folded": "averaging is part of the next weights: every input of the pool costs the fan-out it has through it",
}
BATCH_NORM_TEXT: dict[str, str] = {
    "folded": "folded into the weights: no operation",
    "counted": "one multiply-accumulate per element and step, listed as a layer of its own",
}


@dataclass(frozen=True, slots=True)
class NeuronRule:
    """What one update of one neuron costs besides its synaptic input, and what a reset costs.

    The accumulate that adds a synaptic input is counted at the synapse. ``macs`` are decays (one
    multiply-accumulate per state that leaks), ``acs`` the comparison with the threshold (one subtraction),
    ``reset_acs`` the subtraction of a soft reset; writing a constant is no arithmetic.
    """

    name: str
    macs: int
    acs: int
    reset_acs: int = 0

    @property
    def text(self) -> str:
        """The rule in words."""
        reset = f", {self.reset_acs} AC per reset" if self.reset_acs else ""
        return f"{self.name}: {self.macs} MAC + {self.acs} AC per update{reset}"


@dataclass(frozen=True, slots=True)
class CountingPolicy:
    """What is counted, under which convention, and what is left out; printed with every result."""

    events: str = "an input element equal to 1 or -1: its exact fan-out in accumulates (AC)"
    graded: str = "any other non-zero element: its exact fan-out in multiply-accumulates (MAC), per element"
    zeros: str = "zero inputs cost nothing; zero weights are not skipped"
    borders: str = "taps on zero padding are not counted"
    products: str = "product of two activations: nothing where either is 0, AC where either is 1 or -1, else MAC"
    bias: str = "bias additions are not counted"
    neurons: str = "updates are counted per neuron and step, apart from synaptic operations"
    batch_norm: str = BATCH_NORM_TEXT["folded"]
    pooling: str = POOLING_TEXT["event"]
    flatten: str = "no operation"
    dropout: str = "inactive at inference: no operation"
    voting: str = "read-out of the output spikes: no operation"
    activation: str = "ReLU and identity: no operation"
    unseen: str = "element-wise arithmetic between modules is not seen"

    def to_dict(self) -> dict[str, str]:
        """Return the policy as a JSON-ready dictionary."""
        return asdict(self)


def counting_policy(pooling: Pooling, batch_norm: BatchNormPolicy, skip_zero_weights: bool) -> CountingPolicy:
    """Return the policy in words for the three choices a caller has.

    >>> counting_policy("event", "folded", True).zeros
    'zero inputs cost nothing; zero weights are skipped'
    """
    skipped = "zero weights are skipped" if skip_zero_weights else "zero weights are not skipped"
    return CountingPolicy(
        zeros=f"zero inputs cost nothing; {skipped}",
        batch_norm=BATCH_NORM_TEXT[batch_norm],
        pooling=POOLING_TEXT[pooling],
    )
