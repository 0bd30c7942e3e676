"""``report.json`` of `neuroemo energy`: built from counts and prices; docs/energy.md says what each number means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import Array
from neuroemo.energy.measure import Measured
from neuroemo.energy.networks import charged_dense, network_entry
from neuroemo.energy.scenarios import Grid, price_grid
from neuroemo.energy.schema import SCHEMA_VERSION
from neuroemo.energy.sources import EnergySource
from neuroemo.profiling.priced import EnergyModel
from neuroemo.profiling.prices import PriceList
from neuroemo.training.metrics import Score

DEFAULT_PRECISION = "fp32"


def build_document(
    source: EnergySource,
    measured: Measured,
    lists: Sequence[PriceList],
    models: Sequence[EnergyModel],
    *,
    precision: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Return the report: the first list and model, at ``precision``, stand on top.

    Raises:
        InputError: a precision that no scenario has, or prices that cannot be used, with every reason.
        UnsupportedError: no figure is published for anything that was asked for.
    """
    from neuroemo.energy.citation import bibtex
    from neuroemo.energy.latex import latex_table
    from neuroemo.profiling.chip_energy import PER_EVENT

    twin = None if measured.ann is None else charged_dense(measured.ann)
    grid = price_grid(measured.priced, twin, lists, models, PER_EVENT, trained=measured.trained)
    default = default_scenario(grid, lists, models, precision)
    labels = source.labels
    document = {
        "schema": SCHEMA_VERSION,
        "kind": "energy",
        "title": f"Energy of {source.network}",
        "tool": {"name": "neuroemo", "version": version("neuroemo")},
        "command": command,
        "source": _source(source, measured, labels),
        "policy": measured.priced.policy.to_dict(),
        "networks": {
            "deployed": network_entry(measured.priced, measured.titles["deployed"]),
            "trained": None
            if measured.trained is None
            else network_entry(measured.trained, measured.titles["trained"]),
            "ann": None if twin is None else network_entry(twin, measured.titles["ann"]),
        },
        "scenarios": grid.scenarios,
        "default_scenario": default["id"],
        "constants": grid.constants,
        "models": grid.models,
        "price_lists": grid.price_lists,
        "decision": _decision(measured, labels, default, grid, models),
        "findings": [finding.to_dict() for finding in (*source.findings, *measured.findings, *grid.findings)],
    }
    document |= {"citation": "", "latex": ""}
    document["citation"] = bibtex(document)
    document["latex"] = latex_table(document, default["id"])
    return document


def default_scenario(
    grid: Grid, lists: Sequence[PriceList], models: Sequence[EnergyModel], precision: str | None
) -> dict[str, Any]:
    """Return the scenario on top: the first at ``precision``, or where that is None at fp32, else the first of all.

    Raises:
        InputError: no scenario at that precision; prices that do not mix, or another reason to price nothing.
        UnsupportedError: nothing is published that could price anything.
    """
    asked = {prices.target for prices in lists}
    # A model that was asked for alone may have taken the list that it was published with.
    there = [made for made in grid.scenarios if made["prices"] in asked or len(models) == 1]
    if not there:
        refuse_all(grid)
    alike = [made for made in there if made["precision"] == (precision or DEFAULT_PRECISION)]
    if precision is not None and not alike:
        known = ", ".join(dict.fromkeys(made["precision"] for made in there))
        raise InputError(
            Finding("E884", "error", "--precision", f"nothing could be priced at {precision!r}", f"one of {known}")
        )
    return (alike or there)[0]


def refuse_all(grid: Grid) -> None:
    """Raise every reason why no list that was asked for priced anything.

    Raises:
        InputError: at least one reason lies in what was asked for.
        UnsupportedError: no figure is published.
    """
    fix = "choose other targets, for example --targets cmos45"
    reasons = grid.findings or [Finding("E884", "error", "--targets", "no price list", "1 or more")]
    told = [replace(reason, code="E884", severity="error", fix=reason.fix or fix) for reason in reasons]
    raise (UnsupportedError if grid.only_unsupported else InputError)(told)


def _source(source: EnergySource, measured: Measured, labels: Array | None) -> dict[str, Any]:
    return {
        "model": source.model,
        "form": source.form,
        "network": source.network,
        "data": source.data,
        "split": source.split,
        "clips": len(source.positions),
        "steps": measured.priced.steps,
        "first_frame": source.first_frame,
        "accuracy": _accuracy(measured.answers, labels),
        "labels": list(source.classes or ()),
    }


def _accuracy(answers: Array | None, labels: Array | None) -> dict[str, Any] | None:
    if answers is None or labels is None:
        return None
    score = Score(int(np.sum(answers[-1] == labels)), len(labels))
    low, high = score.interval
    # Rounding may put the upper bound of a perfect score a hair above 1.
    return {"correct": score.correct, "clips": score.clips, "low": max(low, 0.0), "high": min(high, 1.0)}


def _decision(
    measured: Measured, labels: Array | None, default: dict[str, Any], grid: Grid, models: Sequence[EnergyModel]
) -> dict[str, Any] | None:
    """Return energy and accuracy along the steps, priced like the scenario on top; None without answers and labels."""
    if measured.answers is None or labels is None or measured.priced.unplaced:
        return None
    from neuroemo.profiling.chip_energy import PER_EVENT
    from neuroemo.profiling.decision import decision

    model = next(model for model in (*models, PER_EVENT) if model.id == default["model"])
    prices = grid.used[default["prices"]]
    found = decision(measured.priced, measured.answers, labels, model, prices, default["precision"])
    return found.to_json() | {"scenario": default["id"]}
