"""Quantisation: every field in range, thresholds that mean the same, scales as large as they may be."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import CapacityError
from hw_targets.graph import LIF, Conv2d, Graph, Linear
from hw_targets.loihi2.quantize import chip_threshold, quantize, worst_sum


def one(weight, bias=None, threshold=1.0, first_frame="spikes", **neuron):
    weight = np.asarray(weight, dtype=float)
    nodes = (Linear("fc", weight, bias), LIF("n", neuron.pop("decay", 0.5), threshold, **neuron))
    return Graph(nodes, (weight.shape[1],), 4, 1.0, first_frame)


@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
    st.floats(0, 1e3),
    st.sampled_from(["float", "spikes"]),
    st.integers(1, 3000),
)
def test_every_field_stays_in_range(seed, size, threshold, bias, first_frame, inputs):
    rng = np.random.default_rng(seed)
    graph = one(rng.normal(size=(3, inputs)) * size, rng.normal(size=3) * bias, threshold, first_frame)
    with contextlib.suppress(CapacityError):  # threshold or bias too far from the weights: said, not clipped
        check_fields(graph)


def check_fields(graph):
    layer = quantize(graph).layers[0]
    assert np.abs(layer.weight).max() <= 127
    assert np.abs(layer.bias).max() <= 4095
    assert 1 <= layer.threshold <= 131071
    assert 0 <= layer.voltage_decay <= 4095
    assert worst_sum(layer.weight) * layer.payload <= 131071
    exact = graph.nodes[0].weight * layer.scale
    assert layer.clipped == (np.abs(exact) > 127.5).sum() <= 0.1 * exact.size
    assert not layer.clipped or layer.threshold == 1  # only to give the threshold its unit and a half
    np.testing.assert_allclose(layer.weight, np.clip(exact, -127, 127), atol=0.5001)


def test_weights_use_the_whole_field_when_nothing_else_binds():
    layer = quantize(one([[0.5, -0.2513]])).layers[0]
    assert layer.weight.tolist() == [[127, -64]]
    assert layer.scale == 254.0
    assert layer.threshold == 253  # 1.0 is 254 units, reached means fires, so exceeding 253


def test_few_bits():
    assert np.abs(quantize(one([[0.5, -0.2513]]), weight_bits=4).layers[0].weight).max() == 7


@pytest.mark.parametrize("step", [0.25, 1 / 3, 0.1])
def test_weights_on_a_lattice_stay_exact_and_ties_at_the_threshold_fire(step):
    weight = np.array([[3, -2, 0], [1, -1, 2]]) * step
    layer = quantize(one(weight, threshold=2 * step, decay=0.0)).layers[0]
    unit = layer.scale * step
    assert unit == pytest.approx(round(unit))
    assert layer.weight.tolist() == (np.array([[3, -2, 0], [1, -1, 2]]) * round(unit)).tolist()
    assert layer.threshold == 2 * round(unit) - 1


def test_calibration_trades_the_worst_case_for_resolution():
    weight = np.where(np.arange(5000) % 2, 1.0, 0.98765)[None] * np.pi
    careful = quantize(one(weight)).layers[0]
    calibrated = quantize(one(weight), drive_max={"n": 300.0}).layers[0]
    assert worst_sum(careful.weight) <= 131071 < worst_sum(calibrated.weight)
    assert calibrated.weight.max() == 127
    assert 300.0 * calibrated.scale * 2 <= 131071
    tight = quantize(one(weight), drive_max={"n": 15000.0}).layers[0]
    assert tight.scale == pytest.approx(131071 / (2 * 15000.0))


def test_an_inhibitory_dense_layer_avoids_the_power_of_two_that_netx_corrupts():
    # threshold 4095 / 127 units: the bias limits the scale so that the lowest weight would be -64
    graph = one([[-1.0, -0.3713], [-0.5377, -0.9]], np.array([4095 / 64, 0.0]))
    layer = quantize(graph).layers[0]
    assert layer.weight.min() == -63
    alone = quantize(one([[-1.0]], np.array([4095 / 64]))).layers[0]
    assert alone.weight.item() == -63


def test_payload_scales_threshold_and_bias_of_the_first_layer_only():
    nodes = (
        Conv2d("c", np.array([[[[0.5, -0.5]]]]), np.array([0.01])), LIF("a", 0.5, 1.0),
        Conv2d("d", np.array([[[[0.5, -0.5]]]]), np.array([0.01])), LIF("b", 0.5, 1.0),
    )  # fmt: skip
    first, second = quantize(Graph(nodes, (1, 1, 4), 4, 1.0, "float")).layers
    assert (first.payload, second.payload) == (63, 1)
    assert first.threshold == 254 * 63 - 1
    assert second.threshold == 253
    assert (first.bias[0], second.bias[0]) == (round(0.01 * 254 * 63), round(0.01 * 254))


@pytest.mark.parametrize(("inclusive", "value"), [(True, 11), (False, 12)])
def test_threshold_on_the_grid(inclusive, value):
    assert chip_threshold(LIF("n", 0.5, 1.2, inclusive=inclusive), 10.0) == value


def test_large_fan_in_lowers_the_scale_until_no_input_can_wrap():
    layer = quantize(one(np.ones((1, 5000)))).layers[0]
    assert worst_sum(layer.weight) <= 131071
    assert layer.weight.max() == 26


def test_layers_that_vanish_are_refused_all_at_once():
    nodes = (
        Linear("fc", np.full((2, 2), 1e-9), np.array([5.0, 5.0])), LIF("a", 0.5, 1.0),
        Linear("fd", np.ones((1, 2))), LIF("b", 0.5, 1e-4),
    )  # fmt: skip
    with pytest.raises(CapacityError) as caught:
        quantize(Graph(nodes, (2,), 4, 1.0))
    assert [(finding.code, finding.node) for finding in caught.value.findings] == [("E210", "fc"), ("E211", "b")]


def outlying(count, threshold=0.1):
    weight = np.where(np.arange(100) < count, 3.0, 0.0337)[None] * np.where(np.arange(100) % 2, 1.0, -0.98)
    return one(weight, threshold=threshold)


def test_few_outlying_weights_are_clipped_to_keep_the_threshold():
    layer = quantize(outlying(10), weight_bits=3).layers[0]
    assert (layer.scale, layer.threshold, layer.clipped) == (15.0, 1, 10)
    assert np.abs(layer.weight).max() == 3
    assert quantize(outlying(10), weight_bits=8).layers[0].clipped == 0
    with pytest.raises(CapacityError, match="E211 n: threshold mantissa 0"):
        quantize(outlying(11), weight_bits=3)
