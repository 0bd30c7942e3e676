"""Counts times a chip's published energy per event: the energy model "per-event".

On a chip (price lists of kind "events")::

    E = E_op (AC + MAC) + E_update (neuron updates)          pJ, divided by the samples

with the update only where it is published in the same grade as the operation. On a processor (kind "dense") every
connection of every step costs one multiply-accumulate, whatever the spikes. Where nothing is published nothing is
priced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hw_targets.finding import Finding, InputError, UnsupportedError
from neuroemo.profiling.counting.counts import LayerCounts, OpCounts
from neuroemo.profiling.mixing import check_mix
from neuroemo.profiling.price_file import Price
from neuroemo.profiling.priced import EnergyModel, Priced, Side
from neuroemo.profiling.prices import PriceList

OPERATION, DENSE_MAC = "events.synaptic_operation", "dense.mac"
_UPDATE = "events.neuron_update"
_ACTIVE, _INACTIVE = f"{_UPDATE}_active", f"{_UPDATE}_inactive"
_PLACED = ("hop", "tile", "route")
_OPERATIONS, _UPDATES, _MACS = "synaptic operations", "neuron updates", "multiply-accumulates"


def price_events(counts: OpCounts, prices: PriceList, precision: str = "native", side: Side = "snn") -> Priced:
    """Price a network at a chip's energy per event, or at a processor's energy per multiply-accumulate.

    Where the source prints a range, or tells active from inactive neurons, which counts cannot, the lower price is
    charged and the upper total is said in the assumptions; ``price_range`` returns both.

    >>> import numpy as np
    >>> from neuroemo.profiling.prices import load_prices
    >>> spikes = LayerCounts("synapse", "Linear", np.array([[[1000, 0, 10, 0]]]))  # 1,000 AC in one step
    >>> counts = OpCounts({"fc": spikes}, samples=1, steps=1)
    >>> round(price_events(counts, load_prices("loihi1")).total_pj)
    23600

    Raises:
        UnsupportedError: no figure per operation is published, or a dense network on a chip priced per event.
        InputError: a list of another kind, no operating point chosen, a precision, or prices that do not mix.
    """
    return price_range(counts, prices, precision, side)[0]


def price_range(
    counts: OpCounts, prices: PriceList, precision: str = "native", side: Side = "snn"
) -> tuple[Priced, Priced]:
    """Return the lower and the upper bill of ``price_events``; they are equal where the source prints one value.

    Raises:
        UnsupportedError, InputError: as ``price_events``.
    """
    _refuse(prices, precision, side)
    if prices.kind == "dense":
        row = prices.price(DENSE_MAC)
        used, layers = [row], (_dense_layers(counts, row.value), _dense_layers(counts, _high(row)))
    else:
        row, (low, high) = prices.price(OPERATION), _updates(prices)
        used = [row, *dict.fromkeys(update for update in (low, high) if update)]
        layers = (
            _event_layers(counts, row.value, low.value if low else 0.0),
            _event_layers(counts, _high(row), _high(high) if high else 0.0),
        )
    check_mix(used, from_memory=[each.name for each in used] if "@" in prices.target else ())
    sums = [sum(sum(parts.values()) for parts in each.values()) for each in layers]
    said = tuple(_assumptions(counts, prices, used, sums))
    left_out = () if prices.kind == "dense" else _uncovered(counts)
    low_bill, high_bill = (
        Priced(
            model=PER_EVENT.id,
            prices=prices.target,
            precision=precision,
            side=side,
            samples=counts.samples,
            steps=counts.steps,
            layers=each,
            constants=tuple(row.name for row in used),
            assumptions=said,
            partial=tuple(dict.fromkeys((*counts.partial, *left_out))),
        )
        for each in layers
    )
    return low_bill, high_bill


def _refuse(prices: PriceList, precision: str, side: Side) -> None:
    if prices.kind == "unpublished":
        count = f"{len(prices.measurements)} measured workloads"
        fix = f"{count} are listed under measurements in the prices.toml of {prices.target}, and in docs/prices.md"
        raise UnsupportedError(Finding("E828", "error", prices.target, f"not priced: {prices.reason}", fix=fix))
    if prices.kind not in ("events", "dense"):
        fix = "price it with an arithmetic model"
        raise InputError(
            Finding("E829", "error", prices.target, f"a list of kind {prices.kind}", "kind events or dense", fix=fix)
        )
    if precision not in prices.precisions:
        raise InputError(Finding("E810", "error", precision, f"{prices.target} has no such precision", "native"))
    if prices.kind == "dense":
        return
    if side == "ann":
        found = "an energy per event does not price a dense network"
        fix = "price the twin with a list of kind dense, and report the two figures apart"
        raise UnsupportedError(Finding("E829", "error", prices.target, found, "a spiking network", fix=fix))
    if OPERATION not in prices.rows:
        names = ", ".join(f"{prices.target}@{point} ({title})" for point, title in prices.points.items())
        found = "no energy per synaptic operation without saying which"
        raise InputError(Finding("E829", "error", prices.target, found, f"one of {names}" if names else OPERATION))


def _updates(prices: PriceList) -> tuple[Price | None, Price | None]:
    """The prices of a neuron update, lower and upper, None where there is none of the operation's grade."""
    grade = prices.price(OPERATION).grade
    if grade == "measured_all_in":
        return None, None
    rows = {name: prices.rows[name] for name in (_UPDATE, _INACTIVE, _ACTIVE) if name in prices.rows}
    alike = {name: row for name, row in rows.items() if row.grade == grade}
    if _UPDATE in alike:
        return alike[_UPDATE], alike[_UPDATE]
    return alike.get(_INACTIVE), alike.get(_ACTIVE)


