"""The gallery: every picture is recomputed by hand from the events, and both files hold all of them."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.gallery import (
    COLUMNS,
    GAP,
    PANEL,
    GalleryPanel,
    _dark,
    _mosaic,
    _signed,
    between,
    face_gallery,
    gallery,
    write_gallery,
)
from neuroemo.events.pixel.settings import preset
from neuroemo.events.pixel.simulator import simulate_pixels
from neuroemo.events.preview import OFF_COLOUR, ON_COLOUR

DOCS = Path(__file__).resolve().parents[2] / "docs"
TITLES = ["video", "frame differences, Sens 0.02", "pixel model, clean", "pixel model, noisy"]
TITLES += ["TBR", "histogram, ON - OFF", "voxel grid", "time surface"]


def bar(count=8, size=24):
    frames = np.full((count, size, size), 60, np.uint8)
    for n, frame in enumerate(frames):
        frame[:, 2 * n : 2 * n + 4] = 220
    return frames


@pytest.fixture(scope="module")
def shown():
    return bar(), gallery(bar(), 20.0, number=6)


def of(panels, title):
    return next(panel for panel in panels if panel.title.startswith(title)).picture


def refusal(call, *arguments, **named):
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_all_eight_in_order(shown):
    _, panels = shown
    assert [panel.title for panel in panels] == TITLES
    assert all(panel.note and panel.picture.dtype == np.uint8 for panel in panels)
    assert (of(panels, "video") == shown[0][6][:, :, None]).all()


def test_frame_differences_by_hand(shown):
    frames, panels = shown
    step = frames[6].astype(int) - frames[5]
    picture = of(panels, "frame differences")
    assert np.array_equal((picture == ON_COLOUR).all(-1), step > 5)
    assert np.array_equal((picture == OFF_COLOUR).all(-1), step < -5)
    note = next(panel.note for panel in panels if panel.title.startswith("frame differences"))
    assert note == "48 ON, 48 OFF in 50 ms"


def test_representations_by_brute_force(shown):
    """The events of frames 2 to 6 (100 to 300 ms) event by event, without the functions under test."""
    frames, panels = shown
    events, _ = simulate_pixels(frames, [50_000 * n for n in range(8)], preset("clean"))
    net, code, last = np.zeros((24, 24)), np.zeros((24, 24), int), {}
    for t, x, y, p in events.tolist():
        if 100_000 < t <= 300_000:
            net[y, x] += 1 if p else -1
            code[y, x] |= 1 << -(-(t - 100_000) // 25_000) - 1
            last[y, x, p] = t
    assert np.array_equal(of(panels, "histogram"), _signed(net))
    assert np.array_equal(of(panels, "TBR"), _dark(code / 256))
    surface = np.zeros((24, 24))
    for y, x in np.ndindex(24, 24):
        on, off = (np.exp(-(300_000 - last.get((y, x, p), -1e12)) / 100_000) for p in (True, False))
        surface[y, x] = on if on >= off else -off
    assert np.abs(of(panels, "time surface").astype(int) - _signed(surface, 1.0)).max() <= 1
    voxel = of(panels, "voxel grid")
    assert voxel.shape == (48, 48, 3)
    touched = (voxel.reshape(2, 24, 2, 24, 3) != 255).any((0, 2, 4))
    assert touched[net != 0].all()
    silent = [(y, x) for y, x in np.ndindex(24, 24) if not {(y, x, True), (y, x, False)} & last.keys()]
    assert silent
    assert not any(touched[place] for place in silent)


def test_colours():
    assert _signed(np.array([[1.0, -0.5, 0.0]]), 2.0)[0].tolist() == [[128, 184, 216], [244, 215, 191], [255] * 3]
    assert _signed(np.zeros((1, 2))).tolist() == [[[255] * 3] * 2]
    assert _dark(np.array([[0.0, 1.0]])).tolist() == [[[255, 255, 255], [0, 30, 60]]]
    assert _mosaic(np.arange(4).reshape(4, 1, 1)).tolist() == [[0, 1], [2, 3]]


def test_between_takes_the_end_and_not_the_start():
    events = np.array([(t, 0, 0, True) for t in (5, 10, 10, 15, 20, 21)], EVENT_DTYPE)
    assert between(events, (10, 20))["t"].tolist() == [15, 20]


def test_png_shows_every_panel_at_its_place(shown, tmp_path):
    _, panels = shown
    write_gallery(tmp_path / "a.png", panels)
    page = cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1]
    for index, panel in enumerate(panels):
        left = GAP + index % COLUMNS * (PANEL + GAP)
        top = GAP + index // COLUMNS * (PANEL + 44 + GAP)
        wanted = cv2.resize(panel.picture, (PANEL, PANEL), interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(page[top : top + PANEL, left : left + PANEL], wanted)
        assert (page[top + PANEL + 4 : top + PANEL + 40, left : left + PANEL] < 100).any(), "a caption"


def test_svg_is_sound_and_holds_the_pictures(shown, tmp_path):
    _, panels = shown
    odd = GalleryPanel("<a> & b", 'note "x"', panels[0].picture)
    write_gallery(tmp_path / "a.svg", [*panels, odd])
    text = (tmp_path / "a.svg").read_text()
    root = ElementTree.fromstring(text)
    space = {"s": "http://www.w3.org/2000/svg"}
    titles = [node.text for node in root.findall("s:text", space)][::2]
    assert titles == [*TITLES, "<a> & b"]
    data = [base64.b64decode(part) for part in re.findall(r"base64,([^\"]+)", text)]
    for panel, png in zip(panels, data, strict=False):
        assert np.array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1], panel.picture)


def test_the_picture_in_docs_is_this_gallery(tmp_path):
    panels = face_gallery()
    write_gallery(tmp_path / "a.svg", panels)
    kept = ElementTree.fromstring((DOCS / "events-gallery.svg").read_text())
    made = ElementTree.fromstring((tmp_path / "a.svg").read_text())
    assert len(kept) == len(made)
    # Counts may differ by OpenCV's version; what is shown may not.
    space = {"s": "http://www.w3.org/2000/svg"}
    assert [n.text for n in kept.findall("s:text", space)][::2] == [n.text for n in made.findall("s:text", space)][::2]
    assert cv2.imread(str(DOCS / "events-gallery.png")).shape == (648, 1104, 3)


def test_refusals(shown, tmp_path):
    _, panels = shown
    assert "E786 frames: float64 [8, 24, 24]; limit gray uint8" in refusal(gallery, bar() / 255, 20.0, number=6)
    assert "E786 frames: uint8 [8, 24, 20]" in refusal(gallery, bar()[:, :, :20], 20.0, number=6)
    assert "E786 number: frame 3, window 4" in refusal(gallery, bar(), 20.0, number=3)
    assert "E786 number: frame 8" in refusal(gallery, bar(), 20.0, number=8)
    assert len(gallery(bar(), 20.0, number=4)) == 8
    assert "E789" in refusal(write_gallery, tmp_path / "a.jpg", panels)
    assert "0 pictures" in refusal(write_gallery, tmp_path / "a.png", [])
    assert "cannot be written" in refusal(write_gallery, tmp_path / "no" / "a.png", panels)
