"""An evaluation of valence and arousal for people: what stands on the console."""

from __future__ import annotations

from typing import Any

from hw_targets.finding import Finding
from neuroemo.models.affect.spec import OUTPUTS
from neuroemo.training.evaluation_text import table

HEAD = ("", "RMSE", "95 % interval", "PCC", "95 % interval", "CCC", "95 % interval", "SAGR")
SUBJECTS = 5
"""How many subjects are listed, the worst first."""


def evaluation_text(told: dict[str, Any]) -> str:
    """Return an evaluation document as lines: for each output the network, and the constant predictor below it."""
    rows: list[tuple[str, ...]] = [HEAD]
    for output in OUTPUTS:
        one, intervals = told["outputs"][output], told["outputs"][output]["interval_95"]
        cells = [output]
        for metric in ("rmse", "pcc", "ccc"):
            cells += [number(one[metric]), interval(intervals[metric])]
        rows.append((*cells, number(one["sagr"])))
        plain = one["constant"]
        shown = [number(plain[metric]) for metric in ("rmse", "pcc", "ccc", "sagr")]
        rows.append((f"  always {plain['value']:.3f}", shown[0], "", shown[1], "", shown[2], "", shown[3]))
    counted = f"{told['frames']} frames of {told['clips']} clips, {told['subjects']} subjects"
    lines = [f"{told['model']} on {counted}", *table(rows), "", *_clip_lines(told), *_notes(told)]
    lines += [str(Finding(**finding)) for finding in told["findings"]]
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Return a score in words.

    >>> number(0.12345), number(None)
    ('0.123', 'undefined')
    """
    return "undefined" if value is None else f"{value:.3f}"


def interval(ends: list[float] | None) -> str:
    """Return the ends of an interval, nothing where there is none.

    >>> interval([0.1, 0.25]), interval(None)
    ('0.100 to 0.250', '')
    """
    return "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _clip_lines(told: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [("mean over clips", "RMSE", "PCC", "CCC", "SAGR")]
    for output in OUTPUTS:
        clips = told["outputs"][output]["per_clip"]
        rows.append((output, *(_mean(clips[metric]) for metric in ("rmse", "pcc", "ccc", "sagr"))))
    return [*table(rows), ""]


def _mean(one: dict[str, Any]) -> str:
    if one["mean"] is None:
        return "undefined"
    spread = "" if one["sd"] is None else f" ± {one['sd']:.3f}"
    return f"{one['mean']:.3f}{spread}" + ("" if one["defined"] == one["of"] else f" ({one['defined']} of {one['of']})")


def _notes(told: dict[str, Any]) -> list[str]:
    notes = []
    for output in OUTPUTS:
        one = told["outputs"][output]
        gain = one["interval_95"].get("rmse_gain")
        if gain is not None:
            notes.append(
                f"{output}: RMSE is lower than the constant's by {interval(gain)} (95 % interval over subjects)"
            )
        if one["unknown"]:
            notes.append(f"{output}: {one['unknown']} frames have no label and do not count")
        if one["zero_targets"]:
            words = (
                "are left out of SAGR" if told["zeros"] == "leave-out" else "count as misses of SAGR unless met by 0"
            )
            notes.append(f"{output}: {one['zero_targets']} frames are labelled exactly 0 and {words}")
    return notes
