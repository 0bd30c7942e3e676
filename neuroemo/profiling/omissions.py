"""What the energy analysis of "Spiking Emotions" leaves out or gets wrong, each item with its size.

Items are numbered as they stand in ``docs/paper.md``; every size is computed under the inferred architecture from
counts, prices and what the paper prints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from neuroemo.profiling.priced import MJ_PER_PJ
from neuroemo.profiling.prices import Price, PriceList

TEST_CLIPS = 402
"""The smallest test set that yields the shares of Table I: 61.69 % is 248 of 402, 63.43 % is 255."""
CORRECT_LIF, CORRECT_PLIF = 248, 255
GAIN_PRINTED = 2.24
"""Percentage points that the text gives for PLIF over LIF."""
VOTING_RATES = ("0.4925", "0.5075", "0.5060", "0.4955")
VOTERS = 10


@dataclass(frozen=True, slots=True)
class Analysis:
    """The paper's analysis in numbers: dense operations of ANN and SNN, prices (pJ), share of events.

    ``printed_step_pj`` and ``printed_const_pj`` follow from the operation counts as printed.
    """

    ann_first: float
    ann_other: float
    snn_first: float
    snn_other: float
    share: float
    ac_pj: float
    mac_pj: float
    steps_printed: int
    printed_step_pj: float
    printed_const_pj: float

    def ann_pj(self) -> float:
        """Energy of the ANN, one dense pass."""
        return self.mac_pj * (self.ann_first + self.ann_other)

    def step_pj(self) -> float:
        """Energy of one dense SNN step."""
        return self.ac_pj * (self.snn_first + self.snn_other)

    def const_pj(self) -> float:
        """Surcharge of the gray first frame."""
        return (self.mac_pj - self.ac_pj) * self.snn_first

    def snn_pj(self, steps: int, share: float) -> float:
        """Energy of the SNN as the paper computes it for a data set: one share on every layer."""
        return share * self.step_pj() * steps + self.const_pj()


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes of a network: synaptic operations by what feeds them, weights, and elements per step.

    ``first``, ``pooled_inputs`` and ``binary_inputs`` are dense operations of one step of the first layer, of
    layers fed by average pooling over ``window`` values, and of layers fed by spikes; ``positions`` is
    polarities x height x width of the input.
    """

    steps: int
    positions: int
    first: int
    pooled_inputs: int
    binary_inputs: int
    hidden_weights: int
    neurons: int
    normalised: int
    pooled: int
    window: int


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """Energy of all reads and writes of SNN and ANN (mJ per clip), by each published reading of the same prices."""

    snn_mj: tuple[float, ...]
    ann_mj: tuple[float, ...]


def omissions(
    size: Dimensions, table: Analysis, prices: PriceList, memory: MemoryRange, all_in: Price
) -> list[dict[str, Any]]:
    """Return JSON-ready rows: item, name, text, values (mJ per clip unless the key says otherwise).

    ``all_in`` is a chip's whole power over its synaptic events, at one operating point.
    """
    ann = table.ann_pj() * MJ_PER_PJ
    return [
        _input_density(size, table, ann),
        _graded_pooling(size, table),
        _neuron_updates(size, table),
        _batch_norm(size, table),
        _pooling(size, prices),
        _memory(size, prices, ann),
        _all_accesses(table, size, memory, ann),
        _early_fusion(table),
        _ann_as_charged(size, table, prices),
        _arithmetic_only(size, table, prices, all_in),
        _rounded_inputs(size, table),
        _accuracy(size, table),
        _first_frame(size, table),
        _meaning_of_density(size, table),
    ]


def _row(item: int, name: str, text: str, **values: float) -> dict[str, Any]:
    return {"item": item, "name": name, "text": text, "values": values}


def _first_layer_pj(size: Dimensions, table: Analysis) -> float:
    """One gray frame in MACs, then sparse spikes."""
    return size.first * (table.mac_pj + table.share * table.ac_pj * (size.steps - 1))


def _input_density(size: Dimensions, table: Analysis, ann: float) -> dict[str, Any]:
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


def _graded_pooling(size: Dimensions, table: Analysis) -> dict[str, Any]:
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


def _neuron_updates(size: Dimensions, table: Analysis) -> dict[str, Any]:
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


def _batch_norm(size: Dimensions, table: Analysis) -> dict[str, Any]:
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


