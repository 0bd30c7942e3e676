"""Which sensitivity gives a wanted event density: weighed on one clip, or on all the clips of a data set.

With the previous frame as reference a clip counts only through how often gray level a is followed by b, so the
counts of many clips are added and every sensitivity that changes the events is weighed exactly. Against the
level of the last event the order matters: 255 sensitivities are tried on the clips themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import EventDensity, density_from_counts
from neuroemo.events.difference import (
    GRAY_LEVELS,
    LOG_UNITS,
    DifferenceRule,
    FrameDifference,
    brightness_levels,
    smallest_sens,
)

Counted = Literal["pixel", "channel"]
Gray = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Candidates = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SensChoice:
    """A sensitivity and the event density that it gives on the frames it was chosen for."""

    sens: float
    density: EventDensity


def sens_for_density(
    frames: Gray, wanted: float, *, rule: DifferenceRule | None = None, counted: Counted = "pixel"
) -> SensChoice:
    """Return the sensitivity at which gray frames uint8 ``[F, H, W]`` have the event density nearest to ``wanted``.

    ``counted="pixel"`` is the share of pixels with an event of any polarity, ``"channel"`` the share of nonzero inputs,
    half of it. With the previous frame as reference every sensitivity that changes the events is weighed;
    against the level of the last event, 255 are tried. Of equally near ones the smallest is returned. The
    ``sens`` of ``rule`` (default: the paper's) is not used. A density above that of the smallest possible sensitivity
    cannot be had: 8-bit frames that do not change send nothing.

    >>> frames = np.zeros((2, 1, 4), np.uint8); frames[1, 0] = 0, 3, 5, 9
    >>> choice = sens_for_density(frames, 0.5)
    >>> round(choice.sens * 255), choice.density.any_polarity
    (3, 0.5)

    Raises:
        InputError: frames of another shape or type, fewer than 2, or a density out of reach.
    """
    base = rule or DifferenceRule()
    changes = count_changes(frames)
    if counted not in ("pixel", "channel"):
        raise InputError(Finding("E761", "error", "counted", repr(counted), "'pixel' or 'channel'"))
    counts = try_candidates([frames], base, sens_candidates(changes, base)) if base.reference == "event" else None
    return choose_sens(changes, wanted, rule=base, counted=counted, tried=counts)


def count_changes(frames: Gray) -> Integers:
    """Return how often gray level a of a pixel is followed by b in the next frame, int64 ``[65536]`` at ``256 a + b``.

    >>> changes = count_changes(np.array([[[7, 7]], [[9, 7]]], np.uint8))
    >>> int(changes[256 * 7 + 9]), int(changes[256 * 7 + 7]), int(changes.sum())
    (1, 1, 2)

    Raises:
        InputError: frames other than uint8 ``[F, H, W]`` with F of 2 or more.
    """
    wrong_frames = not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 3
    if wrong_frames or len(frames) < 2 or frames.size == 0:
        found = f"{getattr(frames, 'dtype', type(frames).__name__)} {list(getattr(frames, 'shape', []))}"
        raise InputError(Finding("E714", "error", "frames", found, "uint8 [F, H, W] with F of 2 or more"))
    changes = np.zeros(256 * 256, dtype=np.int64)
    for before, after in itertools.pairwise(frames):
        changes += np.bincount(before.ravel() * np.uint16(256) + after.ravel(), minlength=256 * 256)
    return changes


def sens_candidates(changes: Integers, rule: DifferenceRule) -> Candidates:
    """Return the ascending sensitivities to try against the level of the last event, at most 255 of them."""
    candidates, _ = _all_candidates(changes, rule)
    return candidates[np.unique(np.linspace(0, len(candidates) - 1, GRAY_LEVELS).astype(np.int64))]


def try_candidates(clips: Iterable[Gray], rule: DifferenceRule, candidates: Candidates) -> Integers:
    """Return (ON positions, OFF positions) per sensitivity over clips of frames, int64 ``[len(candidates), 2]``."""
    counts = np.zeros((len(candidates), 2), np.int64)
    for frames in clips:
        for row, sens in enumerate(candidates.tolist()):
            steps = FrameDifference(replace(rule, sens=sens), *frames.shape[1:]).steps(frames)
            counts[row] += [np.count_nonzero(steps[:, channel]) for channel in (0, 1)]
    return counts


def choose_sens(
    changes: Integers,
    wanted: float,
    *,
    rule: DifferenceRule,
    counted: Counted = "pixel",
    tried: Integers | None = None,
) -> SensChoice:
    """Return the choice of ``sens_for_density`` from the counts of one clip or many.

    ``changes`` is the sum of ``count_changes``; ``tried`` the sum of ``try_candidates`` over the same clips at
    ``sens_candidates(changes, rule)``, needed against the level of the last event.

    Raises:
        InputError: a density out of reach.
    """
    positions = int(changes.sum())
    if tried is None:
        candidates, counts = _weigh(changes, rule)
    else:
        candidates, counts = sens_candidates(changes, rule), tried
    densities = [density_from_counts(int(on), int(off), positions) for on, off in counts]
    share = np.array([d.any_polarity if counted == "pixel" else d.per_channel for d in densities])
    if not 0.0 < wanted <= share.max():
        limit = f"above 0, at most {share.max():.6g} at sens {candidates[int(np.argmax(share))]:.6g}"
        fix = "these frames do not change more often" if wanted > 0 else "give a share, e.g. 0.1079"
        raise InputError(Finding("E761", "error", "wanted density", repr(wanted), limit, fix=fix))
    nearest = int(np.argmin(np.abs(share - wanted)))
    return SensChoice(float(candidates[nearest]), densities[nearest])


def _all_candidates(changes: Integers, rule: DifferenceRule) -> tuple[Candidates, Candidates]:
    """Return the ascending sensitivities that differ in their events, and the same in units of brightness."""
    if rule.intensity == "linear":
        candidates = np.arange(GRAY_LEVELS) / GRAY_LEVELS
        steps = np.arange(GRAY_LEVELS, dtype=np.float64)
    else:
        seen = np.unique(np.abs(_change(rule)[changes > 0]))
        # Half a unit above a change, no rounding decides whether it is an event.
        steps = np.append(0.0, seen[(seen > 0) & (seen < LOG_UNITS - 1)] + 0.5)
        candidates = steps / LOG_UNITS
    if rule.events_per_step == "several":
        possible = candidates >= smallest_sens(rule.intensity)
        candidates, steps = candidates[possible], steps[possible]
    return candidates, steps


def _change(rule: DifferenceRule) -> npt.NDArray[np.float64]:
    levels = brightness_levels(rule.intensity)
    change: npt.NDArray[np.float64] = (levels[None, :] - levels[:, None]).ravel()
    return change


def _weigh(changes: Integers, rule: DifferenceRule) -> tuple[Candidates, Any]:
    """Return ascending sensitivities and the (ON, OFF) positions that each gives."""
    candidates, steps = _all_candidates(changes, rule)
    change = _change(rule)
    counts = np.stack([_beyond(change, changes, steps), _beyond(-change, changes, steps)], axis=1)
    return candidates, counts


def _beyond(change: npt.NDArray[np.float64], weight: Integers, steps: Candidates) -> Integers:
    """Return how many changes are larger than each step."""
    order = np.argsort(change, kind="stable")
    below = np.concatenate([[0], np.cumsum(weight[order])])
    return below[-1] - below[np.searchsorted(change[order], steps, side="right")]
