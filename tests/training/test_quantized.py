"""Fine-tuning on the chip's grid: the torch network is the chip, spike by spike, before, during and after training."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron, surrogate

from export.reference import run_graph
from hw_targets.finding import CapacityError, InputError
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, Linear
from hw_targets.registry import get_target
from neuroemo.events.framediff import FrameDiffSettings
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.training.checkpoint import Description, load_model, load_tensors, save_model
from neuroemo.training.evaluation import evaluate
from neuroemo.training.fine_tune import fine_tune, quantize_network, with_least_rounding
from neuroemo.training.loop import TrainingError, TrainSettings
from neuroemo.training.quantized import (
    QuantizedNetwork,
    QuantizedSource,
    chip_of,
    grid_of,
    with_resolved_thresholds,
)
from tests.conftest import random_clips, spiking_network
from tests.training.fake_store import FakeStore

TARGET = get_target("loihi2")
EVENTS = FrameDiffSettings(size=32, steps=8)


def describe(spec):
    return Description(spec, EVENTS, ("left", "right"), 66666.7)


def quantized(graph, bits):
    return QuantizedNetwork(graph, TARGET.quantize(graph, weight_bits=bits), TARGET, bits)


def assert_is_the_chip(network, clips):
    """Compare every spike with the integer simulator's; return the firing rates."""
    run = TARGET.simulate(network.to_chip(), clips)
    ours = network.layer_spikes(clips)
    assert list(ours) == list(run.spikes)
    for name, spikes in run.spikes.items():
        np.testing.assert_array_equal(ours[name], spikes, err_msg=name)
    return [float(spikes.mean()) for spikes in run.spikes.values()]


def train_a_little(network, clips, rate, steps=3):
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=rate)
    for _ in range(steps):
        votes = network(torch.from_numpy(clips)).mean(dim=0)
        optimiser.zero_grad()
        (votes - torch.eye(votes.shape[1])[np.arange(len(votes)) % votes.shape[1]]).square().mean().backward()
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad /= parameter.grad.norm().clamp_min(1e-9) / parameter.detach().norm().clamp_min(0.1)
        optimiser.step()
        network.project()


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


def wide(inputs):
    weight = np.full((2, inputs), 0.5)
    weight[1] *= -1
    weight[:, 0] *= -1
    return Graph((Linear("fc", weight), LIF("n", 0.5, 1.0)), (inputs,), 2, None)


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


# --- the run ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store():
    return FakeStore()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("float") / "snn"
    network, spec = spiking_network()
    save_model(folder, network, describe(spec))
    return folder


SHORT = TrainSettings(epochs=2, learning_rate=0.05)


def test_a_float_description_has_no_new_entry(checkpoint):
    data = json.loads((checkpoint / "model.json").read_text())
    assert set(data) == {"schema", "spec", "events", "classes", "dt_us"}


def test_a_run_learns_and_its_checkpoint_is_the_chip(tmp_path, store, checkpoint):
    history = fine_tune(
        checkpoint, store, tmp_path / "q", 4, TrainSettings(epochs=8, learning_rate=0.05, augment=False)
    )
    assert [entry["epoch"] for entry in history] == list(range(9))
    assert history[0]["loss"] is None
    assert history[-1]["loss"] < 0.8 * history[1]["loss"]
    network, description = load_model(tmp_path / "q")
    assert isinstance(network, QuantizedNetwork)
    assert not network.training
    assert description.qat == grid_of(network)
    assert (description.qat.bits, description.qat.target) == (4, "loihi2")
    assert all(np.abs(layer.weight).max() <= 7 for layer in chip_of(network).layers)
    clips = store.batch(np.arange(5))
    assert_is_the_chip(network, clips)
    best = max(entry["validation"]["accuracy"] for entry in history)
    assert evaluate(network, description.spec, store, store.indices("val")).score.accuracy == best


def test_what_is_saved_comes_back(tmp_path, checkpoint):
    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), 5)
    train_a_little(made, random_clips(spec, 4), 0.1)
    save_model(tmp_path / "q", made, replace(describe(spec), qat=grid_of(made)))
    back, description = load_model(tmp_path / "q")
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), back.state_dict().values(), strict=True))
    for ours, theirs in zip(made.to_chip().layers, back.to_chip().layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        np.testing.assert_array_equal(ours.bias, theirs.bias)
        nothing = {"weight": np.zeros((1, 1), int), "bias": 0}
        assert repr(replace(ours, **nothing)) == repr(replace(theirs, **nothing))
    assert Description.from_dict(json.loads(json.dumps(description.to_dict())), "here") == description
    assert chip_of(load_model(checkpoint)[0]) is None


class Killed(Exception):
    pass


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, store, checkpoint):
    whole = fine_tune(checkpoint, store, tmp_path / "whole", 4, SHORT)

    def kill(done, total, loss):
        if done == total // 2 + 1:
            raise Killed

    with pytest.raises(Killed):
        fine_tune(checkpoint, store, tmp_path / "cut", 4, SHORT, kill)
    assert fine_tune(checkpoint, store, tmp_path / "cut", 4, SHORT) == whole
    for file in ("last.safetensors", "model.safetensors"):
        one, two = (load_tensors(tmp_path / name / file)[0] for name in ("whole", "cut"))
        assert all(torch.equal(one[key], two[key]) for key in one)
    with pytest.raises(InputError, match="E027"):
        fine_tune(checkpoint, store, tmp_path / "whole", 5, SHORT)


