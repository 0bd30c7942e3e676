"""Read a netx HDF5 file with exactly the meaning that ``lava.lib.dl.netx.hdf5.Network`` and Lava's CPU models give it.

What Lava does without a word is done here too, with a warning that says so: dense weights that change on the way
(``netx/weights.py``), fractions that are cut off, 16-bit biases that wrap, keys that netx never reads. What Lava cannot
build or run is refused by name. The file is not trusted (``netx/datasets.py``).

Codes: E040 no file, E041 damaged, E042 layer type, E043 other things that are not run, E044 shapes that contradict each
other, E045 not safe to read, E046 a constant out of range; W240 weights that Lava changes, W241 fractions, W242 ignored
keys that would mean something, W243 unknown keys, W244 types at which Lava hangs, W245 values beyond the chip's fields,
W246 a readout, W247 delays, W248 a dense layer without neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Shape
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.netx.datasets import NetxGroup, refusal
from hw_targets.loihi2.netx.heaps import check_heaps, check_sizes
from hw_targets.loihi2.netx.neurons import INTEGRATOR, NeuronConstants, neuron_type, read_neurons
from hw_targets.loihi2.netx.shapes import (
    groups_of,
    kernel_shape,
    matrix_shapes,
    pair_of,
    population_shape,
    shape_of,
    single,
    spread_delay,
)
from hw_targets.loihi2.netx.weights import effective_weights, shifted_back, unchanged

MESSAGE_MAX = 2**31 - 1
"""Largest message that a neuron of a sigma-delta network may send: Lava's channels carry 32 bits."""

NEURONS_MAX = 2**28
DELAY_MAX = 62
SYNAPSE_KEYS = frozenset(["type", "shape", "weight", "bias", "neuron"])
KEYS = {
    "input": SYNAPSE_KEYS,
    "flatten": frozenset(["type", "shape"]),
    "average": frozenset(["type", "shape"]),
    "conv": SYNAPSE_KEYS | {"stride", "padding", "dilation", "groups", "delay"},
    "dense": SYNAPSE_KEYS | {"delay"},
    "dense_rec": SYNAPSE_KEYS | {"delay", "weight_rec"},
}
NEVER_READ = frozenset(["inChannels", "outChannels", "kernelSize", "inFeatures", "outFeatures"])
"""What lava-dl's slayer writes and netx passes over."""

OWN_FILES_HAVE_NONE = frozenset(["W240", "W241", "W242", "W243", "W244", "W246", "W247", "W248"])


@dataclass(frozen=True, slots=True)
class NetxFile:
    """A netx file, read: the chip graph, warnings about what Lava makes of the file, and ``readout``.

    ``readout`` is the number of groups of neurons that vote, from an ``average`` layer at the end; else None.
    """

    chip: ChipGraph
    findings: tuple[Finding, ...] = ()
    readout: int | None = None


def read_netx(
    path: Path, *, steps: int, first_frame: str = "spikes", payload: int = 1, layers: int | None = None
) -> ChipGraph:
    """Read a file that we wrote back into its chip graph: what ``open_netx`` only warns about is an error here.

    Raises:
        InputError: see ``open_netx``; E041 also for a file whose numbers Lava would change or pass over.
    """
    found = open_netx(path, steps=steps, first_frame=first_frame, payload=payload, layers=layers)
    if errors := [finding for finding in found.findings if finding.code in OWN_FILES_HAVE_NONE]:
        fix = "write it again with `neuroemo export`"
        raise InputError(
            Finding("E041", "error", str(path), f"not a readable netx file: {each.node}: {each.found}", fix=fix)
            for each in errors
        )
    return found.chip


def open_netx(
    path: Path, *, steps: int, first_frame: str = "spikes", payload: int = 1, layers: int | None = None
) -> NetxFile:
    """Read any netx file; what it does not say (steps, what the input carries) is passed in.

    ``layers`` reads only that many entries of the file, inputs and flattens included, as netx's ``num_layers``.

    Raises:
        InputError: the file is missing (E040), damaged (E041), or holds something that netx cannot build or Lava's CPU
            models cannot run (E042 to E046).
    """
    import h5py

    if not path.is_file():
        raise refusal("E040", str(path), "no such file")
    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            check_sizes(file, path)
            reader = _Reader(path.name, payload)
            reader.read(NetxGroup(file, str(path)), layers)
    except InputError:
        raise
    except Exception as error:  # h5py raises what HDF5 and numpy happen to raise on damaged bytes
        found = f"not a readable netx file: {error}"
        raise refusal("E041", str(path), found, fix="write it again with `neuroemo export`") from error
    voting = 1 if reader.readout is None else reader.layers[-1].neurons // reader.readout
    chip = ChipGraph(tuple(reader.layers), reader.input_shape, steps, 0.0, first_frame, voting)  # type: ignore[arg-type]
    return NetxFile(chip, tuple(reader.findings), reader.readout)


