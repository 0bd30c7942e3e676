"""Count what a run on the chip cost: every message of the fixed-point simulator times its exact fan-out, in integers.

Per step and population, with the messages x that enter its synaptic sums and the fan-out map F of its weights::

    AC  = sum of F over messages equal to 1 or -1           MAC = sum of F over all others that are not 0

A message is counted in the step whose synaptic sum it enters, delays aside: in frame time a feed-forward message in
its own step, one of a recurrence in the step after it was sent; in Lava's clock either in the step after. What is sent
in the last step therefore costs nothing where it arrives after it. A delay moves a message and changes no count.

Where the input carries a payload L (a gray first frame beside spikes), a message of L is a spike, the value 1; any
other is graded. Fan-out is that of the stored kernel: an average pool that was folded into it is part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Pair, Shape
from neuroemo.profiling.counting.counts import Geometry, LayerCounts, OpCounts, merge_counts
from neuroemo.profiling.counting.fanout import dense_macs, prepare_fan_out
from neuroemo.profiling.counting.graph import (
    Progress,
    Route,
    check_batches,
    check_clips,
    count_graph,
    neuron_layer,
    pieces,
    state_rule,
    stored_fan_out,
)
from neuroemo.profiling.counting.policy import CountingPolicy, NeuronRule, counting_policy
from neuroemo.profiling.counting.tally import whole_counts

Clock = Literal["aligned", "pipeline"]

SIGMA_DELTA_RULES = {
    "delta": NeuronRule("delta", macs=0, acs=3),
    "sigma_delta": NeuronRule("sigma-delta", macs=0, acs=3),
    "sigma": NeuronRule("sigma", macs=0, acs=0),
}
"""Sigma-delta neurons add the old residue and subtract the old activation (2 AC) and compare (1 AC); a sigma neuron
only adds up what arrives, which is counted at its synapses. Nothing is multiplied: their units are powers of two."""


class Population(Protocol):
    """One population of a chip, as ``hw_targets.loihi2.chip.ChipLayer`` has it."""

    name: str
    kind: str
    neuron: str
    weight: Array
    bias: Array
    recurrent: Array | None
    current_decay: int | Array
    voltage_decay: int | Array
    input_shape: Shape
    output_shape: Shape
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    payload: int
    neurons: int
    sends_spikes: bool


def count_chip(
    chip: Any,
    batches: Iterable[Array],
    *,
    simulator: Any | None = None,
    target: str = "loihi2",
    skip_zero_weights: bool = False,
    keep_samples: bool = True,
    progress: Progress | None = None,
) -> OpCounts:
    """Run clips [T, N, ...] on the fixed-point simulator and return what every population cost.

    Synapses carry the population's name, its neurons ``<name>.neurons``, a recurrence ``<name>.recurrent``. Batches
    are run a few clips at a time: memory is bounded, and no count depends on it. ``simulator`` is one that was
    planned for this chip (``get_target(target).simulator(chip)``); its clock decides the steps.

    Raises:
        InputError: no batch, clips that are not the chip's input, NaN, unequal numbers of steps.
        CapacityError: a synaptic sum that the chip cannot hold.
    """
    from hw_targets.registry import deploy_target

    planned = deploy_target(target).simulator(chip) if simulator is None else simulator
    largest = max(*(layer.neurons for layer in chip.layers), int(np.prod(chip.input_shape)))
    routes, policy = chip_routes(chip, skip_zero_weights), chip_policy(skip_zero_weights)

    def parts() -> Iterator[OpCounts]:
        done = 0
        for batch in check_batches(batches):
            clips = check_clips(batch, chip.input_shape)
            for piece in pieces(clips, largest):
                run = planned.run(piece)
                yield _count(chip, piece, run, routes, _clock(planned), policy)
                done += piece.shape[1]
                if progress is not None:
                    progress(done, None)

    return merge_counts(parts(), keep_samples=keep_samples)


def count_run(
    chip: Any, clips: Array, run: Any, *, clock: Clock = "aligned", skip_zero_weights: bool = False
) -> OpCounts:
    """Return what a run at hand cost: the clips [T, N, ...] that went in and the messages of every population.

    ``clock`` says how the run was made: "aligned" in frame time, "pipeline" in Lava's.

    Raises:
        InputError: clips that are not the chip's input, a population that was not recorded, or another clock.
    """
    if clock not in ("aligned", "pipeline"):
        raise InputError(Finding("E843", "error", "clock", repr(clock), "aligned or pipeline"))
    values = check_clips(clips, chip.input_shape)
    findings = [
        _not_recorded(layer, run, values.shape[:2])
        for layer in chip.layers
        if np.shape(run.spikes.get(layer.name)) != (*values.shape[:2], *layer.output_shape)
    ]
    if findings:
        raise InputError(findings)
    routes = chip_routes(chip, skip_zero_weights)
    return _count(chip, values, run, routes, clock, chip_policy(skip_zero_weights))


def count_deployment(
    deployment: Any,
    batches: Iterable[Array],
    *,
    skip_zero_weights: bool = False,
    keep_samples: bool = True,
    progress: Progress | None = None,
) -> OpCounts:
    """Count everything that runs after an export: layers that stay on the host in float, then those on the chip.

    Layers on the host are counted as ``count_graph`` counts them and named in ``notes``.

    Raises:
        InputError: see ``count_graph`` and ``count_chip``; a layer of the host and one of the chip of one name.
    """
    host, chip, planned = deployment.host, deployment.chip, deployment.target.simulator(deployment.chip)
    shape = chip.input_shape if host is None else host.input_shape
    largest = max(int(np.prod(each)) for each in (shape, chip.input_shape, *(() if host is None else host.shapes)))

    def parts() -> Iterator[OpCounts]:
        done = 0
        for batch in check_batches(batches):
            for clips in pieces(check_clips(batch, shape), largest):
                received, _ = deployment.chip_input(clips)
                counts = count_chip(chip, [received], simulator=planned, skip_zero_weights=skip_zero_weights)
                if host is not None:
                    counts = _behind(count_graph(host, clips, skip_zero_weights=skip_zero_weights), counts)
                yield counts
                done += clips.shape[1]
                if progress is not None:
                    progress(done, None)

    return merge_counts(parts(), keep_samples=keep_samples)


def _behind(host: OpCounts, chip: OpCounts) -> OpCounts:
    """Return the counts of both parts of a network, the host's first."""
    if both := sorted(host.layers.keys() & chip.layers.keys()):
        raise InputError(
            [Finding("E844", "error", name, "a layer of this name on the host and on the chip", "1") for name in both]
        )
    joined = whole_counts(
        host.layers | chip.layers, chip.samples, chip.steps, covered=host.covered | chip.covered, policy=chip.policy
    )
    where = dict.fromkeys(host.layers, "runs on the host, in float")
    return replace(joined, partial=host.partial | chip.partial, notes=host.notes | chip.notes | where)


