"""Means, spreads and intervals against scipy.stats, exact fractions, hand and brute force."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hw_targets.finding import InputError
from neuroemo.profiling.counting.counts import LayerCounts, squares_of
from neuroemo.profiling.statistics import (
    Summary,
    is_constant,
    ratio_interval,
    student_t,
    summarise,
    summarise_operations,
)


def layer_of(per_sample):
    """A layer whose samples cost these (AC, MAC)."""
    counts = np.zeros((1, len(per_sample), 4), dtype=np.int64)
    counts[0, :, :2] = per_sample
    return LayerCounts("synapse", "Linear", counts, squares=squares_of(counts))


def test_quantiles_are_those_of_the_printed_table():
    # Two-sided 95 % quantiles as every statistics book prints them.
    printed = {1: 12.706, 2: 4.303, 4: 2.776, 9: 2.262, 29: 2.045, 1000: 1.962}
    assert {degrees: round(student_t(degrees), 3) for degrees in printed} == printed
    assert student_t(9, 0.99) == pytest.approx(stats.t.ppf(0.995, 9), rel=1e-10)


@pytest.mark.parametrize("count", [2, 3, 10, 250])
def test_a_summary_is_that_of_scipy(count):
    values = np.random.default_rng(count).lognormal(20, 1, count)
    summary = summarise(values)
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert (summary.samples, summary.mean) == (count, pytest.approx(values.mean(), rel=1e-13))
    assert summary.deviation == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert summary.interval == pytest.approx((low, high), rel=1e-9)


def test_one_sample_has_no_interval_and_equal_samples_have_one_of_no_width():
    assert summarise([3.0]) == Summary(1, 3.0)
    assert summarise([3.0]).interval is None
    assert summarise_operations(layer_of([(3, 4)]), 1) == Summary(1, 7.0)
    assert summarise([3.0, 3.0]).interval == (3.0, 3.0)
    assert summarise([3.0, 3.0]).to_json() == {"samples": 2, "mean": 3.0, "deviation": 0.0, "low": 3.0, "high": 3.0}


pairs = st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**10)), min_size=2, max_size=12)
prices = st.floats(0.001, 1e4)


@given(pairs, prices, prices)
@settings(max_examples=200, deadline=None)
def test_the_closed_form_is_the_evaluation_of_every_sample(per_sample, ac, mac):
    count = len(per_sample)
    energies = [Fraction(ac) * acs + Fraction(mac) * macs for acs, macs in per_sample]
    mean = sum(energies) / count
    variance = sum((value - mean) ** 2 for value in energies) / (count - 1)
    found = summarise_operations(layer_of(per_sample), count, ac, mac)
    assert found.mean == pytest.approx(float(mean), rel=1e-12)
    assert found.deviation == pytest.approx(math.sqrt(variance), rel=1e-12)
    half = student_t(count - 1) * math.sqrt(variance / count)
    assert found.high - found.mean == pytest.approx(half, rel=1e-9, abs=1e-12 * float(mean))


def test_the_closed_form_needs_no_samples_and_weighs_columns():
    per_sample = [(3, 1), (5, 0), (4, 2)]
    whole = layer_of(per_sample)
    summed = LayerCounts("synapse", "Linear", whole.table.sum(axis=1, keepdims=True), squares=whole.squares)
    assert summarise_operations(summed, 3, 0.9, 4.6) == summarise_operations(whole, 3, 0.9, 4.6)
    accumulates = summarise_operations(whole, 3, ac=1, mac=0)
    assert (accumulates.mean, accumulates.deviation) == (4.0, 1.0)


def test_a_layer_is_constant_only_if_every_sample_costs_the_same():
    assert is_constant(layer_of([(3, 7), (3, 7)]), 2)
    assert not is_constant(layer_of([(3, 7), (3, 8)]), 2)
    assert not is_constant(layer_of([(4, 7), (3, 7)]), 2)


def fits(ratio, top, bottom, quantile):
    """Whether a paired t test of top - ratio * bottom, straight from its definition, does not exclude a ratio."""
    rest = np.asarray(top) - ratio * np.asarray(bottom)
    return abs(rest.mean()) <= quantile * rest.std(ddof=1) / math.sqrt(len(rest))


@pytest.mark.parametrize("seed", range(8))
def test_the_interval_of_a_ratio_holds_the_ratios_that_a_t_test_does_not_exclude(seed):
    rng = np.random.default_rng(seed)
    bottom = rng.gamma(9, 2, 12)
    top = 3 * bottom + rng.normal(0, 4, 12) if seed % 2 else np.full(12, 50.0)
    low, high = ratio_interval(top, bottom)
    quantile = stats.t.ppf(0.975, 11)
    assert low < top.mean() / bottom.mean() < high
    step = (high - low) / 1000
    assert [fits(ratio, top, bottom, quantile) for ratio in (low - step, low + step, high - step, high + step)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_the_interval_of_a_ratio_covers_the_truth_95_times_in_100():
    rng = np.random.default_rng(0)
    hits = sum(
        low <= 10.0 <= high
        for low, high in (ratio_interval([100.0] * 25, rng.normal(10.0, 2.0, 25)) for _ in range(2000))
    )
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_a_denominator_that_may_be_zero_bounds_no_ratio():
    assert ratio_interval([1.0, 1.0], [0.0, 2.0]) is None
    assert ratio_interval([1.0], [2.0]) is None
    assert ratio_interval([1.0, 1.0], [2.0, 2.0]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: summarise([]), "E835 samples: no value; limit 1 or more finite"),
        (lambda: summarise([1.0, math.nan]), "E835 samples: 1 of 2 values not finite, the first nan"),
        (lambda: summarise([math.inf]), "not finite, the first inf"),
        (lambda: ratio_interval([1.0], [1.0, 2.0]), "E835 ratio: 1 and 2 values"),
        (lambda: ratio_interval([math.nan, 1.0], [1.0, 2.0]), "not finite"),
        (lambda: student_t(0), "E835 interval: 0 degrees of freedom"),
        (lambda: student_t(5, 1.0), "level 1.0"),
        (lambda: summarise_operations(layer_of([(1, 1)]), 1, ac=math.nan), "not finite"),
        (lambda: summarise_operations(layer_of([(1, 1)]), 0), "E836 Linear"),
        (lambda: summarise_operations(LayerCounts("synapse", "Linear", layer_of([(3, 1)]).table), 1), "E836 Linear"),
    ],
)
def test_what_cannot_be_summarised_is_refused(call, text):
    with pytest.raises(InputError) as caught:
        call()
    assert text in str(caught.value)


def test_squares_that_break_the_inequality_of_the_cross_product_are_refused():
    layer = layer_of([(1, 5), (2, 3)])
    wrong = LayerCounts("synapse", "Linear", layer.table, squares=(layer.squares[0], layer.squares[1], 1000))
    with pytest.raises(InputError, match=r"E836 .*squares \(5, 34, 1000\) of 2 samples"):
        summarise_operations(wrong, 2)
