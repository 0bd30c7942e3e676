"""What the watched modules of one batch write into: a tally per layer, and the names of what was not counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroemo.profiling.counting.counts import CoveredModule, Kind, OpCounts
from neuroemo.profiling.counting.fanout import Counts, EventCounts, FanOut, prepare_fan_out
from neuroemo.profiling.counting.foreseen import Foreseen, count_tensor, key_of, storage_of
from neuroemo.profiling.counting.layers import (
    PlannedModule,
    module_fan_out,
    module_geometry,
    own_parameters,
    pool_axes,
    why_uncountable,
)
from neuroemo.profiling.counting.policy import BatchNormPolicy, Pooling, counting_policy
from neuroemo.profiling.counting.pooling import fan_out_folded, fan_out_through_pool
from neuroemo.profiling.counting.tally import Tally, whole_counts

if TYPE_CHECKING:
    from torch import Tensor


class Plan:
    """What is to be watched and how it is counted: made once, used for every batch."""

    def __init__(
        self, modules: list[PlannedModule], pooling: Pooling, batch_norm: BatchNormPolicy, skip_zero_weights: bool
    ) -> None:
        self.modules = modules
        self.pooling, self.batch_norm, self.skip_zero_weights = pooling, batch_norm, skip_zero_weights
        self.fan_outs: dict[Any, FanOut] = {}
        self.owners = _owners(modules)
        self.foreseen = Foreseen()

    def fan_out(self, item: PlannedModule, shape: tuple[int, ...]) -> FanOut:
        """Return the fan-out map of a layer for inputs of one shape."""
        key = (item.name, shape)
        if key not in self.fan_outs:
            self.fan_outs[key] = prepare_fan_out(module_fan_out(item.module, shape, self.skip_zero_weights), item.name)
        return self.fan_outs[key]

    def dense(self, item: PlannedModule, shape: tuple[int, ...]) -> int:
        """Return what one dense evaluation costs, zero weights included."""
        if not self.skip_zero_weights:
            return self.fan_out(item, shape).dense
        key = (item.name, shape, "dense")
        if key not in self.fan_outs:
            self.fan_outs[key] = prepare_fan_out(module_fan_out(item.module, shape), item.name)
        return self.fan_outs[key].dense

    def fan_out_through(self, item: PlannedModule, shape: tuple[int, ...], pool: PooledValue) -> FanOut:
        """Return the fan-out map that inputs of an average pool have through it and the layer behind it."""
        key = (item.name, shape, pool.name)
        if key not in self.fan_outs:
            self.fan_outs[key] = prepare_fan_out(self._through(item, shape, pool, self.skip_zero_weights), item.name)
        return self.fan_outs[key]

    def dense_through(self, item: PlannedModule, shape: tuple[int, ...], pool: PooledValue) -> int:
        """Return what one dense evaluation behind a pool costs, zero weights included."""
        if self.pooling == "spike_unit":
            return self.dense(item, shape)
        key = (item.name, shape, pool.name, "dense")
        if key not in self.fan_outs:
            self.fan_outs[key] = prepare_fan_out(self._through(item, shape, pool, False), item.name)
        return self.fan_outs[key].dense

    def _through(self, item: PlannedModule, shape: tuple[int, ...], pool: PooledValue, skip: bool) -> Counts:
        inputs, outputs = pool.input.shape[-pool.space :], pool.output.shape[-pool.space :]
        merges = self.pooling == "folded" and not skip
        if merges and getattr(item.module, "transposed", True) is False:
            return fan_out_folded(item.module, pool.module, inputs, outputs)
        through = fan_out_through_pool(module_fan_out(item.module, shape, skip), pool.module, inputs, outputs)
        # Behind a pool a dense layer keeps one weight for each output and input, however many windows share it.
        return np.minimum(through, item.module.out_features) if merges and item.space == 1 else through


class PooledValue:
    """What an average pool made of what: kept until its output arrives at synapses."""

    def __init__(self, item: PlannedModule, given: Tensor, output: Tensor) -> None:
        self.name, self.module = item.name, item.module
        self.input, self.output = given, output
        self.space = 1 + pool_axes(item.module)


class Recorder:
    """What the watched modules of one batch write into."""

    def __init__(self, plan: Plan, steps: int, samples: int) -> None:
        self.plan = plan
        self.size = (steps, samples)
        self.step: int | None = None
        self.open: list[PlannedModule] = []
        self.tallies = {
            item.name: self._planned(item) for item in plan.modules if item.role.kind in ("synapse", "neuron")
        }
        self.covered: dict[PlannedModule, int] = {}
        self.partial: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.order: list[str] = []
        self.used: set[int] = set()
        self.pooled: dict[int, PooledValue] = {}
        self.foreseen = plan.foreseen

    def _planned(self, item: PlannedModule) -> Tally:
        kind: Kind = "synapse" if item.role.kind == "synapse" else "neuron"
        return Tally(kind, item.type, *self.size, rule=item.role.neuron)

    def tally(self, name: str, kind: Kind, type_name: str) -> Tally:
        """Return the tally of that name, a new one where there is none."""
        if name not in self.tallies:
            self.tallies[name] = Tally(kind, type_name, *self.size)
        found = self.tallies[name]
        if not found.calls:
            found.order = len(self.order)
            self.order.append(name)
        return found

    def uncounted(self, reason: str) -> None:
        """Name the module that is running as one that was not counted whole."""
        inside = self.open[-1]
        self.partial.setdefault(inside.name, f"{inside.type}: {reason}")

    def before(self, item: PlannedModule) -> Callable[[PlannedModule, Any], None]:
        """Return what to do with the input of a module's calls; synapses have it done only where they are known."""
        kinds = {"synapse": self._synapse, "covered": self._covered, "pool": self._covered, "unknown": self._unknown}
        return kinds.get(item.role.kind, _ignore)

    def after(self, item: PlannedModule) -> Callable[[PlannedModule, Any, Any], None]:
        """Return what to do with the output of a module's calls."""
        if item.role.kind == "pool" and self.plan.pooling != "event":
            return self._pool
        return {"neuron": self._neuron, "synapse": self._shape}.get(item.role.kind, _ignore)

    def _synapse(self, item: PlannedModule, value: Any) -> None:
        """Count what arrives at the synapses of a known layer."""
        if reason := why_uncountable(value):
            self.partial.setdefault(item.name, f"{item.type}: {reason}")
            return
        tally, plan = self.tally(item.name, "synapse", item.type), self.plan
        whole, space = tuple(value.shape), item.space
        shape, lead = whole[len(whole) - space :], whole[: len(whole) - space]
        if self.pooled and (pool := self.pooled.pop(storage_of(value), None)) and pool.output.numel() == value.numel():
            fan_out = plan.fan_out_through(item, shape, pool)
            dense = plan.dense_through(item, shape, pool)
            rows = count_tensor(pool.input, fan_out, item.name)
            tally.add_rows(rows, lead, dense, pool.input.numel(), self.step)
            return
        key = key_of(value)
        ahead = self.foreseen.take(item, key)
        rows = count_tensor(value, plan.fan_out(item, shape), item.name) if ahead is None else ahead
        tally.add_rows(rows, lead, plan.dense(item, shape), value.numel(), self.step)
        self.foreseen.learn(item, key, shape)

    def _neuron(self, item: PlannedModule, value: Any, output: Any) -> None:
        """Count the updates and the spikes of a layer of neurons."""
        fired = output[0] if isinstance(output, tuple) else output
        tally = self.tally(item.name, "neuron", item.type)
        tally.add_updates(fired.numel())
        rule = item.role.neuron
        if rule is None:
            reason = "updates are counted, but what one of them costs is not known"
            self.partial.setdefault(item.name, f"{item.type}: {reason}")
        elif not rule.acs:
            return  # what never compares with a threshold sends no spikes
        lead = self._lead(item, fired)
        tally.add_fired(self.foreseen.count(self.plan.fan_out, item, fired, math.prod(lead)), lead, self.step)

    def _shape(self, item: PlannedModule, value: Any, output: Any) -> None:
        """Note the shape of a layer of synapses once, and that it ran unseen if it did."""
        tally = self.tallies[item.name]
        if not tally.calls:
            self.partial.setdefault(item.name, f"{item.type}: ran, but no product of its weights was seen")
        elif tally.geometry is None:
            shapes = tuple(value.shape[-item.space :]), tuple(output.shape[-item.space :])
            tally.geometry = module_geometry(item.module, *shapes)

    def _covered(self, item: PlannedModule, value: Any) -> None:
        """Note the elements given to a module that the policy covers."""
        self.covered[item] = self.covered.get(item, 0) + _numel(value)
        if item.role.rule == "batch_norm" and self.plan.batch_norm == "counted":
            self._elements(item, value)

    def _pool(self, item: PlannedModule, value: Any, output: Any) -> None:
        """Keep what an average pool made until it arrives at synapses."""
        self.pooled[storage_of(output)] = PooledValue(item, value, output)

    def _unknown(self, item: PlannedModule, value: Any) -> None:
        """Name a module that there is no rule for."""
        self.partial.setdefault(item.name, f"{item.type}: no rule for this type of module")

    def _elements(self, item: PlannedModule, value: Any) -> None:
        """Charge one multiply-accumulate to every element."""
        lead = self._lead(item, value)
        each = value.numel() // max(1, math.prod(lead))
        nothing = np.zeros(lead, dtype=np.int64)
        tally = self.tally(item.name, "element", item.type)
        tally.add_counted(EventCounts(nothing, nothing + each, nothing), each, self.step)

    def _lead(self, item: PlannedModule, value: Any) -> tuple[int, ...]:
        """Return the leading axes of a value that are steps and samples: two, or one that holds both or either."""
        many = item.many_steps
        both = tuple(value.shape[:2]) == self.size and self.step is None if many is None else many
        return tuple(value.shape[: 2 if both else 1])

    def result(self) -> OpCounts:
        """Return the counts of the batch."""
        ordered = sorted(self.tallies.items(), key=lambda entry: entry[1].order)
        finished = {name: tally.finish() for name, tally in ordered}
        layers = {name: layer for name, (layer, _) in finished.items()}
        notes = self.notes | {name: note for name, (_, note) in finished.items() if note}
        notes |= {
            name: "never called" for name, layer in layers.items() if not layer.calls and name not in self.partial
        }
        notes |= {
            pool.name: "its output met no synapses directly: counted under the policy 'event'"
            for pool in self.pooled.values()
        }
        self._hold_parameters()
        covered = {
            item.name: CoveredModule(item.type, item.role.rule, elements) for item, elements in self.covered.items()
        }
        policy = counting_policy(self.plan.pooling, self.plan.batch_norm, self.plan.skip_zero_weights)
        steps, samples = self.size
        return whole_counts(layers, samples, steps, partial=self.partial, covered=covered, notes=notes, policy=policy)

    def _hold_parameters(self) -> None:
        """Name modules that hold parameters of which no counted product made use."""
        for item in self.plan.modules:
            if item.role.kind in ("container", "unknown"):
                unused = [
                    name
                    for name, value in own_parameters(item.module)
                    # Additions of a bias are not counted anywhere, and the policy says so.
                    if storage_of(value) not in self.used and not name.endswith("bias")
                ]
                if unused:
                    reason = f"holds parameters ({', '.join(unused)}), what they compute is not counted"
                    self.partial.setdefault(item.name, f"{item.type}: {reason}")


def _owners(modules: list[PlannedModule]) -> dict[int, str]:
    """Return the name that a product with each parameter is counted under, by the parameter's storage."""
    owners: dict[int, str] = {}
    for item in modules:
        for name, value in own_parameters(item.module):
            counted = item.role.kind == "synapse" and name == "weight"
            owners.setdefault(storage_of(value), item.name if counted else f"{item.name}.{name}")
    return owners


def _numel(value: Any) -> int:
    return int(value.numel()) if hasattr(value, "numel") else 0


def _ignore(*_: Any) -> None:
    """Do nothing: containers are only watched for what happens inside them."""
