"""Networks on the chip's grid: the torch network is the chip, spike by spike, and its gradients are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron, surrogate

from export.reference import run_graph
from hw_targets.finding import CapacityError
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, Linear
from neuroemo.training.fine_tune import quantize_network, with_least_rounding
from neuroemo.training.quantized import (
    QuantizedNetwork,
    with_resolved_thresholds,
)
from tests.conftest import random_clips, spiking_network
from tests.training.quantized_parts import TARGET, assert_is_the_chip, describe, train_a_little


def quantized(graph, bits):
    return QuantizedNetwork(graph, TARGET.quantize(graph, weight_bits=bits), TARGET, bits)


@st.composite
def graphs(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, stride, padding = draw(st.sampled_from([1, 2])), draw(st.integers(1, 2)), draw(st.integers(0, 1))
    size = draw(st.integers(5, 8))

    def lif(name, fan_in, bias):
        current = 1.0 if bias is not None else draw(st.sampled_from([1.0, 0.6]))
        return LIF(
            name,
            draw(st.floats(0, 1)),
            draw(st.floats(0.05, 1.0)) * fan_in**0.5,
            inclusive=draw(st.booleans()),
            current_decay=current,
        )

    bias = rng.normal(0, 0.3, 4) if draw(st.booleans()) else None
    conv = Conv2d("conv", rng.normal(0, 1, (4, 2 // groups, 3, 3)), bias, (stride,) * 2, (padding,) * 2, (1, 1), groups)
    side = (size + 2 * padding - 3) // stride + 1
    late = rng.normal(0, 0.3, 6) if draw(st.booleans()) else None
    return Graph(
        (
            conv,
            lif("n0", 9 * 2 / groups, bias),
            Flatten("flat"),
            Linear("fc", rng.normal(0, 1, (6, 4 * side * side)), late),
            lif("n1", side * side, late),
        ),
        (2, size, size),
        6,
        1000.0,
        draw(st.sampled_from(["float", "spikes"])),
        voting=3,
    )


def clips_for(graph, count=3, seed=0):
    rng = np.random.default_rng(seed)
    clips = (rng.random((graph.steps, count, *graph.input_shape)) < 0.4).astype(np.float32)
    if graph.first_frame == "float":
        clips[0] = rng.random(clips[0].shape)
    return clips


def wide(inputs):
    weight = np.full((2, inputs), 0.5)
    weight[1] *= -1
    weight[:, 0] *= -1
    return Graph((Linear("fc", weight), LIF("n", 0.5, 1.0)), (inputs,), 2, None)


@settings(max_examples=25, deadline=None)
@given(graphs(), st.integers(3, 8), st.integers(0, 2**31), st.sampled_from([0.01, 0.5]))
def test_equals_the_simulator_before_and_after_training(graph, bits, seed, rate):
    try:
        network = quantized(graph, bits)
    except CapacityError:
        assume(False)
    clips = clips_for(graph, seed=seed)
    assert_is_the_chip(network, clips)
    train_a_little(network, clips, rate)
    assert_is_the_chip(network, clips)


@pytest.mark.parametrize("bits", range(3, 9))
def test_layers_fire_and_training_moves_integers(bits):
    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), bits)
    clips = random_clips(spec, 4, 3)
    before = made.to_chip()
    assert all(0 < rate < 1 for rate in assert_is_the_chip(made, clips))
    train_a_little(made, clips, 0.2)
    assert all(0 < rate < 1 for rate in assert_is_the_chip(made, clips))
    moved = [bool((a.weight != b.weight).any()) for a, b in zip(before.layers, made.to_chip().layers, strict=True)]
    assert moved == [True] * 4


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_starts_on_the_integers_of_the_quantiser(bits):
    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), bits)
    wanted = TARGET.quantize(made.graph, weight_bits=bits)
    for ours, theirs in zip(made.to_chip().layers, wanted.layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        np.testing.assert_array_equal(ours.bias, theirs.bias)
        nothing = {"weight": np.zeros((1, 1), int), "bias": 0}
        assert repr(replace(ours, **nothing)) == repr(replace(theirs, **nothing))


def test_a_rounding_tie_that_float32_decides_otherwise_starts_as_the_quantiser_says():
    odd = 0.5 / 7 * (1 - 1e-9)  # 0.4999999995 units: zero in float64, a tie in float32
    graph = Graph((Linear("fc", np.array([[1.0, odd, -1.0, 1.5 / 7 * (1 - 1e-9)]])), LIF("n", 0.5, 0.9)), (4,), 3, None)
    chip = TARGET.quantize(graph, weight_bits=4)
    np.testing.assert_array_equal(quantized(graph, 4).to_chip().layers[0].weight, chip.layers[0].weight)


def test_equals_a_neuron_in_python_integers():
    rng = np.random.default_rng(1)
    graph = Graph((Linear("fc", rng.normal(0, 1, (3, 5)), rng.normal(0, 0.2, 3)), LIF("n", 0.37, 1.0)), (5,), 30, None)
    network = quantized(graph, 4)
    clips = (rng.random((30, 4, 5)) < 0.5).astype(np.float32)
    (layer,) = network.to_chip().layers
    expected = np.zeros((30, 4, 3), np.uint8)
    for n in range(4):
        for m in range(3):
            v = 0
            for t in range(30):
                v = (abs(v) * (4096 - layer.voltage_decay) >> 12) * (1 if v >= 0 else -1)
                v += 64 * sum(int(w) for w, x in zip(layer.weight[m], clips[t, n], strict=True) if x)
                v += 64 * int(layer.bias[m])
                if v > 64 * layer.threshold:
                    expected[t, n, m], v = 1, 0
    np.testing.assert_array_equal(network.layer_spikes(clips)["n"], expected)
    assert 0.1 < expected.mean() < 0.9


def test_large_potentials_are_truncated_exactly():
    # A potential of 22 bits times a decay of 12 bits does not fit float32's 24 bits.
    graph = Graph((Linear("fc", np.array([[1.0, -1.0]])), LIF("n", 1 / 4096 * 3, 1000.0)), (2,), 900, None)
    clips = np.ones((900, 1, 2), np.float32)
    clips[:, :, 1] = 0
    network = quantized(graph, 8)
    assert abs(TARGET.simulate(network.to_chip(), clips, probe=("n",)).membrane["n"]).max() > 2**22
    assert_is_the_chip(network, clips)


def test_gradients_are_those_of_the_float_network():
    # Weights on the grid and a fine threshold: SpikingJelly's own neuron then computes the same but for 1/64 units.
    rng = np.random.default_rng(5)
    weight = rng.integers(-127, 128, (4, 10)) / 100
    weight[0, 0] = 1.27
    graph = Graph((Linear("fc", weight, rng.normal(0, 0.1, 4)), LIF("n", 0.5, 1.2034)), (10,), 12, None, voting=2)
    network = quantized(graph, 8)
    clips = (rng.random((12, 6, 10)) < 0.4).astype(np.float32)
    goal = torch.from_numpy(rng.random((6, 2)).astype(np.float32))
    (network(torch.from_numpy(clips)).mean(0) - goal).square().mean().backward()
    on_grid = network.to_graph().nodes[0]
    linear = torch.nn.Linear(10, 4)
    linear.load_state_dict({"weight": torch.tensor(on_grid.weight), "bias": torch.tensor(on_grid.bias)})
    cell = neuron.LIFNode(
        tau=2.0,
        decay_input=False,
        v_threshold=1.2034,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode="m",
    )
    spikes = cell(linear(torch.from_numpy(clips)))
    np.testing.assert_array_equal(spikes.detach().numpy(), network.layer_spikes(clips)["n"])
    assert 0.1 < float(spikes.mean()) < 0.9
    (spikes.unflatten(2, (2, 2)).mean(-1).mean(0) - goal).square().mean().backward()
    torch.testing.assert_close(network.layers[0].weight.grad, linear.weight.grad, rtol=0.02, atol=1e-4)
    torch.testing.assert_close(network.layers[0].bias.grad, linear.bias.grad, rtol=0.02, atol=1e-4)


def test_gradients_flow_through_synaptic_memory():
    # du/da passes keep^k of a step's gradient k steps on: the gradient equals that of the same sum, written out.
    graph = Graph((Linear("fc", np.array([[1.0, -0.5]])), LIF("n", 0.5, 3.0, current_decay=0.25)), (2,), 5, None)
    network = quantized(graph, 8)
    clips = np.zeros((5, 1, 2), np.float32)
    clips[0] = 1
    network(torch.from_numpy(clips))[-1].sum().backward()
    kernel = sum(0.75**k * 0.5 ** (4 - k) for k in range(5))
    x = 0.5 * kernel - network.to_graph().nodes[1].threshold
    slope = 1 / (1 + (np.pi * x) ** 2)
    np.testing.assert_allclose(network.layers[0].weight.grad, [[slope * kernel] * 2], rtol=0.02)


def test_max_pools_stay_maxima():
    network, spec = spiking_network(pool="max")
    made = quantize_network(network, describe(spec), 4)
    clips = random_clips(spec, 4, 3)
    ones = [layer.weight.detach().clone() for layer in made.layers if not layer.weight.requires_grad]
    assert [tuple(one.unique().tolist()) for one in ones] == [(1.0,), (1.0,)]
    train_a_little(made, clips, 0.2)
    after = [layer.weight for layer in made.layers if not layer.weight.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(ones, after, strict=True))
    assert all(0 < rate < 1 for rate in assert_is_the_chip(made, clips))


def test_the_float_graph_differs_only_where_truncation_decides():
    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), 4)
    clips = random_clips(spec, 4, 3)
    spikes = made.layer_spikes(clips)
    graph = made.to_graph()
    replayed = run_graph(graph, clips, precision="float64", teacher=spikes).spikes
    layer, lif = made.to_chip().layers[-1], graph.neurons()[-1]
    drive = spikes[graph.neurons()[-2].name].astype(np.float64) @ graph.nodes[-2].weight.T
    # Each step truncates less than 1/64 of a unit, and the leak forgets: the error stays below 1 / (64 s decay).
    bound = 1 / (64 * layer.scale * lif.decay)
    assert lif.threshold * layer.scale == pytest.approx(layer.threshold + 1 / 128)
    v = np.zeros(drive.shape[1:])
    differ = 0
    for step, arriving in enumerate(drive):
        v = v * (1 - lif.decay) + arriving
        wrong = replayed[lif.name][step] != spikes[lif.name][step]
        assert (np.abs(v - lif.threshold)[wrong] <= bound).all()
        differ += int(wrong.sum())
        v[spikes[lif.name][step] == 1] = 0
    assert 0 < spikes[lif.name].mean() < 1
    assert differ < 0.05 * spikes[lif.name].size


def test_sums_that_could_overflow_are_projected_back_and_others_left_alone():
    network = quantized(wide(2000), 8)
    with torch.no_grad():
        network.layers[0].weight.fill_(1e9)
        network.layers[0].weight[1].fill_(1e-3)
    network.project()
    (layer,) = network.to_chip().layers
    assert 129000 < layer.weight[0].sum() <= 131071
    small = layer.weight[1].copy()
    network.project()
    np.testing.assert_array_equal(network.to_chip().layers[0].weight[1], small)
    assert np.abs(layer.weight).max() <= 127
    assert_is_the_chip(network, np.ones((2, 1, 2000), np.float32))


def test_a_sum_just_inside_passes_and_one_beyond_is_refused():
    network = quantized(wide(1034), 8)
    network.layers[0].chip = replace(network.layers[0].chip, scale=1.0)
    with torch.no_grad():
        network.layers[0].weight[:] = torch.cat([-torch.ones(1), torch.full((1033,), 127.0)])
        network.layers[0].weight[0, 1] = 127 - (1033 * 127 - 131071)
    network.layers[0].weight.data[1] = -1.0
    network.layers[0].weight.data[1, 0] = 1.0
    network.refuse_overflow()
    with torch.no_grad():
        network.layers[0].weight[0, 1] += 1
    with pytest.raises(CapacityError, match="E087 n: synaptic sum up to 131072; limit 131071, over by 1"):
        network.refuse_overflow()


def test_few_bits_that_cannot_resolve_a_threshold_get_smaller_weights():
    graph = Graph((Linear("fc", np.array([[3.3, -0.2, 0.4]])), LIF("n", 0.5, 0.4)), (3,), 2, None)
    with pytest.raises(CapacityError, match="E211"):
        TARGET.quantize(graph, weight_bits=4)
    made = with_resolved_thresholds(graph, 4)
    assert made.nodes[0].weight.max() == pytest.approx(0.4 * 7 / 1.5)
    assert TARGET.quantize(made, weight_bits=4).layers[0].threshold == 1
    np.testing.assert_array_equal(with_resolved_thresholds(graph, 8).nodes[0].weight, graph.nodes[0].weight)


def test_one_outlier_does_not_set_the_grid_when_clipping_it_costs_less():
    weight = np.append(np.linspace(-0.9, 0.9, 99), 2.0)[None]
    graph = Graph((Linear("fc", weight), LIF("n", 0.5, 3.0)), (100,), 2, None)
    made = with_least_rounding(graph, TARGET, 3)
    errors = {}
    for bound in 2.0 * np.arange(0.3, 1.01, 0.05):  # by brute force: 3 steps to the bound
        errors[bound] = ((np.clip(np.rint(weight * 3 / bound), -3, 3) * bound / 3 - weight) ** 2).sum()
    wanted = min(errors, key=errors.get)
    assert wanted < 1.5
    assert np.abs(made.nodes[0].weight).max() == pytest.approx(wanted)
    even = Graph((Linear("fc", np.array([[1.0, -2 / 3, 1 / 3, 0.0]])), LIF("n", 0.5, 3.0)), (4,), 2, None)
    np.testing.assert_array_equal(with_least_rounding(even, TARGET, 3).nodes[0].weight, even.nodes[0].weight)
