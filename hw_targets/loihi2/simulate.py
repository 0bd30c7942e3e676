"""The fast fixed-point simulator: what Lava's CPU models compute, bit for bit, without Lava.

Per step and neuron, all in integers (a: synaptic sum, b: bias)::

    u <- sign(u) (|u| (4096 - current_decay) >> 12) + (a << 6)
    v <- clip(sign(v) (|v| (4096 - voltage_decay) >> 12) + u + (b << 6), -2^23 + 1, 2^23 - 1)
    s  = v > threshold << 6 ;  v <- 0 where s

Source: lava-nc 0.10.0 ``proc/lif/models.py`` (PyLifModelBitAcc), ``proc/conv/models.py``; every other rule stands in
docs/semantics.md. In *aligned* mode all layers work on the same frame; in *pipeline* mode each synapse hands its sum
on one step later, as in Lava. With ``reset_interval`` equal to the sample length and ``reset_offset`` 1, Lava's spikes
of a feed-forward network are the aligned ones, shifted (proven against Lava in the tests).

The engine is the folder ``simulation``; this file is its front door.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hw_targets.finding import CapacityError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.limits import ACTIVATION_MAX
from hw_targets.loihi2.simulation.encode import encode_input
from hw_targets.loihi2.simulation.overflow import beyond_current
from hw_targets.loihi2.simulation.record import ChipRun, Probe, Record

__all__ = ["ChipRun", "encode_input", "refuse_overflow", "simulate"]


def simulate(
    chip: ChipGraph,
    clips: Array,
    *,
    record: Record = "all",
    probe: Probe = (),
    teacher: Mapping[str, Array] | None = None,
    keep_state: bool = False,
    **options: Any,
) -> ChipRun:
    """Run network input [T, N, C, H, W] through the chip's arithmetic and record the spikes of every layer.

    ``probe`` names layers whose sums, currents and membrane potentials are recorded too (or maps them to the neurons
    that are wanted), ``keep_state`` asks for the final state. With ``teacher`` (spikes by layer name) every layer is
    fed the teacher's spikes instead of its predecessor's, to be judged on its own. ``options`` are those of
    ``Simulator``, which a program that runs many batches makes once.

    Raises:
        InputError: see ``encode_input``; also a probe that names no layer.
        CapacityError: a synaptic sum that overflows the 24-bit current.
    """
    from hw_targets.loihi2.simulation.engine import Simulator

    return Simulator(chip, **options).run(clips, record=record, probe=probe, teacher=teacher, keep_state=keep_state)


def refuse_overflow(chip: ChipGraph) -> None:
    """Raise a CapacityError that names every layer whose synaptic sum can leave the 24-bit current."""
    findings = [
        beyond_current(layer.name, worst, "could reach")
        for layer in chip.layers
        if (worst := layer.largest_sum) > ACTIVATION_MAX.value
    ]
    if findings:
        raise CapacityError(findings)
