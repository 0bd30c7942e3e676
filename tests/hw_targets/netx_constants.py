"""The constants of a netx file as Lava holds them, and those of a chip graph, in one comparable form.

Lava's side is Lava's: its ``Network`` reads the file, its run configuration chooses the model classes, their declared
types cast the variables, and its own functions clip and truncate the dense weights.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from tests.hw_targets.lava_in_process import import_lava


def of_chip(chip: ChipGraph) -> list[dict[str, Any]]:
    """Constants of every population: products are exact in float64, neurons in the order W, H, C of Lava."""
    return [_of_layer(layer) for layer in chip.layers]


def _of_layer(layer: ChipLayer) -> dict[str, Any]:
    found: dict[str, Any] = {"neuron": layer.neuron, "shape": layer.output_shape}
    if layer.kind == "conv":
        found |= {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
        found["weight"] = layer.weight.astype(float)
    elif layer.kind != "input":
        unit = 2.0**layer.weight_exponent
        found["weight"] = layer.weight * unit
        found["rounds"] = layer.weight_exponent < 0
        if layer.recurrent is not None:
            found["recurrent"] = layer.recurrent * unit
        found["delay"] = np.zeros_like(layer.weight) if layer.delay is None else layer.delay
    return found | _neurons(layer)


def _neurons(layer: ChipLayer) -> dict[str, Any]:
    if layer.neuron == "sigma":
        return {}
    if layer.neuron == "delta":
        return {"threshold": layer.threshold}
    bias = _spread(layer.bias, layer.output_shape)
    if layer.neuron == "sigma_delta":
        return {"threshold": layer.threshold, "bias": bias}
    names = ("threshold", "current_decay", "voltage_decay")
    return {"bias": bias} | {name: _spread(getattr(layer, name), layer.output_shape) for name in names}


def _spread(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    value = np.asarray(value, dtype=np.int64)
    if value.ndim == 1 and len(shape) == 3:
        value = value.reshape(-1, 1, 1)
    return np.broadcast_to(value, shape)


def assert_same(ours: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    """Compare two lists of constants, naming the first that differs."""
    assert len(ours) == len(wanted), f"{len(ours)} layers, not {len(wanted)}"
    for index, (mine, other) in enumerate(zip(ours, wanted, strict=True)):
        assert set(mine) == set(other), f"layer {index}"
        for key, value in other.items():
            np.testing.assert_array_equal(mine[key], value, err_msg=f"{key} of layer {index}")


def of_lava(path: Path, layers: int | None = None) -> tuple[list[dict[str, Any]], int]:
    """Constants that Lava would run the file with, and the number of inputs of the network."""
    import_lava()
    from lava.lib.dl import netx
    from lava.magma.core.process.process import ProcessServer

    processes = ProcessServer().processes
    known = len(processes)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            net = netx.hdf5.Network(net_config=str(path), num_layers=layers)
        net.net_config.f.close()
        return [_of_block(block) for block in net.layers], int(np.prod(net.inp.shape))
    finally:
        del processes[known:]


def _of_block(block: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"shape": tuple(int(n) for n in block.shape[::-1])}
    synapse = getattr(block, "synapse", None)
    if hasattr(synapse, "kernel_size"):
        found |= _convolution(synapse)
    elif synapse is not None:
        recurrent = getattr(block, "synapse_rec", None)
        exponent = synapse.proc_params.get("weight_exp", 0)
        fields = [_field(each) for each in (synapse, recurrent) if each is not None]
        lossless = exponent >= 0 or not any((field % (1 << -exponent)).any() for field in fields)
        found["rounds"] = not lossless
        found |= {key: f * 2.0**exponent for key, f in zip(("weight", "recurrent"), fields, strict=False)}
        found["delay"] = _held(synapse, "delays") if hasattr(synapse, "delays") else np.zeros(fields[0].shape)
        if recurrent is not None and hasattr(recurrent, "delays"):
            assert (_held(recurrent, "delays") == found["delay"]).all()
    return found | _of_neuron(block.neuron)


def _convolution(synapse: Any) -> dict[str, Any]:
    pairs = {key: tuple(int(n) for n in _held(synapse, key)[::-1]) for key in ("stride", "padding", "dilation")}
    weight = _held(synapse, "weight").transpose(0, 3, 2, 1)[:, :, ::-1, ::-1].astype(float)
    return pairs | {"groups": int(_held(synapse, "groups")[0]), "weight": weight}


def _field(synapse: Any) -> np.ndarray:
    """Return what Lava's dense model makes of its weights at the first step (``PyDenseModelBitAcc.run_spk``)."""
    from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

    weights = _held(synapse, "weights")
    mode = determine_sign_mode(weights)
    clipped = clip_weights(weights, mode, num_bits=8)
    return truncate_weights(clipped, mode, synapse.proc_params.get("num_weight_bits", 8)).astype(np.int64)


def _of_neuron(neuron: Any) -> dict[str, Any]:
    kind = type(neuron).__name__
    if kind == "Sigma":
        return {"neuron": "sigma"}
    if kind in ("Delta", "SigmaDelta"):
        found: dict[str, Any] = {"neuron": {"Delta": "delta", "SigmaDelta": "sigma_delta"}[kind]}
        found["threshold"] = int(_held(neuron, "vth")[0]) / 4096
        return found if kind == "Delta" else found | {"bias": _held(neuron, "bias").transpose() / 4096}
    u = np.zeros(neuron.u.shape, dtype=np.int64)
    values = {
        "threshold": np.left_shift(neuron.vth.init, 6) / 64,
        "current_decay": 4096 - (4096 - (neuron.du.init + 1)),
        "voltage_decay": 4096 - (4096 - neuron.dv.init),
    }
    spread = {key: (u + value).transpose() for key, value in values.items()}
    return {"neuron": "lif", "bias": _held(neuron, "bias_mant").astype(np.int64).transpose()} | spread


_MODELS: dict[type, Any] = {}


def _model(process: Any) -> Any:
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs
    from lava.magma.core.run_configs import Loihi2SimCfg

    if type(process) not in _MODELS:
        found = ProcGroupDiGraphs._find_proc_models(process)
        chosen = ProcGroupDiGraphs._select_proc_models(process, found, Loihi2SimCfg(select_tag="fixed_pt"))
        _MODELS[type(process)] = chosen
    return _MODELS[type(process)]


def _held(process: Any, name: str) -> np.ndarray:
    """Return a variable in the type that Lava's fixed-point model declares, cast as Lava's builder does."""
    variable = getattr(process, name)
    held = np.ndarray(variable.shape, getattr(_model(process), name).d_type)
    held[:] = variable.init
    return held
