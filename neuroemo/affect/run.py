"""An affect run: the folder that a training leaves, with everything that is needed to use its network.

``model.json`` says what the network is (spec), which event frames it reads, what it was trained on and how it was
initialised, and the mean valence and arousal of the training frames, which the constant predictor says.
``model.safetensors`` holds the weights. Nothing in the folder can run code, and nothing in it is trusted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.storage import read_json, write_json
from hw_targets.finding import Finding, InputError
from neuroemo.models.affect.spec import OUTPUTS, AffectSpec
from neuroemo.training.checkpoint import DESCRIPTION, WEIGHTS, load_tensors, load_weights, save_tensors

if TYPE_CHECKING:
    from torch import nn

    from neuroemo.datasets.event_frame_settings import EventFrameSettings

SCHEMA, KIND = 1, "affect"
WANTED = "a folder written by `neuroemo affect train`"


@dataclass(frozen=True, slots=True)
class AffectDescription:
    """What ``model.json`` says about a network.

    ``frames_settings``: how the event frames were made that it reads. ``trained_on``: JSON-ready, with the
    ``fingerprint`` of the store, the numbers of frames and the names of the subjects. ``train_mean``: mean valence and
    arousal of the training frames. ``initialisation``: what the weights were before training, in words.
    """

    spec: AffectSpec
    frames_settings: EventFrameSettings
    trained_on: dict[str, Any]
    train_mean: tuple[float, float]
    initialisation: str
    value_names: tuple[str, ...] = OUTPUTS

    def to_dict(self) -> dict[str, Any]:
        """Return the description as a JSON-ready dictionary."""
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "spec": self.spec.to_dict(),
            "event_frames": self.frames_settings.to_dict(),
            "value_names": list(self.value_names),
            "trained_on": self.trained_on,
            "train_mean": list(self.train_mean),
            "initialisation": self.initialisation,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any], where: str) -> AffectDescription:
        """Rebuild a description; what is missing, unknown or of another kind is an InputError that names ``where``."""
        from neuroemo.datasets.event_frame_settings import event_frame_settings

        refuse_other_kinds(told, where)
        try:
            if told["schema"] != SCHEMA:
                raise ValueError(f"schema {told['schema']!r}, this version reads {SCHEMA}")
            mean = [_mean(value) for value in told["train_mean"]]
            names, words, data = told["value_names"], told["initialisation"], told["trained_on"]
            if len(mean) != len(OUTPUTS) or names != list(OUTPUTS) or not isinstance(words, str):
                raise ValueError(f"value_names {names!r}, train_mean {mean!r}, initialisation {words!r}"[:200])
            if not isinstance(data, dict):
                raise ValueError(f"trained_on {data!r}"[:200])
            spec = AffectSpec.from_dict(told["spec"])
            frames = event_frame_settings(told["event_frames"])
        except (KeyError, TypeError, ValueError) as error:
            found = f"not the description of an affect run: {error!r}"
            raise InputError(Finding("E955", "error", where, found, WANTED)) from error
        return cls(spec, frames, data, (mean[0], mean[1]), words)


def _mean(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and abs(value) <= 1):
        raise ValueError(f"train_mean {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class AffectRun:
    """A trained network, in evaluation mode, and what its run says about it (see ``AffectDescription``)."""

    network: nn.Module
    spec: AffectSpec
    frames_settings: EventFrameSettings
    value_names: tuple[str, ...]
    trained_on: dict[str, Any]
    train_mean: tuple[float, float]
    initialisation: str


def save_affect(folder: Path, network: nn.Module, description: AffectDescription) -> None:
    """Write weights and description, each aside first and then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / WEIGHTS, dict(network.state_dict()))
    write_json(folder / DESCRIPTION, description.to_dict())


def open_affect(folder: Path) -> AffectRun:
    """Build the network of a run and load its weights.

    Raises:
        InputError: a file is missing or damaged, is of another kind of network, or a weight is NaN, missing, unknown
            or of another shape.
    """
    from neuroemo.models.affect.network import build_affect

    told = read_description(folder)
    tensors, _ = load_tensors(folder / WEIGHTS)
    network = build_affect(told.spec, pretrained=False)
    load_weights(network, tensors, str(folder / WEIGHTS))
    fields = (told.spec, told.frames_settings, told.value_names, told.trained_on, told.train_mean, told.initialisation)
    return AffectRun(network.eval(), *fields)


def read_description(folder: Path) -> AffectDescription:
    """Return what ``model.json`` of a run says, without its weights.

    Raises:
        InputError: there is none, it is damaged, or of another kind of network.
    """
    if not folder.is_dir():
        found = "no such folder" if not folder.exists() else "a file, not the folder of a run"
        raise InputError(Finding("E955", "error", str(folder), found, WANTED))
    return AffectDescription.from_dict(read_json(folder / DESCRIPTION, WANTED), str(folder / DESCRIPTION))


def refuse_other_kinds(told: dict[str, Any], where: str) -> None:
    """Raise InputError for a description of a network that answers with classes instead of values."""
    if told.get("kind") == KIND:
        return
    if "classes" in told and "spec" in told:
        found = "a network of classes of emotion (`neuroemo train`), not of valence and arousal"
        raise InputError(Finding("E955", "error", where, found, WANTED, fix="score it with `neuroemo evaluate`"))
    found = f"not an affect run: kind {told.get('kind')!r}"[:120]
    raise InputError(Finding("E955", "error", where, found, WANTED))
