"""What really runs after an export: perhaps a first layer on the host, in float, and the chip behind it.

Three ways to bring a network's input to a chip (``Encoding``)::

    graded   every input spike carries an integer payload, the gray first frame round(gray * payload)
    spikes   inputs are 0 and 1; a gray first frame is lost (gray >= 1/2 becomes a spike), so it must be allowed
    host     the first layer and its neurons run on the host in float; the chip receives their spikes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from export.reference import run_graph
from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import LIF, Array, Graph

Encoding = Literal["graded", "host", "spikes"]
ENCODINGS: tuple[Encoding, ...] = ("graded", "host", "spikes")
LOST_GRAY = "E461"


@dataclass(frozen=True, slots=True)
class DeploymentRun:
    """Spikes uint8 [T, N, ...] of every layer, on the host and on the chip, and what a probe asked for."""

    spikes: dict[str, Array]
    membrane: dict[str, Array] = field(default_factory=dict)
    final: dict[str, Array] = field(default_factory=dict)

    @property
    def output(self) -> Array:
        """Spikes of the last layer."""
        return next(reversed(self.spikes.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """A target with its chip graph, and the part of the network that stays on the host."""

    target: Any
    chip: Any
    encoding: Encoding
    host: Graph | None = None
    binarised: bool = False
    _planned: list[Any] = field(default_factory=list, init=False, repr=False)

    def chip_input(self, clips: Array, teacher: Mapping[str, Array] | None = None) -> tuple[Array, dict[str, Array]]:
        """Return what the chip receives for clips [T, N, ...], and the spikes of the layers on the host."""
        if self.host is not None:
            spikes = run_graph(self.host, clips, teacher=teacher).spikes
            last = next(reversed(spikes))
            told = spikes[last] if teacher is None else teacher[last]
            return told.astype(np.float32), spikes
        if self.binarised:
            clips = clips.copy()
            clips[0] = clips[0] >= 0.5
        return clips, {}

    def simulate(
        self,
        clips: Array,
        *,
        probe: tuple[str, ...] = (),
        teacher: Mapping[str, Array] | None = None,
        keep_state: bool = False,
    ) -> DeploymentRun:
        """Run clips [T, N, ...]; with ``teacher`` every layer is fed the teacher's spikes and judged on its own."""
        received, spikes = self.chip_input(clips, teacher)
        if not self._planned:  # planning a large network takes ten times as long as a clip
            self._planned.append(self.target.simulator(self.chip))
        run = self._planned[0].run(received, probe=probe, teacher=teacher, keep_state=keep_state)
        return DeploymentRun(spikes | run.spikes, run.membrane, run.final)

    def judge(self, file: Path, clips: Array, *, timeout_s: float = 600.0) -> tuple[DeploymentRun, float]:
        """Run the chip's part in the vendor's simulator; return the spikes of its layers and the seconds per step."""
        received, _ = self.chip_input(clips)
        judged = self.target.judge(self.chip, file, received, timeout_s=timeout_s)
        return DeploymentRun(dict(judged.run.spikes)), float(judged.seconds_per_step)


def default_encoding(graph: Graph) -> Encoding:
    """Return the encoding that keeps everything a network was trained on and runs it all on the chip."""
    return "graded" if graph.first_frame == "float" else "spikes"


def split_input(graph: Graph, encoding: Encoding) -> tuple[Graph | None, Graph, list[Finding]]:
    """Return (host part, chip part, what was lost) of a folded graph.

    Raises:
        InputError: "graded" for a network whose input is all spikes.
        UnsupportedError: nothing would be left for the chip.
    """
    if encoding == "graded":
        if graph.first_frame == "spikes":
            found, fix = "input encoding 'graded' for a network on pure spikes", "leave --input-encoding out"
            raise InputError(Finding("E460", "error", "input", found, "a gray first frame", fix=fix))
        return None, graph, []
    if encoding == "host":
        return *_split_host(graph), []
    if graph.first_frame == "spikes":
        return None, graph, []
    lost = Finding(
        LOST_GRAY,
        "error",
        "input",
        "the gray first frame becomes spikes where it is at least 1/2",
        "gray values in [0, 1]",
        fix="keep it with --input-encoding graded or host, or retrain on pure spikes",
    )
    return None, replace_graph(graph, first_frame="spikes"), [lost]


def _split_host(graph: Graph) -> tuple[Graph, Graph]:
    at = next((i for i, node in enumerate(graph.nodes) if isinstance(node, LIF)), len(graph.nodes) - 1)
    if at == len(graph.nodes) - 1:
        found = "a single layer: nothing is left for the chip when it runs on the host"
        raise UnsupportedError(Finding("E462", "error", graph.nodes[-1].name, found, fix="--input-encoding graded"))
    host = replace_graph(graph, nodes=graph.nodes[: at + 1])
    chip = replace_graph(graph, nodes=graph.nodes[at + 1 :], input_shape=graph.shapes[at], first_frame="spikes")
    return host, chip


def replace_graph(graph: Graph, **changes: Any) -> Graph:
    """Return the graph with some of its fields changed."""
    return replace(graph, **changes)
