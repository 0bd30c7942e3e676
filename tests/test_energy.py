"""The energy of a chip run, against convolutions with ones: every non-zero input element reaches its synapses once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hw_targets.loihi2.simulate import simulate
from neuroemo.energy import count_chip_run


def reached(layer, values):
    """Synapses reached by non-zero inputs, by a convolution of ones with the pattern of non-zeros (float64: exact)."""
    pattern = torch.from_numpy((values != 0).reshape(-1, *layer.input_shape).astype(np.float64))
    ones = torch.ones(layer.weight.shape, dtype=torch.float64)
    if layer.kind == "conv":
        out = torch.nn.functional.conv2d(pattern, ones, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    else:
        out = pattern.flatten(1) @ ones.T
    return int(out.sum().item())


def test_counts_equal_an_enumeration_by_convolution(exported):
    _, _, clips, compiled = exported
    chip = compiled.chip
    spikes = simulate(chip, clips).spikes
    counts = count_chip_run(chip, clips, spikes)
    value = np.rint(clips * chip.payload) / chip.payload
    for layer in chip.layers:
        counted = counts.layers[layer.name]
        graded = value * ((value != 0) & (value != 1))
        assert counted.macs == reached(layer, graded)
        assert counted.acs + counted.macs == reached(layer, value)
        assert counted.acs > 0
        assert counts.layers[f"{layer.name}.neurons"].spikes_out == spikes[layer.name].sum()
        value = spikes[layer.name]
    assert counts.layers[chip.layers[0].name].macs > 0  # the gray frame
    assert all(counts.layers[layer.name].macs == 0 for layer in chip.layers[1:])
    assert counts.total.neuron_updates == sum(layer.neurons for layer in chip.layers) * clips.shape[0] * clips.shape[1]


def test_gray_that_rounds_to_nothing_costs_nothing(exported):
    _, _, clips, compiled = exported
    faint = np.zeros_like(clips)
    faint[0] = 0.4 / compiled.chip.payload
    counts = count_chip_run(compiled.chip, faint, simulate(compiled.chip, faint).spikes)
    assert counts.layers[compiled.chip.layers[0].name].macs == 0


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_energy_is_counts_times_prices(exported, precision):
    from neuroemo.profiling import energy_of, load_prices

    _, _, clips, compiled = exported
    counts = count_chip_run(compiled.chip, clips, simulate(compiled.chip, clips).spikes)
    ac, mac = {"fp32": (0.9, 4.6), "int8": (0.03, 0.23)}[precision]  # Horowitz 2014
    by_hand = (counts.total.acs * ac + counts.total.macs * mac) / clips.shape[1] * 1e-9
    assert energy_of(counts, load_prices("cmos45"), precision).synaptic_mj == pytest.approx(by_hand)
