"""Norse models in the styles people write, and how their spikes are compared."""

from __future__ import annotations

import pytest
import torch
from torch import nn

snn = pytest.importorskip("norse.torch")

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


class MyCell(snn.LIFBoxCell):
    """Somebody's own neuron: what it computes is not known."""


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
