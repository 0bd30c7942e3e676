from __future__ import annotations

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.affect.intervals import bootstrap, by_group, spread
from neuroemo.affect.metrics import measure


def some(subjects=6, frames=9, seed=0):
    rng = np.random.default_rng(seed)
    names = np.repeat([f"s{number}" for number in range(subjects)], frames)
    truth = rng.uniform(-1, 1, (len(names), 2))
    return truth, 0.6 * truth + rng.normal(size=truth.shape) * 0.3, names


def test_draws_are_those_of_whole_subjects_scored_frame_by_frame():
    truth, said, names = some()
    told = bootstrap(truth, said, names, constant=(0.1, -0.1), resamples=200, seed=4)
    drawn = np.random.default_rng(4).multinomial(6, np.full(6, 1 / 6), size=200)
    every = [np.flatnonzero(names == f"s{number}") for number in range(6)]
    for column, output in enumerate(("valence", "arousal")):
        values = []
        for counts in drawn:
            frames = np.concatenate([np.tile(every[number], times) for number, times in enumerate(counts) if times])
            score = measure(truth[frames, column], said[frames, column])
            plain = measure(truth[frames, column], np.full(len(frames), (0.1, -0.1)[column]))
            score["rmse_gain"] = plain["rmse"] - score["rmse"]
            values.append(score)
        for metric in ("rmse", "pcc", "sagr", "ccc", "rmse_gain"):
            wanted = np.percentile([value[metric] for value in values], [2.5, 97.5])
            assert told[output][metric] == pytest.approx(wanted.tolist(), abs=1e-9)
        assert told[output]["undefined"]["pcc"] == 0


def test_subjects_of_equal_scores_have_an_interval_of_no_width():
    truth = np.tile(np.array([[0.5, -0.5], [-0.5, 0.5]]), (5, 1))
    told = bootstrap(truth, truth * 0.5, np.repeat(list("abcde"), 2))
    assert told["valence"]["rmse"] == pytest.approx([0.25, 0.25])
    assert told["valence"]["pcc"] == pytest.approx([1.0, 1.0])


def test_one_subject_gives_no_interval():
    truth, said, _ = some()
    told = bootstrap(truth, said, ["one"] * len(truth))
    assert told["valence"]["rmse"] is None
    assert told["valence"]["subjects"] == 1


def test_a_seed_repeats_the_interval_and_another_does_not():
    truth, said, names = some()
    assert bootstrap(truth, said, names, seed=1) == bootstrap(truth, said, names, seed=1)
    assert bootstrap(truth, said, names, seed=1) != bootstrap(truth, said, names, seed=2)


def test_a_subject_without_labels_of_an_output_is_no_subject_of_it():
    truth, said, names = some()
    truth[names == "s2", 0] = np.nan
    told = bootstrap(truth, said, names, resamples=50)
    assert (told["valence"]["subjects"], told["arousal"]["subjects"]) == (5, 6)
    assert told["valence"]["undefined"]["rmse"] == 0


def test_a_constant_answer_has_no_correlation_in_any_draw():
    truth, _, names = some()
    told = bootstrap(truth, np.full_like(truth, 0.1), names, resamples=20)
    assert told["valence"]["pcc"] is None
    assert told["valence"]["undefined"]["pcc"] == 20
    assert told["valence"]["ccc"] == [0.0, 0.0]


def test_frames_without_a_subject():
    truth, said, names = some()
    with pytest.raises(InputError, match="E952 bootstrap: 53 subjects for 54 frames"):
        bootstrap(truth, said, names[1:])
    with pytest.raises(InputError, match="0 resamples"):
        bootstrap(truth, said, names, resamples=0)


def test_groups_are_scored_alone_and_their_mean_is_over_groups():
    truth, said, names = some(subjects=3)
    said[names == "s1"] = 0.25  # a constant
    told = by_group(truth, said, names)["arousal"]
    for name in ("s0", "s1", "s2"):
        alone = measure(truth[names == name, 1], said[names == name, 1])
        for metric in ("rmse", "sagr"):
            assert told[name][metric] == pytest.approx(alone[metric])
    assert told["s1"]["pcc"] is None
    summary = spread(told)
    assert summary["pcc"]["defined"] == 2
    assert summary["rmse"]["mean"] == pytest.approx(np.mean([told[name]["rmse"] for name in told]))
    assert summary["rmse"]["sd"] == pytest.approx(np.std([told[name]["rmse"] for name in told], ddof=1))
