"""The representations against tonic where it computes the same thing, and the places where it does not."""

import numpy as np
import pytest

from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.representations import (
    HistogramSettings,
    SurfaceSettings,
    TbrSettings,
    VoxelSettings,
    event_histogram,
    tbr,
    time_surface,
    voxel_grid,
)

functional = pytest.importorskip("tonic.functional")

SIZE = (12, 9, 2)
WINDOW = 1000


def recording(seed, count=3000, span=40_000, start=0):
    generator = np.random.default_rng(seed)
    events = np.empty(count, EVENT_DTYPE)
    events["t"] = np.sort(generator.integers(0, span, count)) + start
    events["t"][0], events["t"][-1] = start, start + span  # tonic drops the last, incomplete window
    events["x"] = generator.integers(0, SIZE[0], count)
    events["y"] = generator.integers(0, SIZE[1], count)
    events["p"] = generator.random(count) < 0.4
    return events


def ours_as_tonic(planes):
    """Turn our channels (ON, OFF) into tonic's (OFF, ON)."""
    return planes[:, ::-1]


@pytest.mark.parametrize("start", [0, 123_456, 1_700_000_000_000_000])
def test_histogram_is_tonic_to_frame(start):
    events = recording(1, start=start)
    theirs = functional.to_frame_numpy(events.copy(), SIZE, time_window=WINDOW)
    ours = event_histogram(events, SIZE, HistogramSettings(dt_us=WINDOW, count=len(theirs)))
    assert len(theirs) == 40
    assert np.array_equal(ours_as_tonic(ours.counts), theirs)
    assert ours.left_out == 1  # the event on the last border, in tonic as well
    assert theirs.sum() == len(events) - 1


