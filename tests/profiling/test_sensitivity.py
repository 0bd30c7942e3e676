"""Which constant and which choice the verdict hangs on, against hand-worked flips and brute force."""

import json
import math

import pytest
from made_counts import network, paper_ann, paper_snn, random_ann, random_snn, synapse, table, tiny_ann, tiny_snn

from hw_targets.finding import InputError
from neuroemo.profiling.energy import ARITHMETIC, MODELS, WITH_NEURONS
from neuroemo.profiling.memory import YAN, twin_model
from neuroemo.profiling.prices import load_prices
from neuroemo.profiling.sensitivity import choices, flip_factor, sensitivity
from neuroemo.profiling.twin import energy_at, step_curve

PRICES = load_prices("cmos45")


def by_name(rows):
    return {row.constant: row for row in rows}


def test_rows_by_hand():
    # E_SNN = 40 add + 10 mult = 73, E_ANN = 60 (add + mult) = 276 pJ.
    rows = by_name(sensitivity(tiny_snn(), tiny_ann(), ARITHMETIC, PRICES, "fp32"))
    assert rows.keys() == {"arithmetic.fp32.add", "arithmetic.fp32.mult"}
    add, mult = rows["arithmetic.fp32.add"], rows["arithmetic.fp32.mult"]
    assert (add.value, mult.value) == (0.9, 3.7)
    assert (add.halved, add.doubled) == pytest.approx((249 / 55, 330 / 109))
    assert (mult.halved, mult.doubled) == pytest.approx((165 / 54.5, 498 / 110))
    # 60 synapses against 40 and 10: the ANN costs more at any price.
    assert (add.flips_at, mult.flips_at) == (None, None)


def test_flips_by_hand():
    # E_SNN = 100 add + 0 mult = 90, E_ANN = 60 (add + mult) = 276: equal at add = 60 x 3.7 / 40 = 5.55.
    snn = network({"fc": synapse(table([[100]], 0, 1), 20)})
    rows = sensitivity(snn, tiny_ann(), ARITHMETIC, PRICES, "fp32")
    assert [row.constant for row in rows] == ["arithmetic.fp32.add", "arithmetic.fp32.mult"]
    assert rows[0].flips_at == pytest.approx(5.55 / 0.9, rel=1e-12)
    # and at mult = 40 x 0.9 / 60 = 0.6
    assert rows[1].flips_at == pytest.approx(0.6 / 3.7, rel=1e-12)


def test_table_2_flips_where_its_own_formula_says():
    # N = 30: E_SNN = 1572.67 uJ = 1710M add + 9.1M mult, E_ANN = 358.8M (add + mult).
    rows = by_name(sensitivity(paper_snn(30), paper_ann(), ARITHMETIC, PRICES, "fp32"))
    operations = 30 * 57.0
    assert rows["arithmetic.fp32.add"].flips_at == pytest.approx((358.8 - 9.1) * 3.7 / (operations - 358.8) / 0.9)
    assert rows["arithmetic.fp32.mult"].flips_at == pytest.approx((operations - 358.8) * 0.9 / (358.8 - 9.1) / 3.7)
    # The printed advantage of 5 % is gone if an addition costs 6.4 % more.
    assert rows["arithmetic.fp32.add"].flips_at == pytest.approx(1.0640, abs=5e-5)


LISTS = {"lemaire": ("cmos45", "int8"), "yan": ("cmos22", "int8"), "davidson": ("davidson_furber", "int8")}


@pytest.mark.parametrize("name", MODELS)
def test_every_constant_of_every_model_flips_where_it_says(name):
    target, precision = LISTS.get(name, ("cmos45", "fp32"))
    prices, model = load_prices(target), MODELS[name]
    snn, ann = random_snn(1, steps=9), random_ann(1, inputs=20)
    matched = twin_model(model, 9)

    def ratio(constant, factor):
        changed = prices.with_value(constant, prices.price(constant).value * factor)
        return (
            matched.price(ann, changed, precision, "ann").total_pj
            / matched.price(snn, changed, precision, "snn").total_pj
        )

    rows = sensitivity(snn, ann, model, prices, precision)
    used = {
        *model.price(snn, prices, precision, "snn").constants,
        *model.price(ann, prices, precision, "ann").constants,
    }
    assert {row.constant for row in rows} == used
    assert [row.closeness for row in rows] == sorted(row.closeness for row in rows)
    assert any(row.flips_at for row in rows)
    swings = [abs(math.log(row.doubled / row.halved)) for row in rows if row.flips_at is None]
    assert swings == sorted(swings, reverse=True)
    for row in rows:
        assert row.halved == pytest.approx(ratio(row.constant, 0.5), rel=1e-12)
        assert row.doubled == pytest.approx(ratio(row.constant, 2.0), rel=1e-12)
        if row.flips_at:
            assert ratio(row.constant, row.flips_at) == pytest.approx(1, rel=1e-6)
        else:
            signs = {ratio(row.constant, 10 ** (step / 10)) > 1 for step in range(-20, 21)}
            assert len(signs) == 1


def test_flip_factors_of_any_shape():
    assert flip_factor(lambda factor: (1.0, 1.0)) == 1.0
    assert flip_factor(lambda factor: (10.0, factor)) == pytest.approx(10.0)
    assert flip_factor(lambda factor: (1000.0, factor)) is None  # beyond a hundredfold
    assert flip_factor(lambda factor: (100.0, factor)) == pytest.approx(100.0)
    assert flip_factor(lambda factor: (0.005, factor)) is None
    # Not affine: f^2 = 9, (f - 1/5)(f - 3) = 0 and (f - 1/2)(f - 1.8) = 0, of which the factor nearer to 1.
    assert flip_factor(lambda factor: (9.0, factor**2)) == pytest.approx(3.0, rel=1e-9)
    assert flip_factor(lambda factor: (factor**2 + 0.6, 3.2 * factor)) == pytest.approx(3.0, rel=1e-9)
    assert flip_factor(lambda factor: (factor**2 + 0.9, 2.3 * factor)) == pytest.approx(1.8, rel=1e-9)
    assert flip_factor(lambda factor: (factor**2 + 1.0, factor)) is None


