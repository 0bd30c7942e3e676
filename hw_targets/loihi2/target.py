"""Loihi 2 as a target: the parts of this folder behind the one interface that ``export`` knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hw_targets.finding import Finding
from hw_targets.graph import Array, Graph
from hw_targets.loihi2 import limits, netx_file, place, quantize, rules
from hw_targets.loihi2.chip import ChipGraph

if TYPE_CHECKING:
    from hw_targets.loihi2.lava import LavaRun
    from hw_targets.loihi2.simulate import ChipRun


class Loihi2:
    """Loihi 2 through lava-dl's netx, with the fixed-point simulator and Lava as its judge."""

    name = "loihi2"
    limits = limits.LIMITS

    def check(self, graph: Graph) -> list[Finding]:
        """Return what netx cannot express (``rules.py``)."""
        return rules.check(graph)

    def quantize(self, graph: Graph, *, weight_bits: int = 8) -> ChipGraph:
        """Return the integers (``quantize.py``)."""
        return quantize.quantize(graph, weight_bits=weight_bits)

    def check_chip(self, chip: ChipGraph) -> list[Finding]:
        """Return what netx would corrupt (``rules.py``)."""
        return rules.check_chip(chip)

    def place(self, chip: ChipGraph) -> tuple[list[place.LayerPlacement], list[Finding]]:
        """Return the cores needed (``place.py``)."""
        return place.place(chip)

    def write(self, chip: ChipGraph, path: Path) -> None:
        """Write netx HDF5 (``netx_file.py``)."""
        netx_file.write_netx(chip, path)

    def read(self, path: Path, *, steps: int, first_frame: str, payload: int) -> ChipGraph:
        """Read netx HDF5 (``netx_file.py``)."""
        return netx_file.read_netx(path, steps=steps, first_frame=first_frame, payload=payload)

    def simulate(
        self,
        chip: ChipGraph,
        clips: Array,
        *,
        probe: tuple[str, ...] = (),
        teacher: Mapping[str, Array] | None = None,
    ) -> ChipRun:
        """Run the fixed-point simulator (``simulate.py``)."""
        from hw_targets.loihi2.simulate import simulate

        return simulate(chip, clips, probe=probe, teacher=teacher)

    def judge(self, chip: ChipGraph, path: Path, clips: Array, *, timeout_s: float = 600.0) -> LavaRun:
        """Run Lava (``lava.py``)."""
        from hw_targets.loihi2.lava import run_lava

        return run_lava(chip, path, clips, timeout_s=timeout_s)


TARGET = Loihi2()
