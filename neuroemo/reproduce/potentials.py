"""What the voting neurons of a trained network do on a clip: membrane potentials before reset, and spikes.

With the synaptic input X(t), the membrane time constant tau and the threshold theta (Wang et al. 2022, equations 1
and 2, in the discrete form of SpikingJelly, Fang et al. 2021)::

    H(t) = V(t-1) + (X(t) - V(t-1)) / tau        S(t) = 1 where H(t) >= theta        V(t) = 0 where S(t), else H(t)

The potential shown is H, before reset: a neuron fires exactly where it reaches the threshold. V would hide that: it is
0 wherever a neuron fires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, UnsupportedError, VerificationError
from hw_targets.graph import Array
from neuroemo.models.emotion import EmotionSpec
from neuroemo.training.evaluation import votes_of

if TYPE_CHECKING:
    from torch import nn

ROUNDING = 1e-4
"""How far from the threshold a potential may be and still be read as either side of it, in units of the threshold."""


@dataclass(frozen=True, slots=True)
class VotingRecord:
    """The K = classes x group voting neurons on N clips: ``potentials`` H float64 and ``spikes`` bool, [T, N, K].

    ``threshold`` and ``tau`` (in steps) are those of the trained layer.
    """

    potentials: Array
    spikes: Array
    threshold: float
    tau: float


def record_voting_neurons(network: nn.Module, spec: EmotionSpec, clips: Array) -> VotingRecord:
    """Run clips [T, N, 2, H, W] and record the voting neurons.

    Raises:
        UnsupportedError: an ANN, or a network fine-tuned on a chip's grid, has no such potentials.
        VerificationError: the potentials do not explain the spikes that the network fired.
    """
    layer = getattr(network, "voting_neurons", None)
    if spec.neuron == "relu" or layer is None:
        found = "an ANN" if spec.neuron == "relu" else "a network on a chip's grid"
        fix = (
            "take a spiking network" if spec.neuron == "relu" else "neuroemo simulate --probe shows the chip's integers"
        )
        raise UnsupportedError(Finding("E944", "error", spec.name, f"{found} has no membrane potentials here", fix=fix))
    neuron = layer[1]
    seen: dict[str, Array] = {}

    def keep(module: Any, inputs: Any, output: Any) -> None:
        seen["inputs"], seen["spikes"] = inputs[0].detach().numpy().copy(), output.detach().numpy() != 0

    hook = neuron.register_forward_hook(keep)
    try:
        votes_of(network, spec, clips)
    finally:
        hook.remove()
    tau = float(1 / neuron.w.detach().sigmoid()) if hasattr(neuron, "w") else float(neuron.tau)
    record = VotingRecord(
        integrate(seen["inputs"], seen["spikes"], tau), seen["spikes"], float(neuron.v_threshold), tau
    )
    _verify(record, spec.name)
    return record


def integrate(inputs: Array, spikes: Array, tau: float) -> Array:
    """Return the potentials before reset H float64 [T, ...] of inputs [T, ...], reset to 0 where the neurons fired.

    >>> integrate(np.array([1.0, 1.0, 1.0]), np.array([False, True, False]), 2.0).tolist()
    [0.5, 0.75, 0.5]
    """
    potential = np.zeros(inputs.shape[1:])
    before_reset = np.empty(inputs.shape)
    for step, arriving in enumerate(inputs.astype(np.float64)):
        potential = potential + (arriving - potential) / tau
        before_reset[step] = potential
        potential = np.where(spikes[step], 0.0, potential)
    return before_reset


def _verify(record: VotingRecord, name: str) -> None:
    """Raise unless every neuron fires exactly where its potential reaches the threshold, up to rounding."""
    distance = record.potentials - record.threshold
    wrong = ((distance >= 0) != record.spikes) & (np.abs(distance) > ROUNDING * record.threshold)
    if wrong.any():
        found = f"{int(wrong.sum())} of {wrong.size} spikes do not follow from the potentials"
        raise VerificationError(Finding("E944", "error", name, found, "0", str(int(wrong.sum()))))


def group_rates(spikes: Array, voting: int) -> Array:
    """Return the mean firing rate of each group, float64 [N, classes], from spikes [T, N, classes x voting].

    >>> group_rates(np.array([[[1, 0, 1, 1]], [[0, 0, 1, 0]]], dtype=bool), 2).tolist()
    [[0.25, 0.75]]
    """
    steps, clips, neurons = spikes.shape
    return spikes.reshape(steps, clips, neurons // voting, voting).sum(axis=(0, 3)) / (steps * voting)
