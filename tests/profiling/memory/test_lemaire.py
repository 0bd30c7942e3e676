"""Lemaire et al.: every equation on layers small enough to do by hand, the limits, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from layers_by_hand import CONV, CONV_COUNTS, DENSE, DENSE_COUNTS, LIF, neurons, of, synapses

from hw_targets.finding import InputError, UnsupportedError
from neuroemo.profiling.counting.counts import Geometry, LayerCounts, OpCounts
from neuroemo.profiling.memory import LEMAIRE, LemaireOptions, lemaire_model, precisions_for, price_lemaire
from neuroemo.profiling.prices import load_prices

PRICES = load_prices("cmos45")
# Per 32 bits of 64, at 10 pJ per 8192 bytes: (10 / 2) / 8192 pJ for every byte that a small memory holds.
BYTE = 5 / 8192
QUEUE = 4000 * BYTE  # 1000 messages of 4 bytes
WEIGHTS, BIASES, POTENTIALS, INPUTS = 72 * BYTE, 8 * BYTE, 32 * BYTE, 64 * BYTE


def test_spiking_convolution_by_hand() -> None:
    layers = price_lemaire(CONV_COUNTS, PRICES, "int32", "snn").layers
    assert layers["conv"] == pytest.approx(
        {
            "accumulates": 14 * 0.1,
            "multiply-accumulates": 0.0,
            "bias additions": 2 * 8 * 0.1,  # T outputs, equation 1.4
            "bias reads": 2 * 8 * BIASES,  # 7
            "spike queue reads": 3 * QUEUE,  # 5
            "weight reads": 14 * WEIGHTS,  # 7
            "potential reads": 14 * POTENTIALS,  # 9
            "potential writes": 14 * POTENTIALS,  # 14
            "addressing": 3 * 2 * 3.2 + 14 * 0.1,  # 16.2 and 16.3
        }
    )
    assert layers["lif"] == pytest.approx(
        {
            "neuron updates": 16 * 3.2,  # 1.3: a leak
            "resets": 5 * 0.1,
            "potential reads": 16 * POTENTIALS,
            "potential writes": 16 * POTENTIALS,
            "spike queue writes": 5 * QUEUE,  # 13
        }
    )


def test_spiking_dense_layer_by_hand() -> None:
    layers = price_lemaire(DENSE_COUNTS, PRICES, "int32", "snn").layers
    weights, potentials = 160 * BYTE, 16 * BYTE
    assert layers["fc"] == pytest.approx(
        {
            "accumulates": 24 * 0.1,  # 2.4: 6 spikes reach 4 outputs
            "multiply-accumulates": 0.0,
            "spike queue reads": 6 * QUEUE,
            "weight reads": 24 * weights,  # 8
            "potential reads": 24 * potentials,  # 10
            "potential writes": 24 * potentials,  # 15
            "addressing": 24 * 0.1,  # 17.2
        }
    )
    assert layers["if"] == pytest.approx(
        {
            "neuron updates": 0.0,  # 2.3: no leak
            "resets": 2 * 0.1,
            "potential reads": 12 * potentials,
            "potential writes": 12 * potentials,
            "spike queue writes": 2 * QUEUE,
        }
    )


def test_dense_convolution_by_hand() -> None:
    ann = of({"conv": synapses(CONV, dense=72)})
    assert price_lemaire(ann, PRICES, "int32", "ann").layers["conv"] == pytest.approx(
        {
            "multiply-accumulates": 72 * 3.2,  # 1.1
            "bias additions": 8 * 0.1,  # 1.2
            "bias reads": 8 * BIASES,
            "input reads": 72 * INPUTS,  # 3
            "weight reads": 72 * WEIGHTS,  # 6.1
            "output writes": 8 * POTENTIALS,  # 11
            "addressing": (16 + 8 + 2 * 9) * 0.1,  # 16.1
        }
    )


def test_dense_layer_by_hand() -> None:
    ann = of({"fc": synapses(replace(DENSE, biases=4), dense=40)})
    assert price_lemaire(ann, PRICES, "int32", "ann").layers["fc"] == pytest.approx(
        {
            "multiply-accumulates": 40 * 3.2,  # 2.1
            "bias additions": 4 * 0.1,  # 2.2
            "bias reads": 4 * 16 * BYTE,
            "input reads": 10 * 40 * BYTE,  # 4: every input once
            "weight reads": 40 * 160 * BYTE,  # 6.2
            "output writes": 4 * 16 * BYTE,  # 12
            "addressing": 40 * 0.1,  # 17.1
        }
    )


def test_reuse_divides_what_the_ann_fetches_and_nothing_else() -> None:
    ann = of({"conv": synapses(CONV, dense=72)})
    once = price_lemaire(ann, PRICES, "int32", "ann").layers["conv"]
    four = price_lemaire(ann, PRICES, "int32", "ann", options=LemaireOptions(reuse=4)).layers["conv"]
    ratios = {part: once[part] / four[part] for part in once}
    assert ratios == pytest.approx({part: 4 if part in ("input reads", "weight reads") else 1 for part in once})


def stride_two() -> OpCounts:
    """Four spikes in one 2x2 block away from the border, kernel 3, stride 2: they reach 1, 2, 2 and 4 windows."""
    shape = Geometry("conv", (1, 9, 9), (1, 4, 4), (3, 3), (2, 2), weights=9)
    return of({"conv": synapses(shape, dense=144, acs=1 + 2 + 2 + 4, spikes=4), "if": neurons(16, 0)})


def test_exact_fan_out_against_the_papers_approximation() -> None:
    exact = price_lemaire(stride_two(), PRICES, "int32", "snn").layers["conv"]
    printed = price_lemaire(stride_two(), PRICES, "int32", "snn", options=LemaireOptions(approximate=True)).layers[
        "conv"
    ]
    # 2.25 windows per spike; the paper takes ceil(3/2)^2 = 4 for operations and 3^2 = 9 for memory.
    assert exact["accumulates"] == pytest.approx(4 * 2.25 * 0.1)
    assert printed["accumulates"] / exact["accumulates"] == pytest.approx(4 / 2.25)  # 1.78 times too many
    assert printed["weight reads"] / exact["weight reads"] == pytest.approx(9 / 2.25)  # 4 times too many
    assert printed["potential writes"] / exact["potential writes"] == pytest.approx(4.0)
    assert printed["spike queue reads"] == exact["spike queue reads"]


def test_approximation_divides_channels_by_groups_and_splits_graded_events_alike() -> None:
    shape = Geometry("conv", (4, 5, 5), (8, 3, 3), (3, 3), (1, 1), groups=4, weights=72)
    counts = of({"conv": synapses(shape, dense=324 * 2, acs=6, macs=18, spikes=5), "if": neurons(72, 0)})
    printed = price_lemaire(counts, PRICES, "int32", "snn", options=LemaireOptions(approximate=True)).layers["conv"]
    assert printed["accumulates"] == pytest.approx(5 * 9 * 2 * 0.25 * 0.1)  # a quarter of the events are spikes
    assert printed["multiply-accumulates"] == pytest.approx(5 * 9 * 2 * 0.75 * 3.2)


def test_approximate_ann_counts_taps_on_padding() -> None:
    padded = Geometry("conv", (1, 4, 4), (1, 4, 4), (3, 3), (1, 1), weights=9)
    ann = of({"conv": synapses(padded, dense=100)})  # 10 x 10 taps inside, 16 x 9 with padding
    exact, printed = (
        price_lemaire(ann, PRICES, "int32", "ann", options=LemaireOptions(approximate=flag)) for flag in (False, True)
    )
    assert exact.layers["conv"]["multiply-accumulates"] == pytest.approx(100 * 3.2)
    assert printed.layers["conv"]["multiply-accumulates"] == pytest.approx(144 * 3.2)


@pytest.mark.parametrize("side", ["snn", "ann"])
def test_energy_is_a_mean_over_samples(side: str) -> None:
    one = price_lemaire(DENSE_COUNTS, PRICES, "fp32", side)  # type: ignore[arg-type]
    many = OpCounts({}, 5, 3)
    layers = {
        name: replace(
            layer, table=layer.table * 5, dense_macs=layer.dense_macs * 5, neuron_updates=layer.neuron_updates * 5
        )
        for name, layer in DENSE_COUNTS.layers.items()
    }
    assert price_lemaire(replace(many, layers=layers), PRICES, "fp32", side).layers == {  # type: ignore[arg-type]
        name: pytest.approx(parts) for name, parts in one.layers.items()
    }


def test_without_spikes_only_neurons_and_biases_cost() -> None:
    counts = of({"conv": synapses(CONV, dense=72, runs=2), "lif": neurons(16, 0, LIF)}, steps=2)
    paid = {part for part, value in price_lemaire(counts, PRICES, "int8", "snn").parts().items() if value}
    assert paid == {"bias additions", "bias reads", "neuron updates", "potential reads", "potential writes"}


def test_with_every_input_a_spike_one_step_reads_as_many_weights_as_the_ann() -> None:
    shape = replace(DENSE, biases=0)
    snn = of({"fc": synapses(shape, dense=40, acs=40, spikes=10), "if": neurons(4, 4)})
    spiking, dense = (price_lemaire(snn, PRICES, "fp32", side).parts() for side in ("snn", "ann"))
    assert spiking["weight reads"] == pytest.approx(dense["weight reads"])
    assert dense["multiply-accumulates"] / spiking["accumulates"] == pytest.approx(4.6 / 0.9)


def test_a_layer_that_only_sees_graded_values_costs_multiply_accumulates() -> None:
    counts = of({"conv": synapses(CONV, dense=72, macs=14, spikes=3), "if": neurons(8, 0)})
    priced = price_lemaire(counts, PRICES, "fp16", "snn")
    assert priced.layers["conv"]["multiply-accumulates"] == pytest.approx(14 * 1.5)
    assert any(sentence.startswith("A graded value") for sentence in priced.assumptions)


def test_every_leaking_state_is_updated_read_and_written() -> None:
    two = replace(LIF, name="current based", macs=2)
    one, both = (
        price_lemaire(of({"fc": synapses(DENSE, dense=40), "n": neurons(4, 0, rule)}), PRICES, "int32", "snn")
        for rule in (LIF, two)
    )
    assert both.layers["n"]["neuron updates"] == pytest.approx(2 * one.layers["n"]["neuron updates"])
    # Twice the accesses to a memory twice as large.
    assert both.layers["n"]["potential reads"] == pytest.approx(4 * one.layers["n"]["potential reads"])


def test_a_read_out_without_neurons_writes_its_sums() -> None:
    counts = of({"fc": synapses(DENSE, dense=40, runs=3, acs=24, spikes=6)}, steps=3)
    priced = price_lemaire(counts, PRICES, "int32", "snn")
    assert priced.layers["fc"]["output writes"] == pytest.approx(3 * 4 * 16 * BYTE)
    assert any("no neurons behind it" in sentence for sentence in priced.assumptions)


def test_layers_that_share_neurons_do_not_write_outputs() -> None:
    layers = {"fc": synapses(DENSE, dense=40), "shortcut": synapses(DENSE, dense=40), "if": neurons(4, 0)}
    assert "output writes" not in price_lemaire(of(layers), PRICES, "int32", "snn").parts()


def test_transposed_convolution_is_charged_what_was_counted_and_refused_in_the_approximation() -> None:
    shape = Geometry("transposed", (1, 4), (5, 7), (3,), (2,), weights=15)
    counts = of({"up": synapses(shape, dense=50, acs=15, spikes=1), "if": neurons(35, 0)})
    priced = price_lemaire(counts, PRICES, "int32", "snn").layers["up"]
    assert priced["accumulates"] == pytest.approx(1.5)
    assert priced["addressing"] == pytest.approx(1 * 3.2 + 15 * 0.1)  # one space axis, one multiplication
    with pytest.raises(UnsupportedError, match="E834 up: a transposed convolution") as refused:
        price_lemaire(counts, PRICES, "int32", "snn", options=LemaireOptions(approximate=True))
    assert refused.value.exit_code == 3


def test_everything_without_a_formula_is_refused_at_once() -> None:
    product = Geometry("product", (4, 8), (4, 4))
    layers = {
        "qk": synapses(product, dense=128),
        "bn": LayerCounts("element", "BatchNorm2d", DENSE_COUNTS.layers["fc"].table),
        "shapeless": LayerCounts("synapse", "simulated", DENSE_COUNTS.layers["fc"].table, 40, 40),
        "odd": neurons(4, 0, None),
    }
    with pytest.raises(UnsupportedError) as refused:
        price_lemaire(of(layers), PRICES, "int32", "snn")
    assert [finding.node for finding in refused.value.findings] == list(layers)
    text = str(refused.value)
    assert "E831 qk: a product of two activations" in text
    assert "count with batch_norm='folded'" in text
    fine = {"fc": DENSE_COUNTS.layers["fc"], "odd": neurons(4, 0, None)}
    assert price_lemaire(of(fine), PRICES, "int32", "ann").total_pj > 0  # an ANN's activation function is free


def test_a_precision_without_a_width_and_rows_that_a_list_lacks() -> None:
    with pytest.raises(UnsupportedError, match="E830 lemaire: precision native; limit one of int8, int16, int32, fp16"):
        price_lemaire(DENSE_COUNTS, PRICES, "native", "snn")
    with pytest.raises(InputError, match=r"E833 arithmetic\.int16\.mult") as refused:
        price_lemaire(DENSE_COUNTS, PRICES, "int16", "snn")
    assert refused.value.exit_code == 2
    assert precisions_for("lemaire", PRICES) == ("int8", "int32", "fp16", "fp32")


@pytest.mark.parametrize(
    ("options", "node"),
    [
        (LemaireOptions(queue=0), "lemaire.queue"),
        (LemaireOptions(reuse=float("nan")), "lemaire.reuse"),
        (LemaireOptions(access="sideways"), "memory access model"),  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range(options: LemaireOptions, node: str) -> None:
    with pytest.raises(InputError, match=f"E832 {node}"):
        price_lemaire(DENSE_COUNTS, PRICES, "int32", "snn", options=options)


def test_counts_without_synapses_are_refused() -> None:
    with pytest.raises(InputError, match="E832 counts: 1 samples, 1 layers"):
        price_lemaire(of({"if": neurons(4, 0)}), PRICES, "int32", "snn")


def test_what_was_not_counted_stays_named_and_constants_are_ids_of_the_list() -> None:
    partial = replace(DENSE_COUNTS, partial={"odd": "unknown module"})
    priced = LEMAIRE.price(partial, PRICES, "fp32", "snn")
    assert priced.partial == ("odd",)
    assert all(PRICES.price(name).name == name for name in priced.constants)
    doubled = LEMAIRE.price(partial, PRICES.with_value("memory.sram_8kb", 20.0), "fp32", "snn")
    assert doubled.parts()["weight reads"] == pytest.approx(2 * priced.parts()["weight reads"])


def test_variants_say_what_they_are() -> None:
    variant = lemaire_model(LemaireOptions(access="whole", approximate=True))
    assert (variant.id, variant.title) == ("lemaire-whole-approximate", "Lemaire et al. 2022, as printed")
    assert variant.price(DENSE_COUNTS, PRICES, "int32", "snn").model == variant.id


def test_stopping_early_saves_accesses_and_leaves_memories_as_large_as_they_are() -> None:
    # 4 steps, 2 samples, the same at each: 2 spikes of the input reach 4 outputs, 1 of the neurons fires.
    synaptic = np.tile(np.array([8, 0, 2, 0], dtype=np.int64), (4, 2, 1))
    firing = np.tile(np.array([0, 0, 0, 1], dtype=np.int64), (4, 2, 1))
    layers = {
        "fc": replace(DENSE_COUNTS.layers["fc"], table=synaptic, dense_macs=40 * 8, elements=80),
        "if": replace(DENSE_COUNTS.layers["if"], table=firing, neuron_updates=4 * 8),
    }
    whole = of(layers, samples=2, steps=4)
    full = price_lemaire(whole, PRICES, "int32", "snn")
    half = price_lemaire(whole.first_steps(2), PRICES, "int32", "snn")
    mixed = price_lemaire(whole.until([1, 3]), PRICES, "int32", "snn")
    assert half.total_pj == pytest.approx(full.total_pj / 2)
    assert mixed.total_pj == pytest.approx(full.total_pj / 2)
    assert price_lemaire(whole.of_samples([1]), PRICES, "int32", "snn").total_pj == pytest.approx(full.total_pj)
