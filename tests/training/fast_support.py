"""What the tests of the fused engine share: a network that fires, clips, and one pass forward and back."""

from __future__ import annotations

import copy

import numpy as np
import torch

from neuroemo.models.emotion import EmotionSpec, build_network
from neuroemo.training.evaluation import forward
from neuroemo.training.fast import fast_network


def firing_network(spec, seed=0, gain=4.0):
    """Return a network of random weights whose every layer fires, its normalisation and time constants varied."""
    torch.manual_seed(seed)
    network = build_network(spec).train()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(gain).add_(gain / 2 / parameter.shape[1])
            else:
                parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim < 2 else 0.05))
    return network


def random_clips(spec, clips, seed=0, density=0.15):
    random = np.random.default_rng(seed)
    data = (random.random((spec.steps, clips, 2, spec.size, spec.size)) < density).astype(np.float32)
    if spec.first_frame == "float":
        data[0] = random.integers(0, 256, (clips, 1, spec.size, spec.size)) / 255
    return torch.from_numpy(data)


def pass_through(network, votes_of, clips, seed=1):
    """Return votes and gradients of one pass; the votes are weighed at random, so that every gradient is tested."""
    for parameter in network.parameters():
        parameter.grad = None
    torch.manual_seed(seed)
    votes = votes_of(clips)
    weights = torch.randn(votes.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32).to(votes)
    (votes * weights).sum().backward()
    return votes.detach(), {name: parameter.grad for name, parameter in network.named_parameters()}


def three_ways(spec, clips=3, seed=0, gain=4.0):
    """Return votes, gradients and buffers of the fused network, of SpikingJelly's and of its float64 twin."""
    reference = firing_network(spec, seed, gain)
    ours, double = copy.deepcopy(reference), copy.deepcopy(reference).double()
    batch = random_clips(spec, clips, seed)
    return (
        (*pass_through(ours, fast_network(ours, spec), batch), dict(ours.named_buffers())),
        (*pass_through(reference, lambda x: forward(reference, spec, x), batch), dict(reference.named_buffers())),
        (*pass_through(double, lambda x: forward(double, spec, x), batch.double()), dict(double.named_buffers())),
    )


def largest_error(found, wanted):
    """Return the largest difference of any gradient, relative to the largest entry of its tensor.

    The time constants are one number per layer, each a sum that may happen to cancel: they count as one tensor.
    """
    assert found.keys() == wanted.keys()
    found, wanted = _with_one_tensor_of_time_constants(found), _with_one_tensor_of_time_constants(wanted)
    worst = 0.0
    for name, value in wanted.items():
        largest = float(value.abs().max())
        assert largest > 0, f"{name} has no gradient: the test would prove nothing"
        worst = max(worst, float((found[name] - value).abs().max()) / largest)
    return worst


def _with_one_tensor_of_time_constants(gradients):
    weights = {name: value.double() for name, value in gradients.items() if value.ndim}
    constants = [value.double() for value in gradients.values() if not value.ndim]
    return weights | ({"w": torch.stack(constants)} if constants else {})


def same_votes(found, wanted):
    """Tell whether no neuron's spike differs: a vote moves in steps of one over the neurons per class."""
    return bool((found.double() - wanted.double()).abs().max() < 1e-6)


SMALL = EmotionSpec("small", size=20, steps=7, channels=(4, 8), hidden=24, voting=3, threshold=0.4)
