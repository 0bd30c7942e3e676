"""The comparison of an SNN with its ANN: every figure by hand, by the paper's Table II, or by brute force."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_counts import (
    HARD_RESET,
    LIF,
    network,
    neurons,
    paper_ann,
    paper_snn,
    random_ann,
    random_snn,
    synapse,
    table,
    tiny_ann,
    tiny_snn,
    unplaced,
)

from hw_targets.finding import InputError
from neuroemo.profiling.counting.counts import LayerCounts, merge_counts
from neuroemo.profiling.energy import ARITHMETIC, MODELS, WITH_NEURONS
from neuroemo.profiling.memory import YAN, twin_model
from neuroemo.profiling.prices import load_prices
from neuroemo.profiling.statistics import student_t
from neuroemo.profiling.twin import (
    break_even_on_curve,
    check_same_terms,
    compare,
    energy_at,
    spike_rate,
    step_curve,
)

PRICES = load_prices("cmos45")
LISTS = {"lemaire": ("cmos45", "int8"), "yan": ("cmos22", "int8"), "davidson": ("davidson_furber", "int8")}


def summed(counts):
    return merge_counts([counts], keep_samples=False)


def test_every_figure_of_a_tiny_pair_by_hand():
    twin = compare(tiny_snn(), tiny_ann(), ARITHMETIC, PRICES, "fp32")
    assert (twin.snn.total_pj, twin.ann.total_pj) == pytest.approx((73.0, 276.0))
    assert twin.ratio == pytest.approx(276 / 73)
    assert twin.step_curve == pytest.approx((46.0, 64.0, 73.0))
    # E_step = (18 + 9) / 2, E_const = 73 - 3 x 13.5
    assert twin.break_even_steps == pytest.approx((276 - 32.5) / 13.5)
    assert twin.spikes_per_synapse == 2.0  # 40 events, 20 synapses
    assert twin.break_even_spikes_per_synapse == pytest.approx(2 * 276 / 73)
    assert twin.spike_rate == pytest.approx(3 / 30)
    assert twin.mac_per_ac == pytest.approx(4.6 / 0.9)
    assert twin.ann_zero_skipping.total_pj == pytest.approx(40 * 4.6)
    assert (twin.verdict, twin.snn_interval, twin.ratio_interval) == ("snn", None, None)
    assert [window.inside for window in twin.windows] == [False, False]
    with_neurons = compare(tiny_snn(), tiny_ann(), WITH_NEURONS, PRICES, "fp32")
    assert with_neurons.ratio == pytest.approx(276 / (73 + 165 + 2.7))


@pytest.mark.parametrize("steps", [2, 10, 30, 40, 68])
def test_the_break_even_of_table_2_from_measured_steps(steps):
    # (1650.48 - 33.67) / 51.3 of the paper, whether step 31 was run or not.
    twin = compare(paper_snn(steps), paper_ann(), ARITHMETIC, PRICES, "fp32")
    assert twin.break_even_steps == pytest.approx(31.517, abs=5e-4)
    assert twin.ann.total_mj == pytest.approx(1.65048, abs=5e-6)
    assert twin.snn.total_mj == pytest.approx(51.3e-3 * steps + 33.67e-3, rel=1e-12)
    assert twin.verdict == ("snn" if steps < 32 else "ann")


def test_the_spikes_per_synapse_that_the_paper_may_afford():
    # Accumulates alone: S < k x ANN MACs / SNN synapses = 5.11 x 358.8 / 57.0 = 32.2.
    events = table(np.full((4, 1), 57_000_000), 0, 1)
    snn = network({"all": synapse(events, 57_000_000)})
    twin = compare(snn, paper_ann(), ARITHMETIC, PRICES, "fp32")
    assert twin.break_even_spikes_per_synapse == pytest.approx(4.6 / 0.9 * 358.8 / 57.0, rel=1e-12)
    assert round(twin.break_even_spikes_per_synapse, 1) == 32.2


@pytest.mark.parametrize(
    ("events", "inside"), [(2, [False, True]), (3, [True, True]), (28, [False, True]), (35, [False, False])]
)
def test_published_windows(events, inside):
    # 20 synapses: S = 0.1, 0.15, 1.4 and 1.75 against 0.15 to 1.38 and below 12/7.
    snn = network({"fc": synapse(table([[events]], 0, 1), 20)})
    twin = compare(snn, tiny_ann(), ARITHMETIC, PRICES, "fp32")
    assert [window.inside for window in twin.windows] == inside


def test_the_break_even_activity_leaves_what_does_not_depend_on_spikes():
    snn = network({"fc": synapse(table([[30]], 0, 3), 20), "n": neurons([[4]], 10, LIF)})
    ann = network({"fc": synapse(table([[0]], 0, 0), 100)})
    twin = compare(snn, ann, WITH_NEURONS, PRICES, "fp32")
    wanted = twin.break_even_spikes_per_synapse / twin.spikes_per_synapse
    # E = 10 updates x 5.5 + f (27 + 4 x 0.9) = 460
    assert wanted == pytest.approx((460 - 55) / 30.6)
    busy = network({"fc": synapse(table([[30_000]], 0, 3000), 20), "n": neurons([[4000]], 10, LIF)})
    matched = network({"fc": synapse(table([[0]], 0, 0), 1)})
    parity = compare(
        busy, matched, WITH_NEURONS, PRICES.with_value("arithmetic.fp32.mult", 55 + 30_600 - 10 * 3.7), "fp32"
    )
    assert parity.snn.total_pj > 0
    # Batch normalisation is computed whatever arrives: 2 x 4.6 pJ more that do not scale.
    element = LayerCounts("element", "BatchNorm1d", table([[0]], 2), squares=(0, 4, 0))
    normalised = compare(network({**snn.layers, "bn": element}), ann, WITH_NEURONS, PRICES, "fp32")
    assert normalised.break_even_spikes_per_synapse == pytest.approx((460 - 55 - 9.2) / 30.6 * 1.5)
    # Updates alone cost more than a tiny ANN: no activity is low enough.
    assert compare(snn, matched, WITH_NEURONS, PRICES, "fp32").break_even_spikes_per_synapse is None


def test_intervals_of_kept_samples():
    snn, ann = random_snn(2), random_ann(2)
    twin = compare(snn, ann, ARITHMETIC, PRICES, "fp32")
    table_sum = sum(layer.table for layer in snn.layers.values()).sum(axis=0)
    energies = table_sum @ np.array([0.9, 4.6, 0, 0])
    half = student_t(6) * energies.std(ddof=1) / math.sqrt(7)
    low, high = energies.mean() - half, energies.mean() + half
    assert twin.snn_interval == pytest.approx((low, high))
    # A dense ANN costs every sample the same, so the interval of the ratio is that of the SNN turned over.
    assert twin.ratio_interval == pytest.approx((1840 / high, 1840 / low))
    assert twin.ratio_interval[0] < twin.ratio < twin.ratio_interval[1]


def test_intervals_do_not_need_samples_of_the_dense_side_nor_kept_ones():
    snn, ann = random_snn(2, rule=HARD_RESET), random_ann(2)
    for model in (ARITHMETIC, WITH_NEURONS):
        kept = compare(snn, ann, model, PRICES, "fp32")
        for other in (
            compare(summed(snn), ann, model, PRICES, "fp32"),
            compare(snn, summed(ann), model, PRICES, "fp32"),
            compare(snn, ann.of_samples([3]), model, PRICES, "fp32"),
            compare(snn, ann.of_samples([3, 3]), model, PRICES, "fp32"),
        ):
            assert other.snn_interval == pytest.approx(kept.snn_interval, rel=1e-12)
            assert other.ratio_interval == pytest.approx(kept.ratio_interval, rel=1e-12)
            assert other.step_curve == pytest.approx(kept.step_curve, rel=1e-12)
    lemaire = MODELS["lemaire"]
    turned = compare(snn, ann.of_samples([3, 4]), lemaire, PRICES, "int8").ratio_interval
    assert turned == pytest.approx(compare(snn, ann, lemaire, PRICES, "int8").ratio_interval, rel=1e-12)
    assert compare(snn, ann.of_samples([3]), lemaire, PRICES, "int8").ratio_interval is None
    assert compare(summed(snn), ann, MODELS["lemaire"], PRICES, "int8").ratio_interval is None


def test_an_interval_below_zero_is_cut_and_bounds_no_ratio():
    # 0.9 and 90 pJ: 45.45 -+ 12.706 x 44.55.
    snn = network({"fc": synapse(table([[1, 100]], 0, 1), 20)})
    twin = compare(snn, tiny_ann(2), ARITHMETIC, PRICES, "fp32")
    assert twin.snn_interval == (0.0, pytest.approx(45.45 + 12.7062 * 44.55, rel=1e-5))
    assert (twin.ratio_interval, twin.verdict) == (None, "undecided")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("constant", [True, False])
def test_the_verdict_is_undecided_where_the_interval_of_the_ratio_includes_1(seed, constant):
    rng = np.random.default_rng(seed)
    snn = network({"fc": synapse(table(rng.integers(900, 1200, (1, 8)), 0, 1), 20)})
    ann = network({"fc": synapse(table(0, np.full((1, 8), 1), 1), int(rng.integers(190, 220)))})
    model = ARITHMETIC if constant else replace(ARITHMETIC, price=by_events)
    twin = compare(snn, network(ann.layers) if constant else noisy(rng), model, PRICES, "fp32")
    low, high = twin.ratio_interval
    assert twin.verdict == ("undecided" if low <= 1 <= high else "snn" if low > 1 else "ann")


def by_events(counts, prices, precision, side):
    """A model whose ANN is charged its events, so that it varies from sample to sample."""
    return replace(ARITHMETIC.price(counts, prices, precision, "snn"), side=side)


def noisy(rng):
    return network({"fc": synapse(table(rng.integers(900, 1200, (1, 8)), 0, 1), 20)})


def test_a_spread_around_parity_is_undecided():
    # 276 pJ against 180 and 360 pJ: the mean wins by 2 %, the interval of two samples is wide.
    snn = network({"fc": synapse(table([[200, 400]], 0, 1), 20)})
    twin = compare(snn, tiny_ann(2), ARITHMETIC, PRICES, "fp32")
    assert twin.ratio == pytest.approx(276 / 270)
    assert twin.verdict == "undecided"


@pytest.mark.parametrize(
    ("partial", "ann_macs", "verdict"),
    [
        ("snn", 60, "undecided"),
        ("ann", 60, "snn"),
        ("snn", 1, "ann"),
        ("ann", 1, "undecided"),
        ("both", 60, "undecided"),
    ],
)
def test_a_lower_bound_decides_only_against_itself(partial, ann_macs, verdict):
    snn, ann = tiny_snn(), network({"fc": synapse(table([[0]], 0, 0), ann_macs)})
    if partial in ("snn", "both"):
        snn = replace(snn, partial={"attention": "no rule"})
    if partial in ("ann", "both"):
        ann = replace(ann, partial={"pool": "no rule"})
    twin = compare(snn, ann, ARITHMETIC, PRICES, "fp32")
    assert twin.verdict == verdict
    assert ("the SNN is a lower bound, not counted: attention" in twin.words) == (partial != "ann")
    assert ("the ANN is a lower bound, not counted: pool" in twin.words) == (partial != "snn")


def test_a_silent_network_wins_nothing():
    silent = network({"fc": synapse(table(np.zeros((3, 2))), 20)})
    twin = compare(silent, tiny_ann(2), ARITHMETIC, PRICES, "fp32")
    assert (twin.ratio, twin.ratio_interval, twin.verdict) == (None, None, "undecided")
    assert (twin.break_even_steps, twin.break_even_spikes_per_synapse, twin.spike_rate) == (None, None, None)
    assert "without a priced operation" in twin.words
    json.dumps(twin.to_json(), allow_nan=False)


def test_counts_that_were_not_told_apart_give_no_curve_and_no_interval():
    counts = unplaced(random_snn(2), "fc0")
    twin = compare(counts, random_ann(2), ARITHMETIC, PRICES, "fp32")
    assert (twin.snn_interval, twin.ratio_interval, twin.break_even_steps) == (None, None, None)
    assert twin.step_curve == ()
    assert twin.ratio == compare(random_snn(2), random_ann(2), ARITHMETIC, PRICES, "fp32").ratio


def test_the_twin_of_yan_has_as_many_bits_as_the_steps_need():
    prices = load_prices("cmos22")
    snn, ann = random_snn(4, steps=9), random_ann(4)
    twin = compare(snn, ann, YAN, prices, "int8")
    assert twin.ann.total_pj == twin_model(YAN, 9).price(ann, prices, "int8", "ann").total_pj
    assert twin.ann.total_pj != twin_model(YAN, 500).price(ann, prices, "int8", "ann").total_pj


def test_a_live_network_and_its_twin_kept_or_summed():
    import torch
    from torch import nn

    from neuroemo.profiling import count_operations

    torch.manual_seed(0)
    weights = nn.Linear(6, 4, bias=False)
    clips = (torch.rand(3, 5, 6) < 0.4).float()
    clips[0, :, 0] = 0.5
    spikes = clips.numpy()
    stacked = clips.transpose(0, 1).flatten(1)
    twins = []
    for keep in (True, False):
        snn = count_operations(weights, [clips], keep_samples=keep)
        ann = count_operations(nn.Linear(18, 4), [stacked], time_first=False, keep_samples=keep)
        twins.append(compare(snn, ann, ARITHMETIC, PRICES, "fp32"))
    energies = ((spikes == 1).sum(axis=(0, 2)) * 0.9 + (spikes == 0.5).sum(axis=(0, 2)) * 4.6) * 4
    for twin in twins:
        assert twin.snn.total_pj == pytest.approx(energies.mean())
        assert twin.ann.total_pj == pytest.approx(18 * 4 * 4.6)
        half = student_t(4) * energies.std(ddof=1) / math.sqrt(5)
        assert twin.snn_interval == pytest.approx((energies.mean() - half, energies.mean() + half))
        assert twin.ratio_interval == pytest.approx(
            (331.2 / (energies.mean() + half), 331.2 / (energies.mean() - half))
        )


# --- along the steps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_step_curve_is_the_energy_of_runs_that_stopped_there(name):
    target, precision = LISTS.get(name, ("cmos45", "fp32"))
    prices, model, counts = load_prices(target), MODELS[name], random_snn(6)
    curve = step_curve(counts, model, prices, precision)
    stopped = [model.price(counts.first_steps(t), prices, precision, "snn").total_pj for t in range(1, 6)]
    assert curve == pytest.approx(stopped, rel=1e-12)
    assert curve[-1] == pytest.approx(model.price(counts, prices, precision, "snn").total_pj, rel=1e-12)
    assert step_curve(summed(counts), model, prices, precision) == pytest.approx(curve, rel=1e-12)
    assert list(curve) == sorted(curve)


rises = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=20)


@given(rises, st.floats(0.001, 1e8))
@settings(deadline=None)
def test_the_break_even_lies_on_the_curve(steps, ann_pj):
    curve = np.cumsum(steps).tolist()
    meeting = break_even_on_curve(curve, ann_pj)
    assert energy_at(curve, meeting) == pytest.approx(ann_pj, rel=1e-9)
    assert (meeting <= len(curve)) == (ann_pj <= curve[-1]) or ann_pj == pytest.approx(curve[-1])


def test_break_evens_by_hand():
    assert break_even_on_curve([10.0], 35.0) == 3.5  # one step says nothing about a constant
    assert break_even_on_curve([8.0, 10.0], 4.0) == 0.5  # not even one step
    assert break_even_on_curve([8.0, 10.0], 10.0) == 2.0
    assert break_even_on_curve([8.0, 8.0], 9.0) is None  # later steps are free
    assert break_even_on_curve([8.0, 8.0], 0.0) == 0.0
    assert break_even_on_curve([0.0, 8.0], 0.0) == 0.0
    assert energy_at([8.0, 10.0], 0) == 0.0
    assert energy_at([8.0, 10.0], 5) == 16.0


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_network_without_synapses_is_refused():
    bare = network({"n": neurons([[1]], 10, LIF)})
    with pytest.raises(InputError) as caught:
        compare(bare, bare, ARITHMETIC, PRICES, "fp32")
    assert [(f.code, f.node, f.found) for f in caught.value.findings] == [
        ("E836", "SNN", "no synapse was counted"),
        ("E836", "ANN", "no synapse was counted"),
    ]
    with pytest.raises(InputError, match=r"^E836 ANN: no synapse was counted; limit 1 or more\n.*weights$"):
        compare(tiny_snn(), bare, ARITHMETIC, PRICES, "fp32")


def test_sides_on_different_terms_are_refused():
    snn = ARITHMETIC.price(tiny_snn(), PRICES, "fp32", "snn")
    ann = ARITHMETIC.price(tiny_ann(), PRICES, "fp32", "ann")
    check_same_terms(snn, ann)
    with pytest.raises(InputError, match="E837 precision: fp32 for the SNN and int8 for the ANN"):
        check_same_terms(snn, ARITHMETIC.price(tiny_ann(), PRICES, "int8", "ann"))
    with pytest.raises(InputError, match="E837 sides: snn and snn"):
        check_same_terms(snn, snn)
    with pytest.raises(InputError) as caught:
        check_same_terms(snn, replace(ann, prices="cmos22", model="yan"))
    assert [finding.node for finding in caught.value.findings] == ["model", "prices"]

    def moody(counts, prices, precision, side):
        return ARITHMETIC.price(counts, prices, precision if side == "snn" else "int8", side)

    with pytest.raises(InputError, match="E837 precision"):
        compare(tiny_snn(), tiny_ann(), replace(ARITHMETIC, price=moody), PRICES, "fp32")


def test_grades_that_do_not_mix_are_refused_across_the_sides():
    simulated = replace(PRICES.price("arithmetic.fp32.mult"), grade="simulated")
    mixed = replace(PRICES, rows=PRICES.rows | {"arithmetic.fp32.mult": simulated})
    with pytest.raises(InputError, match="E824"):
        compare(tiny_snn(), tiny_ann(), ARITHMETIC, mixed, "fp32")


@pytest.mark.parametrize(("curve", "wanted"), [([], 1.0), ([math.nan], 1.0), ([1.0], math.inf), ([1.0], -1.0)])
def test_a_curve_that_is_none_is_refused(curve, wanted):
    for function in (break_even_on_curve, energy_at):
        with pytest.raises(InputError, match=r"E835 step curve: .* steps, asked for"):
            function(curve, wanted)


def test_the_spike_rate_is_over_neurons_and_steps():
    assert spike_rate(tiny_snn()) == pytest.approx(0.1)
    assert spike_rate(tiny_ann()) is None


def test_a_model_that_is_not_linear_in_activity_has_no_closed_break_even():
    def squared(counts, prices, precision, side):
        priced = ARITHMETIC.price(counts, prices, precision, side)
        return replace(priced, layers={"all": {"accumulates": priced.total_pj**2}})

    twin = compare(tiny_snn(), tiny_ann(), replace(ARITHMETIC, price=squared), PRICES, "fp32")
    assert twin.break_even_spikes_per_synapse is None
