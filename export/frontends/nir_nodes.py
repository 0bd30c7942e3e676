"""NIR nodes to graph nodes, one by one along the chain.

NIR gives differential equations; forward Euler with step dt makes of them, with x the input of one step::

    IF       v <- v + dt r x                                   decay 0,          gain dt r
    LIF      v <- v + dt/tau (v_leak - v + r x)                decay dt/tau,     gain r dt/tau
    CubaLIF  i <- i + dt/tau_syn (w_in x - i)                  current_decay dt/tau_syn
             v <- v + dt/tau_mem (v_leak - v + r i)            decay dt/tau_mem, gain r dt/tau_mem * w_in dt/tau_syn

then a spike and, in the same step, v <- v_reset. That is what SpikingJelly 2, Norse and snnTorch compute; sinabs
and Rockpool use exponentials. The graph's neuron rests at v_leak = v_reset and starts there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from export.frontends.nir_guard import Broken
from export.frontends.nir_notes import AGREE, COMPARISONS, notes_of, settled
from hw_targets.finding import Finding
from hw_targets.graph import LIF, Array, AvgPool2d, Conv2d, Flatten, Linear, Node, Pair, Shape, output_shape

NEURONS = ("IF", "LIF", "CubaLIF")
SYNAPSES = ("Conv2d", "Linear", "Affine")
FACTORS = ("SumPool2d", "Scale")
MAX_VALUES = 2**28
"""Values in one layer's output beyond which a file is taken to be damaged."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One neuron layer's time constants in seconds, and the dt its resistances suggest, where they do."""

    name: str
    constants: Mapping[str, float]
    implied_dt: float | None


@dataclass(slots=True)
class Translator:
    """Collects graph nodes and findings; ``shape`` is None where something before left it unknown.

    ``dt`` and ``inclusive`` may be None: then everything else is still looked at, so that one run tells all.
    ``factor`` is what sum pools and scales have multiplied and the next synapse or neuron has to take in.
    """

    dt: float | None
    inclusive: bool | None
    believe_notes: bool
    shape: Shape | None = None
    factor: float = 1.0
    nodes: list[Node] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    compares: dict[str, bool | None] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)

    def report(self, code: str, name: str, found: str, limit: str = "", over: str = "", fix: str = "") -> None:
        """Note an error about one node."""
        self.findings.append(Finding(code, "error", name, found, limit, over, fix))

    def add(self, key: str, node: Any) -> None:
        """Translate the node that stands next in the chain."""
        before = len(self.findings)
        name = self._named(key, node)
        kind = node.kind if isinstance(node, Broken) else type(node).__name__
        if isinstance(node, Broken) and node.reason:
            self.report("E165", name, node.reason, fix="write the file again with nir.write")
        elif kind in NEURONS:
            self._neuron(key, name, kind, node)
        elif kind in (*SYNAPSES, "AvgPool2d", "SumPool2d", "Flatten", "Scale"):
            getattr(self, f"_{kind.lower()}")(name, node)
        else:
            what = {"NIRGraph": "a graph within the graph", "NoneType": "an empty node (None)"}.get(kind, f"a {kind}")
            fix = "use Conv2d, Linear, Affine, AvgPool2d, SumPool2d, Scale, Flatten, IF, LIF, CubaLIF in one chain"
            self.report("E166", name, f"{what} has no place in a deployable graph", fix=fix)
        if len(self.findings) > before:
            self.shape = None  # what comes after is judged on its own

    def _named(self, key: str, node: Any) -> str:
        """Return the name the layer had before it was written, else its name in the file."""
        noted = notes_of(getattr(node, "metadata", None)).get("name") if self.believe_notes else None
        name = noted if isinstance(noted, str) and noted else key
        if name in self.names.values():
            self.report("E163", key, f"a second layer of the name {name}", fix="write the file again")
        self.names[key] = name
        return name

    def _append(self, node: Node) -> None:
        """Append a node if it takes the shape that comes in."""
        if self.shape is not None:
            try:
                shape = output_shape(node, self.shape)
            except ValueError as error:
                fix = "the layers of the file do not follow each other: is a Flatten missing?"
                self.report("E175", node.name, f"a shape that does not fit: {error}", fix=fix)
                return
            if math.prod(shape) > MAX_VALUES:
                self.report("E175", node.name, f"an output of {shape}", f"{MAX_VALUES} values")
                return
            self.shape = shape
        self.nodes.append(node)

    def _numbers(self, name: str, node: Any, key: str, rank: int | None = None) -> Array | None:
        """Return a field of a node as float64, or report why it is not finite numbers of the right rank."""
        try:
            value = np.asarray(getattr(node, key))
        except (ValueError, TypeError):
            value = np.asarray(None)
        if value.dtype.kind not in "fiu" or not value.size:
            self.report("E165", name, f"{key} is {value.dtype} of shape {value.shape}", "numbers")
        elif not np.isfinite(value).all():
            bad = int(np.count_nonzero(~np.isfinite(value)))
            self.report("E165", name, f"{key} holds {bad} values that are not finite", "0", str(bad), "train again")
        elif rank is not None and value.ndim != rank:
            self.report("E175", name, f"{key} has shape {value.shape}", f"{rank} axes")
        else:
            return value.astype(np.float64)
        return None

    def _pair(self, name: str, node: Any, key: str, least: int) -> Pair | None:
        """Return one or two whole numbers as a pair (H, W)."""
        value = np.asarray(getattr(node, key, None))
        if value.dtype.kind in "iu" and value.size in (1, 2) and int(value.min()) >= least:
            flat = [int(n) for n in value.ravel()]
            return flat[0], flat[-1]
        self.report("E165", name, f"{key} is {getattr(node, key, None)!r}", f"whole numbers from {least}, for H and W")
        return None

    def _uniform(self, name: str, node: Any, key: str) -> float | None:
        """Return the one value of a per-neuron array, or report that there are several."""
        value = self._numbers(name, node, key)
        if value is None:
            return None
        distinct = np.unique(value)
        if distinct.size > 1:
            found = f"{key} has {distinct.size} distinct values from {distinct[0]:g} to {distinct[-1]:g}"
            self.report("E171", name, found, "1 per layer", fix="the chip shares constants in a layer: make them equal")
            return None
        return float(distinct[0])

    def _check_shapes(self, name: str, node: Any, fields: tuple[str, ...]) -> None:
        """Report the per-neuron arrays that have neither the layer's shape nor a single value, all in one."""
        shapes = {field: np.shape(getattr(node, field)) for field in fields}
        bad = [field for field, shape in shapes.items() if math.prod(shape) != 1 and shape != self.shape]
        if bad and self.shape is not None:
            found = f"{', '.join(bad)}: shape {', '.join(sorted({str(shapes[field]) for field in bad}))}"
            self.report("E175", name, found, f"{self.shape}, or one value")

    def _conv2d(self, name: str, node: Any) -> None:
        weight, bias = self._numbers(name, node, "weight", 4), self._bias(name, node)
        stride, dilation = (self._pair(name, node, key, 1) for key in ("stride", "dilation"))
        groups = self._pair(name, node, "groups", 1)
        if weight is None or stride is None or dilation is None or groups is None:
            return
        padding = self._padding(name, node, weight.shape[2:], stride, dilation)
        if (
            groups[0] != groups[1]
            or weight.shape[0] % groups[0]
            or (bias is not None and bias.shape != (weight.shape[0],))
        ):
            found = f"groups {node.groups}, bias {None if bias is None else bias.shape}"
            self.report("E175", name, found, f"what suits {weight.shape[0]} output channels")
            return
        declared = getattr(node, "input_shape", None)
        if self.shape is not None and declared is not None and tuple(np.ravel(declared)) != self.shape[1:]:
            found = f"input_shape {tuple(np.ravel(declared).tolist())} where {self.shape} arrives"
            self.report("E175", name, found, f"{self.shape[1:]}")
            return
        if padding is not None:
            self._append(Conv2d(name, self._scaled(weight), bias, stride, padding, dilation, groups[0]))

    def _bias(self, name: str, node: Any) -> Array | None:
        """Return the bias of a convolution; NIR demands one, so that zeros say: none."""
        if getattr(node, "bias", None) is None:
            return None
        bias = self._numbers(name, node, "bias", 1)
        return bias if bias is not None and bias.any() else None

    def _padding(self, name: str, node: Any, kernel: Shape, stride: Pair, dilation: Pair) -> Pair | None:
        """Return the padding in pixels; 'same' is one only where it is equal on both sides."""
        if node.padding == "valid" if isinstance(node.padding, str) else False:
            return 0, 0
        if not isinstance(node.padding, str):
            return self._pair(name, node, "padding", 0)
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if node.padding == "same" and stride == (1, 1) and not any(n % 2 for n in total):
            return total[0] // 2, total[1] // 2
        found = f"padding {node.padding!r} with a kernel of {kernel}, stride {stride}, dilation {dilation}"
        fix = "give the padding as a number of pixels"
        self.report("E172", name, found, "as many pixels on one side as on the other", fix=fix)
        return None

    def _scaled(self, weight: Array) -> Array:
        """Return ``weight`` times the waiting factor, which is then used up."""
        factor, self.factor = self.factor, 1.0
        return weight if factor == 1.0 else weight * factor

    def _linear(self, name: str, node: Any) -> None:
        weight = self._numbers(name, node, "weight", 2)
        if weight is not None:
            self._append(Linear(name, self._scaled(weight)))

    def _affine(self, name: str, node: Any) -> None:
        weight, bias = self._numbers(name, node, "weight", 2), self._numbers(name, node, "bias", 1)
        if weight is None or bias is None:
            return
        if bias.shape != weight.shape[:1]:
            self.report("E175", name, f"bias has shape {bias.shape}", f"({weight.shape[0]},)")
            return
        self._append(Linear(name, self._scaled(weight), bias))

    def _avgpool2d(self, name: str, node: Any) -> None:
        kernel, stride = (self._pair(name, node, key, 1) for key in ("kernel_size", "stride"))
        padding = self._pair(name, node, "padding", 0)
        if kernel is None or stride is None or padding is None:
            return
        if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
            found = f"padding {padding} around a pool of {kernel}"
            self.report("E172", name, found, "half of the window", fix="use a smaller padding")
            return
        self._append(AvgPool2d(name, kernel, stride, padding))

    def _sumpool2d(self, name: str, node: Any) -> None:
        """The sum over a window is its mean times the window's size, which the next layer's weights take in."""
        self._avgpool2d(name, node)
        if self.nodes and self.nodes[-1].name == name and isinstance(self.nodes[-1], AvgPool2d):
            self.factor *= math.prod(self.nodes[-1].kernel)

    def _scale(self, name: str, node: Any) -> None:
        self._check_shapes(name, node, ("scale",))
        factor = self._uniform(name, node, "scale")
        if factor is not None:
            self.factor *= factor

    def _flatten(self, name: str, node: Any) -> None:
        start, end = (np.asarray(getattr(node, key, None)) for key in ("start_dim", "end_dim"))
        if start.dtype.kind not in "iu" or end.dtype.kind not in "iu" or start.size != 1 or end.size != 1:
            self.report("E165", name, "start_dim or end_dim is not a whole number")
            return
        first, last = int(start.item()), int(end.item())
        rank = 3 if self.shape is None else len(self.shape)
        if (first + rank if first < 0 else first) != 0 or (last + rank if last < 0 else last) != rank - 1:
            found = f"flattens dimensions {first} to {last} of {rank}"
            fix = "NIR counts dimensions without the batch: write start_dim=0, end_dim=-1"
            self.report("E173", name, found, f"all, 0 to {rank - 1}", fix=fix)
            return
        declared = (node.input_type or {}).get("input") if isinstance(node.input_type, Mapping) else None
        if self.shape is not None and declared is not None and tuple(np.ravel(declared)) != self.shape:
            self.report("E175", name, f"input_type {np.ravel(declared).tolist()} where {self.shape} arrives")
            return
        self._append(Flatten(name))

    def _neuron(self, key: str, name: str, kind: str, node: Any) -> None:
        fields = {
            "IF": ("r", "v_threshold", "v_reset"),
            "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
            "CubaLIF": ("tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset"),
        }[kind]
        self._check_shapes(name, node, fields)
        found = {field: self._uniform(name, node, field) for field in fields}
        self.compares[key] = self._comparison(name, node)
        values = {field: value for field, value in found.items() if value is not None}
        if len(values) < len(found):
            return
        if values.get("v_leak", values["v_reset"]) != values["v_reset"]:
            text = f"v_leak {values['v_leak']:g} differs from v_reset {values['v_reset']:g}"
            fix = "the chip's neuron leaks to the potential it resets to: retrain with the two equal"
            self.report("E170", name, text, "equal", f"{values['v_leak'] - values['v_reset']:g}", fix)
        constants = {field: value for field, value in values.items() if field.startswith("tau")}
        self.timings.append(Timing(name, constants, _implied_dt(values)))
        if self.dt is not None and not any(out_of_range(self.dt, tau) for tau in constants.values()):
            self._euler(name, node, values, self.dt, bool(self.compares[key]))

    def _comparison(self, name: str, node: Any) -> bool | None:
        """Return whether the layer fires at its threshold: as noted, else as the caller says."""
        noted = notes_of(node.metadata).get("spike_comparison") if self.believe_notes else None
        if noted is None:
            return self.inclusive
        if not isinstance(noted, str) or noted not in COMPARISONS:
            self.report("E163", name, f"spike_comparison is {noted!r}", "'>=' or '>'", fix="write the file again")
            return self.inclusive
        if self.inclusive is not None and COMPARISONS[noted] != self.inclusive:
            said = ">=" if self.inclusive else ">"
            self.report("E162", name, f"spike comparison {said!r}", f"{noted!r}, as the file says", fix="leave it out")
        return COMPARISONS[noted]

    def _euler(self, name: str, node: Any, values: dict[str, float], dt: float, inclusive: bool) -> None:
        """Append the neurons of one step of length dt, multiplied out in the order that rounds least."""
        decay, current_decay, gain = 0.0, 1.0, values["r"] * dt
        if "tau" in values:
            decay, gain = min(dt / values["tau"], 1.0), values["r"] * dt / values["tau"]
        if "tau_mem" in values:
            decay, current_decay = min(dt / values["tau_mem"], 1.0), min(dt / values["tau_syn"], 1.0)
            gain = (values["r"] * dt / values["tau_mem"]) * (values["w_in"] * dt / values["tau_syn"])
        noted = notes_of(node.metadata) if self.believe_notes else {}
        exact: dict[str, Any] = {}
        for key, value in (("decay", decay), ("gain", gain), ("current_decay", current_decay)):
            known = settled(noted, key, value)
            if known is None:
                fix = "the file was changed after it was written: write it again"
                self.report("E163", name, f"{key} is noted as {noted[key]!r}", f"{value:g} by NIR's fields", fix=fix)
                return
            exact[key] = known
        self._append(LIF(name, threshold=values["v_threshold"], rest=values["v_reset"], inclusive=inclusive, **exact))
        if self.nodes and self.factor != 1.0 and isinstance(self.nodes[-1], LIF):
            self.nodes[-1] = replace(self.nodes[-1], gain=self.nodes[-1].gain * self.factor)
            self.factor = 1.0


def out_of_range(dt: float, tau: float) -> bool:
    """Return whether one Euler step of length dt overshoots: dt/tau must lie in (0, 1], rounding errors aside.

    >>> out_of_range(1e-3, 1e-3), out_of_range(1e-3, 2.5e-4), out_of_range(1e-3, -1.0)
    (False, True, True)
    """
    return not (tau > 0 and 0 < dt / tau <= 1 + AGREE)


def _implied_dt(values: Mapping[str, float]) -> float | None:
    """Return the dt at which an input reaches the potential unscaled, the convention r = tau/dt of several writers.

    With r = 1 the writer had another convention, and nothing can be told.
    """
    r = values["r"]
    if r <= 0 or r == 1:
        return None
    if "tau_mem" in values:
        w_in = values["w_in"]
        if w_in <= 0 or not math.isclose(values["tau_mem"] / r, values["tau_syn"] / w_in, rel_tol=1e-6):
            return None
        return values["tau_mem"] / r
    return values.get("tau", 1.0) / r
