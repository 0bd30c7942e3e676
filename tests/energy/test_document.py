"""The report: numbers by hand from counts and prices, every combination there or refused by name, nothing infinite."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hw_targets.finding import InputError, UnsupportedError
from neuroemo.energy.document import build_document
from neuroemo.energy.measure import measure
from neuroemo.energy.run import EnergySettings, energy_document
from neuroemo.energy.scenarios import chosen_lists, chosen_models
from neuroemo.energy.schema import checked_energy_report
from neuroemo.energy.sources import open_source
from neuroemo.profiling.prices import load_prices
from tests.energy.conftest import own_list

TARGETS = ("cmos45", "loihi1", "loihi2", "arm_cortex_a")


@pytest.fixture(scope="module")
def opened(made):
    source = open_source(str(made.net), made.clips)
    return source, measure(source)


@pytest.fixture(scope="module")
def document(opened):
    source, measured = opened
    return build_document(source, measured, chosen_lists(TARGETS, ()), chosen_models("all"), command="neuroemo energy")


def scenario(document, name):
    return next(entry for entry in document["scenarios"] if entry["id"] == name)


def test_a_report_passes_its_own_check_and_is_finite(document):
    assert checked_energy_report(json.loads(json.dumps(document, allow_nan=False)))["kind"] == "energy"


@pytest.mark.parametrize(("precision", "ac", "mac"), [("fp32", 0.9, 4.6), ("int8", 0.03, 0.23)])  # Horowitz 2014
def test_arithmetic_is_counts_times_prices(document, opened, precision, ac, mac):
    counts, ann = opened[1].priced, opened[1].ann
    told = scenario(document, f"arithmetic/cmos45/{precision}")
    clips = counts.samples
    table = sum(layer.table for layer in counts.layers.values())  # [T, S, 4]
    each = table[..., 0].sum(0) * ac + table[..., 1].sum(0) * mac
    dense = ann.total.dense_macs / clips * mac
    assert told["snn"]["total_pj"] == pytest.approx(each.mean())
    assert told["ann"]["total_pj"] == pytest.approx(dense)
    assert told["ratio"] == pytest.approx(dense / each.mean())
    half = 2.776445105 * each.std(ddof=1) / math.sqrt(clips)  # Student's t, 4 degrees of freedom, 95 %
    assert (told["snn"]["low_pj"], told["snn"]["high_pj"]) == pytest.approx((each.mean() - half, each.mean() + half))
    assert (told["ratio_low"], told["ratio_high"]) == pytest.approx(
        (dense / (each.mean() + half), dense / (each.mean() - half))
    )
    steps = (table[..., 0].sum(1) * ac + table[..., 1].sum(1) * mac).cumsum() / clips
    assert told["curve"]["snn_pj"] == pytest.approx(steps.tolist())
    assert told["verdict"] == ("snn" if dense > each.mean() else "ann")
    assert told["mac_per_ac"] == pytest.approx(mac / ac)


def test_layers_say_what_was_counted(document, opened):
    counts = opened[1].priced
    network = document["networks"]["deployed"]
    assert [layer["name"] for layer in network["layers"]] == list(counts.layers)
    for told, layer in zip(network["layers"], counts.layers.values(), strict=True):
        each = layer.table.sum(axis=0)  # [S, 4]
        assert [told[key] for key in ("acs", "macs", "spikes_in", "spikes_out")] == each.sum(axis=0).tolist()
        assert told["per_step"]["acs"] == layer.table[..., 0].sum(axis=1).tolist()
        half = 2.776445105 * each[:, 0].std(ddof=1) / math.sqrt(len(each))
        assert told["mean"]["acs"] == pytest.approx(each[:, 0].mean())
        assert told["low"]["acs"] == pytest.approx(each[:, 0].mean() - half)
        assert told["high"]["acs"] == pytest.approx(each[:, 0].mean() + half)
    conv = network["layers"][0]
    assert conv["input_shape"] == [2, 32, 32]
    assert conv["density"] == pytest.approx(conv["spikes_in"] / (5 * 8 * 2 * 32 * 32))
    assert conv["events_per_synapse"] == pytest.approx((conv["acs"] + conv["macs"]) / 5 / conv["synapses"])
    total = network["total"]
    assert total["acs"] == sum(layer["acs"] for layer in network["layers"])
    assert total["weights"] == sum(layer["weights"] for layer in network["layers"]) > 0


def test_the_ann_is_charged_dense_whatever_its_weights(document, opened):
    ann = document["networks"]["ann"]
    for told, layer in zip(ann["layers"], opened[1].ann.layers.values(), strict=True):
        assert (told["acs"], told["macs"]) == (0, layer.dense_macs)
        assert told["density"] == 1.0
        assert told["events_per_synapse"] == 1.0
        assert told["low"] == told["mean"] == told["high"]
    assert 0 < opened[1].ann.total.macs < opened[1].ann.total.dense_macs, "it has zeros, and is charged for them"


def test_every_combination_is_there_or_refused_by_name(document):
    ids = [entry["id"] for entry in document["scenarios"]]
    assert ids[0] == document["default_scenario"] == "arithmetic/cmos45/fp32"
    for model in ("arithmetic", "arithmetic+neurons"):
        for precision in load_prices("cmos45").precisions:
            assert f"{model}/cmos45/{precision}" in ids
    assert {"lemaire", "yan", "davidson"} <= {entry["model"] for entry in document["scenarios"]}
    assert "per-event/loihi1/native" in ids
    refused = {finding["node"]: finding for finding in document["findings"]}
    assert refused["per-event/loihi2"]["code"] == "W881"
    assert "Intel has given no figure" in refused["per-event/loihi2"]["found"]
    assert set(document["price_lists"]) == {entry["prices"] for entry in document["scenarios"]}
    assert set(document["models"]) == {entry["model"] for entry in document["scenarios"]}


def test_a_chip_has_no_verdict_and_says_why(document, opened):
    told = scenario(document, "per-event/loihi1/native")
    counts = opened[1].priced
    operations = (counts.total.acs + counts.total.macs) / counts.samples * 23.6
    updates = counts.total.neuron_updates / counts.samples * 52.0  # inactive: the lower of the two published prices
    assert told["snn"]["total_pj"] == pytest.approx(operations + updates)
    assert (told["ann"], told["ratio"], told["verdict"]) == (None, None, "none")
    assert "same grade" in told["reason"]
    assert told["curve"]["snn_pj"][-1] == pytest.approx(told["snn"]["total_pj"])


def test_a_dense_processor_gains_nothing_from_spikes(document, opened):
    told = scenario(document, "per-event/arm_cortex_a/native")
    assert told["ann"]["total_pj"] == pytest.approx(opened[1].ann.total.dense_macs / 5 * 900.0)
    assert told["snn"]["total_pj"] == pytest.approx(opened[1].priced.total.dense_macs / 5 * 900.0)
    assert told["verdict"] == "ann"


def test_other_choices_are_priced_beside_the_constants(document, opened):
    """Steps, the baseline and the way of counting decide as much as any price: each by hand."""
    told = scenario(document, "arithmetic/cmos45/fp32")
    rows = {(row["choice"], row["changed_to"]): row for row in told["choices"]}
    measured = opened[1]
    clips, ann = measured.priced.samples, told["ann"]["total_pj"]
    # An ANN would not fold its pools into larger kernels: its layers are those that were trained.
    dense = measured.trained.total.dense_macs / clips * 4.6
    assert measured.trained.total.dense_macs < measured.priced.total.dense_macs
    assert rows["ANN baseline", "one dense pass per frame"]["ratio"] == pytest.approx(dense / told["snn"]["total_pj"])
    trained = measured.trained.total
    (recounted,) = (row for key, row in rows.items() if key[0] == "counting policy")
    assert recounted["ratio"] == pytest.approx(ann * clips / (0.9 * trained.acs + 4.6 * trained.macs))
    half = told["curve"]["snn_pj"][measured.priced.steps // 2 - 1]
    assert rows["time steps", str(measured.priced.steps // 2)]["ratio"] == pytest.approx(ann / half)
    assert all(row["verdict"] == ("snn" if row["ratio"] > 1 else "ann") for row in rows.values())
    # The twin is untrained and charged a dense pass: which of its inputs are 0 is not known.
    assert ("ANN baseline", "zero inputs skipped") not in rows


def test_every_constant_has_its_provenance(document):
    for entry in document["scenarios"]:
        for side in ("snn", "ann"):
            if entry[side] is not None:
                assert entry[side]["constants"]
                assert set(entry[side]["constants"]) <= set(document["constants"])
        assert {row["constant"] for row in entry["sensitivity"]} <= set(document["constants"])
    for name, row in document["constants"].items():
        assert name.endswith(":" + row["name"])
        assert row["source"]
        assert row["grade_text"]
        assert row["year"] > 1990


def test_decision_is_energy_and_accuracy_along_the_steps(document, opened):
    source, measured = opened
    right = measured.answers == source.labels
    for row, correct in zip(document["decision"]["steps"], right, strict=True):
        assert row["accuracy"] == pytest.approx(correct.mean())
    default = scenario(document, document["default_scenario"])
    assert [row["energy_pj"] for row in document["decision"]["steps"]] == pytest.approx(default["curve"]["snn_pj"])
    assert document["decision"]["scenario"] == document["default_scenario"]
    assert document["source"]["accuracy"]["correct"] == int(right[-1].sum())


def test_one_clip_has_no_interval_and_unlabelled_clips_no_accuracy(made):
    document = energy_document(str(made.net), EnergySettings(data=made.unlabelled, limit=1))
    assert (document["decision"], document["source"]["accuracy"]) == (None, None)
    for layer in document["networks"]["deployed"]["layers"]:
        assert (layer["low"], layer["high"]) == (None, None)
    for entry in document["scenarios"]:
        assert (entry["snn"]["low_pj"], entry["ratio_low"], entry["ratio_high"]) == (None, None, None)
    assert checked_energy_report(document)["source"]["clips"] == 1


def test_silence_costs_nothing_and_divides_by_nothing(made, tmp_path):
    np.save(tmp_path / "dark.npy", np.zeros((3, 8, 2, 32, 32), np.float32))
    document = energy_document(str(made.net), EnergySettings(data=tmp_path / "dark.npy", targets=TARGETS))
    json.dumps(document, allow_nan=False)
    assert document["networks"]["deployed"]["layers"][0]["acs"] == 0
    assert checked_energy_report(document)["source"]["clips"] == 3


def test_every_form_gives_a_whole_report(made, strangers):
    from neuroemo.deployment.model import ModelOptions

    options = ModelOptions(input_shape=(2, 8, 8), steps=6)
    for model, data, said, form, title in (
        (str(made.bundle), made.clips, ModelOptions(), "bundle", "on the chip"),
        (str(strangers.net), strangers.clips, ModelOptions(), "netx", "on the chip"),
        ("tests.stranger:good", strangers.clips, options, "module", "as it runs"),
        (str(strangers.bundle / "model.nir"), strangers.clips, ModelOptions(steps=6), "nir", "on its graph"),
    ):
        if form == "nir":
            pytest.importorskip("nir")
        document = checked_energy_report(energy_document(model, EnergySettings(data=data, options=said)))
        assert (document["source"]["form"], document["networks"]["deployed"]["title"]) == (form, title)
        assert document["networks"]["deployed"]["total"]["acs"] > 0
        alone = document["networks"]["ann"] is None
        assert alone == (form != "bundle")
        assert all((entry["verdict"] == "none") == alone for entry in document["scenarios"])


def test_the_same_network_as_checkpoint_bundle_and_file_costs_the_same(made):
    checkpoint, bundle = (
        energy_document(str(model), EnergySettings(data=made.clips, targets=("cmos45", "loihi1")))
        for model in (made.net, made.bundle)
    )
    assert checkpoint["networks"]["deployed"] == bundle["networks"]["deployed"]
    for one, other in zip(checkpoint["scenarios"], bundle["scenarios"], strict=True):
        # Only a checkpoint can also be counted as it was trained.
        kept = [row for row in one["choices"] if row["choice"] == "time steps"]
        assert one | {"choices": kept} == other


def test_precision_and_nodes(made):
    settings = EnergySettings(data=made.clips, precision="int8", energy_model="arithmetic", nodes=("14HP-0.80V",))
    document = energy_document(str(made.net), settings)
    assert document["default_scenario"] == "arithmetic/cmos45/int8"
    scaled = scenario(document, "arithmetic/cmos45@14HP-0.80V/int8")
    whole = scenario(document, "arithmetic/cmos45/int8")
    assert scaled["ratio"] == pytest.approx(whole["ratio"])  # scaling moves both sides alike
    assert scaled["snn"]["total_pj"] / whole["snn"]["total_pj"] == pytest.approx(0.138, abs=5e-4)
    assert {entry["model"] for entry in document["scenarios"]} == {"arithmetic"}


def refused(made, kind=InputError, **settings):
    with pytest.raises(kind) as error:
        energy_document(str(made.net), EnergySettings(data=made.clips, **settings))
    return [(finding.code, finding.node) for finding in error.value.findings], error.value


def test_choices_that_do_not_exist_are_all_named_before_anything_runs(made, monkeypatch):
    from neuroemo.energy import sources

    monkeypatch.setattr(sources, "open_source", None)
    found, error = refused(made, targets=("cmos45", "loihi7", "abacus"), energy_model="magic")
    assert found == [("E811", "loihi7"), ("E811", "abacus"), ("E883", "--energy-model")]
    assert "loihi1" in error.findings[0].limit
    assert "lemaire" in error.findings[2].limit
    assert refused(made, nodes=("14HP",))[0] == [("E883", "--nodes")]


def test_a_precision_that_nothing_has(made):
    found, error = refused(made, precision="int3")
    assert found == [("E884", "--precision")]
    assert "fp32" in error.findings[0].limit


def test_only_unpublished_prices_are_an_error_with_the_reason(made):
    found, error = refused(made, UnsupportedError, targets=("loihi2",))
    assert found == [("E884", "per-event/loihi2")]
    assert error.exit_code == 3
    assert "no figure" in error.findings[0].found
    assert energy_document(str(made.net), EnergySettings(data=made.clips, targets=("loihi2", "cmos45")))["scenarios"]


def test_a_chip_alone_may_stand_on_top(made):
    document = energy_document(str(made.net), EnergySettings(data=made.clips, targets=("loihi1",)))
    assert document["default_scenario"] == "per-event/loihi1/native"


def test_a_model_may_bring_the_prices_it_was_published_with(made):
    document = energy_document(str(made.net), EnergySettings(data=made.clips, energy_model="davidson"))
    assert {entry["prices"] for entry in document["scenarios"]} == {"davidson_furber"}
    assert document["default_scenario"].startswith("davidson/davidson_furber/")
    assert document["findings"] == []


def test_a_list_that_is_named_twice_is_taken_once_and_two_of_one_id_are_refused(made, tmp_path):
    settings = {"energy_model": "arithmetic", "nodes": ("14HP-0.8V", "14HP-0.80V")}
    document = energy_document(str(made.net), EnergySettings(data=made.clips, targets=("cmos45", "cmos45"), **settings))
    assert len(document["scenarios"]) == 2 * len(load_prices("cmos45").precisions)
    assert checked_energy_report(document)
    one, same = own_list(tmp_path / "a.toml"), own_list(tmp_path / "b.toml")
    assert [prices.target for prices in chosen_lists((one, same), ())] == ["mine"]
    other = own_list(tmp_path / "c.toml", "simulated", "simulated")
    found, error = refused(made, targets=(one, other))
    assert found == [("E883", "--targets")]
    assert "two lists with the id mine" in error.findings[0].found


def test_prices_that_do_not_mix_are_an_error_that_names_both(made, tmp_path):
    fits = own_list(tmp_path / "fits.toml")
    document = energy_document(str(made.net), EnergySettings(data=made.clips, targets=(fits,)))
    assert document["default_scenario"] == "arithmetic/mine/fp32"
    mixed = own_list(tmp_path / "mixed.toml", "simulated", "vendor")
    found, error = refused(made, targets=(mixed,))
    assert {code for code, _ in found} == {"E884"}
    assert error.exit_code == 2
    told = error.findings[0]
    assert told.node.endswith("mine/fp32")
    assert "simulated" in told.found
    assert "vendor" in told.found
    both = energy_document(str(made.net), EnergySettings(data=made.clips, targets=("cmos45", mixed)))
    assert both["default_scenario"] == "arithmetic/cmos45/fp32"
    assert "W880" in {finding["code"] for finding in both["findings"]}
