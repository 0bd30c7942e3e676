"""From a trained model to a verified bundle: compile it, prove it on clips, write it down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.bundle import Vectors, versions, write_bundle
from export.compile import Compiled, Options, compile_source
from export.deployment import Encoding
from export.describe import SCHEMA, describe_layers, describe_network, describe_placement, tool
from export.sources import FirstFrame, ModuleSource, Source, as_clips
from export.traces import membrane_traces
from export.verify import Run, Tolerance, Verification, verify
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from hw_targets.readout import ValueReadout
from hw_targets.registry import DeployTarget, deploy_target

if TYPE_CHECKING:
    from torch import nn

Log = Callable[[str], None]
VECTOR_CLIPS = 8
VECTOR_SPIKES = 10**8
"""At most so many clips, and so many neuron-steps, go into the known-answer test; at least one clip always does."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model came from and what its clips are, in words that end up in the report.

    ``classes`` names what the groups of output neurons vote for; ``arguments`` are those of the command, ``details``
    travel in the manifest, and ``notes`` are findings about the model or the clips themselves. A network that estimates
    numbers has a ``readout``, and perhaps a ``constant``: the guess for each output that knows nothing of a clip.
    """

    source: str = "a live module"
    kind: str = "module"
    classes: tuple[str, ...] | None = None
    proved_on: str = "the clips that were handed in"
    arguments: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[Finding, ...] = ()
    readout: ValueReadout | None = None
    constant: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export produced; ``bundle`` is None when nothing was to be written.

    ``report`` is the JSON object that the command line prints and the bundle keeps.
    """

    target: str
    compiled: Compiled
    verification: Verification
    bundle: Path | None
    report: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether the bundle computes what the model computes, within the stated tolerances."""
        return self.verification.ok

    @property
    def exit_code(self) -> int:
        """Return 0 for a verified export, 5 for one that was written and failed."""
        return 0 if self.ok else 5

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything found, in data-flow order within each stage."""
        return (*self.compiled.findings, *self.verification.findings)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Every layer with its integers, its cores and its agreement."""
        return list(self.report["layers"])

    @property
    def verify(self) -> dict[str, Any]:
        """The comparison as a dictionary."""
        return dict(self.report["verify"])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that the command line prints."""
        return self.report


def compile_model(
    model: nn.Module,
    example: Array,
    target: DeployTarget,
    *,
    dt_us: float | None = None,
    first_frame: FirstFrame = "spikes",
    weight_bits: int = 8,
    input_encoding: Encoding | None = None,
    allow: Iterable[str] = (),
) -> Compiled:
    """Capture, fold, check, quantise and place ``model``; ``example`` is [T, N, C, H, W] or [T, N, F].

    Raises:
        UnsupportedError: with every reason at once why the target cannot hold the model.
        CapacityError: no scale keeps a layer's fields in range.
    """
    options = Options(weight_bits, input_encoding, tuple(allow))
    return compile_source(ModuleSource(model, dt_us, first_frame), example, target, options)


def export_model(
    model: nn.Module,
    example_input: Any,
    target: str = "loihi2",
    *,
    out: Path | str | None = None,
    dt_us: float | None = None,
    first_frame: FirstFrame = "spikes",
    weight_bits: int = 8,
    input_encoding: Encoding | None = None,
    calibrate: bool = False,
    allow: Iterable[str] = (),
    tolerance: Tolerance | None = None,
    provenance: Provenance | None = None,
    force: bool = False,
    log: Log = lambda _: None,
) -> ExportResult:
    """Export a live SpikingJelly or Norse ``model`` to ``target`` and prove it on ``example_input``.

    ``example_input`` holds clips [T, N, C, H, W] or [T, N, F] as an array or a tensor, or is an iterable of such
    batches or of pairs (batch, labels). ``dt_us`` is the length of one step, where the network has one; ``first_frame``
    "float" says that step 0 carries gray values in [0, 1]. ``calibrate`` bounds synaptic sums by the first batch
    instead of by the weights alone. With ``out`` None nothing is written. A bundle that fails is marked FAILED.

    Raises:
        InputError: no clips, or ``out`` exists and ``force`` is not given.
        UnsupportedError, CapacityError: every reason at once why the target cannot hold the model.
    """
    source = ModuleSource(model, dt_us, first_frame)
    return export_source(
        source,
        example_input,
        target,
        Options(weight_bits, input_encoding, tuple(allow)),
        out=None if out is None else Path(out),
        calibrate=calibrate,
        tolerance=tolerance,
        provenance=provenance or Provenance(),
        force=force,
        log=log,
    )


