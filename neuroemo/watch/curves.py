"""Valence and arousal over the last seconds: two curves that run from right to left, with the numbers of now."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from neuroemo.watch import theme
from neuroemo.watch.theme import Colour, Picture

WINDOW_S = 10.0
"""Seconds that the curves show."""

_NUMBERS = 148
_ROW = 72
_GAP = 14
_FOOT = 26
_AXIS = 44
_SHIFT = 4

HEIGHT = 2 * _ROW + _GAP + _FOOT


class Curves:
    """The strip below the pictures, ``width`` x ``HEIGHT`` pixels; it holds the estimates of ``WINDOW_S`` seconds."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._points: deque[tuple[float, float, float]] = deque()
        self._empty = self._background()

    def add(self, seconds: float, valence: float, arousal: float) -> None:
        """Add an estimate; forget those that have left the window."""
        self._points.append((seconds, valence, arousal))
        # One point beyond the left end is kept, so that the curve runs in from the edge.
        while len(self._points) > 2 and self._points[1][0] < seconds - WINDOW_S:
            self._points.popleft()

    def draw(self, page: Picture, place: tuple[int, int]) -> None:
        """Draw the strip with its upper left corner at ``place`` (x, y)."""
        left, top = place
        part = page[top : top + HEIGHT, left : left + self._width]
        part[:] = self._empty
        times = [point[0] for point in self._points]
        for row, (column, colour) in enumerate(((1, theme.VALENCE), (2, theme.AROUSAL))):
            values = [point[column] for point in self._points]
            self._curve(part, _middle(row), times, values, colour)
            number = theme.signed(values[-1])
            theme.write(part, number, (_NUMBERS - 18, _middle(row) + 24), 34, colour, face=theme.BOLD, align=1.0)

    def _curve(
        self, part: Picture, middle: int, times: Sequence[float], values: Sequence[float], colour: Colour
    ) -> None:
        import cv2

        first, last, unit = _NUMBERS, self._width - _AXIS, 1 << _SHIFT
        x = last - 8 + (np.array(times) - times[-1]) / WINDOW_S * (last - 8 - first)
        y = middle - np.array(values) * (_ROW / 2 - 3)
        points = np.rint(np.stack([x, y], axis=1) * unit).astype(np.int32)
        inner = part[:, first:last]
        points[:, 0] -= first * unit
        cv2.polylines(inner, [points], False, colour, 2, cv2.LINE_AA, _SHIFT)
        cv2.circle(inner, (int(points[-1, 0]), int(points[-1, 1])), 5 * unit, colour, -1, cv2.LINE_AA, _SHIFT)

    def _background(self) -> Picture:
        import cv2

        empty = np.full((HEIGHT, self._width, 3), theme.CARD, np.uint8)
        first, last = _NUMBERS, self._width - _AXIS
        for row, (name, colour) in enumerate((("Valence", theme.VALENCE), ("Arousal", theme.AROUSAL))):
            middle, half = _middle(row), _ROW // 2
            cv2.rectangle(empty, (first, middle - half), (last - 1, middle + half), theme.WELL, -1)
            for second in range(1, int(WINDOW_S)):
                x = round(last - 8 - second / WINDOW_S * (last - 8 - first))
                cv2.line(empty, (x, middle - half), (x, middle + half), theme.EDGE, 1)
            cv2.line(empty, (first, middle), (last - 1, middle), theme.FAINT, 1)
            theme.write(empty, name, (_NUMBERS - 18, middle - 14), 18, colour, align=1.0)
            for value, word in ((1, "+1"), (0, "0"), (-1, "−1")):
                y = middle - value * (half - 7) + 5
                theme.write(empty, word, (self._width - 8, y), 14, theme.MUTED, align=1.0)
        foot = HEIGHT - 6
        theme.write(empty, f"−{WINDOW_S:g} s", (first, foot), 15, theme.MUTED)
        theme.write(empty, "now", (last, foot), 15, theme.MUTED, align=1.0)
        return empty


def _middle(row: int) -> int:
    return _ROW // 2 + row * (_ROW + _GAP)
