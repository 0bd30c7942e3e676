"""The arithmetic models: prices after Horowitz (ISSCC 2014, Fig. 1.1.9), counts and energies worked out by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_counts import (
    HARD_RESET,
    network,
    neurons,
    random_ann,
    random_snn,
    synapse,
    table,
    tiny_ann,
    tiny_snn,
    unplaced,
)

from hw_targets.finding import InputError
from neuroemo.profiling import energy
from neuroemo.profiling.counting.counts import LayerCounts, merge_counts
from neuroemo.profiling.counting.policy import NeuronRule
from neuroemo.profiling.energy import (
    ARITHMETIC,
    MODELS,
    WITH_NEURONS,
    energy_summary,
    price_zero_skipping,
    sample_energies,
)
from neuroemo.profiling.prices import load_prices

PRICES = load_prices("cmos45")
ADD = {"fp32": 0.9, "fp16": 0.4, "int32": 0.1, "int8": 0.03}
MULT = {"fp32": 3.7, "fp16": 1.1, "int32": 3.1, "int8": 0.2}


def with_batch_norm(counts, macs):
    """Add an element layer: [T, S] multiply-accumulates."""
    element = LayerCounts(
        "element", "BatchNorm1d", table(0, macs), squares=(0, int((np.sum(macs, axis=0) ** 2).sum()), 0)
    )
    return network({**counts.layers, "bn": element})


@pytest.mark.parametrize("precision", ADD)
def test_synaptic_operations_by_hand(precision):
    priced = ARITHMETIC.price(tiny_snn(), PRICES, precision, "snn")
    # 30 accumulates of E_add and 10 multiply-accumulates of E_add + E_mult; nothing for the neurons.
    add, mac = ADD[precision], ADD[precision] + MULT[precision]
    assert priced.layers == {
        "fc": {"accumulates": pytest.approx(30 * add), "multiply-accumulates": pytest.approx(10 * mac)}
    }
    assert priced.total_pj == pytest.approx(30 * add + 10 * mac, rel=1e-12)
    assert priced.constants == (f"arithmetic.{precision}.add", f"arithmetic.{precision}.mult")
    assert (priced.model, priced.prices, priced.precision, priced.side) == ("arithmetic", "cmos45", precision, "snn")
    assert (priced.samples, priced.steps, priced.partial) == (1, 3, ())


def test_an_ann_is_charged_one_dense_pass():
    priced = ARITHMETIC.price(tiny_ann(), PRICES, "fp32", "ann")
    assert priced.layers == {"fc": {"multiply-accumulates": pytest.approx(60 * 4.6)}}
    assert any("dense pass" in sentence for sentence in priced.assumptions)
    # 40 of its 60 synapses see a value that is not zero: an accelerator that skips zeros charges those, as MAC.
    assert price_zero_skipping(tiny_ann(), PRICES, "fp32").total_pj == pytest.approx(40 * 4.6)


def test_neurons_by_hand():
    priced = WITH_NEURONS.price(tiny_snn(), PRICES, "fp32", "snn")
    # LIF: 30 updates of 1 MAC + 1 AC, 3 spikes of 1 AC to reset.
    assert priced.layers["fc.neurons"] == {
        "neuron updates": pytest.approx(30 * (4.6 + 0.9)),
        "resets": pytest.approx(3 * 0.9),
    }
    assert priced.total_pj == pytest.approx(73 + 165 + 2.7)
    double = WITH_NEURONS.price(tiny_snn(NeuronRule("two states", macs=2, acs=1, reset_acs=2)), PRICES, "fp32", "snn")
    assert double.layers["fc.neurons"]["neuron updates"] == pytest.approx(30 * (9.2 + 0.9))
    assert double.layers["fc.neurons"]["resets"] == pytest.approx(3 * 1.8)
    hard = WITH_NEURONS.price(tiny_snn(HARD_RESET), PRICES, "fp32", "snn")
    assert hard.layers["fc.neurons"] == {"neuron updates": pytest.approx(30 * 0.9)}


def test_neurons_of_a_dense_pass_are_activations():
    priced = WITH_NEURONS.price(tiny_snn(), PRICES, "fp32", "ann")
    assert priced.layers == {"fc": {"multiply-accumulates": pytest.approx(60 * 4.6)}}


def test_element_layers_are_charged_to_both_sides_by_the_larger_model_alone():
    counts = with_batch_norm(tiny_snn(), [[10], [10], [10]])
    for side in ("snn", "ann"):
        assert WITH_NEURONS.price(counts, PRICES, "fp32", side).layers["bn"] == {
            "element operations": pytest.approx(30 * 4.6)
        }
        assert "bn" not in ARITHMETIC.price(counts, PRICES, "fp32", side).layers
    assert list(WITH_NEURONS.price(counts, PRICES, "fp32", "snn").layers) == list(counts.layers)


def test_neurons_without_a_rule_make_a_lower_bound():
    counts = tiny_snn(rule=None)
    assert WITH_NEURONS.price(counts, PRICES, "fp32", "snn").partial == ("fc.neurons",)
    assert WITH_NEURONS.price(counts, PRICES, "fp32", "ann").partial == ()
    assert ARITHMETIC.price(counts, PRICES, "fp32", "snn").partial == ()
    both = replace(counts, partial={"attention": "no rule"})
    assert WITH_NEURONS.price(both, PRICES, "fp32", "snn").partial == ("attention", "fc.neurons")


def test_energy_is_per_sample():
    once = tiny_snn()
    twice = merge_counts([once, once])
    for model in (ARITHMETIC, WITH_NEURONS):
        one, two = (model.price(counts, PRICES, "fp32", "snn") for counts in (once, twice))
        assert two.total_pj == pytest.approx(one.total_pj, rel=1e-14)
        assert two.samples == 2


def test_a_result_is_json():
    plain = WITH_NEURONS.price(tiny_snn(), PRICES, "int8", "snn").to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_models_by_name():
    assert list(MODELS) == ["arithmetic", "arithmetic+neurons", "lemaire", "yan", "davidson"]
    assert all(name == model.id and model.scope and model.citation for name, model in MODELS.items())


def test_a_precision_that_is_not_there_is_refused():
    for model in (ARITHMETIC, WITH_NEURONS):
        with pytest.raises(InputError, match=r"E810 fp64.*one of fp32, fp16, int32, int8"):
            model.price(tiny_snn(), PRICES, "fp64", "snn")
    with pytest.raises(InputError, match=r"E810 int16"):  # an add alone prices no multiply-accumulate
        price_zero_skipping(tiny_ann(), PRICES, "int16")


# --- sample by sample ------------------------------------------------------------------------------------------------

LISTS = {"lemaire": ("cmos45", "int8"), "yan": ("cmos22", "int8"), "davidson": ("davidson_furber", "int8")}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("side", ["snn", "ann"])
def test_the_mean_of_the_samples_is_the_energy_of_all(name, side):
    target, precision = LISTS.get(name, ("cmos45", "fp32"))
    counts = random_snn(3) if side == "snn" else random_ann(3)
    values = sample_energies(counts, MODELS[name], load_prices(target), precision, side)
    whole = MODELS[name].price(counts, load_prices(target), precision, side).total_pj
    assert values.shape == (7,)
    assert values.mean() == pytest.approx(whole, rel=1e-12)
    assert side == "ann" or values.std() > 0


def test_the_energy_of_each_sample_by_its_own_table():
    counts = random_snn(5)
    events = sum(layer.table for layer in counts.layers.values()).sum(axis=0)  # [S, (AC, MAC, in, out)]
    assert sample_energies(counts, ARITHMETIC, PRICES, "fp32", "snn") == pytest.approx(
        events @ [0.9, 4.6, 0, 0], rel=1e-12
    )
    updates = sum(layer.neuron_updates for layer in counts.layers.values()) / counts.samples
    assert sample_energies(counts, WITH_NEURONS, PRICES, "fp32", "snn") == pytest.approx(
        events @ [0.9, 4.6, 0, 0.9] + updates * 5.5, rel=1e-12
    )


def test_large_tables_are_cut_as_they_are_needed(monkeypatch):
    kept = sample_energies(random_snn(8), WITH_NEURONS, PRICES, "fp32", "snn")
    monkeypatch.setattr(energy, "_KEPT_BYTES", 0)
    monkeypatch.setattr(energy, "_kept_samples", None)
    assert np.array_equal(sample_energies(random_snn(8), WITH_NEURONS, PRICES, "fp32", "snn"), kept)


@pytest.mark.parametrize("model", [ARITHMETIC, WITH_NEURONS], ids=lambda model: model.id)
@pytest.mark.parametrize("side", ["snn", "ann"])
def test_summed_samples_have_the_same_spread_in_closed_form(model, side):
    counts = random_snn(11, rule=HARD_RESET) if side == "snn" else random_ann(11)
    counts = with_batch_norm(counts, np.full((counts.steps, counts.samples), 50))
    kept = energy_summary(counts, model, PRICES, "fp32", side)
    summed = energy_summary(merge_counts([counts], keep_samples=False), model, PRICES, "fp32", side)
    assert summed.samples == kept.samples == 7
    for name in ("mean", "deviation", "low", "high"):
        assert getattr(summed, name) == pytest.approx(getattr(kept, name), rel=1e-12)
    assert (kept.deviation == 0) == (side == "ann")


def test_what_has_no_closed_form_has_no_spread():
    def summed(counts):
        return merge_counts([counts], keep_samples=False)

    assert sample_energies(summed(random_snn(1)), ARITHMETIC, PRICES, "fp32", "snn") is None
    # Resets follow the spikes sent, whose squares are not kept; a varying element layer would be in the squares.
    assert energy_summary(summed(random_snn(1)), WITH_NEURONS, PRICES, "fp32", "snn") is None
    assert energy_summary(summed(random_snn(1)), ARITHMETIC, PRICES, "fp32", "snn") is not None
    varying = with_batch_norm(random_snn(1), np.arange(35).reshape(5, 7))
    assert energy_summary(summed(varying), ARITHMETIC, PRICES, "fp32", "snn") is None
    assert energy_summary(summed(random_snn(1)), MODELS["lemaire"], PRICES, "int8", "snn") is None
    alone = energy_summary(summed(tiny_snn()), ARITHMETIC, PRICES, "fp32", "snn")
    assert (alone.samples, alone.deviation, alone.interval) == (1, None, None)


def test_samples_that_were_not_told_apart_have_no_spread():
    counts = unplaced(random_snn(1), "fc0")
    assert sample_energies(counts, ARITHMETIC, PRICES, "fp32", "snn") is None
    assert energy_summary(counts, ARITHMETIC, PRICES, "fp32", "snn") is None
    harmless = replace(random_snn(1), notes={"fc0": "runs on the host, in float"})
    assert sample_energies(harmless, ARITHMETIC, PRICES, "fp32", "snn") is not None


def test_a_network_that_never_fires_costs_its_updates_alone():
    silent = network({"fc": synapse(table(np.zeros((3, 2))), 20), "n": neurons(np.zeros((3, 2), int), 10, HARD_RESET)})
    assert ARITHMETIC.price(silent, PRICES, "fp32", "snn").total_pj == 0
    assert WITH_NEURONS.price(silent, PRICES, "fp32", "snn").total_pj == pytest.approx(3 * 10 * 0.9)
