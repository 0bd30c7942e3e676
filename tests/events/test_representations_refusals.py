"""What the representations refuse, with code and text, and the nearest thing that they accept."""

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.representations import (
    HistogramSettings,
    SpikeClipSettings,
    SurfaceSettings,
    TbrSettings,
    VoxelSettings,
    WindowSettings,
    codes_to_steps,
    event_histogram,
    nearest_labels,
    spike_clip,
    steps_to_codes,
    tbr,
    time_surface,
    voxel_grid,
)

ONE = (1, 1, 2)
ALL = [tbr, event_histogram, voxel_grid, time_surface, spike_clip]


def make(rows, **kinds):
    fields = {"t": "i8", "x": "i2", "y": "i2", "p": "?", **kinds}
    return np.array(rows, list(fields.items()))


def refused(call, *parts):
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    return caught.value.findings


GOOD = make([(0, 0, 0, 1), (5, 2, 1, 0)])
BAD = [
    ([(5, 0, 0, 1), (0, 0, 0, 1)], {}, "E780 events['t']: event 1 at 0 us after 5 us, 1 such step(s) back"),
    ([(0, 3, 0, 1)], {}, "E780 events['x']: 1 event(s) outside of the sensor, the first is event 0 at 3; limit 0..2"),
    ([(0, 0, 0, 1), (0, 0, -1, 1)], {}, "E780 events['y']: 1 event(s) outside of the sensor, the first is event 1 at"),
    ([(0, 0, 0, 2)], {"p": "i1"}, "E780 events['p']: values from 2 to 2; limit bool, {0, 1} or {-1, 1}"),
    ([(0, 0, 0, 0), (0, 0, 0, -1)], {"p": "i1"}, "E780 events['p']: values from -1 to 0"),
    ([(0, 0, 0, 255)], {"p": "u1"}, "E780 events['p']: values from 255 to 255"),
    (
        [(0.5, 0, 0, 1)],
        {"t": "f8"},
        "E780 events['t']: type float64; limit integers\n     convert to whole microseconds",
    ),
    ([(0, 0, 0, 1.0)], {"p": "f4"}, "E780 events['p']: type float32"),
    (
        [(2**53 + 1, 0, 0, 1)],
        {},
        "E780 events['t']: 9007199254740993 us from zero; limit 9007199254740992 us, over by 1",
    ),
    ([(-(2**63), 0, 0, 1)], {}, "us from zero"),
    ([(2**64 - 1, 0, 0, 1)], {"t": "u8"}, "us from zero"),
]


@pytest.mark.parametrize("function", ALL, ids=lambda function: function.__name__)
@pytest.mark.parametrize(("rows", "kinds", "text"), BAD)
def test_events_that_make_no_sense(function, rows, kinds, text):
    refused(lambda: function(make(rows, **kinds), (3, 2, 2)), text)
    function(GOOD, (3, 2, 2))


def test_all_faults_are_reported_at_once():
    events = make([(5, 9, -1, 7), (0, 0, 0, 0)], p="i1")
    assert len(refused(lambda: tbr(events, (3, 2, 2)))) == 4
    assert len(refused(lambda: tbr(make([(0.0, 0, 0, 1)], t="f8", p="f8"), (0, 2, 2)), "E781", "E780")) == 3
    wrong = {"dt_us": 0, "count": -1, "n_bits": 17, "msb": "first", "norm": "max", "polarity": "both"}
    assert len(refused(lambda: TbrSettings(**wrong))) == 6


@pytest.mark.parametrize("events", [np.zeros((3, 4)), np.zeros(3), make([[(0, 0, 0, 1)]]), [(0, 0, 0, 1)], None])
def test_events_are_a_structured_array(events):
    refused(lambda: tbr(events, ONE), "E780 events", "a structured array [E] with fields t, x, y, p")


def test_events_without_polarity():
    events = np.zeros(2, [("t", "i8"), ("x", "i2"), ("y", "i2")])
    refused(lambda: event_histogram(events, ONE), "E780 events")


@pytest.mark.parametrize("size", [(3, 2), (3, 2, 1), (0, 2, 2), (3, 40000, 2), (3.0, 2, 2), None, "302", (True, 2, 2)])
def test_sensor_sizes(size):
    refused(lambda: voxel_grid(GOOD, size), "E781 sensor_size", "limit (width, height, 2), sides 1..32767")
    voxel_grid(GOOD, [np.int64(3), 2, 2])


