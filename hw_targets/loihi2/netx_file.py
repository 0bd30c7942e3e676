"""The chip file: netx HDF5 as ``lava.lib.dl.netx.hdf5.Network`` reads it, and nothing of ours in it.

Written so that each known trap is dodged: int64 everywhere (a float or uint64 neuron constant hangs
Lava), scalar strides per axis pair in (H, W) order, torch weight layout, C, H, W shapes, and no
``messageBits``, which no released version can read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph, ChipLayer

if TYPE_CHECKING:
    import h5py


def write_netx(chip: ChipGraph, path: Path) -> None:
    """Write ``chip`` to ``path``, aside first and then renamed, byte-identical for identical input."""
    import h5py

    aside = path.with_name(path.name + ".partial")
    with h5py.File(aside, "w", track_order=False) as file:
        entries = file.create_group("layer")
        entry = entries.create_group("0")
        entry["type"] = np.bytes_("input")
        entry["shape"] = np.array(chip.input_shape, dtype=np.int64)
        index = 1
        previous: tuple[int, ...] = chip.input_shape
        for layer in chip.layers:
            if layer.kind == "dense" and len(previous) == 3:
                entries.create_group(str(index))["type"] = np.bytes_("flatten")
                index += 1
            _write_layer(entries.create_group(str(index)), layer)
            index += 1
            previous = layer.output_shape
    os.replace(aside, path)


def _write_layer(entry: h5py.Group, layer: ChipLayer) -> None:
    entry["type"] = np.bytes_(layer.kind)
    entry["shape"] = np.array(layer.output_shape, dtype=np.int64)
    entry["weight"] = layer.weight.astype(np.int64)
    if layer.bias.any():
        entry["bias"] = layer.bias.astype(np.int64)
    if layer.kind == "conv":
        for key in ("stride", "padding", "dilation"):
            entry[key] = np.array(getattr(layer, key), dtype=np.int64)
        entry["groups"] = np.int64(layer.groups)
    neuron = entry.create_group("neuron")
    neuron["type"] = np.bytes_("CUBA")
    neuron["iDecay"] = np.int64(layer.current_decay)
    neuron["vDecay"] = np.int64(layer.voltage_decay)
    neuron["vThMant"] = np.int64(layer.threshold)


def read_netx(path: Path, *, steps: int, first_frame: str = "spikes", payload: int = 1) -> ChipGraph:
    """Read a netx file back into a chip graph; what the file does not say (steps, payload) is passed in.

    Raises:
        InputError: the file is missing, damaged, or holds something this simulator does not run.
    """
    import h5py

    if not path.is_file():
        raise InputError(Finding("E040", "error", str(path), "no such file"))
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path, steps, first_frame, payload)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(
            Finding(
                "E041",
                "error",
                str(path),
                f"not a readable netx file: {error}",
                fix="write it again with `neuroemo export`",
            )
        ) from error


def _read(file: h5py.File, path: Path, steps: int, first_frame: str, payload: int) -> ChipGraph:
    entries = file["layer"]
    shape: tuple[int, ...] = ()
    layers: list[ChipLayer] = []
    for index in range(len(entries)):
        entry = entries[str(index)]
        kind = _text(entry["type"])
        if kind == "input":
            shape = tuple(int(n) for n in np.atleast_1d(entry["shape"][()]))
            input_shape = shape
        elif kind == "flatten":
            shape = (int(np.prod(shape)),)
        elif kind in ("conv", "dense"):
            layers.append(_read_layer(entry, f"layer{index}", kind, shape, 1 if layers else payload))
            shape = layers[-1].output_shape
        else:
            raise InputError(
                Finding(
                    "E042",
                    "error",
                    f"{path.name} layer {index}",
                    f"layer type {kind!r}",
                    "input, conv, dense, flatten",
                    fix="this simulator does not run it",
                )
            )
    return ChipGraph(tuple(layers), input_shape, steps, 0.0, first_frame)  # type: ignore[arg-type]


READ = frozenset(["type", "shape", "weight", "bias", "stride", "padding", "dilation", "groups", "neuron"])
NEVER_READ = frozenset(["inChannels", "outChannels", "kernelSize", "inFeatures", "outFeatures"])
"""What lava-dl's slayer writes and netx passes over."""


def _read_layer(entry: Any, name: str, kind: str, shape: tuple[int, ...], payload: int) -> ChipLayer:
    weight = _integers(entry["weight"])
    output = tuple(int(n) for n in np.atleast_1d(entry["shape"][()]))
    neuron = entry["neuron"]
    if _text(neuron["type"]) not in ("CUBA", "LOIHI"):
        raise ValueError(f"neuron type {_text(neuron['type'])!r} of {name} is not run here")
    extra = set(entry) - READ - NEVER_READ
    if extra:
        raise ValueError(f"{name} has {', '.join(sorted(extra))}, which this simulator does not run")
    bias = _integers(entry["bias"]) if "bias" in entry else np.zeros(weight.shape[0], dtype=np.int64)
    pairs = {
        key: tuple(int(n) for n in np.broadcast_to(entry[key][()], 2))
        for key in ("stride", "padding", "dilation")
        if key in entry
    }
    return ChipLayer(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        weight=weight,
        bias=bias,
        threshold=int(neuron["vThMant"][()]),  # type: ignore[arg-type]
        voltage_decay=int(neuron["vDecay"][()]),
        current_decay=int(neuron["iDecay"][()]),
        input_shape=shape,
        output_shape=output,
        groups=int(entry["groups"][()]) if "groups" in entry else 1,
        payload=payload,
        **pairs,  # type: ignore[arg-type]
    )


def _text(dataset: Any) -> str:
    value = np.atleast_1d(dataset[()])[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _integers(dataset: Any) -> Array:
    values = dataset[()]
    # Slayer stores whole numbers as float32; netx truncates them, so a fraction would be lost without a word.
    if not np.issubdtype(values.dtype, np.number) or not np.array_equal(values, np.rint(values)):
        raise ValueError(f"{dataset.name} holds values that are not whole numbers ({values.dtype})")
    return values.astype(np.int64)  # type: ignore[no-any-return]
