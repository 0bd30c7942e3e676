"""Two simulators side by side: every message of every layer, and the first one that differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """One message that differs: where (clip by position among those run, neuron as C, H, W) and both values."""

    step: int
    clip: int
    neuron: tuple[int, ...]
    fast: int
    lava: int


@dataclass(slots=True)
class LayerComparison:
    """What was compared in one layer so far."""

    compared: int = 0
    mismatched: int = 0
    spikes: int = 0
    first: Difference | None = None


class Comparison:
    """Adds up batches; layers stay in data-flow order, the first difference of a layer is its earliest step."""

    def __init__(self) -> None:
        self.layers: dict[str, LayerComparison] = {}
        self.clips = 0
        self.steps = 0

    def add(self, fast: dict[str, Array], lava: dict[str, Array]) -> None:
        """Compare messages [T, N, ...] of one batch in every layer that Lava ran."""
        if not lava:
            return
        for name, theirs in lava.items():
            self._add_layer(self.layers.setdefault(name, LayerComparison()), fast[name], theirs)
        self.steps, clips = next(iter(lava.values())).shape[:2]
        self.clips += clips

    def _add_layer(self, layer: LayerComparison, ours: Array, theirs: Array) -> None:
        layer.compared += ours.size
        layer.spikes += int(np.count_nonzero(ours))
        wrong = ours != theirs
        count = int(np.count_nonzero(wrong))
        if not count:
            return
        layer.mismatched += count
        step, clip, *neuron = (int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
        if layer.first is None or step < layer.first.step:
            place = (step, clip, *neuron)
            layer.first = Difference(step, self.clips + clip, tuple(neuron), int(ours[place]), int(theirs[place]))

    @property
    def mismatched(self) -> int:
        """How many messages differ in all layers."""
        return sum(layer.mismatched for layer in self.layers.values())

    def first(self) -> tuple[str, Difference] | None:
        """Return the first layer in data-flow order that differs, and its first difference."""
        return next(((name, layer.first) for name, layer in self.layers.items() if layer.first is not None), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON-ready dictionary."""
        first = self.first()
        told = None
        if first is not None:
            name, place = first
            told = {"layer": name, "step": place.step, "clip": place.clip, "neuron": list(place.neuron)}
            told |= {"fast": place.fast, "lava": place.lava}
        return {
            "clips": self.clips,
            "steps": self.steps,
            "compared_spikes": sum(layer.compared for layer in self.layers.values()),
            "mismatched_spikes": self.mismatched,
            "first_mismatch": told,
            "layers": [
                {"name": name, "compared": each.compared, "mismatched": each.mismatched, "spikes": each.spikes}
                for name, each in self.layers.items()
            ],
        }

    def findings(self, clip_names: list[str]) -> list[Finding]:
        """Return the finding that names the first difference; none if all messages agree."""
        first = self.first()
        if first is None:
            return []
        name, place = first
        counts = ", ".join(f"{each} {layer.mismatched}" for each, layer in self.layers.items() if layer.mismatched)
        total = sum(layer.compared for layer in self.layers.values())
        found = (
            f"{self.mismatched} of {total} messages differ from Lava's ({counts}); the first: "
            f"{clip_names[place.clip]}, step {place.step}, neuron {place.neuron}: "
            f"fast {place.fast}, Lava {place.lava}"
        )
        fix = "please report it, with the netx file and this clip"
        return [Finding("E685", "error", name, found, "0", str(self.mismatched), fix)]
