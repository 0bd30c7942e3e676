"""Two spiking networks that estimate valence and arousal from the bits of event frames, made for a neuromorphic chip.

Input: the B slices of an event frame are B time steps of one channel of spikes, so that nothing is multiplied
anywhere; a chunk of F frames is one run of F B steps, from rest. Output: two groups of K neurons for each value, and
value = rate of the first group - rate of the second (``hw_targets.readout.ValueReadout``).

``spiking-plif``: {7x7 convolution of stride 4, batch normalisation, PLIF neurons}, and {3x3 of stride 2, ...} for every
further width. ``spiking-resnet``: the same first stage, then for every further width two layers of parallel branches
(``spiking_parts.Branches``), the first of stride 2, the second with the identity among its branches. Both end in a
linear layer with batch normalisation and PLIF neurons, and one more of 2 x 2 K output neurons. The small presets for
64x64 pixels have 189,909 and 190,087 trained parameters.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from hw_targets.finding import Finding, InputError
from hw_targets.readout import ValueReadout
from neuroemo.models.affect.spec import OUTPUTS, AffectSpec
from neuroemo.models.affect.spiking_parts import Branches, as_clip_layer, as_convolution, fire, layers, neurons

if TYPE_CHECKING:
    from torch import Tensor

FIRST_KERNEL, FIRST_STRIDE = 7, 4


class SpikingAffect(nn.Module):
    """Bits float32 [N, F, B, 1, H, W], 0 or 1, oldest first, to values [N, F, 2] in [-1, 1]; every call is from rest.

    ``layers`` holds convolutions, batch normalisation and SpikingJelly's PLIF neurons, in the order of the data.
    """

    step_weights: Tensor

    def __init__(self, spec: AffectSpec) -> None:
        super().__init__()
        self.spec = spec
        self.readout = readout_of(spec)
        self.layers = nn.Sequential(OrderedDict(_layers(spec)))
        weights = torch.from_numpy(self.readout.weights(spec.frames * spec.n_bits)).float()
        self.register_buffer("step_weights", weights, persistent=False)
        self.initialisation = "random"

    def forward(self, bits: Tensor) -> Tensor:
        """Return the values of every frame of every chunk."""
        return self.values(self.spikes(bits))

    def spikes(self, bits: Tensor) -> Tensor:
        """Return the output spikes [F B, N, 4 K]."""
        return deque(self.run(bits), maxlen=1).pop()[1]

    def run(self, bits: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the name of every layer of neurons and its spikes [F B, N, ...], in the order of the data.

        Raises:
            InputError: bits of another shape.
        """
        self._check(bits)
        samples, steps = bits.shape[0], self.spec.frames * self.spec.n_bits
        images = bits.flatten(1, 2).transpose(0, 1).flatten(0, 1).contiguous()
        for name, layer in self.layers.named_children():
            if hasattr(layer, "v_threshold"):
                spikes = fire(images.unflatten(0, (steps, samples)).contiguous(), layer)
                images = spikes.flatten(0, 1)
                yield name, spikes
            else:
                images = layer(images)

    def values(self, spikes: Tensor) -> Tensor:
        """Return the values [N, F, 2] that output spikes [F B, N, 4 K] say, with a gradient; see ``ValueReadout``."""
        groups = spikes.unflatten(2, (len(OUTPUTS), 2, -1)).mean(dim=4)
        return torch.einsum("ft,tnv->nfv", self.step_weights, groups[:, :, :, 0] - groups[:, :, :, 1])

    def _check(self, bits: Tensor) -> None:
        spec = self.spec
        wanted = (spec.frames, spec.n_bits, 1, spec.size, spec.size)
        if bits.ndim != 6 or tuple(bits.shape[1:]) != wanted:
            found = f"input {list(bits.shape)}"
            raise InputError(Finding("E995", "error", spec.name, found, f"[chunks, {', '.join(map(str, wanted))}]"))


def build_spiking(spec: AffectSpec) -> SpikingAffect:
    """Build the network of a spiking spec with torch's default initialisation.

    Raises:
        InputError: an ANN's spec.
    """
    if not spec.is_spiking:
        raise InputError(Finding("E996", "error", spec.name, f"kind {spec.kind}", "a spiking network"))
    return SpikingAffect(spec)


def readout_of(spec: AffectSpec) -> ValueReadout:
    """Return how the values are read from the output spikes of a spiking spec's network.

    Raises:
        InputError: an ANN's spec.
    """
    if spec.neurons_per_value is None:
        raise InputError(Finding("E996", "error", spec.name, f"kind {spec.kind}", "a spiking network"))
    return ValueReadout(OUTPUTS, spec.neurons_per_value, spec.n_bits, spec.window or spec.n_bits)


def chip_network(network: SpikingAffect) -> nn.Sequential:
    """Return the network as a plain chain of SpikingJelly's layers: bits [T, N, 1, H, W] to shares [T, N, 4].

    Parallel branches are folded into one convolution each; everything else is a copy. Behind the output neurons the
    share of each of the four groups that fires is taken; up to there it is what ``neuroemo export`` writes to a chip.
    """
    made: list[tuple[str, nn.Module]] = []
    for name, layer in copy.deepcopy(network.layers).named_children():
        made.append((name, _as_clip_layer(layer)))
    made.append(("groups", layers().VotingLayer(network.readout.neurons)))
    chain = nn.Sequential(OrderedDict(made))
    for module in chain.modules():
        if hasattr(module, "step_mode"):
            module.step_mode = "m"  # type: ignore[assignment]
    return chain.eval()


def _as_clip_layer(layer: nn.Module) -> nn.Module:
    """Return a layer of images [T N, ...] as one of clips [T, N, ...]."""
    if isinstance(layer, Branches):
        return as_convolution(layer)
    if isinstance(layer, nn.BatchNorm1d):
        return as_clip_layer(layer)
    return layer


def _layers(spec: AffectSpec) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a spec by name; SpikingJelly's layers, in single-step mode, are torch's own."""
    made = layers()
    channels, side = spec.channels or (), spec.size
    first = {"stride": FIRST_STRIDE, "padding": FIRST_KERNEL // 2, "bias": False}
    yield "stage1_conv", made.Conv2d(1, channels[0], FIRST_KERNEL, **first)
    yield "stage1_norm", made.BatchNorm2d(channels[0])
    yield "stage1", _neurons(spec)
    side = -(-side // FIRST_STRIDE)
    for number, (inputs, width) in enumerate(pairwise(channels), start=2):
        if spec.kind == "spiking-resnet":
            yield f"stage{number}a_branches", Branches(inputs, width, 2)
            yield f"stage{number}a", _neurons(spec)
            yield f"stage{number}b_branches", Branches(width, width, 1)
            yield f"stage{number}b", _neurons(spec)
        else:
            yield f"stage{number}_conv", made.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False)
            yield f"stage{number}_norm", made.BatchNorm2d(width)
            yield f"stage{number}", _neurons(spec)
        side = -(-side // 2)
    hidden, outputs = spec.hidden or 0, 2 * len(OUTPUTS) * (spec.neurons_per_value or 0)
    yield "flatten", made.Flatten()
    yield "hidden_linear", made.Linear(channels[-1] * side * side, hidden, bias=False)
    yield "hidden_norm", nn.BatchNorm1d(hidden)
    yield "hidden", _neurons(spec)
    yield "output_linear", made.Linear(hidden, outputs, bias=False)
    yield "output_norm", nn.BatchNorm1d(outputs)
    yield "output", _neurons(spec)


def _neurons(spec: AffectSpec) -> nn.Module:
    return neurons(spec.tau or 0.0, spec.threshold or 0.0)
