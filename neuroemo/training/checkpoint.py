"""Checkpoints: a folder with ``model.safetensors`` and ``model.json``; nothing in it can run code.

``training.json`` says what it was trained on and how that went. ``last.safetensors`` holds what a resumed
training needs, in one file, so that a kill between two writes cannot mix two epochs. A network that was
fine-tuned on a chip's grid has the entry ``qat`` in ``model.json``: the numbers of each layer's grid.
"""

from __future__ import annotations

import json
import math
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

    from neuroemo.datasets.clip_settings import ClipSettings

SCHEMA = 1
WEIGHTS, DESCRIPTION, LAST = "model.safetensors", "model.json", "last.safetensors"
TRAINING = "training.json"
METADATA = "neuroemo"
"""Where ``model.safetensors`` holds its description too, so that the file can travel alone."""


@dataclass(frozen=True, slots=True)
class LayerGrid:
    """What the target's quantiser chose for one layer, and fine-tuning keeps.

    ``scale``: synaptic units per 1.0; ``payload``: the integer of an input spike; ``threshold``: its mantissa;
    decays in 1/4096 per step.
    """

    name: str
    scale: float
    payload: int
    threshold: int
    voltage_decay: int
    current_decay: int

    def __post_init__(self) -> None:
        """Refuse numbers that no quantiser makes.

        Raises:
            ValueError: with the name of the field.
        """
        if not isinstance(self.name, str):
            raise ValueError(f"name {self.name!r}")
        if type(self.scale) not in (int, float) or not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale {self.scale!r}")
        fields = (
            ("payload", 1, 2**16),
            ("threshold", 0, 2**17),
            ("voltage_decay", 0, 4096),
            ("current_decay", 0, 4096),
        )
        for field, least, most in fields:
            value = getattr(self, field)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{field} {value!r}")


@dataclass(frozen=True, slots=True)
class Quantization:
    """The grid a network was fine-tuned on: weight bits, target, and one entry per layer in data-flow order."""

    bits: int
    target: str
    layers: tuple[LayerGrid, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the grid as a JSON-ready dictionary."""
        return asdict(self) | {"layers": [asdict(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str) -> Quantization:
        """Rebuild what ``to_dict`` made; what is missing, unknown or out of range is an InputError."""
        try:
            bits, target, layers = data["bits"], data["target"], data["layers"]
            if type(bits) is not int or not 2 <= bits <= 8 or not isinstance(target, str):
                raise ValueError(f"{bits!r} bits for {target!r}")
            return cls(bits, target, tuple(LayerGrid(**layer) for layer in layers))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(Finding("E083", "error", where, f"not the grid of a chip: {error!r}")) from error


@dataclass(frozen=True, slots=True)
class Description:
    """What a network was made for: its spec, how its events were made, its classes and the step length.

    ``qat`` is the grid of a network that was fine-tuned with quantisation, None for a float network.
    """

    spec: EmotionSpec
    events: ClipSettings
    classes: tuple[str, ...]
    dt_us: float
    qat: Quantization | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the description as a JSON-ready dictionary; a float network has no entry ``qat``."""
        grid = {} if self.qat is None else {"qat": self.qat.to_dict()}
        return {
            "schema": SCHEMA,
            "spec": self.spec.to_dict(),
            "events": self.events.to_dict(),
            "classes": list(self.classes),
            "dt_us": self.dt_us,
        } | grid

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str) -> Description:
        """Rebuild a description; what is missing or unknown is an InputError that names ``where``."""
        from neuroemo.datasets.clip_settings import settings_from_dict

        refuse_affect(data, where)
        try:
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}, this version reads {SCHEMA}")
            return cls(
                EmotionSpec.from_dict(data["spec"]),
                settings_from_dict(data["events"]),
                tuple(str(name) for name in data["classes"]),
                float(data["dt_us"]),
                None if data.get("qat") is None else Quantization.from_dict(data["qat"], where),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(Finding("E070", "error", where, f"not a checkpoint description: {error!r}")) from error


def refuse_affect(data: dict[str, Any], where: str) -> None:
    """Raise InputError for the description of a network of valence and arousal, which has no classes."""
    if data.get("kind") == "affect":
        found, fix = "a network of valence and arousal, not of classes", "score it with `neuroemo affect evaluate`"
        raise InputError(Finding("E070", "error", where, found, fix=fix))


def save_model(folder: Path, network: nn.Module, description: Description) -> None:
    """Write weights and description, each aside first and then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(description.to_dict(), sort_keys=True)
    save_tensors(folder / WEIGHTS, dict(network.state_dict()), {METADATA: told})
    write_json(folder / DESCRIPTION, description.to_dict())


def load_model(folder: Path) -> tuple[nn.Module, Description]:
    """Build the network of a checkpoint folder, or of its weight file alone, and load its weights, to be evaluated.

    A checkpoint with a grid (``Description.qat``) becomes a ``quantized.QuantizedNetwork``.

    Raises:
        InputError: a file is missing or damaged, a weight is NaN, missing, unknown or of another shape.
        CapacityError: quantised weights whose synaptic sums can overflow.
    """
    weights, (tensors, description) = folder / WEIGHTS, _read(folder)
    if description.qat is not None:
        from neuroemo.training.quantized import load_quantized

        return load_quantized(description, tensors, str(weights)).eval(), description
    network = build_network(description.spec)
    load_weights(network, tensors, str(weights))
    return network.eval(), description


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], Description]:
    """Read weights and description of a checkpoint folder, or of its weight file alone."""
    if not folder.is_file():
        told = read_json(folder / DESCRIPTION, "a checkpoint folder written by `neuroemo train`")
        description = Description.from_dict(told, str(folder / DESCRIPTION))
        return load_tensors(folder / WEIGHTS)[0], description
    tensors, metadata = load_tensors(folder)
    try:
        told = dict(json.loads(metadata[METADATA]))
    except (KeyError, ValueError, TypeError) as error:
        found = "weights that do not say which network they belong to"
        fix = "for a network of your own: `package.module:factory --weights FILE`"
        raise InputError(Finding("E029", "error", str(folder), found, "a file of `neuroemo train`", fix=fix)) from error
    return tensors, Description.from_dict(told, str(folder))


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
    if (folder / DESCRIPTION).is_file():
        refuse_affect(read_json(folder / DESCRIPTION, "written by `neuroemo train`"), str(folder / DESCRIPTION))
    fix = "say which clips to use: --data FILE.h5 or --data DIR"
    if not (folder / TRAINING).is_file():
        raise InputError(Finding("E078", "error", str(folder), "does not say what it was trained on", fix=fix))
    data = Path(str(read_json(folder / TRAINING, "written by `neuroemo train`").get("data", "")))
    if not data.is_file():
        raise InputError(Finding("E079", "error", str(data), "the events that it was trained on are gone", fix=fix))
    return data
