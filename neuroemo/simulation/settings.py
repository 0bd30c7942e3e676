"""What a simulation is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Backend = Literal["fast", "lava", "both"]


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """How to run clips through a chip's file, and what to keep.

    ``reset`` is netx's ``reset_interval`` and ``reset_offset``, for pipeline mode; ``input_message_bits`` None looks at
    the values of the clips (0: spikes, else integers of that many bits); ``layers`` counts the first entries of a netx
    file to run, None all; ``probe`` names layers, with neurons if not all, ``LAYER`` or ``LAYER:0,5,10-19``; ``batch``
    None lets the size of the network decide; ``timeout_s`` seconds is what the vendor's simulator may take in all.
    """

    backend: Backend = "fast"
    mode: Literal["aligned", "pipeline"] = "aligned"
    reset: tuple[int, int] | None = None
    path: Literal["auto", "dense", "event"] = "auto"
    threads: int = 1
    device: str = "cpu"
    limit: int | None = None
    split: str | None = None
    batch: int | None = None
    input_message_bits: int | None = None
    layers: int | None = None
    probe: tuple[str, ...] = ()
    save: Path | None = None
    output: Path | None = None
    force: bool = False
    timeout_s: float = 600.0
