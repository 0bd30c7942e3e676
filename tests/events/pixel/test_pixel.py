"""The pixel model by hand, by its statistics, and fed with what it must refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.events.pixel.kernel import whole_thresholds
from neuroemo.events.pixel.settings import PRESETS, PixelSettings, preset
from neuroemo.events.pixel.simulator import PixelSimulator, brightness, simulate_pixels


def gray(value, side=4):
    return np.full((side, side), value, dtype=np.uint8)


def steps(values, side=4, step_us=1000):
    return [gray(value, side) for value in values], [index * step_us for index in range(len(values))]


def test_brightness_is_linear_in_the_dark_and_logarithmic_above():
    found = brightness(np.array([0, 10, 20, 21, 255]))
    wanted = [0, math.log(20) / 2, math.log(20), math.log(21), math.log(255)]
    assert found == pytest.approx(wanted, abs=1e-6)


def test_events_lie_where_the_straight_line_crosses_the_thresholds():
    # ln(100) - ln(50) = 0.693: crossings of 0.2, 0.4, 0.6 at 0.2885, 0.5771, 0.8656 of the step.
    events, size = simulate_pixels(*steps([50, 100], side=1), PixelSettings())
    assert size == (1, 1, 2)
    assert events["t"].tolist() == [289, 577, 866]
    assert events["p"].tolist() == [True, True, True]


def test_what_is_left_of_a_threshold_is_kept_for_the_next_frame():
    # After three events 0.093 is left; 100 -> 112 adds 0.113: one more event, after 0.107 of 0.113 of the step.
    events, _ = simulate_pixels(*steps([50, 100, 112], side=1), PixelSettings())
    assert len(events) == 4
    left = 0.8 - math.log(2)
    assert events["t"][3] == round(1000 + 1000 * left / math.log(1.12))


def test_falling_brightness_makes_off_events():
    events, _ = simulate_pixels(*steps([100, 50], side=1), PixelSettings(negative_threshold=0.3))
    assert events["p"].tolist() == [False, False]
    assert events["t"].tolist() == [round(1000 * k * 0.3 / math.log(2)) for k in (1, 2)]


def test_slots_are_shared_by_all_pixels_of_a_frame():
    frames = [np.array([[50, 50]], np.uint8), np.array([[100, 62]], np.uint8)]
    events, _ = simulate_pixels(frames, [0, 3000], PixelSettings(timing="slots"))
    # Three slots; the pixel with one event takes the first.
    assert list(zip(events["t"].tolist(), events["x"].tolist(), strict=True)) == [
        (1000, 0), (1000, 1), (2000, 0), (3000, 0),
    ]  # fmt: skip


def test_a_refractory_pixel_is_silent_and_remembers():
    settings = PixelSettings(refractory_us=400.0)
    events, _ = simulate_pixels(*steps([50, 100, 100], side=1), settings)
    # 289 is sent, 577 comes 288 later and is not, 866 is; the change that was not sent is sent in the next frame.
    assert events["t"].tolist()[:2] == [289, 866]
    assert len(events) == 3
    assert events["t"][2] > 1000


def test_a_dark_pixel_follows_more_slowly():
    frames = [np.array([[30, 130]], np.uint8), np.array([[60, 255]], np.uint8)]
    tau = 1 / (2 * math.pi * 20)
    events, _ = simulate_pixels(frames, [0, 2000], PixelSettings(cutoff_hz=20.0, positive_threshold=0.02))
    moved = [min(1, (x + 20) / 275 * 0.002 / tau) * (math.log(x) - math.log(x0)) for x0, x in ((30, 60), (130, 255))]
    assert [int((events["x"] == x).sum()) for x in (0, 1)] == [math.floor(value / 0.02) for value in moved]
    assert moved[0] / math.log(2) < moved[1] / math.log(255 / 130)


def test_times_ascend_and_nothing_comes_before_the_second_frame():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (12, 9), dtype=np.uint8) for _ in range(6)]
    for timing in ("linear", "slots"):
        events, _ = simulate_pixels(frames, [7000 * k for k in range(3, 9)], PixelSettings(timing=timing))
        assert (np.diff(events["t"]) >= 0).all()
        assert events["t"][0] > 21000
        assert events["t"][-1] <= 56000
        assert len(events) > 500


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 120), threshold=st.floats(0.0625, 2, width=32), below=st.booleans())
def test_whole_thresholds_are_exact_at_the_edge(count, threshold, below):
    """Python's integers decide: the largest n with n * threshold <= change, both as exact fractions."""
    from fractions import Fraction

    change = np.float32(count * np.float32(threshold))
    change = np.nextafter(change, np.float32(0)) if below else change
    exact = Fraction(float(change)) // Fraction(float(np.float32(threshold)))
    assert whole_thresholds(np.float32(change), np.float32(threshold)) == exact


def test_chunks_give_the_events_of_one_piece():
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 256, (10, 10), dtype=np.uint8) for _ in range(9)]
    chosen = preset("noisy", seed=4)
    whole, _ = simulate_pixels(frames, range(0, 9000, 1000), chosen)
    camera = PixelSimulator(chosen, 10, 10)
    pieces = []
    for start in (0, 2, 3, 7):
        stop = {0: 2, 2: 3, 3: 7, 7: 9}[start]
        pieces += [camera.feed(frames[index], index * 1000) for index in range(start, stop)]
    assert np.array_equal(np.concatenate(pieces), whole)


