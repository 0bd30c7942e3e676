"""Capture of Norse models in the styles people write, each replayed against the model's own spikes in float32.

Potentials differ from Norse's in the last bit, for v + a (x - v) is rounded otherwise than v - a v + a x; on random
weights no potential comes that close to its threshold, so every comparison here is exact.
"""

from __future__ import annotations

import copy
import re
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
from hw_targets.finding import InputError, UnsupportedError  # noqa: E402
from hw_targets.graph import Flatten  # noqa: E402
from hw_targets.registry import get_target  # noqa: E402

STEPS, CLIPS = 20, 3


def box(dt=1e-3, **more):
    constants = {"tau_mem_inv": 300.0, "v_th": 0.3} | more
    fixed = {name: value if callable(value) else torch.as_tensor(value) for name, value in constants.items()}
    return snn.LIFBoxCell(snn.LIFBoxParameters(**fixed), dt=dt)


def constants(**more):
    values = {"tau_mem_inv": 200.0, "tau_syn_inv": 400.0, "v_th": 0.3} | more
    return snn.LIFParameters(**{name: torch.as_tensor(value) for name, value in values.items()})


def cuba(dt=1e-3, **more):
    return snn.LIFCell(constants(**more), dt=dt)


def cuba_over_time(dt=1e-3, **more):
    return snn.LIF(constants(**more), dt=dt)


def iaf(kind=snn.IAFCell, v_th=0.8, v_reset=0.0):
    return kind(snn.IAFParameters(v_th=torch.tensor(v_th), v_reset=torch.tensor(v_reset)))


def conv(inputs=2, outputs=3, **more):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)


def parts(neuron=box):
    return [conv(), nn.BatchNorm2d(3), neuron(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 6), neuron()]


def plain(neuron):
    """The network that a chip takes with synaptic memory: no bias, no batch normalisation."""
    return [conv(bias=False), neuron(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 6, bias=False), neuron()]


class TimeLoop(nn.Module):
    """Takes [T, N, C, H, W] and carries the states itself."""

    def __init__(self, neuron=box):
        super().__init__()
        self.conv, self.norm, self.first = conv(), nn.BatchNorm2d(3), neuron()
        self.pool, self.flatten, self.fc, self.second = nn.AvgPool2d(2), nn.Flatten(), nn.Linear(48, 6), neuron()

    def step(self, frame, one, two):
        spikes, one = self.first(self.norm(self.conv(frame)), one)
        spikes, two = self.second(self.fc(self.flatten(self.pool(spikes))), two)
        return spikes, one, two

    def forward(self, x):
        one = two = None
        outputs = []
        for t in range(x.shape[0]):
            spikes, one, two = self.step(x[t], one, two)
            outputs.append(spikes)
        return torch.stack(outputs)


class RunningSum(TimeLoop):
    """Reads out as Norse's tutorials do: spikes summed over time."""

    def forward(self, x):
        one = two = None
        total = 0.0
        for frame in x:
            spikes, one, two = self.step(frame, one, two)
            total = total + spikes
        return total / len(x)


class LoopWithState(TimeLoop):
    """Loops over time itself, and takes a state as well: looks like a model of single steps."""

    def forward(self, x, state=None):
        one, two = state if state is not None else (None, None)
        outputs = []
        for frame in x:
            spikes, one, two = self.step(frame, one, two)
            outputs.append(spikes)
        return torch.stack(outputs), (one, two)


class SingleStep(TimeLoop):
    """Takes one frame and the states, under a name of its own, and returns both."""

    def forward(self, x, hidden_state):
        one, two = (None, None) if hidden_state is None else hidden_state
        spikes, one, two = self.step(x, one, two)
        return spikes, (one, two)


class Derived(snn.SequentialState):
    """A user's own subclass of Norse's container."""


