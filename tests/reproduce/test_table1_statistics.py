"""The bootstrap against full enumeration and closed forms, paired counts against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from neuroemo.reproduce.table1_document import verdict
from neuroemo.reproduce.table1_statistics import Bootstrap, groups_of, paired, spread


def all_means(values, groups):
    """All draws of seeds and groups with replacement, each once, which is what drawing samples from."""
    names = sorted(set(groups))
    clips = {name: [i for i, group in enumerate(groups) if group == name] for name in names}
    means = []
    for seeds in product(range(len(values)), repeat=len(values)):
        for drawn in product(names, repeat=len(names)):
            picked = [values[seed][clip] for seed in seeds for name in drawn for clip in clips[name]]
            means.append(sum(picked) / len(picked))
    return np.array(means)


@pytest.mark.parametrize(
    "groups", [("a", "b", "c", "d"), ("a", "a", "b", "c"), ("a", "b", "b", "b")], ids=["alone", "a pair", "uneven"]
)
def test_the_interval_is_that_of_all_draws(groups):
    values = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [1, 1, 1, 0]])
    means = all_means(values.tolist(), groups)
    for end, share in zip(Bootstrap(groups, 3).interval(values), (0.025, 0.975), strict=True):
        below, up_to = (means < end - 1e-9).mean(), (means < end + 1e-9).mean()
        assert below - 0.006 <= share <= up_to + 0.006  # 10,000 draws: a standard error of 0.0016


def test_many_clips_alone_give_the_normal_interval():
    right = np.array([[1] * 300 + [0] * 100])
    low, high = Bootstrap(tuple(map(str, range(400))), 1).interval(right)
    half = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert (low, high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.004)


def test_clips_of_one_person_are_not_independent():
    right = np.array([[1] * 50 + [0] * 50])
    alone = Bootstrap(tuple(map(str, range(100))), 1).interval(right)
    people = Bootstrap(tuple("abcdefghij"[i // 10] for i in range(100)), 1).interval(right)
    half = 1.96 * (0.25 / 10) ** 0.5  # ten subjects are ten observations
    assert people[1] - people[0] == pytest.approx(2 * half, abs=0.05)
    assert people[1] - people[0] > 2.5 * (alone[1] - alone[0])


def test_seeds_are_drawn_too():
    right = np.repeat([[1], [0]], 8, axis=1)  # one training that is always right, one that never is
    assert Bootstrap(tuple("abcdefgh"), 2).interval(right) == (0.0, 1.0)


def test_a_paired_difference_by_hand():
    first = np.array([[True, True, False, True], [True, False, False, True]])
    second = np.array([[True, False, True, False], [True, False, False, False]])
    told = paired(first, second, Bootstrap(tuple("abcd"), 2))
    assert (told["won"], told["lost"]) == (3, 1)
    assert told["difference"] == 0.25
    assert told["per_seed"] == [0.25, 0.25]
    assert told["sd"] == 0
    low, high = told["interval_95"]
    assert low < 0.25 < high
    same = paired(first, first, Bootstrap(tuple("abcd"), 2))
    assert (same["difference"], same["interval_95"]) == (0.0, [0.0, 0.0])


def test_the_same_draws_every_time_and_for_every_row():
    values = np.random.default_rng(1).integers(0, 2, (3, 40))
    groups = tuple(f"s{i % 7}" for i in range(40))
    assert Bootstrap(groups, 3).interval(values) == Bootstrap(groups, 3).interval(values)


def test_spread_is_the_sample_standard_deviation():
    assert spread([0.992, 0.988, 0.979]) == pytest.approx(0.00665832811)
    assert spread([0.7]) is None


def test_groups_are_subjects_only_where_all_are_known():
    assert groups_of(["x", "x", "y"], ["1", "2", "3"]) == ("x", "x", "y")
    assert groups_of(["x", "", "y"], ["1", "2", "3"]) == ("1", "2", "3")


@pytest.mark.parametrize(
    ("printed", "interval", "word"),
    [
        (3.48, [0.001, 0.2], "as in the paper"),
        (-1.99, [-0.2, -0.001], "as in the paper"),
        (3.48, [-0.2, -0.001], "not as in the paper"),
        (-0.25, [0.001, 0.2], "not as in the paper"),
        (3.48, [0.0, 0.2], "undecided"),
        (3.48, [-0.1, 0.2], "undecided"),
    ],
)
def test_verdicts(printed, interval, word):
    assert verdict(printed, interval) == word
