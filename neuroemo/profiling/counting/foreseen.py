"""Tensors as the kernel takes them, and one pass over the spikes that a layer of neurons hands to synapses.

What neurons fire is looked at twice: how many spikes there are, and what they cost at the synapses they reach. After
the first step it is known which synapses those are, so one pass answers both. The second answer is used only if
the very same values arrive there: same memory, same number of writes to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from neuroemo.profiling.counting.fanout import Counts, FanOut, count_prepared

if TYPE_CHECKING:
    from torch import Tensor

    from neuroemo.profiling.counting.layers import PlannedModule

Key: TypeAlias = tuple[int, int, int, int]
FanOutOf: TypeAlias = "Callable[[PlannedModule, tuple[int, ...]], FanOut]"


class Foreseen:
    """Which synapses follow which neurons, and what was counted for them ahead.

    ``blind``: the model reaches past torch to the memory of its tensors, so nothing is counted ahead.
    """

    def __init__(self) -> None:
        self.followers: dict[str, tuple[PlannedModule, tuple[int, ...]]] = {}
        self.blind = False
        self.fired: tuple[Key | None, str] | None = None
        self.ahead: tuple[Key, PlannedModule, Counts, Tensor] | None = None

    def forget(self) -> None:
        """Let go of the values of the last batch; which layers follow which is kept."""
        self.fired = self.ahead = None
        self.blind = False

    def count(self, fan_out_of: FanOutOf, item: PlannedModule, output: Tensor, rows: int) -> Counts:
        """Return the spikes of every row of a neuron layer's output, int64 [rows]."""
        from neuroemo.profiling.counting.kernel import count_nonzero

        key = None if self.blind else key_of(output)
        self.fired, self.ahead = (key, item.name), None
        follower = self.followers.get(item.name)
        if key is not None and follower is not None and rows * math.prod(follower[1]) == output.numel():
            counted = count_tensor(output, fan_out_of(*follower), item.name)
            self.ahead = (key, follower[0], counted, output)
            return counted[2]
        values = array_of(output).reshape(rows, -1)
        fired = np.empty(rows, dtype=np.int64)
        count_nonzero(np.ascontiguousarray(values), fired)
        return fired

    def take(self, item: PlannedModule, key: Key | None) -> Counts | None:
        """Return what was counted ahead for these synapses and exactly these values, if anything was."""
        if self.blind or self.ahead is None or self.ahead[1] is not item or self.ahead[0] != key:
            return None
        counted = self.ahead[2]
        # The spikes are let go here: to hold them longer would cost the model the reuse of their memory.
        self.ahead = None
        return counted

    def learn(self, item: PlannedModule, key: Key | None, shape: tuple[int, ...]) -> None:
        """Remember that the spikes which were fired last arrived here."""
        if key is not None and self.fired is not None and self.fired[0] == key:
            self.followers[self.fired[1]] = (item, shape)


def key_of(tensor: Tensor) -> Key | None:
    """Return what tells apart the values of tensors that are alive: memory, place in it, length, writes so far.

    None where that does not tell: values in another order than in memory, or whose writes torch does not count.
    """
    if not tensor.is_contiguous() or tensor.is_inference():
        return None
    return storage_of(tensor), tensor.storage_offset(), tensor.numel(), tensor._version


def storage_of(tensor: Any) -> int:
    """Return where a tensor's memory begins: views of one tensor share it."""
    return int(tensor.untyped_storage().data_ptr())


def array_of(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array without loss; half precision becomes single, bool becomes 0 and 1."""
    import torch

    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    elif tensor.dtype == torch.bool:
        tensor = tensor.view(torch.uint8)
    return tensor.detach().cpu().numpy()


def count_tensor(tensor: Tensor, fan_out: FanOut, name: str) -> Counts:
    """Count the inputs [*lead, *shape] of a layer, int64 [4, rows] as ``kernel.count_rows`` gives them."""
    return count_prepared(np.ascontiguousarray(array_of(tensor)).reshape(-1, fan_out.size), fan_out, name)
