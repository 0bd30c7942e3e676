"""Training on several processes: who takes part, and the few things that they do together.

A ``World`` is one process's view of all. ``World.alone()`` is the default everywhere: its sums are the
identity. Under torchrun ``world_from_environment`` makes the others: gloo between processors, NCCL between
GPUs. Every process calls every operation, in the same order, also a process that has no clip of a batch.
A process that is lost ends the others with a finding that names it, within the time limit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError, NeuroEmoError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neuroemo.training.process_link import Link


@dataclass(frozen=True, slots=True)
class World:
    """One process among ``size``: its number ``rank`` among all, ``local_rank`` on its own machine.

    >>> World.alone().is_first
    True
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    link: Link | None = field(default=None, repr=False, compare=False)

    @classmethod
    def alone(cls) -> World:
        """Return the world of a single process."""
        return cls()

    @property
    def is_first(self) -> bool:
        """Say whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace ``tensor``, in place, by its sum over all processes: the same bits, shape and dtype in each.

        Raises:
            LostProcessError: another process is gone, or did not come within the time limit.
        """
        if self.link is not None:
            self.link.sum_(tensor)
        return tensor

    def broadcast_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace ``tensor``, in place, by the first process's; raises as ``sum_``."""
        if self.link is not None:
            self.link.broadcast_(tensor)
        return tensor

    def barrier(self) -> None:
        """Wait until every process is here; raises as ``sum_``."""
        if self.link is not None:
            self.link.gather("")

    def from_first(self, value: Any) -> Any:
        """Return the first process's JSON-ready ``value`` in every process; raises as ``sum_``."""
        return value if self.link is None else json.loads(self.link.gather(json.dumps(value))[0])

    def agree(self, value: Any, what: str) -> None:
        """Refuse to go on unless the JSON-ready ``value`` of ``what`` is the same in every process.

        Raises:
            InputError: with one finding for each entry that differs, in every process alike.
            LostProcessError: as ``sum_``.
        """
        if self.link is None:
            return
        told = [json.loads(text) for text in self.link.gather(json.dumps(value))]
        findings = list(disagreements(told, what))
        if findings:
            raise InputError(findings)


def disagreements(told: list[Any], what: str) -> Iterator[Finding]:
    """Yield a finding for each entry in which a process's value differs from the first one's.

    >>> next(disagreements([{"seed": 0}, {"seed": 1}], "settings")).found
    'process 0 has 0, process 1 has 1'
    """
    flat = [dict(leaves(value, what)) for value in told]
    for name in dict.fromkeys(name for entries in flat for name in entries):
        values = [entries.get(name, "nothing") for entries in flat]
        if any(value != values[0] for value in values):
            found = ", ".join(f"process {rank} has {value}" for rank, value in enumerate(values))
            fix = "start every process with the same command line, on the same data"
            yield Finding("E913", "error", name, found, "the same in all processes", fix=fix)


def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested dictionaries with their dotted names.

    >>> list(leaves({"a": {"b": 1}, "c": [2]}, "x"))
    [('x.a.b', 1), ('x.c', [2])]
    """
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from leaves(part, f"{name}.{key}")
    else:
        yield name, value


@contextmanager
def world_from_environment(environment: Mapping[str, str] | None = None) -> Iterator[World]:
    """Join the processes that torchrun started, for the duration of a ``with``; alone where it started none.

    A process that leaves with an error tells the others why.

    Raises:
        InputError: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are half set, or make no sense.
        LostProcessError: the other processes did not come.
    """
    environment = os.environ if environment is None else environment
    if not environment.get("RANK") and not environment.get("WORLD_SIZE"):
        yield World.alone()
        return
    from neuroemo.training.process_link import LostProcessError, join, place_from

    place = place_from(environment)
    if place is None or place.size == 1:
        yield World.alone()
        return
    link = join(place)
    try:
        yield World(place.rank, place.size, place.local_rank, link)
    except LostProcessError:
        raise
    except BaseException as error:
        link.leave(_words(error))
        raise


def _words(error: BaseException) -> str:
    """Return what a process tells the others before an error ends it."""
    if isinstance(error, NeuroEmoError):
        return "; ".join(f"{finding.code} {finding.node}: {finding.found}" for finding in error.findings)
    return type(error).__name__


def sum_gradients(network: nn.Module, world: World) -> None:
    """Replace every gradient of ``network`` by its sum over the processes, in one exchange; raises as ``World.sum_``.

    With a loss that each process divides by the clips of the GLOBAL batch, the sum is the gradient of the global
    batch's mean, also where shares are uneven or empty. A parameter without a gradient counts as zeros.
    """
    if world.link is None:
        return
    import torch

    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        flat = world.sum_(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
