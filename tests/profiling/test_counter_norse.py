"""Networks of Norse: neurons with a synaptic current, recurrent weights, leaky read-outs."""

import numpy as np
import pytest
import torch
from torch import nn

from neuroemo.profiling import count_operations

norse = pytest.importorskip("norse.torch")


def clip(steps=4, samples=3, features=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, samples, features, generator=generator) < 0.5).float()


class Loop(nn.Module):
    """Steps through time as Norse's users write it, handing the state on."""

    def __init__(self, cell, last):
        super().__init__()
        self.first, self.cell, self.last = nn.Linear(6, 5), cell, last
        nn.init.constant_(self.first.weight, 0.8)
        self.spikes = []

    def forward(self, frames):
        state, votes = None, []
        self.spikes.clear()
        for frame in frames:
            spikes, state = self.cell(self.first(frame), state)
            self.spikes.append(spikes)
            votes.append(self.last(spikes))
        return torch.stack(votes)


PARAMETERS = norse.LIFParameters(v_th=torch.tensor(0.1))


def test_a_loop_over_cells_is_counted_step_by_step():
    net = Loop(norse.LIFCell(p=PARAMETERS), nn.Linear(5, 2))
    counts = count_operations(net, [clip()])
    fired = torch.stack(net.spikes)
    last = counts.layers["last"]
    assert last.table[..., 0].tolist() == (fired.sum(dim=2) * 2).int().tolist()
    assert last.acs > 0
    cell = counts.layers["cell"]
    assert cell.table[..., 3].tolist() == fired.sum(dim=2).int().tolist()
    assert cell.neuron_updates == 4 * 3 * 5
    assert (cell.rule.macs, cell.rule.acs) == (2, 1)  # the current leaks, the potential leaks, one comparison
    assert not counts.is_partial
    assert not counts.notes


def test_recurrent_weights_are_synapses_too():
    torch.manual_seed(0)
    cell = norse.LIFRecurrentCell(6, 5, p=PARAMETERS)
    with torch.no_grad():
        cell.input_weights.fill_(0.9)
    fired = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, frames):
            state = None
            for frame in frames:
                spikes, state = self.cell(frame, state)
                fired.append(spikes)
            return spikes

    frames = clip()
    counts = count_operations(Net(), [frames])
    assert counts.layers["cell.input_weights"].table[..., 0].tolist() == (frames.sum(dim=2) * 5).int().tolist()
    # At each step the spikes of the step before come back.
    back = torch.stack([torch.zeros_like(fired[0]), *fired[:-1]])
    assert counts.layers["cell.recurrent_weights"].table[..., 0].tolist() == (back.sum(dim=2) * 5).int().tolist()
    assert counts.layers["cell.recurrent_weights"].acs > 0
    assert counts.layers["cell"].neuron_updates == 4 * 3 * 5
    assert not counts.is_partial


def test_a_leaky_readout_sends_no_spikes():
    counts = count_operations(norse.SequentialState(nn.Linear(6, 4), norse.LI()), [clip()])
    readout = next(layer for layer in counts.layers.values() if layer.kind == "neuron")
    assert (readout.spikes_out, readout.neuron_updates) == (0, 4 * 3 * 4)
    assert (readout.rule.macs, readout.rule.acs) == (2, 0)


def test_a_sequence_is_counted_as_the_loop_it_is():
    torch.manual_seed(1)
    first, last = nn.Linear(6, 5), nn.Linear(5, 2)
    nn.init.constant_(first.weight, 0.8)
    sequence = count_operations(norse.SequentialState(first, norse.LIF(p=PARAMETERS), last), [clip()])
    loop = Loop(norse.LIFCell(p=PARAMETERS), last)
    loop.first = first
    stepped = count_operations(loop, [clip()])
    for one, other in zip(sequence.layers.values(), stepped.layers.values(), strict=True):
        assert np.array_equal(one.table, other.table)
    assert sequence.total.acs > 0
