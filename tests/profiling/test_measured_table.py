"""Table II from counted networks: a hand-made run worked out on paper, what is refused, and a run that is real."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError
from neuroemo.profiling import count_operations, load_prices
from neuroemo.profiling.counting.counts import LayerCounts, OpCounts
from neuroemo.profiling.measured_table import (
    linear_winning_steps,
    measured_table2,
    measured_table2_text,
    winning_steps,
)
from tests.conftest import random_clips, spiking_network

# [T = 3][N = 2]: AC, MAC, spikes in, spikes out. The first frame is gray: multiply-accumulates.
FIRST = [[[0, 80, 8, 0], [0, 100, 10, 0]], [[20, 0, 2, 0], [10, 0, 1, 0]], [[30, 0, 3, 0], [20, 0, 2, 0]]]
# Graded values behind a pool: accumulates and multiply-accumulates at every step.
LAST = [[[0, 0, 0, 0], [4, 0, 1, 0]], [[8, 4, 3, 0], [4, 0, 1, 0]], [[0, 8, 2, 0], [4, 4, 2, 0]]]


def layer(table, synapses: int, elements: int, kind: str = "synapse") -> LayerCounts:
    values = np.array(table, dtype=np.int64)
    return LayerCounts(
        kind, "Linear", values, dense_macs=synapses * values.shape[0] * values.shape[1],
        synapses=synapses, elements=elements, calls=values.shape[0],
    )  # fmt: skip


@pytest.fixture
def snn() -> OpCounts:
    fired = layer(np.ones((3, 2, 4)), 0, 0, "neuron")
    return OpCounts({"conv": layer(FIRST, 100, 60), "lif": fired, "fc": layer(LAST, 40, 60)}, 2, 3)


@pytest.fixture
def ann() -> OpCounts:
    layers = {"conv": layer([[[50, 150, 9, 0]] * 2], 300, 40), "fc": layer([[[0, 10, 5, 0]] * 2], 20, 20)}
    return OpCounts(layers, 2, 1)


@pytest.fixture
def prices():
    return load_prices("cmos45")


# Key: printed, formula, measured. E_AC 0.9, E_MAC 4.6; density of events 8 / 40 = 0.2; energies in pJ here.
# steps: (180 * 4.6 + 4 * 0.9) / 2 = 415.8, (42 * 0.9 + 4 * 4.6) / 2 = 28.1, (54 * 0.9 + 12 * 4.6) / 2 = 51.9
BY_HAND = {
    "ann_first_macs": ("310.9M", 300, 300),
    "snn_first_acs": ("9.1M", 100, (20 + 10 + 30 + 20) / 4),
    "other_ops": ("47.9M", 40, (4 + 12 + 4 + 12 + 4) / 6),
    "step_uj": ("51.3", 126.0, (28.1 + 51.9) / 2),
    "const_uj": ("33.67", 370.0, 414.0 - (13.5 + 22.5) / 2),
    "ann_mj": ("1.65", 1472.0, 1472.0),
    "snn_mj_30": ("1.57", 30 * 126.0 + 370, 495.8 + 27 * 40),
    "snn_mj_dataset": ("0.41", 0.2 * 126 * 3 + 370, 415.8 + 28.1 + 51.9),
    "break_even_steps": ("N<32", 8, 27),  # 370 + 8 * 126 = 1378 < 1472 <= 1504; 495.8 + 24 * 40 = 1455.8 < 1472
}
SCALE = {"uJ": 1e-6, "mJ": 1e-9, "": 1.0}


@pytest.mark.parametrize("key", BY_HAND)
def test_rows_by_hand(snn, ann, prices, key):
    (row,) = [row for row in measured_table2(snn, ann, prices)["rows"] if row["key"] == key]
    printed, formula, measured = BY_HAND[key]
    assert row["printed"] == printed
    assert row["formula"] == pytest.approx(formula * SCALE[row["unit"]], rel=1e-12)
    assert row["measured"] == pytest.approx(measured * SCALE[row["unit"]], rel=1e-12)


def test_layers_by_hand(snn, ann, prices):
    conv, fc = measured_table2(snn, ann, prices)["layers"]
    assert (conv["name"], fc["name"]) == ("conv", "fc")
    assert conv["density"] == pytest.approx(26 / 60)
    assert fc["density"] == pytest.approx(9 / 60)
    assert (fc["acs_per_step"], fc["macs_per_step"]) == (pytest.approx(20 / 6), pytest.approx(16 / 6))
    assert fc["share_of_dense"] == pytest.approx(36 / 240)
    assert conv["formula_pj"] == pytest.approx(0.2 * 0.9 * 100 * 3 + 370)
    assert conv["measured_pj"] == pytest.approx((180 * 4.6 + 80 * 0.9) / 2)
    assert fc["measured_pj"] == pytest.approx((20 * 0.9 + 16 * 4.6) / 2)


def test_it_is_json_and_the_text_shows_every_row(snn, ann, prices):
    result = measured_table2(snn, ann, prices)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    text = measured_table2_text(result)
    for row in result["rows"]:
        (line,) = [line for line in text.splitlines() if line.startswith(row["label"])]
        assert all(shown in line for shown in (row["printed"], row["formula_shown"], row["measured_shown"]))
    assert "PARTIAL" not in text
    assert "at 20.00% on every layer N<44" in text  # (1472 - 370) / (0.2 * 126) = 43.73
    assert "3 steps, continued by its mean later step" in text


def test_what_was_not_counted_makes_it_a_lower_bound(snn, ann, prices):
    result = measured_table2(replace(snn, partial={"odd": "no rule"}), replace(ann, partial={"odder": "?"}), prices)
    assert result["partial"] == ["odd", "odder"]
    assert "lower bound; not counted: odd, odder" in measured_table2_text(result)


def test_without_a_gray_frame_there_is_no_surcharge(snn, ann, prices):
    spikes = np.array(FIRST)
    spikes[0, :, 0], spikes[0, :, 1] = spikes[0, :, 1], 0
    layers = snn.layers | {"conv": layer(spikes, 100, 60)}
    result = measured_table2(replace(snn, layers=layers), ann, prices)
    rows = {row["key"]: row for row in result["rows"]}
    assert not result["gray_first_frame"]
    assert (rows["const_uj"]["formula"], rows["const_uj"]["measured"]) == (0, 0)
    assert rows["const_uj"]["note"] == "no gray first frame"
    assert result["density"] == pytest.approx(26 / 60)
    # (180 + 4) * 0.9 / 2 = 82.8; the mean step is (82.8 + 28.1 + 51.9) / 3.
    assert rows["step_uj"]["measured"] == pytest.approx((82.8 + 28.1 + 51.9) / 3 * 1e-6)


def test_samples_that_were_summed_give_the_same_table(snn, ann, prices):
    summed = {
        name: replace(counts, table=counts.table.sum(axis=1, keepdims=True)) for name, counts in snn.layers.items()
    }
    assert measured_table2(replace(snn, layers=summed, kept=False), ann, prices) == measured_table2(snn, ann, prices)


def test_another_precision_moves_the_energies_only(snn, ann, prices):
    small = {row["key"]: row for row in measured_table2(snn, ann, prices, "int8")["rows"]}
    assert small["ann_mj"]["measured"] == pytest.approx(0.23 * 320 * 1e-9)
    assert small["snn_first_acs"]["measured"] == 20


def test_networks_that_have_no_table(snn, ann, prices):
    empty = OpCounts({}, 1, 1)
    with pytest.raises(InputError) as caught:
        measured_table2(empty, snn, prices)
    assert [(finding.code, finding.node) for finding in caught.value.findings] == [("E845", "SNN"), ("E846", "ANN")]
    assert "3 time steps" in str(caught.value)
    assert "time_first=False" in str(caught.value)
    never = {"conv": replace(ann.layers["conv"], synapses=0)}
    with pytest.raises(InputError, match="no layer with synapses"):
        measured_table2(snn, replace(ann, layers=never), prices)
    with pytest.raises(InputError, match="precision"):
        measured_table2(snn, ann, prices, "fp8")


def brute_force_steps(steps_pj, later: float, ann: float, most: int = 500) -> int | None:
    total, winning = 0.0, 0
    for n in range(most):
        total += steps_pj[n] if n < len(steps_pj) else later
        winning = n + 1 if total < ann and winning == n else winning
    return None if winning == most else winning


@pytest.mark.parametrize("seed", range(40))
def test_winning_steps_by_adding_up(seed):
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 9, rng.integers(1, 8)).astype(float)
    later, ann = float(rng.integers(0, 4)), float(rng.integers(1, 60))
    assert winning_steps(steps, later, ann) == brute_force_steps(steps, later, ann)


def test_a_step_that_is_free_wins_always_or_never():
    assert linear_winning_steps(10.0, 5.0, 0.0) is None
    assert linear_winning_steps(10.0, 10.0, 0.0) == 0


def test_a_network_that_runs(prices):
    network, spec = spiking_network()
    clips = random_clips(spec, 4, 3)
    from neuroemo.models.emotion import build_network, stacked_frames, twin_of

    snn = count_operations(network, [torch.from_numpy(clips)])
    frames = stacked_frames(torch.from_numpy(clips), spec.first_frame)
    ann = count_operations(build_network(twin_of(spec)), [frames], time_first=False)
    result = measured_table2(snn, ann, prices)
    rows = {row["key"]: row for row in result["rows"]}
    assert result["gray_first_frame"]
    assert result["density"] == pytest.approx(clips[1:].mean())
    total = (snn.total.acs * 0.9 + snn.total.macs * 4.6) / 4
    assert rows["snn_mj_dataset"]["measured"] == pytest.approx(total * 1e-9)
    assert sum(layer["measured_pj"] for layer in result["layers"]) == pytest.approx(total)
    assert rows["ann_mj"]["measured"] == rows["ann_mj"]["formula"]
    # The first layer sees the clips themselves: every event reaches its exact fan-out, at most 9 * channels.
    assert 0 < rows["snn_first_acs"]["measured"] < 9 * spec.channels[0] * clips[1:].sum() / (4 * (spec.steps - 1))