class SharedCell(nn.Module):
    """One neuron object in two places, with a state for each."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.cell = conv(2, 3), conv(3, 3), box()

    def forward(self, x, state=None):
        one, two = state or (None, None)
        spikes, one = self.cell(self.a(x), one)
        spikes, two = self.cell(self.b(spikes), two)
        return spikes, (one, two)


class Forgetful(TimeLoop):
    def forward(self, x):
        return torch.stack([self.step(frame, None, None)[0] for frame in x])


class Meddling(TimeLoop):
    def forward(self, x):
        one = two = None
        outputs = []
        for frame in x:
            spikes, one, two = self.step(frame, one, two)
            one = one._replace(v=one.v * 0.5)
            outputs.append(spikes)
        return torch.stack(outputs)


class StateInside(nn.Module):
    """Takes one step per call and hides its state: a whole sequence would pass as one step."""

    def __init__(self):
        super().__init__()
        self.fc, self.cell, self.memory = nn.Linear(128, 6), box(), None

    def forward(self, x):
        spikes, self.memory = self.cell(self.fc(x.flatten(-3)), self.memory)
        return spikes


class LeftOver(TimeLoop):
    def __init__(self):
        super().__init__()
        self.one = None

    def forward(self, x):
        two = None
        outputs = []
        for frame in x:
            spikes, self.one, two = self.step(frame, self.one, two)
            outputs.append(spikes)
        return torch.stack(outputs)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.one, self.b, self.two = conv(), box(), conv(3, 3), box()

    def forward(self, x, state=None):
        one, two = state or (None, None)
        h, one = self.one(self.a(x), one)
        y, two = self.two(self.b(h), two)
        return y + h, (one, two)


class MyCell(snn.LIFBoxCell):
    """Somebody's own neuron: what it computes is not known."""


class ByKeyword(TimeLoop):
    def forward(self, x):
        return torch.stack([self.first(input_tensor=self.conv(frame))[0] for frame in x])


def made(model, seed=0):
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.05, 0.4)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0, 0.5)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return model


def example(seed=1, steps=STEPS, clips=CLIPS):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, clips, 2, 8, 8, generator=generator) < 0.4).float()


def lifted(neuron):
    """A network over time: Norse lifts the layers, LIF and IAF take [T, N, ...]."""
    return snn.SequentialState(
        snn.Lift(nn.Sequential(conv(), nn.BatchNorm2d(3))),
        neuron(),
        snn.Lift(nn.AvgPool2d(2)),
        nn.Flatten(2),
        nn.Linear(48, 6),
        neuron(),
    )


STYLES = {
    "box": lambda: made(snn.SequentialState(*parts())),
    "box with rest above zero": lambda: made(snn.SequentialState(*parts(lambda: box(v_leak=0.1, v_reset=0.1)))),
    "box with soft reset": lambda: made(snn.SequentialState(*parts(lambda: box(reset_method=snn.reset_subtract)))),
    "box with uniform thresholds": lambda: made(snn.SequentialState(conv(), box(v_th=torch.full((3, 8, 8), 0.3)))),
    "box with heaviside": lambda: made(snn.SequentialState(conv(), snn.LIFBoxCell(snn.LIFBoxParameters(
        tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(0.2), method="heaviside")))),
    "synaptic memory": lambda: made(snn.SequentialState(*parts(cuba))),
    "synaptic memory with rest above zero": lambda: made(
        snn.SequentialState(*parts(lambda: cuba(v_leak=0.05, v_reset=0.05)))
    ),
    "synaptic memory of one step": lambda: made(snn.SequentialState(*parts(lambda: cuba(tau_syn_inv=1000.0)))),
    "synaptic memory over time": lambda: made(lifted(cuba_over_time)),
    "integrate and fire": lambda: made(snn.SequentialState(*parts(iaf))),
    "integrate and fire from above zero": lambda: made(snn.SequentialState(*parts(lambda: iaf(v_reset=0.1)))),
    "integrate and fire over time": lambda: made(lifted(lambda: iaf(snn.IAF))),
    "nested, dropout": lambda: made(
        snn.SequentialState(snn.SequentialState(*parts()[:4]), nn.Dropout(0.5), snn.SequentialState(*parts()[4:]))
    ),
    "max pool of spikes": lambda: made(snn.SequentialState(conv(), box(), nn.MaxPool2d(2), conv(3, 4), box())),
    "cell lifted": lambda: made(nn.Sequential(snn.Lift(conv()), snn.Lift(box()))),
    "cell lifted in a sequence": lambda: made(snn.SequentialState(snn.Lift(conv()), snn.Lift(box()))),
    "sequence lifted": lambda: made(snn.Lift(snn.SequentialState(*parts()))),
    "torch's container over time": lambda: made(nn.Sequential(snn.Lift(conv()), cuba_over_time())),
    "no time constants given": lambda: made(snn.SequentialState(conv(), snn.LIFCell())),
    "derived container": lambda: made(Derived(*parts())),
    "time loop": lambda: made(TimeLoop()),
    "time loop, synaptic memory": lambda: made(TimeLoop(cuba)),
    "running sum": lambda: made(RunningSum()),
    "time loop with a state": lambda: made(LoopWithState()),
    "single step under another name": lambda: made(SingleStep()),
    "shared cell": lambda: made(SharedCell()),
}  # fmt: skip


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


