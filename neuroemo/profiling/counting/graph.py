"""Count what a deployable graph costs when it runs in float, node by node, from the inputs every node really saw.

For a synapse node with inputs x [T, N, ...] and fan-out map F::

    AC  = sum of F over elements equal to 1 or -1           MAC = sum of F over all others that are not 0

The graph runs through ``export.reference.run_graph``, the same float execution that every pass is proven against.
The pieces that a run on a chip is counted with too (layers, neuron rules, checks of clips) stand here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from export.passes import lower
from export.reference import Precision, run_graph
from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import (
    LIF,
    Array,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    Graph,
    Linear,
    MaxPool2d,
    Node,
    Pair,
    Shape,
)
from neuroemo.profiling.counting.counts import (
    ACS,
    MACS,
    SPIKES_IN,
    SPIKES_OUT,
    CoveredModule,
    Geometry,
    Kind,
    LayerCounts,
    OpCounts,
    merge_counts,
    squares_of,
)
from neuroemo.profiling.counting.fanout import Counts, FanOut, count_events, dense_macs, prepare_fan_out, weight_fan_out
from neuroemo.profiling.counting.policy import (
    BATCH_NORM_TEXT,
    POOLING_TEXT,
    BatchNormPolicy,
    CountingPolicy,
    NeuronRule,
    Pooling,
    counting_policy,
)
from neuroemo.profiling.counting.pooling import fan_out_through_pool
from neuroemo.profiling.counting.tally import whole_counts
from neuroemo.profiling.counting.weighted import weighted_fan_out

if TYPE_CHECKING:
    import torch

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the number of samples counted so far, and of all where that is known."""

ELEMENTS = 1 << 25
"""Elements of the largest layer, over all steps, that are held at once: about 130 MB in float32."""

