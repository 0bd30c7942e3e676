"""Every way of pricing one measurement: energy model x price list x precision, and what each was made from.

A combination that its model or its prices refuse is left out and named in a finding, never filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hw_targets.finding import Finding, InputError, NeuroEmoError, UnsupportedError
from neuroemo.energy.words import energy
from neuroemo.profiling.counting.counts import OpCounts
from neuroemo.profiling.priced import EnergyModel, Priced
from neuroemo.profiling.prices import PriceList

NATIVE = "native"
PRECISIONS = ("fp32", "fp16", "int32", "int16", "int8", "int4")
"""Tried where a list names none: its rows are not of one precision, and the model knows which it takes."""
HOME = {"yan": "cmos22", "davidson": "davidson_furber"}
"""Lists that a model was published with, for models that charge more than an addition and a multiplication."""
NO_TWIN = "there is no ANN twin to compare with"
NO_GRADE = "no figure of the same grade for the twin: a chip's own figures price what runs on that chip alone"

AS_TRAINED = "the network as trained: pools give graded inputs"


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What was priced, with the lists, models and constants (``LIST:row``) that it takes; refusals as findings."""

    scenarios: list[dict[str, Any]] = field(default_factory=list)
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    price_lists: dict[str, dict[str, str]] = field(default_factory=dict)
    constants: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    used: dict[str, PriceList] = field(default_factory=dict)
    refusals: set[type[NeuroEmoError]] = field(default_factory=set)
    recounted: Mapping[str, OpCounts] = field(default_factory=dict)

    @property
    def only_unsupported(self) -> bool:
        """Whether what was refused was refused because nothing is published."""
        return self.refusals == {UnsupportedError}

    def add(self, made: dict[str, Any], model: EnergyModel, prices: PriceList) -> None:
        """Keep a scenario and whatever explains it."""
        self.scenarios.append(made)
        self.used[prices.target] = prices
        self.models[model.id] = {key: getattr(model, key) for key in ("title", "scope", "citation", "url")}
        self.price_lists[prices.target] = {"name": prices.name, "kind": prices.kind, "scope": prices.scope}
        sides = [made[side] for side in ("snn", "ann") if made[side] is not None]
        rows = [*(name for side in sides for name in side["constants"]), *(r["constant"] for r in made["sensitivity"])]
        for name in rows:
            if name not in self.constants and name.startswith(f"{prices.target}:"):
                self.constants[name] = constant_entry(prices, name.removeprefix(f"{prices.target}:"))


def constant_entry(prices: PriceList, name: str) -> dict[str, Any]:
    """Return one price with its provenance."""
    price = asdict(prices.price(name))
    kept = ("value", "high", "unit", "source", "year", "grade", "node_nm", "voltage_v", "note")
    told = {key: price.get(key) for key in kept}
    return {"name": name} | told | {"grade_text": prices.grades.get(price["grade"], price["grade"])}


def price_grid(
    snn: OpCounts,
    ann: OpCounts | None,
    lists: Sequence[PriceList],
    models: Sequence[EnergyModel],
    chips: EnergyModel,
    *,
    trained: OpCounts | None = None,
) -> Grid:
    """Price counts in every combination; lists of a device's own figures are priced with the model ``chips``.

    A model that none of the lists of arithmetic can price takes the list of its own authors (``HOME``).
    ``trained`` counts the network before pools and normalisation were folded away: another way to count it.
    """
    grid = Grid(recounted={} if trained is None else {AS_TRAINED: trained})
    arithmetic = [prices for prices in lists if prices.kind == "arithmetic"]
    for model in models if arithmetic else ():
        refused = [finding for prices in arithmetic for finding in _priced(grid, snn, ann, model, prices)]
        if not _is_there(grid, model) and model.id in HOME:
            more = _priced(grid, snn, ann, model, _home(model, arithmetic))
            refused = [] if _is_there(grid, model) else refused + more
        grid.findings.extend(refused)
    for prices in lists:
        if prices.kind != "arithmetic":
            grid.findings.extend(_priced(grid, snn, ann, chips, prices))
    return grid


def _is_there(grid: Grid, model: EnergyModel) -> bool:
    return any(made["model"] == model.id for made in grid.scenarios)


def _home(model: EnergyModel, asked: Sequence[PriceList]) -> PriceList:
    from neuroemo.profiling.prices import load_prices

    there = [prices for prices in asked if prices.target == HOME[model.id]]
    return there[0] if there else load_prices(HOME[model.id])


