"""The memory term of the network inferred from the paper's Table II: what the published variants make of it.

Network: 2x128x128, three {32 channels, 3x3, no padding, average pooling by 2}, dense 6272 to 1024 to 20, T = 68;
spikes at 10.79 % of the positions before each pool. A pooled value collects four of them, so that as many
spike units arrive at convolutions 2 and 3 and at the first dense layer as 4 x 10.79 % = 43.16 % of their inputs.
The ANN takes the 68 frames as channels in one pass and has 2 outputs. Geometries and sums are written out here.
"""

from __future__ import annotations

import pytest
from layers_by_hand import neurons, of, synapses

from neuroemo.profiling.counting.counts import Geometry, OpCounts
from neuroemo.profiling.memory import LemaireOptions, price_lemaire
from neuroemo.profiling.priced import Priced
from neuroemo.profiling.prices import load_prices

PRICES = load_prices("cmos45")
T, SHARE = 68, 0.1079
OPERATIONS = ("accumulates", "multiply-accumulates", "bias additions", "addressing", "neuron updates", "resets")


def layer(index: int, channels: int = 2, outputs: int = 20) -> tuple[Geometry, int]:
    """Geometry and dense multiply-accumulates of layer 1 to 5."""
    sides = {1: (channels, 128, 126), 2: (32, 63, 61), 3: (32, 30, 28)}
    if index in sides:
        inputs, size, side = sides[index]
        shape = ((inputs, size, size), (32, side, side), (3, 3), (1, 1))
        return Geometry("conv", *shape, weights=inputs * 32 * 9, biases=32), side * side * 9 * inputs * 32
    wide, narrow = (6272, 1024) if index == 4 else (1024, outputs)
    return Geometry("dense", (wide,), (narrow,), weights=wide * narrow, biases=narrow), wide * narrow


def spiking() -> OpCounts:
    layers = {}
    for index in range(1, 6):
        shape, dense = layer(index)
        units = (4 if index in (2, 3, 4) else 1) * SHARE * T
        inputs = 1
        for size in shape.input_shape:
            inputs *= size
        cells = 1
        for size in shape.output_shape:
            cells *= size
        layers[f"layer{index}"] = synapses(
            shape, dense=dense, runs=T, acs=round(units * dense), spikes=round(units * inputs)
        )
        layers[f"neurons{index}"] = neurons(cells * T, round(SHARE * cells * T))
    return of(layers, steps=T)


def dense() -> OpCounts:
    layers = {}
    for index in range(1, 6):
        shape, macs = layer(index, channels=T, outputs=2)
        layers[f"layer{index}"] = synapses(shape, dense=macs)
    return of(layers)


def memory_mj(priced: Priced) -> float:
    return sum(value for part, value in priced.parts().items() if part not in OPERATIONS) * 1e-9


def test_the_network_is_the_papers() -> None:
    assert dense().total.dense_macs == 310_915_584 + 47_942_656
    assert spiking().total.dense_macs == T * (9_144_576 + 47_961_088)


@pytest.mark.parametrize(
    ("access", "snn_mj", "ann_mj"),
    [
        ("whole", 190, 42),  # as SpikingJelly charges it
        ("linear", 610, 149),  # as Lemaire et al. charge it
    ],
)
def test_both_published_variants(access: str, snn_mj: float, ann_mj: float) -> None:
    options = LemaireOptions(access=access)  # type: ignore[arg-type]
    snn, ann = (
        memory_mj(price_lemaire(counts, PRICES, "fp32", side, options=options))  # type: ignore[arg-type]
        for counts, side in ((spiking(), "snn"), (dense(), "ann"))
    )
    assert snn == pytest.approx(snn_mj, rel=0.01)
    assert ann == pytest.approx(ann_mj, rel=0.01)


def test_the_true_width_of_an_access_halves_the_term_and_leaves_the_verdict() -> None:
    whole, share = (
        memory_mj(price_lemaire(spiking(), PRICES, "fp32", "snn", options=LemaireOptions(access=access)))  # type: ignore[arg-type]
        for access in ("whole", "share")
    )
    assert share == pytest.approx(whole / 2)
    ann = memory_mj(price_lemaire(dense(), PRICES, "fp32", "ann"))
    # Arithmetic alone says 1.65 mJ for the ANN and 0.41 for the SNN.
    assert share > 4 * ann > 1.65
