"""Capture of SpikingJelly models in the styles people write, each replayed against the model's own spikes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from export.frontends.spikingjelly import capture
from export.reference import run_graph
from hw_targets.finding import InputError, UnsupportedError

STEPS, CLIPS = 5, 3


def lif(**more):
    return neuron.LIFNode(tau=2.0, v_threshold=0.3, **more)


def conv(inputs=2, outputs=3):
    return layer.Conv2d(inputs, outputs, 3, padding=1)


def parts():
    return [
        conv(),
        layer.BatchNorm2d(3),
        lif(),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(48, 6),
        lif(),
    ]


class TimeLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*parts())

    def forward(self, x):
        return torch.stack([self.net(x[t]) for t in range(x.shape[0])])


class RunningSum(TimeLoop):
    def forward(self, x):
        total = 0.0
        for t in range(len(x)):
            total = total + self.net(x[t])
        return total / len(x)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*parts())

    def forward(self, x):
        return self.net(x).mean(0) if x.dim() == 5 else self.net(x.unsqueeze(0))


class FunctionalFlatten(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage, self.fc = (
            nn.Sequential(conv(), lif(), layer.AvgPool2d(2)),
            nn.Sequential(layer.Linear(48, 6), lif()),
        )

    def forward(self, x):
        return self.fc(self.stage(x).flatten(2))


class SharedPool(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.a, self.b = (
            layer.AvgPool2d(2),
            nn.Sequential(conv(), lif()),
            nn.Sequential(conv(3, 4), lif()),
        )

    def forward(self, x):
        return self.b(self.pool(self.a(self.pool(x))))


class FirstFrameApart(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*parts())

    def forward(self, x):
        return self.net(torch.cat([x[:1], x[1:]]))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(conv(), lif()), nn.Sequential(conv(3, 3), lif())

    def forward(self, x):
        h = self.a(x)
        return self.b(h) + h


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(layer.Conv2d(2, 3, (3, 1)), lif()), nn.Sequential(conv(8, 3), lif())

    def forward(self, x):
        return self.b(self.a(x).transpose(2, 4))


class FunctionalPool(nn.Module):
    def __init__(self, function=lambda x: torch.nn.functional.avg_pool2d(x, 2)):
        super().__init__()
        self.function = function
        self.a, self.b = nn.Sequential(conv(), lif()), nn.Sequential(conv(3, 3), lif())

    def forward(self, x):
        h = self.a(x)
        return self.b(self.function(h.flatten(0, 1)).unflatten(0, h.shape[:2]))


def made(model, step_mode="m", seed=0):
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.05, 0.4)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0, 0.5)
            module.running_var.uniform_(0.5, 2)
    functional.set_step_mode(model, step_mode)
    return model


def example(seed=1):
    return (torch.rand(STEPS, CLIPS, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


STYLES = {
    "sequential": lambda: made(nn.Sequential(*parts())),
    "nested": lambda: made(nn.Sequential(nn.Sequential(*parts()[:4]), nn.Sequential(*parts()[4:]))),
    "voting and dropout": lambda: made(
        nn.Sequential(*parts()[:5], layer.Dropout(0.5), *parts()[5:], layer.VotingLayer(3))
    ),
    "time loop": lambda: made(TimeLoop(), "s"),
    "running sum": lambda: made(RunningSum(), "s"),
    "single step, the loop is the caller's": lambda: made(nn.Sequential(*parts()), "s"),
    "single step, linear layers alone": lambda: made(
        nn.Sequential(layer.Flatten(), layer.Linear(128, 16), lif(), layer.Linear(16, 6), lif()), "s"
    ),
    "shape branches": lambda: made(Branches()),
    "functional flatten": lambda: made(FunctionalFlatten()),
    "functional pool": lambda: made(FunctionalPool()),
    "shared pool": lambda: made(SharedPool()),
    "first frame apart": lambda: made(FirstFrameApart()),
    "container of torch layers": lambda: made(
        nn.Sequential(layer.SeqToANNContainer(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), lif())
    ),
    "no input decay": lambda: made(nn.Sequential(conv(), lif(decay_input=False))),
    "reset above zero": lambda: made(nn.Sequential(conv(), lif(v_reset=0.1))),
    "integrate and fire": lambda: made(nn.Sequential(conv(), neuron.IFNode(v_threshold=0.5))),
    "soft reset": lambda: made(nn.Sequential(conv(), lif(v_reset=None))),
    "soft reset without input decay": lambda: made(nn.Sequential(conv(), lif(v_reset=None, decay_input=False))),
    "soft reset, integrate and fire": lambda: made(nn.Sequential(conv(), neuron.IFNode(v_reset=None))),
    "parametric, sigmoid surrogate": lambda: made(
        nn.Sequential(conv(), neuron.ParametricLIFNode(init_tau=3.0, surrogate_function=surrogate.Sigmoid()))
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_captured_graph_replays_the_model(style):
    model, x = STYLES[style](), example()
    graph, spikes = capture(model, x, dt_us=1000.0)
    replay = run_graph(graph, x.numpy())
    assert list(replay.spikes) == list(spikes)
    for name, wanted in spikes.items():
        assert 0.001 < wanted.mean() < 0.999, f"{name} is silent or saturated: nothing is shown"
        np.testing.assert_array_equal(replay.spikes[name], wanted)


def test_time_is_not_taken_for_the_batch_of_a_single_clip():
    """Flatten and linear layers take [T, 1, ...] without complaint, and would forget everything between steps."""
    model, x = STYLES["single step, linear layers alone"](), example()[:, :1]
    graph, spikes = capture(model, x)
    model.eval()
    with torch.no_grad():
        by_hand = torch.stack([model(frame) for frame in x])
    np.testing.assert_array_equal(list(spikes.values())[-1], by_hand.numpy())
    np.testing.assert_array_equal(run_graph(graph, x.numpy()).output, by_hand.numpy())
    assert 0 < by_hand.mean() < 1


def test_the_spikes_are_those_of_the_model_itself():
    model, x = STYLES["sequential"](), example()
    _, spikes = capture(model, x, dt_us=1000.0)
    with torch.no_grad():
        output = model.eval()(x)
    np.testing.assert_array_equal(list(spikes.values())[-1], output.numpy())


def test_model_is_left_as_it_was():
    model, x = STYLES["sequential"]().train(), example()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    capture(model, x, dt_us=1000.0)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(not isinstance(m.v, torch.Tensor) for m in model.modules() if isinstance(m, neuron.LIFNode))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_in_the_middle_of_its_training_is_captured_and_left_alone():
    model, x = STYLES["sequential"]().train(), example()
    loss = model(x).sum()  # its state now belongs to a graph of gradients
    before = [m.v for m in model.modules() if isinstance(m, neuron.LIFNode)]
    assert all(v.grad_fn is not None for v in before)
    graph, spikes = capture(model, x)
    for name, wanted in run_graph(graph, x.numpy()).spikes.items():
        np.testing.assert_array_equal(spikes[name], wanted)
    assert [m.v for m in model.modules() if isinstance(m, neuron.LIFNode)] == before
    loss.backward()
    assert model[0].weight.grad is not None


def test_left_over_state_does_not_leak_into_the_capture():
    model, x = STYLES["sequential"](), example()
    clean = capture(model, x, dt_us=1000.0)[1]
    with torch.no_grad():
        model.eval()(example(2))
    again = capture(model, x, dt_us=1000.0)[1]
    assert all((clean[name] == again[name]).all() for name in clean)


REFUSED = {
    "residual": (lambda: made(Residual()), "E102", "joins 2 branches"),
    "function between layers": (lambda: made(FunctionalPool(torch.tanh)), "E101", "tanh"),
    "turned axes": (lambda: made(Turned()), "E114", "do not fit"),
    "voting in the middle": (
        lambda: made(nn.Sequential(conv(), lif(), layer.Flatten(), layer.VotingLayer(3), layer.Linear(64, 6), lif())),
        "E109",
        "after the voting layer",
    ),
    "unknown neuron": (lambda: made(nn.Sequential(conv(), neuron.QIFNode())), "E100", "QIFNode"),
    "unknown layer": (lambda: made(nn.Sequential(conv(), nn.Tanh(), lif())), "E100", "Tanh"),
    "soft surrogate": (
        lambda: made(nn.Sequential(conv(), lif(surrogate_function=surrogate.ATan(spiking=False)))),
        "E107",
        "spiking=False",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_layer_reason_and_remedy(name):
    build, code, text = REFUSED[name]
    with pytest.raises(UnsupportedError, match=text) as caught:
        capture(build(), example(), dt_us=1000.0)
    assert [finding.code for finding in caught.value.findings] == [code]
    assert caught.value.findings[0].fix
    assert caught.value.exit_code == 3


def test_a_network_that_fails_on_its_input_says_so_itself():
    with pytest.raises(InputError, match=r"the network itself fails on input \(5, 3, 3, 8, 8\)"):
        capture(STYLES["sequential"](), torch.zeros(5, 3, 3, 8, 8))


def test_nan_example_is_refused():
    with pytest.raises(InputError, match="example input"):
        capture(STYLES["sequential"](), example() * float("nan"), dt_us=1.0)
