"""The wheel of emotions: a point on the plane of valence (to the right) and arousal (up), and eight names around it.

The names are those of Mikels et al. (Behavior Research Methods 37, 2005), on the unit circle as in Fig. 1 of
"Neuromorphic Valence and Arousal Estimation", whose text gives no angles. Ours are a drawing convention, by two rules:
the four positive emotions stand on the right and the four negative ones on the left, one every 45 degrees; on either
side from the top to the bottom by falling arousal. No number that NeuroEmo prints depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from neuroemo.watch import theme
from neuroemo.watch.theme import Colour, Picture

ANGLES: dict[str, float] = {
    "amusement": 22.5,
    "excitement": 67.5,
    "fear": 112.5,
    "anger": 157.5,
    "disgust": 202.5,
    "sadness": 247.5,
    "contentment": 292.5,
    "awe": 337.5,
}
"""Degrees from the axis of valence, counter-clockwise."""

COLOURS: dict[str, Colour] = {
    "amusement": (240, 180, 40),
    "excitement": (232, 130, 40),
    "fear": (140, 95, 165),
    "anger": (200, 75, 75),
    "disgust": (115, 125, 95),
    "sadness": (75, 115, 180),
    "contentment": (45, 150, 140),
    "awe": (110, 165, 70),
}
NEUTRAL = 0.1
"""Within this distance from the origin no emotion is marked: a direction means nothing there."""

SIDE = 384
"""Height and width of the wheel in pixels."""
RADIUS = 154
"""Pixels from valence 0 to valence 1."""
_CENTRE = SIDE // 2
_RING = (162, 190)
_SCALE = 4
_SHIFT = 4
_POINT = theme.INK


def direction(valence: float, arousal: float) -> str | None:
    """Return the emotion whose direction is nearest, None within ``NEUTRAL`` of the origin.

    >>> direction(0.5, 0.1), direction(-0.2, -0.6), direction(0.05, 0.0)
    ('amusement', 'sadness', None)
    """
    if math.hypot(valence, arousal) < NEUTRAL:
        return None
    angle = math.degrees(math.atan2(arousal, valence)) % 360
    return min(ANGLES, key=lambda name: abs((angle - ANGLES[name] + 180) % 360 - 180))


def draw_wheel(page: Picture, trail: Sequence[tuple[float, float]], place: tuple[int, int]) -> None:
    """Draw the wheel with its upper left corner at ``place`` (x, y), and the trail that ends with the point now.

    ``trail`` is (valence, arousal), the oldest first, at least one.
    """
    import cv2

    left, top = place
    part = page[top : top + SIDE, left : left + SIDE]
    part[:] = _background(direction(*trail[-1]))
    points = [_fixed(valence, arousal) for valence, arousal in trail]
    for number, (a, b) in enumerate(pairwise(points)):
        age = 1 - (number + 1) / len(points)
        width = 4 if age < 0.35 else 3 if age < 0.7 else 2
        cv2.line(part, a, b, theme.mixed(_POINT, theme.CARD, 0.25 + 0.7 * age), width, cv2.LINE_AA, _SHIFT)
    now = points[-1]
    origin = _fixed(0.0, 0.0)
    cv2.line(part, now, (now[0], origin[1]), theme.VALENCE, 1, cv2.LINE_AA, _SHIFT)
    cv2.line(part, now, (origin[0], now[1]), theme.AROUSAL, 1, cv2.LINE_AA, _SHIFT)
    cv2.line(part, origin, (now[0], origin[1]), theme.VALENCE, 3, cv2.LINE_AA, _SHIFT)
    cv2.line(part, origin, (origin[0], now[1]), theme.AROUSAL, 3, cv2.LINE_AA, _SHIFT)
    for radius, colour in ((11, theme.CARD), (9, _POINT)):
        cv2.circle(part, now, radius << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)


def _fixed(valence: float, arousal: float) -> tuple[int, int]:
    """Return the place in sixteenths of a pixel."""
    unit = 1 << _SHIFT
    return round((_CENTRE + valence * RADIUS) * unit), round((_CENTRE - arousal * RADIUS) * unit)


@lru_cache(maxsize=len(ANGLES) + 1)
def _background(marked: str | None) -> Picture:
    """Return the wheel without its point, uint8 [SIDE, SIDE, 3]; drawn large and made smaller, so it is smooth."""
    import cv2

    large = np.full((SIDE * _SCALE, SIDE * _SCALE, 3), theme.CARD, np.uint8)
    centre = (_CENTRE * _SCALE, _CENTRE * _SCALE)
    middle, width = (_RING[0] + _RING[1]) * _SCALE // 2, (_RING[1] - _RING[0]) * _SCALE
    for name, angle in ANGLES.items():
        colour, strong = COLOURS[name], name == marked
        inside = theme.mixed(theme.CARD, colour, 0.14 if strong else 0.05)
        # OpenCV's angles run clockwise, because its rows run down.
        cv2.ellipse(large, centre, (RADIUS * _SCALE,) * 2, 0, -angle - 23, -angle + 23, inside, -1, cv2.LINE_AA)
        _band(large, centre, -angle, middle, width, theme.mixed(theme.CARD, colour, 1.0 if strong else 0.28))
        _curved(large, name, angle, middle, theme.CARD if strong else theme.mixed(colour, theme.INK, 0.55))
    _axes(large, centre)
    return np.asarray(cv2.resize(large, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _band(large: Picture, centre: tuple[int, int], angle: float, middle: int, width: int, colour: Colour) -> None:
    """Fill the 44 degrees of a ring around an angle."""
    import cv2

    angles = np.radians(np.linspace(angle - 22, angle + 22, 60))
    edges = [np.stack([np.cos(angles), np.sin(angles)], axis=1) * (middle + side * width / 2) for side in (-1, 1)]
    outline = np.concatenate([edges[0], edges[1][::-1]]) + np.array(centre)
    cv2.fillPoly(large, [np.rint(outline).astype(np.int32)], colour, cv2.LINE_AA)


def _curved(large: Picture, text: str, angle: float, radius: int, colour: Colour) -> None:
    """Write along the ring, letters upright: their heads point outwards above the middle, inwards below it."""
    import cv2

    size = 16 * _SCALE
    cover, base = theme.inked(text, size)
    waist = base - round(0.27 * size)  # the row in the middle of a small letter
    middle, half = large.shape[0] // 2, max(cover.shape) // 2 + _SCALE
    at_x, at_y = (round(radius * part(math.radians(angle))) for part in (math.cos, math.sin))
    y, x = np.mgrid[-half - at_y : half - at_y, at_x - half : at_x + half].astype(np.float32)
    turn = (np.degrees(np.arctan2(-y, x)) - angle + 180) % 360 - 180
    upper = 1 if angle < 180 else -1
    column = cover.shape[1] / 2 - upper * np.radians(turn) * radius
    row = waist - upper * (np.hypot(x, y) - radius)
    bent = cv2.remap(cover, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)
    corner = (middle + at_x - half, middle - at_y - half)
    theme.blend(large, np.asarray(bent, dtype=np.uint8), corner, colour)


def _axes(large: Picture, centre: tuple[int, int]) -> None:
    import cv2

    reach, (x, y) = RADIUS * _SCALE, centre
    for share, colour in ((1.0, theme.FAINT), (0.5, theme.EDGE)):
        cv2.circle(large, centre, round(reach * share), colour, _SCALE, cv2.LINE_AA)
    cv2.line(large, (x - reach, y), (x + reach, y), theme.FAINT, _SCALE, cv2.LINE_AA)
    cv2.line(large, (x, y - reach), (x, y + reach), theme.FAINT, _SCALE, cv2.LINE_AA)
    size = 15 * _SCALE
    theme.write(large, "valence", (x + reach - 6 * _SCALE, y + 19 * _SCALE), size, theme.VALENCE, align=1.0)
    theme.write(large, "arousal", (x + 8 * _SCALE, y - reach + 20 * _SCALE), size, theme.AROUSAL)