def _event_layers(counts: OpCounts, operation: float, update: float) -> dict[str, dict[str, float]]:
    layers: dict[str, dict[str, float]] = {}
    for name, layer in counts.layers.items():
        if layer.kind == "neuron":
            layers[name] = {_UPDATES: layer.neuron_updates * update / counts.samples} if update else {}
        elif _is_synaptic(layer):
            layers[name] = {_OPERATIONS: (layer.acs + layer.macs) * operation / counts.samples}
    return layers


def _dense_layers(counts: OpCounts, mac: float) -> dict[str, dict[str, float]]:
    return {
        name: {_MACS: (layer.dense_macs if layer.kind == "synapse" else layer.acs + layer.macs) * mac / counts.samples}
        for name, layer in counts.layers.items()
        if layer.kind != "neuron"
    }


def _is_synaptic(layer: LayerCounts) -> bool:
    return layer.kind == "synapse" and not (layer.geometry and layer.geometry.kind == "product")


def _uncovered(counts: OpCounts) -> tuple[str, ...]:
    """Layers that a price per synaptic operation says nothing about: products of activations, element-wise work."""
    return tuple(name for name, layer in counts.layers.items() if layer.kind != "neuron" and not _is_synaptic(layer))


def _high(row: Price) -> float:
    return row.value if row.high is None else row.high


def _assumptions(counts: OpCounts, prices: PriceList, used: Iterable[Price], sums: list[float]) -> Iterator[str]:
    rows = list(used)
    yield f"{prices.name}: {prices.scope}."
    if prices.point:
        yield f"At the operating point {prices.point}: {prices.points[prices.point]}."
    for grade in dict.fromkeys(row.grade for row in rows):
        yield f"Grade {grade}: {prices.grades[grade]}."
    yield from (f"{row.name}, {row.value:g} pJ, {row.source}: {row.note}" for row in rows if row.note)
    if prices.kind == "dense":
        yield "Every connection of every step is a multiply-accumulate; spikes save nothing on a dense processor."
        yield "Neuron updates and activations are not charged: no figure for them is in the list."
        return
    yield from _about_events(counts, prices, rows, sums)


def _about_events(counts: OpCounts, prices: PriceList, rows: list[Price], sums: list[float]) -> Iterator[str]:
    layers = [layer for layer in counts.layers.values() if _is_synaptic(layer)]
    graded, events = sum(layer.macs for layer in layers), sum(layer.acs + layer.macs for layer in layers)
    if graded:
        yield (
            f"{graded:,} of {events:,} synaptic operations come from graded values; each is charged as one synaptic "
            "operation, although the figure is of binary spikes."
        )
    updates = [row for row in rows if row.name.startswith(_UPDATE)]
    if sums[1] > sums[0]:
        high = f"{sums[1]:.6g} pJ per sample in place of {sums[0]:.6g}"
        if len(updates) > 1:
            yield f"Which neurons were active is not in the counts: all are charged as inactive; all active: {high}."
        else:
            yield f"The source prints a range: its lower end is charged; at its upper end: {high}."
    if rows[0].grade == "measured_all_in":
        yield "An all-in figure: static power, neurons and routing of its operating point are in it, nothing is added."
    elif not updates:
        yield "Neuron updates are not charged: no figure of the same grade is published."
    if any(word in name for name in prices.rows for word in _PLACED) and rows[0].grade != "measured_all_in":
        yield "Moving spikes between cores is not charged: it depends on where neurons are placed."
    for name in _uncovered(counts):
        yield f"{name} is not charged: it has no stored weights, which a price per synaptic operation is about."


PER_EVENT = EnergyModel(
    id="per-event",
    title="Published energy per operation of a device",
    scope="synaptic operations, and neuron updates where a figure of the same grade is published; no static power, "
    "no host, no sensor: a lower bound or the average of one operating point, never a bill",
    citation="each price list names its own source",
    url="",
    price=price_events,
)
