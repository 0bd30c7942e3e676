"""The drawn face: who it is, what it expresses, and the polygons of both.

Coordinates are in units of half the head height, origin between eyes and nose, x to the right and y down.
Nothing here knows of time, camera or label: a picture is a pure function of an identity and an expression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Shape = tuple[Points, float]
"""A polygon ``[n, 2]`` and its gray value 0..255."""

_ARC = np.linspace(-1.0, 1.0, 9)
_BOW = 1.0 - _ARC**2
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
_RING = np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)], axis=1)
_OVAL_ANGLES = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """One subject: looks, the resting face, and how strongly each part of it expresses.

    The resting biases are as large as an expression, so that a still picture says little about the label.
    """

    skin: float
    hair: float
    lip: float
    brow: float
    backdrop_contrast: float
    head_width: float
    jaw_width: float
    eye_x: float
    eye_y: float
    eye_width: float
    brow_gap: float
    brow_thickness: float
    nose: float
    mouth_y: float
    mouth_width: float
    lip_thickness: float
    fringe: float
    rest_mouth: float
    rest_brow: float
    rest_squint: float
    mouth_style: float
    brow_style: float
    squint_style: float


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw the looks of one subject; nothing in it depends on a label."""
    u = rng.uniform
    skin = u(105, 205)
    return Identity(
        skin=skin,
        hair=u(15, 90) if u() < 0.8 else u(150, 215),
        lip=skin * u(0.55, 0.75),
        brow=skin * u(0.25, 0.5),
        backdrop_contrast=u(5, 35),
        head_width=u(0.70, 0.82),
        jaw_width=u(0.80, 0.98),
        eye_x=u(0.29, 0.35),
        eye_y=u(-0.14, -0.06),
        eye_width=u(0.15, 0.19),
        brow_gap=u(0.17, 0.23),
        brow_thickness=u(0.045, 0.075),
        nose=u(0.24, 0.34),
        mouth_y=u(0.50, 0.57),
        mouth_width=u(0.25, 0.33),
        lip_thickness=u(0.03, 0.055),
        fringe=u(-0.72, -0.45),
        rest_mouth=float(np.clip(rng.normal(0.0, 0.7), -1.3, 1.3)),
        rest_brow=float(np.clip(rng.normal(0.0, 0.7), -1.3, 1.3)),
        rest_squint=float(np.clip(rng.normal(0.0, 0.7), -1.3, 1.3)),
        mouth_style=u(0.85, 1.2),
        brow_style=u(0.6, 1.2),
        squint_style=u(0.5, 1.2),
    )


@dataclass(frozen=True, slots=True)
class Expression:
    """The face at one instant: expression, speech, gaze and blink.

    ``valence`` and ``arousal`` are signed strengths, 0 at rest; ``opening`` is the mouth opening and
    ``lid`` the share of the eye that is open (1 open, 0 closed); ``gaze`` is the iris offset (x, y);
    ``pose`` are clip-wise offsets (mouth, brow, squint) that are drawn independently of the label.
    """

    valence: float
    arousal: float
    opening: float
    lid: float
    gaze: tuple[float, float]
    pose: tuple[float, float, float]


def face_shapes(who: Identity, now: Expression) -> list[Shape]:
    """Return the polygons of a face, to be filled in this order."""
    jaw = 0.5 * now.opening
    shapes = _head(who, jaw)
    squint = 0.35 * (who.rest_squint + now.pose[2] + who.squint_style * now.valence)
    for side in (-1.0, 1.0):
        shapes += _eye(who, now, side, squint)
        shapes += _brow(who, now, side)
        shapes += _cheek(who, now, side)
    shapes += _nose(who)
    shapes += _mouth(who, now)
    return shapes


def _head(who: Identity, jaw: float) -> list[Shape]:
    """Return hair, neck, head with the lowered jaw, ears and fringe."""
    x, y = np.cos(_OVAL_ANGLES), np.sin(_OVAL_ANGLES)
    lower = np.clip(y, 0.0, None)
    width = who.head_width * (1.0 - (1.0 - who.jaw_width * 0.9) * lower**2)
    head = np.stack([x * width, y + jaw * lower**2 * 0.35], axis=1)
    hair = np.stack([x * who.head_width * 1.13, y * 1.02 - 0.12], axis=1)
    hair[:, 1] = np.minimum(hair[:, 1], 0.35)
    neck = np.array([[-0.38, 0.6], [0.38, 0.6], [0.42, 2.0], [-0.42, 2.0]])
    top = who.head_width * 0.98
    fringe = np.array([[-top, -0.25], [-top * 0.8, -0.85], [0.0, -1.12], [top * 0.8, -0.85], [top, -0.25]])
    inner = np.array([[top * 0.82, who.fringe], [0.0, who.fringe - 0.08], [-top * 0.82, who.fringe]])
    return [
        (hair, who.hair),
        (neck, who.skin * 0.72),
        (head, who.skin),
        (np.concatenate([fringe, inner]), who.hair),
    ]


