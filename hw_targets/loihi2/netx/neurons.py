"""The ``neuron`` group of a netx layer: which neurons, and their constants as Lava's CPU models hold them.

CUBA and LOIHI are LIF neurons: vThMant, iDecay and vDecay, one integer or one per channel. SDNN is a delta neuron on
the input, a sigma neuron where there is a key ``sigma_output`` (whatever its value), else a sigma-delta neuron; its
vThMant is one integer, which Lava keeps shifted left by 12 in 32 bits.

Source: lava-dl 0.6.0 ``netx/hdf5.py`` (get_neuron_params), lava-nc 0.10.0 ``proc/lif`` and ``proc/sdn``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw_targets.graph import Array, Shape
from hw_targets.loihi2.chip import Neurons
from hw_targets.loihi2.limits import THRESHOLD_MAX
from hw_targets.loihi2.netx.datasets import NetxGroup, refusal

Warn = Callable[..., None]
"""Takes the code, the node, what was found, and optionally limit, over and fix."""

NEURON_KEYS = frozenset(["type", "iDecay", "vDecay", "vThMant", "sigma_output"])
HARMLESS_KEYS = frozenset(["theta", "scaleRho", "tauRho"])
"""Training constants that lava-dl stores beside the chip's."""
IGNORED_KEYS = {"refDelay": (0, 1), "gradedSpike": (0,), "wgtExp": (0,), "weight_exp": (0,)}
"""Keys that netx never reads, with the values at which reading them would change nothing."""

DECAY_MAX = 4096
DECAY_READABLE = 2**20
THRESHOLD_READABLE = 2**25
"""From here on the shifted constants leave the 32 bits of Lava's models."""


@dataclass(frozen=True, slots=True)
class NeuronConstants:
    """What a layer's neurons are; see ``ChipLayer`` for the units."""

    neuron: Neurons
    threshold: int | Array
    voltage_decay: int | Array = 4096
    current_decay: int | Array = 4096


INTEGRATOR = NeuronConstants("lif", 1 << 17, voltage_decay=4096, current_decay=0)
"""What netx gives a dense layer without a neuron group; its threshold is above the largest potential."""


def neuron_type(group: NetxGroup) -> str:
    """Return the type's name, refusing by name (E043) what is not run here."""
    kind = group.text("type")
    if "messageBits" in group:
        fix = "remove the key: no released netx can build a layer that has it"
        raise refusal("E043", group.node, "neuron/messageBits is there", fix=fix)
    if kind not in ("CUBA", "LOIHI", "SDNN"):
        raise refusal(
            "E043", group.node, f"neuron type {kind!r}", "CUBA, LOIHI, SDNN", fix="no such neuron is run here"
        )
    return kind


def read_neurons(group: NetxGroup, shape: Shape, warn: Warn, *, is_input: bool) -> NeuronConstants:
    """Return the neurons of a layer of ``shape`` (C, H, W) or (N,).

    Raises:
        InputError: a type that is not run here (E043), a constant that is missing, of the wrong shape or size.
    """
    kind = neuron_type(group)
    _warn_of_ignored_keys(group, warn)
    if kind == "SDNN":
        return _sigma_delta(group, warn, is_input=is_input)
    decays = [_decay(group, key, shape, warn) for key in ("vDecay", "iDecay")]
    return NeuronConstants("lif", _threshold(group, shape, warn), *decays)


def _sigma_delta(group: NetxGroup, warn: Warn, *, is_input: bool) -> NeuronConstants:
    if "sigma_output" in group and not is_input:
        if not group.numbers("sigma_output").all():
            found = "neuron/sigma_output is false; netx asks only whether the key is there"
            warn("W242", group.node, found, fix="remove the key for a sigma-delta neuron")
        return NeuronConstants("sigma", 0)
    stored = _whole(group, "vThMant")
    if stored.size != 1:
        raise refusal("E043", group.node, f"neuron/vThMant of shape {stored.shape}", "one integer for SDNN neurons")
    # Lava multiplies in the type of an array, 16 bits at least, and stores 32 bits.
    narrow = stored.ndim > 0 and stored.dtype.itemsize < 4
    shifted = stored.astype(np.int64) << 12
    shifted = shifted.astype(f"{stored.dtype.kind}2") if narrow else shifted
    threshold = int(shifted.astype(np.int32).reshape(-1)[0]) >> 12
    _warn_of_wrap(group, warn, stored, np.array(threshold))
    return NeuronConstants("delta" if is_input else "sigma_delta", threshold)


