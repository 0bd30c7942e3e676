"""Checking and exporting a loaded model, as functions that return what the command line prints."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from export.storage import file_hash
from hw_targets.finding import Finding, InputError, refusal_code
from neuroemo.deployment.clips import batches_to_prove_on, made_clips, open_clips
from neuroemo.pipeline import Log, Progress, quiet_progress

if TYPE_CHECKING:
    from export.verify import Tolerance
    from neuroemo.deployment.model import LoadedModel


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How to export, and on which clips to prove it.

    ``limit`` None lets the size of the network decide, ``weight_bits`` None means 8, or those it was fine-tuned with.
    """

    target: str = "loihi2"
    data: Path | None = None
    split: str | None = None
    limit: int | None = None
    input_encoding: Literal["graded", "host", "spikes"] | None = None
    weight_bits: int | None = None
    calibrate: bool = False
    allow: tuple[str, ...] = ()
    tolerance: Tolerance | None = None
    force: bool = False


def export_network(
    model: LoadedModel,
    out: Path | None,
    settings: ExportSettings,
    *,
    arguments: dict[str, Any] | None = None,
    progress: Progress = quiet_progress,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Export ``model`` to a bundle (nothing is written when ``out`` is None) and return the report.

    Raises:
        InputError: clips or settings that do not fit; ``out`` exists.
        UnsupportedError, CapacityError: every reason at once why the target cannot hold the network.
    """
    from export.compile import Options
    from export.exporter import Provenance, export_source
    from export.losses import check_allowed

    _refuse_existing(out, settings.force)
    _refuse_tolerances(model, settings)
    allowed = check_allowed(settings.allow)
    clips, notes = open_clips(model, settings.data, settings.split)
    batches, words = batches_to_prove_on(model, clips, settings.limit)
    total = int(words.split()[0])
    provenance = Provenance(
        model.name,
        model.kind,
        model.classes,
        words,
        arguments or {},
        _details(model),
        (*model.notes, *notes),
        model.readout,
        None if model.affect is None else model.affect.train_mean,
    )
    result = export_source(
        model.source,
        _counted(batches, total, progress),
        settings.target,
        Options(_weight_bits(model, settings), settings.input_encoding, allowed),
        out=out,
        calibrate=settings.calibrate,
        tolerance=settings.tolerance,
        provenance=provenance,
        force=settings.force,
        log=log,
    )
    return result.to_dict()


def _details(model: LoadedModel) -> dict[str, Any]:
    """Return what the manifest keeps of the training."""
    if model.affect is not None:
        run = model.affect
        told = {"spec": run.spec.to_dict(), "event_frames": run.frames_settings.to_dict(), "trained_on": run.trained_on}
        return {"affect": told}
    return {} if model.description is None else model.description.to_dict()


def _refuse_tolerances(model: LoadedModel, settings: ExportSettings) -> None:
    """Raise for a tolerance of labels where a network estimates values, and the other way round."""
    from export.verify import Tolerance

    asked, usual = settings.tolerance or Tolerance(), Tolerance()
    if model.affect is not None and asked.label_agreement != usual.label_agreement:
        found = "means nothing for a network that estimates values and gives no labels"
        raise InputError(Finding("E999", "error", "--min-labels", found, fix="leave it out"))
    if model.affect is None and asked.value_difference != usual.value_difference:
        found = "means nothing for a network of classes"
        raise InputError(Finding("E999", "error", "--max-value-difference", found, fix="leave it out"))


def _weight_bits(model: LoadedModel, settings: ExportSettings) -> int:
    """Return the bits per weight.

    Raises:
        InputError: the network was fine-tuned with other bits, or for another target.
    """
    grid = None if model.description is None else model.description.qat
    if grid is None:
        return settings.weight_bits or 8
    findings = []
    if settings.weight_bits not in (None, grid.bits):
        found = f"--weight-bits {settings.weight_bits}"
        findings.append(Finding("E662", "error", model.name, found, f"{grid.bits}, with which it was fine-tuned"))
    if settings.target != grid.target:
        found = f"--target {settings.target}"
        findings.append(Finding("E663", "error", model.name, found, f"{grid.target}, for which it was fine-tuned"))
    if findings:
        raise InputError(findings)
    return grid.bits


def _refuse_existing(out: Path | None, force: bool) -> None:
    if out is not None and out.exists() and not force:
        raise InputError(Finding("E660", "error", str(out), "already exists", fix="choose another folder, or --force"))


def _counted(batches: Any, total: int, progress: Progress) -> Any:
    done = 0
    for batch in batches:
        yield batch
        done += batch[0].shape[1]
        progress(done, total, "")


def check_network(model: LoadedModel, target: str, settings: ExportSettings) -> dict[str, Any]:
    """Take ``model`` as far towards ``target`` as it goes and return all findings; nothing is written.

    Raises:
        UnsupportedError: the front end cannot make a graph of it.
    """
    from export.compile import Options, check_source
    from export.describe import SCHEMA, describe_checked, tool
    from hw_targets.registry import get_target

    chosen = get_target(target)
    example = made_clips(model).array[:, :2]
    checked = check_source(
        model.source, example, chosen, Options(_weight_bits(model, settings), settings.input_encoding, settings.allow)
    )
    code = refusal_code(checked.findings)
    findings = [finding.to_dict() for finding in chain(model.notes, checked.findings)]
    return {
        "schema": SCHEMA,
        "tool": tool(),
        "ok": code == 0,
        "exit_code": code,
        "stage": "check",
        "target": target,
        "model": {"source": model.name, "kind": model.kind, "framework": model.source.framework},
        "findings": findings,
        "verify": None,
    } | describe_checked(checked)


def bundle_files(out: Path) -> list[dict[str, Any]]:
    """Return name, size and hash of every file of a bundle."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return [
        {"name": path.relative_to(out).as_posix(), "bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in files
    ]
