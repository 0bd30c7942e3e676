"""What the counter cannot count is named, and what it is not meant for is refused."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn

from hw_targets.finding import InputError
from neuroemo.profiling import SpikeLayer, count_operations, count_spike_layers
from neuroemo.profiling.counting.fanout import linear_fan_out


class Scale(nn.Module):
    def forward(self, x):
        return x * 3


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.fc(x) * self.gain


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (Scale(), "1"),
        (nn.LayerNorm(4), "1"),
        (nn.Softmax(-1), "1"),
        (nn.LSTM(4, 4), "1"),
        (nn.BatchNorm1d(4, track_running_stats=False), "1"),
        (Gate(), "1"),
        (layer.SynapseFilter(step_mode="m"), "1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_trap_unknown_modules_are_listed(module, name):
    class Wrap(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4), module)

        def forward(self, x):
            x = self.inner[0](x)
            return module(x.flatten(0, 1)) if isinstance(module, nn.BatchNorm1d) else module(x)

    counts = count_operations(Wrap(), [torch.ones(2, 3, 4)])
    assert list(counts.partial) == [f"inner.{name}"]
    assert counts.is_partial
    assert counts.to_json()["is_partial"]
    assert counts.layers["inner.0"].acs == 2 * 3 * 16  # what is known is still counted


def test_parts_of_a_gate_are_counted_and_its_gain_is_listed():
    counts = count_operations(nn.Sequential(Gate()), [torch.ones(1, 1, 4)])
    assert counts.layers["0.fc"].acs == 16
    assert "holds parameters (gain)" in counts.partial["0"]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda net: count_operations(net, []), "E800"),
        (lambda net: count_operations(net, [torch.ones(2, 1, 4), torch.ones(3, 1, 4)]), "E801"),
        (lambda net: count_operations(net, torch.ones(2, 1, 4)), "E802"),
        (lambda net: count_operations(net, [{"x": torch.ones(2, 1, 4)}]), "E802"),
        (lambda net: count_operations(net, [()]), "E802"),
        (lambda net: count_operations(net, [torch.ones(1, 4)], time_first=False, loop_steps=True), "E803"),
        (lambda net: count_operations(net, [torch.ones(4)]), "E806"),
        (
            lambda net: count_spike_layers([SpikeLayer("a", linear_fan_out(1, 1), np.ones((1, 1, 1)))] * 2),
            "E804",
        ),
        (lambda net: count_spike_layers([]), "E805"),
        (
            lambda net: count_spike_layers(
                [SpikeLayer(str(t), linear_fan_out(1, 1), np.ones((t, 1, 1))) for t in (1, 2)]
            ),
            "E805",
        ),
    ],
)
def test_misuse_is_named(call, code):
    with pytest.raises(InputError) as caught:
        call(nn.Linear(4, 2))
    assert [finding.code for finding in caught.value.findings] == [code]