def _threshold(group: NetxGroup, shape: Shape, warn: Warn) -> int | Array:
    stored = _integers_of_lif(group, "vThMant", warn)
    wide = stored.astype(np.int64)
    if np.abs(wide).max() >= THRESHOLD_READABLE:
        found = f"neuron/vThMant {_worst(wide)}"
        raise refusal("E046", group.node, found, f"below {THRESHOLD_READABLE} in magnitude")
    # Lava shifts an array in its own type; a single number becomes a long integer first.
    held = np.left_shift(stored, np.array(6, stored.dtype)).astype(np.int64) >> 6 if stored.ndim else wide
    _warn_of_wrap(group, warn, wide, held)
    if not 0 <= held.min() <= held.max() <= THRESHOLD_MAX.value:
        found = f"neuron/vThMant {held.min()} to {held.max()}"
        warn("W245", group.node, found, f"0 to {THRESHOLD_MAX.value}", fix="Lava's CPU models take it; the chip cannot")
    return _per_channel(group, "vThMant", held, shape)


def _decay(group: NetxGroup, key: str, shape: Shape, warn: Warn) -> int | Array:
    stored = _integers_of_lif(group, key, warn)
    wide = stored.astype(np.int64)
    if not 0 <= wide.min() <= wide.max() <= DECAY_MAX:
        found, fits = f"neuron/{key} {_worst(wide)}", f"0 to {DECAY_MAX}"
        exact = stored.ndim == 0 or stored.dtype in (np.int32, np.int64)
        if np.abs(wide).max() > DECAY_READABLE or not exact:
            raise refusal("E046", group.node, found, fits)
        warn("W245", group.node, found, fits, fix="Lava's CPU models take it; the chip cannot")
    return _per_channel(group, key, wide, shape)


def _integers_of_lif(group: NetxGroup, key: str, warn: Warn) -> Array:
    """Return integers in the type in which Lava would calculate with them."""
    stored = group.numbers(key)
    values = _whole(group, key)
    if stored.dtype.kind == "f" or stored.dtype == np.uint64:
        found = f"neuron/{key} is stored as {stored.dtype}: Lava would hang"
        warn("W244", group.node, found, fix="store it as int64")
    return values


def _whole(group: NetxGroup, key: str) -> Array:
    values = group.numbers(key)
    if values.dtype.kind == "b":
        raise refusal("E041", group.node, f"neuron/{key} holds {values.dtype}, not integers")
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values == np.rint(values)).all() and np.abs(values).max() < 2**62):
            raise refusal("E046", group.node, f"neuron/{key} {_worst(values)} is no whole number")
        return values.astype(np.int64)
    if values.dtype == np.uint64:
        if values.max() >= 2**62:
            raise refusal("E046", group.node, f"neuron/{key} {values.max()}", str(2**62))
        return values.astype(np.int64)
    return values


def _per_channel(group: NetxGroup, key: str, values: Array, shape: Shape) -> int | Array:
    """Return one integer, or one per channel; Lava lines an array up with its axes W, H, C from the last."""
    if values.size == 1 and values.ndim <= len(shape):
        return int(values.reshape(-1)[0])
    if values.shape == shape[:1]:
        return values
    fits = "one integer or one per channel"
    raise refusal("E043", group.node, f"neuron/{key} of shape {values.shape} for neurons {shape}", fits)


def _warn_of_wrap(group: NetxGroup, warn: Warn, stored: Array, held: Array) -> None:
    if (stored != held).any():
        found = f"neuron/vThMant {_worst(stored)}, stored as {stored.dtype}, becomes {_worst(held)} in Lava"
        warn("W245", group.node, found, fix="store int64 within the chip's range")


def _warn_of_ignored_keys(group: NetxGroup, warn: Warn) -> None:
    for key in sorted(set(group.keys()) - NEURON_KEYS - HARMLESS_KEYS):
        if key == "activation":
            if (name := group.text(key)) != "relu":
                warn("W242", group.node, f"neuron/activation {name!r}; netx always takes relu")
        elif key not in IGNORED_KEYS:
            warn("W243", group.node, f"neuron/{key} is unknown; netx ignores it")
        elif not np.isin(group.numbers(key), IGNORED_KEYS[key]).all():
            warn("W242", group.node, f"neuron/{key} {_worst(group.numbers(key))}; netx ignores it")


def _worst(values: Array) -> str:
    flat = np.asarray(values).reshape(-1)
    return str(flat[np.abs(flat.astype(np.float64)).argmax()])
