"""The values of clips in a file, looked at once and in pieces, before anything runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.deployment.array_file import Rows
from neuroemo.pipeline import Progress, quiet_progress

INT32 = (-(2**31), 2**31 - 1)
FAULTS = {
    "nan": ("E674", "values are NaN", "whole numbers", "replace them before saving"),
    "infinite": ("E675", "values are infinite", "whole numbers", "replace them before saving"),
    "fraction": ("E676", "values are no whole numbers", "whole numbers", "round or scale them before saving"),
    "range": ("E677", "values do not fit 32 bits", f"{INT32[0]} to {INT32[1]}", "scale them down before saving"),
    "gray": (
        "E678",
        "values of step 0 are no gray values",
        "0 to 1",
        "the network wants its first frame as gray / 255",
    ),
}


@dataclass(frozen=True, slots=True)
class Values:
    """The smallest and the largest value of all clips; of those behind the first frame where that is gray."""

    lowest: int
    highest: int

    @property
    def spikes(self) -> bool:
        """Whether there is nothing but 0 and 1."""
        return self.lowest >= 0 and self.highest <= 1

    @property
    def magnitude(self) -> int:
        """The largest magnitude."""
        return max(-self.lowest, self.highest)


@dataclass(slots=True)
class _Seen:
    lowest: int = 0
    highest: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def blame(self, kind: str, wrong: Array, clip: int, step: int) -> None:
        count = int(np.count_nonzero(wrong))
        if not count:
            return
        self.faults[kind] += count
        if kind not in self.first:
            one, two, *rest = (int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
            self.first[kind] = (clip + one, step + two, *rest)

    def gray(self, frame: Array, clip: int) -> None:
        with np.errstate(invalid="ignore"):
            self.blame("nan", np.isnan(frame), clip, 0)
            self.blame("gray", ~np.isnan(frame) & ~((frame >= 0) & (frame <= 1)), clip, 0)

    def numbers(self, block: Array, clip: int, step: int) -> None:
        if block.dtype.kind == "f" and not bool((np.rint(block) == block).all() and np.isfinite(block).all()):
            self._unfit(block, clip, step)
            return
        low, high = int(block.min()), int(block.max())
        if low < INT32[0] or high > INT32[1]:
            self.blame("range", (block < INT32[0]) | (block > INT32[1]), clip, step)
            return
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)

    def _unfit(self, block: Array, clip: int, step: int) -> None:
        finite = np.isfinite(block)
        self.blame("nan", np.isnan(block), clip, step)
        self.blame("infinite", np.isinf(block), clip, step)
        self.blame("fraction", finite & (np.rint(block) != block), clip, step)
        self.blame("range", finite & ((block < INT32[0]) | (block > INT32[1])), clip, step)


def look_at_values(path: Path, rows: Rows, *, gray_first: bool, progress: Progress = quiet_progress) -> Values:
    """Go through all clips and return the range of their values; ``gray_first`` expects gray in [0, 1] in step 0.

    Raises:
        InputError: NaN, infinite, fractional or too large values, or a gray frame outside [0, 1]: each kind is one
            finding with its count and the first place.
    """
    seen = _Seen()
    if rows.dtype.kind == "b":
        return Values(0, 1)
    for clip, step, block in rows.blocks():
        if gray_first and step == 0:
            seen.gray(block[:, :1].astype(np.float64), clip)
            block, step = block[:, 1:], 1
        if block.size:
            seen.numbers(block, clip, step)
        progress(min(clip + len(block), rows.shape[0]), rows.shape[0], "")
    if seen.faults:
        raise InputError([_finding(path, kind, count, seen.first[kind]) for kind, count in seen.faults.items()])
    return Values(seen.lowest, seen.highest)


def _finding(path: Path, kind: str, count: int, first: tuple[int, ...]) -> Finding:
    code, what, limit, fix = FAULTS[kind]
    clip, step, *frame = first
    found = f"{count} {what}, the first in clip {clip}, step {step}, at {tuple(frame)}"
    return Finding(code, "error", str(path), found, limit, fix=fix)
