"""The fused engine against SpikingJelly's own network: votes, gradients, running statistics, training together."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neuroemo.models.emotion import EmotionSpec, spec_by_name
from neuroemo.training.evaluation import forward
from neuroemo.training.fast import fast_network
from tests.training.fast_support import (
    SMALL,
    firing_network,
    largest_error,
    pass_through,
    random_clips,
    same_votes,
    three_ways,
)

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


VARIANTS = {
    "plif average": {},
    "lif": {"neuron": "lif", "tau": 3.0},
    "max pool": {"pool": "max", "threshold": 0.4},
    "padded": {"padding": 1, "size": 18},
    "padded twice": {"padding": 2, "size": 17, "pool": "max"},
    "leftover": {"size": 25, "pool": "max"},
    "leftover average": {"size": 25},
    "one stage": {"channels": (6,), "size": 9},
    "no stage": {"channels": (), "size": 6},
    "wide": {"channels": (32, 32), "size": 16, "threshold": 0.5},
    "spikes only": {"first_frame": "spikes"},
    "one step": {"steps": 1, "threshold": 0.2},
    "three classes": {"classes": 3, "voting": 1},
    "more neurons than a block": {"hidden": 700},
}


@pytest.mark.parametrize("change", VARIANTS.values(), ids=VARIANTS.keys())
def test_votes_gradients_and_statistics_are_spikingjellys(change):
    ours, theirs, double = three_ways(replace(SMALL, **change))
    assert 0.02 < theirs[0].mean() < 0.98
    assert torch.equal(ours[0], theirs[0])
    assert largest_error(ours[1], theirs[1]) < TOLERANCE
    if same_votes(theirs[0], double[0]):
        assert largest_error(ours[1], double[1]) < TOLERANCE
    for name, value in theirs[2].items():
        torch.testing.assert_close(ours[2][name], value, rtol=2e-7, atol=1e-9, msg=name)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    size=st.integers(7, 21),
    steps=st.integers(1, 9),
    clips=st.integers(1, 4),
    widths=st.lists(st.integers(1, 20), min_size=1, max_size=2),
    neuron=st.sampled_from(["lif", "plif"]),
    pool=st.sampled_from(["average", "max"]),
    padding=st.integers(0, 2),
    threshold=st.sampled_from([0.1, 0.4, 0.8]),
    tau=st.sampled_from([1.25, 2.0, 5.0]),
    seed=st.integers(0, 99),
)
def test_any_shape_agrees_with_spikingjelly_in_float64(
    size, steps, clips, widths, neuron, pool, padding, threshold, tau, seed
):
    assume(len(widths) == 1 or size >= 10)
    spec = EmotionSpec(
        "any", size=size, steps=steps, channels=tuple(widths), hidden=9, voting=2, neuron=neuron, pool=pool,
        padding=padding, threshold=threshold, tau=tau,
    )  # fmt: skip
    ours, theirs, double = three_ways(spec, clips, seed)
    assume(same_votes(theirs[0], double[0]))
    assume(all(float(value.abs().max()) > 1e-6 for value in double[1].values()))
    assert same_votes(ours[0], double[0])
    wanted = max(TOLERANCE, 2 * largest_error(theirs[1], double[1]))
    assert largest_error(ours[1], double[1]) < wanted


def test_evaluation_uses_running_statistics_and_leaves_them():
    network = firing_network(SMALL)
    for norm in (network.features[1], network.features[5]):
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.05, 0.3)
    ours = copy.deepcopy(network).eval()
    network.eval()
    before = copy.deepcopy(dict(ours.named_buffers()))
    clips = random_clips(SMALL, 4)
    votes, gradients = pass_through(ours, fast_network(ours, SMALL), clips)
    wanted, wanted_gradients = pass_through(network, lambda x: forward(network, SMALL, x), clips)
    assert torch.equal(votes, wanted)
    assert 0.02 < votes.mean() < 0.98
    assert largest_error(gradients, wanted_gradients) < TOLERANCE
    assert all(torch.equal(value, before[name]) for name, value in ours.named_buffers())


def test_dropout_keeps_one_mask_for_all_steps_and_draws_the_same_as_spikingjelly():
    spec = replace(SMALL, dropout=0.5)
    network = firing_network(spec)
    ours = copy.deepcopy(network)
    clips = random_clips(spec, 3)
    votes, gradients = pass_through(ours, fast_network(ours, spec), clips)
    wanted, wanted_gradients = pass_through(network, lambda x: forward(network, spec, x), clips)
    assert torch.equal(votes, wanted)
    assert largest_error(gradients, wanted_gradients) < TOLERANCE
    other, _ = pass_through(ours, fast_network(ours, spec), clips, seed=2)
    assert not torch.equal(other, votes)


def test_parameters_and_buffers_are_the_originals():
    network = firing_network(SMALL)
    fast = fast_network(network, SMALL)
    assert {id(value) for value in fast.parameters()} == {id(value) for value in network.parameters()}
    assert {id(value) for value in fast.buffers()} == {id(value) for value in network.buffers()}
    fast.eval()
    assert not network.training


def test_frozen_parameters_have_no_gradient_and_the_others_keep_theirs():
    network = firing_network(SMALL)
    _, whole = pass_through(network, fast_network(network, SMALL), random_clips(SMALL, 2))
    for number in (0, 4):
        network.features[number].weight.requires_grad_(False)
    _, gradients = pass_through(network, fast_network(network, SMALL), random_clips(SMALL, 2))
    assert gradients["features.0.weight"] is None
    assert gradients["features.4.weight"] is None
    assert torch.equal(gradients["features.5.bias"], whole["features.5.bias"])


def test_threads_do_not_change_a_bit_of_the_fused_layers(monkeypatch):
    network = firing_network(SMALL)
    clips = random_clips(SMALL, 5)
    votes, gradients = pass_through(network, fast_network(network, SMALL), clips)
    # torch's own threads stay as they are: on a busy machine they wait for each other in loops.
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    again, shared = pass_through(network, fast_network(network, SMALL), clips)
    assert torch.equal(votes, again)
    for name in ("features.1.weight", "features.1.bias", "features.2.w", "features.5.weight", "features.10.w"):
        torch.testing.assert_close(shared[name], gradients[name], rtol=1e-6, atol=0)


def test_no_gradient_is_kept_without_being_asked_for():
    network = firing_network(SMALL)
    with torch.no_grad():
        votes = fast_network(network, SMALL)(random_clips(SMALL, 2))
    assert not votes.requires_grad


@pytest.mark.parametrize("name", ["plif-fang", "baseline", "plif", "0.8snn", "0.4snn", "mpsnn", "puresnn"])
def test_twenty_steps_of_training_stay_together(name):
    spec = spec_by_name(f"{name}@32", steps=6, hidden=16, voting=4)
    if name == "plif-fang":
        spec = replace(spec, channels=(8, 8, 8), dropout=0.2)
    networks = [firing_network(spec, gain=4.0 + 8.0 * (spec.threshold > 0.5)) for _ in range(2)]
    ways = fast_network(networks[0], spec), lambda x: forward(networks[1], spec, x)
    losses = [[], []]
    for network, votes_of, kept in zip(networks, ways, losses, strict=True):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        torch.manual_seed(0)
        for step in range(20):
            clips = random_clips(spec, 4, seed=step % 5)
            wanted = torch.eye(2)[torch.arange(4) % 2]
            loss = torch.nn.functional.mse_loss(votes_of(clips).mean(0), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            kept.append(float(loss.detach()))
    assert len(set(losses[1])) > 10
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)
