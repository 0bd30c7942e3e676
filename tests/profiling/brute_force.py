"""Fan-out by enumeration: nothing here knows a formula, only how a convolution is defined."""

from __future__ import annotations

import itertools

import numpy as np
import torch


def enumerate_conv(shape, out_shape, kernel, stride, padding, dilation, groups):
    """Walk every (output element, tap) pair and note which input element it reads."""
    channels, *space = shape
    out_channels, *out_space = out_shape
    reads = np.zeros(shape, dtype=np.int64)
    for out_channel in range(out_channels):
        group = out_channel // (out_channels // groups)
        members = range(group * (channels // groups), (group + 1) * (channels // groups))
        for position in itertools.product(*map(range, out_space)):
            for tap in itertools.product(*map(range, kernel)):
                source = [
                    o * s - p + k * d for o, s, p, k, d in zip(position, stride, padding, tap, dilation, strict=True)
                ]
                if all(0 <= y < n for y, n in zip(source, space, strict=True)):
                    for channel in members:
                        reads[(channel, *source)] += 1
    return reads


def enumerate_spikes(values, reads):
    """Add up, one element at a time, what every non-zero input triggers; returns (acs, macs, spikes)."""
    acs = macs = spikes = 0
    fan_outs = np.broadcast_to(reads, values.shape).reshape(-1).tolist()
    for value, fan_out in zip(values.reshape(-1).tolist(), fan_outs, strict=True):
        if value == 0:
            continue
        spikes += 1
        if value in (1, -1):
            acs += int(fan_out)
        else:
            macs += int(fan_out)
    return acs, macs, spikes


def probe_module(module, shape):
    """Fan-out by experiment: all weights 1, one input element 1, add up the outputs; float64."""
    import copy

    twin = copy.deepcopy(module).double()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.fill_(1.0)
        if getattr(twin, "bias", None) is not None:
            twin.bias.zero_()
        if hasattr(twin, "step_mode"):
            twin.step_mode = "s"
        size = int(np.prod(shape))
        inputs = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
        outputs = twin(inputs).reshape(size, -1).sum(dim=1)
    return outputs.round().long().numpy().reshape(shape)
