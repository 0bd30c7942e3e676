"""From the network's input to the integers that the chip receives."""

from __future__ import annotations

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from hw_targets.loihi2.chip import ChipGraph

INT32_MAX = 2**31 - 1


def check_shape(chip: ChipGraph, clips: Array) -> None:
    """Raise an InputError for clips that are not [T, N, ...] of the chip's input shape, with at least one step."""
    wanted = f"[T, N, {', '.join(map(str, chip.input_shape))}]"
    if clips.ndim < 3 or tuple(clips.shape[2:]) != chip.input_shape:
        raise InputError(Finding("E050", "error", "clips", f"shape {tuple(clips.shape)}", wanted))
    if clips.dtype.kind not in "fiub":
        raise InputError(Finding("E057", "error", "clips", f"values of type {clips.dtype}", "numbers"))
    if not clips.shape[0] or not clips.shape[1]:
        found = f"shape {tuple(clips.shape)}: no step or no clip"
        raise InputError(Finding("E058", "error", "clips", found, f"{wanted}, T and N at least 1"))


def encode_input(chip: ChipGraph, clips: Array, *, first: int = 0) -> Array:
    """Turn network input [T, N, C, H, W] into the integers the chip receives: uint8 spikes, or int32.

    Spikes carry ``payload``; a gray first frame becomes round(gray * payload); integers are sent as they are.
    ``first`` is the number of the first step, where the clips are a stretch of longer ones.

    Raises:
        InputError: wrong shape, NaN, gray outside [0, 1], a value other than 0 and 1 where spikes belong, a fraction or
            a value beyond 32 bits where integers do.
    """
    check_shape(chip, clips)
    if clips.dtype.kind == "f" and not np.isfinite(clips).all():
        found = f"{int((~np.isfinite(clips)).sum())} values are NaN or infinite"
        raise InputError(Finding("E051", "error", "clips", found, "0"))
    if chip.first_frame == "integers":
        return _integers(clips, chip.payload)
    gray = 1 if chip.first_frame == "float" and first == 0 else 0
    findings = [*_not_spikes(clips[gray:]), *_not_gray(clips[:gray])]
    if findings:
        raise InputError(findings)
    if chip.payload == 1 and not gray:
        return clips.astype(np.uint8)
    return np.rint(clips * chip.payload).astype(np.int32)


def _not_spikes(spikes: Array) -> list[Finding]:
    right = (
        int(spikes.max(initial=0)) <= 1 if spikes.dtype.kind in "ub" else bool(((spikes == 0) | (spikes == 1)).all())
    )
    if right:
        return []
    fix = "binarise the spikes; a gray first frame needs --first-frame float (first_frame='float')"
    return [Finding("E052", "error", "clips", "values other than 0 and 1 in the spike steps", fix=fix)]


def _not_gray(frame: Array) -> list[Finding]:
    if not ((frame < 0) | (frame > 1)).any():
        return []
    return [Finding("E053", "error", "clips", f"gray values {frame.min():g} to {frame.max():g}", "0 to 1")]


def _integers(clips: Array, largest: int) -> Array:
    if clips.dtype.kind == "f" and (fractions := int((clips != np.rint(clips)).sum())):
        raise InputError(Finding("E059", "error", "clips", f"{fractions} values are not whole numbers", "0"))
    seen = max(-int(clips.min(initial=0)), int(clips.max(initial=0)))
    limit = min(largest, INT32_MAX)
    if seen > limit:
        found = f"a value of magnitude {seen}"
        raise InputError(Finding("E053", "error", "clips", found, str(limit), str(seen - limit)))
    return clips.astype(np.int32)
