"""The same populations on a graphics processor, through torch, with the same bits.

Sums are taken in float64 and rounded to the nearest integer. A library on such a device may choose any algorithm for a
convolution, and some (Winograd, Fourier) add rounding errors even to integers; in float64 their error stays many orders
below 1/2 for sums below 2^31, so that rounding gives the integer itself. Neurons run in 64-bit integers with Lava's
wraps written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.finding import CapacityError, Finding, MissingDependencyError, UnsupportedError
from hw_targets.graph import Array
from hw_targets.loihi2.limits import ACTIVATION_MAX
from hw_targets.loihi2.simulation.overflow import fitting
from hw_targets.loihi2.simulation.plan import CURRENT_RANGE, Plan, channels_last
from hw_targets.loihi2.simulation.population import State, Stretch
from hw_targets.loihi2.simulation.record import Recorder

if TYPE_CHECKING:
    import torch

V_MAX = 2**23 - 1
ROUNDING_EXACT = 2**40
"""Partial sums below this are exact after rounding: an algorithm may lose 12 of the 53 bits and is still right."""


def open_device(name: str) -> torch.device:
    """Return the torch device of that name.

    Raises:
        MissingDependencyError: torch does not find it on this machine.
    """
    import torch

    fix = "simulate without --device, on the processor"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise MissingDependencyError(Finding("E603", "error", name, "no such device", "cpu, cuda", fix=fix)) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        found = "torch finds no CUDA device on this machine"
        raise MissingDependencyError(Finding("E603", "error", name, found, fix=fix))
    return device


class DevicePopulation:
    """Leaky integrate-and-fire neurons behind feed-forward synapses, on a torch device.

    Raises:
        UnsupportedError: neurons or synapses that only the processor runs.
    """

    def __init__(self, plan: Plan, device: torch.device, *, late: bool) -> None:
        import torch

        layer = plan.layer
        found = _beyond(plan)
        if found:
            fix = "simulate without --device, on the processor"
            raise UnsupportedError(Finding("E234", "error", layer.name, found, "LIF neurons, feed-forward", fix=fix))
        self.plan, self.layer, self.device = plan, layer, device
        self.late = late and layer.kind != "input"
        self.synapses = None
        kept = (plan.bias, plan.keep_current, plan.keep_potential, plan.threshold)
        self.constants = [torch.from_numpy(each.astype(np.int64)).to(device) for each in kept]
        self.weight = torch.from_numpy(np.ascontiguousarray(plan.weight)).to(device, torch.float64)

    def begin(self, samples: int) -> State:
        """Return the state at rest."""
        import torch

        shape = (samples, self.plan.neurons)
        return State(tuple(torch.zeros(shape, dtype=torch.int64, device=self.device) for _ in range(2)))

    def final(self, state: State) -> Array:
        """Return u and v after the last step, int32 [2, n, M]."""
        return np.stack([each.cpu().numpy() for each in state.neurons]).astype(np.int32)

    def advance(self, state: State, fed: Stretch, recorder: Recorder) -> Stretch:
        """Take a stretch of messages, move ``state`` on and return what the population sends, still on the device."""
        import torch

        messages: Any = fed.messages
        if isinstance(messages, np.ndarray):
            messages = torch.from_numpy(np.ascontiguousarray(messages)).to(self.device)
        if self.late:
            held: Any = torch.zeros_like(messages[:1]) if state.held is None else state.held
            state.held = messages[-1:].clone()
            messages = torch.cat([held, messages[:-1]])
        spikes = self._integrate(state, self._sums(messages), fed, recorder)
        counts = spikes.sum(dim=2, dtype=torch.int64).cpu().numpy()
        spikes = spikes.reshape(*spikes.shape[:2], *channels_last(self.layer.output_shape))
        recorded = self.layer.name in recorder.spikes
        shown = spikes.cpu().numpy() if recorded else np.empty(spikes.shape[:1], dtype=np.uint8)
        recorder.take_messages(self.layer, fed.start, fed.samples, shown, counts)
        return Stretch(fed.start, fed.samples, spikes, counts)  # type: ignore[arg-type]

    def _sums(self, messages: torch.Tensor) -> torch.Tensor:
        """Return exact sums int64 [t, n, M]."""
        import torch
        import torch.nn.functional as F

        layer = self.layer
        self._require_exact(messages)
        whole = messages.to(torch.float64)
        if layer.kind == "conv":
            frames = whole.flatten(0, 1).permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
            found = F.conv2d(frames, self.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
            found = found.permute(0, 2, 3, 1)
        elif layer.kind == "input":
            return messages.flatten(2).to(torch.int64)
        else:
            found = whole.flatten(0, 1).flatten(1) @ self.weight.T
        sums = torch.round(found).to(torch.int64).reshape(*messages.shape[:2], -1)
        if layer.weight_exponent > 0:
            sums = sums << layer.weight_exponent
        elif layer.weight_exponent < 0:
            sums = sums >> -layer.weight_exponent
        return self._as_current(sums, graded=messages.dtype != torch.uint8)

    def _require_exact(self, messages: torch.Tensor) -> None:
        import torch

        magnitude, signed = 1, False
        if messages.dtype != torch.uint8 and messages.numel():
            lowest, highest = int(messages.min()), int(messages.max())
            magnitude, signed = max(-lowest, highest), lowest < 0
        if self.layer.kind != "input":
            self.plan.require_exact(self.plan.bound(magnitude, signed), ROUNDING_EXACT)

    def _as_current(self, sums: torch.Tensor, *, graded: bool) -> torch.Tensor:
        seen = int(sums.abs().max()) if sums.numel() else 0
        if seen <= ACTIVATION_MAX.value:
            return sums
        findings = fitting(self.layer, seen, self.plan.wraps, lava_shift=self.plan.lava_shift if graded else 0)
        if findings:
            raise CapacityError(findings)
        if self.layer.kind == "conv":
            return (sums + CURRENT_RANGE) % (2 * CURRENT_RANGE) - CURRENT_RANGE
        return sums

    def _integrate(self, state: State, sums: torch.Tensor, fed: Stretch, recorder: Recorder) -> torch.Tensor:
        import torch

        bias, keep_u, keep_v, threshold = self.constants
        u, v = state.neurons
        spikes = torch.empty(sums.shape, dtype=torch.uint8, device=self.device)
        probed = self.layer.name in recorder.probe
        traces: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for t in range(len(sums)):
            u = _one_wrap(_int32(_kept(u, keep_u) + _int32(sums[t] << 6)))
            v = _int32(_int32(_kept(v, keep_v) + u) + bias).clamp(-V_MAX, V_MAX)
            fired = v > threshold
            if probed:
                traces[0].append(u)
                traces[1].append(v)
            spikes[t] = fired
            v = torch.where(fired, 0, v)
        state.neurons = (u, v)
        if probed:
            current, membrane = (torch.stack(each).cpu().numpy() for each in traces)
            traced = (self.layer, fed.start, fed.samples)
            recorder.take_traces(*traced, drive=sums.cpu().numpy(), current=current, membrane=membrane)
        return spikes


def _beyond(plan: Plan) -> str:
    """Return what a layer has that runs on the processor only, in words."""
    layer = plan.layer
    if layer.neuron != "lif":
        return f"{layer.neuron} neurons"
    if layer.recurrent is not None:
        return "recurrent synapses"
    return "synaptic delays" if layer.delay is not None else ""


def _int32(values: torch.Tensor) -> torch.Tensor:
    """Return 64-bit values as 32 bits hold them."""
    return ((values + 2**31) & (2**32 - 1)) - 2**31


def _one_wrap(current: torch.Tensor) -> torch.Tensor:
    import torch

    half = V_MAX + 1
    current = torch.where(current > half, current - 2 * half, current)
    return torch.where(current <= -half, current + 2 * half, current)


def _kept(values: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    import torch

    size = (values.abs() * keep) >> 12
    return torch.where(values < 0, -size, size)