def test_rows_are_json():
    rows = [row.to_json() for row in sensitivity(tiny_snn(), tiny_ann(), WITH_NEURONS, PRICES, "fp32")]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert list(rows[0]) == ["constant", "value", "halved", "doubled", "flips_at"]


def test_a_silent_network_has_rows_without_ratios():
    silent = network({"fc": synapse(table([[0], [0]], 0, 0), 20)})
    for row in sensitivity(silent, tiny_ann(), ARITHMETIC, PRICES, "fp32"):
        assert (row.halved, row.doubled, row.flips_at, row.closeness) == (None, None, None, math.inf)


# --- choices ---------------------------------------------------------------------------------------------------------


def table_of(rows):
    return {(row.choice, row.changed_to): row for row in rows}


def test_choices_by_hand():
    rows = table_of(
        choices(tiny_snn(), tiny_ann(), ARITHMETIC, PRICES, "fp32", models=[ARITHMETIC, WITH_NEURONS],
                recounted={"sum pooling": network({"fc": synapse(table([[700]], 0, 1), 20)})})
    )  # fmt: skip
    ratios = {key: row.ratio for key, row in rows.items()}
    assert ratios == pytest.approx(
        {
            ("time steps", "1"): 276 / 46,
            ("time steps", "6"): 276 / (73 + 3 * 13.5),
            ("precision", "fp16"): 60 * 1.5 / (30 * 0.4 + 10 * 1.5),
            ("precision", "int32"): 60 * 3.2 / (30 * 0.1 + 10 * 3.2),
            ("precision", "int8"): 60 * 0.23 / (30 * 0.03 + 10 * 0.23),
            ("energy model", "arithmetic+neurons"): 276 / (73 + 165 + 2.7),
            ("counting policy", "sum pooling"): 276 / 630,
            ("ANN baseline", "one dense pass per frame"): 60 * 4.6 / 73,
            ("ANN baseline", "zero inputs skipped"): 40 * 4.6 / 73,
        }
    )
    assert {key for key, row in rows.items() if row.flips} == {("counting policy", "sum pooling")}
    assert rows["counting policy", "sum pooling"].verdict == "ann"
    assert all(row.reason is None for row in rows.values())


def test_the_ann_baseline_decides_table_2():
    # At N = 68 the SNN costs more than one pass over stacked frames, and a fifth of a pass per frame.
    rows = table_of(choices(paper_snn(68), paper_ann(), ARITHMETIC, PRICES, "fp32"))
    row = rows["ANN baseline", "one dense pass per frame"]
    assert row.flips
    assert row.ratio == pytest.approx(4.6 * 57.0 * 68 / (51.3 * 68 + 33.67), rel=1e-12)
    assert rows["time steps", "34"].flips is False
    assert table_of(choices(paper_snn(30), paper_ann(), ARITHMETIC, PRICES, "fp32"))["time steps", "60"].flips


def test_choices_that_a_model_refuses_say_why():
    rows = table_of(choices(random_snn(1), random_ann(1), ARITHMETIC, PRICES, "fp32"))
    yan = rows["energy model", "yan"]
    assert (yan.ratio, yan.verdict, yan.flips) == (None, "undecided", False)
    assert yan.reason.startswith("E830 yan: precision fp32")
    assert "\n" not in yan.reason
    assert rows["energy model", "lemaire"].ratio is not None
    assert [row.to_json()["changed_to"] for row in rows.values()]


def test_of_one_step_there_is_no_half_and_memory_models_have_no_skipping_twin():
    one = network({"fc": synapse(table([[30]], 0, 3), 20)})
    rows = table_of(choices(one, tiny_ann(), ARITHMETIC, PRICES, "fp32"))
    assert [changed for choice, changed in rows if choice == "time steps"] == ["2"]
    charged = table_of(choices(random_snn(1), random_ann(1), MODELS["lemaire"], PRICES, "int8"))
    assert ("ANN baseline", "zero inputs skipped") not in charged
    assert ("ANN baseline", "one dense pass per frame") in charged


def test_a_precision_that_is_not_there_is_refused():
    for function in (sensitivity, choices):
        with pytest.raises(InputError, match="E810 fp64"):
            function(tiny_snn(), tiny_ann(), ARITHMETIC, PRICES, "fp64")


def test_a_choice_that_leaves_nothing_to_compare_flips_nothing():
    silent = network({"fc": synapse(table([[0], [0], [0]], 0, 0), 20)})
    rows = table_of(choices(tiny_snn(), tiny_ann(), ARITHMETIC, PRICES, "fp32", recounted={"silent": silent}))
    row = rows["counting policy", "silent"]
    assert (row.ratio, row.verdict, row.flips) == (None, "undecided", False)


def test_other_steps_need_other_activation_bits_of_the_twin_of_yan():
    prices, snn, ann = load_prices("cmos22"), random_snn(1, steps=7), random_ann(1)
    row = table_of(choices(snn, ann, YAN, prices, "int8"))["time steps", "14"]
    spent = energy_at(step_curve(snn, YAN, prices, "int8"), 14)
    assert row.ratio == pytest.approx(twin_model(YAN, 14).price(ann, prices, "int8", "ann").total_pj / spent)
