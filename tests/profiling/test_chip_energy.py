"""Prices per event times counts, by hand; and what is said about every figure that is not the whole bill."""

from dataclasses import replace

import numpy as np
import pytest

from hw_targets.finding import InputError, UnsupportedError
from neuroemo.profiling.chip_energy import PER_EVENT, price_events, price_range
from neuroemo.profiling.counting.counts import Geometry, LayerCounts, OpCounts
from neuroemo.profiling.prices import load_prices, parse_prices, price_targets


def synapses(acs, macs=0, dense=0, **more):
    """T = 2, S = 2: a quarter of the events in each cell."""
    table = np.zeros((2, 2, 4), dtype=np.int64)
    table[..., 0], table[..., 1] = acs // 4, macs // 4
    return LayerCounts("synapse", "Linear", table, dense_macs=dense, **more)


def neurons(updates, spikes=0):
    table = np.zeros((2, 2, 4), dtype=np.int64)
    table[..., 3] = spikes // 4
    return LayerCounts("neuron", "LIF", table, neuron_updates=updates)


def network(macs=0, **more):
    """1,000 synaptic operations and 400 updates over two samples, then 200 and 40."""
    layers = {
        "fc1": synapses(1000 - macs, macs, dense=8000),
        "lif1": neurons(400, 40),
        "fc2": synapses(200, dense=2000),
        "lif2": neurons(40),
    }
    return OpCounts(layers | more, samples=2, steps=2)


def said(priced):
    return "\n".join(priced.assumptions)


def test_loihi_by_hand():
    low, high = price_range(network(), load_prices("loihi1"))
    # (1,000 + 200) x 23.6 / 2 samples = 14,160; (400 + 40) x 52 / 2 = 11,440; x 81 / 2 = 17,820
    assert low.parts() == pytest.approx({"synaptic operations": 14_160, "neuron updates": 11_440})
    assert high.parts() == pytest.approx({"synaptic operations": 14_160, "neuron updates": 17_820})
    assert low.layers["fc1"] == pytest.approx({"synaptic operations": 11_800})
    assert low.layers["lif2"] == pytest.approx({"neuron updates": 1_040})
    assert "all active: 31980 pJ per sample in place of 25600" in said(low)
    assert "pre-silicon" in said(low)
    assert "Moving spikes between cores is not charged" in said(low)
    assert price_events(network(), load_prices("loihi1")) == low
    assert set(low.constants) == {
        "events.synaptic_operation",
        "events.neuron_update_inactive",
        "events.neuron_update_active",
    }
    assert (low.model, low.prices, low.precision, low.side) == ("per-event", "loihi1", "native", "snn")


@pytest.mark.parametrize(
    ("name", "operation", "update"),
    [
        ("spinnaker", 13_300, 26_000),
        ("spinnaker2@prototype_28nm", 450, 2_190),
        ("spinnaker2@mac_array", 10, 0),
        ("truenorth", 26, 0),
        ("odin", 8.43, 0),
        ("odin@biological_time", 54, 0),
        ("darwin3", 5.47, 0),
    ],
)
def test_chips_by_hand(name, operation, update):
    low, high = price_range(network(), load_prices(name))
    assert low.total_pj == high.total_pj == pytest.approx(600 * operation + 220 * update)
    assert ("neuron updates" in low.parts()) == bool(update)
    all_in = load_prices(name).price("events.synaptic_operation").grade == "measured_all_in"
    assert ("An all-in figure" in said(low)) == all_in
    assert ("Neuron updates are not charged" in said(low)) == (not update and not all_in)
    assert low.constants == tuple(row for row in low.constants if row in load_prices(name).rows)


def test_the_operating_point_is_said():
    assert "At the operating point incremental" in said(price_events(network(), load_prices("odin")))
    assert "72 mW at 20 Hz and 128 active synapses" in said(price_events(network(), load_prices("truenorth")))
    with pytest.raises(InputError, match=r"E829 spinnaker2: .*one of spinnaker2@prototype_28nm \(28 nm"):
        price_events(network(), load_prices("spinnaker2"))


def test_graded_values_are_one_operation_each_and_that_is_said():
    plain, graded = (price_events(network(macs), load_prices("darwin3")) for macs in (0, 400))
    assert plain.total_pj == graded.total_pj
    assert "graded" not in said(plain)
    assert "400 of 1,200 synaptic operations come from graded values" in said(graded)


def test_energy_is_per_sample_and_additive_over_layers():
    counts, prices = network(), load_prices("spinnaker")
    whole = price_events(counts, prices).total_pj
    one = price_events(counts.of_samples([0]), prices).total_pj
    assert one == pytest.approx(whole)  # both samples did the same
    assert price_events(counts.first_steps(1), prices).total_pj == pytest.approx(whole / 2)


