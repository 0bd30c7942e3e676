"""The wire between the processes of one training: torch.distributed, with every failure told as a finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import torch
from torch import distributed

from hw_targets.finding import Finding, InputError, NeuroEmoError

LIMIT_S = 1800.0
"""How long, in seconds, a process waits for the others in one operation; the first may be evaluating meanwhile."""
JOIN_S = 300.0
"""How long, in seconds, a process waits for the others to start."""
ROLL_CALL_S = 3.0
"""How long, in seconds, a process that lost another one looks for who is still there."""
LIMIT_NAME = "NEUROEMO_PROCESS_LIMIT_S"
FIX = "start all processes again: the same command continues the run"


class LostProcessError(NeuroEmoError):
    """Another process of the training is gone or never came (exit code 6): start again, the input is not at fault."""

    exit_code: ClassVar[int] = 6


@dataclass(frozen=True, slots=True)
class Place:
    """What torchrun tells a process: its number among all, its number on its machine, and where all meet."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int
    limit_s: float


def place_from(environment: Mapping[str, str]) -> Place | None:
    """Read what torchrun leaves in the environment of a process; None where neither RANK nor WORLD_SIZE is set.

    >>> place_from({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"})
    Place(rank=1, size=2, local_rank=1, address='localhost', port=29500, limit_s=1800.0)

    Raises:
        InputError: variables are missing or make no sense; all are named at once.
    """
    if not environment.get("RANK") and not environment.get("WORLD_SIZE"):
        return None
    findings: list[Finding] = []

    def number(name: str, least: float, most: float, kind: type, otherwise: str = "") -> Any:
        text = environment.get(name) or otherwise
        try:
            value = kind(text)
            if least <= value <= most:
                return value
        except ValueError:
            pass
        findings.append(_environment(name, repr(text) if text else "is not set", f"a number from {least} to {most}"))
        return least

    size = number("WORLD_SIZE", 1, 2**20, int)
    rank = number("RANK", 0, size - 1 if not findings else 2**20, int)
    local_rank = number("LOCAL_RANK", 0, 2**20, int, str(rank))
    limit_s = number(LIMIT_NAME, 0.1, 1e6, float, str(LIMIT_S))
    address, port = environment.get("MASTER_ADDR", ""), 0
    if size > 1 or findings:
        port = number("MASTER_PORT", 1, 2**16 - 1, int)
        if not address:
            findings.append(_environment("MASTER_ADDR", "is not set", "the machine of the first process"))
    if findings:
        raise InputError(findings)
    return Place(rank, size, local_rank, address, port, limit_s)


def _environment(name: str, found: str, limit: str) -> Finding:
    fix = "start with `torchrun --nproc-per-node 2 -m neuroemo train ...`, or unset RANK and WORLD_SIZE for one process"
    return Finding("E910", "error", name, found, limit, fix=fix)


