"""Frames between frames: against pictures whose motion is known exactly, the bound on motion, and in any pieces."""

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.events.stream import FrameChunk
from neuroemo.events.upsample import (
    Upsampler,
    UpsampleSettings,
    blend,
    largest_change,
    upsample,
    upsample_stream,
    warp_between,
)

_RNG = np.random.default_rng(0)
_WAVES, _PHASES = _RNG.normal(0, 0.12, (40, 2)), _RNG.uniform(0, 2 * np.pi, 40)


def texture(shift, side=96):
    """A sum of sines moved right by ``shift`` pixels: exact at any time, also between the frames."""
    y, x = np.mgrid[0:side, 0:side]
    angles = [kx * (x - shift) + ky * y + phase for (kx, ky), phase in zip(_WAVES, _PHASES, strict=True)]
    return np.clip(np.rint(128 + 14 * np.sin(angles).sum(axis=0)), 0, 255).astype(np.uint8)


def error_between(method, pixels, factor=8):
    pair = np.stack([texture(0), texture(pixels)])
    frames, _ = upsample(pair, [0, 8000], UpsampleSettings(method, factor))
    truth = np.stack([texture(pixels * step / factor) for step in range(factor + 1)])
    return np.abs(frames.astype(int) - truth)[1:-1].mean()


def test_optical_flow_is_near_the_truth_and_a_blend_is_not():
    # Half a gray level is what rounding alone may cost.
    assert error_between("dis", 2) < 0.4
    assert error_between("dis", 4) < 0.4
    assert error_between("dis", 8) < 0.8
    assert error_between("linear", 8) > 5


def test_warp_of_a_known_flow_is_the_moved_picture():
    before, after = texture(0), texture(6)
    right = np.zeros((96, 96, 2), np.float32)
    right[..., 0] = 6
    middle = warp_between(before, after, right, -right, 0.5)
    assert np.abs(middle.astype(int) - texture(3))[:, 6:-6].max() <= 1
    third = warp_between(before, after, right, -right, 1 / 3)
    assert np.abs(third.astype(int) - texture(2))[:, 6:-6].max() <= 1
    still = np.zeros_like(right)
    assert np.array_equal(warp_between(before, before, still, still, 0.25), before)


def test_flow_formula_by_hand():
    """Super SloMo, equation 4, at t = 1/4 with F01 = 8 and F10 = -4: F0 = -1.75, F1 = 5.25 pixels."""
    row = np.arange(0, 200, 4, dtype=np.uint8)
    picture = np.tile(row, (12, 1))
    forward, backward = np.zeros((12, 50, 2), np.float32), np.zeros((12, 50, 2), np.float32)
    forward[..., 0], backward[..., 0] = 8, -4
    made = warp_between(picture, picture, forward, backward, 0.25)
    wanted = 0.75 * 4 * (20 - 1.75) + 0.25 * 4 * (20 + 5.25)
    assert made[5, 20] == int(wanted + 0.5) == 80


def test_blend_by_hand():
    before, after = np.array([[0, 10, 255]], np.uint8), np.array([[100, 11, 0]], np.uint8)
    assert blend(before, after, 0.25).tolist() == [[25, 10, 191]]
    assert blend(before, after, 0.5).tolist() == [[50, 11, 128]]


@pytest.mark.parametrize(("pixels", "factor"), [(0, 1), (1, 1), (2, 3), (4, 4), (5, 6), (8, 9)])
def test_factor_follows_the_motion(pixels, factor):
    """The largest flow is that of the texture, or up to half a pixel more where it enters at the border."""
    camera = Upsampler()
    frames = list(camera.feed(np.stack([texture(0), texture(pixels)]), [0, 40_000]))
    assert camera.report.largest_factor in (factor, max(factor - 1, 1), factor + 1)
    assert camera.report.largest_factor >= (pixels if pixels > 1 else 1)
    assert len(frames) == camera.report.largest_factor + 1


def test_threshold_of_flow_below_which_nothing_is_added():
    pair = np.stack([texture(0), texture(1)])
    assert len(upsample(pair, [0, 40_000])[0]) == 2
    assert len(upsample(pair, [0, 40_000], UpsampleSettings(least_flow=0.5))[0]) in (3, 4)


