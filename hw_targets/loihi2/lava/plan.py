"""How clips are laid out in time for Lava, so that what it answers is one of the simulator's two modes.

Layer i hands its sum on one step late, so it answers frame t of the input at step t + i + 1 (t + i where the first
population takes the input itself). ``pipeline``: every clip is a network of its own, T steps long, and the answer is
what Lava's clock shows. ``aligned``: the answers are shifted back by that delay, and

* feed-forward LIF networks without delays run all clips in one stream: with ``reset_interval`` T, each layer is reset
  when the first frame of a clip reaches it, so the clips do not touch;
* in the others something outlives a reset (the spikes on their way round a recurrence or waiting in a delay, the state
  of sigma-delta neurons), so every clip is a network of its own, T + L steps long. In those steps before the
  first frame arrives at a layer, the layer must be at rest, or what it does would outlive the reset too.

Source: lava-dl 0.6.0 ``netx/hdf5.py``, lava-nc 0.10.0 ``proc/{conv,dense,lif,sdn}/models.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hw_targets.finding import Finding, InputError, UnsupportedError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph, ChipLayer
from hw_targets.loihi2.simulation.reset import Reset

Mode = Literal["aligned", "pipeline"]


@dataclass(frozen=True, slots=True)
class LavaPlan:
    """``runs`` networks, one after the other, of ``run_steps`` steps and ``run_clips`` clips of ``steps`` frames each.

    ``delays`` is how many steps later than its input each layer answers (0 in pipeline mode: nothing is shifted),
    ``reset_interval`` 0 where nothing is reset.
    """

    runs: int
    run_steps: int
    run_clips: int
    steps: int
    delays: tuple[int, ...]
    reset_interval: int
    reset_offset: int = 1

    @property
    def total(self) -> int:
        """Steps of all runs."""
        return self.runs * self.run_steps

    def frames(self, rows: Array, layer: int) -> Array:
        """Turn what ``layer`` did in every step, [total, ...], into frame time: [T, N, ...].

        One clip of two frames through the second layer of a network: its answer comes two steps late.

        >>> plan = LavaPlan(1, 4, 1, 2, (1, 2), 2)
        >>> plan.frames(np.array([0, 0, 7, 8]), 1).tolist()
        [[7], [8]]
        """
        start = self.delays[layer]
        runs = rows.reshape(self.runs, self.run_steps, *rows.shape[1:])
        clips = runs[:, start : start + self.run_clips * self.steps]
        return np.ascontiguousarray(clips.reshape(-1, self.steps, *rows.shape[1:]).swapaxes(0, 1))


def plan_runs(chip: ChipGraph, steps: int, clips: int, mode: Mode, reset: Reset | None = None) -> LavaPlan:
    """Lay out ``clips`` clips of ``steps`` frames; ``reset`` is what netx is told in pipeline mode.

    Raises:
        InputError: E229, no such mode.
        UnsupportedError: E227, Lava cannot show the aligned answer of this network.
    """
    if mode == "pipeline":
        interval, offset = (0, 0) if reset is None else (reset.interval, reset.offset)
        return LavaPlan(clips, steps, 1, steps, (0,) * len(chip.layers), interval, offset)
    if mode != "aligned":
        raise InputError(Finding("E229", "error", "mode", repr(mode), "aligned or pipeline"))
    if reset is not None:
        raise InputError(Finding("E235", "error", "reset", "a reset in aligned mode", "pipeline mode"))
    first = 0 if chip.layers[0].kind == "input" else 1
    delays = tuple(range(first, first + len(chip.layers)))
    if not any(_outlives_reset(layer) for layer in chip.layers):
        # netx counts as if every population had a synapse in front of it.
        return LavaPlan(1, steps * clips + delays[-1], clips, steps, delays, steps, first)
    _refuse_restless(chip, delays)
    run_steps = steps + delays[-1]
    # Longer than the run, so that each layer is reset once: when the first frame arrives.
    return LavaPlan(clips, run_steps, 1, steps, delays, run_steps + 1, first)


def _outlives_reset(layer: ChipLayer) -> bool:
    delayed = layer.delay is not None and bool(np.any(layer.delay))
    return layer.recurrent is not None or delayed or layer.neuron != "lif"


def _restless(layer: ChipLayer) -> str:
    """Say what makes a layer act before any input arrives, or nothing."""
    if np.any(layer.bias):
        return "a bias"
    if layer.neuron == "lif" and np.any(np.asarray(layer.threshold) < 0):
        return "a negative threshold"
    return ""


def _refuse_restless(chip: ChipGraph, delays: tuple[int, ...]) -> None:
    last = max(index for index, layer in enumerate(chip.layers) if _outlives_reset(layer))
    kept = chip.layers[last].name
    findings = [
        Finding(
            "E227",
            "error",
            layer.name,
            f"{why} acts in Lava before the first frame arrives, and {kept} remembers what came of it",
            "in aligned mode: none up to the last recurrent, delayed or sigma-delta layer",
            fix="compare in Lava's own timing: --mode pipeline",
        )
        for layer, delay in zip(chip.layers[: last + 1], delays, strict=False)
        if delay > 0 and (why := _restless(layer))
    ]
    if findings:
        raise UnsupportedError(findings)
