"""Exact operation counts, prices with provenance, and the energy comparison of an SNN with its ANN twin."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroemo.profiling.counting.counter import count_operations
    from neuroemo.profiling.counting.counts import LayerCounts, OpCounts, merge_counts
    from neuroemo.profiling.counting.policy import CountingPolicy
    from neuroemo.profiling.counting.tally import SpikeLayer, count_spike_layers
    from neuroemo.profiling.prices import PriceList, load_prices

__all__ = [
    "CountingPolicy",
    "LayerCounts",
    "OpCounts",
    "PriceList",
    "SpikeLayer",
    "count_operations",
    "count_spike_layers",
    "load_prices",
    "merge_counts",
]

_HOMES = {
    "CountingPolicy": "counting.policy",
    "LayerCounts": "counting.counts",
    "OpCounts": "counting.counts",
    "PriceList": "prices",
    "SpikeLayer": "counting.tally",
    "count_operations": "counting.counter",
    "count_spike_layers": "counting.tally",
    "load_prices": "prices",
    "merge_counts": "counting.counts",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and nothing else: a price needs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