SETTINGS = [
    (TbrSettings, "n_bits", [0, 17, 8.0, True, "8"], [1, 16, np.int32(8)]),
    (TbrSettings, "msb", ["left", None, 1], ["oldest", "newest"]),
    (TbrSettings, "norm", ["2^n", 256, ""], ["2^N", "2^N-1", None]),
    (TbrSettings, "polarity", ["on", None, "signed"], ["merge", "split"]),
    (HistogramSettings, "polarity", ["signed"], ["merge"]),
    (SurfaceSettings, "polarity", ["signed"], ["merge"]),
    (SurfaceSettings, "tau_us", [0, -1, float("nan"), "fast", True], [0.5, 50_000]),
    (VoxelSettings, "polarity", ["merge"], ["signed", "split"]),
    (VoxelSettings, "bins", [0, 65537, 2.0, None], [1, 65536]),
    (VoxelSettings, "start_us", [0.5, 2**53 + 1], [-(2**53), None]),
    (WindowSettings, "dt_us", [0, 0.5, -1, float("inf"), None], [1, 1e6 / 30, np.float32(2.5)]),
    (WindowSettings, "count", [-1, 2.5, 2**31], [0, 5, None]),
    (WindowSettings, "start_us", [1e6, "0"], [0, -5, np.int64(7)]),
    (WindowSettings, "closed", ["both", None], ["left", "right"]),
    (SpikeClipSettings, "fps", [0, -25, float("nan"), None, 1e7], [25, 29.97, 1e6]),
    (SpikeClipSettings, "steps", [0, -1, 2.0], [1, None]),
    (SpikeClipSettings, "end_us", [0.5], [0, None]),
    (SpikeClipSettings, "closed", ["neither"], ["left"]),
]


@pytest.mark.parametrize(("kind", "name", "bad", "good"), SETTINGS)
def test_every_setting_has_its_bounds(kind, name, bad, good):
    for value in bad:
        (finding,) = refused(lambda value=value: kind(**{name: value}))
        assert (finding.code, finding.node, finding.found) == ("E782", name, repr(value))
        assert finding.limit
    for value in good:
        assert getattr(kind(**{name: value}), name) is value


def test_a_span_runs_forwards():
    refused(lambda: VoxelSettings(start_us=10, end_us=4), "E782 end_us: 4; limit at least start_us 10, over by 6")
    assert VoxelSettings(start_us=10, end_us=10).end_us == 10
    refused(lambda: voxel_grid(GOOD, (3, 2, 2), VoxelSettings(start_us=6)), "E782 span: the grid would run from 6 to 5")
    assert voxel_grid(GOOD, (3, 2, 2), VoxelSettings(start_us=5)).left_out == 1


def test_one_wrong_time_does_not_fill_the_memory():
    events = make([(0, 0, 0, 1), (2**52, 0, 0, 1)])
    for function in (tbr, event_histogram, time_surface, spike_clip):
        refused(lambda function=function: function(events, (640, 480, 2)), "E783", "limit 4294967296 bytes, over")
    refused(lambda: voxel_grid(events, (32767, 32767, 2)), "E783 bins")
    assert voxel_grid(events, (64, 48, 2)).grid[-1].sum() == 1
    refused(lambda: tbr(make([]), ONE, TbrSettings(count=2**31 - 1)), "E783")
    far = TbrSettings(count=10**6, dt_us=1e12)
    refused(lambda: tbr(make([]), ONE, far), "E782 dt_us: 8000000 windows of 1e+12 us; limit 18014398509481984 us")


def test_nothing_is_not_an_error():
    none = make([])
    assert tbr(none, (3, 2, 2)).codes.shape == (0, 1, 2, 3)
    assert tbr(none, (3, 2, 2), TbrSettings(count=2)).codes.shape == (2, 1, 2, 3)
    assert tbr(none, (3, 2, 2), TbrSettings(count=1)).mean_times_us.tolist() == [20_000]
    assert event_histogram(none, (3, 2, 2), HistogramSettings(count=2)).counts.sum() == 0
    assert voxel_grid(none, (3, 2, 2)).grid.shape == (5, 1, 2, 3)
    assert time_surface(none, (3, 2, 2), SurfaceSettings(count=1)).surfaces.sum() == 0
    empty = spike_clip(none, (3, 2, 2), SpikeClipSettings(steps=4)).clip
    assert (empty.spikes.shape, empty.valid_steps) == ((4, 2, 2, 3), 0)
    assert nearest_labels(np.zeros(0), np.zeros(0)).tolist() == []


