"""The event simulation of "Spiking Emotions" (Wang et al., section 2.1): differences of adjoining frames.

Where the paper is silent the choice made here is named in the docstring of the function that makes it, and the
other readings are options of ``DifferenceRule``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import Clip, EventDensity, density_from_counts
from neuroemo.events.density import SensChoice, sens_for_density
from neuroemo.events.difference import (
    GRAY_LEVELS,
    DifferenceRule,
    EventsPerStep,
    Intensity,
    Reference,
    rule_findings,
    threshold_level,
    write_all_steps,
)
from neuroemo.events.rate import rate_findings, read_at_rate

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
    ``fps`` brings videos to one frame rate first (``at_rate``); None takes their frames as they are.

    Raises ``InputError`` with one finding per value out of range.
    """

    size: int = 128
    steps: int = 68
    sens: float = 0.001
    first_frame: Literal["float", "spikes"] = "float"
    intensity: Intensity = "linear"
    reference: Reference = "previous"
    events_per_step: EventsPerStep = "one"
    fps: float | None = None

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
        findings += rate_findings(self.fps)
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
        """Return the settings as a JSON-ready dictionary; the readings and ``fps`` are left out at their defaults.

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


_READINGS = {"intensity": "linear", "reference": "previous", "events_per_step": "one", "fps": None}


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
    """Decode a video file and return its clip; raises ``InputError`` as ``read_at_rate`` does."""
    video = read_at_rate(path, size=settings.size, max_frames=settings.frames_needed, fps=settings.fps)
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