def _priced(grid: Grid, snn: OpCounts, ann: OpCounts | None, model: EnergyModel, prices: PriceList) -> list[Finding]:
    """Add a scenario for every precision; those refused for one reason are one finding, which is returned."""
    refused: dict[tuple[str, str, str], list[str]] = {}
    for precision in prices.precisions or PRECISIONS:
        try:
            grid.add(_scenario(snn, ann, model, prices, precision, grid.recounted), model, prices)
        except NeuroEmoError as error:
            grid.refusals.add(type(error))
            first = error.findings[0]
            found = f"{first.node}: {first.found}" if first.node != prices.target else first.found
            found += f" (and {len(error.findings) - 1} more)" if len(error.findings) > 1 else ""
            refused.setdefault((found, first.limit, first.fix), []).append(precision)
    code = "W881" if prices.kind == "unpublished" else "W880"
    return [
        Finding(
            code,
            "warning",
            _name(model, prices, those),
            f"not priced: {found.removeprefix('not priced: ')}",
            limit,
            fix=fix,
        )
        for (found, limit, fix), those in refused.items()
    ]


def _scenario(
    snn: OpCounts,
    ann: OpCounts | None,
    model: EnergyModel,
    prices: PriceList,
    precision: str,
    recounted: Mapping[str, OpCounts],
) -> dict[str, Any]:
    """Compare with the twin where one is priced alike: a processor computes every connection of either network."""
    if ann is None:
        return _alone(snn, model, prices, precision, NO_TWIN)
    if prices.kind in ("arithmetic", "dense"):
        return _compared(snn, ann, model, prices, precision, recounted)
    return _alone(snn, model, prices, precision, NO_GRADE)


def _name(model: EnergyModel, prices: PriceList, precisions: Sequence[str]) -> str:
    return "/".join([model.id, prices.target] + ([] if prices.kind == "unpublished" else [",".join(precisions)]))


# --- one scenario --------------------------------------------------------------------------------------------------


def _compared(
    snn: OpCounts,
    ann: OpCounts,
    model: EnergyModel,
    prices: PriceList,
    precision: str,
    recounted: Mapping[str, OpCounts],
) -> dict[str, Any]:
    from neuroemo.profiling.sensitivity import sensitivity
    from neuroemo.profiling.twin import compare

    twin = compare(snn, ann, model, prices, precision)
    rows = sensitivity(snn, ann, model, prices, precision)
    low, high = twin.ratio_interval or (None, None)
    return _head(model, prices, precision) | {
        "snn": _side(twin.snn, prices, twin.snn_interval),
        "ann": _side(twin.ann, prices, None),
        "ratio": twin.ratio,
        "ratio_low": low,
        "ratio_high": high,
        "verdict": twin.verdict,
        "words": twin.words,
        "break_even_steps": twin.break_even_steps,
        "curve": {"snn_pj": [float(value) for value in twin.step_curve], "ann_pj": twin.ann.total_pj},
        "spikes_per_synapse": twin.spikes_per_synapse,
        "break_even_spikes_per_synapse": twin.break_even_spikes_per_synapse,
        "spike_rate": twin.spike_rate,
        "mac_per_ac": twin.mac_per_ac,
        "sensitivity": [_sensitivity_entry(row, prices) for row in rows],
        "choices": _choices(snn, ann, model, prices, precision, recounted),
        "reason": None,
    }


def _choices(
    snn: OpCounts,
    ann: OpCounts,
    model: EnergyModel,
    prices: PriceList,
    precision: str,
    recounted: Mapping[str, OpCounts],
) -> list[dict[str, Any]]:
    """Return what becomes of the ratio under other choices that are no price; models and precisions are scenarios."""
    from neuroemo.profiling.sensitivity import PER_FRAME, ZEROS_SKIPPED, choices

    frames = recounted.get(AS_TRAINED)
    rows = choices(snn, ann, model, prices, precision, models=(), recounted=recounted, frames=frames)
    # A twin that is charged a dense pass has no zeros to skip; a network on the chip has pools in its kernels.
    pointless = {ZEROS_SKIPPED} if ann.total.acs + ann.total.macs == ann.total.dense_macs else set()
    pointless |= {PER_FRAME} if frames is None else set()
    return [
        {key: value for key, value in row.to_json().items() if key != "flips"}
        for row in rows
        if row.choice != "precision" and row.changed_to not in pointless
    ]


def _sensitivity_entry(row: Any, prices: PriceList) -> dict[str, Any]:
    return {
        "constant": f"{prices.target}:{row.constant}",
        "value": row.value,
        "halved": row.halved,
        "doubled": row.doubled,
        "flips_at": row.flips_at,
    }


