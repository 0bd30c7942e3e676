"""Every representation against hand-made numbers and against loops that follow the definition word for word."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroemo.events.clip import EVENT_DTYPE, Clip, network_input, to_event_array
from neuroemo.events.framediff import FrameDiffSettings, frame_difference
from neuroemo.events.representations import (
    HistogramSettings,
    SpikeClipSettings,
    SurfaceSettings,
    TbrSettings,
    VoxelSettings,
    codes_to_steps,
    event_histogram,
    nearest_labels,
    spike_clip,
    steps_to_codes,
    tbr,
    time_surface,
    voxel_grid,
)

SIZE = (3, 2, 2)
FAR = 1_700_000_000_000_000  # microseconds since 1970, as cameras stamp them


def make(rows, dtype=EVENT_DTYPE):
    return np.array(rows, dtype)


NOTHING = make([])


def shifted(events, offset):
    moved = events.copy()
    moved["t"] += offset
    return moved


@st.composite
def recordings(draw):
    count = draw(st.integers(0, 30))
    times = sorted(draw(st.lists(st.integers(0, 120), min_size=count, max_size=count)))
    rows = [(t, draw(st.integers(0, 2)), draw(st.integers(0, 1)), draw(st.booleans())) for t in times]
    return shifted(make(rows), draw(st.sampled_from([0, -60, FAR])))


windows = st.fixed_dictionaries(
    {
        "dt_us": st.sampled_from([1, 7, 10, 33.3, 200]),
        "count": st.sampled_from([None, 0, 1, 3, 5]),
        "begin": st.sampled_from([None, -15, 0, 20, 200]),
        "closed": st.sampled_from(["left", "right"]),
    }
)


def window_options(events, drawn):
    """Place the start near the events, so that the windows meet some of them."""
    origin = 0 if events.size == 0 else int(events["t"][0])
    options = {key: value for key, value in drawn.items() if key != "begin"}
    return {**options, "start_us": None if drawn["begin"] is None else origin + drawn["begin"]}


def slow_windows(events, options, group=1):
    """Return [(begin, end, events)] by comparing every event with every window."""
    right, start = options["closed"] == "right", options["start_us"]
    if start is None:
        start = 0 if events.size == 0 else int(events["t"][0]) - right

    def border(k):
        return start + int(np.rint(k * options["dt_us"]))

    def inside(t, k):
        return border(k) < t <= border(k + 1) if right else border(k) <= t < border(k + 1)

    number = options["count"]
    if number is None:
        number, last = 0, int(events["t"][-1]) if events.size else None
        while last is not None and last >= start + right and not any(inside(last, k) for k in range(number * group)):
            number += 1
    return [(border(k), border(k + 1), [e for e in events.tolist() if inside(e[0], k)]) for k in range(number * group)]


# Temporal binary representation


BY_HAND = [
    # times of the events of one pixel in 8 slices of 5 ms; code with the newest / the oldest slice as top bit
    ([0], 1, 128),
    ([39_999], 128, 1),
    ([0, 39_999], 129, 129),
    ([4_999, 5_000], 3, 192),
    ([5_000, 5_001, 9_999], 2, 64),
    ([0, 10_000, 20_000, 30_000], 0b01010101, 0b10101010),
    (list(range(0, 40_000, 5_000)), 255, 255),
]


@pytest.mark.parametrize(("times", "newest", "oldest"), BY_HAND)
@pytest.mark.parametrize("offset", [0, FAR, -40_000])
def test_tbr_by_hand(times, newest, oldest, offset):
    events = shifted(make([(t, 1, 1, t % 2) for t in times]), offset)
    for msb, code in (("newest", newest), ("oldest", oldest)):
        made = tbr(events, SIZE, TbrSettings(start_us=offset, msb=msb))
        assert made.codes.dtype == np.uint8
        assert made.codes.shape == (1, 1, 2, 3)
        assert made.codes[0, 0, 1, 1] == code
        assert made.codes.astype(int).sum() == code
        assert made.left_out == 0


def test_tbr_normalisations_by_hand():
    events = make([(0, 0, 0, 1)])
    for msb, code in (("oldest", 128), ("newest", 1)):
        for norm, divisor in (("2^N", 256), ("2^N-1", 255), (None, 1)):
            value = tbr(events, (1, 1, 2), TbrSettings(msb=msb, norm=norm)).values()
            assert value.dtype == np.float32
            assert value.item() == np.float32(code / divisor)


def test_sixteen_bits_keep_all_of_them():
    events = make([(0, 0, 0, 1), (5_000 * 9, 0, 0, 0), (5_000 * 15, 0, 0, 1)])
    made = tbr(events, (1, 1, 2), TbrSettings(n_bits=16))
    assert made.codes.dtype == np.uint16
    assert made.codes.item() == 1 + 2**9 + 2**15
    assert made.values().item() == (1 + 2**9 + 2**15) / 65536


def test_tbr_polarity_and_the_times_of_labels():
    events = make([(0, 0, 0, 1), (6_000, 0, 0, 0), (90_000, 0, 0, 0)])
    split = tbr(events, (1, 1, 2), TbrSettings(start_us=0, polarity="split"))
    assert split.codes[:, :, 0, 0].tolist() == [[1, 2], [0, 0], [0, 4]]
    assert tbr(events, (1, 1, 2), TbrSettings(start_us=0)).codes.ravel().tolist() == [3, 0, 4]
    assert split.mean_times_us.tolist() == [3_000, 60_000, 90_000]
    assert nearest_labels(split.mean_times_us, np.arange(4) * 40_000).tolist() == [0, 1, 2]


def test_metadata_says_how_to_read_the_codes():
    made = tbr(make([(5, 0, 0, 1)]), SIZE, TbrSettings(n_bits=16, msb="oldest", norm=None, start_us=np.int64(2)))
    assert json.loads(json.dumps(made.metadata())) == {
        "representation": "tbr",
        "n_bits": 16,
        "dt_us": 5000,
        "msb": "oldest",
        "norm": None,
        "polarity": "merge",
        "closed": "left",
        "count": None,
        "start_us": 2,
        "left_out": 0,
        "type": "uint16",
        "shape": [1, 1, 2, 3],
    }


@settings(max_examples=60, deadline=None)
@given(
    events=recordings(),
    drawn=windows,
    n_bits=st.sampled_from([1, 2, 8, 9, 16]),
    msb=st.sampled_from(["newest", "oldest"]),
    polarity=st.sampled_from(["merge", "split"]),
)
def test_tbr_equals_its_definition(events, drawn, n_bits, msb, polarity):
    options = window_options(events, drawn)
    made = tbr(events, SIZE, TbrSettings(n_bits=n_bits, msb=msb, polarity=polarity, **options))
    slices = slow_windows(events, options, n_bits)
    channels = 2 if polarity == "split" else 1
    expected = np.zeros((len(slices) // n_bits, channels, 2, 3), int)
    strings = np.full(expected.shape, "", dtype=object)  # the string of binary digits, read as a number
    for k, (_, _, found) in enumerate(slices):
        for index in np.ndindex(expected.shape[1:]):
            hit = any((x, y) == index[:0:-1] and (channels == 1 or p == (index[0] == 0)) for _, x, y, p in found)
            here = (k // n_bits, *index)
            strings[here] = f"{hit:d}{strings[here]}" if msb == "newest" else f"{strings[here]}{hit:d}"
    for index in np.ndindex(expected.shape):
        expected[index] = int(strings[index], 2)
    assert np.array_equal(made.codes, expected)
    assert made.left_out == len(events) - sum(len(found) for _, _, found in slices)
    for frame, mean in enumerate(made.mean_times_us):
        part = slices[frame * n_bits : (frame + 1) * n_bits]
        times = [e[0] for _, _, found in part for e in found]
        middle = (part[0][0] + part[-1][1]) / 2
        assert mean == pytest.approx(sum(times) / len(times) if times else middle, abs=0.3)


@given(
    st.integers(1, 16).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 2**n - 1), min_size=1, max_size=6))
    ),
    st.sampled_from(["newest", "oldest"]),
)
def test_codes_become_steps_and_come_back(drawn, msb):
    n_bits, numbers = drawn
    codes = np.array(numbers, np.uint8 if n_bits <= 8 else np.uint16).reshape(-1, 1, 1, 1)
    steps = codes_to_steps(codes, n_bits, msb)
    digits = [f"{number:0{n_bits}b}" for number in numbers]
    in_time = [text if msb == "oldest" else text[::-1] for text in digits]
    assert "".join(map(str, steps.ravel())) == "".join(in_time)
    back = steps_to_codes(steps, n_bits, msb)
    assert back.dtype == codes.dtype
    assert np.array_equal(back, codes)


def test_the_bits_of_a_frame_are_the_spikes_of_a_clip():
    generator = np.random.default_rng(3)
    times = np.sort(generator.integers(0, 80_000, 200))
    events = make([(t, *generator.integers(0, 2, 2), generator.integers(0, 2)) for t in times])
    frames = tbr(events, (2, 2, 2), TbrSettings(start_us=0, count=2, polarity="split"))
    steps = codes_to_steps(frames.codes, 8, "newest")
    made = spike_clip(events, (2, 2, 2), SpikeClipSettings(fps=200, start_us=0, steps=16, closed="left"))
    assert np.array_equal(steps, made.clip.spikes)
    assert network_input(Clip(steps, None, 16, 200.0)).shape == (16, 2, 2, 2)


# Histogram


@settings(max_examples=50, deadline=None)
@given(events=recordings(), drawn=windows, polarity=st.sampled_from(["merge", "split"]))
def test_histogram_equals_its_definition(events, drawn, polarity):
    options = window_options(events, drawn)
    made = event_histogram(events, SIZE, HistogramSettings(polarity=polarity, **options))
    parts = slow_windows(events, options)
    expected = np.zeros((len(parts), 2 if polarity == "split" else 1, 2, 3), int)
    for k, (_, _, found) in enumerate(parts):
        for _, x, y, p in found:
            expected[k, 0 if p or polarity == "merge" else 1, y, x] += 1
    assert np.array_equal(made.counts, expected)
    assert made.left_out + made.counts.sum() == len(events)


def test_an_event_on_a_border_falls_into_one_window():
    events = make([(0, 0, 0, 1), (10, 0, 0, 1), (20, 0, 0, 1)])
    left = event_histogram(events, (1, 1, 2), HistogramSettings(dt_us=10, start_us=0, count=2))
    right = event_histogram(events, (1, 1, 2), HistogramSettings(dt_us=10, start_us=0, count=2, closed="right"))
    assert (left.counts[:, 0].ravel().tolist(), left.left_out) == ([1, 1], 1)
    assert (right.counts[:, 0].ravel().tolist(), right.left_out) == ([1, 1], 1)
    assert (left.mean_times_us.tolist(), right.mean_times_us.tolist()) == ([0, 10], [10, 20])


def test_windows_of_a_third_do_not_drift():
    """After an hour of 30 frames per second, a step rounded to 33333 us would be 36 ms too early."""
    late = 30 * 3600
    events = make([(3_600_000_000 - 1, 0, 0, 1), (3_600_000_000, 0, 0, 0)])
    made = event_histogram(events, (1, 1, 2), HistogramSettings(dt_us=1e6 / 30, start_us=0))
    assert len(made.counts) == late + 1
    assert made.counts[late - 1 :, :, 0, 0].tolist() == [[1, 0], [0, 1]]


# Voxel grid


def test_voxel_grid_by_hand():
    events = make([(100, 0, 0, 1), (110, 0, 0, 0), (125, 0, 0, 1), (200, 0, 0, 0)])
    made = voxel_grid(events, (1, 1, 2), VoxelSettings(bins=5))
    # positions 0, 0.4, 1, 4: +1 | -0.6 and -0.4 | +1 | -1
    assert made.grid.ravel().tolist() == np.float32([0.4, 0.6, 0, 0, -1]).tolist()
    assert made.anchor_times_us.tolist() == [100, 125, 150, 175, 200]
    split = voxel_grid(events, (1, 1, 2), VoxelSettings(bins=5, polarity="split"))
    assert split.grid[:, 0].ravel().tolist() == [1, 1, 0, 0, 0]
    assert split.grid[:, 1].ravel().tolist() == np.float32([0.6, 0.4, 0, 0, 1]).tolist()


def test_voxel_grid_of_a_given_span_leaves_the_rest_out_and_says_so():
    events = make([(-1, 0, 0, 1), (0, 0, 0, 1), (50, 0, 0, 1), (100, 0, 0, 1), (101, 0, 0, 1)])
    made = voxel_grid(events, (1, 1, 2), VoxelSettings(bins=2, start_us=0, end_us=100))
    assert (made.grid.ravel().tolist(), made.left_out) == ([1.5, 1.5], 2)


@settings(max_examples=50, deadline=None)
@given(events=recordings(), bins=st.integers(1, 6))
def test_voxel_grid_equals_its_equation(events, bins):
    made = voxel_grid(events, SIZE, VoxelSettings(bins=bins))
    expected = np.zeros((bins, 1, 2, 3))
    start, end = (int(events["t"][0]), int(events["t"][-1])) if events.size else (0, 0)
    for t, x, y, p in events.tolist():
        star = (bins - 1) * (t - start) / (end - start) if end > start else 0.0
        for b in range(bins):
            expected[b, 0, y, x] += (1 if p else -1) * max(0.0, 1.0 - abs(b - star))
    assert np.allclose(made.grid, expected, rtol=0, atol=1e-5)
    assert made.grid.sum() == pytest.approx(int(events["p"].sum()) - int((~events["p"]).sum()), abs=1e-4)


@pytest.mark.parametrize("span", [3, 7, 49, 10**6 + 3, 2**52 - 1])
def test_the_last_event_stays_whole_in_the_last_bin(span):
    for bins in (2, 3, 6, 11, 50):
        made = voxel_grid(make([(0, 0, 0, 1), (span, 0, 0, 1)]), (1, 1, 2), VoxelSettings(bins=bins))
        assert made.grid[0].item() == 1
        assert made.grid[-1].item() == 1


# Time surface


def test_time_surface_by_hand():
    events = make([(0, 0, 0, 1), (30, 0, 0, 0), (100, 0, 0, 1), (250, 0, 0, 1)])
    made = time_surface(events, (1, 1, 2), SurfaceSettings(dt_us=100, tau_us=100, start_us=0, count=2))
    assert made.times_us.tolist() == [100, 200]
    e = math.exp
    assert made.surfaces[:, :, 0, 0].tolist() == np.float32([[e(-1), e(-0.7)], [e(-1), e(-1.7)]]).tolist()
    assert made.left_out == 1
    right = time_surface(events, (1, 1, 2), SurfaceSettings(dt_us=100, tau_us=100, start_us=0, count=2, closed="right"))
    assert right.surfaces[:, 0, 0, 0].tolist() == np.float32([1, e(-1)]).tolist()


def test_a_pixel_that_fired_before_the_start_has_fired():
    events = make([(0, 0, 0, 1), (100, 1, 0, 1)])
    made = time_surface(events, (2, 1, 2), SurfaceSettings(dt_us=50, tau_us=150, start_us=100, polarity="merge"))
    assert made.surfaces.ravel().tolist() == np.float32([math.exp(-1), math.exp(-1 / 3)]).tolist()
    assert made.left_out == 0


@settings(max_examples=50, deadline=None)
@given(events=recordings(), drawn=windows, tau=st.sampled_from([0.5, 30, 1e5]), split=st.booleans())
def test_time_surface_equals_its_equation(events, drawn, tau, split):
    options = window_options(events, drawn)
    polarity = "split" if split else "merge"
    made = time_surface(events, SIZE, SurfaceSettings(tau_us=tau, polarity=polarity, **options))
    ends = [end for _, end, _ in slow_windows(events, options)]
    expected = np.zeros((len(ends), 1 + split, 2, 3))
    for k, end in enumerate(ends):
        for t, x, y, p in events.tolist():  # the last one wins: it is the latest
            if t < end or (t == end and options["closed"] == "right"):
                expected[k, 1 if split and not p else 0, y, x] = math.exp(-(end - t) / tau)
    assert made.times_us.tolist() == ends
    assert np.allclose(made.surfaces, expected, rtol=1e-6, atol=1e-30)


# Spike clip


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(2, 9),
    first=st.sampled_from(["float", "spikes"]),
    fps=st.sampled_from([24, 25.0, 29.97, 30, 30000 / 1001, 60, 1000 / 7]),
)
def test_a_clip_of_the_frame_difference_comes_back(seed, frames, first, fps):
    video = np.random.default_rng(seed).integers(0, 3, (frames, 8, 8)).astype(np.uint8)
    clip = frame_difference(video, FrameDiffSettings(size=8, steps=10, first_frame=first), fps=fps)
    events, size = to_event_array(clip)
    end = round((clip.valid_steps - clip.spike_start) * (1e6 / fps))
    options = SpikeClipSettings(fps=fps, steps=10, start_us=0, end_us=end)
    made = spike_clip(events, size, options, clip.first_frame)
    assert np.array_equal(made.clip.spikes, clip.spikes)
    assert (made.clip.valid_steps, made.clip.fps, made.clip.spike_start) == (clip.valid_steps, fps, clip.spike_start)
    assert (made.collapsed, made.left_out, made.both) == (0, 0, 0)
    assert made.clip.first_frame is clip.first_frame


def test_a_clip_counts_what_one_bit_cannot_hold():
    events = make([(0, 0, 0, 1), (5, 0, 0, 1), (10, 0, 0, 1), (10, 0, 0, 0), (45, 0, 0, 1)])
    made = spike_clip(events, (1, 1, 2), SpikeClipSettings(fps=1e5, start_us=0, steps=3))
    assert made.clip.spikes[:, :, 0, 0].tolist() == [[1, 1], [0, 0], [0, 0]]
    assert (made.collapsed, made.left_out, made.both, made.clip.valid_steps) == (1, 2, 1, 3)
    left = spike_clip(events[:3], (1, 1, 2), SpikeClipSettings(fps=1e5, start_us=0, closed="left"))
    assert (left.clip.spikes[:, 0].ravel().tolist(), left.collapsed, left.clip.valid_steps) == ([1, 1], 1, 2)


def test_steps_after_the_recording_are_padding():
    events = make([(5, 0, 0, 1), (15, 0, 0, 1)])
    known = spike_clip(events, (1, 1, 2), SpikeClipSettings(fps=1e5, start_us=0, steps=8, end_us=40))
    unknown = spike_clip(events, (1, 1, 2), SpikeClipSettings(fps=1e5, start_us=0, steps=8))
    behind_a_frame = spike_clip(
        events, (1, 1, 2), SpikeClipSettings(fps=1e5, start_us=0, steps=8), np.zeros((1, 1), np.float32)
    )
    assert [made.clip.valid_steps for made in (known, unknown, behind_a_frame)] == [4, 2, 3]
    assert behind_a_frame.clip.spikes[:, 0].ravel().tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


# Labels


@given(
    st.lists(st.integers(-500, 500), max_size=20),
    st.lists(st.integers(-500, 500), min_size=1, max_size=20, unique=True).map(sorted),
    st.sampled_from([0, FAR]),
)
def test_nearest_label_equals_a_search_of_all(frames, labels, offset):
    found = nearest_labels(np.array(frames, np.int64) + offset, np.array(labels, np.int64) + offset)
    assert found.tolist() == [min(range(len(labels)), key=lambda i: abs(labels[i] - frame)) for frame in frames]