def test_the_same_seed_gives_the_same_events_and_another_one_others():
    frames, times = steps([50, 100, 60, 200], side=24)
    first, again, other = (simulate_pixels(frames, times, preset("noisy", seed=seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def static(seconds, side, settings, value=100, step_us=5000):
    frame = gray(value, side)
    count = int(seconds * 1e6 / step_us)
    return simulate_pixels([frame] * count, range(0, count * step_us, step_us), settings)[0]


def test_shot_noise_has_the_stated_rate_in_the_dark_and_a_quarter_at_white():
    side, seconds, rate = 48, 4.0, 5.0
    for value, share in ((0, 1 - 0.75 * 20 / 275), (255, 0.25)):
        events = static(seconds, side, PixelSettings(shot_noise_rate_hz=rate), value)
        wanted = rate * share * seconds * side * side
        # Five standard deviations of a Poisson count.
        assert abs(len(events) - wanted) < 5 * math.sqrt(wanted)
        assert abs(int(events["p"].sum()) - wanted / 2) < 5 * math.sqrt(wanted / 2)
        hits = np.bincount(events["y"] * side + events["x"], minlength=side * side)
        assert abs(hits.var() / hits.mean() - 1) < 0.2  # as spread over pixels as chance is


def test_pixels_with_low_thresholds_make_more_noise():
    events = static(4.0, 48, PixelSettings(shot_noise_rate_hz=10.0, threshold_sigma=0.05, seed=3))
    camera = PixelSimulator(PixelSettings(shot_noise_rate_hz=10.0, threshold_sigma=0.05, seed=3), 48, 48)
    positive, _ = camera.thresholds
    on = events[events["p"]]
    hits = np.bincount(on["y"] * 48 + on["x"], minlength=48 * 48)
    low = positive.reshape(-1) < np.median(positive)
    assert hits[low].sum() > 1.1 * hits[~low].sum()


def test_leaks_make_on_events_at_the_stated_rate():
    events = static(10.0, 16, PixelSettings(leak_rate_hz=2.0, leak_jitter=0.3))
    assert events["p"].all()
    assert len(events) == pytest.approx(2.0 * 10.0 * 256, rel=0.06)


def test_leaks_spread_from_pixel_to_pixel_by_the_stated_decades():
    events = static(20.0, 24, PixelSettings(leak_rate_hz=5.0, leak_spread_decades=0.1, seed=1))
    hits = np.bincount(events["y"] * 24 + events["x"], minlength=576)
    assert np.log10(hits).std() == pytest.approx(0.1, rel=0.15)


def test_thresholds_are_drawn_as_stated():
    camera = PixelSimulator(PixelSettings(threshold_sigma=0.03, positive_threshold=0.3, seed=5), 64, 64)
    positive, negative = camera.thresholds
    assert positive.mean() == pytest.approx(0.3, abs=0.003)
    assert negative.mean() == pytest.approx(0.2, abs=0.003)
    assert positive.std() == pytest.approx(0.03, rel=0.05)
    assert np.corrcoef(positive.ravel(), negative.ravel())[0, 1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"positive_threshold": 0.0}, "positive_threshold: 0.0"),
        ({"threshold_sigma": float("nan")}, "threshold_sigma: nan"),
        ({"timing": "exact"}, "timing: 'exact'"),
        ({"seed": -1}, "seed: -1"),
        ({"cutoff_hz": True}, "cutoff_hz: True"),
        ({"refractory_us": "4"}, "refractory_us: '4'"),
    ],
)
def test_settings_out_of_range_are_refused(change, text):
    with pytest.raises(InputError, match="E850") as caught:
        PixelSettings(**change)
    assert text in str(caught.value)


def test_all_wrong_settings_are_named_at_once():
    with pytest.raises(InputError) as caught:
        PixelSettings(positive_threshold=-1, leak_rate_hz=-1, timing="no")
    assert len(caught.value.findings) == 3


def test_presets_are_v2es_and_can_be_changed():
    assert (PRESETS["clean"].threshold_sigma, PRESETS["clean"].cutoff_hz) == (0.02, 0.0)
    noisy = PRESETS["noisy"]
    assert (noisy.threshold_sigma, noisy.cutoff_hz, noisy.leak_rate_hz, noisy.shot_noise_rate_hz) == (0.05, 30, 0.1, 5)
    assert preset("clean", seed=2).seed == 2
    for wrong in (lambda: preset("dirty"), lambda: preset("clean", sigma=1)):
        with pytest.raises(InputError, match="E850"):
            wrong()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: PixelSimulator(PixelSettings(), 0, 4), "E851"),
        (lambda: PixelSimulator(PixelSettings(), 4, 4).feed(gray(1, 5), 0), "E852"),
        (lambda: PixelSimulator(PixelSettings(), 4, 4).feed(gray(1).astype(np.float32), 0), "E852"),
        (lambda: PixelSimulator(PixelSettings(), 4, 4).feed(gray(1), -1), "E853"),
        (lambda: simulate_pixels([gray(1), gray(2)], [5, 5], PixelSettings()), "E853"),
        (lambda: simulate_pixels([], [], PixelSettings()), "E852"),
        (lambda: PixelSimulator(PixelSettings(), 4, 4).set_thresholds(np.ones((3, 4)), np.ones((4, 4))), "E854"),
        (lambda: PixelSimulator(PixelSettings(), 4, 4).set_thresholds(np.zeros((4, 4)), np.ones((4, 4))), "E854"),
    ],
)
def test_what_does_not_fit_is_refused(call, code):
    with pytest.raises(InputError) as caught:
        call()
    assert [finding.code for finding in caught.value.findings] == [code]