def _all_accesses(table: Analysis, size: Dimensions, memory: MemoryRange, ann: float) -> dict[str, Any]:
    snn = table.snn_pj(size.steps, table.share) * MJ_PER_PJ
    spiking, dense = (f"{min(found):.0f} to {max(found):.0f}" for found in (memory.snn_mj, memory.ann_mj))
    times = [one / other for one, other in zip(memory.snn_mj, memory.ann_mj, strict=True)]
    turned = "the comparison turns round" if min(times) > 1 else "the SNN stays ahead in one of them"
    return _row(
        5,
        "memory, every access",
        f"weights, potentials and spikes as Lemaire et al. (ICONIP 2022) charge them, by two published readings of the "
        f"same prices: SNN {spiking} mJ, ANN without reuse {dense} mJ; arithmetic is {snn:.2f} and {ann:.2f} mJ; "
        f"the SNN then costs {min(times):.1f} to {max(times):.1f} times the ANN: {turned}",
        snn_low_mj=min(memory.snn_mj),
        snn_high_mj=max(memory.snn_mj),
        ann_low_mj=min(memory.ann_mj),
        ann_high_mj=max(memory.ann_mj),
        times_ann_low=min(times),
        times_ann_high=max(times),
    )


def _early_fusion(table: Analysis) -> dict[str, Any]:
    step = table.step_pj() * table.mac_pj / table.ac_pj
    return _row(
        6,
        "early-fusion baseline",
        f"the ANN makes one pass over all frames, the SNN one per frame; an ANN per frame costs "
        f"{step * 1e-6:.0f} uJ per step, {step / table.step_pj():.1f} times the dense SNN at every N",
        ann_per_frame_uj=step * 1e-6,
        times_dense_snn=step / table.step_pj(),
    )


def _ann_as_charged(size: Dimensions, table: Analysis, prices: PriceList) -> dict[str, Any]:
    def skipping(density: float) -> float:
        # One of the ANN's channels is gray, the others hold an event at that share of their pixels.
        first = table.ann_first * (1 + (size.steps - 1) * density) / size.steps
        return (first + table.ann_other) * table.mac_pj * MJ_PER_PJ

    # A pixel changes one way at a time: a share of pixels is half as much per polarity.
    snn_pixels, snn = (table.snn_pj(size.steps, share) * MJ_PER_PJ for share in (table.share / 2, table.share))
    pixels, channels = skipping(table.share), skipping(2 * table.share)
    ratios, factors = {}, {}
    for precision in ("fp32", "fp16", "int8", "int32"):
        ac, mac = prices.accumulate(precision).value, prices.multiply_accumulate(precision).value
        priced = replace(table, ac_pj=ac, mac_pj=mac)
        ratios[precision] = priced.ann_pj() / priced.snn_pj(size.steps, table.share)
        factors[precision] = mac / ac
    shown = ", ".join(f"{name} k = {factors[name]:.2f}: {ratios[name]:.2f}" for name in ratios)
    return _row(
        7,
        "the ANN as it is charged",
        f"its input is as sparse as the SNN's, but every zero is charged: without them the ANN costs {pixels:.2f} mJ, "
        f"{pixels / snn_pixels:.1f} times the SNN ({table.share:.2%} of pixels), or {channels:.2f} mJ, "
        f"{channels / snn:.1f} times (of each polarity); and both are FP32: ANN over SNN by precision, k = MAC/AC: "
        f"{shown}",
        ann_skipping_zeros_mj=pixels,
        times_snn=pixels / snn_pixels,
        ann_skipping_zeros_high_mj=channels,
        times_snn_high=channels / snn,
        **{f"k_{name}": factor for name, factor in factors.items()},
        **{f"ratio_{name}": ratio for name, ratio in ratios.items()},
    )