def export_source(
    source: Source,
    clips: Any,
    target: str,
    options: Options,
    *,
    out: Path | None,
    calibrate: bool = False,
    tolerance: Tolerance | None = None,
    provenance: Provenance,
    force: bool = False,
    log: Log = lambda _: None,
) -> ExportResult:
    """Export any source; see ``export_model``. Batches are read one after the other and not kept."""
    chosen = deploy_target(target)
    if out is not None and out.exists() and not force:
        raise InputError(Finding("E012", "error", str(out), "already exists", fix="choose another folder, or --force"))
    batches = pairs_of(clips)
    first = next(batches, None)
    if first is None:
        raise InputError(Finding("E013", "error", "example input", "no clips to verify with", "at least 1"))
    log("capture, fold, check, quantise, place")
    if calibrate and options.calibration is None:
        options = Options(options.weight_bits, options.encoding, options.allowed, first[0])
    compiled = compile_source(source, first[0], chosen, options)
    log("verify layer by layer")
    kept: list[Run] = []
    runs = _runs(source, chain([first], batches), kept)
    verification = verify(compiled, runs, tolerance, readout=provenance.readout, constant=provenance.constant)
    vectors = known_answers(compiled, *kept[0][:2])
    report = _report(source, compiled, verification, vectors, target, options, provenance)
    if out is not None:
        log(f"write {out}")
        write_bundle(out, compiled, vectors, report, provenance.details)
    return ExportResult(target, compiled, verification, out, report | {"bundle": None if out is None else str(out)})


def pairs_of(clips: Any) -> Iterator[tuple[Array, Array | None]]:
    """Yield (clips [T, N, ...], labels or None) from an array, a tensor, or batches of either, labelled or not."""
    if hasattr(clips, "ndim"):
        yield as_clips(clips), None
        return
    for batch in clips:
        if isinstance(batch, tuple):
            yield as_clips(batch[0]), None if batch[1] is None else np.asarray(batch[1])
        else:
            yield as_clips(batch), None


def _runs(source: Source, batches: Iterable[tuple[Array, Array | None]], kept: list[Run]) -> Iterator[Run]:
    """Yield each batch with the model's own spikes; keep the first for the known-answer test."""
    for clips, labels in batches:
        run = (clips, source.spikes(clips), labels)
        if not kept:
            kept.append(run)
        yield run


def known_answers(compiled: Compiled, clips: Array, model: dict[str, Array]) -> Vectors:
    """Return the first clips of a batch with the model's spikes: at most ``VECTOR_CLIPS``, and not too many spikes."""
    per_clip = sum(spikes[:, 0].size for spikes in model.values())
    count = max(1, min(VECTOR_CLIPS, VECTOR_SPIKES // max(per_clip, 1), clips.shape[1]))
    return Vectors(clips[:, :count], {name: spikes[:, :count] for name, spikes in model.items()})


def _report(
    source: Source,
    compiled: Compiled,
    verification: Verification,
    vectors: Vectors,
    target: str,
    options: Options,
    provenance: Provenance,
) -> dict[str, Any]:
    graph = compiled.captured
    agreement = {layer.name: layer.to_dict() for layer in verification.layers}
    findings = (*provenance.notes, *compiled.findings, *verification.findings)
    ok = verification.ok
    return {
        "schema": SCHEMA,
        "ok": ok,
        "exit_code": 0 if ok else 5,
        "stage": "verify",
        "tool": tool(),
        "versions": versions(),
        "model": {
            "source": provenance.source,
            "kind": provenance.kind,
            "framework": source.framework,
            "input_shape": list(graph.input_shape),
            "steps": graph.steps,
            "dt_us": graph.dt_us,
            "first_frame": graph.first_frame,
            "voting": graph.voting,
            "classes": None if provenance.classes is None else list(provenance.classes),
            "readout": None if provenance.readout is None else provenance.readout.to_dict(),
        },
        "target": target,
        "input_encoding": compiled.deployment.encoding,
        "weight_bits": options.weight_bits,
        "bundle": None,
        "allowed": list(compiled.allowed),
        "lossy": sorted(compiled.lossy),
        "fine_tuned": compiled.fine_tuned,
        "arguments": provenance.arguments,
        "proved_on": provenance.proved_on,
        "findings": [finding.to_dict() for finding in findings],
        "network": describe_network(compiled),
        "layers": describe_layers(compiled, agreement),
        "placement": describe_placement(compiled),
        "traces": membrane_traces(
            compiled, vectors.clips[:, :1], {name: spikes[:, :1] for name, spikes in vectors.model.items()}
        ),
        "verify": verification.to_dict(),
    }


def model_spikes(model: nn.Module, clips: Array, dt_us: float | None = None) -> dict[str, Array]:
    """Return the spikes uint8 [T, N, ...] of every neuron layer of the model itself."""
    return ModuleSource(model, dt_us).spikes(clips)
