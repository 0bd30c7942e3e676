"""The facts of a recording against counts made by hand, and the drawing against what a browser would read."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import readers_make as make

from hw_targets.finding import Finding, InputError
from neuroemo.events.readers import EventFile
from neuroemo.events.show import (
    accumulated_image,
    draw_events,
    event_counts,
    hot_pixels,
    rate_over_time,
    save_drawing,
    show_events,
    show_text,
)

SMALL = EventFile(
    make.array((1000, 0, 0, 1), (1000, 3, 1, 1), (6000, 3, 1, 0), (31_000, 3, 1, 1), (51_000, 2, 0, 1)),
    (4, 2, 2),
    {"path": "a.raw", "format": "EVT 3"},
)
EMPTY = EventFile(make.array(), (4, 2, 2))


def test_facts_counted_by_hand():
    facts = show_events(SMALL)
    assert facts["sensor"] == {"width": 4, "height": 2}
    assert (facts["events"], facts["first_us"], facts["last_us"]) == (5, 1000, 51_000)
    assert facts["duration_s"] == 0.05
    assert facts["events_per_s"] == pytest.approx(100.0)
    assert facts["on_share"] == 0.8
    assert facts["active_pixels_share"] == 3 / 8
    # windows of 10 ms from 1 ms on: [1, 11) three events, [31, 41) one, [51, 61) one, three of six empty
    assert facts["silent_share"] == 0.5
    assert facts["hot_pixels"]["count"] == 0


def test_an_empty_recording_has_no_rate_and_no_balance():
    facts = show_events(EMPTY)
    assert facts["events"] == 0
    assert [facts[name] for name in ("events_per_s", "on_share", "silent_share", "first_us")] == [None] * 4
    assert "undefined" in show_text(facts)
    assert draw_events(EMPTY).startswith("<svg")


def test_a_single_moment_has_no_rate():
    facts = show_events(EventFile(make.array((7, 0, 0, 1)), (4, 2, 2)))
    assert facts["events_per_s"] is None
    assert facts["silent_share"] == 0.0


def test_counts_put_rows_and_polarities_where_they_belong():
    counts = event_counts(SMALL)
    assert counts.shape == (2, 2, 4)
    assert counts[0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 2]]
    assert counts[1].tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]


def test_hot_pixels_are_those_beyond_ten_times_the_mean_and_five_deviations():
    counts = np.zeros((2, 40, 50), np.int64)
    counts[0] = 1
    counts[1, 7, 9] = 30  # mean over 2000 active pixels: 2030 / 2000 = 1.015; threshold 10.15
    counts[0, 3, 4] = 10  # 10 < threshold
    hot = hot_pixels(counts)
    mean = (2000 + 30 + 9) / 2000
    assert hot.threshold == pytest.approx(max(10 * mean, mean + 5 * mean**0.5))
    assert hot.pixels == ((9, 7, 31),)
    assert hot.share_of_events == pytest.approx(31 / 2039)


def test_poisson_noise_alone_has_no_hot_pixels():
    rng = np.random.default_rng(0)
    for mean in (0.05, 1.0, 50.0):
        assert hot_pixels(rng.poisson(mean, (2, 100, 100))).pixels == ()


def test_the_rate_over_time_keeps_every_event():
    recording = EventFile(make.random_events(1000), make.SENSOR)
    edges, rates = rate_over_time(recording, 50)
    window = (edges[-1] - edges[0]) / 50
    assert rates.sum() * window == pytest.approx(1000)
    assert rates[0].sum() * window == pytest.approx(np.count_nonzero(recording.events["p"]))


def test_the_text_says_it_all():
    finding = Finding("W773", "warning", "a.raw", "3 events dropped")
    text = show_text(show_events(EventFile(SMALL.events, SMALL.sensor_size, SMALL.meta, (finding,))))
    for words in ("a.raw (EVT 3)", "4 x 2 pixels", "0.050000 s", "100.0 events/s", "80.0% ON", "50.0% of", "W773"):
        assert words in text


def test_the_image_shows_on_blue_off_red_and_nothing_white():
    counts = np.zeros((2, 1, 3), np.int64)
    counts[0, 0, 0] = counts[1, 0, 1] = 4
    on, off, none = accumulated_image(counts)[0].tolist()
    assert on[2] == 255 > max(on[:2])
    assert off[0] == 255 > max(off[1:])
    assert none == [255, 255, 255]


def test_the_svg_holds_the_image_and_two_curves_and_escapes_the_name(tmp_path):
    recording = EventFile(SMALL.events, SMALL.sensor_size, {"path": "<b>&.raw", "format": "EVT 3"})
    save_drawing(tmp_path / "a.svg", recording)
    text = (tmp_path / "a.svg").read_text()
    root = ElementTree.fromstring(text)
    names = [element.tag.split("}")[1] for element in root.iter()]
    assert names.count("path") == 2
    assert "b" not in names
    data = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(picture[:, :, ::-1], accumulated_image(event_counts(recording)))


def test_the_png_is_the_image(tmp_path):
    save_drawing(tmp_path / "a.png", SMALL)
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert np.array_equal(picture[:, :, ::-1], accumulated_image(event_counts(SMALL)))


def test_what_is_not_drawn(tmp_path):
    with pytest.raises(InputError, match="E779"):
        save_drawing(tmp_path / "a.gif", SMALL)
    with pytest.raises(InputError, match="E779"):
        save_drawing(tmp_path / "no" / "a.svg", SMALL)
    with pytest.raises(InputError, match=r"E775.*32767x32767"):
        show_events(EventFile(SMALL.events, (32767, 32767, 2)))
