"""The share of synaptic operations: equal to the operation counter's, and going down when it is in the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hw_targets.finding import UnsupportedError
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.profiling.counting.counter import count_operations
from neuroemo.training.evaluation import forward
from neuroemo.training.penalty import OperationsPenalty

torch.set_num_threads(1)


def network_of(**changes):
    """A small network that spikes in every layer, normalising with its running statistics."""
    torch.manual_seed(3)
    spec = replace(spec_by_name("tiny"), threshold=0.2, first_frame="spikes", **changes)
    network = build_network(spec).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            torch.nn.init.uniform_(module.weight, 1.0, 3.0)
    return spec, network


def clips_of(spec, clips=3):
    rng = np.random.default_rng(5)
    return torch.from_numpy((rng.random((spec.steps, clips, 2, spec.size, spec.size)) < 0.2).astype(np.float32))


@pytest.mark.parametrize("layers", [{"stride": 2, "pool": "none"}, {"pool": "max"}, {"pool_place": "before neuron"}])
def test_it_is_the_share_that_the_operation_counter_counts(layers):
    spec, network = network_of(**layers)
    clips = clips_of(spec)
    penalty = OperationsPenalty(network)
    forward(network, spec, clips)
    share = float(penalty.share())
    penalty.close()
    later = list(count_operations(network, [clips]).layers.values())[1:]
    assert all(layer.macs == 0 for layer in later)
    caused, dense = sum(layer.acs for layer in later), sum(layer.dense_macs for layer in later)
    assert 0.001 < share < 1
    assert share == pytest.approx(caused / dense, rel=1e-5)


def test_a_spike_behind_an_average_pool_is_charged_as_deployed():
    spec, network = network_of(channels=(3,), hidden=5, size=9, steps=4)
    seen = []
    neuron = next(module for module in network.modules() if hasattr(module, "v_threshold"))
    neuron.register_forward_hook(lambda module, inputs, spikes: seen.append(spikes.detach().clone()))
    hidden = []
    list(network.features)[-1].register_forward_hook(lambda module, inputs, spikes: hidden.append(spikes.detach()))
    clips = clips_of(spec)
    penalty = OperationsPenalty(network)
    forward(network, spec, clips)
    spikes = seen[0][..., :6, :6]  # 7x7 neurons, of which the pool reads 6x6, each in one window
    caused = float(spikes.sum()) * 5 + float(hidden[0].sum()) * 20
    dense = clips.shape[0] * clips.shape[1] * (3 * 6 * 6 * 5 + 5 * 20)
    assert caused > 0
    assert float(penalty.share()) == pytest.approx(caused / dense, rel=1e-5)


def test_its_gradient_lowers_the_firing_rate():
    spec, network = network_of(stride=2, pool="none")
    clips = clips_of(spec)
    penalty = OperationsPenalty(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    shares = []
    for _ in range(8):
        forward(network, spec, clips)
        share = penalty.share()
        optimiser.zero_grad()
        share.backward()
        optimiser.step()
        shares.append(float(share.detach()))
    assert shares[-1] < 0.7 * shares[0]


def test_clips_that_are_only_looked_at_do_not_count():
    spec, network = network_of(stride=2, pool="none")
    penalty = OperationsPenalty(network)
    network.eval()
    with torch.no_grad():
        network(clips_of(spec))
    with pytest.raises(RuntimeError, match="no clip"):
        penalty.share()


def test_dropout_is_refused_by_name():
    _, network = network_of(dropout=0.5)
    with pytest.raises(UnsupportedError) as caught:
        OperationsPenalty(network)
    assert [finding.code for finding in caught.value.findings] == ["E909", "E909"]
    assert not any(module._forward_pre_hooks for module in network.modules())
