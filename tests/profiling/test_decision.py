"""Early decisions: stopping steps by hand and by brute force, energies of runs that ended there."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_counts import network, random_snn, synapse, table, unplaced

from hw_targets.finding import InputError
from neuroemo.profiling.counting.counts import merge_counts
from neuroemo.profiling.decision import SAME_ANSWERS, decision, energy_until, rule_steps, stable_steps
from neuroemo.profiling.energy import ARITHMETIC, MODELS, WITH_NEURONS
from neuroemo.profiling.prices import load_prices

PRICES = load_prices("cmos45")

# Four steps, three samples: the first settles at step 3, the second at step 1, the third at step 4.
ANSWERS = np.array([[0, 2, 1], [1, 2, 1], [0, 2, 1], [0, 2, 0]])
LABELS = np.array([0, 2, 1])


def counted():
    """Accumulates per step and sample: 10, 20, 30, 40 of the first, 1 each of the second, 100 each of the third."""
    return network({"fc": synapse(table([[10, 1, 100], [20, 1, 100], [30, 1, 100], [40, 1, 100]], 0, 1), 500)})


def test_every_figure_by_hand():
    made = decision(counted(), ANSWERS, LABELS, ARITHMETIC, PRICES, "fp32", same_answers=(1, 2, 3, 9))
    assert [(row.step, row.accuracy, row.stable) for row in made.steps] == [
        (1, 1.0, pytest.approx(1 / 3)),
        (2, pytest.approx(2 / 3), pytest.approx(1 / 3)),
        (3, 1.0, pytest.approx(2 / 3)),
        (4, pytest.approx(2 / 3), 1.0),
    ]
    assert [row.energy_pj for row in made.steps] == pytest.approx([111 * 0.3, 232 * 0.3, 363 * 0.3, 504 * 0.3])
    # Oracle: steps 3, 1 and 4; 60 + 1 + 400 accumulates; the third sample ends wrong.
    oracle = made.oracle
    assert (oracle.steps, oracle.energy_pj, oracle.accuracy) == pytest.approx((8 / 3, 461 * 0.3, 2 / 3))
    # k = 1 stops at once; k = 2 at steps 4, 2, 2; k = 3 at 4, 3, 3; k = 9 never.
    found = {rule.same_answer: (rule.steps, rule.energy_pj, rule.accuracy) for rule in made.rules}
    assert found[1] == pytest.approx((1.0, 111 * 0.3, 1.0))
    assert found[2] == pytest.approx((8 / 3, (100 + 2 + 200) * 0.3, 1.0))
    assert found[3] == pytest.approx((10 / 3, (100 + 3 + 300) * 0.3, 1.0))
    assert found[9] == pytest.approx((4.0, 504 * 0.3, 2 / 3))


def test_the_result_is_json_with_the_keys_of_the_report():
    plain = decision(counted(), ANSWERS, LABELS, ARITHMETIC, PRICES, "fp32").to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert list(plain) == ["steps", "oracle", "rules"]
    assert set(plain["steps"][0]) == {"step", "accuracy", "stable", "energy_pj"}
    assert set(plain["oracle"]) == {"steps", "energy_pj", "accuracy"}
    assert [set(rule) for rule in plain["rules"]] == [{"same_answer", "steps", "energy_pj", "accuracy"}] * len(
        SAME_ANSWERS
    )


answers = arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 6)), elements=st.integers(0, 3))


@given(answers)
@settings(deadline=None)
def test_the_stable_step_is_the_first_after_which_nothing_changes(given_answers):
    found = stable_steps(given_answers)
    for sample, column in enumerate(given_answers.T):
        wanted = next(t for t in range(1, len(column) + 1) if set(column[t - 1 :]) == {column[-1]})
        assert found[sample] == wanted


@given(answers, st.integers(1, 12))
@settings(deadline=None)
def test_a_rule_stops_at_the_first_run_of_equal_answers(given_answers, same):
    found = rule_steps(given_answers, same)
    for sample, column in enumerate(given_answers.T):
        runs = (t for t in range(same, len(column) + 1) if len(set(column[t - same : t])) == 1)
        assert found[sample] == next(runs, len(column))
    if same == 1:
        assert (found == 1).all()
    if same > len(given_answers):
        assert (found == len(given_answers)).all()
    assert (rule_steps(given_answers, same + 1) >= found).all()


@given(st.integers(0, 50), answers)
@settings(deadline=None, max_examples=30)
def test_bounds_and_order(seed, given_answers):
    steps, samples = given_answers.shape
    counts = random_snn(seed, steps=steps, samples=samples)
    labels = np.zeros(samples, int)
    made = decision(counts, given_answers, labels, WITH_NEURONS, PRICES, "fp32", same_answers=(1, 2, 3, 99))
    stable = [row.stable for row in made.steps]
    assert stable == sorted(stable)
    assert stable[-1] == 1.0
    energies = [row.energy_pj for row in made.steps]
    assert energies == sorted(energies)
    spent = [rule.energy_pj for rule in made.rules]
    assert spent == pytest.approx(sorted(spent))
    assert made.oracle.accuracy == made.steps[-1].accuracy  # an oracle gives up no answer
    assert energies[0] * (1 - 1e-12) <= made.oracle.energy_pj <= energies[-1] * (1 + 1e-12)
    assert made.rules[0].energy_pj == pytest.approx(energies[0])
    assert made.rules[-1].energy_pj == pytest.approx(energies[-1])
    assert made.rules[-1].accuracy == made.steps[-1].accuracy


LISTS = {"lemaire": ("cmos45", "int8"), "yan": ("cmos22", "int8"), "davidson": ("davidson_furber", "int8")}


@pytest.mark.parametrize("name", MODELS)
def test_energy_until_is_that_of_runs_that_ended_there(name):
    target, precision = LISTS.get(name, ("cmos45", "fp32"))
    prices, model, counts = load_prices(target), MODELS[name], random_snn(4)
    steps = np.array([1, 5, 3, 3, 2, 5, 4])
    alone = [
        model.price(counts.of_samples([sample]).first_steps(int(step)), prices, precision, "snn").total_pj
        for sample, step in enumerate(steps)
    ]
    assert energy_until(counts, steps, model, prices, precision) == pytest.approx(np.mean(alone), rel=1e-12)
    cut = model.price(counts.until(steps), prices, precision, "snn").total_pj
    assert energy_until(counts, steps, model, prices, precision) == pytest.approx(cut, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"answers": ANSWERS[:3]}, "E838 answers: shape (3, 3); limit (4, 3), as counted"),
        ({"answers": ANSWERS[:, :2]}, "E838 answers: shape (4, 2)"),
        ({"answers": np.zeros((0, 3), int)}, "E838 answers: shape (0, 3)"),
        ({"answers": ANSWERS.astype(float)}, "E838 answers: float64 values; limit class numbers, integers"),
        ({"answers": np.where(ANSWERS == 1, np.nan, ANSWERS)}, "E838 answers: float64 values"),
        ({"answers": [["a"] * 3] * 4}, "E838 answers: <U1 values"),
        ({"labels": LABELS[:2]}, "E838 labels: shape (2,); limit (3,)"),
        ({"labels": [0.0, 1.0, 2.0]}, "E838 labels: float64 values"),
        ({"same_answers": (0, 2)}, "E839 stopping rule: [0] same answers; limit whole numbers from 1"),
        ({"same_answers": (2.5,)}, "E839 stopping rule: [2.5] same answers"),
        ({"counts": merge_counts([counted()], keep_samples=False)}, "E839 samples: not told apart"),
        ({"counts": unplaced(counted(), "fc")}, "E839 samples"),
    ],
)
def test_what_does_not_fit_is_refused(change, text):
    arguments = {"counts": counted(), "answers": ANSWERS, "labels": LABELS} | change
    counts, given_answers, labels = (arguments.pop(name) for name in ("counts", "answers", "labels"))
    with pytest.raises(InputError) as caught:
        decision(counts, given_answers, labels, ARITHMETIC, PRICES, "fp32", **arguments)
    assert text in str(caught.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(InputError) as caught:
        decision(counted(), ANSWERS[:3], LABELS * 1.0, ARITHMETIC, PRICES, "fp32", same_answers=(-1,))
    assert [finding.code for finding in caught.value.findings] == ["E838", "E838", "E839"]


def test_a_single_step_and_a_single_sample():
    counts = network({"fc": synapse(table([[10]], 0, 1), 500)})
    made = decision(counts, [[1]], [1], ARITHMETIC, PRICES, "fp32", same_answers=(2,))
    assert (made.oracle.steps, made.oracle.accuracy, made.rules[0].steps) == (1.0, 1.0, 1.0)
