"""Summing pixels first against the convolution written out, and where it would not be the same."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.loihi2.simulation.pooling import pooled, pooled_dense, sum_pool

ONES = (1, 1)


def convolved(weight, messages, stride, padding):
    """[B, H, W, C] with [O, C, kH, kW], term by term in int64."""
    frames, height, width, _ = messages.shape
    rows = (height + 2 * padding[0] - weight.shape[2]) // stride[0] + 1
    columns = (width + 2 * padding[1] - weight.shape[3]) // stride[1] + 1
    sums = np.zeros((frames, rows, columns, len(weight)), dtype=np.int64)
    for y, x, i, j in product(range(rows), range(columns), *map(range, weight.shape[2:])):
        row, column = y * stride[0] - padding[0] + i, x * stride[1] - padding[1] + j
        if 0 <= row < height and 0 <= column < width:
            sums[:, y, x] += messages[:, row, column].astype(np.int64) @ weight[:, :, i, j].astype(np.int64).T
    return sums


def repeated(small, size):
    return small.repeat(size[0], axis=2).repeat(size[1], axis=3)


def windows_added(messages, size):
    frames, height, width, channels = messages.shape
    sums = np.zeros((frames, height // size[0], width // size[1], channels), dtype=object)
    for y, x in product(range(sums.shape[1]), range(sums.shape[2])):
        window = messages[:, y * size[0] : (y + 1) * size[0], x * size[1] : (x + 1) * size[1]]
        sums[:, y, x] = window.astype(object).sum(axis=(1, 2))
    return sums


pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731


@settings(max_examples=200, deadline=None)
@given(
    window=pairs(1, 3),
    kernel=pairs(1, 3),
    stride=pairs(1, 2),
    padding=pairs(0, 2),
    size=pairs(3, 13),
    seed=st.integers(0, 2**32 - 1),
)
def test_summing_first_gives_the_same_integers(window, kernel, stride, padding, size, seed):
    rng = np.random.default_rng(seed)
    weight = repeated(rng.integers(-127, 128, (2, 3, *kernel)), window)
    stride, padding = (tuple(a * b for a, b in zip(window, each, strict=True)) for each in (stride, padding))
    if any(size[i] + 2 * padding[i] < weight.shape[2 + i] for i in (0, 1)):
        return
    small = pooled(weight, stride, padding, ONES, size)
    if small is None:
        # Refused only where there is nothing to gain, or where rows are left over at an edge that a window may reach.
        assert window == ONES or any(size[i] % window[i] and padding[i] for i in (0, 1) if window[i] > 1)
        return
    messages = (rng.random((2, *size, 3)) < 0.5).astype(np.uint8)
    expected = convolved(weight, messages, stride, padding)
    found = convolved(small.weight, windows_added(messages, small.size), small.stride, small.padding)
    np.testing.assert_array_equal(found, expected)
    if all(size[i] % window[i] == 0 for i in (0, 1)):
        assert all(small.size[i] % window[i] == 0 for i in (0, 1)), "the window it was made of, or a larger one"


def test_the_usual_folded_pool():
    small = pooled(repeated(np.arange(1, 10).reshape(1, 1, 3, 3), (2, 2)), (2, 2), (2, 2), ONES, (64, 64))
    assert small is not None
    assert (small.size, small.stride, small.padding) == ((2, 2), ONES, ONES)
    assert small.weight.ravel().tolist() == list(range(1, 10))


def test_each_axis_has_its_own_size():
    weight = repeated(np.arange(1, 5).reshape(1, 1, 2, 2), (3, 1))
    small = pooled(weight, (3, 1), (0, 1), ONES, (9, 5))
    assert small is not None
    assert (small.size, small.stride, small.padding, small.weight.shape) == ((3, 1), ONES, (0, 1), (1, 1, 2, 2))


KERNEL = repeated(np.arange(1, 10).reshape(1, 1, 3, 3), (2, 2))
CHANGED = KERNEL.copy()
CHANGED[0, 0, 5, 5] += 1


@pytest.mark.parametrize(
    ("weight", "stride", "padding", "dilation", "size"),
    [
        (CHANGED, (2, 2), (2, 2), (1, 1), (8, 8)),
        (KERNEL, (1, 1), (2, 2), (1, 1), (8, 8)),
        (KERNEL, (3, 3), (2, 2), (1, 1), (8, 8)),
        (KERNEL, (2, 2), (1, 1), (1, 1), (8, 8)),
        (KERNEL, (2, 2), (2, 2), (2, 2), (16, 16)),
        (KERNEL, (2, 2), (2, 2), (1, 1), (7, 7)),
        (np.arange(9).reshape(1, 1, 3, 3), (1, 1), (1, 1), (1, 1), (8, 8)),
    ],
    ids=["one weight differs", "stride 1", "stride 3", "odd padding", "dilation", "a window reaches the rest", "plain"],
)
def test_nothing_is_pooled_where_it_would_differ(weight, stride, padding, dilation, size):
    assert pooled(weight, stride, padding, dilation, size) is None


def test_the_rest_at_the_edge_is_what_forbids_it():
    """On 7 x 7 the padded windows see row 6, which is in no 2 x 2 window; unpadded they do not."""
    messages = np.zeros((1, 7, 7, 1), np.uint8)
    messages[0, 6] = 1
    assert convolved(KERNEL, messages, (2, 2), (2, 2)).any()
    assert not sum_pool(messages, (2, 2)).any()
    small = pooled(KERNEL, (2, 2), (0, 0), ONES, (7, 7))
    assert small is not None
    assert small.size == (2, 2)
    assert not convolved(KERNEL, messages, (2, 2), (0, 0)).any()


def test_depthwise_average_pooling_becomes_one_weight():
    small = pooled(np.full((4, 1, 2, 2), 16), (2, 2), (0, 0), ONES, (8, 8))
    assert small is not None
    assert (small.size, small.weight.shape, small.stride) == ((2, 2), (4, 1, 1, 1), ONES)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("window", [(2, 2), (1, 3), (4, 6)])
def test_a_dense_layer_behind_a_folded_pool(channels_last, window):
    rng = np.random.default_rng(0)
    maps = repeated(rng.integers(-99, 100, (5, 3, 4 // window[0], 6 // window[1])), window)
    images = rng.integers(0, 2, (7, 3, 4, 6))
    expected = images.reshape(7, -1) @ maps.reshape(5, -1).T
    columns = maps.transpose(0, 2, 3, 1) if channels_last else maps
    small = pooled_dense(columns.reshape(5, -1), (3, 4, 6), channels_last=channels_last)
    assert small is not None
    assert small.size == window
    counts = sum_pool(images.transpose(0, 2, 3, 1).astype(np.uint8), window)
    flat = counts if channels_last else counts.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(flat.reshape(7, -1).astype(int) @ small.weight.T, expected)


def test_a_plain_dense_layer_is_left_alone():
    assert pooled_dense(np.arange(24).reshape(2, 12), (3, 2, 2)) is None


@settings(max_examples=80, deadline=None)
@given(
    size=pairs(1, 4),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 8, 16, 24])),
    kind=st.sampled_from(["spikes", "bytes", "signed", "large"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_windows_are_added(size, shape, kind, seed):
    rng = np.random.default_rng(seed)
    low, high, number = {
        "spikes": (0, 2, np.uint8),
        "bytes": (0, 256, np.uint8),
        "signed": (-100, 101, np.int32),
        "large": (-(2**31), 2**31, np.int32),
    }[kind]
    messages = rng.integers(low, high, shape).astype(number)
    found = sum_pool(messages, size)
    expected = windows_added(messages, size)
    assert found.shape == expected.shape
    assert (found == expected).all()
    if kind == "spikes":
        assert found.dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 8])
def test_a_byte_never_runs_over(channels):
    for value, number in ((63, np.uint8), (64, np.int32), (255, np.int32)):
        found = sum_pool(np.full((1, 2, 2, channels), value, np.uint8), (2, 2))
        assert found.dtype == number
        assert found.ravel().tolist() == [4 * value] * channels


def test_views_are_pooled_like_copies():
    rng = np.random.default_rng(1)
    whole = (rng.random((2, 8, 6, 7)) < 0.5).astype(np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(sum_pool(whole, (2, 2)), windows_added(whole, (2, 2)).astype(int))
