"""The frame-difference simulator against a slow loop, and the clip's pure functions by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.events.clip import Clip, event_density, network_input, to_event_array
from neuroemo.events.framediff import FrameDiffSettings, frame_difference, threshold_level


def slow_simulation(frames, options):
    """Per pixel, in float64, straight from the text of the paper."""
    size, steps = options.size, options.steps
    spikes = np.zeros((steps, 2, size, size), np.uint8)
    keep = 1 if options.first_frame == "float" else 0
    pairs = min(len(frames) - 1, steps - keep)
    for n in range(1, pairs + 1):
        for y in range(size):
            for x in range(size):
                change = (int(frames[n, y, x]) - int(frames[n - 1, y, x])) / 255
                step = n if keep else n - 1
                if change > options.sens:
                    spikes[step, 0, y, x] = 1
                if change < -options.sens:
                    spikes[step, 1, y, x] = 1
    return spikes, pairs + keep


grid_sens = st.integers(0, 254).map(lambda level: level / 255)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    count=st.integers(2, 7),
    steps=st.integers(2, 6),
    sens=st.one_of(grid_sens, st.floats(0, 0.99)),
    first=st.sampled_from(["float", "spikes"]),
)
def test_equals_the_slow_loop(data, count, steps, sens, first):
    options = FrameDiffSettings(size=8, steps=steps, sens=sens, first_frame=first)
    seed = data.draw(st.integers(0, 2**32 - 1))
    spread = data.draw(st.sampled_from([2, 12, 255]))
    frames = np.random.default_rng(seed).integers(0, spread + 1, (count, 8, 8)).astype(np.uint8)
    clip = frame_difference(frames, options, fps=12.0)
    spikes, valid = slow_simulation(frames, options)
    assert np.array_equal(clip.spikes, spikes)
    assert (clip.valid_steps, clip.fps) == (valid, 12.0)
    assert not clip.spikes[valid:].any()
    if first == "float":
        assert np.array_equal(clip.first_frame, frames[0].astype(np.float32) / np.float32(255))
        assert clip.first_frame.dtype == np.float32
    else:
        assert clip.first_frame is None


@pytest.mark.parametrize("level", range(255))
def test_threshold_is_strict_on_the_grid(level):
    assert threshold_level(level / 255) == level


def test_threshold_by_hand():
    assert [threshold_level(s) for s in (0.0, 0.001, 0.0039, 0.004, 0.02, 0.99)] == [0, 0, 0, 1, 5, 252]


def hand_clip(first="float"):
    frames = np.zeros((3, 8, 8), np.uint8)
    frames[0, 0, 0] = 255
    frames[1, 2, 5] = 10
    frames[2, 2, 5] = 20
    return frame_difference(frames, FrameDiffSettings(size=8, steps=5, first_frame=first), fps=10.0)


def test_golden_events_by_hand():
    events, size = to_event_array(hand_clip())
    assert size == (8, 8, 2)
    assert [tuple(e) for e in events.tolist()] == [
        (100_000, 5, 2, True),
        (100_000, 0, 0, False),
        (200_000, 5, 2, True),
    ]
    assert events.dtype == np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "?")])


def test_first_frame_kind_changes_the_step_but_not_the_events():
    float_first, spikes_first = hand_clip(), hand_clip("spikes")
    assert np.array_equal(to_event_array(float_first)[0], to_event_array(spikes_first)[0])
    assert np.array_equal(float_first.spikes[1:3], spikes_first.spikes[:2])
    assert (float_first.valid_steps, spikes_first.valid_steps) == (3, 2)


def test_network_input_copies_the_gray_frame_into_both_channels():
    clip = hand_clip()
    values = network_input(clip)
    assert values.dtype == np.float32
    assert values.shape == (5, 2, 8, 8)
    assert values[0, 0, 0, 0] == values[0, 1, 0, 0] == 1.0
    assert np.array_equal(values[1:], clip.spikes[1:])
    assert not network_input(hand_clip("spikes"))[2:].any()


def test_density_leaves_out_first_frame_and_padding():
    density = event_density(hand_clip())
    assert density.on == 2 / 128
    assert density.off == 1 / 128
    assert density.any_polarity == 3 / 128
    assert density.per_channel == 3 / 256
    assert event_density(hand_clip("spikes")) == density


def test_density_of_no_spike_steps_is_zero():
    clip = Clip(np.zeros((2, 2, 8, 8), np.uint8), np.zeros((8, 8), np.float32), 1, 5.0)
    assert event_density(clip).per_channel == 0.0


@pytest.mark.parametrize(
    ("changes", "code", "found"),
    [
        ({"size": 7}, "E710", "7; limit an integer in 8..1024"),
        ({"size": 48.0}, "E710", "48.0"),
        ({"steps": 1}, "E711", "1; limit an integer in 2..4096"),
        ({"steps": True}, "E711", "True"),
        ({"sens": -0.1}, "E712", "-0.1; limit 0 <= sens < 1"),
        ({"sens": 1.0}, "E712", "1.0"),
        ({"sens": float("nan")}, "E712", "nan"),
        ({"sens": "a"}, "E712", "'a'"),
        ({"first_frame": "gray"}, "E713", "'gray'; limit 'float' or 'spikes'"),
    ],
)
def test_settings_out_of_range(changes, code, found):
    with pytest.raises(InputError, match=code) as error:
        FrameDiffSettings(**changes)
    assert found in str(error.value)


def test_settings_just_inside():
    FrameDiffSettings(size=8, steps=2, sens=0.0)
    FrameDiffSettings(size=1024, steps=4096, sens=0.999, first_frame="spikes")


def test_settings_report_everything_at_once():
    with pytest.raises(InputError) as error:
        FrameDiffSettings(size=0, steps=0, sens=2, first_frame=None)
    assert [f.code for f in error.value.findings] == ["E710", "E711", "E712", "E713"]


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((4, 8, 9), np.uint8),
        np.zeros((4, 8, 8), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((1, 8, 8), np.uint8),
        [[1]],
    ],
)
def test_wrong_frames(frames):
    with pytest.raises(InputError, match="E714"):
        frame_difference(frames, FrameDiffSettings(size=8, steps=3))


@pytest.mark.parametrize(
    ("spikes", "first", "valid", "fps"),
    [
        (np.zeros((2, 2, 4, 4), np.float32), None, 1, 1.0),
        (np.zeros((2, 3, 4, 4), np.uint8), None, 1, 1.0),
        (np.zeros((2, 2, 4, 4), np.uint8), np.zeros((4, 5), np.float32), 1, 1.0),
        (np.zeros((2, 2, 4, 4), np.uint8), None, 3, 1.0),
        (np.zeros((2, 2, 4, 4), np.uint8), None, 1, float("inf")),
    ],
)
def test_clip_refuses_what_does_not_agree(spikes, first, valid, fps):
    with pytest.raises(InputError, match="E715"):
        Clip(spikes, first, valid, fps)


def test_a_pixel_with_both_polarities_in_one_step_counts_once():
    spikes = np.zeros((2, 2, 2, 2), np.uint8)
    spikes[0, :, 0, 0] = 1  # both
    spikes[1, 0, 1, 1] = 1
    density = event_density(Clip(spikes, None, 2, 10.0))
    assert (density.on, density.off, density.any_polarity, density.per_channel) == (2 / 8, 1 / 8, 2 / 8, 3 / 16)