@pytest.mark.parametrize("start", [None, 0])
def test_one_event(start):
    one = np.array([(7, 0, 0, False)], EVENT_DTYPE)
    assert tbr(one, ONE, TbrSettings(start_us=start)).codes.tolist() == [[[[1]]]]
    assert voxel_grid(one, ONE, VoxelSettings(start_us=start)).grid.ravel().tolist() == (
        [-1, 0, 0, 0, 0] if start is None else [0, 0, 0, 0, -1]
    )
    assert spike_clip(one, ONE, SpikeClipSettings(start_us=start)).clip.spikes.ravel().tolist() == [0, 1]


def test_an_event_after_the_end_of_the_recording():
    events = make([(100, 0, 0, 1)])
    refused(
        lambda: spike_clip(events, ONE, SpikeClipSettings(end_us=99)), "E782 end_us: an event at 100 us", "over by 1"
    )
    refused(lambda: spike_clip(events, ONE, SpikeClipSettings(end_us=100, closed="left")), "E782 end_us")
    assert spike_clip(events, ONE, SpikeClipSettings(end_us=100)).left_out == 0
    refused(lambda: spike_clip(events, ONE, None, np.zeros((2, 2), np.float32)), "E715 clip: first frame [2, 2]")


def test_codes_and_steps_of_another_form():
    codes = np.array([[[[16]]]], np.uint8)
    refused(lambda: codes_to_steps(codes, 4, "newest"), "E782 codes: code 16; limit 15, over by 1")
    assert codes_to_steps(codes, 5, "newest").ravel().tolist() == [0, 0, 0, 0, 1]
    for wrong in (codes.astype(float), codes[0], codes.tolist(), codes.astype(np.int8)):
        refused(lambda wrong=wrong: codes_to_steps(wrong, 8, "newest"), "E782 codes", "unsigned integers [F, C, H, W]")
    refused(lambda: codes_to_steps(codes, 8, "top"), "E782 msb: 'top'")
    steps = np.ones((4, 1, 1, 1), np.uint8)
    refused(lambda: steps_to_codes(steps, 3, "newest"), "E782 steps: uint8 [4, 1, 1, 1]; limit [F * 3, C, H, W]")
    refused(lambda: steps_to_codes(steps * 2, 2, "newest"), "E782 steps", "other values than 0 and 1")
    refused(lambda: steps_to_codes(np.full((2, 1, 1, 1), np.nan), 2, "newest"), "other values than 0 and 1")
    assert steps_to_codes(steps.astype(bool), 2, "newest").ravel().tolist() == [3, 3]


def test_labels_that_cannot_be_looked_up():
    frames, labels = np.array([0, 100]), np.array([0, 40, 80])
    refused(lambda: nearest_labels(frames, labels[:0]), "E784 label_times_us: no label; limit at least one")
    refused(
        lambda: nearest_labels(frames, labels[::-1]), "E784 label_times_us: label 1 at 40 us after 80 us; limit asc"
    )
    refused(lambda: nearest_labels(frames, np.array([0, 40, 40])), "label 2 at 40 us after 40 us")
    refused(lambda: nearest_labels(frames, np.array([0, np.nan])), "1 value(s) not finite, the first at 1")
    refused(lambda: nearest_labels(frames[None], labels), "E784 frame_times_us: int64 [1, 2]; limit numbers [n]")
    refused(lambda: nearest_labels(np.array(["0"]), labels), "E784 frame_times_us")
    text = "E784 labels: 1 frame(s) too far from any label, the worst at 100 us by 20 us; limit 19 us, over by 1"
    refused(lambda: nearest_labels(frames, labels, max_gap_us=19), text)
    refused(lambda: nearest_labels(frames, labels, max_gap_us=-1), "E784 max_gap_us: -1")
    assert nearest_labels(frames, labels, max_gap_us=20).tolist() == [0, 2]