@pytest.mark.parametrize("n_bits", [8, 10])
def test_tbr_with_the_oldest_slice_on_top_is_tonic_bina_rep(n_bits):
    events = recording(2, count=400)
    frames = functional.to_frame_numpy(events.copy(), SIZE, time_window=WINDOW)
    theirs = functional.to_bina_rep_numpy(frames, n_frames=40 // n_bits, n_bits=n_bits)
    like = {"n_bits": n_bits, "dt_us": WINDOW, "polarity": "split", "count": 40 // n_bits}
    ours = tbr(events, SIZE, TbrSettings(msb="oldest", norm="2^N-1", **like))
    assert np.allclose(ours_as_tonic(ours.values()), theirs, rtol=1e-6, atol=0)
    default = tbr(events, SIZE, TbrSettings(**like))
    assert np.abs(ours_as_tonic(default.values()) - theirs).max() > 0.4, "the other order is another representation"


def test_the_two_bit_orders_on_one_event():
    """Tonic gives the oldest slice 128 / 255, the source of TBR gives it 1 / 256."""
    frames = np.zeros((8, 1, 1, 1))
    frames[0] = 1
    oldest = functional.to_bina_rep_numpy(frames, n_frames=1, n_bits=8).item()
    events = np.array([(0, 0, 0, True)], EVENT_DTYPE)
    assert oldest == pytest.approx(128 / 255)
    assert tbr(events, (1, 1, 2)).values().item() == 1 / 256
    assert tbr(events, (1, 1, 2), TbrSettings(msb="oldest", norm="2^N-1")).values().item() == pytest.approx(oldest)


@pytest.mark.parametrize("start", [0, 123_456])
@pytest.mark.parametrize("tau", [300.0, 20_000.0])
def test_time_surface_is_tonic_to_timesurface(start, tau):
    events = recording(3, count=600, start=start)
    theirs = functional.to_timesurface_numpy(events.copy(), SIZE, dt=WINDOW, tau=tau)
    ours = time_surface(events, SIZE, SurfaceSettings(dt_us=WINDOW, tau_us=tau, count=len(theirs)))
    assert len(theirs) == 40
    assert np.allclose(ours_as_tonic(ours.surfaces), theirs, rtol=1e-6, atol=1e-30)


def paper_voxels(events, bins):
    """Zhu et al. 2019, equations 1 to 3, one term at a time: every bin looks at every event."""
    grid = np.zeros((bins, 1, SIZE[1], SIZE[0]))
    first, last = int(events["t"][0]), int(events["t"][-1])
    for t, x, y, p in events.tolist():
        star = (bins - 1) * (t - first) / (last - first)
        for b in range(bins):
            grid[b, 0, y, x] += (1 if p > 0 else -1) * max(0.0, 1.0 - abs(b - star))
    return grid


def with_polarity(events, kind):
    """Return the events with the polarity as another type."""
    retyped = np.dtype([("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", kind)])
    return events.astype(retyped)


def test_tonic_turns_off_events_into_on_when_polarity_is_bool():
    """It assigns -1 into the array of polarities; in a bool array, tonic's usual type, that is True."""
    events = recording(4, count=500)
    events["p"] = False
    theirs = functional.to_voxel_grid_numpy(with_polarity(events, "?"), SIZE, n_time_bins=5)
    assert theirs.sum() > 400, "500 OFF events add up to a positive number"
    ours = voxel_grid(events, SIZE, VoxelSettings(bins=5)).grid
    assert ours.sum() == pytest.approx(-500, abs=1e-3)


def test_tonic_loses_events_at_the_end_and_scales_by_b_where_the_paper_has_b_minus_1():
    """Times run to B there, so that the last event and what is shared beyond the last bin are lost."""
    events = recording(5, count=500)
    events["p"] = True
    theirs = functional.to_voxel_grid_numpy(with_polarity(events, "i1"), SIZE, n_time_bins=5)
    assert theirs.sum() < 0.92 * len(events), "about half a bin of five is missing"
    ours = voxel_grid(events, SIZE, VoxelSettings(bins=5)).grid
    assert ours.sum() == pytest.approx(len(events), abs=1e-3)
    assert np.allclose(ours, paper_voxels(events, 5), atol=1e-5)
    two = events[[0, -1]]
    assert functional.to_voxel_grid_numpy(with_polarity(two, "i1"), SIZE, n_time_bins=5)[-1].sum() == 0
    assert voxel_grid(two, SIZE, VoxelSettings(bins=5)).grid[-1].sum() == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_events_at_one_time_divide_by_zero_in_tonic():
    events = np.array([(7, 0, 0, True), (7, 0, 0, True)], EVENT_DTYPE)
    assert np.isnan(functional.to_voxel_grid_numpy(with_polarity(events, "i1"), SIZE, n_time_bins=3)).any()
    assert voxel_grid(events, (1, 1, 2), VoxelSettings(bins=3)).grid.ravel().tolist() == [2, 0, 0]


@pytest.mark.parametrize("bins", [2, 5, 10])
def test_voxel_grid_agrees_with_tonic_once_its_faults_are_worked_around(bins):
    """Signed polarity, B - 1 bins, and the last event (which tonic puts outside) added by hand."""
    events = recording(6)
    theirs = functional.to_voxel_grid_numpy(with_polarity(events, "i1"), SIZE, n_time_bins=bins - 1)
    ours = voxel_grid(events, SIZE, VoxelSettings(bins=bins)).grid
    assert np.allclose(ours[:-1], theirs, atol=1e-4)
    # What tonic shares beyond its last bin is our last bin; both together hold every event.
    lost = paper_voxels(events, bins)[-1]
    assert np.allclose(ours[-1], lost, atol=1e-4)
    assert np.abs(lost).sum() > 1


@pytest.mark.parametrize("kind", ["?", "i1", "u1", "i8"])
def test_every_type_of_polarity_gives_the_same_grid_and_is_left_alone(kind):
    events = recording(7)
    typed = with_polarity(events, kind)
    before = typed.copy()
    expected = voxel_grid(events, SIZE).grid
    assert np.array_equal(voxel_grid(typed, SIZE).grid, expected)
    assert np.array_equal(typed, before), "tonic overwrites the polarities of its input"
    if kind.startswith("i"):
        typed["p"] = np.where(typed["p"] > 0, 1, -1)
        assert np.array_equal(voxel_grid(typed, SIZE).grid, expected)