class _Reader:
    """The state of netx's walk through the entries of a file."""

    def __init__(self, name: str, payload: int) -> None:
        self.name = name
        self.payload = payload
        self.layers: list[ChipLayer] = []
        self.findings: list[Finding] = []
        self.input_shape: Shape = ()
        self.flatten = False
        self.readout: int | None = None

    def warn(self, code: str, node: str, found: str, limit: str = "", over: str = "", fix: str = "") -> None:
        """Keep a warning."""
        self.findings.append(Finding(code, "warning", node, found, limit, over, fix))

    def read(self, file: NetxGroup, layers: int | None) -> None:
        """Walk through the entries, after a first look at them all for things that are not run."""
        entries = self._entries(file.group("layer"), layers)
        if refused := [finding for number in range(len(entries)) for finding in _unknown(entries, number)]:
            raise InputError(refused)
        for entry in entries:
            kind = entry.text("type")
            self._warn_of_keys(entry, KEYS[kind])
            getattr(self, f"_{kind}")(entry)
        if not self.layers:
            raise refusal("E044", self.name, "no layer has neurons")

    def _entries(self, group: NetxGroup, layers: int | None) -> list[NetxGroup]:
        names, count = group.keys(), len(group.keys())
        count = count if layers is None else min(count, layers)
        if missing := [str(index) for index in range(count) if str(index) not in names]:
            raise refusal("E041", self.name, f"not a readable netx file: layer {missing[0]} of {len(names)} is missing")
        return [group.group(str(index), f"{self.name} layer {index}") for index in range(count)]

    def _warn_of_keys(self, entry: NetxGroup, known: frozenset[str]) -> None:
        unknown = sorted(set(entry.keys()) - known - NEVER_READ)
        if unknown:
            self.warn("W243", entry.node, f"unknown keys {', '.join(unknown)}; netx ignores them")

    # -- entries, by their type ---------------------------------------------------------------------------------------

    def _input(self, entry: NetxGroup) -> None:
        if self.layers:
            raise refusal("E043", entry.node, "an input behind neurons", fix="netx connects nothing to it")
        if "neuron" not in entry:
            if "shape" in entry:
                self.input_shape = population_shape(entry)
            return
        shape = self.input_shape = population_shape(entry)
        ignored = [f"{key} {single(entry, key):g}" for key in ("weight", "bias") if key in entry]
        if ignored:
            self.warn("W242", entry.node, f"{', '.join(ignored)} of the input; netx applies neither to what it is sent")
        neurons = read_neurons(entry.group("neuron"), shape, self.warn, is_input=True)
        self._append("input", neurons, shape, shape, weight=np.zeros(0, np.int64), bias=np.zeros(shape[0], np.int64))

    def _flatten(self, entry: NetxGroup) -> None:
        self.flatten = True

    def _average(self, entry: NetxGroup) -> None:
        groups, neurons = prod(shape_of(entry)), self.layers[-1].neurons if self.layers else 0
        if not self.layers or neurons % groups:
            raise refusal("E044", entry.node, f"{groups} averages of {neurons} neurons")
        self.readout = groups
        found = f"an average of {neurons // groups} neurons each, which netx does not build: read out by the host"
        self.warn("W246", entry.node, found, fix="netx reads such a file with num_layers only")

    def _conv(self, entry: NetxGroup) -> None:
        source = self.layers[-1].output_shape if self.layers else self.input_shape
        if len(source) != 3:
            found = f"a convolution of an input of shape {source}" if source else "a convolution of an unknown input"
            raise refusal("E044", entry.node, found, "(C, H, W)")
        shape = population_shape(entry)
        pairs = {key: pair_of(entry, key) for key in ("stride", "padding", "dilation")}
        groups = groups_of(entry)
        kernel = kernel_shape(entry, source, shape, groups, **pairs)
        self._warn_of_bytes(entry, groups=(groups,), kernel=kernel[2:], **pairs)
        if "delay" in entry and entry.numbers("delay").any():
            self.warn("W242", entry.node, "delay; netx ignores the delays of a convolution")
        neurons = read_neurons(entry.group("neuron"), shape, self.warn, is_input=False)
        stored = self._cut(entry, "weight").reshape(kernel)
        weight = stored.astype(np.int32).astype(np.int64)
        if (wrapped := int((weight != stored).sum())) > 0:
            self.warn("W245", entry.node, f"{wrapped} weights leave 32 bits and wrap", str(2**31 - 1))
        bias = self._bias(entry, shape, neurons)
        self._append("conv", neurons, source, shape, weight=weight, bias=bias, groups=groups, **pairs)

    def _dense(self, entry: NetxGroup) -> None:
        self._matrix(entry, "dense")

    def _dense_rec(self, entry: NetxGroup) -> None:
        self._matrix(entry, "dense_rec")

    def _matrix(self, entry: NetxGroup, kind: str) -> None:
        rows = prod(shape_of(entry))
        source = self._flat_source(entry, rows)
        names = ("weight", "weight_rec")[: 2 if kind == "dense_rec" else 1]
        if kind == "dense_rec" and entry.shape("weight_rec") not in matrix_shapes(entry, rows):
            found = f"weight_rec of shape {entry.shape('weight_rec')} for {rows} neurons"
            raise refusal("E044", entry.node, found, str(matrix_shapes(entry, rows)[0]))
        neurons = self._dense_neurons(entry, rows)
        matrices = [self._cut(entry, name).reshape(rows, -1) for name in names]
        delay = self._delays(entry, matrices[0].shape, kind)
        matrices, exponent = self._effective(entry, matrices, unshifted="delay" in entry and kind == "dense_rec")
        self._append(
            kind,
            neurons,
            source,
            (rows,),
            weight=matrices[0],
            recurrent=matrices[1] if kind == "dense_rec" else None,
            bias=self._bias(entry, (rows,), neurons),
            delay=delay,
            weight_exponent=exponent,
        )

    # -- parts of a layer ---------------------------------------------------------------------------------------------

    def _append(self, kind: str, neurons: NeuronConstants, source: Shape, shape: Shape, **more: Any) -> None:
        if prod(shape) > NEURONS_MAX:
            raise refusal("E045", f"{self.name} {kind}", f"{prod(shape)} neurons", str(NEURONS_MAX))
        payload = self.payload
        if self.layers:
            payload = 1 if self.layers[-1].sends_spikes else MESSAGE_MAX
        self.layers.append(
            ChipLayer(
                name=f"layer{len(self.layers)}",
                kind=kind,  # type: ignore[arg-type]
                input_shape=source,
                output_shape=shape,
                payload=payload,
                neuron=neurons.neuron,
                threshold=neurons.threshold,
                voltage_decay=neurons.voltage_decay,
                current_decay=neurons.current_decay,
                **more,
            )
        )

    def _flat_source(self, entry: NetxGroup, rows: int) -> Shape:
        """Return (inputs,) of a dense layer, whose messages must come as netx connects them."""
        declared = entry.shape("weight")
        columns = declared[1] if len(declared) == 2 else prod(declared) // rows
        if len(declared) not in (1, 2) or columns < 1 or prod(declared) != rows * columns or declared[0] % rows:
            raise refusal("E044", entry.node, f"weight of shape {declared} for {rows} neurons")
        before = self.layers[-1].output_shape if self.layers else self.input_shape or (columns,)
        if prod(before) != columns:
            raise refusal("E044", entry.node, f"weights for {columns} inputs behind {before}", str(prod(before)))
        if self.layers and (len(before) == 3) != self.flatten:
            found = "a flatten behind a flat layer" if self.flatten else f"no flatten behind an image {before}"
            raise refusal("E044", entry.node, found, fix="netx connects images through flatten only, and nothing else")
        self.input_shape = self.input_shape or before
        self.flatten = False
        return (columns,)

    def _dense_neurons(self, entry: NetxGroup, rows: int) -> NeuronConstants:
        if "neuron" in entry:
            return read_neurons(entry.group("neuron"), (rows,), self.warn, is_input=False)
        self.warn("W248", entry.node, "no neuron group; netx adds neurons that integrate and never fire")
        return INTEGRATOR

    def _cut(self, entry: NetxGroup, key: str) -> Array:
        """Return numbers as netx's ``astype(int)`` makes them, warning of fractions that are cut off."""
        values = entry.numbers(key)
        if values.dtype.kind != "f":
            return values.astype(np.int64, copy=False)
        if not np.isfinite(values).all() or np.abs(values).max() >= 2**63:
            raise refusal("E046", entry.node, f"{key} holds values that are no numbers of 64 bits")
        whole = np.trunc(values)
        if (cut := int((whole != values).sum())) > 0:
            most = float(np.abs(values - whole).max())
            found = f"{cut} of {values.size} values of {key} are not whole numbers; netx cuts off up to {most:.3g}"
            self.warn("W241", entry.node, found)
        return whole.astype(np.int64)

    def _bias(self, entry: NetxGroup, shape: Shape, neurons: NeuronConstants) -> Array:
        if "bias" not in entry:
            return np.zeros(shape[0], dtype=np.int64)
        if neurons.neuron == "sigma":
            raise refusal("E043", entry.node, "a bias on sigma neurons; Lava's have none")
        stored = self._cut(entry, "bias")
        if np.abs(stored).max() >= 2**31:
            raise refusal("E046", entry.node, "a bias beyond 32 bits")
        bits = 16 if neurons.neuron == "lif" else 20
        half = 1 << (bits - 1)
        held = (stored + half) % (2 * half) - half
        if (wrapped := int((held != stored).sum())) > 0:
            found = f"{wrapped} biases leave {bits} bits and wrap in Lava"
            self.warn("W245", entry.node, found, str(half - 1))
        if held.shape in ((), (1,)) and len(shape) == 1:
            return np.full(shape, held.item(), dtype=np.int64)
        if held.shape == shape[:1]:
            return held
        if held.shape == shape[::-1]:
            return np.ascontiguousarray(held.transpose())
        fits = f"{shape[:1]} or {shape[::-1]} (W, H, C)" if len(shape) == 3 else f"() or {shape}"
        raise refusal("E044", entry.node, f"bias of shape {held.shape}", fits)

    def _delays(self, entry: NetxGroup, shape: Shape, kind: str) -> Array | None:
        if "delay" not in entry:
            return None
        stored = entry.numbers("delay")
        if np.isnan(stored).any() or stored.dtype.kind == "b":
            raise refusal("E046", entry.node, "delay holds values that are no numbers")
        clamped = np.clip(stored, 0, DELAY_MAX) if stored.max() > DELAY_MAX else stored
        delay = np.trunc(clamped).astype(np.int64)
        if delay.min() < 0:
            raise refusal("E046", entry.node, f"a delay of {delay.min()} steps", f"0 to {DELAY_MAX}")
        if (changed := int((delay != stored).sum())) > 0:
            self.warn("W247", entry.node, f"{changed} delays are clamped to {DELAY_MAX} or cut to whole steps")
        if kind == "dense_rec" and shape[0] != shape[1]:
            found = f"{shape[1]} inputs and {shape[0]} neurons share one matrix of delays with the recurrence"
            raise refusal("E044", entry.node, found)
        # Kept on recurrent layers even where it is 0: Lava then calculates with other weights.
        return spread_delay(entry, delay, shape) if delay.any() or kind == "dense_rec" else None

    def _effective(self, entry: NetxGroup, matrices: list[Array], *, unshifted: bool) -> tuple[list[Array], int]:
        """Return the weights that Lava multiplies with; ``unshifted``: it forgets to shift the sums back."""
        if not any(matrix.any() for matrix in matrices):
            raise refusal("E043", entry.node, "all dense weights are 0; netx divides by the largest and stops")
        if unchanged(matrices) and not unshifted:
            return matrices, 0
        fields, shift = effective_weights(matrices)
        held, exponent = (fields, 0) if unshifted else shifted_back(fields, shift)
        unit = float(2**exponent)
        errors = [np.abs(ours * unit - wanted) for ours, wanted in zip(held, matrices, strict=True)]
        if (changed := sum(int((error != 0).sum()) for error in errors)) > 0:
            worst, count = max(float(error.max()) for error in errors), sum(matrix.size for matrix in matrices)
            found = f"{changed} of {count} dense weights change in netx and Lava, by up to {worst:g}"
            self.warn("W240", entry.node, found, fix="weights of both signs within -256 to 254 stay as they are")
        return held, exponent

    def _warn_of_bytes(self, entry: NetxGroup, **fields: tuple[int, ...]) -> None:
        for key, values in fields.items():
            if max(values) > 127:
                found = f"{key} {max(values)} leaves the 8 bits of Lava's CPU models, which compute something else"
                self.warn("W245", entry.node, found, "127", str(max(values) - 127))


def _unknown(entries: list[NetxGroup], number: int) -> list[Finding]:
    """Return what an entry asks for that is not run, by name."""
    entry = entries[number]
    kind = entry.text("type")
    if kind not in KEYS or (kind == "average" and number < len(entries) - 1):
        where = " before the end" if kind == "average" else ""
        found, fix = f"layer type {kind!r}{where}", "this simulator does not run it"
        return [Finding("E042", "error", entry.node, found, "input, conv, dense, dense_rec, flatten", fix=fix)]
    try:
        if "weight" in entry and entry.is_group("weight"):
            raise refusal("E043", entry.node, "complex weights", fix="no such layer is run here")
        if "neuron" in entry and kind not in ("flatten", "average"):
            neuron_type(entry.group("neuron"))
    except InputError as error:
        return list(error.findings)
    return []
