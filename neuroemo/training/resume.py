"""What a killed training needs to go on with the same numbers, and how it gets it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hw_targets.finding import Finding, InputError
from neuroemo.training.checkpoint import load_last, load_weights, save_last

if TYPE_CHECKING:
    from torch import nn


def restore(
    out: Path,
    identity: dict[str, Any],
    network: nn.Module,
    optimiser: Any,
    schedule: Any,
    random: np.random.Generator,
) -> list[dict[str, Any]]:
    """Restore an interrupted run into the given objects and return its history (empty for a new run)."""
    saved = load_last(out)
    if saved is None:
        return []
    tensors, progress = saved
    if progress.get("identity") != identity:
        raise InputError(
            Finding(
                "E027",
                "error",
                str(out),
                "holds a training run with another network, data or settings",
                fix="choose another folder, or delete this one",
            )
        )
    weights = {name.removeprefix("weight."): value for name, value in tensors.items() if name.startswith("weight.")}
    load_weights(network, weights, str(out))
    state = optimiser.state_dict()
    for name, value in tensors.items():
        if name.startswith("momentum."):
            state["state"][int(name.removeprefix("momentum."))] = {"momentum_buffer": value}
    state["param_groups"][0]["lr"] = progress["learning_rate"]
    optimiser.load_state_dict(state)
    schedule.load_state_dict(progress["schedule"])
    random.bit_generator.state = progress["random"]
    if "dropout" in tensors:  # torch's own generator decides what dropout drops
        torch.set_rng_state(tensors["dropout"])
    return list(progress["history"])


def remember(
    out: Path,
    identity: dict[str, Any],
    network: nn.Module,
    optimiser: Any,
    schedule: Any,
    random: np.random.Generator,
    history: list[dict[str, Any]],
) -> None:
    """Write what ``restore`` needs after a complete epoch."""
    tensors = {f"weight.{name}": value for name, value in network.state_dict().items()}
    for index, entry in optimiser.state_dict()["state"].items():
        if entry.get("momentum_buffer") is not None:
            tensors[f"momentum.{index}"] = entry["momentum_buffer"]
    tensors["dropout"] = torch.get_rng_state()
    save_last(
        out,
        tensors,
        {
            "identity": identity,
            "history": history,
            "random": random.bit_generator.state,
            "learning_rate": optimiser.param_groups[0]["lr"],
            "schedule": schedule.state_dict(),
        },
    )
