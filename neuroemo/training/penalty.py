"""A price on synaptic operations while a network learns: the share of its dense operations that spikes cause.

With the spikes s_l that enter synaptic layer l, after the first, and the exact fan-out f_l of each position::

    share = sum_l sum_(t, n, i) s_l[t, n, i] f_l[i]  /  sum_l T N sum_i f_l[i]
    loss  = mean squared error + weight * share

The numerator is what the operation counter counts on the same clips (``profiling.counting``), and its gradient
reaches the weights through the surrogate gradient of the spikes. The first layer is left out: its events come from the
camera, and no weight changes them. Behind an average pool a spike is charged as deployed, where the pool is folded into
the synapses: a mean of 1/4 stands for one spike.

While a network knows nothing its error hardly changes, and the price may decide where it goes: of the runs that paid
from the start, some never left chance (docs/neuroemo-s.md). ``penalty_warmup`` epochs are therefore free, and a share
costs something from the next epoch on. The idea of training against a count of synaptic operations is that of
Sorbaro et al., Front. Neurosci. 14:662 (2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, UnsupportedError

if TYPE_CHECKING:
    import torch
    from torch import nn


class OperationsPenalty:
    """Watches a SpikingJelly network in multi-step mode; ``share`` is of the clips it has seen since the last call.

    Raises:
        UnsupportedError: values between the layers that are not spikes or means of spikes.
    """

    def __init__(self, network: nn.Module) -> None:
        self._seen: list[tuple[torch.Tensor, int]] = []
        self._handles = [
            layer.register_forward_pre_hook(self._watch(area), prepend=True) for layer, area in list(_synaptic(network))
        ]

    def share(self) -> torch.Tensor:
        """Return the share of dense operations that spikes caused, a scalar with its gradient, and forget them.

        Raises:
            RuntimeError: the network has not been called.
        """
        if not self._seen:
            raise RuntimeError("no clip went through the network since the last call")
        caused = sum(operations for operations, _ in self._seen)
        dense = sum(most for _, most in self._seen)
        self._seen.clear()
        return caused / dense  # type: ignore[return-value, operator]

    def close(self) -> None:
        """Leave the network."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _watch(self, area: int) -> Any:
        """Return the hook of a synaptic layer whose values are means over ``area`` spikes."""
        fan_outs: dict[tuple[int, ...], torch.Tensor] = {}

        def watch(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            spikes = inputs[0]
            if not layer.training:
                return
            shape = tuple(spikes.shape[2:])
            if shape not in fan_outs:
                fan_outs[shape] = _fan_out(layer, shape).to(spikes.device) * area
            fan_out = fan_outs[shape]
            caused = (spikes.sum(dim=(0, 1)) * fan_out).sum()
            self._seen.append((caused, int(spikes.shape[0] * spikes.shape[1] * float(fan_out.double().sum()))))

        return watch


def _synaptic(network: nn.Module) -> Iterator[tuple[nn.Module, int]]:
    """Yield each synaptic layer after the first, with how many spikes a value before it is the mean of."""
    from torch import nn

    area, first, refused = 1, True, []
    for name, module in network.named_modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d) or type(module).__name__.startswith("Dropout"):
            refused.append(Finding("E909", "error", name, "dropout", "spikes", fix="use a network without dropout"))
        elif isinstance(module, nn.AvgPool2d):
            kernel = module.kernel_size
            area = kernel * kernel if isinstance(kernel, int) else kernel[0] * kernel[1]
        elif hasattr(module, "v_threshold") or isinstance(module, nn.MaxPool2d):
            area = 1
        elif isinstance(module, nn.Conv2d | nn.Linear):
            if not first and not refused:
                yield module, area
            area, first = 1, False
    if refused:
        raise UnsupportedError(refused)


def _fan_out(layer: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    from neuroemo.profiling.counting.layers import module_fan_out

    return torch.from_numpy(module_fan_out(layer, shape)).float().reshape(shape)