def test_brightness_bound():
    pair = np.full((2, 4, 4), 50, np.uint8)
    pair[1, 2, 2] = 100
    # ln 2 = 0.693 in steps of at most 0.1 is seven steps.
    frames, times = upsample(pair, [0, 700], UpsampleSettings("linear", "brightness"))
    assert times.tolist() == [0, 100, 200, 300, 400, 500, 600, 700]
    assert frames[:, 2, 2].tolist() == [50, 57, 64, 71, 79, 86, 93, 100]
    assert len(upsample(pair[:1].repeat(2, axis=0), [0, 700], UpsampleSettings("linear", "brightness"))[0]) == 2
    assert largest_change(pair[0], pair[1]) == pytest.approx(np.log(2), abs=1e-6)


def test_times_are_rounded_to_the_nearest_microsecond():
    pair = np.zeros((2, 2, 2), np.uint8)
    assert upsample(pair, [100, 110], UpsampleSettings("linear", 3))[1].tolist() == [100, 103, 107, 110]
    assert upsample(pair, [0, 33_367], UpsampleSettings("linear", 4))[1].tolist() == [0, 8342, 16684, 25025, 33_367]
    camera = Upsampler(UpsampleSettings("linear", 8))
    assert [time for _, time in camera.feed(pair, [0, 3])] == [0, 1, 2, 3]
    assert (camera.report.largest_factor, camera.report.limited_pairs) == (3, 1)


def test_a_cut_is_limited_and_told():
    camera = Upsampler(UpsampleSettings(largest_factor=2))
    frames = list(camera.feed(np.stack([texture(0), texture(8), texture(8)]), [0, 100, 200]))
    assert len(frames) == 4
    assert (camera.report.pairs, camera.report.largest_factor, camera.report.limited_pairs) == (2, 2, 1)


def test_none_changes_nothing():
    frames = np.stack([texture(n * 8) for n in range(3)])
    made, times = upsample(frames, [0, 5, 9], UpsampleSettings("none"))
    assert np.array_equal(made, frames)
    assert times.tolist() == [0, 5, 9]
    assert len(upsample(np.zeros((2, 1, 1), np.uint8), [0, 1], UpsampleSettings("none"))[0]) == 2


@pytest.mark.parametrize("method", ["none", "linear", "dis", lambda a, b, n: np.stack([a] * (n - 1))])
@pytest.mark.parametrize("pieces", [[1] * 7, [3, 4], [2, 0, 5]])
def test_pieces_give_the_same_as_the_whole(method, pieces):
    shifts = [0, 1, 4, 9, 9, 7, 1]
    frames, times = np.stack([texture(s, 48) for s in shifts]), np.cumsum([5, 900, 1, 7000, 33, 8000, 10_000])
    settings = UpsampleSettings(method)
    wanted, wanted_times = upsample(frames, times, settings)
    camera, made, at = Upsampler(settings), [], 0
    for count in pieces:
        made += list(camera.feed(frames[at : at + count], times[at : at + count]))
        at += count
    assert np.array_equal(np.stack([frame for frame, _ in made]), wanted)
    assert [time for _, time in made] == wanted_times.tolist()
    assert (np.diff(wanted_times) > 0).all()
    assert set(times) <= set(wanted_times.tolist())
    if method != "none":
        assert len(wanted) > 10


def test_stream_of_pieces():
    frames, times = np.stack([texture(4 * n, 48) for n in range(6)]), np.arange(6) * 40_000
    wanted, wanted_times = upsample(frames, times)
    source = [FrameChunk(frames[a:b], times[a:b], 25.0, (48, 48)) for a, b in ((0, 1), (1, 4), (4, 6))]
    made = list(upsample_stream(source, Upsampler(), chunk=5))
    assert np.array_equal(np.concatenate([piece.frames for piece in made]), wanted)
    assert np.array_equal(np.concatenate([piece.times_us for piece in made]), wanted_times)
    assert max(len(piece.frames) for piece in made) == 5
    assert {(piece.fps, piece.source_size) for piece in made} == {(25.0, (48, 48))}
    with pytest.raises(InputError, match="E700 chunk: 0"):
        upsample_stream(source, Upsampler(), chunk=0)