def _eye(who: Identity, now: Expression, side: float, squint: float) -> list[Shape]:
    """Return eyeball, iris, and the two lids that cover them; the lids carry aperture, squint and blink."""
    centre = np.array([side * who.eye_x, who.eye_y])
    half = who.eye_width
    aperture = float(np.clip(0.085 + 0.03 * now.arousal, 0.03, 0.14)) * now.lid
    upper = centre[1] - aperture * _BOW
    lower = centre[1] + (0.06 - 0.055 * float(np.clip(squint, -0.9, 0.9))) * _BOW * now.lid
    columns = centre[0] + half * _ARC
    ball = np.stack([np.r_[columns, columns[::-1]], np.r_[upper, lower[::-1]]], axis=1)
    offset = np.array(now.gaze) * (0.05, 0.025)
    iris = centre + offset + _RING * 0.062
    brink = centre[1] - 0.16 * _BOW - 0.01
    base = centre[1] + 0.16 * _BOW + 0.01
    lid = np.stack([np.r_[columns, columns[::-1]], np.r_[upper, brink[::-1]]], axis=1)
    bag = np.stack([np.r_[columns, columns[::-1]], np.r_[lower, base[::-1]]], axis=1)
    lash = np.stack([np.r_[columns, columns[::-1]], np.r_[upper - 0.02, upper[::-1] + 0.012]], axis=1)
    white = min(255.0, who.skin * 0.5 + 125.0)
    return [
        (ball, white),
        (iris, who.brow * 0.6),
        (lid, who.skin * 0.93),
        (bag, who.skin * 0.96),
        (lash, who.brow * 0.7),
    ]


def _brow(who: Identity, now: Expression, side: float) -> list[Shape]:
    """Return one brow: positive valence lifts its inner end, negative draws it down (a frown)."""
    tilt = who.rest_brow + now.pose[1] + who.brow_style * now.valence
    lift = 0.035 * now.arousal
    inner = np.array([side * (who.eye_x - 0.17), who.eye_y - who.brow_gap - lift - 0.07 * tilt])
    outer = np.array([side * (who.eye_x + 0.19), who.eye_y - who.brow_gap - lift + 0.04 * tilt])
    bow = np.stack([np.zeros_like(_ARC), -0.05 * _BOW], axis=1)
    along = (_ARC[:, None] + 1.0) / 2.0
    middle = inner + along * (outer - inner) + bow
    thick = np.stack([np.zeros_like(_ARC), who.brow_thickness * (1.0 - 0.35 * along[:, 0])], axis=1)
    return [(np.concatenate([middle - thick / 2, (middle + thick / 2)[::-1]]), who.brow)]


def _cheek(who: Identity, now: Expression, side: float) -> list[Shape]:
    """Return the line from nose to mouth corner; a smile pushes it up and out."""
    curve = who.rest_mouth + now.pose[0] + who.mouth_style * now.valence
    top = np.array([side * 0.16, who.eye_y + who.nose + 0.12])
    end = np.array([side * (who.mouth_width + 0.08 + 0.02 * curve), who.mouth_y - 0.04 - 0.07 * curve])
    width = np.array([0.014, 0.006])
    return [(np.stack([top - width, end - width, end + width, top + width]), who.skin * 0.85)]


def _nose(who: Identity) -> list[Shape]:
    y = who.eye_y
    bridge = np.array([[-0.035, y + 0.05], [-0.075, y + who.nose], [0.0, y + who.nose + 0.04]])
    tip = np.array([[-0.10, y + who.nose + 0.03], [0.10, y + who.nose + 0.03], [0.0, y + who.nose + 0.10]])
    return [(bridge, who.skin * 0.88), (tip, who.skin * 0.75)]


def _mouth(who: Identity, now: Expression) -> list[Shape]:
    """Return lips and opening; ``valence`` bends the corners up (positive) or down."""
    curve = who.rest_mouth + now.pose[0] + who.mouth_style * now.valence
    half = who.mouth_width * (1.0 + 0.10 * curve - 0.12 * now.opening)
    columns = half * _ARC
    middle = who.mouth_y - 0.10 * curve * (_ARC**2 - 0.4)
    gap = 0.30 * now.opening * _BOW
    lip = who.lip_thickness * (0.35 + 0.65 * _BOW)
    upper, lower = middle - 0.3 * gap, middle + 0.7 * gap
    both = np.r_[columns, columns[::-1]]
    lips = np.stack([both, np.r_[upper - lip, (lower + 1.2 * lip)[::-1]]], axis=1)
    slit = np.stack([both * 0.96, np.r_[upper - 0.008, (lower + 0.008)[::-1]]], axis=1)
    return [(lips, who.lip), (slit, who.lip * 0.35)]
