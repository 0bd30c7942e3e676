"""Event-driven synaptic sums against sums written out term by term in int64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.loihi2.chip import ChipLayer
from hw_targets.loihi2.simulation.event_parts import EventParts, in_parts
from hw_targets.loihi2.simulation.event_path import EventSums
from hw_targets.loihi2.simulation.event_sums import EventConv, EventDense
from hw_targets.loihi2.simulation.plan import Plan


def out_size(size, kernel, stride, padding, dilation):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def conv_of(weight, stride, padding, dilation, groups, size):
    shape = tuple(out_size(size[i], weight.shape[2 + i], stride[i], padding[i], dilation[i]) for i in (0, 1))
    return EventConv(weight, stride, padding, dilation, groups, size, shape)


def written_out(conv: EventConv, messages: np.ndarray) -> tuple[np.ndarray, int]:
    """Return sums [B, H_out, W_out, C_out] and the number of synapses that messages other than 0 reach."""
    weight = conv.weight.astype(np.int64)
    messages = messages.astype(np.int64)
    outputs, inputs = weight.shape[:2]
    share = outputs // conv.groups
    sums = np.zeros((len(messages), *conv.output_hw, outputs), dtype=np.int64)
    events = 0
    for y, x, i, j in product(*map(range, conv.output_hw), *map(range, weight.shape[2:])):
        row = y * conv.stride[0] - conv.padding[0] + i * conv.dilation[0]
        column = x * conv.stride[1] - conv.padding[1] + j * conv.dilation[1]
        if not (0 <= row < conv.input_hw[0] and 0 <= column < conv.input_hw[1]):
            continue
        for group in range(conv.groups):
            seen = messages[:, row, column, group * inputs : (group + 1) * inputs]
            own = slice(group * share, (group + 1) * share)
            sums[:, y, x, own] += seen @ weight[own, :, i, j].T
            events += np.count_nonzero(seen) * share
    return sums, events


KINDS = {
    "spikes": lambda rng, shape: np.ones(shape, np.uint8),
    "spikes in 32 bits": lambda rng, shape: np.ones(shape, np.int32),
    "counts": lambda rng, shape: rng.integers(0, 17, shape).astype(np.uint8),
    "payloads": lambda rng, shape: rng.integers(0, 256, shape).astype(np.int32),
    "signed": lambda rng, shape: rng.integers(-40000, 40001, shape).astype(np.int32),
}


def some_messages(rng, kind, shape, density):
    values = KINDS[kind](rng, shape)
    return values * (rng.random(shape) < density).astype(values.dtype)


pairs = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731


@settings(max_examples=120, deadline=None)
@given(
    kernel=pairs(1, 4),
    stride=pairs(1, 3),
    padding=pairs(0, 5),
    dilation=pairs(1, 3),
    size=pairs(1, 11),
    groups=st.sampled_from([1, 1, 2, 3]),
    channels=pairs(1, 9),
    kind=st.sampled_from(sorted(KINDS)),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_convolution_equals_the_sum_written_out(
    kernel, stride, padding, dilation, size, groups, channels, kind, density, seed
):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (channels[0] * groups, channels[1], *kernel))
    conv = conv_of(weight, stride, padding, dilation, groups, size)
    if min(conv.output_hw) < 1:
        return
    messages = some_messages(rng, kind, (2, *size, channels[1] * groups), density)
    before = messages.copy()
    expected, events = written_out(conv, messages)
    found = conv.sums(messages)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(messages, before)
    assert conv.count(messages) == events


@pytest.mark.parametrize("outputs", [1, 10, 16, 32, 33, 64, 100])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_width_of_a_run(outputs, kind):
    rng = np.random.default_rng(outputs)
    conv = conv_of(rng.integers(-127, 128, (outputs, 3, 3, 3)), (1, 1), (1, 1), (1, 1), 1, (6, 9))
    messages = some_messages(rng, kind, (3, 6, 9, 3), 0.4)
    expected, _ = written_out(conv, messages)
    assert np.abs(expected).max() > 100
    np.testing.assert_array_equal(conv.sums(messages), expected)


def test_a_convolution_worked_by_hand():
    # One message of 5 in column 2: it reaches column 1 through the last tap, 2 through the middle, 3 through the first.
    conv = conv_of(np.array([[[[1, 2, 3]]]]), (1, 1), (0, 1), (1, 1), 1, (1, 4))
    assert conv.sums(np.array([0, 0, 5, 0]).reshape(1, 1, 4, 1)).ravel().tolist() == [0, 15, 10, 5]


def test_frames_do_not_leak_into_each_other():
    rng = np.random.default_rng(0)
    conv = conv_of(rng.integers(1, 128, (4, 2, 3, 3)), (1, 1), (1, 1), (1, 1), 1, (5, 5))
    messages = np.zeros((4, 5, 5, 2), np.uint8)
    messages[[0, 2]] = 1
    found = conv.sums(messages)
    assert not found[[1, 3]].any()
    np.testing.assert_array_equal(found[0], found[2])
    assert found[0].min() > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1)])
def test_padding_wider_than_the_kernel(size):
    conv = conv_of(np.arange(1, 7).reshape(1, 1, 2, 3), (1, 1), (4, 5), (1, 1), 1, size)
    messages = np.ones((2, *size, 1), np.uint8)
    np.testing.assert_array_equal(conv.sums(messages), written_out(conv, messages)[0])


@pytest.mark.parametrize("peak", [2**15 - 1, 2**15, 2**15 + 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_border_between_16_and_32_bits(peak, sign):
    weight = np.full((1, 1, 1, 3), sign * (peak // 3))
    weight[..., 0] += sign * (peak % 3)
    conv = conv_of(weight, (1, 1), (0, 0), (1, 1), 1, (1, 3))
    ones = np.ones((1, 1, 3, 1), np.uint8)
    assert conv.sums(ones).item() == sign * peak
    compact = conv.sums(ones, compact=True)
    assert compact.item() == sign * peak
    assert compact.dtype == (np.int16 if peak < 2**15 else np.int32)
    dense = EventDense(weight.reshape(1, 3))
    assert dense.sums(ones.reshape(1, 3)).item() == sign * peak
    assert dense.sums(ones.reshape(1, 3), compact=True).dtype == compact.dtype


def test_weights_of_both_signs_may_cancel_beyond_16_bits():
    # Neither sign alone passes 2^15 - 1; their difference is what a neuron gets.
    dense = EventDense(np.array([[32767, -32767, 0]]))
    messages = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=np.uint8)
    assert dense.sums(messages, compact=True).ravel().tolist() == [32767, -32767, 0]


def test_signed_messages_make_both_signs_count():
    dense = EventDense(np.array([[20000, -20000]]))
    assert dense.sums(np.array([[1, -1]])).item() == 40000


def test_the_border_of_32_bits():
    dense = EventDense(np.array([[2**30, 2**30 - 1]]))
    assert dense.sums(np.array([[1, 1]])).item() == 2**31 - 1
    with pytest.raises(OverflowError, match="could reach 2147483648; 2147483647 fits"):
        EventDense(np.array([[2**30, 2**30]])).sums(np.array([[1, 0]]))
    conv = conv_of(np.array([[[[2**30, 2**30]]]]), (1, 1), (0, 0), (1, 1), 1, (1, 2))
    with pytest.raises(OverflowError, match="could reach 2147483648"):
        conv.sums(np.ones((1, 1, 2, 1), np.uint8))


def test_sums_go_where_they_are_asked_to():
    conv = conv_of(np.full((2, 1, 1, 1), 100), (1, 1), (0, 0), (1, 1), 1, (2, 2))
    out = np.full((1, 2, 2, 2), -1, np.int16)
    assert conv.sums(np.eye(2, dtype=np.uint8).reshape(1, 2, 2, 1), out) is out
    assert out.ravel().tolist() == [100, 100, 0, 0, 0, 0, 100, 100]
    with pytest.raises(OverflowError, match="could reach 40000; 32767 fits"):
        conv.sums(np.full((1, 2, 2, 1), 400), out)


@pytest.mark.parametrize("outputs", [1, 10, 32, 70, 256])
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("largest", [127, 2000, 40000])
def test_a_dense_layer_equals_the_matrix_product(outputs, kind, largest):
    rng = np.random.default_rng(outputs + largest)
    weight = rng.integers(-largest, largest + 1, (outputs, 5))
    messages = some_messages(rng, kind, (6, 5), 0.5)
    expected = messages.astype(np.int64) @ weight.T
    if np.abs(expected).max() >= 2**31 or (kind == "signed" and largest == 40000):
        return
    assert np.abs(expected).max() > 0
    np.testing.assert_array_equal(EventDense(weight).sums(messages), expected)
    assert EventDense(weight).count(messages) == np.count_nonzero(messages) * outputs


@pytest.mark.parametrize("inputs", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("kind", ["spikes", "payloads"])
def test_every_message_is_found_wherever_it_stands(inputs, kind):
    messages = some_messages(np.random.default_rng(0), kind, (1, 1), 1.0).ravel()[0] * np.eye(inputs, dtype=np.uint8)
    weight = np.arange(1, inputs + 1).reshape(1, -1)
    np.testing.assert_array_equal(EventDense(weight).sums(messages).ravel(), messages.diagonal() * weight.ravel())


def test_messages_need_not_be_contiguous():
    rng = np.random.default_rng(1)
    conv = conv_of(rng.integers(-9, 10, (4, 2, 3, 3)), (2, 2), (1, 1), (1, 1), 1, (6, 7))
    messages = (rng.random((3, 2, 6, 7)) < 0.5).astype(np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(conv.sums(messages), written_out(conv, messages)[0])


def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(2)
    conv = conv_of(rng.integers(-127, 128, (32, 8, 3, 3)), (1, 1), (1, 1), (1, 1), 1, (16, 16))
    messages = (rng.random((8, 4, 16, 16, 8)) < 0.2).astype(np.uint8)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(conv.sums, messages))
    for each, sums in zip(messages, found, strict=True):
        np.testing.assert_array_equal(sums, conv.sums(each))
    np.testing.assert_array_equal(found[0], written_out(conv, messages[0])[0])


def plan_of(kind, weight, input_shape, output_shape, source=None, **more):
    outputs = output_shape[0]
    layer = ChipLayer("n", kind, weight, np.zeros(outputs, int), 5, 0, input_shape, output_shape, **more)
    return Plan(layer, source or input_shape)


def test_a_layer_behind_a_folded_pool_sums_pixels_first():
    rng = np.random.default_rng(3)
    small = rng.integers(-60, 61, (8, 4, 3, 3))
    weight = small.repeat(2, axis=2).repeat(2, axis=3)
    events = EventSums(plan_of("conv", weight, (4, 8, 8), (8, 4, 4), stride=(2, 2), padding=(2, 2)))
    assert events.pool == (2, 2)
    messages = (rng.random((3, 8, 8, 4)) < 0.4).astype(np.uint8)
    expected, _ = written_out(conv_of(weight, (2, 2), (2, 2), (1, 1), 1, (8, 8)), messages)
    np.testing.assert_array_equal(events.sums(messages), expected)


def test_a_layer_without_a_pool_is_summed_as_it_is():
    rng = np.random.default_rng(4)
    weight = rng.integers(-60, 61, (8, 2, 3, 3))
    plan = plan_of("conv", weight, (4, 7, 9), (8, 4, 5), stride=(2, 2), padding=(1, 1), groups=2)
    events = EventSums(plan)
    assert events.pool is None
    messages = (rng.random((3, 7, 9, 4)) < 0.4).astype(np.uint8)
    expected, _ = written_out(conv_of(weight, (2, 2), (1, 1), (1, 1), 2, (7, 9)), messages)
    np.testing.assert_array_equal(events.sums(messages), expected)


@pytest.mark.parametrize("window", [1, 2])
def test_a_dense_layer_behind_images_takes_them_channels_last(window):
    rng = np.random.default_rng(5)
    weight = rng.integers(-60, 61, (6, 3, 4 // window, 4 // window)).repeat(window, axis=2).repeat(window, axis=3)
    events = EventSums(plan_of("dense", weight.reshape(6, 48), (48,), (6,), source=(3, 4, 4)))
    assert events.pool == (None if window == 1 else (2, 2))
    images = (rng.random((5, 3, 4, 4)) < 0.5).astype(np.uint8)
    expected = images.reshape(5, 48).astype(int) @ weight.reshape(6, 48).T
    np.testing.assert_array_equal(events.sums(np.ascontiguousarray(images.transpose(0, 2, 3, 1))), expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_graded_messages_beyond_8_bits_whose_sums_fit_16(groups):
    rng = np.random.default_rng(groups)
    weight = rng.integers(-1, 2, (4, 4 // groups, 3, 3))
    messages = np.zeros((2, 9, 9, 4), np.int32)
    messages[:, 4, 4] = rng.integers(-700, 700, (2, 4))
    conv = conv_of(weight, (1, 1), (1, 1), (1, 1), groups, (9, 9))
    found = conv.sums(messages, compact=True)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, written_out(conv, messages)[0])
    dense = EventDense(np.array([[1, -2], [3, 0]]))
    found = dense.sums(np.array([[-300, 299]], np.int32), compact=True)
    assert (found.dtype, found.tolist()) == (np.int16, [[-898, -900]])


def test_silence_on_weights_that_no_16_bits_hold():
    dense = EventDense(np.array([[40_000, -40_000]]))
    assert dense.sums(np.zeros((1, 2), np.uint8), compact=True).tolist() == [[0]]
    assert dense.sums(np.ones((1, 2), np.uint8), compact=True).tolist() == [[0]]


@pytest.mark.parametrize(
    ("channels", "size", "peak", "parts"), [(8, 250, 4, 2), (9, 250, 6, 3), (8, 30, 4, 0), (8, 250, 40, 0)]
)
def test_sums_in_parts_of_16_bits(channels, size, peak, parts):
    rng = np.random.default_rng(channels * peak)
    weight = rng.integers(size // 2, size + 1, (4, channels, 3, 3)) * rng.choice([1, 1, 1, -1], (4, channels, 3, 3))
    conv = conv_of(weight, (1, 1), (1, 1), (1, 1), 1, (7, 6))
    shared = in_parts(conv, peak)
    assert (len(shared.parts) if isinstance(shared, EventParts) else 0) == parts
    for messages in (
        rng.integers(0, peak + 1, (3, 7, 6, channels)).astype(np.uint8),
        np.full((2, 7, 6, channels), peak, np.uint8),
        np.zeros((1, 7, 6, channels), np.uint8),
        rng.integers(-300, 300, (2, 7, 6, channels)).astype(np.int32),
        np.full((1, 7, 6, channels), min(2 * peak, 255), np.uint8),
    ):
        found = shared.sums(messages, compact=True)
        np.testing.assert_array_equal(found, written_out(conv, messages)[0])