COVERED = {AvgPool2d: "pooling", MaxPool2d: "pooling", BatchNorm: "batch_norm", Flatten: "flatten"}
"""The field of ``CountingPolicy`` under which a node without synapses is free."""


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Synapses under the name their counts carry, the node whose input is counted, and the fan-out map it has.

    ``dense`` are the multiply-accumulates of one dense evaluation, zero weights included.
    """

    name: str
    type: str
    source: str
    fan_out: FanOut
    geometry: Geometry
    dense: int

    def counted(self, values: Array) -> LayerCounts:
        """Return the counts of inputs [T, N, ...]."""
        return synapse_layer(self.name, self.type, values, self.fan_out, self.geometry, self.dense)


class _Window(NamedTuple):
    """An average pool by the names that torch gives its settings."""

    kernel_size: Pair
    stride: Pair
    padding: Pair

    @classmethod
    def of(cls, pool: AvgPool2d) -> _Window:
        """Return the window of a pool."""
        return cls(pool.kernel, pool.stride, pool.padding)


def count_graph(
    graph: Graph,
    clips: Array,
    *,
    pooling: Pooling = "event",
    batch_norm: BatchNormPolicy = "folded",
    skip_zero_weights: bool = False,
    keep_samples: bool = True,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> OpCounts:
    """Run clips [T, N, ...] through a graph in float and return what every node cost, under the node's own name.

    Events are those of the graph as it is. ``pooling`` "folded" gives them the fan-out of the graph whose average
    pools (and normalisations) are part of the weights, as a chip gets it, so that what enters a pool is counted.
    Clips run a few at a time: memory is bounded, and no count depends on it.

    Raises:
        InputError: clips that are not the graph's input, no clip, NaN or infinity, a node that there is no rule for.
        UnsupportedError: a pool that cannot become part of weights, under "folded".
    """
    routes = plan_routes(graph, pooling, batch_norm, skip_zero_weights)
    policy = counting_policy(pooling, batch_norm, skip_zero_weights)
    values = check_clips(clips, graph.input_shape)
    largest = max(int(np.prod(shape)) for shape in (graph.input_shape, *graph.shapes))

    def parts() -> Iterator[OpCounts]:
        done = 0
        for piece in pieces(values, largest):
            yield _count_piece(graph, piece, routes, policy, precision, batch_norm == "counted")
            done += piece.shape[1]
            if progress is not None:
                progress(done, values.shape[1])

    return merge_counts(parts(), keep_samples=keep_samples)


def _count_piece(
    graph: Graph, clips: Array, routes: list[Route], policy: CountingPolicy, precision: Precision, norms: bool
) -> OpCounts:
    layers: dict[str, LayerCounts] = {}
    covered: dict[str, CoveredModule] = {}
    merged = {route.name for route in routes}

    def watch(node: Node, value: torch.Tensor) -> None:
        array = value.numpy()
        for route in routes:
            if route.source == node.name:
                layers[route.name] = route.counted(array)
        if isinstance(node, LIF):
            _refuse_strange(node.name, array)
        elif type(node) in COVERED and node.name not in merged:
            covered[node.name] = CoveredModule(type(node).__name__, COVERED[type(node)], array.size)
            if isinstance(node, BatchNorm) and norms:
                layers[node.name] = _element_layer(array)

    run = run_graph(graph, clips, precision=precision, watch=watch)
    for node in graph.neurons():
        fired = run.spikes[node.name].reshape(*clips.shape[:2], -1)
        rule = state_rule(node.decay, node.current_decay, soft_reset=node.reset == "subtract")
        layers[node.name] = neuron_layer("LIF", fired.shape[2], np.count_nonzero(fired, axis=2), rule)
    ordered = {node.name: layers[node.name] for node in graph.nodes if node.name in layers}
    return whole_counts(
        ordered, clips.shape[1], clips.shape[0], covered=covered, policy=policy, notes=_notes(graph, policy)
    )


def _notes(graph: Graph, policy: CountingPolicy) -> dict[str, str]:
    """Return, under "spike_unit", which pools no synapses follow directly."""
    if policy.pooling != POOLING_TEXT["spike_unit"]:
        return {}
    synapses = [at for at, node in enumerate(graph.nodes) if isinstance(node, Conv2d | Linear)]
    used = {pool.name for at in synapses for pool, *_ in _pools_before(graph, at)}
    left = [node.name for node in graph.nodes if isinstance(node, AvgPool2d) and node.name not in used]
    return dict.fromkeys(left, "its output meets no synapses directly: counted under the policy 'event'")


def plan_routes(
    graph: Graph, pooling: Pooling, batch_norm: BatchNormPolicy, skip_zero_weights: bool = False
) -> list[Route]:
    """Return all synapses of a graph, each with the node whose input is counted for it, in data-flow order.

    Raises:
        InputError: a policy that there is not, or nodes without a rule.
        UnsupportedError: a pool that cannot become part of weights, under "folded".
    """
    for name, value, known in (("pooling", pooling, POOLING_TEXT), ("batch_norm", batch_norm, BATCH_NORM_TEXT)):
        if value not in known:
            raise InputError(Finding("E843", "error", name, repr(value), " or ".join(known)))
    kinds = (Conv2d, Linear, LIF, *COVERED)
    if strange := [node for node in graph.nodes if not isinstance(node, kinds)]:
        known_kinds = ", ".join(kind.__name__ for kind in kinds)
        raise InputError(
            [Finding("E844", "error", node.name, f"no rule for {type(node).__name__}", known_kinds) for node in strange]
        )
    form = _folded(graph, batch_norm) if pooling == "folded" else graph
    routes = []
    for at, node in enumerate(form.nodes):
        if isinstance(node, Conv2d | Linear):
            pools = _pools_before(form, at) if pooling == "spike_unit" else []
            routes.append(_route(graph, form, at, pools, skip_zero_weights))
    return routes


def _folded(graph: Graph, batch_norm: BatchNormPolicy) -> Graph:
    """Return the graph with its average pools in the weights."""
    passes = ("average_pool", "batchnorm") if batch_norm == "folded" else ("average_pool",)
    folded, findings = lower(graph, passes, complete=False)
    pools = {node.name for node in folded.nodes if isinstance(node, AvgPool2d)}
    if stuck := [finding for finding in findings if finding.node in pools]:
        raise UnsupportedError(stuck)
    return folded


def _pools_before(form: Graph, at: int) -> list[tuple[AvgPool2d, Shape, Shape]]:
    """Return the pools in front of one position with their shapes, the nearest first."""
    before = takewhile(lambda entry: isinstance(entry[0], AvgPool2d | Flatten), reversed(list(form.layers())[:at]))
    return [(node, shape, pooled) for node, shape, pooled in before if isinstance(node, AvgPool2d)]


def _route(
    graph: Graph, form: Graph, at: int, pools: list[tuple[AvgPool2d, Shape, Shape]], skip_zero_weights: bool
) -> Route:
    """Return the route of the synapses at one position of ``form``, fed with a value that ``graph`` really has."""
    node, shape, shape_out = list(form.layers())[at]
    if not isinstance(node, Conv2d | Linear):
        raise TypeError(f"{node.name} has no synapses")
    first = at
    while first and isinstance(form.nodes[first - 1], Flatten):
        first -= 1
    unflattened = (form.input_shape, *form.shapes)[first]
    where, geometry = {}, Geometry("dense", shape, shape_out, weights=node.weight.size, biases=_size(node.bias))
    if isinstance(node, Conv2d):
        where = {key: getattr(node, key) for key in ("stride", "padding", "dilation", "groups")}
        kernel, stride = tuple(node.weight.shape[2:]), tuple(node.stride)
        geometry = replace(geometry, kind="conv", kernel=kernel, stride=stride, groups=node.groups)
    fan_out = stored_fan_out(node.weight, unflattened, skip_zero_weights, **where)
    for pool, pool_shape, pooled_shape in pools:
        fan_out = fan_out_through_pool(fan_out, _Window.of(pool), pool_shape, pooled_shape)
    source = pools[-1][0].name if pools else _fed_by(graph, form, first)
    dense = dense_macs(weight_fan_out(node.weight.shape, shape, **where))
    return Route(node.name, type(node).__name__, source, prepare_fan_out(fan_out, node.name), geometry, dense)


def _fed_by(graph: Graph, form: Graph, at: int) -> str:
    """Return the node of ``graph`` that is given what ``form`` gives its node at one position."""
    if at == 0:
        return graph.nodes[0].name
    before = form.nodes[at - 1]
    index = [node.name for node in graph.nodes].index(before.name) + 1
    kept = {node.name for node in form.nodes}
    # Synapses took the normalisation behind them along; what a pool behind them gets is its output.
    while isinstance(before, Conv2d | Linear) and graph.nodes[index].name not in kept:
        if not isinstance(graph.nodes[index], BatchNorm):
            break
        index += 1
    return graph.nodes[index].name


def _size(values: Array | None) -> int:
    return 0 if values is None else int(values.size)


def stored_fan_out(weight: Array, shape: Shape, skip_zero_weights: bool = False, **where: Any) -> Counts:
    """Return the fan-out map of stored weights; with ``skip_zero_weights`` that of the weights that are not zero.

    >>> stored_fan_out(np.array([[1, 0, 2], [0, 0, 3]]), (3,), True).tolist()
    [1, 0, 2]

    Raises:
        InputError: see ``weight_fan_out``.
    """
    if not skip_zero_weights:
        return weight_fan_out(weight.shape, shape, **where)
    if weight.ndim == 2:
        return np.count_nonzero(weight, axis=0).astype(np.int64).reshape(shape)
    return weighted_fan_out(weight != 0, shape, **where)


def synapse_layer(name: str, kind: str, values: Array, fan_out: FanOut, geometry: Geometry, dense: int) -> LayerCounts:
    """Return the counts of synapses with inputs [T, N, ...] of as many elements as ``fan_out`` has.

    ``dense`` are the multiply-accumulates of one dense evaluation.

    Raises:
        InputError: NaN or infinite values, see ``count_events``.
    """
    lead = values.shape[:2]
    counts = count_events(values.reshape(*lead, *fan_out.shape), fan_out, name=name)
    table = np.zeros((*lead, 4), dtype=np.int64)
    table[..., ACS], table[..., MACS], table[..., SPIKES_IN] = counts.acs, counts.macs, counts.spikes_in
    return _layer("synapse", kind, table, values.size, dense, geometry)


def _element_layer(values: Array) -> LayerCounts:
    """Return the counts of a normalisation: one multiply-accumulate per element."""
    table = np.zeros((*values.shape[:2], 4), dtype=np.int64)
    table[..., MACS] = values[0, 0].size
    return _layer("element", "BatchNorm", table, values.size, values[0, 0].size)


def _layer(
    kind: Kind, type_name: str, table: Counts, elements: int, dense: int, geometry: Geometry | None = None
) -> LayerCounts:
    steps, samples = table.shape[:2]
    return LayerCounts(
        kind,
        type_name,
        table,
        dense_macs=dense * steps * samples,
        synapses=dense,
        elements=elements,
        calls=1,
        squares=squares_of(table),
        geometry=geometry,
    )


def neuron_layer(type_name: str, neurons: int, spikes: Array, rule: NeuronRule) -> LayerCounts:
    """Return the counts of a layer of neurons from how many of them sent something, int64 [T, N]."""
    table = np.zeros((*spikes.shape, 4), dtype=np.int64)
    table[..., SPIKES_OUT] = spikes
    updates = neurons * spikes.size
    return LayerCounts("neuron", type_name, table, elements=updates, neuron_updates=updates, calls=1, rule=rule)


def state_rule(leak: npt.ArrayLike, current_decay: npt.ArrayLike, *, soft_reset: bool = False) -> NeuronRule:
    """Return what one update of v <- v - leak (v - rest) + gain u, u <- (1 - current_decay) u + x costs.

    A state that decays by anything but all or nothing is a multiply-accumulate, which also adds what comes to it. A
    current that is remembered and added to a potential without leak is an accumulate, the comparison another. ``gain``
    and ``rest`` are part of the weights and biases, as every pass and every chip has them. Where constants differ
    between the neurons of a layer, the rule is the costliest of them.

    >>> state_rule(0.5, 1.0).text, state_rule(0.0, 1.0, soft_reset=True).text
    ('LIF: 1 MAC + 1 AC per update', 'IF: 0 MAC + 1 AC per update, 1 AC per reset')
    """
    leaks, decays = np.broadcast_arrays(np.asarray(leak, dtype=float), np.asarray(current_decay, dtype=float))
    leaky, fading = (leaks > 0) & (leaks < 1), (decays > 0) & (decays < 1)
    added = (decays < 1) & (leaks == 0)
    name = ("LIF" if leaky.any() else "IF") + (" with synaptic current" if (decays < 1).any() else "")
    macs = (leaky.astype(int) + fading).max()
    return NeuronRule(name, int(macs), 1 + int(added.any()), int(soft_reset))


def check_batches(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches (of a tuple, as data loaders give, the first entry).

    Raises:
        InputError: one array where an iterable of them belongs.
    """
    if hasattr(batches, "ndim"):
        raise InputError(Finding("E843", "error", "batches", "one array", "an iterable of arrays", fix="pass [array]"))
    for batch in batches:
        yield batch[0] if isinstance(batch, tuple) and batch else batch


