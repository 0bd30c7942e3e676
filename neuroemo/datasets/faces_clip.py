"""One clip of a drawn face: what happens over time, and the camera that records it.

The label enters through ``ClipPlan.valence`` and ``ClipPlan.arousal`` alone. Everything else (lighting,
background, head motion, speech, blinks, gaze, crop, noise) is drawn from the generator before they are
used, with the same number of draws for every label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from neuroemo.datasets.faces_geometry import Expression, Identity, Shape, draw_identity, face_shapes

SUPERSAMPLING = 2
_SHIFT = 4
_REST_FRAMES = (2.0, 5.0)
_RISE_FRAMES = (4.0, 8.0)


@dataclass(frozen=True, slots=True)
class Track:
    """A smooth random motion: ``sum_k a_k sin(2 pi f_k t + phi_k)``, less its value at t = 0."""

    amplitudes: tuple[float, ...]
    rates: tuple[float, ...]
    phases: tuple[float, ...]

    def at(self, seconds: float) -> float:
        """Return the displacement at a time, in the unit of the amplitudes; 0 at time 0."""
        total = 0.0
        for amplitude, rate, phase in zip(self.amplitudes, self.rates, self.phases, strict=True):
            total += amplitude * (np.sin(2 * np.pi * rate * seconds + phase) - np.sin(phase))
        return float(total)


def _track(rng: np.random.Generator, scale: float, rates: tuple[float, float]) -> Track:
    count = 2
    amplitude = rng.uniform(0.2, 1.0, count) * scale / count
    return Track(
        tuple(float(value) for value in amplitude),
        tuple(float(value) for value in rng.uniform(*rates, count)),
        tuple(float(value) for value in rng.uniform(0, 2 * np.pi, count)),
    )


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Everything that decides one clip, apart from the sensor noise; times are in frames."""

    valence: float
    arousal: float
    rest: float
    rise: float
    pose: tuple[float, float, float]
    crop: tuple[float, float, float, float]
    light: tuple[float, float, float]
    flicker: Track
    sway: tuple[Track, Track, Track]
    talk_rate: float
    talk_phase: float
    talk_size: float
    blink: float
    gaze: tuple[float, float]
    noise: float


def plan_clip(rng: np.random.Generator, valence: float, arousal: float) -> ClipPlan:
    """Draw the nuisances of one clip; ``valence`` and ``arousal`` are only passed through."""
    u = rng.uniform
    pose = rng.normal(0.0, 0.3, 3)
    return ClipPlan(
        valence=valence,
        arousal=arousal,
        rest=u(*_REST_FRAMES),
        rise=u(*_RISE_FRAMES),
        pose=(float(pose[0]), float(pose[1]), float(pose[2])),
        # Crop of the face detector: offset x, y (share of the picture), log scale, roll (radians).
        crop=(u(-0.035, 0.035), u(-0.035, 0.035), u(-0.06, 0.06), u(-0.06, 0.06)),
        light=(u(0.78, 1.15), u(-0.18, 0.18), u(-0.18, 0.18)),
        flicker=_track(rng, 0.004, (0.1, 0.5)),
        sway=(_track(rng, 0.016, (0.1, 0.6)), _track(rng, 0.016, (0.1, 0.6)), _track(rng, 0.02, (0.1, 0.5))),
        talk_rate=u(1.5, 3.5),
        talk_phase=u(0, 2 * np.pi),
        talk_size=u(0.15, 0.45),
        blink=u(0.0, 40.0),
        gaze=(u(-1, 1), u(-1, 1)),
        noise=u(0.3, 0.9),
    )