def test_own_interpolator_gets_the_frames_and_the_factor():
    calls = []

    def own(before, after, factor):
        calls.append((before.copy(), after.copy(), factor))
        before[:], after[:] = 0, 0  # its own copies
        return np.full((factor - 1, *after.shape), 7, np.uint8)

    frames = np.stack([texture(0, 24), texture(3, 24)])
    made, times = upsample(frames, [0, 90], UpsampleSettings(own, 3))
    assert np.array_equal(made[[0, 3]], frames)
    assert (made[1:3] == 7).all()
    assert times.tolist() == [0, 30, 60, 90]
    assert np.array_equal(calls[0][0], frames[0])
    assert np.array_equal(calls[0][1], frames[1])
    assert [call[2] for call in calls] == [3]


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (None, "NoneType []"),
        (np.zeros((3, 24, 24), np.uint8), "uint8 [3, 24, 24]"),
        (np.zeros((2, 24, 24), np.float32), "float32 [2, 24, 24]"),
        (np.zeros((2, 24, 23), np.uint8), "uint8 [2, 24, 23]"),
        ([[1]], "list []"),
    ],
)
def test_wrong_output_of_an_interpolator(made, found):
    frames = np.zeros((2, 24, 24), np.uint8)
    with pytest.raises(InputError) as error:
        upsample(frames, [0, 90], UpsampleSettings(lambda *_: made, 3))
    finding = error.value.findings[0]
    assert (finding.code, finding.found, finding.limit) == ("E764", found, "uint8 [2, 24, 24]")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "farneback"}, "E763 method: 'farneback'; limit 'none', 'linear', 'dis' or a function"),
        ({"method": None}, "E763 method: None"),
        ({"factor": 0}, "E763 factor: 0; limit 'flow', 'brightness' or 1..256"),
        ({"factor": 257}, "E763 factor: 257"),
        ({"factor": 2.0}, "E763 factor: 2.0"),
        ({"factor": True}, "E763 factor: True"),
        ({"largest_factor": 0}, "E763 largest_factor: 0; limit 1..256"),
        ({"least_flow": -1}, "E763 least_flow: -1; limit 0..10000"),
        ({"least_flow": float("nan")}, "E763 least_flow: nan"),
        ({"brightness_step": 0}, "E763 brightness_step: 0; limit 0.001..10"),
    ],
)
def test_settings_out_of_range(changes, text):
    with pytest.raises(InputError) as error:
        UpsampleSettings(**changes)
    assert text in str(error.value)
    assert len(error.value.findings) == 1


def test_settings_just_inside_and_all_wrong_at_once():
    UpsampleSettings("linear", 256, 256, 0, 1e-3)
    UpsampleSettings("none", 1, 1, 1e4, 10)
    with pytest.raises(InputError) as error:
        UpsampleSettings(0, 0, 0, -1, -1)
    assert len(error.value.findings) == 5


def test_pictures_too_small_for_flow():
    small = np.zeros((2, 11, 30), np.uint8)
    with pytest.raises(InputError, match="E762 frames: 30x11 pixels; limit at least 12x12 for optical flow"):
        Upsampler().feed(small, [0, 1])
    with pytest.raises(InputError, match="E762"):
        Upsampler(UpsampleSettings("linear")).feed(small, [0, 1])
    assert len(upsample(small, [0, 10], UpsampleSettings("linear", 2))[0]) == 3
    assert len(upsample(np.zeros((2, 12, 12), np.uint8), [0, 10], UpsampleSettings("dis", 2))[0]) == 3


def test_wrong_frames_and_times():
    camera = Upsampler(UpsampleSettings("linear", 2))
    for wrong in (np.zeros((2, 4, 4)), np.zeros((4, 4), np.uint8), [[1]]):
        with pytest.raises(InputError, match="E714"):
            camera.feed(wrong, [0, 1])
    list(camera.feed(np.zeros((2, 4, 4), np.uint8), [0, 5]))
    with pytest.raises(InputError, match=r"E714 frames: uint8 \[1, 4, 5\]; limit uint8 \[n, 4, 4\]"):
        camera.feed(np.zeros((1, 4, 5), np.uint8), [9])
    with pytest.raises(InputError, match="E716"):
        camera.feed(np.zeros((1, 4, 4), np.uint8), [5])
    with pytest.raises(InputError, match="E714 frames: none; limit 1 or more"):
        upsample(np.zeros((0, 4, 4), np.uint8), [])
