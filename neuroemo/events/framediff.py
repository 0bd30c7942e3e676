"""The event simulation of "Spiking Emotions" (Wang et al., section 2.1): differences of adjoining frames.

Where the paper is silent the choice made here is named in the docstring of the function that makes it, and the
other readings are options of ``DifferenceRule``.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import Clip, EventDensity, density_from_counts
from neuroemo.events.difference import (
    GRAY_LEVELS,
    LOG_UNITS,
    DifferenceRule,
    EventsPerStep,
    FrameDifference,
    Intensity,
    Reference,
    brightness_levels,
    rule_findings,
    smallest_sens,
    threshold_level,
    write_all_steps,
)

__all__ = [
    "GRAY_LEVELS",
    "SIZE_RANGE",
    "STEP_RANGE",
    "CountClip",
    "FrameDiffSettings",
    "SensChoice",
    "frame_difference",
    "frame_difference_counts",
    "sens_for_density",
    "threshold_level",
    "video_to_clip",
]

SIZE_RANGE = (8, 1024)
STEP_RANGE = (2, 4096)


@dataclass(frozen=True, slots=True)
class FrameDiffSettings:
    """How frames become a clip; the defaults are the paper's (section 3.2).

    ``size`` is the side of the square clip in pixels, ``steps`` the number of time steps T, ``sens`` the
    sensitivity as a fraction of full scale in [0, 1). ``first_frame="float"`` keeps frame 0 as gray in
    step 0 (T frames are used); ``"spikes"`` makes every step a difference (T + 1 frames are used).
    ``intensity``, ``reference`` and ``events_per_step`` are the other readings of the text: see ``DifferenceRule``.

    Raises ``InputError`` with one finding per value out of range.
    """

    size: int = 128
    steps: int = 68
    sens: float = 0.001
    first_frame: Literal["float", "spikes"] = "float"
    intensity: Intensity = "linear"
    reference: Reference = "previous"
    events_per_step: EventsPerStep = "one"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = [
            *_check_integer("E710", "size", self.size, SIZE_RANGE),
            *_check_integer("E711", "steps", self.steps, STEP_RANGE),
        ]
        rule = rule_findings(self)
        findings += [finding for finding in rule if finding.code == "E712"]
        if self.first_frame not in ("float", "spikes"):
            found = repr(self.first_frame)
            findings.append(Finding("E713", "error", "first_frame", found, "'float' or 'spikes'"))
        findings += [finding for finding in rule if finding.code != "E712"]
        if findings:
            raise InputError(findings)

    @property
    def frames_needed(self) -> int:
        """Number of video frames that fill all steps.

        >>> FrameDiffSettings().frames_needed, FrameDiffSettings(first_frame="spikes").frames_needed
        (68, 69)
        """
        return self.steps if self.first_frame == "float" else self.steps + 1

    @property
    def rule(self) -> DifferenceRule:
        """When a change is an event."""
        return DifferenceRule(self.sens, self.intensity, self.reference, self.events_per_step)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary; the three readings are left out at their defaults.

        So the settings of a file say the same whether or not its writer knew those options.
        """
        return {name: value for name, value in asdict(self).items() if _READINGS.get(name) != value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FrameDiffSettings:
        """Rebuild what ``to_dict`` made; what is missing, unknown or out of range is an InputError.

        >>> FrameDiffSettings.from_dict(FrameDiffSettings(reference="event").to_dict()).reference
        'event'
        """
        needed = set(asdict(cls())) - set(_READINGS)
        findings = [Finding("E718", "error", name, "missing", "all settings") for name in sorted(needed - set(values))]
        unknown = sorted(str(name) for name in set(values) - needed - set(_READINGS))
        findings += [Finding("E718", "error", name, "no such setting") for name in unknown]
        if findings:
            raise InputError(findings)
        return cls(**values)


_READINGS = {"intensity": "linear", "reference": "previous", "events_per_step": "one"}


def _check_integer(code: str, name: str, value: object, bounds: tuple[int, int]) -> list[Finding]:
    """Return a finding unless ``value`` is an integer within the bounds."""
    low, high = bounds
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [Finding(code, "error", name, repr(value), f"an integer in {low}..{high}")]


def frame_difference(frames: npt.NDArray[np.uint8], settings: FrameDiffSettings, *, fps: float = 25.0) -> Clip:
    """Return the simulated clip of gray frames uint8 ``[F, H, W]`` with H = W = ``settings.size``.

    ``ON = [g_n - g_(n-1) > sens]`` and ``OFF = [g_n - g_(n-1) < -sens]`` with ``g = frame / 255``;
    channel 0 is ON, 1 is OFF. By default the reference is the previous frame ("adjoin frames"), not the
    level of the last event, and gray is linear. With ``events_per_step="several"`` a spike stands for one or
    more events (``frame_difference_counts`` keeps their number). A long video gives its first frames; a
    short one is zero-padded at the end, and ``valid_steps`` says how many steps are real.

    Raises ``InputError`` for frames of another shape or type, or fewer than 2 of them.

    >>> frames = np.zeros((3, 8, 8), np.uint8); frames[1, 0, 0] = 9
    >>> clip = frame_difference(frames, FrameDiffSettings(size=8, steps=4), fps=10.0)
    >>> clip.valid_steps, clip.spikes[1, 0, 0, 0].item(), clip.spikes[2, 1, 0, 0].item()
    (3, 1, 1)
    >>> int(clip.spikes.sum())
    2
    """
    steps, first, valid = _simulate(frames, settings)
    spikes = np.minimum(steps, 1) if settings.events_per_step == "several" else steps
    return Clip(spikes, first, valid, float(fps))


@dataclass(frozen=True, slots=True)
class CountClip:
    """A recording with several events per step: ``counts`` uint8 ``[T, 2, H, W]`` in 0..254, the rest as ``Clip``.

    ``density`` is the share of positions with one event or more, ``events`` the number of (ON, OFF) events.
    """

    counts: npt.NDArray[np.uint8]
    first_frame: npt.NDArray[np.float32] | None
    valid_steps: int
    fps: float
    density: EventDensity
    events: tuple[int, int]


def frame_difference_counts(frames: npt.NDArray[np.uint8], settings: FrameDiffSettings, *, fps: float) -> CountClip:
    """Return how many events each pixel sends in each step; otherwise as ``frame_difference``.

    >>> frames = np.zeros((2, 8, 8), np.uint8); frames[1, 0, 0] = 51
    >>> settings = FrameDiffSettings(size=8, steps=2, sens=0.06, events_per_step="several")
    >>> frame_difference_counts(frames, settings, fps=10.0).events
    (3, 0)
    """
    counts, first, valid = _simulate(frames, settings)
    real = counts[0 if first is None else 1 : valid]
    on, off = (int(np.count_nonzero(real[:, channel])) for channel in (0, 1))
    density = density_from_counts(on, off, len(real) * settings.size**2)
    total = (int(real[:, 0].sum(dtype=np.int64)), int(real[:, 1].sum(dtype=np.int64)))
    return CountClip(counts, first, valid, float(fps), density, total)


def _simulate(
    frames: npt.NDArray[np.uint8], settings: FrameDiffSettings
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32] | None, int]:
    """Return the steps uint8 ``[T, 2, size, size]``, the gray first frame, and the number of real steps."""
    _check_frames(frames, settings.size)
    used = frames[: settings.frames_needed]
    steps = np.empty((settings.steps, 2, settings.size, settings.size), dtype=np.uint8)
    start = 1 if settings.first_frame == "float" else 0
    valid = len(used) - 1 + start
    steps[:start], steps[valid:] = 0, 0
    write_all_steps(settings.rule, used, steps[start:valid])
    first = used[0].astype(np.float32) / np.float32(GRAY_LEVELS) if start else None
    return steps, first, valid


