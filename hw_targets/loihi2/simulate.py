"""The fast fixed-point simulator: what Lava's CPU models compute, bit for bit, without Lava.

Per step and neuron, all in integers (a: synaptic sum, b: bias)::

    u <- sign(u) (|u| (4096 - current_decay) >> 12) + (a << 6)
    v <- clip(sign(v) (|v| (4096 - voltage_decay) >> 12) + u + (b << 6), -2^23 + 1, 2^23 - 1)
    s  = v > threshold << 6 ;  v <- 0 where s

Source: lava-nc 0.10.0 ``proc/lif/models.py`` (PyLifModelBitAcc), ``proc/conv/models.py``. All layers are
*aligned* on the same frame. Lava delays each layer by one step; with ``reset_interval`` equal to the
sample length and ``reset_offset`` 1 its spikes are these, shifted (proven against Lava in the tests).

Synaptic sums are exact in float32 while no sum can reach 2^24; layers whose sums could are refused. A sum that
leaves the 24-bit current is refused where it happens, because what Lava does then differs from what any chip would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hw_targets.finding import CapacityError, Finding, InputError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.limits import ACTIVATION_MAX

V_MAX = 2**23 - 1


@dataclass(frozen=True, slots=True)
class ChipRun:
    """Spikes of every layer, uint8 [T, N, ...] in C, H, W order, and what a probe asked for.

    ``membrane`` holds v after the leak and the input, before the reset, int32 [T, N, ...], by layer name;
    ``final`` the current u and the potential v after the last step, int32 [2, N, ...], by layer name.
    """

    spikes: dict[str, Array]
    membrane: dict[str, Array] = field(default_factory=dict)
    final: dict[str, Array] = field(default_factory=dict)

    @property
    def output(self) -> Array:
        """Spikes of the last layer."""
        return next(reversed(self.spikes.values()))


def encode_input(chip: ChipGraph, clips: Array) -> Array:
    """Turn network input [T, N, C, H, W] into the integers the chip receives, int32.

    Spikes carry ``payload``; a gray first frame becomes round(gray * payload).

    Raises:
        InputError: wrong shape, NaN, gray outside [0, 1], or a value other than 0 and 1 after the first frame.
    """
    findings = []
    if tuple(clips.shape[2:]) != chip.input_shape or clips.ndim < 3:
        raise InputError(
            Finding(
                "E050",
                "error",
                "clips",
                f"shape {tuple(clips.shape)}",
                f"[T, N, {', '.join(map(str, chip.input_shape))}]",
            )
        )
    if not np.isfinite(clips).all():
        raise InputError(
            Finding(
                "E051",
                "error",
                "clips",
                f"{int((~np.isfinite(clips)).sum())} values are NaN or infinite",
                "0",
            )
        )
    spikes = clips[1:] if chip.first_frame == "float" else clips
    if not ((spikes == 0) | (spikes == 1)).all():
        fix = "binarise the spikes; a gray first frame needs --first-frame float (first_frame='float')"
        findings.append(Finding("E052", "error", "clips", "values other than 0 and 1 in the spike steps", fix=fix))
    if chip.first_frame == "float" and ((clips[0] < 0) | (clips[0] > 1)).any():
        findings.append(
            Finding("E053", "error", "clips", f"gray values {clips[0].min():g} to {clips[0].max():g}", "0 to 1")
        )
    if findings:
        raise InputError(findings)
    return np.rint(clips * chip.payload).astype(np.int32)


def simulate(
    chip: ChipGraph,
    clips: Array,
    *,
    probe: tuple[str, ...] = (),
    teacher: Mapping[str, Array] | None = None,
    keep_state: bool = False,
) -> ChipRun:
    """Run network input [T, N, C, H, W] through the chip's arithmetic and record the spikes of every layer.

    ``probe`` names layers whose membrane potential is recorded too, ``keep_state`` asks for the final state. With
    ``teacher`` (spikes by layer name) every layer is fed the teacher's spikes instead of its predecessor's, to be
    judged on its own.

    Raises:
        InputError: see ``encode_input``; also a probe that names no layer.
        CapacityError: a synaptic sum that overflows the 24-bit current.
    """
    unknown = [name for name in probe if name not in {layer.name for layer in chip.layers}]
    if unknown:
        raise InputError(
            Finding(
                "E054",
                "error",
                ", ".join(unknown),
                "no such layer to probe",
                "one of " + ", ".join(layer.name for layer in chip.layers),
            )
        )
    value = encode_input(chip, clips)
    run = ChipRun({})
    for layer in chip.layers:
        sums = synaptic_sums(layer, value)
        value, trace, state = integrate(layer, sums, keep_membrane=layer.name in probe, keep_state=keep_state)
        run.spikes[layer.name] = value
        if layer.name in probe:
            run.membrane[layer.name] = trace
        if keep_state:
            run.final[layer.name] = state
        if teacher is not None:
            value = teacher[layer.name]
    return run


def refuse_overflow(chip: ChipGraph) -> None:
    """Raise a CapacityError that names every layer whose synaptic sum can leave the 24-bit current."""
    findings = [
        _overflow(layer, worst, "could reach")
        for layer in chip.layers
        if (worst := layer.largest_sum) > ACTIVATION_MAX.value
    ]
    if findings:
        raise CapacityError(findings)


def _overflow(layer: ChipLayer, value: int, verb: str) -> Finding:
    limit = ACTIVATION_MAX.value
    fix = "the 24-bit current would wrap: export without --calibrate, or lower the weights or the payload"
    return Finding("E230", "error", layer.name, f"a synaptic sum {verb} {value}", str(limit), str(value - limit), fix)


def synaptic_sums(layer: ChipLayer, values: Array) -> Array:
    """Return the integer synaptic sums int32 [T, N, ...] of a layer for its input [T, N, ...]."""
    import torch
    import torch.nn.functional as F

    worst = layer.largest_sum
    if worst >= 2**24:
        raise CapacityError(_overflow(layer, worst, "could reach"))
    # No partial sum can reach 2^24, so every one is exact in float32.
    frames = torch.from_numpy(np.ascontiguousarray(values.reshape(-1, *layer.input_shape))).float()
    weight = torch.from_numpy(layer.weight).float()
    with torch.no_grad():
        if layer.kind == "conv":
            sums = F.conv2d(frames, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        else:
            sums = frames.flatten(1) @ weight.T
        if worst > ACTIVATION_MAX.value and (seen := int(sums.abs().max())) > ACTIVATION_MAX.value:
            raise CapacityError(_overflow(layer, seen, "reaches"))
    return sums.to(torch.int32).numpy().reshape(*values.shape[:2], *layer.output_shape)  # type: ignore[no-any-return]


def integrate(
    layer: ChipLayer, sums: Array, *, keep_membrane: bool = False, keep_state: bool = False
) -> tuple[Array, Array, Array]:
    """Integrate sums [T, N, ...] over time; return spikes, the membrane before reset, and the final u and v."""
    from hw_targets.loihi2.neurons import integrate_populations

    steps, samples = sums.shape[:2]
    # netx stores the bias mantissa in 16 bits and wraps without a word; check_chip refuses more than 13.
    bias = np.broadcast_to(
        (layer.bias.astype(np.int16).astype(np.int32) << 6).reshape(-1, *([1] * (len(layer.output_shape) - 1))),
        layer.output_shape,
    ).reshape(-1)
    spikes = np.empty((steps, samples, bias.size), dtype=np.uint8)
    trace = np.empty((steps, samples, bias.size) if keep_membrane else (0, 0, 0), dtype=np.int32)
    state = np.empty((2, samples, bias.size) if keep_state else (2, 0, 0), dtype=np.int32)
    integrate_populations(
        sums.reshape(steps, samples, -1),
        np.ascontiguousarray(bias),
        layer.current_decay,
        layer.voltage_decay,
        layer.threshold << 6,
        spikes,
        trace,
        state,
    )
    shape = (steps, samples, *layer.output_shape)
    return (
        spikes.reshape(shape),
        trace.reshape(shape) if keep_membrane else trace,
        state.reshape(2, samples, *layer.output_shape) if keep_state else state,
    )
