"""What is counted, against convolutions with ones: every non-zero input element reaches its synapses once."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError
from hw_targets.loihi2.simulate import simulate
from neuroemo.energy.measure import answers_of, measure, refuse_not_finite
from neuroemo.energy.sources import open_source
from neuroemo.models.emotion import build_network, twin_of


def reached(layer, values):
    """Synapses reached by non-zero inputs, by a convolution of ones with the pattern of non-zeros (float64: exact)."""
    pattern = torch.from_numpy((values != 0).reshape(-1, *layer.input_shape).astype(np.float64))
    ones = torch.ones(layer.weight.shape, dtype=torch.float64)
    if layer.kind == "conv":
        out = torch.nn.functional.conv2d(pattern, ones, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    else:
        out = pattern.flatten(1) @ ones.T
    return int(out.sum().item())


def test_the_chip_is_counted_as_an_enumeration_by_convolution(made):
    source = open_source(str(made.net), made.clips)
    counts = measure(source).priced
    chip = source.deployment.chip
    spikes = simulate(chip, made.array).spikes
    value = np.rint(made.array * chip.payload) / chip.payload
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
    steps, samples = made.array.shape[:2]
    assert counts.total.neuron_updates == sum(layer.neurons for layer in chip.layers) * steps * samples


def test_the_answers_are_the_votes_so_far(made):
    source = open_source(str(made.net), made.clips)
    found = measure(source)
    output = simulate(source.deployment.chip, made.array).output  # [T, N, classes * voting]
    votes = output.reshape(*output.shape[:2], 2, made.spec.voting)
    for step in range(made.spec.steps):
        for clip in range(made.array.shape[1]):
            so_far = votes[: step + 1, clip].astype(int).sum(axis=(0, 2))
            assert found.answers[step, clip] == (1 if so_far[1] > so_far[0] else 0)  # a tie goes to the lower class
    np.testing.assert_array_equal(answers_of(output, made.spec.voting)[-1], found.answers[-1])


def test_the_twin_is_one_dense_pass(made):
    """Multiply-accumulates by hand: convolutions are not padded, 32 -> 30 -> 15 -> 13 -> 6 pixels."""
    spec = made.spec
    assert (spec.size, spec.channels, spec.hidden, spec.classes) == (32, (4, 8), 16, 2)
    dense = 30 * 30 * 9 * spec.steps * 4 + 13 * 13 * 9 * 4 * 8 + 6 * 6 * 8 * 16 + 16 * 2
    ann = measure(open_source(str(made.net), made.clips)).ann
    assert ann.total.dense_macs == dense * made.array.shape[1]
    assert ann.steps == 1
    assert sum(p.numel() for p in build_network(twin_of(spec)).parameters()) > 0


def test_counts_do_not_depend_on_the_batches(made, monkeypatch):
    from neuroemo.energy import measure as measuring

    whole = measure(open_source(str(made.net), made.clips))
    monkeypatch.setattr(measuring, "BATCH_CLIPS", 2)
    heard = []
    apart = measure(open_source(str(made.net), made.clips), progress=lambda done, total, note: heard.append(done))
    assert heard[-4:] == [0, 2, 4, 5]
    for name in ("priced", "trained", "ann"):
        one, two = getattr(whole, name), getattr(apart, name)
        assert list(one.layers) == list(two.layers)
        assert one.squares == two.squares
        for layer, other in zip(one.layers.values(), two.layers.values(), strict=True):
            np.testing.assert_array_equal(layer.table, other.table)
            assert (layer.dense_macs, layer.elements) == (other.dense_macs, other.elements)
    np.testing.assert_array_equal(whole.answers, apart.answers)


def test_gray_that_rounds_to_nothing_costs_nothing(made, tmp_path):
    source = open_source(str(made.net), made.clips)
    faint = np.zeros_like(made.array)
    faint[0] = 0.4 / source.deployment.chip.payload
    np.save(tmp_path / "faint.npy", faint.swapaxes(0, 1))
    counts = measure(open_source(str(made.net), tmp_path / "faint.npy")).priced
    assert counts.layers[source.deployment.chip.layers[0].name].macs == 0


def test_a_live_network_called_per_step_is_counted_as_one_called_at_once(strangers, monkeypatch):
    """The same weights in single-step mode, fed frame by frame, cost what they cost in one multi-step call."""
    from spikingjelly.activation_based import functional

    from neuroemo.deployment.model import ModelOptions
    from tests import stranger

    network = stranger.good()  # its biases are drawn anew at every call
    stepwise = copy.deepcopy(network)
    functional.set_step_mode(stepwise, "s")
    monkeypatch.setattr(stranger, "at_once", network, raising=False)
    monkeypatch.setattr(stranger, "stepwise", stepwise, raising=False)
    options = ModelOptions(input_shape=(2, 8, 8), steps=6)
    once, each = (
        measure(open_source(f"tests.stranger:{name}", strangers.clips, options=options)).priced
        for name in ("at_once", "stepwise")
    )
    assert once.total.acs == each.total.acs > 0
    assert once.total.macs == each.total.macs > 0  # behind the average pool
    for name, layer in once.layers.items():
        np.testing.assert_array_equal(layer.table, each.layers[name].table)


def test_pooling_policies_differ_where_there_is_an_average_pool(made):
    source = open_source(str(made.net), made.clips)
    event, folded = (measure(source, pooling=pooling) for pooling in ("event", "folded"))
    assert event.priced.total.acs == folded.priced.total.acs, "on the chip pools are folded either way"
    assert event.trained.total.macs > folded.trained.total.macs
    assert folded.trained.policy.pooling != event.trained.policy.pooling


def test_a_layer_on_the_host_is_counted_there(made, tmp_path):
    from export.exporter import export_model
    from export.verify import Tolerance

    loose = Tolerance(chip_agreement=0.0, label_agreement=0.0)
    export_model(made.network, made.array, out=tmp_path / "b", input_encoding="host", first_frame="float", dt_us=1.0,
                 tolerance=loose)  # fmt: skip
    found = measure(open_source(str(tmp_path / "b"), made.unlabelled))
    assert [finding.code for finding in found.findings] == ["W884"]
    first = next(iter(found.priced.layers))
    assert found.priced.notes[first] == "runs on the host, in float"
    gray = made.array[0].astype(np.float64)
    assert found.priced.layers[first].macs > 0
    assert found.priced.layers[first].spikes_in == np.count_nonzero(made.array)
    assert gray.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_with_their_place(value):
    clips = np.zeros((4, 3, 2, 2, 2), np.float32)
    refuse_not_finite(clips, "x.npy")
    clips[2, 1, 0, 1, 1] = value
    with pytest.raises(InputError) as error:
        refuse_not_finite(clips, "x.npy", first=30)
    (finding,) = error.value.findings
    assert finding.code == "E882"
    assert finding.found == "1 values are NaN or infinite, the first in clip 31, step 2, at (0, 1, 1)"