def video_to_clip(path: str | Path, settings: FrameDiffSettings) -> Clip:
    """Decode a video file and return its clip; raises ``InputError`` as ``read_gray`` does."""
    from neuroemo.events.video import read_gray

    video = read_gray(path, size=settings.size, max_frames=settings.frames_needed)
    return frame_difference(video.frames, settings, fps=video.fps)


def _check_frames(frames: npt.NDArray[np.uint8], size: int) -> None:
    """Refuse anything but at least two square uint8 frames of the wanted size."""
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.shape[1:] != (size, size):
        found = f"{getattr(frames, 'dtype', type(frames).__name__)} {list(getattr(frames, 'shape', []))}"
        limit = f"uint8 [F, {size}, {size}]"
        raise InputError(Finding("E714", "error", "frames", found, limit, fix="read them with read_gray"))
    if len(frames) < 2:
        fix = "a difference needs two frames"
        raise InputError(Finding("E714", "error", "frames", f"{len(frames)} frame(s)", "at least 2", fix=fix))


@dataclass(frozen=True, slots=True)
class SensChoice:
    """A sensitivity and the event density that it gives on the frames it was chosen for."""

    sens: float
    density: EventDensity


def sens_for_density(
    frames: npt.NDArray[np.uint8],
    wanted: float,
    *,
    rule: DifferenceRule | None = None,
    counted: Literal["pixel", "channel"] = "pixel",
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
    wrong_frames = not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 3
    if wrong_frames or len(frames) < 2 or frames.size == 0:
        found = f"{getattr(frames, 'dtype', type(frames).__name__)} {list(getattr(frames, 'shape', []))}"
        raise InputError(Finding("E714", "error", "frames", found, "uint8 [F, H, W] with F of 2 or more"))
    if counted not in ("pixel", "channel"):
        raise InputError(Finding("E761", "error", "counted", repr(counted), "'pixel' or 'channel'"))
    base = rule or DifferenceRule()
    candidates, densities = _weigh(frames, base)
    share = [d.any_polarity if counted == "pixel" else d.per_channel for d in densities]
    if not 0.0 < wanted <= max(share):
        limit = f"above 0, at most {max(share):.6g} at sens {candidates[int(np.argmax(share))]:.6g}"
        fix = "these frames do not change more often" if wanted > 0 else "give a share, e.g. 0.1079"
        raise InputError(Finding("E761", "error", "wanted density", repr(wanted), limit, fix=fix))
    nearest = int(np.argmin(np.abs(np.array(share) - wanted)))
    return SensChoice(candidates[nearest], densities[nearest])


def _weigh(frames: npt.NDArray[np.uint8], rule: DifferenceRule) -> tuple[list[float], list[EventDensity]]:
    """Return ascending sensitivities and the density that each gives."""
    changes = np.zeros(256 * 256, dtype=np.int64)
    for before, after in itertools.pairwise(frames):
        changes += np.bincount(before.ravel() * np.uint16(256) + after.ravel(), minlength=256 * 256)
    levels = brightness_levels(rule.intensity)
    change = (levels[None, :] - levels[:, None]).ravel()
    if rule.intensity == "linear":
        candidates = np.arange(GRAY_LEVELS) / GRAY_LEVELS
        steps = np.arange(GRAY_LEVELS, dtype=np.float64)
    else:
        seen = np.unique(np.abs(change[changes > 0]))
        # Half a unit above a change, no rounding decides whether it is an event.
        steps = np.append(0.0, seen[(seen > 0) & (seen < LOG_UNITS - 1)] + 0.5)
        candidates = steps / LOG_UNITS
    if rule.events_per_step == "several":
        possible = candidates >= smallest_sens(rule.intensity)
        candidates, steps = candidates[possible], steps[possible]
    if rule.reference == "event":
        return _try_all(frames, rule, candidates)
    on, off = _beyond(change, changes, steps), _beyond(-change, changes, steps)
    positions = int(changes.sum())
    densities = [density_from_counts(int(a), int(b), positions) for a, b in zip(on, off, strict=True)]
    return candidates.tolist(), densities


def _beyond(
    change: npt.NDArray[np.float64], weight: npt.NDArray[np.int64], steps: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return how many changes are larger than each step."""
    order = np.argsort(change, kind="stable")
    below = np.concatenate([[0], np.cumsum(weight[order])])
    return below[-1] - below[np.searchsorted(change[order], steps, side="right")]


def _try_all(
    frames: npt.NDArray[np.uint8], rule: DifferenceRule, candidates: npt.NDArray[np.float64]
) -> tuple[list[float], list[EventDensity]]:
    kept = candidates[np.unique(np.linspace(0, len(candidates) - 1, GRAY_LEVELS).astype(np.int64))]
    densities = []
    for sens in kept.tolist():
        steps = FrameDifference(replace(rule, sens=sens), *frames.shape[1:]).steps(frames)
        on, off = (int(np.count_nonzero(steps[:, channel])) for channel in (0, 1))
        densities.append(density_from_counts(on, off, steps[:, 0].size))
    return kept.tolist(), densities
