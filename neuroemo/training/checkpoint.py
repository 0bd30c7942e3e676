"""Checkpoints: a folder with ``model.safetensors`` and ``model.json``; nothing in it can run code.

``training.json`` says what it was trained on and how that went. ``last.safetensors`` holds what a resumed
training needs, in one file, so that a kill between two writes cannot mix two epochs.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.bundle import read_json, write_json
from hw_targets.finding import Finding, InputError
from neuroemo.models.emotion import EmotionSpec, build_network

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuroemo.events.framediff import FrameDiffSettings

SCHEMA = 1
WEIGHTS, DESCRIPTION, LAST = "model.safetensors", "model.json", "last.safetensors"
TRAINING = "training.json"


@dataclass(frozen=True, slots=True)
class Description:
    """What a network was made for: its spec, how its events were made, its classes and the step length."""

    spec: EmotionSpec
    events: FrameDiffSettings
    classes: tuple[str, ...]
    dt_us: float

    def to_dict(self) -> dict[str, Any]:
        """Return the description as a JSON-ready dictionary."""
        return {
            "schema": SCHEMA,
            "spec": self.spec.to_dict(),
            "events": asdict(self.events),
            "classes": list(self.classes),
            "dt_us": self.dt_us,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str) -> Description:
        """Rebuild a description; what is missing or unknown is an InputError that names ``where``."""
        from neuroemo.events.framediff import FrameDiffSettings

        try:
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}, this version reads {SCHEMA}")
            return cls(
                EmotionSpec.from_dict(data["spec"]),
                FrameDiffSettings(**data["events"]),
                tuple(str(name) for name in data["classes"]),
                float(data["dt_us"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(Finding("E070", "error", where, f"not a checkpoint description: {error!r}")) from error


def save_model(folder: Path, network: nn.Module, description: Description) -> None:
    """Write weights and description, each aside first and then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS, {name: value for name, value in network.state_dict().items()})
    write_json(folder / DESCRIPTION, description.to_dict())


def load_model(folder: Path) -> tuple[nn.Module, Description]:
    """Build the network of a checkpoint folder and load its weights, in evaluation mode.

    Raises:
        InputError: a file is missing or damaged, a weight is NaN, missing, unknown or of another shape.
    """
    description = Description.from_dict(
        read_json(folder / DESCRIPTION, "a checkpoint folder written by `neuroemo train`"),
        str(folder / DESCRIPTION),
    )
    tensors, _ = load_tensors(folder / WEIGHTS)
    network = build_network(description.spec)
    load_weights(network, tensors, str(folder / WEIGHTS))
    return network.eval(), description


def load_weights(network: nn.Module, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Load weights strictly; all mismatches and every non-finite weight are reported at once."""
    import torch

    wanted = network.state_dict()
    findings = [Finding("E071", "error", where, f"weight {name} is missing") for name in wanted if name not in tensors]
    findings += [
        Finding("E072", "error", where, f"weight {name} is not part of the network")
        for name in tensors
        if name not in wanted
    ]
    for name, value in tensors.items():
        if name in wanted and wanted[name].shape != value.shape:
            findings.append(
                Finding(
                    "E073",
                    "error",
                    where,
                    f"{name} has shape {tuple(value.shape)}",
                    str(tuple(wanted[name].shape)),
                )
            )
        bad = int((~torch.isfinite(value)).sum()) if value.is_floating_point() else 0
        if bad:
            findings.append(
                Finding(
                    "E074",
                    "error",
                    where,
                    f"{bad} of {value.numel()} values of {name} are NaN or infinite",
                    "0",
                    fix="the training diverged: train again with a lower learning rate",
                )
            )
    if findings:
        raise InputError(findings)
    network.load_state_dict(tensors)


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file aside and rename it."""
    from safetensors.torch import save_file

    aside = path.with_name(path.name + ".partial")
    save_file({name: value.detach().contiguous().clone() for name, value in tensors.items()}, aside, metadata)
    os.replace(aside, path)


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata.

    Raises:
        InputError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(
            Finding("E075", "error", str(path), "no such file", fix="give a folder written by `neuroemo train`")
        )
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(Finding("E076", "error", str(path), f"not a readable safetensors file: {error}")) from error


def save_last(folder: Path, state: dict[str, torch.Tensor], progress: dict[str, Any]) -> None:
    """Write everything a resumed training needs: tensors by name, and its progress as JSON metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / LAST, state, {"progress": json.dumps(progress, sort_keys=True)})


def load_last(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Return what ``save_last`` wrote, or None where there is nothing to resume."""
    if not (folder / LAST).exists():
        return None
    tensors, metadata = load_tensors(folder / LAST)
    try:
        return tensors, dict(json.loads(metadata["progress"]))
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            Finding(
                "E077",
                "error",
                str(folder / LAST),
                f"no training progress in it: {error!r}",
                fix="delete it to train anew",
            )
        ) from error


def trained_on(folder: Path) -> Path:
    """Return the prepared events that a checkpoint was trained on, if they are still there.

    Raises:
        InputError: the checkpoint does not say, or the file is gone.
    """
    fix = "say which clips to use: --data FILE.h5 or --data DIR"
    if not (folder / TRAINING).is_file():
        raise InputError(Finding("E078", "error", str(folder), "does not say what it was trained on", fix=fix))
    data = Path(str(read_json(folder / TRAINING, "written by `neuroemo train`").get("data", "")))
    if not data.is_file():
        raise InputError(Finding("E079", "error", str(data), "the events that it was trained on are gone", fix=fix))
    return data
