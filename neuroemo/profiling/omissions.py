"""What the energy analysis of "Spiking Emotions" leaves out, each omission with its size.

Numbers of the list follow section 1.4 of the research notes on energy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from neuroemo.profiling.energy import MJ_PER_PJ
from neuroemo.profiling.prices import PriceList


class Inputs(Protocol):
    """The operation counts and prices (pJ) that Table II is computed from, see ``paper.TableInputs``."""

    @property
    def share(self) -> float:
        """Share of input positions that hold an event."""

    @property
    def ac_pj(self) -> float:
        """Price of an accumulate."""

    @property
    def mac_pj(self) -> float:
        """Price of a multiply-accumulate."""

    def ann_pj(self) -> float:
        """Energy of the ANN."""

    def step_pj(self) -> float:
        """Energy of one dense SNN step."""


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes of a network: synaptic operations by what feeds them, weights, and elements per step.

    ``first``, ``pooled_inputs`` and ``binary_inputs`` are dense operations of one step of the first layer, of
    layers fed by average pooling over ``window`` values, and of layers fed by spikes.
    """

    steps: int
    first: int
    pooled_inputs: int
    binary_inputs: int
    hidden_weights: int
    neurons: int
    normalised: int
    pooled: int
    window: int


def omissions(size: Dimensions, table: Inputs, prices: PriceList) -> list[dict[str, Any]]:
    """Return JSON-ready rows: item, name, text, values (mJ per clip unless the key says otherwise)."""
    ann = table.ann_pj() * MJ_PER_PJ
    return [
        _input_density(size, table, ann),
        _graded_pooling(size, table),
        _neuron_updates(size, table),
        _batch_norm(size, table),
        _pooling(size, prices),
        _memory(size, prices, ann),
        _early_fusion(table),
        _first_frame(size, table),
    ]


def _row(item: int, name: str, text: str, **values: float) -> dict[str, Any]:
    return {"item": item, "name": name, "text": text, "values": values}


def _first_layer_pj(size: Dimensions, table: Inputs) -> float:
    """One gray frame in MACs, then sparse spikes."""
    return size.first * (table.mac_pj + table.share * table.ac_pj * (size.steps - 1))


def _input_density(size: Dimensions, table: Inputs, ann: float) -> dict[str, Any]:
    others = (size.pooled_inputs + size.binary_inputs) * size.steps * table.ac_pj
    snn = (_first_layer_pj(size, table) + others) * MJ_PER_PJ
    return _row(
        1,
        "input density on hidden layers",
        f"{table.share:.2%} is measured on the input and applied to every layer; if only layer 1 is that "
        f"sparse, the SNN costs {snn:.2f} mJ, {snn / ann:.2f} times the ANN",
        snn_mj=snn,
        times_ann=snn / ann,
    )


def _graded_pooling(size: Dimensions, table: Inputs) -> dict[str, Any]:
    p, n = table.share, size.window
    nonzero, full = 1 - (1 - p) ** n, p**n
    base = _first_layer_pj(size, table) + p * size.binary_inputs * size.steps * table.ac_pj
    pooled = size.pooled_inputs * size.steps

    def total(price_per_input: float) -> float:
        return (base + pooled * price_per_input) * MJ_PER_PJ

    naive, events, units = (total(rate * table.ac_pj) for rate in (p, nonzero, n * p))
    graded = total((nonzero - full) * table.mac_pj + full * table.ac_pj)
    return _row(
        2,
        "graded values after average pooling",
        f"pooled spikes are graded and more often non-zero ({nonzero:.1%} at rate {p:.2%}): {naive:.2f} mJ "
        f"becomes {events:.2f} (AC per event), {units:.2f} (AC per spike) or {graded:.2f} (graded: MAC)",
        naive_mj=naive,
        ac_per_event_mj=events,
        ac_per_spike_mj=units,
        mac_per_graded_mj=graded,
    )


def _neuron_updates(size: Dimensions, table: Inputs) -> dict[str, Any]:
    updates = size.neurons * size.steps
    leak = updates * table.mac_pj * MJ_PER_PJ
    compare = leak + updates * table.ac_pj * MJ_PER_PJ
    return _row(
        3,
        "neuron updates",
        f"{size.neurons:,} neurons x {size.steps} steps: {leak:.3f} mJ (1 MAC), {compare:.3f} mJ (with 1 AC)",
        updates=updates,
        leak_mj=leak,
        leak_and_compare_mj=compare,
    )


def _batch_norm(size: Dimensions, table: Inputs) -> dict[str, Any]:
    elements = size.normalised * size.steps
    energy = elements * table.mac_pj * MJ_PER_PJ
    return _row(
        4,
        "batch normalisation",
        f"{size.normalised:,} elements x {size.steps} steps, 1 MAC each: {energy:.3f} mJ, 0 if folded",
        elements=elements,
        energy_mj=energy,
    )


def _pooling(size: Dimensions, prices: PriceList) -> dict[str, Any]:
    rows = prices.arithmetic["fp32"]
    outputs = size.pooled * size.steps
    energy = outputs * ((size.window - 1) * rows["add"].value + rows["mult"].value) * MJ_PER_PJ
    return _row(
        4,
        "average pooling",
        f"{size.pooled:,} outputs x {size.steps} steps, {size.window - 1} adds + 1 mult: {energy:.3f} mJ",
        outputs=outputs,
        energy_mj=energy,
    )


def _memory(size: Dimensions, prices: PriceList, ann: float) -> dict[str, Any]:
    han, dram = prices.memory["dram_han"], prices.memory["dram"]
    words = size.hidden_weights * MJ_PER_PJ
    once = words * han.for_bits(32)[0]
    low, high = (words * value for value in dram.for_bits(32))
    return _row(
        5,
        "memory",
        f"reading the weights of the first dense layer once from DRAM: {once:.2f} mJ, {once / ann:.1f} times "
        f"the whole ANN, at {han.value:g} pJ per 32 bit [{han.grade}]; {low:.2f} to {high:.2f} mJ at "
        "Horowitz's range",
        dram_once_mj=once,
        dram_low_mj=low,
        dram_high_mj=high,
        times_ann=once / ann,
    )


def _early_fusion(table: Inputs) -> dict[str, Any]:
    step = table.step_pj() * table.mac_pj / table.ac_pj
    return _row(
        6,
        "early-fusion baseline",
        f"the ANN makes one pass over all frames, the SNN one per frame; an ANN per frame costs "
        f"{step * 1e-6:.0f} uJ per step, {step / table.step_pj():.1f} times the dense SNN at every N",
        ann_per_frame_uj=step * 1e-6,
        times_dense_snn=step / table.step_pj(),
    )


def _first_frame(size: Dimensions, table: Inputs) -> dict[str, Any]:
    gray = size.first * table.mac_pj
    spikes = size.first * table.share * table.ac_pj
    share = gray / _first_layer_pj(size, table)
    return _row(
        11,
        "gray first frame",
        f"{gray * 1e-6:.1f} uJ in layer 1, as much as {gray / spikes:.0f} frames of spikes "
        f"({spikes * 1e-6:.2f} uJ each): {share:.0%} of that layer's energy over {size.steps} steps",
        gray_uj=gray * 1e-6,
        spike_frame_uj=spikes * 1e-6,
        frames=gray / spikes,
        share_of_first_layer=share,
    )
