"""The other readings of the frame-difference simulator: against a slow loop, in pieces, and their densities."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.events.clip import EVENT_DTYPE, event_density, to_event_array
from neuroemo.events.difference import DifferenceRule, FrameDifference, stream_events, threshold, threshold_level
from neuroemo.events.framediff import (
    FrameDiffSettings,
    frame_difference,
    frame_difference_counts,
    sens_for_density,
)
from neuroemo.events.video import write_h264

RULES = list(itertools.product(["linear", "log"], ["previous", "event"], ["one", "several"]))
LOG = [round(math.log1p(gray), 9) for gray in range(256)]


def slow_pixel(levels, rule, sens):
    """Signed events of one pixel, one number per step, from the text of the rule; ``sens`` in units of the levels."""
    steps, memory, first, sent = [], levels[0], levels[0], 0
    for before, now in itertools.pairwise(levels):
        if rule.reference == "previous":
            memory = before
        elif rule.events_per_step == "several":
            memory = first + sent * sens
        count = 0
        if rule.reference == "event" and rule.events_per_step == "several":
            while now > first + (sent + count + 1) * sens:
                count += 1
            while now < first + (sent + count - 1) * sens:
                count -= 1
        else:
            while now - memory > (count + 1) * sens:
                count += 1
                if rule.events_per_step == "one":
                    break
            while now - memory < (count - 1) * sens:
                count -= 1
                if rule.events_per_step == "one":
                    break
        if count and rule.events_per_step == "one":
            memory = now
        sent += count
        steps.append(count)
    return steps


def slow_steps(frames, rule):
    scale = 255 * rule.sens if rule.intensity == "linear" else rule.sens
    if rule.intensity == "linear" and abs(scale - round(scale)) < 1e-9:
        scale = float(round(scale))
    result = np.zeros((len(frames) - 1, 2, *frames.shape[1:]), np.uint8)
    for y, x in np.ndindex(frames.shape[1:]):
        series = frames[:, y, x].tolist()
        levels = [float(g) if rule.intensity == "linear" else LOG[g] for g in series]
        for n, count in enumerate(slow_pixel(levels, rule, scale)):
            result[n, 0, y, x], result[n, 1, y, x] = max(count, 0), max(-count, 0)
    return result


def moving(seed, count=7, height=8, width=8, spread=255):
    rng = np.random.default_rng(seed)
    walk = rng.integers(-spread, spread + 1, (count, height, width)).cumsum(axis=0) + rng.integers(0, 256)
    return np.clip(walk, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("intensity", "reference", "several"), RULES)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([2, 12, 80, 255]),
    sens=st.one_of(st.sampled_from([2 / 255, 5 / 255, 0.1, 51 / 255]), st.floats(0.022, 0.99)),
)
def test_equals_the_slow_loop(intensity, reference, several, seed, spread, sens):
    rule = DifferenceRule(max(sens, 0.022) if several == "several" else sens, intensity, reference, several)
    frames = moving(seed, spread=spread)
    wanted = slow_steps(frames, rule)
    assert np.array_equal(FrameDifference(rule, 8, 8).steps(frames), wanted)
    options = FrameDiffSettings(8, 9, rule.sens, "float", intensity, reference, several)
    clip = frame_difference(frames, options, fps=9.0)
    assert np.array_equal(clip.spikes[1:7], np.minimum(wanted, 1))
    assert not clip.spikes[7:].any()
    assert not clip.spikes[0].any()
    counts = frame_difference_counts(frames, options, fps=9.0)
    assert np.array_equal(counts.counts[1:7], wanted)
    assert counts.events == (int(wanted[:, 0].sum()), int(wanted[:, 1].sum()))
    assert counts.density == event_density(clip)
    assert np.array_equal(counts.first_frame, clip.first_frame)


def series(values, **options):
    frames = np.array(values, np.uint8)[:, None, None]
    steps = FrameDifference(DifferenceRule(**options), 1, 1).steps(frames)
    return (steps[:, 0, 0, 0].astype(int) - steps[:, 1, 0, 0]).tolist()


def test_by_hand():
    slow_rise = [100, 104, 108, 112, 116, 95]
    assert series(slow_rise, sens=5 / 255) == [0, 0, 0, 0, -1]
    # Level of the last event: 108 is 8 above 100, then 116 is 8 above 108, then 95 is below 116.
    assert series(slow_rise, sens=5 / 255, reference="event") == [0, 1, 0, 1, -1]
    assert series(slow_rise, sens=5 / 255, events_per_step="several") == [0, 0, 0, 0, -4]
    # Levels 105, 110, 115, then down: 110, 105 and 100 lie above 95 + 5, which is not exceeded: 115 - 95 = 20 > 15.
    assert series(slow_rise, sens=5 / 255, reference="event", events_per_step="several") == [0, 1, 1, 1, -3]
    # ln(21/11) = 0.647, ln(201/191) = 0.051: the same 10 levels.
    assert series([10, 20], sens=0.6, intensity="log") == [1]
    assert series([10, 20], sens=0.2, intensity="log", events_per_step="several") == [3]
    assert series([190, 200], sens=0.06, intensity="log") == [0]
    assert series([190, 200], sens=0.05, intensity="log") == [1]


def test_at_the_paper_s_sensitivity_all_single_event_readings_agree():
    frames = moving(3, count=20, height=16, width=16, spread=3)
    wanted = FrameDifference(DifferenceRule(), 16, 16).steps(frames)
    for intensity, reference in itertools.product(["linear", "log"], ["previous", "event"]):
        rule = DifferenceRule(0.001, intensity, reference)
        assert np.array_equal(FrameDifference(rule, 16, 16).steps(frames), wanted)
    assert wanted.any()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.floats(0, 0.9999), st.integers(0, 254).map(lambda d: d / 255)), st.sampled_from([-1, 0, 1]))
def test_threshold_in_gray_levels_is_on_the_same_side(sens, nudge):
    sens = min(max(math.nextafter(sens, nudge * math.inf) if nudge else sens, 0.0), 0.9999)
    size = threshold(DifferenceRule(sens))
    level = threshold_level(sens)
    assert level <= size < level + 1
    assert size == pytest.approx(255 * sens, abs=1e-9)


@pytest.mark.parametrize(("intensity", "reference", "several"), RULES)
@pytest.mark.parametrize("pieces", [[1] * 12, [5, 7], [2, 0, 3, 1, 6], [11, 1]])
def test_pieces_give_the_same_events_as_the_whole(intensity, reference, several, pieces):
    rule = DifferenceRule(0.03, intensity, reference, several)
    frames = moving(5, 12, 6, 9, 40)
    times = np.cumsum(np.random.default_rng(1).integers(1, 50_000, 12))
    whole_camera = FrameDifference(rule, 6, 9)
    whole = whole_camera.feed(frames, times)
    camera, events, at = FrameDifference(rule, 6, 9), [], 0
    for count in pieces:
        events.append(camera.feed(frames[at : at + count], times[at : at + count]))
        at += count
    assert np.array_equal(np.concatenate(events), whole)
    assert camera.density == whole_camera.density
    assert whole.dtype == EVENT_DTYPE
    assert len(whole) == slow_steps(frames, rule).sum() > 0
    assert set(whole["t"]) <= set(times[1:].tolist())


def test_fed_events_are_those_of_the_clip():
    frames = moving(8, 6, 8, 8, 30)
    clip = frame_difference(frames, FrameDiffSettings(size=8, steps=6, sens=0.02), fps=40.0)
    wanted, size = to_event_array(clip)
    camera = FrameDifference(DifferenceRule(0.02), 8, 8)
    assert np.array_equal(camera.feed(frames, np.arange(6) * 25_000), wanted)
    assert camera.density == event_density(clip)
    assert size == (8, 8, 2)


def test_video_in_pieces(tmp_path):
    frames = np.repeat(np.repeat(moving(2, 9, 8, 12, 60), 4, axis=1), 4, axis=2)
    write_h264(tmp_path / "a.mp4", frames, 20.0)
    outcomes = []
    for chunk in (1, 4, 64):
        pieces = list(stream_events(tmp_path / "a.mp4", DifferenceRule(0.05), size=(16, 24), chunk=chunk))
        assert {piece.sensor_size for piece in pieces} == {(24, 16, 2)}
        outcomes.append((np.concatenate([piece.events for piece in pieces]), pieces[-1].density))
    assert len(outcomes[0][0]) > 100
    for events, density in outcomes[1:]:
        assert np.array_equal(events, outcomes[0][0])
        assert density == outcomes[0][1]
    assert set(np.diff(np.unique(outcomes[0][0]["t"]))) == {50_000}


def density_at(frames, rule):
    steps = slow_steps(frames, rule)
    on, off = (np.count_nonzero(steps[:, channel]) / steps[:, 0].size for channel in (0, 1))
    return on, off


@pytest.mark.parametrize(("intensity", "reference", "several"), RULES)
@pytest.mark.parametrize("wanted", [0.05, 0.1079, 0.5])
def test_sens_for_density_is_what_a_simulation_gives(intensity, reference, several, wanted):
    frames = moving(11, 8, 8, 10, 30)
    rule = DifferenceRule(0.5, intensity, reference, several)
    choice = sens_for_density(frames, wanted, rule=rule)
    found = density_at(frames, DifferenceRule(choice.sens, intensity, reference, several))
    assert (choice.density.on, choice.density.off) == pytest.approx(found)
    if reference == "previous" or intensity == "linear":
        # No sensitivity of a fine grid comes nearer.
        for other in np.arange(6, 255, 4) / 255:
            on, off = density_at(frames, DifferenceRule(float(other), intensity, reference, several))
            assert abs(choice.density.any_polarity - wanted) <= abs(on + off - wanted) + 1e-12


def test_sens_for_density_by_hand_and_per_channel():
    frames = np.zeros((2, 1, 10), np.uint8)
    frames[1, 0] = np.arange(10) * 20
    choice = sens_for_density(frames, 0.3)
    assert (threshold_level(choice.sens), choice.density.any_polarity) == (120, 0.3)
    choice = sens_for_density(frames, 0.3, counted="channel")
    assert (threshold_level(choice.sens), choice.density.per_channel) == (60, 0.3)
    with pytest.raises(InputError, match=r"E761 wanted density: 0\.91; limit above 0, at most 0\.9 at sens 0"):
        sens_for_density(frames, 0.91)
    assert sens_for_density(frames, 0.9).density.any_polarity == 0.9
    with pytest.raises(InputError, match="E761"):
        sens_for_density(np.zeros((3, 4, 4), np.uint8), 0.1)
    for wrong in (0.0, float("nan")):
        with pytest.raises(InputError, match="E761"):
            sens_for_density(frames, wrong)
    with pytest.raises(InputError, match="E761 counted: 'event'; limit 'pixel' or 'channel'"):
        sens_for_density(frames, 0.1, counted="event")
    for strange in (frames[:1], frames.astype(float), frames[0], "a"):
        with pytest.raises(InputError, match="E714"):
            sens_for_density(strange, 0.1)


def test_defaults_say_the_same_as_before_the_options():
    assert FrameDiffSettings().to_dict() == {"size": 128, "steps": 68, "sens": 0.001, "first_frame": "float"}
    changed = FrameDiffSettings(sens=0.02, intensity="log", reference="event", events_per_step="one")
    assert changed.to_dict()["intensity"] == "log"
    assert "events_per_step" not in changed.to_dict()
    for options in (FrameDiffSettings(), changed):
        assert FrameDiffSettings.from_dict(options.to_dict()) == options
    with pytest.raises(InputError) as error:
        FrameDiffSettings.from_dict({"size": 8, "steps": 4, "sens": 0.1, "colour": 1})
    assert [(f.code, f.node, f.found) for f in error.value.findings] == [
        ("E718", "first_frame", "missing"),
        ("E718", "colour", "no such setting"),
    ]


@pytest.mark.parametrize("make", [DifferenceRule, FrameDiffSettings])
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"intensity": "sqrt"}, "E718 intensity: 'sqrt'; limit 'linear' or 'log'"),
        ({"reference": None}, "E718 reference: None; limit 'previous' or 'event'"),
        ({"events_per_step": 2}, "E718 events_per_step: 2; limit 'one' or 'several'"),
        ({"sens": 1.0}, "E712 sens: 1.0"),
        ({"events_per_step": "several"}, "E719 sens: 0.001; limit at least 0.003937 for several events per step"),
        (
            {"events_per_step": "several", "intensity": "log", "sens": 0.0218},
            "E719 sens: 0.0218; limit at least 0.0218",
        ),
    ],
)
def test_refused_options(make, changes, text):
    with pytest.raises(InputError) as error:
        make(**changes)
    assert text in str(error.value)
    assert len(error.value.findings) == 1


def test_options_just_inside():
    black_to_white = np.array([0, 255], np.uint8)[:, None, None]
    for intensity, sens in (("linear", 1 / 254), ("log", math.log(256) / 254)):
        rule = DifferenceRule(sens, intensity, "event", "several")
        assert 253 <= FrameDifference(rule, 1, 1).steps(black_to_white)[0, 0, 0, 0] <= 254


def test_all_wrong_options_at_once():
    with pytest.raises(InputError) as error:
        FrameDiffSettings(size=0, steps=0, sens=2, first_frame=None, intensity=1, reference=2, events_per_step=3)
    assert [f.code for f in error.value.findings] == ["E710", "E711", "E712", "E713", "E718", "E718", "E718"]


def test_camera_refuses_other_frames_and_times():
    camera = FrameDifference(DifferenceRule(), 4, 5)
    for wrong in (np.zeros((2, 5, 4), np.uint8), np.zeros((2, 4, 5)), np.zeros((4, 5), np.uint8), None):
        with pytest.raises(InputError, match=r"E714 frames: .*; limit uint8 \[n, 4, 5\]"):
            camera.feed(wrong, [0, 1])
    frames = np.zeros((2, 4, 5), np.uint8)
    camera.feed(frames, [0, 10])
    with pytest.raises(InputError, match="E716 frame times: time 0 is 10 us after 10 us"):
        camera.feed(frames, [10, 20])
    with pytest.raises(InputError, match="E716"):
        camera.feed(frames, [20])
    with pytest.raises(InputError, match="E716"):
        camera.feed(frames, [20.0, 30.0])
    assert camera.feed(frames, [11, 20]).size == 0