def test_no_update_of_another_grade_is_added():
    prices = load_prices("spinnaker")
    name = "events.neuron_update"
    mixed = replace(prices, rows=prices.rows | {name: replace(prices.rows[name], grade="simulated")})
    priced = price_events(network(), mixed)
    assert priced.total_pj == pytest.approx(600 * 13_300)
    assert "Neuron updates are not charged" in said(priced)


def test_a_printed_range_is_charged_at_its_lower_end():
    prices = load_prices("darwin3")
    name = "events.synaptic_operation"
    ranged = replace(prices, rows={name: replace(prices.rows[name], high=10.94)})
    low, high = price_range(network(), ranged)
    assert (low.total_pj, high.total_pj) == pytest.approx((3282, 6564))
    assert "at its upper end: 6564 pJ per sample in place of 3282" in said(low)


@pytest.mark.parametrize("target", [name for name in price_targets() if load_prices(name).kind == "unpublished"])
def test_what_is_not_published_is_not_priced(target):
    with pytest.raises(UnsupportedError) as caught:
        price_events(network(), load_prices(target))
    (finding,) = caught.value.findings
    assert (finding.code, finding.node) == ("E828", target)
    assert "published" in finding.found
    assert finding.fix.startswith(f"{len(load_prices(target).measurements)} measured workloads are listed")
    assert finding.fix.endswith(f"in the prices.toml of {target}, and in docs/prices.md")
    assert caught.value.exit_code == 3


def test_what_the_model_does_not_take_is_refused():
    with pytest.raises(InputError, match="E829 cmos45: a list of kind arithmetic; limit kind events or dense"):
        price_events(network(), load_prices("cmos45"))
    with pytest.raises(UnsupportedError, match="E829 loihi1: an energy per event does not price a dense network"):
        price_events(network(), load_prices("loihi1"), side="ann")
    for target in ("loihi1", "cpu_i7"):
        with pytest.raises(InputError, match=f"E810 fp32: {target} has no such precision; limit native"):
            price_events(network(), load_prices(target), "fp32")


def test_a_dense_processor_charges_every_connection():
    for side in ("snn", "ann"):
        priced = price_events(network(), load_prices("gpu_titan_black"), side=side)
        # (8,000 + 2,000) x 300 pJ / 2 samples, whatever the spikes
        assert priced.parts() == pytest.approx({"multiply-accumulates": 1_500_000})
        assert priced.constants == ("dense.mac",)
        assert "spikes save nothing" in said(priced)
        assert "Neuron updates and activations are not charged" in said(priced)


def test_work_that_is_no_synaptic_operation_is_named_not_priced():
    product = synapses(800, dense=800, geometry=Geometry("product", (4, 4), (4, 4)))
    norm = replace(synapses(0, 80), kind="element", type="BatchNorm2d")
    counts = replace(network(attention=product, norm=norm), partial={"odd": "no rule"})
    priced = price_events(counts, load_prices("darwin3"))
    assert priced.total_pj == pytest.approx(600 * 5.47)
    assert priced.partial == ("odd", "attention", "norm")
    assert "attention is not charged" in said(priced)
    dense = price_events(counts, load_prices("cpu_i7"), side="ann")
    assert dense.total_pj == pytest.approx((10_000 + 800 + 80) / 2 * 8600)
    assert dense.partial == ("odd",)


def test_a_figure_from_memory_is_priced_only_where_it_is_named():
    row = {"value": 100.0, "unit": "pJ", "source": "x", "year": 2020, "grade": "mem", "node_nm": 22, "voltage_v": 0.8}
    data = {
        "target": {"id": "mine", "name": "My chip", "scope": "all", "kind": "events", "default": "talk"},
        "grades": {"mem": "from memory"},
        "points": {"talk": {"title": "as said in a talk", "synaptic_operation": row}},
    }
    with pytest.raises(InputError, match=r"E826 events\.synaptic_operation"):
        price_events(network(), parse_prices(data))
    named = price_events(network(), parse_prices(data, point="talk"))
    assert named.total_pj == pytest.approx(60_000)
    assert "Grade mem: from memory" in said(named)


def test_a_silent_network_costs_its_updates():
    counts = OpCounts({"fc": synapses(0), "lif": neurons(40)}, samples=2, steps=2)
    assert price_events(counts, load_prices("darwin3")).total_pj == 0
    assert price_events(counts, load_prices("loihi1")).total_pj == pytest.approx(20 * 52)


def test_the_model_is_described():
    assert PER_EVENT.id == "per-event"
    assert PER_EVENT.price is price_events
    assert "never a bill" in PER_EVENT.scope