def test_progress_counts_every_batch_once(tmp_path, store, checkpoint):
    seen = []
    fine_tune(checkpoint, store, tmp_path / "q", 4, SHORT, lambda done, total, loss: seen.append((done, total)))
    assert seen == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_that_no_weight_has_are_refused(tmp_path, store, checkpoint, bits):
    with pytest.raises(InputError, match=f"E084 bits: {bits}; limit 2 to 8"):
        fine_tune(checkpoint, store, tmp_path / "q", bits, SHORT)
    assert not (tmp_path / "q").exists()


def test_an_ann_is_refused(tmp_path, store):
    spec = spec_by_name("tiny-ann")
    save_model(tmp_path / "ann", build_network(spec), describe(spec))
    with pytest.raises(InputError, match="E085 tiny-ann: an ANN has no spikes"):
        fine_tune(tmp_path / "ann", store, tmp_path / "q", 4, SHORT)


def test_the_float_checkpoint_is_never_overwritten_nor_a_fine_tuned_one_taken_for_it(tmp_path, store, checkpoint):
    with pytest.raises(InputError, match=r"E089 .*would overwrite the float checkpoint"):
        fine_tune(checkpoint, store, checkpoint, 4, SHORT)
    fine_tune(checkpoint, store, tmp_path / "q", 4, replace(SHORT, epochs=1))
    with pytest.raises(InputError, match=r"E089 .*fine-tuned already, with 4 bits"):
        fine_tune(tmp_path / "q", store, tmp_path / "again", 4, SHORT)


def test_data_of_another_size_are_refused(tmp_path, checkpoint):
    with pytest.raises(InputError, match="E026"):
        fine_tune(checkpoint, FakeStore(size=40), tmp_path / "q", 4, SHORT)


def test_a_loss_that_is_no_number_says_so(tmp_path, checkpoint):
    broken = FakeStore()
    broken.data[1:] = np.nan
    with pytest.raises(TrainingError, match=r"E088 tiny: loss .* or its gradient in batch 1"):
        fine_tune(checkpoint, broken, tmp_path / "q", 4, SHORT, distillation=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda qat: qat.update(bits=9), "E083 .*9 bits"),
        (lambda qat: qat.update(bits=True), "E083"),
        (lambda qat: qat.update(target=7), "E083"),
        (lambda qat: qat.pop("layers"), "E083"),
        (lambda qat: qat.update(layers=[1]), "E083"),
        (lambda qat: qat["layers"][0].update(scale=float("inf")), "E083 .*scale inf"),
        (lambda qat: qat["layers"][0].update(scale="1"), "E083 .*scale '1'"),
        (lambda qat: qat["layers"][0].update(threshold=-1), "E083 .*threshold -1"),
        (lambda qat: qat["layers"][0].update(payload=10**9), "E083 .*payload"),
        (lambda qat: qat["layers"][0].update(voltage_decay=0.5), "E083 .*voltage_decay"),
        (lambda qat: qat["layers"][0].update(name=None), "E083 .*name"),
        (lambda qat: qat["layers"][0].update(surprise=1), "E083 .*surprise"),
        (lambda qat: qat["layers"][0].update(name="other"), "E086 .*grid of other"),
        (lambda qat: qat["layers"].pop(), "E086"),
        (lambda qat: qat.update(target="loihi9"), "E011"),
        (lambda qat: qat["layers"][0].update(payload=60000), "E087 .*synaptic sum"),
    ],
)
def test_a_damaged_grid_is_refused(tmp_path, change, message):
    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), 4)
    save_model(tmp_path, made, replace(describe(spec), qat=grid_of(made)))
    load_model(tmp_path)
    data = json.loads((tmp_path / "model.json").read_text())
    change(data["qat"])
    (tmp_path / "model.json").write_text(json.dumps(data))
    with pytest.raises((InputError, CapacityError), match=message):
        load_model(tmp_path)


def test_an_export_uses_exactly_these_integers():
    from export.compile import Options, compile_source

    network, spec = spiking_network()
    made = quantize_network(network, describe(spec), 4)
    clips = random_clips(spec, 4, 3)
    train_a_little(made, clips, 0.2)
    compiled = compile_source(QuantizedSource(made), clips, TARGET, Options())
    for ours, theirs in zip(made.to_chip().layers, compiled.chip.layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        np.testing.assert_array_equal(ours.bias, theirs.bias)