class Link:
    """One process's end of the wire. Every operation is called by all processes, in the same order."""

    def __init__(self, place: Place) -> None:
        """Wait for the other processes and connect to them.

        Raises:
            LostProcessError: they did not come, or cannot be reached.
        """
        self.rank, self.size, self.limit_s = place.rank, place.size, place.limit_s
        join = timedelta(seconds=min(JOIN_S, place.limit_s))
        try:
            self.store = self._meet(place, join)
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=distributed.PrefixStore("group", self.store),  # type: ignore[attr-defined]
                rank=place.rank,
                world_size=place.size,
                timeout=timedelta(seconds=place.limit_s),
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise LostProcessError(self._never_came(place, join, error)) from error

    def _meet(self, place: Place, join: timedelta) -> Any:
        """Return the store that all processes share, once all have come to it."""
        host = f"[{place.address}]" if ":" in place.address else place.address
        url = f"tcp://{host}:{place.port}"
        joined = distributed.rendezvous(url, place.rank, place.size, timeout=join)  # type: ignore[attr-defined]
        store = distributed.PrefixStore("neuroemo", next(joined)[0])  # type: ignore[attr-defined]
        store.set_timeout(join)
        store.set(f"came/{place.rank}", "yes")
        store.wait([f"came/{rank}" for rank in range(place.size)], join)
        return store

    def _never_came(self, place: Place, join: timedelta, error: Exception) -> Finding:
        return Finding(
            "E911",
            "error",
            f"process {place.rank} of {place.size}",
            f"could not join the others at {place.address}:{place.port} ({first_line(error)})",
            f"all processes within {join.total_seconds():g} s",
            fix="start as many processes as WORLD_SIZE says, with the same free MASTER_PORT, on machines that "
            "reach each other",
        )

    def sum_(self, tensor: torch.Tensor) -> None:
        """Sum ``tensor`` over the processes in place; 16-bit numbers are summed in float32 and rounded once."""
        narrow = tensor.dtype in (torch.float16, torch.bfloat16)
        self._on_contiguous(tensor, torch.float32 if narrow else tensor.dtype, "a sum", distributed.all_reduce)

    def broadcast_(self, tensor: torch.Tensor) -> None:
        """Overwrite ``tensor`` with the first process's in place."""
        self._on_contiguous(tensor, tensor.dtype, "a broadcast", lambda same: distributed.broadcast(same, 0))

    def _on_contiguous(
        self, tensor: torch.Tensor, dtype: torch.dtype, what: str, operation: Callable[[torch.Tensor], Any]
    ) -> None:
        with torch.no_grad():
            values = tensor.detach().to(dtype).contiguous()
            self._together(f"{what} of {values.numel()} numbers", lambda: operation(values))
            if values.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(values)

    def gather(self, text: str) -> list[str]:
        """Return the texts of all processes, in the order of their numbers."""
        own = torch.tensor(list(text.encode()), dtype=torch.uint8)
        lengths = self._all(torch.tensor([len(own)]))
        longest = int(max(int(length) for length in lengths))
        if longest == 0:
            return [""] * self.size
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(own)] = own
        return [
            bytes(part[: int(length)].tolist()).decode()
            for part, length in zip(self._all(padded), lengths, strict=True)
        ]

    def _all(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        self._together("an exchange", lambda: distributed.all_gather(parts, tensor))
        return parts

    def _together(self, what: str, operation: Callable[[], Any]) -> None:
        try:
            operation()
        except RuntimeError as error:
            raise LostProcessError(self._lost(what, error)) from error

    def _lost(self, what: str, error: RuntimeError) -> tuple[Finding, ...]:
        """Return who does not answer a roll call in the shared store, and why if they said so before they left."""
        where, during = f"process {self.rank} of {self.size}", f"during {what} ({first_line(error)})"
        limit = f"all {self.size} processes in every operation, within {self.limit_s:g} s"
        try:
            self.store.set(f"here/{self.rank}", "yes")
            signs = {rank: self._sign(rank) for rank in range(self.size) if rank != self.rank}
        except RuntimeError:
            signs = {0: "does not answer, and it kept the list of all;"}
        lost = [f"process {rank} {sign}" for rank, sign in signs.items() if sign]
        lost = lost or ["all processes are there, and the exchange between them broke"]
        return tuple(Finding("E912", "error", where, f"{text} {during}", limit, fix=FIX) for text in lost)

    def _sign(self, rank: int) -> str:
        """Return what is wrong with a process: nothing, its last words, or that it does not answer."""
        try:
            self.store.wait([f"here/{rank}"], timedelta(seconds=ROLL_CALL_S))
        except RuntimeError:
            return "does not answer"
        words = self.store.get(f"here/{rank}").decode()
        return "" if words == "yes" else f"ended with: {words};"

    def leave(self, words: str) -> None:
        """Tell the others why this process ends, as far as they can still be told."""
        try:
            self.store.set(f"here/{self.rank}", words)
        except RuntimeError:
            return


_joined: dict[Place, Link] = {}


def join(place: Place) -> Link:
    """Return this process's end of the wire; it stays connected until the process ends.

    Closing it here would be wrong: when two processes destroy their gloo groups at the same moment, torch 2.3.1
    deadlocks now and then (4 of 33 pairs in a trial; none of 75 that just ended).
    """
    if place not in _joined:
        _joined[place] = Link(place)
    return _joined[place]


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's text without the place in the C++ source that some begin with.

    >>> first_line(RuntimeError("[a/pair.cc:534] Connection closed by peer [127.0.0.1]:12\nmore"))
    'Connection closed by peer [127.0.0.1]:12'
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    head, bracket, text = lines[0].partition("] ")
    return text if bracket and head.startswith("[") else lines[0]
