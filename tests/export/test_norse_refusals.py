"""Norse models that cannot be captured exactly: what is refused, and how it is told."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

snn = pytest.importorskip("norse.torch")
from export.frontends.norse import capture  # noqa: E402
from hw_targets.finding import InputError, UnsupportedError  # noqa: E402
from tests.export.norse_parts import STEPS, STYLES, MyCell, TimeLoop, box, conv, cuba, cuba_over_time, example, made  # noqa: E402


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


class ByKeyword(TimeLoop):
    def forward(self, x):
        return torch.stack([self.first(input_tensor=self.conv(frame))[0] for frame in x])


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


def lif_current_encoder(x, state, p, dt):
    return snn.lif_feed_forward_step(x, state, p, dt)


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
