"""What output spikes say where a network estimates values: the values of every clip, and how far from the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.values import score
from hw_targets.graph import Array
from hw_targets.readout import ValueReadout


def tell_values(result: dict[str, Any], readout: ValueReadout, values: Array, truth: Array | None) -> None:
    """Add the values [N, F, outputs] of every clip to its answer, and their scores to ``result``.

    What an answer calls ``predicted`` is its last values. ``truth`` is like the values, NaN where it is unknown.
    """
    for answer, told in zip(result["answers"], values, strict=True):
        answer["predicted"] = in_words(readout, told[-1])
        answer["values"] = told.tolist()
    result["outputs"] = list(readout.outputs)
    if truth is None or not np.isfinite(truth).any():
        return
    known = np.isfinite(truth)
    result["scores"] = {
        output: score(truth[..., place][known[..., place]], values[..., place][known[..., place]])
        for place, output in enumerate(readout.outputs)
    }


def in_words(readout: ValueReadout, values: Array) -> str:
    """Write one value of each output.

    >>> in_words(ValueReadout(("valence", "arousal"), 16, 8, 8), np.array([0.25, -0.5]))
    'valence +0.25, arousal -0.50'
    """
    return ", ".join(f"{output} {value:+.2f}" for output, value in zip(readout.outputs, values.tolist(), strict=True))


def score_lines(result: dict[str, Any]) -> list[str]:
    """Return the scores of every output, one a line; none where the truth is not known."""
    lines = []
    for output, told in result.get("scores", {}).items():
        shown = ", ".join(f"{name.upper()} {'-' if told[name] is None else f'{told[name]:.4f}'}" for name in told)
        lines.append(f"{output}: {shown}")
    return lines
