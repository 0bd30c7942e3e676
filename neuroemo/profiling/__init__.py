"""Exact operation counts, prices with provenance, and the energy comparison of an SNN with its ANN twin."""

from neuroemo.profiling.counter import count_operations
from neuroemo.profiling.counts import CountingPolicy, LayerCounts, OpCounts, merge_counts
from neuroemo.profiling.energy import EnergyReport, TwinReport, compare_twins, energy_of
from neuroemo.profiling.paper import reproduce_table2, table2_text
from neuroemo.profiling.prices import PriceList, load_prices
from neuroemo.profiling.tally import SpikeLayer, count_spike_layers

__all__ = [
    "CountingPolicy",
    "EnergyReport",
    "LayerCounts",
    "OpCounts",
    "PriceList",
    "SpikeLayer",
    "TwinReport",
    "compare_twins",
    "count_operations",
    "count_spike_layers",
    "energy_of",
    "load_prices",
    "merge_counts",
    "reproduce_table2",
    "table2_text",
]
