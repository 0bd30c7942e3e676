from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_squared_error

from hw_targets.finding import InputError
from neuroemo.affect.metrics import measure, scores
from neuroemo.affect.sums import from_sums, sums_of


def lin(y, p):
    """Concordance from its definition as an expected squared distance (Lin 1989, eq. 1), in exact sums."""
    y, p = [float(value) for value in y], [float(value) for value in p]
    n = len(y)
    mean_y, mean_p = math.fsum(y) / n, math.fsum(p) / n
    apart = math.fsum((a - b) ** 2 for a, b in zip(y, p, strict=True)) / n
    independent = math.fsum((a - mean_y) ** 2 for a in y) / n + math.fsum((b - mean_p) ** 2 for b in p) / n
    return 1 - apart / (independent + (mean_y - mean_p) ** 2)


def test_by_hand():
    told = measure(np.array([1.0, -1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.0, -0.5]))
    # squared errors 1/4, 9/4, 0, 1/4; signs of the two frames that have one: right, wrong
    assert told["rmse"] == pytest.approx(math.sqrt(2.75 / 4))
    assert told["sagr"] == 0.5
    # means 0 and 1/8; sum yp = 0, so cov = 0 - 0 = 0
    assert told["pcc"] == pytest.approx(0.0, abs=1e-12)
    assert told["ccc"] == pytest.approx(0.0, abs=1e-12)
    counted = measure(np.array([1.0, -1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.0, -0.5]), zeros="count")
    assert counted["sagr"] == 0.5  # right, wrong, right (0 meets 0), wrong


def test_a_gap_of_means_by_hand():
    # y = 0, 1; p = y + 1: cov = 1/4, var = 1/4 each, gap 1: CCC = 2/4 / (1/4 + 1/4 + 1) = 1/3
    told = measure(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    assert told["ccc"] == pytest.approx(1 / 3)
    assert told["pcc"] == pytest.approx(1.0)


finite = st.floats(-1, 1, allow_nan=False, width=32)


@settings(deadline=None)
@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=40))
def test_against_scipy_sklearn_and_exact_sums(pairs):
    y, p = np.array(pairs, dtype=np.float64).T
    told = measure(y, p)
    assert told["rmse"] == pytest.approx(math.sqrt(mean_squared_error(y, p)), abs=1e-12)
    if np.std(y) > 1e-6 and np.std(p) > 1e-6:
        assert told["pcc"] == pytest.approx(stats.pearsonr(y, p).statistic, abs=1e-6)
        assert told["ccc"] == pytest.approx(lin(y, p), abs=1e-9)
        # the floor that the labels set to RMSE
        assert told["rmse"] ** 2 >= np.var(y) * (1 - told["pcc"] ** 2) - 1e-9
    signed = [(a, b) for a, b in zip(y, p, strict=True) if a != 0]
    right = sum(math.copysign(1, a) == (math.copysign(1, b) if b else 0) for a, b in signed)
    assert told["sagr"] == (pytest.approx(right / len(signed)) if signed else None)


@settings(deadline=None)
@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=40))
def test_the_sums_say_the_same_as_the_frames(pairs):
    y, p = np.array(pairs, dtype=np.float64).T
    told, mine = measure(y, p), from_sums(sums_of(y, p))
    assert mine["rmse"] == pytest.approx(told["rmse"], abs=1e-9)
    if np.std(y) > 1e-3 and np.std(p) > 1e-3:
        assert mine["pcc"] == pytest.approx(told["pcc"], abs=1e-6)


def test_concordance_of_torchmetrics_differs_by_one_part_in_n():
    import torch
    from torchmetrics.functional import concordance_corrcoef

    rng = np.random.default_rng(0)
    y = rng.normal(size=30)
    p = 0.6 * y + rng.normal(size=30) * 0.3 + 0.4
    theirs = float(concordance_corrcoef(torch.from_numpy(p), torch.from_numpy(y)))
    gap = (y.mean() - p.mean()) ** 2
    ours = measure(y, p)["ccc"]
    assert ours == pytest.approx(lin(y, p))
    # with variances over n - 1 the gap of the means weighs (n - 1) / n of what it weighs in ours
    again = 2 * np.cov(y, p)[0, 1] / (np.var(y, ddof=1) + np.var(p, ddof=1) + gap)
    assert theirs == pytest.approx(again)
    assert 0 < theirs - ours < 1 / 30


def test_a_constant_has_no_correlation_and_json_has_no_nan():
    truth = np.array([[0.1, 0.3], [0.4, 0.3], [-0.2, 0.3]])
    # a tenth has no exact float: the mean of three of them differs from them by rounding
    told = scores(truth, np.full((3, 2), 0.1), constant=(0.1, 0.3))
    assert told["valence"]["pcc"] is None
    assert told["valence"]["ccc"] == 0.0
    assert told["arousal"]["constant"] == {"value": 0.3, "rmse": 0.0, "pcc": None, "sagr": 1.0, "ccc": None}
    json.dumps(told, allow_nan=False)


def test_the_constant_beside_it():
    truth = np.array([[0.5, 0.0], [-0.5, 1.0]])
    told = scores(truth, truth, constant=(0.25, 0.5))
    assert told["valence"]["rmse"] == 0
    assert told["valence"]["constant"]["rmse"] == pytest.approx(math.sqrt((0.0625 + 0.5625) / 2))
    assert told["arousal"]["zero_targets"] == 1
    assert scores(truth, truth)["valence"]["constant"] is None


def test_unknown_labels_are_left_out_by_output_and_counted():
    nan = float("nan")
    truth = np.array([[0.5, nan], [nan, 0.2], [0.1, 0.4]])
    told = scores(truth, np.array([[0.5, 9.0], [9.0, 0.2], [0.1, 0.4]]))
    assert [told[name]["rmse"] for name in ("valence", "arousal")] == [0, 0]
    assert [told[name]["unknown"] for name in ("valence", "arousal")] == [1, 1]
    with pytest.raises(InputError, match="2 of 3 frames have no label"):
        scores(truth, np.zeros((3, 2)), unknown="refuse")
    with pytest.raises(InputError, match="E951 truth: no frame has a known valence"):
        scores(np.full((3, 2), nan), np.zeros((3, 2)))


def test_what_cannot_be_scored():
    truth = np.zeros((4, 2))
    with pytest.raises(InputError, match=r"shape \[4, 2\], predictions of shape \[3, 2\]"):
        scores(truth, np.zeros((3, 2)))
    broken = np.zeros((4, 2))
    broken[1, 0], broken[2, 1] = np.inf, np.nan
    with pytest.raises(InputError, match="2 of 4 predictions are NaN or infinite"):
        scores(truth, broken)
    with pytest.raises(InputError, match="zeros: ignore"):
        scores(truth, np.zeros((4, 2)), zeros="ignore")
    with pytest.raises(InputError, match="E951"):
        scores(np.zeros((0, 2)), np.zeros((0, 2)))
