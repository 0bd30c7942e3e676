"""Names to targets. A target's folder is imported when it is asked for, and nowhere else by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Graph

TARGET_MODULES = {"loihi2": "hw_targets.loihi2.target"}


class Target(Protocol):
    """What a deployment target offers. A check-only target implements ``name``, ``limits`` and ``check``."""

    name: str
    limits: Sequence[Any]

    def check(self, graph: Graph) -> list[Finding]:
        """Return everything that a lowered graph asks for and the target cannot do."""

    def quantize(self, graph: Graph, *, weight_bits: int = 8) -> Any:
        """Return the chip form of a lowered graph."""

    def check_chip(self, chip: Any) -> list[Finding]:
        """Return what is wrong with the integers."""

    def place(self, chip: Any) -> tuple[list[Any], list[Finding]]:
        """Return the cores each layer needs."""

    def write(self, chip: Any, path: Path) -> None:
        """Write the chip's file."""

    def read(self, path: Path, *, steps: int, first_frame: str, payload: int) -> Any:
        """Read the chip's file back; what the file does not say is passed in."""

    def simulate(
        self,
        chip: Any,
        clips: Array,
        *,
        probe: tuple[str, ...] = (),
        teacher: Mapping[str, Array] | None = None,
    ) -> Any:
        """Run clips [T, N, C, H, W] bit-exactly; returns a run with ``spikes`` by layer."""

    def judge(self, chip: Any, path: Path, clips: Array, *, timeout_s: float = 600.0) -> Any:
        """Run the written file in the vendor's own simulator."""


def get_target(name: str) -> Target:
    """Return the target of that name.

    >>> get_target("loihi2").name
    'loihi2'

    Raises:
        InputError: there is no such target; the names there are are listed.
    """
    if name not in TARGET_MODULES:
        raise InputError(
            Finding("E011", "error", name, "no such target", f"one of {', '.join(sorted(TARGET_MODULES))}")
        )
    target: Target = import_module(TARGET_MODULES[name]).TARGET
    return target
