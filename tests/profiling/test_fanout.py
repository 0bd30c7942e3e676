import numpy as np
import pytest
import torch
from brute_force import enumerate_conv, enumerate_spikes, probe_module
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hw_targets.finding import InputError
from neuroemo.profiling.counting.fanout import (
    axis_fan_out,
    conv_fan_out,
    conv_transpose_fan_out,
    count_events,
    dense_macs,
    linear_fan_out,
    weight_fan_out,
)

CONVS = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def draw(random, axes):
    """One random convolution that torch accepts: (shape, out_channels, settings)."""
    limit = {1: 9, 2: 6, 3: 4}[axes]
    groups = int(random.integers(1, 3))
    kernel = tuple(random.integers(1, 4, axes).tolist())
    dilation = tuple(random.integers(1, 4, axes).tolist())
    padding = tuple(random.integers(0, 3, axes).tolist())
    stride = tuple(random.integers(1, 6, axes).tolist())
    space = tuple(
        max(int(n), d * (k - 1) + 1 - 2 * p, 1)
        for n, d, k, p in zip(random.integers(1, limit + 1, axes), dilation, kernel, padding, strict=True)
    )
    shape = (groups * int(random.integers(1, 3)), *space)
    spec = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return shape, groups * int(random.integers(1, 3)), spec


def check_against_enumeration(seed, axes):
    random = np.random.default_rng(seed)
    shape, out_channels, spec = draw(random, axes)
    kernel = spec["kernel"]
    others = {name: value for name, value in spec.items() if name != "kernel"}
    weight = torch.zeros(out_channels, shape[0] // spec["groups"], *kernel)
    out_shape = tuple(CONVS[axes](torch.zeros(1, *shape), weight, None, **others).shape[1:])
    reads = enumerate_conv(shape, out_shape, kernel, spec["stride"], spec["padding"], spec["dilation"], spec["groups"])
    fan_out = conv_fan_out(shape, out_channels, kernel, **others)
    assert fan_out.dtype == np.int64
    assert np.array_equal(fan_out, reads), (shape, out_channels, spec)
    assert dense_macs(fan_out) == reads.sum()
    values = random.choice([0.0, 0.0, 1.0, -1.0, 0.25, 2.0], size=(2, *shape)).astype(np.float32)
    counts = count_events(values, fan_out)
    for row in range(2):
        found = (int(counts.acs[row]), int(counts.macs[row]), int(counts.spikes_in[row]))
        assert found == enumerate_spikes(values[row], reads)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_fan_out_equals_enumeration_on_seeded_configurations(axes):
    for seed in range(100):
        check_against_enumeration(1000 * axes + seed, axes)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), axes=st.sampled_from([1, 2, 2, 3]))
def test_fan_out_equals_enumeration(seed, axes):
    check_against_enumeration(seed, axes)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_transposed_fan_out_equals_experiment(axes):
    random = np.random.default_rng(axes)
    for _ in range(30):
        groups = int(random.integers(1, 3))
        stride = random.integers(1, 4, axes)
        dilation = random.integers(1, 3, axes)
        spec = {
            "kernel_size": tuple(random.integers(1, 4, axes).tolist()),
            "stride": tuple(stride.tolist()),
            "dilation": tuple(dilation.tolist()),
            "output_padding": tuple((np.maximum(stride, dilation) - 1).tolist()),
            "padding": 0,
        }
        module = TRANSPOSED[axes](2 * groups, 3 * groups, groups=groups, **spec)
        shape = (2 * groups, *random.integers(2, 4, axes).tolist())
        kernel = spec.pop("kernel_size")
        fan_out = conv_transpose_fan_out(shape, 3 * groups, kernel, groups=groups, **spec)
        assert np.array_equal(fan_out, probe_module(module, shape))


def test_transposed_padding_cuts_the_border():
    module = nn.ConvTranspose2d(1, 2, 3, stride=2, padding=1)
    fan_out = conv_transpose_fan_out((1, 4, 5), 2, (3, 3), stride=2, padding=1)
    assert np.array_equal(fan_out, probe_module(module, (1, 4, 5)))


def test_linear_fan_out_is_the_number_of_outputs():
    assert np.array_equal(linear_fan_out(5, 7), probe_module(nn.Linear(5, 7), (5,)))


def test_trap_borders_cost_less_than_rate_times_flops():
    # 4x4, 3x3 kernel, same padding: corners reach 4 outputs, edges 6, the middle 9.
    fan_out = conv_fan_out((1, 4, 4), 1, (3, 3), padding=1)[0]
    assert fan_out.tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]
    assert dense_macs(fan_out) == 100 < 16 * 9


def test_trap_stride_larger_than_kernel_skips_inputs():
    assert axis_fan_out(7, kernel=2, stride=3).tolist() == [1, 1, 0, 1, 1, 0, 0]
    counts = count_events(np.ones((1, 7)), axis_fan_out(7, kernel=2, stride=3)[None])
    assert (int(counts.acs), int(counts.spikes_in)) == (4, 7)


