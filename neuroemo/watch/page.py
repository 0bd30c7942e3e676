"""One page of the film, 1280 x 720 pixels: the video, its events, the wheel of emotions, and two curves below."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from neuroemo.events.preview import BACKGROUND, OFF_COLOUR, ON_COLOUR, draw_events
from neuroemo.watch import theme
from neuroemo.watch.curves import HEIGHT as STRIP
from neuroemo.watch.curves import Curves
from neuroemo.watch.theme import Picture
from neuroemo.watch.wheel import SIDE, draw_wheel

if TYPE_CHECKING:
    from neuroemo.watch.binary_stream import Events

WIDTH, HEIGHT = 1280, 720
TRAIL_S = 2.0
"""Seconds of the trail behind the point."""

_EDGE = 20
_PAD = 8
_HEAD = 62
_TITLE = 42
_CARD = SIDE + 2 * _PAD
_TOP = _HEAD + _TITLE


class Pages:
    """Draws the pages of one film in order of time.

    ``name`` and ``model`` stand in the head. ``proportions`` (width, height) are those of the video as shown, None for
    a recording, which has no picture; ``sensor`` (width, height) are the pixels of the events.
    """

    def __init__(self, name: str, model: str, sensor: tuple[int, int], proportions: tuple[int, int] | None) -> None:
        self._sensor = sensor
        self._video = proportions
        wide = _CARD if proportions is not None else 2 * _CARD + _EDGE
        self._events_left = 2 * _EDGE + _CARD if proportions is not None else _EDGE
        self._events_room = (wide - 2 * _PAD, SIDE)
        # The camera's square is stretched to the video's proportions: a face beside its events should look alike.
        self._events_size = _fitted(proportions or sensor, self._events_room)
        self._wheel_left = WIDTH - _EDGE - _CARD + _PAD
        self._curves = Curves(WIDTH - 2 * _EDGE - 2 * _PAD)
        self._trail: deque[tuple[float, float, float]] = deque()
        self._empty = self._background(name, model, wide)

    def estimate(self, seconds: float, valence: float, arousal: float) -> None:
        """Take an estimate in, of a moment that may or may not get a page."""
        self._curves.add(seconds, valence, arousal)
        self._trail.append((seconds, valence, arousal))
        while self._trail[0][0] < seconds - TRAIL_S:
            self._trail.popleft()

    def page(self, seconds: float, picture: Picture | None, events: Events) -> Picture:
        """Return the page uint8 [HEIGHT, WIDTH, 3] of the last estimate; ``seconds`` is what its clock shows."""
        page = self._empty.copy()
        theme.write(page, theme.clock(seconds), (WIDTH - _EDGE, 42), 26, face=theme.BOLD, align=1.0)
        if picture is not None and self._video is not None:
            _place(page, _resized(picture, _fitted(self._video, (SIDE, SIDE))), (_EDGE + _PAD, _TOP), (SIDE, SIDE))
        drawn = draw_events(events, (*self._sensor, 2), *self._events_size)
        _place(page, drawn, (self._events_left + _PAD, _TOP), self._events_room)
        right = self._events_left + _PAD + self._events_room[0]
        width = theme.write(page, " in this frame", (right - 4, _HEAD + 29), 15, theme.MUTED, align=1.0)
        theme.write(page, f"{len(events):,}", (right - 4 - width - 5, _HEAD + 29), 15, theme.INK, align=1.0)
        draw_wheel(page, [(valence, arousal) for _, valence, arousal in self._trail], (self._wheel_left, _TOP))
        self._curves.draw(page, (_EDGE + _PAD, HEIGHT - STRIP - 12))
        return page

    def _background(self, name: str, model: str, wide: int) -> Picture:
        import cv2

        page = np.full((HEIGHT, WIDTH, 3), theme.PAGE, np.uint8)
        room = WIDTH - 2 * _EDGE - 170
        used = theme.write(page, _shortened(name, room // 2, 22), (_EDGE, 42), 22, face=theme.BOLD)
        theme.write(page, _shortened(model, room - used - 24, 17), (_EDGE + used + 24, 42), 17, theme.MUTED)
        if self._video is not None:
            theme.card(page, _EDGE, _HEAD, _CARD, _TITLE + SIDE + _PAD)
            theme.write(page, "Video", (_EDGE + _PAD + 4, _HEAD + 29), 18, face=theme.BOLD)
            page[_TOP : _TOP + SIDE, _EDGE + _PAD : _EDGE + _PAD + SIDE] = theme.WELL
        left = self._events_left
        theme.card(page, left, _HEAD, wide, _TITLE + SIDE + _PAD)
        page[_TOP : _TOP + SIDE, left + _PAD : left + wide - _PAD] = BACKGROUND
        at = left + _PAD + 4 + theme.write(page, "Events", (left + _PAD + 4, _HEAD + 29), 18, face=theme.BOLD) + 18
        for word, colour in (("ON", ON_COLOUR), ("OFF", OFF_COLOUR)):
            cv2.rectangle(page, (at, _HEAD + 16), (at + 12, _HEAD + 28), colour, -1)
            at += 20 + theme.write(page, word, (at + 18, _HEAD + 29), 16, colour) + 14
        theme.card(page, self._wheel_left - _PAD, _HEAD, _CARD, _TITLE + SIDE + _PAD)
        theme.write(page, "Wheel of emotions", (self._wheel_left + 4, _HEAD + 29), 18, face=theme.BOLD)
        low = _TOP + SIDE + _PAD + 12
        theme.card(page, _EDGE, low, WIDTH - 2 * _EDGE, HEIGHT - low - 8)
        return page


def _fitted(proportions: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (width, height) of these proportions within a room.

    >>> _fitted((1080, 1920), (384, 384)), _fitted((2000, 10), (384, 384))
    ((216, 384), (384, 2))
    """
    scale = min(room[0] / proportions[0], room[1] / proportions[1])
    width, height = (max(1, round(side * scale)) for side in proportions)
    return width, height


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    import cv2

    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _place(page: Picture, picture: Picture, corner: tuple[int, int], room: tuple[int, int]) -> None:
    """Put a picture into the middle of a room, leaving the rest as it is."""
    left = corner[0] + (room[0] - picture.shape[1]) // 2
    top = corner[1] + (room[1] - picture.shape[0]) // 2
    page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def _shortened(text: str, room: int, size: int) -> str:
    """Return a text that fits into so many pixels, its middle left out if it must be; control characters show as ?."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    if theme.text_width(clean, size, theme.BOLD) <= room:
        return clean

    def without_middle(keep: int) -> str:
        return f"{clean[: keep - keep // 3]}…{clean[len(clean) - keep // 3 :]}"

    few, many = 0, len(clean)
    while many - few > 1:
        keep = (few + many) // 2
        few, many = (keep, many) if theme.text_width(without_middle(keep), size, theme.BOLD) <= room else (few, keep)
    return without_middle(few)
