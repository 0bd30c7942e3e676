"""Scores of answers against scikit-learn, against counts by hand, and against loops that spell the definitions out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from neuroemo.training import early_decision as early
from neuroemo.training import scores
from neuroemo.training.metrics import Score, running_rates, step_curve, vote_counts, wilson_interval

CLASSES = ("a", "b", "c")


def answers(seed: int, clips: int, classes: int = 3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, clips), rng.integers(0, classes, clips)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_scores_are_those_of_scikit_learn(seed, clips):
    labels, predicted = answers(seed, clips)
    confusion = scores.confusion_matrix(labels, predicted, 3)
    np.testing.assert_array_equal(confusion, judge.confusion_matrix(labels, predicted, labels=[0, 1, 2]))
    found = scores.class_scores(confusion, CLASSES)
    per_class = judge.precision_recall_fscore_support(labels, predicted, labels=[0, 1, 2], zero_division=np.nan)
    for column, name in enumerate(("precision", "recall", "f1")):
        own = [np.nan if getattr(one, name) is None else getattr(one, name) for one in found]
        np.testing.assert_allclose(own, per_class[column], equal_nan=True)
    assert scores.macro_f1(found) == pytest.approx(judge.f1_score(labels, predicted, average="macro"))
    assert scores.balanced_accuracy(found) == pytest.approx(judge.balanced_accuracy_score(labels, predicted))


def test_f1_by_hand():
    # 3 of 4 "a" found, 2 "b" called "a": TP 3, FP 2, FN 1, so F1 = 6 / 9; "b": TP 1, FP 1, FN 2, so F1 = 2 / 5.
    found = scores.class_scores(np.array([[3, 1], [2, 1]]), ("a", "b"))
    assert [one.f1 for one in found] == [6 / 9, 2 / 5]
    assert [one.precision for one in found] == [3 / 5, 1 / 2]
    assert [one.recall for one in found] == [3 / 4, 1 / 3]
    assert scores.macro_f1(found) == pytest.approx((6 / 9 + 2 / 5) / 2)


def test_a_class_without_clips_or_answers_has_no_f1_and_one_that_is_answered_has_zero():
    found = scores.class_scores(np.array([[2, 1, 0], [0, 0, 0], [0, 0, 0]]), CLASSES)
    assert [(one.precision, one.recall, one.f1) for one in found] == [
        (1.0, 2 / 3, 0.8),
        (0.0, None, 0.0),
        (None, None, None),
    ]
    assert scores.macro_f1(found) == 0.4
    assert scores.balanced_accuracy(found) == 2 / 3


def test_subjects_each_count_once_and_the_worst_is_named():
    found = scores.subject_scores(("x", "y", "x", "", "z", "y"), np.array([1, 0, 1, 0, 1, 1], dtype=bool))
    assert found == {"": Score(0, 1), "x": Score(2, 2), "y": Score(1, 2), "z": Score(1, 1)}
    spread = scores.subject_spread(found)
    assert (spread.subjects, spread.lowest, spread.highest, spread.worst) == (3, 0.5, 1.0, "y")
    assert spread.mean == pytest.approx(2.5 / 3)
    assert spread.standard_deviation == pytest.approx(np.std([1, 0.5, 1], ddof=1))


def test_of_equally_bad_subjects_the_one_with_most_clips_is_worst():
    found = scores.subject_scores(("x", "y", "y"), np.array([False, False, False]))
    assert scores.subject_spread(found).worst == "y"
    assert scores.subject_spread(scores.subject_scores(("x",), np.array([True]))).standard_deviation is None
    assert scores.subject_spread(scores.subject_scores(("",), np.array([True]))) is None


@pytest.mark.parametrize(
    ("right", "clips", "low", "high"),
    # Brown, Cai, DasGupta (2001) and Newcombe (1998, table I) print these.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_as_published(right, clips, low, high):
    found = wilson_interval(right, clips)
    assert [round(bound, 4) for bound in found] == [low, high]
    assert 0.0 <= found[0] <= found[1] <= 1.0


def test_equal_numbers_of_spikes_are_equal_rates_although_tenths_are_not():
    # 0.1 + 0.2 and 0.3 + 0.0: three spikes each, but the sums of the shares differ in float64 and in float32.
    votes = np.array([[[0.3, 0.1]], [[0.0, 0.2]]], dtype=np.float32)[:, :, ::-1]
    assert votes.astype(np.float64).sum(axis=0)[0, 0] != votes.astype(np.float64).sum(axis=0)[0, 1]
    rates = running_rates(votes, 10)[-1, 0]
    assert rates[0] == rates[1] == 0.15
    assert step_curve(votes, np.array([0]), 10).accuracy[-1] == 1.0


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 80))
def test_whole_spikes_are_found_in_shares(seed, voting, steps):
    counts = np.random.default_rng(seed).integers(0, voting + 1, (steps, 3, 2))
    shares = (counts / voting).astype(np.float32)
    np.testing.assert_array_equal(vote_counts(shares, voting), counts)
    expected = [
        [[counts[: t + 1, n, c].sum() / ((t + 1) * voting) for c in range(2)] for n in range(3)] for t in range(steps)
    ]
    np.testing.assert_allclose(running_rates(shares, voting), expected, rtol=1e-15)


def decided_by_hand(counts: np.ndarray) -> tuple[list[int], int]:
    """The answer at each step of one clip, and the first step from which it stays, spelt out."""
    given_answers = []
    totals = [0] * counts.shape[1]
    for step in counts.tolist():
        totals = [total + new for total, new in zip(totals, step, strict=True)]
        given_answers.append(totals.index(max(totals)) if any(totals) else -1)
    for step in range(len(given_answers)):
        if all(answer == given_answers[-1] for answer in given_answers[step:]):
            return given_answers, step + 1 if given_answers[-1] >= 0 else 0
    raise AssertionError("the last step is stable")


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 4), st.sampled_from([0.05, 0.5]))
def test_decisions_and_exits_follow_their_definitions(seed, steps, classes, share):
    rng = np.random.default_rng(seed)
    counts = rng.binomial(3, share, (steps, 9, classes))
    labels = rng.integers(0, classes, 9)
    by_hand = [decided_by_hand(counts[:, clip]) for clip in range(9)]
    found = early.running_answers(counts)
    assert found.T.tolist() == [answer for answer, _ in by_hand]
    decided = early.decision_steps(found)
    assert decided.tolist() == [step for _, step in by_hand]
    distribution = early.decision_distribution(decided, steps)
    assert distribution.silent == sum(step == 0 for _, step in by_hand)
    assert distribution.clips + distribution.silent == 9
    for step in range(steps):
        assert distribution.share[step] == sum(0 < one <= step + 1 for _, one in by_hand) / 9
    exits = early.margin_exits(counts, labels)
    assert exits[-1].mean_steps == steps
    for one in exits:
        right, taken = 0, 0
        for clip in range(9):
            for step in range(steps):
                totals = counts[: step + 1, clip].sum(axis=0).tolist()
                best, *others = sorted(totals, reverse=True)
                if best - (others[0] if others else 0) > one.margin or step == steps - 1:
                    right += totals.index(max(totals)) == labels[clip]
                    taken += step + 1
                    break
        assert (one.score.correct, one.mean_steps) == (right, pytest.approx(taken / 9))


def test_many_margins_are_thinned_out_evenly():
    counts = np.zeros((5, 2, 2), dtype=np.int64)
    counts[:, 0, 0] = 40
    exits = early.margin_exits(counts, np.array([0, 0]))
    margins = [one.margin for one in exits]
    assert len(margins) == early.MARGINS
    assert (margins[0], margins[-1]) == (0, 200)
    assert set(np.diff(margins)) <= {6, 7}
    assert exits[0].stopped == 1
    assert exits[0].mean_steps == (1 + 5) / 2