def _ease(frame: float, plan: ClipPlan) -> float:
    """Return how far the expression has come: 0 until ``rest``, 1 after ``rest + rise``, smooth between."""
    x = min(max((frame - plan.rest) / plan.rise, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


def expression_at(plan: ClipPlan, frame: int, fps: float) -> Expression:
    """Return the face of a plan in one frame; frame 0 is the same whatever the label."""
    progress = _ease(frame, plan)
    swing = np.sin(2 * np.pi * plan.talk_rate * frame / fps + plan.talk_phase)
    arousal = plan.arousal * progress
    talk = plan.talk_size * (1.0 + 0.4 * arousal) * max(0.0, float(swing))
    blink = abs(frame - plan.blink)
    return Expression(
        valence=plan.valence * progress,
        arousal=arousal,
        opening=talk,
        lid=min(1.0, 0.15 + 0.45 * blink),
        gaze=plan.gaze,
        pose=plan.pose,
    )


def _matrix(plan: ClipPlan, seconds: float, side: int) -> npt.NDArray[np.float64]:
    """Return the 2x3 transform from face units to supersampled pixels (crop and head motion)."""
    dx, dy, log_scale, roll = plan.crop
    angle = roll + plan.sway[2].at(seconds)
    scale = 0.40 * side * np.exp(log_scale)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x = side * (0.5 + dx + plan.sway[0].at(seconds))
    y = side * (0.5 + dy + plan.sway[1].at(seconds))
    return np.array([[cos, -sin, x], [sin, cos, y]])


def _fill(canvas: npt.NDArray[np.uint8], shapes: list[Shape], matrix: npt.NDArray[np.float64]) -> None:
    """Fill polygons in order, at sub-pixel positions (OpenCV's fixed point) and antialiased."""
    import cv2

    points = np.concatenate([shape[0] for shape in shapes])
    fixed = np.rint((points @ matrix[:, :2].T + matrix[:, 2]) * (1 << _SHIFT)).astype(np.int32)
    start = 0
    for polygon, gray in shapes:
        stop = start + len(polygon)
        level = float(min(max(gray, 0.0), 255.0))
        cv2.fillPoly(canvas, [fixed[start:stop]], (level,), lineType=cv2.LINE_AA, shift=_SHIFT)
        start = stop


def _backdrop(rng: np.random.Generator, side: int, contrast: float) -> npt.NDArray[np.uint8]:
    """Return a still background: a few soft blobs around one gray."""
    import cv2

    coarse = rng.uniform(-1, 1, (5, 5)).astype(np.float32) * contrast + rng.uniform(50, 200)
    smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return cast(npt.NDArray[np.uint8], np.clip(smooth, 0, 255).astype(np.uint8))


def _light_field(plan: ClipPlan, size: int) -> npt.NDArray[np.float32]:
    gain, left, top = plan.light
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return np.float32(gain) * (1 + np.float32(left) * axis[None, :] + np.float32(top) * axis[:, None])


def render_clip(
    who: Identity, plan: ClipPlan, rng: np.random.Generator, *, size: int, frames: int, fps: float
) -> npt.NDArray[np.uint8]:
    """Render one clip to gray frames uint8 ``[frames, size, size]``."""
    import cv2

    side = size * SUPERSAMPLING
    backdrop = _backdrop(rng, side, who.backdrop_contrast)
    light = _light_field(plan, size)
    clip = np.empty((frames, size, size), dtype=np.uint8)
    for index in range(frames):
        seconds = index / fps
        canvas = backdrop.copy()
        _fill(canvas, face_shapes(who, expression_at(plan, index, fps)), _matrix(plan, seconds, side))
        small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
        picture = cv2.GaussianBlur(small, (3, 3), 0.6) * (light * np.float32(1 + plan.flicker.at(seconds)))
        picture += np.float32(plan.noise) * rng.standard_normal((size, size), dtype=np.float32)
        clip[index] = np.clip(np.rint(picture), 0, 255)
    return clip


def clip_frames(
    seed: int, subject: int, index: int, valence: float, arousal: float, *, size: int, frames: int, fps: float
) -> npt.NDArray[np.uint8]:
    """Return the frames of clip ``index`` of a subject; depends on the arguments alone.

    Identity and nuisances come from generators seeded without the label, so two calls that differ only in
    ``valence`` or ``arousal`` differ only where the expression shows.
    """
    who = draw_identity(np.random.default_rng([seed, 1, subject]))
    rng = np.random.default_rng([seed, 2, subject, index])
    plan = plan_clip(rng, valence, arousal)
    return render_clip(who, plan, rng, size=size, frames=frames, fps=fps)


def clip_affect(
    seed: int, subject: int, index: int, valence: float, arousal: float, *, frames: int, fps: float
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the truth of every frame that ``clip_frames`` renders of the same clip: arousal and valence, float32 [F].

    Both grow with the expression, from 0 in the first frame to the clip's own at the end.

    >>> truth = clip_affect(0, 0, 0, -0.8, 0.5, frames=14, fps=15.0)
    >>> [round(float(truth["valence"][k]), 4) for k in (0, 13)]
    [0.0, -0.8]
    """
    plan = plan_clip(np.random.default_rng([seed, 2, subject, index]), valence, arousal)
    shown = [expression_at(plan, frame, fps) for frame in range(frames)]
    # Plus zero: 0 times a negative target is -0.0.
    return {
        "arousal": np.array([face.arousal + 0.0 for face in shown], np.float32),
        "valence": np.array([face.valence + 0.0 for face in shown], np.float32),
    }
