"""Shot noise and the order of times: tables and bounds by hand, draws against the stated probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.events.pixel.kernel import BLOCK, DIGIT, in_order, leak_unevenly
from neuroemo.events.pixel.noise import ShotNoise, alias_table, draw_noise, enough, ones, send_noise
from neuroemo.events.pixel.settings import PixelSettings, preset
from neuroemo.events.pixel.simulator import LONGEST_US, PixelSimulator, simulate_pixels


@settings(max_examples=40, deadline=None)
@given(weights=st.lists(st.floats(0.02, 50.0), min_size=1, max_size=40))
def test_the_alias_table_draws_in_proportion_to_the_weights(weights):
    wanted = np.array(weights)
    chance, other = np.empty(wanted.size, np.float32), np.full(wanted.size, -1, np.int32)
    alias_table(wanted, chance, other)
    # Each place is drawn equally often, and gives itself or the other.
    found = chance.astype(np.float64)
    for entry, place in enumerate(other):
        found[place] += 1 - chance[entry]
    np.testing.assert_allclose(found / wanted.size, wanted / wanted.sum(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chance", [1e-6, 0.005, 0.08, 0.9, 4.0])
@pytest.mark.parametrize("quotient", [0.8, 0.97, 1.0, 1.1, 1.25])
@pytest.mark.parametrize(("smallest", "largest"), [(0.01, 20.0), (0.7, 1.4), (1.0, 1.0), (11.0, 13.0)])
def test_hits_are_enough_for_every_pixel_and_no_more_than_needed(chance, quotient, smallest, largest):
    weights = np.geomspace(smallest, largest, 20001)
    wanted, given = (-np.log1p(-np.minimum(value * weights, 0.999)) for value in (chance, chance * quotient))
    found = enough(chance, chance * quotient, smallest, largest)
    assert found >= (wanted / given).max() * (1 - 1e-12)
    assert found == pytest.approx((wanted / given).max(), rel=3e-2)


def test_few_hits_are_drawn_in_vain():
    """Long frames, and few pixels with a threshold of a twentieth: as many hits as the picture, dark, would need."""
    camera = PixelSimulator(PixelSettings(threshold_sigma=0.05, shot_noise_rate_hz=5.0, seed=1), 200, 300)
    positive, negative = (values.reshape(-1) for values in camera.thresholds)
    assert min(positive.min(), negative.min()) < 0.015
    noise, rng = ShotNoise(camera.settings, positive, negative), np.random.default_rng(0)
    tables = []
    for length_us in (33333, 33334, 40000, 27000, 500):
        chance = 2.5 * length_us * 1e-6
        needed = sum(-np.log1p(-np.minimum(chance * 0.2 / values, 0.999)).sum() for values in (positive, negative))
        drawn = noise.of_frame(length_us, rng)
        assert 0.9 * needed - 50 < drawn.candidates < 1.35 * needed + 50
        tables.append(drawn.built)
    assert tables[0] == tables[1], "one table serves frames of nearly the same length"


def test_no_noise_where_its_chance_is_too_small_for_a_number():
    noise = ShotNoise(PixelSettings(shot_noise_rate_hz=5e-324), np.ones(4, np.float32), np.ones(4, np.float32))
    assert noise.of_frame(1, np.random.default_rng(0)).candidates == 0


@pytest.mark.parametrize("word", [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF])
def test_bits_are_counted(word):
    assert ones(np.uint64(word)) == bin(word).count("1")


@pytest.mark.parametrize("first_us", [16000, 13000, 19900])
def test_every_pixel_fires_with_the_probability_of_v2e(first_us):
    """Thresholds, grays and lengths of frames at which the probabilities reach from 0.1 to their largest."""
    rng = np.random.default_rng(0)
    chosen = PixelSettings(positive_threshold=0.3, negative_threshold=0.2, shot_noise_rate_hz=50.0)
    positive, negative = (np.float32([0.6, 0.3, 0.15, 0.05, 0.3, 0.3]) for _ in range(2))
    frame = np.array([0, 100, 255, 0, 30, 200], np.uint8)
    noise, frames, length_us = ShotNoise(chosen, positive, negative), 6000, 16000
    counted = np.zeros((2, 6))
    base, light = np.zeros(6, np.float32), np.ones(6, np.float32)
    noise.of_frame(first_us, rng)
    for _ in range(frames):
        this = noise.of_frame(length_us, rng)
        found = draw_noise(frame, positive, negative, this, noise.tables, np.uint64(rng.integers(2**63)))
        events = np.zeros(found, np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.bool_)]))
        send_noise(noise.tables.marked, 3, 5, light, base, events)
        np.add.at(counted, (1 - events["p"].astype(int), events["y"] * 3 + events["x"]), 1)
    share = (0.25 - 1) * (frame + 20.0) / 275.0 + 1
    for row, (threshold, nominal) in enumerate(((positive, 0.3), (negative, 0.2))):
        wanted = np.minimum(50.0 / 2 * length_us * 1e-6 * share * nominal / threshold, 0.999)
        assert 0.1 < wanted.min() < 0.2
        assert wanted.max() == 0.999
        # Five standard deviations of a binomial count.
        assert (np.abs(counted[row] - frames * wanted) < 5 * np.sqrt(frames * wanted * (1 - wanted)) + 1).all()


def test_noise_events_are_in_order_of_the_pixels_and_let_them_forget():
    chosen = PixelSettings(shot_noise_rate_hz=2000.0, seed=2)
    camera = PixelSimulator(chosen, 9, 70)
    frame = np.full((9, 70), 60, np.uint8)
    camera.feed(frame, 0)
    events = camera.feed(frame, 300)
    assert 100 < len(events) < 630
    assert set(events["t"]) == {300}
    place = (~events["p"]).astype(int) * 630 + events["y"].astype(int) * 70 + events["x"]
    assert (np.diff(place) > 0).all(), "ON first, row by row, one event of a kind per pixel"


def test_a_pixel_with_noise_forgets_what_it_has_seen():
    """0.6 thresholds twice are an event; with noise at 95 % of the pixels between the two, it is one for 5 %."""
    shown = [np.full((9, 70), round(value), np.uint8) for value in (60, 60 * math.exp(0.12), 60 * math.exp(0.24))]
    quiet, noisy = (PixelSimulator(PixelSettings(shot_noise_rate_hz=rate, seed=1), 9, 70) for rate in (0.0, 1e4))
    for index in (0, 1):
        assert len(quiet.feed(shown[index], index * 200)) == 0
    assert len(quiet.feed(shown[2], 201)) == 630
    noisy.feed(shown[0], 0)
    # 0.78 of the pixels for each polarity.
    assert 900 < len(noisy.feed(shown[1], 200)) < 1060
    assert len(noisy.feed(shown[2], 201)) < 80


def test_leaks_of_different_pixels_and_frames_are_independent():
    side = 3 * BLOCK
    one, width = np.ones(side, np.float32), np.float32(1.0)
    draws = []
    for key in (1, 2, 12345):
        base = np.zeros(side, np.float32)
        leak_unevenly(base, one, one, np.float32(1), width, np.uint32(key))
        draws.append(-base - 0.5)
    for drawn in draws:
        assert abs(drawn.mean() - 0.5) < 5 / math.sqrt(12 * side)
        assert drawn.var() == pytest.approx(1 / 12, rel=0.05)
        assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 5 / math.sqrt(side)
    assert abs(np.corrcoef(draws[0], draws[1])[0, 1]) < 5 / math.sqrt(side)


def test_leak_jitter_does_not_repeat_from_block_to_block():
    """The second block of pixels has random numbers of its own."""
    camera = PixelSimulator(PixelSettings(leak_rate_hz=100.0, leak_jitter=0.5, seed=3), 2, BLOCK)
    frame = np.full((2, BLOCK), 90, np.uint8)
    events = np.concatenate([camera.feed(frame, index * 1000) for index in range(60)])
    rows = [events[events["y"] == row] for row in (0, 1)]
    assert len(events) > 8000
    first, second = (set(zip(row["x"].tolist(), (row["t"] // 1000).tolist(), strict=True)) for row in rows)
    assert first != second


@pytest.mark.parametrize("longest", [0, 7, DIGIT - 1, DIGIT, 5 * DIGIT + 3, LONGEST_US])
def test_times_are_ordered_as_numpy_orders_them(longest):
    rng = np.random.default_rng(longest % 1000)
    times = rng.integers(0, longest, 3000, endpoint=True).astype(np.int32)
    times[:40] = longest
    places = in_order(times, longest)
    assert np.array_equal(np.argsort(places), np.argsort(times, kind="stable"))


def test_frames_far_apart_give_events_where_they_belong():
    frames = [np.array([[50, 100]], np.uint8), np.array([[100, 50]], np.uint8)]
    events, _ = simulate_pixels(frames, [0, LONGEST_US], PixelSettings())
    share = [k * 0.2 / math.log(2) for k in (1, 2, 3)]
    assert np.abs(events["t"][::2] - LONGEST_US * np.array(share)).max() < 200  # the brightness has seven digits
    assert events["x"].tolist() == [0, 1] * 3
    camera = PixelSimulator(PixelSettings(), 1, 2)
    camera.feed(frames[0], 5)
    with pytest.raises(InputError, match=r"E855.*2147483648 us apart.*at most 2147483647 us"):
        camera.feed(frames[1], 5 + LONGEST_US + 1)
    assert len(camera.feed(frames[1], 5 + LONGEST_US)) == 6


@pytest.mark.parametrize("name", ["clean", "noisy"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 341), (32, 32), (33, 32), (1, 2049)])
def test_pixels_do_not_depend_on_how_they_are_laid_out(shape, name):
    """The same pixels in one row, or in rows, across the edges of blocks: the same events but for x and y."""
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (4, shape[0] * shape[1]), dtype=np.uint8)
    for timing in ("linear", "slots"):
        chosen = preset(name, seed=6, timing=timing, refractory_us=150.0)
        laid, _ = simulate_pixels([frame.reshape(shape) for frame in frames], range(0, 4000, 1000), chosen)
        row, _ = simulate_pixels([frame[None] for frame in frames], range(0, 4000, 1000), chosen)
        assert np.array_equal(laid["t"], row["t"])
        assert np.array_equal(laid["p"], row["p"])
        assert np.array_equal(laid["y"].astype(int) * shape[1] + laid["x"], row["x"])
        assert (row["y"] == 0).all()
