"""What every energy model gives back: picojoules per sample, by layer and part, and what they were made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from neuroemo.profiling.counting.counts import OpCounts
from neuroemo.profiling.prices import PriceList

Side = Literal["snn", "ann"]

MJ_PER_PJ = 1e-9


@dataclass(frozen=True, slots=True)
class Priced:
    """One network under one model: mean energy of a sample in pJ, ``layers[name][part]``.

    ``constants`` names the prices that were used, as ``prices.price`` takes them; ``assumptions`` are the
    sentences without which the number means nothing; ``partial`` names what was not counted: if any, every
    energy is a lower bound.
    """

    model: str
    prices: str
    precision: str
    side: Side
    samples: int
    steps: int
    layers: dict[str, dict[str, float]]
    constants: tuple[str, ...]
    assumptions: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()

    @property
    def total_pj(self) -> float:
        """Energy of one sample over all layers and parts, in pJ."""
        return sum(self.parts().values())

    @property
    def total_mj(self) -> float:
        """Energy of one sample over all layers and parts, in mJ."""
        return self.total_pj * MJ_PER_PJ

    def parts(self) -> dict[str, float]:
        """Return the energy of every part over all layers, in pJ."""
        summed: dict[str, float] = {}
        for layer in self.layers.values():
            for part, value in layer.items():
                summed[part] = summed.get(part, 0.0) + value
        return summed

    def by_layer(self) -> dict[str, float]:
        """Return the energy of every layer over all parts, in pJ."""
        return {name: sum(layer.values()) for name, layer in self.layers.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the result as a JSON-ready dictionary, energies in pJ."""
        return {
            "model": self.model,
            "prices": self.prices,
            "precision": self.precision,
            "side": self.side,
            "total_pj": self.total_pj,
            "parts_pj": self.parts(),
            "layers_pj": {name: dict(layer) for name, layer in self.layers.items()},
            "constants": list(self.constants),
            "assumptions": list(self.assumptions),
            "partial": list(self.partial),
        }


PriceFunction: TypeAlias = Callable[[OpCounts, PriceList, str, Side], Priced]


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """A published way from counts to energy: what it includes, who wrote it, and the function itself.

    ``price(counts, prices, precision, side)`` charges an SNN what its spikes caused, an ANN one dense pass.
    """

    id: str
    title: str
    scope: str
    citation: str
    url: str
    price: PriceFunction
