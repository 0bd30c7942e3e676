"""Verdicts at their boundaries and the sentences that go with them, word by word."""

from dataclasses import replace

import numpy as np
import pytest
from made_counts import network, synapse, table, tiny_ann, tiny_snn

from neuroemo.profiling.energy import ARITHMETIC
from neuroemo.profiling.prices import load_prices
from neuroemo.profiling.twin import compare
from neuroemo.profiling.verdict import energy_text, figure, verdict_of

PRICES = load_prices("cmos45")
SCOPE = " In the figure: " + ARITHMETIC.scope + "."
START = "At FP32 and the prices of 45 nm CMOS, 0.9 V, per operation, by synaptic arithmetic, the SNN costs "


def words(snn, ann):
    return compare(snn, ann, ARITHMETIC, PRICES, "fp32").words


def pair_of(*accumulates):
    return network({"fc": synapse(table([list(accumulates)], 0, 1), 20)})


@pytest.mark.parametrize(
    ("difference", "interval", "verdict"),
    [
        (1.5, (0.0001, 3.0), "snn"),
        (1.5, (0.0, 3.0), "undecided"),
        (-0.5, (-0.9, -0.0001), "ann"),
        (-0.5, (-1.0, 0.0), "undecided"),
        (0.0, None, "undecided"),
        (0.0001, None, "snn"),
        (-0.0001, None, "ann"),
        (None, None, "undecided"),
    ],
)
def test_verdicts_at_their_boundaries(difference, interval, verdict):
    assert verdict_of(difference, interval) == verdict


def test_a_win_of_the_snn():
    assert words(tiny_snn(), tiny_ann()) == (
        START + "73.0 pJ per clip in 3 steps, 3.78 times less than its ANN twin's 276 pJ (1 clip, no interval)." + SCOPE
    )


def test_a_win_of_the_ann_has_its_interval_the_same_way_round():
    # 900 and 1000 accumulates: 810 and 900 pJ, mean 855 -+ 12.706 x 45 = 283 to 1427; over 276 pJ 1.03 to 5.17.
    sentence = words(pair_of(900, 1000), tiny_ann(2))
    assert "0.855 nJ per clip in 1 step, 3.10 times more than its ANN twin's 0.276 nJ" in sentence
    assert "(95 % interval 1.03 to 5.17 over 2 clips)." in sentence


def test_an_interval_that_includes_parity():
    # 180 and 360 pJ against 276: the interval of the SNN reaches below 0, so no ratio is bounded.
    assert "0.276 nJ: undecided at a ratio of 1.02 (2 clips, their spread leaves the ratio unbounded)." in words(
        pair_of(200, 400), tiny_ann(2)
    )
    # 252, 256.5 ... 288 pJ: 270 -+ 2.306 x 12.32 / 3 = 260.5 to 279.5.
    close = words(pair_of(*np.linspace(280, 320, 9).astype(int)), tiny_ann(9))
    assert "its ANN twin 0.276 nJ: undecided at a ratio of 1.02 (95 % interval 0.988 to 1.06 over 9 clips)." in close


def test_a_bound_is_named_and_never_wins():
    sentence = words(replace(tiny_snn(), partial={"attention": "no rule", "lstm": "no rule"}), tiny_ann())
    assert (
        "3.78 times less than its ANN twin's 276 pJ (1 clip, no interval), yet undecided; the SNN is a lower bound, "
        "not counted: attention, lstm." in sentence
    )


@pytest.mark.parametrize(
    ("picojoules", "text"),
    [
        (0.0, "0 pJ"),
        (0.05, "0.0500 pJ"),
        (99.94, "99.9 pJ"),
        (100.0, "0.100 nJ"),
        (51.3e6, "51.3 µJ"),
        (2.5e12, "2.50 J"),
    ],
)
def test_energies_in_the_unit_that_suits_them(picojoules, text):
    assert energy_text(picojoules) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.0, "1.00"), (99.96, "100"), (0.00012344, "0.000123"), (1e6, "1,000,000")]
)
def test_three_significant_digits(value, text):
    assert figure(value) == text


def test_two_energies_share_a_unit_unless_a_thousandfold_apart():
    assert "costs 90.0 pJ per clip in 1 step, 3.07 times less than its ANN twin's 276 pJ" in words(
        pair_of(100), tiny_ann()
    )
    assert "costs 0.276 µJ" not in words(pair_of(100), tiny_ann())
    large = network({"fc": synapse(table([[0]], 0, 0), 10**9)})
    assert "costs 90.0 pJ per clip in 1 step, 51,111,111 times less than its ANN twin's 4.60 mJ" in words(
        pair_of(100), large
    )


def test_an_unbounded_ratio_may_still_be_decided():
    # 0.9 and 9 pJ: the interval of the mean reaches below 0, but never up to 276 pJ.
    twin = compare(pair_of(1, 10), tiny_ann(2), ARITHMETIC, PRICES, "fp32")
    assert (twin.ratio_interval, twin.verdict) == (None, "snn")
    assert "(2 clips, their spread leaves the ratio unbounded)" in twin.words
