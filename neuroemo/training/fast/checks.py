"""What the fused passes compute, checked layer by layer before the first clip: anything else is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from hw_targets.finding import Finding, InputError, UnsupportedError
from neuroemo.models.emotion import EmotionSpec

FIX = "train with the engine spikingjelly, which runs any network"
NEURONS = {"plif": "ParametricLIFNode", "lif": "LIFNode"}
POOLS = {"average": "AvgPool2d", "max": "MaxPool2d"}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def check_network(network: nn.Module, spec: EmotionSpec) -> None:
    """Raise UnsupportedError, with everything at once, unless ``network`` is what the fused passes compute."""
    if spec.neuron == "relu":
        found = "an ANN (neuron 'relu')"
        raise UnsupportedError(
            Finding("E915", "error", spec.name, found, "a spiking network, neuron 'plif' or 'lif'", fix=FIX)
        )
    findings = [*_place_findings(network), *_layer_findings(network, spec)]
    if findings:
        raise UnsupportedError(findings)


def check_clips(clips: torch.Tensor, spec: EmotionSpec) -> None:
    """Raise unless clips are float32 [T, N, 2, H, W] of the spec's size, on the processor, and want no gradient."""
    wanted = (2, spec.size, spec.size)
    if clips.ndim != 5 or tuple(clips.shape[2:]) != wanted or len(clips) < 1 or clips.dtype != torch.float32:
        raise InputError(
            Finding(
                "E918",
                "error",
                spec.name,
                f"clips {str(clips.dtype).removeprefix('torch.')} {list(clips.shape)}",
                f"float32 [steps, clips, 2, {spec.size}, {spec.size}]",
            )
        )
    findings = []
    if clips.device.type != "cpu":
        findings.append(_device_finding("the clips", clips.device))
    if clips.requires_grad and torch.is_grad_enabled():
        fix = "detach them; for gradients of the input run SpikingJelly's network itself"
        findings.append(Finding("E919", "error", "the clips", "a gradient of the clips is wanted", fix=fix))
    if torch.is_autocast_cpu_enabled():
        found = "mixed precision (torch.autocast)"
        findings.append(Finding("E919", "error", "the clips", found, "float32", fix=FIX))
    if findings:
        raise UnsupportedError(findings)


def _place_findings(network: nn.Module) -> Iterator[Finding]:
    """Yield a finding for each parameter and buffer that is not on the processor, or not float32."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.device.type != "cpu":
            yield _device_finding(name, tensor.device)
        elif tensor.is_floating_point() and tensor.dtype != torch.float32:
            yield Finding("E916", "error", name, str(tensor.dtype).removeprefix("torch."), "float32", fix=FIX)


def _device_finding(name: str, device: torch.device) -> Finding:
    fix = "train with the engine spikingjelly (with its cupy or triton backend), or move the network to the processor"
    return Finding("E916", "error", name, f"on {device}", "the processor (cpu)", fix=fix)


def _layer_findings(network: nn.Module, spec: EmotionSpec) -> Iterator[Finding]:
    """Yield a finding for each layer that is missing, of another kind, or set otherwise than is computed here."""
    wanted = dict(_expected(spec))
    found = dict(_layers(network))
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        kind, settings = wanted.get(name, ("no layer", {}))
        module = found.get(name)
        actual = "no layer" if module is None else type(module).__name__
        if actual != kind:
            yield Finding("E917", "error", name, actual, kind, fix=FIX)
        elif module is not None:
            for setting, value in settings.items():
                if not _same(getattr(module, setting, None), value):
                    said = f"{kind} with {setting} {_shown(getattr(module, setting, None))}"
                    yield Finding("E917", "error", name, said, f"{setting} {_shown(value)}", fix=FIX)
            yield from _surrogate_findings(name, module)
    for name, module in network.named_modules():
        if any(getattr(module, hooks, None) for hooks in HOOKS):
            found_here = "a hook, which the fused passes would not call"
            yield Finding("E917", "error", name or "the network", found_here, fix="remove it, or " + FIX)


def _surrogate_findings(name: str, module: nn.Module) -> Iterator[Finding]:
    """Yield a finding for a surrogate function that is smooth in the forward pass too."""
    surrogate: Any = getattr(module, "surrogate_function", None)
    if surrogate is not None and not getattr(surrogate, "spiking", True):
        said = f"{type(surrogate).__name__} with spiking False"
        yield Finding("E917", "error", f"{name}.surrogate_function", said, "spiking True", fix=FIX)


def _shown(value: Any) -> str:
    """Render a setting on one line: plain values as they are, anything else as its type."""
    plain = value is None or isinstance(value, int | float | str | tuple)
    return repr(value) if plain else (value if isinstance(value, type) else type(value)).__name__


def _same(found: Any, wanted: Any) -> bool:
    """Compare settings; torch keeps some as one number or as a pair."""
    if isinstance(wanted, type):
        return type(found) is wanted
    if isinstance(wanted, tuple) and not isinstance(found, tuple):
        found = (found,) * len(wanted)
    return bool(found == wanted)


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module that has no modules within, surrogate functions apart; wrong kinds of parts come out too."""
    for name, module in network.named_modules():
        inside = [child for child_name, child in module.named_children() if child_name != "surrogate_function"]
        if not inside and not name.endswith("surrogate_function"):
            yield name, module


def _expected(spec: EmotionSpec) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    """Yield the layers of a spec by name, with their kind and the settings that the fused passes rely on."""
    for number, (kind, settings) in enumerate(_features(spec)):
        yield f"features.{number}", (kind, settings)
    linear = {"in_features": spec.hidden, "out_features": spec.classes * spec.voting, "step_mode": "m"}
    yield "voting_neurons.0", ("Linear", linear)
    yield "voting_neurons.1", _neuron(spec)
    yield "emotional_mapping", ("VotingLayer", {"voting_size": spec.voting, "step_mode": "m"})


def _features(spec: EmotionSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    inputs = 2
    for width in spec.channels:
        yield (
            "Conv2d",
            {
                "in_channels": inputs,
                "out_channels": width,
                "kernel_size": (3, 3),
                "stride": (1, 1),
                "padding": (spec.padding, spec.padding),
                "dilation": (1, 1),
                "groups": 1,
                "bias": None,
                "padding_mode": "zeros",
                "step_mode": "m",
            },
        )
        yield "BatchNorm2d", {"num_features": width, "affine": True, "track_running_stats": True, "step_mode": "m"}
        yield _neuron(spec)
        pool = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False, "step_mode": "m"}
        yield POOLS[spec.pool], pool | ({"dilation": (1, 1), "return_indices": False} if spec.pool == "max" else {})
        inputs = width
    yield "Flatten", {"start_dim": 1, "end_dim": -1, "step_mode": "m"}
    dropout = [("Dropout", {"p": spec.dropout, "step_mode": "m"})] if spec.dropout else []
    yield from dropout
    yield "Linear", {"in_features": spec.features, "out_features": spec.hidden, "step_mode": "m"}
    yield _neuron(spec)
    yield from dropout


def _neuron(spec: EmotionSpec) -> tuple[str, dict[str, Any]]:
    surrogate = _spikingjelly_atan()
    settings = {
        "v_threshold": float(spec.threshold),
        "v_reset": 0.0,
        "decay_input": True,
        "detach_reset": True,
        "store_v_seq": False,
        "surrogate_function": surrogate,
        "step_mode": "m",
    }
    return NEURONS[spec.neuron], settings


def _spikingjelly_atan() -> type:
    from neuroemo.imports import import_quietly

    return import_quietly("spikingjelly.activation_based.surrogate").ATan  # type: ignore[no-any-return]