def check_clips(clips: Any, shape: Shape) -> Array:
    """Return clips as an array [T, N, *shape].

    Raises:
        InputError: another shape, no step or no clip, values that are no numbers, NaN or infinity.
    """
    values = np.asarray(clips)
    wanted = f"[T, N, {', '.join(map(str, shape))}]"
    if values.shape[2:] != tuple(shape) or values.dtype.kind not in "biuf":
        found = f"shape {values.shape}, {values.dtype}"
        raise InputError(Finding("E840", "error", "clips", found, f"{wanted}, real numbers"))
    if not values.size:
        raise InputError(
            Finding("E841", "error", "clips", f"shape {values.shape}: no step or no clip", f"{wanted}, 1 or more each")
        )
    _refuse_strange("clips", values)
    return values


def _refuse_strange(name: str, values: Array) -> None:
    if values.dtype.kind == "f" and (bad := int(np.count_nonzero(~np.isfinite(values)))):
        fix = "" if name == "clips" else "look at the weights and constants before it"
        raise InputError(Finding("E842", "error", name, f"{bad} values are NaN or infinite", "0", fix=fix))


def pieces(clips: Array, largest: int) -> Iterator[Array]:
    """Yield clips [T, N, ...] a few samples at a time, so that a layer of ``largest`` elements stays bounded."""
    together = max(1, ELEMENTS // (largest * clips.shape[0]))
    for start in range(0, clips.shape[1], together):
        yield clips[:, start : start + together]
