"""What a killed training needs to go on with the same bits, and how it gets it back.

A run is saved at the end of every epoch and, in between, whenever ``Keeping`` says so: weights, the
optimiser's moments, the schedule, both random generators, the history, and of an unfinished epoch its order
of clips and how far it is. All of it is one file, written aside and renamed, so that a kill at any moment
leaves the state before or after a save, never a mixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.models.spec import EmotionSpec
from neuroemo.training.checkpoint import load_last, load_weights, save_last
from neuroemo.training.distributed import leaves
from neuroemo.training.settings import DEFAULTS

if TYPE_CHECKING:
    from torch import nn

MOMENT, ORDER, TORCH_RANDOM = "optimiser.", "epoch.order", "dropout"
CONTINUE = "the same command continues the run"


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a run is kept: saved every ``save_every_s`` seconds within an epoch (0: after every batch).

    ``tensorboard``: also write event files for TensorBoard. Neither changes a number of the run.
    """

    save_every_s: float = 600.0
    tensorboard: bool = False


@dataclass(slots=True)
class Unfinished:
    """An epoch under way: its order of clips, batches done, and sums over them: loss times clips, gradient norm."""

    order: Array
    done: int = 0
    loss: float = 0.0
    norm: float = 0.0


@dataclass(slots=True)
class Run:
    """Everything about a training that changes while it runs."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: Any
    random: np.random.Generator
    history: list[dict[str, Any]] = field(default_factory=list)
    epoch: Unfinished | None = None


def restore(out: Path, identity: dict[str, Any], run: Run) -> None:
    """Put the run that was interrupted in ``out`` into ``run``, which stays as it is where there is none.

    Raises:
        InputError: the folder holds a run with another network, data or settings, or a damaged one.
    """
    saved = load_last(out)
    if saved is None:
        return
    tensors, progress = saved
    if (other := differences(progress.get("identity"), identity)) != []:
        found = "holds a training run with another network, data or settings: " + "; ".join(other[:8])
        fix = "choose another folder, or delete this one"
        raise InputError(Finding("E027", "error", str(out), found, fix=fix))
    weights = {name.removeprefix("weight."): value for name, value in tensors.items() if name.startswith("weight.")}
    load_weights(run.network, weights, str(out))
    try:
        _restore_progress(tensors, progress, run)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        fix = "delete it to train anew"
        found = f"no training progress in it: {error!r}"
        raise InputError(Finding("E077", "error", str(out), found, fix=fix)) from error


def _restore_progress(tensors: dict[str, torch.Tensor], progress: dict[str, Any], run: Run) -> None:
    state = run.optimiser.state_dict()
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("momentum."):
            moments[int(name.removeprefix("momentum."))] = {"momentum_buffer": value}
        elif name.startswith(MOMENT):
            index, _, key = name.removeprefix(MOMENT).partition(".")
            moments.setdefault(int(index), {})[key] = value
    state["state"] = moments
    for group in state["param_groups"]:
        group["lr"] = float(progress["learning_rate"])
    run.optimiser.load_state_dict(state)
    if set(progress["schedule"]) != set(run.schedule.state_dict()):
        raise ValueError("the schedule is another one, or of another version of torch")
    run.schedule.load_state_dict(progress["schedule"])
    run.random.bit_generator.state = progress["random"]
    if TORCH_RANDOM in tensors:  # torch's own generator decides what dropout drops
        torch.set_rng_state(tensors[TORCH_RANDOM])
    run.history = list(progress["history"])
    if (epoch := progress.get("epoch")) is not None:
        order = tensors[ORDER].numpy()
        run.epoch = Unfinished(order, int(epoch["done"]), float(epoch["loss"]), float(epoch["norm"]))


def remember(out: Path, identity: dict[str, Any], run: Run) -> None:
    """Write what ``restore`` needs, aside first and then renamed.

    Raises:
        InputError: it cannot be written; what was saved before is unharmed.
    """
    tensors = {f"weight.{name}": value for name, value in run.network.state_dict().items()}
    for index, entry in run.optimiser.state_dict()["state"].items():
        for key, value in entry.items():
            if value is not None:
                name = f"momentum.{index}" if key == "momentum_buffer" else f"{MOMENT}{index}.{key}"
                tensors[name] = torch.as_tensor(value)
    tensors[TORCH_RANDOM] = torch.get_rng_state()
    epoch = None
    if run.epoch is not None:
        tensors[ORDER] = torch.from_numpy(np.ascontiguousarray(run.epoch.order, dtype=np.int64))
        epoch = {"done": run.epoch.done, "loss": run.epoch.loss, "norm": run.epoch.norm}
    progress = {
        "identity": identity,
        "history": run.history,
        "epoch": epoch,
        "random": run.random.bit_generator.state,
        "learning_rate": run.optimiser.param_groups[0]["lr"],
        "schedule": run.schedule.state_dict(),
    }
    with writing(out):
        save_last(out, tensors, progress)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn a write that fails (disk full, read-only folder) into a finding, and leave no half-written file.

    Raises:
        InputError: with what went wrong and how the run goes on.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        for partial in out.glob("*.partial") if out.is_dir() else ():
            partial.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        kept = f"what was saved before is unharmed: free space or change its rights, and {CONTINUE}"
        raise InputError(Finding("E904", "error", str(out), f"cannot be written: {reason}", fix=kept)) from error


def differences(saved: Any, wanted: dict[str, Any]) -> list[str]:
    """Return in words what two identities of a run differ in; nothing if they are the same run.

    A setting that an older version did not know had its default then.

    >>> differences({"settings": {"epochs": 2}}, {"settings": {"epochs": 3, "balanced": False}})
    ['settings.epochs is 2, asked for 3']
    >>> spec = EmotionSpec("0.4snn").to_dict()
    >>> differences({"spec": {name: spec[name] for name in spec if name != "stride"}}, {"spec": spec | {"steps": 16}})
    ['spec.steps is 68, asked for 16']
    """
    if not isinstance(saved, dict):
        return ["it does not say which"]
    usual = {"settings": DEFAULTS, "spec": EmotionSpec("").to_dict()}
    saved, wanted = (_with_defaults(identity, usual) for identity in (saved, wanted))
    before = {name: value for part in saved for name, value in leaves(saved[part], part)}
    now = {name: value for part in wanted for name, value in leaves(wanted[part], part)}
    return [
        f"{name} is {before.get(name, 'not set')}, asked for {now.get(name, 'nothing')}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name, "not set") != now.get(name, "not set") or (name in before) != (name in now)
    ]


def _with_defaults(identity: dict[str, Any], usual: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return an identity with the entries that an older version did not know at the values it worked with."""
    known = {part: identity[part] for part in usual if isinstance(identity.get(part), dict)}
    return identity | {part: {**usual[part], **told} for part, told in known.items()}