def _alone(snn: OpCounts, model: EnergyModel, prices: PriceList, precision: str, reason: str) -> dict[str, Any]:
    """Return a network by itself: its energy, its spread and its course over the steps, and no verdict."""
    from neuroemo.profiling.energy import energy_summary
    from neuroemo.profiling.twin import above_zero, spike_rate, step_curve

    priced = model.price(snn, prices, precision, "snn")
    summary = energy_summary(snn, model, prices, precision, "snn")
    total = snn.total
    return _head(model, prices, precision) | {
        "snn": _side(priced, prices, None if summary is None else above_zero(summary.interval)),
        "ann": None,
        "ratio": None,
        "ratio_low": None,
        "ratio_high": None,
        "verdict": "none",
        "words": alone_words(priced, model, prices, reason),
        "break_even_steps": None,
        "curve": {"snn_pj": list(step_curve(snn, model, prices, precision)), "ann_pj": None},
        "spikes_per_synapse": (total.acs + total.macs) / snn.samples / total.synapses if total.synapses else None,
        "break_even_spikes_per_synapse": None,
        "spike_rate": spike_rate(snn),
        "mac_per_ac": None,
        "sensitivity": [],
        "choices": [],
        "reason": reason,
    }


def alone_words(priced: Priced, model: EnergyModel, prices: PriceList, reason: str) -> str:
    """Return the energy of a network that stands alone as a sentence with its conditions."""
    bound = "at least " if priced.partial else ""
    precision = "" if priced.precision == NATIVE else f" at {priced.precision.upper()}"
    return (
        f"With {prices.name}{precision} ({model.title}), the network costs {bound}{energy(priced.total_pj)} "
        f"per clip; {reason}."
    )


def _head(model: EnergyModel, prices: PriceList, precision: str) -> dict[str, Any]:
    name = f"{model.id}/{prices.target}/{precision}"
    return {"id": name, "model": model.id, "prices": prices.target, "precision": precision}


def _side(priced: Priced, prices: PriceList, interval: tuple[float, float] | None) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {
        "total_pj": priced.total_pj,
        "low_pj": low,
        "high_pj": high,
        "parts_pj": priced.parts(),
        "layers_pj": {name: dict(layer) for name, layer in priced.layers.items()},
        "assumptions": list(priced.assumptions),
        "constants": [f"{prices.target}:{name}" for name in priced.constants],
        "partial": list(priced.partial),
    }


# --- choices -------------------------------------------------------------------------------------------------------


def chosen_models(name: str) -> list[EnergyModel]:
    """Return the energy models of that name, or all of them.

    Raises:
        InputError: no such model.
    """
    from neuroemo.profiling.energy import MODELS

    if name == "all":
        return list(MODELS.values())
    if name not in MODELS:
        choices = f"one of {', '.join([*MODELS, 'all'])}"
        raise InputError(Finding("E883", "error", "--energy-model", f"no energy model {name!r}", choices))
    return [MODELS[name]]


def chosen_lists(targets: Sequence[str], nodes: Sequence[str]) -> list[PriceList]:
    """Load price lists by name or path, and scale those of arithmetic to other nodes.

    Raises:
        InputError: no such list or node, or a list that is not whole; all of them at once.
    """
    from neuroemo.profiling.prices import load_prices

    lists: list[PriceList] = []
    findings: list[Finding] = []
    for target in targets:
        try:
            lists.append(load_prices(target))
        except InputError as error:
            findings += error.findings
    for prices, node in [(prices, node) for prices in lists if prices.kind == "arithmetic" for node in nodes]:
        try:
            lists.append(_scaled(prices, node))
        except InputError as error:
            findings += error.findings
    findings += _namesakes(lists)
    if findings:
        raise InputError(dict.fromkeys(findings))
    return list({prices.target: prices for prices in lists}.values())


def _scaled(prices: PriceList, node: str) -> PriceList:
    import re

    from neuroemo.profiling.scaling import scaled

    match = re.fullmatch(r"(\w+)-(\d+(?:\.\d+)?)V?", node)
    if match is None:
        raise InputError(Finding("E883", "error", "--nodes", repr(node), "NODE-VOLTAGE, for example 14HP-0.80V"))
    return scaled(prices, match[1], float(match[2]))


def _namesakes(lists: Sequence[PriceList]) -> list[Finding]:
    """Return a finding for every id that stands for two lists that differ: the report could not tell them apart."""
    first = {prices.target: prices for prices in reversed(lists)}
    names = dict.fromkeys(prices.target for prices in lists if prices != first[prices.target])
    fix = "give each list of your own an id of its own"
    return [Finding("E883", "error", "--targets", f"two lists with the id {name}", "one", fix=fix) for name in names]