def _arithmetic_only(size: Dimensions, table: Analysis, prices: PriceList, all_in: Price) -> dict[str, Any]:
    ac, mac = prices.accumulate("int8").value, prices.multiply_accumulate("int8").value
    snn = table.snn_pj(size.steps, table.share) * MJ_PER_PJ
    small = replace(table, ac_pj=ac, mac_pj=mac).snn_pj(size.steps, table.share) * MJ_PER_PJ
    events = table.share * (table.snn_first + table.snn_other) * size.steps
    spikes = table.share * (size.neurons * size.steps + size.positions * (size.steps - 1))
    chip = events * all_in.value * MJ_PER_PJ
    return _row(
        8,
        "arithmetic only, 45 nm, FP32",
        f"a chip with 8-bit weights would spend {small:.4f} mJ on the same arithmetic, {snn / small:.0f} times less; "
        f"not charged: routing {spikes / 1e6:.1f}M spikes, addressing {events / 1e6:.0f}M synaptic events, and "
        f"leakage; with all that in it an event is {all_in.value:g} pJ on TrueNorth at one operating point "
        f"[{all_in.grade}], which would make {chip:.1f} mJ",
        int8_mj=small,
        times_less=snn / small,
        spikes=spikes,
        synaptic_events=events,
        all_in_mj=chip,
    )


def _rounded_inputs(size: Dimensions, table: Analysis) -> dict[str, Any]:
    steps = table.steps_printed
    exact = (table.step_pj() * steps + table.const_pj()) * MJ_PER_PJ
    printed = (table.printed_step_pj * steps + table.printed_const_pj) * MJ_PER_PJ
    pairs = (table.printed_step_pj, table.step_pj()), (table.printed_const_pj, table.const_pj())
    both = [[f"{value * 1e-6:.3f}" for value in pair] for pair in pairs]
    return _row(
        9,
        "computed from rounded numbers",
        f"{both[0][0]} uJ per step is exactly {both[0][1]}, {both[1][0]} uJ for the gray frame exactly {both[1][1]}; "
        f"{printed:.4f} mJ at N = {steps} exactly {exact:.4f}; the last column holds N = {steps} and N = {size.steps} "
        "side by side without saying so",
        step_uj=(table.step_pj() - table.printed_step_pj) * 1e-6,
        const_uj=(table.const_pj() - table.printed_const_pj) * 1e-6,
        snn_uj=(exact - printed) * 1e3,
    )


def _accuracy(size: Dimensions, table: Analysis) -> dict[str, Any]:
    gain = 100 * (CORRECT_PLIF - CORRECT_LIF) / TEST_CLIPS
    steps = voting_steps(size.steps)
    voted = (table.share * table.printed_step_pj * steps + table.printed_const_pj) * MJ_PER_PJ
    return _row(
        10,
        "accuracy gain and number of steps",
        f"PLIF over LIF is {CORRECT_PLIF} against {CORRECT_LIF} of {TEST_CLIPS} clips, {gain:.2f} points and not "
        f"{GAIN_PRINTED}, which is {round(GAIN_PRINTED / 100 * TEST_CLIPS)} clips; the voting rates printed are shares "
        f"of {VOTERS} neurons x {steps} steps and not {size.steps}: {voted:.4f} mJ; the caption of Fig. 3 "
        "calls both halves of the voting neurons negative",
        gain_points=gain,
        gain_too_high_points=GAIN_PRINTED - gain,
        voting_steps=steps,
        snn_mj_at_voting_steps=voted,
    )


def voting_steps(steps: int) -> int:
    """Return the largest number of steps, at most ``steps``, whose spike counts give every printed voting rate.

    >>> voting_steps(68)
    67
    """

    def fits(count: int, rate: str) -> bool:
        return f"{round(float(rate) * VOTERS * count) / (VOTERS * count):.4f}" == rate

    return next((count for count in range(steps, 0, -1) if all(fits(count, rate) for rate in VOTING_RATES)), 0)


def _first_frame(size: Dimensions, table: Analysis) -> dict[str, Any]:
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


def _meaning_of_density(size: Dimensions, table: Analysis) -> dict[str, Any]:
    as_printed, halved = (table.snn_pj(size.steps, share) * MJ_PER_PJ for share in (table.share, table.share / 2))
    first = table.share * table.ac_pj * table.snn_first * (size.steps - 1) * MJ_PER_PJ
    return _row(
        12,
        f"what {table.share:.2%} is a share of",
        f"a share of pixels (an event of either polarity) or of both channels' positions is not said; of pixels, "
        f"each channel holds half: the formula gives {halved:.2f} instead of {as_printed:.2f} mJ, layer 1 "
        f"{first / 2:.4f} instead of {first:.4f} mJ for its spikes",
        per_channel_mj=as_printed,
        per_pixel_mj=halved,
        first_layer_mj=first,
        first_layer_per_pixel_mj=first / 2,
    )
