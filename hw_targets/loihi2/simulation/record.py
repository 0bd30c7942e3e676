"""What a run leaves behind: messages, counts, and what was asked of chosen layers and neurons."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.simulation.plan import channels_last, to_channels_first

Record = Literal["all", "output", "counts"]
Probe = Collection[str] | Mapping[str, Array | None]


@dataclass(frozen=True, slots=True)
class ChipRun:
    """What every layer sent, [T, N, ...] in C, H, W order, by layer name, and what a probe asked for.

    ``spikes`` uint8, of sigma-delta neurons their messages int32; only what was to be recorded.
    ``counts`` int64 [T, N]: messages that are not 0, of every layer, always.
    ``drive``, ``current``, ``membrane`` of probed layers, int32 [T, N, ...], or [T, N, K] of K chosen neurons: the
    synaptic sum a, u, and v before the reset (of sigma-delta neurons: a, sigma and the activation).
    ``final`` int32 [2, N, ...]: u and v after the last step.
    """

    spikes: dict[str, Array]
    membrane: dict[str, Array] = field(default_factory=dict)
    final: dict[str, Array] = field(default_factory=dict)
    current: dict[str, Array] = field(default_factory=dict)
    drive: dict[str, Array] = field(default_factory=dict)
    counts: dict[str, Array] = field(default_factory=dict)

    @property
    def output(self) -> Array:
        """Spikes of the last layer."""
        return next(reversed(self.spikes.values()))


def chosen_neurons(chip: ChipGraph, probe: Probe) -> dict[str, Array | None]:
    """Return which neurons (flat indices in C, H, W order, None: all) to record of each probed layer.

    Raises:
        InputError: a layer or a neuron that is not there.
    """
    layers = {layer.name: layer for layer in chip.layers}
    wanted = dict(probe) if isinstance(probe, Mapping) else dict.fromkeys(probe)
    findings = [
        Finding("E054", "error", name, "no such layer to probe", "one of " + ", ".join(layers))
        for name in wanted
        if name not in layers
    ]
    for name, neurons in wanted.items():
        if name in layers and neurons is not None:
            findings += list(_missing(layers[name], np.asarray(neurons)))
    if findings:
        raise InputError(findings)
    return {name: None if neurons is None else np.asarray(neurons).reshape(-1) for name, neurons in wanted.items()}


def _missing(layer: ChipLayer, neurons: Array) -> Iterator[Finding]:
    if neurons.dtype.kind not in "iu":
        yield Finding("E055", "error", layer.name, f"neurons to probe of type {neurons.dtype}", "integers")
    elif neurons.size and not (int(neurons.min()) >= 0 and int(neurons.max()) < layer.neurons):
        found = f"neurons {int(neurons.min())} to {int(neurons.max())} to probe"
        yield Finding("E055", "error", layer.name, found, f"0 to {layer.neurons - 1}")


class Recorder:
    """Takes what each population does in a stretch of time, and hands it out as a ``ChipRun``."""

    def __init__(
        self,
        chip: ChipGraph,
        steps: int,
        samples: int,
        record: Record = "all",
        probe: Mapping[str, Array | None] | None = None,
        keep_state: bool = False,
    ) -> None:
        self.probe = {} if probe is None else dict(probe)
        names = [layer.name for layer in chip.layers]
        kept = {"all": names, "output": names[-1:], "counts": []}[record]
        self.counts = {name: np.zeros((steps, samples), dtype=np.int64) for name in names}
        self.spikes: dict[str, Array] = {}
        self.traces: dict[str, dict[str, Array]] = {"drive": {}, "current": {}, "membrane": {}}
        self.final: dict[str, Array] = {}
        for layer in chip.layers:
            name, shape = layer.name, layer.output_shape
            if name in kept:
                number = np.uint8 if layer.sends_spikes else np.int32
                self.spikes[name] = np.empty((steps, samples, *channels_last(shape)), dtype=number)
            if name in self.probe:
                neurons = self.probe[name]
                size = shape if neurons is None else (neurons.size,)
                for traces in self.traces.values():
                    traces[name] = np.empty((steps, samples, *size), dtype=np.int32)
            if keep_state:
                self.final[name] = np.empty((2, samples, *shape), dtype=np.int32)

    def take_messages(self, layer: ChipLayer, start: int, samples: slice, messages: Array, counts: Array) -> None:
        """Keep messages [t, n, ...], channels-last, of the steps from ``start``, and their counts [t, n]."""
        window = slice(start, start + len(messages))
        self.counts[layer.name][window, samples] = counts
        if layer.name in self.spikes:
            self.spikes[layer.name][window, samples] = messages

    def take_traces(self, layer: ChipLayer, start: int, samples: slice, **values: Array) -> None:
        """Keep the probed neurons of values [t, n, M], flat and channels-last."""
        neurons = self.probe[layer.name]
        for kind, trace in values.items():
            shown = _channels_first(trace, layer)
            if neurons is not None:
                shown = shown.reshape(*shown.shape[:2], -1)[:, :, neurons]
            self.traces[kind][layer.name][start : start + len(shown), samples] = shown

    def take_state(self, layer: ChipLayer, samples: slice, state: Array) -> None:
        """Keep the final state [2, n, M], flat and channels-last."""
        if layer.name in self.final:
            self.final[layer.name][:, samples] = _channels_first(state, layer)

    def result(self) -> ChipRun:
        """Return everything kept, in the order of the layers, images as [T, N, C, H, W]."""
        return ChipRun(
            spikes={name: to_channels_first(spikes) for name, spikes in self.spikes.items()},
            counts=self.counts,
            final=self.final,
            **self.traces,
        )


def _channels_first(values: Array, layer: ChipLayer) -> Array:
    """Return [t, n, M] values, flat and channels-last, as [t, n, C, H, W] or [t, n, M]."""
    return to_channels_first(values.reshape(*values.shape[:2], *channels_last(layer.output_shape)))
