"""Capture of Norse models in the styles people write, each replayed against the model's own spikes in float32."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

snn = pytest.importorskip("norse.torch")
from export.frontends.norse import capture, is_norse  # noqa: E402
from export.passes import lower  # noqa: E402
from export.reference import run_graph  # noqa: E402
from hw_targets.graph import Flatten  # noqa: E402
from hw_targets.registry import get_target  # noqa: E402
from tests.export.norse_parts import STEPS, STYLES, MyCell, box, conv, cuba, example, iaf, made, parts  # noqa: E402


def plain(neuron):
    """The network that a chip takes with synaptic memory: no bias, no batch normalisation."""
    return [conv(bias=False), neuron(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 6, bias=False), neuron()]


def step_by_step(model, x):
    state, outputs = None, []
    for frame in x:
        output, state = model(frame, state)
        outputs.append(output)
    return torch.stack(outputs)


@pytest.mark.parametrize("style", STYLES)
def test_captured_graph_replays_the_model(style):
    model, x = STYLES[style](), example()
    graph, spikes = capture(model, x)
    replay = run_graph(graph, x.numpy(), precision="float32")
    assert list(replay.spikes) == list(spikes)
    for name, wanted in spikes.items():
        assert 0.005 < wanted.mean() < 0.995, f"{name} is silent or saturated: nothing is shown"
        np.testing.assert_array_equal(replay.spikes[name], wanted)
    assert graph.dt_us == 1000.0
    assert not any(neuron.inclusive for neuron in graph.neurons())


@pytest.mark.parametrize("style", [name for name in STYLES if "max pool" not in name])
def test_folded_graph_replays_the_model(style):
    model, x = STYLES[style](), example(4)
    graph, spikes = capture(model, x)
    folded, findings = lower(graph)
    assert findings == []
    replay = run_graph(folded, x.numpy(), precision="float64")
    for name, wanted in spikes.items():
        np.testing.assert_array_equal(replay.spikes[name], wanted)


@pytest.mark.parametrize("style", ["box", "synaptic memory", "single step under another name", "shared cell"])
def test_the_spikes_are_those_of_the_model_itself(style):
    model, x = STYLES[style](), example()
    _, spikes = capture(model, x)
    with torch.no_grad():
        output = step_by_step(model.eval(), x)
    np.testing.assert_array_equal(list(spikes.values())[-1], output.numpy())


@pytest.mark.parametrize("style", ["synaptic memory over time", "time loop with a state", "cell lifted"])
def test_the_spikes_over_time_are_those_of_the_model_itself(style):
    model, x = STYLES[style](), example()
    _, spikes = capture(model, x)
    with torch.no_grad():
        output, _ = model.eval()(x)
    np.testing.assert_array_equal(list(spikes.values())[-1], output.numpy())


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("style", ["single step under another name", "time loop with a state", "box"])
def test_one_clip_is_never_taken_for_time(style, clips):
    model, x = STYLES[style](), example(clips=clips)
    graph, spikes = capture(model, x)
    assert graph.steps == STEPS
    assert {value.shape[:2] for value in spikes.values()} == {(STEPS, clips)}
    np.testing.assert_array_equal(run_graph(graph, x.numpy()).output, list(spikes.values())[-1])


def test_constants_by_hand():
    model = snn.SequentialState(nn.Linear(2, 2), cuba(v_leak=0.5, v_reset=0.5, v_th=2.0))
    (neuron,) = capture(model, torch.ones(4, 1, 2))[0].neurons()
    assert (neuron.decay, neuron.gain, neuron.current_decay) == pytest.approx((0.2, 0.2, 0.4), rel=1e-6)
    assert (neuron.threshold, neuron.rest, neuron.reset, neuron.inclusive) == (2.0, 0.5, "zero", False)


def test_one_neuron_by_hand():
    # x = 1 for three steps; i = 1, 1.5, 1.75; v = 0.25, 0.5625, 0.859375 with a = 0.25, b = 0.5.
    net = snn.SequentialState(nn.Linear(1, 1, bias=False), cuba(tau_mem_inv=250.0, tau_syn_inv=500.0, v_th=0.5625))
    nn.init.ones_(net[0].weight)
    graph, spikes = capture(net, torch.ones(3, 1, 1))
    assert spikes["1"].ravel().tolist() == [0, 0, 1]  # 0.5625 is not above 0.5625
    assert run_graph(graph, np.ones((3, 1, 1), np.float32)).output.ravel().tolist() == [0, 0, 1]


def test_subtracting_reset_is_captured_and_refused_by_the_chip():
    graph, _ = capture(STYLES["box with soft reset"](), example())
    assert {neuron.reset for neuron in graph.neurons()} == {"subtract"}
    findings = get_target("loihi2").check(lower(graph)[0])
    assert {finding.code for finding in findings if finding.severity == "error"} == {"E201"}


@pytest.mark.parametrize("neuron", [box, cuba, iaf], ids=["box", "synaptic memory", "integrate and fire"])
def test_the_chip_computes_what_norse_computes(neuron):
    target = get_target("loihi2")
    net = made(snn.SequentialState(*(plain(neuron) if neuron is cuba else parts(neuron))))
    x = example(3, clips=6)
    graph, spikes = capture(net, x)
    folded, findings = lower(graph)
    assert [f for f in [*findings, *target.check(folded)] if f.severity == "error"] == []
    chip = target.quantize(folded)
    assert [f for f in target.check_chip(chip) if f.severity == "error"] == []
    forced = target.simulate(chip, x.numpy(), teacher=spikes).spikes
    for name, wanted in spikes.items():
        assert 0.005 < wanted.mean() < 0.995
        assert (forced[name] == wanted).mean() >= 0.97


@pytest.mark.parametrize("layers", [[conv(), cuba()], [conv(bias=False), nn.BatchNorm2d(3), cuba()]])
def test_a_bias_before_synaptic_memory_is_captured_and_refused_by_the_chip(layers):
    graph, _ = capture(made(snn.SequentialState(*layers)), example())
    findings = get_target("loihi2").check(lower(graph)[0])
    assert [finding.code for finding in findings if finding.severity == "error"] == ["E205"]


def test_a_synapse_faster_than_a_step_does_not_reach_the_chip():
    graph, spikes = capture(made(snn.SequentialState(conv(bias=False), cuba(tau_syn_inv=1500.0))), example())
    np.testing.assert_array_equal(run_graph(graph, example().numpy()).output, spikes["1"])
    target = get_target("loihi2")
    folded, _ = lower(graph)
    findings = target.check(folded) or target.check_chip(target.quantize(folded))
    assert any(finding.severity == "error" for finding in findings)


def test_model_is_left_as_it_was():
    model, x = made(snn.SequentialState(conv(), nn.BatchNorm2d(3), box(), conv(3, 3), iaf())).train(), example()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    capture(model, x)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not model[4].p.v_reset.requires_grad  # Norse's own forward pass would have set it
    assert not model[2].p.v_leak.requires_grad


def test_a_trained_model_is_captured_like_a_fresh_one():
    model, x = STYLES["box"]().eval(), example()
    clean = capture(model, x)[1]
    step_by_step(model, example(2)).sum().backward()
    again = capture(model, x)[1]
    assert all((clean[name] == again[name]).all() for name in clean)


def test_first_frame_and_flat_input_are_kept():
    graph, _ = capture(made(snn.SequentialState(nn.Linear(5, 4), box())), torch.rand(4, 2, 5), first_frame="float")
    assert (graph.first_frame, graph.input_shape, graph.steps) == ("float", (5,), 4)
    assert not any(isinstance(node, Flatten) for node in graph.nodes)


def test_is_norse():
    assert is_norse(STYLES["box"]())
    assert is_norse(nn.Sequential(conv(), MyCell()))
    assert not is_norse(nn.Sequential(conv(), nn.ReLU()))


def test_the_front_end_does_not_import_norse():
    code = "import sys, export.frontends.norse; sys.exit(any(n.split('.')[0] == 'norse' for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
