"""A second writer of netx files: lava-dl's own slayer blocks, given the chip's integers, export themselves.

Nothing of ours writes the file: each layer becomes ``slayer.block.cuba.Conv`` or ``Dense``, and their own
``export_hdf5`` fills the group. Slayer stores weights and states divided by 64 and by 4096; its default hook
rounds to even integers and it has no bias, so both are replaced by integer ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from hw_targets.graph import Pair
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.simulate import encode_input
from tests.hw_targets.lava_in_process import import_lava

UNIT = 64
"""Synaptic units per 1.0 of slayer's floats."""


class IntegerWeights:
    """Slayer's weight hook with step 1 in place of 2: ``descale`` asks for the integers themselves."""

    def __call__(self, weight: torch.Tensor, descale: bool = False) -> torch.Tensor:
        units = torch.round(weight * UNIT).clamp(-256, 254)
        return units if descale else units / UNIT


class IntegerBias(torch.nn.Module):
    """Stands where slayer normalises the current: adds the bias to it, and is exported as ``bias``."""

    def __init__(self, bias: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("bias", torch.from_numpy(bias).float())

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return current + (self.bias / UNIT).reshape(1, -1, *[1] * (current.ndim - 2))


def slayer_blocks(chip: ChipGraph) -> list[torch.nn.Module]:
    """Return input, flatten, convolution and dense blocks, in the order of the netx file; no step between them."""
    import_lava()
    from lava.lib.dl import slayer

    blocks: list[torch.nn.Module] = [slayer.block.cuba.Input(delay_shift=False)]
    shape = chip.input_shape
    for layer in chip.layers:
        if layer.kind == "dense" and len(shape) == 3:
            blocks.append(slayer.block.cuba.Flatten())
        blocks.append(_block(layer))
        shape = layer.output_shape
    return blocks


def _block(layer: ChipLayer) -> torch.nn.Module:
    import_lava()
    from lava.lib.dl import slayer

    neuron = {
        "threshold": layer.threshold / UNIT,
        "current_decay": layer.current_decay / 4096,
        "voltage_decay": layer.voltage_decay / 4096,
    }
    outputs = layer.weight.shape[0]
    block: Any
    if layer.kind == "conv":
        kernel: Pair = (layer.weight.shape[2], layer.weight.shape[3])
        where = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation, "groups": layer.groups}
        block = slayer.block.cuba.Conv(
            neuron, layer.weight.shape[1] * layer.groups, outputs, kernel, delay_shift=False, **where
        )
    else:
        block = slayer.block.cuba.Dense(neuron, layer.weight.shape[1], outputs, delay_shift=False)
    block.synapse.pre_hook_fx = IntegerWeights()
    block.neuron.norm = IntegerBias(layer.bias)
    weight = torch.from_numpy(layer.weight).float() / UNIT
    block.synapse.weight.data = weight.reshape(block.synapse.weight.shape)
    return block


def slayer_forward(chip: ChipGraph, clips: np.ndarray) -> dict[str, np.ndarray]:
    """Return the spikes uint8 [T, N, ...] of every layer as slayer itself computes them."""
    value = torch.from_numpy(encode_input(chip, clips)).float().movedim(0, -1)
    names = iter(layer.name for layer in chip.layers)
    spikes = {}
    with torch.no_grad():
        for block in slayer_blocks(chip):
            value = block(value)
            if hasattr(block, "neuron") and block.neuron is not None:
                spikes[next(names)] = (value.movedim(-1, 0) > 0).to(torch.uint8).numpy()
    return spikes


def write_slayer(chip: ChipGraph, path: Path) -> None:
    """Let slayer's blocks export themselves into ``layer/0``, ``layer/1``, ... of a new file."""
    import h5py

    value = torch.zeros(1, *chip.input_shape, 2)
    with h5py.File(path, "w") as file, torch.no_grad():
        for index, block in enumerate(slayer_blocks(chip)):
            value = block(value)  # a block knows its shape only after it has run
            block.export_hdf5(file.create_group(f"layer/{index}"))
