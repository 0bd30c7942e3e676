"""From a trained model to a verified bundle: capture, fold, check, quantise, place, write, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from export.bundle import write_bundle
from export.frontends.spikingjelly import capture
from export.passes import lower
from export.verify import Tolerance, Verification, verify
from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import Array, Graph
from hw_targets.registry import Target, get_target

if TYPE_CHECKING:
    from torch import nn

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model in its three static forms, with the cores it needs and what was noticed on the way."""

    captured: Graph
    folded: Graph
    chip: Any
    placement: tuple[Any, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export produced; ``bundle`` is None when nothing was to be written."""

    target: str
    compiled: Compiled
    verification: Verification
    bundle: Path | None

    @property
    def ok(self) -> bool:
        """Whether the bundle computes what the model computes, within the stated tolerances."""
        return self.verification.ok

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything found, in data-flow order within each stage."""
        return (*self.compiled.findings, *self.verification.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as the JSON object that the command line prints."""
        agreement = {layer.name: layer.to_dict() for layer in self.verification.layers}
        return {
            "schema": 1,
            "ok": self.ok,
            "exit_code": 0 if self.ok else 5,
            "target": self.target,
            "bundle": None if self.bundle is None else str(self.bundle),
            "findings": [finding.to_dict() for finding in self.findings],
            "layers": [
                describe_layer(layer, placed) | {"verify": agreement.get(layer.name)}
                for layer, placed in zip(self.compiled.chip.layers, self.compiled.placement, strict=True)
            ],
            "verify": self.verification.to_dict(),
        }


def describe_layer(layer: Any, placed: Any) -> dict[str, Any]:
    """Return sizes and quantisation of one chip layer as a JSON-ready dictionary."""
    return {
        "name": layer.name,
        "kind": layer.kind,
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.output_shape),
        "kernel": list(layer.weight.shape[2:]) if layer.kind == "conv" else None,
        "stride": list(layer.stride) if layer.kind == "conv" else None,
        "neurons": layer.neurons,
        "weights": layer.synapses,
        "scale": layer.scale,
        "payload": layer.payload,
        "threshold": layer.threshold,
        "voltage_decay": layer.voltage_decay,
        "bias_max": int(np.abs(layer.bias).max(initial=0)),
        "zero_weights": float((layer.weight == 0).mean()),
        "cores": placed.cores,
    }


def compile_model(
    model: nn.Module,
    example: Array,
    target: Target,
    *,
    dt_us: float,
    first_frame: Literal["float", "spikes"],
    weight_bits: int = 8,
) -> Compiled:
    """Capture, fold, check, quantise and place ``model``.

    Raises:
        UnsupportedError: with every reason at once why the target cannot hold the model.
        CapacityError: no scale keeps a layer's fields in range.
    """
    import torch

    captured, _ = capture(model, torch.from_numpy(example), dt_us=dt_us, first_frame=first_frame)
    folded, findings = lower(captured)
    findings = findings + [f for f in target.check(folded) if f.node not in {g.node for g in findings}]
    if any(finding.severity == "error" for finding in findings):
        raise UnsupportedError(findings)
    chip = target.quantize(folded, weight_bits=weight_bits)
    findings += target.check_chip(chip)
    if any(finding.severity == "error" for finding in findings):
        raise UnsupportedError(findings)
    placement, notes = target.place(chip)
    return Compiled(captured, folded, chip, tuple(placement), (*findings, *notes))


def export_model(
    model: nn.Module,
    example_input: Array | Iterable[Array],
    target: str = "loihi2",
    *,
    out: Path | None = None,
    dt_us: float,
    first_frame: Literal["float", "spikes"] = "spikes",
    weight_bits: int = 8,
    tolerance: Tolerance | None = None,
    details: dict[str, Any] | None = None,
    force: bool = False,
    log: Log = lambda _: None,
) -> ExportResult:
    """Export ``model`` to ``target`` and prove it on ``example_input``: clips [T, N, C, H, W], or batches of them.

    ``dt_us`` is the length of one step; ``details`` (JSON-ready) travels in the bundle's manifest. With
    ``out`` None nothing is written. A bundle that fails verification is written and marked FAILED.

    Raises:
        InputError: no clips, or ``out`` exists and ``force`` is not given.
        UnsupportedError, CapacityError: see ``compile_model``.
    """
    chosen = get_target(target)
    if out is not None and out.exists() and not force:
        raise InputError(Finding("E012", "error", str(out), "already exists", fix="choose another folder, or --force"))
    batches = [example_input] if isinstance(example_input, np.ndarray) else list(example_input)
    if not batches or not all(batch.shape[1] for batch in batches):
        raise InputError(Finding("E013", "error", "example input", "no clips to verify with", "at least 1"))
    log("capture, fold, check, quantise, place")
    compiled = compile_model(model, batches[0], chosen, dt_us=dt_us, first_frame=first_frame, weight_bits=weight_bits)
    log(f"verify on {sum(batch.shape[1] for batch in batches)} clips")
    verification = verify(
        compiled.captured,
        compiled.folded,
        compiled.chip,
        chosen,
        ((batch, model_spikes(model, batch, dt_us)) for batch in batches),
        tolerance,
    )
    result = ExportResult(target, compiled, verification, out)
    if out is not None:
        log(f"write {out}")
        write_bundle(out, chosen, compiled.folded, compiled.chip, batches[0][:, :8], result.to_dict(), details or {})
    return result


def model_spikes(model: nn.Module, clips: Array, dt_us: float) -> dict[str, Array]:
    """Return the spikes uint8 [T, N, ...] of every neuron layer of the model itself."""
    import torch

    return capture(model, torch.from_numpy(clips), dt_us=dt_us)[1]
