"""What the pages show stands where it should: points, trails, curves, pictures, words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.preview import OFF_COLOUR, ON_COLOUR
from neuroemo.watch import theme
from neuroemo.watch.curves import HEIGHT, Curves
from neuroemo.watch.page import Pages, _fitted, _shortened
from neuroemo.watch.wheel import ANGLES, SIDE, direction, draw_wheel


def places(page, colour, tolerance=6):
    """The rows and columns of all pixels of a colour."""
    return np.nonzero((np.abs(page.astype(int) - colour) <= tolerance).all(axis=2))


def middle(page, colour):
    rows, columns = places(page, colour)
    return columns.mean(), rows.mean()


@pytest.mark.parametrize(("valence", "arousal"), [(1, 0), (0, 1), (-1, 0), (0, -1), (0.5, 0.5), (1, 1), (-0.25, -0.75)])
def test_the_point_stands_at_valence_to_the_right_and_arousal_up(valence, arousal):
    page = np.zeros((SIDE, SIDE, 3), np.uint8)
    draw_wheel(page, [(valence, arousal)], (0, 0))
    x, y = middle(page, theme.INK)
    assert (x, y) == (pytest.approx(192 + 154 * valence, abs=1.0), pytest.approx(192 - 154 * arousal, abs=1.0))


def test_the_names_go_round_by_quarters_of_valence_and_arousal():
    positive, negative = {"amusement", "excitement", "awe", "contentment"}, {"anger", "disgust", "fear", "sadness"}
    assert set(ANGLES) == positive | negative
    assert {name for name, angle in ANGLES.items() if math.cos(math.radians(angle)) > 0} == positive
    assert sorted(ANGLES.values()) == [22.5 + 45 * number for number in range(8)]
    corners = {(1, 2): "excitement", (2, 1): "amusement", (2, -1): "awe", (1, -2): "contentment"}
    corners |= {(-1, 2): "fear", (-2, 1): "anger", (-2, -1): "disgust", (-1, -2): "sadness"}
    assert {corner: direction(corner[0] / 3, corner[1] / 3) for corner in corners} == corners
    assert direction(0.06, 0.06) is None
    assert direction(0.08, 0.08) == "amusement"


def test_the_sector_of_the_point_is_marked_in_its_colour():
    from neuroemo.watch.wheel import COLOURS

    for name, angle in ANGLES.items():
        page = np.zeros((SIDE, SIDE, 3), np.uint8)
        draw_wheel(page, [(0.6 * math.cos(math.radians(angle)), 0.6 * math.sin(math.radians(angle)))], (0, 0))
        x, y = middle(page, COLOURS[name])
        # The middle of an arc of 45 degrees lies a little inside of it.
        assert math.degrees(math.atan2(192 - y, x - 192)) % 360 == pytest.approx(angle, abs=3)
        assert math.hypot(x - 192, y - 192) == pytest.approx(172, abs=6)


def test_the_trail_fades_towards_its_old_end():
    page = np.zeros((SIDE, SIDE, 3), np.uint8)
    draw_wheel(page, [(-0.8 + 0.02 * number, -0.4) for number in range(60)], (0, 0))
    row = round(192 + 154 * 0.4)
    gray = [int(page[row, round(192 + 154 * value)].mean()) for value in (-0.75, -0.4, 0.0, 0.3)]
    assert gray == sorted(gray, reverse=True)
    assert gray[0] > 150 > 120 > gray[-1]


def test_the_curves_hold_the_last_ten_seconds():
    curves = Curves(1000)
    for number in range(1000):
        curves.add(number * 0.04, 0.5, -1.0)
    assert len(curves._points) <= 10 / 0.04 + 3
    page = np.zeros((HEIGHT, 1000, 3), np.uint8)
    curves.draw(page, (0, 0))
    rows, columns = places(page[:, 148:956], theme.VALENCE)
    assert (columns.min(), columns.max()) == (0, pytest.approx(956 - 8 - 148 + 5, abs=1))
    assert np.median(rows) == pytest.approx(36 - 0.5 * 33, abs=1)
    rows, _ = places(page[:, 148:956], theme.AROUSAL)
    assert np.median(rows) == pytest.approx(36 + 86 + 33, abs=1)


def test_a_curve_that_began_two_seconds_ago_covers_two_seconds():
    curves = Curves(1000)
    for number in range(51):
        curves.add(5 + number * 0.04, 0.0, 0.0)
    page = np.zeros((HEIGHT, 1000, 3), np.uint8)
    curves.draw(page, (0, 0))
    _, columns = places(page[:, 148:948], theme.VALENCE)
    assert columns.min() == pytest.approx(800 * 0.8, abs=2)


def events_at(*rows):
    return np.array(list(rows), EVENT_DTYPE)


@pytest.mark.parametrize(
    ("shape", "box"), [((384, 384), (384, 384)), ((216, 384), (216, 384)), ((384, 100), (384, 100))]
)
def test_picture_and_events_are_letterboxed_alike(shape, box):
    picture = np.full((shape[1], shape[0], 3), (10, 200, 30), np.uint8)
    pages = Pages("a.mp4", "a model", (2, 2), shape)
    pages.estimate(0.04, 0.0, 0.0)
    page = pages.page(0.04, picture, events_at((0, 0, 0, 1), (0, 1, 1, 0)))
    rows, columns = places(page, (10, 200, 30))
    assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == box
    assert columns.mean() == pytest.approx(28 + 191.5, abs=0.6)
    assert rows.mean() == pytest.approx(104 + 191.5, abs=0.6)
    inside = page[104 : 104 + 384, 448 : 448 + 384]
    # Upper left pixel ON, lower right OFF, each a quarter of the box around the middle.
    for colour, side in ((ON_COLOUR, -1), (OFF_COLOUR, 1)):
        x, y = middle(inside, colour)
        assert (x, y) == (
            pytest.approx(191.5 + side * box[0] / 4, abs=1), pytest.approx(191.5 + side * box[1] / 4, abs=1),
        )  # fmt: skip


def test_a_recording_has_the_room_of_two_for_its_events():
    pages = Pages("a.raw", "a model", (200, 100), None)
    pages.estimate(0.04, 0.0, 0.0)
    page = pages.page(0.04, None, events_at(*((0, x, y, 1) for x in range(200) for y in range(100))))
    rows, columns = places(page[104 : 104 + 384], ON_COLOUR)
    assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == (768, 384)


def test_words_are_inside_of_the_page_whatever_the_names():
    blank = Pages("", "", (2, 2), (4, 4))._empty
    for name in ("x" * 400, "Grüße 🙂\n\x1b[31m" * 30):
        page = Pages(name, "m" * 300, (2, 2), (4, 4))._empty
        changed = np.nonzero((page != blank).any(axis=2))
        assert changed[0].max() < 60
        # The clock keeps its place.
        assert changed[1].max() < 1280 - 20 - 165
        assert changed[1].min() >= 18
    assert _shortened("a\x1b[31m\u202eb", 500, 20) == "a?[31m?b"
    assert _shortened("abcdefghijklmnopqrstuvwxyz", 150, 20).count("…") == 1


def test_text_stands_on_its_line():
    page = np.full((60, 300, 3), 255, np.uint8)
    for text, x in (("H", 10), ("Hg", 60), ("g", 150), ("H.,", 200)):
        theme.write(page, text, (x, 40), 24)
    rows = np.nonzero((page[:, 10:40] < 128).any(axis=(1, 2)))[0]
    assert rows.max() in (39, 40)
    for low, high in ((60, 78), (200, 220)):
        letter = np.nonzero((page[:, low:high] < 128).any(axis=(1, 2)))[0]
        assert letter.max() == rows.max(), "letters of one line stand on one row, whatever hangs below"
    assert np.nonzero((page[:, 150:180] < 128).any(axis=(1, 2)))[0].max() > 42


def test_alignment():
    page = np.full((40, 300, 3), 255, np.uint8)
    width = theme.write(page, "+0.50", (200, 30), 20, align=1.0)
    columns = np.nonzero((page < 128).any(axis=(0, 2)))[0]
    assert 200 - width <= columns.min()
    assert columns.max() < 200
    assert theme.text_width("+0.50", 20) == theme.text_width("−0.99", 20) == width


def test_a_page_larger_than_its_room_is_fitted():
    assert _fitted((346, 260), (804, 384)) == (511, 384)
    assert _fitted((1, 5000), (384, 384)) == (1, 384)
