"""Pooled scores and their intervals against plain numpy, draw by draw."""

from __future__ import annotations

import numpy as np
import pytest

from neuroemo.reproduce import affect_statistics as statistics
from neuroemo.reproduce.affect_statistics import Pooled, draws, over_runs, paired_rmse
from tests.reproduce.affect_samples import plain_scores


def answers(seed=0, seeds=2, frames=60, people=6):
    random = np.random.default_rng(seed)
    truth = random.uniform(-1, 1, (frames, 2))
    truth[::7, 0] = 0.0
    predicted = truth + random.normal(0, 0.4, (seeds, frames, 2))
    subjects = tuple(f"s{at}" for at in np.sort(random.integers(0, people, frames)))
    return Pooled(truth, predicted, np.full((frames, 2), 0.1), subjects)


def test_scores_are_means_over_seeds_of_all_frames_together():
    pooled = answers()
    told = pooled.scores()
    for column, output in enumerate(("valence", "arousal")):
        wanted = [plain_scores(pooled.truth[:, column], one[:, column]) for one in pooled.predicted]
        for name in ("rmse", "pcc", "sagr", "ccc"):
            assert told[output][name]["value"] == pytest.approx(np.mean([one[name] for one in wanted]))
        plain = np.sqrt(((pooled.truth[:, column] - 0.1) ** 2).mean())
        assert told[output]["constant"]["rmse"] == pytest.approx(plain)
        assert told[output]["rmse_gain"]["value"] == pytest.approx(plain - told[output]["rmse"]["value"])


def test_the_interval_is_that_of_scoring_every_draw_anew():
    pooled = answers()
    names = sorted(set(pooled.subjects))
    groups, seeds = draws(len(names), 2)
    who = np.array(pooled.subjects)
    found = {name: [] for name in ("rmse", "pcc", "ccc", "sagr", "gain")}
    for people, trainings in zip(groups, seeds, strict=True):
        frames = np.concatenate(
            [np.tile(np.flatnonzero(who == name), n) for name, n in zip(names, people, strict=True)]
        )
        one = [plain_scores(pooled.truth[frames, 0], answer[frames, 0]) for answer in pooled.predicted]
        for name in ("rmse", "pcc", "ccc", "sagr"):
            found[name].append((trainings[0] * one[0][name] + trainings[1] * one[1][name]) / 2)
        plain = plain_scores(pooled.truth[frames, 0], np.full(len(frames), 0.1))["rmse"]
        found["gain"].append(plain - found["rmse"][-1])
    told = pooled.scores()["valence"]
    for name, values in found.items():
        key = "rmse_gain" if name == "gain" else name
        assert told[key]["interval_95"] == pytest.approx(np.percentile(values, (2.5, 97.5)).tolist())


def test_a_draw_takes_as_many_subjects_and_seeds_as_there_are():
    groups, seeds = draws(7, 3)
    assert set(groups.sum(axis=1)) == {7}
    assert set(seeds.sum(axis=1)) == {3}
    assert groups.std() > 0.5


def test_one_subject_gives_no_interval():
    pooled = answers(people=1)
    told = pooled.scores()["arousal"]
    assert told["subjects"] == 1
    assert [told[name]["interval_95"] for name in ("rmse", "ccc", "rmse_gain")] == [None] * 3
    assert told["rmse"]["value"] > 0
    assert paired_rmse(pooled, pooled)["arousal"] == {"value": 0.0, "interval_95": None}


def test_frames_without_a_label_are_left_out():
    pooled = answers()
    pooled.truth[:20, 1] = np.nan
    told = pooled.scores()
    assert (told["valence"]["frames"], told["arousal"]["frames"]) == (60, 40)
    wanted = [plain_scores(pooled.truth[20:, 1], one[20:, 1])["rmse"] for one in pooled.predicted]
    assert told["arousal"]["rmse"]["value"] == pytest.approx(np.mean(wanted))
    pooled.truth[:, 1] = np.nan
    told = pooled.scores()["arousal"]
    assert (told["frames"], told["rmse"]["value"], told["constant"]["rmse"]) == (0, None, None)
    assert paired_rmse(pooled, pooled) is None


def test_a_constant_network_has_no_correlation_and_says_so():
    pooled = answers()
    flat = Pooled(pooled.truth, np.full((2, 60, 2), 0.3), pooled.constant, pooled.subjects)
    told = flat.scores()["valence"]
    assert (told["pcc"]["value"], told["pcc"]["interval_95"]) == (None, None)
    assert told["ccc"]["value"] == 0


def test_differences_are_paired():
    first, second = answers(), answers()
    worse = Pooled(first.truth, first.predicted + 0.5, first.constant, first.subjects)
    told = paired_rmse(worse, second)["valence"]
    assert told["value"] > 0.1
    assert told["interval_95"][0] > 0
    same = paired_rmse(first, second)["arousal"]
    assert same == {"value": 0.0, "interval_95": [0.0, 0.0]}
    assert paired_rmse(first, answers(people=3)) is None
    assert paired_rmse(first, answers(seeds=1)) is None


def test_the_spread_over_runs_leaves_out_what_is_undefined():
    runs = [
        {output: {"rmse": rmse, "pcc": pcc, "sagr": 0.5, "ccc": 0.0} for output in ("valence", "arousal")}
        for rmse, pcc in ((0.1, None), (0.2, 0.5), (0.3, None))
    ]
    told = over_runs(runs)["valence"]
    assert told["rmse"] == {"mean": pytest.approx(0.2), "sd": pytest.approx(0.1), "runs": 3}
    assert told["pcc"] == {"mean": 0.5, "sd": None, "runs": 1}


def test_the_method_says_what_is_done():
    assert f"{statistics.DRAWS:,} times" in statistics.METHOD
