"""Loihi 2 as a target: the parts of this folder behind the one interface that ``export`` knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hw_targets.finding import Finding
from hw_targets.graph import Array, Graph
from hw_targets.limit import Limit
from hw_targets.loihi2 import limits, place, quantize, rules
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.netx.writer import write_netx
from hw_targets.loihi2.place import LayerPlacement
from hw_targets.rule import Rule

if TYPE_CHECKING:
    from hw_targets.loihi2.lava import LavaRun
    from hw_targets.loihi2.netx.reader import NetxFile
    from hw_targets.loihi2.simulate import ChipRun
    from hw_targets.loihi2.simulation.engine import Simulator


class Loihi2:
    """Loihi 2 through lava-dl's netx, with the fixed-point simulator and Lava as its judge."""

    name: str = "loihi2"
    kind: Literal["deploy", "check"] = "deploy"
    description: str = "Intel Loihi 2 through lava-dl's netx format: LIF neurons, 8-bit weights, graded input spikes."
    limits: Sequence[Limit] = limits.LIMITS
    rules: Sequence[Rule[Any]] = (*rules.RULES, *rules.CHIP_RULES, *place.PLACEMENT_RULES)
    folds: tuple[str, ...] = ("batchnorm", "max_pool", "average_pool", "decay")
    judge_name: str | None = "Lava (lava-nc 0.10, fixed-point CPU models)"

    def check(self, graph: Graph) -> list[Finding]:
        """Return what netx cannot express (``rules.py``)."""
        return rules.check(graph)

    def quantize(
        self, graph: Graph, *, weight_bits: int = 8, drive_max: Mapping[str, float] | None = None
    ) -> ChipGraph:
        """Return the integers (``quantize.py``)."""
        return quantize.quantize(graph, weight_bits=weight_bits, drive_max=drive_max)

    def check_chip(self, chip: ChipGraph) -> list[Finding]:
        """Return what netx would corrupt (``rules.py``)."""
        return rules.check_chip(chip)

    def place(self, chip: ChipGraph) -> tuple[list[LayerPlacement], list[Finding]]:
        """Return the cores needed (``place.py``)."""
        return place.place(chip)

    def summarise(self, placements: Sequence[LayerPlacement]) -> dict[str, int]:
        """Return cores, chips, neurons and bytes in all (``place.py``)."""
        return place.summarise(placements)

    def write(self, chip: ChipGraph, path: Path) -> None:
        """Write netx HDF5 (``netx/writer.py``)."""
        write_netx(chip, path)

    def read(self, path: Path, *, steps: int, first_frame: str, payload: int) -> ChipGraph:
        """Read netx HDF5 that was written here (``netx/reader.py``)."""
        from hw_targets.loihi2.netx.reader import read_netx

        return read_netx(path, steps=steps, first_frame=first_frame, payload=payload)

    def simulate(
        self,
        chip: ChipGraph,
        clips: Array,
        *,
        probe: tuple[str, ...] = (),
        teacher: Mapping[str, Array] | None = None,
        keep_state: bool = False,
    ) -> ChipRun:
        """Run the fixed-point simulator (``simulate.py``)."""
        from hw_targets.loihi2.simulate import simulate

        return simulate(chip, clips, probe=probe, teacher=teacher, keep_state=keep_state)

    def simulator(self, chip: ChipGraph, *, reset: tuple[int, int] | None = None, **options: Any) -> Simulator:
        """Return the simulator, planned for ``chip``, for many runs (``simulation/engine.py``).

        ``reset`` is netx's ``reset_interval`` and ``reset_offset``.
        """
        from hw_targets.loihi2.simulation.engine import Simulator
        from hw_targets.loihi2.simulation.reset import Reset

        return Simulator(chip, reset=None if reset is None else Reset(*reset), **options)

    def open_file(
        self, path: Path, *, steps: int, first_frame: str = "integers", payload: int = 1, layers: int | None = None
    ) -> NetxFile:
        """Read any netx file, with what is worth knowing about it (``netx/reader.py``)."""
        from hw_targets.loihi2.netx.reader import open_netx

        return open_netx(path, steps=steps, first_frame=first_frame, payload=payload, layers=layers)

    def judge(
        self,
        chip: ChipGraph,
        path: Path,
        clips: Array,
        *,
        timeout_s: float = 600.0,
        reset: tuple[int, int] | None = None,
        **options: Any,
    ) -> LavaRun:
        """Run Lava (``lava/``); ``reset`` is netx's ``reset_interval`` and ``reset_offset``."""
        from hw_targets.loihi2.lava import run_lava
        from hw_targets.loihi2.simulation.reset import Reset

        told = None if reset is None else Reset(*reset)
        return run_lava(chip, path, clips, timeout_s=timeout_s, reset=told, **options)


TARGET = Loihi2()
