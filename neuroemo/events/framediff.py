"""The event simulation of "Spiking Emotions" (Wang et al., section 2.1): differences of adjoining frames.

Where the paper is silent the choice made here is named in the docstring of the function that makes it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.events.clip import Clip

GRAY_LEVELS = 255
SIZE_RANGE = (8, 1024)
STEP_RANGE = (2, 4096)

_LEVELS_IN_UNIT = np.arange(GRAY_LEVELS + 1) / GRAY_LEVELS


@dataclass(frozen=True, slots=True)
class FrameDiffSettings:
    """How frames become a clip; the defaults are the paper's (section 3.2).

    ``size`` is the side of the square clip in pixels, ``steps`` the number of time steps T, ``sens`` the
    sensitivity as a fraction of full scale in [0, 1). ``first_frame="float"`` keeps frame 0 as gray in
    step 0 (T frames are used); ``"spikes"`` makes every step a difference (T + 1 frames are used).

    Raises ``InputError`` with one finding per value out of range.
    """

    size: int = 128
    steps: int = 68
    sens: float = 0.001
    first_frame: Literal["float", "spikes"] = "float"

    def __post_init__(self) -> None:
        """Check every field and report all that is wrong at once."""
        findings = [
            *_check_integer("E710", "size", self.size, SIZE_RANGE),
            *_check_integer("E711", "steps", self.steps, STEP_RANGE),
        ]
        if not _is_number(self.sens) or not 0.0 <= self.sens < 1.0:
            fix = "give the threshold as a fraction of full scale, e.g. 0.001 (any change) or 0.02"
            findings.append(Finding("E712", "error", "sens", repr(self.sens), "0 <= sens < 1", fix=fix))
        if self.first_frame not in ("float", "spikes"):
            found = repr(self.first_frame)
            findings.append(Finding("E713", "error", "first_frame", found, "'float' or 'spikes'"))
        if findings:
            raise InputError(findings)

    @property
    def frames_needed(self) -> int:
        """Number of video frames that fill all steps.

        >>> FrameDiffSettings().frames_needed, FrameDiffSettings(first_frame="spikes").frames_needed
        (68, 69)
        """
        return self.steps if self.first_frame == "float" else self.steps + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-ready dictionary."""
        return asdict(self)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_integer(code: str, name: str, value: object, bounds: tuple[int, int]) -> list[Finding]:
    """Return a finding unless ``value`` is an integer within the bounds."""
    low, high = bounds
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [Finding(code, "error", name, repr(value), f"an integer in {low}..{high}")]


def threshold_level(sens: float) -> int:
    """Return the largest difference of 8-bit gray that is *not* an event: max d with d / 255 <= sens.

    The comparison is strict (an event needs d / 255 > sens), with d / 255 rounded once to float64, so a
    sensitivity written as ``5 / 255`` does not fire on a difference of 5.

    >>> threshold_level(0.001), threshold_level(5 / 255), threshold_level(0.02)
    (0, 5, 5)
    """
    return int(np.searchsorted(_LEVELS_IN_UNIT, sens, side="right")) - 1


def frame_difference(frames: npt.NDArray[np.uint8], settings: FrameDiffSettings, *, fps: float = 25.0) -> Clip:
    """Return the simulated clip of gray frames uint8 ``[F, H, W]`` with H = W = ``settings.size``.

    ``ON = [g_n - g_(n-1) > sens]`` and ``OFF = [g_n - g_(n-1) < -sens]`` with ``g = frame / 255``;
    channel 0 is ON, 1 is OFF. The reference is the previous frame ("adjoin frames"), not the frame of the
    last event. A long video gives its first frames; a short one is zero-padded at the end, and
    ``valid_steps`` says how many steps are real.

    Raises ``InputError`` for frames of another shape or type, or fewer than 2 of them.

    >>> frames = np.zeros((3, 8, 8), np.uint8); frames[1, 0, 0] = 9
    >>> clip = frame_difference(frames, FrameDiffSettings(size=8, steps=4), fps=10.0)
    >>> clip.valid_steps, clip.spikes[1, 0, 0, 0].item(), clip.spikes[2, 1, 0, 0].item()
    (3, 1, 1)
    >>> int(clip.spikes.sum())
    2
    """
    _check_frames(frames, settings.size)
    used = frames[: settings.frames_needed]
    spikes = np.zeros((settings.steps, 2, settings.size, settings.size), dtype=np.uint8)
    start = 1 if settings.first_frame == "float" else 0
    valid = len(used) - 1 + start
    difference = used[1:].astype(np.int16) - used[:-1].astype(np.int16)
    level = threshold_level(settings.sens)
    spikes[start:valid, 0] = difference > level
    spikes[start:valid, 1] = difference < -level
    first = used[0].astype(np.float32) / np.float32(GRAY_LEVELS) if start else None
    return Clip(spikes, first, valid, float(fps))


def video_to_clip(path: str | Path, settings: FrameDiffSettings) -> Clip:
    """Decode a video file and return its clip; raises ``InputError`` as ``read_gray`` does."""
    from neuroemo.events.video import read_gray

    video = read_gray(path, size=settings.size, max_frames=settings.frames_needed)
    return frame_difference(video.frames, settings, fps=video.fps)


def _check_frames(frames: npt.NDArray[np.uint8], size: int) -> None:
    """Refuse anything but at least two square uint8 frames of the wanted size."""
    found = f"{getattr(frames, 'dtype', type(frames).__name__)} {list(getattr(frames, 'shape', []))}"
    limit = f"uint8 [F, {size}, {size}]"
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.shape[1:] != (size, size):
        raise InputError(Finding("E714", "error", "frames", found, limit, fix="read them with read_gray"))
    if len(frames) < 2:
        fix = "a difference needs two frames"
        raise InputError(Finding("E714", "error", "frames", f"{len(frames)} frame(s)", "at least 2", fix=fix))
