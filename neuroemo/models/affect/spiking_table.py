"""The two spiking regressors by name, and their small presets: ``spiking-plif@64``, ``spiking-resnet@64``, ...

Their bits are the slices of an event frame, 0 or 1, oldest first; a chunk of 6 frames of 8 bits is 48 time steps.
The first stage quarters the side of the picture with a stride of 4, every further one halves it: pools behind neurons
make spikes dearer (docs/neuroemo-s.md), and neurons cost energy at every step whether they fire or not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from neuroemo.models.affect.spec import AffectSpec

SMALLEST_MAP = 4
"""Stages of a small preset halve the picture until its side is no larger than this."""

_COMMON: dict[str, Any] = {
    "frames": 6,
    "input": "bits",
    "tau": 4.0,
    "threshold": 0.3,
    "neurons_per_value": 16,
    "window": 24,
}

SPIKING_SPECS: tuple[AffectSpec, ...] = (
    AffectSpec("spiking-plif", "spiking-plif", channels=(24, 48, 64, 64), hidden=128, **_COMMON),
    AffectSpec("spiking-resnet", "spiking-resnet", channels=(24, 48, 64, 64), hidden=128, **_COMMON),
)
"""The spiking networks for frames of 224 pixels."""

_SMALL: dict[str, tuple[tuple[int, ...], int]] = {
    "spiking-plif": ((32, 56, 64), 128),
    "spiking-resnet": ((32, 56, 64), 56),
}
"""Widths of the stages and of the linear layer of a small preset; larger pictures repeat the last stage."""


def small_spiking(family: str, size: int) -> AffectSpec:
    """Return the small preset of a spiking family for pictures of ``size`` pixels.

    >>> small_spiking("spiking-plif", 64).channels, small_spiking("spiking-plif", 32).channels
    ((32, 56, 64), (32, 56))
    """
    full = next(spec for spec in SPIKING_SPECS if spec.name == family)
    widths, hidden = _SMALL[family]
    stages, side = 1, -(-size // 4)
    while side > SMALLEST_MAP:
        stages, side = stages + 1, -(-side // 2)
    channels = (*widths[:stages], *[widths[-1]] * (stages - len(widths)))
    return replace(full, name=f"{family}@{size}", size=size, channels=channels, hidden=hidden)
