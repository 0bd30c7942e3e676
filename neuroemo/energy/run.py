"""`neuroemo energy` as functions: measure and price into a document, and write it with its tables and page."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.swap import folder_aside, put_in_place
from hw_targets.finding import Finding, InputError
from neuroemo.deployment.model import ModelOptions
from neuroemo.pipeline import Progress, quiet_progress
from neuroemo.profiling.counting.policy import Pooling

REPORT, PAGE = "report.json", "report.html"


@dataclass(frozen=True, slots=True)
class EnergySettings:
    """How to count and price; see `neuroemo energy --help` for each.

    ``targets`` are price lists by name or FILE.toml; ``precision`` says which scenario stands on top (None: fp32, or
    what there is); ``energy_model`` is one or "all"; ``nodes`` like "14HP-0.80V" scale arithmetic to other technology
    nodes; ``options`` say what a network of the user's own does not.
    """

    data: Path | None = None
    split: str | None = None
    limit: int | None = None
    targets: tuple[str, ...] = ("cmos45",)
    precision: str | None = None
    energy_model: str = "all"
    nodes: tuple[str, ...] = ()
    pooling: Pooling = "event"
    skip_zero_weights: bool = False
    options: ModelOptions = field(default_factory=ModelOptions)
    command: str = ""


def energy_document(
    model: str, settings: EnergySettings | None = None, *, progress: Progress = quiet_progress
) -> dict[str, Any]:
    """Count MODEL on its clips, price what happened, and return the report as a JSON-ready dictionary.

    Raises:
        InputError: the model, the clips or an option cannot be used, or values are NaN; all reasons at once.
        UnsupportedError: the chip cannot hold a checkpoint, or no target publishes a price.
        CapacityError: a synaptic sum beyond the chip's range.
    """
    from neuroemo.energy.document import build_document
    from neuroemo.energy.measure import measure
    from neuroemo.energy.scenarios import chosen_lists, chosen_models
    from neuroemo.energy.sources import open_source

    settings = settings or EnergySettings()
    lists, models = _both(settings, chosen_lists, chosen_models)
    source = open_source(
        model,
        settings.data,
        split=settings.split,
        limit=settings.limit,
        options=settings.options,
        progress=progress,
    )
    counted = measure(source, pooling=settings.pooling, skip_zero_weights=settings.skip_zero_weights, progress=progress)
    return build_document(source, counted, lists, models, precision=settings.precision, command=settings.command)


def _both(settings: EnergySettings, chosen_lists: Any, chosen_models: Any) -> tuple[Any, Any]:
    """Choose price lists and models before anything runs; what is wrong with either is said at once."""
    made: list[Any] = []
    findings: list[Finding] = []
    for choose in (
        lambda: chosen_lists(settings.targets, settings.nodes),
        lambda: chosen_models(settings.energy_model),
    ):
        try:
            made.append(choose())
        except InputError as error:
            findings += error.findings
    if findings:
        raise InputError(findings)
    return made[0], made[1]


def refuse_output(folder: Path, force: bool) -> None:
    """Raise unless a report can be written to ``folder``; only a folder that holds a report is ever replaced.

    Raises:
        InputError: it is a file, it exists without ``force``, or it holds something else.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        found, fix = "not a folder of its own", "choose another name"
    elif not force:
        found, fix = "already exists", "choose another name, or --force"
    elif any(folder.iterdir()) and not _is_ours(folder / REPORT):
        found, fix = "holds something that is no energy report: it is not replaced", "choose another name"
    else:
        return
    raise InputError(Finding("E885", "error", str(folder), found, "a new folder", fix=fix))


def _is_ours(report: Path) -> bool:
    from neuroemo.energy.schema import read_energy_report

    try:
        read_energy_report(report)
    except InputError as error:
        return all(finding.code in ("E888", "E889") for finding in error.findings)
    return True


def write_energy_report(document: dict[str, Any], folder: Path, *, force: bool = False) -> list[Path]:
    """Write report.json, the tables as CSV and report.html to ``folder``, all of them or none.

    Raises:
        InputError: ``folder`` exists and ``force`` is not given, or is not a report's.
    """
    from neuroemo.energy.page import render_page
    from neuroemo.energy.tables import write_csv

    refuse_output(folder, force)
    aside = folder_aside(folder)
    try:
        told = json.dumps(document, indent=1, allow_nan=False)
        (aside / REPORT).write_text(told + "\n", encoding="utf-8")
        tables = write_csv(document, aside)
        (aside / PAGE).write_text(render_page(document), encoding="utf-8")
        names = [REPORT, *(path.name for path in tables), PAGE]
        put_in_place(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [folder / name for name in names]


def counted(model: str, settings: EnergySettings, progress: Progress = quiet_progress) -> tuple[Any, Any]:
    """Return the counts of a network and of its ANN twin, for the paper's table.

    Raises:
        InputError: see ``energy_document``; a network without a twin.
    """
    from neuroemo.energy.measure import measure
    from neuroemo.energy.sources import open_source

    source = open_source(model, settings.data, split=settings.split, limit=settings.limit, progress=progress)
    if source.spec is None:
        found, fix = "has no ANN twin, which the table needs", "a checkpoint, or a bundle that was made from one"
        raise InputError(Finding("E883", "error", model, found, fix=fix))
    found_counts = measure(source, progress=progress)
    return found_counts.priced, found_counts.ann