def test_stride_two_mean_is_two_and_a_quarter():
    # k=3, s=2: the ceil(k/s)^2 of the literature says 4 (research notes, 5.1).
    interior = conv_fan_out((1, 64, 64), 1, (3, 3), stride=2, padding=1)[0, 2:-2, 2:-2]
    assert interior.mean() == 2.25


def test_uneven_padding_is_before_and_after():
    padded = axis_fan_out(5 + 3, kernel=4)[1:6]
    assert axis_fan_out(5, kernel=4, padding=(1, 2)).tolist() == padded.tolist()


def test_trap_one_graded_value_among_a_million_spikes():
    fan_out = conv_fan_out((1, 1024, 1024), 4, (3, 3), padding=1)
    spikes = np.ones((1, 1024, 1024), dtype=np.float32)
    spikes[0, 0, 5] = 0.5
    counts = count_events(spikes, fan_out)
    assert int(counts.macs) == 4 * 6
    assert int(counts.acs) == 4 * (3 * 1024 - 2) ** 2 - 4 * 6
    assert int(counts.spikes_in) == 1024 * 1024


def test_trap_signed_spikes_are_accumulates_and_amplitude_two_is_not():
    counts = count_events(np.array([[1, -1, 0, 2, -2]], dtype=np.int8), linear_fan_out(5, 10))
    assert (counts.acs.tolist(), counts.macs.tolist(), counts.spikes_in.tolist()) == ([20], [20], [4])


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int32", "float16", "float32", "float64"])
def test_every_number_type_counts_alike(kind):
    values = np.array([[1, 0, 1, 1]]).astype(kind)
    counts = count_events(values, linear_fan_out(4, 3))
    assert (int(counts.acs[0]), int(counts.macs[0]), int(counts.spikes_in[0])) == (9, 0, 3)


@pytest.mark.parametrize(
    "total",
    [1 << 24, (1 << 24) + 1, (1 << 53) - 1, (1 << 53) + 1, (1 << 62) + 1],
)
def test_sums_stay_exact_across_the_limits_of_every_float_type(total):
    fan_out = np.array([total - 3, 1, 1, 1], dtype=np.int64)
    assert int(count_events(np.ones((1, 4)), fan_out).acs[0]) == total
    assert int(count_events(np.array([[1, 0, 1, 0.5]]), fan_out).acs[0]) == total - 2


def test_large_counts_in_chunks_keep_the_leading_axes():
    random = np.random.default_rng(3)
    spikes = (random.random((5, 3, 2, 400, 400)) < 0.1).astype(np.float32)
    fan_out = conv_fan_out((2, 400, 400), 8, (3, 3))
    counts = count_events(spikes, fan_out)
    slow = [[int(fan_out[spikes[t, n] != 0].sum()) for n in range(3)] for t in range(5)]
    assert counts.acs.tolist() == slow


def test_float16_sums_may_overflow_without_being_taken_for_infinite():
    values = np.full((1, 4), 60000, dtype=np.float16)
    assert int(count_events(values, linear_fan_out(4, 2)).macs[0]) == 8


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad):
    with pytest.raises(InputError, match="conv1: 1 values are NaN or infinite"):
        count_events(np.array([[1.0, bad]]), linear_fan_out(2, 1), name="conv1")


def test_opposite_infinities_are_refused():
    with pytest.raises(InputError, match="2 values"):
        count_events(np.array([[np.inf, -np.inf]]), linear_fan_out(2, 1))


def test_stored_weights_have_the_fan_out_of_their_layer():
    conv = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, dilation=(1, 2), groups=2)
    settings = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation, "groups": 2}
    assert np.array_equal(weight_fan_out(conv.weight.shape, (4, 6, 7), **settings), probe_module(conv, (4, 6, 7)))
    assert weight_fan_out((5, 8), (2, 2, 2)).tolist() == np.full((2, 2, 2), 5).tolist()
    for weights, inputs in (((5, 8), (7,)), ((6, 2, 3, 3), (4, 5, 5))):
        with pytest.raises(InputError, match="E098"):
            weight_fan_out(weights, inputs)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: conv_fan_out((3, 4), 4, (3,), groups=2), "E096"),
        (lambda: conv_fan_out((1, 4), 1, (5,)), "E091"),
        (lambda: conv_fan_out((1, 4), 1, (3,), stride=0), "E090"),
        (lambda: conv_fan_out((1, 4), 1, (3,), padding=-1), "E090"),
        (lambda: conv_fan_out((1, 4), 1, (3, 3)), "E097"),
        (lambda: linear_fan_out(0, 3), "E090"),
        (lambda: count_events(np.ones((2, 3)), linear_fan_out(4, 1)), "E094"),
        (lambda: count_events(np.array([1j]), linear_fan_out(1, 1)), "E092"),
        (lambda: count_events(np.ones(2), np.array([1, -1])), "E093"),
        (lambda: conv_transpose_fan_out((1, 1), 1, (1,), padding=1), "E091"),
    ],
)
def test_misuse_is_named(call, code):
    with pytest.raises(InputError) as caught:
        call()
    assert [finding.code for finding in caught.value.findings] == [code]
