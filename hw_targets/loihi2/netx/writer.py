"""The chip file: netx HDF5 as ``lava.lib.dl.netx.hdf5.Network`` reads it, and nothing of ours in it.

Written so that each known trap is dodged: int64 everywhere (a float or uint64 neuron constant hangs
Lava), scalar strides per axis pair in (H, W) order, torch weight layout, C, H, W shapes, no
``messageBits``, which no released version can read, and at most 127 groups of a convolution: Lava 0.10 keeps
their number in a signed byte, and a layer of 128 groups would hand on nothing (``lava/proc/conv/models.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hw_targets.finding import Finding, UnsupportedError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph, ChipLayer

if TYPE_CHECKING:
    import h5py

GROUPS_MAX = 127
"""Groups of a convolution that Lava counts right."""


def write_netx(chip: ChipGraph, path: Path) -> None:
    """Write ``chip`` to ``path``, aside first and then renamed, byte-identical for identical input.

    Raises:
        UnsupportedError: a layer that no netx file can say (E048): a weight exponent below 0, another exponent of
            messages than 6, constants per channel or a bias where Lava has none, delays on a recurrent layer.
    """
    import h5py

    if unsayable := [finding for index, layer in enumerate(chip.layers) for finding in _unsayable(layer, index)]:
        raise UnsupportedError(unsayable)
    aside = path.with_name(path.name + ".partial")
    with h5py.File(aside, "w", track_order=False) as file:
        entries = file.create_group("layer")
        layers, entry = chip.layers, entries.create_group("0")
        entry["type"] = np.bytes_("input")
        entry["shape"] = np.array(chip.input_shape, dtype=np.int64)
        if layers and layers[0].kind == "input":
            _write_neurons(entry, layers[0])
            layers = layers[1:]
        index = 1
        previous: tuple[int, ...] = chip.input_shape
        for layer in layers:
            if layer.kind != "conv" and len(previous) == 3:
                entries.create_group(str(index))["type"] = np.bytes_("flatten")
                index += 1
            _write_layer(entries.create_group(str(index)), layer)
            index += 1
            previous = layer.output_shape
    os.replace(aside, path)


def _write_layer(entry: h5py.Group, layer: ChipLayer) -> None:
    entry["type"] = np.bytes_(layer.kind)
    entry["shape"] = np.array(layer.output_shape, dtype=np.int64)
    weight, groups = fewer_groups(layer.weight, layer.groups)
    entry["weight"] = weight.astype(np.int64) << layer.weight_exponent
    if layer.recurrent is not None:
        entry["weight_rec"] = layer.recurrent.astype(np.int64) << layer.weight_exponent
    if layer.delay is not None:
        entry["delay"] = layer.delay.astype(np.int64)
    if layer.bias.any():
        # One per channel, or one per neuron, which netx expects with the axes W, H, C.
        entry["bias"] = layer.bias.astype(np.int64).transpose()
    if layer.kind == "conv":
        for key in ("stride", "padding", "dilation"):
            entry[key] = np.array(getattr(layer, key), dtype=np.int64)
        entry["groups"] = np.int64(groups)
    _write_neurons(entry, layer)


def fewer_groups(weight: Array, groups: int) -> tuple[Array, int]:
    """Return the same convolution with at most ``GROUPS_MAX`` groups: several become one, with zeros between them.

    ``weight`` [C_out, C_in / groups, kH, kW], any other where ``groups`` is 1. The new number is the largest divisor.

    >>> merged, groups = fewer_groups(np.ones((128, 1, 2, 2)), 128)
    >>> groups, merged.shape, merged[:2, :, 0, 0].tolist()
    (64, (128, 2, 2, 2), [[1.0, 0.0], [0.0, 1.0]])
    """
    if groups <= GROUPS_MAX:
        return weight, groups
    fewer = next(number for number in range(GROUPS_MAX, 0, -1) if groups % number == 0)
    merged, inputs, outputs = groups // fewer, weight.shape[1], weight.shape[0] // groups
    wide = np.zeros((len(weight), merged * inputs, *weight.shape[2:]), dtype=weight.dtype)
    for row, kernel in enumerate(weight):
        start = row // outputs % merged * inputs
        wide[row, start : start + inputs] = kernel
    return wide, fewer


def _write_neurons(entry: h5py.Group, layer: ChipLayer) -> None:
    neuron = entry.create_group("neuron")
    if layer.neuron == "lif":
        neuron["type"] = np.bytes_("CUBA")
        neuron["iDecay"] = np.asarray(layer.current_decay, dtype=np.int64)
        neuron["vDecay"] = np.asarray(layer.voltage_decay, dtype=np.int64)
    else:
        neuron["type"] = np.bytes_("SDNN")
    neuron["vThMant"] = np.asarray(layer.threshold, dtype=np.int64)
    if layer.neuron == "sigma":
        neuron["sigma_output"] = np.int64(1)


def _unsayable(layer: ChipLayer, index: int) -> Iterator[Finding]:
    """Yield what netx has no place for."""
    graded = layer.neuron != "lif"
    wrong = {
        f"weight exponent {layer.weight_exponent}": layer.weight_exponent < 0,
        f"messages with exponent {layer.spike_exponent}": graded and layer.spike_exponent != 6,
        "thresholds per channel of sigma-delta neurons": graded and np.ndim(layer.threshold) > 0,
        f"a bias on neurons of kind {layer.neuron!r}": layer.neuron in ("sigma", "delta") and bool(layer.bias.any()),
        "a bias on the input": layer.kind == "input" and layer.neuron == "lif" and bool(layer.bias.any()),
        "delays on a recurrent layer": layer.recurrent is not None and layer.delay is not None,
        "delays on a convolution": layer.kind == "conv" and layer.delay is not None,
        "input neurons behind others": layer.kind == "input" and index > 0,
        f"{layer.neuron!r} neurons in a layer of kind {layer.kind!r}": graded
        and (layer.kind == "input") != (layer.neuron == "delta"),
    }
    for found in (found for found, is_wrong in wrong.items() if is_wrong):
        yield Finding("E048", "error", layer.name, found, fix="a netx file cannot say this")
