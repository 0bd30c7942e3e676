"""Where a network comes from: a live module, a file, or integers that training already chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Graph

if TYPE_CHECKING:
    from torch import nn

FirstFrame = Literal["float", "spikes"]


class Source(Protocol):
    """A trained network as the compiler sees it."""

    @property
    def framework(self) -> str:
        """Which library the network was written with."""

    def graph(self, example: Array) -> Graph:
        """Return the network as a graph; ``example`` [T, N, ...] shows its input."""

    def spikes(self, clips: Array) -> dict[str, Array]:
        """Return the spikes uint8 [T, N, ...] that the network itself gives on ``clips``, by neuron layer."""

    def chip(self) -> Any | None:
        """Return the chip's integers where training chose them, None where the target's quantiser is to."""


@dataclass(frozen=True, slots=True, eq=False)
class ModuleSource:
    """A live torch module of SpikingJelly or Norse layers; it is watched while it runs, and never changed."""

    model: nn.Module
    dt_us: float | None = None
    first_frame: FirstFrame = "spikes"

    @property
    def framework(self) -> str:
        """Which library's neurons the module is made of."""
        from export.frontends.norse import is_norse

        return "norse" if is_norse(self.model) else "spikingjelly"

    def graph(self, example: Array) -> Graph:
        """Return the captured graph."""
        return self._capture(example)[0]

    def spikes(self, clips: Array) -> dict[str, Array]:
        """Return what the module's own neurons do."""
        return self._capture(clips)[1]

    def chip(self) -> None:
        """Return None: a float network has no integers yet."""

    def _capture(self, clips: Array) -> tuple[Graph, dict[str, Array]]:
        import torch

        from export.frontends import norse, spikingjelly

        precision = next((p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32)
        frames = torch.from_numpy(np.ascontiguousarray(clips)).to(precision)
        framework = norse if norse.is_norse(self.model) else spikingjelly
        return framework.capture(self.model, frames, dt_us=self.dt_us, first_frame=self.first_frame)


def as_clips(value: Any) -> Array:
    """Return clips [T, N, ...] as an array of float32, from an array or a tensor."""
    array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
    if array.ndim not in (3, 5) or not array.size or array.dtype.kind not in "fiub":
        found = f"shape {array.shape}, {array.dtype}"
        raise InputError(
            Finding("E470", "error", "example input", found, "[T, N, C, H, W] or [T, N, F], at least one clip")
        )
    return array.astype(np.float32)  # type: ignore[no-any-return]
