"""Synaptic sums of every message, spikes or not: convolution and matrix product on the exact floating-point path.

Sums of integers are exact in float32 while no partial sum can reach 2^24, in float64 while none can reach 2^53; the
bound is proven from the weights before the sum is taken. Kernels that trade exactness (Winograd, TF32, bfloat16) are
switched off while they run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hw_targets.graph import Array, Pair
from hw_targets.loihi2.chip import ChipLayer
from hw_targets.loihi2.simulation.plan import FLOAT32_EXACT, FLOAT64_EXACT, Plan
from hw_targets.loihi2.simulation.pooling import Pooled, PooledDense, pooled, pooled_dense, sum_pool

if TYPE_CHECKING:
    import torch


PATCHES = 2**23
"""Numbers that the patches of a few frames may have."""

_ENTERED = threading.Lock()
_RESTORE: list[Callable[[], None]] = []
_INSIDE = [0]


@contextmanager
def exact_products() -> Iterator[None]:
    """Let torch compute with one thread and without any kernel that rounds.

    These are settings of the whole process: the first to enter makes them, the last to leave puts them back.
    """
    import torch

    with _ENTERED:
        _INSIDE[0] += 1
        if _INSIDE[0] == 1:
            _RESTORE[:] = _set_exact()
    try:
        with torch.inference_mode():
            yield
    finally:
        with _ENTERED:
            _INSIDE[0] -= 1
            if _INSIDE[0] == 0:
                for restore in _RESTORE:
                    restore()


def _set_exact() -> list[Callable[[], None]]:
    """Make the settings; return what puts each of them back."""
    import torch

    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    (nnpack,) = torch.backends.nnpack.set_flags(False)
    torch.set_float32_matmul_precision("highest")
    restore: list[Callable[[], None]] = [
        partial(torch.backends.nnpack.set_flags, nnpack),
        partial(torch.set_float32_matmul_precision, precision),
    ]
    if threads != 1:  # it costs milliseconds
        torch.set_num_threads(1)
        restore.append(partial(torch.set_num_threads, threads))
    return restore


class DenseSums:
    """The synapses of one population as a convolution or a matrix product over all time steps at once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.pooled: Pooled | PooledDense | None = None
        layer = plan.layer
        if layer.kind == "conv":
            self.pooled = pooled(layer.weight, layer.stride, layer.padding, layer.dilation, layer.input_shape[1:])
        elif len(plan.source_shape) == 3:
            self.pooled = pooled_dense(plan.weight, plan.source_shape, channels_last=True)
        self._weights: dict[Any, torch.Tensor] = {}

    def sums(self, messages: Array, largest: int) -> Array:
        """Return sums [B, H, W, C] or [B, M] of messages [B, ...]; ``largest`` bounds every partial sum.

        Raises:
            CapacityError: no floating-point number holds the sums exactly.
        """
        import torch

        self.plan.require_exact(largest, FLOAT64_EXACT)
        number = torch.float32 if largest < FLOAT32_EXACT else torch.float64
        if self.pooled is not None:
            messages = sum_pool(messages, self.pooled.size)
        if self.plan.layer.kind == "conv":
            return self._convolve(messages, number)
        flat = torch.from_numpy(messages.reshape(len(messages), -1)).to(number)
        return (flat @ self._weight(number).T).numpy()  # type: ignore[no-any-return]

    def _convolve(self, messages: Array, number: torch.dtype) -> Array:
        import torch
        import torch.nn.functional as F

        layer, pool = self.plan.layer, self.pooled
        stride, padding = (pool.stride, pool.padding) if isinstance(pool, Pooled) else (layer.stride, layer.padding)
        frames = torch.from_numpy(messages).to(number).permute(0, 3, 1, 2)
        weight = self._weight(number)
        if not _is_ordinary(weight.shape, frames.shape, stride, padding, layer):
            return _by_patches(frames, weight, stride, padding, layer)
        found = F.conv2d(frames, weight, None, stride, padding)
        return np.ascontiguousarray(found.permute(0, 2, 3, 1).numpy())

    def _weight(self, number: torch.dtype) -> torch.Tensor:
        import torch

        if number not in self._weights:
            weight = self.plan.weight if self.pooled is None else self.pooled.weight
            kept = torch.from_numpy(np.ascontiguousarray(weight)).to(number)
            if kept.ndim == 4:
                kept = kept.to(memory_format=torch.channels_last)
            self._weights[number] = kept
        return self._weights[number]


def _by_patches(frames: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair, layer: ChipLayer) -> Array:
    """Return the sums [B, H, W, C] of frames [B, C, H, W] as a plain matrix product with their patches."""
    import torch
    import torch.nn.functional as F

    outputs, _, *kernel = weight.shape
    # Not contiguous(): it keeps the strides of an axis of length 1, which torch stumbles over.
    frames = frames.clone(memory_format=torch.contiguous_format)
    matrix = weight.clone(memory_format=torch.contiguous_format).reshape(layer.groups, outputs // layer.groups, -1)
    result = np.empty((len(frames), *layer.output_shape[1:], outputs), dtype=str(frames.dtype).removeprefix("torch."))
    together = max(1, PATCHES // (matrix.shape[2] * layer.groups * result[0, ..., 0].size))
    for start in range(0, len(frames), together):
        part = frames[start : start + together]
        patches = F.unfold(part, tuple(kernel), layer.dilation, padding, stride)
        sums = torch.matmul(matrix, patches.reshape(len(part), layer.groups, matrix.shape[2], -1))
        shown = sums.reshape(len(part), outputs, -1).transpose(1, 2)
        result[start : start + together] = shown.reshape(len(part), *result.shape[1:]).numpy()
    return result


def _is_ordinary(weight: Sequence[int], frames: Sequence[int], stride: Pair, padding: Pair, layer: ChipLayer) -> bool:
    """Whether torch may take oneDNN's convolution on channels-last maps, which is up to ten times faster.

    For maps a few pixels wide, strides or paddings beyond the kernel, dilation or groups oneDNN's sums are wrong in
    about one shape of a hundred (torch 2.3 and 2.13, measured), and torch 2.3 may crash. None was among thousands of
    the shapes that pass here; all others take a plain matrix product.
    """
    ordinary = layer.dilation == (1, 1) and layer.groups == 1 and min(*weight[:2]) > 1 and min(frames[2:]) >= 8
    return ordinary and all(s <= k and p < k for s, p, k in zip(stride, padding, weight[2:], strict=True))
