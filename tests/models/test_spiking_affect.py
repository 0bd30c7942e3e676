"""The two spiking regressors: what they compute, that branches fold exactly, that spikes are SpikingJelly's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from export.frontends import spikingjelly
from export.reference import run_graph
from hw_targets.finding import InputError
from neuroemo.models.affect.network import build_affect
from neuroemo.models.affect.spec import AffectSpec
from neuroemo.models.affect.spiking import build_spiking, chip_network, readout_of
from neuroemo.models.affect.spiking_parts import Branches, as_convolution, fire, neurons, slope_and_shift
from neuroemo.models.affect.table import spec_by_name

KINDS = ("spiking-plif", "spiking-resnet")


def small(kind, **changes):
    fields = {
        "size": 32, "frames": 3, "input": "bits", "n_bits": 4, "channels": (6, 8), "hidden": 12, "tau": 2.5,
        "threshold": 0.3, "neurons_per_value": 3, "window": 8,
    }  # fmt: skip
    return AffectSpec("small", kind, **(fields | changes))


def bits_for(spec, chunks=5, density=0.15, seed=0):
    rng = np.random.default_rng(seed)
    shape = (chunks, spec.frames, spec.n_bits, 1, spec.size, spec.size)
    return torch.from_numpy((rng.random(shape) < density).astype(np.float32))


def settled(kind, **changes):
    """Build a network whose normalisation knows its data, with scales and shifts that are not the trivial ones."""
    torch.manual_seed(1)
    network = build_spiking(small(kind, **changes))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches seen
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.uniform_(module.bias, -0.2, 0.3)
    with torch.no_grad():
        for seed in range(3):
            network(bits_for(network.spec, seed=seed + 10))
    return network.eval()


@pytest.mark.parametrize(
    ("name", "parameters", "window"),
    [("spiking-plif@64", 189909, 24), ("spiking-resnet@64", 190087, 24), ("spiking-plif", 486446, 24)],
)
def test_presets_have_the_parameters_that_are_documented(name, parameters, window):
    spec = spec_by_name(name)
    network = build_affect(spec)
    assert sum(weight.numel() for weight in network.parameters()) == parameters
    assert (network.readout.window, network.readout.neurons, network.readout.steps_per_value) == (window, 16, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_by_hand(kind):
    network = build_spiking(small(kind))
    plain = 49 * 6 + 2 * 6 + 1
    if kind == "spiking-plif":
        plain += 9 * 6 * 8 + 2 * 8 + 1
    else:
        plain += (9 + 1) * 6 * 8 + 4 * 8 + 1 + (9 + 1) * 8 * 8 + 6 * 8 + 1
    plain += 8 * 4 * 4 * 12 + 2 * 12 + 1 + 12 * 12 + 2 * 12 + 1
    assert sum(weight.numel() for weight in network.parameters()) == plain


@pytest.mark.parametrize("kind", KINDS)
def test_values_lie_within_one_and_every_parameter_learns(kind):
    network = build_spiking(small(kind)).train()
    bits = bits_for(network.spec)
    values = network(bits)
    assert values.shape == (5, 3, 2)
    assert values.abs().max() <= 1
    (values - 0.3).square().mean().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize("kind", KINDS)
def test_calls_start_from_rest_chunks_do_not_meet_and_later_frames_change_nothing_before(kind):
    network = settled(kind)
    bits = bits_for(network.spec)
    with torch.no_grad():
        first, again, alone = network(bits), network(bits), network(bits[2:3])
        other = bits.clone()
        other[:, 2] = 1 - other[:, 2]
        changed = network(other)
        other[:, 2] = bits[:, 2]
        other[:, 0] = 0
        earlier = network(other)
    assert torch.equal(first, again)
    assert torch.equal(first[2:3], alone)
    assert torch.equal(first[:, :2], changed[:, :2])
    assert not torch.equal(first[:, 2], changed[:, 2])
    assert not torch.equal(first[:, 1], earlier[:, 1]), "membranes carry what came before"


@pytest.mark.parametrize("kind", KINDS)
def test_spikes_are_those_of_spikingjelly_and_of_the_folded_chain(kind):
    network = settled(kind)
    bits = bits_for(network.spec)
    with torch.no_grad():
        mine = {name: spikes.numpy().astype(np.uint8) for name, spikes in network.run(bits)}
    clips = bits.flatten(1, 2).transpose(0, 1).contiguous()
    graph, theirs = spikingjelly.capture(chip_network(network), clips, dt_us=5000.0)
    assert list(mine) == list(theirs)
    assert graph.voting == network.spec.neurons_per_value
    ties = run_graph(graph, clips.numpy(), teacher=theirs).ties
    for name, spikes in mine.items():
        assert 0 < spikes.mean() < 1
        # Folding rounds in float32: a potential within rounding of the threshold may fall to either side.
        wrong = (spikes != theirs[name]) & ~ties[name]
        assert not wrong.any(), name
    if kind == "spiking-plif":
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine), "the same operations: no tie either"


def test_the_folded_chain_computes_the_same_spikes_in_float64():
    network = settled("spiking-resnet").double()
    bits = bits_for(network.spec).double()
    with torch.no_grad():
        mine = {name: spikes for name, spikes in network.run(bits)}
        votes = chip_network(network)(bits.flatten(1, 2).transpose(0, 1))
    assert torch.equal(votes, mine["output"].unflatten(2, (4, -1)).mean(3))
    assert 0 < float(votes.mean()) < 1


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(3, 5, 2), (4, 4, 1), (4, 4, 2)])
def test_branches_are_one_convolution(inputs, outputs, stride):
    torch.manual_seed(2)
    branches = Branches(inputs, outputs, stride).double()
    assert (branches.norm0 is not None) == (inputs == outputs and stride == 1)
    for _ in range(3):
        branches(torch.randn(6, inputs, 7, 9, dtype=torch.float64) * 2 + 1)
    branches.eval()
    images = torch.randn(4, inputs, 9, 6, dtype=torch.float64)
    folded = as_convolution(branches)
    assert folded.weight.dtype == torch.float64
    assert torch.allclose(folded(images), branches(images), rtol=0, atol=1e-12)


def test_branches_by_hand():
    """One channel, kernels of known numbers: g3 * 2 in the corner; g1 * 5 + g0 in the middle; shifts added."""
    branches = Branches(1, 1, 1).double().eval()
    with torch.no_grad():
        branches.conv3.weight.zero_()
        branches.conv3.weight[0, 0, 0, 0] = 2.0
        branches.conv1.weight.fill_(5.0)
        for norm, weight, bias, mean, variance in (
            (branches.norm3, 3.0, 0.5, 1.0, 4.0),
            (branches.norm1, 1.0, 0.0, 2.0, 1.0),
            (branches.norm0, 4.0, -1.0, 0.0, 16.0),
        ):
            norm.eps = 0.0
            norm.weight.fill_(weight), norm.bias.fill_(bias)
            norm.running_mean.fill_(mean), norm.running_var.fill_(variance)
    weight, bias = branches.folded()
    expected = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    expected[0, 0, 0, 0], expected[0, 0, 1, 1] = 1.5 * 2.0, 5.0 + 1.0
    assert torch.equal(weight, expected)
    assert float(bias) == (0.5 - 1.5) + (0.0 - 2.0) + (-1.0 - 0.0)


def test_normalisation_without_running_statistics_cannot_be_folded():
    with pytest.raises(ValueError, match="running statistics"):
        slope_and_shift(nn.BatchNorm2d(2, track_running_stats=False))


def test_neurons_by_hand():
    """tau 2, threshold 1, decay of the input: v = 0.75 stays, 1.125 fires and resets, 0.5 stays."""
    neuron = neurons(2.0, 1.0)
    currents = torch.tensor([1.5, 1.5, 1.0]).reshape(3, 1, 1)
    assert fire(currents, neuron).ravel().tolist() == [0.0, 1.0, 0.0]
    assert fire(currents.double(), neuron.double()).ravel().tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("changes", [{}, {"window": 3}, {"window": None}, {"neurons_per_value": 1, "frames": 1}])
def test_values_in_training_are_those_of_the_readout(changes):
    network = build_spiking(small("spiking-plif", **changes))
    steps, each = network.spec.frames * 4, network.spec.neurons_per_value
    spikes = np.random.default_rng(3).integers(0, 2, (steps, 7, 4 * each))
    told = network.values(torch.from_numpy(spikes.astype(np.float32))).numpy()
    assert np.allclose(told, readout_of(network.spec).values(spikes), rtol=0, atol=1e-6)


def test_a_network_without_a_window_reads_each_frame_by_its_own_steps():
    assert readout_of(small("spiking-plif", window=None)).window == 4


def test_other_shapes_and_anns_are_refused():
    network = build_spiking(small("spiking-plif"))
    with pytest.raises(InputError, match=r"E995.*\[chunks, 3, 4, 1, 32, 32\]"):
        network(torch.zeros(2, 3, 5, 1, 32, 32))
    ann = AffectSpec("ann", "ic3d", size=32, frames=6, width=8)
    with pytest.raises(InputError, match=r"E996.*ic3d"):
        build_spiking(ann)
    with pytest.raises(InputError, match=r"E996.*ic3d"):
        readout_of(ann)