def chip_routes(chip: Any, skip_zero_weights: bool = False) -> dict[str, Route]:
    """Return the synapses of a chip by the name their counts carry.

    Raises:
        InputError: synapses of a kind that there is no rule for.
    """
    routes: dict[str, Route] = {}
    source = "input"
    for layer in chip.layers:
        if layer.kind in ("conv", "dense", "dense_rec"):
            routes[layer.name] = _route(layer, source, skip_zero_weights)
        elif layer.kind != "input":
            kinds = "conv, dense, dense_rec or input"
            raise InputError(
                Finding("E844", "error", layer.name, f"no rule for synapses of kind {layer.kind!r}", kinds)
            )
        if layer.recurrent is not None:
            routes[_recurrence(layer)] = _recurrent_route(layer, skip_zero_weights)
        source = layer.name
    return routes


def _route(layer: Population, source: str, skip_zero_weights: bool) -> Route:
    conv = layer.kind == "conv"
    where = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")} if conv else {}
    geometry = Geometry(
        "conv" if conv else "dense",
        tuple(layer.input_shape),
        tuple(layer.output_shape),
        tuple(layer.weight.shape[2:]),
        tuple(layer.stride) if conv else (),
        layer.groups,
        int(layer.weight.size),
        int(layer.bias.size) if layer.bias.any() else 0,
    )
    fan_out = stored_fan_out(layer.weight, layer.input_shape, skip_zero_weights, **where)
    dense = dense_macs(stored_fan_out(layer.weight, layer.input_shape, **where))
    return Route(layer.name, layer.kind, source, prepare_fan_out(fan_out, layer.name), geometry, dense)