def step_by_step(model, x):
    state, outputs = None, []
    for frame in x:
        output, state = model(frame, state)
        outputs.append(output)
    return torch.stack(outputs)


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


def in_sequence(*layers):
    return lambda: made(snn.SequentialState(*layers))


class WrongAxis(nn.Module):
    """Flattens over the batch: [N, C, H, W] becomes frames of [C, H*W]."""

    def __init__(self):
        super().__init__()
        self.flatten, self.fc, self.cell = nn.Flatten(2), nn.Linear(64, 6), box()

    def forward(self, x, state=None):
        return self.cell(self.fc(self.flatten(x[:, :1])), state)


class ClipsAsTime(nn.Module):
    """Merges time and batch for the convolution, and forgets to part them before the neurons."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif = conv(), cuba_over_time()

    def forward(self, x):
        return self.lif(self.conv(x.flatten(0, 1)))[0].unflatten(0, x.shape[:2])


REFUSED = {
    "recurrent": (in_sequence(nn.Linear(128, 6), snn.LIFRecurrentCell(6, 6)), "E140", "feed-forward"),
    "refractory": (in_sequence(conv(), snn.LIFRefracCell()), "E140", "LIFRefracCell"),
    "adaptive exponential": (in_sequence(conv(), snn.LIFAdExCell()), "E140", "LIFAdExCell"),
    "exponential": (in_sequence(conv(), snn.LIFExCell()), "E140", "LIFExCell"),
    "adaptive threshold": (in_sequence(conv(), snn.LSNNCell()), "E140", "LSNNCell"),
    "Izhikevich": (in_sequence(conv(), snn.IzhikevichCell(snn.tonic_spiking)), "E140", "IzhikevichCell"),
    "conductances": (in_sequence(snn.CobaLIFCell(4, 4)), "E140", "CobaLIFCell"),
    "readout": (in_sequence(conv(), box(), snn.LICell()), "E140", "count its spikes"),
    "box readout": (in_sequence(conv(), box(), snn.LIBoxCell()), "E140", "count its spikes"),
    "encoder": (lambda: made(nn.Sequential(snn.PoissonEncoder(STEPS), snn.Lift(box()))), "E140", "encode before"),
    "convolution over time": (lambda: made(nn.Sequential(snn.LConv2d(2, 3, 3), snn.LIF())), "E140", "Lift"),
    "feedback": (lambda: made(snn.RecurrentSequential(conv(2, 2), box())), "E140", "feed-forward"),
    "cell of another function": (
        in_sequence(conv(), snn.LIFCell()),
        "E140",
        "lif_current_encoder",
    ),
    "reset beside the leak": (in_sequence(conv(), box(v_reset=-0.1)), "E141", "v_reset -0.1 is not v_leak 0"),
    "synaptic reset beside the leak": (in_sequence(conv(), cuba(v_leak=0.1)), "E141", "is not v_leak 0.1"),
    "unknown reset": (in_sequence(conv(), box(reset_method=lambda z, v, r, th: v)), "E142", "not known"),
    "subtraction from above zero": (
        in_sequence(conv(), box(reset_method=snn.reset_subtract, v_leak=0.1, v_reset=0.1)),
        "E142",
        "reset_subtract at v_leak 0.1",
    ),
    "thresholds per neuron": (in_sequence(conv(), box(v_th=torch.linspace(0.1, 1, 8))), "E143", "0.1 to 1"),
    "time constants per neuron": (
        in_sequence(conv(), cuba(tau_mem_inv=torch.linspace(100, 200, 8))),
        "E143",
        "tau_mem_inv",
    ),
    "threshold not a number": (in_sequence(conv(), box(v_th=float("nan"))), "E143", "NaN"),
    "steps of two lengths": (in_sequence(conv(), box(), conv(3, 3), box(dt=2e-3)), "E144", "dt of 2000 us, 1 has 1000"),
    "no length": (in_sequence(conv(), box(dt=0.0)), "E144", "dt of 0 us"),
    "state thrown away": (lambda: made(Forgetful()), "E146", "at step 1"),
    "state changed": (lambda: made(Meddling()), "E146", "at step 1"),
    "state inside": (lambda: made(StateInside()), "E145", "ran 1 times on an example of 20"),
    "cell over time": (lambda: made(nn.Sequential(snn.Lift(conv()), box())), "E145", "ran 1 times"),
    "layer over time in a loop": (
        in_sequence(snn.Lift(snn.SequentialState(conv(), snn.LIF()))),
        "E145",
        "ran 20 times",
    ),
    "state of another layer": (
        lambda: made(nn.Sequential(snn.Lift(conv(2, 3)), snn.Lift(box()), snn.Lift(box()))),
        "E146",
        "another layer's",
    ),
    "hidden outputs": (lambda: snn.SequentialState(conv(), box(), return_hidden=True), "E148", "return_hidden=False"),
    "another axis": (lambda: made(WrongAxis()), "E114", "do not fit"),
    "clips and channels as one": (in_sequence(conv(), nn.Flatten(0, 1), box()), "E149", "3 frames of [192]"),
    "clips after one another in time": (lambda: made(ClipsAsTime()), "E149", "its output is [60, 3, 8, 8]"),
    "residual": (lambda: made(Residual()), "E102", "joins 2 branches"),
    "unknown layer": (in_sequence(conv(), nn.Tanh(), box()), "E100", "Tanh"),
    "somebody's own cell": (in_sequence(conv(), MyCell()), "E100", "MyCell"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_layer_reason_and_remedy(name):
    build, code, text = REFUSED[name]
    model = build()
    if name == "cell of another function":
        model[1].activation = lif_current_encoder
    with pytest.raises(UnsupportedError, match=re.escape(text)) as caught:
        capture(model, example())
    assert {finding.code for finding in caught.value.findings} == {code}
    assert all(finding.fix and finding.node for finding in caught.value.findings)
    assert caught.value.exit_code == 3


def lif_current_encoder(x, state, p, dt):
    return snn.lif_feed_forward_step(x, state, p, dt)


def test_everything_wrong_is_said_at_once():
    net = made(
        snn.SequentialState(conv(), box(v_reset=0.1), nn.Tanh(), conv(3, 3), box(dt=2e-3, v_th=[0.1] * 7 + [1.0]))
    )
    with pytest.raises(UnsupportedError) as caught:
        capture(net, example())
    assert [finding.code for finding in caught.value.findings] == ["E141", "E100", "E143", "E144"]


def test_a_state_left_over_is_refused_and_a_fresh_model_passes():
    model, x = made(LeftOver()), example()
    capture(copy.deepcopy(model), x)
    with torch.no_grad():
        model.eval()(x)
    with pytest.raises(UnsupportedError, match="left over"):
        capture(model, x)


@pytest.mark.parametrize(("asked", "passes"), [(None, True), (1000.0, True), (1000.0001, True), (33333.0, False)])
def test_the_callers_step_length_must_be_the_neurons(asked, passes):
    model = STYLES["box"]()
    if passes:
        assert capture(model, example(), dt_us=asked)[0].dt_us == 1000.0
        return
    with pytest.raises(UnsupportedError, match="33333 us was asked for") as caught:
        capture(model, example(), dt_us=asked)
    assert [finding.code for finding in caught.value.findings] == ["E144"]


def test_step_length_in_float32_is_the_same_length():
    graph, _ = capture(made(snn.SequentialState(conv(), box(), conv(3, 3), box(dt=torch.tensor(1e-3)))), example())
    assert graph.dt_us == 1000.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_example_must_be_finite(value):
    with pytest.raises(InputError, match="example input"):
        capture(STYLES["box"](), example() * value)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (in_sequence(conv(5), box()), "step by step, the model raises RuntimeError"),
        (lambda: made(TimeLoop(lambda: snn.LIFCell(snn.LIFParameters(method="adjoint")))), "adjoint"),
        (lambda: made(ByKeyword()), "by keyword"),
    ],
)
def test_a_model_that_does_not_run_is_an_input_error(build, text):
    with pytest.raises(InputError, match=re.escape(text)) as caught:
        capture(build(), example())
    assert [finding.code for finding in caught.value.findings] == ["E147"]
    assert caught.value.exit_code == 2