def _recurrent_route(layer: Population, skip_zero_weights: bool) -> Route:
    weight, shape, name = np.asarray(layer.recurrent), tuple(layer.output_shape), _recurrence(layer)
    fan_out = prepare_fan_out(stored_fan_out(weight, shape, skip_zero_weights), name)
    return Route(
        name, "recurrent", layer.name, fan_out, Geometry("dense", shape, shape, weights=int(weight.size)), weight.size
    )


def _count(
    chip: Any, clips: Array, run: Any, routes: Mapping[str, Route], clock: Clock, policy: CountingPolicy
) -> OpCounts:
    layers: dict[str, LayerCounts] = {}
    values = _received(chip, clips)
    for layer in chip.layers:
        sent = run.spikes[layer.name]
        if layer.name in routes:
            layers[layer.name] = routes[layer.name].counted(_one_step_later(values) if clock == "pipeline" else values)
        spikes = np.count_nonzero(sent.reshape(*sent.shape[:2], -1), axis=2)
        layers[f"{layer.name}.neurons"] = neuron_layer(layer.neuron, layer.neurons, spikes, neuron_rule(layer))
        if (name := _recurrence(layer)) in routes:
            # netx gives a recurrence the message width of the layer's input: behind spikes, whatever is sent counts 1.
            messages = sent != 0 if layer.payload == 1 else sent
            layers[name] = routes[name].counted(_one_step_later(messages))
        values = sent
    return whole_counts(layers, clips.shape[1], clips.shape[0], policy=policy)


def chip_policy(skip_zero_weights: bool = False) -> CountingPolicy:
    """Return the policy under which a chip's run is counted."""
    return replace(
        counting_policy("folded", "folded", skip_zero_weights),
        events="a message of 1 or -1, or an input spike with its payload: its exact fan-out in accumulates (AC)",
        graded="any other message that is not 0: its exact fan-out in multiply-accumulates (MAC), per message",
    )


def _received(chip: Any, clips: Array) -> Array:
    """Return clips as the chip sees them, in units of one input spike: gray values rounded to its payload levels."""
    if chip.first_frame == "integers" or (chip.first_frame == "spikes" and chip.payload == 1):
        return clips
    return np.rint(clips * chip.payload) / chip.payload


def _one_step_later(values: Array) -> Array:
    return np.concatenate([np.zeros_like(values[:1]), values[:-1]])


def neuron_rule(layer: Population) -> NeuronRule:
    """Return what an update of a population's neurons costs; where constants differ by neuron, of the costliest."""
    if not layer.sends_spikes:
        return SIGMA_DELTA_RULES[layer.neuron]
    return state_rule(np.asarray(layer.voltage_decay) / 4096, np.asarray(layer.current_decay) / 4096)


def _recurrence(layer: Population) -> str:
    return f"{layer.name}.recurrent"


def _clock(simulator: Any) -> Clock:
    return "pipeline" if getattr(simulator, "mode", "aligned") == "pipeline" else "aligned"


def _not_recorded(layer: Population, run: Any, lead: tuple[int, ...]) -> Finding:
    wanted = f"{(*lead, *layer.output_shape)}"
    if layer.name not in run.spikes:
        return Finding("E844", "error", layer.name, "its messages were not recorded", wanted, fix="record='all'")
    return Finding("E844", "error", layer.name, f"messages of shape {run.spikes[layer.name].shape}", wanted)
